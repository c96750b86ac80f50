//! Which shard a cursor is on.
//!
//! A cursor, or a portal with a name, lives on the backend that opened it until the transaction ends, and one WITH HOLD beyond that.
//! FETCH names no table, so that in a transaction over several shards nothing but the cursor's name says where to go. Portals of
//! the protocol and cursors of SQL are one space of names (`src/backend/utils/mmgr/portalmem.c`).
//!
//! A cursor over several shards is the session's own: see [`declared`], its movements in [`rows`], and what clients ask of it in [`fetch`].
//!
//! A cursor that a function has opened is not known here: FETCH of it goes to the attached backend, and is PostgreSQL's error if it is another's.

mod convert;
pub(super) mod declared;
pub(super) mod fetch;
mod rows;

use super::route::Destination;
use super::{Session, Trouble};
use crate::error::PgError;
use crate::plan::{Effects, Pin};
use crate::sql::{self, Command};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// An open cursor.
#[derive(Debug)]
pub(super) struct Cursor {
    name: String,
    shard: ShardId,
    hold: bool,
}

impl Session {
    /// Where a statement goes that names a cursor, if that is known; else where it would go anyhow.
    pub(super) fn toward_cursor(&self, destination: Destination, text: &str) -> Destination {
        if self.cursors.is_empty() {
            return destination;
        }
        // Whether the name is free can only be told where it was used.
        if matches!(destination, Destination::Attached | Destination::Any(_))
            && may_declare(text)
            && let Command::Declare { name, .. } = sql::classify(text)
        {
            return self.cursor_shard(&name).map_or(destination, Destination::Shard);
        }
        if destination != Destination::Attached {
            return destination;
        }
        let name = match sql::classify(text) {
            Command::Fetch(name) | Command::Move(name) | Command::ClosePortal(Some(name)) => name,
            _ => return destination,
        };
        self.cursor_shard(&name).map_or(destination, Destination::Shard)
    }

    /// `lastval()` speaks of the last sequence that the connection used; of which connection, in a block of several, it does not say.
    pub(super) fn admit_state(&self, destination: &Destination, effects: &Effects) -> Result<(), PgError> {
        if effects.pin != Some(Pin::SessionState) || *destination != Destination::Attached || !self.is_spread() {
            return Ok(());
        }
        Err(PgError::unsupported("lastval() and its like are not supported in a transaction over several shards")
            .with_detail("Each shard's connection remembers sequences of its own.")
            .with_hint("Use RETURNING, or currval() of the sequence."))
    }

    pub(super) fn cursor_shard(&self, name: &str) -> Option<ShardId> {
        self.cursors.iter().rev().find(|cursor| cursor.name == name).map(|cursor| cursor.shard)
    }

    /// Notes the cursor that a statement on this shard opens, if it does.
    pub(super) fn note_cursor(&mut self, text: &str, shard: ShardId) -> Result<(), PgError> {
        if may_declare(text)
            && let Command::Declare { name, hold, .. } = sql::classify(text)
        {
            if self.is_declared(&name) {
                return Err(PgError::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
            }
            if self.cursor_shard(&name).is_some_and(|known| known != shard) {
                return Err(PgError::unsupported(format!("cursor \"{name}\" was declared on another shard"))
                    .with_detail("A server knows only the names of its own cursors.")
                    .with_hint("Close it first, or use another name."));
            }
            self.open_cursor(&name, shard, hold)?;
        }
        Ok(())
    }

    /// Notes a portal of the protocol: within a block it stays where it is.
    pub(super) fn note_portal(&mut self, name: &str, shard: ShardId) -> Result<(), PgError> {
        if self.transaction.is_idle() { Ok(()) } else { self.open_cursor(name, shard, false) }
    }

    fn open_cursor(&mut self, name: &str, shard: ShardId, hold: bool) -> Result<(), PgError> {
        if let Some(known) = self.cursors.iter_mut().find(|cursor| cursor.name == name) {
            (known.shard, known.hold) = (shard, hold);
            return Ok(());
        }
        if self.cursors.len() >= self.state.config.limits.max_prepared_per_session {
            return Err(PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many open cursors in this session")
                .with_hint("Close some, or raise limits.max_prepared_per_session."));
        }
        self.cursors.push(Cursor { name: name.to_owned(), shard, hold });
        Ok(())
    }

    /// A portal is closed, or its name is free again.
    pub(super) fn forget_cursor(&mut self, name: &str) {
        self.cursors.retain(|cursor| cursor.name != name);
    }

    /// A transaction is over: what was to hold until then does so no more. To be called while it is still known.
    pub(super) fn transaction_over(&mut self, committed: bool) {
        self.keep_declared(committed);
        self.temporary_may_be_undone();
        if let Some(shard) = self.local_shard.take()
            && self.settings.shard != shard
        {
            self.settings.shard = shard;
            self.renew_context();
        }
    }

    /// A ROLLBACK TO has been done.
    pub(super) fn savepoint_restored(&mut self) {
        self.declared_rolled_back();
        self.temporary_may_be_undone();
    }

    /// The transaction is over, and with it all cursors but those WITH HOLD.
    pub(super) fn close_cursors(&mut self) {
        self.cursors.retain(|cursor| cursor.hold);
    }

    /// Attaches the backend of a portal, so that the message that names it goes there.
    pub(super) async fn attach_portal(&mut self, name: &str) -> Result<(), Trouble> {
        if self.cursors.is_empty() || self.transaction.is_idle() || self.transaction.is_failed() {
            return Ok(());
        }
        match self.cursor_shard(name) {
            Some(shard) => self.attach(shard).await,
            None => Ok(()),
        }
    }
}

/// Whether it is worth a closer look: the first word is DECLARE, or a comment stands before it.
pub(super) fn may_declare(text: &str) -> bool {
    let text = text.trim_ascii_start().as_bytes();
    let declare = |text: &[u8]| text.get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"declare"));
    match text.first() {
        Some(b'd' | b'D') => declare(text),
        Some(b'/' | b'-') => text.windows(7).any(declare),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declare_is_seen_at_its_first_word_or_behind_a_comment() {
        for text in ["DECLARE c CURSOR FOR SELECT 1", "  declare c", "/* x */ Declare c", "-- x\ndeclare c"] {
            assert!(may_declare(text), "{text}");
        }
        for text in ["SELECT 'declare'", "DELETE FROM declare", "", "-- x\nselect 1", "decl"] {
            assert!(!may_declare(text), "{text}");
        }
    }
}
