//! What a statement is like, without running it: its parameters and its columns.
//!
//! A shard that has all of its tables is asked for the client's own text: so types, names and even the tables of columns are those that any
//! client of a single server sees. Where no shard has all of them (tables of one shard each, on two shards) the rest of the statement is
//! described over inputs without rows. Both are remembered for a prepared statement.

use std::sync::Arc;

use bytes::Bytes;

use super::super::ask::{Ask, What};
use super::super::portal::apart;
use super::super::{Assignment, Stop};
use super::Ready;
use super::fetch::Types;
use super::kinds::FIRST_OWN;
use crate::plan::work::Bench;
use crate::plan::{Effects, Plan, Steps};
use crate::protocol::encode;
use crate::session::scatter::finish::description;
use crate::session::statements::Statement;
use crate::session::{Session, Trouble};
use crate::types::{Oid, ShardId};

/// The type of a literal whose type is not known (`unknown`, `src/include/catalog/pg_type.dat`).
const UNKNOWN: Oid = 705;
/// The number of statements that Goldseam makes for its own steps, which do not come back.
const ERRAND: u64 = 0;

impl Session {
    /// The types of the client's parameters. What the client has not said, a shard says, once for a statement. `home` is enlisted.
    pub(super) async fn types_of(&mut self, job: &Assignment, bench: &Bench, home: ShardId) -> Result<Types, Stop> {
        let Some(statement) = &job.statement else { return Ok(Types::default()) };
        let (declared, teller) = (statement.types.clone(), Some(self.state.vschema.home()));
        if (0..statement.parameters).all(|n| declared.get(n).is_some_and(|oid| *oid != 0)) {
            return Ok(Types { oids: declared, shard: teller });
        }
        if let Some(types) = statement.inferred.get() {
            return Ok(Types { oids: types.to_vec(), shard: teller });
        }
        match self.describer(bench, Some(home)) {
            Some(shard) => Ok(self.ask_own(job, shard).await?.0),
            None => {
                let types = self.ask_apart(job, bench).await?.0;
                // What is not known each text finds out for itself.
                let oids: Vec<Oid> = types.oids.iter().map(|oid| if *oid == UNKNOWN { 0 } else { *oid }).collect();
                let _ = statement.inferred.set(oids.clone().into());
                Ok(Types { oids, shard: teller })
            }
        }
    }

    /// The columns of the client's own statement: the body of a RowDescription.
    pub(in crate::session) async fn columns_of_bench(
        &mut self,
        job: &Assignment,
        bench: &Bench,
    ) -> Result<Option<Bytes>, Stop> {
        let number = job.statement.as_ref().map(|statement| statement.id).filter(|number| *number != ERRAND);
        if let Some(known) =
            number.and_then(|number| self.shared.benches.described(number, self.context.catalog.version))
        {
            return Ok(known);
        }
        if let Some(shard) = self.describer(bench, None) {
            return Ok(self.ask_own(job, shard).await?.1);
        }
        Ok(self.ask_apart(job, bench).await?.1)
    }

    /// Describe of a prepared statement over tables of which no shard has all.
    pub(in crate::session) async fn describe_apart(
        &mut self,
        statement: &Arc<Statement>,
        plan: &Plan,
    ) -> Result<(), Trouble> {
        self.prove_all().await?;
        self.set_aside().await?;
        let mut job = Assignment::new(plan, &statement.text)?;
        job.statement = Some(statement.clone());
        let work = job.work.clone();
        let Steps::Bench(bench) = &work.steps else { return Err(apart().into()) };
        let told = self.ask_apart(&job, bench).await;
        if self.transaction.is_idle() {
            self.release_unused();
        }
        let (types, columns) = told?;
        encode::parameter_description(&mut self.client.outgoing, &types.oids);
        description(columns.as_deref(), &mut self.client.outgoing);
        Ok(())
    }

    /// The same without a shard that has all tables: each input's text, and the rest over inputs without rows.
    async fn ask_apart(&mut self, job: &Assignment, bench: &Bench) -> Result<(Types, Option<Bytes>), Stop> {
        let places = self.place_inputs(job, &bench.inputs).await?;
        let home = self.place_rest(bench, &places)?;
        let firsts = places.iter().filter_map(|places| places.first()).copied();
        let mut shards: Vec<ShardId> = firsts.chain([home]).collect();
        shards.sort();
        shards.dedup();
        self.enlist_for(&reading(), &shards).await?;
        let (mut oids, count) = match &job.statement {
            Some(statement) => (statement.types.clone(), statement.parameters),
            None => (Vec::new(), 0),
        };
        oids.resize(count, 0);
        let declared = Types { oids: oids.clone(), shard: Some(self.state.vschema.home()) };
        let staged = self.empty_inputs(job, &bench.inputs, &places, &declared).await?;
        let texts = self.texts_of(job, &bench.inputs)?;
        let mut asks = Vec::with_capacity(texts.len() + 1);
        for (text, shard) in texts.iter().zip(places.iter().filter_map(|places| places.first())) {
            let types = text.parameters.iter().map(|n| declared.on(*shard, *n)).collect();
            asks.push(Ask { what: What::Describe, types, ..Ask::new(*shard, text.sql.clone()) });
        }
        let (rest, parameters) = self.ask_rest_of(job, &bench.rest, &staged, &declared, home, Vec::new())?;
        asks.push(Ask { what: What::Describe, ..rest });
        let replies = self.ask_shards(asks).await?;
        let used = texts.iter().map(|text| &text.parameters).chain([&parameters]);
        for (reply, used) in replies.iter().zip(used) {
            for (parameter, oid) in used.iter().zip(&reply.types) {
                match oids.get_mut(usize::from(*parameter)) {
                    // Numbers of the users' types are each shard's own: a client may read and write them as text.
                    Some(known) if *known == 0 => *known = if *oid < FIRST_OWN { *oid } else { UNKNOWN },
                    _ => {}
                }
            }
        }
        let columns = replies.last().and_then(|reply| reply.columns.clone());
        if let Some(statement) = job.statement.as_ref().filter(|statement| statement.id != ERRAND) {
            self.shared.benches.learn_described(statement.id, self.context.catalog.version, columns.clone());
        }
        Ok((Types { oids, shard: None }, columns))
    }

    /// What the rest needs, with inputs that have no rows.
    pub(in crate::session) async fn empty_bench(
        &mut self,
        job: &Assignment,
        bench: &Bench,
        places: &[Vec<ShardId>],
    ) -> Result<Ready, Stop> {
        let home = self.place_rest(bench, places)?;
        let firsts = places.iter().filter_map(|places| places.first()).copied();
        let mut shards: Vec<ShardId> = firsts.chain([home]).collect();
        shards.sort();
        shards.dedup();
        self.enlist_for(&reading(), &shards).await?;
        let types = self.types_of(job, bench, home).await?;
        let staged = self.empty_inputs(job, &bench.inputs, places, &types).await?;
        Ok(Ready { home, types, staged })
    }

    /// Asks a shard for the client's own text.
    async fn ask_own(&mut self, job: &Assignment, shard: ShardId) -> Result<(Types, Option<Bytes>), Stop> {
        self.enlist_for(&reading(), &[shard]).await?;
        let types = job.statement.as_ref().map(|statement| statement.types.clone()).unwrap_or_default();
        let ask = Ask { what: What::Describe, types, rewritten: false, ..Ask::new(shard, job.text.clone()) };
        let reply = self.ask_shards(vec![ask]).await?.pop();
        let (oids, columns) = reply.map(|reply| (reply.types, reply.columns)).unwrap_or_default();
        if let Some(statement) = &job.statement {
            // Numbers of the users' types are known by the shard whose they are: as everywhere the home shard's are remembered.
            if shard == self.state.vschema.home() || oids.iter().all(|oid: &Oid| *oid < FIRST_OWN) {
                let _ = statement.inferred.set(oids.clone().into());
            }
            if statement.id != ERRAND {
                self.shared.benches.learn_described(statement.id, self.context.catalog.version, columns.clone());
            }
        }
        Ok((Types { oids, shard: Some(shard) }, columns))
    }

    /// A shard that can describe the client's own text: the home shard, because clients ask its catalog for the types that they are told; else
    /// one that is there anyway.
    fn describer(&self, bench: &Bench, enlisted: Option<ShardId>) -> Option<ShardId> {
        let shards = bench.describers(&self.state.vschema);
        let home = self.state.vschema.home();
        let wanted = [Some(home), enlisted];
        wanted.into_iter().flatten().find(|shard| shards.contains(shard)).or(shards.first().copied())
    }
}

/// Nothing is changed by asking.
fn reading() -> Effects {
    Effects { floating: true, ..Effects::default() }
}
