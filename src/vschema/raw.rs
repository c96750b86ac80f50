//! A vschema file as it is written; parser and JSON Schema alike.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::vindex::KINDS;

/// The logical layout: keyspaces, vindexes, tables.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "vschema")]
pub struct RawVschema {
    /// Sets of shards over which tables are spread, by name.
    #[serde(default)]
    pub keyspace: BTreeMap<String, RawKeyspace>,
    /// Rules from a key to a shard, by name.
    #[serde(default)]
    pub vindex: BTreeMap<String, RawVindex>,
    /// Tables by name: `orders` is public.orders, `"sales.orders"` is in the schema sales.
    #[serde(default)]
    pub table: BTreeMap<String, RawTable>,
    /// What Goldseam cannot see of functions.
    #[serde(default)]
    pub functions: RawFunctions,
}

/// A set of shards.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKeyspace {
    /// Shards by the names goldseam.toml gives them; their order matters to vindexes.
    pub shards: Vec<String>,
    /// New tables of which nothing says where they go (CREATE TABLE) are made here, and added to this file.
    pub new_tables: Option<RawNewTables>,
}

/// What becomes of new tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawNewTables {
    /// All rows on the keyspace's first shard.
    Unsharded,
    /// A whole copy on every shard.
    Reference,
}

/// `type`, perhaps `keyspace`, and the kind's options, which the kind reads itself.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct RawVindex(pub toml::Table);

impl schemars::JsonSchema for RawVindex {
    fn schema_name() -> Cow<'static, str> {
        "Vindex".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let kinds: Vec<serde_json::Value> = KINDS
            .iter()
            .map(|kind| {
                // The options' own schema, with the two keys that every vindex has.
                let mut schema = serde_json::Value::from((kind.schema)(generator));
                let reference = schema.get("$ref").and_then(|reference| reference.as_str()).map(str::to_owned);
                if let Some(name) = reference.as_deref().and_then(|reference| reference.rsplit('/').next())
                    && let Some(definition) = generator.definitions().get(name)
                {
                    schema = definition.clone();
                }
                if let Some(properties) = schema.get_mut("properties").and_then(|value| value.as_object_mut()) {
                    properties
                        .insert("type".into(), serde_json::json!({ "const": kind.name, "description": kind.about }));
                    let about = "The keyspace whose shards it leads to, where the tables do not say it.";
                    properties.insert("keyspace".into(), serde_json::json!({ "type": "string", "description": about }));
                }
                if let Some(object) = schema.as_object_mut() {
                    let required = object.entry("required").or_insert_with(|| serde_json::json!([]));
                    if let Some(required) = required.as_array_mut() {
                        required.push("type".into());
                    }
                }
                schema
            })
            .collect();
        schemars::json_schema!({ "oneOf": kinds })
    }
}

/// How a table's rows are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawTableType {
    /// Each row where its shard key leads.
    Sharded,
    /// A whole copy on every shard of the keyspace.
    Reference,
    /// All rows on one shard.
    Unsharded,
}

/// One column or several.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "a column such as \"id\", or an array of columns")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several, in the vindex's order.
    Many(Vec<String>),
}

/// A table's place.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTable {
    /// The keyspace; may be left out if there is only one.
    pub keyspace: Option<String>,
    /// May be left out of sharded tables, and of all tables in a keyspace of one shard.
    #[serde(rename = "type")]
    pub table_type: Option<RawTableType>,
    /// The column or columns that decide where a row lives.
    pub shard_key: Option<OneOrMany>,
    /// The vindex that reads them.
    pub vindex: Option<String>,
    /// For an unsharded table: its shard. Default: the keyspace's first.
    pub shard: Option<String>,
}

/// What Goldseam cannot see of functions.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawFunctions {
    /// Functions that touch sharded tables only through rows of the shard they run on.
    #[serde(default)]
    pub shard_local: Vec<String>,
}
