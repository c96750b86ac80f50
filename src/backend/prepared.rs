//! Which prepared statements a server connection has.
//!
//! Statements are virtual: each has one id in all of Goldseam, and a connection learns it when it first needs it. A server keeps
//! a plan for each in memory, so that their number per connection is bounded; the one not used for longest is closed.

use std::hash::{BuildHasherDefault, Hasher};

use lru::LruCache;

/// The ids of the statements a connection has, with a limit.
#[derive(Debug)]
pub struct Prepared {
    /// Unbounded, because a bounded one reserves room for its limit at once, on every connection.
    known: LruCache<u64, (), BuildHasherDefault<Spread>>,
    limit: usize,
}

impl Prepared {
    /// None yet, and at most `limit` (at least 1).
    pub fn new(limit: usize) -> Self {
        Prepared { known: LruCache::unbounded_with_hasher(BuildHasherDefault::default()), limit: limit.max(1) }
    }

    /// Whether the connection has this statement; a yes counts as a use.
    pub fn has(&mut self, id: u64) -> bool {
        self.known.get(&id).is_some()
    }

    /// Notes a statement that is about to be parsed; the id that comes back must be closed on the server.
    pub fn insert(&mut self, id: u64) -> Option<u64> {
        self.known.put(id, ());
        if self.known.len() > self.limit { self.known.pop_lru().map(|(evicted, ())| evicted) } else { None }
    }

    /// Notes that a statement is gone, or that its Parse failed.
    pub fn remove(&mut self, id: u64) -> bool {
        self.known.pop(&id).is_some()
    }

    /// Notes that all are gone (`DISCARD ALL`, `DEALLOCATE ALL`).
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// Ids are our own counters, chosen by nobody else: one multiplication spreads them well enough.
#[derive(Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(self.0 ^ u64::from(byte)));
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_not_used_for_longest_makes_room() {
        let mut prepared = Prepared::new(2);
        assert_eq!((prepared.insert(1), prepared.insert(2)), (None, None));
        assert!(prepared.has(1));
        assert_eq!(prepared.insert(3), Some(2));
        assert_eq!(prepared.insert(3), None);
        assert!(prepared.has(1) && prepared.has(3) && !prepared.has(2));
        assert!(prepared.remove(1) && !prepared.remove(1));
        prepared.clear();
        assert!(prepared.is_empty());
    }
}
