//! Refusals, in one place so that they read alike: what cannot be done, why, and what can be done instead.

use super::Context;
use crate::catalog::Relation;
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::vschema::Vschema;

/// A construct that no rule covers.
pub fn construct(what: &str) -> PgError {
    PgError::unsupported(format!("Goldseam does not support {what} yet"))
        .with_detail("Where such a statement belongs cannot be told from its text.")
        .with_hint("SET goldseam.shard = '...' sends statements to a shard of your choice.")
}

/// A view hides which tables it reads.
pub fn view(name: &str) -> PgError {
    PgError::unsupported(format!("\"{name}\" is a view, and views over several shards are not supported yet"))
        .with_detail("On each shard it shows that shard's rows only.")
        .with_hint("Query its tables directly with their shard key, or name a shard with SET goldseam.shard.")
}

/// Each shard has a sequence of its own.
pub fn sequence(name: &str) -> PgError {
    PgError::unsupported(format!("sequence \"{name}\" is on several shards"))
        .with_detail("Each shard would count by itself, and numbers would repeat.")
        .with_hint("Use a sequence of an unsharded keyspace, or values that are unique by themselves, such as UUIDs.")
}

/// A table that no file places.
pub fn undeclared(context: &Context<'_>, relation: &Relation) -> PgError {
    let name = if relation.schema == "public" {
        relation.name.clone()
    } else {
        format!("\"{}.{}\"", relation.schema, relation.name)
    };
    let keyspace = context.vschema.keyspaces.first().map_or("main", |keyspace| keyspace.name.as_str());
    PgError::new(SqlState::UNDEFINED_TABLE, format!("table \"{}\" is in no keyspace", relation.name))
        .with_detail(format!(
            "It is on shard {}, but no vschema file says how its rows are spread.",
            relation.shards.iter().map(|shard| context.vschema.shard_name(*shard)).collect::<Vec<_>>().join(", ")
        ))
        .with_hint(format!(
            "Add to the vschema:\n[table.{name}]\nkeyspace = \"{keyspace}\"\ntype = \"reference\"  # or shard_key and vindex, or type = \"unsharded\""
        ))
}

/// No value restricts a shard key.
pub fn no_key(
    vschema: &Vschema,
    table: &crate::vschema::Table,
    name: &str,
    column: &str,
    near: Option<&str>,
) -> PgError {
    let keyspace = vschema.keyspace(table.keyspace);
    let mut detail = format!(
        "Its rows are spread over {} shards by \"{column}\", and this query block does not restrict it to known values.",
        keyspace.shards.len()
    );
    if let Some(near) = near {
        detail.push(' ');
        detail.push_str(near);
    }
    PgError::unsupported(format!("query of sharded table \"{}\" does not name its shard key", table.name))
        .with_detail(detail)
        .with_hint(format!("Add a condition such as {name}.{column} = ... to the WHERE clause."))
}

/// A column filled by a sequence of its own on every shard.
pub fn sequence_default(table: &str, column: &str) -> PgError {
    PgError::unsupported(format!("INSERT into \"{table}\" leaves \"{column}\" to a sequence"))
        .with_detail("Each shard would count by itself, and numbers would repeat.")
        .with_hint(format!("Give \"{column}\" a value in the INSERT; cluster-wide sequences come later."))
}

/// A row whose key changes belongs to another shard.
pub fn key_update(column: &str) -> PgError {
    PgError::unsupported(format!("shard key \"{column}\" cannot be updated"))
        .with_detail("The row would have to move to the shard of its new key.")
        .with_hint("Leave the column out of SET, or delete the row and insert it anew.")
}

/// A function that may read any table.
pub fn function(name: &str) -> PgError {
    PgError::unsupported(format!("function \"{name}\" may read or write tables"))
        .with_detail("What a function does inside cannot be told from the statement, and its rows may be on other shards.")
        .with_hint(format!(
            "If it touches rows of the statement's own shard only, say so in the vschema: [functions] shard_local = [\"{name}\"]."
        ))
}
