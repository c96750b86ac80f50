//! `min` and `max`: the row with the least or greatest key wins, and its visible value is the result as it came.

use std::cmp::Ordering;

use super::{Accumulator, Method, Outcome};
use crate::merge::fault::Fault;
use crate::merge::key::Encode;
use crate::merge::types;
use crate::types::Oid;

pub(super) fn method(parts: &[Oid], bytewise: bool, greatest: bool) -> Option<Method> {
    let &[oid] = parts else { return None };
    let encode = types::order(oid, bytewise)?;
    let wins = if greatest { Ordering::Greater } else { Ordering::Less };
    let open = move || -> Box<dyn Accumulator> { Box::new(Extreme { encode, wins, key: None, scratch: Vec::new() }) };
    Some(Method { outcome: Outcome::Row(oid), open: Box::new(open) })
}

#[derive(Debug)]
struct Extreme {
    encode: Encode,
    wins: Ordering,
    key: Option<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Accumulator for Extreme {
    fn add(&mut self, _shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        let [Some(part)] = parts else { return Ok(false) };
        self.scratch.clear();
        (self.encode)(part, &mut self.scratch)?;
        let wins = self.key.as_ref().is_none_or(|key| self.scratch.cmp(key) == self.wins);
        if wins {
            self.key = Some(std::mem::take(&mut self.scratch));
        }
        Ok(wins)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.key.clone())
    }

    fn held(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::capacity) + self.scratch.capacity()
    }
}
