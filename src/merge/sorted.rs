//! The ordered merge: of all shards' first rows the least goes out next.
//!
//! Each shard's first row is at hand with its key, in a heap with the least on top; a row costs one key and two or
//! three comparisons of bytes. Nothing can go out while any shard's first row is missing, because it could be less than
//! all others. Among equal keys the shard with the smaller number goes first.
//!
//! That a shard's rows are in order is what the merge stands on, so it is not trusted: a key less than the one before
//! ends the statement. (A collation that a shard's system library sorts otherwise, a broken index.)

use super::key::Order;
use super::row::Spans;
use super::source::Source;
use super::window::Window;
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// The state of an ordered merge.
#[derive(Debug)]
pub(super) struct Sorted {
    /// The columns to sort by.
    keys: Vec<(usize, Order)>,
    visible: usize,
    heads: Vec<Head>,
    /// Shards with a head, the least on top.
    heap: Vec<u16>,
    /// Shards whose first row is not known, although their rows are not over.
    missing: usize,
    scratch: Vec<u8>,
}

/// A shard's first row.
#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    /// Its key; while there is no row, that of the row before.
    pub key: Vec<u8>,
    /// The row's length in bytes.
    pub length: usize,
    /// Where its visible columns end.
    pub end: usize,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum State {
    #[default]
    Missing,
    There,
    Over,
}

impl Sorted {
    /// Over so many shards, whose rows begin with so many visible columns.
    pub fn new(keys: Vec<(usize, Order)>, visible: usize, shards: usize) -> Sorted {
        Sorted {
            keys,
            visible,
            heads: vec![Head::default(); shards],
            heap: Vec::with_capacity(shards),
            missing: shards,
            scratch: Vec::new(),
        }
    }

    /// The shard whose first row is the next of all; none if that is not known, or there is no row any more.
    pub fn next(&self) -> Option<usize> {
        if self.missing > 0 { None } else { self.heap.first().map(|shard| usize::from(*shard)) }
    }

    /// A shard's first row.
    pub fn head(&self, shard: usize) -> &Head {
        &self.heads[shard]
    }

    /// Something came from a shard: if its first row was missing it may be known now.
    pub fn load(
        &mut self,
        shard: usize,
        source: &Source,
        window: &mut Window,
        spans: &mut Spans,
    ) -> Result<(), PgError> {
        if self.heads[shard].state != State::Missing {
            return Ok(());
        }
        if source.is_empty() {
            if source.is_complete() {
                self.heads[shard].state = State::Over;
                self.missing -= 1;
            }
            return Ok(());
        }
        self.read(shard, source, window, spans)?;
        self.missing -= 1;
        self.heap.push(shard as u16);
        self.sift_up(self.heap.len() - 1);
        Ok(())
    }

    /// The row of [`Sorted::next`] is used, and gone from its source.
    pub fn advance(
        &mut self,
        shard: usize,
        source: &Source,
        window: &mut Window,
        spans: &mut Spans,
    ) -> Result<(), PgError> {
        self.heads[shard].state = State::Missing;
        if source.is_empty() {
            self.heap.swap_remove(0);
            self.sift_down();
            self.missing += 1;
            return self.load(shard, source, window, spans);
        }
        self.read(shard, source, window, spans)?;
        self.sift_down();
        Ok(())
    }

    /// Makes a source's first row the shard's head.
    fn read(&mut self, shard: usize, source: &Source, window: &mut Window, spans: &mut Spans) -> Result<(), PgError> {
        let blame = |fault| source.blame(fault);
        let length = spans.find(source.rows()).map_err(blame)?;
        let frame = &source.rows()[..length];
        window.learn(frame, spans).map_err(blame)?;
        self.scratch.clear();
        for (column, order) in &self.keys {
            order.append(spans.value(frame, *column), &mut self.scratch).map_err(blame)?;
        }
        let head = &mut self.heads[shard];
        // An empty key is that of a shard without rows so far: less than any.
        if self.scratch < head.key {
            return Err(out_of_order(source.name()));
        }
        std::mem::swap(&mut head.key, &mut self.scratch);
        head.length = length;
        head.end = spans.end(self.visible);
        head.state = State::There;
        Ok(())
    }

    fn is_before(&self, one: u16, other: u16) -> bool {
        let [key, other_key] = [one, other].map(|shard| &self.heads[usize::from(shard)].key);
        key.cmp(other_key).then(one.cmp(&other)).is_lt()
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_before(self.heap[at], self.heap[parent]) {
                return;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self) {
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(mut least) = self.heap.get(left).map(|_| left) else { return };
            if right < self.heap.len() && self.is_before(self.heap[right], self.heap[left]) {
                least = right;
            }
            if !self.is_before(self.heap[least], self.heap[at]) {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}

fn out_of_order(shard: &str) -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, format!("shard \"{shard}\" sent rows out of order"))
        .with_detail("Rows are merged in the order of ORDER BY, which each shard's own rows must be in.")
        .with_hint("Look for a broken index (REINDEX), or a collation that sorts differently on this shard.")
}
