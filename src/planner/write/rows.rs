//! INSERT whose rows are only known once a server has computed them: they are run as a query of their own, and each row finds its shard.
//!
//! What PostgreSQL would do to a value on its way into the column is done in two steps. In the query a value that has no type of its own (a literal, a
//! parameter, every value of VALUES) is cast to the column's type without its length; on its shard the column does the rest, with PostgreSQL's own
//! errors. A key that the statement leaves to its default gets what the default's expression gives, as one more column of the query.

use std::ops::Range;

use sqlparser::ast::{Expr, Insert, OnConflictAction, OnInsert, Query, SelectItem, SetExpr, TableObject, Value};

use super::staged::{Dissection, Stays};
use super::names::Around;
use super::steps::Missing;
use super::types::without_length;
use super::{column_name, defaulted, is_default, key_type_of};
use crate::catalog::{ColumnDefault, Relation};
use crate::error::PgError;
use crate::plan::Verdict;
use crate::plan::gather::Piece;
use crate::plan::once::Sequence;
use crate::plan::work::write::{Key, Last, Rows, Source, Target};
use crate::planner::bench::{Edit, quote};
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
        let mut targets = if listed.is_empty() { all } else { listed };
        match insert.source.as_deref() {
            None => targets.clear(),
            Some(query) => targets.truncate(width(&query.body).unwrap_or(targets.len())),
        }
        let given = targets.len();
        // A default that tells the time is told by the query, once for all rows; a sequence's numbers are put behind them.
        let left = |column: &&crate::catalog::Column| !targets.contains(&column.name);
        let computed = |column: &&crate::catalog::Column| match column.default {
            ColumnDefault::Moment => true,
            ColumnDefault::Sequence => false,
            _ => keys.contains(&column.name),
        };
        let missing: Vec<String> =
            relation.columns.iter().filter(left).filter(computed).map(|column| column.name.clone()).collect();
        let (mut numbers, mut numbered, mut overriding) = (Vec::new(), Vec::new(), false);
        for column in relation.columns.iter().filter(left).filter(|column| column.default == ColumnDefault::Sequence) {
            let sequence = sequence_of(&self.context, column);
            numbers.push(sequence.ok_or_else(|| refuse::sequence_default(&table.name, &column.name))?);
            numbered.push(column.name.clone());
            overriding |= column.supply.always;
        }
        targets.extend(missing.iter().chain(&numbered).cloned());
        let key = |name: &String| {
            let column = relation.column(name).and_then(|at| relation.columns.get(at));
            let (column, key_type) = column.zip(key_type_of(relation, name)).ok_or_else(|| defaulted(table, relation, name))?;
            let at = targets.iter().position(|target| target == name).unwrap_or(usize::MAX);
            let type_name = without_length(&column.type_name);
            Ok(Key { name: name.clone(), key_type, type_name, column: at })
        };
        let keys = keys.iter().map(key).collect::<Result<Vec<_>, PgError>>()?;
        let source = match insert.source.as_deref() {
            None => {
                let mut pieces = vec![Piece::Words("VALUES (".into())];
                self.append_defaults(&missing, relation, "", &mut pieces);
                pieces.push(Piece::Words(")".into()));
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
        if layout.list.is_empty() {
            if targets.len() > given {
                let list: Vec<String> = targets.iter().map(|name| quote(name)).collect();
                edits.push((layout.named..layout.named, vec![Piece::Words(format!("({})", list.join(", ")))]));
            }
        } else if targets.len() > given {
            let more: Vec<String> = targets[given..].iter().map(|name| format!(", {}", quote(name))).collect();
            edits.push((layout.list.end - 1..layout.list.end - 1, vec![Piece::Words(more.concat())]));
        }
        // DEFAULT VALUES is no part of it.
        let mut head = self.text_of(rest.start..layout.rows.start, edits)?;
        if overriding {
            head.pieces.push(Piece::Words("OVERRIDING SYSTEM VALUE".into()));
        }
        let stays = Stays { target: None, keyspace: Some(table.keyspace), shard: None };
        let mut tail = self.staged(&insert.on, &Around::default(), &stays)?;
        tail.extend(self.staged(&insert.returning, &Around::default(), &stays)?);
        if !tail.is_empty() {
            return Err(refuse::construct("a sub-query in ON CONFLICT or RETURNING of such an INSERT"));
        }
        self.judge(&targets, layout)?;
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
        let ordered = returning && !swallows && !relation.has_triggers;
        Ok(Rows { source, target, head, tail, returning, ordered, numbers })
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
        let end = tokens
            .outer(&(at..rest.end))
            .into_iter()
            .find(|place| (tokens.is(*place, "on") && tokens.is(place + 1, "conflict")) || tokens.is(*place, "returning"));
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
    fn judge(&self, targets: &[String], layout: &Layout) -> Result<(), PgError> {
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
        let statement =
            format!("{} ({}) VALUES ({values}) {}", text(insert..start), columns.join(", "), text(layout.tail.clone()));
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

/// How many columns a query puts out, if its text says it.
fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        SetExpr::Select(select) => {
            let plain = |item: &SelectItem| {
                matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
            };
            select.projection.iter().all(plain).then_some(select.projection.len())
        }
        SetExpr::SetOperation { left, .. } => width(left),
        SetExpr::Query(query) => width(&query.body),
        _ => None,
    }
}

fn type_of(relation: &Relation, column: &str) -> String {
    let column = relation.column(column).and_then(|at| relation.columns.get(at));
    column.map_or_else(|| "pg_catalog.text".to_string(), |column| without_length(&column.type_name))
}

fn default_of(relation: &Relation, column: &str) -> ColumnDefault {
    super::default_of(relation, column).unwrap_or(ColumnDefault::None)
}

/// The sequence that fills a column.
fn sequence_of(context: &crate::planner::Context<'_>, column: &crate::catalog::Column) -> Option<std::sync::Arc<Sequence>> {
    let (schema, name) = column.supply.sequence.as_ref()?;
    let identity = column.supply.expression.is_none();
    crate::planner::once::spread_sequence(context, schema, name, identity).map(std::sync::Arc::new)
}
