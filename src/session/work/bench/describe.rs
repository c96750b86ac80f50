//! What a statement is like, without running it: its parameters and its columns.
//!
//! A shard that has all of its tables is asked for the client's own text: so types, names and even the tables of columns are those that any
//! client of a single server sees. Where no shard has all of them (tables of one shard each, on two shards) the rest of the statement is
//! described over inputs without rows. Both are remembered for a prepared statement.

use bytes::Bytes;

use super::super::ask::{Ask, What};
use super::super::{Assignment, Stop};
use super::Ready;
use super::fetch::Types;
use super::kinds::FIRST_OWN;
use crate::plan::Effects;
use crate::plan::work::Bench;
use crate::session::Session;
use crate::types::{Oid, ShardId};

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
            // Each text finds out for itself.
            None => Ok(Types { oids: declared, shard: teller }),
        }
    }

    /// The columns of the client's own statement: the body of a RowDescription.
    pub(in crate::session) async fn columns_of_bench(
        &mut self,
        job: &Assignment,
        bench: &Bench,
    ) -> Result<Option<Bytes>, Stop> {
        let number = job.statement.as_ref().map(|statement| statement.id);
        if let Some(known) = number.and_then(|number| self.shared.benches.described(number)) {
            return Ok(known);
        }
        if let Some(shard) = self.describer(bench, None) {
            return Ok(self.ask_own(job, shard).await?.1);
        }
        let places = self.place_inputs(job, &bench.inputs).await?;
        let Ready { home, types, staged } = self.empty_bench(job, bench, &places).await?;
        let ask = self.ask_rest(job, &bench.rest, &staged, &types, home, Vec::new())?;
        let mut replies = self.ask_shards(vec![Ask { what: What::Describe, ..ask }]).await?;
        let columns = replies.pop().and_then(|reply| reply.columns);
        if let Some(number) = number {
            self.shared.benches.learn_described(number, columns.clone());
        }
        Ok(columns)
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
            self.shared.benches.learn_described(statement.id, columns.clone());
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
