//! FROM lists: which rows of which parts can meet, and where.

use std::ops::Range;

use super::super::facts::Node;
use super::super::refuse;
use super::super::tree::{Item, Kind, Pair, Part};
use super::keys::{both, fewer};
use super::place::{Classes, Place};
use super::{Extent, Judge, Known};
use crate::error::PgError;
use crate::plan::{KeyColumn, Requirement};
use crate::vschema::TablePlacement;

impl Judge<'_, '_> {
    pub(super) fn item(
        &self,
        item: &Item,
        above: &[&[Pair]],
        within: &Range<usize>,
        seen: &mut Vec<Place<Node>>,
    ) -> Result<Known, PgError> {
        let (kind, on, left, right) = match item {
            Item::Leaf(at) => return self.leaf(*at, within, seen),
            Item::Join { kind, on, left, right } => (*kind, *on, left, right),
        };
        let on = self.planner.tree.joins.get(on).map_or(&[] as &[Pair], Vec::as_slice);
        let mut with = above.to_vec();
        with.push(on);
        // An outer join's condition has to be passed by rows of the side that may be missing, if they are to come through.
        let (for_left, for_right) = match kind {
            Kind::Inner => (with.as_slice(), with.as_slice()),
            Kind::Left => (above, with.as_slice()),
            Kind::Right => (with.as_slice(), above),
            Kind::Full => (above, above),
        };
        let one = self.item(left, for_left, within, seen)?;
        let other = self.item(right, for_right, within, seen)?;
        let mut known = match kind {
            Kind::Inner => {
                let mut known = self.inner(one, other, &with)?;
                known.always.extend(on);
                known
            }
            Kind::Left => self.outer(one, other, &with)?,
            Kind::Right => self.outer(other, one, &with)?,
            Kind::Full => self.full(one, other, on)?,
        };
        // By its equalities a part that was tied to the rows around it stays so.
        known.places.dedup_by(|one, other| one.fits(other) && one.columns == other.columns && one.sure == other.sure);
        Ok(known)
    }

    pub(super) fn inner(&self, one: Known, other: Known, pairs: &[&[Pair]]) -> Result<Known, PgError> {
        if one.extent == Extent::Spread && other.extent == Extent::Spread {
            self.meet(&one, &other, pairs)?;
        }
        let (mut known, other) = apart(one, other);
        if known.extent != Extent::Spread {
            known.first = other.first.or(known.first);
        }
        known.extent = known.extent.max(other.extent);
        known.places.extend(other.places);
        known.always.extend(other.always);
        known.keys = fewer(known.keys, other.keys);
        Ok(known)
    }

    fn outer(&self, preserved: Known, missing: Known, pairs: &[&[Pair]]) -> Result<Known, PgError> {
        match (preserved.extent, missing.extent) {
            (Extent::Spread, Extent::Spread) => self.meet(&preserved, &missing, pairs)?,
            (_, Extent::Spread) => return Err(refuse::preserved(&self.name(&missing))),
            _ => {}
        }
        let (mut known, missing) = apart(preserved, missing);
        known.extent = known.extent.max(missing.extent);
        known.places.extend(missing.places.into_iter().map(|place| Place { sure: false, ..place }));
        Ok(known)
    }

    fn full(&self, one: Known, other: Known, on: &[Pair]) -> Result<Known, PgError> {
        match (one.extent, other.extent) {
            (Extent::Spread, Extent::Spread) => self.meet(&one, &other, &[on])?,
            (Extent::Spread, _) => return Err(refuse::preserved(&self.name(&one))),
            (_, Extent::Spread) => return Err(refuse::preserved(&self.name(&other))),
            _ => {}
        }
        Ok(Known {
            first: one.first.or(other.first),
            extent: one.extent.max(other.extent),
            places: one.places.into_iter().chain(other.places).map(|place| Place { sure: false, ..place }).collect(),
            always: Vec::new(),
            keys: both(one.keys, other.keys),
        })
    }

    /// Whether rows of two spread parts match on one shard only.
    fn meet(&self, one: &Known, other: &Known, pairs: &[&[Pair]]) -> Result<(), PgError> {
        let given = pairs.iter().copied().flatten();
        let classes = Classes::of(given.chain(&one.always).chain(&other.always));
        let joined = |place: &Place<Node>| {
            other.places.iter().any(|theirs| theirs.fits(place) && classes.equal(&place.columns, &theirs.columns))
        };
        if one.places.iter().any(joined) {
            return Ok(());
        }
        let hint = match self.equality(one, other) {
            Some(equality) => format!("Join them on their shard keys: {equality}."),
            None if one.places.is_empty() || other.places.is_empty() => {
                "Put the shard key out of the sub-query, and join on it.".to_string()
            }
            None => "Only tables of one keyspace and one vindex can be joined on their shard keys.".to_string(),
        };
        Err(refuse::not_joined(&self.name(one), &self.name(other), hint))
    }

    fn leaf(&self, at: usize, within: &Range<usize>, seen: &mut Vec<Place<Node>>) -> Result<Known, PgError> {
        let planner = self.planner;
        let mut known = match planner.tree.leaves.get(&at) {
            Some(leaf) => {
                // A function, or a recursive CTE inside itself, whose own query is judged as a whole.
                let Some(part) = leaf.part else { return Ok(Known::same()) };
                let answer = self.nested(Some(part), seen)?;
                let here = |place: &Place<usize>| {
                    let columns: Option<Vec<Node>> =
                        place.columns.iter().map(|at| leaf.columns.get(*at).copied().flatten()).collect();
                    columns.map(|columns| place.at(columns, place.sure))
                };
                let places: Vec<Place<Node>> = answer.places.iter().filter_map(here).collect();
                let outside = places.iter().find_map(|place| self.restricted(at, place));
                let keys = fewer(answer.keys, outside.map(|key| vec![key]));
                Known { first: Some(at), extent: answer.extent, places, always: Vec::new(), keys }
            }
            None => {
                let Some((number, used)) =
                    planner.uses.iter().enumerate().find(|(_, used)| used.instance == at && !used.reference)
                else {
                    return Ok(Known::same());
                };
                let TablePlacement::Sharded { vindex, .. } = used.table.placement else { return Ok(Known::same()) };
                // A column that no statement has named has no node, and so no equality either.
                let columns: Option<Vec<Node>> =
                    used.columns.iter().map(|(_, called)| planner.key_node(at, called)).collect();
                let keyspace = used.table.keyspace;
                let sure = used.not_null;
                let types = used.columns.iter().map(|(_, called)| planner.key_type_of(at, called)).collect();
                let place = columns.zip(types).map(|(columns, types)| Place {
                    keyspace,
                    vindex,
                    columns,
                    types,
                    sure,
                    used: number,
                });
                let keys = self.requirements.get(number).cloned().flatten().map(|key| vec![key]);
                Known {
                    first: Some(at),
                    extent: Extent::Spread,
                    places: place.into_iter().collect(),
                    always: Vec::new(),
                    keys,
                }
            }
        };
        let tied = |place: &Place<Node>| {
            seen.iter().any(|outer| {
                outer.fits(place)
                    && outer.columns.iter().zip(&place.columns).all(|(outer, own)| {
                        !within.contains(&planner.facts.instance(*outer)) && planner.facts.reaches(*outer, *own, within)
                    })
            })
        };
        if known.extent == Extent::Spread && known.places.iter().any(tied) {
            known.extent = Extent::Complete;
            known.keys = None;
        }
        seen.extend(known.places.iter().cloned());
        Ok(known)
    }

    /// What the conditions around a sub-query in FROM or a CTE say of its place.
    fn restricted(&self, at: usize, place: &Place<Node>) -> Option<Requirement> {
        let planner = self.planner;
        let used = planner.uses.get(place.used)?;
        let single = place.columns.len() == 1;
        let ordered = single && planner.context.vschema.vindex(place.vindex).vindex.cover(None, None).is_some();
        let columns = place.columns.iter().zip(&used.columns).map(|(node, (name, _))| {
            let own = &planner.instances.get(at)?.columns;
            let key_type = own.iter().find(|own| planner.facts.node_of(at, &own.name) == Some(*node))?.key_type?;
            let mut values = planner.facts.solve(*node, single, ordered)?;
            planner.judge_types(&mut values, key_type);
            Some(KeyColumn { name: name.clone(), key_type, values })
        });
        let columns = columns.collect::<Option<_>>()?;
        let (keyspace, vindex) = (place.keyspace, place.vindex);
        Some(Requirement { table: used.table.name.clone(), keyspace, vindex, columns, insert: false })
    }

    /// A part's first table, for messages.
    fn name(&self, known: &Known) -> String {
        let first = known.first.and_then(|at| self.planner.instances.get(at)).filter(|one| !one.name.is_empty());
        first.map_or("a sub-query".to_string(), |one| format!("\"{}\"", one.name))
    }

    /// The equality that is missing.
    fn equality(&self, one: &Known, other: &Known) -> Option<String> {
        let (one, other) = one
            .places
            .iter()
            .find_map(|place| other.places.iter().find(|theirs| theirs.fits(place)).map(|theirs| (place, theirs)))?;
        let (one, other) = (self.planner.uses.get(one.used)?, self.planner.uses.get(other.used)?);
        let terms: Vec<String> = one
            .columns
            .iter()
            .zip(&other.columns)
            .map(|((_, left), (_, right))| format!("{}.{left} = {}.{right}", one.name, other.name))
            .collect();
        Some(terms.join(" AND "))
    }

    /// The refusal of a sub-query that would need rows of other shards.
    pub(super) fn not_tied(&self, part: Option<usize>) -> PgError {
        let inside = |instance: usize| match part.and_then(|part| self.planner.tree.parts.get(part)) {
            Some(Part::Query(query)) => query.instances.contains(&instance),
            Some(Part::Block(block)) => block.instances.contains(&instance),
            _ => true,
        };
        let used = self.planner.uses.iter().find(|used| !used.reference && inside(used.instance));
        let (name, key) = used.map_or(("", ""), |used| {
            (used.name.as_str(), used.columns.first().map_or("", |(_, called)| called.as_str()))
        });
        refuse::not_tied(name, key)
    }
}

/// Beside a spread part the places of a complete one count no longer: they say where the row around is, not where the spread part's are.
fn apart(mut one: Known, mut other: Known) -> (Known, Known) {
    if one.extent == Extent::Spread && other.extent == Extent::Complete {
        other.places.clear();
        other.keys = None;
    }
    if other.extent == Extent::Spread && one.extent == Extent::Complete {
        one.places.clear();
        one.keys = None;
    }
    (one, other)
}
