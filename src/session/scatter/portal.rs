//! Portals over several shards: the extended protocol's side.
//!
//! A Bind is only noted, because most clients send Describe and Execute right behind it, and then all of it is one round trip to
//! the shards. Whatever else comes next (Flush, Sync, another statement) opens the portal on the shards first, so that answers and
//! errors come in the order of the client's messages.
//!
//! A portal with a row limit stays open on the shards, under a name of its own. Within a transaction its connections are the
//! transaction's again between two Execute messages; outside one it keeps them until the Sync.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::ask::Order;
use super::drive::Goal;
use super::query::{Opening, batch, command_complete};
use super::run::{Describe, Run};
use super::{Job, Stop, finish};
use crate::error::PgError;
use crate::plan::Plan;
use crate::plan::gather::Merge;
use crate::protocol::{BindView, encode, request};
use crate::session::extended::Portal;
use crate::session::statements::Statement;
use crate::session::{Session, Trouble};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// A client's portal over several shards.
pub(in crate::session) struct Scattered {
    job: Job,
    stage: Stage,
    /// The whole RowDescription or NoData, once it is known.
    description: Option<Bytes>,
}

impl std::fmt::Debug for Scattered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scattered").field("shards", &self.job.shards).finish_non_exhaustive()
    }
}

enum Stage {
    /// The shards have not been asked yet; `describe` if the client waits for a description too.
    Bound { describe: bool },
    /// Open on the shards.
    Open(Box<Run>),
    /// All rows are out.
    Over {
        /// The command, as its tag begins.
        word: Vec<u8>,
    },
}

impl Session {
    /// Bind of a statement that leads to several shards.
    pub(in crate::session) async fn bind_scatter(
        &mut self,
        frame: &[u8],
        view: &BindView<'_>,
        statement: Arc<Statement>,
        plan: &Plan,
        to: (Vec<ShardId>, Vec<u16>),
    ) -> Result<(), Trouble> {
        let mut job = Job::new(plan, to.0, to.1, &statement.text)?;
        job.statement = Some(statement);
        job.bind = BytesMut::from(frame);
        self.prove_all().await?;
        self.set_aside().await?;
        self.close_if_scatter(view.portal).await?;
        let portal = Scattered { job, stage: Stage::Bound { describe: false }, description: None };
        self.set_portal(view.portal, Portal::Scatter(Some(Box::new(portal))))?;
        self.unopened = Some(view.portal.into());
        Ok(())
    }

    /// Whether a portal is over several shards.
    pub(in crate::session) fn is_scatter(&self, name: &str) -> bool {
        self.portals.iter().any(|(known, portal)| known == name && matches!(portal, Portal::Scatter(_)))
    }

    fn take_scatter(&mut self, name: &str) -> Result<Box<Scattered>, PgError> {
        let found = self.portals.iter_mut().find(|(known, _)| known == name);
        match found {
            Some((_, Portal::Scatter(portal))) => portal.take(),
            _ => None,
        }
        .ok_or_else(|| PgError::new(SqlState::UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist")))
    }

    fn keep_scatter(&mut self, name: &str, portal: Box<Scattered>) {
        if let Some((_, Portal::Scatter(place))) = self.portals.iter_mut().find(|(known, _)| known == name) {
            *place = Some(portal);
        }
    }

    /// What a message other than Describe and Execute of the portal that was bound last has to wait for: that it is open.
    pub(in crate::session) async fn open_pending(&mut self) -> Result<(), Trouble> {
        // On the heap only when it is needed: a session that is idle should not have room for it.
        if self.unopened.is_some() { Box::pin(self.open_unopened()).await } else { Ok(()) }
    }

    async fn open_unopened(&mut self) -> Result<(), Trouble> {
        let Some(name) = self.unopened.take() else { return Ok(()) };
        let Ok(mut portal) = self.take_scatter(&name) else { return Ok(()) };
        let Stage::Bound { describe } = portal.stage else {
            self.keep_scatter(&name, portal);
            return Ok(());
        };
        self.set_aside().await?;
        self.begin_writing(&portal.job);
        let describe = if describe { Describe::Full } else { Describe::No };
        let told = self.client.outgoing.len();
        let opened = self.open(&portal.job, Opening { bind: true, describe, execute: None }).await;
        match opened {
            Ok(mut run) => {
                portal.description = self.described(&portal.job, &mut run).await?;
                if describe == Describe::Full && run.describe != Describe::No {
                    run.describe = Describe::No;
                    self.client.outgoing.extend_from_slice(portal.description.as_deref().unwrap_or_default());
                }
                debug_assert!(self.client.outgoing.len() >= told);
                self.park(&mut run);
                portal.stage = Stage::Open(Box::new(run));
                self.keep_scatter(&name, portal);
                Ok(())
            }
            Err(stop) => {
                self.portals.retain(|(known, _)| *known != *name);
                Err(stop.into())
            }
        }
    }

    /// The client's description of an open portal. Where a final statement makes the answer, its columns are those of the client's own statement.
    async fn described(&mut self, job: &Job, run: &mut Run) -> Result<Option<Bytes>, Trouble> {
        if let Some(description) = run.merger.description() {
            return Ok(Some(Bytes::copy_from_slice(description)));
        }
        let learned = match self.learn(job, run, run.block).await {
            Ok(learned) => learned,
            Err(stop) => return Err(self.give_up(run, stop).await.into()),
        };
        let mut message = BytesMut::new();
        finish::description(learned.columns.as_deref(), &mut message);
        set_formats(&mut message, &job.formats()?);
        Ok(Some(message.freeze()))
    }

    /// A statement that writes on several shards outside of a transaction has one around it, up to the Sync.
    pub(super) fn begin_writing(&mut self, job: &Job) {
        if job.effects.writes && self.transaction.is_idle() {
            self.begin_implicit();
        }
    }

    /// Describe of a portal over several shards.
    pub(in crate::session) async fn describe_scatter(&mut self, name: &str) -> Result<(), Trouble> {
        if self.unopened.as_deref() != Some(name) {
            self.open_pending().await?;
        }
        let mut portal = self.take_scatter(name)?;
        if let Stage::Bound { describe } = &mut portal.stage
            && !std::mem::replace(describe, true)
        {
            self.keep_scatter(name, portal);
            return Ok(());
        }
        let description = portal.description.clone();
        self.keep_scatter(name, portal);
        match description {
            Some(description) => {
                self.set_aside().await?;
                self.client.outgoing.extend_from_slice(&description);
                Ok(())
            }
            // Described twice before it was executed.
            None => {
                self.open_pending().await?;
                let portal = self.take_scatter(name)?;
                self.client.outgoing.extend_from_slice(portal.description.as_deref().unwrap_or_default());
                self.keep_scatter(name, portal);
                Ok(())
            }
        }
    }

    /// Execute of a portal over several shards.
    pub(in crate::session) async fn execute_scatter(&mut self, name: &str, max_rows: i32) -> Result<(), Trouble> {
        if self.unopened.as_deref() != Some(name) {
            self.open_pending().await?;
        }
        self.unopened = None;
        self.set_aside().await?;
        let limit = u32::try_from(max_rows).unwrap_or(0);
        let mut portal = self.take_scatter(name)?;
        let running = self.meter_scatter(&portal.job.effects, &portal.job.shards);
        let outcome = self.execute_stage(&mut portal, limit).await;
        let tag = match &portal.stage {
            Stage::Over { word } => word.as_slice(),
            _ => b"",
        };
        self.meter_scattered(running, outcome.is_ok().then_some(tag));
        match outcome {
            Ok(()) => {
                self.keep_scatter(name, portal);
                Ok(())
            }
            Err(stop) => {
                self.portals.retain(|(known, _)| known != name);
                Err(stop.into())
            }
        }
    }

    async fn execute_stage(&mut self, portal: &mut Scattered, limit: u32) -> Result<(), Stop> {
        let over = Stage::Over { word: Vec::new() };
        let mut run = match std::mem::replace(&mut portal.stage, over) {
            Stage::Bound { describe } => {
                self.begin_writing(&portal.job);
                let describe = if describe { Describe::Full } else { Describe::No };
                let opening = Opening { bind: true, describe, execute: Some(limit) };
                Box::new(self.open(&portal.job, opening).await?)
            }
            Stage::Open(mut run) => {
                self.resume(&mut run)?;
                run.set_limit(&portal.job, limit);
                run
            }
            Stage::Over { word } => {
                portal.stage = Stage::Over { word: word.clone() };
                return self.execute_again(&word);
            }
        };
        let fetched = match self.fetch(&portal.job, &mut run, limit).await {
            Ok(fetched) => fetched,
            Err(stop) => return Err(self.give_up(&mut run, stop).await),
        };
        if portal.description.is_none() {
            let merged = run.merger.description().map(Bytes::copy_from_slice);
            portal.description = merged.or_else(|| run.finished.clone());
        }
        match fetched.tag {
            Some(tag) => {
                command_complete(&mut self.client.outgoing, &tag);
                portal.stage = Stage::Over { word: tag };
            }
            None => {
                encode::portal_suspended(&mut self.client.outgoing);
                self.park(&mut run);
                portal.stage = Stage::Open(run);
            }
        }
        Ok(())
    }

    /// Opens a portal on the shards for a cursor: what it returns is fixed from now on. Also the cursor's RowDescription.
    pub(in crate::session) async fn open_source(
        &mut self,
        statement: &Arc<Statement>,
        plan: &Plan,
        to: (Vec<ShardId>, Vec<u16>),
        bind: BytesMut,
    ) -> Result<(Box<Scattered>, Bytes), Trouble> {
        let mut job = Job::new(plan, to.0, to.1, &statement.text)?;
        job.statement = Some(statement.clone());
        job.bind = bind;
        let opening = Opening { bind: false, describe: Describe::No, execute: None };
        let mut run = self.open(&job, opening).await?;
        let description = self.described(&job, &mut run).await?;
        self.park(&mut run);
        let stage = Stage::Open(Box::new(run));
        Ok((Box::new(Scattered { job, stage, description: None }), description.unwrap_or_default()))
    }

    /// At most so many rows of a cursor's portal, and whether they were the last.
    pub(in crate::session) async fn pull(
        &mut self,
        portal: &mut Scattered,
        limit: u32,
    ) -> Result<(BytesMut, bool), Stop> {
        let over = Stage::Over { word: Vec::new() };
        let Stage::Open(mut run) = std::mem::replace(&mut portal.stage, over) else {
            return Ok((BytesMut::new(), true));
        };
        self.resume(&mut run)?;
        run.set_limit(&portal.job, limit);
        run.into = Some(BytesMut::new());
        let fetched = match self.fetch(&portal.job, &mut run, limit).await {
            Ok(fetched) => fetched,
            Err(stop) => return Err(self.give_up(&mut run, stop).await),
        };
        let rows = run.into.take().unwrap_or_default();
        let ended = fetched.tag.is_some();
        if !ended {
            self.park(&mut run);
            portal.stage = Stage::Open(run);
        }
        Ok((rows, ended))
    }

    /// CLOSE of a cursor whose rows were not all fetched.
    pub(in crate::session) async fn close_source(&mut self, portal: Box<Scattered>) -> Result<(), Trouble> {
        if let Stage::Open(mut run) = portal.stage {
            self.set_aside().await?;
            self.close_run(&mut run).await?;
        }
        Ok(())
    }

    /// Execute of a portal that is at its end: a query returns no more rows, and a command cannot be run twice.
    fn execute_again(&mut self, tag: &[u8]) -> Result<(), Stop> {
        let word: &[u8] = tag.split(|byte| *byte == b' ').next().unwrap_or_default();
        if word != b"SELECT" {
            let error = PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run");
            return Err(error.into());
        }
        command_complete(&mut self.client.outgoing, b"SELECT 0");
        Ok(())
    }

    /// Between two Execute messages: within a transaction the connections are the transaction's.
    fn park(&mut self, run: &mut Run) {
        self.handle.aim(None);
        if !run.block {
            return;
        }
        for part in &mut run.parts {
            if let Some(held) = part.held.take() {
                self.put_back(held, true);
            }
        }
    }

    /// The portal's connections again.
    fn resume(&mut self, run: &mut Run) -> Result<(), Stop> {
        if run.kept.is_none() && run.block {
            for part in &mut run.parts {
                part.held = self.take_held(part.shard);
            }
            if run.parts.iter().any(|part| part.held.is_none()) {
                self.park(run);
                return Err(
                    PgError::new(SqlState::UNDEFINED_CURSOR, "the portal's connection to a shard is gone").into()
                );
            }
        }
        run.cancels = self.handle.cancels();
        self.aim_at(&run.parts);
        Ok(())
    }

    /// Close of a portal, if it is over several shards; whether it was.
    pub(in crate::session) async fn close_if_scatter(&mut self, name: &str) -> Result<bool, Trouble> {
        if !self.is_scatter(name) {
            return Ok(false);
        }
        Box::pin(self.close_scatter(name)).await?;
        Ok(true)
    }

    async fn close_scatter(&mut self, name: &str) -> Result<(), Trouble> {
        let portal = self.take_scatter(name);
        self.portals.retain(|(known, _)| known != name);
        if let Ok(portal) = portal
            && let Stage::Open(mut run) = portal.stage
        {
            self.set_aside().await?;
            self.close_run(&mut run).await?;
        }
        Ok(())
    }

    async fn close_run(&mut self, run: &mut Run) -> Result<(), Stop> {
        if run.block && run.kept.is_none() {
            self.resume(run)?;
            for part in &mut run.parts {
                let mut out = BytesMut::with_capacity(64);
                request::close_portal(&mut out, &run.portal);
                part.answers.expect(super::answers::Owed::Close);
                part.finish_asking("", Order { execute: None, sync: true }, &mut out);
            }
            if let Err(stop) = self.drive(run, Goal::Rest).await {
                return Err(self.give_up(run, stop).await);
            }
        }
        self.release(run);
        Ok(())
    }

    /// The batch is over, and with it all portals outside of a transaction.
    pub(in crate::session) fn release_portals(&mut self) {
        self.unopened = None;
        for (_, portal) in std::mem::take(&mut self.portals) {
            if let Portal::Scatter(Some(portal)) = portal
                && let Stage::Open(mut run) = portal.stage
                && !run.block
            {
                self.release(&mut run);
            }
        }
    }

    /// The Sync of a batch that wrote on several shards: they commit, or none does.
    pub(in crate::session) async fn end_batch(&mut self) -> Result<(), Trouble> {
        let commit = !self.transaction.is_failed();
        self.end_implicit(commit).await
    }
}

impl Run {
    /// The row limit of the next Execute, which may be the first.
    fn set_limit(&mut self, job: &Job, limit: u32) {
        self.batch = batch(limit);
        if self.executed {
            return;
        }
        self.executed = true;
        self.cursor = limit > 0 && streams(job);
        for part in &mut self.parts {
            match self.cursor {
                true => part.suspended = true,
                false => {
                    let order = Order { execute: Some(0), sync: true };
                    part.finish_asking(&self.portal, order, &mut BytesMut::with_capacity(64));
                }
            }
        }
    }
}

/// Whether rows go out before all of them are here, so that they are fetched in batches.
pub(super) fn streams(job: &Job) -> bool {
    matches!(job.gather.merge, Merge::Concat | Merge::Ordered(_) | Merge::Distinct(_) | Merge::Rows)
}

/// Puts the formats that a client asked for into its RowDescription.
pub(in crate::session) fn set_formats(message: &mut [u8], formats: &[i16]) {
    let Some(body) = message.get_mut(5..) else { return };
    if body.len() < 2 {
        return;
    }
    let count = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let mut at = 2;
    for column in 0..count {
        let Some(end) = body.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) else { return };
        // Table, column, type, size, modifier, and then the format.
        let format_at = at + end + 1 + 16;
        let format = match formats {
            [] => 0,
            [all] => *all,
            each => each.get(column).copied().unwrap_or(0),
        };
        let Some(place) = body.get_mut(format_at..format_at + 2) else { return };
        place.copy_from_slice(&format.to_be_bytes());
        at = format_at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_set_column_by_column() {
        let mut message = BytesMut::new();
        encode::row_description(&mut message, &["a", "bc"]);
        for (formats, ends) in [(&[][..], [0, 0]), (&[1], [1, 1]), (&[0, 1], [0, 1])] {
            set_formats(&mut message, formats);
            assert_eq!((message[5 + 2 + 2 + 17], *message.last().unwrap()), (ends[0], ends[1]), "{formats:?}");
        }
        set_formats(&mut [b'n', 0, 0, 0, 4], &[1]);
    }
}
