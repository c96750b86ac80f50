//! The logical layout that operators edit: keyspaces, vindexes, tables.
//!
//! A vschema says where rows live and nothing else: it knows no hosts (the server's configuration has them), no columns'
//! types (the catalog has them), and no statements. It is read as a whole by [`load`], validated as a whole, and from then
//! on immutable; a change is a new one. [`raw`] is the file's grammar.

pub mod load;
pub mod raw;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::FileError;
use crate::types::{KeyspaceId, ShardId, VindexId};
use crate::vindex::Vindex;
pub use crate::vindex::directory::{Directory, DirectoryDefault};
pub use load::load;

/// Why a vschema is refused: file, line, key and a hint.
pub type LayoutError = FileError;

/// A validated vschema: immutable, shared by snapshot.
#[derive(Debug, Default)]
pub struct Vschema {
    /// Grows with each change in force; a part of every plan-cache key.
    pub version: u64,
    /// The names of all shards, in the order of the server's configuration.
    pub shards: Vec<String>,
    /// In the order of the files.
    pub keyspaces: Vec<Keyspace>,
    /// In the order of the files.
    pub vindexes: Vec<NamedVindex>,
    /// By schema and name.
    pub tables: HashMap<(String, String), Arc<Table>>,
    /// Functions that the operator declares to read no sharded table but through rows of the statement's own shard.
    pub local_functions: std::collections::HashSet<String>,
    /// The keyspace of tables that no file names: the only keyspace there is, if that has one shard; or the one-shard keyspace whose
    /// shard no other keyspace uses, if there is exactly one.
    pub undeclared: Option<KeyspaceId>,
    /// The merged files as they were written, for `vschema show`.
    pub source: toml::Table,
}

/// The JSON Schema of a vschema file.
pub fn json_schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<raw::RawVschema>().to_value()
}

impl Vschema {
    /// The shard of that name.
    pub fn shard(&self, name: &str) -> Option<ShardId> {
        self.shards.iter().position(|shard| shard == name).map(|index| ShardId(index as u16))
    }

    /// The name of a shard; `?` for one that is not of this vschema.
    pub fn shard_name(&self, shard: ShardId) -> &str {
        self.shards.get(usize::from(shard.0)).map_or("?", String::as_str)
    }

    /// A keyspace by its number, which this vschema gave out.
    pub fn keyspace(&self, keyspace: KeyspaceId) -> &Keyspace {
        &self.keyspaces[usize::from(keyspace.0)]
    }

    /// A vindex by its number, which this vschema gave out.
    pub fn vindex(&self, vindex: VindexId) -> &NamedVindex {
        &self.vindexes[usize::from(vindex.0)]
    }

    /// A declared table.
    pub fn table(&self, schema: &str, name: &str) -> Option<&Arc<Table>> {
        self.tables.get(&(schema.to_owned(), name.to_owned()))
    }

    /// The first shard of the first keyspace: where statements go that must always go to the same shard.
    pub fn home(&self) -> ShardId {
        self.keyspaces.first().and_then(|keyspace| keyspace.shards.first()).copied().unwrap_or(ShardId(0))
    }

    /// There is one shard in all: everything passes straight through.
    pub fn single_shard(&self) -> bool {
        self.shards.len() == 1
    }

    /// The merged files as TOML.
    pub fn to_toml(&self) -> String {
        // A table that came from TOML can be written as TOML.
        toml::to_string(&self.source).unwrap_or_default()
    }

    /// The merged files as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(&self.source).unwrap_or_default()
    }
}

/// A named, ordered set of shards over which tables are spread.
#[derive(Debug)]
pub struct Keyspace {
    /// As the file calls it.
    pub name: String,
    /// In the order of the file; never empty.
    pub shards: Vec<ShardId>,
}

/// A vindex and its name.
#[derive(Debug)]
pub struct NamedVindex {
    /// As the file calls it.
    pub name: String,
    /// The name of its [`Kind`](crate::vindex::Kind).
    pub kind: &'static str,
    /// The rule itself.
    pub vindex: Box<dyn Vindex>,
    /// For `directory`: where its table is.
    pub directory: Option<Directory>,
}

/// A table's place.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its schema on the shards.
    pub schema: String,
    /// Its name there.
    pub name: String,
    /// The keyspace it belongs to.
    pub keyspace: KeyspaceId,
    /// How its rows are spread.
    pub placement: TablePlacement,
}

/// How a table's rows are spread over its keyspace.
#[derive(Debug, Clone, PartialEq)]
pub enum TablePlacement {
    /// Each row where its shard key leads.
    Sharded {
        /// The shard key, in the vindex's order.
        columns: Vec<String>,
        /// The vindex that reads it.
        vindex: VindexId,
    },
    /// A whole copy on every shard of the keyspace.
    Reference,
    /// All rows on one shard.
    Unsharded {
        /// That shard.
        shard: ShardId,
    },
}
