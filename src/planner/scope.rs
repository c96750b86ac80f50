//! Names: which table or column a name stands for, by PostgreSQL's rules (`parse_relation.c`).
//!
//! Where Goldseam cannot be sure, a column name stands for nothing, and so no key is read from it.

use std::borrow::Cow;
use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};

use super::{Context, refuse};
use crate::catalog::{Relation, RelationKind, TEMPORARY};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::{KeyType, ShardId};
use crate::vschema::{Table, TablePlacement};

/// A name as PostgreSQL folds it: lower case unless quoted, 63 bytes at most.
pub fn fold(ident: &Ident) -> Cow<'_, str> {
    let folded = match ident.quote_style {
        Some(_) => Cow::Borrowed(ident.value.as_str()),
        None if ident.value.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(ident.value.to_ascii_lowercase())
        }
        None => Cow::Borrowed(ident.value.as_str()),
    };
    if folded.len() < 64 {
        return folded;
    }
    let mut end = 63;
    while !folded.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(folded.get(..end).unwrap_or("").to_string())
}

/// The folded parts of a name; `None` if it has parts that are no names.
pub fn parts(name: &ObjectName) -> Option<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Some(fold(ident).into_owned()),
            ObjectNamePart::Function(_) => None,
        })
        .collect()
}

/// What a table's name stands for.
#[derive(Debug, Clone)]
pub enum Place {
    /// `pg_catalog`, `information_schema` and the like: the same on every shard, as far as clients rely on it.
    System,
    /// `pg_temp`: on the connection that the session keeps.
    Temporary,
    /// No shard has it, as far as is known: PostgreSQL says so best. It may also be the session's temporary table.
    Unknown,
    /// Spread over shards.
    Sharded { table: Arc<Table>, relation: Arc<Relation> },
    /// A copy on every shard of its keyspace, which has several.
    Reference { table: Arc<Table>, relation: Arc<Relation> },
    /// On one shard.
    Single { shard: ShardId, relation: Option<Arc<Relation>> },
}

/// The schema of Goldseam's own tables (directories, lookups, sequences), which is in no catalog that it keeps.
pub const OWN_SCHEMA: &str = "goldseam";

/// Whether a schema belongs to PostgreSQL itself.
fn is_system_schema(schema: &str) -> bool {
    schema == "information_schema" || (schema.starts_with("pg_") && !schema.starts_with("pg_temp"))
}

/// Looks a table up: temporary and system tables first, then along the search path.
pub fn place(context: &Context<'_>, name: &[String]) -> Result<Place, PgError> {
    let (schema, bare) = match name {
        [bare] => (None, bare),
        [schema, bare] | [_, schema, bare] => (Some(schema), bare),
        _ => return Err(refuse::construct("a table name of more than three parts")),
    };
    match schema {
        Some(schema) if schema.starts_with("pg_temp") => {
            in_schema(context, TEMPORARY, bare).unwrap_or(Ok(Place::Temporary))
        }
        Some(schema) if is_system_schema(schema) => Ok(Place::System),
        // Goldseam's own tables are asked for as the catalog tells of them: where it is.
        Some(schema) if schema == OWN_SCHEMA => in_schema(context, schema, bare).unwrap_or(Ok(Place::System)),
        Some(schema) => in_schema(context, schema, bare).unwrap_or(Ok(Place::Unknown)),
        None if context.catalog.system_relations.contains(bare) => Ok(Place::System),
        None => {
            let path = context.search_path;
            // A schema in which the table exists comes before one in which it is only declared.
            let known = |schema: &&String| context.catalog.relations.contains_key(&((*schema).clone(), bare.clone()));
            let schema = path
                .iter()
                .find(known)
                .or_else(|| path.iter().find(|schema| context.vschema.table(schema, bare).is_some()));
            match schema {
                Some(schema) => in_schema(context, schema, bare).unwrap_or(Ok(Place::Unknown)),
                None => Ok(Place::Unknown),
            }
        }
    }
}

/// The relation that a name stands for, whatever it is.
pub fn relation_of<'c>(context: &Context<'c>, name: &[String]) -> Option<&'c Arc<Relation>> {
    let relations = &context.catalog.relations;
    match name {
        [bare] if context.catalog.system_relations.contains(bare) => None,
        [bare] => context.search_path.iter().find_map(|schema| relations.get(&(schema.clone(), bare.clone()))),
        [schema, bare] | [_, schema, bare] => relations.get(&(schema.clone(), bare.clone())),
        _ => None,
    }
}

fn in_schema(context: &Context<'_>, schema: &str, bare: &str) -> Option<Result<Place, PgError>> {
    let relation = context.catalog.relations.get(&(schema.to_string(), bare.to_string()));
    match context.vschema.table(schema, bare) {
        Some(table) => Some(declared(context, table, relation)),
        None => relation.map(|relation| undeclared(context, relation)),
    }
}

fn declared(context: &Context<'_>, table: &Arc<Table>, relation: Option<&Arc<Relation>>) -> Result<Place, PgError> {
    let keyspace = context.vschema.keyspace(table.keyspace);
    let single = match &table.placement {
        TablePlacement::Unsharded { shard } => Some(*shard),
        _ if keyspace.shards.len() == 1 => keyspace.shards.first().copied(),
        _ => None,
    };
    if let Some(shard) = single {
        if let Some(relation) = relation {
            check_kind(context, relation, shard)?;
        }
        return Ok(Place::Single { shard, relation: relation.cloned() });
    }
    let Some(relation) = relation else {
        // Not a route to PostgreSQL's own error: were the catalog behind, one shard's part would look like the whole.
        return Err(PgError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", table.name))
            .with_detail("The vschema declares it, but no shard is known to have it.")
            .with_hint("Create it on every shard of its keyspace; RELOAD reads the shards' catalogs again."));
    };
    // A materialized view that the vschema declares is a table that nobody writes to: the operator says how its rows are spread.
    if !matches!(relation.kind, RelationKind::Table | RelationKind::MaterializedView) {
        return Err(refuse::view(&relation.name));
    }
    if let Some(missing) = keyspace.shards.iter().find(|shard| !relation.shards.contains(shard)) {
        return Err(PgError::new(
            SqlState::UNDEFINED_TABLE,
            format!("relation \"{}\" is not on every shard", table.name),
        )
        .with_detail(format!(
            "Shard {} of keyspace \"{}\" does not have it.",
            context.vschema.shard_name(*missing),
            keyspace.name
        ))
        .with_hint("Create it there: SET goldseam.shard names the shard for the statements that follow."));
    }
    let (table, relation) = (table.clone(), relation.clone());
    Ok(match table.placement {
        TablePlacement::Sharded { .. } => Place::Sharded { table, relation },
        _ => Place::Reference { table, relation },
    })
}

/// Views are on one shard only if nothing they read is elsewhere.
fn check_kind(context: &Context<'_>, relation: &Relation, shard: ShardId) -> Result<(), PgError> {
    match relation.kind {
        RelationKind::View if !super::views::is_whole(context, relation) => Err(refuse::view(&relation.name)),
        RelationKind::View if !relation.shards.contains(&shard) => Err(refuse::view(&relation.name)),
        _ => Ok(()),
    }
}

fn undeclared(context: &Context<'_>, relation: &Arc<Relation>) -> Result<Place, PgError> {
    // On the connection that the session keeps.
    if let (TEMPORARY, Some(shard)) = (relation.schema.as_str(), relation.shards.first()) {
        return Ok(Place::Single { shard: *shard, relation: Some(relation.clone()) });
    }
    // Of a sequence that several shards have, the first shard's counts.
    if let (RelationKind::Sequence, [home, _, ..]) = (relation.kind, relation.shards.as_slice()) {
        return Ok(Place::Single { shard: *home, relation: Some(relation.clone()) });
    }
    if let Some(keyspace) = context.vschema.undeclared
        && let Some(shard) = context.vschema.keyspace(keyspace).shards.first()
        && relation.shards.contains(shard)
    {
        check_kind(context, relation, *shard)?;
        return Ok(Place::Single { shard: *shard, relation: Some(relation.clone()) });
    }
    match relation.kind {
        RelationKind::View | RelationKind::MaterializedView => return Err(refuse::view(&relation.name)),
        RelationKind::Sequence if relation.shards.len() == 1 => {
            return Ok(Place::Single { shard: relation.shards[0], relation: Some(relation.clone()) });
        }
        RelationKind::Sequence => return Err(refuse::sequence(&relation.name)),
        RelationKind::Table => {}
    }
    Err(refuse::undeclared(context, relation))
}

/// A column of a use of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// As the statement calls it.
    pub name: String,
    /// Set where equality is equality of keys.
    pub key_type: Option<KeyType>,
    /// Its order is that of the vindexes.
    pub ordered: bool,
}

/// Whether a column of that type has the order of the vindexes; text only if its collation compares bytes.
pub fn is_ordered(key_type: Option<KeyType>, bytewise: bool) -> bool {
    match key_type {
        None | Some(KeyType::Bpchar) => false,
        Some(KeyType::Text) => bytewise,
        Some(_) => true,
    }
}

/// One use of a table, sub-query or function in a FROM list.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Alias, or the table's own name.
    pub name: String,
    /// Where there is no alias, `schema.table.column` names it too.
    pub schema: Option<String>,
    /// As far as they are known.
    pub columns: Vec<Column>,
    /// There are no others.
    pub complete: bool,
}

impl Instance {
    /// A use of a table.
    pub fn of(relation: Option<&Relation>, name: String, schema: Option<String>) -> Instance {
        let columns = relation.map_or(Vec::new(), |relation| {
            let key_type = |column: &crate::catalog::Column| {
                KeyType::from_column(column.type_oid, &column.type_name).filter(|_| !column.nondeterministic)
            };
            relation
                .columns
                .iter()
                .map(|column| {
                    let key_type = key_type(column);
                    Column { name: column.name.clone(), key_type, ordered: is_ordered(key_type, column.bytewise) }
                })
                .collect()
        });
        Instance { name, schema, columns, complete: relation.is_some() }
    }

    /// `AS alias (a, b)`.
    pub fn rename(&mut self, names: &[String]) {
        for (at, name) in names.iter().enumerate() {
            match self.columns.get_mut(at) {
                Some(column) => column.name = name.clone(),
                // Columns that are not known may come before: then the n-th name is not the n-th known column.
                None => self.columns.push(Column { name: name.clone(), key_type: None, ordered: false }),
            }
        }
        if !self.complete && !names.is_empty() {
            self.columns.clear();
        }
    }
}

/// The tables of one query block.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Places in the planner's list of instances.
    pub instances: Vec<usize>,
    /// Columns that USING merged: the name, and the column whose value it has, if one has it alone.
    pub merged: Vec<(String, Option<usize>)>,
    /// NATURAL over tables of unknown columns: an unqualified name may be anything.
    pub opaque: bool,
}

/// What a column name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The use of a table.
    pub instance: usize,
    /// The column as the statement calls it.
    pub column: String,
    /// How many blocks out: 0 is the innermost.
    pub level: usize,
}

/// Looks a column up from the innermost block outwards.
pub fn column(instances: &[Instance], scopes: &[Scope], name: &[Ident]) -> Option<Found> {
    let name: Vec<Cow<'_, str>> = name.iter().map(fold).collect();
    for (level, scope) in scopes.iter().rev().enumerate() {
        let found = |instance: usize, column: &str| Some(Found { instance, column: column.to_string(), level });
        match name.as_slice() {
            [bare] => {
                if let Some((_, source)) = scope.merged.iter().find(|(merged, _)| merged == bare) {
                    let source = (*source).filter(|source| scope.instances.contains(source))?;
                    return found(source, bare);
                }
                if scope.opaque {
                    return None;
                }
                let having = |at: &&usize| {
                    instances.get(**at).is_some_and(|instance| instance.columns.iter().any(|known| known.name == *bare))
                };
                let mut hits = scope.instances.iter().filter(having);
                match (hits.next(), hits.next()) {
                    (Some(hit), None) => return found(*hit, bare),
                    (Some(_), Some(_)) => return None,
                    // One whose columns are not known may have it: then no outer block is meant.
                    _ if scope.instances.iter().any(|at| instances.get(*at).is_none_or(|one| !one.complete)) => {
                        return None;
                    }
                    _ => {}
                }
            }
            [.., table, bare] => {
                let schema = match name.as_slice() {
                    [.., schema, _, _] => Some(schema),
                    _ => None,
                };
                let named = |at: &&usize| {
                    instances.get(**at).is_some_and(|instance| {
                        instance.name == *table
                            && schema.is_none_or(|schema| instance.schema.as_deref() == Some(schema.as_ref()))
                    })
                };
                let mut hits = scope.instances.iter().filter(named);
                match (hits.next(), hits.next()) {
                    (Some(hit), None) => {
                        let known = instances.get(*hit)?.columns.iter().filter(|known| known.name == *bare).count();
                        return if known == 1 { found(*hit, bare) } else { None };
                    }
                    (Some(_), Some(_)) => return None,
                    _ => {}
                }
            }
            [] => return None,
        }
    }
    None
}
