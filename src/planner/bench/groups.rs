//! GROUP BY that relies on a primary key: `SELECT o.id, o.total ... GROUP BY o.id`.
//!
//! PostgreSQL allows a column beside the groups' own if their primary key determines it. Staged rows have no such key. But then the column may
//! as well be one of the group's terms: it parts no group and joins none. So the columns that the input has are added to the clause. Where that
//! cannot be, because a type has no equality or the clause is made of grouping sets, the staged rows need the key themselves.

use sqlparser::ast::{Expr, Select, SelectItem, Value};

use super::input::Kept;
use super::{Edit, quote};
use crate::error::PgError;
use crate::plan::gather::Piece;
use crate::plan::work::bench::Input;
use crate::planner::source::unwrap;
use crate::planner::{Planner, scope};
use crate::sql::TokenKind;
use crate::types::Oid;

/// A GROUP BY clause.
#[derive(Debug)]
pub(in crate::planner) struct Grouping {
    /// The columns among its terms: the use, and what the statement calls it.
    columns: Vec<(usize, String)>,
    /// A term is a number: which column that is, the literal says.
    pub ordinals: bool,
    /// It is made of grouping sets.
    sets: bool,
    /// The last token of it that the tree knows.
    last: Option<usize>,
}

impl Planner<'_> {
    /// Takes note of a GROUP BY clause. Its block's scope is on the stack.
    pub(in crate::planner) fn note_grouping(&mut self, select: &Select, terms: &[Expr]) {
        let Some(last) = terms.last() else { return };
        let last = self.known_tokens(last).map(|(_, last)| last);
        let mut grouping = Grouping { columns: Vec::new(), ordinals: false, sets: false, last };
        for term in terms {
            self.grouped_by(select, term, &mut grouping);
        }
        if !grouping.columns.is_empty() {
            self.groupings.push(grouping);
        }
    }

    fn grouped_by(&self, select: &Select, term: &Expr, grouping: &mut Grouping) {
        let column = |expr: &Expr| {
            self.column_of(expr).filter(|found| found.level == 0).map(|found| (found.instance, found.column))
        };
        match unwrap(term) {
            Expr::Tuple(terms) => terms.iter().for_each(|term| self.grouped_by(select, term, grouping)),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                grouping.sets = true;
                sets.iter().flatten().for_each(|term| self.grouped_by(select, term, grouping));
            }
            Expr::Value(value) => {
                let Value::Number(digits, _) = &value.value else { return };
                let item = digits.parse::<usize>().ok().and_then(|at| select.projection.get(at.checked_sub(1)?));
                grouping.ordinals = true;
                if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item {
                    grouping.columns.extend(column(expr));
                }
            }
            Expr::Identifier(name) if self.column_of(term).is_none() => {
                let name = scope::fold(name);
                for item in &select.projection {
                    if let SelectItem::ExprWithAlias { expr, alias } = item
                        && scope::fold(alias) == name
                    {
                        grouping.columns.extend(column(expr));
                    }
                }
            }
            other => grouping.columns.extend(column(other)),
        }
    }

    /// Adds to GROUP BY what a primary key determines, or asks for the key. `kept`: each input's use and the positions of its columns.
    pub(super) fn widen_groups(
        &self,
        kept: &[Kept],
        inputs: &mut [Input],
        edits: &mut Vec<Edit>,
    ) -> Result<(), PgError> {
        for grouping in &self.groupings {
            let mut words = String::new();
            for (Kept { instance, columns: kept, .. }, input) in kept.iter().zip(inputs.iter_mut()) {
                let Some((relation, called)) = self.relations.get(instance) else { continue };
                let grouped = |at: usize| {
                    let named = |(other, column): &(usize, String)| other == instance && called.get(at) == Some(column);
                    grouping.columns.iter().any(named)
                };
                if relation.primary_key.is_empty() || !relation.primary_key.iter().all(|at| grouped(*at)) {
                    continue;
                }
                let others: Vec<usize> = kept.iter().copied().filter(|at| !grouped(*at)).collect();
                let equal = others
                    .iter()
                    .all(|at| relation.columns.get(*at).is_some_and(|column| has_equality(column.type_oid)));
                if equal && !grouping.sets && self.grouping_end(grouping).is_some() {
                    let Some(name) = self.instances.get(*instance).map(|one| quote(&one.name)) else { continue };
                    for column in others.iter().filter_map(|at| called.get(*at)) {
                        words.push_str(&format!(", {name}.{}", quote(column)));
                    }
                } else if !others.is_empty() {
                    let place = |at: &usize| kept.iter().position(|known| known == at);
                    let key: Option<Vec<usize>> = relation.primary_key.iter().map(place).collect();
                    input.key = key.into_iter().flatten().filter_map(|at| u16::try_from(at).ok()).collect();
                }
            }
            if let Some(end) = self.grouping_end(grouping).filter(|_| !words.is_empty()) {
                edits.push((end..end, vec![Piece::Words(words)]));
            }
        }
        Ok(())
    }

    /// One past the clause's last token.
    fn grouping_end(&self, grouping: &Grouping) -> Option<usize> {
        let mut at = grouping.last? + 1;
        let mut depth = 0usize;
        while at < self.body.end {
            let token = self.tokens.get(at)?;
            match token.kind {
                TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                TokenKind::RightParen | TokenKind::RightBracket if depth == 0 => {
                    // It may close what was opened before the last word that the tree knows.
                    return self.closes_query(at).then_some(at);
                }
                TokenKind::RightParen | TokenKind::RightBracket => depth -= 1,
                TokenKind::Word if depth == 0 && self.begins_clause(at) => return Some(at),
                TokenKind::Comma | TokenKind::Semicolon if depth == 0 => return None,
                _ => {}
            }
            at += 1;
        }
        Some(at)
    }

    /// Whether the parenthesis that is closed here was opened in front of a query.
    fn closes_query(&self, close: usize) -> bool {
        let mut depth = 0usize;
        for at in (self.body.start..close).rev() {
            match self.tokens.get(at).map(|token| token.kind) {
                Some(TokenKind::RightParen) => depth += 1,
                Some(TokenKind::LeftParen) if depth == 0 => {
                    return self
                        .tokens
                        .get(at + 1)
                        .is_some_and(|next| next.is(self.text, "select") || next.is(self.text, "with"));
                }
                Some(TokenKind::LeftParen) => depth -= 1,
                _ => {}
            }
        }
        false
    }
}

/// Whether values of that type can be told apart: PostgreSQL's own that have a B-tree or hash class (`pg_opclass.dat`).
fn has_equality(type_oid: Oid) -> bool {
    const TYPES: &[Oid] = &[
        16, 17, 18, 19, 20, 21, 23, 25, 26, 700, 701, 790, 829, 869, 650, 1042, 1043, 1082, 1083, 1114, 1184, 1186,
        1266, 1560, 1562, 1700, 2950, 3802,
    ];
    TYPES.contains(&type_oid)
}
