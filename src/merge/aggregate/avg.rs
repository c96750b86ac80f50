//! `avg`: the sum of the sums by the sum of the counts.
//!
//! Of integers and numerics the quotient is numeric, with PostgreSQL's choice of decimals. `avg(float4)` is
//! PostgreSQL's sum in double precision, which a shard's `sum(float4)` has lost: that is not done here, nor can a final
//! statement do it.

use super::sum::Terms;
use super::{Accumulator, Method, fixed};
use crate::merge::fault::{Fault, VALUE, out_of_range};
use crate::merge::numeric::{self, Sum as Digits};
use crate::types::{Oid, oid};

pub(super) fn method(parts: &[Oid]) -> Option<Method> {
    match parts {
        // Of int2 and int4, of int8 and numeric.
        [oid::INT8, oid::INT8] => Some(Method::new::<Exact<true>>(oid::NUMERIC)),
        [oid::NUMERIC, oid::INT8] => Some(Method::new::<Exact<false>>(oid::NUMERIC)),
        [oid::FLOAT8, oid::INT8] => Some(Method::new::<Float>(oid::FLOAT8)),
        _ => None,
    }
}

fn add_count(total: &mut i64, part: &[u8]) -> Result<(), Fault> {
    let part = i64::from_be_bytes(fixed(part)?);
    if part < 0 {
        return Err(VALUE);
    }
    *total = total.checked_add(part).ok_or_else(|| out_of_range("bigint out of range"))?;
    Ok(())
}

/// Sums are bigint if `INTEGER`, else numeric.
#[derive(Debug, Default)]
struct Exact<const INTEGER: bool> {
    sum: Digits,
    count: i64,
}

impl<const INTEGER: bool> Accumulator for Exact<INTEGER> {
    fn add(&mut self, _shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(sum), Some(count)] = parts {
            match INTEGER {
                true => self.sum.add_integer(i64::from_be_bytes(fixed(sum)?)),
                false => self.sum.add(numeric::read(sum)?),
            }
            add_count(&mut self.count, count)?;
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        match self.count {
            0 => Ok(None),
            count => self.sum.total().divide(count.unsigned_abs()).write().map(Some),
        }
    }

    fn held(&self) -> usize {
        self.sum.held()
    }
}

#[derive(Debug, Default)]
struct Float {
    sum: Terms,
    count: i64,
}

impl Accumulator for Float {
    fn add(&mut self, shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(sum), Some(count)] = parts {
            self.sum.add(shard, f64::from_be_bytes(fixed(sum)?))?;
            add_count(&mut self.count, count)?;
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        if self.count == 0 {
            return Ok(None);
        }
        // `float8_avg` divides by the count as a float. Its sum begins with zero, so that minus zero alone does not stay one.
        Ok(self.sum.total()?.map(|sum| ((sum + 0.0) / self.count as f64).to_be_bytes().to_vec()))
    }

    fn held(&self) -> usize {
        self.sum.held()
    }
}
