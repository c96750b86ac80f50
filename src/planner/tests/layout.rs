//! The vschema and the tables that the cases are about.

use std::sync::Arc;

use crate::catalog::{Catalog, Column, ColumnDefault, Function, Relation, RelationKind, Supply};
use crate::types::{Oid, ShardId, oid};
use crate::vschema::{self, Vschema};

const LAYOUT: &str = r#"
[keyspace.commerce]
shards = ["s0", "s1", "s2", "s3"]
[keyspace.main]
shards = ["s4"]
[keyspace.side]
shards = ["s1"]
[vindex.by_customer]
type = "hash"
[vindex.by_text]
type = "hash"
[vindex.by_day]
type = "range"
ranges = [ { to = "2026-01-01", shard = "s0" }, { shard = "s1" } ]
[vindex.by_word]
type = "range"
key_type = "text"
ranges = [ { to = "m", shard = "s2" }, { shard = "s3" } ]
[vindex.by_region]
type = "list"
lists = [ { values = ["eu"], shard = "s0" }, { values = ["us"], shard = "s2" } ]
[vindex.placed]
type = "directory"
default = "least_loaded"
[vindex.by_two]
type = "hash"
[table.customers]
keyspace = "commerce"
shard_key = "id"
vindex = "by_customer"
[table.orders]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.items]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.events]
keyspace = "commerce"
shard_key = "day"
vindex = "by_day"
[table.words]
keyspace = "commerce"
shard_key = "word"
vindex = "by_word"
[table.local_words]
keyspace = "commerce"
shard_key = "word"
vindex = "by_word"
[table.padded]
keyspace = "commerce"
shard_key = "word"
vindex = "by_word"
[table.regions]
keyspace = "commerce"
shard_key = "region"
vindex = "by_region"
[table.accounts]
keyspace = "commerce"
shard_key = "account"
vindex = "placed"
[table.tags]
keyspace = "commerce"
shard_key = "tag"
vindex = "by_text"
[table.codes]
keyspace = "commerce"
shard_key = "code"
vindex = "by_text"
[table.pairs]
keyspace = "commerce"
shard_key = ["a", "b"]
vindex = "by_two"
[table.audited]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.fuzzy]
keyspace = "commerce"
shard_key = "word"
vindex = "by_text"
[table."sales.orders"]
keyspace = "commerce"
shard_key = "id"
vindex = "by_customer"
[table.ghosts]
keyspace = "commerce"
shard_key = "id"
vindex = "by_customer"
[table.countries]
keyspace = "commerce"
type = "reference"
[table.settings]
keyspace = "main"
[table.logs]
keyspace = "side"
[functions]
shard_local = ["order_total"]
"#;

/// `name type[*][!][=][@][#]`: `#` is NOT NULL, `*` from a sequence, `!` of a collation that calls different bytes equal, `=` with a default, `@` with one that
/// tells the time.
const TABLES: &[(&str, &str, &[&str], &str)] = &[
    ("public.customers", "id int8#, name text, region text", &["id", "region,id"], "s0 s1 s2 s3"),
    (
        "public.orders",
        "id int8*, customer_id int8#, total numeric, placed timestamptz@",
        &["customer_id,id"],
        "s0 s1 s2 s3",
    ),
    (
        "public.items",
        "customer_id int4#, order_id int8, product text, qty int4=",
        &["customer_id,order_id,product", "product"],
        "s0 s1 s2 s3",
    ),
    ("public.events", "day date, kind text, at timestamptz=", &[], "s0 s1 s2 s3"),
    ("public.words", "word text, uses int8", &["word"], "s0 s1 s2 s3"),
    ("public.local_words", "word text~, uses int8", &["word"], "s0 s1 s2 s3"),
    ("public.padded", "word bpchar, uses int8", &["word"], "s0 s1 s2 s3"),
    ("public.regions", "region text, name text", &["region"], "s0 s1 s2 s3"),
    ("public.accounts", "account int8, balance numeric", &["account"], "s0 s1 s2 s3"),
    ("public.tags", "tag text#, uses int8", &["tag"], "s0 s1 s2 s3"),
    ("public.codes", "code bpchar, meaning text", &["code"], "s0 s1 s2 s3"),
    ("public.pairs", "a int8#, b text#, c int4", &["a,b"], "s0 s1 s2 s3"),
    ("public.audited", "customer_id int8, note text", &[], "s0 s1 s2 s3"),
    ("public.fuzzy", "word text!, n int4", &[], "s0 s1 s2 s3"),
    ("sales.orders", "id int8, amount numeric", &["id"], "s0 s1 s2 s3"),
    ("public.countries", "code text, name text", &["code"], "s0 s1 s2 s3"),
    ("public.settings", "name text, value text, id int8*", &["name"], "s4"),
    ("public.logs", "id int8*, line text", &["id"], "s1"),
    ("public.forgotten", "id int8, x text", &["id"], "s0 s2"),
];

fn shards(names: &str) -> Vec<ShardId> {
    names.split(' ').map(|name| ShardId(name[1..].parse().unwrap())).collect()
}

pub fn type_oid(name: &str) -> Oid {
    match name {
        "int4" => oid::INT4,
        "int8" => oid::INT8,
        "text" => oid::TEXT,
        "bpchar" => oid::BPCHAR,
        "numeric" => oid::NUMERIC,
        "date" => oid::DATE,
        "timestamptz" => oid::TIMESTAMPTZ,
        other => panic!("no type {other}"),
    }
}

/// A default that tells the time is `now()`.
fn supply(_column: &str, word: &str) -> Supply {
    match word.as_bytes().last() {
        Some(b'@') => Supply { expression: Some("now()".into()), ..Supply::default() },
        _ => Supply::default(),
    }
}

fn relation(name: &str, columns: &str, keys: &[&str], places: &str, kind: RelationKind) -> Relation {
    let (schema, name) = name.split_once('.').unwrap();
    let columns: Vec<Column> = columns
        .split(", ")
        .filter(|column| !column.is_empty())
        .map(|column| {
            let (name, word) = column.split_once(' ').unwrap();
            let type_name = word.trim_end_matches(['*', '!', '~', '=', '@', '#']);
            Column {
                name: name.into(),
                type_oid: type_oid(type_name),
                type_name: type_name.into(),
                not_null: word.ends_with('#'),
                default: match word.as_bytes().last() {
                    Some(b'*') => ColumnDefault::Sequence,
                    Some(b'=') => ColumnDefault::Expression,
                    Some(b'@') => ColumnDefault::Moment,
                    _ => ColumnDefault::None,
                },
                nondeterministic: word.ends_with('!'),
                bytewise: !word.ends_with(['!', '~']),
                plain_collation: !word.ends_with(['!', '~']),
                domain: false,
                collation: None,
                supply: supply(name, word),
            }
        })
        .collect();
    let place = |key: &str| columns.iter().position(|column| column.name == key).unwrap();
    let unique_keys: Vec<Vec<usize>> = keys.iter().map(|key| key.split(',').map(place).collect()).collect();
    Relation {
        schema: schema.into(),
        name: name.into(),
        kind,
        shards: shards(places),
        columns,
        primary_key: unique_keys.first().cloned().unwrap_or_default(),
        unique_keys,
        row_security: false,
        cascades: false,
        definition: (kind == RelationKind::View).then(|| {
            " SELECT orders.id,\n    orders.customer_id\n   FROM public.orders\n  WHERE (orders.total > (10)::numeric);".into()
        }),
        has_triggers: name == "audited",
        triggers: Vec::new(),
    }
}

pub fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let mut add = |relation: Relation| {
        catalog.relations.insert((relation.schema.clone(), relation.name.clone()), Arc::new(relation));
    };
    for (name, columns, keys, places) in TABLES {
        add(relation(name, columns, keys, places, RelationKind::Table));
    }
    add(relation("public.recent_orders", "id int8, customer_id int8", &[], "s0 s1 s2 s3", RelationKind::View));
    add(relation(
        "public.totals",
        "customer_id int8, total numeric",
        &[],
        "s0 s1 s2 s3",
        RelationKind::MaterializedView,
    ));
    add(relation("public.orders_id_seq", "", &[], "s0 s1 s2 s3", RelationKind::Sequence));
    add(relation("public.settings_id_seq", "", &[], "s4", RelationKind::Sequence));
    for (name, immutable) in [("slugify", true), ("archive_orders", false), ("order_total", false), ("first_of", true)]
    {
        catalog.functions.insert(name.into(), Function { immutable, closed: immutable });
    }
    catalog.functions.insert("initials".into(), Function { immutable: false, closed: true });
    catalog.views.insert("recent_orders".into());
    catalog.aggregates.insert("first_of".into());
    for name in ["generate_series", "unnest"] {
        catalog.set_functions.insert(name.into());
    }
    for name in ["pg_class", "pg_namespace", "pg_attribute", "pg_type", "pg_stat_activity"] {
        catalog.system_relations.insert(name.into());
    }
    catalog
}

pub fn layout() -> Vschema {
    let names: Vec<String> = (0..5).map(|n| format!("s{n}")).collect();
    vschema::load(&[("test.toml".into(), LAYOUT.into())], &names).unwrap()
}
