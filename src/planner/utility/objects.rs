//! CREATE, ALTER, DROP, GRANT and their like: which object a statement is about, and so which shards have it.
//!
//! Objects that are no relations (types, functions, schemas, extensions, roles) are on all shards, because any of them may be asked. Relations are
//! where the vschema or the catalog says. Indexes the catalog in memory does not have: the shards are asked ([`Holders`]).

use std::ops::Range;

use super::super::{Context, refuse};
use super::homes::{self, Home};
use super::reader::Reader;
use super::{alter, create};
use crate::error::PgError;
use crate::plan::Route;
use crate::plan::work::definition::{Definition, Held, Holders, Manner};
use crate::sql::classify::name_of;
use crate::sql::{Token, TokenKind, lex};

/// Plans a definition.
pub fn plan(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let mut reader = Reader::new(text, tokens);
    let Some(verb) = reader.name() else { return Ok(homes::on_all(context, "a definition")) };
    match verb.as_str() {
        "create" => creation(context, reader),
        "alter" => alteration(context, reader),
        "drop" => removal(context, reader),
        "truncate" => truncation(context, reader),
        "comment" => {
            let _ = reader.eat("on");
            described(context, reader)
        }
        "security" => {
            let _ = reader.skip_to(&["on"]);
            described(context, reader)
        }
        "grant" | "revoke" => rights(context, reader),
        "refresh" => refreshed(context, reader),
        "reindex" => reindexed(context, reader),
        "cluster" => clustered(context, reader),
        "import" => Err(refuse::construct("IMPORT FOREIGN SCHEMA")),
        _ => Ok(homes::on_all(context, "the same on every shard")),
    }
}

/// What no shard can do for all of them.
fn of_a_server(what: &str) -> PgError {
    PgError::unsupported(format!("{what} is not supported through Goldseam"))
        .with_detail("Each shard is a server and a database of its own, which the server's configuration names.")
        .with_hint("Run it on the servers themselves, or on one of them with SET goldseam.shard.")
}

fn creation(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let _ = reader.eat_all(&["or", "replace"]);
    let _ = reader.eat_any(&["unlogged", "recursive", "foreign"]);
    if reader.eat("table") {
        return create::table(context, reader);
    }
    let unique = reader.eat("unique");
    if reader.eat("index") {
        return create::index(context, reader, unique);
    }
    let materialized = reader.eat("materialized");
    if reader.eat("view") {
        return create::view(context, reader, materialized);
    }
    let _ = reader.eat("constraint");
    match reader.eat_any(&[
        "trigger",
        "policy",
        "rule",
        "statistics",
        "database",
        "tablespace",
        "subscription",
        "schema",
        "function",
        "procedure",
        "publication",
        "sequence",
    ]) {
        Some("trigger" | "policy") => on_table(context, reader, &["on"]),
        Some("rule") => on_table(context, reader, &["to"]),
        Some("statistics") => on_table(context, reader, &["from"]),
        Some("database") => Err(of_a_server("CREATE DATABASE")),
        Some("tablespace") => Err(of_a_server("CREATE TABLESPACE")),
        Some("subscription") => Err(of_a_server("CREATE SUBSCRIPTION")),
        Some("schema") if reader.tokens[reader.at..].iter().any(|token| token.is(reader.text, "create")) => {
            Err(refuse::construct("CREATE SCHEMA with objects in it"))
        }
        Some("function" | "procedure") => function(context, reader),
        Some("publication") => mentioned(context, reader, "a publication"),
        Some("sequence") => {
            let mut owner = reader;
            match owner.skip_to(&["owned"]) && owner.eat("by") && !owner.sees("none") {
                true => Ok(column(context, owner)),
                false => Ok(homes::on_all(context, "a sequence: on every shard")),
            }
        }
        _ => Ok(homes::on_all(context, "the same on every shard")),
    }
}

/// A statement about whatever tables it names; all shards if there are none.
fn mentioned(context: &Context<'_>, reader: Reader<'_>, what: &str) -> Result<Route, PgError> {
    let named = homes::mentioned(context, &reader, reader.at..reader.tokens.len());
    let mut shards = homes::everywhere(context);
    for one in &named {
        if let Home::Shards(home) = &one.home {
            shards.retain(|shard| home.contains(shard));
        }
    }
    if shards.is_empty() {
        return Err(PgError::unsupported(format!("{what} names tables that are together on no shard"))
            .with_hint("Use one statement for each."));
    }
    Ok(homes::route(homes::same(shards), what))
}

/// A function: where the tables are that its head names, otherwise everywhere. Its body may be about tables of one shard: that shard looks at it, the
/// others take it as it is.
fn function(context: &Context<'_>, reader: Reader<'_>) -> Result<Route, PgError> {
    let whole = reader.at..reader.tokens.len();
    let single = |text: &str, tokens: &[Token], range: Range<usize>| {
        let reader = Reader { text, tokens, at: 0 };
        homes::mentioned(context, &reader, range).into_iter().find_map(|named| match named.home {
            Home::Shards(shards) if shards.len() == 1 => shards.first().copied(),
            _ => None,
        })
    };
    if single(reader.text, reader.tokens, whole.clone()).is_some() {
        return mentioned(context, reader, "a function about tables of some shards");
    }
    let mut shards = homes::everywhere(context);
    let bodies = reader.tokens[whole]
        .iter()
        .filter(|token| matches!(token.kind, TokenKind::DollarString | TokenKind::String | TokenKind::EscapeString));
    for body in bodies {
        let inside = body.text(reader.text);
        let inside = match body.kind {
            TokenKind::DollarString => {
                let tag = inside.get(1..).and_then(|rest| rest.find('$')).map_or(0, |at| at + 2);
                inside.get(tag..inside.len().saturating_sub(tag)).unwrap_or("")
            }
            _ => inside.trim_start_matches(['E', 'e']).trim_matches('\''),
        };
        let tokens = lex(inside, &context.limits).unwrap_or_default();
        if let Some(shard) = single(inside, &tokens, 0..tokens.len()) {
            shards.retain(|other| *other != shard);
            shards.insert(0, shard);
        }
    }
    Ok(homes::route(Definition { unchecked: true, ..homes::same(shards) }, "a function: on every shard"))
}

fn on_table(context: &Context<'_>, mut reader: Reader<'_>, words: &[&str]) -> Result<Route, PgError> {
    if !reader.skip_to(words) {
        return Ok(homes::on_all(context, "the same on every shard"));
    }
    let _ = reader.eat("only");
    Ok(match reader.qualified() {
        Some((parts, tokens)) => homes::about(context, &homes::relation(context, &parts), tokens),
        None => homes::on_all(context, "the same on every shard"),
    })
}

fn alteration(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let _ = reader.eat_any(&["foreign", "materialized"]);
    if reader.eat("table") {
        return alter::table(context, reader);
    }
    match reader.eat_any(&[
        "index",
        "statistics",
        "view",
        "sequence",
        "trigger",
        "policy",
        "rule",
        "system",
        "database",
        "schema",
    ]) {
        Some("index") => {
            if reader.eat_all(&["all", "in"]) {
                return Ok(homes::on_all(context, "indexes of a tablespace"));
            }
            let _ = reader.eat_exists();
            held(context, reader, Held::Index)
        }
        Some("statistics") => {
            let _ = reader.eat_exists();
            held(context, reader, Held::Statistics)
        }
        Some("view" | "sequence") => {
            let _ = reader.eat_exists();
            Ok(match reader.qualified() {
                Some((parts, tokens)) => homes::about(context, &homes::relation(context, &parts), tokens),
                None => homes::on_all(context, "the same on every shard"),
            })
        }
        Some("trigger" | "policy" | "rule") => on_table(context, reader, &["on"]),
        Some("system") => Err(of_a_server("ALTER SYSTEM")),
        Some("schema") => {
            let name = reader.name().unwrap_or_default();
            let tables = context.vschema.tables.keys().any(|(schema, _)| *schema == name);
            if tables && reader.sees("rename") {
                return Err(PgError::unsupported(format!("schema \"{name}\" has tables of the vschema"))
                    .with_detail("The vschema knows them by their schema's name.")
                    .with_hint("ALTER TABLE ... SET SCHEMA moves them one by one, and the vschema follows."));
            }
            Ok(homes::on_all(context, "the same on every shard"))
        }
        _ => Ok(homes::on_all(context, "the same on every shard")),
    }
}

/// A list of names, up to a token that is neither a name nor a comma.
fn names(reader: &mut Reader<'_>) -> Vec<(Vec<String>, Range<usize>)> {
    let mut names = Vec::new();
    loop {
        let _ = reader.sees("only")
            && reader.tokens.get(reader.at + 1).is_some_and(|next| name_of(reader.text, *next).is_some())
            && reader.eat("only");
        let Some(name) = reader.qualified() else { break };
        names.push(name);
        if reader.peek().is_some_and(|token| token.text(reader.text) == "*") {
            reader.at += 1;
        }
        if !reader.eat_kind(TokenKind::Comma) {
            break;
        }
    }
    names
}

/// A statement about objects that only the shards know.
fn held(context: &Context<'_>, mut reader: Reader<'_>, kind: Held) -> Result<Route, PgError> {
    let names: Vec<Range<u32>> =
        names(&mut reader).into_iter().map(|(_, tokens)| tokens.start as u32..tokens.end as u32).collect();
    let (Some(first), Some(last)) = (names.first(), names.last()) else {
        return Ok(homes::on_all(context, "the same on every shard"));
    };
    let tokens = reader.tokens.len() as u32;
    let holders = Some(Holders { kind, list: first.start..last.end, names, tokens });
    let definition = Definition { holders, ..homes::same(homes::everywhere(context)) };
    Ok(homes::route(definition, "the shards that have it"))
}

fn removal(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let _ = reader.eat_any(&["foreign", "materialized"]);
    match reader.eat_any(&[
        "table",
        "view",
        "sequence",
        "index",
        "statistics",
        "trigger",
        "policy",
        "rule",
        "database",
        "tablespace",
        "subscription",
    ]) {
        Some("table" | "view" | "sequence") => {
            let _ = reader.eat_exists();
            let list = names(&mut reader);
            let names = list.iter().map(|(parts, _)| homes::relation(context, parts).name);
            if let Some(error) = names.into_iter().find_map(|name| alter::lookup(context, &name, None)) {
                return Err(error);
            }
            Ok(homes::about_list(context, &reader, &list).unwrap_or_else(|| homes::on_all(context, "a removal")))
        }
        Some("index") => {
            let concurrently = reader.eat("concurrently");
            let _ = reader.eat_exists();
            let route = held(context, reader, Held::Index)?;
            Ok(if concurrently { homes::in_manner(route, Manner::OneByOne) } else { route })
        }
        Some("statistics") => {
            let _ = reader.eat_exists();
            held(context, reader, Held::Statistics)
        }
        Some("trigger" | "policy" | "rule") => on_table(context, reader, &["on"]),
        Some("database") => Err(of_a_server("DROP DATABASE")),
        Some("tablespace") => Err(of_a_server("DROP TABLESPACE")),
        Some("subscription") => Err(of_a_server("DROP SUBSCRIPTION")),
        _ => Ok(homes::on_all(context, "the same on every shard")),
    }
}

fn truncation(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let _ = reader.eat("table");
    let list = names(&mut reader);
    Ok(homes::about_list(context, &reader, &list).unwrap_or_else(|| homes::on_all(context, "tables")))
}

/// What follows COMMENT ON or SECURITY LABEL ON.
fn described(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let _ = reader.eat_any(&["foreign", "materialized"]);
    let kind = reader.eat_any(&[
        "table",
        "view",
        "sequence",
        "column",
        "index",
        "statistics",
        "constraint",
        "trigger",
        "policy",
        "rule",
    ]);
    match kind {
        Some("table" | "view" | "sequence") => Ok(match reader.qualified() {
            Some((parts, tokens)) => homes::about(context, &homes::relation(context, &parts), tokens),
            None => homes::on_all(context, "the same on every shard"),
        }),
        Some("column") => Ok(column(context, reader)),
        Some("index") => held(context, reader, Held::Index),
        Some("statistics") => held(context, reader, Held::Statistics),
        Some(_) => {
            let mut ahead = reader;
            match ahead.skip_to(&["on"]) && ahead.sees("domain") {
                true => Ok(homes::on_all(context, "the same on every shard")),
                false => on_table(context, reader, &["on"]),
            }
        }
        None => Ok(homes::on_all(context, "the same on every shard")),
    }
}

/// A statement about a column of a table, whose name comes next.
fn column(context: &Context<'_>, mut reader: Reader<'_>) -> Route {
    match reader.qualified() {
        Some((mut parts, tokens)) if parts.len() > 1 => {
            parts.pop();
            homes::about(context, &homes::relation(context, &parts), tokens.start..tokens.end - 2)
        }
        _ => homes::on_all(context, "the same on every shard"),
    }
}

/// GRANT and REVOKE.
fn rights(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    if !reader.skip_to(&["on"]) {
        return Ok(homes::on_all(context, "roles are on every shard"));
    }
    let others = [
        "all",
        "schema",
        "database",
        "function",
        "procedure",
        "routine",
        "type",
        "domain",
        "language",
        "large",
        "tablespace",
        "foreign",
        "parameter",
    ];
    let of_tables = reader.eat_any(&["table", "sequence"]).is_some();
    if !of_tables && others.iter().any(|word| reader.sees(word)) {
        return Ok(homes::on_all(context, "the same on every shard"));
    }
    let list = names(&mut reader);
    Ok(homes::about_list(context, &reader, &list).unwrap_or_else(|| homes::on_all(context, "rights")))
}

fn refreshed(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let _ = reader.eat_all(&["materialized", "view"]);
    let _ = reader.eat("concurrently");
    Ok(match reader.qualified() {
        Some((parts, tokens)) => homes::about(context, &homes::relation(context, &parts), tokens),
        None => homes::on_all(context, "a materialized view"),
    })
}

fn reindexed(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let options = reader.parenthesized();
    let mut concurrently =
        options.is_some_and(|range| reader.tokens[range].iter().any(|token| token.is(reader.text, "concurrently")));
    let kind = reader.eat_any(&["index", "table", "schema", "database", "system"]);
    concurrently |= reader.eat("concurrently");
    let route = match kind {
        Some("index") => held(context, reader, Held::Index)?,
        Some("table") => match reader.qualified() {
            Some((parts, tokens)) => homes::about(context, &homes::relation(context, &parts), tokens),
            None => homes::on_all(context, "a table"),
        },
        // PostgreSQL does not allow these in a transaction.
        _ => homes::in_manner(homes::on_all(context, "every shard's own indexes"), Manner::OneByOne),
    };
    Ok(if concurrently { homes::in_manner(route, Manner::OneByOne) } else { route })
}

fn clustered(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let _ = reader.parenthesized();
    let _ = reader.eat("verbose");
    Ok(match reader.qualified() {
        Some((parts, tokens)) => homes::about(context, &homes::relation(context, &parts), tokens),
        None => homes::in_manner(homes::on_all(context, "every clustered table"), Manner::OneByOne),
    })
}

/// VACUUM, ANALYZE, CHECKPOINT.
pub fn upkeep(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let mut reader = Reader::new(text, tokens);
    let _ = reader.name();
    if reader.parenthesized().is_none() {
        while reader.eat_any(&["full", "freeze", "verbose", "analyze", "analyse"]).is_some() {}
    }
    let mut list = Vec::new();
    for one in reader.list(reader.at..reader.tokens.len()) {
        let mut inner = reader.within(one.clone());
        if let Some((parts, _)) = inner.qualified() {
            list.push((parts, one));
        }
    }
    let route =
        homes::about_list(context, &reader, &list).unwrap_or_else(|| homes::on_all(context, "every shard's tables"));
    Ok(homes::in_manner(route, Manner::SideBySide))
}

/// LOCK TABLE.
pub fn lock(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let mut reader = Reader::new(text, tokens);
    let _ = reader.name();
    let _ = reader.eat("table");
    let list = names(&mut reader);
    let route = homes::about_list(context, &reader, &list).unwrap_or_else(|| homes::on_all(context, "tables"));
    Ok(homes::in_manner(route, Manner::Within))
}
