//! A round: all shards that were asked are read side by side, until none owes anything.
//!
//! The first error is the round's: the other shards get a moment, are then cancelled, and read to their end, so that a transaction can be
//! rolled back on all of them. Rows that whoever takes them does not want yet are read a little ahead, and then their server waits.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::Stop;
use super::ask::{Desk, Reply, Taker, not_enlisted};
use crate::backend;
use crate::error::{PgError, Severity};
use crate::protocol::answer::{self, ErrorFields};
use crate::protocol::frame::HEADER;
use crate::protocol::{self, encode};
use crate::session::gate::killed;
use crate::session::io::HIGH_WATER;
use crate::session::scatter::answers::{Answers, Heard};
use crate::session::scatter::canceled;
use crate::session::scatter::drive::{CANCEL_PATIENCE, MAX_ROW, take_rows};
use crate::session::{Over, Session, settings};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// What a round's answers may hold together, in bytes.
const MOST: usize = 256 << 20;
/// What the others get after an error before they are cancelled.
const GRACE: Duration = Duration::from_millis(20);
/// Bytes of a shard's rows that are read before they are wanted.
const AHEAD: usize = 64 << 10;

/// All that was asked at once.
pub(super) struct Round<'t> {
    /// One for each connection.
    pub turns: Vec<Turn>,
    /// One for each question.
    pub replies: Vec<Reply>,
    taker: Option<&'t mut dyn Taker>,
    failure: Option<Failure>,
    /// When a statement that was cancelled ends although a server does not.
    overdue: Option<Pin<Box<tokio::time::Sleep>>>,
    cancels: usize,
}

/// One connection's part of a round.
pub(super) struct Turn {
    pub shard: ShardId,
    /// The connection is that to the workbench.
    pub bench: bool,
    pub answers: Answers,
    /// The questions that it still has to answer, the one that it is at in front.
    pub questions: VecDeque<usize>,
    /// Of each of them, whether it is only described.
    pub describes: VecDeque<bool>,
    /// Of each question so far, whether its text is not the client's.
    pub rewritten: Vec<bool>,
    /// Its notices are not passed on: another shard says the same.
    pub hush: bool,
    /// How many are done.
    done: usize,
    lost: bool,
}

impl Turn {
    pub fn new(shard: ShardId, bench: bool) -> Turn {
        Turn {
            shard,
            bench,
            answers: Answers::default(),
            questions: VecDeque::new(),
            describes: VecDeque::new(),
            rewritten: Vec::new(),
            hush: false,
            done: 0,
            lost: false,
        }
    }

    fn next_question(&mut self) {
        self.questions.pop_front();
        self.describes.pop_front();
        self.done += 1;
    }

    fn is_over(&self) -> bool {
        self.lost || self.answers.is_idle()
    }
}

/// How a round ends that has failed.
struct Failure {
    stop: Stop,
    /// When the others are cancelled, and then when they are given up.
    until: Pin<Box<tokio::time::Sleep>>,
    canceled: bool,
}

impl<'t> Round<'t> {
    pub fn new(taker: Option<&'t mut dyn Taker>) -> Round<'t> {
        Round { turns: Vec::new(), replies: Vec::new(), taker, failure: None, overdue: None, cancels: 0 }
    }

    /// Nobody owes anything, and whoever takes the rows has seen to them.
    fn is_over(&self) -> bool {
        let waits = self.failure.is_none() && self.taker.as_ref().is_some_and(|taker| !taker.is_idle());
        !waits && self.turns.iter().all(Turn::is_over)
    }

    /// How many questions have been answered.
    fn done(&self) -> usize {
        self.turns.iter().map(|turn| turn.done).sum()
    }

    /// It has failed; what fails later does not count.
    fn fail(&mut self, stop: Stop) {
        // A client that is gone is not told anything: that is what matters then.
        match &mut self.failure {
            None => {
                let until = Box::pin(tokio::time::sleep(GRACE));
                self.failure = Some(Failure { stop, until, canceled: false });
            }
            Some(known) if matches!(stop, Stop::Over(_)) => known.stop = stop,
            Some(_) => {}
        }
    }
}

impl Session {
    /// Reads all that was asked to its end.
    pub(super) async fn go_round(&mut self, round: &mut Round<'_>) -> Result<(), Stop> {
        round.cancels = self.handle.cancels();
        poll_fn(|cx| self.poll_round(round, cx)).await;
        self.handle.aim(None);
        for turn in round.turns.iter().filter(|turn| turn.lost) {
            if turn.bench {
                self.workbench = None;
            } else if let Some(index) = self.held.iter().position(|held| held.lease.shard == turn.shard) {
                self.lose_participant(index);
            }
        }
        match round.failure.take() {
            Some(Failure { stop, .. }) => {
                if !self.transaction.is_idle() {
                    self.transaction.fail();
                }
                Err(stop)
            }
            None => Ok(()),
        }
    }

    fn poll_round(&mut self, round: &mut Round<'_>, cx: &mut Context<'_>) -> Poll<()> {
        self.handle.register(cx.waker());
        loop {
            let mut waits = false;
            let done = round.done();
            for at in 0..round.turns.len() {
                match self.poll_turn(round, at, cx) {
                    Ok(full) => waits |= full,
                    Err(stop) => round.fail(stop),
                }
            }
            let held: usize = round.replies.iter().map(|reply| reply.rows.len()).sum();
            if held > MOST {
                round.fail(too_much(held).into());
            }
            // What waits for a question's end may have been looked at before that end came.
            let mut moved = round.done() > done;
            if let (Some(taker), None) = (&mut round.taker, &round.failure) {
                let Session { client, workbench, .. } = self;
                match taker.poll(cx, &mut Desk { client: &mut client.outgoing, bench: Some(workbench) }) {
                    Ok(more) => moved |= more,
                    Err(stop) => round.fail(stop),
                }
            }
            if round.is_over() {
                return Poll::Ready(());
            }
            if self.client.outgoing.len() >= HIGH_WATER {
                match self.client.poll_send(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => round.fail(Over::Gone.into()),
                    Poll::Pending => {}
                }
            }
            if !(waits && moved) {
                break;
            }
        }
        if self.handle.activity.is_killed() {
            round.fail(killed().into());
        }
        if let Poll::Ready(Err(stop)) = self.poll_client::<()>(cx) {
            round.fail(stop);
        }
        // A client's cancel request goes to the servers by itself; one that does not react to it must not hold the client for ever.
        if round.overdue.is_none() && self.handle.cancels() != round.cancels {
            round.overdue = Some(Box::pin(tokio::time::sleep(CANCEL_PATIENCE)));
        }
        if round.overdue.as_mut().is_some_and(|overdue| overdue.as_mut().poll(cx).is_ready()) {
            round.overdue = None;
            round.fail(canceled().into());
        }
        let Some(failed) = &mut round.failure else { return Poll::Pending };
        while failed.until.as_mut().poll(cx).is_ready() {
            if failed.canceled {
                // They do not react: closed, and with them what they do.
                round.turns.iter_mut().filter(|turn| !turn.answers.is_idle()).for_each(|turn| turn.lost = true);
                return Poll::Ready(());
            }
            failed.canceled = true;
            failed.until = Box::pin(tokio::time::sleep(CANCEL_PATIENCE));
            for turn in round.turns.iter().filter(|turn| !turn.is_over()) {
                self.cancel_turn(turn.shard, turn.bench);
            }
        }
        // Rows that nobody took are in the way of the end: now that the round has failed they are dropped.
        for at in 0..round.turns.len() {
            if let Err(stop) = self.poll_turn(round, at, cx) {
                round.fail(stop);
            }
        }
        if round.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn cancel_turn(&mut self, shard: ShardId, bench: bool) {
        let Some(lease) = self.lease_of(shard, bench) else { return };
        let (connector, pid, secret) = lease.cancel_key();
        tokio::spawn(async move {
            if let Err(error) = backend::cancel(&connector, pid, &secret, CANCEL_PATIENCE).await {
                tracing::debug!(%error, "a shard's part of a failed statement could not be cancelled");
            }
        });
    }

    /// Reads one connection as far as it has come; whether its rows wait for whoever takes them.
    fn poll_turn(&mut self, round: &mut Round<'_>, at: usize, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let Round { turns, replies, taker, failure, .. } = round;
        let turn = &mut turns[at];
        let discard = failure.is_some();
        let mut error = None;
        while !turn.is_over() {
            let Session { client, workbench, held, .. } = self;
            let (lease, bench) = match turn.bench {
                true => (workbench.as_mut().map(|bench| &mut bench.lease), None),
                false => {
                    let found = held.iter_mut().find(|held| held.lease.shard == turn.shard);
                    (found.map(|held| &mut held.lease), Some(workbench))
                }
            };
            let Some(lease) = lease else {
                turn.lost = true;
                return Err(not_enlisted().into());
            };
            let mut desk = Desk { client: &mut client.outgoing, bench };
            let heard = match turn.answers.next(&mut lease.incoming, MAX_ROW) {
                Ok(heard) => heard,
                Err(violation) => {
                    lease.tainted = true;
                    turn.lost = true;
                    return Err(violation.into());
                }
            };
            let question = turn.questions.front().copied().unwrap_or(0);
            match heard {
                Heard::Nothing if turn.answers.is_idle() => break,
                Heard::Nothing => {
                    if let Err(lost) = more(lease, cx) {
                        turn.lost |= lost.is_some();
                        match lost {
                            None => break,
                            Some(lost) => return Err(lost.into()),
                        }
                    }
                }
                Heard::Row => match taker {
                    _ if discard || error.is_some() => take_rows(&mut lease.incoming, None),
                    None => take_rows(&mut lease.incoming, replies.get_mut(question).map(|reply| &mut reply.rows)),
                    Some(taker) => match taker.rows(question, &mut lease.incoming, &mut desk) {
                        Ok(true) => {}
                        Ok(false) => {
                            while lease.incoming.len() < AHEAD {
                                match more(lease, cx) {
                                    Ok(()) => {}
                                    Err(None) => break,
                                    Err(Some(lost)) => {
                                        turn.lost = true;
                                        return Err(lost.into());
                                    }
                                }
                            }
                            return Ok(true);
                        }
                        Err(stop) => error = Some(stop),
                    },
                },
                Heard::Parameters(body) => {
                    if let Some(reply) = replies.get_mut(question) {
                        reply.types = answer::parameter_types(&body)?;
                    }
                }
                Heard::Described(columns) => {
                    if let (Some(taker), false, None) = (taker.as_mut(), discard, &error) {
                        error = taker.columns(question, turn.shard, columns.as_ref(), &mut desk).err();
                    }
                    if let Some(reply) = replies.get_mut(question) {
                        reply.columns = columns;
                    }
                    if turn.describes.front() == Some(&true) {
                        turn.next_question();
                    }
                }
                Heard::Complete(tag) => {
                    if let Some(reply) = replies.get_mut(question) {
                        reply.tag = answer::command_tag(&tag)?.to_owned();
                    }
                    if let (Some(taker), false, None) = (taker.as_mut(), discard, &error) {
                        error = taker.done(question, &mut desk).err();
                    }
                    turn.next_question();
                }
                Heard::Bound | Heard::Suspended | Heard::Copying(_) => {}
                Heard::Ready(status) => {
                    lease.transaction = status;
                    lease.in_flight = 0;
                }
                Heard::Said(message) => match message.first() {
                    Some(b'N') if turn.hush => {}
                    Some(b'N') => {
                        desk.client.extend_from_slice(&protocol::with_shard(&message, &lease.shard_name));
                    }
                    _ => desk.client.extend_from_slice(&message),
                },
                Heard::Parameter { name, value } => {
                    lease.parameters.set(&name, &value);
                    if !turn.bench && self.reported.set(&name, &value) {
                        encode::parameter_status(&mut self.client.outgoing, &name, &value);
                        self.decode = settings::decode_context(&self.reported);
                    }
                }
                Heard::Failed(message) => {
                    let rewritten = turn.rewritten.get(turn.done).copied().unwrap_or(true);
                    let stop = server_error(message, &lease.shard_name, rewritten);
                    error.get_or_insert(stop);
                }
            }
        }
        error.map_or(Ok(false), Err)
    }
}

/// Sends what waits to be sent, and reads once. `Err(None)`: nothing has come yet.
fn more(lease: &mut crate::pool::Lease, cx: &mut Context<'_>) -> Result<(), Option<PgError>> {
    if lease.wants_send()
        && let Poll::Ready(Err(broken)) = lease.poll_send(cx)
    {
        return Err(Some(lease.lost(&broken.to_string())));
    }
    match lease.poll_fill(cx) {
        Poll::Pending => Err(None),
        Poll::Ready(Ok(count)) if count > 0 => Ok(()),
        Poll::Ready(Ok(_)) => Err(Some(lease.lost("The server closed the connection"))),
        Poll::Ready(Err(broken)) => Err(Some(lease.lost(&broken.to_string()))),
    }
}

/// A server's error as the client gets it.
pub(super) fn server_error(mut message: BytesMut, shard: &str, rewritten: bool) -> Stop {
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

fn too_much(held: usize) -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement needs too many rows of other shards at once")
        .with_detail(format!("{held} bytes have come, and {MOST} may be held."))
        .with_hint("Restrict the statement to fewer rows.")
}
