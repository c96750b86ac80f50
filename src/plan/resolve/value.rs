//! The value of one literal or parameter, with the sign and the cast that the statement gives it, or why it is unclear.

use std::borrow::Cow;

use super::super::{Arithmetic, KeySource, Origin, Values};
use crate::types::{KeyType, Oid, Raw, oid};

impl KeySource {
    /// A value without a type of its own, of which the planner was not sure that it has the column's: is it the same in all types?
    pub(in crate::plan) fn check(&self, values: &dyn Values, column: KeyType) -> Result<(), &'static str> {
        const OTHER: &str = "the statement may give it another type than the column's";
        if !self.doubtful {
            return Ok(());
        }
        let raw = match &self.origin {
            Origin::Literal(index) => values.literal(*index),
            Origin::Parameter(index) => values.parameter(*index),
            Origin::Constant(_) | Origin::Arithmetic(_) => None,
        };
        let same = match raw {
            None | Some(Raw::Null) => true,
            Some(Raw::Text { oid, .. } | Raw::Binary { oid, .. }) if oid != oid::UNSPECIFIED && oid != oid::UNKNOWN => {
                true
            }
            Some(Raw::Binary { .. }) => false,
            Some(Raw::Text { text, .. }) => match column {
                KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => text.parse::<i64>().is_ok(),
                // char(n) loses spaces, a name is cut at 63 bytes.
                KeyType::Text => !text.ends_with(char::is_whitespace) && text.len() < 64,
                KeyType::Uuid => true,
                _ => false,
            },
        };
        if same { Ok(()) } else { Err(OTHER) }
    }

    /// The value of this execution, with its sign and the type it is cast to; the error says why it is unclear.
    pub(in crate::plan) fn value<'v>(&'v self, values: &'v dyn Values) -> Result<Raw<'v>, &'static str> {
        let raw = match &self.origin {
            Origin::Literal(index) => values.literal(*index).ok_or("this kind of literal is not read as a key")?,
            Origin::Parameter(index) => values.parameter(*index).ok_or("its value is not known")?,
            Origin::Constant(raw) => raw.clone(),
            Origin::Arithmetic(terms) => {
                let (left, operation, right) = &**terms;
                let (left, right) = (left.integer(values)?, right.integer(values)?);
                let result = match operation {
                    Arithmetic::Add => left.checked_add(right),
                    Arithmetic::Subtract => left.checked_sub(right),
                    Arithmetic::Multiply => left.checked_mul(right),
                };
                let result = result.ok_or("the result is beyond 64 bits")?;
                Raw::Text { text: Cow::Owned(result.to_string()), oid: oid::INT8 }
            }
        };
        let raw = match self.cast {
            Some(cast) => convert(raw, cast)?,
            None => raw,
        };
        if self.negate { negated(raw) } else { Ok(raw) }
    }
}

impl KeySource {
    fn integer(&self, values: &dyn Values) -> Result<i64, &'static str> {
        match self.value(values)? {
            Raw::Text { text, .. } => text.parse().map_err(|_| "only arithmetic on integers is folded"),
            _ => Err("only arithmetic on integers is folded"),
        }
    }
}

fn is_integer(oid: Oid) -> bool {
    matches!(oid, oid::INT2 | oid::INT4 | oid::INT8)
}

fn is_text(oid: Oid) -> bool {
    matches!(oid, oid::TEXT | oid::VARCHAR)
}

/// `x::type`. What has no type yet is read as that type; what has one may change its value, unless the types are kin.
fn convert(raw: Raw<'_>, cast: Oid) -> Result<Raw<'_>, &'static str> {
    const CHANGES: &str = "the cast may change the value";
    match raw {
        Raw::Null => Ok(Raw::Null),
        Raw::Text { text, oid } => match oid {
            oid::UNSPECIFIED | oid::UNKNOWN => Ok(Raw::Text { text, oid: cast }),
            _ if oid == cast || (is_integer(oid) && is_integer(cast)) || (is_text(oid) && is_text(cast)) => {
                Ok(Raw::Text { text, oid: cast })
            }
            oid::NUMERIC if is_integer(cast) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Raw::Text { text, oid: cast })
            }
            _ => Err(CHANGES),
        },
        Raw::Binary { bytes, oid } => match oid {
            oid::UNSPECIFIED => Ok(Raw::Binary { bytes, oid: cast }),
            _ if oid == cast || (is_integer(oid) && is_integer(cast)) || (is_text(oid) && is_text(cast)) => {
                Ok(Raw::Binary { bytes, oid })
            }
            _ => Err(CHANGES),
        },
    }
}

fn negated(raw: Raw<'_>) -> Result<Raw<'_>, &'static str> {
    match raw {
        Raw::Null => Ok(Raw::Null),
        Raw::Text { text, oid } if oid == oid::NUMERIC || is_integer(oid) => {
            let text = text.trim();
            let text = match text.strip_prefix('-') {
                Some(positive) => positive.to_owned(),
                None => format!("-{}", text.strip_prefix('+').unwrap_or(text)),
            };
            Ok(Raw::Text { text: Cow::Owned(text), oid })
        }
        _ => Err("its sign is changed by the statement"),
    }
}
