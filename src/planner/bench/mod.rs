//! From a query that neither one shard nor a merge of several answers to inputs that are fetched and a rest that runs over them: a
//! [`Bench`].
//!
//! The law of this room: the rest is the client's own statement, token by token, with rows in the places of tables' names; PostgreSQL runs it
//! and supplies all of its own semantics. What is decided here is only which rows and columns are fetched, and there too much is slow and
//! too little wrong.
//!
//! * [`site`]: each place in a FROM list that names a table, with its tokens: what is exchanged for an input.
//! * [`columns`]: which columns of a use the statement can mean. A column is kept if its name stands anywhere in the statement; all are
//!   kept where a star or the use's own name may mean them.
//! * Each input has its own route. It goes to the shards that its own key's values lead to, which the whole statement's facts tell, and to all
//!   where none do.
//!
//! # What stays in the rest
//!
//! Reference tables, because every shard of their keyspace has them, and the tables of one shard that no other needs. Then the rest runs
//! there. Tables that are left in it by mistake would show a part of their rows, so that is looked for at the end.

mod columns;
mod filter;
mod site;
#[cfg(test)]
mod tests;

pub(super) use filter::Filter;
pub(super) use site::{Origin, Site};

use std::ops::Range;

use super::{Planner, refuse};
use crate::error::PgError;
use crate::plan::gather::{Hidden, Merge, Piece, Text, Window};
use crate::plan::work::bench::Input;
use crate::plan::work::{Bench, Steps};
use crate::plan::{Gather, Requirement, Route, Work};
use crate::sqlstate::SqlState;
use crate::types::{KeyspaceId, ShardId};

/// How many uses of tables a statement may have: each becomes an input, and its columns parameters.
const MOST_TABLES: usize = 200;

/// A part of the text, and what stands there instead.
pub(super) type Edit = (Range<usize>, Vec<Piece>);

impl Planner<'_> {
    /// Gives the route of a read a way over inputs where it has no other, or not for all values.
    pub(super) fn with_bench(&mut self, routed: Result<Route, PgError>) -> Result<Route, PgError> {
        let always = match &routed {
            Ok(route) if route.gather.is_some() && route.fixed.is_none() => return routed,
            Ok(route) if route.keyed.is_empty() && route.keyspaces.is_empty() => return routed,
            Ok(_) => false,
            Err(error) if error.code == SqlState::FEATURE_NOT_SUPPORTED => true,
            Err(_) => return routed,
        };
        if self.sites.iter().all(|site| matches!(site.origin, Origin::Elsewhere)) {
            return routed;
        }
        let bench = match self.bench(&self.requirements()) {
            Ok(bench) => bench,
            // The way that there is says best what is missing.
            Err(error) => return routed.map_err(|known| if always { error } else { known }),
        };
        let work = Some(std::sync::Arc::new(Work { always, steps: Steps::Bench(bench) }));
        Ok(match routed {
            Ok(route) => Route { work, ..route },
            Err(_) => {
                let mut reasons = std::mem::take(&mut self.reasons);
                reasons
                    .push("the workbench: no shard has all the rows, and answers of several cannot be merged".into());
                Route { work, reasons, ..Route::default() }
            }
        })
    }

    /// What is fetched, and what is run over it.
    fn bench(&self, found: &[Option<Result<Requirement, PgError>>]) -> Result<Bench, PgError> {
        self.fit_for_bench()?;
        let fixed = self.bench_shard();
        let mut inputs = Vec::new();
        let mut edits: Vec<Edit> = Vec::new();
        let mut keyspaces = Vec::new();
        let words = self.words();
        for site in &self.sites {
            let route = match &site.origin {
                Origin::Elsewhere => continue,
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
            let (input, edit) = self.input(site, route, inputs.len(), &words)?;
            inputs.push(input);
            edits.push(edit);
        }
        Ok(Bench { inputs, rest: self.rest(edits)?, keyspaces, fixed })
    }

    /// What no workbench can do.
    fn fit_for_bench(&self) -> Result<(), PgError> {
        if let Some(name) = &self.reader {
            return Err(refuse::function(name));
        }
        if self.writes {
            return Err(refuse::spoiled("a lock or a function with effects"));
        }
        if self.sites.len() > MOST_TABLES {
            return Err(refuse::construct("so many tables in one statement"));
        }
        if let Some(what) = &self.unfit {
            return Err(refuse::spoiled(what));
        }
        if self.objects {
            return Err(refuse::spoiled("system catalogs"));
        }
        if self.attached || self.need_home.is_some() || self.pin.is_some() {
            return Err(refuse::spoiled("state of one connection"));
        }
        Ok(())
    }

    /// The one shard whose own tables the rest may read.
    fn bench_shard(&self) -> Option<ShardId> {
        let mut shards = self.sites.iter().filter_map(|site| match site.origin {
            Origin::Single(shard) => Some(shard),
            _ => None,
        });
        let first = shards.next()?;
        let copies = self.sites.iter().all(|site| match site.origin {
            Origin::Reference(keyspace) => self.context.vschema.keyspace(keyspace).shards.contains(&first),
            _ => true,
        });
        (shards.all(|other| other == first) && copies).then_some(first)
    }

    /// The shards that have such rows.
    fn input_route(
        &self,
        instance: usize,
        keyspace: KeyspaceId,
        found: &[Option<Result<Requirement, PgError>>],
    ) -> Route {
        let used = self.uses.iter().position(|used| used.instance == instance);
        let keyed = match used.and_then(|at| found.get(at)) {
            Some(Some(Ok(requirement))) => vec![requirement.clone()],
            _ => Vec::new(),
        };
        let gather =
            Gather { keyspace, text: None, hidden: Hidden::Last(0), merge: Merge::Concat, window: Window::default() };
        Route { keyed, gather: Some(std::sync::Arc::new(gather)), ..Route::default() }
    }

    /// One use of a table as an input, and what of the statement it replaces.
    fn input(
        &self,
        site: &Site,
        route: Route,
        number: usize,
        words: &columns::Words<'_>,
    ) -> Result<(Input, Edit), PgError> {
        let uncertain = || refuse::construct("this table reference");
        let input = u16::try_from(number).map_err(|_| refuse::construct("so many tables"))?;
        let (relation, called) = self.relations.get(&site.instance).ok_or_else(uncertain)?;
        let instance = self.instances.get(site.instance).ok_or_else(uncertain)?;
        let kept = self.kept_columns(site, relation, called, words);
        let alias = quote(&instance.name);
        let list: Vec<String> =
            kept.iter().filter_map(|at| Some(format!("{alias}.{}", quote(called.get(*at)?)))).collect();
        let mut from = format!("{}.{}", quote(&relation.schema), quote(&relation.name));
        if site.aliased {
            from = format!("{from} AS {alias}");
            if site.listed > 0 {
                let names: Vec<String> = called.iter().take(site.listed).map(|name| quote(name)).collect();
                from = format!("{from} ({})", names.join(", "));
            }
        }
        let mut pieces = vec![Piece::Words(format!("SELECT {} FROM {from}", list.join(", ")))];
        for (at, filter) in self.filters_of(site.instance).into_iter().enumerate() {
            pieces.push(Piece::Words(if at == 0 { "WHERE (".into() } else { ") AND (".into() }));
            pieces.push(Piece::Tokens(place(filter.start)?..place(filter.end)?));
        }
        if pieces.len() > 1 {
            pieces.push(Piece::Words(")".into()));
        }
        let columns = kept.iter().filter_map(|at| relation.columns.get(*at)).map(columns::described).collect();
        let own = (!site.aliased).then(|| instance.name.clone());
        let edit = (site.name.clone(), vec![Piece::Input { input, alias: own }]);
        let label = if instance.name == relation.name {
            relation.name.clone()
        } else {
            format!("{} {}", relation.name, instance.name)
        };
        Ok((Input { label, route, text: Text { pieces }, columns, key: Vec::new() }, edit))
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

/// A token's number as texts have it.
fn place(at: usize) -> Result<u32, PgError> {
    u32::try_from(at).map_err(|_| refuse::construct("so long a statement"))
}

/// A name as SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
