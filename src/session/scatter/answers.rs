//! One shard's answer to its part of a statement, as a pure machine: bytes in, and what they say.
//!
//! Beside [`Relay`](crate::session::relay::Relay) it is small, because nothing of a client's is among it: Goldseam itself has asked, and
//! knows what is owed. Rows are left where they are, for the merger to take; a message that is not owed ends the connection.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::error::PgError;
use crate::protocol::frame::HEADER;
use crate::protocol::{self, answer};
use crate::sqlstate::SqlState;

/// What a server owes, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Owed {
    /// CloseComplete.
    Close,
    /// ParseComplete; the statement's number, if it has a name there.
    Parse(Option<u64>),
    /// ParameterDescription, and RowDescription or NoData.
    Statement,
    /// BindComplete.
    Bind,
    /// RowDescription or NoData.
    Portal,
    /// CopyInResponse.
    CopyIn,
    /// CopyOutResponse.
    CopyOut,
    /// Rows, or data of a COPY, and their end.
    Execute,
    /// ReadyForQuery.
    Ready,
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) enum Heard {
    /// Nothing that is whole.
    Nothing,
    /// The types of a statement's parameters: the message's body.
    Parameters(Bytes),
    /// RowDescription's body, or NoData.
    Described(Option<Bytes>),
    /// The portal is there.
    Bound,
    /// A row, or data of a COPY, is next, and stays for whoever wants it.
    Row,
    /// A COPY begins: CopyInResponse's or CopyOutResponse's body.
    Copying(Bytes),
    /// The statement is done; the message's body.
    Complete(Bytes),
    /// The row limit is reached.
    Suspended,
    /// The whole ErrorResponse.
    Failed(BytesMut),
    /// A whole NoticeResponse or NotificationResponse.
    Said(BytesMut),
    /// A setting's new value.
    Parameter {
        /// As the server spells it.
        name: String,
        /// Its new value.
        value: String,
    },
    /// The transaction's state.
    Ready(u8),
}

/// What one server still owes.
#[derive(Debug, Default)]
pub(in crate::session) struct Answers {
    queue: VecDeque<Owed>,
    /// Statements whose Parse failed or was skipped.
    undone: Vec<u64>,
    /// Data of a COPY is on its way here.
    copy_out: bool,
}

impl Answers {
    /// One more answer is owed.
    pub fn expect(&mut self, owed: Owed) {
        self.queue.push_back(owed);
    }

    /// Nothing is owed.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// A Sync has been sent, and its ReadyForQuery is still to come.
    pub fn owes_ready(&self) -> bool {
        self.queue.contains(&Owed::Ready)
    }

    /// Statements that the server has not, although it was sent them.
    pub fn take_undone(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.undone)
    }

    /// Takes the next message; a row is only looked at.
    ///
    /// # Errors
    /// A server that breaks the protocol: the connection cannot be used any more.
    pub fn next(&mut self, incoming: &mut BytesMut, max: usize) -> Result<Heard, PgError> {
        loop {
            let Some(frame) = protocol::header(incoming, max).map_err(|_| violation(incoming))? else {
                return Ok(Heard::Nothing);
            };
            // Judged before the body is there: garbage could claim a body that never comes.
            if !self.is_due(frame.tag) {
                return Err(violation(incoming));
            }
            if incoming.len() < frame.len {
                return Ok(Heard::Nothing);
            }
            if matches!(frame.tag, b'D' | b'd') {
                return Ok(Heard::Row);
            }
            let mut message = incoming.split_to(frame.len);
            if matches!(frame.tag, b'E' | b'N' | b'A') {
                if frame.tag != b'E' {
                    return Ok(Heard::Said(message));
                }
                self.fail();
                return Ok(Heard::Failed(message));
            }
            message.advance(HEADER);
            let body = message.freeze();
            return Ok(match frame.tag {
                b'S' => {
                    let (name, value) = answer::parameter_status(&body)?;
                    Heard::Parameter { name: name.to_owned(), value: value.to_owned() }
                }
                b'1' | b'3' => {
                    self.queue.pop_front();
                    continue;
                }
                b'2' => {
                    self.queue.pop_front();
                    Heard::Bound
                }
                // The end of a COPY's data; that of the statement follows.
                b'c' => continue,
                b'G' | b'H' => {
                    self.queue.pop_front();
                    self.copy_out = frame.tag == b'H';
                    Heard::Copying(body)
                }
                b't' => Heard::Parameters(body),
                b'T' | b'n' => {
                    self.queue.pop_front();
                    Heard::Described((frame.tag == b'T').then_some(body))
                }
                b's' => {
                    self.queue.pop_front();
                    Heard::Suspended
                }
                b'Z' => {
                    self.queue.pop_front();
                    Heard::Ready(answer::ready_state(&body)?)
                }
                _ => {
                    self.queue.pop_front();
                    self.copy_out = false;
                    Heard::Complete(body)
                }
            });
        }
    }

    fn is_due(&self, tag: u8) -> bool {
        match (tag, self.queue.front()) {
            (b'S' | b'N' | b'A', _) => true,
            (b'E', owed) => owed.is_some(),
            (b'1', Some(Owed::Parse(_))) | (b'2', Some(Owed::Bind)) | (b'3', Some(Owed::Close)) => true,
            (b't', Some(Owed::Statement)) | (b'T' | b'n', Some(Owed::Statement | Owed::Portal)) => true,
            (b'G', Some(Owed::CopyIn)) | (b'H', Some(Owed::CopyOut)) => true,
            (b'd' | b'c', Some(Owed::Execute)) => self.copy_out,
            (b'D', Some(Owed::Execute)) => !self.copy_out,
            (b'C' | b'I' | b's', Some(Owed::Execute)) => true,
            (b'Z', Some(Owed::Ready)) => true,
            _ => false,
        }
    }

    /// An error ends the statement and skips all up to the next Sync.
    fn fail(&mut self) {
        while let Some(owed) = self.queue.front() {
            match owed {
                Owed::Ready => return,
                Owed::Parse(id) => self.undone.extend(*id),
                _ => {}
            }
            self.queue.pop_front();
        }
    }
}

fn violation(incoming: &[u8]) -> PgError {
    let tag = incoming.first().copied().unwrap_or(0);
    PgError::new(SqlState::PROTOCOL_VIOLATION, "the server broke the wire protocol")
        .with_detail(format!("A message of type {:?} came out of its place or with a wrong length.", tag as char))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode;

    fn answers(owed: &[Owed]) -> Answers {
        let mut answers = Answers::default();
        owed.iter().for_each(|&owed| answers.expect(owed));
        answers
    }

    fn all(answers: &mut Answers, incoming: &mut BytesMut) -> Vec<Heard> {
        let mut heard = Vec::new();
        loop {
            match answers.next(incoming, 1 << 20).unwrap() {
                Heard::Nothing => return heard,
                Heard::Row => {
                    let frame = protocol::frame(incoming, 1 << 20).unwrap().unwrap();
                    incoming.advance(frame.len);
                    heard.push(Heard::Row);
                }
                other => heard.push(other),
            }
        }
    }

    #[test]
    fn a_whole_answer_however_it_is_cut() {
        let mut whole = BytesMut::new();
        encode::parse_complete(&mut whole);
        encode::bind_complete(&mut whole);
        encode::row_description(&mut whole, &["a"]);
        encode::data_row(&mut whole, [Some("1")].into_iter());
        encode::command_complete(&mut whole, "SELECT 1");
        encode::ready_for_query(&mut whole, b'I');
        for step in 1..whole.len() {
            let owed = [Owed::Parse(Some(7)), Owed::Bind, Owed::Portal, Owed::Execute, Owed::Ready];
            let (mut answers, mut incoming, mut heard) = (answers(&owed), BytesMut::new(), Vec::new());
            for piece in whole.chunks(step) {
                incoming.extend_from_slice(piece);
                heard.extend(all(&mut answers, &mut incoming));
            }
            assert_eq!(heard.len(), 5, "{step}: {heard:?}");
            assert_eq!((&heard[0], &heard[2], &heard[4]), (&Heard::Bound, &Heard::Row, &Heard::Ready(b'I')));
            assert_eq!(heard[3], Heard::Complete(Bytes::from_static(b"SELECT 1\0")));
            assert!(answers.is_idle() && answers.take_undone().is_empty());
        }
    }

    #[test]
    fn an_error_skips_up_to_the_sync_and_says_what_was_not_prepared() {
        let mut incoming = BytesMut::new();
        encode::error_response(&mut incoming, &PgError::new(SqlState::SYNTAX_ERROR, "oops"));
        encode::ready_for_query(&mut incoming, b'I');
        let mut with_sync = answers(&[Owed::Parse(Some(7)), Owed::Bind, Owed::Execute, Owed::Ready]);
        let heard = all(&mut with_sync, &mut incoming.clone());
        assert!(matches!(heard[..], [Heard::Failed(_), Heard::Ready(b'I')]), "{heard:?}");
        assert_eq!((with_sync.take_undone(), with_sync.is_idle()), (vec![7], true));
        let mut without = answers(&[Owed::Bind, Owed::Execute]);
        assert!(matches!(without.next(&mut incoming, 1 << 20), Ok(Heard::Failed(_))));
        assert!(without.is_idle() && !without.owes_ready());
        without.expect(Owed::Ready);
        assert_eq!(without.next(&mut incoming, 1 << 20).unwrap(), Heard::Ready(b'I'));
    }

    #[test]
    fn garbage_is_found_before_its_body_comes() {
        for garbage in [&b"HTTP/1.1 400"[..], b"D\0\0\0\x03", b"Z\0\0\0\x05I", b"1\0\0\0\x04", b"\xff\xff\xff\xff\xff"]
        {
            let mut answers = answers(&[Owed::Bind, Owed::Execute]);
            let error = answers.next(&mut BytesMut::from(garbage), 1 << 20).unwrap_err();
            assert_eq!(error.code, SqlState::PROTOCOL_VIOLATION, "{garbage:?}");
        }
        // A row where none is owed.
        let mut row = BytesMut::new();
        encode::data_row(&mut row, [Some("1")].into_iter());
        assert!(answers(&[Owed::Ready]).next(&mut row, 1 << 20).is_err());
    }
}
