//! Shard keys: their types and their values in canonical form.
//!
//! Two values that PostgreSQL calls equal must be one [`Key`], because the key alone decides the shard; two different
//! values may share a shard, so a form may be coarser than PostgreSQL's equality but never finer. How a literal or a
//! parameter becomes a key is told in [`decode`](crate::types::decode); nothing here reads statements or settings.

use std::borrow::Cow;
use std::fmt::Write as _;

use bigdecimal::BigDecimal;

use crate::types::civil;
use crate::types::oid::{self, Oid};

pub use crate::types::array::{decode_array, decode_array_with};
pub use crate::types::decode::{decode, decode_stored};

/// The column types that can be a shard key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `int2`.
    Int2,
    /// `int4`.
    Int4,
    /// `int8`.
    Int8,
    /// `numeric` without a scale of its own (a scale would round what an INSERT stores).
    Numeric,
    /// `text` and `varchar` under a deterministic collation.
    Text,
    /// `char(n)`: trailing spaces do not count.
    Bpchar,
    /// `uuid`.
    Uuid,
    /// `date`.
    Date,
    /// `timestamp` of full precision.
    Timestamp,
    /// `timestamptz` of full precision.
    Timestamptz,
    /// `bytea`.
    Bytea,
}

/// A shard key's value in its one canonical form: equal in PostgreSQL means equal here, whatever the integer's width.
#[derive(Debug, Clone, PartialEq)]
pub enum Key<'a> {
    /// No value: never placed.
    Null,
    /// `int2`, `int4` and `int8` alike, so that tables keyed by different widths are co-located.
    Int(i64),
    /// Normalised: no trailing zeros.
    Numeric(Cow<'a, BigDecimal>),
    /// `text`, `varchar`, and `char(n)` without its trailing spaces.
    Text(Cow<'a, str>),
    /// The sixteen bytes, big-endian.
    Uuid(u128),
    /// Days since 2000-01-01; `i32::MIN` and `i32::MAX` are the infinities, as in PostgreSQL.
    Date(i32),
    /// Microseconds since 2000-01-01 (UTC for `timestamptz`); `i64::MIN` and `i64::MAX` are the infinities.
    Timestamp(i64),
    /// `bytea`.
    Bytes(Cow<'a, [u8]>),
}

/// A value as a statement or a Bind message carries it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw<'a> {
    /// No value.
    Null,
    /// Text form.
    Text {
        /// Without quotes and escapes.
        text: Cow<'a, str>,
        /// The type it is known to have (a cast, a declared parameter, `NUMERIC` for a number literal), or
        /// [`UNKNOWN`](crate::types::oid::UNKNOWN) for a quoted literal and 0 for an undeclared parameter.
        oid: Oid,
    },
    /// Binary form of a parameter.
    Binary {
        /// As the type's `send` function writes them.
        bytes: &'a [u8],
        /// 0 means the column's own type, because that is what PostgreSQL infers.
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

impl Match<'_> {
    /// The same without borrows.
    pub fn into_owned(self) -> Match<'static> {
        match self {
            Match::Key(key) => Match::Key(key.into_owned()),
            Match::Nothing => Match::Nothing,
            Match::Unclear(why) => Match::Unclear(why),
        }
    }
}

/// What of a session's settings changes how PostgreSQL reads a date or timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeContext {
    /// The session's `TimeZone` is UTC, GMT, Etc/UTC or the like: a `timestamptz` without an offset is clear.
    pub utc: bool,
    /// `DateStyle` starts with ISO. Nothing depends on it yet: only year-first dates are read, which every style agrees on.
    pub iso: bool,
}

impl KeyType {
    /// All of them.
    pub const ALL: &[KeyType] = &[
        KeyType::Int2,
        KeyType::Int4,
        KeyType::Int8,
        KeyType::Numeric,
        KeyType::Text,
        KeyType::Bpchar,
        KeyType::Uuid,
        KeyType::Date,
        KeyType::Timestamp,
        KeyType::Timestamptz,
        KeyType::Bytea,
    ];

    /// The key type of a column type, if a column of that type can be a shard key.
    pub fn from_oid(oid: Oid) -> Option<KeyType> {
        Some(match oid {
            oid::INT2 => KeyType::Int2,
            oid::INT4 => KeyType::Int4,
            oid::INT8 => KeyType::Int8,
            oid::NUMERIC => KeyType::Numeric,
            oid::TEXT | oid::VARCHAR => KeyType::Text,
            oid::BPCHAR => KeyType::Bpchar,
            oid::UUID => KeyType::Uuid,
            oid::DATE => KeyType::Date,
            oid::TIMESTAMP => KeyType::Timestamp,
            oid::TIMESTAMPTZ => KeyType::Timestamptz,
            oid::BYTEA => KeyType::Bytea,
            _ => return None,
        })
    }

    /// As [`from_oid`](Self::from_oid), for a column as `format_type` prints it. A `numeric(p,s)` or `timestamp(p)` is no
    /// shard key: PostgreSQL rounds what an INSERT gives it, so the value in the statement is not the value in the row.
    pub fn from_column(oid: Oid, type_name: &str) -> Option<KeyType> {
        let key_type = Self::from_oid(oid)?;
        let rounds = matches!(key_type, KeyType::Numeric | KeyType::Timestamp | KeyType::Timestamptz);
        (!rounds || !type_name.contains('(')).then_some(key_type)
    }

    /// The column type's own identifier.
    pub fn oid(self) -> Oid {
        match self {
            KeyType::Int2 => oid::INT2,
            KeyType::Int4 => oid::INT4,
            KeyType::Int8 => oid::INT8,
            KeyType::Numeric => oid::NUMERIC,
            KeyType::Text => oid::TEXT,
            KeyType::Bpchar => oid::BPCHAR,
            KeyType::Uuid => oid::UUID,
            KeyType::Date => oid::DATE,
            KeyType::Timestamp => oid::TIMESTAMP,
            KeyType::Timestamptz => oid::TIMESTAMPTZ,
            KeyType::Bytea => oid::BYTEA,
        }
    }

    /// As PostgreSQL's `format_type` calls it.
    pub fn name(self) -> &'static str {
        match self {
            KeyType::Int2 => "smallint",
            KeyType::Int4 => "integer",
            KeyType::Int8 => "bigint",
            KeyType::Numeric => "numeric",
            KeyType::Text => "text",
            KeyType::Bpchar => "character",
            KeyType::Uuid => "uuid",
            KeyType::Date => "date",
            KeyType::Timestamp => "timestamp without time zone",
            KeyType::Timestamptz => "timestamp with time zone",
            KeyType::Bytea => "bytea",
        }
    }

    /// The type of that name, by `format_type`'s name or the short one (`int8`, `timestamptz`).
    pub fn from_name(name: &str) -> Option<KeyType> {
        Some(match name {
            "int2" => KeyType::Int2,
            "int4" | "int" => KeyType::Int4,
            "int8" => KeyType::Int8,
            "varchar" | "character varying" => KeyType::Text,
            "char" | "bpchar" => KeyType::Bpchar,
            "timestamp" => KeyType::Timestamp,
            "timestamptz" => KeyType::Timestamptz,
            _ => return Self::ALL.iter().copied().find(|key_type| key_type.name() == name),
        })
    }
}

impl Key<'_> {
    /// The same key without borrows.
    pub fn into_owned(self) -> Key<'static> {
        match self {
            Key::Null => Key::Null,
            Key::Int(value) => Key::Int(value),
            Key::Numeric(value) => Key::Numeric(Cow::Owned(value.into_owned())),
            Key::Text(value) => Key::Text(Cow::Owned(value.into_owned())),
            Key::Uuid(value) => Key::Uuid(value),
            Key::Date(value) => Key::Date(value),
            Key::Timestamp(value) => Key::Timestamp(value),
            Key::Bytes(value) => Key::Bytes(Cow::Owned(value.into_owned())),
        }
    }

    /// The canonical text: one text per key, for directory tables and EXPLAIN. PostgreSQL would print the same with
    /// `DateStyle = ISO` and `TimeZone = UTC`, save that numerics lose trailing zeros and `timestamptz` its `+00`.
    pub fn to_text(&self) -> String {
        match self {
            Key::Null => "NULL".to_owned(),
            Key::Int(value) => value.to_string(),
            Key::Numeric(value) => value.to_plain_string(),
            Key::Text(value) => value.clone().into_owned(),
            Key::Uuid(value) => uuid::Uuid::from_u128(*value).hyphenated().to_string(),
            Key::Date(days) => civil::date_text(*days),
            Key::Timestamp(micros) => civil::timestamp_text(*micros),
            Key::Bytes(bytes) => {
                let mut text = String::with_capacity(2 + 2 * bytes.len());
                text.push_str("\\x");
                for byte in bytes.iter() {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{byte:02x}");
                }
                text
            }
        }
    }
}
