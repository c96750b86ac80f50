//! Refusals, in one place so that they read alike: what cannot be done, why, and what can be done instead.

use super::Context;
use crate::catalog::Relation;
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::vschema::Vschema;

/// A system view, or its function, that speaks of what a connection to a shard holds: that is Goldseam's, and not what the session has.
pub(super) fn of_connection(name: &str) -> Result<(), PgError> {
    match name {
        "pg_cursors" | "pg_cursor" | "pg_prepared_statements" | "pg_prepared_statement" => Err(PgError::unsupported(
            format!("{name} is not supported"),
        )
        .with_detail(
            "A shard's connection has cursors and prepared statements of Goldseam's, and not all of the session's.",
        )
        .with_hint("Ask a shard's server, past Goldseam, what its connections hold.")),
        _ => Ok(()),
    }
}

/// A function of large objects, where there are several shards: each server has its own, and their numbers say nothing on another.
pub(super) fn large_object(name: &str, vschema: &Vschema) -> Result<(), PgError> {
    if !LARGE_OBJECTS.contains(&name) || vschema.shards.len() < 2 {
        return Ok(());
    }
    Err(PgError::unsupported(format!("{name}(): large objects are not supported over several shards"))
        .with_detail("Each server has large objects of its own, and the number of one says nothing on another.")
        .with_hint("Keep the bytes in a column of type bytea."))
}

/// PostgreSQL's functions of large objects (`src/backend/libpq/be-fsstubs.c`).
const LARGE_OBJECTS: &[&str] = &[
    "lo_close",
    "lo_creat",
    "lo_create",
    "lo_export",
    "lo_from_bytea",
    "lo_get",
    "lo_import",
    "lo_lseek",
    "lo_lseek64",
    "lo_open",
    "lo_put",
    "lo_tell",
    "lo_tell64",
    "lo_truncate",
    "lo_truncate64",
    "lo_unlink",
    "loread",
    "lowrite",
];

/// A write in WITH that changes rows of other tables, while other parts read some.
pub fn carried_on(name: &str) -> PgError {
    PgError::unsupported(format!("table \"{name}\", whose changes are carried on to others, is written to inside WITH"))
        .with_detail(
            "Foreign keys or triggers change other tables with it, of which the other parts must not see anything, and over several \
             shards the parts are done in turn.",
        )
        .with_hint("Send the parts as statements of their own, in a transaction.")
}

/// SELECT INTO, but for temporary tables.
pub fn select_into() -> PgError {
    PgError::unsupported("SELECT INTO makes a table of which nothing says where its rows belong")
        .with_hint("Write CREATE TABLE ... AS SELECT, which may say it: /* goldseam: shard_key=column vindex=name */.")
}

/// A setting whose value is known on one connection only: the next statement may go to another.
pub fn setting() -> PgError {
    PgError::unsupported("set_config() with computed arguments, or beside other things, is not supported")
        .with_detail("Each shard has its own settings: they follow the session only if what is set can be read in the statement.")
        .with_hint("SELECT set_config('name', 'value', false) by itself, with constants or parameters; or use SET.")
}

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
        .with_hint(format!(
            "Give \"{column}\" a value: nextval() in a SELECT of its own draws one for the whole cluster."
        ))
}

/// An INSERT of a query whose rows may belong to other shards than those where they come into being.
pub fn carried() -> PgError {
    PgError::unsupported("INSERT of a query whose rows may belong to other shards")
        .with_detail(
            "Its rows come from several shards, and they are not known to have the shard key that they come with.",
        )
        .with_hint("Put out the source's shard key for the target's, or read the rows first and send them with INSERT.")
}

/// A row whose key changes belongs to another shard.
pub fn key_update(column: &str) -> PgError {
    PgError::unsupported(format!("shard key \"{column}\" cannot be updated"))
        .with_detail("The row would have to move to the shard of its new key.")
        .with_hint("Leave the column out of SET, or delete the row and insert it anew.")
}

/// A row that moves is deleted here and inserted there.
pub fn moved_triggers(table: &str) -> PgError {
    PgError::unsupported(format!("rows of table \"{table}\" get a new shard key, and it has triggers"))
        .with_detail("A row that moves is deleted on one shard and inserted on another, and triggers of UPDATE would not run.")
        .with_hint(format!(
            "If that does no harm, say so in the vschema: [functions] shard_local = [\"{table}\"]. Else delete the row and insert it anew."
        ))
}

/// A function that may read any table.
pub fn function(name: &str) -> PgError {
    PgError::unsupported(format!("function \"{name}\" may read or write tables"))
        .with_detail("What a function does inside cannot be told from the statement, and its rows may be on other shards.")
        .with_hint(format!(
            "If it touches rows of the statement's own shard only, say so in the vschema: [functions] shard_local = [\"{name}\"]."
        ))
}

/// A construct that only one shard can be sent.
pub fn spoiled(what: &str) -> PgError {
    PgError::unsupported(format!("{what} together with rows of several shards"))
        .with_detail("Each server has its own, and the shards' answers would not fit together.")
        .with_hint("Ask for it in a statement of its own, and give its value as a parameter.")
}

/// Two parts of one FROM list whose matching rows may be on different shards.
pub fn not_joined(one: &str, other: &str, hint: String) -> PgError {
    PgError::unsupported(format!("{one} and {other} are not joined on their shard keys"))
        .with_detail("Rows that belong together may be on different shards.")
        .with_hint(hint)
}

/// An outer join that keeps rows which every shard has.
pub fn preserved(name: &str) -> PgError {
    PgError::unsupported(format!("outer join that keeps rows of a reference table without a match in {name}"))
        .with_detail("Every shard has the row, and each without a match would put it out.")
        .with_hint("Let the sharded table be the side whose rows are kept, or use an inner join.")
}

/// A sub-query that needs rows of all shards.
pub fn not_tied(name: &str, key: &str) -> PgError {
    PgError::unsupported(format!("sub-query of sharded table \"{name}\" that is not tied to the rows around it"))
        .with_detail("For one row it may need rows of several shards, and that row's shard does not have them.")
        .with_hint(format!("Compare {name}.{key} with the outer query's shard key in the sub-query's WHERE clause."))
}

/// Something in a sub-query that is about rows of all shards.
pub fn inner(what: &str, why: &str) -> PgError {
    PgError::unsupported(format!("{what} in a sub-query over several shards")).with_detail(why).with_hint(
        "Let it go by the shard key (GROUP BY, DISTINCT or PARTITION BY with it), or put it into the outermost query.",
    )
}

/// ORDER BY inside, where nothing outside says how rows are ordered.
pub fn inner_order() -> PgError {
    PgError::unsupported("ORDER BY in a sub-query over several shards")
        .with_detail("The shards' rows are put together outside of it, and its order would be lost.")
        .with_hint("Write ORDER BY into the outermost query.")
}

/// A window whose rows are on several shards.
pub fn window() -> PgError {
    PgError::unsupported("window function over rows of several shards")
        .with_detail("Its partitions are not known to be on one shard each.")
        .with_hint("PARTITION BY the shard key, or restrict the query to one shard key.")
}

/// A set operation that compares rows of different shards.
pub fn set_operation(name: &str) -> PgError {
    PgError::unsupported(format!("{name} of rows of several shards"))
        .with_detail("Equal rows may be on different shards: no column of both sides is known to be the shard key.")
        .with_hint("Put the shard key at the same place into both select lists, or use UNION ALL.")
}

/// A set operation of rows that every shard has with rows that are spread.
pub fn mixed_set(name: &str) -> PgError {
    PgError::unsupported(format!("{name} of a part without sharded tables and one over several shards"))
        .with_detail("The rows of the part without would come once from every shard.")
        .with_hint("Send it as a statement of its own.")
}

/// Recursion over rows of several shards.
pub fn recursion() -> PgError {
    PgError::unsupported("WITH RECURSIVE over rows of several shards")
        .with_detail("The next round may need a row of another shard.")
        .with_hint("Restrict the shard key in every part of it to one value.")
}

/// Tables of keyspaces that do not share their shards.
pub fn several_keyspaces() -> PgError {
    PgError::unsupported("sharded tables of several keyspaces")
        .with_detail("Their rows are spread over different shards.")
        .with_hint("Query the keyspaces one after the other.")
}

/// A reference table that some of the shards do not have.
pub fn far_reference(keyspace: &str) -> PgError {
    PgError::unsupported(format!("reference tables of keyspace \"{keyspace}\" together with rows of other shards"))
        .with_detail("Not every shard of the sharded tables has a copy.")
        .with_hint("Make the table a reference table of that keyspace, or query them one after the other.")
}

/// A value that is another each time, where rows are compared.
pub fn erratic() -> PgError {
    PgError::unsupported("a volatile function together with ORDER BY, DISTINCT or GROUP BY over several shards")
        .with_detail(
            "It gives another value with each call, and rows would be compared by other values than are shown.",
        )
        .with_hint("Leave it out of the statement, or restrict the statement to one shard key.")
}

/// A refusal of several shards for a statement that could also go to one.
pub fn or_one_key(mut error: PgError, missing: &PgError, near: Option<&str>) -> PgError {
    if let Some(condition) = missing.hint.as_deref().and_then(|hint| hint.strip_prefix("Add a condition")) {
        error.hint = Some(format!("{} Or add a condition{condition}", error.hint.unwrap_or_default()));
    }
    if let Some(near) = near {
        error.detail = Some(format!("{} {near}", error.detail.unwrap_or_default()));
    }
    error
}
