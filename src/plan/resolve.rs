//! From a route and the values of one execution to its shards.
//!
//! A route is a template; here its literals and parameters become keys ([`value`]), the keys become shards ([`places`]), and these
//! become one destination.
//!
//! *Without a [`Gather`]* all of them must be the one shard that can answer. Every way in which they are not is an error that says
//! which shards, and what else could be done.
//!
//! *With a [`Gather`]* the statement is proven: its answer is the merge of what each shard answers over its own rows, for all shards
//! of the keyspace. A shard may be left out of "all" if it adds nothing. Each requirement that the planner leaves in such a route
//! restricts the whole answer: no row of it comes from a shard where the requirement has no row. (It does not leave that of the optional
//! side of an outer join, say, whose rows matter on a few shards while the other side's come from all.) So the shards are those that every requirement names: an intersection over the requirements, of each a union over
//! its keys. Within one requirement, too, what holds together is intersected, because each row that matters fulfils all of it.
//!
//! Where none restricts the whole by itself (the sides of a FULL JOIN, the arms of a UNION) but every table has one, the shards are those
//! that any of them names ([`Route::apart`]): on the others no table has a row that matters.
//!
//! More shards than needed are never wrong there, only slower; so what cannot be read with certainty narrows nothing, and without any
//! requirement it is all shards. Rows of an INSERT are the exception: each has one place, and that must be certain.

mod places;
mod shards;
mod value;

#[cfg(test)]
mod tests;

use super::{Gather, Requirement, Route, Values};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::key::DecodeContext;
use crate::types::{Key, KeyspaceId, ShardId, VindexId};
use crate::vschema::Vschema;
use places::{Places, Reading};
use shards::ShardSet;

/// Where one execution goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Target<'a> {
    /// To this shard.
    Shard(ShardId),
    /// To each of these shards, at least two, in their order in the keyspace; the route's `gather` says what becomes of the answers.
    Shards {
        /// The shards.
        shards: Vec<ShardId>,
        /// Of an INSERT of several rows: for each row of VALUES its shard, as an index into `shards`; empty otherwise.
        rows: Vec<u16>,
    },
    /// Nowhere as it is: the route's `work` says what is done instead.
    Work,
    /// To any of these shards, of all if `None`: the answer is the same on each.
    Any(Option<&'a [ShardId]>),
    /// To the home shard.
    Home,
    /// Where the transaction or the pinned session is, else home.
    Attached,
    /// A directory must be asked.
    Directory {
        /// The directory.
        vindex: VindexId,
        /// The key to look up; several columns are not taken by directories.
        key: Key<'static>,
        /// Rows are created: a key without a shard may be given one.
        insert: bool,
        /// The shard that the rest of the statement needs; another answer is a refusal (see [`Route::disagreement`]).
        also: Option<ShardId>,
        /// The keyspace of the table.
        keyspace: KeyspaceId,
    },
}

/// Where a directory says.
type Directory<'r> = (&'r Requirement, Key<'static>);

impl Route {
    /// The destination of one execution. Allocates nothing where one literal or parameter of a plain type is the key.
    pub fn resolve<'a>(
        &'a self,
        values: &dyn Values,
        vschema: &'a Vschema,
        context: &DecodeContext,
    ) -> Result<Target<'a>, PgError> {
        if self.work.as_ref().is_some_and(|work| work.always) {
            return Ok(Target::Work);
        }
        // Beside a table that is on one shard nothing is gathered from several.
        let found = match self.gather.as_deref().filter(|_| self.fixed.is_none()) {
            Some(gather) => self.spread(gather, &Reading { values, vschema, context, lenient: true }, vschema),
            None => self.together(&Reading { values, vschema, context, lenient: false }, vschema),
        };
        match found {
            Err(error) if self.work.is_some() && error.code == SqlState::FEATURE_NOT_SUPPORTED => Ok(Target::Work),
            found => found,
        }
    }

    /// All parts must lead to one shard.
    fn together<'a>(&'a self, reading: &Reading<'_>, vschema: &'a Vschema) -> Result<Target<'a>, PgError> {
        let mut found: Option<(ShardId, &str)> = self.fixed.map(|shard| (shard, "an unsharded table"));
        let mut directory: Option<Directory<'_>> = None;
        let mut insert = false;
        for requirement in &self.keyed {
            let table = requirement.table.as_str();
            match requirement.places(reading, None)? {
                Places::All => return Err(self.alone(|| unrestricted(requirement))),
                Places::Shards(set) => {
                    for shard in [set.first(), set.second()].into_iter().flatten() {
                        match found {
                            None => found = Some((shard, table)),
                            Some((other, _)) if other == shard => {}
                            Some((other, first)) => {
                                return Err(self.alone(|| several(vschema, other, first, shard, table)));
                            }
                        }
                    }
                }
                Places::Directory(key) => match &directory {
                    None => (directory, insert) = (Some((requirement, key)), requirement.insert),
                    Some((other, known)) if other.vindex == requirement.vindex && *known == key => {
                        insert |= requirement.insert;
                    }
                    Some(_) => return Err(self.alone(|| several_keys(requirement))),
                },
                Places::Directories => return Err(self.alone(|| several_keys(requirement))),
            }
        }
        if let Some((requirement, key)) = directory {
            let also = found.map(|(shard, _)| shard);
            return Ok(Target::Directory {
                vindex: requirement.vindex,
                key,
                insert,
                also,
                keyspace: requirement.keyspace,
            });
        }
        match found {
            Some((shard, table)) => {
                self.check_copies(shard, table, vschema)?;
                Ok(Target::Shard(shard))
            }
            None => self.anywhere(vschema),
        }
    }

    /// As many shards as are needed.
    fn spread<'a>(
        &'a self,
        gather: &Gather,
        reading: &Reading<'_>,
        vschema: &'a Vschema,
    ) -> Result<Target<'a>, PgError> {
        let mut places = if self.apart { Places::Shards(ShardSet::default()) } else { Places::All };
        let mut rows = Vec::new();
        let mut inserted: Option<&Requirement> = None;
        let mut directory: Option<&Requirement> = None;
        for requirement in &self.keyed {
            if requirement.insert {
                inserted = Some(requirement);
            }
            let own = requirement.places(reading, requirement.insert.then_some(&mut rows))?;
            match own {
                Places::Directories if requirement.insert => return Err(several_keys(requirement)),
                // Whose key it is, if one is left in the end: the first wins, for each restricts the whole.
                Places::Directory(_) => directory = directory.or(Some(requirement)),
                _ => {}
            }
            places = if self.apart { places.or(own) } else { places.and(own) };
        }
        let needed = match places {
            Places::Shards(needed) => needed,
            Places::Directory(key) => {
                let Some(requirement) = directory else { return self.anywhere(vschema) };
                return Ok(Target::Directory {
                    vindex: requirement.vindex,
                    key,
                    insert: inserted.is_some(),
                    also: None,
                    keyspace: requirement.keyspace,
                });
            }
            Places::All | Places::Directories => ShardSet::of(vschema.keyspace(gather.keyspace).shards.iter().copied()),
        };
        let Some(first) = needed.first() else { return self.anywhere(vschema) };
        let table = self.keyed.first().map_or("the table", |requirement| &requirement.table);
        for shard in needed.iter() {
            self.check_copies(shard, table, vschema)?;
        }
        if needed.second().is_none() {
            return Ok(Target::Shard(first));
        }
        let order = &vschema.keyspace(gather.keyspace).shards;
        let shards: Vec<ShardId> = order.iter().copied().filter(|shard| needed.contains(*shard)).collect();
        let Some(inserted) = inserted else { return Ok(Target::Shards { shards, rows: Vec::new() }) };
        // A row that no shard would take as it is written makes the statement fail as a whole, wherever it goes.
        if rows.len() != inserted.rows() {
            return Ok(Target::Shard(first));
        }
        let index = |shard: &ShardId| shards.iter().position(|known| known == shard).unwrap_or(0) as u16;
        let rows = rows.iter().map(index).collect();
        Ok(Target::Shards { shards, rows })
    }

    /// A shard must have the copies that the statement reads there.
    fn check_copies(&self, shard: ShardId, table: &str, vschema: &Vschema) -> Result<(), PgError> {
        for keyspace in self.keyspaces.iter().map(|id| vschema.keyspace(*id)) {
            if !keyspace.shards.contains(&shard) {
                return Err(PgError::unsupported(format!(
                    "tables of keyspace \"{}\" cannot be joined with rows on shard {}",
                    keyspace.name,
                    vschema.shard_name(shard)
                ))
                .with_detail(format!(
                    "{table} leads to shard {}, which has no copy of that keyspace's reference tables.",
                    vschema.shard_name(shard)
                ))
                .with_hint("Make the table a reference table of both keyspaces, or query them one after the other."));
            }
        }
        Ok(())
    }

    /// Why one shard must do, if that is known, else what is wrong with these values.
    fn alone(&self, otherwise: impl FnOnce() -> PgError) -> PgError {
        self.alone.as_deref().cloned().unwrap_or_else(otherwise)
    }

    /// No value ties the statement to a shard: reference tables only, keys that match nothing, or no table at all.
    fn anywhere<'a>(&'a self, vschema: &'a Vschema) -> Result<Target<'a>, PgError> {
        let mut spaces = self.keyspaces.iter().chain(self.keyed.iter().map(|requirement| &requirement.keyspace));
        let Some(first) = spaces.next() else {
            return Ok(match self.fallback {
                super::Fallback::Any => Target::Any(None),
                super::Fallback::Home => Target::Home,
                super::Fallback::Attached => Target::Attached,
            });
        };
        let shards = &vschema.keyspace(*first).shards;
        let others: Vec<_> = spaces.filter(|id| *id != first).map(|id| &vschema.keyspace(*id).shards).collect();
        if others.is_empty() {
            return Ok(Target::Any(Some(shards)));
        }
        match shards.iter().find(|shard| others.iter().all(|others| others.contains(shard))) {
            Some(shard) => Ok(Target::Shard(*shard)),
            None => Err(PgError::unsupported("tables of keyspaces without a common shard cannot be joined")
                .with_hint("Query the keyspaces one after the other.")),
        }
    }

    /// The refusal for a directory whose answer is not the shard that the rest of the statement needs.
    pub fn disagreement(vschema: &Vschema, directory: ShardId, also: ShardId) -> PgError {
        several(vschema, directory, "the directory's key", also, "the rest of the statement")
    }
}

fn several(vschema: &Vschema, one: ShardId, first: &str, other: ShardId, second: &str) -> PgError {
    PgError::unsupported("statement needs rows of several shards")
        .with_detail(format!(
            "{first} leads to shard {}, {second} to shard {}.",
            vschema.shard_name(one),
            vschema.shard_name(other)
        ))
        .with_hint("Send one statement for each shard key, or restrict the statement to one shard key.")
}

fn several_keys(requirement: &Requirement) -> PgError {
    PgError::unsupported("statement needs several keys of a directory")
        .with_detail(format!("Table \"{}\" is placed by a directory, key by key.", requirement.table))
        .with_hint("Send one statement for each shard key.")
}

fn unrestricted(requirement: &Requirement) -> PgError {
    PgError::unsupported("statement needs rows of several shards")
        .with_detail(format!("Nothing restricts the shard key of table \"{}\" to one shard.", requirement.table))
        .with_hint("Send one statement for each shard key, or restrict the statement to one shard key.")
}

impl Requirement {
    /// How many rows an INSERT has.
    fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| match &column.values {
            super::KeySet::Values(values) => values.len(),
            _ => 0,
        })
    }
}
