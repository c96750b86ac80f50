//! Results of our own in the client's text format.
//!
//! Only types whose text no setting changes are printed here; of floats only the shortest text, which they have unless
//! `extra_float_digits` is set to less than 1. All else is left to a server.

use super::fault::{Fault, VALUE};
use super::{float, numeric};
use crate::types::{Oid, oid};

/// Whether results of the type can be printed.
pub(super) fn is_printable(oid: Oid, rounded_floats: bool) -> bool {
    match oid {
        oid::BOOL | oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC | BIT => true,
        oid::FLOAT4 | oid::FLOAT8 => !rounded_floats,
        _ => false,
    }
}

/// `bit`.
pub(super) const BIT: Oid = 1560;

/// The text form of a result in its binary form.
pub(super) fn print(oid: Oid, value: &[u8]) -> Result<Vec<u8>, Fault> {
    fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], Fault> {
        value.try_into().map_err(|_| VALUE)
    }
    let text = match oid {
        oid::BOOL => if fixed(value)? == [0] { "f" } else { "t" }.to_owned(),
        oid::INT2 => i16::from_be_bytes(fixed(value)?).to_string(),
        oid::INT4 => i32::from_be_bytes(fixed(value)?).to_string(),
        oid::INT8 => i64::from_be_bytes(fixed(value)?).to_string(),
        oid::NUMERIC => numeric::text(value)?,
        oid::FLOAT4 => float::float4(f32::from_be_bytes(fixed(value)?)),
        oid::FLOAT8 => float::float8(f64::from_be_bytes(fixed(value)?)),
        BIT => {
            let Some((count, bits)) = value.split_first_chunk::<4>() else { return Err(VALUE) };
            let bit = |index: usize| bits.get(index / 8).is_some_and(|byte| byte >> (7 - index % 8) & 1 == 1);
            (0..u32::from_be_bytes(*count) as usize).map(|index| if bit(index) { '1' } else { '0' }).collect()
        }
        _ => return Err(VALUE),
    };
    Ok(text.into_bytes())
}
