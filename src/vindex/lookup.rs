//! `lookup`, `lookup_unique`: a table says on which shards the rows are that have a value in a column which is no shard key.
//!
//! A lookup stands beside a table's shard key. The table `goldseam.lookup_<vindex>` is on the first shard of the keyspace, and is kept in step in
//! the transactions that write the rows (see `session`). A unique one also keeps the column unique over all shards, which no shard could by
//! itself. None of that happens here: the vindex says whose column it reads, and that only the table knows.

use serde::Deserialize;

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::{Kind, Placement, Shards, SpecError, Vindex, options};

/// Whose values a lookup finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The column.
    pub column: String,
    /// No two rows have the same value.
    pub unique: bool,
    /// The shard that holds the lookup's own table.
    pub store: ShardId,
    /// The shards that have the rows.
    pub shards: Vec<ShardId>,
}

impl Lookup {
    /// The types whose values have one form as text.
    pub fn takes(key_type: KeyType) -> bool {
        matches!(
            key_type,
            KeyType::Int2 | KeyType::Int4 | KeyType::Int8 | KeyType::Text | KeyType::Bpchar | KeyType::Uuid
        )
    }
}

/// The entry of `lookup` in [`KINDS`](crate::vindex::KINDS).
pub const KIND: Kind = Kind {
    name: "lookup",
    about: "A table, value to shards, beside a shard key: `table` and `column` say whose values. Made and filled by ALTER VSCHEMA ON \
            table ADD VINDEX name (column) USING lookup. Integers, text and uuid.",
    build: |spec, shards| build(spec, shards, false),
    schema: |generator| generator.subschema_for::<Options>(),
};

/// The entry of `lookup_unique` in [`KINDS`](crate::vindex::KINDS).
pub const UNIQUE: Kind = Kind {
    name: "lookup_unique",
    about: "A `lookup` that keeps its column unique over all shards: a second row with a value is refused (23505), and `WHERE column = value` \
            goes to one shard.",
    build: |spec, shards| build(spec, shards, true),
    schema: |generator| generator.subschema_for::<Options>(),
};

/// The options of `type = "lookup"` and `type = "lookup_unique"`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "lookup")]
struct Options {
    /// The table whose rows are found, as in a table's section.
    table: String,
    /// Its column.
    column: String,
}

#[derive(Debug)]
struct LookupVindex(Lookup);

impl Vindex for LookupVindex {
    fn place(&self, _key: &[Key<'_>]) -> Placement {
        Placement::Directory
    }

    fn accepts(&self, _types: &[KeyType]) -> Result<(), String> {
        Err("a lookup finds rows, and does not place them".to_owned())
    }

    fn lookup(&self) -> Option<&Lookup> {
        Some(&self.0)
    }
}

fn build(
    spec: toml::de::ValueDeserializer<'_>,
    shards: &Shards<'_>,
    unique: bool,
) -> Result<Box<dyn Vindex>, SpecError> {
    let Options { table, column } = options(spec)?;
    let (schema, table) = match table.split_once('.') {
        Some((schema, table)) => (schema.to_owned(), table.to_owned()),
        None => ("public".to_owned(), table),
    };
    let members: Vec<ShardId> = shards.members.iter().map(|(_, shard)| *shard).collect();
    let Some(store) = members.first().copied() else {
        return Err(SpecError::new(format!("keyspace \"{}\" has no shard", shards.keyspace)));
    };
    Ok(Box::new(LookupVindex(Lookup { schema, table, column, unique, store, shards: members })))
}
