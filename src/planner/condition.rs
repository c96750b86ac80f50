//! Conditions: which of their terms restrict which columns.

use sqlparser::ast::{BinaryOperator, Expr, Ident};

use super::Planner;
use super::scope::{self, Found};
use super::source::{chain, unwrap};
use crate::error::PgError;
use crate::plan::{Edge, KeySet, KeySource};

/// Which rows an equality in a condition restricts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach<'s> {
    /// WHERE, and ON of an inner join: all tables of the block.
    All,
    /// ON of an outer join: the tables of the side that may be missing only.
    Only(&'s [usize]),
    /// ON of a full join: none.
    None,
}

impl Planner<'_> {
    /// The column that a name stands for.
    pub(super) fn column(&self, idents: &[Ident]) -> Option<Found> {
        scope::column(&self.instances, &self.scopes, idents)
    }

    /// The column that an expression is, if it is nothing else.
    pub(super) fn column_of(&self, expr: &Expr) -> Option<Found> {
        match unwrap(expr) {
            Expr::Identifier(ident) => self.column(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(idents) => self.column(idents),
            _ => None,
        }
    }

    /// A comparison with a shard key that does not count, for the refusal's words.
    pub(super) fn note_near(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) {
        if self.near.is_some() || !matches!(op, BinaryOperator::Eq | BinaryOperator::Or) {
            return;
        }
        if *op == BinaryOperator::Eq {
            for (side, other) in [(left, right), (right, left)] {
                if let Some(found) = self.column_of(side)
                    && self.is_shard_key(&found)
                    && self.source(other).is_some()
                {
                    self.near = Some(format!(
                        "A comparison with \"{}\" stands where it does not restrict the whole query: under OR or NOT, in an expression, in HAVING or the ON of an outer join.",
                        found.column
                    ));
                    return;
                }
            }
        }
    }

    /// Reads a condition: its equalities become facts, and every part is walked.
    pub(super) fn condition(&mut self, condition: &Expr, reach: Reach<'_>) -> Result<(), PgError> {
        for term in chain(condition, &BinaryOperator::And) {
            self.note_filter(unwrap(term), reach);
            self.note_link(unwrap(term), reach);
            if !self.term(unwrap(term), reach)? {
                self.expr(term)?;
            }
        }
        Ok(())
    }

    /// One term of a conjunction; whether all of it has been walked.
    fn term(&mut self, term: &Expr, reach: Reach<'_>) -> Result<bool, PgError> {
        match term {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                if let (Expr::Tuple(left), Expr::Tuple(right)) = (unwrap(left), unwrap(right)) {
                    if left.len() == right.len() {
                        for (left, right) in left.iter().zip(right) {
                            self.equality(left, right, reach);
                        }
                    }
                    return Ok(false);
                }
                if self.equality(left, right, reach) {
                    // Nothing in a name or value is left to walk.
                    return Ok(true);
                }
                if let Some(column) = self.column_of(left)
                    && let Expr::Subquery(subquery) = unwrap(right)
                {
                    let outputs = self.inner_query(subquery, None)?;
                    self.carry_outputs(&column, outputs, reach);
                    return Ok(true);
                }
                Ok(false)
            }
            Expr::InList { expr, list, negated: false } => {
                if let Expr::Tuple(columns) = unwrap(expr) {
                    self.tuple_list(columns, list, reach);
                } else if let Some(column) = self.column_of(expr)
                    && let Some(set) = self.list_source(list)
                {
                    self.restrict(&column, set, reach);
                }
                Ok(false)
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Expr::Subquery(subquery) = &**right {
                    let tested = vec![self.tested_node(left)];
                    self.expr(left)?;
                    self.inner_query(subquery, Some(tested))?;
                    return Ok(true);
                }
                if let Some(column) = self.column_of(left)
                    && let Some(set) = self.array_source(right)
                {
                    self.restrict(&column, set, reach);
                }
                Ok(false)
            }
            Expr::InSubquery { expr, subquery, negated: false } => {
                if let Expr::Tuple(columns) = unwrap(expr) {
                    let tested = columns.iter().map(|column| self.tested_node(column)).collect();
                    self.exprs(columns)?;
                    let outputs = self.inner_query(subquery, Some(tested))?;
                    let columns: Vec<Option<Found>> = columns.iter().map(|column| self.column_of(column)).collect();
                    self.note_member(&columns, &outputs, reach);
                    return Ok(true);
                }
                let Some(column) = self.column_of(expr) else { return Ok(false) };
                let tested = vec![self.tested_node(expr)];
                let outputs = self.inner_query(subquery, Some(tested))?;
                self.note_member(&[Some(column.clone())], &outputs, reach);
                self.carry_outputs(&column, outputs, reach);
                Ok(true)
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                for (column, set) in self.alternatives(term) {
                    self.restrict(&column, set, reach);
                }
                Ok(false)
            }
            Expr::BinaryOp { .. } | Expr::Between { .. } => {
                if let Some((column, set)) = self.simple(term) {
                    self.restrict(&column, set, reach);
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// `column = value` or `column = column`; whether both sides were such.
    fn equality(&mut self, left: &Expr, right: &Expr, reach: Reach<'_>) -> bool {
        match (self.column_of(left), self.column_of(right)) {
            (Some(left), Some(right)) => {
                self.equate(&left, &right, reach);
                true
            }
            (Some(column), None) => self.value(&column, right, reach),
            (None, Some(column)) => self.value(&column, left, reach),
            (None, None) => false,
        }
    }

    fn value(&mut self, column: &Found, value: &Expr, reach: Reach<'_>) -> bool {
        let Some(source) = self.source(value) else { return false };
        if reach == Reach::None && self.is_shard_key(column) && self.near.is_none() {
            self.near =
                Some(format!("The comparison with \"{}\" in a FULL JOIN restricts neither table.", column.column));
        }
        self.restrict(column, KeySet::Values(vec![source]), reach);
        true
    }

    /// `(a, b) IN ((1, 2), (3, 4))`: each column is restricted to its part of the rows.
    fn tuple_list(&mut self, columns: &[Expr], list: &[Expr], reach: Reach<'_>) {
        for (at, column) in columns.iter().enumerate() {
            let Some(column) = self.column_of(column) else { continue };
            let part = |row: &Expr| match unwrap(row) {
                Expr::Tuple(values) if values.len() == columns.len() => self.source(values.get(at)?),
                _ => None,
            };
            if let Some(values) = list.iter().map(part).collect() {
                self.restrict(&column, KeySet::Values(values), reach);
            }
        }
    }

    /// What a term says of one column by itself. All of these are true of no NULL: a row that an outer join has made up is not meant. So
    /// `k IS NULL` is not among them; besides, rows whose key has become NULL (ON DELETE SET NULL) are on any shard.
    fn simple(&self, term: &Expr) -> Option<(Found, KeySet)> {
        let edge = |at: &Expr, inclusive| Some(Edge { at: self.source(at)?, inclusive });
        match unwrap(term) {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                let (column, value) = match self.column_of(left) {
                    Some(column) => (column, right),
                    None => (self.column_of(right)?, left),
                };
                Some((column, KeySet::Values(vec![self.source(value)?])))
            }
            Expr::BinaryOp { left, op, right } => {
                let (below, inclusive) = match op {
                    BinaryOperator::Lt => (true, false),
                    BinaryOperator::LtEq => (true, true),
                    BinaryOperator::Gt => (false, false),
                    BinaryOperator::GtEq => (false, true),
                    _ => return None,
                };
                let (column, value, below) = match self.column_of(left) {
                    Some(column) => (column, right, below),
                    None => (self.column_of(right)?, left, !below),
                };
                let edge = Some(edge(value, inclusive)?);
                let (lower, upper) = if below { (None, edge) } else { (edge, None) };
                self.ordered(column, KeySet::Range { lower, upper })
            }
            Expr::Between { expr, negated: false, low, high } => {
                let column = self.column_of(expr)?;
                let (lower, upper) = (edge(low, true), edge(high, true));
                if lower.is_none() && upper.is_none() {
                    return None;
                }
                self.ordered(column, KeySet::Range { lower, upper })
            }
            Expr::InList { expr, list, negated: false } => Some((self.column_of(expr)?, self.list_source(list)?)),
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                Some((self.column_of(left)?, self.array_source(right)?))
            }
            _ => None,
        }
    }

    /// A range, if PostgreSQL's order of the column is the vindexes': text must compare byte by byte, and `char(n)` never does, because
    /// it may be compared with its blanks or without.
    fn ordered(&self, column: Found, range: KeySet) -> Option<(Found, KeySet)> {
        self.instances
            .get(column.instance)?
            .columns
            .iter()
            .any(|known| known.name == column.column && known.ordered)
            .then_some((column, range))
    }

    /// What an OR says of columns: of each that every arm restricts, the union.
    fn alternatives(&self, or: &Expr) -> Vec<(Found, KeySet)> {
        let mut all: Vec<(Found, Vec<KeySet>)> = Vec::new();
        for (at, arm) in chain(or, &BinaryOperator::Or).into_iter().enumerate() {
            let known = self.together(arm);
            if at == 0 {
                all = known.into_iter().map(|(column, set)| (column, vec![set])).collect();
                continue;
            }
            all.retain_mut(|(column, sets)| match known.iter().find(|(other, _)| other == column) {
                Some((_, set)) => {
                    sets.push(set.clone());
                    true
                }
                None => false,
            });
            if all.is_empty() {
                break;
            }
        }
        all.into_iter().map(|(column, sets)| (column, any(sets))).collect()
    }

    /// What the terms of an arm of OR say of columns together.
    fn together(&self, arm: &Expr) -> Vec<(Found, KeySet)> {
        let mut all: Vec<(Found, KeySet)> = Vec::new();
        for term in chain(arm, &BinaryOperator::And) {
            let known = match unwrap(term) {
                Expr::BinaryOp { op: BinaryOperator::Or, .. } => self.alternatives(term),
                term => self.simple(term).into_iter().collect(),
            };
            for (column, set) in known {
                match all.iter_mut().find(|(other, _)| *other == column) {
                    Some((_, one)) => *one = KeySet::all([std::mem::replace(one, KeySet::EVERYTHING), set]),
                    None => all.push((column, set)),
                }
            }
        }
        all
    }

    fn restrict(&mut self, column: &Found, set: KeySet, reach: Reach<'_>) {
        let key_type = self.key_type(column);
        self.note_types(&set, key_type);
        // A condition of an inner block on an outer block's column restricts the outer one not at all.
        let counts = match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&column.instance),
            Reach::None => false,
        };
        if column.level == 0 && counts {
            let node = self.facts.node(column.instance, &column.column);
            self.facts.restrict(node, set);
        } else if column.level == 0 && self.near.is_none() && self.is_shard_key(column) {
            self.near = Some(format!(
                "The comparison with \"{}\" stands in the ON of an outer join, where it only decides which rows are joined.",
                column.column
            ));
        }
    }

    fn equate(&mut self, left: &Found, right: &Found, reach: Reach<'_>) {
        if !self.comparable(left, right) {
            return;
        }
        let one = self.facts.node(left.instance, &left.column);
        let other = self.facts.node(right.instance, &right.column);
        self.tree.equal((one, other));
        let into = |column: &Found| {
            column.level == 0
                && match reach {
                    Reach::All => true,
                    Reach::Only(side) => side.contains(&column.instance),
                    Reach::None => false,
                }
        };
        if into(left) {
            self.facts.flow(other, one);
        }
        if into(right) {
            self.facts.flow(one, other);
        }
    }

    /// `column IN (sub-query)`: the column has values that the sub-query's only column has.
    fn carry_outputs(&mut self, column: &Found, outputs: super::Outputs, reach: Reach<'_>) {
        let [output] = outputs.columns.as_slice() else { return };
        if !outputs.complete {
            return;
        }
        let (Some(key_type), Some(node)) = (output.key_type, output.node) else {
            if let Some(source) = &output.source {
                // Without a cast it was text, or what an earlier use made it.
                let source = KeySource { doubtful: source.cast.is_none(), ..source.clone() };
                self.restrict(column, KeySet::Values(vec![source]), reach);
            }
            return;
        };
        let counts = match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&column.instance),
            Reach::None => false,
        };
        if column.level == 0
            && counts
            && self.key_type(column).is_some_and(|known| super::facts::comparable(known, key_type))
        {
            let to = self.facts.node(column.instance, &column.column);
            self.facts.flow(node, to);
        }
    }
}

/// The union: of lists one list.
fn any(mut sets: Vec<KeySet>) -> KeySet {
    if sets.len() == 1 {
        return sets.remove(0);
    }
    if sets.iter().all(|set| matches!(set, KeySet::Values(_))) {
        let values = |set| match set {
            KeySet::Values(values) => values,
            _ => Vec::new(),
        };
        return KeySet::Values(sets.into_iter().flat_map(values).collect());
    }
    KeySet::Any(sets)
}
