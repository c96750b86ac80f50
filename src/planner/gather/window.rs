//! LIMIT and OFFSET: each shard sends the first limit + offset rows, and every row carries both, so that the proxy need not compute them.

use sqlparser::ast::{Expr, LimitClause, Query};

use super::block::tokens_piece;
use super::clauses::{Clauses, Span};
use super::{refused, uncertain};
use crate::error::PgError;
use crate::plan::gather::{Piece, Window};
use crate::planner::Planner;

/// The bounds of a query, if it has any.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// What LIMIT says, as pieces.
    limit: Option<Piece>,
    offset: Option<Piece>,
    /// As they stand.
    original: Span,
}

impl Planner<'_> {
    /// Reads the bounds, which must be the same wherever they are computed.
    pub(super) fn bounds(&self, query: &Query, clauses: &Clauses) -> Result<Bounds, PgError> {
        let (mut limit, mut offset) = (None, None);
        if let Some(clause) = &query.limit_clause {
            let LimitClause::LimitOffset { limit: said, offset: skipped, limit_by } = clause else {
                return Err(uncertain("this form of LIMIT"));
            };
            if !limit_by.is_empty() {
                return Err(uncertain("LIMIT BY"));
            }
            limit = said.as_ref();
            offset = skipped.as_ref().map(|offset| &offset.value);
        }
        let mut bounds = Bounds { original: clauses.bounds.clone(), ..Bounds::default() };
        if let Some(fetch) = &query.fetch {
            if limit.is_some() {
                return Err(uncertain("LIMIT beside FETCH"));
            }
            limit = fetch.quantity.as_ref();
            if limit.is_none() {
                // FETCH FIRST ROW ONLY
                bounds.limit = Some(Piece::Words("1".into()));
            }
        }
        let there = query.fetch.is_some() || limit.is_some();
        // LIMIT ALL is none.
        let all = clauses.limited && !there && self.places().is(clauses.limit.start, "all");
        if (clauses.limited && !all) != there || offset.is_some() == clauses.offset.is_empty() {
            return Err(uncertain("this form of LIMIT"));
        }
        if let Some(limit) = limit {
            bounds.limit = Some(self.bound(limit, &clauses.limit)?);
        }
        if let Some(offset) = offset {
            bounds.offset = Some(self.bound(offset, &clauses.offset)?);
        }
        Ok(bounds)
    }

    fn bound(&self, expr: &Expr, span: &Span) -> Result<Piece, PgError> {
        let survey = self.survey(expr).ok_or_else(|| uncertain("this form of LIMIT"))?;
        let constant = survey.columns.is_empty()
            && survey.calls.is_empty()
            && !survey.windows
            && !survey.subqueries
            && !survey.erratic
            && survey.unknown.is_empty();
        if !constant || span.is_empty() {
            return Err(refused(
                "LIMIT or OFFSET with a sub-query or function",
                "Each shard would compute a bound of its own.",
                "Send the number as a parameter.",
            ));
        }
        Ok(tokens_piece(span))
    }
}

impl Bounds {
    /// There are none.
    pub fn none(&self) -> bool {
        self.limit.is_none() && self.offset.is_none()
    }

    /// As the client wrote them.
    pub fn original(&self) -> Vec<Piece> {
        if self.original.is_empty() { Vec::new() } else { vec![tokens_piece(&self.original)] }
    }

    /// The hidden columns that carry the bounds, and their numbers from `first` on.
    pub fn hidden(&self, first: usize, prefix: &str, out: &mut Vec<Piece>) -> Window {
        let mut window = Window::default();
        let mut next = first;
        let mut add = |bound: &Option<Piece>| {
            let bound = bound.as_ref()?;
            out.extend([words(", ("), bound.clone(), Piece::Words(format!(")::int8 AS {prefix}{}", next + 1))]);
            next += 1;
            u16::try_from(next - 1).ok()
        };
        window.limit = add(&self.limit);
        window.offset = add(&self.offset);
        window
    }

    /// How many hidden columns that is.
    pub fn count(&self) -> usize {
        usize::from(self.limit.is_some()) + usize::from(self.offset.is_some())
    }

    /// What the shards are told: the rows up to the last that the whole may need. `least` also has PostgreSQL say what it thinks of the bounds'
    /// types, and negative ones come through, so that it says its own of them.
    pub fn pushed(&self, out: &mut Vec<Piece>) {
        match (&self.limit, &self.offset) {
            (None, None) => {}
            (Some(limit), None) => out.extend([words("LIMIT ("), limit.clone(), words(")")]),
            (None, Some(offset)) => out.extend(skipped(offset)),
            (Some(limit), Some(offset)) => {
                out.extend([
                    words("LIMIT CASE WHEN least(("),
                    limit.clone(),
                    words("), 0::int8)::int8 < 0 THEN ("),
                    limit.clone(),
                    words(")::int8 ELSE least(("),
                    limit.clone(),
                    words(")::int8::numeric + coalesce(("),
                    offset.clone(),
                    words(")::int8::numeric, 0), 9223372036854775807)::int8 END"),
                ]);
                out.extend(skipped(offset));
            }
        }
    }

    /// Where all rows are needed (groups): nothing but PostgreSQL's word on negative bounds.
    pub fn checked(&self, out: &mut Vec<Piece>) {
        if let Some(limit) = &self.limit {
            out.extend([
                words("LIMIT CASE WHEN least(("),
                limit.clone(),
                words("), 0::int8)::int8 < 0 THEN ("),
                limit.clone(),
                words(")::int8 END"),
            ]);
        }
        if let Some(offset) = &self.offset {
            out.extend(skipped(offset));
        }
    }
}

fn skipped(offset: &Piece) -> [Piece; 3] {
    [words("OFFSET least(("), offset.clone(), words("), 0::int8)")]
}

/// Words as a piece.
pub fn words(words: &str) -> Piece {
    Piece::Words(words.into())
}
