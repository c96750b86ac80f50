//! Statements made up from a seed, in the shapes that several shards answer together: orders with hidden keys, groups, aggregates, windows
//! of rows, joins within a family of tables and beyond it, sub-queries in every place, set operations.
//!
//! What is made is free of what depends on chance in PostgreSQL itself: an ORDER BY is total, a LIMIT without one may choose any rows
//! ([`Rule::of`]), no expression fails on some rows only, and floating-point sums are exact.
//!
//! * [`tables`]: what there is.
//! * [`queries`]: whole queries, of what [`from`] gives, with [`conditions`] and [`values`]; [`richer`] ones, which only a workbench answers.
//! * [`writes`]: statements that write.

mod conditions;
mod from;
mod queries;
mod richer;
mod tables;
mod values;
mod writes;

use super::compare::Rule;
use super::tree::Node;

/// Enough to come from the largest statement to a small one.
const MAX_TRIES: usize = 600;

/// A statement that can be made smaller.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    main: Node,
    order: Option<Node>,
    limit: Option<Node>,
}

impl Made {
    pub fn sql(&self) -> String {
        let parts = [Some(&self.main), self.order.as_ref(), self.limit.as_ref()];
        Node::Seq(parts.into_iter().flatten().cloned().collect()).text()
    }

    /// A LIMIT of rows in no order.
    pub fn rule(&self) -> Rule {
        let choice = self.limit.is_some() && self.order.is_none();
        Rule { of: choice.then(|| self.main.text()), ..Rule::default() }
    }

    /// The smallest statement found that still fails.
    pub fn shrink(&self, mut fails: impl FnMut(&Made) -> bool) -> Made {
        let (mut best, mut tries) = (self.clone(), 0);
        loop {
            let Some(smaller) = best.smaller().into_iter().find(|smaller| {
                tries += 1;
                tries < MAX_TRIES && fails(smaller)
            }) else {
                return best;
            };
            best = smaller;
        }
    }

    fn smaller(&self) -> Vec<Made> {
        let mut found = Vec::new();
        if self.limit.is_some() {
            found.push(Made { limit: None, ..self.clone() });
        }
        if self.order.is_some() {
            found.push(Made { order: None, ..self.clone() });
        }
        found.extend(self.main.smaller().into_iter().map(|main| Made { main, ..self.clone() }));
        let less = |node: &Option<Node>| node.iter().flat_map(Node::smaller).collect::<Vec<_>>();
        found.extend(less(&self.order).into_iter().map(|order| Made { order: Some(order), ..self.clone() }));
        found.extend(less(&self.limit).into_iter().map(|limit| Made { limit: Some(limit), ..self.clone() }));
        found
    }
}

/// A source of statements.
pub struct Maker {
    state: u64,
    aliases: usize,
}

impl Maker {
    /// The statements of a seed.
    pub fn new(seed: u64) -> Maker {
        Maker { state: seed, aliases: 0 }
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len());
        from[at].clone()
    }

    /// The next statement.
    pub fn statement(&mut self) -> Made {
        self.aliases = 0;
        match self.below(28) {
            20.. => self.richer(),
            0..=7 => self.plain(),
            8..=12 => self.grouped(),
            13..=14 => self.totals(),
            15..=16 => self.distinct(),
            17..=18 => self.set_operation(),
            _ => self.with(),
        }
    }
}
