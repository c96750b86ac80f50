//! The logical layout that operators edit: keyspaces, vindexes, tables.
//!
//! A vschema says where rows live and nothing else: it knows no hosts (the server's configuration has them), no columns'
//! types (the catalog has them), and no statements. It is read as a whole by [`fn@load`], validated as a whole, and from then
//! on immutable; a change is a new one. [`raw`] is the file's grammar.

pub mod alter;
pub mod load;
pub mod raw;

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::FileError;
use crate::types::{KeyspaceId, ShardId, VindexId};
use crate::vindex::Vindex;
pub use crate::vindex::directory::{Directory, DirectoryDefault};
pub use crate::vindex::lookup::Lookup;
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
    /// Where new tables go that nothing else places, and whether as reference tables: the keyspace that says `new_tables`.
    pub new_tables: Option<(KeyspaceId, bool)>,
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

    /// The lookups of a table's columns.
    pub fn lookups<'v>(&'v self, schema: &'v str, name: &'v str) -> impl Iterator<Item = (VindexId, &'v Lookup)> {
        self.all_lookups().filter(move |(_, lookup)| lookup.schema == schema && lookup.table == name)
    }

    /// All lookups.
    pub fn all_lookups(&self) -> impl Iterator<Item = (VindexId, &Lookup)> {
        let numbered = self.vindexes.iter().enumerate();
        numbered.filter_map(|(index, named)| Some((VindexId(index as u16), named.vindex.lookup()?)))
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

    /// The merged files as one, in their own order: to read it again gives the same vschema.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let keyspaces = self.keyspaces.iter().map(|keyspace| keyspace.name.as_str());
        self.write_section("keyspace", keyspaces, &mut text);
        self.write_section("vindex", self.vindexes.iter().map(|vindex| vindex.name.as_str()), &mut text);
        let tables = self.source.get("table").and_then(|section| section.as_table());
        self.write_section("table", tables.into_iter().flatten().map(|(name, _)| name.as_str()), &mut text);
        if let Some(functions) = self.source.get("functions").and_then(|section| section.as_table()) {
            write_table("[functions]", functions, &mut text);
        }
        text
    }

    fn write_section<'n>(&self, section: &str, names: impl Iterator<Item = &'n str>, text: &mut String) {
        for name in names {
            let table = self.source.get(section).and_then(|tables| tables.get(name)).and_then(|table| table.as_table());
            if let Some(table) = table {
                write_table(&format!("[{section}.{}]", toml_key(name)), table, text);
            }
        }
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
    /// The keyspace whose shards it leads to.
    pub keyspace: KeyspaceId,
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

/// A table's own lines: `type` first, then the rest by name, each value on one line.
fn write_table(header: &str, table: &toml::Table, text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
    let (kind, rest): (Vec<_>, Vec<_>) = table.iter().partition(|(key, _)| *key == "type");
    for (key, value) in kind.into_iter().chain(rest) {
        text.push_str(&format!("{} = {value}\n", toml_key(key)));
    }
}

/// A key, in quotes where TOML wants them.
fn toml_key(key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}

#[cfg(test)]
mod tests;
