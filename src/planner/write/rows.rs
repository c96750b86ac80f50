//! INSERT whose rows are only known once a server has computed them: they are run as a query of their own, and each row finds its shard.
//!
//! What PostgreSQL would do to a value on its way into the column is done in two steps. In the query a value that has no type of its own (a literal, a
//! parameter, every value of VALUES) is cast to the column's type without its length; on its shard the column does the rest, with PostgreSQL's own
//! errors. A key that the statement leaves to its default gets what the default's expression gives, as one more column of the query.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{
    Expr, Insert, OnConflictAction, OnInsert, Query, SelectItem, SetExpr, TableFactor, TableObject, Value,
};

use super::names::{Around, columns_of};
use super::staged::{Dissection, Stays};
use super::steps::Missing;
use super::types::without_length;
use super::{column_name, defaulted, is_default, key_type_of};
use crate::catalog::{Column, ColumnDefault, Relation};
use crate::error::PgError;
use crate::plan::Verdict;
use crate::plan::gather::Piece;
use crate::plan::work::write::{Key, Last, Rows, Source, Target};
use crate::planner::bench::{Edit, quote};
use crate::planner::once::spread_sequence;
use crate::planner::scope::{self, Place};
use crate::planner::{plan_query, refuse};
use crate::sql::parse::byte_of;
use crate::sql::{self, TokenKind};
use crate::vschema::{Table, TablePlacement};

/// Where the parts of an INSERT stand.
struct Layout {
    /// The list of columns with its parentheses; empty if there is none.
    list: Range<usize>,
    /// Behind the table's name and alias.
    named: usize,
    /// The rows: VALUES or a query.
    rows: Range<usize>,
    /// ON CONFLICT, RETURNING.
    tail: Range<usize>,
}

impl Dissection<'_> {
    /// The steps of an INSERT.
    pub fn insert_rows(&mut self, insert: &Insert, rest: Range<usize>) -> Result<Last, Missing> {
        let TableObject::TableName(name) = &insert.table else { return Err(Missing::Nothing) };
        let parts = scope::parts(name).ok_or(Missing::Nothing)?;
        let layout = self.layout(insert, rest.clone()).ok_or(Missing::Nothing)?;
        let (table, relation) = match scope::place(&self.context, &parts)? {
            Place::Sharded { table, relation } => (table, relation),
            // Its rows are fetched first; where they go is planned anew.
            place => {
                let Some(query) = insert.source.as_deref() else { return Err(Missing::Nothing) };
                let stays = self.stays(name)?;
                let mut edits = match &*query.body {
                    SetExpr::Values(_) => self.staged(query, &Around::default(), &stays)?,
                    _ => {
                        let casts = match (&place, &*query.body) {
                            (
                                Place::Reference { relation, .. } | Place::Single { relation: Some(relation), .. },
                                SetExpr::Select(select),
                            ) => {
                                let listed: Vec<String> = insert.columns.iter().filter_map(column_name).collect();
                                let all = || relation.columns.iter().map(|column| column.name.clone()).collect();
                                let targets: Vec<String> = if listed.is_empty() { all() } else { listed };
                                self.cast_items(&select.projection, &targets, relation)
                            }
                            _ => Vec::new(),
                        };
                        let source = self.rows_of(query, &layout, casts, &[])?;
                        vec![(layout.rows.clone(), over(source))]
                    }
                };
                edits.extend(self.staged(&insert.on, &Around::default(), &stays)?);
                edits.extend(self.staged(&insert.returning, &Around::default(), &stays)?);
                return Ok(Last::Anew(self.text_of(rest, edits)?));
            }
        };
        Ok(Last::Rows(Box::new(self.sharded_rows(insert, rest, &layout, &table, &relation)?)))
    }

    fn sharded_rows(
        &mut self,
        insert: &Insert,
        rest: Range<usize>,
        layout: &Layout,
        table: &Table,
        relation: &Relation,
    ) -> Result<Rows, PgError> {
        let TablePlacement::Sharded { columns: keys, vindex } = &table.placement else {
            return Err(refuse::construct("this table"));
        };
        let listed: Option<Vec<String>> = insert.columns.iter().map(column_name).collect();
        let listed = listed.ok_or_else(|| refuse::construct("INSERT into part of a column"))?;
        let all: Vec<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
        let listed_none = listed.is_empty();
        let mut targets = if listed_none { all } else { listed };
        if insert.source.is_none() {
            targets.clear();
        }
        if let (Some(query), true) = (insert.source.as_deref(), listed_none) {
            match self.width(&query.body) {
                Some(width) => targets.truncate(width),
                None if relation.columns.iter().any(is_counted) => {
                    return Err(refuse::construct("INSERT of a query whose columns are not known"));
                }
                None => {}
            }
        }
        let given = targets.len();
        let (mut missing, mut counted, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        let mut always = false;
        for column in relation.columns.iter().filter(|column| !targets.contains(&column.name)) {
            match column.default {
                ColumnDefault::Sequence => {
                    let uncertain = || refuse::sequence_default(&table.name, &column.name);
                    let (schema, name) = column.supply.sequence.as_ref().ok_or_else(uncertain)?;
                    let identity = column.supply.expression.is_none();
                    let sequence = spread_sequence(&self.context, schema, name, identity);
                    numbers.push(Arc::new(sequence.ok_or_else(uncertain)?));
                    counted.push(column.name.clone());
                    always |= column.supply.always;
                }
                ColumnDefault::Moment => missing.push(column.name.clone()),
                _ if keys.contains(&column.name) => missing.push(column.name.clone()),
                _ => {}
            }
        }
        targets.extend(missing.iter().chain(&counted).cloned());
        let key = |name: &String| {
            let column = relation.column(name).and_then(|at| relation.columns.get(at));
            let (column, key_type) =
                column.zip(key_type_of(relation, name)).ok_or_else(|| defaulted(table, relation, name))?;
            let at = targets.iter().position(|target| target == name).unwrap_or(usize::MAX);
            let type_name = without_length(&column.type_name);
            Ok(Key { name: name.clone(), key_type, type_name, column: at })
        };
        let keys = keys.iter().map(key).collect::<Result<Vec<_>, PgError>>()?;
        let source = match insert.source.as_deref() {
            None => {
                let mut pieces = vec![Piece::Words("VALUES (".into())];
                if missing.is_empty() {
                    pieces = vec![Piece::Words("SELECT".into())];
                } else {
                    self.append_defaults(&missing, relation, "", &mut pieces);
                    pieces.push(Piece::Words(")".into()));
                }
                let text = crate::plan::gather::Text { pieces };
                self.add(Source { label: "defaults".into(), text, names: Vec::new() })?
            }
            Some(query) => {
                let casts = match &*query.body {
                    SetExpr::Values(values) => {
                        self.cast_values(values, layout, &targets[..given], &missing, relation)?
                    }
                    SetExpr::Select(select) => self.cast_items(&select.projection, &targets[..given], relation),
                    _ => Vec::new(),
                };
                let wrapped = if matches!(&*query.body, SetExpr::Values(_)) { &[][..] } else { &missing[..] };
                self.rows_of(query, layout, casts, wrapped)?
            }
        };
        let mut edits: Vec<Edit> = Vec::new();
        let more: Vec<&String> = missing.iter().chain(&counted).collect();
        let overriding = if always { " OVERRIDING SYSTEM VALUE" } else { "" };
        if layout.list.is_empty() {
            if !more.is_empty() {
                let list: Vec<String> = targets.iter().map(|name| quote(name)).collect();
                edits.push((
                    layout.named..layout.named,
                    vec![Piece::Words(format!("({}){overriding}", list.join(", ")))],
                ));
            }
        } else if !more.is_empty() {
            let more: Vec<String> = more.iter().map(|name| format!(", {}", quote(name))).collect();
            let place = layout.list.end - 1;
            edits.push((place..place + 1, vec![Piece::Words(format!("{}){overriding}", more.concat()))]));
        }
        // DEFAULT VALUES is no part of it.
        let head = self.text_of(rest.start..layout.rows.start, edits)?;
        let stays = Stays { target: None, keyspace: Some(table.keyspace), shard: None };
        let mut around = Around::default();
        around.columns.extend(relation.columns.iter().map(|column| column.name.clone()));
        let mut tail = self.staged(&insert.on, &around, &stays)?;
        tail.extend(self.staged(&insert.returning, &around, &stays)?);
        if !tail.is_empty() {
            self.no_readers()?;
        }
        let answer = self.find(layout.tail.clone(), "returning").unwrap_or(layout.tail.end);
        self.no_moments(answer..layout.tail.end)?;
        let moments = self.moments(layout.tail.start..answer, &tail)?;
        tail.extend(moments);
        self.judge(&targets, layout, &tail)?;
        let swallows = match &insert.on {
            None => false,
            Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
                OnConflictAction::DoNothing => true,
                OnConflictAction::DoUpdate(update) => update.selection.is_some(),
            },
            Some(_) => true,
        };
        let sql = format!("{}.{}", quote(&relation.schema), quote(&relation.name));
        let target = Target { table: table.name.clone(), sql, keyspace: table.keyspace, vindex: *vindex, keys };
        let tail = self.text_of(layout.tail.clone(), tail)?;
        let returning = insert.returning.is_some();
        let ordered = returning && !swallows && !crate::planner::triggers::may_swallow(relation);
        let width = (!missing.is_empty() || !numbers.is_empty()).then_some(given + missing.len());
        Ok(Rows { source, target, head, tail, returning, ordered, numbers, width })
    }

    /// How many columns a query puts out, if its text says it.
    fn width(&self, body: &SetExpr) -> Option<usize> {
        match body {
            SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
            SetExpr::Select(select) => {
                let mut count = 0;
                for item in &select.projection {
                    count += match item {
                        SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. } => 1,
                        SelectItem::Wildcard(_) => self.columns_in(&select.from)?,
                        _ => return None,
                    };
                }
                Some(count)
            }
            SetExpr::SetOperation { left, .. } => self.width(left),
            SetExpr::Query(query) => self.width(&query.body),
            _ => None,
        }
    }

    /// How many columns a star means.
    fn columns_in(&self, list: &[sqlparser::ast::TableWithJoins]) -> Option<usize> {
        let mut count = 0;
        for item in list {
            let plain = |join: &sqlparser::ast::Join| match &join.join_operator {
                sqlparser::ast::JoinOperator::Join(constraint)
                | sqlparser::ast::JoinOperator::Inner(constraint)
                | sqlparser::ast::JoinOperator::Left(constraint)
                | sqlparser::ast::JoinOperator::LeftOuter(constraint)
                | sqlparser::ast::JoinOperator::Right(constraint)
                | sqlparser::ast::JoinOperator::RightOuter(constraint)
                | sqlparser::ast::JoinOperator::FullOuter(constraint)
                | sqlparser::ast::JoinOperator::CrossJoin(constraint) => {
                    matches!(constraint, sqlparser::ast::JoinConstraint::On(_) | sqlparser::ast::JoinConstraint::None)
                }
                _ => false,
            };
            if !item.joins.iter().all(plain) {
                return None;
            }
            for factor in std::iter::once(&item.relation).chain(item.joins.iter().map(|join| &join.relation)) {
                count += match factor {
                    TableFactor::Table { name, args: None, .. } => {
                        let parts = scope::parts(name)?;
                        if self.named.iter().any(|named| parts.len() == 1 && named.name == parts[0]) {
                            return None;
                        }
                        let columns = columns_of(&self.context, &parts);
                        if columns.is_empty() { return None } else { columns.len() }
                    }
                    TableFactor::Derived { subquery, .. } => self.width(&subquery.body)?,
                    _ => return None,
                };
            }
        }
        Some(count)
    }

    /// The parts of an INSERT.
    fn layout(&self, insert: &Insert, rest: Range<usize>) -> Option<Layout> {
        let TableObject::TableName(name) = &insert.table else { return None };
        let tokens = self.tokens();
        let mut at = self.name_span(name)?.end;
        if insert.table_alias.is_some() {
            at += if tokens.is(at, "as") { 2 } else { 1 };
        }
        let named = at;
        let mut list = at..at;
        if !insert.columns.is_empty() {
            list = at..tokens.closing(at)?;
            at = list.end;
        }
        let end = tokens.outer(&(at..rest.end)).into_iter().find(|place| {
            (tokens.is(*place, "on") && tokens.is(place + 1, "conflict")) || tokens.is(*place, "returning")
        });
        let end = end.unwrap_or(rest.end);
        let expected = match insert.source.as_deref() {
            None => tokens.is(at, "default") && tokens.is(at + 1, "values"),
            Some(_) => {
                tokens.any(at, &["values", "select", "with", "table"]) || tokens.kind(at) == Some(TokenKind::LeftParen)
            }
        };
        expected.then_some(Layout { list, named, rows: at..end, tail: end..rest.end })
    }

    /// The rows as a source. `missing`: the columns whose defaults follow those of the query.
    fn rows_of(
        &mut self,
        query: &Query,
        layout: &Layout,
        casts: Vec<Edit>,
        missing: &[String],
    ) -> Result<u16, PgError> {
        let mut edits = self.named_only(query)?;
        edits.extend(casts);
        let mut text = self.text_of(layout.rows.clone(), edits)?;
        if !missing.is_empty() {
            let mut pieces = vec![Piece::Words("SELECT goldseam.*".into())];
            for name in missing {
                pieces.extend([Piece::Words(", (".into()), Piece::Default(name.clone()), Piece::Words(")".into())]);
            }
            pieces.push(Piece::Words("FROM (".into()));
            pieces.append(&mut text.pieces);
            pieces.push(Piece::Words(") AS goldseam".into()));
            text.pieces = pieces;
        }
        self.add(Source { label: "rows".into(), text, names: Vec::new() })
    }

    fn append_defaults(&self, missing: &[String], relation: &Relation, before: &str, pieces: &mut Vec<Piece>) {
        for (at, name) in missing.iter().enumerate() {
            let comma = if at > 0 { ", " } else { before };
            pieces.push(Piece::Words(format!("{comma}(")));
            pieces.push(Piece::Default(name.clone()));
            pieces.push(Piece::Words(format!(")::{}", type_of(relation, name))));
        }
    }

    /// Casts around each value of VALUES; defaults behind each row.
    fn cast_values(
        &self,
        values: &sqlparser::ast::Values,
        layout: &Layout,
        targets: &[String],
        missing: &[String],
        relation: &Relation,
    ) -> Result<Vec<Edit>, PgError> {
        let uncertain = || refuse::construct("this form of VALUES");
        let tokens = self.tokens();
        let (mut edits, mut at) = (Vec::new(), layout.rows.start + 1);
        for row in &values.rows {
            if tokens.kind(at) != Some(TokenKind::LeftParen) {
                return Err(uncertain());
            }
            let close = tokens.closing(at).ok_or_else(uncertain)? - 1;
            let terms = tokens.terms(&(at + 1..close));
            if terms.len() != row.content.len() || terms.len() > targets.len() {
                return Err(uncertain());
            }
            for ((term, value), target) in terms.into_iter().zip(&row.content).zip(targets) {
                let end = Piece::Words(format!(")::{}", type_of(relation, target)));
                if is_default(value) {
                    match default_of(relation, target) {
                        ColumnDefault::Generated => {
                            return Err(refuse::construct("DEFAULT for a generated column in such an INSERT"));
                        }
                        ColumnDefault::Sequence => return Err(refuse::sequence_default(&relation.name, target)),
                        ColumnDefault::None | ColumnDefault::Expression | ColumnDefault::Moment => {}
                    }
                    edits.push((term, vec![Piece::Words("(".into()), Piece::Default(target.clone()), end]));
                    continue;
                }
                edits.push((term.start..term.start, vec![Piece::Words("(".into())]));
                edits.push((term.end..term.end, vec![end]));
            }
            let mut pieces = Vec::new();
            self.append_defaults(missing, relation, ", ", &mut pieces);
            if !pieces.is_empty() {
                edits.push((close..close, pieces));
            }
            // Over the parenthesis and the comma.
            at = close + 2;
        }
        Ok(edits)
    }

    /// Casts behind what in a select list has no type of its own.
    fn cast_items(&self, items: &[SelectItem], targets: &[String], relation: &Relation) -> Vec<Edit> {
        let mut edits = Vec::new();
        for (item, target) in items.iter().zip(targets) {
            let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else { break };
            let Expr::Value(value) = expr else { continue };
            let untyped = matches!(
                value.value,
                Value::SingleQuotedString(_)
                    | Value::EscapedStringLiteral(_)
                    | Value::DollarQuotedString(_)
                    | Value::Null
                    | Value::Placeholder(_)
            );
            let at = byte_of(value.span).and_then(|byte| self.tokens().at_byte(byte));
            if let (true, Some(at)) = (untyped, at) {
                edits.push((at + 1..at + 1, vec![Piece::Words(format!("::{}", type_of(relation, target)))]));
            }
        }
        edits
    }

    /// A plain INSERT in its stead must not be refused: its table may be written to, and what stands behind the rows may be run.
    fn judge(&self, targets: &[String], layout: &Layout, tail: &[Edit]) -> Result<(), PgError> {
        let tokens = self.tokens();
        let text = |range: Range<usize>| match (tokens.get(range.start), tokens.get(range.end.wrapping_sub(1))) {
            (Some(first), Some(last)) if !range.is_empty() => {
                self.text.get(first.start as usize..last.end as usize).unwrap_or_default()
            }
            _ => "",
        };
        let start = layout.named;
        let columns: Vec<String> = targets.iter().map(|name| quote(name)).collect();
        let insert = (self.body.start..start).rev().find(|at| tokens.is(*at, "insert")).unwrap_or(self.body.start);
        let values = vec!["NULL"; columns.len()].join(", ");
        // What is run first stands for itself.
        let mut edits: Vec<&Edit> = tail.iter().collect();
        edits.sort_by_key(|(range, _)| range.start);
        let (mut behind, mut at) = (String::new(), layout.tail.start);
        for (range, pieces) in edits {
            let instead = match pieces.first() {
                Some(Piece::Words(_)) => "SELECT NULL".to_string(),
                Some(Piece::Input { alias, .. }) => {
                    format!(
                        "(SELECT NULL){}",
                        alias.as_ref().map(|alias| format!(" AS {}", quote(alias))).unwrap_or_default()
                    )
                }
                _ => "NULL".to_string(),
            };
            behind.push_str(&format!("{} {instead} ", text(at..range.start)));
            at = range.end;
        }
        behind.push_str(text(at..layout.tail.end));
        let statement = format!("{} ({}) VALUES ({values}) {behind}", text(insert..start), columns.join(", "));
        let tokens = sql::lex(&statement, &self.context.limits)?;
        match plan_query(&self.context, &statement, &tokens, false).verdict {
            Verdict::Refuse(error) => Err(PgError { position: None, ..*error }),
            Verdict::Route(_) => Ok(()),
        }
    }
}

/// The rows of a source, as a query.
fn over(input: u16) -> Vec<Piece> {
    vec![Piece::Words("SELECT * FROM".into()), Piece::Input { input, alias: Some("goldseam".into()) }]
}

/// Whether a column is left to something that has to be one for all shards.
fn is_counted(column: &Column) -> bool {
    matches!(column.default, ColumnDefault::Sequence | ColumnDefault::Moment)
}

fn type_of(relation: &Relation, column: &str) -> String {
    let column = relation.column(column).and_then(|at| relation.columns.get(at));
    column.map_or_else(|| "pg_catalog.text".to_string(), |column| without_length(&column.type_name))
}

fn default_of(relation: &Relation, column: &str) -> ColumnDefault {
    super::default_of(relation, column).unwrap_or(ColumnDefault::None)
}
