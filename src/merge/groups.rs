//! GROUP BY and aggregates: the shards' rows of one group become one row.
//!
//! Groups are held until all shards are complete, because any of them may still add to any group: what this takes is
//! bounded. They go out in the order asked for, else in the order in which they were first seen.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::BytesMut;

use super::aggregate::{Accumulator, MAX_PARTS, Method, Outcome};
use super::fault::{Fault, too_much};
use super::key::Order;
use super::row::{self, Spans};
use super::text;
use super::window::Window;
use super::{Next, Step};
use crate::types::Oid;

/// What a group costs beside what it holds, at the least: the table's slot and the allocations.
const ENTRY: usize = 160;
/// Groups go out in pieces of about this size, so that the answer is not in memory twice.
const PIECE: usize = 256 << 10;

/// An aggregate of the statement.
#[derive(Debug)]
pub(super) struct Call {
    /// How it is computed.
    pub method: Method,
    /// The columns with its partial results.
    pub parts: Vec<usize>,
}

/// A visible column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// Taken from the group's first row.
    First,
    /// Taken from the row that this call's result is in.
    Row(usize),
    /// This call's result, in text or binary form.
    Value {
        /// The call.
        call: usize,
        /// Its type, if it has to be printed.
        print: Option<Oid>,
    },
}

/// A term of the groups' order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Term {
    /// By a hidden column of the group's first row.
    Column(usize),
    /// By a call's result.
    Call(usize),
}

/// What the statement asks for.
#[derive(Debug)]
pub(super) struct Shape {
    /// The columns that make the group.
    pub keys: Vec<(usize, Order)>,
    /// The aggregates.
    pub calls: Vec<Call>,
    /// The visible columns.
    pub outputs: Vec<Output>,
    /// The groups' order.
    pub order: Vec<(Term, Order)>,
}

/// All groups so far.
#[derive(Debug)]
pub(super) struct Groups {
    shape: Shape,
    window: Window,
    spans: Spans,
    index: HashMap<Box<[u8]>, usize>,
    groups: Vec<Group>,
    held: usize,
    limit: usize,
    scratch: Vec<u8>,
    /// When all shards are complete: the groups of the answer, and how many have gone out.
    sealed: Option<(Vec<usize>, usize)>,
}

#[derive(Debug)]
struct Group {
    /// For each visible column that is a row's: the value.
    values: Vec<Option<Box<[u8]>>>,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// The keys of the order's columns, with their length in front.
    order: Box<[u8]>,
}

impl Groups {
    /// No groups, which may hold so many bytes.
    pub fn new(shape: Shape, window: Window, limit: usize) -> Groups {
        Groups {
            shape,
            window,
            spans: Spans::default(),
            index: HashMap::new(),
            groups: Vec::new(),
            held: 0,
            limit,
            scratch: Vec::new(),
            sealed: None,
        }
    }

    /// Adds the rows of a run to their groups.
    pub fn add(&mut self, shard: u16, mut run: &[u8]) -> Result<(), Fault> {
        while !run.is_empty() {
            let length = self.spans.find(run)?;
            let (frame, rest) = run.split_at(length);
            self.row(shard, frame)?;
            run = rest;
        }
        Ok(())
    }

    fn row(&mut self, shard: u16, frame: &[u8]) -> Result<(), Fault> {
        self.window.learn(frame, &self.spans)?;
        self.scratch.clear();
        for (column, order) in &self.shape.keys {
            order.append(self.spans.value(frame, *column), &mut self.scratch)?;
        }
        let at = match self.index.get(self.scratch.as_slice()) {
            Some(at) => *at,
            None => self.open(frame)?,
        };
        let group = &mut self.groups[at];
        for (index, (call, accumulator)) in self.shape.calls.iter().zip(&mut group.accumulators).enumerate() {
            let mut parts = [None; MAX_PARTS];
            for (part, column) in parts.iter_mut().zip(&call.parts) {
                *part = self.spans.value(frame, *column);
            }
            let before = accumulator.held();
            let wins = accumulator.add(shard, &parts[..call.parts.len().min(MAX_PARTS)])?;
            self.held = self.held + accumulator.held() - before;
            if !wins {
                continue;
            }
            let columns = self.shape.outputs.iter().enumerate();
            for (column, _) in columns.filter(|(_, output)| **output == Output::Row(index)) {
                let value = self.spans.value(frame, column).map(Box::<[u8]>::from);
                let old = std::mem::replace(&mut group.values[column], value);
                self.held += group.values[column].as_ref().map_or(0, |value| value.len());
                self.held -= old.map_or(0, |value| value.len());
            }
        }
        if self.held > self.limit { Err(too_much("groups", self.limit)) } else { Ok(()) }
    }

    /// A group whose first row this is, and whose key is in `scratch`.
    fn open(&mut self, frame: &[u8]) -> Result<usize, Fault> {
        let mut group = Group {
            values: vec![None; self.shape.outputs.len()],
            accumulators: self.shape.calls.iter().map(|call| (call.method.open)()).collect(),
            order: Box::default(),
        };
        self.held +=
            self.scratch.len() + ENTRY + 2 * size_of::<usize>() * group.values.len() + 96 * group.accumulators.len();
        for (column, value) in group.values.iter_mut().enumerate() {
            if self.shape.outputs[column] == Output::First {
                *value = self.spans.value(frame, column).map(Box::from);
                self.held += value.as_ref().map_or(0, |value| value.len());
            }
        }
        let mut order_key = Vec::new();
        for (term, order) in &self.shape.order {
            if let Term::Column(column) = term {
                let start = order_key.len();
                order_key.extend_from_slice(&[0; 4]);
                order.append(self.spans.value(frame, *column), &mut order_key)?;
                let length = (order_key.len() - start - 4) as u32;
                order_key[start..start + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        self.held += order_key.len();
        group.order = order_key.into();
        self.groups.push(group);
        self.index.insert(self.scratch.as_slice().into(), self.groups.len() - 1);
        Ok(self.groups.len() - 1)
    }

    /// All shards are complete: puts groups out.
    pub fn pump(&mut self, out: &mut BytesMut, room: u64) -> Result<Step, Fault> {
        if self.sealed.is_none() {
            let order = self.in_order()?;
            let range = self.window.range(order.len());
            self.sealed = Some((order[range].to_vec(), 0));
            self.index = HashMap::new();
        }
        let Some((order, next)) = &mut self.sealed else { return Ok(Step { rows: 0, next: Next::Done }) };
        let (start, mut rows) = (out.len(), 0);
        let mut values: Vec<Option<Cow<'_, [u8]>>> = Vec::with_capacity(self.shape.outputs.len());
        loop {
            if rows == room || out.len() - start >= PIECE {
                return Ok(Step { rows, next: Next::Room });
            }
            let Some(group) = order.get(*next) else { return Ok(Step { rows, next: Next::Done }) };
            let group = &self.groups[*group];
            values.clear();
            for (column, output) in self.shape.outputs.iter().enumerate() {
                values.push(match *output {
                    Output::First | Output::Row(_) => group.values[column].as_deref().map(Cow::Borrowed),
                    Output::Value { call, print } => match (group.accumulators[call].result()?, print) {
                        (Some(value), Some(oid)) => Some(Cow::Owned(text::print(oid, &value)?)),
                        (value, _) => value.map(Cow::Owned),
                    },
                });
            }
            row::build(values.iter().map(Option::as_deref), out);
            rows += 1;
            *next += 1;
        }
    }

    /// The groups by their order; in that of their first rows where nothing else is asked for.
    fn in_order(&self) -> Result<Vec<usize>, Fault> {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        if self.shape.order.is_empty() {
            return Ok(order);
        }
        let keys = self.groups.iter().map(|group| self.order_key(group)).collect::<Result<Vec<_>, _>>()?;
        order.sort_by(|one, other| keys[*one].cmp(&keys[*other]));
        Ok(order)
    }

    fn order_key(&self, group: &Group) -> Result<Vec<u8>, Fault> {
        let mut key = Vec::new();
        let mut columns = &group.order[..];
        for (term, order) in &self.shape.order {
            match *term {
                Term::Column(_) => {
                    // Written so by `open`.
                    let Some((length, rest)) = columns.split_first_chunk::<4>() else { continue };
                    let (own, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
                    key.extend_from_slice(own);
                    columns = rest;
                }
                Term::Call(call) => {
                    let result = group.accumulators[call].result()?;
                    match self.shape.calls[call].method.outcome {
                        Outcome::Value(_) => order.append(result.as_deref(), &mut key)?,
                        Outcome::Row(_) => order.append_encoded(result.as_deref(), &mut key),
                    }
                }
            }
        }
        Ok(key)
    }
}
