//! Shard keys: their types, their values, and how a value is read from a literal or a parameter.

use std::borrow::Cow;

use bigdecimal::BigDecimal;

use crate::types::oid::Oid;

/// The column types that can be a shard key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    Int2,
    Int4,
    Int8,
    Numeric,
    /// `text` and `varchar` under a deterministic collation.
    Text,
    /// `char(n)`: trailing spaces do not count.
    Bpchar,
    Uuid,
    Date,
    Timestamp,
    Timestamptz,
    Bytea,
}

/// A shard key's value in its one canonical form: equal in PostgreSQL means equal here, whatever the integer's width.
#[derive(Debug, Clone, PartialEq)]
pub enum Key<'a> {
    Null,
    /// `int2`, `int4` and `int8` alike, so that tables keyed by different widths are co-located.
    Int(i64),
    /// Normalised: no trailing zeros.
    Numeric(Cow<'a, BigDecimal>),
    Text(Cow<'a, str>),
    Uuid(u128),
    /// Days since 2000-01-01; `i32::MIN` and `i32::MAX` are the infinities, as in PostgreSQL.
    Date(i32),
    /// Microseconds since 2000-01-01 (UTC for `timestamptz`); `i64::MIN` and `i64::MAX` are the infinities.
    Timestamp(i64),
    Bytes(Cow<'a, [u8]>),
}

/// A value as a statement or a Bind message carries it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw<'a> {
    Null,
    /// Text form. `oid` is the type it is known to have (a cast, a declared parameter, `NUMERIC` for a number literal), or
    /// [`UNKNOWN`](crate::types::oid::UNKNOWN) for a quoted literal and 0 for an undeclared parameter.
    Text {
        text: Cow<'a, str>,
        oid: Oid,
    },
    /// Binary form of a parameter; `oid` 0 means the column's own type, because that is what PostgreSQL infers.
    Binary {
        bytes: &'a [u8],
        oid: Oid,
    },
}

/// What a raw value means when it is compared with a key column.
#[derive(Debug, Clone, PartialEq)]
pub enum Match<'a> {
    /// Equal to rows with this key.
    Key(Key<'a>),
    /// Equal to no row of this column (NULL, `42.5` on an integer), or certain to be refused by PostgreSQL itself (`'abc'` on
    /// an integer): every shard gives PostgreSQL's own answer.
    Nothing,
    /// Goldseam cannot be sure how PostgreSQL reads it: the statement must be refused.
    Unclear(&'static str),
}

/// What of a session's settings changes how PostgreSQL reads a date or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeContext {
    /// The session's `TimeZone` is UTC, GMT, Etc/UTC or the like: a `timestamptz` without an offset is clear.
    pub utc: bool,
    /// `DateStyle` starts with ISO.
    pub iso: bool,
}

impl KeyType {
    /// The key type of a column type, if a column of that type can be a shard key.
    pub fn from_oid(_oid: Oid) -> Option<KeyType> {
        todo!()
    }

    /// As PostgreSQL's `format_type` calls it.
    pub fn name(self) -> &'static str {
        todo!()
    }
}

/// Reads a value as PostgreSQL would when it compares it with, or stores it in, a column of type `column`.
pub fn decode<'a>(_raw: &Raw<'a>, _column: KeyType, _ctx: &DecodeContext) -> Match<'a> {
    todo!()
}

/// Reads the array of `column = ANY(array)`; the error says why it is unclear.
pub fn decode_array<'a>(
    _raw: &Raw<'a>,
    _column: KeyType,
    _ctx: &DecodeContext,
) -> Result<Vec<Match<'a>>, &'static str> {
    todo!()
}

impl Key<'_> {
    /// The same key without borrows.
    pub fn into_owned(self) -> Key<'static> {
        todo!()
    }

    /// The canonical text: one text per key, for directory tables and EXPLAIN.
    pub fn to_text(&self) -> String {
        todo!()
    }
}
