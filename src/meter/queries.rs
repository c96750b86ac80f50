//! Statements by their normal form, each with its tally.
//!
//! Plans come and go (each change of a catalog makes all anew); a statement's tally stays. A plan holds its statement's tally, so that
//! this register is asked when a plan is made and when statements are listed, never when one is run.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::plan::{Counted, Plan, RouteKind, Tally, Verdict};
use crate::sql::{self, Command};

/// The longest text that is kept of a statement.
const TEXT: usize = 2_000;
/// Tallies that no plan holds any more, for each that one may hold.
const SPARE: usize = 1;

/// What sessions act on by themselves; the last stands for what is not named.
const LOCAL: [&str; 13] = [
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT ?",
    "RELEASE ?",
    "SET ?",
    "SHOW ?",
    "PREPARE ?",
    "EXECUTE ?",
    "DEALLOCATE ?",
    "EXPLAIN (ROUTE) ?",
    "DISCARD ?",
    "(others)",
];

/// The register.
#[derive(Debug)]
pub struct Queries {
    most: usize,
    by_key: Mutex<HashMap<u128, Arc<Tally>>>,
    /// Commands that sessions act on, by their first words; they have no plan.
    local: [Arc<Tally>; LOCAL.len()],
}

impl Queries {
    /// A register for `plans` plans at one time.
    pub fn new(plans: usize) -> Self {
        Queries {
            most: plans.max(16) * (1 + SPARE),
            by_key: Mutex::default(),
            local: LOCAL.map(|text| Arc::new(Tally::new(text.to_owned(), RouteKind::Local))),
        }
    }

    /// The tally of a command that a session acts on.
    pub fn local(&self, command: &Command<'_>) -> &Arc<Tally> {
        let text = match command {
            Command::Begin { .. } => "BEGIN",
            Command::Commit { .. } => "COMMIT",
            Command::Rollback { .. } | Command::RollbackTo(_) => "ROLLBACK",
            Command::Savepoint(_) => "SAVEPOINT ?",
            Command::Release(_) => "RELEASE ?",
            Command::Set { .. } | Command::Reset(_) | Command::ResetAll => "SET ?",
            Command::Show(_) => "SHOW ?",
            Command::Prepare { .. } => "PREPARE ?",
            Command::Execute { .. } => "EXECUTE ?",
            Command::Deallocate(_) => "DEALLOCATE ?",
            Command::Explain { .. } => "EXPLAIN (ROUTE) ?",
            Command::Discard(_) => "DISCARD ?",
            _ => "(others)",
        };
        let at = LOCAL.iter().position(|known| *known == text).unwrap_or(LOCAL.len() - 1);
        &self.local[at]
    }

    /// The tally of a statement that has just been planned. `key` is its normal form's.
    pub fn tally(&self, key: u128, text: &str, plan: &Plan) -> Arc<Tally> {
        let mut by_key = self.by_key.lock();
        if let Some(known) = by_key.get(&key) {
            return known.clone();
        }
        if by_key.len() >= self.most {
            make_room(&mut by_key, self.most);
        }
        let tally = Arc::new(Tally::new(sql::anonymous(text, TEXT), route_of(plan)));
        by_key.insert(key, tally.clone());
        tally
    }

    /// The tally of a statement that has been planned before.
    pub fn known(&self, key: u128) -> Option<Arc<Tally>> {
        self.by_key.lock().get(&key).cloned()
    }

    /// Those that took the most time, in all.
    pub fn top(&self, most: usize) -> Vec<Counted> {
        let tallies: Vec<Arc<Tally>> = self.by_key.lock().values().filter(|tally| tally.calls() > 0).cloned().collect();
        let local = self.local.iter().filter(|tally| tally.calls() > 0);
        let mut all: Vec<Counted> = tallies.iter().chain(local).map(|tally| tally.read()).collect();
        all.sort_by(|one, other| (other.total_nanos, &one.text).cmp(&(one.total_nanos, &other.text)));
        all.truncate(most);
        all
    }

    /// How many statements are known.
    pub fn len(&self) -> usize {
        self.by_key.lock().len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Lets a tenth go: of those that no plan holds, the least used. What a plan holds stays, because it would be counted unseen.
fn make_room(by_key: &mut HashMap<u128, Arc<Tally>>, most: usize) {
    let mut unused: Vec<(u64, u128)> = by_key
        .iter()
        .filter(|(_, tally)| Arc::strong_count(tally) == 1)
        .map(|(key, tally)| (tally.calls(), *key))
        .collect();
    unused.sort_unstable();
    for (_, key) in unused.into_iter().take((most / 10).max(1)) {
        by_key.remove(&key);
    }
}

/// How a plan answers, as far as it says so by itself.
pub fn route_of(plan: &Plan) -> RouteKind {
    match &plan.verdict {
        Verdict::Refuse(_) => RouteKind::Refused,
        Verdict::Route(route) => {
            let tied = !route.keyed.is_empty() || route.fixed.is_some() || route.gather.is_some();
            match route.fallback {
                crate::plan::Fallback::Any if !tied => RouteKind::Any,
                _ => RouteKind::Single,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::PgError;
    use crate::plan::Effects;

    fn plan() -> Plan {
        let error = PgError::unsupported("no");
        Plan { verdict: Verdict::Refuse(Box::new(error)), effects: Effects::default(), literal: false }
    }

    #[test]
    fn a_statement_keeps_its_tally_and_the_register_its_bound() {
        let queries = Queries::new(16);
        let held = queries.tally(1, "SELECT 'x'", &plan());
        held.add(RouteKind::Refused, Default::default(), 5, 0);
        for key in 2..10_000 {
            queries.tally(key, "SELECT 1", &plan());
        }
        assert!(queries.len() <= 32);
        assert!(Arc::ptr_eq(&held, &queries.tally(1, "", &plan())));
        let top = queries.top(3);
        assert_eq!(top.len(), 1, "what was never run is not listed");
        assert_eq!((top[0].text.as_str(), top[0].calls), ("SELECT ?", 1));
    }
}
