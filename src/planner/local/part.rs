//! Queries and set operations: what their parts are together, and what is left to do with it.

use super::super::facts::Node;
use super::super::refuse;
use super::super::tree::{self, Operation, Part, Set};
use super::keys::{both, fewer};
use super::place::Place;
use super::{Answer, Extent, Judge, MAX_STEPS, Rest};
use crate::error::PgError;

impl Judge<'_, '_> {
    pub(super) fn part(&self, part: Option<usize>, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Err(refuse::construct("so many uses of queries in WITH, over several shards"));
        }
        match part.and_then(|part| self.planner.tree.parts.get(part)) {
            None => Err(refuse::construct("this part of a statement over several shards")),
            Some(Part::Write) => Err(refuse::spoiled("INSERT, UPDATE or DELETE inside WITH")),
            Some(Part::Values) => Ok(Answer::same()),
            Some(Part::Block(block)) => self.block(block, outer),
            Some(Part::Set(set)) => self.set(set, outer),
            Some(Part::Query(query)) => self.query(query, outer),
        }
    }

    /// A part inside another: nothing may be left to do but what it does itself.
    pub(super) fn nested(&self, part: Option<usize>, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let answer = self.part(part, outer)?;
        if answer.extent != Extent::Spread {
            return Ok(answer);
        }
        self.order_lost.set(self.order_lost.get() || answer.rest.order);
        let rest = answer.rest;
        match (rest.limit, rest.groups, rest.distinct) {
            (true, ..) => Err(refuse::inner(
                "LIMIT",
                "Which rows are the first is known only when all shards' rows are together.",
            )),
            (_, true, _) => Err(refuse::inner(
                "an aggregate",
                "Rows of one group are on several shards, and each would give its own part.",
            )),
            (.., true) => {
                Err(refuse::inner("DISTINCT", "Equal rows are on several shards, and each would put one out."))
            }
            _ => Ok(answer),
        }
    }

    fn query(&self, query: &tree::Query, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let mut answer = self.part(query.body, outer)?;
        for inside in &query.inside {
            let extent = self.nested(inside.part, outer)?.extent;
            if extent == Extent::Spread {
                return Err(self.not_tied(inside.part));
            }
            if answer.extent == Extent::Same {
                answer.extent = extent;
            }
        }
        if query.recursive && answer.extent == Extent::Spread {
            return Err(refuse::recursion());
        }
        match answer.extent {
            Extent::Same if query.volatile => Err(refuse::inner(
                "a volatile function",
                "It would have one value for all rows of a shard, and another on the next shard.",
            )),
            // Rows that the statement brings along come in the same order everywhere.
            Extent::Same if query.limited && self.has_tables(query) => Err(refuse::inner(
                "LIMIT over reference tables",
                "Each shard's copy may have its rows in another order.",
            )),
            Extent::Spread => {
                // What a body in parentheses leaves to do comes before what stands behind them.
                if answer.rest.any() && (query.limited || query.ordered) && !self.is_block(query.body) {
                    return Err(refuse::inner("ORDER BY or LIMIT", "The parentheses part it from the one outside."));
                }
                answer.rest.limit |= query.limited;
                answer.rest.order |= query.ordered;
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }

    /// Whether a query reads anything else than functions.
    fn has_tables(&self, query: &tree::Query) -> bool {
        let leaves = &self.planner.tree.leaves;
        let function = |instance: usize| leaves.get(&instance).is_some_and(|leaf| leaf.part.is_none());
        self.planner.recursions > 0 || !query.instances.clone().all(function)
    }

    fn is_block(&self, part: Option<usize>) -> bool {
        part.and_then(|part| self.planner.tree.parts.get(part)).is_some_and(|part| matches!(part, Part::Block(_)))
    }

    fn set(&self, set: &Set, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let typed =
            |place: &Place<usize>| place.columns.iter().all(|at| set.types.get(*at).is_some_and(Option::is_some));
        let mut all = self.nested(set.first, outer)?;
        for (operation, part) in &set.rest {
            let next = self.nested(*part, outer)?;
            let common = |sure: bool| -> Vec<Place<usize>> {
                let both = |place: &&Place<usize>| {
                    let same = |other: &Place<usize>| {
                        other.fits(*place) && other.columns == place.columns && (!sure || other.sure)
                    };
                    typed(place) && (!sure || place.sure) && next.places.iter().any(same)
                };
                let sure = |place: &Place<usize>| {
                    let sure = next.places.iter().any(|other| other.sure && other.columns == place.columns);
                    place.at(place.columns.clone(), place.sure && sure)
                };
                all.places.iter().filter(both).map(sure).collect()
            };
            all = match (all.extent, operation, next.extent) {
                (Extent::Spread, Operation::UnionAll, Extent::Spread) => {
                    Answer { places: common(false), keys: both(all.keys, next.keys), ..all }
                }
                (Extent::Spread, _, Extent::Spread) => {
                    let places = common(true);
                    if places.is_empty() {
                        return Err(refuse::set_operation(name_of(*operation)));
                    }
                    let keys = match operation {
                        Operation::Union => both(all.keys, next.keys),
                        Operation::Intersect => fewer(all.keys, next.keys),
                        _ => all.keys,
                    };
                    Answer { places, keys, ..all }
                }
                (Extent::Spread, Operation::Intersect | Operation::Except, _) => {
                    all.places.retain(|place| place.sure && typed(place));
                    if all.places.is_empty() {
                        return Err(refuse::set_operation(name_of(*operation)));
                    }
                    all
                }
                (_, Operation::Intersect, Extent::Spread) => {
                    let places: Vec<_> = next.places.into_iter().filter(|place| place.sure && typed(place)).collect();
                    if places.is_empty() {
                        return Err(refuse::set_operation(name_of(*operation)));
                    }
                    Answer { extent: Extent::Spread, places, keys: next.keys, rest: Rest::default() }
                }
                (one, _, other) if one == Extent::Spread || other == Extent::Spread => {
                    return Err(refuse::mixed_set(name_of(*operation)));
                }
                (one, _, other) => Answer { extent: one.max(other), ..Answer::same() },
            };
            all.rest = Rest::default();
        }
        Ok(all)
    }
}

fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::UnionAll => "UNION ALL",
        Operation::Union => "UNION",
        Operation::Intersect => "INTERSECT",
        Operation::Except => "EXCEPT",
    }
}
