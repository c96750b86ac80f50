//! What is known of a statement that runs on several shards.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::answers::Answers;
use super::finish::Kept;
use crate::merge::Merger;
use crate::session::Held;
use crate::session::statements::Statement;
use crate::types::{Oid, ShardId};

/// One shard's part.
pub(super) struct Part {
    pub shard: ShardId,
    /// Its connection; none between two Execute messages within a transaction, and when it is lost.
    pub held: Option<Held>,
    pub answers: Answers,
    /// BindComplete came.
    pub bound: bool,
    /// The row description came.
    pub described: bool,
    /// The row limit of its portal was reached: it waits for the next Execute.
    pub suspended: bool,
    /// Of a portal with a row limit: rows that came and are not wanted yet, no more than one batch.
    pub stash: BytesMut,
    /// Its command tag, as long as rows are before it.
    pub tag: Option<Bytes>,
    /// The named statement that it runs.
    pub statement: Option<Arc<Statement>>,
}

impl Part {
    pub fn new(held: Held) -> Part {
        Part {
            shard: held.lease.shard,
            held: Some(held),
            answers: Answers::default(),
            bound: false,
            described: false,
            suspended: false,
            stash: BytesMut::new(),
            tag: None,
            statement: None,
        }
    }
}

impl Part {
    /// An error is what it says next.
    pub fn has_failed(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.lease.incoming.first() == Some(&b'E'))
    }
}

/// What the client is told before the first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Describe {
    /// Nothing.
    No,
    /// The columns, if there are any: a simple query.
    Rows,
    /// The columns, or that there are none.
    Full,
}

/// What a shard said of the client's own statement.
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    /// The parameters' types.
    pub types: Vec<Oid>,
    /// The body of its RowDescription.
    pub columns: Option<Bytes>,
}

/// A statement that runs on several shards.
pub(super) struct Run {
    pub parts: Vec<Part>,
    pub merger: Merger,
    /// Within a transaction over the shards, the client's own or one around this statement.
    pub block: bool,
    /// The shards' portals are fetched in batches.
    pub cursor: bool,
    /// The shards' portal.
    pub portal: String,
    /// The client waits for BindComplete.
    pub bind_due: bool,
    /// The client waits for the description.
    pub describe: Describe,
    /// All shards have described their rows.
    pub described: bool,
    /// The shards have been told to execute.
    pub executed: bool,
    /// The rows of one batch.
    pub batch: i32,
    /// A shard is asked what the client's own statement is like.
    pub learning: Option<Learned>,
    /// Nothing that comes is wanted any more.
    pub discard: bool,
    /// The text that the shards got is not the client's: places in it mean nothing to the client.
    pub rewritten: bool,
    /// Cancel requests of the client that were counted when it began.
    pub cancels: usize,
    /// The client's parameters' types.
    pub types: Vec<Oid>,
    /// The final statement's RowDescription.
    pub finished: Option<Bytes>,
    /// The final statement's answer, for a client that fetches it in parts.
    pub kept: Option<Kept>,
    /// Rows go here instead of to the client: those of a cursor, which keeps them, or of a part of a larger statement.
    pub into: Option<BytesMut>,
    /// When an error is no longer to wait for the other shards' descriptions, and that it is so.
    pub haste: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
    pub hasty: bool,
    /// When a statement that was cancelled ends although a server does not.
    pub deadline: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
}

impl Run {
    pub fn new(parts: Vec<Part>, merger: Merger, block: bool, cancels: usize) -> Run {
        Run {
            parts,
            merger,
            block,
            cursor: false,
            portal: String::new(),
            bind_due: false,
            describe: Describe::No,
            described: false,
            executed: false,
            batch: 0,
            learning: None,
            discard: false,
            rewritten: false,
            types: Vec::new(),
            finished: None,
            kept: None,
            into: None,
            cancels,
            haste: None,
            hasty: false,
            deadline: None,
        }
    }

    /// How many shards' rows are wanted.
    pub fn wanted(&self) -> usize {
        (0..self.parts.len()).filter(|index| self.merger.wants(*index)).count()
    }

    /// Nothing is owed by any shard.
    pub fn is_at_rest(&self) -> bool {
        self.parts.iter().all(|part| part.held.is_none() || part.answers.is_idle())
    }
}
