//! From a plan and the types that the shards describe to the machine that merges them.

use super::aggregate::{self, MAX_PARTS, Outcome};
use super::collect::Collect;
use super::description::Description;
use super::distinct::Distinct;
use super::groups::{self, Groups, Output, Shape, Term};
use super::key::Order;
use super::row::Spans;
use super::sorted::Sorted;
use super::stream::{Sequence, Stream};
use super::window::Window;
use super::{Setup, text, types};
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{Aggregation, By, Call, Function, Hidden, Item, Merge, OrderKey};
use crate::sqlstate::SqlState;
use crate::types::{Oid, oid};

/// The machine for one statement.
#[derive(Debug)]
pub(super) enum Body {
    /// The shards return no rows.
    Nothing,
    /// Rows pass through.
    Stream(Box<Stream>),
    /// Groups are put together.
    Groups(Box<Groups>),
    /// Rows are collected for a final statement.
    Collect(Collect),
    /// Something was wrong.
    Failed,
}

/// How many columns are the client's, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    hidden: Hidden,
    /// The client's.
    pub visible: usize,
    /// All.
    pub columns: usize,
}

impl Shares {
    /// Divides so many columns.
    pub fn new(hidden: Hidden, columns: usize) -> Result<Shares, PgError> {
        let visible = match hidden {
            Hidden::Last(count) => columns.checked_sub(count.into()),
            Hidden::Twice(more) => {
                columns.checked_sub(more.into()).filter(|both| both.is_multiple_of(2)).map(|both| both / 2)
            }
        };
        let visible =
            visible.ok_or_else(|| misplanned(format!("{columns} columns came, with {hidden:?} of them hidden")))?;
        Ok(Shares { hidden, visible, columns })
    }

    /// The n-th hidden column, or the n-th twin.
    fn hidden(&self, index: u16) -> Result<usize, PgError> {
        let end = if let Hidden::Twice(_) = self.hidden { 2 * self.visible } else { self.columns };
        let column = self.visible + usize::from(index);
        if column < end { Ok(column) } else { Err(misplanned(format!("hidden column {index} of {self:?}"))) }
    }

    /// The column of a bound: behind the twins, if there are any, which count.
    fn bound(&self, index: u16) -> Result<usize, PgError> {
        let start = if let Hidden::Twice(_) = self.hidden { 2 * self.visible } else { self.visible };
        let column = self.visible + usize::from(index);
        match (start..self.columns).contains(&column) {
            true => Ok(column),
            false => Err(misplanned(format!("bound {index} of {self:?}"))),
        }
    }
}

/// A plan that does not fit the columns: never trusted, never a panic.
fn misplanned(detail: String) -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "the plan of a statement over several shards does not fit its columns")
        .with_detail(detail)
}

/// One plan over columns of these types.
pub(super) struct Decision<'a> {
    /// The plan.
    pub gather: &'a Gather,
    /// The execution.
    pub setup: &'a Setup,
    /// What the shards return.
    pub description: &'a Description,
    /// Its division.
    pub shares: Shares,
}

impl Decision<'_> {
    /// The machine.
    ///
    /// # Errors
    /// 0A000 where the types are beyond the proxy and no final statement helps.
    pub fn body(&self) -> Result<Body, PgError> {
        let held = self.setup.limits.held_bytes;
        match &self.gather.merge {
            Merge::Concat => self.stream(Sequence::Arrival, None),
            Merge::Rows => {
                let shards = self.setup.shards.len();
                if self.setup.rows.iter().any(|shard| usize::from(*shard) >= shards) {
                    return Err(misplanned(format!("a row is for a shard beyond {shards}")));
                }
                self.stream(Sequence::Values { rows: self.setup.rows.clone(), next: 0 }, None)
            }
            Merge::Ordered(keys) => self.stream(self.sorted(keys)?, None),
            Merge::Distinct(keys) => {
                let twins = (0..self.shares.visible).map(|index| self.equality(index as u16, "DISTINCT"));
                let distinct = Distinct::new(twins.collect::<Result<_, _>>()?, held);
                let sequence = if keys.is_empty() { Sequence::Arrival } else { self.sorted(keys)? };
                self.stream(sequence, Some(distinct))
            }
            Merge::Aggregate(aggregation) => {
                self.check_averages(aggregation)?;
                let refusal = match aggregation.native {
                    true => match self.groups(aggregation) {
                        Ok(groups) => return Ok(Body::Groups(Box::new(groups))),
                        Err(refusal) => refusal,
                    },
                    false => misplanned("neither the proxy nor a server can end the work".to_owned()),
                };
                if aggregation.finish.is_none() {
                    return Err(refusal);
                }
                self.collect().map(Body::Collect)
            }
        }
    }

    fn stream(&self, sequence: Sequence, distinct: Option<Distinct>) -> Result<Body, PgError> {
        Ok(Body::Stream(Box::new(Stream {
            sequence,
            distinct,
            window: self.window()?,
            visible: self.shares.visible,
            columns: self.shares.columns,
            spans: Spans::default(),
        })))
    }

    fn sorted(&self, keys: &[OrderKey]) -> Result<Sequence, PgError> {
        let key = |key: &OrderKey| match key.by {
            By::Hidden(index) => {
                let column = self.shares.hidden(index)?;
                Ok((column, self.order(key, self.oid(column))?))
            }
            By::Call(call) => Err(misplanned(format!("rows are ordered by aggregate {call}"))),
        };
        let keys = keys.iter().map(key).collect::<Result<_, PgError>>()?;
        Ok(Sequence::Sorted(Box::new(Sorted::new(keys, self.shares.visible, self.setup.shards.len()))))
    }

    fn window(&self) -> Result<Window, PgError> {
        let bound = |column: Option<u16>| -> Result<Option<usize>, PgError> {
            let Some(column) = column.map(|index| self.shares.bound(index)).transpose()? else { return Ok(None) };
            match self.oid(column) {
                oid::INT8 => Ok(Some(column)),
                _ => Err(misplanned(format!("column {column} is a bound and not a bigint"))),
            }
        };
        Ok(Window::new(bound(self.gather.window.limit)?, bound(self.gather.window.offset)?))
    }

    fn oid(&self, column: usize) -> Oid {
        self.description.columns.get(column).map_or(oid::UNSPECIFIED, |column| column.oid())
    }

    fn order(&self, key: &OrderKey, oid: Oid) -> Result<Order, PgError> {
        let encode = types::order(oid, key.bytewise).ok_or_else(|| match types::order(oid, true) {
            Some(_) => unsupported("ORDER BY", oid)
                .with_detail(
                    "The order of text is its collation's; only collations that compare bytes sort alike everywhere.",
                )
                .with_hint("Add COLLATE \"C\" to the term, or restrict the statement to one shard."),
            None => unsupported("ORDER BY", oid),
        })?;
        Ok(Order { encode, descending: key.descending, nulls_first: key.nulls_first })
    }

    fn equality(&self, index: u16, clause: &str) -> Result<(usize, Order), PgError> {
        let column = self.shares.hidden(index)?;
        let oid = self.oid(column);
        let encode = types::equality(oid).ok_or_else(|| unsupported(clause, oid))?;
        Ok((column, Order::any(encode)))
    }

    /// No server can make `avg(float4)` of the shards' sums.
    fn check_averages(&self, aggregation: &Aggregation) -> Result<(), PgError> {
        for call in aggregation.calls.iter().filter(|call| call.function == Function::Avg) {
            let sum = call.parts.first().map(|part| self.shares.hidden(*part)).transpose()?;
            if sum.is_some_and(|column| self.oid(column) == oid::FLOAT4) {
                return Err(unsupported("avg", oid::FLOAT4)
                    .with_detail("PostgreSQL sums in double precision, which the shards' sums of real do not have.")
                    .with_hint("Write avg(x::float8)."));
            }
        }
        Ok(())
    }

    fn groups(&self, aggregation: &Aggregation) -> Result<Groups, PgError> {
        let keys = aggregation.groups.iter().map(|index| self.equality(*index, "GROUP BY"));
        let calls = aggregation.calls.iter().map(|call| self.call(call)).collect::<Result<Vec<_>, _>>()?;
        if aggregation.columns.len() != self.shares.visible {
            return Err(misplanned(format!("{} columns for {:?}", aggregation.columns.len(), self.shares)));
        }
        let outputs = aggregation.columns.iter().enumerate().map(|(column, item)| self.output(column, *item, &calls));
        let order = aggregation.order.iter().map(|key| self.term(key, &calls));
        let shape = Shape {
            keys: keys.collect::<Result<_, _>>()?,
            outputs: outputs.collect::<Result<_, _>>()?,
            order: order.collect::<Result<_, _>>()?,
            calls,
        };
        Ok(Groups::new(shape, self.window()?, self.setup.limits.held_bytes))
    }

    fn call(&self, call: &Call) -> Result<groups::Call, PgError> {
        let wanted = if call.function == Function::Avg { MAX_PARTS } else { 1 };
        if call.parts.len() != wanted {
            return Err(misplanned(format!("{} parts for {:?}", call.parts.len(), call.function)));
        }
        let parts = call.parts.iter().map(|part| self.shares.hidden(*part)).collect::<Result<Vec<_>, _>>()?;
        let types: Vec<Oid> = parts.iter().map(|column| self.oid(*column)).collect();
        let name = call.function.name();
        let first = types.first().copied().unwrap_or(oid::UNSPECIFIED);
        let method = aggregate::method(call.function, &types).ok_or_else(|| unsupported(name, first))?;
        Ok(groups::Call { method, parts })
    }

    fn output(&self, column: usize, item: Item, calls: &[groups::Call]) -> Result<Output, PgError> {
        let Item::Call(index) = item else { return Ok(Output::First) };
        let index = usize::from(index);
        let call = calls.get(index).ok_or_else(|| misplanned(format!("column {column} is aggregate {index}")))?;
        match call.method.outcome {
            Outcome::Row(_) => Ok(Output::Row(index)),
            Outcome::Value(oid) if oid != self.oid(column) => {
                Err(misplanned(format!("column {column} is not of the type of aggregate {index}")))
            }
            Outcome::Value(oid) => match self.setup.format(column) {
                0 if text::is_printable(oid, self.setup.rounded_floats) => {
                    Ok(Output::Value { call: index, print: Some(oid) })
                }
                0 => Err(unsupported("the text form of an aggregate", oid)),
                _ => Ok(Output::Value { call: index, print: None }),
            },
        }
    }

    fn term(&self, key: &OrderKey, calls: &[groups::Call]) -> Result<(Term, Order), PgError> {
        match key.by {
            By::Hidden(index) => {
                let column = self.shares.hidden(index)?;
                Ok((Term::Column(column), self.order(key, self.oid(column))?))
            }
            By::Call(index) => {
                let index = usize::from(index);
                let call =
                    calls.get(index).ok_or_else(|| misplanned(format!("groups are ordered by aggregate {index}")))?;
                let (Outcome::Value(oid) | Outcome::Row(oid)) = call.method.outcome;
                Ok((Term::Call(index), self.order(key, oid)?))
            }
        }
    }

    fn collect(&self) -> Result<Collect, PgError> {
        let column = |column: usize| {
            let oid = self.oid(column);
            types::find(oid).map(|kind| (column, kind)).ok_or_else(|| unsupported("an aggregate", oid))
        };
        let columns = (self.shares.visible..self.shares.columns).map(column).collect::<Result<_, _>>()?;
        Ok(Collect::new(columns, self.setup.limits.held_bytes))
    }
}

/// What the merge does not do over values of a type.
fn unsupported(what: &str, oid: Oid) -> PgError {
    let kind = types::name(oid);
    PgError::unsupported(format!("{what} over values of type {kind} is not supported over several shards"))
        .with_hint("Cast the value to numeric, or to text COLLATE \"C\", or restrict the statement to one shard.")
}
