//! GROUP BY and aggregates: what each visible column is, and which of two ways leads to the answer.
//!
//! *Native*: each visible column is an aggregate, or is made of the group's keys and so is the same in all of its rows; the proxy puts it together
//! by itself. *Finish*: a server does, over the partial results ([`finish`](super::finish)). Both are planned where both are possible, because only
//! at run time the types are seen. Where only a server can, the shards are not sent the select list at all: an expression over
//! partial results may fail where that over the whole does not (`1 / count(*) FILTER (...)`).

use sqlparser::ast::{Distinct, Query};

use super::block::{Block, Target, Term, What, tokens_piece};
use super::clauses::Span;
use super::collate::Collation;
use super::finish::{Merged, Whole};
use super::order::{key, number};
use super::partial::Grouped;
use super::survey::Survey;
use super::window::{Bounds, words};
use super::{refused, uncertain};
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{Aggregation, By, Finish, Hidden, Item, Merge, OrderKey, Piece, Text, Window};
use crate::planner::Planner;
use crate::types::KeyspaceId;

/// What the proxy puts together by itself: the visible columns, and the order of the groups.
type Native = (Vec<Item>, Vec<OrderKey>);

/// The clauses of a grouped block, with aggregates and group keys exchanged.
#[derive(Debug, Default)]
pub struct Clauses {
    /// One for each item.
    pub items: Vec<Merged>,
    pub having: Option<Merged>,
    /// One for each term; none where it stands for an item.
    pub order: Vec<Option<Merged>>,
}

impl Planner<'_> {
    /// The shards' groups put together.
    pub(super) fn grouped(
        &mut self,
        query: &Query,
        block: &Block<'_>,
        keyspace: KeyspaceId,
    ) -> Result<Gather, PgError> {
        if !query.locks.is_empty() {
            return Err(refused(
                "FOR UPDATE with GROUP BY or aggregates",
                "Rows of the answer are no rows of a table.",
                "Lock the rows in a statement of its own.",
            ));
        }
        if block.stars.any || block.items.is_empty() {
            return Err(refused(
                "a star beside GROUP BY or aggregates",
                "What it stands for may not be the same in all rows of a group.",
                "Name the columns.",
            ));
        }
        if matches!(block.select.distinct, Some(Distinct::On(_))) || !block.select.named_window.is_empty() {
            return Err(uncertain("DISTINCT ON or WINDOW beside aggregates"));
        }
        let bounds = self.bounds(query, &block.clauses)?;
        let mut grouped = self.group_keys(block)?;
        let clauses = self.merged_clauses(block, &mut grouped)?;
        let finish = self.finish(block, &grouped, &clauses, &bounds);
        // What orders the groups may be one more hidden column.
        let native = self.native(block, &mut grouped, &clauses)?;
        grouped.fill();
        let columns = number(grouped.columns.len())?;
        let groups = grouped.group_columns();
        let calls = grouped.calls.iter().map(|known| known.call.clone()).collect();
        let (native, finish) = match (native, finish) {
            (None, Err(error)) => return Err(error),
            (native, finish) => (native, finish.ok().map(|text| Finish { text })),
        };
        let head = block.clauses.list.end;
        let mut pieces = Vec::new();
        let (text, hidden, window, visible, order, native) = match native {
            Some((visible, order)) => {
                pieces.push(tokens_piece(&(block.clauses.all.start..head)));
                grouped.put(&block.prefix, true, &mut pieces);
                let window = bounds.hidden(grouped.columns.len(), &block.prefix, &mut pieces);
                // FROM, WHERE and GROUP BY as they are.
                let end = [&block.clauses.groups, &block.clauses.source].into_iter().map(|span| span.end).max();
                rest(&(head..end.unwrap_or(head).max(head)), &mut pieces);
                bounds.checked(&mut pieces);
                let count = grouped.columns.len() + bounds.count();
                (Text { pieces }, Hidden::Last(number(count)?), window, visible, order, true)
            }
            None => {
                pieces.push(tokens_piece(&(block.clauses.all.start..block.clauses.head.start + 1)));
                grouped.put(&block.prefix, false, &mut pieces);
                rest(&block.clauses.source, &mut pieces);
                if !groups.is_empty() {
                    // The group keys are the first hidden columns.
                    let numbers: Vec<String> = (1..=groups.len()).map(|number| number.to_string()).collect();
                    pieces.push(Piece::Words(format!("GROUP BY {}", numbers.join(", "))));
                }
                (Text { pieces }, Hidden::Last(columns), Window::default(), Vec::new(), Vec::new(), false)
            }
        };
        let aggregation = Aggregation { groups, calls, columns: visible, order, native, finish };
        Ok(Gather { keyspace, text: Some(text), hidden, merge: Merge::Aggregate(aggregation), window })
    }

    /// The clauses with aggregates and group keys exchanged; all aggregates get their partial results.
    fn merged_clauses(&mut self, block: &Block<'_>, grouped: &mut Grouped) -> Result<Clauses, PgError> {
        let mut clauses = Clauses::default();
        for item in &block.items {
            let What::Expr(_, survey) = &item.what else { return Err(uncertain("this select list")) };
            clauses.items.push(self.merged(&item.span, survey, grouped)?);
        }
        if let Some(having) = &block.select.having {
            let survey = self.survey(having).ok_or_else(|| uncertain("this HAVING"))?;
            clauses.having = Some(self.merged(&block.clauses.having, &survey, grouped)?);
        }
        for term in &block.order {
            clauses.order.push(match term.target {
                Target::Item(_) => None,
                Target::Own => {
                    let survey = self.survey(term.expr).ok_or_else(|| uncertain("this ORDER BY"))?;
                    Some(self.merged(&term.span, &survey, grouped)?)
                }
            });
        }
        Ok(clauses)
    }

    /// The visible columns and the order, if the proxy can do it by itself.
    fn native(
        &mut self,
        block: &Block<'_>,
        grouped: &mut Grouped,
        clauses: &Clauses,
    ) -> Result<Option<Native>, PgError> {
        let distinct = matches!(block.select.distinct, Some(Distinct::Distinct));
        if distinct || clauses.having.is_some() || grouped.groups.iter().any(|group| group.collation.fuzzy) {
            return Ok(None);
        }
        let mut visible = Vec::new();
        for merged in &clauses.items {
            visible.push(match merged.whole {
                Whole::Call(call) => Item::Call(call),
                Whole::Group(_) | Whole::Keys => Item::First,
                Whole::Mixed => return Ok(None),
            });
        }
        let mut order = Vec::new();
        for (term, own) in block.order.iter().zip(&clauses.order) {
            let key = match (own, term.target) {
                (Some(merged), _) => {
                    let survey = self.survey(term.expr).ok_or_else(|| uncertain("this ORDER BY"))?;
                    self.group_key(term, merged, &term.span, &survey, grouped)?
                }
                (None, Target::Item(at)) => match (block.items.get(at), clauses.items.get(at)) {
                    (Some(item), Some(merged)) => match &item.what {
                        What::Expr(_, survey) => self.group_key(term, merged, &item.span, survey, grouped)?,
                        What::Star(_) => None,
                    },
                    _ => None,
                },
                (None, Target::Own) => None,
            };
            match key {
                Some(key) => order.push(key),
                None => return Ok(None),
            }
        }
        Ok(Some((visible, order)))
    }

    /// What a term of ORDER BY compares; none if that is for a server to compute.
    fn group_key(
        &mut self,
        term: &Term<'_>,
        merged: &Merged,
        span: &Span,
        survey: &Survey,
        grouped: &mut Grouped,
    ) -> Result<Option<OrderKey>, PgError> {
        let (by, collation) = match merged.whole {
            Whole::Call(call) => (By::Call(call), grouped.call_collation(call)),
            Whole::Group(column) => (By::Hidden(column), grouped.group_collation(column)),
            Whole::Keys if !survey.erratic => {
                let collation = self.collation(span, survey);
                let normal = self.normal(span, survey);
                let column = self.partial(grouped, "", normal, vec![words("("), tokens_piece(span), words(")")])?;
                (By::Hidden(column), collation)
            }
            Whole::Keys | Whole::Mixed => return Ok(None),
        };
        if collation.text && !collation.bytewise {
            return Ok(None);
        }
        Ok(Some(key(by, term, collation)))
    }

    /// The statement that a server ends the work with.
    fn finish(
        &self,
        block: &Block<'_>,
        grouped: &Grouped,
        clauses: &Clauses,
        bounds: &Bounds,
    ) -> Result<Text, PgError> {
        if !grouped.is_plain() {
            return Err(refused(
                "a grouped query of text of another collation than the database's",
                "The last step, on one server, would compare by the database's collation.",
                "GROUP BY ... COLLATE \"C\" is merged where nothing is left for a last step: no HAVING, no expressions over aggregates.",
            ));
        }
        super::finish::statement(block, grouped, clauses, bounds)
    }
}

/// The collation of numbers and of what is not text.
pub const NO_COLLATION: Collation = Collation { bytewise: true, plain: true, fuzzy: false, text: false };

fn rest(span: &Span, pieces: &mut Vec<Piece>) {
    if !span.is_empty() {
        pieces.push(tokens_piece(span));
    }
}
