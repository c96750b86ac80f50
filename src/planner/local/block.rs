//! One SELECT: its sub-queries, and what it does with its rows.

use super::super::facts::Node;
use super::super::refuse;
use super::super::tree::{Block, Distinct, Inside, Window};
use super::place::{Classes, Place};
use super::{Answer, Extent, Judge, Known, Rest};
use crate::error::PgError;

impl Judge<'_, '_> {
    pub(super) fn block(&self, block: &Block, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let mut seen = outer.to_vec();
        let mut known: Option<Known> = None;
        for item in &block.from {
            let next = self.item(item, &[&block.filter], &block.instances, &mut seen)?;
            known = Some(match known {
                None => next,
                Some(known) => self.inner(known, next, &[&block.filter])?,
            });
        }
        let mut known = known.unwrap_or_else(Known::same);
        let classes = Classes::of(known.always.iter().chain(&block.filter));
        for place in &mut known.places {
            place.sure |= place.columns.iter().all(|column| classes.knows(*column));
        }
        for inside in &block.inside {
            let extent = self.inside(inside, &known, &classes, &seen)?;
            if known.extent == Extent::Same {
                known.extent = extent;
            }
        }
        let mut answer = Answer {
            extent: known.extent,
            places: known.places.iter().filter_map(|place| put_out(place, block, &classes)).collect(),
            keys: known.keys,
            rest: Rest::default(),
        };
        if known.extent == Extent::Complete {
            answer.places.iter_mut().for_each(|place| place.sure = false);
            return Ok(answer);
        }
        if known.extent == Extent::Same {
            if !block.windows.is_empty() || matches!(block.distinct, Distinct::On(_)) {
                return Err(refuse::inner(
                    "a window function or DISTINCT ON over reference tables",
                    "Each shard's copy may have its rows in another order.",
                ));
            }
            return Ok(answer);
        }
        if block.erratic {
            return Err(refuse::erratic());
        }
        let whole = |nodes: &[Node]| known.places.iter().any(|place| place.sure && classes.contain(nodes, place));
        for window in &block.windows {
            if !partition(window, block).is_some_and(|nodes| whole(&nodes)) {
                return Err(refuse::window());
            }
        }
        if block.groups.is_some() || block.aggregates {
            self.literal.set(self.literal.get() || block.ordinals);
            // Of several groupings one may do without the key.
            answer.rest.groups = block.grouping_sets || !whole(block.groups.as_deref().unwrap_or(&[]));
            if answer.rest.groups {
                if !block.windows.is_empty() {
                    return Err(refuse::window());
                }
                answer.places.clear();
            }
        }
        match &block.distinct {
            Distinct::No => {}
            Distinct::All => {
                let outputs: Vec<Node> = block.outputs.0.iter().flatten().copied().collect();
                answer.rest.distinct = !whole(&outputs);
            }
            Distinct::On(nodes) => {
                self.literal.set(self.literal.get() || block.ordinals);
                answer.rest.distinct = !whole(nodes);
            }
        }
        Ok(answer)
    }

    /// A sub-query in an expression of a block.
    fn inside(
        &self,
        inside: &Inside,
        known: &Known,
        classes: &Classes,
        seen: &[Place<Node>],
    ) -> Result<Extent, PgError> {
        let answer = self.nested(inside.part, seen)?;
        if answer.extent != Extent::Spread {
            return Ok(answer.extent);
        }
        let Some(tested) = inside.tested.as_deref().filter(|_| known.extent != Extent::Same) else {
            return Err(self.not_tied(inside.part));
        };
        let meets = |place: &Place<usize>| {
            let columns: Option<Vec<Node>> =
                place.columns.iter().map(|at| tested.get(*at).copied().flatten()).collect();
            columns.is_some_and(|columns| {
                known.places.iter().any(|own| own.fits(place) && classes.equal(&own.columns, &columns))
            })
        };
        if answer.places.iter().any(meets) { Ok(known.extent) } else { Err(self.not_tied(inside.part)) }
    }
}

/// The positions at which a block puts a place out.
fn put_out(place: &Place<Node>, block: &Block, classes: &Classes) -> Option<Place<usize>> {
    let (outputs, complete) = &block.outputs;
    if !complete {
        return None;
    }
    let at = |column: &Node| {
        outputs.iter().position(|output| output.is_some_and(|output| classes.find(output) == classes.find(*column)))
    };
    Some(place.at(place.columns.iter().map(at).collect::<Option<_>>()?, place.sure))
}

/// The columns of PARTITION BY, its own or its named window's.
fn partition(window: &Window, block: &Block) -> Option<Vec<Node>> {
    let mut window = window;
    for _ in 0..=block.named.len() {
        match &window.base {
            None => return Some(window.partition.clone()),
            Some(name) => window = block.named.get(name)?,
        }
    }
    None
}
