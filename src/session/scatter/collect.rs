//! A statement over several shards whose merged rows stay here: a part of a larger statement that takes several steps.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::drive::Goal;
use super::query::Opening;
use super::run::{Describe, Run};
use super::{Job, Stop};
use crate::error::PgError;
use crate::merge::Next;
use crate::plan::Plan;
use crate::protocol::frame::HEADER;
use crate::session::Session;
use crate::session::statements::Statement;
use crate::types::ShardId;

/// What came.
pub(in crate::session) struct Collected {
    /// The body of the RowDescription; none if there are no rows.
    pub columns: Option<Bytes>,
    /// Whole DataRow messages.
    pub rows: BytesMut,
    pub tag: Vec<u8>,
}

impl Session {
    /// Runs a statement of Goldseam's own over several shards; `bind` is a whole Bind message. The transaction that a write needs is the caller's.
    pub(in crate::session) async fn collect(
        &mut self,
        plan: &Plan,
        shards: Vec<ShardId>,
        rows: Vec<u16>,
        statement: Arc<Statement>,
        bind: BytesMut,
    ) -> Result<Collected, Stop> {
        let job = Job { statement: Some(statement.clone()), bind, ..Job::new(plan, shards, rows, &statement.text)? };
        let opening = Opening { bind: false, describe: Describe::No, execute: Some(0) };
        let mut run = self.open(&job, opening).await?;
        run.into = Some(BytesMut::new());
        match self.collect_run(&job, &mut run).await {
            Ok(collected) => Ok(collected),
            Err(stop) => Err(self.give_up(&mut run, stop).await),
        }
    }

    async fn collect_run(&mut self, job: &Job, run: &mut Run) -> Result<Collected, Stop> {
        let reached = self.drive(run, Goal::Rows(u64::MAX)).await?;
        if reached.next == Next::Finish {
            self.finish(job, run, false).await?;
        }
        self.wind_up(run).await?;
        let described = |message: &[u8]| {
            // A RowDescription, or NoData.
            (message.first() == Some(&b'T')).then(|| Bytes::copy_from_slice(message.get(HEADER..).unwrap_or_default()))
        };
        if let Some(kept) = run.kept.take() {
            let columns = run.finished.as_deref().and_then(described);
            let tag = kept.tag.strip_suffix(b"\0").unwrap_or(&kept.tag).to_vec();
            return Ok(Collected { columns, rows: kept.rows, tag });
        }
        let rows = run.into.take().ok_or_else(|| PgError::unsupported("rows that are kept are lost"))?;
        let columns = run.merger.description().and_then(described);
        Ok(Collected { columns, rows, tag: run.merger.tag(reached.rows).into_bytes() })
    }
}
