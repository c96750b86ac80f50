//! How `range` and `list` read the values that an operator writes, before anyone knows the columns' types.
//!
//! A file is read before the shards are asked for their column types, and one vindex may serve a `date` and a `timestamp`
//! column alike. So a written value is read in every family of keys that can read it, and the key that comes to be placed
//! says by its own kind which reading counts.

use crate::types::key::decode;
use crate::types::oid;
use crate::types::{DecodeContext, Key, KeyType, Match, Raw};

/// Key types whose values compare with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `smallint`, `integer`, `bigint`.
    Int,
    /// `numeric`.
    Numeric,
    /// `uuid`.
    Uuid,
    /// `date`.
    Date,
    /// `timestamp`, and `timestamptz` in UTC.
    Timestamp,
    /// `text`, `varchar`, `char(n)`, in C order.
    Text,
    /// `bytea`.
    Bytes,
}

impl Family {
    /// In the order in which an operator most likely means them.
    pub const ALL: [Family; 7] =
        [Family::Int, Family::Uuid, Family::Date, Family::Timestamp, Family::Numeric, Family::Text, Family::Bytes];

    /// The family of a column.
    pub fn of(key_type: KeyType) -> Family {
        match key_type {
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => Family::Int,
            KeyType::Numeric => Family::Numeric,
            KeyType::Text | KeyType::Bpchar => Family::Text,
            KeyType::Uuid => Family::Uuid,
            KeyType::Date => Family::Date,
            KeyType::Timestamp | KeyType::Timestamptz => Family::Timestamp,
            KeyType::Bytea => Family::Bytes,
        }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Family::Int => "integer",
            Family::Numeric => "numeric",
            Family::Uuid => "uuid",
            Family::Date => "date",
            Family::Timestamp => "timestamp",
            Family::Text => "text",
            Family::Bytes => "bytea",
        }
    }

    fn column(self) -> KeyType {
        match self {
            Family::Int => KeyType::Int8,
            Family::Numeric => KeyType::Numeric,
            Family::Uuid => KeyType::Uuid,
            Family::Date => KeyType::Date,
            // Offsets are honoured; without one UTC is meant.
            Family::Timestamp => KeyType::Timestamptz,
            Family::Text => KeyType::Text,
            Family::Bytes => KeyType::Bytea,
        }
    }

    /// Reads a written value as a key of this family.
    pub fn read(self, value: &toml::Value) -> Option<Key<'static>> {
        let text = match (value, self) {
            (toml::Value::Integer(value), Family::Int | Family::Numeric) => value.to_string(),
            (toml::Value::Float(value), Family::Numeric) => value.to_string(),
            (toml::Value::Datetime(value), Family::Date | Family::Timestamp) => value.to_string(),
            (toml::Value::String(value), _) => value.clone(),
            _ => return None,
        };
        // A bytea without the \x would read every string there is.
        if self == Family::Bytes && !text.starts_with("\\x") {
            return None;
        }
        // A date would drop a time of day without a word.
        if self == Family::Date && text.contains(':') {
            return None;
        }
        let raw = Raw::Text { text: text.into(), oid: oid::UNKNOWN };
        match decode(&raw, self.column(), &DecodeContext { utc: true, iso: true }) {
            Match::Key(key) => Some(key),
            Match::Nothing | Match::Unclear(_) => None,
        }
    }
}

/// As the operator wrote it, for messages.
pub fn shown(value: &toml::Value) -> String {
    value.to_string()
}

/// The JSON Schema of a written value.
#[derive(schemars::JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // only its schema is used
pub enum Written {
    /// An integer key.
    Int(i64),
    /// A numeric key.
    Float(f64),
    /// Any key in PostgreSQL's text form; dates year first.
    Text(String),
}

/// Why a table's column types do not fit.
pub fn refuse(kind: &str, types: &[KeyType], families: &[Family]) -> Result<(), String> {
    let [key_type] = types else {
        return Err(format!("a {kind} vindex takes a key of one column, not of {}", types.len()));
    };
    if families.contains(&Family::of(*key_type)) {
        return Ok(());
    }
    let names: Vec<_> = families.iter().map(|family| family.name()).collect();
    Err(format!("its values cannot be read as {} keys, only as {}", key_type.name(), names.join(", ")))
}
