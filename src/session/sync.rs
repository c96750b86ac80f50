//! The messages that end a batch of the extended protocol or push it on: Flush, Sync; and those of a COPY.

use super::extended::Batch;
use super::{Session, Trouble};
use crate::error::PgError;
use crate::protocol::{encode, request};
use crate::sqlstate::SqlState;

impl Session {
    /// Flush.
    pub(super) async fn flush(&mut self) -> Result<(), Trouble> {
        self.prove_all().await?;
        if let Some(index) = self.attached
            && !self.relay.is_idle()
        {
            request::flush(&mut self.held[index].lease.outgoing);
        }
        Ok(())
    }

    /// Sync.
    pub(super) async fn sync(&mut self) -> Result<(), Trouble> {
        if !self.relay.is_skipping()
            && let Err(trouble) = self.prove_all().await
        {
            match trouble {
                Trouble::Refused(error) => self.refuse(&error, false),
                Trouble::Failed(message) => self.fail_with(message, false),
                Trouble::Skipped => {}
                over => return Err(over),
            }
        }
        if self.noted && !self.implicit && !self.relay.is_skipping() && !self.transaction.is_failed() {
            Box::pin(self.settle_lookups()).await?;
        }
        self.relay.stop_skipping();
        if self.implicit {
            // A batch that wrote on several shards is one transaction over all of them.
            let ended = Box::pin(self.end_batch()).await;
            self.meter_outcome(&ended, b'S', &[]);
            self.meter_ready(self.transaction.status());
            self.relay.stop_skipping();
            self.batch = Batch::default();
            self.release_portals();
            match ended {
                // What it still owed was an error, and the client has it.
                Ok(()) | Err(Trouble::Skipped) => {
                    encode::ready_for_query(&mut self.client.outgoing, self.transaction.status());
                }
                Err(Trouble::Refused(error)) => self.refuse(&error, true),
                Err(Trouble::Failed(message)) => self.fail_with(message, true),
                Err(over) => return Err(over),
            }
            return Ok(());
        }
        self.batch = Batch::default();
        self.trim_journal();
        if self.transaction.is_idle() {
            self.release_portals();
        }
        match self.attached {
            Some(index) => self.send_sync(index, true),
            None => {
                self.relay.emit_now(&mut self.client.outgoing);
                self.meter_ready(self.transaction.status());
                encode::ready_for_query(&mut self.client.outgoing, self.transaction.status());
            }
        }
        Ok(())
    }

    /// What a client sends while its COPY runs: passed as it is.
    pub(super) fn copy_frame(&mut self, tag: u8, frame: &[u8]) -> Result<(), Trouble> {
        let Some(index) = self.attached else {
            self.copy_in = false;
            return Ok(());
        };
        match tag {
            b'd' | b'H' | b'S' => self.held[index].lease.outgoing.extend_from_slice(frame),
            b'c' | b'f' => {
                self.copy_in = false;
                self.held[index].lease.outgoing.extend_from_slice(frame);
            }
            b'X' => return Err(super::Over::Gone.into()),
            // Nobody knows any more which statement the next messages belong to (`CopyGetData`).
            _ => {
                let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                let error = PgError::new(SqlState::PROTOCOL_VIOLATION, message);
                encode::error_response(&mut self.client.outgoing, &error);
                return Err(PgError::fatal(
                    SqlState::PROTOCOL_VIOLATION,
                    "terminating connection because protocol synchronization was lost",
                )
                .into());
            }
        }
        Ok(())
    }
}
