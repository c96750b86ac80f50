//! Queries over fetched inputs: the *workbench*.
//!
//! # Life of such a query
//! 1. [`place`]: which shards have rows of which input, under the values of this execution, and where the rest runs.
//! 2. [`fetch`]: all shards are asked for all inputs side by side, in binary form; those that need another's [`keys`] after that. A DataRow's body is a tuple of COPY BINARY, and a few of them
//!    become arrays without a look at what a value means; what a type is called, and whether its binary form travels, [`kinds`] knows.
//! 3. Few rows are parameters of the rest: `unnest($1::bigint[], ...)`. The rest runs on one of the shards, in the client's transaction.
//! 4. Many rows are streamed into temporary tables of a connection outside of the transaction ([`stage`]), whose own transaction is rolled
//!    back in the end: nothing stays, whatever happened. The rest runs there.
//!    Where `[workbench] server` names one, that is a server that is no shard, for all that can run there ([`apart`]).
//! 5. [`rest`]: the client's own statement, with the inputs in the places of the tables, in the client's formats; its rows are the client's.
//!
//! # What holds
//! - Inputs are fetched on the transaction's own connections: its uncommitted writes are among them. Tables that the rest itself reads (reference
//!   tables) are read there too, so that a transaction that has written, or keeps its snapshot, has its rest run on a participant, over arrays of
//!   any size that memory allows.
//! - A shard's rows wait in its server while the workbench does not take them.
//! - Rows, bytes and time have bounds ([`Bounds`]); beyond them the statement fails with 54000, and its transaction as after any error.

mod apart;
mod describe;
mod fetch;
mod form;
mod keys;
mod kinds;
mod place;
mod rest;
mod stage;

use std::pin::Pin;

use crate::config::units::FOREVER;
use crate::error::PgError;
use crate::plan::Effects;
use crate::plan::work::Bench;
use crate::pool::Lease;
use crate::session::Session;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

use super::outlet::Outlet;
use super::{Assignment, Stop};
use apart::Probe;
pub(in crate::session) use fetch::{Staged, Types};
pub use kinds::Known;

/// A connection to the workbench, outside of the client's transaction: in one of its own, which is rolled back in the end.
pub(in crate::session) struct Workbench {
    pub lease: Lease,
    /// Its server is no shard.
    pub apart: bool,
    /// One of so many.
    _permit: tokio::sync::OwnedSemaphorePermit,
}

/// All that the rest of a statement needs.
pub(in crate::session) struct Ready {
    /// Where it runs.
    pub home: ShardId,
    pub types: Types,
    pub staged: Vec<Staged>,
}

/// Where there may be tables for many rows.
pub(in crate::session) struct Place {
    /// The shard for the rest.
    pub home: ShardId,
    /// The rest may run on the server that is the workbench and no shard, if that can parse this.
    pub apart: Option<Probe>,
}

/// What may be parameters of the rest: twenty-five times cheaper than a table for a hundred rows, and no dearer up to here.
const SMALL: Bounds = Bounds { rows: 2_000, bytes: 256 << 10 };
/// Bytes that may be parameters where there cannot be a table.
const MOST_ARRAYS: u64 = 64 << 20;

/// What the inputs of one statement may be together.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct Bounds {
    pub rows: u64,
    pub bytes: u64,
}

impl Session {
    /// Answers a query over fetched inputs; the command tag.
    pub(super) async fn perform_bench(
        &mut self,
        job: &Assignment,
        bench: &Bench,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let outcome = match self.prepare_bench(job, bench).await {
            Ok(Ready { home, types, staged }) => {
                outlet.shard = Some(home);
                self.answer_rest(job, &bench.rest, &staged, &types, home, outlet).await
            }
            Err(stop) => Err(stop),
        };
        self.close_bench().await;
        outcome
    }

    /// Fetches the inputs; only the rest remains to be run. [`Session::close_bench`] has to follow.
    pub(super) async fn prepare_bench(&mut self, job: &Assignment, bench: &Bench) -> Result<Ready, Stop> {
        let places = self.place_inputs(job, &bench.inputs).await?;
        let home = self.place_rest(bench, &places)?;
        let mut shards: Vec<ShardId> = places.iter().flatten().copied().chain([home]).collect();
        shards.sort();
        shards.dedup();
        // Fetching only reads; what the rest does, it does where it runs.
        let reads = Effects { writes: false, timed: false, ..job.effects.clone() };
        self.enlist_for(&reads, &shards).await?;
        self.enlist_for(&job.effects, &[home]).await?;
        let types = self.types_of(job, bench, home).await?;
        let tables = self.may_have_tables(job, bench).then_some(home);
        let apart = match tables {
            Some(home) => self.probe_of(job, bench, &places, &types, home).await?,
            None => None,
        };
        let tables = tables.map(|home| Place { home, apart });
        let staged = self.fetch_inputs(job, &bench.inputs, &places, &types, tables).await?;
        Ok(Ready { home, types, staged })
    }

    /// Whether the rest may run outside of the client's transaction: it leaves nothing behind, and what it reads itself is what the
    /// transaction would read.
    fn may_have_tables(&self, job: &Assignment, bench: &Bench) -> bool {
        let reads_tables = !bench.keyspaces.is_empty() || bench.fixed.is_some();
        // Only the connection that has a temporary table sees it.
        let temporary = bench.fixed.is_some() && bench.fixed == self.temporary_shard();
        !temporary && !job.effects.writes && (self.transaction.is_idle() || !reads_tables)
    }

    /// What one statement's inputs may be together.
    fn bounds(&self) -> Bounds {
        let workbench = &self.state.config.workbench;
        Bounds { rows: workbench.max_rows as u64, bytes: workbench.max_bytes as u64 }
    }

    /// The same where all of them are parameters.
    fn bounds_of_arrays(&self) -> Bounds {
        let bounds = self.bounds();
        Bounds { bytes: bounds.bytes.min(MOST_ARRAYS), ..bounds }
    }

    /// The end of the time that one step of a statement has.
    fn deadline(&self) -> Option<Pin<Box<tokio::time::Sleep>>> {
        let timeout = self.state.config.workbench.timeout;
        (timeout < FOREVER).then(|| Box::pin(tokio::time::sleep(timeout)))
    }
}

fn too_large(bounds: Bounds) -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement needs too many rows of other shards at once")
        .with_detail(format!("At most {} rows and {} bytes are put together.", bounds.rows, bounds.bytes))
        .with_hint("Restrict the statement to fewer rows, or raise max_rows and max_bytes of [workbench].")
}

fn late() -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement takes too long over rows of several shards")
        .with_hint("Restrict the statement to fewer rows, or raise timeout of [workbench].")
}
