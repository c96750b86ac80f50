//! SELECT DISTINCT: each shard's rows are distinct, and a row that comes from two shards is kept once.
//!
//! The select list stands there twice. The second half is compared, in binary form, so that the client's formats do not matter. PostgreSQL demands
//! that ORDER BY be about selected columns, so an order key is a column of the second half.

use sqlparser::ast::Query;

use super::block::{Block, Item, Target, What, tokens_piece};
use super::collate::Collation;
use super::order::{key, number, text_order};
use super::window::words;
use super::{refused, uncertain};
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{By, Hidden, Merge, Piece, Text};
use crate::planner::Planner;
use crate::types::KeyspaceId;

impl Planner<'_> {
    /// Distinct rows, in order, as many as are wanted.
    pub(super) fn distinct(
        &mut self,
        query: &Query,
        block: &Block<'_>,
        keyspace: KeyspaceId,
    ) -> Result<Gather, PgError> {
        let bounds = self.bounds(query, &block.clauses)?;
        if !block.stars.known || block.items.is_empty() {
            return Err(uncertain("DISTINCT with a star"));
        }
        for item in &block.items {
            if let What::Expr(_, survey) = &item.what
                && survey.erratic
            {
                return Err(refused(
                    "DISTINCT with a value that is another each time",
                    "It would be computed twice.",
                    "Compute it in a sub-query.",
                ));
            }
            if self.item_collation(item)?.fuzzy {
                return Err(refused(
                    "DISTINCT of a collation that calls different text equal",
                    "Goldseam compares bytes.",
                    "SELECT DISTINCT ... COLLATE \"C\", or restrict the statement to one shard key.",
                ));
            }
        }
        let mut keys = Vec::new();
        for term in &block.order {
            let at = self.distinct_key(term, block)?;
            let item = block.items.get(at).ok_or_else(|| uncertain("this ORDER BY"))?;
            let mut collation = self.item_collation(item)?;
            if term.target == Target::Own {
                let survey = self.survey(term.expr).ok_or_else(|| uncertain("this ORDER BY"))?;
                collation = self.collation(&term.span, &survey);
            }
            text_order(collation)?;
            keys.push(key(By::Hidden(number(at)?), term, collation));
        }
        let start = block.clauses.all.start..block.clauses.list.start;
        let mut pieces = vec![tokens_piece(&start)];
        // A star is taken apart, so that the columns' numbers are sure.
        let rewritten = block.stars.any;
        if rewritten {
            for (at, item) in block.items.iter().enumerate() {
                if at > 0 {
                    pieces.push(words(","));
                }
                pieces.push(self.item_pieces(item));
                if let (What::Expr(..), Some(name)) = (&item.what, &item.name) {
                    pieces.push(Piece::Words(format!("AS {}", super::block::quoted(name))));
                } else if item.name.is_none() {
                    return Err(uncertain("DISTINCT with a star beside a column that PostgreSQL names"));
                }
            }
        } else {
            pieces.push(tokens_piece(&block.clauses.list));
        }
        for (at, item) in block.items.iter().enumerate() {
            let name = Piece::Words(format!(") AS {}{}", block.prefix, at + 1));
            pieces.extend([words(", ("), self.item_pieces(item), name]);
        }
        let window = bounds.hidden(block.items.len(), &block.prefix, &mut pieces);
        let rest = block.clauses.list.end..block.clauses.body.end;
        if !rest.is_empty() {
            pieces.push(tokens_piece(&rest));
        }
        if !block.clauses.order.is_empty() {
            pieces.extend([words("ORDER BY"), tokens_piece(&block.clauses.order)]);
        }
        bounds.pushed(&mut pieces);
        Ok(Gather {
            keyspace,
            text: Some(Text { pieces }),
            hidden: Hidden::Twice(number(bounds.count())?),
            merge: Merge::Distinct(keys),
            window,
        })
    }

    /// The selected column that a term of ORDER BY is.
    fn distinct_key(&mut self, term: &super::block::Term<'_>, block: &Block<'_>) -> Result<usize, PgError> {
        if let Target::Item(at) = term.target {
            return Ok(at);
        }
        let survey = self.survey(term.expr).ok_or_else(|| uncertain("this ORDER BY"))?;
        let wanted = self.normal(&term.span, &survey);
        for (at, item) in block.items.iter().enumerate() {
            let known = match &item.what {
                What::Expr(_, survey) => self.normal(&item.span, survey),
                What::Star(instance) => vec![super::normal::Atom {
                    what: super::normal::Sort::Column(*instance, item.name.clone().unwrap_or_default()),
                    span: item.span.clone(),
                }],
            };
            if self.same(&wanted, &known) {
                return Ok(at);
            }
        }
        Err(refused(
            "SELECT DISTINCT with ORDER BY an expression that is not selected",
            "PostgreSQL wants it in the select list, word by word.",
            "Order by the column's number or name.",
        ))
    }

    fn item_collation(&self, item: &Item<'_>) -> Result<Collation, PgError> {
        match &item.what {
            What::Expr(_, survey) => self.key_collation(&item.span, survey),
            What::Star(instance) => Ok(self.star_collation(*instance, item.name.as_deref().unwrap_or(""))),
        }
    }
}
