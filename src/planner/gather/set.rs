//! ORDER BY and LIMIT around a set operation: it becomes a sub-query, whose columns the hidden ones repeat.
//!
//! ORDER BY of a set operation knows nothing but its output: names and numbers of the first arm's columns. UNION without ALL, where it is the last
//! operation and the others are unions too, is DISTINCT over all of it.

use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, SetOperator, SetQuantifier, Value};

use super::block::{order_list, quoted, tokens_piece};
use super::clauses::Clauses;
use super::order::number;
use super::window::words;
use super::{Covered, names, refused, uncertain};
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{By, Hidden, Merge, OrderKey, Piece, Text};
use crate::planner::source::unwrap;
use crate::planner::{Planner, scope};
use crate::types::KeyspaceId;

impl Planner<'_> {
    /// The shards' parts of a set operation.
    pub(super) fn set_gather(
        &mut self,
        query: &Query,
        clauses: Clauses,
        keyspace: KeyspaceId,
        covered: Covered,
    ) -> Result<Gather, PgError> {
        if query.order_by.is_some() == clauses.order.is_empty() || !query.locks.is_empty() {
            return Err(uncertain("this statement"));
        }
        let distinct = if covered.distinct { false } else { distinct_union(&query.body)? };
        let bounds = self.bounds(query, &clauses)?;
        if !distinct && bounds.none() && query.order_by.is_none() {
            return Ok(Gather::concat(keyspace));
        }
        let prefix = self.prefix();
        let columns = first_arm(&query.body);
        let mut keys = Vec::new();
        let mut named = Vec::new();
        let (mut sorted, mut own) = (Vec::new(), Vec::new());
        if let Some(order) = &query.order_by {
            for (term, span, descending, nulls_first) in order_list(&self.places(), order, &clauses.order)? {
                let (name, at) = self.set_key(&term.expr, columns.as_deref())?;
                let nulls = if nulls_first { "NULLS FIRST" } else { "NULLS LAST" };
                let direction = format!("{}{nulls}", if descending { " DESC " } else { " " });
                let by = if distinct { at } else { keys.len() };
                sorted.push(format!("{prefix}{}{direction}", by + 1));
                own.push(span);
                keys.push(OrderKey {
                    by: By::Hidden(number(by)?),
                    descending,
                    nulls_first,
                    bytewise: self.all_bytewise(),
                });
                named.push(name);
            }
        }
        let mut pieces = Vec::new();
        let hidden = if distinct {
            let Some(columns) = columns else { return Err(uncertain("UNION of columns without names")) };
            let unique = |name: &String| columns.iter().filter(|other| *other == name).count() == 1;
            if !columns.iter().all(unique) {
                return Err(uncertain("UNION of columns of one name"));
            }
            if self
                .relations
                .values()
                .any(|(relation, _)| relation.columns.iter().any(|column| column.nondeterministic))
            {
                return Err(uncertain("UNION of text of a collation that calls different text equal"));
            }
            named = columns;
            Hidden::Twice(number(bounds.count())?)
        } else {
            Hidden::Last(number(keys.len() + bounds.count())?)
        };
        pieces.push(words("SELECT goldseam.*"));
        for (at, name) in named.iter().enumerate() {
            pieces.push(Piece::Words(format!(", goldseam.{} AS {prefix}{}", quoted(name), at + 1)));
        }
        let window = bounds.hidden(named.len(), &prefix, &mut pieces);
        pieces.extend([words("FROM ("), tokens_piece(&(clauses.all.start..clauses.body.end)), words(") AS goldseam")]);
        if !sorted.is_empty() {
            pieces.push(Piece::Words(format!("ORDER BY {}", sorted.join(", "))));
        }
        bounds.pushed(&mut pieces);
        let merge = match (distinct, keys.is_empty()) {
            (true, _) => Merge::Distinct(keys),
            (false, true) => Merge::Concat,
            (false, false) => Merge::Ordered(keys),
        };
        Ok(Gather { keyspace, text: Some(Text { pieces }), hidden, merge, window })
    }

    /// The output column that a term names, and its place.
    fn set_key(&mut self, expr: &Expr, columns: Option<&[String]>) -> Result<(String, usize), PgError> {
        let unclear = || uncertain("ORDER BY of a set operation by this term");
        let columns = columns.ok_or_else(unclear)?;
        let at = match unwrap(expr) {
            Expr::Identifier(name) => {
                let name = scope::fold(name);
                columns.iter().position(|column| *column == name).ok_or_else(unclear)?
            }
            Expr::Value(value) => {
                let Value::Number(digits, _) = &value.value else { return Err(unclear()) };
                self.literal = true;
                let number = digits.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
                number.ok_or_else(unclear)?
            }
            _ => return Err(unclear()),
        };
        let name = columns.get(at).ok_or_else(unclear)?;
        if columns.iter().filter(|other| *other == name).count() > 1 {
            return Err(unclear());
        }
        Ok((name.clone(), at))
    }

    /// Whether all text of the statement is surely in the order of its bytes.
    fn all_bytewise(&self) -> bool {
        self.context.catalog.bytewise && self.calm()
    }
}

/// The names of a set operation's columns: those of its first arm.
fn first_arm(body: &SetExpr) -> Option<Vec<String>> {
    let mut body = body;
    loop {
        match body {
            SetExpr::SetOperation { left, .. } => body = left,
            SetExpr::Query(query) => body = &query.body,
            SetExpr::Select(select) => {
                let name = |item: &SelectItem| match item {
                    SelectItem::UnnamedExpr(expr) => names::column_name(expr),
                    SelectItem::ExprWithAlias { alias, .. } => Some(scope::fold(alias).into_owned()),
                    _ => None,
                };
                return select.projection.iter().map(name).collect();
            }
            _ => return None,
        }
    }
}

/// Whether the last operation makes rows distinct; an error if one before it does, and the last does not.
fn distinct_union(body: &SetExpr) -> Result<bool, PgError> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(false) };
    let unclear = || {
        Err(refused(
            "this set operation",
            "Rows that it calls equal may be on several shards.",
            "Select the shard key in every part, or use UNION ALL.",
        ))
    };
    match (op, set_quantifier) {
        (SetOperator::Union, SetQuantifier::All) if plain_union(left, true) && plain_union(right, true) => Ok(false),
        (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct)
            if plain_union(left, false) && plain_union(right, false) =>
        {
            Ok(true)
        }
        _ => unclear(),
    }
}

/// Whether it is made of unions only; `all`: of UNION ALL only.
fn plain_union(body: &SetExpr, all: bool) -> bool {
    let mut open = vec![body];
    while let Some(body) = open.pop() {
        match body {
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right } => {
                if all && !matches!(set_quantifier, SetQuantifier::All) {
                    return false;
                }
                open.extend([&**left, &**right]);
            }
            SetExpr::SetOperation { .. } => return false,
            SetExpr::Query(query) => open.push(&query.body),
            _ => {}
        }
    }
    true
}
