//! From inputs to shards.

use super::super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::Values;
use crate::plan::work::Bench;
use crate::plan::work::bench::Input;
use crate::protocol::BindView;
use crate::protocol::frame::HEADER;
use crate::session::Session;
use crate::session::route::Destination;
use crate::session::values::{BoundValues, TextValues};
use crate::types::ShardId;

impl Session {
    /// For each input the shards that have rows of it, under the client's literals and parameters. An input that no shard has rows of has one
    /// nevertheless, which says what they would be like.
    pub(in crate::session) async fn place_inputs(
        &mut self,
        job: &Assignment,
        inputs: &[Input],
    ) -> Result<Vec<Vec<ShardId>>, Stop> {
        let destinations = self.destinations(job, inputs)?;
        let mut places = Vec::with_capacity(inputs.len());
        for destination in destinations {
            places.push(match destination {
                Destination::Shards { shards, .. } => shards,
                other => vec![self.locate(other).await?],
            });
        }
        Ok(places)
    }

    fn destinations(&self, job: &Assignment, inputs: &[Input]) -> Result<Vec<Destination>, PgError> {
        let resolve = |values: &dyn Values| {
            let one = |input: &Input| Ok(input.route.resolve(values, &self.state.vschema, &self.decode)?.into());
            inputs.iter().map(one).collect::<Result<Vec<Destination>, PgError>>()
        };
        self.with_values(job, resolve)?
    }

    /// What an execution's literals and parameters make of something.
    pub(in crate::session) fn with_values<R>(
        &self,
        job: &Assignment,
        make: impl FnOnce(&dyn Values) -> R,
    ) -> Result<R, PgError> {
        let normal;
        let literals = match &job.statement {
            Some(statement) if statement.text == job.text => statement.literals.as_slice(),
            _ => {
                normal = self.normal(&job.text)?;
                &normal.literals
            }
        };
        if job.bind.is_empty() {
            return Ok(make(&TextValues { text: &job.text, literals }));
        }
        let bind = BindView::new(&job.bind[HEADER..])?;
        let types = job.statement.as_ref().map_or(&[][..], |statement| &statement.types);
        Ok(make(&BoundValues { text: &job.text, literals, types, bind: &bind }))
    }

    /// The shard whose server runs the rest: one that has all that the rest itself reads, rather one that is asked anyway.
    pub(super) fn place_rest(&mut self, bench: &Bench, places: &[Vec<ShardId>]) -> Result<ShardId, PgError> {
        let vschema = self.state.vschema.clone();
        let has_copies =
            |shard: &ShardId| bench.keyspaces.iter().all(|id| vschema.keyspace(*id).shards.contains(shard));
        if let Some(shard) = bench.fixed {
            return if has_copies(&shard) { Ok(shard) } else { Err(no_common()) };
        }
        let mut asked: Vec<ShardId> = places.iter().flatten().copied().filter(has_copies).collect();
        asked.sort();
        asked.dedup();
        // Within a transaction those that have a part in it.
        let held: Vec<ShardId> = self.participants().map(|index| self.held[index].lease.shard).collect();
        if let Some(shard) = asked.iter().find(|shard| held.contains(shard)) {
            return Ok(*shard);
        }
        if asked.is_empty() {
            asked = match bench.keyspaces.first() {
                Some(first) => vschema.keyspace(*first).shards.iter().copied().filter(has_copies).collect(),
                None => return Ok(self.any_shard(None)),
            };
        }
        if asked.is_empty() {
            return Err(no_common());
        }
        Ok(self.any_shard(Some(&asked)))
    }
}

fn no_common() -> PgError {
    PgError::unsupported("tables of keyspaces without a common shard cannot be joined")
        .with_detail("The statement reads reference tables of several keyspaces, of which no shard has all.")
        .with_hint("Make the tables reference tables of one keyspace, or query the keyspaces one after the other.")
}
