//! Sub-queries that are inputs as a whole: a derived table, a CTE or a sub-query in an expression whose rows the shards make by themselves.
//!
//! That they do [`local`](crate::planner::local) proves, as for a whole statement; nothing may be left for a merge. It pays where there are fewer of
//! them than of the rows that they are made of: with GROUP BY or DISTINCT, or of several tables. The sub-query must stand for itself: no column of
//! a block around it, and no CTE. The rest has its rows in the place of its text, and sees the same columns of the same types and collations: so
//! each is a table's own, or computed by what never makes text. Of one with aggregates and no groups the shards are asked for parts ([`partials`]
//! (super::partials)).

use std::ops::Range;

use sqlparser::ast::{
    BinaryOperator, Distinct, Expr, FunctionArguments, GroupByExpr, Query, SelectItem, SetExpr, Value,
};

use super::columns::described;
use super::input::all_shards;
use super::partials::Partials;
use super::{Origin, place, tables};
use crate::error::PgError;
use crate::plan::gather::Piece;
use crate::plan::work::bench::InputColumn;
use crate::plan::{Requirement, Route};
use crate::planner::source::unwrap;
use crate::planner::{Outputs, Planner, scope};
use crate::sql::TokenKind;
use crate::sql::classify::name_of;
use crate::sql::parse::byte_of;

/// A sub-query that stands for itself.
#[derive(Debug, Clone)]
pub(in crate::planner) struct Whole {
    part: Option<usize>,
    /// Its tokens, without the parentheses.
    pub tokens: Range<usize>,
    /// The uses in it.
    pub instances: Range<usize>,
    /// What it puts out.
    pub columns: Vec<InputColumn>,
    /// The column of a use that each of these is.
    pub outputs: Vec<Option<(usize, String)>>,
    /// Not its rows, but parts of what its aggregates are.
    partials: Option<Partials>,
    /// A condition restricts it.
    pub restricted: bool,
}

impl Whole {
    /// What the shards are asked for, and what stands in the rest instead of it.
    pub(super) fn pieces(&self, number: u16) -> Result<(Vec<Piece>, Vec<Piece>), PgError> {
        let rows = Piece::Input { input: number, alias: Some("goldseam".into()) };
        let words = |words: &str| Piece::Words(words.into());
        Ok(match &self.partials {
            None => {
                let own = Piece::Tokens(place(self.tokens.start)?..place(self.tokens.end)?);
                (vec![own], vec![words("SELECT * FROM"), rows])
            }
            Some(partials) => {
                let list = partials.list.iter().cloned();
                (
                    partials.text.clone(),
                    [words("SELECT")].into_iter().chain(list).chain([words("FROM"), rows]).collect(),
                )
            }
        })
    }
}

impl Planner<'_> {
    /// Takes note of a sub-query if it may be an input as a whole. Its own scope is not on the stack any more.
    pub(in crate::planner) fn note_whole(&mut self, query: &Query, outputs: &Outputs, first: usize) {
        if let Some(whole) = self.whole(query, outputs, first..self.instances.len()) {
            self.wholes.push(whole);
        }
    }

    fn whole(&self, query: &Query, outputs: &Outputs, instances: Range<usize>) -> Option<Whole> {
        let SetExpr::Select(select) = &*query.body else { return None };
        let plain = query.with.is_none()
            && query.order_by.is_none()
            && query.limit_clause.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty();
        let byte = u32::try_from(byte_of(select.select_token.0.span)?).ok()?;
        let start = self.tokens.binary_search_by_key(&byte, |token| token.start).ok()?;
        let opens = start.checked_sub(1).filter(|at| self.tokens[*at].kind == TokenKind::LeftParen)?;
        if !plain || start <= self.body.start || !outputs.complete || outputs.columns.len() != select.projection.len() {
            return None;
        }
        let sites = || self.sites.iter().filter(|site| instances.contains(&site.instance));
        let sharded = sites().filter(|site| matches!(site.origin, Origin::Sharded(_))).count();
        let apart = sites().any(|site| !matches!(site.origin, Origin::Sharded(_) | Origin::Reference(_)));
        let partials = self.partials.iter().find(|known| known.start == start).cloned();
        let fewer = partials.is_some()
            || select.distinct.as_ref().is_some_and(|distinct| *distinct == Distinct::Distinct)
            || matches!(&select.group_by, GroupByExpr::Expressions(terms, _) if !terms.is_empty());
        if sharded == 0 || apart || sites().count() != tables(query) || !(fewer || sharded > 1) {
            return None;
        }
        let tokens = start..self.places().closing(opens)?.checked_sub(1)?;
        if !self.stands_for_itself(&tokens, &instances) {
            return None;
        }
        let restricted = select.selection.is_some() || select.having.is_some();
        let (mut columns, mut known): (Vec<InputColumn>, Vec<_>) = (Vec::new(), Vec::new());
        if let Some(partials) = partials {
            let columns = partials.columns.clone();
            let (part, outputs, partials) = (outputs.part, vec![None; columns.len()], Some(partials));
            return Some(Whole { part, tokens, instances, columns, outputs, partials, restricted });
        }
        for (item, output) in select.projection.iter().zip(&outputs.columns) {
            let base = output.node.and_then(|node| self.facts.column(node));
            let base = base.map(|(instance, column)| (instance, column.to_owned()));
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, output.name.clone().or_else(|| self.function_name(expr))?),
                SelectItem::ExprWithAlias { expr, .. } => (expr, output.name.clone()?),
                _ => return None,
            };
            if columns.iter().any(|column| column.name == name) {
                return None;
            }
            columns.push(match &base {
                Some(base) => InputColumn { name, ..described(self.base_column(base)?.1) },
                None if self.is_no_text(expr) => InputColumn { name, type_name: None, collation: None },
                None => return None,
            });
            known.push(base);
        }
        let part = outputs.part;
        Some(Whole { part, tokens, instances, columns, outputs: known, partials: None, restricted })
    }

    /// Whether no name in these tokens can mean a column of a block around them.
    fn stands_for_itself(&self, tokens: &Range<usize>, instances: &Range<usize>) -> bool {
        let own = self.instances.get(instances.clone()).unwrap_or_default();
        let token = |at: usize| self.tokens.get(at);
        let kind = |at: usize| token(at).map(|token| token.kind);
        // Of one block alone all names are its own that it has.
        let alone =
            tokens.clone().filter(|at| token(*at).is_some_and(|token| token.is(self.text, "select"))).count() == 1;
        for around in &self.scopes {
            let tables = around.instances.iter().filter_map(|at| self.instances.get(*at));
            if around.opaque {
                return false;
            }
            for table in tables {
                if !table.complete {
                    return false;
                }
                for at in tokens.clone() {
                    let Some(name) = token(at).and_then(|token| name_of(self.text, *token)) else { continue };
                    let behind_dot = kind(at - 1) == Some(TokenKind::Dot);
                    let before_dot = kind(at + 1) == Some(TokenKind::Dot);
                    let named = token(at - 1).is_some_and(|token| token.is(self.text, "as"));
                    if table.name == *name && (!behind_dot || before_dot) {
                        if !(alone && own.iter().any(|one| one.name == *name)) {
                            return false;
                        }
                    } else if !behind_dot && !before_dot && !named && table.columns.iter().any(|one| one.name == *name)
                    {
                        let has = own.iter().any(|one| one.complete && one.columns.iter().any(|own| own.name == *name));
                        if !(alone && has) {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }

    /// The name that PostgreSQL gives to a function's column.
    fn function_name(&self, expr: &Expr) -> Option<String> {
        match expr {
            Expr::Function(function) => Some(scope::fold(function.name.0.last()?.as_ident()?).into_owned()),
            _ => None,
        }
    }

    /// Whether an expression is surely of a type that has no collation.
    fn is_no_text(&self, expr: &Expr) -> bool {
        match unwrap(expr) {
            Expr::Value(value) => matches!(value.value, Value::Number(..)),
            Expr::Extract { .. } => true,
            // Not a division, which may fail where nobody would have asked for its result.
            Expr::BinaryOp { op, .. } => {
                matches!(op, BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply)
            }
            Expr::Function(function) => {
                let [part] = function.name.0.as_slice() else { return false };
                let name = part.as_ident().map(|name| scope::fold(name).into_owned()).unwrap_or_default();
                matches!(function.args, FunctionArguments::List(_))
                    && function.over.is_none()
                    && NUMBERS.contains(&name.as_str())
                    && !self.context.catalog.functions.contains_key(&name)
            }
            _ => false,
        }
    }

    /// The sub-queries that are inputs as a whole, and the shards that have them; of two of which one contains the other, that one.
    pub(super) fn wholes(&mut self, found: &[Option<Result<Requirement, PgError>>]) -> Vec<(Whole, Route)> {
        if self.locks > 0 || self.wholes.is_empty() {
            return Vec::new();
        }
        let mut wholes = std::mem::take(&mut self.wholes);
        wholes.sort_by_key(|whole| (whole.tokens.start, std::cmp::Reverse(whole.tokens.end)));
        let mut chosen: Vec<(Whole, Route)> = Vec::new();
        for whole in wholes {
            let inside = |other: &(Whole, Route)| other.0.tokens.contains(&whole.tokens.start);
            if chosen.iter().any(inside) {
                continue;
            }
            if let Some(route) = self.local_route(&whole, found) {
                chosen.push((whole, route));
            }
        }
        chosen
    }

    /// Which shards make its rows, if each can make its own.
    fn local_route(&mut self, whole: &Whole, found: &[Option<Result<Requirement, PgError>>]) -> Option<Route> {
        let proof = self.part_proof(whole.part, whole.partials.is_some(), found)?;
        Some(Route { keyed: proof.1, ..all_shards(proof.0) })
    }
}

/// PostgreSQL's own aggregates whose result has no collation, whatever they are about.
const NUMBERS: &[&str] = &[
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "sum",
    "var_pop",
    "var_samp",
    "variance",
];
