//! A statement over several shards: sent to all of them at once, and their answers made one.
//!
//! # Life of such a statement
//! 1. Its route has a [`Gather`], and the values of this execution lead to several shards ([`Target::Shards`](crate::plan::Target)):
//!    a [`Job`].
//! 2. [`leases`] gets a connection to each shard: in the order of the shards, so that sessions which wait for one another wait in
//!    one direction; within a transaction those that take part in it.
//! 3. [`ask`] writes to each what it has to do, all of it at once: Parse, Bind, Describe, Execute, Sync. What has to be known before
//!    that (how many columns there are, which types the parameters have) a shard is asked once, and remembered: [`known`].
//! 4. [`drive`] reads all shards side by side. Each has an [`answers`] machine of its own and bounded buffers: a shard whose rows are not
//!    wanted yet is read a little ahead, and then its server waits; a client that does not read stops them all.
//!    The [`Merger`] decides what goes to the client.
//! 5. [`wind_up`]: the connections go back, whatever happened. An error on one shard is the statement's: the others are stopped
//!    and read to their end, or closed; none is given back with an answer under way.
//!
//! [`finish`] is for what only a server can do: the shards' partial results go to one of them as parameters. [`query`] and [`portal`] are the
//! two protocols' sides.
//!
//! # What holds
//! - All of one statement is done within the session's own task; while it runs the client is watched, and may cancel or leave.
//! - Outside a transaction, a statement that only reads is one transaction on each shard; one that writes has a transaction over all of
//!   them, committed before the client is told that it is done.
//! - A row limit that a client sets is one for each shard too: between two Execute messages the shards are at rest, and hold no more than one
//!   such batch of rows here.

pub(super) mod answers;
mod ask;
pub(super) mod collect;
pub(super) mod drive;
pub(super) mod finish;
mod fits;
mod known;
mod leases;
pub(super) mod portal;
pub(super) mod query;
pub(super) mod run;
mod wind_up;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::statements::Statement;
use super::{Over, Trouble};
use crate::error::PgError;
use crate::plan::{Effects, Gather, Plan, Verdict};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

pub use known::Columns;
pub(super) use portal::Scattered;

/// One execution over several shards.
pub(super) struct Job {
    /// The client's text.
    text: String,
    /// The prepared statement that it is, in the extended protocol.
    statement: Option<Arc<Statement>>,
    gather: Arc<Gather>,
    effects: Effects,
    shards: Vec<ShardId>,
    /// Of an INSERT of several rows: the index of each row's shard.
    rows: Vec<u16>,
    /// The client's Bind message; empty for a simple query.
    bind: BytesMut,
}

impl Job {
    /// What the client's Bind would say.
    pub(super) fn set_bind(&mut self, bind: BytesMut) {
        self.bind = bind;
    }

    /// What a plan and its destination say.
    pub(super) fn new(plan: &Plan, shards: Vec<ShardId>, rows: Vec<u16>, text: &str) -> Result<Job, PgError> {
        let gather = match &plan.verdict {
            Verdict::Route(route) => route.gather.clone(),
            Verdict::Refuse(error) => return Err((**error).clone()),
        };
        let Some(gather) = gather else {
            return Err(PgError::unsupported("statement needs rows of several shards"));
        };
        if plan.effects.timed {
            // The time has to be in the text before it goes to several shards.
            return Err(PgError::unsupported("the time in this statement over several shards")
                .with_detail("Each shard would take the time from its own clock.")
                .with_hint("Give the time as a parameter or a literal."));
        }
        if plan.effects.pin.is_some() || plan.effects.ddl || plan.effects.sets {
            return Err(PgError::unsupported(
                "a statement over several shards cannot change the session or the catalog",
            ));
        }
        let (text, effects) = (text.to_owned(), plan.effects.clone());
        Ok(Job { text, statement: None, gather, effects, shards, rows, bind: BytesMut::new() })
    }
}

/// Why a statement over several shards ends early.
pub(super) enum Stop {
    /// A server's error, as the message that the client gets.
    Server(Bytes),
    /// An error of Goldseam's own.
    Own(Box<PgError>),
    /// The client has been told of an error already.
    Skipped,
    /// The session is over.
    Over(Over),
}

impl From<PgError> for Stop {
    fn from(error: PgError) -> Self {
        Stop::Own(Box::new(error))
    }
}

impl From<Over> for Stop {
    fn from(over: Over) -> Self {
        Stop::Over(over)
    }
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Refused(error) => Stop::Own(error),
            Trouble::Failed(message) => Stop::Server(message),
            Trouble::Skipped => Stop::Skipped,
            Trouble::Over(over) => Stop::Over(over),
        }
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Server(message) => Trouble::Failed(message),
            Stop::Own(error) => Trouble::Refused(error),
            Stop::Skipped => Trouble::Skipped,
            Stop::Over(over) => Trouble::Over(over),
        }
    }
}

pub(super) fn canceled() -> PgError {
    PgError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}
