//! Statements that are not queries, and queries beyond the grammar: read by their tokens.
//!
//! Such a statement may go to a shard only if every name in it that could be a table is a table of that one shard. Names are
//! matched without regard to schema, so a column called like a sharded table refuses a statement too many, never one too few.

use std::collections::BTreeSet;
use std::ops::Range;

use super::scope::{self, Place};
use super::{Context, Planner, functions, plan_query, refuse};
use crate::catalog::RelationKind;
use crate::error::PgError;
use crate::plan::{Effects, Fallback, Pin, Plan, Route, Verdict};
use crate::sql::classify::name_of;
use crate::sql::{Command, Token, TokenKind};
use crate::types::ShardId;
use crate::vschema::TablePlacement;

/// What the tokens alone tell of a statement's effects, for statements whose way is fixed beforehand.
pub fn quick_effects(text: &str, tokens: &[Token], command: &Command<'_>) -> Effects {
    let reads = ["select", "values", "table", "show", "explain", "fetch", "move", "close", "declare"];
    let locks = tokens.windows(2).any(|pair| {
        pair[0].is(text, "for") && ["update", "no", "share", "key"].iter().any(|lock| pair[1].is(text, lock))
    });
    let calls = |name: &str| {
        tokens.windows(2).any(|pair| {
            pair[1].kind == TokenKind::LeftParen && name_of(text, pair[0]).is_some_and(|known| known.starts_with(name))
        })
    };
    let pin = match command {
        Command::Ddl if is_temporary(text, tokens) => Some(Pin::TemporaryTable),
        Command::Declare { hold: true, .. } => Some(Pin::HoldCursor),
        Command::Load => Some(Pin::UntrackedSetting),
        _ if tokens.windows(3).any(|three| {
            three[0].is(text, "into") && (three[1].is(text, "temp") || three[1].is(text, "temporary"))
        }) =>
        {
            Some(Pin::TemporaryTable)
        }
        _ if (calls("pg_advisory_lock") || calls("pg_try_advisory_lock")) => Some(Pin::AdvisoryLock),
        _ if ["currval", "lastval", "setseed"].iter().any(|name| calls(name)) => Some(Pin::SessionState),
        _ if calls("set_config") => Some(Pin::UntrackedSetting),
        _ => None,
    };
    let first = tokens.first().and_then(|token| name_of(text, *token)).unwrap_or_default();
    let reading =
        reads.contains(&first.as_ref()) || tokens.first().is_some_and(|token| token.kind == TokenKind::LeftParen);
    let selects_into = first == "select" && tokens.iter().any(|token| token.is(text, "into"));
    Effects {
        writes: !reading || locks || selects_into || matches!(command, Command::Explain { analyze: true, .. }),
        floating: false,
        timed: true,
        sets: false,
        ddl: matches!(command, Command::Ddl) || selects_into,
        pin,
        tally: None,
    }
}

fn is_temporary(text: &str, tokens: &[Token]) -> bool {
    tokens.first().is_some_and(|token| token.is(text, "create"))
        && tokens.iter().skip(1).take(4).any(|token| token.is(text, "temp") || token.is(text, "temporary"))
}

/// Plans a statement by its command.
pub fn plan_command(context: &Context<'_>, text: &str, tokens: &[Token], command: &Command<'_>) -> Plan {
    let mut effects = quick_effects(text, tokens, command);
    let inside = |range: &Range<usize>| -> &[Token] {
        let from = tokens.partition_point(|token| (token.start as usize) < range.start);
        let to = tokens.partition_point(|token| (token.end as usize) <= range.end);
        tokens.get(from..to).unwrap_or(&[])
    };
    let simple = |fallback: Fallback, why: &str, effects: Effects| Plan {
        verdict: Verdict::Route(Route { fallback, reasons: vec![why.to_string()], ..Route::default() }),
        effects,
        literal: false,
    };
    let result = match command {
        Command::Query => return plan_query(context, text, tokens, true),
        Command::Explain { analyze, inner, route: _ } => {
            let tokens = inside(inner);
            let inner = crate::sql::classify(text.get(inner.clone()).unwrap_or(""));
            let mut plan = match inner {
                Command::Query | Command::Set { .. } => plan_query(context, text, tokens, false),
                _ => by_names(context, text, tokens, effects.clone(), "EXPLAIN of this statement"),
            };
            plan.effects.writes &= analyze;
            plan.effects.ddl = false;
            return plan;
        }
        Command::Declare { query, hold, .. } => {
            let mut plan = plan_query(context, text, inside(query), false);
            plan.effects.floating = false;
            if *hold {
                plan.effects.pin = Some(Pin::HoldCursor);
            }
            return plan;
        }
        Command::Copy { .. } => return super::copy::plan(context, text, tokens, effects),
        Command::Fetch(_) | Command::Move(_) | Command::ClosePortal(_) => {
            // If its rows tell the time, DECLARE has said so.
            effects.timed = false;
            return simple(Fallback::Attached, "the cursor is where the transaction is", effects);
        }
        Command::Show(_) => {
            effects.floating = true;
            return simple(Fallback::Any, "settings are the same everywhere", effects);
        }
        Command::Notify => return simple(Fallback::Home, "notifications go through the home shard", effects),
        Command::Load => return simple(Fallback::Attached, "the library is loaded where the session is", effects),
        Command::PrepareTransaction | Command::CommitPrepared | Command::RollbackPrepared => {
            Err(refuse::construct("prepared transactions of a client's own"))
        }
        Command::Do => Err(refuse::construct("DO")),
        Command::Call => call(context, text, tokens),
        Command::Ddl => ddl(context, text, tokens),
        Command::Vacuum if tokens.len() < 2 => Err(every_shard(text, tokens)),
        Command::Lock | Command::Vacuum => named(context, text, tokens, false),
        Command::AlterVschema => Err(refuse::construct("ALTER VSCHEMA")),
        Command::Other => return by_names(context, text, tokens, effects, "this statement"),
        Command::Empty
        | Command::Begin { .. }
        | Command::Commit { .. }
        | Command::Rollback { .. }
        | Command::Savepoint(_)
        | Command::Release(_)
        | Command::RollbackTo(_)
        | Command::Set { .. }
        | Command::SetTransaction { .. }
        | Command::SetConstraints
        | Command::Reset(_)
        | Command::ResetAll
        | Command::Discard(_)
        | Command::Prepare { .. }
        | Command::Execute { .. }
        | Command::Deallocate(_)
        | Command::Listen(_)
        | Command::Unlisten(_) => return simple(Fallback::Attached, "the session's own command", effects),
    };
    finish(result, effects)
}

fn finish(result: Result<Route, PgError>, effects: Effects) -> Plan {
    match result {
        Ok(route) => Plan { verdict: Verdict::Route(route), effects, literal: false },
        Err(error) => Plan { verdict: Verdict::Refuse(Box::new(error)), effects, literal: false },
    }
}

/// A query beyond the grammar, or a statement that is none: it passes if its names are all of one shard.
pub fn by_names(context: &Context<'_>, text: &str, tokens: &[Token], effects: Effects, what: &str) -> Plan {
    for pair in tokens.windows(2) {
        if pair[1].kind != TokenKind::LeftParen {
            continue;
        }
        let Some(name) = name_of(text, pair[0]) else { continue };
        let reads = match context.catalog.functions.get(name.as_ref()) {
            Some(function) => !function.immutable,
            None => functions::class(&name) == functions::Class::ReadsTables,
        };
        if reads && !context.vschema.local_functions.contains(name.as_ref()) {
            return finish(Err(refuse::function(&name)), effects);
        }
    }
    let result = named(context, text, tokens, false).map_err(|error| {
        let mut refusal = refuse::construct(what);
        if error.code != refusal.code {
            return error;
        }
        refusal.detail = Some(format!("By its names alone it cannot be sent to one shard: {}.", error.message));
        refusal
    });
    finish(result, effects)
}

/// Every known table that a name among the tokens may mean.
fn mentions(context: &Context<'_>, text: &str, tokens: &[Token]) -> Vec<(String, Result<Place, PgError>)> {
    let names: BTreeSet<String> =
        tokens.iter().filter_map(|token| name_of(text, *token)).map(|name| name.into_owned()).collect();
    let known: BTreeSet<(String, String)> = context
        .catalog
        .relations
        .keys()
        .chain(context.vschema.tables.keys())
        .filter(|(_, name)| names.contains(name))
        .cloned()
        .collect();
    known
        .into_iter()
        .map(|(schema, name)| {
            let place = scope::place(context, &[schema, name.clone()]);
            (name, place)
        })
        .collect()
}

/// The one shard that all named tables are on.
fn named(context: &Context<'_>, text: &str, tokens: &[Token], must: bool) -> Result<Route, PgError> {
    let mut fixed: Option<(ShardId, String)> = None;
    for (name, place) in mentions(context, text, tokens) {
        match place? {
            Place::Sharded { .. } | Place::Reference { .. } => return Err(spread(text, tokens, &name)),
            Place::Single { shard, relation } => {
                if relation.is_some_and(|relation| relation.kind != RelationKind::Table)
                    && !super::is_plain_shard(context, shard)
                {
                    return Err(refuse::view(&name));
                }
                match &fixed {
                    Some((other, table)) if *other != shard => {
                        return Err(PgError::unsupported(format!(
                            "tables \"{table}\" and \"{name}\" are on different shards"
                        ))
                        .with_detail("A statement is sent to one shard.")
                        .with_hint("Use one statement for each."));
                    }
                    _ => fixed = Some((shard, name)),
                }
            }
            Place::System | Place::Temporary | Place::Unknown => {}
        }
    }
    match fixed {
        Some((shard, name)) => Ok(Route {
            fixed: Some(shard),
            reasons: vec![format!("table {name}: unsharded, on {}", context.vschema.shard_name(shard))],
            ..Route::default()
        }),
        None if must => Err(every_shard(text, tokens)),
        // Temporary tables, or nothing at all: PostgreSQL knows.
        None => Ok(Route {
            fallback: Fallback::Attached,
            reasons: vec!["it names no table of a shard".into()],
            ..Route::default()
        }),
    }
}

fn verb(text: &str, tokens: &[Token]) -> String {
    tokens.first().map_or(String::new(), |token| token.text(text).to_ascii_uppercase())
}

fn spread(text: &str, tokens: &[Token], name: &str) -> PgError {
    PgError::unsupported(format!("{} on table \"{name}\" would have to run on several shards", verb(text, tokens)))
        .with_detail("Its rows, or its copies, are on every shard of its keyspace.")
        .with_hint("SET goldseam.shard = '...' and run it on one shard after the other.")
}

fn every_shard(text: &str, tokens: &[Token]) -> PgError {
    PgError::unsupported(format!("{} would have to run on every shard", verb(text, tokens)))
        .with_detail("Statements that change or maintain the whole database are not spread over the shards yet.")
        .with_hint("SET goldseam.shard = '...' and run it on one shard after the other.")
}

fn call(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let open = tokens.iter().position(|token| token.kind == TokenKind::LeftParen).unwrap_or(tokens.len());
    let name = open.checked_sub(1).and_then(|at| tokens.get(at)).and_then(|token| name_of(text, *token));
    let name = name.unwrap_or_default();
    if context.vschema.local_functions.contains(name.as_ref()) {
        let mut route = named(context, text, tokens, false)?;
        if route.fixed.is_none() {
            route.fallback = Fallback::Home;
        }
        return Ok(route);
    }
    Err(refuse::function(&name))
}

fn ddl(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let word = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(text, word));
    let any = |words: &[&str]| tokens.iter().take(5).any(|token| words.iter().any(|word| token.is(text, word)));
    if is_temporary(text, tokens) {
        return temporary(context, text, tokens);
    }
    let create = word(0, "create");
    if create
        && any(&[
            "function",
            "procedure",
            "extension",
            "role",
            "user",
            "database",
            "schema",
            "type",
            "domain",
            "aggregate",
        ])
        && !any(&["table", "index", "view", "trigger"])
    {
        return Err(every_shard(text, tokens));
    }
    if create && any(&["table"]) && !any(&["index", "view", "trigger", "policy", "rule"]) {
        return create_table(context, text, tokens);
    }
    // What changes something of a table's is about that table; all else is about the database.
    let of_table = word(0, "truncate")
        || any(&["table", "index", "trigger", "rule", "policy", "statistics"])
        || (!create && any(&["view", "sequence", "column"]));
    named(context, text, tokens, !of_table)
}

/// `CREATE TEMP TABLE`: on the connection that the session keeps from then on.
fn temporary(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    // The session's other connections would go on to see the table that this one hides.
    let kind = tokens.iter().position(|token| ["table", "view", "sequence"].iter().any(|kind| token.is(text, kind)));
    let exists = kind.is_some_and(|at| tokens.get(at + 1).is_some_and(|token| token.is(text, "if")));
    let mut name = kind.map_or(0, |at| if exists { at + 4 } else { at + 1 });
    while tokens.get(name + 1).is_some_and(|token| token.kind == TokenKind::Dot) {
        name += 2;
    }
    if let Some(name) = tokens.get(name).and_then(|token| name_of(text, *token))
        && context.catalog.relations.keys().chain(context.vschema.tables.keys()).any(|(_, known)| *known == name)
    {
        return Err(PgError::unsupported(format!("temporary table \"{name}\" would hide the table of that name"))
            .with_detail(
                "It exists on one connection only, and statements for other shards would still see the other table.",
            )
            .with_hint("Choose another name for it."));
    }
    let query = tokens.windows(2).position(|pair| {
        pair[0].is(text, "as")
            && (pair[1].kind == TokenKind::LeftParen
                || ["select", "with", "values", "table"].iter().any(|word| pair[1].is(text, word)))
    });
    if let Some(at) = query {
        let tokens = tokens.get(at + 1..).unwrap_or(&[]);
        let tokens = match tokens.iter().rposition(|token| token.is(text, "with")) {
            // `WITH [NO] DATA` at the end.
            Some(with)
                if tokens.get(with + 1..).is_some_and(|rest| rest.last().is_some_and(|last| last.is(text, "data"))) =>
            {
                tokens.get(..with).unwrap_or(&[])
            }
            _ => tokens,
        };
        return match plan_query(context, text, tokens, false).verdict {
            Verdict::Refuse(error) => Err(*error),
            Verdict::Route(mut route) => {
                if route.fallback == Fallback::Any {
                    route.fallback = Fallback::Attached;
                }
                Ok(route)
            }
        };
    }
    if tokens.iter().any(|token| token.is(text, "like") || token.is(text, "inherits") || token.is(text, "execute")) {
        let route = named(context, text, tokens, false);
        // LIKE takes the shape, which every shard has; only the rows of INHERITS would be partial.
        return match route {
            Err(error) if tokens.iter().any(|token| token.is(text, "inherits") || token.is(text, "execute")) => {
                Err(error)
            }
            Err(_) => Ok(Route { fallback: Fallback::Attached, ..Route::default() }),
            route => route,
        };
    }
    Ok(Route {
        fallback: Fallback::Attached,
        reasons: vec!["a temporary table stays with the session".into()],
        ..Route::default()
    })
}

fn create_table(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let mut at = tokens.iter().position(|token| token.is(text, "table")).map_or(0, |at| at + 1);
    if tokens.get(at).is_some_and(|token| token.is(text, "if")) {
        at += 3;
    }
    let mut parts = Vec::new();
    while let Some(name) = tokens.get(at).and_then(|token| name_of(text, *token)) {
        parts.push(name.into_owned());
        if tokens.get(at + 1).is_none_or(|token| token.kind != TokenKind::Dot) {
            break;
        }
        at += 2;
    }
    // Which schemas of the path exist is not known here (`"$user"` mostly does not): the one that the vschema names is meant.
    let (declared, name) = match parts.as_slice() {
        [name] => (context.search_path.iter().find_map(|schema| context.vschema.table(schema, name)), name.as_str()),
        [schema, name] => (context.vschema.table(schema, name), name.as_str()),
        _ => return Err(refuse::construct("this form of CREATE TABLE")),
    };
    let shard = match declared.map(|table| (&table.placement, table.keyspace)) {
        Some((TablePlacement::Unsharded { shard }, _)) => Some(*shard),
        Some((_, keyspace)) => match context.vschema.keyspace(keyspace).shards.as_slice() {
            [shard] => Some(*shard),
            _ => return Err(spread(text, tokens, name)),
        },
        None => {
            context.vschema.undeclared.and_then(|keyspace| context.vschema.keyspace(keyspace).shards.first().copied())
        }
    };
    let Some(shard) = shard else {
        return Err(PgError::unsupported(format!("CREATE TABLE \"{name}\" in no keyspace"))
            .with_detail("No vschema file says how its rows would be spread.")
            .with_hint(format!(
                "Add it to the vschema first ([table.{name}]), or create it shard by shard with SET goldseam.shard."
            )));
    };
    let rest = tokens.get(at + 1..).unwrap_or(&[]);
    let route = named(context, text, rest, false)?;
    if route.fixed.is_some_and(|other| other != shard) {
        return Err(PgError::unsupported(format!("CREATE TABLE \"{name}\" names a table of another shard"))
            .with_detail("A statement is sent to one shard.")
            .with_hint("Create the tables on the same shard."));
    }
    Ok(Route {
        fixed: Some(shard),
        reasons: vec![format!("table {name}: unsharded, on {}", context.vschema.shard_name(shard))],
        ..Route::default()
    })
}

impl Planner<'_> {
    /// What a finished walk says of effects.
    pub(super) fn effects(&self) -> Effects {
        Effects {
            writes: self.writes,
            floating: self.floating && !self.writes && self.pin.is_none(),
            timed: self.timed,
            sets: false,
            ddl: false,
            pin: self.pin,
            tally: None,
        }
    }
}
