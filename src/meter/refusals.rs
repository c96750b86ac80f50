//! What was not answered: the statements for which somebody has to change something.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::SystemTime;

use lru::LruCache;
use parking_lot::Mutex;

use crate::sqlstate::SqlState;

/// Distinct refusals that are remembered; the ones not seen for longest are forgotten.
const MOST: usize = 1_000;

/// One kind of refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The error's code.
    pub code: SqlState,
    /// The error's message.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
    /// The statement without its literals.
    pub statement: String,
    /// How often.
    pub count: u64,
    /// When last.
    pub last: SystemTime,
}

/// The register.
#[derive(Debug)]
pub struct Refusals {
    /// Goldseam's own codes: a few.
    by_code: Mutex<HashMap<SqlState, u64>>,
    seen: Mutex<LruCache<(SqlState, String, String), Seen>>,
}

#[derive(Debug)]
struct Seen {
    count: u64,
    last: SystemTime,
    hint: Option<String>,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals {
            by_code: Mutex::default(),
            seen: Mutex::new(LruCache::new(NonZeroUsize::new(MOST).unwrap_or(NonZeroUsize::MIN))),
        }
    }
}

impl Refusals {
    /// One more.
    pub fn add(&self, code: SqlState, message: &str, hint: Option<&str>, statement: String) {
        *self.by_code.lock().entry(code).or_default() += 1;
        let mut seen = self.seen.lock();
        let hint = hint.map(str::to_owned);
        let entry = seen.get_or_insert_mut((code, message.to_owned(), statement), || Seen {
            count: 0,
            last: SystemTime::now(),
            hint,
        });
        entry.count += 1;
        entry.last = SystemTime::now();
    }

    /// How many of each code, forgotten ones among them.
    pub fn by_code(&self) -> Vec<(SqlState, u64)> {
        self.by_code.lock().iter().map(|(code, count)| (*code, *count)).collect()
    }

    /// All, the most frequent first.
    pub fn list(&self) -> Vec<Refusal> {
        let seen = self.seen.lock();
        let mut all: Vec<Refusal> = seen
            .iter()
            .map(|((code, message, statement), seen)| Refusal {
                code: *code,
                message: message.clone(),
                hint: seen.hint.clone(),
                statement: statement.clone(),
                count: seen.count,
                last: seen.last,
            })
            .collect();
        drop(seen);
        all.sort_by(|one, other| (other.count, &one.statement).cmp(&(one.count, &other.statement)));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_refusals_are_one_and_their_number_is_bounded() {
        let refusals = Refusals::default();
        for n in 0..5_000 {
            refusals.add(SqlState::FEATURE_NOT_SUPPORTED, "m", None, format!("statement {n}"));
            refusals.add(SqlState::FEATURE_NOT_SUPPORTED, "m", Some("h"), "often".into());
        }
        let list = refusals.list();
        assert_eq!(refusals.by_code(), [(SqlState::FEATURE_NOT_SUPPORTED, 10_000)]);
        assert_eq!((list.len(), list[0].count, list[0].statement.as_str()), (MOST, 5_000, "often"));
    }
}
