//! Aggregates: how the shards' partial results become one. One file per function, one line in [`method`].
//!
//! A shard's partial result is the aggregate over its own rows; for `avg` it is a sum and a count. NULL is the result
//! over no rows, and adds nothing.

mod avg;
mod bits;
mod boolean;
mod count;
mod extreme;
mod sum;

use std::fmt::Debug;

use super::fault::{Fault, VALUE};
use crate::plan::gather::Function;
use crate::types::Oid;

/// The most partial results of a call.
pub(super) const MAX_PARTS: usize = 2;

/// A running aggregate of one group.
pub(super) trait Accumulator: Debug + Send + Sync {
    /// Adds a shard's partial results, in binary form. Whether the row now is the one that the result is taken from.
    fn add(&mut self, shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault>;

    /// The result in binary form, or for [`Outcome::Row`] its key; none for NULL.
    fn result(&self) -> Result<Option<Vec<u8>>, Fault>;

    /// Bytes held beside the accumulator itself.
    fn held(&self) -> usize {
        0
    }
}

/// What an aggregate gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A value of this type.
    Value(Oid),
    /// The visible value of one of the rows, of this type.
    Row(Oid),
}

/// How calls of one function over one type are computed.
pub(super) struct Method {
    /// What comes out.
    pub outcome: Outcome,
    /// Begins a group.
    pub open: Box<dyn Fn() -> Box<dyn Accumulator> + Send + Sync>,
}

impl Method {
    fn new<A: Accumulator + Default + 'static>(result: Oid) -> Method {
        Method { outcome: Outcome::Value(result), open: Box::new(|| Box::<A>::default()) }
    }
}

impl Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Method").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// How a function over partial results of these types is computed; none if the proxy cannot.
pub(super) fn method(function: Function, parts: &[Oid]) -> Option<Method> {
    match function {
        Function::Count => count::method(parts),
        Function::Sum => sum::method(parts),
        Function::Avg => avg::method(parts),
        Function::Min { bytewise } => extreme::method(parts, bytewise, false),
        Function::Max { bytewise } => extreme::method(parts, bytewise, true),
        Function::BoolAnd => boolean::method::<true>(parts),
        Function::BoolOr => boolean::method::<false>(parts),
        Function::BitAnd => bits::method(parts, |one, other| one & other, "AND"),
        Function::BitOr => bits::method(parts, |one, other| one | other, "OR"),
        Function::BitXor => bits::method(parts, |one, other| one ^ other, "XOR"),
    }
}

/// A value of fixed length.
fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Fault> {
    value.try_into().map_err(|_| VALUE)
}

#[cfg(test)]
mod tests;
