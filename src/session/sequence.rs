//! A query of several statements that no single shard can do: they are done one by one, in the order of the text.
//!
//! To PostgreSQL such a query is one message with one ReadyForQuery, and its statements are one transaction unless they say otherwise
//! (`exec_simple_query`, "implicit transaction block"): BEGIN makes a block of it, COMMIT and ROLLBACK end it and what follows begins another one, an error
//! undoes it and everything behind the error is left out. So outside of a block a [transaction of the session's own](Session::begin_implicit)
//! is opened before a statement, over whatever shards it and its successors lead to, and is committed behind the last one.
//!
//! Each statement goes the way that it would go alone, but for the ReadyForQuery at its end, and the next one waits until the
//! backend owes nothing. It is a state of the session rather than a loop, because the client may be in the middle of a COPY between
//! two of them: [`Session::go_on`] is asked whenever the session has acted on something.
//!
//! One thing is not PostgreSQL's: a syntax error in a later statement shows when its turn comes, not before the first one is done.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::extended::Batch;
use super::relay::Expect;
use super::transaction::State;
use super::{Over, Session, Trouble};
use crate::protocol::{answer, encode, request};
use crate::sql::{self, Command};

/// What is left to do of a query of several statements.
pub(super) struct Sequence {
    /// The client's message.
    frame: Bytes,
    text: String,
    pieces: VecDeque<Range<usize>>,
    /// The place of the statement that is at work, in bytes and in characters.
    at: (usize, u32),
    /// It has failed, and the client has been told.
    pub failed: bool,
}

impl Sequence {
    /// What the backend owes for a statement of it.
    pub fn expect(&self) -> Expect {
        Expect::Piece { before: self.at.1 }
    }

    /// The next statement.
    fn next(&mut self) -> Option<String> {
        let piece = self.pieces.pop_front()?;
        let passed = self.text.get(self.at.0..piece.start).map_or(0, |text| text.chars().count());
        self.at = (piece.start, self.at.1.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX)));
        self.text.get(piece).map(str::to_owned)
    }

    /// An error of one statement, with its place in the whole text.
    fn placed(&self, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Failed(message) => Trouble::Failed(answer::moved(&message, self.at.1).freeze()),
            Trouble::Refused(mut error) => {
                error.position = error.position.map(|place| place.saturating_add(self.at.1 as _));
                Trouble::Refused(error)
            }
            other => other,
        }
    }
}

impl Session {
    /// Begins with a query whose statements are to be done one by one.
    pub(super) async fn begin_sequence(
        &mut self,
        frame: &[u8],
        text: &str,
        pieces: &[Range<usize>],
    ) -> Result<(), Trouble> {
        if self.transaction.is_idle() && self.batch.tied {
            // Messages of the extended protocol came before it: they are of one transaction with it.
            self.set_aside().await?;
        } else {
            self.come_to_rest().await?;
        }
        self.batch = Batch::default();
        self.sequence = Some(Box::new(Sequence {
            frame: Bytes::copy_from_slice(frame),
            text: text.to_owned(),
            pieces: pieces.iter().cloned().collect(),
            at: (0, 0),
            failed: false,
        }));
        Ok(())
    }

    /// Goes on with a query of several statements, if there is one and nothing is under way. True if it has come to its end.
    pub(super) async fn go_on(&mut self) -> Result<bool, Over> {
        // On the heap only when it is needed: a session that is idle should not have room for it.
        if self.sequence.is_some() { Box::pin(self.steps()).await } else { Ok(false) }
    }

    async fn steps(&mut self) -> Result<bool, Over> {
        while self.relay.is_idle() && !self.copy_in && self.copying.is_none() {
            let Some(sequence) = &mut self.sequence else { return Ok(true) };
            if sequence.failed {
                self.break_off().await?;
                return Ok(true);
            }
            if self.noted
                && let Err(trouble) = Box::pin(self.settle_lookups()).await
            {
                self.give_up_sequence(trouble).await?;
                return Ok(true);
            }
            let Some(sequence) = &mut self.sequence else { return Ok(true) };
            let outcome = match sequence.next() {
                Some(statement) => self.step(&statement).await,
                None => {
                    if let Err(trouble) = self.commit_sequence().await {
                        self.give_up_sequence(trouble).await?;
                        return Ok(true);
                    }
                    self.sequence = None;
                    self.meter_ready(self.transaction.status());
                    encode::ready_for_query(&mut self.client.outgoing, self.transaction.status());
                    return Ok(true);
                }
            };
            match outcome {
                Ok(()) => {}
                Err(Trouble::Over(over)) => return Err(over),
                Err(Trouble::Skipped) => self.sequence.iter_mut().for_each(|sequence| sequence.failed = true),
                Err(trouble) => {
                    self.give_up_sequence(trouble).await?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn step(&mut self, statement: &str) -> Result<(), Trouble> {
        if self.transaction.is_idle() {
            self.part_with_backends().await;
            self.settle_definitions().await;
            self.follow_state();
        }
        match sql::classify(statement) {
            // A block of its own, which may have modes: there is nothing yet that it would have to take over.
            Command::Begin { .. }
                if self.implicit && self.transaction.state() == (State::Virtual { failed: false }) =>
            {
                self.implicit = false;
                self.transaction.commit();
            }
            Command::Begin { .. } => {}
            _ if self.transaction.is_idle() => self.begin_implicit(),
            _ => {}
        }
        self.renew_temporary().await?;
        if !self.transaction.is_failed() {
            self.renew_draft().await?;
        }
        self.meter.begin(statement);
        if !self.transaction.is_failed() && !super::route::is_command(&sql::classify(statement)) {
            Box::pin(self.renew_draft()).await?;
        }
        let mut frame = BytesMut::with_capacity(statement.len() + 8);
        request::query(&mut frame, statement);
        Box::pin(self.single(&frame, statement, statement)).await
    }

    async fn commit_sequence(&mut self) -> Result<(), Trouble> {
        if self.implicit { Box::pin(self.end_implicit(true)).await } else { Ok(()) }
    }

    /// An error of the session's own, or of several shards', ends it.
    pub(super) async fn give_up_sequence(&mut self, trouble: Trouble) -> Result<(), Over> {
        let Some(sequence) = self.sequence.take() else { return Ok(()) };
        let placed = sequence.placed(trouble);
        self.tell(Err(placed), b'Q', &sequence.frame).await
    }

    /// An error that the client has been told of ends it.
    async fn break_off(&mut self) -> Result<(), Over> {
        self.sequence = None;
        self.relay.stop_skipping();
        if self.implicit
            && let Err(Trouble::Over(over)) = Box::pin(self.end_implicit(false)).await
        {
            return Err(over);
        }
        self.relay.stop_skipping();
        self.meter_ready(self.transaction.status());
        encode::ready_for_query(&mut self.client.outgoing, self.transaction.status());
        Ok(())
    }
}
