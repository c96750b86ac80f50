//! From a value as the client wrote it to the [`Key`] that PostgreSQL will see.
//!
//! The principle has three cases. What PostgreSQL surely reads in one way becomes a key. What equals no row, or is certain
//! to be refused by PostgreSQL itself, is [`Match::Nothing`]: any shard gives PostgreSQL's own answer. What PostgreSQL might
//! read in a way that depends on settings, versions or rounding is [`Match::Unclear`], and the statement is refused: a
//! guess here would be a wrong answer there.
//!
//! A value compared and a value stored are not the same: `k = 42.5` finds no integer, but `INSERT ... VALUES (42.5)` stores
//! 43. Hence [`decode`] for comparisons and [`decode_stored`] for INSERT.

use std::borrow::Cow;

use bigdecimal::BigDecimal;

use crate::types::civil::{self, DAY, Parsed};
use crate::types::key::{DecodeContext, Key, KeyType, Match, Raw};
use crate::types::number::{self, Number};
use crate::types::oid::{self, Oid};

const ROUNDS: &str = "PostgreSQL would round the value when it stores it";
const ZONE: &str = "a timestamp with time zone without an offset depends on the session's TimeZone";
const DATE_FORM: &str =
    "only dates and times written year first, such as 2026-01-31 12:00:00, are read alike under all settings";
const SPECIAL: &str = "NaN and infinite numbers are not supported as shard keys";
const NUMBER_FORM: &str = "the number is written in a way that PostgreSQL versions read differently, or is too long";
const FLOAT: &str = "a floating-point value may equal several keys";
const OTHER_TYPE: &str = "the value's type is not one that Goldseam can compare with the key's";
const TRAILING_SPACE: &str = "a varchar(n) column may lose trailing spaces when it stores the value";

/// Reads a value as PostgreSQL would when it compares it with a column of type `column`.
pub fn decode<'a>(raw: &Raw<'a>, column: KeyType, ctx: &DecodeContext) -> Match<'a> {
    decode_as(raw, column, ctx, false)
}

/// Reads a value as PostgreSQL would when it stores it in a column of type `column`: INSERT's values.
pub fn decode_stored<'a>(raw: &Raw<'a>, column: KeyType, ctx: &DecodeContext) -> Match<'a> {
    decode_as(raw, column, ctx, true)
}

fn decode_as<'a>(raw: &Raw<'a>, column: KeyType, ctx: &DecodeContext, stored: bool) -> Match<'a> {
    let reader = Reader { column, ctx, stored };
    match raw {
        Raw::Null => Match::Nothing,
        Raw::Text { text: Cow::Borrowed(text), oid } => reader.text(text, reader.known(*oid)),
        Raw::Text { text: Cow::Owned(text), oid } => reader.text(text, reader.known(*oid)).into_owned(),
        Raw::Binary { bytes, oid } => reader.binary(bytes, reader.known(*oid)),
    }
}

struct Reader<'c> {
    column: KeyType,
    ctx: &'c DecodeContext,
    stored: bool,
}

/// A moment as its type says it, before it meets the column's type.
enum Moment {
    Date(i32),
    Local(i64),
    Utc(i64),
}

impl Reader<'_> {
    /// PostgreSQL gives an untyped literal or parameter the type of the column it meets.
    fn known(&self, oid: Oid) -> Oid {
        if oid == oid::UNSPECIFIED || oid == oid::UNKNOWN { self.column.oid() } else { oid }
    }

    fn text<'a>(&self, text: &'a str, oid: Oid) -> Match<'a> {
        match oid {
            oid::INT2 | oid::INT4 | oid::INT8 => self.number(in_range(number::integer(text), oid)),
            // As text a numeric keeps the zeros that its key loses: only digits are sure.
            oid::NUMERIC if self.is_string() => match number::integer(text) {
                Number::Int(value) => self.number(Number::Int(value)),
                _ => Match::Unclear(OTHER_TYPE),
            },
            oid::NUMERIC => self.number(number::numeric(text)),
            oid::FLOAT4 | oid::FLOAT8 => self.float(text.trim().parse().ok()),
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME => self.string(text, oid),
            oid::UUID => uuid(text).map_or(Match::Nothing, |value| self.uuid(value)),
            oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ => self.written_moment(text, oid),
            oid::BYTEA => match bytea(text) {
                Some(bytes) => self.bytes(bytes),
                None => Match::Nothing,
            },
            _ => Match::Unclear(OTHER_TYPE),
        }
    }

    fn binary<'a>(&self, bytes: &'a [u8], oid: Oid) -> Match<'a> {
        match (oid, bytes.len()) {
            (oid::INT2, 2) => self.number(Number::Int(i64::from(i16::from_be_bytes([bytes[0], bytes[1]])))),
            (oid::INT4, 4) => self.number(Number::Int(i64::from(be_i32(bytes)))),
            (oid::INT8, 8) => self.number(Number::Int(be_i64(bytes))),
            (oid::NUMERIC, _) if self.is_string() => Match::Unclear(OTHER_TYPE),
            (oid::NUMERIC, _) => self.number(number::numeric_from_bytes(bytes)),
            (oid::FLOAT4, 4) => self.float(Some(f64::from(f32::from_bits(be_i32(bytes) as u32)))),
            (oid::FLOAT8, 8) => self.float(Some(f64::from_bits(be_i64(bytes) as u64))),
            (oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME, _) => match std::str::from_utf8(bytes) {
                Ok(text) => self.string(text, oid),
                Err(_) => Match::Nothing,
            },
            (oid::UUID, 16) => {
                let mut value = [0; 16];
                value.copy_from_slice(bytes);
                self.uuid(u128::from_be_bytes(value))
            }
            (oid::DATE, 4) => self.moment(Moment::Date(be_i32(bytes))),
            (oid::TIMESTAMP, 8) => self.moment(Moment::Local(be_i64(bytes))),
            (oid::TIMESTAMPTZ, 8) => self.moment(Moment::Utc(be_i64(bytes))),
            (oid::BYTEA, _) => self.bytes(Cow::Borrowed(bytes)),
            (
                oid::INT2
                | oid::INT4
                | oid::INT8
                | oid::FLOAT4
                | oid::FLOAT8
                | oid::UUID
                | oid::DATE
                | oid::TIMESTAMP
                | oid::TIMESTAMPTZ,
                _,
            ) => Match::Nothing,
            _ => Match::Unclear(OTHER_TYPE),
        }
    }

    fn is_string(&self) -> bool {
        matches!(self.column, KeyType::Text | KeyType::Bpchar)
    }

    fn number<'a>(&self, number: Number) -> Match<'a> {
        match (self.column, number) {
            (_, Number::Invalid) => Match::Nothing,
            (_, Number::Unclear) => Match::Unclear(NUMBER_FORM),
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Number::Int(value)) => {
                match in_range(Number::Int(value), self.column.oid()) {
                    Number::Int(value) => Match::Key(Key::Int(value)),
                    _ => Match::Nothing,
                }
            }
            // An INSERT rounds a fraction; what is beyond 64 bits it refuses, as does this.
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Number::Decimal(value)) => {
                if self.stored && value.fractional_digit_count() > 0 { Match::Unclear(ROUNDS) } else { Match::Nothing }
            }
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Number::Special) => Match::Nothing,
            (KeyType::Numeric, Number::Int(value)) => Match::Key(Key::Numeric(Cow::Owned(integral(value)))),
            (KeyType::Numeric, Number::Decimal(value)) => Match::Key(Key::Numeric(Cow::Owned(value))),
            (KeyType::Numeric, Number::Special) => Match::Unclear(SPECIAL),
            // PostgreSQL has no operator text = integer, but an INSERT writes the digits; so would the implicit casts that
            // some databases add.
            (KeyType::Text | KeyType::Bpchar, Number::Int(value)) => Match::Key(Key::Text(value.to_string().into())),
            _ => Match::Unclear(OTHER_TYPE),
        }
    }

    fn float<'a>(&self, value: Option<f64>) -> Match<'a> {
        /// Up to here every integer is a float of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        match (self.column, value) {
            (_, None) => Match::Nothing,
            (KeyType::Int2 | KeyType::Int4 | KeyType::Int8, Some(value)) => {
                if !value.is_finite() || value.abs() >= EXACT {
                    Match::Unclear(FLOAT)
                } else if value.fract() == 0.0 {
                    self.number(Number::Int(value as i64))
                } else if self.stored {
                    Match::Unclear(ROUNDS)
                } else {
                    Match::Nothing
                }
            }
            _ => Match::Unclear(FLOAT),
        }
    }

    /// A value of a string type. PostgreSQL has no operator between strings and the other key types, but a database may have
    /// been given implicit casts: then the other type's own reading is meant, and without them every shard refuses alike.
    fn string<'a>(&self, text: &'a str, oid: Oid) -> Match<'a> {
        if text.contains('\0') {
            return Match::Nothing;
        }
        match self.column {
            _ if self.is_string() => {
                if oid == oid::NAME && text.len() >= 64 {
                    return Match::Unclear("a name is cut at 63 bytes");
                }
                let blank_padded = oid == oid::BPCHAR || self.column == KeyType::Bpchar;
                if self.stored && !blank_padded && text.ends_with(' ') {
                    return Match::Unclear(TRAILING_SPACE);
                }
                let text = if blank_padded { text.trim_end_matches(' ') } else { text };
                Match::Key(Key::Text(Cow::Borrowed(text)))
            }
            _ => self.text(text, self.column.oid()),
        }
    }

    fn uuid<'a>(&self, value: u128) -> Match<'a> {
        match self.column {
            KeyType::Uuid => Match::Key(Key::Uuid(value)),
            _ => Match::Unclear(OTHER_TYPE),
        }
    }

    fn bytes<'a>(&self, bytes: Cow<'a, [u8]>) -> Match<'a> {
        match self.column {
            KeyType::Bytea => Match::Key(Key::Bytes(bytes)),
            _ => Match::Unclear(OTHER_TYPE),
        }
    }

    fn written_moment<'a>(&self, text: &str, oid: Oid) -> Match<'a> {
        let micros = |days: i32, time: Option<i64>| i64::from(days) * DAY + time.unwrap_or(0);
        let moment = match (civil::parse(text), oid) {
            (Parsed::Invalid, _) => return Match::Nothing,
            (Parsed::Unclear, _) => return Match::Unclear(DATE_FORM),
            (Parsed::Infinity, oid::DATE) => Moment::Date(i32::MAX),
            (Parsed::MinusInfinity, oid::DATE) => Moment::Date(i32::MIN),
            (Parsed::Infinity, oid::TIMESTAMP) => Moment::Local(i64::MAX),
            (Parsed::MinusInfinity, oid::TIMESTAMP) => Moment::Local(i64::MIN),
            (Parsed::Infinity, _) => Moment::Utc(i64::MAX),
            (Parsed::MinusInfinity, _) => Moment::Utc(i64::MIN),
            // A date drops the time of day it is written with, and a timestamp the offset (date_in, timestamp_in).
            (Parsed::At { days, .. }, oid::DATE) => Moment::Date(days),
            (Parsed::At { days, time, .. }, oid::TIMESTAMP) => Moment::Local(micros(days, time)),
            (Parsed::At { days, time, offset: Some(offset) }, _) => Moment::Utc(micros(days, time) - offset),
            (Parsed::At { days, time, offset: None }, _) if self.ctx.utc => Moment::Utc(micros(days, time)),
            (Parsed::At { .. }, _) => return Match::Unclear(ZONE),
        };
        self.moment(moment)
    }

    fn moment<'a>(&self, moment: Moment) -> Match<'a> {
        const ACROSS: &str =
            "a comparison between timestamps with and without time zone depends on the session's TimeZone";
        let timestamp = |micros| Match::Key(Key::Timestamp(micros));
        match (self.column, moment) {
            (KeyType::Date, Moment::Date(days)) => Match::Key(Key::Date(days)),
            (KeyType::Date, Moment::Local(micros)) => self.day_of(micros),
            (KeyType::Date, Moment::Utc(micros)) if self.ctx.utc => self.day_of(micros),
            (KeyType::Timestamp, Moment::Date(days)) => timestamp(midnight(days)),
            (KeyType::Timestamptz, Moment::Date(days)) if self.ctx.utc => timestamp(midnight(days)),
            (KeyType::Timestamp, Moment::Local(micros)) => timestamp(micros),
            (KeyType::Timestamp, Moment::Utc(micros)) if self.ctx.utc => timestamp(micros),
            (KeyType::Timestamptz, Moment::Local(micros)) if self.ctx.utc => timestamp(micros),
            (KeyType::Timestamptz, Moment::Utc(micros)) => timestamp(micros),
            (KeyType::Date | KeyType::Timestamp | KeyType::Timestamptz, _) => Match::Unclear(ACROSS),
            _ => Match::Unclear(OTHER_TYPE),
        }
    }

    /// A date equals a timestamp only at midnight; an INSERT drops the time of day.
    fn day_of<'a>(&self, micros: i64) -> Match<'a> {
        let days = match micros {
            i64::MIN => i32::MIN,
            i64::MAX => i32::MAX,
            _ if micros.rem_euclid(DAY) != 0 && !self.stored => return Match::Nothing,
            // 2^63 microseconds are 107 million days.
            _ => micros.div_euclid(DAY) as i32,
        };
        Match::Key(Key::Date(days))
    }
}

fn midnight(days: i32) -> i64 {
    match days {
        i32::MIN => i64::MIN,
        i32::MAX => i64::MAX,
        // A binary date may be beyond every timestamp, which PostgreSQL then compares as greater than all of them.
        _ => i64::from(days).saturating_mul(DAY),
    }
}

fn integral(value: i64) -> BigDecimal {
    BigDecimal::from(value).normalized()
}

fn in_range(number: Number, oid: Oid) -> Number {
    match (number, oid) {
        (Number::Int(value), oid::INT2) if i16::try_from(value).is_err() => Number::Invalid,
        (Number::Int(value), oid::INT4) if i32::try_from(value).is_err() => Number::Invalid,
        (number, _) => number,
    }
}

/// Of four bytes; the caller has counted them.
fn be_i32(bytes: &[u8]) -> i32 {
    bytes.iter().fold(0, |value, byte| value << 8 | i32::from(*byte))
}

/// Of eight bytes; the caller has counted them.
fn be_i64(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |value, byte| value << 8 | i64::from(*byte))
}

/// As `uuid_in` reads it: hex digits of either case, a hyphen allowed after each four, braces around allowed.
fn uuid(text: &str) -> Option<u128> {
    let text = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    let (mut value, mut digits, mut hyphen) = (0u128, 0, false);
    for byte in text.bytes() {
        if byte == b'-' {
            if hyphen || digits == 0 || digits % 4 != 0 || digits == 32 {
                return None;
            }
            hyphen = true;
            continue;
        }
        hyphen = false;
        value = value << 4 | u128::from(char::from(byte).to_digit(16)?);
        digits += 1;
        if digits > 32 {
            return None;
        }
    }
    (digits == 32 && !hyphen).then_some(value)
}

/// As `byteain` reads it: `\x` and hex digits, or the escape format.
fn bytea(text: &str) -> Option<Cow<'_, [u8]>> {
    if let Some(hex) = text.strip_prefix("\\x") {
        let digits: Vec<u8> = hex.bytes().filter(|byte| !matches!(byte, b' ' | b'\n' | b'\t' | b'\r')).collect();
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
        let pairs = digits.chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        });
        return pairs.collect::<Option<Vec<u8>>>().map(Cow::Owned);
    }
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => return None,
            _ => {
                bytes.push(first);
                tail
            }
        };
    }
    Some(Cow::Owned(bytes))
}

#[cfg(test)]
mod tests;
