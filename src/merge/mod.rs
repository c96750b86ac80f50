//! The answers of several shards become one: bytes in, bytes out.
//!
//! A statement that is proven local to its shards is sent to each of them, and its [`Gather`] says what makes one
//! answer of theirs. This is the machine that does it. It reads no socket and waits for nothing; what it is given are
//! the shards' buffers, and what it needs next it says.
//!
//! # The caller's part
//! 1. [`Merger::new`] per execution; [`Merger::describe`] with each shard's RowDescription or NoData. When all are in,
//!    [`Merger::description`] is what the client is told, unless [`Merger::needs_finish`].
//! 2. Over and over: [`Merger::feed`] each shard that is wanted ([`Merger::wants`]) with the bytes it has sent,
//!    [`Merger::complete`] with its command tag when its rows are over, and [`Merger::pump`] to let rows out. A shard
//!    that is not wanted is not read: so a slow client slows the shards, and what is held stays bounded.
//! 3. What `pump` says decides: [`Next::Rows`] read on; [`Next::Room`] the portal's row limit is reached or `out` is
//!    full enough; [`Next::Done`] the answer is whole, and [`Merger::tag`] is its command tag: shards that are not
//!    complete (LIMIT) are stopped; [`Next::Finish`] a server has to do the rest, with [`Merger::parts`] as its
//!    parameters.
//! 4. Any error ends the statement. Rows that went out before it were right; the client's transaction fails.
//!
//! # Where things are
//! - Values become bytes that compare as PostgreSQL compares the values (`key`), type by type (`types`): order, order
//!   check, groups and DISTINCT are all comparisons of such bytes.
//! - `stream`: rows that pass through, with `sorted` (ordered merge), `distinct` and `window` (LIMIT, OFFSET) as its
//!   parts.
//! - `groups` and `aggregate`: GROUP BY, one file per function, with exact `numeric` arithmetic, and `float` for
//!   PostgreSQL's text of floats.
//! - `collect`: what the proxy does not do exactly it hands to a server, as arrays.
//! - `decide`: which of these a plan needs, given the types. What none can do is refused before any row goes out.
//!
//! What it must not know: sockets, pools, sessions, time, and the statement's text.

mod aggregate;
mod collect;
mod decide;
mod description;
mod distinct;
mod fault;
mod float;
mod groups;
mod key;
mod numeric;
mod row;
mod sorted;
mod source;
mod stream;
mod tags;
mod text;
mod types;
mod window;

use std::sync::Arc;

use bytes::BytesMut;

use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::Hidden;
use crate::sqlstate::SqlState;
use crate::types::Oid;
pub use collect::arrays;
use decide::{Body, Decision, Shares};
use description::Description;
pub use description::column_types;
use source::Source;
use tags::Tags;
pub use types::builtin;

/// What a statement may make the proxy hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of groups, of distinct rows, or of rows for a final statement; more is `54000` with a hint.
    pub held_bytes: usize,
}

impl Default for Limits {
    /// 64 MB: hundreds of thousands of groups, and with a hundred such statements at once still a small part of a
    /// server's memory.
    fn default() -> Self {
        Limits { held_bytes: 64 << 20 }
    }
}

/// What one execution brings with it.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The shards' names, for errors; there are as many shards.
    pub shards: Vec<String>,
    /// The result formats that the client asked for, by Bind's rule: none is all text, one is for all, else one for
    /// each column.
    pub formats: Vec<i16>,
    /// For [`Merge::Rows`](crate::plan::gather::Merge::Rows): each VALUES row's shard.
    pub rows: Vec<u16>,
    /// Bounds.
    pub limits: Limits,
    /// `extra_float_digits` is not at least 1, so that floats do not print as their shortest text: the proxy prints
    /// none.
    pub rounded_floats: bool,
}

impl Setup {
    /// The format of a visible column.
    fn format(&self, column: usize) -> i16 {
        match self.formats.as_slice() {
            [] => 0,
            [all] => *all,
            each => each.get(column).copied().unwrap_or(0),
        }
    }
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
    sources: Vec<Source>,
    /// What each shard has described; for all but the first only that it has, once it is compared.
    described: Vec<bool>,
    /// The first description that came, and whose it is.
    description: Option<(usize, Option<Description>)>,
    columns: usize,
    /// For the client.
    message: Option<BytesMut>,
    /// When all are described.
    body: Option<Body>,
    tags: Tags,
}

impl Merger {
    /// A merge whose shards have not said anything yet.
    pub fn new(gather: Arc<Gather>, mut setup: Setup) -> Merger {
        let sources: Vec<Source> = setup.shards.iter().map(|name| Source::new(name.clone())).collect();
        setup.limits.held_bytes = setup.limits.held_bytes.min(MOST_HELD);
        Merger {
            gather,
            described: vec![false; sources.len()],
            sources,
            setup,
            description: None,
            columns: 0,
            message: None,
            body: None,
            tags: Tags::default(),
        }
    }

    /// The body of a shard's RowDescription, or none for NoData; its format codes are not looked at.
    ///
    /// # Errors
    /// The shards' columns differ (XX000), or are of types that the merge cannot do and no final statement stands by
    /// (0A000).
    pub fn describe(&mut self, shard: usize, body: Option<&[u8]>) -> Result<(), PgError> {
        let source = self.sources.get(shard).ok_or_else(misnumbered)?;
        let read = |body| {
            Description::read(body)
                .ok_or_else(|| source.blame(fault::Fault::Garbage("a description of columns that is not one")))
        };
        let description = body.map(read).transpose()?;
        match &self.description {
            None => self.description = Some((shard, description)),
            Some((first, known)) => {
                description::compare(known.as_ref(), self.sources[*first].name(), description.as_ref(), source.name())?;
                // Of types that users made each shard has OIDs of its own; the first shard's are told, whoever answers first.
                if shard < *first {
                    self.description = Some((shard, description));
                }
            }
        }
        self.described[shard] = true;
        if self.body.is_none() && self.described.iter().all(|described| *described) {
            self.decide()?;
        }
        Ok(())
    }

    /// All shards have described the same columns.
    fn decide(&mut self) -> Result<(), PgError> {
        let Some((_, Some(description))) = &self.description else {
            self.message = Some(description::no_data());
            self.body = Some(Body::Nothing);
            return Ok(());
        };
        let shares = Shares::new(self.gather.hidden, description.columns.len())?;
        let decision = Decision { gather: &self.gather, setup: &self.setup, description, shares };
        let body = decision.body()?;
        if !matches!(body, Body::Collect(_)) {
            self.message = Some(description.message(shares.visible, |column| self.setup.format(column)));
        }
        self.columns = shares.columns;
        self.body = Some(body);
        Ok(())
    }

    /// The client's RowDescription or NoData, as a whole message; none while shards are missing or where a final
    /// statement has to tell.
    pub fn description(&self) -> Option<&[u8]> {
        self.message.as_deref()
    }

    /// A final statement on a server makes the answer; known when all shards are described.
    pub fn needs_finish(&self) -> bool {
        matches!(self.body, Some(Body::Collect(_)))
    }

    /// Whether the shard's rows are wanted now.
    pub fn wants(&self, shard: usize) -> bool {
        let idle = |source: &Source| source.is_empty() && !source.is_complete();
        self.body.is_some() && !self.is_satisfied() && self.sources.get(shard).is_some_and(idle)
    }

    /// Takes the whole DataRow messages at the start of `incoming`, if the shard is wanted. What stays is for the
    /// caller: another message, a part of one, or rows that are not wanted yet. Whether anything was taken.
    ///
    /// # Errors
    /// Rows that are not of the description (08P01) or out of order (XX000), results out of range, too much to hold
    /// (54000).
    pub fn feed(&mut self, shard: usize, incoming: &mut BytesMut) -> Result<bool, PgError> {
        if !self.wants(shard) {
            return Ok(false);
        }
        let taken = self.take(shard, incoming);
        self.keep(taken)
    }

    fn take(&mut self, shard: usize, incoming: &mut BytesMut) -> Result<bool, PgError> {
        let (Some(body), Some(source)) = (&mut self.body, self.sources.get_mut(shard)) else { return Ok(false) };
        if source.take(incoming, self.columns)? == 0 {
            return Ok(false);
        }
        match body {
            Body::Nothing => return Err(source.blame(fault::Fault::Garbage("rows, and had described none"))),
            Body::Failed => return Err(failed()),
            Body::Stream(stream) => return stream.arrived(shard, source).map(|()| true),
            Body::Groups(groups) => groups.add(shard as u16, source.rows()),
            Body::Collect(collect) => collect.add(source.rows()),
        }
        .map_err(|fault| source.blame(fault))?;
        source.advance(usize::MAX);
        Ok(true)
    }

    /// The shard's rows are over; the body of its CommandComplete.
    ///
    /// # Errors
    /// A tag that is not that of the other shards.
    pub fn complete(&mut self, shard: usize, tag: &[u8]) -> Result<(), PgError> {
        let source = self.sources.get_mut(shard).ok_or_else(misnumbered)?;
        if source.is_complete() {
            return Err(source.blame(fault::Fault::Garbage("the end of its rows twice")));
        }
        self.tags.add(tag, source.name())?;
        source.set_complete();
        let arrived = match &mut self.body {
            Some(Body::Stream(stream)) => stream.arrived(shard, source),
            _ => Ok(()),
        };
        self.keep(arrived)
    }

    /// Puts out what can be, at most `room` rows (`u64::MAX`: no limit).
    ///
    /// As PostgreSQL does, it says [`Next::Room`] when the room is used up even if no more rows would have come.
    ///
    /// # Errors
    /// As [`Merger::feed`], and rows that are missing where they are counted.
    pub fn pump(&mut self, out: &mut BytesMut, room: u64) -> Result<Step, PgError> {
        let step = self.put_out(out, room);
        self.keep(step)
    }

    fn put_out(&mut self, out: &mut BytesMut, room: u64) -> Result<Step, PgError> {
        let complete = self.sources.iter().all(Source::is_complete);
        let next = match &mut self.body {
            Some(Body::Stream(stream)) => return stream.pump(&mut self.sources, out, room),
            Some(Body::Groups(groups)) if complete => return groups.pump(out, room).map_err(fault::Fault::own),
            Some(Body::Collect(_)) if complete => Next::Finish,
            Some(Body::Nothing) if complete => Next::Done,
            Some(Body::Failed) => return Err(failed()),
            _ => Next::Rows,
        };
        Ok(Step { rows: 0, next })
    }

    /// After an error the merge is in no state to go on.
    fn keep<T>(&mut self, result: Result<T, PgError>) -> Result<T, PgError> {
        if result.is_err() {
            self.body = Some(Body::Failed);
        }
        result
    }

    /// LIMIT is reached: no shard is wanted any more.
    pub fn is_satisfied(&self) -> bool {
        matches!(&self.body, Some(Body::Stream(stream)) if stream.is_satisfied())
    }

    /// The parameters of the final statement, when `pump` has said [`Next::Finish`]: in the order of the hidden
    /// columns.
    ///
    /// # Errors
    /// There is no final statement.
    pub fn parts(&mut self) -> Result<Vec<Part>, PgError> {
        match &mut self.body {
            Some(Body::Collect(collect)) => Ok(collect.parts()),
            _ => {
                Err(PgError::new(SqlState::INTERNAL_ERROR, "a statement without a final part was asked for its parts"))
            }
        }
    }

    /// The client's command tag. `rows`: those that went out in this Execute, which is what PostgreSQL counts
    /// where a portal is fetched in parts; of commands that return no rows the shards' counts are summed.
    pub fn tag(&self, rows: u64) -> String {
        let counted = !matches!(self.body, Some(Body::Nothing) | None);
        self.tags.tag(counted.then_some(rows))
    }
}

/// Arrays and groups hold lengths of 32 bits; PostgreSQL's own values end at 1 GB.
const MOST_HELD: usize = 1 << 30;

fn failed() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a merge that has failed was asked to go on")
}

fn misnumbered() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a shard that takes no part in the statement has answered")
}

/// The result formats for the shards' Bind: the client's for visible columns, binary for hidden ones. `columns`: as
/// many as the shards' RowDescription has.
///
/// # Errors
/// The client's formats are neither none, one nor as many as visible columns (08P01, as PostgreSQL says it).
pub fn result_formats(hidden: Hidden, columns: usize, formats: &[i16]) -> Result<Vec<i16>, PgError> {
    let visible = Shares::new(hidden, columns)?.visible;
    if formats.len() > 1 && formats.len() != visible {
        return Err(PgError::new(
            SqlState::PROTOCOL_VIOLATION,
            format!("bind message has {} result formats but query has {visible} columns", formats.len()),
        ));
    }
    let setup = Setup { formats: formats.to_vec(), ..Setup::default() };
    Ok((0..columns).map(|column| if column < visible { setup.format(column) } else { 1 }).collect())
}

#[cfg(test)]
mod tests;
