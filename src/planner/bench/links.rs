//! Inputs made smaller by the rows of others: *links*, which are equalities of two columns, each of a use of its own.
//!
//! A link has a target and a source. The law is that of [`filter`](super::filter): a row of the target whose column has no value of the source's
//! rows makes no row that passes the term, and where an outer join may leave the target out, NULL passes it as little. So the term is one of
//! the AND of WHERE or of an inner join's ON, or of an outer join's ON and about the side that may be missing, and the target is of its own
//! block. The source may be of that block, of one further out (then the sub-query's rows are sought by its rows), or what a sub-query puts
//! out of which the target has to be a member. What an input has fetched are all rows of its use that the rest ever sees, so that nothing
//! else can be the value.
//!
//! Which of two is the source is a guess about sizes, which is right whatever it says: the use that a key or a condition restricts goes
//! first, and lends the one that nothing restricts its few values ([`Keys`]). If they are not few, nothing is lent.
//!
//! The values are compared as the statement does only if the types are PostgreSQL's own, and equality is that of their B-tree.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Visit, Visitor};

use super::input::Kept;
use super::{Site, Whole, quote};
use crate::catalog::Column;
use crate::plan::work::bench::{Input, Keys};
use crate::plan::{KeySet, Route};
use crate::planner::condition::Reach;
use crate::planner::scope::Found;
use crate::planner::source::unwrap;
use crate::planner::{Outputs, Planner};
use crate::types::{Oid, oid};

/// Of one use's rows only those matter whose column has a value of the other's.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::planner) struct Link {
    /// The use, and the column as the statement calls it.
    target: (usize, String),
    source: (usize, String),
}

impl Planner<'_> {
    /// Takes note of a term that makes two columns equal.
    pub(in crate::planner) fn note_link(&mut self, term: &Expr, reach: Reach<'_>) {
        let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = term else { return };
        let pairs: Vec<(&Expr, &Expr)> = match (unwrap(left), unwrap(right)) {
            (Expr::Tuple(left), Expr::Tuple(right)) if left.len() == right.len() => left.iter().zip(right).collect(),
            (left, right) => vec![(left, right)],
        };
        for (left, right) in pairs {
            self.note_sought(left, right);
            if let (Some(left), Some(right)) = (self.column_of(left), self.column_of(right)) {
                self.link_found(&left, &right, reach);
                self.link_found(&right, &left, reach);
            }
        }
    }

    fn link_found(&mut self, target: &Found, source: &Found, reach: Reach<'_>) {
        if target.level == 0 {
            self.link_to((target.instance, &target.column), (source.instance, &source.column), reach);
        }
        // In a sub-query joins are made anew for each row of the block around it.
        if target.level == 0 && self.scopes.len() > 1 {
            self.sought.insert((target.instance, target.column.clone()));
        }
    }

    /// Two columns of one block that USING or NATURAL makes equal.
    pub(in crate::planner) fn link(&mut self, one: (usize, &str), other: (usize, &str), reach: Reach<'_>) {
        self.link_to(one, other, reach);
        self.link_to(other, one, reach);
        if self.scopes.len() > 1 {
            self.sought.extend([one, other].map(|(instance, column)| (instance, column.to_owned())));
        }
    }

    fn link_to(&mut self, target: (usize, &str), source: (usize, &str), reach: Reach<'_>) {
        let counts = match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&target.0),
            Reach::None => false,
        };
        let owned = |(instance, column): (usize, &str)| (instance, column.to_owned());
        let link = Link { target: owned(target), source: owned(source) };
        if counts && target.0 != source.0 && !self.links.contains(&link) {
            self.links.push(link);
        }
    }

    /// `(a, b) IN (SELECT ...)` as a term: `columns` have values that the sub-query puts out.
    pub(in crate::planner) fn note_member(&mut self, columns: &[Option<Found>], outputs: &Outputs, reach: Reach<'_>) {
        if !outputs.complete || outputs.columns.len() != columns.len() {
            return;
        }
        for (column, output) in columns.iter().zip(&outputs.columns) {
            let source = output.node.and_then(|node| self.facts.column(node));
            let source = source.map(|(instance, column)| (instance, column.to_owned()));
            if let (Some(target), Some((instance, column))) = (column.as_ref().filter(|found| found.level == 0), source)
            {
                self.link_to((target.instance, &target.column), (instance, &column), reach);
            }
        }
    }

    /// `column = something of a block further out`: rows are looked up by it, again and again.
    pub(in crate::planner) fn note_sought(&mut self, left: &Expr, right: &Expr) {
        if self.scopes.len() < 2 {
            return;
        }
        for (column, other) in [(left, right), (right, left)] {
            if let Some(found) = self.column_of(column).filter(|found| found.level == 0)
                && self.is_outer(other)
            {
                self.sought.insert((found.instance, found.column));
            }
        }
    }

    /// Whether an expression has columns, all of them of blocks further out.
    fn is_outer(&self, expr: &Expr) -> bool {
        struct Levels<'p, 'c>(&'p Planner<'c>, bool);
        impl Visitor for Levels<'_, '_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let idents = match expr {
                    Expr::Identifier(ident) => std::slice::from_ref(ident),
                    Expr::CompoundIdentifier(idents) => idents,
                    _ => return ControlFlow::Continue(()),
                };
                match self.0.column(idents) {
                    Some(found) if found.level > 0 => self.1 = true,
                    _ => return ControlFlow::Break(()),
                }
                ControlFlow::Continue(())
            }
        }
        let mut levels = Levels(self, false);
        matches!(expr.visit(&mut levels), ControlFlow::Continue(())) && levels.1
    }

    /// The columns of a target and a source that have to be equal.
    pub(super) fn links_between(&self, target: usize, source: usize) -> impl Iterator<Item = (&str, &str)> {
        let links = self.links.iter().filter(move |link| link.target.0 == target && link.source.0 == source);
        links.map(|link| (link.target.1.as_str(), link.source.1.as_str()))
    }

    /// Which columns of which inputs are asked for by the values of others: first those of tables, then those of whole sub-queries, which
    /// only lend. `kept`: what the former have.
    pub(super) fn lend_keys(
        &self,
        fetched: &[(&Site, Route)],
        kept: &[Kept],
        wholes: &[(Whole, Route)],
        inputs: &mut [Input],
    ) {
        // Rows that are locked are those that the conditions let through, no fewer.
        if self.locks > 0 {
            return;
        }
        // The input that has a source's values, and their position in it.
        let lender = |source: &(usize, String)| {
            if let Some(at) = kept.iter().position(|known| known.instance == source.0) {
                let (place, _) = self.base_column(source)?;
                return Some((at, kept[at].columns.iter().position(|column| *column == place)?));
            }
            wholes.iter().enumerate().find_map(|(at, (whole, _))| {
                let is_it = |output: &Option<(usize, String)>| output.as_ref() == Some(source);
                Some((kept.len() + at, whole.outputs.iter().position(is_it)?))
            })
        };
        let tables = fetched.iter().map(|(site, route)| self.restriction(site, route));
        let own: Vec<u8> = tables.chain(wholes.iter().map(|(whole, _)| if whole.restricted { 2 } else { 0 })).collect();
        let mut known = own.clone();
        let mut open: Vec<usize> = (0..inputs.len()).collect();
        while let Some(first) = open.iter().copied().max_by_key(|at| (known[*at], std::cmp::Reverse(*at))) {
            open.retain(|at| *at != first);
            for link in &self.links {
                let Some(target) = kept.iter().position(|known| known.instance == link.target.0) else { continue };
                let useful = open.contains(&target)
                    && known[first] > own[target]
                    && !kept[target].beside.contains(&link.source.0);
                let Some((_, column)) = lender(&link.source).filter(|(source, _)| useful && *source == first) else {
                    continue;
                };
                let Some(keys) = self.keys(link, first, column) else { continue };
                if !inputs[target].keys.contains(&keys) {
                    inputs[target].keys.push(keys);
                    known[target] = known[target].max(known[first] - 1);
                }
            }
        }
    }

    fn keys(&self, link: &Link, source: usize, column: usize) -> Option<Keys> {
        let (lent, asked) = (self.base_column(&link.source)?, self.base_column(&link.target)?);
        let (type_oid, type_name) = carried(lent.1)?;
        if !alike(lent.1, asked.1) {
            return None;
        }
        let name = &self.instances.get(link.target.0)?.name;
        Some(Keys {
            input: u16::try_from(source).ok()?,
            column: u16::try_from(column).ok()?,
            compared: format!("{}.{}", quote(name), quote(&link.target.1)),
            type_name,
            type_oid,
        })
    }

    /// The table's own column that a use's column is, and its position.
    pub(super) fn base_column(&self, (instance, column): &(usize, String)) -> Option<(usize, &Column)> {
        let (relation, called) = self.relations.get(instance)?;
        let mut hits = called.iter().enumerate().filter(|(_, name)| *name == column);
        let at = hits.next().filter(|_| hits.next().is_none())?.0;
        Some((at, relation.columns.get(at)?))
    }

    /// How much is known to restrict the rows of a use: the more, the earlier it is asked for.
    fn restriction(&self, site: &Site, route: &Route) -> u8 {
        let keyed = route.keyed.iter().flat_map(|requirement| &requirement.columns);
        if keyed.into_iter().any(|column| matches!(column.values, KeySet::Values(_) | KeySet::Array(_))) {
            return 4;
        }
        let terms = self.safe_filters(site.instance);
        let mut found = 0;
        for filter in terms {
            found = found.max(match filter.term() {
                Expr::BinaryOp { op: BinaryOperator::Eq, .. } | Expr::InList { .. } | Expr::AnyOp { .. } => 3,
                _ => 2,
            });
        }
        found
    }

    /// The columns of an input by which the rest looks its rows up one by one, if an index can be made on them.
    pub(super) fn sought_columns(&self, instance: usize, kept: &[usize]) -> Vec<u16> {
        let Some((relation, called)) = self.relations.get(&instance) else { return Vec::new() };
        let sought: HashSet<&str> =
            self.sought.iter().filter(|(known, _)| *known == instance).map(|(_, column)| column.as_str()).collect();
        let known = |at: &usize| {
            let column = relation.columns.get(*at).filter(|column| !column.nondeterministic);
            called.get(*at).is_some_and(|name| sought.contains(name.as_str()))
                && column.is_some_and(|column| carried(column).is_some())
        };
        let places = kept.iter().enumerate().filter(|(_, at)| known(at));
        places.filter_map(|(place, _)| u16::try_from(place).ok()).collect()
    }
}

/// Types whose `=` is that of their B-tree, and how an array of their values is called (`pg_type.dat`).
fn carried(column: &Column) -> Option<(Oid, &'static str)> {
    if column.nondeterministic || column.domain {
        return None;
    }
    Some(match column.type_oid {
        oid::BOOL => (oid::BOOL, "bool"),
        oid::BYTEA => (oid::BYTEA, "bytea"),
        oid::INT8 => (oid::INT8, "int8"),
        oid::INT2 => (oid::INT2, "int2"),
        oid::INT4 => (oid::INT4, "int4"),
        // Text of a declared length is the same text.
        oid::TEXT | oid::VARCHAR => (oid::TEXT, "text"),
        oid::DATE => (oid::DATE, "date"),
        oid::TIMESTAMP => (oid::TIMESTAMP, "timestamp"),
        oid::TIMESTAMPTZ => (oid::TIMESTAMPTZ, "timestamptz"),
        oid::NUMERIC => (oid::NUMERIC, "numeric"),
        oid::UUID => (oid::UUID, "uuid"),
        _ => return None,
    })
}

/// Whether `=` of the two is the one that compares either with its own kind.
fn alike(one: &Column, other: &Column) -> bool {
    let integer = |known: Oid| matches!(known, oid::INT2 | oid::INT4 | oid::INT8);
    match (carried(one), carried(other)) {
        (Some((one, _)), Some((other, _))) => one == other || (integer(one) && integer(other)),
        _ => false,
    }
}
