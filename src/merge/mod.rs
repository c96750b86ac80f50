//! The answers of several shards become one: bytes in, bytes out.
//!
//! A statement that is proven local to its shards is sent to each of them, and its [`Gather`] says what makes one answer of theirs. This
//! is the machine that does it. It reads no socket and waits for nothing; what it is given are the shards' buffers, and what
//! it needs next it says.
//!
//! # The caller's part
//! 1. [`Merger::new`] per execution; [`Merger::describe`] with each shard's RowDescription or NoData. When all are in,
//!    [`Merger::description`] is what the client is told, unless [`Merger::needs_finish`].
//! 2. Over and over: [`Merger::feed`] each shard that is wanted ([`Merger::wants`]) with the bytes it has sent, [`Merger::complete`] with its
//!    command tag when its rows are over, and [`Merger::pump`] to let rows out. A shard that is not wanted is not read: so a slow client slows the
//!    shards, and what is held stays bounded.
//! 3. What `pump` says decides: [`Next::Rows`] read on; [`Next::Room`] the portal's row limit is reached or `out` is full enough;
//!    [`Next::Done`] the answer is whole, and [`Merger::tag`] is its command tag: shards that are not complete (LIMIT) are stopped;
//!    [`Next::Finish`] a server has to do the rest, with [`Merger::parts`] as its parameters.
//! 4. Any error ends the statement. Rows that went out before it were right; the client's transaction fails.

use std::sync::Arc;

use bytes::BytesMut;

use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::Hidden;
use crate::types::Oid;

/// What a statement may make the proxy hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of groups, of distinct rows, or of rows for a final statement; more is `54000` with a hint.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { held_bytes: 64 << 20 }
    }
}

/// What one execution brings with it.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The shards' names, for errors; there are as many shards.
    pub shards: Vec<String>,
    /// The result formats that the client asked for, by Bind's rule: none is all text, one is for all, else one for each column.
    pub formats: Vec<i16>,
    /// For [`Merge::Rows`](crate::plan::gather::Merge::Rows): each VALUES row's shard.
    pub rows: Vec<u16>,
    /// Bounds.
    pub limits: Limits,
    /// `extra_float_digits` is not at least 1, so that floats do not print as their shortest text: the proxy prints none.
    pub rounded_floats: bool,
}

/// What a call of [`Merger::pump`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Rows that went out in this call.
    pub rows: u64,
    /// What is next.
    pub next: Next,
}

/// What the merge needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Rows, or the end, of the shards that are wanted.
    Rows,
    /// Room: `room` is used up, or enough has been put out at once. There may be more; call again.
    Room,
    /// Nothing: all is out.
    Done,
    /// The final statement on a server.
    Finish,
}

/// A parameter of a final statement: a hidden column of all shards' rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The element type's name in SQL, such as `int8` or `timestamptz`.
    pub name: &'static str,
    /// The array's type.
    pub array: Oid,
    /// The array in binary form.
    pub value: BytesMut,
}

/// One execution's merge.
#[derive(Debug)]
pub struct Merger {
    gather: Arc<Gather>,
    setup: Setup,
}

impl Merger {
    /// A merge whose shards have not said anything yet.
    pub fn new(gather: Arc<Gather>, setup: Setup) -> Merger {
        Merger { gather, setup }
    }

    /// The body of a shard's RowDescription, or none for NoData; its format codes are not looked at.
    ///
    /// # Errors
    /// The shards' columns differ (XX000), or are of types that the merge cannot do and no final statement stands by (0A000).
    pub fn describe(&mut self, shard: usize, body: Option<&[u8]>) -> Result<(), PgError> {
        let _ = (shard, body);
        Err(unbuilt())
    }

    /// The client's RowDescription or NoData, as a whole message; none while shards are missing or where a final statement has to tell.
    pub fn description(&self) -> Option<&[u8]> {
        None
    }

    /// A final statement on a server makes the answer; known when all shards are described.
    pub fn needs_finish(&self) -> bool {
        false
    }

    /// Whether the shard's rows are wanted now.
    pub fn wants(&self, shard: usize) -> bool {
        let _ = shard;
        false
    }

    /// Takes the whole DataRow messages at the start of `incoming`, if the shard is wanted. What stays is for the caller: another
    /// message, a part of one, or rows that are not wanted yet. Whether anything was taken.
    ///
    /// # Errors
    /// Rows that are not of the description (08P01) or out of order (XX000), results out of range, too much to hold (54000).
    pub fn feed(&mut self, shard: usize, incoming: &mut BytesMut) -> Result<bool, PgError> {
        let _ = (shard, incoming);
        Err(unbuilt())
    }

    /// The shard's rows are over; the body of its CommandComplete.
    ///
    /// # Errors
    /// A tag that is not that of the other shards, or rows that are missing.
    pub fn complete(&mut self, shard: usize, tag: &[u8]) -> Result<(), PgError> {
        let _ = (shard, tag);
        Err(unbuilt())
    }

    /// Puts out what can be, at most `room` rows (`u64::MAX`: no limit).
    ///
    /// # Errors
    /// As [`Merger::feed`].
    pub fn pump(&mut self, out: &mut BytesMut, room: u64) -> Result<Step, PgError> {
        let _ = (out, room, &self.gather, &self.setup);
        Err(unbuilt())
    }

    /// LIMIT is reached: no shard is wanted any more.
    pub fn is_satisfied(&self) -> bool {
        false
    }

    /// The parameters of the final statement, when `pump` has said [`Next::Finish`].
    ///
    /// # Errors
    /// A column of a type without an array form that the proxy knows (0A000).
    pub fn parts(&mut self) -> Result<Vec<Part>, PgError> {
        Err(unbuilt())
    }

    /// The client's command tag without the final NUL. `rows`: those that went out in this Execute, which is what PostgreSQL counts
    /// where a portal is fetched in parts; of commands that return no rows the shards' counts are summed.
    pub fn tag(&self, rows: u64) -> Vec<u8> {
        let _ = rows;
        Vec::new()
    }
}

/// The result formats for the shards' Bind: the client's for visible columns, binary for hidden ones. `columns`: as many as the shards'
/// RowDescription has.
///
/// # Errors
/// The client's formats are neither none, one nor as many as visible columns (08P01, as PostgreSQL says it).
pub fn result_formats(hidden: Hidden, columns: usize, formats: &[i16]) -> Result<Vec<i16>, PgError> {
    let visible = visible(hidden, columns);
    if formats.len() > 1 && formats.len() != visible {
        return Err(PgError::new(
            crate::sqlstate::SqlState::PROTOCOL_VIOLATION,
            format!("bind message has {} result formats but query has {visible} columns", formats.len()),
        ));
    }
    let format = |column: usize| match formats {
        [] => 0,
        [all] => *all,
        each => each.get(column).copied().unwrap_or(0),
    };
    Ok((0..columns).map(|column| if column < visible { format(column) } else { 1 }).collect())
}

/// How many of so many columns are the client's.
fn visible(hidden: Hidden, columns: usize) -> usize {
    match hidden {
        Hidden::Last(count) => columns.saturating_sub(count.into()),
        Hidden::Twice(more) => columns.saturating_sub(more.into()) / 2,
    }
}

fn unbuilt() -> PgError {
    PgError::unsupported("rows of several shards cannot be merged yet")
}
