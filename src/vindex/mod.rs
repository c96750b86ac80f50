//! Vindexes: rules from a key to a shard. One file per kind, one line per kind in [`KINDS`].

use crate::types::{Key, KeyType, ShardId};

/// Where a key's rows live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On this shard.
    Shard(ShardId),
    /// On no shard: the vindex takes no such key. Reads find nothing; an INSERT is refused (23514).
    Nowhere,
    /// Only the directory table knows: a look-up is needed (see `session` and `pool`).
    Directory,
}

/// A rule from a key to a shard: pure, synchronous, and well under a microsecond.
pub trait Vindex: std::fmt::Debug + Send + Sync {
    /// The shard of a key; one value per key column, none of them [`Key::Null`].
    fn place(&self, key: &[Key<'_>]) -> Placement;

    /// Whether the vindex can place keys of these column types; the error says which it takes.
    fn accepts(&self, types: &[KeyType]) -> Result<(), String>;
}
