//! The values that decide where a row lives, and the identifiers that every layer shares.
//!
//! A shard key arrives in many costumes: `42`, `'42'`, `42::int8`, a text parameter, a binary `int4`. [`key::decode`]
//! takes the costume off, so that all of them name the same [`Key`] and therefore the same shard. Nothing here knows of
//! statements, shards' addresses or sockets.

pub mod array;
#[cfg(test)]
pub(crate) mod cases;
pub mod civil;
pub mod decode;
pub mod key;
pub mod nearest;
pub mod number;
pub mod oid;

pub use key::{DecodeContext, Key, KeyType, Match, Raw};
pub use oid::Oid;

/// A shard, as an index into [`Vschema::shards`](crate::vschema::Vschema::shards).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A keyspace, as an index into [`Vschema::keyspaces`](crate::vschema::Vschema::keyspaces).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyspaceId(pub u16);

/// A vindex, as an index into [`Vschema::vindexes`](crate::vschema::Vschema::vindexes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VindexId(pub u16);
