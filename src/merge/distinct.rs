//! DISTINCT: of rows that are equal the first goes out.
//!
//! Each shard's rows are distinct already, so what is held are the keys of the whole answer; where they come in an
//! order, only those of the rows with the same order key, because equal rows have equal order keys.

use std::collections::HashSet;

use super::fault::{Fault, too_much};
use super::key::Order;
use super::row::Spans;

/// What a key costs beside its bytes, at the least: the set's slot and the allocation.
const ENTRY: usize = 32;

/// Rows that have gone out.
#[derive(Debug)]
pub(super) struct Distinct {
    /// The hidden twins of the visible columns.
    twins: Vec<(usize, Order)>,
    seen: HashSet<Box<[u8]>>,
    /// The order key of all in `seen`.
    order_key: Vec<u8>,
    held: usize,
    limit: usize,
    scratch: Vec<u8>,
}

impl Distinct {
    /// Over these columns, holding at most so many bytes.
    pub fn new(twins: Vec<(usize, Order)>, limit: usize) -> Distinct {
        Distinct { twins, seen: HashSet::new(), order_key: Vec::new(), held: 0, limit, scratch: Vec::new() }
    }

    /// Whether no row equal to this one has gone out. `order_key`: of the row, if rows come in an order.
    pub fn admits(&mut self, frame: &[u8], spans: &Spans, order_key: Option<&[u8]>) -> Result<bool, Fault> {
        if let Some(order_key) = order_key.filter(|key| *key != self.order_key) {
            self.order_key.clear();
            self.order_key.extend_from_slice(order_key);
            self.seen.clear();
            self.held = 0;
        }
        self.scratch.clear();
        for (column, order) in &self.twins {
            order.append(spans.value(frame, *column), &mut self.scratch)?;
        }
        if self.seen.contains(self.scratch.as_slice()) {
            return Ok(false);
        }
        self.held += self.scratch.len() + ENTRY;
        if self.held > self.limit {
            return Err(too_much("distinct rows", self.limit));
        }
        self.seen.insert(self.scratch.as_slice().into());
        Ok(true)
    }
}
