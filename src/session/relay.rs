//! The backend's answer on its way to the client, as a pure machine: bytes in, bytes out, and an event when the session has
//! to know something.
//!
//! What was sent to the backend is written down as a queue of [`Expect`]s, one for each answer that will come. Most bytes
//! are never looked at: a DataRow is known by its five-byte header and passes as it is, whole or in parts. Messages that
//! Goldseam itself caused (a re-prepared statement, the BEGIN before a transaction's first statement) are taken out, and
//! messages that it answers itself are put in at their place in the order (protocol section "Pipelining").
//!
//! It knows no socket, no pool and no plan.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::PgError;
use crate::protocol;
use crate::sqlstate::SqlState;

pub use tag::Tag;

/// The longest message that has to be looked at as a whole (errors, notices, notifications, tags, row descriptions of swallowed
/// answers): far above what PostgreSQL sends, and a bound on what a broken server can make us hold.
const MAX_INSPECTED: usize = 64 << 20;

/// One answer that the backend owes, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// ParseComplete; passed on only where the client itself sent the Parse. `statement` is what the backend is believed to have from now on.
    Parse {
        /// Whether the client gets it.
        pass: bool,
        /// The statement's number.
        statement: Option<u64>,
    },
    /// BindComplete.
    Bind {
        /// Whether the client gets it.
        pass: bool,
    },
    /// CloseComplete.
    Close {
        /// Whether the client gets it.
        pass: bool,
    },
    /// (ParameterDescription and) RowDescription or NoData.
    Describe,
    /// Rows, then CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute {
        /// Whether the client gets it.
        pass: bool,
    },
    /// ReadyForQuery after a Sync.
    Sync {
        /// Whether the client gets it.
        pass: bool,
    },
    /// All that answers one simple query, up to ReadyForQuery.
    Query {
        /// Whether the client gets it.
        pass: bool,
    },
    /// All that answers one statement of a query of several, which are sent one by one: its ReadyForQuery is not the client's.
    Piece {
        /// So many characters of the client's query stand before it: places in its text are counted from there.
        before: u32,
    },
    /// Not from the backend at all: an answer of Goldseam's own whose turn comes here.
    Own(Bytes),
    /// An error that Goldseam provokes so that the backend's transaction fails as PostgreSQL's would have; the client gets this error
    /// message in its place.
    Refusal(Bytes),
}

/// What the session has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Everything at hand is done.
    Dry,
    /// A statement of the client ended with this command tag (empty for an empty query).
    Complete(Tag),
    /// The server accepted a text of the client's.
    Parsed,
    /// A portal's row limit is reached: there is more.
    Suspended,
    /// An answer to something of ours ended.
    Swallowed,
    /// A statement failed with this SQLSTATE; `cached_plan` if because a prepared statement's result type has changed.
    Failed {
        /// Its SQLSTATE.
        code: SqlState,
        /// The server's cached plan is stale.
        cached_plan: bool,
    },
    /// A message before the client's simple query failed: the backend now skips until a Sync, which has to be sent.
    NeedSync,
    /// ReadyForQuery with its status byte.
    Ready(u8),
    /// The backend waits for COPY data.
    CopyIn,
    /// The backend reports a parameter's new value.
    Parameter {
        /// As the server spells it.
        name: String,
        /// Its new value.
        value: String,
    },
}

/// Messages of the client that an error made the backend skip, although the session had acted on them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// The last so many Parse and Close messages, a failed one among them.
    pub changes: usize,
    /// Simple queries.
    pub queries: u32,
}

/// The state of one backend's answer stream.
#[derive(Debug, Default)]
pub struct Relay {
    queue: VecDeque<Expect>,
    /// Bytes of the current message that are still to come and pass unseen.
    passing: usize,
    /// Whether those bytes go to the client or away.
    dropping: bool,
    /// An error has come, and messages are skipped until the client's Sync, which has not been sent yet.
    skipping: bool,
    /// Statements whose Parse failed or was skipped: the backend has them not.
    unparsed: Vec<u64>,
    /// What the client's messages that were skipped had asked for.
    skipped: Skipped,
    /// Something of ours was skipped, so that what the backend has is not what is believed.
    out_of_step: bool,
    /// The shard's name for the detail of errors; none where there is only one shard.
    label: Option<std::sync::Arc<str>>,
}

impl Relay {
    /// Errors of this backend will name this shard.
    pub fn set_label(&mut self, label: Option<std::sync::Arc<str>>) {
        self.label = label;
    }

    /// One more answer is owed.
    pub fn expect(&mut self, expect: Expect) {
        self.queue.push_back(expect);
    }

    /// The answer to what was sent last is the client's after all.
    pub fn pass_last(&mut self) {
        if let Some(Expect::Execute { pass }) = self.queue.back_mut() {
            *pass = true;
        }
    }

    /// The ParseComplete of what was sent last is the client's after all.
    pub fn pass_parse(&mut self) {
        if let Some(Expect::Parse { pass, .. }) =
            self.queue.iter_mut().rev().find(|expect| matches!(expect, Expect::Parse { .. }))
        {
            *pass = true;
        }
    }

    /// Nothing is owed.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.passing == 0
    }

    /// A ReadyForQuery is owed: the client's next statement has to wait, because where it may go depends on that message.
    pub fn awaits_ready(&self) -> bool {
        self.queue
            .iter()
            .any(|expect| matches!(expect, Expect::Sync { .. } | Expect::Query { .. } | Expect::Piece { .. }))
    }

    /// A ReadyForQuery is owed to the client, and not to us alone.
    pub fn owes_ready(&self) -> bool {
        self.queue.iter().any(|expect| matches!(expect, Expect::Sync { pass: true } | Expect::Query { pass: true }))
    }

    /// Whether an error makes the client's messages be skipped until its next Sync.
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// What an error left undone on the backend: statements that it does not have, and whether more is out of step.
    pub fn take_undone(&mut self) -> (Vec<u64>, bool) {
        (std::mem::take(&mut self.unparsed), std::mem::take(&mut self.out_of_step))
    }

    /// Which of the client's messages an error made void.
    pub fn take_skipped(&mut self) -> Skipped {
        std::mem::take(&mut self.skipped)
    }

    /// The client's Sync came.
    pub fn stop_skipping(&mut self) {
        self.skipping = false;
    }

    /// COPY data begins: a Sync that was sent with the Execute is read, and ignored, by the backend's COPY (protocol section
    /// "COPY Operations"), so no answer to it will come.
    pub fn enter_copy(&mut self) {
        self.queue.retain(|expect| !matches!(expect, Expect::Sync { .. }));
    }

    /// Forgets all that is owed, as after the loss of the connection.
    pub fn clear(&mut self) {
        *self = Relay { label: self.label.take(), ..Relay::default() };
    }

    /// Whether the next bytes are the middle of a message: an error of ours cannot be put there.
    pub fn is_mid_message(&self) -> bool {
        self.passing > 0
    }

    /// An error of Goldseam's own was told to the client: everything up to its Sync is ignored.
    pub fn skip(&mut self) {
        self.skipping = true;
    }

    /// Puts in our own answers whose turn has come, although the backend has said nothing.
    pub fn emit_now(&mut self, outgoing: &mut BytesMut) {
        if self.passing == 0 {
            self.emit_own(outgoing);
        }
    }

    /// Moves what it can from `incoming` (the backend's bytes) to `outgoing` (the client's), up to the next event.
    ///
    /// # Errors
    /// A server that breaks the protocol: the connection cannot be used any more.
    pub fn advance(&mut self, incoming: &mut BytesMut, outgoing: &mut BytesMut) -> Result<Event, PgError> {
        loop {
            self.emit_own(outgoing);
            if self.passing > 0 {
                let n = self.passing.min(incoming.len());
                if n == 0 {
                    return Ok(Event::Dry);
                }
                self.passing -= n;
                if self.dropping {
                    incoming.advance(n)
                } else {
                    move_bytes(incoming, outgoing, n)
                }
                continue;
            }
            self.pass_rows(incoming, outgoing);
            if self.passing > 0 {
                continue;
            }
            let Some(&[tag, a, b, c, d]) = incoming.first_chunk::<5>() else { return Ok(Event::Dry) };
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let total = length + 1;
            if length < 4 || total > MAX_INSPECTED {
                return Err(violation(tag));
            }
            if incoming.len() < total {
                return Ok(Event::Dry);
            }
            if let Some(event) = self.message(tag, total, incoming, outgoing)? {
                return Ok(event);
            }
        }
    }

    /// Puts in our own answers whose turn has come.
    fn emit_own(&mut self, outgoing: &mut BytesMut) {
        while let Some(Expect::Own(bytes)) = self.queue.front() {
            outgoing.extend_from_slice(bytes);
            self.queue.pop_front();
        }
    }

    /// Passes the longest run of DataRow and CopyData messages, the last perhaps in part, in one move.
    fn pass_rows(&mut self, incoming: &mut BytesMut, outgoing: &mut BytesMut) {
        let mut at = 0;
        while let Some(&[tag, a, b, c, d]) = incoming.get(at..).and_then(|rest| rest.first_chunk::<5>()) {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if !matches!(tag, b'D' | b'd') || length < 4 {
                break;
            }
            at += length + 1;
        }
        if at == 0 {
            return;
        }
        let n = at.min(incoming.len());
        self.passing = at - n;
        self.dropping = !self.front_passes();
        if self.dropping { incoming.advance(n) } else { move_bytes(incoming, outgoing, n) }
    }

    fn front_passes(&self) -> bool {
        match self.queue.front() {
            Some(Expect::Parse { pass, .. } | Expect::Bind { pass } | Expect::Close { pass })
            | Some(Expect::Execute { pass } | Expect::Sync { pass } | Expect::Query { pass }) => *pass,
            Some(Expect::Refusal(_)) => false,
            Some(Expect::Describe | Expect::Piece { .. } | Expect::Own(_)) | None => true,
        }
    }

    /// One whole message that is not a row.
    fn message(
        &mut self,
        tag: u8,
        total: usize,
        incoming: &mut BytesMut,
        outgoing: &mut BytesMut,
    ) -> Result<Option<Event>, PgError> {
        let pass = self.front_passes();
        match tag {
            b'1' | b'2' | b'3' | b'n' | b'T' | b's' | b'I' | b'C' => {
                let ends = match (self.queue.front(), tag) {
                    (Some(Expect::Query { .. } | Expect::Piece { .. }), b'T' | b'n') => false,
                    (Some(Expect::Query { .. } | Expect::Piece { .. }), b'C' | b'I') => false,
                    (Some(Expect::Parse { .. }), b'1')
                    | (Some(Expect::Bind { .. }), b'2')
                    | (Some(Expect::Close { .. }), b'3')
                    | (Some(Expect::Describe), b'T' | b'n')
                    | (Some(Expect::Execute { .. }), b'C' | b'I' | b's') => true,
                    _ => return Err(violation(tag)),
                };
                let event = match tag {
                    b'C' | b'I' if pass => Some(Event::Complete(Tag::new(tag, &incoming[5..total]))),
                    b's' if pass => Some(Event::Suspended),
                    b'1' if pass => Some(Event::Parsed),
                    b'C' | b'I' => Some(Event::Swallowed),
                    _ => None,
                };
                if ends {
                    self.queue.pop_front();
                }
                take(incoming, outgoing, total, pass);
                Ok(event)
            }
            // ParameterDescription precedes RowDescription; CopyOut and CopyDone stand within a statement.
            b't' | b'H' | b'c' => {
                take(incoming, outgoing, total, pass);
                Ok(None)
            }
            b'G' => {
                take(incoming, outgoing, total, pass);
                Ok(Some(Event::CopyIn))
            }
            b'Z' => {
                let pass = match self.queue.pop_front() {
                    Some(Expect::Sync { pass } | Expect::Query { pass }) => pass,
                    Some(Expect::Piece { .. }) => false,
                    _ => return Err(violation(tag)),
                };
                let status = incoming[5];
                take(incoming, outgoing, total, pass);
                Ok(Some(Event::Ready(status)))
            }
            b'S' => {
                let body = incoming.split_to(total);
                let mut parts =
                    body[5..].split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
                let (name, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
                outgoing.extend_from_slice(&body);
                Ok(Some(Event::Parameter { name, value }))
            }
            // Notices and notifications may come at any time, also when nothing is owed.
            b'N' | b'A' => {
                let own = matches!(tag, b'N') && !pass;
                take(incoming, outgoing, total, !own);
                Ok(None)
            }
            b'E' => Ok(Some(self.error(total, incoming, outgoing))),
            // CopyBoth and FunctionCallResponse answer what is never sent.
            _ => Err(violation(tag)),
        }
    }

    /// An ErrorResponse ends the current statement and skips all up to the next Sync.
    fn error(&mut self, total: usize, incoming: &mut BytesMut, outgoing: &mut BytesMut) -> Event {
        let frame = incoming.split_to(total);
        let fields = protocol::ErrorFields::new(&frame[5..]);
        let code = fields.code();
        let cached_plan = fields.field(b'R') == Some(b"RevalidateCachedQuery");
        match self.queue.front() {
            Some(Expect::Refusal(ours)) => outgoing.extend_from_slice(ours),
            // An error of a swallowed query of ours (a ROLLBACK that makes room) is not the client's.
            Some(Expect::Query { pass: false }) => {}
            // Nobody waits for anything: the server ends the connection, and the session is told when it sees the end.
            None => return Event::Swallowed,
            _ => {
                // A server that ends this connection does not end the client's.
                let softened = fields.is_fatal().then(|| {
                    let mut bytes = BytesMut::new();
                    let error = PgError { severity: crate::error::Severity::Error, ..fields.to_error() };
                    protocol::encode::error_response(&mut bytes, &error);
                    bytes
                });
                let frame = softened.as_deref().unwrap_or(&frame);
                let moved = match self.queue.front() {
                    Some(Expect::Piece { before }) => Some(protocol::answer::moved(frame, *before)),
                    _ => None,
                };
                let frame = moved.as_deref().unwrap_or(frame);
                match &self.label {
                    Some(shard) => outgoing.extend_from_slice(&protocol::with_shard(frame, shard)),
                    None => outgoing.extend_from_slice(frame),
                }
            }
        }
        // Its ReadyForQuery follows by itself.
        if let Some(Expect::Query { .. } | Expect::Piece { .. }) = self.queue.front() {
            return Event::Failed { code, cached_plan };
        }
        // A query that the client sent after an extended message of its own is skipped with everything else up to its Sync.
        let theirs = matches!(
            self.queue.front(),
            Some(Expect::Describe | Expect::Refusal(_))
                | Some(Expect::Parse { pass: true, .. } | Expect::Bind { pass: true })
                | Some(Expect::Close { pass: true } | Expect::Execute { pass: true })
        );
        while let Some(next) = self.queue.front_mut() {
            match next {
                Expect::Parse { pass: true, .. } | Expect::Close { pass: true } => self.skipped.changes += 1,
                Expect::Own(bytes) if matches!(bytes.first(), Some(b'1' | b'3')) => self.skipped.changes += 1,
                _ => {}
            }
            match next {
                Expect::Sync { pass } => {
                    // One of ours comes before the client's, up to which its messages are void.
                    self.skipping |= !*pass;
                    return Event::Failed { code, cached_plan };
                }
                Expect::Query { pass: true } if theirs => self.skipped.queries += 1,
                Expect::Query { pass } => {
                    *next = Expect::Sync { pass: *pass };
                    return Event::NeedSync;
                }
                Expect::Piece { .. } => {
                    *next = Expect::Sync { pass: false };
                    return Event::NeedSync;
                }
                Expect::Parse { statement, .. } => self.unparsed.extend(statement.take()),
                Expect::Close { pass: false } | Expect::Execute { pass: false } => self.out_of_step = true,
                _ => {}
            }
            self.queue.pop_front();
        }
        self.skipping = true;
        Event::Failed { code, cached_plan }
    }
}

/// What a backend says unasked, between statements: notifications and notices pass, parameter reports do not concern the client.
/// False for anything else, after which the connection cannot be used.
pub fn pass_unasked(incoming: &mut BytesMut, outgoing: &mut BytesMut) -> bool {
    while let Ok(Some(frame)) = protocol::frame(incoming, MAX_INSPECTED) {
        match frame.tag {
            b'A' | b'N' => take(incoming, outgoing, frame.len, true),
            b'S' => incoming.advance(frame.len),
            _ => return false,
        }
    }
    true
}

/// Below this, copying is cheaper than buffers that change hands and have to be allocated anew.
const WORTH_SWAPPING: usize = 4 << 10;

/// Moves the first `n` bytes; where a large buffer moves as a whole into an empty one, without a copy.
fn move_bytes(from: &mut BytesMut, to: &mut BytesMut, n: usize) {
    if to.is_empty() && n == from.len() && n >= WORTH_SWAPPING {
        std::mem::swap(from, to);
    } else {
        to.extend_from_slice(&from[..n]);
        from.advance(n);
    }
}

fn take(incoming: &mut BytesMut, outgoing: &mut BytesMut, total: usize, pass: bool) {
    if pass {
        outgoing.extend_from_slice(&incoming[..total]);
    }
    incoming.advance(total);
}

fn violation(tag: u8) -> PgError {
    PgError::new(SqlState::PROTOCOL_VIOLATION, "the server broke the wire protocol")
        .with_detail(format!("A message of type {:?} came out of its place or with a wrong length.", tag as char))
}

mod tag;

#[cfg(test)]
mod tests;
