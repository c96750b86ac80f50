//! Aggregates of a sub-query as one row of each shard: `(SELECT avg(total) FROM orders)`.
//!
//! The shards are asked for partial results, and the rest has the client's own expression over them, as a merge has for a whole statement. Only
//! what is exact whatever the rows' order: counts, sums and averages of whole numbers and of `numeric`, least and greatest of what has one form
//! for one value. What an argument's type is, its tokens tell: columns, numbers, and `+ - *`.

use sqlparser::ast::{Distinct, Expr, GroupByExpr, Select, SelectItem};

use super::{place, quote};
use crate::error::PgError;
use crate::plan::gather::Piece;
use crate::plan::work::bench::InputColumn;
use crate::planner::Planner;
use crate::planner::gather::clauses::{Span, clauses};
use crate::planner::gather::survey::Aggregate;
use crate::planner::source::unwrap;
use crate::sql::TokenKind;
use crate::types::{Oid, oid};

/// What a sub-query of aggregates becomes.
#[derive(Debug, Clone)]
pub(in crate::planner) struct Partials {
    /// Its first token.
    pub start: usize,
    /// What the shards are asked for.
    pub text: Vec<Piece>,
    pub columns: Vec<InputColumn>,
    /// The select list over their rows, which are called `goldseam`.
    pub list: Vec<Piece>,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    /// `smallint` or `integer`, whose sum is `bigint`.
    Small,
    /// `bigint`, whose sum is `numeric`.
    Large,
    Numeric,
}

impl Planner<'_> {
    /// Takes note of a block of aggregates, whose scope is on the stack, if the shards can be asked for parts of them.
    pub(in crate::planner) fn note_partials(&mut self, select: &Select) {
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(terms, _) if terms.is_empty());
        let plain = select.having.is_none()
            && matches!(select.distinct, None | Some(Distinct::All))
            && select.named_window.is_empty()
            && !select.from.is_empty();
        if plain && !grouped {
            self.partials.extend(self.partials_of(select));
        }
    }

    fn partials_of(&self, select: &Select) -> Option<Partials> {
        let places = self.places();
        let start = places.at_byte(crate::sql::parse::byte_of(select.select_token.0.span)?)?;
        let opens = start.checked_sub(1).filter(|at| places.kind(*at) == Some(TokenKind::LeftParen))?;
        let clauses = clauses(&places, start..places.closing(opens)?.checked_sub(1)?, true)?;
        let terms = places.terms(&clauses.list);
        if clauses.source.is_empty() || terms.len() != select.projection.len() || start <= self.body.start {
            return None;
        }
        let (mut text, mut columns, mut list) = (vec![Piece::Words("SELECT".into())], Vec::new(), Vec::new());
        for (at, (item, span)) in select.projection.iter().zip(&terms).enumerate() {
            let (expr, named) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, false),
                SelectItem::ExprWithAlias { expr, .. } => (expr, true),
                _ => return None,
            };
            let survey = self.survey(expr)?;
            let own =
                survey.columns.iter().filter(|name| !survey.calls.iter().any(|call| within(&name.span, &call.span)));
            if survey.calls.is_empty()
                || survey.windows
                || survey.subqueries
                || survey.erratic
                || survey.collates
                || !survey.unknown.is_empty()
                || own.count() > 0
            {
                return None;
            }
            if at > 0 {
                list.push(Piece::Words(",".into()));
            }
            let mut begin = span.start;
            for call in &survey.calls {
                let merged = self.part_of_call(call, &mut text, &mut columns)?;
                list.extend(tokens(begin..call.span.start).ok()?);
                list.push(Piece::Words(merged));
                begin = call.span.end;
            }
            list.extend(tokens(begin..span.end).ok()?);
            match unwrap(expr) {
                _ if named => {}
                // PostgreSQL calls it by the aggregate.
                Expr::Function(_) if survey.calls.iter().any(|call| call.span == *span) => {
                    list.push(Piece::Words(format!("AS {}", quote(&survey.calls.first()?.name))));
                }
                Expr::Function(_) | Expr::BinaryOp { .. } => {}
                _ => return None,
            }
        }
        text.extend(tokens(clauses.source).ok()?);
        Some(Partials { start, text, columns, list })
    }

    /// Adds what a call needs of the shards; what it is over all of them.
    fn part_of_call(&self, call: &Aggregate, text: &mut Vec<Piece>, columns: &mut Vec<InputColumn>) -> Option<String> {
        if !call.plain || call.distinct {
            return None;
        }
        let mut ask = |function: Option<&str>| {
            let name = format!("c{}", columns.len());
            if !columns.is_empty() {
                text.push(Piece::Words(",".into()));
            }
            match function {
                None => text.extend(tokens(call.span.clone()).ok()?),
                Some(function) => {
                    text.push(Piece::Words(format!("pg_catalog.{function}(")));
                    text.extend(tokens(call.arguments.clone()).ok()?);
                    text.push(Piece::Words(")".into()));
                    text.extend(tokens(call.filter.clone()).ok()?);
                }
            }
            text.push(Piece::Words(format!("AS {name}")));
            columns.push(InputColumn { name: name.clone(), type_name: None, collation: None });
            Some(format!("goldseam.{name}"))
        };
        Some(match call.name.as_str() {
            "count" => format!("(pg_catalog.sum({})::pg_catalog.int8)", ask(None)?),
            "sum" if self.number(call)? == Number::Small => {
                format!("(pg_catalog.sum({})::pg_catalog.int8)", ask(None)?)
            }
            "sum" => format!("(pg_catalog.sum({}))", ask(None)?),
            "avg" => {
                self.number(call)?;
                let (sum, count) = (ask(Some("sum"))?, ask(Some("count"))?);
                format!("(pg_catalog.sum({sum}) / nullif(pg_catalog.sum({count}), 0))")
            }
            "min" | "max" if self.has_one_form(call) => format!("(pg_catalog.{}({}))", call.name, ask(None)?),
            _ => return None,
        })
    }

    /// What kind of number an argument is, if it surely is one.
    fn number(&self, call: &Aggregate) -> Option<Number> {
        let mut kind = Number::Small;
        for at in call.arguments.clone() {
            let named = call.columns.iter().any(|name| name.span.contains(&at));
            let token = self.tokens.get(at)?;
            match token.kind {
                _ if named => {}
                TokenKind::Integer if token.text(self.text).len() <= 9 => {}
                TokenKind::Integer => return None,
                TokenKind::Decimal
                    if token.text(self.text).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') =>
                {
                    kind = Number::Numeric;
                }
                TokenKind::LeftParen | TokenKind::RightParen => {}
                TokenKind::Operator if matches!(token.text(self.text), "+" | "-" | "*") => {}
                _ => return None,
            }
        }
        for name in &call.columns {
            kind = kind.max(match self.type_of(&name.idents)?.0 {
                oid::INT2 | oid::INT4 => Number::Small,
                oid::INT8 => Number::Large,
                oid::NUMERIC => Number::Numeric,
                _ => return None,
            });
        }
        (!call.columns.is_empty()).then_some(kind)
    }

    /// The argument is a column in which equal values look the same.
    fn has_one_form(&self, call: &Aggregate) -> bool {
        let [name] = call.columns.as_slice() else { return false };
        let known = self.type_of(&name.idents).filter(|_| name.span == call.arguments);
        known.is_some_and(|(known, scaled)| match known {
            oid::INT2 | oid::INT4 | oid::INT8 | oid::DATE | oid::TIMESTAMP | oid::TIMESTAMPTZ => true,
            oid::NUMERIC => scaled,
            _ => false,
        })
    }

    /// The type of a column of the block, and whether it has a modifier.
    fn type_of(&self, idents: &[sqlparser::ast::Ident]) -> Option<(Oid, bool)> {
        let found = self.column(idents).filter(|found| found.level == 0)?;
        let (_, column) = self.base_column(&(found.instance, found.column))?;
        (!column.domain).then(|| (column.type_oid, column.type_name.contains('(')))
    }
}

fn within(inner: &Span, outer: &Span) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Tokens as a piece; none is nothing.
fn tokens(span: Span) -> Result<Option<Piece>, PgError> {
    if span.is_empty() {
        return Ok(None);
    }
    Ok(Some(Piece::Tokens(place(span.start)?..place(span.end)?)))
}
