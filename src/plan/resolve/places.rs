//! From one table's requirement to the shards where rows may be that matter: each value a key, each key a shard.

use super::shards::ShardSet;
use crate::error::PgError;
use crate::plan::{Edge, KeyColumn, KeySet, KeySource, Requirement, Values};
use crate::sqlstate::SqlState;
use crate::types::array::decode_array;
use crate::types::decode::{decode, decode_stored};
use crate::types::key::DecodeContext;
use crate::types::{Key, KeyType, Match, Raw, ShardId, oid};
use crate::vindex::Placement;
use crate::vschema::Vschema;

/// Keys of several columns are combined; a statement with more combinations is not worth the time of a proxy.
const MAX_COMBINATIONS: usize = 100_000;

/// What it takes to read a route's values.
#[derive(Clone, Copy)]
pub struct Reading<'v> {
    /// Of this execution.
    pub values: &'v dyn Values,
    /// The layout.
    pub vschema: &'v Vschema,
    /// How dates are read.
    pub context: &'v DecodeContext,
    /// All shards are an answer too: what is unclear narrows nothing.
    pub lenient: bool,
}

impl Reading<'_> {
    /// What is unclear may be left out if all shards are an answer too, or if what is left leads to one shard, or to none, in any case.
    fn unless_one(&self, places: Places, unclear: Option<PgError>) -> Result<Places, PgError> {
        match unclear {
            Some(error) if !self.lenient && !matches!(&places, Places::Shards(set) if set.second().is_none()) => {
                Err(error)
            }
            _ => Ok(places),
        }
    }
}

/// Where the rows are that matter.
#[derive(Debug, PartialEq)]
pub enum Places {
    /// Nothing is known.
    All,
    /// Here at most; of none: there is no such row.
    Shards(ShardSet),
    /// Where a directory says.
    Directory(Key<'static>),
    /// Where a directory says, for several keys.
    Directories,
}

/// Keys of two lifetimes.
fn is_same(known: &Key<'_>, key: &Key<'_>) -> bool {
    known == key
}

impl Places {
    fn add(&mut self, key: &[Key<'_>], placement: Placement) {
        match (&mut *self, placement, key) {
            (Places::All | Places::Directories, ..) | (_, Placement::Nowhere, _) => {}
            (Places::Shards(set), Placement::Shard(shard), _) => set.add(shard),
            (Places::Shards(set), Placement::Directory, [key]) if set.is_empty() => {
                *self = Places::Directory(key.clone().into_owned());
            }
            (Places::Directory(known), Placement::Directory, [key]) if is_same(known, key) => {}
            (Places::Directory(_), Placement::Directory, [_]) => *self = Places::Directories,
            // A vindex is a directory or none, and directories take one column.
            (_, Placement::Directory, _) | (Places::Directory(_), Placement::Shard(_), _) => *self = Places::All,
        }
    }

    /// OR: where one of both says.
    pub fn or(self, other: Places) -> Places {
        match (self, other) {
            (Places::All, _) | (_, Places::All) => Places::All,
            (Places::Shards(mut one), Places::Shards(other)) => {
                one.join(&other);
                Places::Shards(one)
            }
            (Places::Shards(none), other) | (other, Places::Shards(none)) if none.is_empty() => other,
            (Places::Directory(one), Places::Directory(other)) if one == other => Places::Directory(one),
            (Places::Directory(_) | Places::Directories, Places::Directory(_) | Places::Directories) => {
                Places::Directories
            }
            (Places::Shards(_), _) | (_, Places::Shards(_)) => Places::All,
        }
    }

    /// AND: where both say.
    pub fn and(self, other: Places) -> Places {
        match (self, other) {
            (Places::All, other) | (other, Places::All) => other,
            (Places::Shards(one), Places::Shards(other)) => Places::Shards(one.meet(&other)),
            (Places::Shards(none), _) | (_, Places::Shards(none)) if none.is_empty() => Places::Shards(none),
            (one @ Places::Directory(_), _) | (_, one @ Places::Directory(_)) => one,
            (one, _) => one,
        }
    }
}

impl Requirement {
    /// Where the rows are that matter to the statement. `rows` takes each row's shard, in the order of VALUES.
    pub(super) fn places(&self, reading: &Reading<'_>, rows: Option<&mut Vec<ShardId>>) -> Result<Places, PgError> {
        let places = match self.columns.as_slice() {
            [column] => self.column_places(column, &column.values, reading, rows),
            columns => self.combinations(columns, reading, rows),
        };
        // The rows of an INSERT have their one place, or none.
        if reading.lenient && !self.insert { Ok(places.unwrap_or(Places::All)) } else { places }
    }

    fn column_places(
        &self,
        column: &KeyColumn,
        set: &KeySet,
        reading: &Reading<'_>,
        mut rows: Option<&mut Vec<ShardId>>,
    ) -> Result<Places, PgError> {
        match set {
            KeySet::Values(_) | KeySet::Array(_) => {
                let mut places = Places::Shards(ShardSet::default());
                column.each(self, set, reading, &mut |key| {
                    self.one(std::slice::from_ref(&key), reading, &mut places, rows.as_deref_mut())
                })?;
                Ok(places)
            }
            KeySet::Range { lower, upper } => self.range(column, lower.as_ref(), upper.as_ref(), reading),
            KeySet::Any(sets) => {
                let none = Places::Shards(ShardSet::default());
                sets.iter().try_fold(none, |places, set| Ok(places.or(self.column_places(column, set, reading, None)?)))
            }
            KeySet::All(sets) => {
                // One that is unclear may be left out if the others leave one shard, or none, in any case.
                let (mut places, mut unclear) = (Places::All, None);
                for set in sets {
                    match self.column_places(column, set, reading, None) {
                        Ok(more) => places = places.and(more),
                        Err(error) => unclear = unclear.or(Some(error)),
                    }
                }
                reading.unless_one(places, unclear)
            }
        }
    }

    /// The shards of a range. What cannot be compared with the vindex's bounds narrows nothing.
    fn range(
        &self,
        column: &KeyColumn,
        lower: Option<&Edge>,
        upper: Option<&Edge>,
        reading: &Reading<'_>,
    ) -> Result<Places, PgError> {
        let (mut ends, mut unclear) = ([None, None], None);
        for (end, edge) in ends.iter_mut().zip([lower, upper]) {
            let Some(edge) = edge else { continue };
            match self.end(column, edge, reading) {
                Ok(Match::Key(key)) => *end = Some((key, edge.inclusive)),
                // No comparison with NULL is true.
                Ok(Match::Nothing) => return Ok(Places::Shards(ShardSet::default())),
                Ok(Match::Unclear(_)) => {}
                Err(error) => unclear = unclear.or(Some(error)),
            }
        }
        let [lower, upper] = &ends;
        let mut places = Places::All;
        if lower.is_some() || upper.is_some() {
            let vindex = &reading.vschema.vindex(self.vindex).vindex;
            let covered = vindex.cover(
                lower.as_ref().map(|(key, inclusive)| (key, *inclusive)),
                upper.as_ref().map(|(key, inclusive)| (key, *inclusive)),
            );
            places = covered.map_or(Places::All, |shards| Places::Shards(ShardSet::of(shards)));
        }
        reading.unless_one(places, unclear)
    }

    /// An end of a range: a key, nothing for NULL, unclear where it says nothing of the vindex's order.
    fn end(&self, column: &KeyColumn, edge: &Edge, reading: &Reading<'_>) -> Result<Match<'static>, PgError> {
        let raw = column.raw(self, &edge.at, reading)?;
        if raw == Raw::Null {
            return Ok(Match::Nothing);
        }
        // Between text and its kin PostgreSQL may choose an operator of the other type, with that one's order.
        let alike = match &raw {
            Raw::Null => true,
            Raw::Text { oid, .. } | Raw::Binary { oid, .. } => {
                matches!(*oid, oid::UNSPECIFIED | oid::UNKNOWN | oid::TEXT | oid::VARCHAR)
            }
        };
        if column.key_type == KeyType::Text && !alike {
            return Ok(Match::Unclear("of another type"));
        }
        match decode(&raw, column.key_type, reading.context).into_owned() {
            // Equal to no key, as a fraction among integers, says nothing of less and more.
            Match::Nothing => Ok(Match::Unclear("equal to no key")),
            Match::Unclear(why) => Err(column.unclear(self, why)),
            key => Ok(key),
        }
    }

    /// Several key columns: every combination of their values, because which of them belong together is not kept. For the rows of
    /// an INSERT they do: the n-th values make the n-th key.
    fn combinations(
        &self,
        columns: &[KeyColumn],
        reading: &Reading<'_>,
        mut rows: Option<&mut Vec<ShardId>>,
    ) -> Result<Places, PgError> {
        let mut sets: Vec<Vec<Key<'static>>> = Vec::with_capacity(columns.len());
        for column in columns {
            let mut keys = Vec::new();
            if !matches!(column.values, KeySet::Values(_) | KeySet::Array(_)) {
                return Ok(Places::All);
            }
            column.each(self, &column.values, reading, &mut |key| {
                keys.push(key.into_owned());
                Ok(())
            })?;
            sets.push(keys);
        }
        let mut places = Places::Shards(ShardSet::default());
        let count = sets.first().map_or(0, Vec::len);
        if self.insert && sets.iter().all(|set| set.len() == count) {
            for row in 0..count {
                let key: Vec<Key<'_>> = sets.iter().filter_map(|set| set.get(row).cloned()).collect();
                self.one(&key, reading, &mut places, rows.as_deref_mut())?;
            }
            return Ok(places);
        }
        let count = sets.iter().try_fold(1usize, |count, set| count.checked_mul(set.len()));
        if count.is_none_or(|count| count > MAX_COMBINATIONS) {
            return Err(PgError::unsupported(format!("too many shard keys for table \"{}\"", self.table)));
        }
        let mut at = vec![0usize; sets.len()];
        for _ in 0..count.unwrap_or(0) {
            let key: Vec<Key<'_>> = sets.iter().zip(&at).filter_map(|(set, at)| set.get(*at).cloned()).collect();
            self.one(&key, reading, &mut places, None)?;
            for (place, set) in at.iter_mut().zip(&sets) {
                *place += 1;
                if *place < set.len() {
                    break;
                }
                *place = 0;
            }
        }
        Ok(places)
    }

    fn one(
        &self,
        key: &[Key<'_>],
        reading: &Reading<'_>,
        places: &mut Places,
        rows: Option<&mut Vec<ShardId>>,
    ) -> Result<(), PgError> {
        let vindex = reading.vschema.vindex(self.vindex);
        let placement = vindex.vindex.place(key);
        match placement {
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
            Placement::Directory if key.len() != 1 => {
                return Err(PgError::unsupported("directory vindexes take one column"));
            }
            Placement::Shard(shard) => {
                if let Some(rows) = rows {
                    rows.push(shard);
                }
            }
            Placement::Nowhere | Placement::Directory => {}
        }
        places.add(key, placement);
        Ok(())
    }

    /// Up to ten keys of this execution and their shards, for EXPLAIN; what cannot be read is left out.
    pub fn keys(
        &self,
        values: &dyn Values,
        vschema: &Vschema,
        context: &DecodeContext,
    ) -> Vec<(Vec<Key<'static>>, Option<ShardId>)> {
        let mut keys = Vec::new();
        if let [column] = self.columns.as_slice() {
            self.some_keys(column, &column.values, &Reading { values, vschema, context, lenient: true }, &mut keys);
        }
        keys
    }

    fn some_keys(
        &self,
        column: &KeyColumn,
        set: &KeySet,
        reading: &Reading<'_>,
        keys: &mut Vec<(Vec<Key<'static>>, Option<ShardId>)>,
    ) {
        const SHOWN: usize = 10;
        match set {
            KeySet::Any(sets) | KeySet::All(sets) => {
                sets.iter().for_each(|set| self.some_keys(column, set, reading, keys));
            }
            KeySet::Range { .. } => {}
            KeySet::Values(_) | KeySet::Array(_) => {
                // An error ends the list; EXPLAIN's first line has already said it.
                let _ = column.each(self, set, reading, &mut |key| {
                    if keys.len() < SHOWN {
                        let vindex = reading.vschema.vindex(self.vindex);
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
            }
        }
    }
}

impl KeyColumn {
    fn raw<'v>(
        &self,
        requirement: &Requirement,
        source: &'v KeySource,
        reading: &Reading<'v>,
    ) -> Result<Raw<'v>, PgError> {
        source.check(reading.values, self.key_type).map_err(|why| self.unclear(requirement, why))?;
        source.value(reading.values).map_err(|why| self.unclear(requirement, why))
    }

    /// Calls `take` with each key; values that match no row are left out.
    fn each(
        &self,
        requirement: &Requirement,
        set: &KeySet,
        reading: &Reading<'_>,
        take: &mut dyn FnMut(Key<'_>) -> Result<(), PgError>,
    ) -> Result<(), PgError> {
        match set {
            KeySet::Values(sources) => {
                for source in sources {
                    let raw = self.raw(requirement, source, reading)?;
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
                        decode_stored(&raw, self.key_type, reading.context)
                    } else {
                        decode(&raw, self.key_type, reading.context)
                    };
                    self.accept(requirement, read, take)?;
                }
                Ok(())
            }
            KeySet::Array(source) => {
                let raw = self.raw(requirement, source, reading)?;
                let read =
                    decode_array(&raw, self.key_type, reading.context).map_err(|why| self.unclear(requirement, why))?;
                for read in read {
                    self.accept(requirement, read, take)?;
                }
                Ok(())
            }
            KeySet::Range { .. } | KeySet::Any(_) | KeySet::All(_) => Ok(()),
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
