//! The logical layout that operators edit: keyspaces, vindexes, tables.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{KeyspaceId, ShardId, VindexId};
use crate::vindex::Vindex;

/// A validated vschema: immutable, shared by snapshot.
#[derive(Debug, Default)]
pub struct Vschema {
    /// Grows with each change in force; a part of every plan-cache key.
    pub version: u64,
    /// The names of all shards, in the order of the server's configuration.
    pub shards: Vec<String>,
    pub keyspaces: Vec<Keyspace>,
    pub vindexes: Vec<NamedVindex>,
    /// By schema and name.
    pub tables: HashMap<(String, String), Arc<Table>>,
    /// Functions that the operator declares to read no sharded table but through rows of the statement's own shard.
    pub local_functions: std::collections::HashSet<String>,
    /// The keyspace of tables that no file names: the only keyspace there is, if that has one shard; or the one-shard keyspace whose
    /// shard no other keyspace uses, if there is exactly one.
    pub undeclared: Option<KeyspaceId>,
}

/// A named, ordered set of shards over which tables are spread.
#[derive(Debug)]
pub struct Keyspace {
    pub name: String,
    pub shards: Vec<ShardId>,
}

/// A vindex and its name.
#[derive(Debug)]
pub struct NamedVindex {
    pub name: String,
    pub kind: &'static str,
    pub vindex: Box<dyn Vindex>,
    /// For `directory`: where its table is.
    pub directory: Option<Directory>,
}

/// Where a directory vindex keeps its table, and how it places a new key.
#[derive(Debug)]
pub struct Directory {
    /// The shard that holds the table `goldseam.directory_<vindex>`.
    pub shard: ShardId,
    pub placement: DirectoryDefault,
    /// The shards a new key may be given to.
    pub shards: Vec<ShardId>,
    /// How many keys the cache holds.
    pub cache: usize,
}

/// Where a directory vindex puts a key it sees for the first time in an INSERT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryDefault {
    /// The shard with the fewest keys of this directory.
    LeastLoaded,
    /// Always this one.
    Shard(ShardId),
    /// Nowhere: keys are placed by hand, an INSERT of an unknown one is refused.
    Refuse,
}

/// A table's place.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub schema: String,
    pub name: String,
    pub keyspace: KeyspaceId,
    pub placement: TablePlacement,
}

/// How a table's rows are spread over its keyspace.
#[derive(Debug, Clone, PartialEq)]
pub enum TablePlacement {
    /// Each row where its shard key leads.
    Sharded { columns: Vec<String>, vindex: VindexId },
    /// A whole copy on every shard of the keyspace.
    Reference,
    /// All rows on one shard.
    Unsharded { shard: ShardId },
}
