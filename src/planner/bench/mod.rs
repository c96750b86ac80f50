//! From a query that neither one shard nor a merge of several answers to inputs that are fetched and a rest that runs over them: a
//! [`Bench`].
//!
//! The law of this room: the rest is the client's own statement, token by token, with rows in the places of tables' names; PostgreSQL runs it
//! and supplies all of its own semantics. What is decided here is only which rows and columns are fetched, and there too much is slow and
//! too little wrong.
//!
//! * [`site`]: each place in a FROM list that names a table, with its tokens: what is exchanged for an input.
//! * [`input`]: an input's text. It goes to the shards that its own key's values lead to, which the whole statement's facts tell, and to all
//!   where none do.
//! * [`columns`]: which columns of a use the statement can mean. A column is kept if its name stands anywhere in the statement; all are
//!   kept where a star or the use's own name may mean them.
//! * [`filter`]: which rows of a use can matter, by the conditions that are about it alone.
//! * [`links`]: which input's rows are asked for by the values of another's.
//! * [`reduce`]: which input's rows the shards choose by other tables that they have.
//! * [`whole`]: sub-queries that the shards answer as a whole.
//! * [`partials`]: their aggregates without groups, of which the shards answer parts.
//! * [`groups`]: a GROUP BY that relies on a primary key, which staged rows do not have.
//! * [`locks`]: FOR UPDATE and its kin, which lock rows where they are.
//! * [`tokens`]: the same for what the grammar's tree does not tell, by tokens alone.
//!
//! # What stays in the rest
//!
//! Reference tables, because every shard of their keyspace has them, and the tables of one shard that no other needs. Then the rest runs
//! there. System catalogs are the home shard's, as everywhere. A table that is left in it by mistake would show a part of its rows, so the
//! names that were met are counted against those that there are.

mod columns;
mod filter;
mod groups;
mod input;
mod links;
mod locks;
mod partials;
mod reduce;
mod site;
#[cfg(test)]
mod tests;
pub(super) mod tokens;
mod whole;

pub(super) use filter::Filter;
pub(super) use groups::Grouping;
pub(super) use links::Link;
pub(super) use partials::Partials;
use site::Front;
pub(super) use site::{Origin, Site};
pub(super) use tokens::beyond_grammar;
pub(super) use whole::Whole;

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use sqlparser::ast::{Query, TableFactor, Visit, Visitor};

use super::tree::Part;
use super::{Planner, refuse};
use crate::error::PgError;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::Bench;
use crate::plan::{Requirement, Route, Steps, Work};
use crate::sql::classify::name_of;
use crate::sql::{self, TokenKind};
use crate::sqlstate::SqlState;
use crate::types::{KeyspaceId, ShardId};

/// How many uses of tables a statement may have: each becomes an input, and its columns parameters.
const MOST_TABLES: usize = 200;
/// How many tokens it may have.
const MOST_TOKENS: usize = 20_000;

/// A part of the text, and what stands there instead.
pub(super) type Edit = (Range<usize>, Vec<Piece>);

impl Planner<'_> {
    /// Whether a token is the first of a clause behind a FROM list.
    fn begins_clause(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(|token| sql::begins_clause(*token, self.text))
    }

    /// Gives the route of a read a way over inputs where it has no other, or not for all values. `walked`: the walk has met all of it.
    pub(super) fn with_bench(
        &mut self,
        query: &Query,
        routed: Result<Route, PgError>,
        walked: bool,
    ) -> Result<Route, PgError> {
        let always = match &routed {
            // What a merge compares or adds up may turn out to be of a type that it does not know.
            Ok(route) if route.fixed.is_none() && route.gather.as_ref().is_some_and(|gather| gather.is_certain()) => {
                return routed;
            }
            Ok(route) if route.gather.is_none() && route.keyed.is_empty() && route.keyspaces.is_empty() => {
                return routed;
            }
            Ok(_) => false,
            Err(error) if error.code == SqlState::FEATURE_NOT_SUPPORTED => true,
            Err(_) => return routed,
        };
        // A text of this size is a program's mistake or an attack: each of its terms would be looked at again for each table.
        if self.body.len() > MOST_TOKENS {
            return routed;
        }
        let walked = walked && tables(query) == self.met;
        let bench = if walked {
            if self.sites.iter().all(|site| matches!(site.origin, Origin::Elsewhere)) {
                return routed;
            }
            let found = self.requirements();
            let wholes = self.wholes(&found);
            self.bench(query, &found, &wholes)
        } else {
            self.bench_of_tokens()
        };
        let bench = match bench {
            Ok(bench) if bench.inputs.is_empty() => return routed,
            Ok(bench) => bench,
            // The way that there is, or the walk, says best what is missing.
            Err(error) => return routed.map_err(|known| if always && walked { error } else { known }),
        };
        self.literal |= self.groupings.iter().any(|grouping| grouping.ordinals);
        let work = Some(Arc::new(Work { always, steps: Steps::Bench(bench) }));
        Ok(match routed {
            Ok(route) => Route { work, ..route },
            Err(_) => {
                let mut reasons = std::mem::take(&mut self.reasons);
                reasons.push(WHY.into());
                Route { work, reasons, ..Route::default() }
            }
        })
    }

    /// What is fetched, and what is run over it.
    fn bench(
        &self,
        query: &Query,
        found: &[Option<Result<Requirement, PgError>>],
        wholes: &[(Whole, Route)],
    ) -> Result<Bench, PgError> {
        self.fit_for_bench()?;
        let locks = self.row_locks(query)?;
        let fixed = self.bench_shard();
        let mut keyspaces = Vec::new();
        let mut fetched: Vec<(&Site, Route)> = Vec::new();
        for site in &self.sites {
            if wholes.iter().any(|(whole, _)| whole.instances.contains(&site.instance)) {
                continue;
            }
            let route = match &site.origin {
                Origin::Elsewhere => continue,
                Origin::Reference(keyspace) if !self.has_copies(*keyspace, fixed) => {
                    Route { keyspaces: vec![*keyspace], ..Route::default() }
                }
                Origin::Reference(keyspace) => {
                    if !keyspaces.contains(keyspace) {
                        keyspaces.push(*keyspace);
                    }
                    continue;
                }
                Origin::Single(shard) if Some(*shard) == fixed => continue,
                Origin::Single(shard) => Route { fixed: Some(*shard), ..Route::default() },
                Origin::Sharded(keyspace) => self.input_route(site.instance, *keyspace, found),
            };
            if site.name.is_empty() {
                return Err(refuse::construct("this table reference"));
            }
            fetched.push((site, route));
        }
        let (mut inputs, mut edits) = self.inputs(&fetched, wholes)?;
        let replaced = |edit: &Edit| wholes.iter().any(|(whole, _)| whole.tokens.contains(&edit.0.start));
        edits.extend(self.schema_edits().into_iter().filter(|edit| !replaced(edit)));
        if let Some(locks) = locks {
            self.lock_inputs(&locks, &fetched, &mut inputs)?;
            edits.push((locks.clause, Vec::new()));
        }
        Ok(Bench { inputs, rest: self.rest(edits)?, keyspaces, fixed })
    }

    /// What no workbench can do.
    fn fit_for_bench(&self) -> Result<(), PgError> {
        if let Some(name) = &self.reader {
            return Err(refuse::function(name));
        }
        if self.sites.len() > MOST_TABLES {
            return Err(refuse::construct("so many tables in one statement"));
        }
        if let Some(what) = &self.unfit {
            return Err(refuse::spoiled(what));
        }
        if self.tree.parts.iter().any(|part| matches!(part, Part::Write)) {
            return Err(refuse::spoiled("INSERT, UPDATE or DELETE inside WITH"));
        }
        if self.locks > 0 && (self.objects || self.need_home.is_some()) {
            return Err(refuse::spoiled("a lock beside what only the home shard can tell"));
        }
        if self.attached || self.pin.is_some() {
            return Err(refuse::spoiled("state of one connection"));
        }
        Ok(())
    }

    /// The one shard whose own tables the rest may read.
    fn bench_shard(&self) -> Option<ShardId> {
        if self.locks > 0 {
            // All rows that are locked have to be inputs' rows.
            return None;
        }
        if self.objects || self.need_home.is_some() {
            return Some(self.context.vschema.home());
        }
        if let Some((shard, _)) = self.fixed.as_ref().filter(|_| self.sequences) {
            return Some(*shard);
        }
        let mut shards = self.sites.iter().filter_map(|site| match site.origin {
            Origin::Single(shard) => Some(shard),
            _ => None,
        });
        let first = shards.next()?;
        let copies = self.sites.iter().all(|site| match site.origin {
            Origin::Reference(keyspace) => self.has_copies(keyspace, Some(first)),
            _ => true,
        });
        (shards.all(|other| other == first) && copies).then_some(first)
    }

    /// Whether a shard has that keyspace's reference tables; if it is any shard, one can be chosen that has.
    fn has_copies(&self, keyspace: KeyspaceId, shard: Option<ShardId>) -> bool {
        shard.is_none_or(|shard| self.context.vschema.keyspace(keyspace).shards.contains(&shard))
    }

    /// `public.orders.total`: the input has no schema. What is cut off.
    fn schema_edits(&self) -> Vec<Edit> {
        let mut naming = vec![false; self.tokens.len()];
        let mut known: HashSet<(&str, &str)> = HashSet::new();
        for site in &self.sites {
            naming.get_mut(site.whole.clone()).into_iter().for_each(|tokens| tokens.fill(true));
            let instance = self.instances.get(site.instance);
            if let Some(names) = instance.and_then(|one| Some((one.schema.as_deref()?, one.name.as_str()))) {
                known.insert(names);
            }
        }
        let name = |at: usize| self.tokens.get(at).and_then(|token| name_of(self.text, *token));
        let dot = |at: usize| self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Dot);
        let mut edits = Vec::new();
        for at in self.body.clone() {
            let begins = naming.get(at) == Some(&false) && !(at > self.body.start && dot(at - 1));
            if begins
                && dot(at + 1)
                && dot(at + 3)
                && let (Some(schema), Some(table)) = (name(at), name(at + 2))
                && known.contains(&(schema.as_ref(), table.as_ref()))
            {
                edits.push((at..at + 2, Vec::new()));
            }
        }
        edits
    }

    /// The statement with the edits in it.
    fn rest(&self, mut edits: Vec<Edit>) -> Result<Text, PgError> {
        edits.sort_by_key(|(range, _)| range.start);
        let mut pieces = Vec::new();
        let mut at = self.body.start;
        for (range, instead) in edits {
            if range.start < at {
                return Err(refuse::construct("this table reference"));
            }
            if range.start > at {
                pieces.push(Piece::Tokens(place(at)?..place(range.start)?));
            }
            pieces.extend(instead);
            at = range.end;
        }
        if at < self.body.end {
            pieces.push(Piece::Tokens(place(at)?..place(self.body.end)?));
        }
        Ok(Text { pieces })
    }
}

/// Why it is the workbench.
const WHY: &str = "the workbench: no shard has all the rows, and answers of several cannot be merged";

/// How many names of tables a query has in its FROM lists.
fn tables(query: &Query) -> usize {
    struct Count(usize);
    impl Visitor for Count {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            self.0 += usize::from(matches!(factor, TableFactor::Table { args: None, .. }));
            ControlFlow::Continue(())
        }
    }
    let mut count = Count(0);
    let _ = query.visit(&mut count);
    count.0
}

/// A token's number as texts have it.
fn place(at: usize) -> Result<u32, PgError> {
    u32::try_from(at).map_err(|_| refuse::construct("so long a statement"))
}

/// A name as SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
