//! What the shards say of their tables, columns, types and functions: plain data, read by `topology`, asked by `planner`.

use std::collections::HashMap;
use std::sync::Arc;

use crate::types::{Oid, ShardId};

/// The schema of a session's temporary tables, in a catalog of its own.
pub const TEMPORARY: &str = "pg_temp";

/// One immutable picture of the catalogs of all shards.
#[derive(Debug, Default, Clone)]
pub struct Catalog {
    /// Grows with each reading; a part of every plan-cache key.
    pub version: u64,
    /// Every relation outside the system schemas, by schema and name.
    pub relations: HashMap<(String, String), Arc<Relation>>,
    /// Functions outside the system schemas and outside extensions, by bare name: calling one may read any table.
    pub functions: HashMap<String, Function>,
    /// The names of all relations of `pg_catalog`, which is searched before every search_path.
    pub system_relations: std::collections::HashSet<String>,
    /// The names of all aggregates and window functions outside `pg_catalog`, those of extensions too.
    pub aggregates: std::collections::HashSet<String>,
    /// The names of all views outside the system schemas.
    pub views: std::collections::HashSet<String>,
    /// The names of all functions that return sets.
    pub set_functions: std::collections::HashSet<String>,
    /// The databases' default collation compares bytes, on every shard: C, POSIX, or the C.UTF-8 of the C library.
    pub bytewise: bool,
}

/// What kind of relation it is (`pg_class.relkind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationKind {
    /// `r`, `p` (partitioned) or `f` (foreign).
    Table,
    /// `v`.
    View,
    /// `m`.
    MaterializedView,
    /// `S`.
    Sequence,
}

/// A table, view or sequence.
#[derive(Debug, Clone)]
pub struct Relation {
    /// Its schema's name, as stored: neither quoted nor folded.
    pub schema: String,
    /// Its own name, likewise.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// The shards that have it, ascending.
    pub shards: Vec<ShardId>,
    /// In the order of `attnum`, dropped columns left out.
    pub columns: Vec<Column>,
    /// The columns (indexes into `columns`) of each unique or exclusion constraint or unique index; expressions and partial
    /// indexes count with the columns they have.
    pub unique_keys: Vec<Vec<usize>>,
    /// The columns of the primary key, the same on every shard; empty if it has none.
    pub primary_key: Vec<usize>,
    /// Row triggers or rules exist: a write may touch other tables.
    pub has_triggers: bool,
    /// These triggers; without them what a write does beside its own rows is not known. Rules are not among them.
    pub triggers: Vec<Trigger>,
    /// Foreign keys change or remove rows of other tables with its own.
    pub cascades: bool,
    /// Row-level security: which rows there are depends on who asks.
    pub row_security: bool,
    /// Of a view that is the same on every shard its query, in which all names have their schema.
    pub definition: Option<String>,
}

impl Relation {
    /// The position of a column in `columns`.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}

/// A user's trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The bare name of the function that it calls.
    pub function: String,
    /// The function's text, if it is PL/pgSQL, calls nothing by way of the trigger's WHEN, and has no settings of its own.
    pub source: Option<String>,
    /// The function is PostgreSQL's own.
    pub system: bool,
    /// BEFORE, for each row: it can give the row other values.
    pub shapes_rows: bool,
    /// It runs when rows are inserted.
    pub on_insert: bool,
}

/// A column of a relation.
#[derive(Debug, Clone)]
pub struct Column {
    /// As stored.
    pub name: String,
    /// Domains are followed to their base type.
    pub type_oid: Oid,
    /// As `format_type` prints it, types of users with their schema.
    pub type_name: String,
    /// Its type is a domain.
    pub domain: bool,
    /// `NOT NULL`.
    pub not_null: bool,
    /// What an INSERT that does not name it puts there.
    pub default: ColumnDefault,
    /// A collation that calls different bytes equal (`pg_collation.collisdeterministic = false`).
    pub nondeterministic: bool,
    /// Its collation compares bytes, on every shard, or its type has none.
    pub bytewise: bool,
    /// Its collation is its type's own, for text the database's default, or its type has none.
    pub plain_collation: bool,
    /// Its collation as quoted SQL, where it is not its type's own; that of the first shard that has the column.
    pub collation: Option<String>,
    /// How its default makes a value.
    pub supply: Supply,
}

/// How a column gets a value where an INSERT names none. Shards that differ in it have nothing to say here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Supply {
    /// The sequence whose next value it is, and nothing else: schema and name, as stored.
    pub sequence: Option<(String, String)>,
    /// `GENERATED ALWAYS AS IDENTITY`.
    pub always: bool,
    /// The default's expression as SQL, of an own default, not of a domain's.
    pub expression: Option<String>,
}

/// What an INSERT puts where it names no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnDefault {
    /// NULL.
    None,
    /// An expression evaluated by the shard.
    Expression,
    /// An expression that may tell the time, or something else of the moment (`now()`, a user's function that is not immutable).
    Moment,
    /// A sequence or identity: each shard would count by itself.
    Sequence,
    /// `GENERATED ALWAYS AS (...) STORED`.
    Generated,
}

/// A user's function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Function {
    /// `IMMUTABLE` in every overload: it reads no table.
    pub immutable: bool,
    /// No overload can read or write a table: by its text, or because it is immutable.
    pub closed: bool,
}
