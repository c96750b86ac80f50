//! Integers and numerics in PostgreSQL's text and binary forms.
//!
//! The text rules are those of `pg_strtoint64` and `numeric_in` (`src/backend/utils/adt/numutils.c`, `numeric.c`) in
//! PostgreSQL 15; what version 16 added (`0x1F`, `1_000`) is unclear, because the answer depends on the server.

use std::str::FromStr;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, ToPrimitive, Zero};

/// Longer numerics are left to PostgreSQL: reading decimal digits takes time quadratic in their number.
const MAX_NUMERIC_LENGTH: usize = 1_000;

/// A number as text or bytes say it.
#[derive(Debug, Clone, PartialEq)]
pub enum Number {
    /// Integral and within 64 bits.
    Int(i64),
    /// Anything else that is finite, normalised.
    Decimal(BigDecimal),
    /// `NaN` or an infinity.
    Special,
    /// PostgreSQL refuses it.
    Invalid,
    /// PostgreSQL may read it in a way of its own.
    Unclear,
}

fn trim(text: &str) -> &str {
    // C's isspace(): Rust's ASCII white space and the vertical tab.
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

/// Reads the text form of an integer; range checks are the caller's.
pub fn integer(text: &str) -> Number {
    let text = trim(text);
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_or(Number::Invalid, Number::Int);
    }
    if is_modern(digits) { Number::Unclear } else { Number::Invalid }
}

/// The spellings that PostgreSQL reads from version 16 on.
fn is_modern(digits: &str) -> bool {
    let bytes = digits.as_bytes();
    let radix = bytes.len() > 2 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X' | b'o' | b'O' | b'b' | b'B');
    radix || (digits.contains('_') && bytes.first().is_some_and(u8::is_ascii_digit))
}

/// Reads the text form of a numeric, or a number literal.
pub fn numeric(text: &str) -> Number {
    let text = trim(text);
    if let Ok(value) = text.parse() {
        // Rust and PostgreSQL agree on sign and digits.
        return Number::Int(value);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if ["nan", "inf", "infinity"].iter().any(|word| unsigned.eq_ignore_ascii_case(word)) {
        return Number::Special;
    }
    if !is_decimal(unsigned) {
        return if is_modern(unsigned) { Number::Unclear } else { Number::Invalid };
    }
    if text.len() > MAX_NUMERIC_LENGTH || exponent(unsigned).is_none_or(|exponent| exponent.abs() > 1_000) {
        return Number::Unclear;
    }
    BigDecimal::from_str(text).map_or(Number::Unclear, decimal)
}

/// Digits, at most one point among them, and perhaps an exponent.
fn is_decimal(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_ok = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    (!whole.is_empty() || !fraction.is_empty()) && all_digits(whole) && all_digits(fraction) && exponent_ok
}

/// `None` if it does not fit.
fn exponent(unsigned: &str) -> Option<i32> {
    unsigned.find(['e', 'E']).map_or(Some(0), |at| unsigned[at + 1..].parse().ok())
}

/// The canonical form of a decimal.
pub fn decimal(value: BigDecimal) -> Number {
    if value.is_zero() {
        return Number::Int(0);
    }
    let value = value.normalized();
    if value.fractional_digit_count() <= 0
        && let Some(int) = value.to_i64()
    {
        return Number::Int(int);
    }
    Number::Decimal(value)
}

/// Reads the binary form of a numeric (`numeric_send`): digits of base 10,000.
pub fn numeric_from_bytes(bytes: &[u8]) -> Number {
    let word = |index: usize| bytes.get(2 * index..2 * index + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let (Some(count), Some(weight), Some(sign), Some(_)) = (word(0), word(1), word(2), word(3)) else {
        return Number::Invalid;
    };
    if bytes.len() != 8 + 2 * usize::from(count) {
        return Number::Invalid;
    }
    let sign = match sign {
        0x0000 => Sign::Plus,
        0x4000 => Sign::Minus,
        0xC000 | 0xD000 | 0xF000 => return Number::Special,
        _ => return Number::Invalid,
    };
    if usize::from(count) * 4 > MAX_NUMERIC_LENGTH {
        return Number::Unclear;
    }
    let mut value = BigInt::zero();
    for index in 0..usize::from(count) {
        match word(4 + index) {
            Some(digit) if digit < 10_000 => value = value * 10_000 + digit,
            _ => return Number::Invalid,
        }
    }
    if sign == Sign::Minus {
        value = -value;
    }
    let weight = i64::from(weight as i16);
    if weight.abs() > 300 {
        return Number::Unclear;
    }
    decimal(BigDecimal::new(value, 4 * (i64::from(count) - 1 - weight)))
}
