//! What has to be one value for a whole statement, found in its tokens and put in its place.
//!
//! * **The time.** `now()` and its kin are the beginning of the transaction; each server has one of its own. Where a statement goes to
//!   several shards, or to another one than the transaction's first, the value of the first is put in their place. A column of the
//!   select list that would lose its name gets it back by AS. So are columns that an INSERT leaves to a default such as `now()`.
//! * **Sequences.** A sequence of a table that is spread exists on every shard, and one of these, on the lowest shard, counts for all. Columns that
//!   an INSERT leaves to it get numbers before the rows are split; `nextval('s')` gets one wherever PostgreSQL would evaluate it exactly
//!   once: in a row of VALUES, and in a SELECT of one row. `currval` and `lastval` are the session's own.
//! * **Keys.** `goldseam.ulid()`, `goldseam.uuid_v7()` and `goldseam.snowflake()` in the same places; as a column's default, too.
//!
//! Places are found by tokens, what they mean by the tree: a word counts only where the walk has met it as a call.

mod insert;
mod sites;
mod sweep;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, Statement};

use super::gather::names::column_name;
use super::reference::quoted;
use super::{Context, Planner};
use crate::catalog::{Column, ColumnDefault, Relation, RelationKind};
use crate::error::PgError;
use crate::plan::once::{Part, Sequence, Source};
use crate::plan::{Once, Route};
use crate::sql::parse::byte_of;
use crate::sql::{Token, TokenKind, begins_clause};
use insert::Supply;
use sites::{Kind, Site, replaced, site};

/// What is found out on the way.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Calls that can be replaced, by the first byte of the function's name.
    sites: HashMap<u32, Site>,
    /// Those that the walk has met.
    met: Vec<u32>,
    /// Of these, those that have a value of their own for a column.
    bare: Vec<u32>,
    /// Expressions here are evaluated exactly once.
    pub once: bool,
    /// Columns of select lists that take their names from such a call.
    named: usize,
    /// The sequences that calls name.
    sequences: HashMap<u32, Arc<Sequence>>,
    /// Sequences that are set.
    resets: Vec<Arc<Sequence>>,
    /// Columns and values that an INSERT gets beside its own.
    supply: Option<Supply>,
    /// DEFAULT, by its first byte, and what stands for it.
    defaults: Vec<(u32, Vec<Part>)>,
    /// Something has to be replaced, wherever the statement goes.
    always: bool,
    /// What was met tells the time.
    timed: bool,
}

/// Names of columns whose value is the time.
const TIMES: &[&str] = &[
    "now",
    "transaction_timestamp",
    "statement_timestamp",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtime",
    "localtimestamp",
];

impl Found {
    /// What could be replaced in a text.
    pub fn new(text: &str, tokens: &[Token]) -> Found {
        let mut sites = HashMap::new();
        for at in 0..tokens.len() {
            if let Some((byte, site)) = site(text, tokens, at) {
                sites.insert(byte, site);
            }
        }
        Found { sites, ..Found::default() }
    }
}

impl Planner<'_> {
    /// A call of `now()` or its kin: whether its value can be put in its place.
    pub(super) fn meet_time(&mut self, byte: Option<u32>) -> bool {
        let Some(byte) = byte else { return false };
        match self.found.sites.get(&byte) {
            Some(Site { kind: Kind::Time { .. }, .. }) => {
                self.found.met.push(byte);
                self.found.timed = true;
                true
            }
            _ => false,
        }
    }

    /// A call of a key maker: whether a new key can be put in its place.
    pub(super) fn meet_maker(&mut self, byte: Option<u32>) -> bool {
        let Some(byte) = byte.filter(|_| self.found.once) else { return false };
        match self.found.sites.get(&byte) {
            Some(Site { kind: Kind::Made(_), .. }) => {
                self.found.met.push(byte);
                self.found.always = true;
                true
            }
            _ => false,
        }
    }

    /// A call about a sequence that several shards have: whether its value can be put in its place.
    pub(super) fn meet_sequence(&mut self, byte: Option<u32>, sequence: &Sequence) -> bool {
        let Some(byte) = byte else { return false };
        let known = match self.found.sites.get(&byte).map(|site| &site.kind) {
            Some(Kind::Next) => self.found.once,
            Some(Kind::Current) => true,
            _ => false,
        };
        if !known {
            // It is set, or counts on its home for each row: the numbers that wait to be given out come too late.
            self.found.resets.push(Arc::new(sequence.clone()));
        }
        if known {
            self.found.met.push(byte);
            self.found.always = true;
            self.found.sequences.insert(byte, Arc::new(sequence.clone()));
        }
        known
    }

    /// A call of `lastval()`.
    pub(super) fn meet_last(&mut self, byte: Option<u32>) {
        if let Some(byte) = byte
            && self.found.sites.contains_key(&byte)
        {
            self.found.met.push(byte);
        }
    }

    /// DEFAULT in an UPDATE: whether it tells the time, and that can be put in its place.
    pub(super) fn meet_default(&mut self, relation: &Relation, column: &str, value: &Expr) -> bool {
        let Some(column) = relation.column(column).map(|at| &relation.columns[at]) else { return false };
        let (ColumnDefault::Moment, Some(expression)) = (column.default, &column.supply.expression) else {
            return false;
        };
        let (Some(byte), Some(parts)) = (ident_byte(value), replaced(expression, false)) else { return false };
        self.found.defaults.push((byte, parts));
        true
    }

    /// Whether a default tells the time, and that can be put in its place.
    pub(super) fn can_replace(&self, column: &Column) -> bool {
        column.supply.expression.as_deref().is_some_and(|expression| replaced(expression, false).is_some())
    }

    /// Whether a query is evaluated for one row: a SELECT without FROM, and nothing around it.
    pub(super) fn is_single_row(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = &*query.body else { return false };
        query.with.is_none() && select.from.is_empty() && select.selection.is_none() && !self.body_returns_sets()
    }

    /// The route of a statement that has to get its values first.
    pub(super) fn deferred(&mut self, statement: &Statement) -> Result<Route, PgError> {
        self.take_template(statement);
        match self.template.take() {
            Some(template) => {
                let reasons =
                    vec!["values that are made once are put in first: numbers of sequences, keys, the time".into()];
                Ok(Route { once: Some(Arc::new(template)), reasons, ..Route::default() })
            }
            None => Err(super::refuse::construct("a sequence's number in this place")),
        }
    }

    /// The walk is over: what it has found becomes a template.
    pub(super) fn take_template(&mut self, statement: &Statement) {
        let (read, returning) = match statement {
            Statement::Query(query) => (Some(&**query), None),
            Statement::Insert(insert) => (None, insert.returning.as_deref()),
            Statement::Update(update) => (None, update.returning.as_deref()),
            Statement::Delete(delete) => (None, delete.returning.as_deref()),
            _ => (None, None),
        };
        self.template = self.template_of(read, returning);
        if self.template.is_none() && (self.found.timed || self.has_moment()) {
            self.spoil("now(), which each server would answer by its own clock,");
            if self.found.supply.take().is_some() || !self.found.defaults.is_empty() {
                self.moment.get_or_insert_with(|| "the default of a column".into());
            }
        }
    }

    /// A sequence that several shards have, by its schema and name.
    pub(super) fn spread_sequence(&self, schema: &str, name: &str, identity: bool) -> Option<Sequence> {
        spread_sequence(&self.context, schema, name, identity)
    }

    /// The sequence that a call's literal names, if several shards have it.
    pub(super) fn named_sequence(&self, parts: &[String]) -> Option<Sequence> {
        let sequence = match parts {
            [bare] => self.context.search_path.iter().find_map(|schema| {
                let known = self.context.catalog.relations.contains_key(&(schema.clone(), bare.clone()));
                known.then(|| self.spread_sequence(schema, bare, false))
            })?,
            [schema, bare] | [_, schema, bare] => self.spread_sequence(schema, bare, false),
            _ => None,
        }?;
        (!sequence.others.is_empty()).then_some(sequence)
    }

    /// A column of a select list: its name may come from a call that is replaced. `met`: how many calls had been met before it.
    pub(super) fn note_named(&mut self, expr: &Expr, met: usize) {
        if self.found.met.len() > met && is_own_name(expr) {
            self.found.named += 1;
        }
    }

    /// How many calls have been met so far.
    pub(super) fn met(&self) -> usize {
        self.found.met.len()
    }

    /// Values of a row of VALUES, each of which is evaluated once.
    pub(super) fn note_row<'e>(&mut self, row: impl IntoIterator<Item = &'e Expr>) {
        for value in row {
            if let Expr::Function(function) = value
                && let Some(byte) = name_byte(&function.name)
            {
                self.found.bare.push(byte);
            }
        }
    }

    /// Whether the statement cannot be sent anywhere as it is.
    pub(super) fn needs_values(&self) -> bool {
        self.found.always
    }

    /// Whether something in it, or a column that it leaves to its default, is the time, and can be put in its place.
    pub(super) fn has_moment(&self) -> bool {
        self.found.timed || self.found.supply.is_some() || !self.found.defaults.is_empty()
    }

    /// The statement as a template, if there is something to be put into it. `read`: the query that it is.
    fn template_of(&self, read: Option<&Query>, returning: Option<&[SelectItem]>) -> Option<Once> {
        let found = &self.found;
        let none = found.met.is_empty() && found.supply.is_none() && found.defaults.is_empty();
        if none && found.resets.is_empty() {
            return None;
        }
        let mut edits: Vec<(Range<u32>, Vec<Part>)> = Vec::new();
        for byte in &found.met {
            let site = found.sites.get(byte)?;
            edits.push((site.tokens.clone(), self.value_of(*byte, site)?));
        }
        for (byte, parts) in &found.defaults {
            let at = self.tokens.binary_search_by_key(byte, |token| token.start).ok()?;
            let at = u32::try_from(at).ok()?;
            edits.push((at..at + 1, parts.clone()));
        }
        if let Some(supply) = &found.supply {
            self.insert_edits(supply, &mut edits)?;
        }
        let mut named = 0;
        if let Some(items) = read.and_then(|query| projection(&query.body)) {
            named += self.alias_edits("select", items, &mut edits)?;
        }
        if let Some(items) = returning {
            named += self.alias_edits("returning", items, &mut edits)?;
        }
        if named != found.named {
            return None;
        }
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut parts = Vec::with_capacity(edits.len() * 2 + 1);
        let mut at = u32::try_from(self.body.start).ok()?;
        let end = u32::try_from(self.body.end).ok()?;
        for (range, with) in edits {
            if range.start < at || range.end > end {
                return None;
            }
            if at < range.start {
                parts.push(Part::Tokens(at..range.start));
            }
            parts.extend(with);
            at = range.end;
        }
        if at < end {
            parts.push(Part::Tokens(at..end));
        }
        let timed = |part: &Part| matches!(part, Part::Value { source: Source::Transaction | Source::Statement, .. });
        let timed = parts.iter().any(timed);
        let has_last =
            found.met.iter().any(|byte| matches!(found.sites.get(byte), Some(Site { kind: Kind::Last, .. })));
        Some(Once { always: found.always, timed, has_last, parts, resets: found.resets.clone() })
    }

    fn value_of(&self, byte: u32, site: &Site) -> Option<Vec<Part>> {
        let bare = self.found.bare.contains(&byte);
        let value = |source: Source| Part::Value { source, bare };
        Some(match &site.kind {
            Kind::Time { source, cast: None } => vec![Part::Value { source: source.clone(), bare: false }],
            Kind::Time { source, cast: Some(cast) } => vec![
                Part::Words("CAST(".into()),
                Part::Value { source: source.clone(), bare: false },
                Part::Words(format!("AS {cast})")),
            ],
            Kind::Next => vec![value(Source::Next(self.found.sequences.get(&byte)?.clone()))],
            Kind::Current => vec![value(Source::Current(self.found.sequences.get(&byte)?.clone()))],
            Kind::Last => vec![value(Source::Last)],
            Kind::Made(maker) => vec![value(Source::Made(*maker))],
        })
    }

    /// `AS name` behind the items of the outermost list that lose their names; how many.
    fn alias_edits(&self, word: &str, items: &[SelectItem], edits: &mut Vec<(Range<u32>, Vec<Part>)>) -> Option<usize> {
        let mut wanted = Vec::new();
        for (n, item) in items.iter().enumerate() {
            if let SelectItem::UnnamedExpr(expr) = item
                && is_own_name(expr)
            {
                wanted.push((n, column_name(expr)?));
            }
        }
        if wanted.is_empty() {
            return Some(0);
        }
        let ends = self.list_ends(word)?;
        if ends.len() != items.len() {
            return None;
        }
        let mut count = 0;
        let mut start = 0;
        for (n, end) in ends.iter().enumerate() {
            let inside = |range: &Range<u32>| range.start >= start && range.end <= *end;
            if let Some((_, name)) = wanted.iter().find(|(at, _)| *at == n)
                && edits.iter().any(|(range, _)| inside(range))
            {
                edits.push((*end..*end, vec![Part::Words(format!("AS {}", quoted(name)))]));
                count += 1;
            }
            start = *end;
        }
        Some(count)
    }

    /// Where the items of a list end that begins with the last such word outside of parentheses.
    fn list_ends(&self, word: &str) -> Option<Vec<u32>> {
        let tokens = self.tokens.get(self.body.clone())?;
        let depths = depths(tokens);
        let outside = |at: &usize| depths[*at] == 0;
        let is_next = |at: usize| {
            let token = tokens[at];
            token.is(self.text, "from") || token.is(self.text, "into") || begins_clause(token, self.text)
        };
        let mut hits = (0..tokens.len()).filter(outside).filter(|at| tokens[*at].is(self.text, word));
        let first = if word == "select" { hits.next()? } else { hits.next_back()? };
        let mut ends = Vec::new();
        let mut at = first + 1;
        if at >= tokens.len() {
            return None;
        }
        loop {
            let over = at >= tokens.len() || (depths[at] == 0 && is_next(at));
            if over || (depths[at] == 0 && tokens[at].kind == TokenKind::Comma) {
                ends.push(u32::try_from(self.body.start + at).ok()?);
            }
            if over {
                return Some(ends);
            }
            at += 1;
        }
    }
}

/// A sequence by its schema and name.
pub(super) fn spread_sequence(context: &Context<'_>, schema: &str, name: &str, identity: bool) -> Option<Sequence> {
    let relation = context.catalog.relations.get(&(schema.to_owned(), name.to_owned()))?;
    if relation.kind != RelationKind::Sequence {
        return None;
    }
    let (home, others) = relation.shards.split_first()?;
    Some(Sequence { schema: schema.into(), name: name.into(), home: *home, others: others.to_vec(), identity })
}

/// The first byte of a function's own name.
pub(super) fn name_byte(name: &sqlparser::ast::ObjectName) -> Option<u32> {
    let ident = name.0.last()?.as_ident()?;
    u32::try_from(byte_of(ident.span)?).ok()
}

/// Whether a column takes its name from a call that may be replaced.
fn is_own_name(expr: &Expr) -> bool {
    let name = column_name(expr);
    name.is_some_and(|name| {
        TIMES.contains(&name.as_str())
            || matches!(name.as_str(), "nextval" | "currval" | "lastval" | "ulid" | "uuid_v7" | "snowflake")
    })
}

/// The select list that names a query's columns.
fn projection(body: &SetExpr) -> Option<&[SelectItem]> {
    match body {
        SetExpr::Select(select) => Some(&select.projection),
        SetExpr::SetOperation { left, .. } => projection(left),
        _ => None,
    }
}

fn depths(tokens: &[Token]) -> Vec<usize> {
    let mut depth = 0usize;
    tokens
        .iter()
        .map(|token| match token.kind {
            TokenKind::LeftParen | TokenKind::LeftBracket => {
                depth += 1;
                depth - 1
            }
            TokenKind::RightParen | TokenKind::RightBracket => {
                depth = depth.saturating_sub(1);
                depth
            }
            _ => depth,
        })
        .collect()
}

/// The parts of a sequence's name as `regclass` reads it.
pub(super) fn sequence_parts(text: &str) -> Option<Vec<String>> {
    let parts: Option<Vec<String>> = text
        .split('.')
        .map(|part| match part.strip_prefix('"') {
            Some(part) => part.strip_suffix('"').map(str::to_string),
            None => Some(part.trim().to_ascii_lowercase()),
        })
        .collect();
    parts.filter(|parts| parts.iter().all(|part| !part.is_empty() && !part.contains('"')))
}

/// Whether a function of the schema `goldseam` makes keys.
pub(super) fn is_maker(name: &str) -> bool {
    matches!(name, "ulid" | "uuid_v7" | "snowflake")
}

/// The first byte of a name that stands alone.
fn ident_byte(value: &Expr) -> Option<u32> {
    let Expr::Identifier(ident) = value else { return None };
    u32::try_from(byte_of(ident.span)?).ok()
}
