//! MERGE: each of the source's rows on the shard where its key leads, or all of them on every shard.

use super::super::ask::Reply;
use super::super::outlet::Outlet;
use super::super::{Assignment, Stop};
use super::Course;
use super::kept::{Kept, values};
use super::rows::Heap;
use crate::error::PgError;
use crate::plan::work::write::{Merge, Target, To};
use crate::session::Session;
use crate::types::ShardId;

impl Session {
    /// Merges the rows; the command tag.
    pub(super) async fn merge_rows(
        &mut self,
        job: &Assignment,
        merge: &Merge,
        course: &Course,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let source = usize::from(merge.source);
        let Some(kept) = course.kept.get(source) else { return Err(super::changed().into()) };
        let names: Vec<String> = course
            .staged
            .get(source)
            .map_or(Vec::new(), |staged| staged.source.columns.iter().map(|column| column.name.clone()).collect());
        let keyspace = match &merge.to {
            To::Keys(target) => Some(target.keyspace),
            To::Copies(keyspace) => Some(*keyspace),
            To::Shard(_) => None,
        };
        let every: Vec<ShardId> = match (&merge.to, keyspace) {
            (To::Shard(shard), _) => vec![*shard],
            (_, Some(keyspace)) => self.state.vschema.keyspace(keyspace).shards.clone(),
            (_, None) => Vec::new(),
        };
        let heaps = match &merge.to {
            To::Keys(target) if !target.keys.is_empty() => self.heaps_by_key(target, kept, &names, &every).await?,
            _ => {
                let heap = |shard: &ShardId| Heap { shard: *shard, frames: kept.frames.clone(), rows: kept.rows };
                every.iter().map(heap).collect()
            }
        };
        let heaps = match heaps.is_empty() {
            true => vec![Heap { shard: first_of(&every)?, frames: Default::default(), rows: 0 }],
            false => heaps,
        };
        let shards: Vec<ShardId> = heaps.iter().map(|heap| heap.shard).collect();
        match keyspace {
            Some(keyspace) => self.enlist_writing(job, keyspace, &shards).await?,
            None => self.enlist_for(&job.effects, &shards).await?,
        }
        let text = course.filled(&merge.text);
        let mut staged = course.staged.clone();
        let mut asks = Vec::with_capacity(heaps.len());
        for heap in &heaps {
            if let Some(place) = staged.get_mut(source) {
                *place = kept.staged_of(&heap.frames, heap.rows, &names);
            }
            asks.push(self.ask_rest(job, &text, &staged, &course.types, heap.shard, Vec::new())?);
        }
        let replies = self.ask_shards(asks).await?;
        let counts = replies.iter().map(Reply::count);
        let total: u64 = match &merge.to {
            // All copies have changed alike.
            To::Copies(_) => counts.max().unwrap_or(0),
            _ => counts.sum(),
        };
        self.put_columns(outlet, None);
        Ok(format!("MERGE {total}").into_bytes())
    }

    /// The rows by the shards of their keys, which are columns of these names.
    async fn heaps_by_key(
        &mut self,
        target: &Target,
        kept: &Kept,
        names: &[String],
        every: &[ShardId],
    ) -> Result<Vec<Heap>, Stop> {
        let columns = target.keys.iter().map(|key| {
            let mut places = names.iter().enumerate().filter(|(_, name)| **name == key.name);
            match (places.next(), places.next()) {
                (Some((at, _)), None) => Ok(at),
                _ => Err(PgError::unsupported(format!(
                    "column \"{}\" of the rows that are merged is not certain",
                    key.name
                ))),
            }
        });
        let columns = columns.collect::<Result<Vec<_>, PgError>>()?;
        let (kept, nulls) = without_null_keys(kept, &columns)?;
        let places = self.places_of(target, &kept, &columns).await?;
        let mut heaps = Heap::of(&kept, &places);
        // Rows without a key match nothing anywhere: one shard sees to them.
        if nulls.rows > 0 {
            let first = first_of(every)?;
            match heaps.iter_mut().find(|heap| heap.shard == first) {
                Some(heap) => {
                    heap.frames.extend_from_slice(&nulls.frames);
                    heap.rows += nulls.rows;
                }
                None => heaps.push(Heap { shard: first, frames: nulls.frames, rows: nulls.rows }),
            }
        }
        Ok(heaps)
    }
}

fn first_of(shards: &[ShardId]) -> Result<ShardId, PgError> {
    shards.first().copied().ok_or_else(|| PgError::unsupported("no shard has the table"))
}

/// The rows that have a key, and those that have none.
fn without_null_keys(kept: &Kept, columns: &[usize]) -> Result<(Kept, Kept), PgError> {
    let empty = || Kept { columns: kept.columns.clone(), frames: Default::default(), rows: 0 };
    let (mut with, mut without) = (empty(), empty());
    for message in kept.messages() {
        let row = values(message)?;
        let null = columns.iter().any(|at| row.get(*at).copied().flatten().is_none());
        let into = if null { &mut without } else { &mut with };
        into.frames.extend_from_slice(message);
        into.rows += 1;
    }
    Ok((with, without))
}
