//! Rows that pass through: in the order they come, sorted, or as VALUES has them; perhaps without duplicates, perhaps
//! only a part.
//!
//! Of each shard no more is held than was read from it at once.

use bytes::BytesMut;

use super::distinct::Distinct;
use super::row::{self, Spans};
use super::sorted::Sorted;
use super::source::Source;
use super::window::Window;
use super::{Next, Step};
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// Which shard's first row is the next of all.
#[derive(Debug)]
pub(super) enum Sequence {
    /// Whichever is there.
    Arrival,
    /// The least.
    Sorted(Box<Sorted>),
    /// That of the shard of the next row of VALUES.
    Values {
        /// The shard of each row.
        rows: Vec<u16>,
        /// The row whose turn it is.
        next: usize,
    },
}

/// A merge that holds no rows back but each shard's next ones.
#[derive(Debug)]
pub(super) struct Stream {
    /// What comes next.
    pub sequence: Sequence,
    /// Duplicates are left out.
    pub distinct: Option<Distinct>,
    /// LIMIT and OFFSET.
    pub window: Window,
    /// The columns of the client.
    pub visible: usize,
    /// All columns.
    pub columns: usize,
    /// Where the columns of the row at hand are.
    pub spans: Spans,
}

impl Stream {
    /// Rows, or their end, came from a shard.
    pub fn arrived(&mut self, shard: usize, source: &Source) -> Result<(), PgError> {
        match &mut self.sequence {
            Sequence::Sorted(sorted) => sorted.load(shard, source, &mut self.window, &mut self.spans),
            _ => Ok(()),
        }
    }

    /// No row is needed any more.
    pub fn is_satisfied(&self) -> bool {
        self.window.is_satisfied()
    }

    /// Puts out what can be.
    pub fn pump(&mut self, sources: &mut [Source], out: &mut BytesMut, room: u64) -> Result<Step, PgError> {
        if matches!(self.sequence, Sequence::Arrival) && self.distinct.is_none() && self.visible == self.columns {
            return self.pass(sources, out, room);
        }
        let mut rows = 0;
        loop {
            if rows == room {
                return Ok(Step { rows, next: Next::Room });
            }
            if self.window.is_satisfied() {
                return Ok(Step { rows, next: Next::Done });
            }
            let Some(shard) = self.next(sources)? else { break };
            let source = &mut sources[shard];
            let (length, end) = match &self.sequence {
                Sequence::Sorted(sorted) => (sorted.head(shard).length, sorted.head(shard).end),
                _ => self.look(source)?,
            };
            if self.admits(shard, source)? && self.window.admits() {
                row::cut(&source.rows()[..length], self.visible, end, out);
                rows += 1;
            }
            source.advance(length);
            match &mut self.sequence {
                Sequence::Arrival => {}
                Sequence::Sorted(sorted) => sorted.advance(shard, source, &mut self.window, &mut self.spans)?,
                Sequence::Values { next, .. } => *next += 1,
            }
        }
        let next = if self.is_over(sources)? { Next::Done } else { Next::Rows };
        Ok(Step { rows, next })
    }

    /// Rows without hidden columns, in any order: whole runs go out as they are.
    fn pass(&mut self, sources: &mut [Source], out: &mut BytesMut, room: u64) -> Result<Step, PgError> {
        let mut rows = 0;
        for source in sources.iter_mut() {
            let (bytes, count) =
                row::run(source.rows(), self.columns, room - rows).map_err(|fault| source.blame(fault))?;
            source.pass(bytes, out);
            rows += count;
        }
        let next = match rows == room {
            true => Next::Room,
            false if sources.iter().all(Source::is_over) => Next::Done,
            false => Next::Rows,
        };
        Ok(Step { rows, next })
    }

    /// The shard whose first row is next, if that is known and the row is there.
    fn next(&self, sources: &[Source]) -> Result<Option<usize>, PgError> {
        match &self.sequence {
            Sequence::Arrival => Ok(sources.iter().position(|source| !source.is_empty())),
            Sequence::Sorted(sorted) => Ok(sorted.next()),
            Sequence::Values { rows, next } => {
                let Some(shard) = rows.get(*next).map(|shard| usize::from(*shard)) else { return Ok(None) };
                match sources.get(shard) {
                    Some(source) if source.is_over() => Err(miscounted(source.name(), "fewer")),
                    Some(source) => Ok(Some(shard).filter(|_| !source.is_empty())),
                    None => Err(PgError::new(SqlState::INTERNAL_ERROR, "a row is for a shard that takes no part")),
                }
            }
        }
    }

    /// Finds the columns of a source's first row: its length, and where the visible ones end.
    fn look(&mut self, source: &Source) -> Result<(usize, usize), PgError> {
        let length = self.spans.find(source.rows()).map_err(|fault| source.blame(fault))?;
        self.window.learn(&source.rows()[..length], &self.spans).map_err(|fault| source.blame(fault))?;
        Ok((length, self.spans.end(self.visible)))
    }

    /// Whether the row is no duplicate.
    fn admits(&mut self, shard: usize, source: &Source) -> Result<bool, PgError> {
        let Some(distinct) = &mut self.distinct else { return Ok(true) };
        let blame = |fault| source.blame(fault);
        let order_key = match &self.sequence {
            Sequence::Sorted(sorted) => {
                self.spans.find(source.rows()).map_err(blame)?;
                Some(sorted.head(shard).key.as_slice())
            }
            _ => None,
        };
        distinct.admits(source.rows(), &self.spans, order_key).map_err(blame)
    }

    /// Whether all rows of all shards have gone through.
    fn is_over(&self, sources: &[Source]) -> Result<bool, PgError> {
        if let Sequence::Values { rows, next } = &self.sequence
            && *next == rows.len()
            && let Some(source) = sources.iter().find(|source| !source.is_empty())
        {
            return Err(miscounted(source.name(), "more"));
        }
        Ok(sources.iter().all(Source::is_over))
    }
}

fn miscounted(shard: &str, than: &str) -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, format!("shard \"{shard}\" returned {than} rows than it was given"))
        .with_detail("The rows of INSERT ... RETURNING are put into the order of VALUES, one for one.")
        .with_hint("A trigger or a rule on the shard may suppress rows: leave RETURNING away.")
}
