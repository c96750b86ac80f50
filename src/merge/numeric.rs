//! Exact decimal arithmetic on PostgreSQL's own form of numeric: digits of base 10,000 (`numeric_send`,
//! `src/backend/utils/adt/numeric.c`).
//!
//! Sums never divide and averages divide by a count, so no general arithmetic is needed: digits are added column by
//! column without carries, which come once at the end, and a divisor below 2^64 is divided by as on paper. Both take
//! time linear in the digits, so a thousand of them are as exact as one. The scale of a quotient follows PostgreSQL's
//! rule (`select_div_scale`): at least 16 significant digits, and no fewer decimals than the operands have.

use std::fmt::Write as _;

use super::fault::{Fault, VALUE, out_of_range};

const BASE: i64 = 10_000;
/// Decimal digits in one digit of base 10,000.
const WIDTH: i32 = 4;
/// Quotients have at least so many significant digits (`NUMERIC_MIN_SIG_DIGITS`).
const MIN_SIGNIFICANT: i32 = 16;
/// The most decimals that a quotient has (`NUMERIC_MAX_DISPLAY_SCALE`).
const MAX_QUOTIENT_SCALE: i32 = 1_000;
/// The most decimals of all (`NUMERIC_DSCALE_MAX`).
const MAX_SCALE: u16 = 0x3fff;

/// A numeric as it came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Numeric<'a> {
    /// Not a number: equal to itself, and greater than all else.
    Nan,
    /// Infinity.
    Infinity,
    /// -Infinity.
    MinusInfinity,
    /// Anything else.
    Finite(Finite<'a>),
}

/// A finite numeric, still in its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Finite<'a> {
    /// Below zero; zero is not.
    pub negative: bool,
    /// The first digit counts 10,000 to this power.
    pub weight: i32,
    /// Decimals that are shown.
    pub scale: u16,
    digits: &'a [u8],
}

impl<'a> Finite<'a> {
    /// From the most significant one.
    pub fn digits(&self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator + 'a {
        self.digits.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

/// Reads the binary form and checks all of it.
pub(super) fn read(bytes: &[u8]) -> Result<Numeric<'_>, Fault> {
    let Some((&[n0, n1, w0, w1, s0, s1, d0, d1], digits)) = bytes.split_first_chunk::<8>() else { return Err(VALUE) };
    let (count, scale) = (u16::from_be_bytes([n0, n1]), u16::from_be_bytes([d0, d1]));
    let negative = match u16::from_be_bytes([s0, s1]) {
        0x0000 => false,
        0x4000 => true,
        0xc000 => return Ok(Numeric::Nan),
        0xd000 => return Ok(Numeric::Infinity),
        0xf000 => return Ok(Numeric::MinusInfinity),
        _ => return Err(VALUE),
    };
    if digits.len() != 2 * usize::from(count) || scale > MAX_SCALE {
        return Err(VALUE);
    }
    let finite = Finite { negative, weight: i16::from_be_bytes([w0, w1]).into(), scale, digits };
    if finite.digits().any(|digit| i64::from(digit) >= BASE) {
        return Err(VALUE);
    }
    Ok(Numeric::Finite(finite))
}

/// A numeric of our own, without zeros at either end of its digits.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Decimal {
    /// Not a number.
    Nan,
    /// Infinity, below zero if so.
    Infinite { negative: bool },
    /// Anything else. Zero has no digits.
    Finite {
        /// Below zero.
        negative: bool,
        /// Of the first digit.
        weight: i32,
        /// Base 10,000, from the most significant one.
        digits: Vec<u16>,
        /// Decimals that are shown.
        scale: u16,
    },
}

impl Decimal {
    /// Strips the zeros. `digits` may begin and end with some.
    fn new(negative: bool, weight: i32, mut digits: Vec<u16>, scale: u16) -> Decimal {
        let significant = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        digits.truncate(significant);
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        match digits.is_empty() {
            true => Decimal::Finite { negative: false, weight: 0, digits, scale },
            false => Decimal::Finite { negative, weight: weight - zeros as i32, digits, scale },
        }
    }

    /// The binary form.
    pub fn write(&self) -> Result<Vec<u8>, Fault> {
        let (sign, weight, digits, scale): (u16, i32, &[u16], u16) = match self {
            Decimal::Nan => (0xc000, 0, &[], 0),
            // The scale is what `numeric_send` makes of an infinity's header.
            Decimal::Infinite { negative: false } => (0xd000, 0, &[], 0x20),
            Decimal::Infinite { negative: true } => (0xf000, 0, &[], 0x20),
            Decimal::Finite { negative, weight, digits, scale } => {
                (if *negative { 0x4000 } else { 0 }, *weight, digits, *scale)
            }
        };
        // Read as unsigned by `numeric_recv`: a full-sized number with a full-sized fraction has more than 32,767
        // digits.
        let (Ok(count), Ok(weight)) = (u16::try_from(digits.len()), i16::try_from(weight)) else {
            return Err(out_of_range("value overflows numeric format"));
        };
        let mut bytes = Vec::with_capacity(8 + 2 * digits.len());
        for word in [count, weight as u16, sign, scale].iter().chain(digits) {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        Ok(bytes)
    }

    /// The average of `count` values with this sum, as PostgreSQL divides numerics.
    pub fn divide(&self, count: u64) -> Decimal {
        let Decimal::Finite { negative, weight, digits, scale } = self else { return self.clone() };
        let quotient_scale = division_scale(*weight, digits, *scale, count);
        // One digit of base 10,000 beyond the last decimal is enough to round by: what follows it cannot change the
        // half.
        let last = -(quotient_scale / WIDTH) - 2;
        let mut quotient = Vec::with_capacity((weight - last + 1).max(0) as usize);
        let mut rest: u128 = 0;
        for index in 0..(weight - last + 1).max(0) as usize {
            let digit = digits.get(index).copied().unwrap_or(0);
            rest = rest * BASE as u128 + u128::from(digit);
            quotient.push((rest / u128::from(count)) as u16);
            rest %= u128::from(count);
        }
        let (weight, quotient) = round(*weight, quotient, quotient_scale);
        Decimal::new(*negative, weight, quotient, quotient_scale as u16)
    }
}

/// The decimals of a quotient: PostgreSQL's `select_div_scale`, for a whole divisor.
fn division_scale(weight: i32, digits: &[u16], scale: u16, divisor: u64) -> i32 {
    let (weight, first) = digits.first().map_or((0, 0), |first| (weight, u64::from(*first)));
    let (mut divisor_weight, mut divisor_first) = (0, divisor);
    while divisor_first >= BASE as u64 {
        divisor_first /= BASE as u64;
        divisor_weight += 1;
    }
    // The quotient's weight, at the least.
    let quotient_weight = weight - divisor_weight - i32::from(first <= divisor_first);
    (MIN_SIGNIFICANT - quotient_weight * WIDTH).max(scale.into()).clamp(0, MAX_QUOTIENT_SCALE)
}

/// Rounds to so many decimals, halves away from zero. The digits go beyond that.
fn round(mut weight: i32, mut digits: Vec<u16>, scale: i32) -> (i32, Vec<u16>) {
    // The digit in which the first dropped decimal stands, counted from the digits' start; it may lie before them.
    let at = weight + 1 + scale / WIDTH;
    let Ok(at) = usize::try_from(at) else { return (weight, Vec::new()) };
    let Some(digit) = digits.get(at).copied() else { return (weight, digits) };
    digits.truncate(at + 1);
    let unit = 10_u16.pow((WIDTH - scale % WIDTH) as u32);
    let rest = digit % unit;
    digits[at] = digit - rest;
    if rest >= unit / 2 {
        let mut carry = unit;
        for digit in digits.iter_mut().rev() {
            let sum = *digit + carry;
            carry = sum / BASE as u16;
            *digit = sum % BASE as u16;
            if carry == 0 {
                break;
            }
        }
        if carry > 0 {
            digits.insert(0, carry);
            weight += 1;
        }
    }
    (weight, digits)
}

/// A running sum, whose digits are carried over only at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum {
    /// Of the first column.
    weight: i32,
    /// Each far below 2^63: a column would need 9 * 10^14 terms to overflow.
    columns: Vec<i64>,
    scale: u16,
    nan: bool,
    infinity: bool,
    minus_infinity: bool,
}

impl Sum {
    /// Adds a numeric.
    pub fn add(&mut self, value: Numeric<'_>) {
        match value {
            Numeric::Nan => self.nan = true,
            Numeric::Infinity => self.infinity = true,
            Numeric::MinusInfinity => self.minus_infinity = true,
            Numeric::Finite(finite) => {
                self.scale = self.scale.max(finite.scale);
                self.add_digits(finite);
            }
        }
    }

    /// Adds a whole number.
    pub fn add_integer(&mut self, value: i64) {
        let mut bytes = [0; 10];
        let mut rest = value.unsigned_abs();
        for pair in bytes.chunks_exact_mut(2).rev() {
            pair.copy_from_slice(&((rest % BASE as u64) as u16).to_be_bytes());
            rest /= BASE as u64;
        }
        self.add_digits(Finite { negative: value < 0, weight: 4, scale: 0, digits: &bytes });
    }

    fn add_digits(&mut self, finite: Finite<'_>) {
        let digits = finite.digits();
        if digits.len() == 0 {
            return;
        }
        if self.columns.is_empty() {
            self.weight = finite.weight;
        }
        if finite.weight > self.weight {
            let more = (finite.weight - self.weight) as usize;
            self.columns.splice(..0, std::iter::repeat_n(0, more));
            self.weight = finite.weight;
        }
        let start = (self.weight - finite.weight) as usize;
        if self.columns.len() < start + digits.len() {
            self.columns.resize(start + digits.len(), 0);
        }
        for (column, digit) in self.columns[start..].iter_mut().zip(digits) {
            *column += if finite.negative { -i64::from(digit) } else { i64::from(digit) };
        }
    }

    /// Bytes that it holds.
    pub fn held(&self) -> usize {
        self.columns.len() * size_of::<i64>()
    }

    /// The sum; its scale is the greatest of its terms'.
    pub fn total(&self) -> Decimal {
        if self.nan || (self.infinity && self.minus_infinity) {
            return Decimal::Nan;
        }
        if self.infinity || self.minus_infinity {
            return Decimal::Infinite { negative: self.minus_infinity };
        }
        let (carry, digits) = carried(self.columns.iter().copied());
        let (negative, (mut carry, mut digits)) = match carry < 0 {
            true => (true, carried(self.columns.iter().map(|column| -column))),
            false => (false, (carry, digits)),
        };
        let mut weight = self.weight;
        while carry > 0 {
            digits.insert(0, (carry % BASE) as u16);
            carry /= BASE;
            weight += 1;
        }
        Decimal::new(negative, weight, digits, self.scale)
    }
}

/// Columns with their carries done, and what is carried out of the first one: below zero if all of it is.
fn carried(columns: impl DoubleEndedIterator<Item = i64> + ExactSizeIterator) -> (i64, Vec<u16>) {
    let mut digits = vec![0; columns.len()];
    let mut carry = 0;
    for (digit, column) in digits.iter_mut().rev().zip(columns.rev()) {
        let sum = column + carry;
        *digit = sum.rem_euclid(BASE) as u16;
        carry = sum.div_euclid(BASE);
    }
    (carry, digits)
}

/// The text form of the binary form.
pub(super) fn text(bytes: &[u8]) -> Result<String, Fault> {
    let finite = match read(bytes)? {
        Numeric::Nan => return Ok("NaN".to_owned()),
        Numeric::Infinity => return Ok("Infinity".to_owned()),
        Numeric::MinusInfinity => return Ok("-Infinity".to_owned()),
        Numeric::Finite(finite) => finite,
    };
    let digits: Vec<u16> = finite.digits().collect();
    let at = |place: i32| usize::try_from(finite.weight - place).ok().and_then(|index| digits.get(index)).copied();
    let mut text = String::with_capacity(digits.len() * WIDTH as usize + 8);
    if finite.negative {
        text.push('-');
    }
    // Writing into a String cannot fail.
    let _ = write!(text, "{}", if finite.weight >= 0 { at(finite.weight).unwrap_or(0) } else { 0 });
    for place in (0..finite.weight.max(0)).rev() {
        let _ = write!(text, "{:04}", at(place).unwrap_or(0));
    }
    if finite.scale > 0 {
        text.push('.');
        let end = text.len() + usize::from(finite.scale);
        let mut place = -1;
        while text.len() < end {
            let _ = write!(text, "{:04}", at(place).unwrap_or(0));
            place -= 1;
        }
        text.truncate(end);
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
