//! Values that are one for the whole of a statement, or of its transaction, wherever its parts run: the time, the next numbers of a sequence,
//! new keys.
//!
//! A statement with such values is a template: the session gets them first, puts them into the text, and what comes out is planned and run like
//! any other statement. So nothing behind it has to know of them.

use std::ops::Range;
use std::sync::Arc;

use crate::types::ShardId;

/// A statement that needs values before it can be sent.
#[derive(Debug, Clone, Default)]
pub struct Once {
    /// It cannot be sent as it is, wherever it goes. Otherwise one shard alone gives the same answer without.
    pub always: bool,
    /// It tells the time of its transaction.
    pub timed: bool,
    /// It asks for `lastval()`, which may also be something that a server remembers.
    pub has_last: bool,
    /// The text.
    pub parts: Vec<Part>,
    /// Sequences that it sets: numbers that wait to be given out count no more.
    pub resets: Vec<Arc<Sequence>>,
}

/// A part of the text. Between parts stands a space.
#[derive(Debug, Clone)]
pub enum Part {
    /// These tokens of the client's, with what is between them as it is written.
    Tokens(Range<u32>),
    /// Ours.
    Words(String),
    /// A value that the session gets.
    Value {
        /// From where.
        source: Source,
        /// It stands alone as the value of a column, and takes the column's type; otherwise it has its own.
        bare: bool,
    },
}

/// Where a value comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// When the transaction began.
    Transaction,
    /// When the statement began.
    Statement,
    /// The next number of a sequence: another one for each place.
    Next(Arc<Sequence>),
    /// The number that this session got last from a sequence.
    Current(Arc<Sequence>),
    /// The number that this session got last.
    Last,
    /// A new key.
    Made(Maker),
}

impl Source {
    /// The value's type, as SQL.
    pub fn type_name(&self) -> &'static str {
        match self {
            Source::Transaction | Source::Statement => "timestamptz",
            Source::Next(_) | Source::Current(_) | Source::Last => "bigint",
            Source::Made(maker) => maker.type_name(),
        }
    }
}

/// Keys that are unique without a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// `goldseam.ulid()`: 26 letters and digits, in the order of time.
    Ulid,
    /// `goldseam.uuid_v7()`: a UUID in the order of time.
    UuidV7,
    /// `gen_random_uuid()`: a UUID of random bits.
    UuidV4,
    /// `goldseam.snowflake()`: a bigint in the order of time.
    Snowflake,
}

impl Maker {
    /// The key's type, as SQL.
    pub fn type_name(self) -> &'static str {
        match self {
            Maker::Ulid => "text",
            Maker::UuidV7 | Maker::UuidV4 => "uuid",
            Maker::Snowflake => "bigint",
        }
    }
}

/// A sequence that several shards have; the numbers of all come from one of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Schema, as stored.
    pub schema: String,
    /// Name, as stored.
    pub name: String,
    /// Whose copy counts.
    pub home: ShardId,
    /// Who else has one, which may have counted before Goldseam came.
    pub others: Vec<ShardId>,
    /// It belongs to an identity column: whoever may INSERT may use it.
    pub identity: bool,
}

impl Sequence {
    /// Its name as SQL, quoted.
    pub fn quoted(&self) -> String {
        let part = |name: &str| name.replace('"', "\"\"");
        format!("\"{}\".\"{}\"", part(&self.schema), part(&self.name))
    }
}
