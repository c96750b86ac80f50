//! What a statement's executions have cost: counters that hang on its plan, so that an execution is counted without a look-up, without a
//! lock, and without an allocation.
//!
//! Whoever runs the statement adds to them; whoever lists statements reads them. No clock here: durations are given.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::types::ShardId;

/// By which way a statement was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum RouteKind {
    /// One certain shard.
    Single = 0,
    /// Several shards.
    Scatter = 1,
    /// One shard of those that would all say the same.
    Any = 2,
    /// By Goldseam itself: no shard.
    #[default]
    Local = 3,
    /// Not at all.
    Refused = 4,
    /// In steps, over rows fetched from several shards.
    Workbench = 5,
}

impl RouteKind {
    /// All, in the order of their numbers.
    pub const ALL: [RouteKind; 6] = [
        RouteKind::Single,
        RouteKind::Scatter,
        RouteKind::Any,
        RouteKind::Local,
        RouteKind::Refused,
        RouteKind::Workbench,
    ];

    /// Its name in metrics and on the console.
    pub fn as_str(self) -> &'static str {
        match self {
            RouteKind::Single => "single",
            RouteKind::Scatter => "scatter",
            RouteKind::Any => "any",
            RouteKind::Local => "local",
            RouteKind::Refused => "refused",
            RouteKind::Workbench => "workbench",
        }
    }
}

/// Which shards have been touched. Shards from [`ShardSet::EXACT`] on share one mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardSet(pub u64);

impl ShardSet {
    /// So many shards have a mark of their own.
    pub const EXACT: u16 = 63;

    /// One shard.
    pub fn one(shard: ShardId) -> Self {
        ShardSet(1 << shard.0.min(Self::EXACT))
    }

    /// With one more.
    pub fn with(self, shard: ShardId) -> Self {
        ShardSet(self.0 | ShardSet::one(shard).0)
    }

    /// Those that have a mark of their own, and whether there are others.
    pub fn shards(self) -> (impl Iterator<Item = ShardId>, bool) {
        let exact = (0..Self::EXACT).filter(move |n| self.0 & (1 << n) != 0).map(ShardId);
        (exact, self.0 >> Self::EXACT != 0)
    }
}

/// A statement's counters.
#[derive(Debug, Default)]
pub struct Tally {
    /// The statement without its literals.
    pub text: String,
    calls: AtomicU64,
    rows: AtomicU64,
    errors: AtomicU64,
    total_nanos: AtomicU64,
    max_nanos: AtomicU64,
    shards: AtomicU64,
    route: AtomicU8,
}

/// A tally as it stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    /// The statement without its literals.
    pub text: String,
    /// How the last execution was answered.
    pub route: RouteKind,
    /// Which shards have been touched.
    pub shards: ShardSet,
    /// Executions, failed and refused ones among them.
    pub calls: u64,
    /// Rows returned or changed.
    pub rows: u64,
    /// Executions that failed, or were refused.
    pub errors: u64,
    /// From the client's message to the last of the answer, in nanoseconds.
    pub total_nanos: u64,
    /// The longest.
    pub max_nanos: u64,
}

impl Tally {
    /// Nothing is counted yet.
    pub fn new(text: String, route: RouteKind) -> Self {
        Tally { text, route: AtomicU8::new(route as u8), ..Tally::default() }
    }

    /// One execution is over.
    pub fn add(&self, route: RouteKind, shards: ShardSet, nanos: u64, rows: u64) {
        self.calls.fetch_add(1, Relaxed);
        self.total_nanos.fetch_add(nanos, Relaxed);
        if rows > 0 {
            self.rows.fetch_add(rows, Relaxed);
        }
        // These seldom change, and a line that is only read stays in every core's cache.
        if self.max_nanos.load(Relaxed) < nanos {
            self.max_nanos.fetch_max(nanos, Relaxed);
        }
        if self.shards.load(Relaxed) & shards.0 != shards.0 {
            self.shards.fetch_or(shards.0, Relaxed);
        }
        if self.route.load(Relaxed) != route as u8 {
            self.route.store(route as u8, Relaxed);
        }
    }

    /// The execution that was added, or is going to be, has failed.
    pub fn add_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    /// How often it was executed.
    pub fn calls(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// How it was answered last, or would be.
    pub fn route(&self) -> RouteKind {
        RouteKind::ALL.get(usize::from(self.route.load(Relaxed))).copied().unwrap_or_default()
    }

    /// As it stands; while others add, each number is right by itself.
    pub fn read(&self) -> Counted {
        Counted {
            text: self.text.clone(),
            route: self.route(),
            shards: ShardSet(self.shards.load(Relaxed)),
            calls: self.calls.load(Relaxed),
            rows: self.rows.load(Relaxed),
            errors: self.errors.load(Relaxed),
            total_nanos: self.total_nanos.load(Relaxed),
            max_nanos: self.max_nanos.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_add_up() {
        let tally = Tally::new("SELECT ?".into(), RouteKind::Single);
        tally.add(RouteKind::Single, ShardSet::one(ShardId(1)), 100, 1);
        tally.add(RouteKind::Scatter, ShardSet::one(ShardId(1)).with(ShardId(700)), 50, 9);
        tally.add_error();
        let counted = tally.read();
        assert_eq!((counted.calls, counted.rows, counted.errors), (2, 10, 1));
        assert_eq!((counted.total_nanos, counted.max_nanos, counted.route), (150, 100, RouteKind::Scatter));
        let (exact, others) = counted.shards.shards();
        assert_eq!((exact.collect::<Vec<_>>(), others), (vec![ShardId(1)], true));
    }
}
