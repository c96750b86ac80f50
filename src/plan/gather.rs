//! How the answers of several shards become one: what each shard is sent, and what is done with the rows that come back.
//!
//! Two kinds of columns come from a shard. The *visible* ones, in front, are the client's: in the format that it asked for, and as opaque as
//! on the way from a single shard. The *hidden* ones, behind them, are Goldseam's: always in binary format, and all that is ever compared,
//! counted or added up. So no merge depends on DateStyle or on the client's formats.
//!
//! Like all of a plan this is a template. Places in the text are numbers of tokens, which all texts of one plan share, never bytes.

use std::ops::Range;

use crate::types::KeyspaceId;

/// What several shards are sent, and how their answers become one.
#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    /// The tables' keyspace: without a key the statement goes to all of its shards.
    pub keyspace: KeyspaceId,
    /// What each shard is sent; none: the statement as it is.
    pub text: Option<Text>,
    /// The columns that the client does not get.
    pub hidden: Hidden,
    /// What is done with the rows.
    pub merge: Merge,
    /// LIMIT and OFFSET of the whole; the shards' own bounds are in their text.
    pub window: Window,
}

impl Gather {
    /// Whatever the types, the merge can be done.
    pub fn is_certain(&self) -> bool {
        matches!(self.merge, Merge::Concat | Merge::Rows)
    }
}

/// A statement put together from the client's tokens and our words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    /// In order. Between pieces stands a space.
    pub pieces: Vec<Piece>,
}

/// A part of a [`Text`].
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// These tokens of the statement, with what is between them as it is written.
    Tokens(Range<u32>),
    /// Ours.
    Words(String),
    /// Of the rows of VALUES, given as the tokens from `(` to `)` of each, those that are for the shard in question, with commas between.
    Rows(Vec<Range<u32>>),
    /// In a [`Finish`]: `unnest($1::a[], $2::b[], ...) AS goldseam (c0, c1, ...)`, the hidden columns of all shards' rows.
    Parts,
    /// In the rest of a [`Bench`](super::work::Bench): the rows of its n-th input, as an item of a FROM list.
    Input {
        /// Which.
        input: u16,
        /// The name under which the statement knows it, unquoted, where none follows in the client's own words.
        alias: Option<String>,
    },
    /// In a [`Write`](super::work::Write): what the table's column of this name is given where nothing is.
    Default(String),
    /// In a [`Finish`]: the sum of the n-th hidden column, in that column's own type (PostgreSQL's sum of bigint is numeric).
    Sum(u16),
    /// In a [`Finish`]: the average, from the hidden columns with the shards' sums and counts.
    Avg {
        /// The sums.
        sum: u16,
        /// The counts.
        count: u16,
    },
}

/// How many of the last columns are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// So many.
    Last(u16),
    /// Half of all: the select list stands there twice, and more hidden columns, so many, follow. Hidden columns are counted through: with n
    /// visible columns the first of those that follow has the number n.
    Twice(u16),
}

/// What is done with the shards' rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Merge {
    /// One after the other, as they come. A command's count is the sum.
    Concat,
    /// Each shard's rows are in this order already, and so is the whole.
    Ordered(Vec<OrderKey>),
    /// Of rows whose hidden twins ([`Hidden::Twice`]) are equal one is kept. Each shard's rows are in the order, if there is one.
    Distinct(Vec<OrderKey>),
    /// Groups are put together.
    Aggregate(Aggregation),
    /// The n-th row that comes back is of the n-th row of VALUES: INSERT ... RETURNING in the order of the statement.
    Rows,
}

/// One term of ORDER BY.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderKey {
    /// What is compared.
    pub by: By,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST, also where it goes without saying.
    pub nulls_first: bool,
    /// If it is text: it is certain that its collation compares bytes. Otherwise text is refused when its type is seen.
    pub bytewise: bool,
}

/// What an order goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The n-th hidden column, counted from the first hidden one; for [`Hidden::Twice`] the n-th twin.
    Hidden(u16),
    /// The result of the n-th call of the [`Aggregation`].
    Call(u16),
}

/// GROUP BY and aggregates over several shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregation {
    /// Hidden columns whose values make the group; without any all rows are one group.
    pub groups: Vec<u16>,
    /// The aggregates.
    pub calls: Vec<Call>,
    /// The visible columns. Each shard sends columns of these names and types.
    pub columns: Vec<Item>,
    /// The order of the groups.
    pub order: Vec<OrderKey>,
    /// Set if the proxy alone can do it, given types that it knows.
    pub native: bool,
    /// The rest of the statement, for a server to do: where `native` is not set, or the types are beyond the proxy.
    pub finish: Option<Finish>,
}

/// A visible column of a grouped query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// The same in all of the group's rows: the first row's.
    First,
    /// The result of the n-th call.
    Call(u16),
}

/// One aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Which.
    pub function: Function,
    /// The hidden columns with the shards' partial results: one, but for `avg` sum and count.
    pub parts: Vec<u16>,
}

/// The aggregates whose partial results can be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `count(*)`, `count(x)`: the sum of the counts, 0 if there are none.
    Count,
    /// `sum`. Its type is that of the partial sum: the sum of bigint sums stays bigint, with PostgreSQL's error if it overflows.
    Sum,
    /// `avg`: sum and count.
    Avg,
    /// `min`; `bytewise` as in [`OrderKey`].
    Min {
        /// If it is text, its collation compares bytes.
        bytewise: bool,
    },
    /// `max`.
    Max {
        /// If it is text, its collation compares bytes.
        bytewise: bool,
    },
    /// `bool_and`, `every`.
    BoolAnd,
    /// `bool_or`.
    BoolOr,
    /// `bit_and`.
    BitAnd,
    /// `bit_or`.
    BitOr,
    /// `bit_xor`.
    BitXor,
}

impl Function {
    /// As PostgreSQL calls it.
    pub fn name(self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Avg => "avg",
            Function::Min { .. } => "min",
            Function::Max { .. } => "max",
            Function::BoolAnd => "bool_and",
            Function::BoolOr => "bool_or",
            Function::BitAnd => "bit_and",
            Function::BitOr => "bit_or",
            Function::BitXor => "bit_xor",
        }
    }
}

/// A statement that ends the work on a server, over the shards' hidden columns as arrays. It reads no table.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// The statement, with one [`Piece::Parts`].
    pub text: Text,
}

/// The part of the merged rows that is the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    /// The hidden column that holds LIMIT as int8 in every row; NULL is no limit.
    pub limit: Option<u16>,
    /// The hidden column that holds OFFSET as int8 in every row; NULL is 0.
    pub offset: Option<u16>,
}
