//! Simple queries that take several steps.

use std::sync::Arc;

use bytes::BytesMut;

use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::plan::Plan;
use crate::session::copy::copy_in;
use crate::session::extended::Batch;
use crate::session::scatter::query::command_complete;
use crate::session::statements::Statement;
use crate::session::{Session, Trouble};

impl Session {
    /// A query of one statement that takes several steps.
    pub(in crate::session) async fn work_query(&mut self, text: &str, plan: &Plan) -> Result<(), Trouble> {
        let job = Assignment::new(plan, text)?;
        if copy_in(&job).is_some() {
            return Box::pin(self.begin_copy(&job, true)).await;
        }
        self.work_whole(&job).await
    }

    /// EXECUTE of a statement that takes several steps. In a batch of the extended protocol its transaction lasts up to the Sync, and its columns
    /// are not for now.
    pub(in crate::session) async fn work_prepared(
        &mut self,
        statement: Arc<Statement>,
        plan: &Plan,
        bind: BytesMut,
        simple: bool,
    ) -> Result<(), Trouble> {
        let mut job = Assignment::new(plan, &statement.text)?;
        job.statement = Some(statement);
        job.bind = bind;
        if simple {
            return self.work_whole(&job).await;
        }
        let running = self.meter_steps(&job.effects);
        self.set_aside().await?;
        if self.needs_block(&job) {
            self.begin_implicit();
        }
        let mut outlet = Outlet { formats: job.formats()?, ..Outlet::default() };
        let outcome = self.attempt(&job, &mut outlet).await;
        self.meter_scattered(running, outcome.as_deref().ok());
        command_complete(&mut self.client.outgoing, &outcome?);
        Ok(())
    }

    async fn work_whole(&mut self, job: &Assignment) -> Result<(), Trouble> {
        let running = self.meter_steps(&job.effects);
        self.set_aside().await?;
        // A query ends the batch before it, as a Sync does.
        self.batch = Batch::default();
        let mut outlet = Outlet { describe: true, ..Outlet::default() };
        let outcome = self.carry_out(job, &mut outlet).await;
        self.meter_scattered(running, outcome.as_deref().ok());
        let tag = outcome?;
        self.meter_ready(self.transaction.status());
        command_complete(&mut self.client.outgoing, &tag);
        self.end_statement();
        Ok(())
    }

    /// Does a statement's steps, with a transaction around them if it writes outside of one; the command tag.
    pub(in crate::session) async fn carry_out(
        &mut self,
        job: &Assignment,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Trouble> {
        let implicit = self.needs_block(job);
        if implicit {
            self.begin_implicit();
        }
        let outcome = self.attempt(job, outlet).await;
        if implicit {
            let ended = self.end_implicit(outcome.is_ok()).await;
            if outcome.is_ok() {
                ended?;
            }
        }
        Ok(outcome?)
    }

    /// Whether a transaction has to be begun around it.
    pub(super) fn needs_block(&self, job: &Assignment) -> bool {
        (job.effects.writes || job.effects.ddl) && self.transaction.is_idle()
    }

    /// Does the steps. Afterwards the connections are where they belong, and after an error a transaction has failed.
    pub(super) async fn attempt(&mut self, job: &Assignment, outlet: &mut Outlet) -> Result<Vec<u8>, Stop> {
        self.transaction.settle();
        let outcome = self.perform(job, outlet).await;
        if outcome.is_err() && !self.transaction.is_idle() {
            self.transaction.fail();
        }
        self.handle.aim(None);
        if self.transaction.is_idle() {
            self.close_unclean();
            self.release_unused();
            self.handle.set_status(crate::session::registry::Status::Idle);
        }
        outcome
    }

    /// Connections outside of a transaction that still owe something are closed, which also ends what runs there.
    fn close_unclean(&mut self) {
        for index in (0..self.held.len()).rev() {
            if self.held[index].part.is_none() && !self.held[index].lease.is_clean() {
                drop(self.drop_held(index));
            }
        }
    }
}
