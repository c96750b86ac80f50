//! Plans: what to run where. A plan names destinations, never hosts, and is a template: literals and parameters are filled in
//! at run time, so one plan serves every key.

pub mod explain;
pub mod gather;
pub mod once;
pub mod render;
pub mod resolve;
pub mod tally;
pub mod work;

pub use explain::explain;
pub use gather::Gather;
pub use once::Once;
pub use resolve::Target;
pub use tally::{Counted, RouteKind, ShardSet, Tally};
pub use work::{Steps, Work};

use std::sync::Arc;

use crate::error::PgError;
use crate::types::{KeyType, KeyspaceId, Oid, Raw, ShardId, VindexId};

/// What a cached statement text leads to.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where it goes, or why it is refused.
    pub verdict: Verdict,
    /// What the session must do besides sending it.
    pub effects: Effects,
    /// It holds for these very literals only (`ORDER BY 2`), not for all texts of its normal form.
    pub literal: bool,
}

/// The planner's answer.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// One shard can answer, or several together.
    Route(Route),
    /// No shard can, or it is not certain.
    Refuse(Box<PgError>),
}

/// A statement's destination as a template: every part that is present must lead to one and the same shard.
#[derive(Debug, Clone, Default)]
pub struct Route {
    /// The statement reads these keyspaces' reference tables: the shard must belong to each.
    pub keyspaces: Vec<KeyspaceId>,
    /// Unsharded tables are on this shard.
    pub fixed: Option<ShardId>,
    /// Each sharded table of the statement, in every query block, and what restricts its key. Beside a `gather` only
    /// those of which each restricts the whole answer; none: all shards.
    pub keyed: Vec<Requirement>,
    /// Beside a `gather`: not each of them restricts the whole, but there is one for each table, and a shard that none of them names adds
    /// nothing.
    pub apart: bool,
    /// Where it goes when nothing above says it.
    pub fallback: Fallback,
    /// What to do when the values lead to several shards, or no value is given.
    pub gather: Option<Arc<Gather>>,
    /// What the session does in steps where neither one shard nor a `gather` gives the answer.
    pub work: Option<Arc<Work>>,
    /// What is put into the statement before it is sent, if it cannot be sent as it is.
    pub once: Option<Arc<Once>>,
    /// Why there is no `gather`.
    pub alone: Option<Box<PgError>>,
    /// For people: why, one line per table or construct.
    pub reasons: Vec<String>,
}

/// Where a statement goes that no table ties to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// Anywhere: the answer is the same on every shard, and nothing is left behind.
    #[default]
    Any,
    /// The one home shard, always the same: the statement has effects or reads state that must not be spread (advisory locks,
    /// NOTIFY, unknown volatile functions).
    Home,
    /// Where the transaction or the pinned session already is (FETCH, CLOSE, SAVEPOINT), else home.
    Attached,
}

/// One sharded table and what fixes its key.
#[derive(Debug, Clone, PartialEq)]
pub struct Requirement {
    /// As the statement calls it, for messages.
    pub table: String,
    /// The table's keyspace.
    pub keyspace: KeyspaceId,
    /// The vindex that places its rows.
    pub vindex: VindexId,
    /// One entry per key column, in the vindex's order.
    pub columns: Vec<KeyColumn>,
    /// Rows are created: NULL keys and keys that no shard takes are refused, a directory may assign.
    pub insert: bool,
}

/// A key column and the values that restrict it.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyColumn {
    /// The column.
    pub name: String,
    /// Its type.
    pub key_type: KeyType,
    /// What it is restricted to.
    pub values: KeySet,
}

/// The values a key column is restricted to.
#[derive(Debug, Clone, PartialEq)]
pub enum KeySet {
    /// `= x`, `IN (x, y)`, one entry per row of an INSERT.
    Values(Vec<KeySource>),
    /// `= ANY(x)` with an array literal or parameter.
    Array(KeySource),
    /// `> x`, `BETWEEN x AND y`, of a column whose order is the vindex's.
    Range {
        /// Not below this.
        lower: Option<Edge>,
        /// Not above this.
        upper: Option<Edge>,
    },
    /// One of these, at least: OR.
    Any(Vec<KeySet>),
    /// Each of these: AND. Of none: nothing is known.
    All(Vec<KeySet>),
}

impl KeySet {
    /// Any key there is.
    pub const EVERYTHING: KeySet = KeySet::All(Vec::new());

    /// Calls `meet` with each place that a value comes from.
    pub fn sources<'s>(&'s self, meet: &mut dyn FnMut(&'s KeySource)) {
        match self {
            KeySet::Values(sources) => sources.iter().for_each(meet),
            KeySet::Array(source) => meet(source),
            KeySet::Range { lower, upper } => lower.iter().chain(upper).for_each(|edge| meet(&edge.at)),
            KeySet::Any(sets) | KeySet::All(sets) => sets.iter().for_each(|set| set.sources(meet)),
        }
    }

    /// All of these hold. `> x` and `< y` become one range: of two intervals of one shard each may meet another half of the line.
    pub fn all(sets: impl IntoIterator<Item = KeySet>) -> KeySet {
        let mut kept: Vec<KeySet> = Vec::new();
        for set in sets {
            match set {
                KeySet::All(inner) => kept.extend(inner),
                KeySet::Range { lower: Some(edge), upper: None } => {
                    let open = kept.iter_mut().find_map(|known| match known {
                        KeySet::Range { lower: lower @ None, .. } => Some(lower),
                        _ => None,
                    });
                    match open {
                        Some(lower) => *lower = Some(edge),
                        None => kept.push(KeySet::Range { lower: Some(edge), upper: None }),
                    }
                }
                KeySet::Range { lower: None, upper: Some(edge) } => {
                    let open = kept.iter_mut().find_map(|known| match known {
                        KeySet::Range { upper: upper @ None, .. } => Some(upper),
                        _ => None,
                    });
                    match open {
                        Some(upper) => *upper = Some(edge),
                        None => kept.push(KeySet::Range { lower: None, upper: Some(edge) }),
                    }
                }
                other => kept.push(other),
            }
        }
        match kept.len() {
            1 => kept.remove(0),
            _ => KeySet::All(kept),
        }
    }
}

/// An end of a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Where it is.
    pub at: KeySource,
    /// It belongs to the range.
    pub inclusive: bool,
}

/// Where a key's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct KeySource {
    /// Where the value comes from.
    pub origin: Origin,
    /// `-x`.
    pub negate: bool,
    /// `x::type` with a type that Goldseam knows; the value has this type and not the literal's.
    pub cast: Option<Oid>,
    /// Without a type of its own it may have got another than the column's: from an earlier use of the parameter, or from what
    /// stands beside it in a list. Then only what means the same in every type is read.
    pub doubtful: bool,
}

/// A place in the statement or a constant of the planner's.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// The n-th lifted literal, counted from 0 in the order of the text.
    Literal(u16),
    /// `$n`, counted from 0.
    Parameter(u16),
    /// Folded by the planner (NULL, TRUE, 1 + 1).
    Constant(Raw<'static>),
    /// `1 + 1`: integer arithmetic on what is known at run time.
    Arithmetic(Box<(KeySource, Arithmetic, KeySource)>),
}

/// An operation on two integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
}

/// What a session does beside sending the statement.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// May write, or lock: not for replicas, and ties a transaction to its shard.
    pub writes: bool,
    /// Has no effect and no dependence on the transaction (its `now()`, its snapshot of user tables, its locks): a transaction that ran only such
    /// statements may still go to any shard.
    pub floating: bool,
    /// Tells the time of its transaction, or of itself: two such statements of one transaction may be compared.
    pub timed: bool,
    /// The catalog changes: read it again after the transaction.
    pub ddl: bool,
    /// It is a SET in the guise of `SELECT set_config(...)`: the session has to follow.
    pub sets: bool,
    /// The backend keeps state for this session afterwards.
    pub pin: Option<Pin>,
    /// It writes a table whose values lookups find: they have to follow before the next statement, and in the same transaction.
    pub noted: bool,
    /// Where its executions are counted; the session's to fill in.
    pub tally: Option<Arc<Tally>>,
}

/// Why a session keeps a backend beyond its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pin {
    /// A temporary table, sequence or view.
    TemporaryTable,
    /// A cursor that outlives its transaction.
    HoldCursor,
    /// A channel is listened to.
    Listen,
    /// An advisory lock of the session.
    AdvisoryLock,
    /// `currval`, `lastval`, `setseed`: state that only this connection has.
    SessionState,
    /// `set_config` with values that cannot be followed, LOAD.
    UntrackedSetting,
}

/// The values of one execution.
pub trait Values {
    /// The n-th literal of the text.
    fn literal(&self, index: u16) -> Option<Raw<'_>>;
    /// The value bound to `$n+1`.
    fn parameter(&self, index: u16) -> Option<Raw<'_>>;
}
