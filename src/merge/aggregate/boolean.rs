//! `bool_and`, `every`, `bool_or`.

use super::{Accumulator, Method, fixed};
use crate::merge::fault::Fault;
use crate::types::{Oid, oid};

/// `AND`, else OR.
pub(super) fn method<const AND: bool>(parts: &[Oid]) -> Option<Method> {
    (parts == [oid::BOOL]).then(|| Method::new::<Boolean<AND>>(oid::BOOL))
}

#[derive(Debug, Default)]
struct Boolean<const AND: bool> {
    all: Option<bool>,
}

impl<const AND: bool> Accumulator for Boolean<AND> {
    fn add(&mut self, _shard: u16, parts: &[Option<&[u8]>]) -> Result<bool, Fault> {
        if let [Some(part)] = parts {
            let part = fixed(part)? != [0];
            let all = self.all.get_or_insert(part);
            *all = if AND { *all && part } else { *all || part };
        }
        Ok(false)
    }

    fn result(&self) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.all.map(|all| vec![u8::from(all)]))
    }
}
