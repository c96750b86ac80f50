//! From a route and the values of one execution to a shard.
//!
//! A route is a template; here its literals and parameters become keys, the keys become shards, and all of them must be the one
//! shard that can answer. Every way in which they are not is an error that says which shards, and what else could be done.

use std::borrow::Cow;

use super::{Arithmetic, KeyColumn, KeySet, KeySource, Origin, Requirement, Route, Values};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::array::decode_array;
use crate::types::decode::{decode, decode_stored};
use crate::types::key::DecodeContext;
use crate::types::{Key, KeyType, KeyspaceId, Match, Oid, Raw, ShardId, VindexId, oid};
use crate::vindex::Placement;
use crate::vschema::Vschema;

/// Keys of several columns are combined; a statement with more combinations is not worth the time of a proxy.
const MAX_COMBINATIONS: usize = 100_000;

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

/// What has been agreed on so far.
#[derive(Default)]
struct Found<'r> {
    shard: Option<(ShardId, &'r str)>,
    directory: Option<(VindexId, Key<'static>, bool, KeyspaceId)>,
}

impl Route {
    /// The destination of one execution. Allocates nothing where one literal or parameter of a plain type is the key.
    pub fn resolve<'a>(
        &'a self,
        values: &dyn Values,
        vschema: &'a Vschema,
        context: &DecodeContext,
    ) -> Result<Target<'a>, PgError> {
        let mut found = Found { shard: self.fixed.map(|shard| (shard, "an unsharded table")), directory: None };
        for requirement in &self.keyed {
            requirement.place(values, vschema, context, &mut found)?;
        }
        if let Some((vindex, key, insert, keyspace)) = found.directory {
            return Ok(Target::Directory { vindex, key, insert, also: found.shard.map(|(shard, _)| shard), keyspace });
        }
        let keyspaces = self.keyspaces.iter().map(|id| vschema.keyspace(*id));
        if let Some((shard, table)) = found.shard {
            for keyspace in keyspaces {
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
                    .with_hint(
                        "Make the table a reference table of both keyspaces, or query them one after the other.",
                    ));
                }
            }
            return Ok(Target::Shard(shard));
        }
        self.anywhere(vschema)
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

impl Requirement {
    fn place<'r>(
        &'r self,
        values: &dyn Values,
        vschema: &Vschema,
        context: &DecodeContext,
        found: &mut Found<'r>,
    ) -> Result<(), PgError> {
        match self.columns.as_slice() {
            [column] => {
                column.each(self, values, context, &mut |key| self.one(std::slice::from_ref(&key), vschema, found))
            }
            columns => self.combinations(columns, values, vschema, context, found),
        }
    }

    /// Several key columns: every combination of their values, because which of them belong together is not kept. For the rows of
    /// an INSERT they do: the n-th values make the n-th key.
    fn combinations<'r>(
        &'r self,
        columns: &'r [KeyColumn],
        values: &dyn Values,
        vschema: &Vschema,
        context: &DecodeContext,
        found: &mut Found<'r>,
    ) -> Result<(), PgError> {
        let mut sets: Vec<Vec<Key<'static>>> = Vec::with_capacity(columns.len());
        for column in columns {
            let mut keys = Vec::new();
            column.each(self, values, context, &mut |key| {
                keys.push(key.into_owned());
                Ok(())
            })?;
            sets.push(keys);
        }
        let rows = sets.first().map_or(0, Vec::len);
        if self.insert && sets.iter().all(|set| set.len() == rows) {
            for row in 0..rows {
                let key: Vec<Key<'_>> = sets.iter().filter_map(|set| set.get(row).cloned()).collect();
                self.one(&key, vschema, found)?;
            }
            return Ok(());
        }
        let count = sets.iter().try_fold(1usize, |count, set| count.checked_mul(set.len()));
        if count.is_none_or(|count| count > MAX_COMBINATIONS) {
            return Err(PgError::unsupported(format!("too many shard keys for table \"{}\"", self.table)));
        }
        let mut places = vec![0usize; sets.len()];
        for _ in 0..count.unwrap_or(0) {
            let key: Vec<Key<'_>> = sets.iter().zip(&places).filter_map(|(set, at)| set.get(*at).cloned()).collect();
            self.one(&key, vschema, found)?;
            for (place, set) in places.iter_mut().zip(&sets) {
                *place += 1;
                if *place < set.len() {
                    break;
                }
                *place = 0;
            }
        }
        Ok(())
    }

    fn one<'r>(&'r self, key: &[Key<'_>], vschema: &Vschema, found: &mut Found<'r>) -> Result<(), PgError> {
        let vindex = vschema.vindex(self.vindex);
        match vindex.vindex.place(key) {
            Placement::Shard(shard) => match found.shard {
                None => found.shard = Some((shard, &self.table)),
                Some((other, _)) if other == shard => {}
                Some((other, table)) => return Err(several(vschema, other, table, shard, &self.table)),
            },
            Placement::Nowhere if self.insert => {
                return Err(PgError::new(
                    SqlState::CHECK_VIOLATION,
                    format!("no shard found for row of table \"{}\"", self.table),
                )
                .with_detail(format!(
                    "Vindex \"{}\" takes no key {}.",
                    vindex.name,
                    key.iter().map(Key::to_text).collect::<Vec<_>>().join(", ")
                ))
                .with_hint("Give the vindex a shard for this key."));
            }
            Placement::Nowhere => {}
            Placement::Directory => {
                let [key] = key else {
                    return Err(PgError::unsupported("directory vindexes take one column"));
                };
                let same = |known: &Key<'static>| known == &key.clone().into_owned();
                match &mut found.directory {
                    Some((other, known, insert, _)) if *other == self.vindex && same(known) => *insert |= self.insert,
                    Some(_) => {
                        return Err(PgError::unsupported("statement needs several keys of a directory")
                            .with_detail(format!("Table \"{}\" is placed by a directory, key by key.", self.table))
                            .with_hint("Send one statement for each shard key."));
                    }
                    None => {
                        let key = key.clone().into_owned();
                        found.directory = Some((self.vindex, key, self.insert, self.keyspace));
                    }
                }
            }
        }
        Ok(())
    }
}

impl KeyColumn {
    /// Calls `take` with each key; values that match no row are left out.
    fn each(
        &self,
        requirement: &Requirement,
        values: &dyn Values,
        context: &DecodeContext,
        take: &mut dyn FnMut(Key<'_>) -> Result<(), PgError>,
    ) -> Result<(), PgError> {
        match &self.values {
            KeySet::Values(sources) => {
                for source in sources {
                    source.check(values, self.key_type).map_err(|why| self.unclear(requirement, why))?;
                    let raw = source.value(values).map_err(|why| self.unclear(requirement, why))?;
                    if requirement.insert && raw == Raw::Null {
                        return Err(PgError::new(
                            SqlState::NOT_NULL_VIOLATION,
                            format!(
                                "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                                self.name, requirement.table
                            ),
                        )
                        .with_detail("The column is the shard key: without it no shard can be chosen."));
                    }
                    let read = if requirement.insert {
                        decode_stored(&raw, self.key_type, context)
                    } else {
                        decode(&raw, self.key_type, context)
                    };
                    self.accept(requirement, read, take)?;
                }
                Ok(())
            }
            KeySet::Array(source) => {
                source.check(values, self.key_type).map_err(|why| self.unclear(requirement, why))?;
                let raw = source.value(values).map_err(|why| self.unclear(requirement, why))?;
                let read = decode_array(&raw, self.key_type, context).map_err(|why| self.unclear(requirement, why))?;
                for read in read {
                    self.accept(requirement, read, take)?;
                }
                Ok(())
            }
        }
    }

    fn accept(
        &self,
        requirement: &Requirement,
        read: Match<'_>,
        take: &mut dyn FnMut(Key<'_>) -> Result<(), PgError>,
    ) -> Result<(), PgError> {
        match read {
            Match::Key(key) => take(key),
            Match::Nothing => Ok(()),
            Match::Unclear(why) => Err(self.unclear(requirement, why)),
        }
    }

    fn unclear(&self, requirement: &Requirement, why: &str) -> PgError {
        PgError::unsupported(format!(
            "value for shard key \"{}\" of table \"{}\" cannot be read with certainty",
            self.name, requirement.table
        ))
        .with_detail(format!("The column is of type {}: {why}.", self.key_type.name()))
        .with_hint("Write the value as a plain literal or parameter of the column's own type.")
    }
}

impl KeySource {
    /// A value without a type of its own, of which the planner was not sure that it has the column's: is it the same in all types?
    fn check(&self, values: &dyn Values, column: KeyType) -> Result<(), &'static str> {
        const OTHER: &str = "the statement may give it another type than the column's";
        if !self.doubtful {
            return Ok(());
        }
        let raw = match &self.origin {
            Origin::Literal(index) => values.literal(*index),
            Origin::Parameter(index) => values.parameter(*index),
            Origin::Constant(_) | Origin::Arithmetic(_) => None,
        };
        let same = match raw {
            None | Some(Raw::Null) => true,
            Some(Raw::Text { oid, .. } | Raw::Binary { oid, .. }) if oid != oid::UNSPECIFIED && oid != oid::UNKNOWN => {
                true
            }
            Some(Raw::Binary { .. }) => false,
            Some(Raw::Text { text, .. }) => match column {
                KeyType::Int2 | KeyType::Int4 | KeyType::Int8 => text.parse::<i64>().is_ok(),
                // char(n) loses spaces, a name is cut at 63 bytes.
                KeyType::Text => !text.ends_with(char::is_whitespace) && text.len() < 64,
                KeyType::Uuid => true,
                _ => false,
            },
        };
        if same { Ok(()) } else { Err(OTHER) }
    }

    /// The value of this execution, with its sign and the type it is cast to; the error says why it is unclear.
    fn value<'v>(&'v self, values: &'v dyn Values) -> Result<Raw<'v>, &'static str> {
        let raw = match &self.origin {
            Origin::Literal(index) => values.literal(*index).ok_or("this kind of literal is not read as a key")?,
            Origin::Parameter(index) => values.parameter(*index).ok_or("its value is not known")?,
            Origin::Constant(raw) => raw.clone(),
            Origin::Arithmetic(terms) => {
                let (left, operation, right) = &**terms;
                let (left, right) = (left.integer(values)?, right.integer(values)?);
                let result = match operation {
                    Arithmetic::Add => left.checked_add(right),
                    Arithmetic::Subtract => left.checked_sub(right),
                    Arithmetic::Multiply => left.checked_mul(right),
                };
                let result = result.ok_or("the result is beyond 64 bits")?;
                Raw::Text { text: Cow::Owned(result.to_string()), oid: oid::INT8 }
            }
        };
        let raw = match self.cast {
            Some(cast) => convert(raw, cast)?,
            None => raw,
        };
        if self.negate { negated(raw) } else { Ok(raw) }
    }
}

impl KeySource {
    fn integer(&self, values: &dyn Values) -> Result<i64, &'static str> {
        match self.value(values)? {
            Raw::Text { text, .. } => text.parse().map_err(|_| "only arithmetic on integers is folded"),
            _ => Err("only arithmetic on integers is folded"),
        }
    }
}

fn is_integer(oid: Oid) -> bool {
    matches!(oid, oid::INT2 | oid::INT4 | oid::INT8)
}

fn is_text(oid: Oid) -> bool {
    matches!(oid, oid::TEXT | oid::VARCHAR)
}

/// `x::type`. What has no type yet is read as that type; what has one may change its value, unless the types are kin.
fn convert(raw: Raw<'_>, cast: Oid) -> Result<Raw<'_>, &'static str> {
    const CHANGES: &str = "the cast may change the value";
    match raw {
        Raw::Null => Ok(Raw::Null),
        Raw::Text { text, oid } => match oid {
            oid::UNSPECIFIED | oid::UNKNOWN => Ok(Raw::Text { text, oid: cast }),
            _ if oid == cast || (is_integer(oid) && is_integer(cast)) || (is_text(oid) && is_text(cast)) => {
                Ok(Raw::Text { text, oid: cast })
            }
            oid::NUMERIC if is_integer(cast) && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Raw::Text { text, oid: cast })
            }
            _ => Err(CHANGES),
        },
        Raw::Binary { bytes, oid } => match oid {
            oid::UNSPECIFIED => Ok(Raw::Binary { bytes, oid: cast }),
            _ if oid == cast || (is_integer(oid) && is_integer(cast)) || (is_text(oid) && is_text(cast)) => {
                Ok(Raw::Binary { bytes, oid })
            }
            _ => Err(CHANGES),
        },
    }
}

fn negated(raw: Raw<'_>) -> Result<Raw<'_>, &'static str> {
    match raw {
        Raw::Null => Ok(Raw::Null),
        Raw::Text { text, oid } if oid == oid::NUMERIC || is_integer(oid) => {
            let text = text.trim();
            let text = match text.strip_prefix('-') {
                Some(positive) => positive.to_owned(),
                None => format!("-{}", text.strip_prefix('+').unwrap_or(text)),
            };
            Ok(Raw::Text { text: Cow::Owned(text), oid })
        }
        _ => Err("its sign is changed by the statement"),
    }
}

impl Requirement {
    /// Up to ten keys of this execution and their shards, for EXPLAIN; what cannot be read is left out.
    pub fn keys(
        &self,
        values: &dyn Values,
        vschema: &Vschema,
        context: &DecodeContext,
    ) -> Vec<(Vec<Key<'static>>, Option<ShardId>)> {
        const SHOWN: usize = 10;
        let mut keys = Vec::new();
        let [column] = self.columns.as_slice() else { return keys };
        let vindex = vschema.vindex(self.vindex);
        // An error ends the list; EXPLAIN's first line has already said it.
        let _ = column.each(self, values, context, &mut |key| {
            if keys.len() < SHOWN {
                let shard = match vindex.vindex.place(std::slice::from_ref(&key)) {
                    Placement::Shard(shard) => Some(shard),
                    Placement::Nowhere => None,
                    // The route's own line has said it.
                    Placement::Directory => return Ok(()),
                };
                keys.push((vec![key.into_owned()], shard));
            }
            Ok(())
        });
        keys
    }
}
