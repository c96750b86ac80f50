//! Queries of the session's own to several of its backends at once, of which the client sees nothing but notices.
//!
//! The [`relay`](super::relay) moves one backend's answer to the client. What a transaction over several shards needs besides (a BEGIN on a
//! joining participant, a ROLLBACK of all, the two phases of a commit) is asked here: all are sent their queries in one round, and
//! the round is over when all have answered.

use std::future::{Future, poll_fn};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::registry::CancelTarget;
use super::{Held, Session};
use crate::error::PgError;
use crate::protocol::answer::{self, ErrorFields, tag};
use crate::protocol::frame::HEADER;
use crate::protocol::{encode, request};
use crate::sqlstate::SqlState;

/// A server that does not react to a cancel request for so long counts as lost.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// What one backend is asked: each text is a query of its own, sent without waiting for the one before.
#[derive(Debug)]
pub(super) struct Question {
    /// The held backend.
    pub index: usize,
    /// The queries.
    pub texts: Vec<String>,
}

impl Question {
    /// One query.
    pub(super) fn one(index: usize, text: impl Into<String>) -> Self {
        Question { index, texts: vec![text.into()] }
    }
}

/// What one backend answered.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// The held backend.
    pub index: usize,
    /// The last command tag.
    pub tag: String,
    /// The first column of the last row.
    pub value: Option<String>,
    /// The first error, as the server sent it, with the shard's name.
    pub error: Option<Failure>,
    /// The connection is gone, and what was not answered may have been done or not.
    pub lost: bool,
    /// The server did not wait until its standby had it (`SyncRepWaitForLSN`).
    pub unreplicated: bool,
}

/// A server's error: as it goes to the client, and what the session reads in it.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// The ErrorResponse.
    pub frame: Bytes,
    /// The same as an error of ours.
    pub error: PgError,
}

impl Failure {
    /// An error of ours.
    pub(super) fn own(error: PgError) -> Self {
        let mut frame = BytesMut::new();
        encode::error_response(&mut frame, &error);
        Failure { frame: frame.freeze(), error }
    }

    fn of_server(message: &[u8], shard: &str) -> Self {
        let named = answer::with_shard(message, shard);
        let error =
            PgError { severity: crate::error::Severity::Error, ..ErrorFields::new(&named[HEADER..]).to_error() };
        if ErrorFields::new(&message[HEADER..]).is_fatal() {
            return Failure::own(error);
        }
        Failure { frame: named.freeze(), error }
    }
}

impl Reply {
    /// All went well.
    pub(super) fn is_ok(&self) -> bool {
        self.error.is_none() && !self.lost
    }
}

impl Session {
    /// Asks all at once. The replies come in the order of the questions. A backend that has not answered after `patience` counts as lost.
    ///
    /// # Cancel safety
    /// Dropped half-way the backends owe answers: they are not clean, and the pool closes them.
    pub(super) async fn ask(&mut self, questions: Vec<Question>, patience: Option<Duration>) -> Vec<Reply> {
        let mut due: Vec<usize> = Vec::with_capacity(questions.len());
        let mut replies: Vec<Reply> = Vec::with_capacity(questions.len());
        let mut targets = Vec::with_capacity(questions.len());
        for question in questions {
            let held = &mut self.held[question.index];
            held.unnamed = None;
            let lease = &mut *held.lease;
            for text in &question.texts {
                request::query(&mut lease.outgoing, text);
            }
            lease.in_flight += question.texts.len() as u32;
            due.push(question.texts.len());
            replies.push(Reply { index: question.index, ..Reply::default() });
            targets.push(CancelTarget { shard: lease.shard, pid: lease.pid, secret: lease.secret.clone() });
        }
        self.handle.aim_at_all(targets);
        let (held, client, handle) = (&mut self.held, &mut self.client.outgoing, &self.handle);
        let cancels = handle.cancels();
        let mut overdue = None;
        let round = poll_fn(|cx| {
            let mut open = false;
            for (reply, due) in replies.iter_mut().zip(&mut due) {
                if *due > 0 && !reply.lost {
                    *due = poll_reply(&mut held[reply.index], reply, *due, client, cx);
                    open |= *due > 0 && !reply.lost;
                }
            }
            if !open {
                return Poll::Ready(true);
            }
            // A client's cancel request goes to the servers by itself; one that does not react to it must not hold the client for ever.
            if patience.is_none() {
                handle.register(cx.waker());
                if overdue.is_none() && handle.cancels() != cancels {
                    overdue = Some(Box::pin(tokio::time::sleep(CANCEL_PATIENCE)));
                }
                if overdue.as_mut().is_some_and(|overdue| overdue.as_mut().poll(cx).is_ready()) {
                    return Poll::Ready(false);
                }
            }
            Poll::Pending
        });
        let in_time = match patience {
            Some(patience) => tokio::time::timeout(patience, round).await.unwrap_or(false),
            None => round.await,
        };
        if !in_time {
            for (reply, _) in replies.iter_mut().zip(&due).filter(|(_, due)| **due > 0) {
                lose(&mut self.held[reply.index], reply, "The server did not answer in time");
            }
        }
        self.aim_at_attached();
        replies
    }

    /// From now on a cancel request is meant for the attached backend, or for none.
    fn aim_at_attached(&self) {
        self.handle.aim(self.attached.map(|index| {
            let lease = &*self.held[index].lease;
            CancelTarget { shard: lease.shard, pid: lease.pid, secret: lease.secret.clone() }
        }));
    }
}

/// Moves one backend's answer on; how many ReadyForQuery it still owes.
fn poll_reply(
    held: &mut Held,
    reply: &mut Reply,
    mut due: usize,
    client: &mut BytesMut,
    cx: &mut Context<'_>,
) -> usize {
    if held.lease.wants_send()
        && let Poll::Ready(Err(error)) = held.lease.poll_send(cx)
    {
        lose(held, reply, &error.to_string());
        return due;
    }
    loop {
        loop {
            match held.lease.peek_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => {
                    let message = held.lease.incoming.split_to(frame.len);
                    if let Err(error) = take(held, reply, &mut due, frame.tag, &message, client) {
                        lose(held, reply, &error.message);
                        return due;
                    }
                    if due == 0 {
                        return 0;
                    }
                }
                Err(error) => {
                    lose(held, reply, &error.message);
                    return due;
                }
            }
        }
        match held.lease.poll_fill(cx) {
            Poll::Pending => return due,
            Poll::Ready(Ok(n)) if n > 0 => {}
            Poll::Ready(outcome) => {
                let why = outcome.err().map_or("The server closed the connection".into(), |error| error.to_string());
                lose(held, reply, &why);
                return due;
            }
        }
    }
}

/// One message of an answer.
fn take(
    held: &mut Held,
    reply: &mut Reply,
    due: &mut usize,
    kind: u8,
    message: &[u8],
    client: &mut BytesMut,
) -> Result<(), PgError> {
    let body = &message[HEADER..];
    held.lease.observe(kind, body)?;
    match kind {
        tag::READY_FOR_QUERY => *due -= 1,
        tag::COMMAND_COMPLETE => reply.tag = answer::command_tag(body)?.to_owned(),
        tag::DATA_ROW => {
            let first = answer::row_values(body)?.into_iter().next().flatten();
            reply.value = first.map(|value| String::from_utf8_lossy(value).into_owned());
        }
        tag::ERROR => {
            let shard = held.lease.shard_name.clone();
            reply.error.get_or_insert_with(|| Failure::of_server(message, &shard));
        }
        tag::NOTICE => {
            reply.unreplicated |= ErrorFields::new(body).field(b'R') == Some(b"SyncRepWaitForLSN");
            client.extend_from_slice(message);
        }
        tag::NOTIFICATION => client.extend_from_slice(message),
        // Rows are described, parameters are noted, a query may be empty.
        b'T' | b'I' | tag::PARAMETER_STATUS => {}
        other => {
            let what = format!("the server broke the wire protocol: unexpected message {:?}", other as char);
            return Err(PgError::new(SqlState::PROTOCOL_VIOLATION, what));
        }
    }
    Ok(())
}

fn lose(held: &mut Held, reply: &mut Reply, why: &str) {
    let error = held.lease.lost(why);
    reply.lost = true;
    // A server that says why it ends the connection says it better.
    reply.error.get_or_insert_with(|| Failure::own(error));
}
