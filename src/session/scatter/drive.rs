//! The loop that reads all shards side by side, and writes to the client.
//!
//! One task does it, in rounds: each shard's socket is read as far as its rows are wanted, or a little ahead; the merger puts out what it can;
//! and a client that does not take it stops the round. Nothing is ever waited for alone, so that no shard stands in another's way but where
//! the order of the rows itself demands it.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::answers::Heard;
use super::ask::Order;
use super::run::{Describe, Run};
use super::{Stop, canceled};
use crate::error::{PgError, Severity};
use crate::merge::Next;
use crate::pool::Lease;
use crate::protocol::frame::HEADER;
use crate::protocol::{self, ErrorFields, encode};
use crate::session::gate::killed;
use crate::session::io::{CLIENT_AHEAD, HIGH_WATER};
use crate::session::{Over, Session, settings};
use crate::sqlstate::SqlState;

/// Bytes of a shard's rows that are read before they are wanted: the next ones are there when the merge comes to them.
const AHEAD: usize = 64 << 10;
/// What waits for the client is not sent in smaller portions while more is on its way: PostgreSQL's own send buffer.
const PORTION: usize = 8 << 10;
/// How long an error waits for the other shards' descriptions: a client expects the columns before the error, as from one server.
const HASTE: Duration = Duration::from_millis(50);
/// What a part of a larger statement may put out, in bytes.
const MOST_CAPTURED: usize = 256 << 20;
/// A server that does not react to a cancel request for so long is left alone.
pub(in crate::session) const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// Until when to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// No shard owes anything.
    Rest,
    /// All shards have described their rows.
    Described,
    /// So many rows have gone out, or all.
    Rows(u64),
}

/// Where it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    /// What is next.
    pub next: Next,
    /// The rows that went out.
    pub rows: u64,
}

/// What a look at one shard's bytes found.
enum Seen {
    /// It owes nothing.
    Rest,
    /// More bytes are needed.
    Hungry,
    /// A row that is not wanted yet.
    Full,
}

impl Session {
    /// Reads the shards until the goal is reached.
    ///
    /// # Cancel safety
    /// Nothing is lost between polls: every byte is in a buffer of the run's or the session's.
    pub(super) async fn drive(&mut self, run: &mut Run, goal: Goal) -> Result<Reached, Stop> {
        let mut rows = 0;
        poll_fn(|cx| self.poll_drive(run, goal, &mut rows, cx)).await
    }

    /// Takes what the shards have said already. Whatever else they say is for whoever reads them next.
    pub(super) fn drive_once(&mut self, run: &mut Run) {
        let mut moved = false;
        for index in 0..run.parts.len() {
            // An error leaves the connection tainted, and then it is closed.
            let _ = self.hear(run, index, &mut moved);
        }
    }

    fn poll_drive(
        &mut self,
        run: &mut Run,
        goal: Goal,
        rows: &mut u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Reached, Stop>> {
        self.handle.register(cx.waker());
        if let Some(stop) = self.overdue(run, cx) {
            return Poll::Ready(Err(stop));
        }
        loop {
            let mut moved = false;
            for index in 0..run.parts.len() {
                moved |= match self.poll_part(run, index, cx) {
                    Ok(moved) => moved,
                    Err(stop) => return Poll::Ready(Err(stop)),
                };
            }
            moved |= self.announce(run);
            moved |= run.poll_haste(cx);
            match self.toward(run, goal, rows) {
                Ok((_, Some(next))) => return Poll::Ready(Ok(Reached { next, rows: *rows })),
                Ok((more, None)) => moved |= more,
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            if self.client.outgoing.len() >= HIGH_WATER {
                match self.client.poll_send(cx) {
                    Poll::Ready(Ok(())) => moved = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Over::Gone.into())),
                    Poll::Pending => {}
                }
            }
            if !moved {
                break;
            }
        }
        self.poll_client(cx)
    }

    /// Sends to the client, and watches it.
    pub(in crate::session) fn poll_client<T>(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Stop>> {
        if self.client.outgoing.len() >= PORTION
            && let Poll::Ready(Err(_)) = self.client.poll_send(cx)
        {
            return Poll::Ready(Err(Over::Gone.into()));
        }
        // Read a little, so as to notice that it has gone.
        while self.client.incoming.len() < CLIENT_AHEAD {
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Over::Gone.into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    /// One step toward the goal: whether anything moved, and what is next if the goal is reached.
    fn toward(&mut self, run: &mut Run, goal: Goal, rows: &mut u64) -> Result<(bool, Option<Next>), PgError> {
        match goal {
            Goal::Rest => Ok((false, run.is_at_rest().then_some(Next::Done))),
            Goal::Described => Ok((false, run.described.then_some(Next::Rows))),
            Goal::Rows(room) => {
                if !run.described || (run.into.is_none() && self.client.outgoing.len() >= HIGH_WATER) {
                    return Ok((false, None));
                }
                let wanted = run.wanted();
                let Run { merger, into, .. } = run;
                let step =
                    merger.pump(into.as_mut().unwrap_or(&mut self.client.outgoing), room.saturating_sub(*rows))?;
                if into.as_ref().is_some_and(|kept| kept.len() > MOST_CAPTURED) {
                    return Err(too_much());
                }
                *rows += step.rows;
                Ok(match step.next {
                    Next::Done | Next::Finish => (true, Some(step.next)),
                    Next::Room if *rows >= room => (true, Some(step.next)),
                    Next::Room => (true, None),
                    // Rows that were left out (duplicates, OFFSET) leave a shard that is wanted again, and has perhaps sent already.
                    Next::Rows => (step.rows > 0 || run.wanted() > wanted, None),
                })
            }
        }
    }

    /// A client's cancel request goes to the servers by itself; one that does not react to it must not hold the client for ever.
    pub(super) fn overdue(&mut self, run: &mut Run, cx: &mut Context<'_>) -> Option<Stop> {
        if self.handle.activity.is_killed() {
            return Some(killed().into());
        }
        if run.deadline.is_none() {
            if self.handle.cancels() == run.cancels {
                return None;
            }
            run.deadline = Some(Box::pin(tokio::time::sleep(CANCEL_PATIENCE)));
        }
        let deadline = run.deadline.as_mut()?;
        deadline.as_mut().poll(cx).is_ready().then(|| {
            // The next wait of this statement's, if there is one, has its own time.
            run.deadline = None;
            run.cancels = self.handle.cancels();
            canceled().into()
        })
    }

    /// Tells the client that the portal is there, and what its rows are like, once all shards have said so.
    fn announce(&mut self, run: &mut Run) -> bool {
        if run.learning.is_some() || run.described {
            return false;
        }
        if run.bind_due && run.parts.iter().all(|part| part.bound) {
            run.bind_due = false;
            encode::bind_complete(&mut self.client.outgoing);
        }
        if !run.parts.iter().all(|part| part.described) {
            return false;
        }
        run.described = true;
        if let Some(description) = run.merger.description() {
            let wanted = match run.describe {
                Describe::No => false,
                Describe::Rows => description.first() == Some(&b'T'),
                Describe::Full => true,
            };
            if wanted {
                self.client.outgoing.extend_from_slice(description);
            }
            run.describe = Describe::No;
        }
        true
    }

    /// Reads one shard as far as it is wanted; whether anything moved.
    fn poll_part(&mut self, run: &mut Run, index: usize, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut moved = false;
        loop {
            let seen = self.hear(run, index, &mut moved)?;
            let Some(held) = run.parts[index].held.as_mut() else { return Ok(moved) };
            match seen {
                Seen::Rest => return Ok(moved),
                Seen::Full if held.lease.incoming.len() >= AHEAD => return Ok(moved),
                Seen::Full | Seen::Hungry => {}
            }
            match poll_more(&mut held.lease, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => return Ok(moved),
            }
        }
    }

    /// Acts on the messages of one shard that are here.
    fn hear(&mut self, run: &mut Run, index: usize, moved: &mut bool) -> Result<Seen, Stop> {
        loop {
            if run.cursor && run.described && !run.discard {
                *moved |= run.unstash(index)?;
            }
            let part = &run.parts[index];
            if part.answers.is_idle() {
                return Ok(Seen::Rest);
            }
            // Its rows mean nothing before all shards have said what theirs are like; that it has failed does, after a moment.
            let waits = part.described && !run.described && run.learning.is_none() && !run.discard;
            if waits && !(part.has_failed() && run.hasty) {
                return Ok(Seen::Full);
            }
            let heard = self.next_heard(run, index)?;
            let Run { parts, merger, cursor, discard, .. } = run;
            let part = &mut parts[index];
            match heard {
                Heard::Nothing => return Ok(Seen::Hungry),
                Heard::Row => {
                    let Some(held) = part.held.as_mut() else { return Ok(Seen::Rest) };
                    let incoming = &mut held.lease.incoming;
                    if *discard {
                        take_rows(incoming, None);
                    } else if *cursor {
                        take_rows(incoming, Some(&mut part.stash));
                    } else if !merger.wants(index) || !merger.feed(index, incoming)? {
                        return Ok(Seen::Full);
                    }
                }
                _ if *discard => {}
                Heard::Complete(tag) => {
                    self.meter_part(part.shard);
                    run.take(index, Heard::Complete(tag))?;
                }
                heard => run.take(index, heard)?,
            }
            *moved = true;
        }
    }

    /// The next message of a shard that says something of its part. What it says of itself, or to the client, is seen to here.
    fn next_heard(&mut self, run: &mut Run, index: usize) -> Result<Heard, Stop> {
        loop {
            let part = &mut run.parts[index];
            let Some(held) = part.held.as_mut() else { return Ok(Heard::Nothing) };
            let lease = &mut held.lease;
            match part.answers.next(&mut lease.incoming, MAX_ROW) {
                Err(error) => {
                    lease.tainted = true;
                    return Err(on_shard(error, &lease.shard_name).into());
                }
                Ok(Heard::Ready(status)) => {
                    lease.transaction = status;
                    lease.in_flight = 0;
                    return Ok(Heard::Ready(status));
                }
                Ok(Heard::Said(message)) => {
                    let label = (message.first() == Some(&b'N')).then(|| lease.shard_name.clone());
                    match label {
                        Some(shard) => {
                            self.client.outgoing.extend_from_slice(&protocol::with_shard(&message, &shard));
                        }
                        None => self.client.outgoing.extend_from_slice(&message),
                    }
                }
                Ok(Heard::Parameter { name, value }) => {
                    lease.parameters.set(&name, &value);
                    if self.reported.set(&name, &value) {
                        encode::parameter_status(&mut self.client.outgoing, &name, &value);
                        self.decode = settings::decode_context(&self.reported);
                    }
                }
                Ok(Heard::Failed(message)) => {
                    let undone = part.answers.take_undone();
                    undone.into_iter().for_each(|id| _ = lease.prepared.remove(id));
                    if !run.discard {
                        return Err(self.failed(run, index, &message));
                    }
                }
                Ok(heard) => return Ok(heard),
            }
        }
    }

    /// The next message of one shard, read as it comes.
    pub(super) fn poll_heard(
        &mut self,
        run: &mut Run,
        index: usize,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Heard, Stop>> {
        loop {
            match self.next_heard(run, index)? {
                Heard::Nothing => {}
                heard => return Poll::Ready(Ok(heard)),
            }
            let Some(held) = run.parts[index].held.as_mut() else {
                return Poll::Ready(Err(
                    PgError::new(SqlState::CONNECTION_FAILURE, "a shard's connection is gone").into()
                ));
            };
            match poll_more(&mut held.lease, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// A server's error as the client gets it: with the shard's name, and without a place in a text that the client has never seen.
    fn failed(&mut self, run: &Run, index: usize, message: &[u8]) -> Stop {
        let part = &run.parts[index];
        let fields = ErrorFields::new(message.get(HEADER..).unwrap_or_default());
        if fields.field(b'R') == Some(b"RevalidateCachedQuery")
            && let Some(statement) = &part.statement
        {
            self.shared.statements.forget(statement);
        }
        let mut message = BytesMut::from(message);
        // A server that ends this connection does not end the client's.
        if fields.is_fatal() {
            message.clear();
            encode::error_response(&mut message, &PgError { severity: Severity::Error, ..fields.to_error() });
        }
        if run.rewritten {
            message = protocol::answer::without_field(&message, b'P');
        }
        match &part.held {
            Some(held) => Stop::Server(protocol::with_shard(&message, &held.lease.shard_name).freeze()),
            None => Stop::Server(message.freeze()),
        }
    }
}

/// Rows may be larger than any message of a client's: PostgreSQL's own limit.
pub(in crate::session) const MAX_ROW: usize = 1 << 30;

/// Sends what waits to be sent, and reads once.
fn poll_more(lease: &mut Lease, cx: &mut Context<'_>) -> Poll<Result<(), PgError>> {
    if lease.wants_send()
        && let Poll::Ready(Err(error)) = lease.poll_send(cx)
    {
        return Poll::Ready(Err(lease.lost(&error.to_string())));
    }
    match lease.poll_fill(cx) {
        Poll::Ready(Ok(0)) => Poll::Ready(Err(lease.lost("The server closed the connection"))),
        Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        Poll::Ready(Err(error)) => Poll::Ready(Err(lease.lost(&error.to_string()))),
        Poll::Pending => Poll::Pending,
    }
}

impl Run {
    /// A shard has failed before all have described their rows: a moment later it is not waited for the others any more. Whether the moment
    /// is over just now.
    fn poll_haste(&mut self, cx: &mut Context<'_>) -> bool {
        if self.described || self.hasty || !self.parts.iter().any(|part| part.described && part.has_failed()) {
            return false;
        }
        let haste = self.haste.get_or_insert_with(|| Box::pin(tokio::time::sleep(HASTE)));
        self.hasty = haste.as_mut().poll(cx).is_ready();
        self.hasty
    }

    /// Takes what a shard said of its part.
    fn take(&mut self, index: usize, heard: Heard) -> Result<(), PgError> {
        let part = &mut self.parts[index];
        match heard {
            Heard::Bound => part.bound = true,
            Heard::Parameters(body) => {
                if let Some(learned) = &mut self.learning {
                    learned.take_types(&body)?;
                }
            }
            Heard::Described(body) => match &mut self.learning {
                Some(learned) => learned.columns = body,
                None => {
                    part.described = true;
                    self.merger.describe(index, body.as_deref())?;
                }
            },
            Heard::Suspended => part.suspended = true,
            Heard::Complete(tag) if self.cursor => part.tag = Some(tag),
            Heard::Complete(tag) => self.merger.complete(index, &tag)?,
            _ => {}
        }
        Ok(())
    }

    /// Gives the merger rows of a batch that are wanted now, and asks for the next batch when it is used up.
    fn unstash(&mut self, index: usize) -> Result<bool, PgError> {
        let part = &mut self.parts[index];
        let mut moved = false;
        if !part.stash.is_empty() && self.merger.wants(index) {
            moved |= self.merger.feed(index, &mut part.stash)?;
        }
        if !part.stash.is_empty() {
            return Ok(moved);
        }
        if let Some(tag) = part.tag.take() {
            self.merger.complete(index, &tag)?;
            return Ok(true);
        }
        if part.suspended && part.answers.is_idle() && self.merger.wants(index) {
            let order = Order { execute: Some(self.batch), sync: self.block };
            part.finish_asking(&self.portal, order, &mut BytesMut::with_capacity(64));
            return Ok(true);
        }
        Ok(moved)
    }
}

fn too_much() -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement needs too many rows of other shards at once")
        .with_detail(format!("{MOST_CAPTURED} bytes of them may be held."))
        .with_hint("Restrict the statement to fewer rows.")
}

/// Takes the whole rows at the start of a buffer.
pub(in crate::session) fn take_rows(incoming: &mut BytesMut, into: Option<&mut BytesMut>) {
    let mut end = 0;
    while let Ok(Some(frame)) = protocol::frame(&incoming[end..], MAX_ROW)
        && frame.tag == b'D'
    {
        end += frame.len;
    }
    match into {
        Some(stash) => stash.unsplit(incoming.split_to(end)),
        None => incoming.advance(end),
    }
}

/// The same error, with the shard's name.
fn on_shard(error: PgError, shard: &str) -> PgError {
    let detail = error.detail.clone().map(|detail| detail + "\n").unwrap_or_default();
    let severity = Severity::Error;
    PgError { severity, ..error }.with_detail(format!("{detail}Shard \"{shard}\"."))
}

/// Whether a statement failed because tables have changed since it was last asked what it is like.
pub(super) fn is_stale(stop: &Stop) -> bool {
    let Stop::Server(message) = stop else { return false };
    let fields = ErrorFields::new(message.get(HEADER..).unwrap_or_default());
    fields.code() == SqlState::PROTOCOL_VIOLATION
}
