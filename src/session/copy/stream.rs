//! One shard's side of a COPY.

use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};

use super::context;
use super::extras::Front;
use crate::copy::lines::Lines;
use crate::copy::{Found, Rows};
use crate::error::PgError;
use crate::protocol::answer::{self, tag};
use crate::protocol::frame::HEADER;
use crate::protocol::{self, encode, request};
use crate::session::registry::CancelTarget;
use crate::session::scatter::Stop;
use crate::session::scatter::answers::{Answers, Heard, Owed};
use crate::session::scatter::drive::MAX_ROW;
use crate::session::{Session, settings};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// One shard's side of a COPY.
pub(super) struct Stream {
    pub shard: ShardId,
    pub answers: Answers,
    /// A CopyData message that is being filled, its header included.
    pub piece: BytesMut,
    pub lines: Lines,
    /// The body of its CopyInResponse or CopyOutResponse.
    pub response: Option<Bytes>,
    /// Its command tag.
    pub tag: Option<String>,
    /// CopyDone or CopyFail is on its way.
    pub closed: bool,
    /// Its connection is of no use any more.
    pub lost: bool,
    /// Of rows that go out: the first message is behind us.
    pub begun: bool,
}

impl Stream {
    pub fn new(shard: ShardId) -> Stream {
        Stream {
            shard,
            answers: Answers::default(),
            piece: BytesMut::new(),
            lines: Lines::default(),
            response: None,
            tag: None,
            closed: false,
            lost: false,
            begun: false,
        }
    }

    /// Nothing more will come from it.
    pub fn is_over(&self) -> bool {
        self.lost || self.answers.is_idle()
    }

    /// The shard's count of rows.
    pub fn count(&self) -> u64 {
        let tag = self.tag.as_deref().unwrap_or_default();
        tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// Adds a row, with more fields in front of it.
    pub fn put_row(&mut self, front: &Front, row: &[u8]) -> bool {
        if front.bytes.is_empty() {
            return self.put(row);
        }
        self.put(&front.bytes);
        self.put(row.get(front.instead..).unwrap_or_default())
    }

    /// Remembers which line here is which of the shard's.
    pub fn count_lines(&mut self, rows: &Rows, found: &Found, bytes: &[u8]) {
        let lines = if self.lines.sent() == 0 { rows.lines_as_first(found, bytes) } else { found.lines };
        self.lines.add(found.line, lines, found.len);
    }

    /// Adds bytes to the message that is being filled; whether it should go.
    pub fn put(&mut self, bytes: &[u8]) -> bool {
        if self.piece.is_empty() {
            self.piece.put_u8(tag::COPY_DATA);
            self.piece.put_i32(0);
        }
        self.piece.extend_from_slice(bytes);
        self.piece.len() >= super::PIECE
    }
}

impl Session {
    /// Sends each shard the statement, which makes it a COPY.
    ///
    /// # Errors
    /// A shard that is not enlisted (XX000).
    pub(super) fn send_copy(&mut self, streams: &mut [Stream], sql: &str, from: bool) -> Result<(), PgError> {
        let mut out = BytesMut::with_capacity(sql.len() + 16);
        request::query(&mut out, sql);
        let mut targets = Vec::with_capacity(streams.len());
        for stream in streams {
            let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == stream.shard) else {
                return Err(PgError::new(SqlState::INTERNAL_ERROR, "a shard's connection is missing"));
            };
            held.unnamed = None;
            held.lease.in_flight = 1;
            // An error shows again when the answer is read.
            let _ = held.lease.send_now(&out);
            let began = if from { Owed::CopyIn } else { Owed::CopyOut };
            [began, Owed::Execute, Owed::Ready].into_iter().for_each(|owed| stream.answers.expect(owed));
            let (pid, secret) = (held.lease.pid, held.lease.secret.clone());
            targets.push(CancelTarget { shard: stream.shard, pid, secret });
        }
        self.handle.aim_at_all(targets);
        Ok(())
    }

    /// Sends what has been put into a shard's message; how much waits to be sent.
    pub(super) fn send_piece(&mut self, stream: &mut Stream) -> usize {
        let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == stream.shard) else { return 0 };
        if !stream.piece.is_empty() {
            let length = (stream.piece.len() - 1) as i32;
            stream.piece[1..HEADER].copy_from_slice(&length.to_be_bytes());
            let _ = held.lease.send_now(&stream.piece);
            stream.piece.clear();
        }
        held.lease.outgoing.len()
    }

    /// Sends a message of a shard's own.
    pub(super) fn send_last(&mut self, stream: &mut Stream, message: impl FnOnce(&mut BytesMut)) {
        stream.closed = true;
        let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == stream.shard) else { return };
        let mut out = BytesMut::new();
        message(&mut out);
        let _ = held.lease.send_now(&out);
    }

    /// Sends to a shard and reads it, as far as both go now. `table` is for the context of its errors. Rows that go out stay where they are;
    /// whether there is one.
    ///
    /// # Errors
    /// The shard's, or that its connection is lost.
    pub(super) fn poll_stream(&mut self, stream: &mut Stream, table: &str, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let Some(index) = self.held.iter().position(|held| held.lease.shard == stream.shard) else {
            stream.lost = true;
            return Err(PgError::new(SqlState::CONNECTION_FAILURE, "a shard's connection is gone").into());
        };
        let mut failed = None;
        loop {
            let lease = &mut self.held[index].lease;
            let heard = match stream.answers.next(&mut lease.incoming, MAX_ROW) {
                Ok(heard) => heard,
                Err(violation) => {
                    lease.tainted = true;
                    stream.lost = true;
                    return Err(violation.into());
                }
            };
            match heard {
                Heard::Row => return failed.map_or(Ok(true), Err),
                Heard::Nothing if stream.answers.is_idle() => break,
                Heard::Nothing => {
                    if lease.wants_send()
                        && let Poll::Ready(Err(broken)) = lease.poll_send(cx)
                    {
                        // What the server said before it closed is worth more.
                        if lease.poll_fill(cx).is_ready_with_bytes() {
                            continue;
                        }
                        stream.lost = true;
                        return Err(lease.lost(&broken.to_string()).into());
                    }
                    match lease.poll_fill(cx) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(count)) if count > 0 => {}
                        Poll::Ready(outcome) => {
                            stream.lost = true;
                            let why =
                                outcome.err().map_or("The server closed the connection".into(), |e| e.to_string());
                            return Err(failed.unwrap_or_else(|| lease.lost(&why).into()));
                        }
                    }
                }
                Heard::Copying(body) => stream.response = Some(body),
                Heard::Complete(body) => stream.tag = Some(answer::command_tag(&body)?.to_owned()),
                Heard::Ready(status) => {
                    lease.transaction = status;
                    lease.in_flight = 0;
                }
                Heard::Said(message) if message.first() == Some(&b'N') => {
                    let message = context::relocate(message, table, &stream.lines);
                    self.client.outgoing.extend_from_slice(&protocol::with_shard(&message, &lease.shard_name));
                }
                Heard::Said(message) => self.client.outgoing.extend_from_slice(&message),
                Heard::Parameter { name, value } => {
                    lease.parameters.set(&name, &value);
                    if self.reported.set(&name, &value) {
                        encode::parameter_status(&mut self.client.outgoing, &name, &value);
                        self.decode = settings::decode_context(&self.reported);
                    }
                }
                Heard::Failed(message) => {
                    let message = context::relocate(message, table, &stream.lines);
                    let stop = context::server_error(message, &lease.shard_name);
                    failed.get_or_insert(stop);
                }
                Heard::Described(_) | Heard::Bound | Heard::Suspended | Heard::Parameters(_) => {}
            }
        }
        failed.map_or(Ok(false), Err)
    }
}

/// A look at a read that has been tried.
trait Filled {
    fn is_ready_with_bytes(&self) -> bool;
}

impl Filled for Poll<std::io::Result<usize>> {
    fn is_ready_with_bytes(&self) -> bool {
        matches!(self, Poll::Ready(Ok(count)) if *count > 0)
    }
}
