//! `bit_and`, `bit_or`, `bit_xor`: byte by byte, which in integers and bit strings alike is bit by bit.

use super::{Accumulator, Method, Outcome};
use crate::error::PgError;
use crate::merge::fault::{Fault, VALUE};
use crate::merge::text::BIT;
use crate::sqlstate::SqlState;
use crate::types::{Oid, oid};

/// `word` is the operation's name in PostgreSQL's error.
pub(super) fn method(parts: &[Oid], operation: fn(u8, u8) -> u8, word: &'static str) -> Option<Method> {
    let (oid, length) = match parts {
        [oid::INT2] => (oid::INT2, Some(2)),
        [oid::INT4] => (oid::INT4, Some(4)),
        [oid::INT8] => (oid::INT8, Some(8)),
        [BIT] => (BIT, None),
        _ => return None,
    };
    let open = move || -> Box<dyn Accumulator> { Box::new(Bits { operation, word, length, all: None }) };
    Some(Method { outcome: Outcome::Value(oid), open: Box::new(open) })
}

#[derive(Debug)]
struct Bits {
    operation: fn(u8, u8) -> u8,
    word: &'static str,
    /// Of an integer; none of a bit string, which begins with its number of bits.
    length: Option<usize>,
    all: Option<Vec<u8>>,
}

impl Accumulator for Bits {
    fn add(&mut self, _shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        let [Some(part)] = parts else { return Ok(false) };
        let count = match self.length {
            Some(length) if part.len() == length => 0,
            Some(_) => return Err(VALUE),
            None => bit_string(part)?,
        };
        let Some(all) = &mut self.all else {
            self.all = Some(part.to_vec());
            return Ok(false);
        };
        // A bit string's number of bits is not one of them.
        if all.len() != part.len() || all.get(..count) != part.get(..count) {
            let message = format!("cannot {} bit strings of different sizes", self.word);
            return Err(PgError::new(SqlState::STRING_DATA_LENGTH_MISMATCH, message).into());
        }
        for (byte, other) in all[count..].iter_mut().zip(&part[count..]) {
            *byte = (self.operation)(*byte, *other);
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.all.clone())
    }

    fn held(&self) -> usize {
        self.all.as_ref().map_or(0, Vec::len)
    }
}

/// Checks a bit string; how many bytes its number of bits takes.
fn bit_string(value: &[u8]) -> Result<usize, Fault> {
    let (count, bits) = value.split_first_chunk::<4>().ok_or(VALUE)?;
    let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| VALUE)?;
    if bits.len() == count.div_ceil(8) { Ok(4) } else { Err(VALUE) }
}
