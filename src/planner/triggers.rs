//! What a write sets off beside its own rows: which triggers may run on a shard as on one server that has all rows.
//!
//! A trigger's function in PL/pgSQL is read as text. It may compute what it likes of NEW and OLD, and it may read and write rows, if these are
//! surely on the shard where the trigger's row is. A statement inside is planned like a client's, with parameters in the place of NEW and OLD;
//! it must be one that the key of the trigger's row, and nothing else, leads to a shard ([`Judge::embedded`]).
//!
//! * A BEFORE trigger must not give the row another shard key: the row has been sent where its old one leads.
//! * What only each shard can tell (identifiers of transactions and of objects) and what counts (sequences) is refused.
//! * The time is that of the shard's own transaction, and no statement can tell a trigger another: what sets off such a trigger needs one shard
//!   ([`clock`]).
//! * Triggers of reference tables run once for each copy: whatever they do besides would be done several times.
//!
//! What this cannot prove an operator may declare, by the name of the table or of the function.

mod words;

use std::ops::Range;

use super::functions::{self, Spread};
use super::gather::clauses::Tokens;
use super::{Context, scope};
use crate::catalog::{ColumnDefault, Relation, Trigger};
use crate::error::PgError;
use crate::plan::{KeySet, KeySource, Origin, Requirement, Route, Verdict};
use crate::sql::classify::name_of;
use crate::sql::{self, TokenKind};
use crate::vschema::TablePlacement;
use scope::Place;
use words::{GRAMMAR, REACHES};

/// How far triggers may set off others.
const DEEPEST: u8 = 4;

/// PostgreSQL's own trigger functions, which only compute; those that fill a column fill one of text or of words.
const OWN: &[&str] =
    &["suppress_redundant_updates_trigger", "tsvector_update_trigger", "tsvector_update_trigger_column"];

/// Whether a table may be written to, as far as its triggers are concerned.
pub(super) fn check(context: &Context<'_>, place: &Place) -> Result<(), PgError> {
    let (name, relation) = match place {
        Place::Reference { table, relation } | Place::Sharded { table, relation } => (&table.name, relation),
        Place::Single { relation: Some(relation), shard } if !super::is_plain_shard(context, *shard) => {
            (&relation.name, relation)
        }
        _ => return Ok(()),
    };
    let Some((what, why)) = offence(context, place, name, relation) else { return Ok(()) };
    let declared = match what {
        Some(trigger) if trigger.function != *name => format!("[\"{name}\"], or [\"{}\"]", trigger.function),
        _ => format!("[\"{name}\"]"),
    };
    Err(PgError::unsupported(format!("table \"{name}\" has triggers or rules")).with_detail(why).with_hint(format!(
        "If they touch rows of the same shard key only, say so in the vschema: [functions] shard_local = {declared}."
    )))
}

/// A trigger that would tell the rows of each shard another time, as what it is, where one server has one time for all of them. `inserts`: the
/// statement does nothing but insert.
pub(super) fn clock(context: &Context<'_>, place: &Place, inserts: bool) -> Option<String> {
    let Place::Sharded { table, relation } = place else { return None };
    let declared = |name: &str| context.vschema.local_functions.contains(name);
    let tells = |trigger: &&Trigger| {
        (trigger.on_insert || !inserts)
            && !declared(&trigger.function)
            && trigger.source.as_deref().is_some_and(|source| tells_time(context, source))
    };
    let found = relation.triggers.iter().find(tells).filter(|_| !declared(&table.name))?;
    Some(format!("trigger function {}, which tells the time,", found.function))
}

/// Whether a function names the time, or what may tell it: a function of the time, a word of the grammar, a text that becomes it, a function of
/// users that is not immutable, or a table with a column that has it by default.
fn tells_time(context: &Context<'_>, source: &str) -> bool {
    let Ok(all) = sql::lex(source, &context.limits) else { return true };
    let tokens = Tokens { text: source, all: &all };
    let told = |name: &str| {
        let fills = |relation: &Relation| {
            relation.name == name && relation.columns.iter().any(|column| column.default == ColumnDefault::Moment)
        };
        functions::spread(name) == Spread::Time
            || matches!(name, "now" | "today" | "tomorrow" | "yesterday" | "localtime" | "localtimestamp")
            || name.starts_with("current_time")
            || name == "current_date"
            || context.catalog.functions.get(name).is_some_and(|function| !function.immutable)
            || context.catalog.relations.values().any(|relation| fills(relation))
    };
    (0..all.len()).any(|at| {
        let word = tokens.word(at).to_ascii_lowercase();
        told(word.trim_matches(|quote| quote == '\'' || quote == '"'))
    })
}

/// Why a write over several shards cannot set off a trigger of [`clock`].
pub(super) fn clocked(what: &str) -> PgError {
    PgError::unsupported(format!("{what} in a write over several shards"))
        .with_detail("Each shard would take the time from its own clock, and the rows would differ.")
        .with_hint(
            "Send one statement for each shard key; or say in the vschema that a time of each shard will do: [functions] \
             shard_local = [\"function\"].",
        )
}

/// Whether a write changes rows of other tables too, by foreign keys or triggers.
pub(super) fn reach_further(relation: &Relation, inserts: bool) -> bool {
    let writes = |trigger: &Trigger| {
        let Some(all) = trigger.source.as_ref().and_then(|source| sql::lex(source, &sql::Limits::default()).ok())
        else {
            return !trigger.system;
        };
        let tokens = Tokens { text: trigger.source.as_deref().unwrap_or_default(), all: &all };
        (0..all.len()).any(|at| tokens.any(at, &["insert", "update", "delete", "merge", "perform", "select"]))
    };
    let by_triggers = relation.has_triggers && (relation.triggers.is_empty() || relation.triggers.iter().any(writes));
    by_triggers || (relation.cascades && !inserts)
}

/// Whether a write may give fewer rows than it was given, or others: a trigger may leave them out.
pub(super) fn may_swallow(relation: &Relation) -> bool {
    let shapes = |trigger: &Trigger| match &trigger.source {
        _ if !trigger.shapes_rows => false,
        Some(source) => !returns_new(source),
        None => true,
    };
    relation.has_triggers && (relation.triggers.is_empty() || relation.triggers.iter().any(shapes))
}

/// Whether a function returns NEW wherever it returns.
fn returns_new(source: &str) -> bool {
    let Ok(all) = sql::lex(source, &sql::Limits::default()) else { return false };
    let tokens = Tokens { text: source, all: &all };
    (0..all.len())
        .filter(|at| tokens.is(*at, "return"))
        .all(|at| tokens.is(at + 1, "new") && tokens.kind(at + 2) == Some(TokenKind::Semicolon))
}

/// The first trigger that may do what another server should have a say in, and what that is.
fn offence<'r>(
    context: &Context<'_>,
    place: &Place,
    name: &str,
    relation: &'r Relation,
) -> Option<(Option<&'r Trigger>, String)> {
    const UNKNOWN: &str = "They may read or write rows that are on other shards.";
    let declared = |name: &str| context.vschema.local_functions.contains(name);
    if !relation.has_triggers || declared(name) {
        return None;
    }
    if relation.triggers.is_empty() {
        return Some((None, UNKNOWN.into()));
    }
    let copies = matches!(place, Place::Reference { .. });
    for trigger in &relation.triggers {
        let own = trigger.system && OWN.contains(&trigger.function.as_str());
        if !copies && (own || declared(&trigger.function)) {
            continue;
        }
        let told = |why: String| Some((Some(trigger), format!("Trigger function {}: {why}", trigger.function)));
        if copies {
            return told("it would run once for every copy of the table.".into());
        }
        let Some(source) = &trigger.source else {
            return Some((Some(trigger), UNKNOWN.into()));
        };
        if context.triggers >= DEEPEST {
            return told("triggers set off triggers, too deep to follow.".into());
        }
        if let Err(why) = judge(context, place, trigger, source) {
            return told(why);
        }
    }
    None
}

fn judge(context: &Context<'_>, place: &Place, trigger: &Trigger, source: &str) -> Result<(), String> {
    let all = sql::lex(source, &context.limits).map_err(|error| error.message)?;
    let keys: &[String] = match place {
        Place::Sharded { table, .. } => match &table.placement {
            TablePlacement::Sharded { columns, .. } => columns,
            _ => &[],
        },
        _ => &[],
    };
    let judge = Judge { context, place, tokens: Tokens { text: source, all: &all }, keys };
    judge.body(trigger.shapes_rows)
}

/// One function's text before its judge.
struct Judge<'j, 'c> {
    context: &'j Context<'c>,
    place: &'j Place,
    tokens: Tokens<'j>,
    /// The shard key of the trigger's table.
    keys: &'j [String],
}

impl Judge<'_, '_> {
    fn body(&self, shapes: bool) -> Result<(), String> {
        let mut at = 0;
        // Where each parenthesis stands that is open.
        let mut open: Vec<usize> = Vec::new();
        while at < self.tokens.all.len() {
            match self.tokens.kind(at) {
                Some(TokenKind::LeftParen) if self.tokens.is(at + 1, "select") => {
                    let close = self.tokens.closing(at).ok_or("its parentheses do not match.")?;
                    self.embedded(at + 1..close - 1)?;
                    at = close;
                    continue;
                }
                Some(TokenKind::LeftParen) => open.push(at),
                Some(TokenKind::RightParen) => drop(open.pop()),
                _ => {}
            }
            if self.begins(at)
                && self.tokens.any(at, &["insert", "update", "delete", "select", "perform", "merge", "with"])
            {
                let end = self.ends(at);
                self.embedded(at..end)?;
                at = end;
                continue;
            }
            if shapes {
                self.keeps_key(at)?;
            }
            self.token(at, &open)?;
            at += 1;
        }
        Ok(())
    }

    /// Whether a statement may begin here.
    fn begins(&self, at: usize) -> bool {
        at == 0
            || self.tokens.kind(at - 1) == Some(TokenKind::Semicolon)
            || self.tokens.any(at - 1, &["begin", "then", "else", "loop"])
            || self.tokens.word(at - 1) == ">>"
    }

    /// The semicolon behind.
    fn ends(&self, at: usize) -> usize {
        let all = self.tokens.all;
        (at..all.len()).find(|at| self.tokens.kind(*at) == Some(TokenKind::Semicolon)).unwrap_or(all.len())
    }

    /// Whether this does not give the row another key: no assignment, and nothing else than the row itself is returned.
    fn keeps_key(&self, at: usize) -> Result<(), String> {
        let tokens = &self.tokens;
        if tokens.is(at, "return") {
            let known =
                tokens.any(at + 1, &["new", "old", "null"]) && tokens.kind(at + 2) == Some(TokenKind::Semicolon);
            return if known { Ok(()) } else { Err("it may return a row with another shard key.".into()) };
        }
        if self.begins(at) && tokens.is(at, "new") {
            return self.assigned(at);
        }
        Ok(())
    }

    /// NEW, or a column of it, gets a value.
    fn assigned(&self, at: usize) -> Result<(), String> {
        let column = match self.tokens.kind(at + 1) {
            Some(TokenKind::Dot) => self.name(at + 2),
            _ => None,
        };
        match column {
            Some(column) if !self.keys.contains(&column) => Ok(()),
            Some(column) => Err(format!("it may change the shard key \"{column}\".")),
            None => Err("it may give the row another shard key.".into()),
        }
    }

    fn name(&self, at: usize) -> Option<String> {
        self.tokens.get(at).and_then(|token| name_of(self.tokens.text, token)).map(|name| name.into_owned())
    }

    /// One token outside of all statements: it only computes.
    fn token(&self, at: usize, open: &[usize]) -> Result<(), String> {
        let tokens = &self.tokens;
        let field = at > 0 && tokens.kind(at - 1) == Some(TokenKind::Dot);
        let kind = tokens.kind(at);
        let called = tokens.kind(at + 1) == Some(TokenKind::LeftParen);
        if kind == Some(TokenKind::QuotedName) || kind == Some(TokenKind::UnicodeName) {
            return if called { Err("it calls a function by a quoted name.".into()) } else { Ok(()) };
        }
        if kind != Some(TokenKind::Word) {
            return Ok(());
        }
        let word = self.name(at).unwrap_or_default();
        if called && !GRAMMAR.contains(&word.as_str()) {
            return self.call(at, &word);
        }
        if field {
            return Ok(());
        }
        let from = |at: usize| {
            let inside = |open: &usize| *open > 0 && tokens.any(open - 1, &["extract", "substring", "trim", "overlay"]);
            tokens.is(at.wrapping_sub(1), "distinct") || open.last().is_some_and(inside)
        };
        let fine = match word.as_str() {
            "from" => from(at),
            "with" => tokens.any(at + 1, &["time"]),
            "into" => false,
            word => !REACHES.contains(&word),
        };
        if fine { Ok(()) } else { Err(format!("what \"{word}\" does there is not certain.")) }
    }

    fn call(&self, at: usize, name: &str) -> Result<(), String> {
        if at > 1 && self.tokens.kind(at - 1) == Some(TokenKind::Dot) && !self.tokens.is(at - 2, "pg_catalog") {
            // Of a schema: known by its bare name, or not at all.
            if !self.context.catalog.functions.contains_key(name) {
                return Err(format!("what function {name} does is not known."));
            }
        }
        let fine = match self.context.catalog.functions.get(name) {
            Some(function) => {
                function.immutable || function.closed || self.context.vschema.local_functions.contains(name)
            }
            // Another value for each row is another value for each row anywhere.
            None => functions::ERRATIC.contains(&name) || functions::spread(name) != Spread::Apart,
        };
        if fine {
            Ok(())
        } else {
            Err(format!("function {name} has an answer or an effect of its own on each server."))
        }
    }

    /// A statement inside must stay where the trigger's row is.
    fn embedded(&self, span: Range<usize>) -> Result<(), String> {
        let mut at = span.start;
        // INTO and its variables are no part of the statement.
        let mut cut = span.end..span.end;
        let insert = self.tokens.is(at, "insert");
        for place in self.tokens.outer(&span) {
            if self.tokens.is(place, "into") && !self.tokens.is(place - 1, "insert") {
                let end = (place + 1..span.end).find(|end| {
                    let tokens = &self.tokens;
                    let list = tokens.kind(end - 1) == Some(TokenKind::Comma)
                        || tokens.kind(end - 1) == Some(TokenKind::Dot)
                        || tokens.any(end - 1, &["into", "strict"]);
                    !list && !matches!(tokens.kind(*end), Some(TokenKind::Comma | TokenKind::Dot))
                });
                cut = place..end.unwrap_or(span.end);
                break;
            }
        }
        for place in cut.clone().filter(|place| self.tokens.is(*place, "new")) {
            self.assigned(place)?;
        }
        let (mut text, mut parameters) = (String::new(), self.keys.len());
        if self.tokens.is(at, "perform") {
            text.push_str("SELECT");
            at += 1;
        }
        while at < span.end {
            if at == cut.start && !cut.is_empty() {
                at = cut.end;
                continue;
            }
            text.push(' ');
            let word = self.name(at).unwrap_or_default();
            let field = at > 0 && self.tokens.kind(at - 1) == Some(TokenKind::Dot);
            let row = !field && (word == "new" || word == "old");
            if row && self.tokens.kind(at + 1) == Some(TokenKind::Dot) && self.name(at + 2).is_some() {
                let column = self.name(at + 2).unwrap_or_default();
                let number = self.keys.iter().position(|key| *key == column).unwrap_or_else(|| {
                    parameters += 1;
                    parameters - 1
                });
                text.push_str(&format!("${}", number + 1));
                at += 3;
                continue;
            }
            if row || (!field && word.starts_with("tg_") && word != "tg_relid" && word != "tg_argv") {
                parameters += 1;
                text.push_str(&format!("${parameters}"));
            } else {
                text.push_str(self.tokens.word(at));
            }
            at += 1;
        }
        let what = if insert { "an INSERT inside" } else { "a statement inside" };
        let told = |error: PgError| format!("{what} may reach other shards ({}).", error.message);
        let tokens = sql::lex(&text, &self.context.limits).map_err(told)?;
        let context = Context { forced: None, triggers: self.context.triggers + 1, ..*self.context };
        let plan = super::plan_query(&context, &text, &tokens, false);
        let route = match plan.verdict {
            Verdict::Route(route) => route,
            Verdict::Refuse(error) => return Err(told(*error)),
        };
        let bound = plan.effects.pin.is_some() || plan.effects.ddl || plan.effects.sets;
        let counted = route.once.as_ref().is_some_and(|once| once.always);
        if bound || counted || route.work.is_some() || !self.stays(&route, plan.effects.writes) {
            return Err(format!("{what} may reach rows that the row's own shard key does not lead to."));
        }
        Ok(())
    }

    /// Whether a statement's rows are on the shard of the trigger's row.
    fn stays(&self, route: &Route, writes: bool) -> bool {
        let vschema = self.context.vschema;
        match self.place {
            Place::Sharded { table, .. } => {
                let TablePlacement::Sharded { vindex, .. } = &table.placement else { return false };
                let own = |requirement: &Requirement| {
                    requirement.vindex == *vindex
                        && requirement.columns.len() == self.keys.len()
                        && requirement.columns.iter().enumerate().all(|(at, column)| leads(&column.values, at))
                };
                route.fixed.is_none()
                    && route.keyspaces.iter().all(|keyspace| *keyspace == table.keyspace)
                    && route.keyed.iter().all(own)
                    && (!route.keyed.is_empty() || !writes)
            }
            Place::Single { shard, .. } => {
                route.keyed.is_empty()
                    && route.fixed.is_none_or(|fixed| fixed == *shard)
                    && (route.fixed.is_some() || !writes)
                    && route.keyspaces.iter().all(|keyspace| vschema.keyspace(*keyspace).shards.contains(shard))
            }
            _ => false,
        }
    }
}

/// Whether these values are the n-th column of the row's key.
fn leads(values: &KeySet, n: usize) -> bool {
    let own = |source: &KeySource| {
        matches!(source.origin, Origin::Parameter(number) if usize::from(number) == n)
            && !source.negate
            && source.cast.is_none()
    };
    match values {
        KeySet::Values(sources) => !sources.is_empty() && sources.iter().all(own),
        KeySet::All(sets) => sets.iter().any(|set| leads(set, n)),
        _ => false,
    }
}
