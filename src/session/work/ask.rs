//! Statements of Goldseam's own, with parameters, to any number of shards at once: all are sent, and all that comes back is kept.
//!
//! What is asked in one round runs side by side. The first error is the round's: the other shards get a moment, are then cancelled, and read
//! to their end, so that a transaction can be rolled back on all of them.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Stop;
use crate::backend;
use crate::error::{PgError, Severity};
use crate::plan::Effects;
use crate::protocol::answer::{self, ErrorFields};
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{self, encode, request};
use crate::session::gate::killed;
use crate::session::registry::{CancelTarget, Status};
use crate::session::scatter::answers::{Answers, Heard, Owed};
use crate::session::scatter::canceled;
use crate::session::scatter::drive::{CANCEL_PATIENCE, MAX_ROW, take_rows};
use crate::session::{Session, Trouble, settings};
use crate::sqlstate::SqlState;
use crate::types::{Oid, ShardId};

/// What a round's answers may hold together, in bytes.
const MOST: usize = 256 << 20;
/// What the others get after an error before they are cancelled.
const GRACE: Duration = Duration::from_millis(20);

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

/// One shard's part of a round.
struct Turn {
    shard: ShardId,
    answers: Answers,
    reply: Reply,
    rewritten: bool,
    hush: bool,
    lost: bool,
}

/// How a round ends that has failed.
struct Failure {
    stop: Stop,
    /// When the others are cancelled, and then when they are given up.
    until: Pin<Box<tokio::time::Sleep>>,
    canceled: bool,
}

impl Session {
    /// Connections to these shards with the client's settings, owing nothing: those of the transaction if there is one, which they join;
    /// otherwise the session's until [`Session::release_unused`]. The attached backend must have been set aside.
    pub(in crate::session) async fn enlist_for(
        &mut self,
        effects: &Effects,
        shards: &[ShardId],
    ) -> Result<(), Trouble> {
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

    /// Asks all at once; the replies come in the order of the questions. A shard may be asked once in a round.
    ///
    /// # Errors
    /// The first error of a server, with the shard's name; a lost connection (and then a transaction is doomed); a client that cancelled,
    /// left or was killed; more than 256 MiB of rows (54000). No shard owes anything then, or its connection is closed.
    pub(in crate::session) async fn ask_shards(&mut self, asks: Vec<Ask>) -> Result<Vec<Reply>, Stop> {
        let mut turns = Vec::with_capacity(asks.len());
        let mut targets = Vec::with_capacity(asks.len());
        for ask in asks {
            let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == ask.shard) else {
                return Err(not_enlisted().into());
            };
            held.unnamed = None;
            let mut answers = Answers::default();
            let mut out = BytesMut::with_capacity(ask.sql.len() + 256);
            request::parse(&mut out, "", &ask.sql, ask.types.iter().copied());
            answers.expect(Owed::Parse(None));
            match ask.what {
                What::Describe => {
                    request::describe_statement(&mut out, "");
                    answers.expect(Owed::Statement);
                }
                What::Run => {
                    let values: Vec<_> = ask.values.iter().map(|(format, value)| (*format, value.as_deref())).collect();
                    request::bind_values(&mut out, "", "", values.into_iter(), &ask.formats);
                    request::describe_portal(&mut out, "");
                    request::execute(&mut out, "", 0);
                    [Owed::Bind, Owed::Portal, Owed::Execute].into_iter().for_each(|owed| answers.expect(owed));
                }
            }
            request::sync(&mut out);
            answers.expect(Owed::Ready);
            let lease = &mut held.lease;
            lease.in_flight = 1;
            // An error shows again when the answer is read.
            let _ = lease.send_now(&out);
            targets.push(CancelTarget { shard: lease.shard, pid: lease.pid, secret: lease.secret.clone() });
            let (rows, types) = (BytesMut::new(), Vec::new());
            let reply = Reply { shard: ask.shard, types, columns: None, rows, tag: String::new() };
            turns.push(Turn { shard: ask.shard, answers, reply, rewritten: ask.rewritten, hush: ask.hush, lost: false });
        }
        self.handle.aim_at_all(targets);
        let cancels = self.handle.cancels();
        let (mut failure, mut overdue) = (None, None);
        poll_fn(|cx| self.poll_round(&mut turns, &mut failure, cancels, &mut overdue, cx)).await;
        self.handle.aim(None);
        for turn in &turns {
            if turn.lost
                && let Some(index) = self.held.iter().position(|held| held.lease.shard == turn.shard)
            {
                self.lose_participant(index);
            }
        }
        match failure {
            Some(Failure { stop, .. }) => {
                if !self.transaction.is_idle() {
                    self.transaction.fail();
                }
                Err(stop)
            }
            None => {
                turns.iter().for_each(|turn| self.meter_part(turn.shard));
                Ok(turns.into_iter().map(|turn| turn.reply).collect())
            }
        }
    }

    fn poll_round(
        &mut self,
        turns: &mut [Turn],
        failure: &mut Option<Failure>,
        cancels: usize,
        overdue: &mut Option<Pin<Box<tokio::time::Sleep>>>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.handle.register(cx.waker());
        let mut open = false;
        for turn in turns.iter_mut() {
            if turn.lost || turn.answers.is_idle() {
                continue;
            }
            if let Err(stop) = self.poll_turn(turn, failure.is_some(), cx) {
                fail(failure, stop);
            }
            open |= !turn.lost && !turn.answers.is_idle();
        }
        let held: usize = turns.iter().map(|turn| turn.reply.rows.len()).sum();
        if held > MOST {
            fail(failure, too_much(held).into());
        }
        if !open {
            return Poll::Ready(());
        }
        if self.handle.activity.is_killed() {
            fail(failure, killed().into());
        }
        if let Poll::Ready(Err(stop)) = self.poll_client::<()>(cx) {
            fail(failure, stop);
        }
        // A client's cancel request goes to the servers by itself; one that does not react to it must not hold the client for ever.
        if overdue.is_none() && self.handle.cancels() != cancels {
            *overdue = Some(Box::pin(tokio::time::sleep(CANCEL_PATIENCE)));
        }
        if overdue.as_mut().is_some_and(|overdue| overdue.as_mut().poll(cx).is_ready()) {
            *overdue = None;
            fail(failure, canceled().into());
        }
        let Some(failed) = failure else { return Poll::Pending };
        while failed.until.as_mut().poll(cx).is_ready() {
            if failed.canceled {
                // They do not react: closed, and with them what they do.
                turns.iter_mut().filter(|turn| !turn.answers.is_idle()).for_each(|turn| turn.lost = true);
                return Poll::Ready(());
            }
            failed.canceled = true;
            failed.until = Box::pin(tokio::time::sleep(CANCEL_PATIENCE));
            for turn in turns.iter().filter(|turn| !turn.lost && !turn.answers.is_idle()) {
                self.cancel_turn(turn.shard);
            }
        }
        Poll::Pending
    }

    fn cancel_turn(&self, shard: ShardId) {
        let Some(held) = self.held.iter().find(|held| held.lease.shard == shard) else { return };
        let (connector, pid, secret) = held.lease.cancel_key();
        tokio::spawn(async move {
            if let Err(error) = backend::cancel(&connector, pid, &secret, CANCEL_PATIENCE).await {
                tracing::debug!(%error, "a shard's part of a failed statement could not be cancelled");
            }
        });
    }

    /// Reads one shard as far as it has come.
    fn poll_turn(&mut self, turn: &mut Turn, discard: bool, cx: &mut Context<'_>) -> Result<(), Stop> {
        let Some(index) = self.held.iter().position(|held| held.lease.shard == turn.shard) else {
            turn.lost = true;
            return Err(not_enlisted().into());
        };
        let mut error = None;
        loop {
            let lease = &mut self.held[index].lease;
            let heard = match turn.answers.next(&mut lease.incoming, MAX_ROW) {
                Ok(heard) => heard,
                Err(violation) => {
                    lease.tainted = true;
                    turn.lost = true;
                    return Err(violation.into());
                }
            };
            match heard {
                Heard::Nothing if turn.answers.is_idle() => break,
                Heard::Nothing => {
                    if lease.wants_send()
                        && let Poll::Ready(Err(broken)) = lease.poll_send(cx)
                    {
                        turn.lost = true;
                        return Err(lease.lost(&broken.to_string()).into());
                    }
                    match lease.poll_fill(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(count)) if count > 0 => {}
                        Poll::Ready(outcome) => {
                            turn.lost = true;
                            let why = outcome
                                .err()
                                .map_or("The server closed the connection".to_string(), |broken| broken.to_string());
                            return Err(lease.lost(&why).into());
                        }
                    }
                }
                Heard::Row => take_rows(&mut lease.incoming, (!discard).then_some(&mut turn.reply.rows)),
                Heard::Parameters(body) => turn.reply.types = answer::parameter_types(&body)?,
                Heard::Described(columns) => turn.reply.columns = columns,
                Heard::Complete(tag) => turn.reply.tag = answer::command_tag(&tag)?.to_owned(),
                Heard::Bound | Heard::Suspended => {}
                Heard::Ready(status) => {
                    lease.transaction = status;
                    lease.in_flight = 0;
                }
                Heard::Said(message) => match message.first() {
                    Some(b'N') if turn.hush => {}
                    Some(b'N') => {
                        let named = protocol::with_shard(&message, &lease.shard_name);
                        self.client.outgoing.extend_from_slice(&named);
                    }
                    _ => self.client.outgoing.extend_from_slice(&message),
                },
                Heard::Parameter { name, value } => {
                    lease.parameters.set(&name, &value);
                    if self.reported.set(&name, &value) {
                        encode::parameter_status(&mut self.client.outgoing, &name, &value);
                        self.decode = settings::decode_context(&self.reported);
                    }
                }
                Heard::Failed(message) => {
                    let stop = server_error(message, &lease.shard_name, turn.rewritten);
                    error.get_or_insert(stop);
                }
            }
        }
        error.map_or(Ok(()), Err)
    }
}

/// The round has failed; what fails later does not count.
fn fail(failure: &mut Option<Failure>, stop: Stop) {
    // A client that is gone is not told anything: that is what matters then.
    match failure {
        None => *failure = Some(Failure { stop, until: Box::pin(tokio::time::sleep(GRACE)), canceled: false }),
        Some(known) if matches!(stop, Stop::Over(_)) => known.stop = stop,
        Some(_) => {}
    }
}

/// A server's error as the client gets it.
fn server_error(mut message: BytesMut, shard: &str, rewritten: bool) -> Stop {
    let fields = ErrorFields::new(message.get(HEADER..).unwrap_or_default());
    // A server that ends this connection does not end the client's.
    if fields.is_fatal() {
        let error = PgError { severity: Severity::Error, ..fields.to_error() };
        message.clear();
        encode::error_response(&mut message, &error);
    }
    if rewritten {
        message = answer::without_field(&message, b'P');
    }
    Stop::Server(protocol::with_shard(&message, shard).freeze())
}

fn not_enlisted() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a shard's connection is missing")
}

fn too_much(held: usize) -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement needs too many rows of other shards at once")
        .with_detail(format!("{held} bytes have come, and {MOST} may be held."))
        .with_hint("Restrict the statement to fewer rows.")
}
