//! Writes to reference tables: what makes the copies on all shards stay equal.
//!
//! A statement that does the same with equal rows is sent to every shard as it is. What may come out differently from one copy to the next is
//! found by what the statement says: a function that gives another value with each call or on each server, a choice among rows that no
//! order decides (LIMIT, a join in UPDATE ... FROM, aggregates that depend on the order of rows), a column that says where a row
//! lies, a default of which nothing certain is known. Such a statement runs on the keyspace's first shard, and the rows that it has made
//! are copied by their primary key.
//!
//! What takes rows of sharded or unsharded tables is not for here.
//!
//! FOR UPDATE and its kin lock the first shard's copy, where every writer comes first.

use std::sync::Arc;

use sqlparser::ast::{Delete, Insert, OnConflictAction, OnInsert, SetExpr, Update};

use super::functions::{self, Class};
use super::write::{assigned, column_name, is_default};
use super::{Planner, refuse};
use crate::catalog::{Column, ColumnDefault, Relation};
use crate::error::PgError;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::copies::{Change, Copies, RowColumn, Rows, Way};
use crate::plan::{Steps, Work};
use crate::sql::{self, TokenKind};
use crate::types::{KeyspaceId, oid};
use crate::vschema::Table;

/// What is found inside of a statement that also writes in WITH.
pub(super) const WRITE_IN_WITH: &str = "INSERT, UPDATE or DELETE inside WITH";

/// One write to a reference table.
#[derive(Debug)]
pub(super) struct Copied {
    keyspace: KeyspaceId,
    relation: Arc<Relation>,
    /// As the statement calls it.
    called: String,
    change: Change,
    returning: bool,
    /// It is in a query of WITH.
    nested: bool,
    /// Why the copies might become different.
    uneven: Option<String>,
    /// Columns of the primary key change.
    moves_key: bool,
    /// A column is left to a sequence.
    draws: bool,
}

impl Planner<'_> {
    fn copied(&self, at: usize, table: &Table, relation: &Arc<Relation>, change: Change, returning: bool) -> Copied {
        Copied {
            keyspace: table.keyspace,
            relation: relation.clone(),
            called: self.instances.get(at).map_or_else(|| table.name.clone(), |instance| instance.name.clone()),
            change,
            returning,
            nested: !self.reading.is_empty() || !self.scopes.is_empty(),
            uneven: None,
            moves_key: false,
            draws: false,
        }
    }

    /// Takes note of an INSERT into a reference table.
    pub(super) fn copy_insert(&mut self, at: usize, table: &Table, relation: &Arc<Relation>, insert: &Insert) {
        let mut copied = self.copied(at, table, relation, Change::Insert, insert.returning.is_some());
        if let Some(OnInsert::OnConflict(conflict)) = &insert.on
            && let OnConflictAction::DoUpdate(update) = &conflict.action
        {
            copied.change = Change::Upsert;
            for assignment in &update.assignments {
                let names = assigned(assignment).unwrap_or_default();
                copied.moves_key |= names.is_empty() || names.iter().any(|name| is_key(relation, name));
                if is_default(&assignment.value) {
                    names.iter().for_each(|name| copied.leave(relation.column(name).map(|at| &relation.columns[at])));
                }
            }
        }
        let named: Vec<String> = insert.columns.iter().filter_map(column_name).collect();
        let mut given: Vec<&str> = named.iter().map(String::as_str).collect();
        if named.is_empty() {
            given = relation.columns.iter().map(|column| column.name.as_str()).collect();
        }
        match insert.source.as_deref().map(|source| &*source.body) {
            None => given.clear(),
            Some(SetExpr::Values(values)) => {
                given.truncate(values.rows.first().map_or(0, |row| row.content.len()));
                for row in &values.rows {
                    for (name, value) in given.iter().zip(&row.content) {
                        if is_default(value) && !self.is_supplied_default(value) {
                            copied.leave(relation.column(name).map(|at| &relation.columns[at]));
                        }
                    }
                }
            }
            // A query of fewer columns than the table has: which are left to their defaults is not known from here.
            Some(_) if named.is_empty() => given.clear(),
            Some(_) => {}
        }
        for column in &relation.columns {
            if !given.contains(&column.name.as_str()) && !self.is_supplied(&column.name) {
                copied.leave(Some(column));
            }
        }
        self.copied.push(copied);
    }

    /// Takes note of an UPDATE of a reference table.
    pub(super) fn copy_update(&mut self, at: usize, table: &Table, relation: &Arc<Relation>, update: &Update) {
        let mut copied = self.copied(at, table, relation, Change::Update, update.returning.is_some());
        if update.from.is_some() {
            copied.uneven = Some("UPDATE ... FROM takes any of several rows that match".into());
        }
        for assignment in &update.assignments {
            let names = assigned(assignment).unwrap_or_default();
            copied.moves_key |= names.is_empty() || names.iter().any(|name| is_key(relation, name));
            // Where a default's time can be put in its place, the walk does so.
            let moment = |name: &String| {
                relation.column(name).is_some_and(|at| {
                    relation.columns[at].default == ColumnDefault::Moment && self.can_replace(&relation.columns[at])
                })
            };
            if is_default(&assignment.value) && !names.iter().all(moment) {
                names.iter().for_each(|name| copied.leave(relation.column(name).map(|at| &relation.columns[at])));
            }
        }
        self.copied.push(copied);
    }

    /// Takes note of a DELETE from a reference table.
    pub(super) fn copy_delete(&mut self, at: usize, table: &Table, relation: &Arc<Relation>, delete: &Delete) {
        let copied = self.copied(at, table, relation, Change::Delete, delete.returning.is_some());
        self.copied.push(copied);
    }

    /// The steps of a statement that writes to reference tables, if it is one.
    pub(super) fn settle_copies(&mut self) -> Result<(), PgError> {
        self.settle_locks()?;
        if self.copied.is_empty() || self.work.is_some() {
            return Ok(());
        }
        let mut copied = std::mem::take(&mut self.copied);
        let name = copied[0].relation.name.clone();
        if let Some(used) = self.uses.iter().find(|used| !used.reference) {
            return Err(mixed(&name, &format!("Table \"{}\" is spread over shards.", used.table.name)));
        }
        if let Some((_, what)) = &self.fixed {
            return Err(mixed(&name, &format!("The statement also uses {what}, which one shard has.")));
        }
        if self.attached || self.need_home.is_some() || self.pin.is_some() {
            return Err(mixed(&name, "The statement also uses state that one connection has."));
        }
        let keyspace = copied[0].keyspace;
        if copied.iter().any(|other| other.keyspace != keyspace) {
            return Err(refuse::several_keyspaces());
        }
        let vschema = self.context.vschema;
        let shards = &vschema.keyspace(keyspace).shards;
        for other in &self.keyspaces {
            let other = vschema.keyspace(*other);
            if !shards.iter().all(|shard| other.shards.contains(shard)) {
                return Err(refuse::far_reference(&other.name));
            }
        }
        let uneven = copied.iter_mut().find_map(|one| one.uneven.take()).or_else(|| self.uneven());
        let way = match uneven {
            None => Way::Same,
            Some(why) => match copied.as_slice() {
                [one] if !one.nested => Way::Rows(Box::new(self.copied_rows(one, why)?)),
                _ => {
                    return Err(uncopied(&name, &why, "It is written to in WITH.").with_hint(
                        "Write to the table in a statement of its own, and send what is computed as values.",
                    ));
                }
            },
        };
        self.reasons.push(match &way {
            Way::Same => format!("table {name}: written on every shard of its keyspace alike"),
            Way::Rows(rows) => {
                format!("table {name}: written on the first shard, and its rows copied to the others: {}", rows.why)
            }
        });
        let copies = Copies { keyspace, table: name, way };
        self.work = Some(Work { always: true, steps: Steps::Copies(copies) });
        Ok(())
    }

    /// Locks on rows of reference tables are taken on the first shard.
    fn settle_locks(&mut self) -> Result<(), PgError> {
        let Some((keyspace, name)) = self.locked_copy.take() else { return Ok(()) };
        if self.uses.iter().any(|used| !used.reference) {
            return Err(PgError::unsupported(format!("rows of reference table \"{name}\" cannot be locked together with rows of a sharded table"))
                .with_detail("Every shard has a copy, and locks on it are taken on the first shard of the keyspace, where the sharded rows need not be.")
                .with_hint("Lock them in a statement of their own, or name what to lock: FOR UPDATE OF ..."));
        }
        match self.context.vschema.keyspace(keyspace).shards.first() {
            Some(first) => self.fix(*first, &format!("the locked copy of table {name}")),
            None => Ok(()),
        }
    }

    /// What in the statement's words may come out differently on two copies.
    fn uneven(&self) -> Option<String> {
        if let Some(what) = self.spoiled.as_ref().filter(|what| *what != WRITE_IN_WITH) {
            return Some(what.clone());
        }
        if self.tree.volatile > 0 {
            return Some("a function gives another value with each call".into());
        }
        let tokens = self.tokens.get(self.body.clone()).unwrap_or_default();
        tokens.iter().enumerate().find_map(|(at, token)| {
            if token.kind != TokenKind::Word {
                return None;
            }
            let word = token.text(self.text).to_ascii_lowercase();
            let next = tokens.get(at + 1);
            let call = next.is_some_and(|next| next.kind == TokenKind::LeftParen);
            let uneven = match word.as_str() {
                "limit" | "offset" | "fetch" | "tablesample" => true,
                "ctid" | "tableoid" | "xmin" | "xmax" | "cmin" | "cmax" => true,
                "over" => call || next.is_some_and(|next| next.kind == TokenKind::Word),
                "distinct" => next.is_some_and(|next| next.is(self.text, "on")),
                "count" | "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or" | "bit_xor" => false,
                _ => call && (functions::is_aggregate(&word) || self.context.catalog.aggregates.contains(&word)),
            };
            uneven.then(|| format!("{} depends on how rows lie", word.to_uppercase()))
        })
    }

    /// How the rows that the first shard makes get to the others.
    fn copied_rows(&self, copied: &Copied, why: String) -> Result<Rows, PgError> {
        let relation = &copied.relation;
        if copied.draws {
            let first = self.context.vschema.keyspace(copied.keyspace).shards.first();
            let home = |column: &Column| {
                let (schema, name) = column.supply.sequence.as_ref()?;
                Some(self.spread_sequence(schema, name, false)?.home)
            };
            let counted = relation.columns.iter().filter(|column| column.default == ColumnDefault::Sequence);
            if !counted.into_iter().all(|column| home(column).as_ref() == first) {
                return Err(refuse::sequence_default(&relation.name, "a column"));
            }
        }
        if copied.change != Change::Insert {
            if relation.primary_key.is_empty() {
                return Err(uncopied(&relation.name, &why, "It has no primary key by which rows could be copied.")
                    .with_hint("Give it a primary key, or send what is computed as values."));
            }
            if copied.moves_key {
                return Err(uncopied(&relation.name, &why, "It changes the primary key, by which rows are copied.")
                    .with_hint("Send what is computed as values."));
            }
        }
        let wanted = |at: usize, column: &Column| match copied.change {
            Change::Delete => relation.primary_key.contains(&at),
            _ => column.default != ColumnDefault::Generated,
        };
        let columns: Vec<RowColumn> = (relation.columns.iter().enumerate())
            .filter(|(at, column)| wanted(*at, column))
            .map(|(at, column)| {
                let key = relation.primary_key.contains(&at);
                let text = !travels(column);
                RowColumn { name: quoted(&column.name), text, key, settable: !key && !column.supply.always }
            })
            .collect();
        let called = quoted(&copied.called);
        let list: Vec<String> = (columns.iter())
            .map(|column| format!("{called}.{}{}", column.name, if column.text { "::text" } else { "" }))
            .collect();
        let (from, to) = (self.body.start, self.body.end);
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let words = if copied.returning { ", " } else { "RETURNING " };
        let pieces = vec![Piece::Tokens(place(from)..place(to)), Piece::Words(format!("{words}{}", list.join(", ")))];
        Ok(Rows {
            why,
            text: Text { pieces },
            returning: copied.returning,
            change: copied.change,
            target: format!("{}.{}", quoted(&relation.schema), quoted(&relation.name)),
            columns,
        })
    }
}

impl Copied {
    /// A column is left to its default.
    fn leave(&mut self, column: Option<&Column>) {
        let Some(column) = column else { return };
        self.draws |= column.default == ColumnDefault::Sequence;
        if self.uneven.is_none() && !is_even(column) {
            self.uneven = Some(format!("the default of column \"{}\" is computed", column.name));
        }
    }
}

fn is_key(relation: &Relation, name: &str) -> bool {
    relation.column(name).is_some_and(|at| relation.primary_key.contains(&at))
}

/// Whether a column's default is the same on every shard. `now()` is not; where it is left to the session, it does not get here.
fn is_even(column: &Column) -> bool {
    match column.default {
        ColumnDefault::None | ColumnDefault::Generated => true,
        ColumnDefault::Sequence | ColumnDefault::Moment => false,
        ColumnDefault::Expression => {
            let Some(expression) = &column.supply.expression else { return false };
            let Ok(tokens) = sql::lex(expression, &sql::Limits::default()) else { return false };
            tokens.windows(2).all(|pair| {
                let [name, next] = pair else { return true };
                let call =
                    next.kind == TokenKind::LeftParen && matches!(name.kind, TokenKind::Word | TokenKind::QuotedName);
                let bare = name.text(expression).trim_matches('"').to_ascii_lowercase();
                !call
                    || (functions::class(&bare) == Class::Plain
                        && functions::spread(&bare) == functions::Spread::Alike
                        && !functions::is_erratic(&bare))
            })
        }
    }
}

/// Whether a column's binary form means the same on every server: OIDs of users' types and of objects do not.
fn travels(column: &Column) -> bool {
    const OF_OBJECTS: &[u32] =
        &[oid::OID, 24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 1028, 2210, 2211, 2249, 2287];
    /// OIDs from here on are a database's own.
    const FIRST_OWN: u32 = 16_384;
    column.type_oid < FIRST_OWN && !OF_OBJECTS.contains(&column.type_oid)
}

/// A name as SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn mixed(name: &str, detail: &str) -> PgError {
    PgError::unsupported(format!("reference table \"{name}\" is written from rows that not every shard has"))
        .with_detail(detail)
        .with_hint("Read the rows first, and send them as values.")
}

fn uncopied(name: &str, why: &str, detail: &str) -> PgError {
    PgError::unsupported(format!("the copies of reference table \"{name}\" could become different: {why}"))
        .with_detail(detail)
}
