//! `count(*)`, `count(x)`: the sum of the counts, and 0 of none.

use super::{Accumulator, Method, fixed};
use crate::merge::fault::{Fault, out_of_range};
use crate::types::{Oid, oid};

pub(super) fn method(parts: &[Oid]) -> Option<Method> {
    (parts == [oid::INT8]).then(|| Method::new::<Count>(oid::INT8))
}

#[derive(Debug, Default)]
struct Count {
    total: i64,
}

impl Accumulator for Count {
    fn add(&mut self, _shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(part)] = parts {
            let part = i64::from_be_bytes(fixed(part)?);
            self.total = self.total.checked_add(part).ok_or_else(|| out_of_range("bigint out of range"))?;
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(Some(self.total.to_be_bytes().to_vec()))
    }
}
