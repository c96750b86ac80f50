//! Simple queries over several shards, and what both protocols' executions have in common.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use super::ask::{Order, Texts};
use super::drive::Goal;
use super::known::Known;
use super::portal::streams;
use super::run::{Describe, Run};
use super::{Job, Stop};
use crate::backend::Value;
use crate::error::PgError;
use crate::merge::{Limits, Merger, Next, Setup};
use crate::plan::Plan;
use crate::session::extended::Batch;
use crate::session::statements::Statement;
use crate::session::{Session, Trouble};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// What one portal of a client's is opened with.
pub(super) struct Opening {
    /// The client waits for BindComplete.
    pub bind: bool,
    pub describe: Describe,
    /// It is executed at once, with this row limit; 0 is none.
    pub execute: Option<u32>,
}

impl Session {
    /// A query of one statement that leads to several shards.
    pub(in crate::session) async fn scatter_query(
        &mut self,
        text: &str,
        plan: &Plan,
        shards: Vec<ShardId>,
        rows: Vec<u16>,
    ) -> Result<(), Trouble> {
        let job = Job::new(plan, shards, rows, text)?;
        self.scatter_whole(&job).await?;
        self.end_statement();
        Ok(())
    }

    /// EXECUTE of a statement that leads to several shards. In a batch of the extended protocol its transaction lasts up to the Sync, and its
    /// columns are not for now.
    pub(in crate::session) async fn scatter_prepared(
        &mut self,
        statement: Arc<Statement>,
        plan: &Plan,
        to: (Vec<ShardId>, Vec<u16>),
        bind: BytesMut,
        simple: bool,
    ) -> Result<(), Trouble> {
        let mut job = Job::new(plan, to.0, to.1, &statement.text)?;
        job.statement = Some(statement);
        job.bind = bind;
        if simple {
            self.scatter_whole(&job).await?;
            self.end_statement();
            return Ok(());
        }
        let running = self.meter_scatter(&job.effects, &job.shards);
        self.set_aside().await?;
        self.begin_writing(&job);
        let outcome = self.whole(&job, Describe::No).await;
        self.meter_scattered(running, outcome.as_deref().ok());
        command_complete(&mut self.client.outgoing, &outcome?);
        Ok(())
    }

    /// All of a simple query's statement but the ReadyForQuery.
    async fn scatter_whole(&mut self, job: &Job) -> Result<(), Trouble> {
        let running = self.meter_scatter(&job.effects, &job.shards);
        self.set_aside().await?;
        // A query ends the batch before it, as a Sync does.
        self.batch = Batch::default();
        let implicit = job.effects.writes && self.transaction.is_idle();
        if implicit {
            self.begin_implicit();
        }
        let mut outcome = self.whole(job, Describe::Rows).await;
        if implicit {
            let ended = self.end_implicit(outcome.is_ok()).await;
            if let (true, Err(trouble)) = (outcome.is_ok(), ended) {
                outcome = Err(trouble.into());
            }
        }
        self.meter_scattered(running, outcome.as_deref().ok());
        let tag = outcome?;
        self.meter_ready(self.transaction.status());
        command_complete(&mut self.client.outgoing, &tag);
        Ok(())
    }

    /// From the first byte to the command tag.
    pub(in crate::session) async fn whole(&mut self, job: &Job, describe: Describe) -> Result<Vec<u8>, Stop> {
        let opening = Opening { bind: false, describe, execute: Some(0) };
        let mut run = self.open(job, opening).await?;
        let outcome = self.fetch(job, &mut run, 0).await;
        match outcome {
            Ok(fetched) => Ok(fetched.tag.unwrap_or_default()),
            Err(stop) => Err(self.give_up(&mut run, stop).await),
        }
    }

    /// Connections, and what the shards are sent; the run, whose rows are on their way if it is executed.
    pub(super) async fn open(&mut self, job: &Job, opening: Opening) -> Result<Run, Stop> {
        let block = !self.transaction.is_idle();
        let cancels = self.handle.cancels();
        let texts = Texts::of(job, &self.state.sql_limits())?;
        let setup = self.setup(job)?;
        self.transaction.settle();
        let mut parts = self.take_parts(job, block).await?;
        for held in parts.iter_mut().filter_map(|part| part.held.as_mut()) {
            held.wrote |= job.effects.writes;
        }
        let mut run = Run::new(parts, Merger::new(job.gather.clone(), setup), block, cancels);
        match self.begin(job, &mut run, &texts, opening).await {
            Ok(()) => Ok(run),
            Err(stop) => {
                if super::drive::is_stale(&stop) {
                    self.shared.columns.forget(&job.gather);
                }
                Err(self.give_up(&mut run, stop).await)
            }
        }
    }

    async fn begin(&mut self, job: &Job, run: &mut Run, texts: &Texts, opening: Opening) -> Result<(), Stop> {
        // A place in the text counts only where the text is the client's.
        run.rewritten = !matches!(texts, Texts::Own);
        let Known { types, columns } = self.know(job, run, texts).await?;
        run.bind_due = opening.bind;
        run.describe = opening.describe;
        let limit = opening.execute.unwrap_or(0);
        // What goes out only when all rows are here needs no batches.
        run.cursor = limit > 0 && streams(job);
        run.executed = opening.execute.is_some();
        if run.cursor || !run.executed {
            run.portal = format!("goldseam_{}", self.next_portal());
            run.batch = batch(limit);
        }
        let execute = opening.execute.map(|_| if run.cursor { run.batch } else { 0 });
        let order = Order { execute, sync: run.block || (run.executed && !run.cursor) };
        self.ask_all(job, run, texts, &types, columns, order)?;
        run.types = types;
        if execute.is_none() {
            self.drive(run, Goal::Described).await?;
            self.drive(run, Goal::Rest).await?;
        }
        Ok(())
    }

    /// The number of a portal of ours: none of a client's other portals, nor an unnamed one, may take its place.
    fn next_portal(&mut self) -> usize {
        self.turn = self.turn.wrapping_add(1);
        self.turn
    }

    pub(super) fn setup(&self, job: &Job) -> Result<Setup, Stop> {
        Ok(Setup {
            shards: job.shards.iter().map(|shard| self.state.vschema.shard_name(*shard).to_owned()).collect(),
            formats: job.formats()?,
            rows: job.rows.clone(),
            limits: Limits::default(),
            rounded_floats: self.has_rounded_floats(),
        })
    }

    /// Whether the client wants floating-point numbers in text with fewer digits than they have.
    pub(super) fn has_rounded_floats(&self) -> bool {
        let digits = self.settings.server.get("extra_float_digits");
        let digits = digits.map(|(Value::Plain(text) | Value::Sql(text))| text.trim_matches('\''));
        digits.is_some_and(|digits| digits.parse::<i32>().is_ok_and(|digits| digits < 1))
    }

    /// Rows to the client, at most `limit` (0: all); then connections go back if nothing is left to fetch.
    pub(super) async fn fetch(&mut self, job: &Job, run: &mut Run, limit: u32) -> Result<Fetched, Stop> {
        let room = if limit == 0 { u64::MAX } else { u64::from(limit) };
        if run.kept.is_none() {
            let reached = self.drive(run, Goal::Rows(room)).await?;
            if reached.next != Next::Finish {
                // As in PostgreSQL, a portal that stops at its limit does not know yet that it is at its end.
                let suspended = reached.rows >= room;
                if !suspended {
                    self.wind_up(run).await?;
                } else if run.cursor {
                    self.drive(run, Goal::Rest).await?;
                }
                let tag = (!suspended).then(|| run.merger.tag(reached.rows).into_bytes());
                return Ok(Fetched { tag });
            }
            let tag = self.finish(job, run, limit == 0).await?;
            self.wind_up(run).await?;
            if let Some(tag) = tag {
                return Ok(Fetched { tag: Some(tag) });
            }
        }
        self.fetch_kept(run, room).await
    }

    /// A statement has failed: the shards are stopped, and a transaction knows it.
    pub(super) async fn give_up(&mut self, run: &mut Run, stop: Stop) -> Stop {
        let block = run.block;
        let stopped = self.stop(run).await;
        match stopped {
            Err(over) => return over.into(),
            Ok(true) if block => self.transaction.fail(),
            Ok(false) if block => self.doom(lost()),
            Ok(_) => {}
        }
        stop
    }
}

/// What one Execute came to.
pub(super) struct Fetched {
    /// The command tag; none if the row limit came first.
    pub tag: Option<Vec<u8>>,
}

/// The most rows that one shard is asked for at a time, and that may wait here.
const MOST_ROWS: u32 = 1000;

/// The shards' row limit for a client's.
pub(super) fn batch(limit: u32) -> i32 {
    let rows = if limit == 0 { MOST_ROWS } else { limit.min(MOST_ROWS) };
    rows as i32
}

/// What a block is told that has lost a shard in the middle of a statement.
fn lost() -> PgError {
    PgError::new(SqlState::CONNECTION_FAILURE, "the connection to a shard of the transaction was lost")
        .with_hint("The transaction is rolled back on all shards: repeat it.")
}

/// CommandComplete.
pub(in crate::session) fn command_complete(out: &mut BytesMut, tag: &[u8]) {
    out.put_u8(b'C');
    out.put_i32(tag.len() as i32 + 5);
    out.put_slice(tag);
    out.put_u8(0);
}
