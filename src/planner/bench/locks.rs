//! FOR UPDATE, FOR SHARE and their kin: the inputs' rows are locked where they are, and the rest has no lock.
//!
//! PostgreSQL locks the rows that it returns; here all rows of the inputs are, which are those that the filters let through. More than the client gets
//! is locked by PostgreSQL too (what OFFSET skips), if not so much: a lock that waits longer, and no other answer. A row that was changed while the lock was waited for comes as it is now, and the rest judges it anew, which is what PostgreSQL does.

use std::ops::Range;

use sqlparser::ast::{Distinct, GroupByExpr, Query, SetExpr};

use super::Site;
use crate::error::PgError;
use crate::plan::Route;
use crate::plan::gather::Piece;
use crate::plan::work::bench::Input;
use crate::planner::gather::clauses::clauses;
use crate::planner::tree::Item;
use crate::planner::tree::Part;
use crate::planner::{Planner, refuse};
use crate::sql::classify::name_of;

/// The locks of a query.
#[derive(Debug)]
pub(super) struct Locks {
    /// Their tokens.
    pub clause: Range<usize>,
    /// Each: what it says, without OF, and whose rows it is about; none: all tables.
    list: Vec<(String, Vec<String>)>,
}

impl Planner<'_> {
    /// The locks, if there are any and they are the query's own.
    pub(super) fn row_locks(&self, query: &Query) -> Result<Option<Locks>, PgError> {
        if self.locks == 0 {
            return Ok(None);
        }
        let unclear = || refuse::spoiled("a lock in a sub-query, or beside GROUP BY, DISTINCT or a set operation,");
        let SetExpr::Select(select) = &*query.body else { return Err(unclear()) };
        let plain = select.having.is_none()
            && matches!(&select.group_by, GroupByExpr::Expressions(terms, _) if terms.is_empty())
            && matches!(select.distinct, None | Some(Distinct::All));
        if !plain || self.locks != query.locks.len() {
            return Err(unclear());
        }
        let clauses = clauses(&self.places(), self.body.clone(), true).ok_or_else(unclear)?;
        let span = clauses.locks.clone();
        if span.is_empty() {
            return Err(unclear());
        }
        let mut list: Vec<(String, Vec<String>)> = Vec::new();
        let mut named = false;
        for at in span.clone() {
            let token = self.tokens.get(at).ok_or_else(unclear)?;
            let word = name_of(self.text, *token).unwrap_or_default();
            match word.as_ref() {
                "for" => {
                    named = false;
                    list.push(("FOR".into(), Vec::new()));
                }
                "of" => named = true,
                other => {
                    let (words, tables) = list.last_mut().ok_or_else(unclear)?;
                    if matches!(other, "nowait" | "skip" | "locked") {
                        named = false;
                    }
                    match other {
                        "" => {}
                        name if named => tables.push(name.to_string()),
                        word if matches!(word, "update" | "share" | "no" | "key" | "nowait" | "skip" | "locked") => {
                            words.push(' ');
                            words.push_str(&word.to_ascii_uppercase());
                        }
                        _ => return Err(unclear()),
                    }
                }
            }
        }
        Ok(Some(Locks { clause: span, list }))
    }

    /// Adds the locks to the inputs that they are about.
    pub(super) fn lock_inputs(
        &self,
        locks: &Locks,
        fetched: &[(&Site, Route)],
        inputs: &mut [Input],
    ) -> Result<(), PgError> {
        let mut outer = Vec::new();
        let block = self.tree.parts.iter().rev().find_map(|part| match part {
            Part::Block(block) => Some(block),
            _ => None,
        });
        let mut open: Vec<&Item> = block.iter().flat_map(|block| &block.from).collect();
        while let Some(item) = open.pop() {
            match item {
                Item::Leaf(instance) => outer.push(*instance),
                Item::Join { left, right, .. } => open.extend([&**left, &**right]),
            }
        }
        for (words, tables) in &locks.list {
            let mut met = 0;
            for instance in &outer {
                let name = self.instances.get(*instance).map_or("", |one| one.name.as_str());
                if !tables.is_empty() && !tables.iter().any(|table| table == name) {
                    continue;
                }
                met += 1;
                let Some(at) = fetched.iter().position(|(site, _)| site.instance == *instance) else {
                    return Err(refuse::spoiled("a lock on what is no table of a shard"));
                };
                if let Some(input) = inputs.get_mut(at) {
                    input.text.pieces.push(Piece::Words(words.clone()));
                }
            }
            if met == 0 || met < tables.len() {
                return Err(refuse::spoiled("a lock on what is not in FROM"));
            }
        }
        Ok(())
    }
}
