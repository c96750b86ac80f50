//! Values as bytes that sort as PostgreSQL sorts the values, and are equal where it finds them equal.
//!
//! One form serves the order of rows, the order check, groups and DISTINCT: a row's keys are put one behind the other
//! and compared with one `memcmp`, however many there are. For that no key may be the beginning of another: a key has a
//! fixed length, or ends in something that is less than whatever else could stand there. NULL is a byte in front, DESC
//! turns every bit around.
//!
//! Where the order is not that of the bytes on the wire, the function names PostgreSQL's comparison
//! (`src/backend/utils/adt`).

use super::fault::{Fault, VALUE};
use super::numeric::{self, Numeric};

/// Appends a value's key. Fails if the bytes are not of the type.
pub(super) type Encode = fn(&[u8], &mut Vec<u8>) -> Result<(), Fault>;

/// What stands before a value's key.
const VALUE_FOLLOWS: u8 = 1;
const NULL_FIRST: u8 = 0;
const NULL_LAST: u8 = 2;

/// How a column is sorted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    /// Its type's key.
    pub encode: Encode,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

impl Order {
    /// Equality only.
    pub fn any(encode: Encode) -> Order {
        Order { encode, descending: false, nulls_first: false }
    }

    /// Appends the key of a value, or of NULL.
    pub fn append(&self, value: Option<&[u8]>, key: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(value) = value else {
            key.push(if self.nulls_first { NULL_FIRST } else { NULL_LAST });
            return Ok(());
        };
        key.push(VALUE_FOLLOWS);
        let start = key.len();
        (self.encode)(value, key)?;
        if self.descending {
            turn(&mut key[start..]);
        }
        Ok(())
    }

    /// Appends a key that the type's [`Encode`] has made already; none for NULL.
    pub fn append_encoded(&self, encoded: Option<&[u8]>, key: &mut Vec<u8>) {
        let Some(encoded) = encoded else {
            key.push(if self.nulls_first { NULL_FIRST } else { NULL_LAST });
            return;
        };
        key.push(VALUE_FOLLOWS);
        let start = key.len();
        key.extend_from_slice(encoded);
        if self.descending {
            turn(&mut key[start..]);
        }
    }
}

fn turn(key: &mut [u8]) {
    key.iter_mut().for_each(|byte| *byte = !*byte);
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Fault> {
    value.try_into().map_err(|_| VALUE)
}

/// `N` bytes that sort as they are: uuid, macaddr, oid, pg_lsn, `"char"`.
pub(super) fn unsigned<const N: usize>(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    key.extend_from_slice(&fixed::<N>(value)?);
    Ok(())
}

/// A signed number of `N` bytes: int2, int4, int8, date, time, timestamp, timestamptz, money. The infinities of dates
/// are the ends of the numbers.
pub(super) fn signed<const N: usize>(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let mut bytes = fixed::<N>(value)?;
    if let Some(first) = bytes.first_mut() {
        *first ^= 0x80;
    }
    key.extend_from_slice(&bytes);
    Ok(())
}

/// False, then true; any byte but 0 is true.
pub(super) fn boolean(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let [byte] = fixed(value)?;
    key.push(u8::from(byte != 0));
    Ok(())
}

/// `float4_cmp_internal`: NaN is greatest and equal to itself, -0 is 0.
pub(super) fn float4(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let value = f32::from_be_bytes(fixed(value)?);
    let bits = if value.is_nan() { f32::NAN.abs() } else { value + 0.0 }.to_bits();
    key.extend_from_slice(&(if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }).to_be_bytes());
    Ok(())
}

/// `float8_cmp_internal`.
pub(super) fn float8(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let value = f64::from_be_bytes(fixed(value)?);
    let bits = if value.is_nan() { f64::NAN.abs() } else { value + 0.0 }.to_bits();
    key.extend_from_slice(&(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }).to_be_bytes());
    Ok(())
}

/// `cmp_numerics`: -Infinity, numbers, Infinity, NaN. Zeros at either end of the digits and the shown scale say
/// nothing.
pub(super) fn numeric(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let (class, finite) = match numeric::read(value)? {
        Numeric::MinusInfinity => (0, None),
        Numeric::Infinity => (4, None),
        Numeric::Nan => (5, None),
        Numeric::Finite(finite) => match finite.digits().rposition(|digit| digit != 0) {
            None => (2, None),
            Some(last) => (if finite.negative { 1 } else { 3 }, Some((finite, last))),
        },
    };
    key.push(class);
    let Some((finite, last)) = finite else { return Ok(()) };
    let start = key.len();
    let zeros = finite.digits().take_while(|digit| *digit == 0).count();
    let weight = finite.weight - zeros as i32;
    key.extend_from_slice(&(weight as u32 ^ 1 << 31).to_be_bytes());
    for digit in finite.digits().take(last + 1).skip(zeros) {
        // From 1 on: the 0 at the end is less than any digit.
        key.extend_from_slice(&(digit + 1).to_be_bytes());
    }
    key.extend_from_slice(&[0, 0]);
    if finite.negative {
        turn(&mut key[start..]);
    }
    Ok(())
}

/// Bytes of any length: text under a collation that compares bytes, bytea (`byteacmp`). A shorter value that begins a
/// longer one is less.
pub(super) fn bytes(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    key.reserve(value.len() + 2);
    let mut rest = value;
    while let Some(zero) = rest.iter().position(|byte| *byte == 0) {
        key.extend_from_slice(&rest[..=zero]);
        key.push(0xff);
        rest = &rest[zero + 1..];
    }
    key.extend_from_slice(rest);
    key.extend_from_slice(&[0, 0]);
    Ok(())
}

/// `bpcharcmp`: blanks at the end say nothing.
pub(super) fn blank_padded(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let length = value.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1);
    bytes(&value[..length], key)
}

/// `timetz_cmp_internal`: the moment first, then the zone (seconds west of Greenwich).
pub(super) fn time_with_zone(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let Some((time, zone)) = value.split_first_chunk::<8>() else { return Err(VALUE) };
    let zone = i32::from_be_bytes(fixed(zone)?);
    let moment = i64::from_be_bytes(*time).checked_add(i64::from(zone) * 1_000_000).ok_or(VALUE)?;
    signed::<8>(&moment.to_be_bytes(), key)?;
    signed::<4>(&zone.to_be_bytes(), key)
}

/// `interval_cmp_value`: months of 30 days, days of 24 hours, in 128 bits. `1 mon` and `30 days` are equal.
pub(super) fn interval(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let [time @ .., d0, d1, d2, d3, m0, m1, m2, m3] = fixed::<16>(value)?;
    let (days, months) = (i32::from_be_bytes([d0, d1, d2, d3]), i32::from_be_bytes([m0, m1, m2, m3]));
    let days = i128::from(days) + 30 * i128::from(months);
    let span = i128::from(i64::from_be_bytes(time)) + days * 86_400_000_000;
    signed::<16>(&span.to_be_bytes(), key)
}

/// `network_cmp_internal`: the family, then the bits that both networks have, then the length of the network, then the
/// whole address.
pub(super) fn network(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let [family, bits, _is_cidr, length, address @ ..] = value else { return Err(VALUE) };
    if address.len() != usize::from(*length)
        || !matches!(address.len(), 4 | 16)
        || usize::from(*bits) > 8 * address.len()
    {
        return Err(VALUE);
    }
    key.push(*family);
    // A byte for each bit, so that a network sorts before the longer ones within it.
    key.extend((0..usize::from(*bits)).map(|bit| 1 + (address[bit / 8] >> (7 - bit % 8) & 1)));
    key.push(0);
    key.extend_from_slice(address);
    Ok(())
}

/// `bit_cmp`: the bits, then their number.
pub(super) fn bits(value: &[u8], key: &mut Vec<u8>) -> Result<(), Fault> {
    let Some((count, rest)) = value.split_first_chunk::<4>() else { return Err(VALUE) };
    let length = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| VALUE)?;
    if rest.len() != length.div_ceil(8) {
        return Err(VALUE);
    }
    bytes(rest, key)?;
    key.extend_from_slice(count);
    Ok(())
}

#[cfg(test)]
mod tests;
