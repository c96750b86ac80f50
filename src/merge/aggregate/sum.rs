//! `sum`: of the partial sums' type, which is the type of the whole sum too.
//!
//! Sums of floats depend on the order of the terms, in PostgreSQL as here. The shards' sums are added in the order of
//! the shards, whichever answers first, so that the same statement over the same rows has the same result.

use std::collections::BTreeMap;

use super::{Accumulator, Method, fixed};
use crate::merge::fault::{Fault, out_of_range};
use crate::merge::numeric::{self, Sum as Digits};
use crate::types::{Oid, oid};

pub(super) fn method(parts: &[Oid]) -> Option<Method> {
    match parts {
        [oid::INT8] => Some(Method::new::<Integer>(oid::INT8)),
        [oid::NUMERIC] => Some(Method::new::<Numeric>(oid::NUMERIC)),
        [oid::FLOAT4] => Some(Method::new::<Float4>(oid::FLOAT4)),
        [oid::FLOAT8] => Some(Method::new::<Float8>(oid::FLOAT8)),
        _ => None,
    }
}

/// Sums of int2 and int4 are bigint.
#[derive(Debug, Default)]
struct Integer {
    total: Option<i128>,
}

impl Accumulator for Integer {
    fn add(&mut self, _shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(part)] = parts {
            // The sum of all shards' bigints is far from 128 bits; only the result must fit.
            *self.total.get_or_insert(0) += i128::from(i64::from_be_bytes(fixed(part)?));
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        let Some(total) = self.total else { return Ok(None) };
        let total = i64::try_from(total).map_err(|_| out_of_range("bigint out of range"))?;
        Ok(Some(total.to_be_bytes().to_vec()))
    }
}

/// Sums of bigint and numeric are numeric.
#[derive(Debug, Default)]
struct Numeric {
    total: Option<Digits>,
}

impl Accumulator for Numeric {
    fn add(&mut self, _shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(part)] = parts {
            self.total.get_or_insert_default().add(numeric::read(part)?);
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        self.total.as_ref().map(|total| total.total().write()).transpose()
    }

    fn held(&self) -> usize {
        self.total.as_ref().map_or(0, Digits::held)
    }
}

/// What each shard has said, so far.
#[derive(Debug, Default)]
pub(super) struct Terms {
    terms: BTreeMap<u16, f64>,
}

impl Terms {
    /// Adds a shard's sum.
    pub fn add(&mut self, shard: u16, term: f64) -> Result<(), Fault> {
        match self.terms.get_mut(&shard) {
            Some(sum) => *sum = plus(*sum, term)?,
            None => drop(self.terms.insert(shard, term)),
        }
        Ok(())
    }

    /// The sum of all; none if there are none.
    pub fn total(&self) -> Result<Option<f64>, Fault> {
        let mut terms = self.terms.values().copied();
        let Some(first) = terms.next() else { return Ok(None) };
        terms.try_fold(first, plus).map(Some)
    }

    /// Bytes held.
    pub fn held(&self) -> usize {
        self.terms.len() * 32
    }
}

/// PostgreSQL's `float8_pl`: finite terms have a finite sum, or an error.
fn plus(one: f64, other: f64) -> Result<f64, Fault> {
    let sum = one + other;
    match sum.is_infinite() && !one.is_infinite() && !other.is_infinite() {
        true => Err(out_of_range("value out of range: overflow")),
        false => Ok(sum),
    }
}

#[derive(Debug, Default)]
struct Float8 {
    terms: Terms,
}

impl Accumulator for Float8 {
    fn add(&mut self, shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(part)] = parts {
            self.terms.add(shard, f64::from_be_bytes(fixed(part)?))?;
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.terms.total()?.map(|total| total.to_be_bytes().to_vec()))
    }

    fn held(&self) -> usize {
        self.terms.held()
    }
}

/// `float4_pl` rounds after each term.
#[derive(Debug, Default)]
struct Float4 {
    terms: BTreeMap<u16, f32>,
}

impl Accumulator for Float4 {
    fn add(&mut self, shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(part)] = parts {
            let part = f32::from_be_bytes(fixed(part)?);
            match self.terms.get_mut(&shard) {
                Some(sum) => *sum = plus4(*sum, part)?,
                None => drop(self.terms.insert(shard, part)),
            }
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        let mut terms = self.terms.values().copied();
        let Some(first) = terms.next() else { return Ok(None) };
        Ok(Some(terms.try_fold(first, plus4)?.to_be_bytes().to_vec()))
    }

    fn held(&self) -> usize {
        self.terms.len() * 32
    }
}

fn plus4(one: f32, other: f32) -> Result<f32, Fault> {
    let sum = one + other;
    match sum.is_infinite() && !one.is_infinite() && !other.is_infinite() {
        true => Err(out_of_range("value out of range: overflow")),
        false => Ok(sum),
    }
}
