//! Errors that clients saw, by SQLSTATE.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::sqlstate::SqlState;

/// A server's functions can raise any code; each is a time series. PostgreSQL's own list has some 260.
const MOST: usize = 400;
/// What stands for the codes beyond that.
const OTHERS: [u8; 5] = *b"other";

/// Whose word an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A server's.
    Server,
    /// Goldseam's own.
    Goldseam,
}

impl Source {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Server => "server",
            Source::Goldseam => "goldseam",
        }
    }
}

/// How many of each.
#[derive(Debug, Default)]
pub struct Errors {
    counts: Mutex<BTreeMap<(Source, [u8; 5]), u64>>,
}

impl Errors {
    /// One more.
    pub fn add(&self, source: Source, code: SqlState) {
        let mut counts = self.counts.lock();
        // What a broken server sends must not become a label.
        let known = code.0.iter().all(u8::is_ascii_alphanumeric);
        let key = (source, code.0);
        let key = if known && (counts.len() < MOST || counts.contains_key(&key)) { key } else { (source, OTHERS) };
        *counts.entry(key).or_default() += 1;
    }

    /// All that came, and how often.
    pub fn list(&self) -> Vec<(Source, String, u64)> {
        let counts = self.counts.lock();
        let text = |code: &[u8; 5]| String::from_utf8_lossy(code).into_owned();
        counts.iter().map(|((source, code), count)| (*source, text(code), *count)).collect()
    }

    /// How many there were.
    pub fn total(&self) -> u64 {
        self.counts.lock().values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_codes_is_bounded() {
        let errors = Errors::default();
        for n in 0..2_000 {
            let code: [u8; 5] = format!("{n:05}").into_bytes().try_into().unwrap();
            errors.add(Source::Server, SqlState(code));
        }
        errors.add(Source::Goldseam, SqlState(*b"\"}\n{x"));
        assert_eq!(errors.total(), 2_001);
        let list = errors.list();
        assert!(list.len() <= MOST + 2);
        assert!(list.contains(&(Source::Goldseam, "other".into(), 1)));
    }
}
