//! One shard's rows on their way into the merge.

use bytes::{Buf, BytesMut};

use super::fault::Fault;
use super::row;
use crate::error::PgError;

/// What a shard has sent and the merge has not used yet: at most what was read from the shard at once.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    rows: BytesMut,
    complete: bool,
}

impl Source {
    /// A shard that has not said anything yet.
    pub fn new(name: String) -> Source {
        Source { name, rows: BytesMut::new(), complete: false }
    }

    /// The shard's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The error for a fault of this shard's.
    pub fn blame(&self, fault: Fault) -> PgError {
        fault.of(&self.name)
    }

    /// Takes the whole rows at the start of the shard's buffer, without a copy where the buffer is its own. How many
    /// bytes.
    pub fn take(&mut self, incoming: &mut BytesMut, columns: usize) -> Result<usize, PgError> {
        let (bytes, _) = row::run(incoming, columns, u64::MAX).map_err(|fault| self.blame(fault))?;
        if bytes > 0 {
            let run = incoming.split_to(bytes);
            if self.rows.is_empty() {
                self.rows = run;
            } else {
                self.rows.unsplit(run);
            }
        }
        Ok(bytes)
    }

    /// The rows that have not been used, whole ones only.
    pub fn rows(&self) -> &[u8] {
        &self.rows
    }

    /// No row is at hand.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The first so many bytes are used.
    pub fn advance(&mut self, bytes: usize) {
        self.rows.advance(bytes.min(self.rows.len()));
        if self.rows.is_empty() {
            // Gives the shard's buffer back, so that it can be filled again.
            self.rows = BytesMut::new();
        }
    }

    /// Moves the first so many bytes out: where all go into an empty buffer, without a copy.
    pub fn pass(&mut self, bytes: usize, out: &mut BytesMut) {
        if out.is_empty() && bytes == self.rows.len() && bytes >= WORTH_SWAPPING {
            *out = std::mem::take(&mut self.rows);
        } else {
            out.extend_from_slice(&self.rows[..bytes.min(self.rows.len())]);
            self.advance(bytes);
        }
    }

    /// The shard has said that its rows are over.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The shard's rows are over.
    pub fn set_complete(&mut self) {
        self.complete = true;
    }

    /// Nothing is there and nothing will come.
    pub fn is_over(&self) -> bool {
        self.complete && self.rows.is_empty()
    }
}

/// Below this, copying is cheaper than buffers that change hands and have to be allocated anew.
const WORTH_SWAPPING: usize = 4 << 10;
