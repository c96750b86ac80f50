//! Where the objects are that a statement without a syntax tree names.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::super::Context;
use super::super::scope::OWN_SCHEMA;
use super::reader::Reader;
use crate::catalog::Relation;
use crate::plan::work::definition::{Definition, Manner, Part, parts};
use crate::plan::{Route, Steps, Work};
use crate::sql::TokenKind;
use crate::types::ShardId;
use crate::vschema::alter::TableName;
use crate::vschema::{Table, TablePlacement};

/// The shards that have an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// These.
    Shards(Vec<ShardId>),
    /// The connection that the session keeps.
    Temporary,
    /// PostgreSQL's own, on all of them.
    System,
    /// None, as far as is known.
    Unknown,
}

/// A relation that a name stands for, or would.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its schema, as far as can be told, and its name.
    pub name: TableName,
    /// Its place in the vschema.
    pub table: Option<Arc<Table>>,
    /// What the shards have.
    pub relation: Option<Arc<Relation>>,
    /// Where.
    pub home: Home,
}

/// All shards, in their order.
pub fn everywhere(context: &Context<'_>) -> Vec<ShardId> {
    (0..context.vschema.shards.len()).map(|index| ShardId(index as u16)).collect()
}

/// The shards of a table's place.
pub fn placed(context: &Context<'_>, table: &Table) -> Vec<ShardId> {
    match &table.placement {
        TablePlacement::Unsharded { shard } => vec![*shard],
        _ => context.vschema.keyspace(table.keyspace).shards.clone(),
    }
}

/// The schema in which a name without one makes a new object. Which schemas exist is known only of those that have relations, so that the
/// usual `"$user"`, which mostly is not there, is passed over.
fn new_schema(context: &Context<'_>) -> String {
    let inhabited =
        |schema: &&String| *schema == "public" || context.catalog.relations.keys().any(|(known, _)| known == *schema);
    let path = context.search_path;
    path.iter().find(inhabited).or(path.last()).cloned().unwrap_or_else(|| "public".into())
}

/// Looks a relation up along the search path.
pub fn relation(context: &Context<'_>, parts: &[String]) -> Named {
    let (schema, bare) = match parts {
        [.., schema, bare] => (Some(schema.clone()), bare.clone()),
        [bare] => (None, bare.clone()),
        [] => (None, String::new()),
    };
    let of = |schema: &str| {
        let table = context.vschema.table(schema, &bare).cloned();
        let relation = context.catalog.relations.get(&(schema.to_owned(), bare.clone())).cloned();
        (table, relation)
    };
    let nothing =
        |schema: String, home: Home| Named { name: TableName::new(&schema, &bare), table: None, relation: None, home };
    let schema = match schema {
        Some(schema) if schema.starts_with("pg_temp") => return nothing(schema, Home::Temporary),
        Some(schema) if schema == "information_schema" || schema.starts_with("pg_") => {
            return nothing(schema, Home::System);
        }
        Some(schema) if schema == OWN_SCHEMA && of(&schema).0.is_none() && of(&schema).1.is_none() => {
            return nothing(schema, Home::Shards(vec![context.vschema.home()]));
        }
        Some(schema) => schema,
        None if context.catalog.system_relations.contains(&bare) => {
            return nothing("pg_catalog".into(), Home::System);
        }
        None => {
            let path = context.search_path;
            let exists = path.iter().find(|schema| of(schema).1.is_some());
            let declared = || path.iter().find(|schema| of(schema).0.is_some());
            exists.or_else(declared).cloned().unwrap_or_else(|| new_schema(context))
        }
    };
    let (table, relation) = of(&schema);
    let home = match (&table, &relation) {
        (Some(table), _) => Home::Shards(placed(context, table)),
        (None, Some(relation)) => Home::Shards(relation.shards.clone()),
        (None, None) => Home::Unknown,
    };
    Named { name: TableName::new(&schema, &bare), table, relation, home }
}

/// Every relation whose name stands among the tokens.
pub fn mentioned(context: &Context<'_>, reader: &Reader<'_>, range: Range<usize>) -> Vec<Named> {
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut inner = reader.within(range);
    while !inner.is_over() {
        match inner.peek().map(|token| token.kind) {
            Some(TokenKind::Word | TokenKind::QuotedName) => match inner.qualified() {
                Some((parts, _)) => {
                    // `schema.table`, `table.column`, `schema.table.column`: what stands in front may be the table.
                    for end in 1..=parts.len().min(3) {
                        found.insert(parts[..end].to_vec());
                    }
                }
                None => inner.at += 1,
            },
            _ => inner.at += 1,
        }
    }
    let named = found.iter().map(|parts| relation(context, parts));
    named.filter(|named| named.table.is_some() || named.relation.is_some()).collect()
}

/// A definition as a route.
pub fn route(definition: Definition, why: impl Into<String>) -> Route {
    let work = Work { always: true, steps: Steps::Definition(definition) };
    Route { work: Some(Arc::new(work)), reasons: vec![why.into()], ..Route::default() }
}

/// The client's own text on these shards.
pub fn same(shards: Vec<ShardId>) -> Definition {
    Definition { parts: vec![Part { shards, text: None }], ..Definition::default() }
}

/// The client's own text on all shards.
pub fn on_all(context: &Context<'_>, why: &str) -> Route {
    route(same(everywhere(context)), why)
}

/// Where a relation is, for people.
pub fn reason(context: &Context<'_>, named: &Named) -> String {
    let shards = match &named.home {
        Home::Shards(shards) => shards.clone(),
        _ => return format!("{}: not known", named.name.name),
    };
    let names: Vec<&str> = shards.iter().map(|shard| context.vschema.shard_name(*shard)).collect();
    format!("{}: on {}", named.name.name, names.join(", "))
}

/// A statement about one relation.
pub fn about(context: &Context<'_>, named: &Named, tokens: Range<usize>) -> Route {
    let why = reason(context, named);
    match &named.home {
        Home::Shards(shards) => route(same(shards.clone()), why),
        Home::System => on_all(context, &why),
        Home::Temporary | Home::Unknown => {
            let unknown = Some(tokens.start as u32..tokens.end as u32);
            route(Definition { unknown, ..same(everywhere(context)) }, why)
        }
    }
}

/// A statement about a list of relations, each of which may be elsewhere.
pub fn about_list(context: &Context<'_>, reader: &Reader<'_>, list: &[(Vec<String>, Range<usize>)]) -> Option<Route> {
    let (first, last) = (list.first()?, list.last()?);
    let named: Vec<Named> = list.iter().map(|(parts, _)| relation(context, parts)).collect();
    if let ([only], [(_, tokens)]) = (&named[..], list) {
        return Some(about(context, only, tokens.clone()));
    }
    let homes: Vec<Vec<ShardId>> = named
        .iter()
        .map(|named| match &named.home {
            Home::Shards(shards) => shards.clone(),
            _ => everywhere(context),
        })
        .collect();
    let whole = first.1.start as u32..last.1.end as u32;
    let names: Vec<Range<u32>> = list.iter().map(|(_, tokens)| tokens.start as u32..tokens.end as u32).collect();
    let parts = parts(&whole, &names, &homes, reader.tokens.len() as u32);
    let unknown = named
        .iter()
        .zip(&names)
        .find(|(named, _)| matches!(named.home, Home::Temporary | Home::Unknown))
        .map(|(_, tokens)| tokens.clone());
    let why: Vec<String> = named.iter().map(|named| reason(context, named)).collect();
    Some(Route { reasons: why, ..route(Definition { parts, unknown, ..Definition::default() }, "") })
}

/// The same, run in another manner.
pub fn in_manner(route: Route, manner: Manner) -> Route {
    let Some(Work { steps: Steps::Definition(definition), .. }) = route.work.as_deref() else { return route };
    let definition = Definition { manner, ..definition.clone() };
    let work = Work { always: true, steps: Steps::Definition(definition) };
    Route { work: Some(Arc::new(work)), ..route }
}
