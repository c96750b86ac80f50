//! Statements that are not queries, and queries beyond the grammar: read by their tokens.
//!
//! Such a statement may go to a shard only if every name in it that could be a table is a table of that one shard. Names are
//! matched without regard to schema, so a column called like a sharded table refuses a statement too many, never one too few.
//!
//! Definitions have rooms of their own: [`objects`] finds what a statement is about and which shards have it ([`homes`]); [`create`] and [`alter`]
//! are about tables, whose place a [`comment`] may name and whose keys ([`shape`]) are judged by [`judge`]; [`blocks`] looks into DO, and
//! [`temporary`] is about what stays with one connection.

mod alter;
mod blocks;
mod comment;
mod create;
mod homes;
mod judge;
mod objects;
mod reader;
mod shape;
mod temporary;

use std::collections::BTreeSet;
use std::ops::Range;

use super::scope::{self, Place};
use super::{Context, Planner, functions, plan_query, refuse};
use crate::catalog::RelationKind;
use crate::error::PgError;
use crate::plan::work::definition::Manner;
use crate::plan::{Effects, Fallback, Pin, Plan, Route, Steps, Verdict, Work};
use crate::sql::classify::name_of;
use crate::sql::{Command, Token, TokenKind};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

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
        noted: false,
        tally: None,
    }
}

fn is_temporary(text: &str, tokens: &[Token]) -> bool {
    tokens.first().is_some_and(|token| token.is(text, "create"))
        && tokens.iter().skip(1).take(4).any(|token| token.is(text, "temp") || token.is(text, "temporary"))
}

/// Whether a statement's comment says where the table is to be that it makes.
pub fn names_a_place(text: &str, tokens: &[Token], command: &Command<'_>) -> bool {
    matches!(command, Command::Ddl)
        && tokens.first().is_some_and(|token| token.is(text, "create"))
        && tokens.iter().take(4).any(|token| token.is(text, "table"))
        && !is_temporary(text, tokens)
        && crate::sql::comments::words(text, tokens).iter().any(|(word, _)| *word == "shard")
}

/// An EXPLAIN that no shard can answer alone: each shard says what it would do.
fn over_several(mut plan: Plan) -> Plan {
    let steps = |always| Some(std::sync::Arc::new(Work { always, steps: Steps::Explain }));
    match &mut plan.verdict {
        Verdict::Route(route) if route.work.is_none() => route.work = steps(false),
        Verdict::Route(_) => {}
        Verdict::Refuse(error) if error.code == SqlState::FEATURE_NOT_SUPPORTED => {
            let reasons = vec!["each shard explains its part".to_string()];
            plan.verdict = Verdict::Route(Route { work: steps(true), reasons, ..Route::default() });
        }
        Verdict::Refuse(_) => {}
    }
    plan
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
            return over_several(plan);
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
        Command::Do => return defined(blocks::plan(context, text, tokens), effects),
        Command::Call => call(context, text, tokens),
        Command::Ddl => {
            let result = ddl(context, text, tokens);
            return defined(result, effects);
        }
        Command::Vacuum => return defined(objects::upkeep(context, text, tokens), effects),
        Command::Lock => return defined(objects::lock(context, text, tokens), effects),
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

/// The plan of a definition: the texts of one normal form are not alike, because names may stand in its strings.
fn defined(result: Result<Route, PgError>, mut effects: Effects) -> Plan {
    if let Ok(Route { work: Some(work), .. }) = &result
        && let Steps::Definition(definition) = &work.steps
    {
        let together = definition.manner == Manner::Together;
        let writes = together || definition.manner == Manner::Within;
        effects = Effects { writes, ddl: together, timed: false, floating: false, pin: None, ..effects };
    }
    Plan { literal: true, ..finish(result, effects) }
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
    let result = named(context, text, tokens).map_err(|error| {
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
fn named(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let (mut fixed, mut temporary): (Option<(ShardId, String)>, bool) = (None, false);
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
            Place::Temporary => temporary = true,
            Place::System | Place::Unknown => {}
        }
    }
    match fixed {
        Some((shard, name)) => Ok(Route {
            fixed: Some(shard),
            reasons: vec![format!("table {name}: unsharded, on {}", context.vschema.shard_name(shard))],
            ..Route::default()
        }),
        // What a catalog says is told by one shard, whatever else the session is doing: OIDs differ from shard to shard.
        None if !temporary && speaks_of_objects(context, text, tokens) => Ok(Route {
            fallback: Fallback::Home,
            reasons: vec!["the home shard: catalogs and OIDs are its own".into()],
            ..Route::default()
        }),
        // Temporary tables, or nothing at all: PostgreSQL knows.
        None => Ok(Route {
            fallback: Fallback::Attached,
            reasons: vec!["it names no table of a shard".into()],
            ..Route::default()
        }),
    }
}

/// Whether any name among the tokens is one of a catalog, or of a type or function whose values are OIDs.
fn speaks_of_objects(context: &Context<'_>, text: &str, tokens: &[Token]) -> bool {
    tokens.iter().filter_map(|token| name_of(text, *token)).any(|name| {
        context.catalog.system_relations.contains(name.as_ref())
            || name == "information_schema"
            || functions::speaks_of_oids(&name)
            || name.starts_with("reg")
    })
}

fn verb(text: &str, tokens: &[Token]) -> String {
    tokens.first().map_or(String::new(), |token| token.text(text).to_ascii_uppercase())
}

fn spread(text: &str, tokens: &[Token], name: &str) -> PgError {
    PgError::unsupported(format!("{} on table \"{name}\" would have to run on several shards", verb(text, tokens)))
        .with_detail("Its rows, or its copies, are on every shard of its keyspace.")
        .with_hint("SET goldseam.shard = '...' and run it on one shard after the other.")
}

fn call(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let open = tokens.iter().position(|token| token.kind == TokenKind::LeftParen).unwrap_or(tokens.len());
    let name = open.checked_sub(1).and_then(|at| tokens.get(at)).and_then(|token| name_of(text, *token));
    let name = name.unwrap_or_default();
    if context.vschema.local_functions.contains(name.as_ref()) {
        let mut route = named(context, text, tokens)?;
        if route.fixed.is_none() {
            route.fallback = Fallback::Home;
        }
        return Ok(route);
    }
    let refused = refuse::function(&name);
    let hint = refused.hint.clone().unwrap_or_default();
    Err(refused.with_hint(format!("{hint} Or say where it runs: /* goldseam: shard=s1 */ CALL ..., for operators.")))
}

fn ddl(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    if is_temporary(text, tokens) {
        temporary::create(context, text, tokens)
    } else {
        objects::plan(context, text, tokens)
    }
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
            noted: false,
            tally: None,
        }
    }
}
