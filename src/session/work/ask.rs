//! Statements of Goldseam's own, with parameters, to any number of shards at once: all are sent, and all that comes back is kept, or goes to
//! whoever takes it as it comes ([`Taker`]).
//!
//! What is asked in one round runs side by side ([`round`](super::round)); several questions for one shard are answered one after the other on
//! its one connection, all of them within one transaction.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::Stop;
use super::bench::Workbench;
use super::round::{Round, Turn};
use crate::error::PgError;
use crate::plan::Effects;
use crate::pool::Lease;
use crate::protocol::answer;
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{self, request};
use crate::session::registry::{CancelTarget, Status};
use crate::session::scatter::answers::Owed;
use crate::session::scatter::drive::MAX_ROW;
use crate::session::{Session, Trouble};
use crate::sqlstate::SqlState;
use crate::types::{Oid, ShardId};

/// What is wanted of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::session) enum What {
    /// Its rows.
    #[default]
    Run,
    /// What its parameters and columns are, without running it.
    Describe,
}

/// One statement for one shard, which has to be enlisted ([`Session::enlist_for`]).
#[derive(Debug, Clone)]
pub(in crate::session) struct Ask {
    pub shard: ShardId,
    pub sql: Cow<'static, str>,
    /// The parameters' types; 0 or absent: the server infers.
    pub types: Vec<Oid>,
    pub values: Vec<(Format, Option<Bytes>)>,
    /// The formats of the columns that come back, by Bind's rule.
    pub formats: Vec<i16>,
    pub what: What,
    /// Errors are about a text that is not the client's: places in it mean nothing to the client.
    pub rewritten: bool,
    /// It is for the session's connection to the workbench, not for the shard's part in the transaction.
    pub bench: bool,
    /// Its notices are not passed on: another shard says the same.
    pub hush: bool,
}

impl Ask {
    /// Without parameters, all columns in binary form.
    pub fn new(shard: ShardId, sql: impl Into<Cow<'static, str>>) -> Ask {
        Ask {
            shard,
            sql: sql.into(),
            types: Vec::new(),
            values: Vec::new(),
            formats: vec![1],
            what: What::Run,
            rewritten: true,
            bench: false,
            hush: false,
        }
    }
}

/// What one shard said.
#[derive(Debug, Clone)]
pub(in crate::session) struct Reply {
    pub shard: ShardId,
    /// The parameters' types, if that was asked.
    pub types: Vec<Oid>,
    /// The body of the RowDescription; none if it has no rows.
    pub columns: Option<Bytes>,
    /// Whole DataRow messages.
    pub rows: BytesMut,
    /// The command tag.
    pub tag: String,
}

impl Reply {
    /// The values of each row, in their columns' formats; NULL is none.
    pub fn values(&self) -> Result<Vec<Vec<Option<&[u8]>>>, PgError> {
        let (mut at, mut rows) = (0, Vec::new());
        while let Some(frame) = protocol::frame(&self.rows[at..], MAX_ROW)? {
            rows.push(answer::row_values(&self.rows[at + HEADER..at + frame.len])?);
            at += frame.len;
        }
        Ok(rows)
    }

    /// The rows that the command tag counts.
    pub fn count(&self) -> u64 {
        self.tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }
}

/// Who takes what a round brings while it comes. Nothing is asked to wait: what is not taken stays, and stops its server after a while.
pub(in crate::session) trait Taker: Send {
    /// The n-th question has these columns: the body of a RowDescription, none if it has no rows.
    fn columns(
        &mut self,
        question: usize,
        shard: ShardId,
        body: Option<&Bytes>,
        desk: &mut Desk<'_>,
    ) -> Result<(), Stop>;

    /// Takes the whole DataRow messages at the start of `incoming`, the n-th question's. `false`: not now, they stay where they are.
    fn rows(&mut self, question: usize, incoming: &mut BytesMut, desk: &mut Desk<'_>) -> Result<bool, Stop>;

    /// All rows of the n-th question have come.
    fn done(&mut self, question: usize, desk: &mut Desk<'_>) -> Result<(), Stop> {
        let _ = (question, desk);
        Ok(())
    }

    /// Goes on with what it has to do itself; whether it may take rows now that it would not before.
    fn poll(&mut self, cx: &mut std::task::Context<'_>, desk: &mut Desk<'_>) -> Result<bool, Stop> {
        let _ = (cx, desk);
        Ok(false)
    }

    /// It has nothing left to do: the round may end.
    fn is_idle(&self) -> bool {
        true
    }
}

/// What a [`Taker`] may put things on.
pub(in crate::session) struct Desk<'a> {
    /// What the client is sent next.
    pub client: &'a mut BytesMut,
    /// The place of the connection to the workbench; none while that itself is read.
    pub bench: Option<&'a mut Option<Workbench>>,
}

impl Session {
    /// Connections to these shards with the client's settings, owing nothing: those of the transaction if there is one, which they join;
    /// otherwise the session's until [`Session::release_unused`]. The attached backend must have been set aside.
    pub(in crate::session) async fn enlist_for(
        &mut self,
        effects: &Effects,
        shards: &[ShardId],
    ) -> Result<(), Trouble> {
        self.note_temporary(effects);
        for shard in shards {
            self.admit(*shard, effects)?;
        }
        if self.transaction.is_idle() {
            self.borrow(shards).await?;
        }
        self.enlist_all(shards).await?;
        if effects.writes && !self.transaction.is_idle() {
            // All of them become writers together, so that each has to be admitted beside the others.
            for held in self.held.iter_mut().filter(|held| shards.contains(&held.lease.shard)) {
                held.wrote = true;
                held.part.iter_mut().for_each(|part| part.wrote = true);
            }
            for shard in shards {
                self.admit(*shard, effects)?;
            }
        }
        self.handle.set_status(Status::Active);
        Ok(())
    }

    /// Asks all at once; the replies come in the order of the questions. Several questions for one shard are answered in their order.
    ///
    /// # Errors
    /// The first error of a server, with the shard's name; a lost connection (and then a transaction is doomed); a client that cancelled,
    /// left or was killed; more than 256 MiB of rows (54000). No shard owes anything then, or its connection is closed.
    pub(in crate::session) async fn ask_shards(&mut self, asks: Vec<Ask>) -> Result<Vec<Reply>, Stop> {
        self.ask_taking(asks, None).await
    }

    /// The same with rows and columns that go to a taker as they come: the replies have none then.
    ///
    /// # Errors
    /// As [`Session::ask_shards`], and what the taker finds.
    pub(in crate::session) async fn ask_taking(
        &mut self,
        asks: Vec<Ask>,
        taker: Option<&mut dyn Taker>,
    ) -> Result<Vec<Reply>, Stop> {
        let mut round = Round::new(taker);
        let mut outs: Vec<BytesMut> = Vec::new();
        for (question, ask) in asks.into_iter().enumerate() {
            let known = round.turns.iter().position(|turn| (turn.shard, turn.bench) == (ask.shard, ask.bench));
            let at = known.unwrap_or_else(|| {
                round.turns.push(Turn::new(ask.shard, ask.bench));
                outs.push(BytesMut::with_capacity(ask.sql.len() + 256));
                outs.len() - 1
            });
            let (turn, out) = (&mut round.turns[at], &mut outs[at]);
            write(&ask, out, turn);
            turn.questions.push_back(question);
            turn.rewritten.push(ask.rewritten);
            turn.hush |= ask.hush;
            let (rows, types) = (BytesMut::new(), Vec::new());
            round.replies.push(Reply { shard: ask.shard, types, columns: None, rows, tag: String::new() });
        }
        let mut targets = Vec::with_capacity(outs.len());
        for (turn, mut out) in round.turns.iter_mut().zip(outs) {
            request::sync(&mut out);
            turn.answers.expect(Owed::Ready);
            if !turn.bench
                && let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == turn.shard)
            {
                held.unnamed = None;
            }
            let Some(lease) = self.lease_of(turn.shard, turn.bench) else { return Err(not_enlisted().into()) };
            lease.in_flight = 1;
            // An error shows again when the answer is read.
            let _ = lease.send_now(&out);
            targets.push(CancelTarget { shard: lease.shard, pid: lease.pid, secret: lease.secret.clone() });
        }
        if let Some(bench) = &self.workbench
            && !targets.iter().any(|target| target.pid == bench.lease.pid && target.shard == bench.lease.shard)
        {
            let lease = &bench.lease;
            targets.push(CancelTarget { shard: lease.shard, pid: lease.pid, secret: lease.secret.clone() });
        }
        self.handle.aim_at_all(targets);
        self.go_round(&mut round).await?;
        let Round { turns, replies, .. } = round;
        for turn in &turns {
            self.meter_part(turn.shard);
            self.meter_touched(turn.shard);
        }
        Ok(replies)
    }

    /// The connection that is asked.
    pub(super) fn lease_of(&mut self, shard: ShardId, bench: bool) -> Option<&mut Lease> {
        match bench {
            true => self.workbench.as_mut().map(|bench| &mut bench.lease),
            false => self.held.iter_mut().find(|held| held.lease.shard == shard).map(|held| &mut held.lease),
        }
    }
}

/// Writes what one question is.
fn write(ask: &Ask, out: &mut BytesMut, turn: &mut Turn) {
    request::parse(out, "", &ask.sql, ask.types.iter().copied());
    turn.answers.expect(Owed::Parse(None));
    match ask.what {
        What::Describe => {
            request::describe_statement(out, "");
            turn.answers.expect(Owed::Statement);
        }
        What::Run => {
            let values: Vec<_> = ask.values.iter().map(|(format, value)| (*format, value.as_deref())).collect();
            request::bind_values(out, "", "", values.into_iter(), &ask.formats);
            request::describe_portal(out, "");
            request::execute(out, "", 0);
            [Owed::Bind, Owed::Portal, Owed::Execute].into_iter().for_each(|owed| turn.answers.expect(owed));
        }
    }
    turn.describes.push_back(ask.what == What::Describe);
}

pub(super) fn not_enlisted() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a shard's connection is missing")
}
