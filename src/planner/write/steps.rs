//! Writes that take several steps: what is run first, and what is done then ([`Write`]).
//!
//! Such a way is looked for where the statement has none, or none for all values. It does not prove again what a statement may do: what is run
//! last is planned anew when it runs, or a plain statement of its kind is planned here in its stead and must not be refused.
//!
//! # WITH
//! Each query in WITH is a source, in the order of the text, so that a write among them is done once, and before what reads what it returns. All of
//! them see what was there before the statement: a table that one of them writes to and another reads is a source before all of them, and a
//! table that two of them write to is refused.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{Query, SetExpr, Statement, Visit, With, visit_relations};

use super::names::Around;
use super::seen::reads_of;
use super::staged::{Dissection, Named, Reads, Stays};
use crate::error::PgError;
use crate::plan::gather::Piece;
use crate::plan::work::Write;
use crate::plan::work::write::{Last, Source};
use crate::plan::{Plan, Route, Steps, Verdict, Work};
use crate::planner::bench::quote;
use crate::planner::scope::{self, Place};
use crate::planner::{Context, Planner, refuse, triggers};
use crate::sql::{Token, TokenKind};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// The same plan, with a way in steps where it has no other.
pub fn plan_in_steps(context: &Context<'_>, text: &str, tokens: &[Token], statement: &Statement, plan: Plan) -> Plan {
    let Plan { verdict, mut effects, literal } = plan;
    let writes = |query: &Query| {
        main_of(query).is_some()
            || query.with.iter().flat_map(|with| &with.cte_tables).any(|cte| main_of(&cte.query).is_some())
    };
    if matches!(statement, Statement::Query(query) if !writes(query)) {
        return Plan { verdict, effects, literal };
    }
    // The rest of one that has been taken apart is not taken apart again.
    let rest = matches!(statement, Statement::Update(_) | Statement::Delete(_) | Statement::Merge(_));
    if rest && text.contains(") AS goldseam (c0") {
        return Plan { verdict, effects, literal };
    }
    let planner = Planner::new(context, text, tokens);
    let routed = match verdict {
        Verdict::Route(route) => Ok(route),
        Verdict::Refuse(error) => Err(*error),
    };
    let verdict = match in_steps(context, text, &planner.tokens, planner.body.clone(), statement, routed) {
        Ok(route) => {
            if route.work.is_some() {
                (effects.writes, effects.floating) = (true, false);
            }
            Verdict::Route(route)
        }
        Err(error) => Verdict::Refuse(Box::new(error)),
    };
    Plan { verdict, effects, literal }
}

/// Gives a write a way in steps where it has no other, or not for all values.
fn in_steps(
    context: &Context<'_>,
    text: &str,
    all: &[Token],
    body: Range<usize>,
    statement: &Statement,
    routed: Result<Route, PgError>,
) -> Result<Route, PgError> {
    let always = match &routed {
        Ok(route) if route.work.is_some() || route.once.as_ref().is_some_and(|once| once.always) => return routed,
        Ok(route) if route.keyed.is_empty() => return routed,
        // What goes to several shards as it is does so; but keys of a directory are looked up one by one.
        Ok(route) if route.gather.is_some() && !is_directory(context, route) => return routed,
        Ok(_) if is_plain(statement) => return routed,
        Ok(_) => false,
        // MERGE has been judged by its names alone, which may be those of tables in other schemas.
        Err(error) if error.code == SqlState::FEATURE_NOT_SUPPORTED || matches!(statement, Statement::Merge(_)) => true,
        Err(_) => return routed,
    };
    if let Some(clock) = clock(context, statement) {
        return routed.map_err(|_| triggers::clocked(&clock));
    }
    let parts = Dissection { context: *context, text, all, body, sources: Vec::new(), named: Vec::new() };
    match parts.write(statement) {
        Ok(write) => {
            let reasons = write.reasons.clone();
            let work = Some(Arc::new(Work { always, steps: Steps::Write(write) }));
            Ok(match routed {
                Ok(route) => Route { work, ..route },
                Err(_) => Route { work, reasons, ..Route::default() },
            })
        }
        Err(Missing::Nothing) => routed,
        // The way that there is says best what is missing.
        Err(Missing::Refused(error)) => routed.map_err(|known| if always { error } else { known }),
    }
}

/// A trigger that tells the time, of any of a write's tables.
fn clock(context: &Context<'_>, statement: &Statement) -> Option<String> {
    let inserts = matches!(statement, Statement::Insert(insert) if insert.on.is_none());
    let found = visit_relations(statement, |name| {
        let place = scope::parts(name).and_then(|parts| scope::place(context, &parts).ok());
        place
            .and_then(|place| triggers::clock(context, &place, inserts))
            .map_or(ControlFlow::Continue(()), ControlFlow::Break)
    });
    found.break_value()
}

/// Why there is no way in steps.
pub enum Missing {
    /// Steps would not make it another statement.
    Nothing,
    /// This.
    Refused(PgError),
}

impl From<PgError> for Missing {
    fn from(error: PgError) -> Self {
        Missing::Refused(error)
    }
}

fn is_directory(context: &Context<'_>, route: &Route) -> bool {
    route.keyed.iter().any(|keyed| keyed.insert && context.vschema.vindex(keyed.vindex).directory.is_some())
}

/// A single row with its key, for which there is one shard.
fn is_plain(statement: &Statement) -> bool {
    let Statement::Insert(insert) = statement else { return false };
    match insert.source.as_deref().map(|source| &*source.body) {
        Some(SetExpr::Values(values)) => values.rows.len() < 2,
        _ => false,
    }
}

impl Dissection<'_> {
    /// The steps of a write, or of a query with a write in WITH.
    fn write(mut self, statement: &Statement) -> Result<Write, Missing> {
        let (with, main) = match statement {
            Statement::Query(query) => (query.with.as_ref(), main_of(query)),
            statement => (None, Some(statement)),
        };
        let describers = self.describers(statement);
        let mut written = HashSet::new();
        let start = match with {
            Some(with) => {
                self.seen_before(with, statement, main)?;
                self.with(with, &mut written)?
            }
            None => self.body.start,
        };
        let rest = start..self.body.end;
        let last = match (main, statement) {
            (Some(main), _) => {
                self.unwritten_names(&reads_of(main), &written)?;
                self.last(main, rest)?
            }
            (None, Statement::Query(query)) if !written.is_empty() => {
                self.unwritten(&query.body, &written)?;
                let mut edits = self.named_only(&query.body)?;
                edits.extend(self.named_only(&query.order_by)?);
                edits.extend(self.named_only(&query.limit_clause)?);
                Last::Anew(self.text_of(rest, edits)?)
            }
            _ => return Err(Missing::Nothing),
        };
        if self.sources.is_empty() && matches!(last, Last::Anew(_)) {
            return Err(Missing::Nothing);
        }
        let mut reasons: Vec<String> =
            self.sources.iter().map(|source| format!("{}: run first, its rows are kept", source.label)).collect();
        reasons.push(told(&last));
        Ok(Write { sources: self.sources, last, describers, reasons })
    }

    /// What is done with the sources' rows.
    fn last(&mut self, main: &Statement, rest: Range<usize>) -> Result<Last, Missing> {
        match main {
            Statement::Insert(insert) => self.insert_rows(insert, rest),
            Statement::Update(update) => match self.moved(update, rest.clone())? {
                Some(moved) => Ok(Last::Move(Box::new(moved))),
                None => {
                    let (around, stays) = self.beside(&update.table, update_list(update))?;
                    let mut edits = self.staged(&update.table, &around, &stays)?;
                    edits.extend(self.staged(&update.assignments, &around, &stays)?);
                    edits.extend(self.staged(&update.from, &around, &stays)?);
                    edits.extend(self.staged(&update.selection, &around, &stays)?);
                    edits.extend(self.staged(&update.returning, &around, &stays)?);
                    Ok(Last::Anew(self.text_of(rest, edits)?))
                }
            },
            Statement::Delete(delete) => {
                let (sqlparser::ast::FromTable::WithFromKeyword(tables)
                | sqlparser::ast::FromTable::WithoutKeyword(tables)) = &delete.from;
                let [target] = tables.as_slice() else {
                    return Err(refuse::construct("this form of DELETE").into());
                };
                let using = delete.using.as_deref().unwrap_or(&[]);
                let (around, stays) = self.beside(target, using)?;
                let mut edits = self.staged(target, &around, &stays)?;
                edits.extend(self.staged(&delete.using, &around, &stays)?);
                edits.extend(self.staged(&delete.selection, &around, &stays)?);
                edits.extend(self.staged(&delete.returning, &around, &stays)?);
                Ok(Last::Anew(self.text_of(rest, edits)?))
            }
            Statement::Merge(merge) => Ok(Last::Merge(Box::new(self.merged(merge, rest)?))),
            _ => Err(Missing::Nothing),
        }
    }

    /// The queries in WITH become sources; the token after them.
    fn with(&mut self, with: &With, written: &mut HashSet<(String, String)>) -> Result<usize, PgError> {
        let mut start = self.body.start;
        for cte in &with.cte_tables {
            let name = scope::fold(&cte.alias.name).into_owned();
            let names: Vec<String> =
                cte.alias.columns.iter().map(|column| scope::fold(&column.name).into_owned()).collect();
            let span = self.query_span(&cte.query).ok_or_else(|| refuse::construct("this query in WITH"))?;
            match (main_of(&cte.query), &cte.query.with) {
                (Some(write), None) => self.unwritten_names(&reads_of(write), written)?,
                _ => self.unwritten(&cte.query, written)?,
            }
            let mut reads = Reads { names: HashSet::new() };
            let _ = cte.query.visit(&mut reads);
            let recursive = with.recursive && reads.names.contains(&name);
            let target = main_of(&cte.query).and_then(target_name).and_then(|name| self.name_span(name));
            let edits = self.named_beside(&cte.query, target.map(|span| span.start))?;
            let mut text = self.text_of(span.clone(), edits)?;
            if recursive {
                let columns: Vec<String> = names.iter().map(|name| quote(name)).collect();
                let list = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
                text.pieces.insert(0, Piece::Words(format!("WITH RECURSIVE {}{list} AS (", quote(&name))));
                text.pieces.push(Piece::Words(format!(") SELECT * FROM {}", quote(&name))));
            }
            let source = self.add(Source { label: format!("query {name} in WITH"), text, names })?;
            if let Some(statement) = main_of(&cte.query) {
                written.extend(self.written_by(statement));
            }
            self.named.push(Named { name, source });
            start = span.end + 1;
            if self.tokens().any(start, &["search", "cycle"]) {
                return Err(refuse::construct("SEARCH and CYCLE in WITH beside a write"));
            }
        }
        Ok(start)
    }

    /// No table of this part has been written to by an earlier one.
    fn unwritten<V: Visit>(&self, part: &V, written: &HashSet<(String, String)>) -> Result<(), PgError> {
        let mut reads = Reads { names: HashSet::new() };
        let _ = part.visit(&mut reads);
        self.unwritten_names(&reads.names, written)
    }

    fn unwritten_names(&self, reads: &HashSet<String>, written: &HashSet<(String, String)>) -> Result<(), PgError> {
        let named = |name: &String| self.named.iter().any(|named| named.name == *name);
        match written.iter().find(|(_, name)| reads.contains(name) && !named(name)) {
            None => Ok(()),
            Some((_, name)) => Err(written_and_used(name)),
        }
    }

    fn written_by(&self, statement: &Statement) -> Option<(String, String)> {
        let name = target_name(statement)?;
        let parts = scope::parts(name)?;
        Some((parts.first().cloned().unwrap_or_default(), parts.last().cloned()?))
    }

    /// What is around the sub-queries of an UPDATE or DELETE, and which tables stay.
    pub fn beside(
        &self,
        target: &sqlparser::ast::TableWithJoins,
        list: &[sqlparser::ast::TableWithJoins],
    ) -> Result<(Around, Stays), PgError> {
        let name = table_name(&target.relation).ok_or_else(|| refuse::construct("a change of this"))?;
        let mut around = Around::default();
        let parts = scope::parts(name).ok_or_else(|| refuse::construct("a computed table name"))?;
        around.add(&self.context, &parts);
        for item in list {
            for factor in std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)) {
                if let Some(parts) = table_name(factor).and_then(scope::parts) {
                    around.add(&self.context, &parts);
                }
            }
        }
        Ok((around, self.stays(name)?))
    }

    /// Which tables may stay beside one that is written to.
    pub fn stays(&self, target: &sqlparser::ast::ObjectName) -> Result<Stays, PgError> {
        let parts = scope::parts(target).ok_or_else(|| refuse::construct("a computed table name"))?;
        let at = self.name_span(target).map(|span| span.start);
        Ok(match scope::place(&self.context, &parts)? {
            Place::Sharded { table, .. } | Place::Reference { table, .. } => {
                Stays { target: at, keyspace: Some(table.keyspace), shard: None }
            }
            Place::Single { shard, .. } => Stays { target: at, keyspace: None, shard: Some(shard) },
            _ => Stays { target: at, ..Stays::default() },
        })
    }

    /// The shards that have all of the statement's tables, if it names any.
    fn describers(&self, statement: &Statement) -> Option<Vec<ShardId>> {
        let mut tables = Tables { names: Vec::new() };
        let _ = statement.visit(&mut tables);
        let mut common: Option<Vec<ShardId>> = None;
        for parts in &tables.names {
            let shards = match scope::place(&self.context, parts) {
                Ok(Place::Sharded { table, .. } | Place::Reference { table, .. }) => {
                    self.context.vschema.keyspace(table.keyspace).shards.clone()
                }
                Ok(Place::Single { shard, .. }) => vec![shard],
                _ => continue,
            };
            common = Some(match common {
                None => shards,
                Some(known) => known.into_iter().filter(|shard| shards.contains(shard)).collect(),
            });
        }
        common
    }

    /// Where a word stands outside of all parentheses, in these tokens; not where it is another word's part.
    pub fn find(&self, range: Range<usize>, word: &str) -> Option<usize> {
        let tokens = self.tokens();
        tokens.outer(&range).into_iter().find(|at| {
            tokens.is(*at, word)
                && tokens.kind(*at) == Some(TokenKind::Word)
                && !(*at > range.start
                    && (tokens.kind(*at - 1) == Some(TokenKind::Dot)
                        || tokens.is(*at - 1, "as")
                        || (word == "from" && tokens.is(*at - 1, "distinct"))))
        })
    }
}

struct Tables {
    names: Vec<Vec<String>>,
}

impl sqlparser::ast::Visitor for Tables {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &sqlparser::ast::ObjectName) -> std::ops::ControlFlow<()> {
        self.names.extend(scope::parts(name));
        std::ops::ControlFlow::Continue(())
    }
}

/// The write that a query is, after its WITH.
pub fn main_of(query: &Query) -> Option<&Statement> {
    match &*query.body {
        SetExpr::Insert(statement)
        | SetExpr::Update(statement)
        | SetExpr::Delete(statement)
        | SetExpr::Merge(statement) => Some(statement),
        _ => None,
    }
}

pub fn written_and_used(name: &str) -> PgError {
    PgError::unsupported(format!(
        "table \"{name}\" is written to inside WITH, and used by another part of the statement"
    ))
    .with_detail(
        "All parts see the rows that were there before the statement, and over several shards they are done in turn.",
    )
    .with_hint("Send the parts as statements of their own, in a transaction.")
}

/// The name of the table that a write is about.
pub fn target_name(statement: &Statement) -> Option<&sqlparser::ast::ObjectName> {
    match statement {
        Statement::Insert(insert) => match &insert.table {
            sqlparser::ast::TableObject::TableName(name) => Some(name),
            _ => None,
        },
        Statement::Update(update) => table_name(&update.table.relation),
        Statement::Delete(delete) => match &delete.from {
            sqlparser::ast::FromTable::WithFromKeyword(tables) | sqlparser::ast::FromTable::WithoutKeyword(tables) => {
                table_name(&tables.first()?.relation)
            }
        },
        Statement::Merge(merge) => table_name(&merge.table),
        _ => None,
    }
}

/// The name of a table in a FROM list.
pub fn table_name(factor: &sqlparser::ast::TableFactor) -> Option<&sqlparser::ast::ObjectName> {
    match factor {
        sqlparser::ast::TableFactor::Table { name, args: None, .. } => Some(name),
        _ => None,
    }
}

/// The FROM list of an UPDATE.
pub fn update_list(update: &sqlparser::ast::Update) -> &[sqlparser::ast::TableWithJoins] {
    match &update.from {
        Some(sqlparser::ast::UpdateTableFromKind::AfterSet(tables)) => tables,
        _ => &[],
    }
}

fn told(last: &Last) -> String {
    match last {
        Last::Anew(_) | Last::Each(..) => "the rest: planned anew over them".into(),
        Last::Rows(rows) => format!("table {}: each row goes where its key leads", rows.target.table),
        Last::Move(moved) => format!("table {}: rows move where their new key leads", moved.target.table),
        Last::Merge(merge) => format!("table {}: each row that is merged goes where its key leads", merge.table),
    }
}
