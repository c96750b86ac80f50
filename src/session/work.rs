//! Statements that take several steps: rows are fetched from some shards, and what becomes of them is run on others.
//!
//! The planner's [`Steps`] say what to do; each kind has a file here with the `perform_...` that does it. All of them share
//! * [`ask`]: statements of Goldseam's own, with parameters and with rows that come back, to any number of shards at once;
//! * [`outlet`]: the way of the answer's rows to the client;
//! * [`query`] and [`portal`]: the two protocols' sides.
//!
//! # What holds
//! - Outside a transaction a statement that writes has one around it over all shards that it touches, committed before the client is told that
//!   it is done ([`Session::begin_implicit`]); one that only reads is a transaction of its own for each step.
//! - After an error a transaction has failed on all shards, and nothing that a step left behind (a staged table, a pinned connection) stays.
//! - While it runs the client is watched: it may cancel or leave, and both reach every shard.

mod bench;
mod copies;
mod definition;
mod explain;
mod write;

pub(super) mod ask;
pub(super) mod outlet;
mod portal;
mod query;
mod round;

use std::sync::Arc;

use bytes::BytesMut;

use super::Session;
use super::scatter::Stop;
use super::statements::Statement;
use crate::error::PgError;
use crate::plan::work::Copy;
use crate::plan::{Effects, Plan, Steps, Verdict, Work};
use crate::protocol::BindView;
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;

pub(super) use bench::{Known, Workbench};
use outlet::Outlet;
pub(super) use portal::Working;

/// One execution of a statement that takes several steps.
pub(super) struct Assignment {
    /// The client's text.
    pub text: String,
    /// The prepared statement that it is, in the extended protocol.
    pub statement: Option<Arc<Statement>>,
    pub work: Arc<Work>,
    pub effects: Effects,
    /// The client's Bind message; empty for a simple query.
    pub bind: BytesMut,
}

/// A value of the client's, and its form.
pub(super) type Value<'a> = (Format, Option<&'a [u8]>);

impl Assignment {
    pub(super) fn new(plan: &Plan, text: &str) -> Result<Assignment, PgError> {
        let work = match &plan.verdict {
            Verdict::Route(route) => route.work.clone(),
            Verdict::Refuse(error) => return Err((**error).clone()),
        };
        let Some(work) = work else {
            return Err(PgError::unsupported("statement needs rows of several shards"));
        };
        let (text, effects) = (text.to_owned(), plan.effects.clone());
        Ok(Assignment { text, statement: None, work, effects, bind: BytesMut::new() })
    }

    /// The client's values, in their order.
    pub fn values(&self) -> Result<Vec<Value<'_>>, PgError> {
        if self.bind.is_empty() {
            return Ok(Vec::new());
        }
        let view = BindView::new(&self.bind[HEADER..])?;
        Ok(view.parameters().enumerate().map(|(n, value)| (view.format(n), value)).collect())
    }

    /// The result formats that the client asked for, by Bind's rule.
    pub fn formats(&self) -> Result<Vec<i16>, PgError> {
        if self.bind.is_empty() {
            return Ok(Vec::new());
        }
        let view = BindView::new(&self.bind[HEADER..])?;
        Ok(view.result_formats().map(|format| i16::from(format == Format::Binary)).collect())
    }
}

impl Session {
    /// Does the steps; the command tag. The client has the rows then, or the outlet keeps them.
    pub(super) async fn perform(&mut self, job: &Assignment, outlet: &mut Outlet) -> Result<Vec<u8>, Stop> {
        let work = job.work.clone();
        match &work.steps {
            Steps::Bench(bench) => Box::pin(self.perform_bench(job, bench, outlet)).await,
            Steps::Explain => Box::pin(self.perform_explain(job, outlet)).await,
            Steps::Write(write) => Box::pin(self.perform_write(job, write, outlet)).await,
            Steps::Copies(copies) => Box::pin(self.perform_copies(job, copies, outlet)).await,
            // Begun where the client's message is acted on: see `begin_copy`.
            Steps::Copy(Copy::In(_)) => Err(PgError::unsupported("COPY FROM STDIN within another statement").into()),
            Steps::Copy(Copy::Out(copy)) => Box::pin(self.perform_copy_out(job, copy)).await,
            Steps::Copy(Copy::Query) => Box::pin(self.perform_copy_query(job)).await,
            Steps::Definition(definition) => Box::pin(self.perform_definition(job, definition, outlet)).await,
        }
    }
}
