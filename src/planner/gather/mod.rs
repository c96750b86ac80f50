//! From a query that is proven local to what the shards are sent, and how their answers become one.
//!
//! That a shard's rows are right up to the top-level block's GROUP BY, DISTINCT, ORDER BY and LIMIT is proven elsewhere; here begins what does not
//! commute with union. The law of this room: a shard's statement is the client's own, token by token, with columns added behind the
//! select list, and clauses exchanged that speak of the whole.
//!
//! | clause | the shards | the proxy |
//! |---|---|---|
//! | ORDER BY | sort by hidden columns, one for each term | k-way merge by them |
//! | LIMIT l OFFSET o | send the first l + o rows | skips o, stops after l |
//! | DISTINCT | as it is; the select list stands there twice | drops equal rows, by the hidden half |
//! | GROUP BY, aggregates | as they are, with hidden group keys and partial results | adds up what belongs together |
//! | HAVING, expressions over aggregates | nothing | a server *finishes*: the client's own words over the partial results |
//!
//! # Why this is right
//!
//! *Order.* PostgreSQL itself sorts by the value of a column that it adds for a term which is not selected. We give that column a name. What
//! a term stands for, a number, a name of the answer, or an expression over the tables, is PostgreSQL's rule ([`block`]). A value that
//! is another each time it is asked for must not be asked twice: `SELECT random() AS r ... ORDER BY r` is refused, `ORDER BY random()` is not.
//!
//! *Bounds.* The first l + o rows of all are among the first l + o of each shard; NULL is no bound; what a bound may be and what is said of
//! negative ones is left to PostgreSQL.
//!
//! *Groups.* The rows of a group on one shard make one row of partial results; count, sum, min, max, and, or, xor are associative and
//! commutative, and an average is a sum and a count. A column beside them has one value in the group because it is made of the group's keys
//! ([`grouped`]); PostgreSQL would also allow what a primary key determines, which we refuse.
//!
//! *Finish.* HAVING and what is computed from aggregates are the client's words, with each aggregate exchanged for its merged form and each
//! group key for its column ([`finish`]); a server computes them, so types, errors and rounding are PostgreSQL's.
//!
//! *Collations.* Text is merged only where its order is surely that of its bytes ([`collate`]).
//!
//! Everything here works on numbers of tokens ([`clauses`]); what the tree says is checked against them, and a doubt is a refusal.

mod block;
pub(super) mod clauses;
mod collate;
mod distinct;
mod finish;
mod grouped;
pub(super) mod names;
mod normal;
mod order;
mod partial;
mod set;
pub(super) mod survey;
#[cfg(test)]
mod tests;
mod window;

use sqlparser::ast::{Distinct, Query, SetExpr};

use super::Planner;
use super::scope::Scope;
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{Hidden, Merge, Window};
use crate::types::KeyspaceId;
use block::{Block, What, group_terms};

/// What the shard key has to do with the top-level block's rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Covered {
    /// Each group of GROUP BY is on one shard.
    pub groups: bool,
    /// Rows that DISTINCT, DISTINCT ON or UNION call equal are on one shard.
    pub distinct: bool,
    /// The partitions of all window functions are on one shard.
    pub windows: bool,
}

/// A construct that cannot be merged.
fn refused(what: &str, why: &str, way_out: &str) -> PgError {
    PgError::unsupported(format!("{what} over several shards is not supported")).with_detail(why).with_hint(way_out)
}

/// What stands there is not clear enough.
fn uncertain(what: &str) -> PgError {
    refused(
        what,
        "What it stands for cannot be told with certainty from the statement.",
        "Name the columns one by one, each with its table, or restrict the statement to one shard key.",
    )
}

impl Planner<'_> {
    /// How several shards answer a query whose top-level block is local to each of them up to its GROUP BY, DISTINCT, ORDER BY and LIMIT. `scope`
    /// is what the block's FROM list brought into scope (empty for a set operation). Nothing to do is a `Concat` without text.
    pub(super) fn gather(
        &mut self,
        query: &Query,
        scope: &Scope,
        keyspace: KeyspaceId,
        covered: Covered,
    ) -> Result<Gather, PgError> {
        self.scopes.push(scope.clone());
        let result = self.gathered(query, keyspace, covered);
        self.scopes.pop();
        result
    }

    fn gathered(&mut self, query: &Query, keyspace: KeyspaceId, covered: Covered) -> Result<Gather, PgError> {
        if query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties || fetch.percent) {
            return Err(refused(
                "FETCH FIRST ... WITH TIES",
                "How many rows tie is known only when all shards' rows are together.",
                "Write ROWS ONLY.",
            ));
        }
        if self.body.start > 0 {
            return Err(uncertain("a query inside another statement"));
        }
        let all = self.body.clone();
        match &*query.body {
            SetExpr::Select(select) => {
                let clauses = clauses::clauses(&self.places(), all, true).ok_or_else(|| uncertain("this statement"))?;
                let has = [
                    (select.selection.is_some() || !select.from.is_empty(), &clauses.source),
                    (group_terms(select).is_none_or(|terms| !terms.is_empty()), &clauses.groups),
                    (select.having.is_some(), &clauses.having),
                    (!select.named_window.is_empty(), &clauses.windows),
                    (query.order_by.is_some(), &clauses.order),
                    (!query.locks.is_empty(), &clauses.locks),
                ];
                if has.iter().any(|(there, span)| *there == span.is_empty()) {
                    return Err(uncertain("this statement"));
                }
                let block = self.block_of(query, select, clauses)?;
                self.select_gather(query, &block, keyspace, covered)
            }
            SetExpr::SetOperation { .. } => {
                let clauses =
                    clauses::clauses(&self.places(), all, false).ok_or_else(|| uncertain("this statement"))?;
                self.set_gather(query, clauses, keyspace, covered)
            }
            _ if query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none() => {
                Ok(Gather::concat(keyspace))
            }
            _ => Err(uncertain("ORDER BY or LIMIT of a query in parentheses")),
        }
    }

    fn select_gather(
        &mut self,
        query: &Query,
        block: &Block<'_>,
        keyspace: KeyspaceId,
        covered: Covered,
    ) -> Result<Gather, PgError> {
        self.outer_aggregates(block)?;
        let surveys = block.items.iter().filter_map(|item| match &item.what {
            What::Expr(_, survey) => Some(survey),
            What::Star(_) => None,
        });
        let (mut windows, mut calls) = (false, false);
        for survey in surveys {
            windows |= survey.windows;
            calls |= !survey.calls.is_empty();
        }
        for term in &block.order {
            let survey = self.survey(term.expr).ok_or_else(|| uncertain("this ORDER BY"))?;
            windows |= survey.windows;
            calls |= !survey.calls.is_empty();
        }
        let grouped = calls || !block.clauses.groups.is_empty() || block.select.having.is_some();
        if windows && !covered.windows {
            return Err(refused(
                "a window function",
                "A window's rows would have to be on one shard.",
                "PARTITION BY the shard key, or restrict the statement to one shard key.",
            ));
        }
        if grouped && !covered.groups {
            if windows {
                return Err(refused(
                    "a window function beside aggregates",
                    "The window is about groups whose rows are on several shards.",
                    "GROUP BY the shard key, or compute the window over a sub-query in the client.",
                ));
            }
            return self.grouped(query, block, keyspace);
        }
        match &block.select.distinct {
            Some(Distinct::On(_)) if !covered.distinct => Err(refused(
                "DISTINCT ON",
                "Which row is the first of its kind is known only when all shards' rows are together.",
                "Put the shard key into DISTINCT ON.",
            )),
            Some(Distinct::Distinct) if !covered.distinct => self.distinct(query, block, keyspace),
            _ => self.in_order(query, block, keyspace),
        }
    }

    /// `SELECT (SELECT sum(t.x)) FROM t`: an aggregate in a sub-query may be the outer block's.
    fn outer_aggregates(&self, block: &Block<'_>) -> Result<(), PgError> {
        let unclear = || {
            Err(refused(
                "an aggregate in a sub-query",
                "Its argument may be a column of the query around it: then it is about all rows of all shards.",
                "Name the columns in it with the sub-query's own table.",
            ))
        };
        let mut surveys: Vec<&survey::Survey> = Vec::new();
        surveys.extend(block.items.iter().filter_map(|item| match &item.what {
            What::Expr(_, survey) => Some(survey),
            What::Star(_) => None,
        }));
        let terms: Option<Vec<survey::Survey>> = block.order.iter().map(|term| self.survey(term.expr)).collect();
        let having = block.select.having.as_ref().map(|having| self.survey(having));
        let (Some(terms), None | Some(Some(_))) = (terms, &having) else { return Err(uncertain("a sub-query")) };
        surveys.extend(&terms);
        surveys.extend(having.iter().flatten());
        let Some(scope) = self.scopes.last() else { return Ok(()) };
        for names in surveys.iter().flat_map(|survey| &survey.inner_aggregates) {
            for ident in names {
                let name = super::scope::fold(ident);
                let outer = scope.opaque
                    || scope.instances.iter().filter_map(|at| self.instances.get(*at)).any(|one| {
                        one.name == *name || !one.complete || one.columns.iter().any(|column| column.name == *name)
                    });
                if outer {
                    return unclear();
                }
            }
        }
        Ok(())
    }
}

impl Gather {
    /// The shards' answers one after the other.
    fn concat(keyspace: KeyspaceId) -> Gather {
        Gather { keyspace, text: None, hidden: Hidden::Last(0), merge: Merge::Concat, window: Window::default() }
    }
}
