//! ORDER BY and LIMIT over plain rows: hidden columns, by which each shard sorts and the proxy merges.

use sqlparser::ast::{Distinct, Query};

use super::block::{Block, Target, Term, What, tokens_piece};
use super::clauses::Span;
use super::collate::Collation;
use super::survey::Survey;
use super::window::words;
use super::{refused, uncertain};
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{By, Hidden, Merge, OrderKey, Piece, Text};
use crate::planner::Planner;
use crate::types::KeyspaceId;

/// More hidden columns than a statement of people has.
const MAX_HIDDEN: usize = 500;

impl Planner<'_> {
    /// The shards' rows in order, as many as are wanted.
    pub(super) fn in_order(
        &mut self,
        query: &Query,
        block: &Block<'_>,
        keyspace: KeyspaceId,
    ) -> Result<Gather, PgError> {
        let bounds = self.bounds(query, &block.clauses)?;
        if bounds.none() && block.order.is_empty() {
            return Ok(Gather::concat(keyspace));
        }
        // With a lock each shard locks as many rows as the client may get of it: some more than it gets, as OFFSET does on one server.
        if block.clauses.list.is_empty() {
            return Err(uncertain("an empty select list"));
        }
        // DISTINCT and DISTINCT ON want ORDER BY to be about their own columns: it stays as it is.
        let keep = block.select.distinct.as_ref().is_some_and(|distinct| !matches!(distinct, Distinct::All));
        let (mut hidden, mut keys, mut sorted) = (Vec::new(), Vec::new(), Vec::new());
        for (at, term) in block.order.iter().enumerate() {
            let (piece, collation) = self.order_key(term, block, keep)?;
            let name = format!("{}{}", block.prefix, at + 1);
            hidden.extend([words(", ("), piece, Piece::Words(format!(") AS {name}"))]);
            sorted.push(format!("{name}{}", direction(term)));
            keys.push(key(By::Hidden(number(at)?), term, collation));
        }
        let window = bounds.hidden(keys.len(), &block.prefix, &mut hidden);
        let count = keys.len() + bounds.count();
        let mut pieces = vec![tokens_piece(&(block.clauses.all.start..block.clauses.list.end))];
        pieces.extend(hidden);
        let rest = block.clauses.list.end..block.clauses.body.end;
        if !rest.is_empty() {
            pieces.push(tokens_piece(&rest));
        }
        if !keys.is_empty() {
            if keep {
                pieces.extend([words("ORDER BY"), tokens_piece(&block.clauses.order)]);
            } else {
                pieces.push(Piece::Words(format!("ORDER BY {}", sorted.join(", "))));
            }
        }
        bounds.pushed(&mut pieces);
        if !block.clauses.locks.is_empty() {
            pieces.push(tokens_piece(&block.clauses.locks));
        }
        let merge = if keys.is_empty() { Merge::Concat } else { Merge::Ordered(keys) };
        Ok(Gather { keyspace, text: Some(Text { pieces }), hidden: Hidden::Last(number(count)?), merge, window })
    }

    /// The expression that a term sorts by, and its collation. `twice`: the sort computes it once more.
    fn order_key(&mut self, term: &Term<'_>, block: &Block<'_>, twice: bool) -> Result<(Piece, Collation), PgError> {
        let erratic = |what: &What<'_>| matches!(what, What::Expr(_, survey) if survey.erratic);
        let unstable = || {
            refused(
                "ORDER BY a value that is another each time",
                "The rows would be merged by other values than they are sorted by.",
                "Compute it in a sub-query, or do not select it.",
            )
        };
        match term.target {
            Target::Item(at) => {
                let item = block.items.get(at).ok_or_else(|| uncertain("this ORDER BY"))?;
                if erratic(&item.what) {
                    return Err(unstable());
                }
                let collation = match &item.what {
                    What::Expr(_, survey) => self.key_collation(&item.span, survey)?,
                    What::Star(instance) => self.star_collation(*instance, item.name.as_deref().unwrap_or("")),
                };
                text_order(collation)?;
                Ok((self.item_pieces(item), collation))
            }
            Target::Own => {
                let survey = self.survey(term.expr).ok_or_else(|| uncertain("this ORDER BY"))?;
                if survey.erratic && (twice || block.items.iter().any(|item| erratic(&item.what))) {
                    return Err(unstable());
                }
                let collation = self.key_collation(&term.span, &survey)?;
                text_order(collation)?;
                Ok((tokens_piece(&term.span), collation))
            }
        }
    }

    /// The collation of a key, which must be the same when it is computed a second time.
    pub(super) fn key_collation(&self, span: &Span, survey: &Survey) -> Result<Collation, PgError> {
        let tokens = self.places();
        let chosen = |at: usize| tokens.any(at, &["limit", "fetch", "offset", "distinct", "tablesample"]);
        if survey.subqueries && span.clone().any(chosen) {
            return Err(refused(
                "ORDER BY a sub-query that chooses among rows",
                "It may choose another row when it is computed once more.",
                "Join the sub-query's table instead.",
            ));
        }
        Ok(self.collation(span, survey))
    }
}

/// Text that is surely not in the order of its bytes cannot be merged.
pub fn text_order(collation: Collation) -> Result<(), PgError> {
    if collation.text && !collation.bytewise {
        return Err(refused(
            "ORDER BY text of a collation that does not compare bytes",
            "Goldseam merges rows by bytes, and the servers sort by the rules of a language.",
            "ORDER BY ... COLLATE \"C\", or create the databases with LOCALE 'C' or 'C.UTF-8'.",
        ));
    }
    Ok(())
}

/// A term as a key.
pub fn key(by: By, term: &Term<'_>, collation: Collation) -> OrderKey {
    OrderKey { by, descending: term.descending, nulls_first: term.nulls_first, bytewise: collation.bytewise }
}

/// ` DESC NULLS LAST`.
pub fn direction(term: &Term<'_>) -> String {
    let nulls = if term.nulls_first == term.descending {
        ""
    } else if term.nulls_first {
        " NULLS FIRST"
    } else {
        " NULLS LAST"
    };
    format!("{}{nulls}", if term.descending { " DESC" } else { "" })
}

/// A hidden column's number.
pub fn number(at: usize) -> Result<u16, PgError> {
    u16::try_from(at).ok().filter(|_| at < MAX_HIDDEN).ok_or_else(|| uncertain("so many columns"))
}
