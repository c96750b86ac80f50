//! How an error reaches the client, and its transaction.

use bytes::BytesMut;

use super::{Over, Session, Trouble};
use crate::error::PgError;
use crate::protocol::encode;
use crate::sqlstate::SqlState;

impl Session {
    /// Tells the client of an error that its message led to.
    pub(super) async fn tell(&mut self, outcome: Result<(), Trouble>, tag: u8, frame: &[u8]) -> Result<(), Over> {
        let outcome = match outcome {
            Err(Trouble::Over(over)) => return Err(over),
            // An error that was still on its way came first.
            Err(trouble) if self.implicit => match self.end_implicit(false).await {
                Err(earlier @ (Trouble::Skipped | Trouble::Over(_))) => Err(earlier),
                _ => Err(trouble),
            },
            outcome => outcome,
        };
        self.meter_outcome(&outcome, tag, frame);
        match outcome {
            Ok(()) | Err(Trouble::Skipped) => Ok(()),
            Err(Trouble::Over(over)) => Err(over),
            Err(Trouble::Refused(error)) if matches!(error.severity, crate::error::Severity::Fatal) => {
                Err(Over::Fatal(error))
            }
            Err(Trouble::Refused(mut error)) => {
                // Texts that no server has judged yet come first: their answers do, and so do their errors.
                match self.prove_all().await {
                    Ok(()) | Err(Trouble::Skipped | Trouble::Failed(_)) => {}
                    Err(Trouble::Refused(earlier)) => error = earlier,
                    Err(Trouble::Over(over)) => return Err(over),
                }
                self.refuse(&error, ends_by_itself(tag));
                Ok(())
            }
            Err(Trouble::Failed(message)) => {
                self.fail_with(message, ends_by_itself(tag));
                Ok(())
            }
        }
    }

    /// Tells the client of an error of ours, and makes the transaction fail as PostgreSQL's would. `alone` if a ReadyForQuery follows
    /// by itself, as it does after a simple query.
    pub(super) fn refuse(&mut self, error: &PgError, alone: bool) {
        tracing::debug!(user = %self.user, code = %error.code, message = %error.message, "refused");
        let mut message = BytesMut::new();
        encode::error_response(&mut message, error);
        self.fail_with(message.freeze(), alone);
    }

    /// Gives the client an error message, and makes the transaction fail.
    pub(super) fn fail_with(&mut self, message: bytes::Bytes, alone: bool) {
        // Whatever it says, the client now knows that its transaction has failed.
        if self.transaction.is_doomed() {
            self.lost = None;
        }
        let open = self.attached.filter(|_| !self.transaction.is_idle() || self.batch.open);
        if let Some(index) = open {
            self.provoke_failure(index, message);
            if alone {
                self.send_sync(index, true);
            } else {
                self.relay.skip();
            }
            return;
        }
        self.transaction.fail();
        self.relay.emit_now(&mut self.client.outgoing);
        self.client.outgoing.extend_from_slice(&message);
        if alone {
            encode::ready_for_query(&mut self.client.outgoing, self.transaction.status());
        } else {
            self.batch.open = true;
            self.relay.skip();
        }
    }
}

/// Whether a message is answered with a ReadyForQuery of its own.
fn ends_by_itself(tag: u8) -> bool {
    matches!(tag, b'Q' | b'F' | b'S')
}

/// A message with a body that should have none (`pq_getmsgend`).
pub(super) fn malformed() -> PgError {
    PgError::new(SqlState::PROTOCOL_VIOLATION, "invalid message format")
}
