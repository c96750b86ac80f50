//! MERGE, shard by shard.
//!
//! The source's rows are run first. A row of theirs matches rows of the table on the shard where its key leads, if ON compares the key with a column of the
//! source: then only that shard gets it, and inserts it where it matches nothing. Where ON does not, every shard gets all rows, and none may
//! be inserted: each shard would do so.

use std::ops::Range;

use sqlparser::ast::{
    BinaryOperator, Expr, Merge as Statement, MergeAction, MergeInsertKind, MergeUpdateKind, TableFactor,
};

use super::names::{Around, columns_of};
use super::staged::Dissection;
use super::steps::{Missing, table_name};
use super::types::without_length;
use super::{assigned, column_name, key_type_of};
use crate::error::PgError;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::write::{Key, Merge, Source, Target, To};
use crate::planner::bench::quote;
use crate::planner::functions::{self, Class};
use crate::planner::refuse;
use crate::planner::scope::{self, Place};
use crate::planner::source::{chain, unwrap};
use crate::planner::triggers;
use crate::sql::TokenKind;
use crate::sql::classify::name_of;
use crate::vschema::TablePlacement;

/// Words of the grammar that may stand before a parenthesis, and are no functions.
const WORDS: &[&str] = &[
    "all", "and", "any", "between", "by", "case", "else", "exists", "from", "group", "having", "in", "insert", "limit",
    "not", "on", "or", "over", "row", "select", "set", "some", "then", "using", "values", "when", "where",
];

impl Dissection<'_> {
    /// The steps of a MERGE.
    pub fn merged(&mut self, merge: &Statement, rest: Range<usize>) -> Result<Merge, Missing> {
        if merge.output.is_some() {
            return Err(Missing::Nothing);
        }
        let name = table_name(&merge.table).ok_or(Missing::Nothing)?;
        let parts = scope::parts(name).ok_or(Missing::Nothing)?;
        self.no_readers()?;
        let (table, relation) = match scope::place(&self.context, &parts)? {
            Place::Sharded { table, relation } => (table, relation),
            Place::Reference { table, .. } => {
                self.no_changing()?;
                return Ok(self.merged_whole(merge, rest, To::Copies(table.keyspace))?);
            }
            Place::Single { shard, .. } => return Ok(self.merged_whole(merge, rest, To::Shard(shard))?),
            _ => return Err(Missing::Nothing),
        };
        triggers::check(&self.context, &Place::Sharded { table: table.clone(), relation: relation.clone() })?;
        let TablePlacement::Sharded { columns: keys, vindex } = &table.placement else { return Err(Missing::Nothing) };
        let called = called(&merge.table).ok_or(Missing::Nothing)?;
        let (source, alias) = self.merge_source(merge)?;
        let mut around = Around::default();
        around.add(&self.context, &parts);
        let theirs: Vec<String> = match &merge.source {
            TableFactor::Table { name, .. } => {
                scope::parts(name).map_or(Vec::new(), |parts| columns_of(&self.context, &parts))
            }
            _ => Vec::new(),
        };
        around.columns.extend(theirs.iter().cloned());
        let own: Vec<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
        // Which column of the source each column of the key is compared with.
        let side = |expr: &Expr| -> Option<(bool, String)> {
            match unwrap(expr) {
                Expr::Identifier(ident) => {
                    let name = scope::fold(ident).into_owned();
                    (own.contains(&name) && !theirs.contains(&name) && !theirs.is_empty()).then_some((true, name))
                }
                Expr::CompoundIdentifier(idents) if idents.len() > 1 => {
                    let qualifier = scope::fold(&idents[idents.len() - 2]).into_owned();
                    let name = scope::fold(&idents[idents.len() - 1]).into_owned();
                    match qualifier {
                        qualifier if qualifier == called => Some((true, name)),
                        qualifier if qualifier == alias => Some((false, name)),
                        _ => None,
                    }
                }
                _ => None,
            }
        };
        let tied = |key: &String| {
            chain(&merge.on, &BinaryOperator::And).into_iter().find_map(|term| match unwrap(term) {
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match (side(left)?, side(right)?) {
                    ((true, own), (false, theirs)) | ((false, theirs), (true, own)) if own == *key => Some(theirs),
                    _ => None,
                },
                _ => None,
            })
        };
        let tied: Option<Vec<String>> = keys.iter().map(tied).collect();
        for clause in &merge.clauses {
            match &clause.action {
                MergeAction::Insert(insert) => {
                    let Some(tied) = &tied else {
                        return Err(PgError::unsupported("MERGE that inserts rows without comparing the shard key")
                            .with_detail("A row that matches nothing on one shard may match on another.")
                            .with_hint(format!(
                                "Compare {called}.{} with a column of the source in ON.",
                                keys.join(", ")
                            ))
                            .into());
                    };
                    self.keeps_key(insert, keys, tied, &own, &side)?;
                }
                MergeAction::Update(update) => {
                    let MergeUpdateKind::Set(assignments) = &update.kind else { return Err(Missing::Nothing) };
                    for assignment in assignments {
                        let targets =
                            assigned(assignment).ok_or_else(|| refuse::construct("UPDATE of part of a column"))?;
                        if let Some(key) = targets.iter().find(|target| keys.contains(target)) {
                            return Err(refuse::key_update(key).into());
                        }
                    }
                }
                MergeAction::Delete { .. } | MergeAction::DoNothing { .. } => {}
            }
        }
        let key = |(name, theirs): (&String, &String)| {
            let column = relation.column(name).and_then(|at| relation.columns.get(at));
            let (column, key_type) =
                column.zip(key_type_of(&relation, name)).ok_or_else(|| refuse::key_update(name))?;
            let type_name = without_length(&column.type_name);
            Ok(Key { name: theirs.clone(), key_type, type_name, column: usize::MAX })
        };
        let keys = match &tied {
            Some(tied) => keys.iter().zip(tied).map(key).collect::<Result<Vec<_>, PgError>>()?,
            None => Vec::new(),
        };
        let stays = self.stays(name)?;
        let mut edits = vec![source.1];
        edits.extend(self.staged(&merge.on, &around, &stays)?);
        edits.extend(self.staged(&merge.clauses, &around, &stays)?);
        let moments = self.moments(rest.clone(), &edits)?;
        edits.extend(moments);
        let text = self.text_of(rest, edits)?;
        let sql = format!("{}.{}", quote(&relation.schema), quote(&relation.name));
        let target = Target { table: table.name.clone(), sql, keyspace: table.keyspace, vindex: *vindex, keys };
        Ok(Merge { table: table.name.clone(), to: To::Keys(target), source: source.0, text })
    }

    /// A MERGE into a table that is as a whole where it goes.
    fn merged_whole(&mut self, merge: &Statement, rest: Range<usize>, to: To) -> Result<Merge, PgError> {
        let name = table_name(&merge.table).ok_or_else(|| refuse::construct("this form of MERGE"))?;
        let table = scope::parts(name).and_then(|parts| parts.last().cloned()).unwrap_or_default();
        let (source, _) = self.merge_source(merge)?;
        let stays = self.stays(name)?;
        let mut edits = vec![source.1];
        edits.extend(self.staged(&merge.on, &Around::default(), &stays)?);
        edits.extend(self.staged(&merge.clauses, &Around::default(), &stays)?);
        let moments = self.moments(rest.clone(), &edits)?;
        edits.extend(moments);
        Ok(Merge { table, to, source: source.0, text: self.text_of(rest, edits)? })
    }

    /// No function gives another value on each shard.
    fn no_changing(&self) -> Result<(), PgError> {
        let tokens = self.tokens();
        for at in self.body.clone() {
            let name = tokens.get(at).and_then(|token| name_of(self.text, token)).unwrap_or_default();
            let called = tokens.kind(at + 1) == Some(TokenKind::LeftParen) && !WORDS.contains(&name.as_ref());
            if called && functions::is_erratic(&name) {
                return Err(refuse::construct("a volatile function in MERGE into a reference table"));
            }
        }
        Ok(())
    }

    /// The rows that are merged: their source, the edit that puts it in its place, and what they are called.
    #[allow(clippy::type_complexity)] // a number and an edit, used once
    fn merge_source(&mut self, merge: &Statement) -> Result<((u16, (Range<usize>, Vec<Piece>)), String), PgError> {
        match &merge.source {
            TableFactor::Table { name, alias, args: None, sample: None, .. } => {
                let uncertain = || refuse::construct("this source of MERGE");
                let parts = scope::parts(name).ok_or_else(uncertain)?;
                let span = self.name_span(name).ok_or_else(uncertain)?;
                let bare = parts.last().cloned().unwrap_or_default();
                let known = self.named.iter().rev().find(|named| parts.len() == 1 && named.name == parts[0]);
                let number = match known {
                    Some(named) => named.source,
                    None => {
                        let mut text = self.text_of(span.clone(), Vec::new())?;
                        text.pieces.insert(0, Piece::Words("SELECT * FROM".into()));
                        self.add(Source { label: bare.clone(), text, names: Vec::new() })?
                    }
                };
                let own = alias.is_none().then(|| bare.clone());
                let edit = (span, vec![Piece::Input { input: number, alias: own }]);
                let called = alias.as_ref().map_or(bare, |alias| scope::fold(&alias.name).into_owned());
                if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
                    return Err(uncertain());
                }
                Ok(((number, edit), called))
            }
            TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None } => {
                let span = self.query_span(subquery).ok_or_else(|| refuse::construct("this source of MERGE"))?;
                let inner = self.named_only(subquery)?;
                let text: Text = self.text_of(span.clone(), inner)?;
                let names = alias.columns.iter().map(|column| scope::fold(&column.name).into_owned()).collect();
                let number = self.add(Source { label: "rows".into(), text, names })?;
                let pieces = vec![
                    Piece::Words("SELECT * FROM".into()),
                    Piece::Input { input: number, alias: Some("goldseam".into()) },
                ];
                Ok(((number, (span, pieces)), scope::fold(&alias.name).into_owned()))
            }
            _ => Err(refuse::construct("this source of MERGE")),
        }
    }

    /// A row that is inserted has the key by which it was sent to its shard.
    fn keeps_key(
        &self,
        insert: &sqlparser::ast::MergeInsertExpr,
        keys: &[String],
        tied: &[String],
        own: &[String],
        side: &dyn Fn(&Expr) -> Option<(bool, String)>,
    ) -> Result<(), PgError> {
        let MergeInsertKind::Values(values) = &insert.kind else { return Err(refuse::construct("this form of MERGE")) };
        let [row] = values.rows.as_slice() else { return Err(refuse::construct("this form of MERGE")) };
        let listed: Option<Vec<String>> = insert.columns.iter().map(column_name).collect();
        let listed = listed.ok_or_else(|| refuse::construct("INSERT into part of a column"))?;
        let targets = if listed.is_empty() { own } else { &listed };
        for (key, theirs) in keys.iter().zip(tied) {
            let value = targets.iter().position(|target| target == key).and_then(|at| row.content.get(at));
            let bare =
                |expr: &Expr| matches!(unwrap(expr), Expr::Identifier(ident) if scope::fold(ident) == theirs.as_str());
            let same = value.is_some_and(|value| side(value) == Some((false, theirs.clone())) || bare(value));
            if !same {
                return Err(PgError::unsupported(format!("MERGE that inserts another value for shard key \"{key}\""))
                    .with_detail("The row is inserted on the shard where the compared column leads.")
                    .with_hint(format!("Insert the column of the source that ON compares with {key}.")));
            }
        }
        Ok(())
    }

    /// No function in the statement may read tables.
    pub fn no_readers(&self) -> Result<(), PgError> {
        let tokens = self.tokens();
        for at in self.body.clone() {
            if tokens.kind(at + 1) != Some(TokenKind::LeftParen) || at + 1 >= self.body.end {
                continue;
            }
            let Some(name) = tokens.get(at).and_then(|token| name_of(self.text, token)) else { continue };
            let reads = match self.context.catalog.functions.get(name.as_ref()) {
                Some(function) => !function.immutable,
                None => functions::class(&name) == Class::ReadsTables,
            };
            if reads && !self.context.vschema.local_functions.contains(name.as_ref()) {
                return Err(refuse::function(&name));
            }
        }
        Ok(())
    }
}

/// What a table is called in the statement.
fn called(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } => Some(scope::fold(&alias.name).into_owned()),
        TableFactor::Table { name, .. } => scope::parts(name)?.last().cloned(),
        _ => None,
    }
}
