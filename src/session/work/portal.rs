//! Portals of statements that take several steps.
//!
//! Bind is answered at once; Describe asks a shard what the client's own statement is like, without running it; Execute does the steps. With a
//! row limit all of the answer is kept here, and given out in parts.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::ask::{Ask, What};
use super::outlet::{Outlet, count, move_rows};
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::{Plan, Steps};
use crate::protocol::{BindView, encode};
use crate::session::copy::copy_in;
use crate::session::extended::Portal;
use crate::session::scatter::query::command_complete;
use crate::session::statements::Statement;
use crate::session::{Session, Trouble};
use crate::sqlstate::SqlState;

/// A client's portal of a statement that takes several steps.
pub(in crate::session) struct Working {
    job: Assignment,
    stage: Stage,
    /// The whole RowDescription or NoData, once it is known.
    description: Option<Bytes>,
}

enum Stage {
    /// Nothing has been done yet.
    Bound,
    /// It is done; rows wait to be fetched.
    Kept { rows: BytesMut, tag: Vec<u8> },
    /// All rows are out; the command tag.
    Over { tag: Vec<u8> },
}

impl std::fmt::Debug for Working {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Working").field("text", &self.job.text).finish_non_exhaustive()
    }
}

impl Session {
    /// Bind of a statement that takes several steps.
    pub(in crate::session) async fn bind_work(
        &mut self,
        frame: &[u8],
        view: &BindView<'_>,
        statement: Arc<Statement>,
        plan: &Plan,
    ) -> Result<(), Trouble> {
        let mut job = Assignment::new(plan, &statement.text)?;
        job.statement = Some(statement);
        job.bind = BytesMut::from(frame);
        self.prove_all().await?;
        self.set_aside().await?;
        self.close_if_scatter(view.portal).await?;
        let portal = Working { job, stage: Stage::Bound, description: None };
        self.set_portal(view.portal, Portal::Work(Some(Box::new(portal))))?;
        encode::bind_complete(&mut self.client.outgoing);
        Ok(())
    }

    /// Whether a portal is of a statement that takes several steps.
    pub(in crate::session) fn is_work(&self, name: &str) -> bool {
        self.portals.iter().any(|(known, portal)| known == name && matches!(portal, Portal::Work(_)))
    }

    fn take_work(&mut self, name: &str) -> Result<Box<Working>, PgError> {
        let found = self.portals.iter_mut().find(|(known, _)| known == name);
        match found {
            Some((_, Portal::Work(portal))) => portal.take(),
            _ => None,
        }
        .ok_or_else(|| PgError::new(SqlState::UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist")))
    }

    fn keep_work(&mut self, name: &str, portal: Box<Working>) {
        if let Some((_, Portal::Work(place))) = self.portals.iter_mut().find(|(known, _)| known == name) {
            *place = Some(portal);
        }
    }

    /// Describe of a portal that takes several steps.
    pub(in crate::session) async fn describe_work(&mut self, name: &str) -> Result<(), Trouble> {
        self.open_pending().await?;
        self.set_aside().await?;
        let mut portal = self.take_work(name)?;
        if portal.description.is_none() {
            let mut outlet = Outlet { formats: portal.job.formats()?, ..Outlet::default() };
            let columns = self.columns_of(&portal.job).await;
            if self.transaction.is_idle() {
                self.release_unused();
            }
            self.put_columns(&mut outlet, columns?.as_deref());
            portal.description = outlet.description;
        }
        self.client.outgoing.extend_from_slice(portal.description.as_deref().unwrap_or_default());
        self.keep_work(name, portal);
        Ok(())
    }

    /// The columns of the client's own statement, as one shard describes them without running it.
    pub(in crate::session) async fn columns_of(&mut self, job: &Assignment) -> Result<Option<Bytes>, Stop> {
        if let Steps::Bench(bench) = &job.work.steps {
            return self.columns_of_bench(job, bench).await;
        }
        let shard = match &job.work.steps {
            Steps::Write(write) if write.describers.is_some() => self.describer_of(write).ok_or_else(apart)?,
            _ => self.state.vschema.home(),
        };
        self.enlist_for(&job.effects, &[shard]).await?;
        let types = job.statement.as_ref().map(|statement| statement.types.clone()).unwrap_or_default();
        let ask = Ask { what: What::Describe, types, ..Ask::new(shard, job.text.clone()) };
        let mut replies = self.ask_shards(vec![ask]).await?;
        Ok(replies.pop().and_then(|reply| reply.columns))
    }

    /// Execute of a portal that takes several steps.
    pub(in crate::session) async fn execute_work(&mut self, name: &str, max_rows: i32) -> Result<(), Trouble> {
        self.open_pending().await?;
        self.set_aside().await?;
        let mut portal = self.take_work(name)?;
        let limit = u64::try_from(max_rows).unwrap_or(0);
        let running = self.meter_steps(&portal.job.effects);
        let outcome = self.execute_working(&mut portal, limit).await;
        let tag = match &portal.stage {
            Stage::Over { tag } => tag.as_slice(),
            _ => b"",
        };
        self.meter_scattered(running, outcome.is_ok().then_some(tag));
        match outcome {
            Ok(()) => {
                self.keep_work(name, portal);
                Ok(())
            }
            Err(trouble) => {
                self.portals.retain(|(known, _)| known != name);
                Err(trouble)
            }
        }
    }

    async fn execute_working(&mut self, portal: &mut Working, limit: u64) -> Result<(), Trouble> {
        if let Stage::Bound = portal.stage
            && copy_in(&portal.job).is_some()
        {
            portal.stage = Stage::Over { tag: Vec::new() };
            return Box::pin(self.begin_copy(&portal.job, false)).await;
        }
        if let Stage::Bound = portal.stage {
            let kept = (limit > 0).then(BytesMut::new);
            let mut outlet = Outlet { kept, formats: portal.job.formats()?, ..Outlet::default() };
            // Outside a transaction a write of a batch has one around it, up to the Sync.
            if self.needs_block(&portal.job) {
                self.begin_implicit();
            }
            let tag = self.attempt(&portal.job, &mut outlet).await?;
            if portal.description.is_none() {
                portal.description = outlet.description.take();
            }
            portal.stage = match outlet.kept {
                Some(rows) => Stage::Kept { rows, tag },
                None => {
                    command_complete(&mut self.client.outgoing, &tag);
                    portal.stage = Stage::Over { tag };
                    return Ok(());
                }
            };
        }
        match &mut portal.stage {
            Stage::Kept { rows, tag } => {
                let mut moved = move_rows(rows, &mut self.client.outgoing, limit.max(1));
                if limit > 0 && moved == limit {
                    encode::portal_suspended(&mut self.client.outgoing);
                    return Ok(());
                }
                if limit == 0 {
                    moved += count(rows);
                    self.client.outgoing.unsplit(std::mem::take(rows));
                }
                let mut tag = std::mem::take(tag);
                // As in PostgreSQL, the last tag counts the rows of the last Execute, if there are rows at all.
                if portal.description.as_ref().is_some_and(|message| message.first() == Some(&b'T'))
                    && let Some(space) = tag.iter().rposition(|byte| *byte == b' ')
                {
                    tag.truncate(space + 1);
                    tag.extend_from_slice(moved.to_string().as_bytes());
                }
                command_complete(&mut self.client.outgoing, &tag);
                portal.stage = Stage::Over { tag };
                Ok(())
            }
            Stage::Over { tag } if tag.starts_with(b"SELECT") => {
                command_complete(&mut self.client.outgoing, b"SELECT 0");
                Ok(())
            }
            _ => Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "portal cannot be run").into()),
        }
    }

    /// Close of a portal, if it is one that takes several steps; whether it was.
    pub(in crate::session) async fn close_if_work(&mut self, name: &str) -> Result<bool, Trouble> {
        if !self.is_work(name) {
            return Ok(false);
        }
        self.set_aside().await?;
        self.portals.retain(|(known, _)| known != name);
        Ok(true)
    }
}

/// A write whose tables no shard has all of cannot be described.
pub(super) fn apart() -> PgError {
    PgError::unsupported("describing a write whose tables are on shards that differ")
        .with_hint("Send it in the simple protocol, or read the other tables' rows with a statement of its own.")
}
