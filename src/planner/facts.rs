//! What is known of columns: which values restrict them, and which columns are equal.
//!
//! A *node* is a column of one use of one table. A node may have values: every row of that use which can matter to the result has
//! one of them there. An *edge* from `a` to `b` says that every row of `b`'s use that can matter has in `b` a value that a
//! mattering row has in `a`; so values flow along edges. An equality of an inner join is an edge each way, one of an outer join
//! leads to the side that may be missing only, and one in a sub-query leads inwards only.

use std::collections::HashMap;

use crate::plan::KeySet;
use crate::types::KeyType;

/// A column of a use of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Node(usize);

/// All that is known of one statement's columns.
#[derive(Debug, Default)]
pub struct Facts {
    ids: HashMap<(usize, String), Node>,
    values: Vec<Vec<KeySet>>,
    /// For each node, where values come from.
    sources: Vec<Vec<Node>>,
    /// For each node, the use it is a column of.
    instances: Vec<usize>,
}

impl Facts {
    /// The node of a column, made when first asked for.
    pub fn node(&mut self, instance: usize, column: &str) -> Node {
        if let Some(node) = self.ids.get(&(instance, column.to_string())) {
            return *node;
        }
        let node = Node(self.values.len());
        self.ids.insert((instance, column.to_string()), node);
        self.values.push(Vec::new());
        self.sources.push(Vec::new());
        self.instances.push(instance);
        node
    }

    /// The node of a column, if it was ever asked for.
    pub fn node_of(&self, instance: usize, column: &str) -> Option<Node> {
        self.ids.get(&(instance, column.to_string())).copied()
    }

    /// Every row that matters has one of these values.
    pub fn restrict(&mut self, node: Node, values: KeySet) {
        if let Some(known) = self.values.get_mut(node.0) {
            known.push(values);
        }
    }

    /// Values flow from one node to another.
    pub fn flow(&mut self, from: Node, to: Node) {
        if let Some(sources) = self.sources.get_mut(to.0)
            && !sources.contains(&from)
        {
            sources.push(from);
        }
    }

    /// The column that a node is.
    pub fn column(&self, node: Node) -> Option<(usize, &str)> {
        self.ids.iter().find(|(_, known)| **known == node).map(|((instance, column), _)| (*instance, column.as_str()))
    }

    /// The use that a node is a column of.
    pub fn instance(&self, node: Node) -> usize {
        self.instances.get(node.0).copied().unwrap_or(usize::MAX)
    }

    /// Whether every row of `to`'s use that can matter has the value there that `from` has. Only uses of `within` lie on the way: for one row
    /// of a block around them `from` is one value, while a column of that block may have another in the next row.
    pub fn reaches(&self, from: Node, to: Node, within: &std::ops::Range<usize>) -> bool {
        let mut seen = vec![false; self.values.len()];
        let mut open = vec![to];
        while let Some(node) = open.pop() {
            if node == from {
                return true;
            }
            let here = self.instances.get(node.0).is_some_and(|instance| within.contains(instance));
            match seen.get_mut(node.0) {
                Some(seen) if here && !*seen => *seen = true,
                _ => continue,
            }
            open.extend(self.sources.get(node.0).into_iter().flatten());
        }
        false
    }

    /// What restricts a node: the sets of values that reach it. One value alone says all. Of `single` columns several sets may hold
    /// together; of a key of several columns only the tightest counts, and no range. `ordered`: ranges count.
    pub fn solve(&self, node: Node, single: bool, ordered: bool) -> Option<KeySet> {
        let mut seen = vec![false; self.values.len()];
        let mut open = vec![node];
        let mut found: Vec<KeySet> = Vec::new();
        while let Some(node) = open.pop() {
            if std::mem::replace(seen.get_mut(node.0)?, true) {
                continue;
            }
            for set in self.values.get(node.0)? {
                if let Some(set) = usable(set, single, ordered)
                    && !found.contains(&set)
                {
                    if weight(&set) <= 1 {
                        return Some(set);
                    }
                    // Every set is a look-up for every execution; beyond a few they are hardly written for their own sake.
                    if found.len() < MOST_SETS {
                        found.push(set);
                    }
                }
            }
            open.extend(self.sources.get(node.0)?);
        }
        if single && found.len() > 1 {
            return Some(KeySet::all(found));
        }
        found.into_iter().min_by_key(weight)
    }
}

/// How many sets that restrict one column are kept.
const MOST_SETS: usize = 8;

/// What of a set counts, if any of it does.
fn usable(set: &KeySet, single: bool, ordered: bool) -> Option<KeySet> {
    match set {
        KeySet::Values(_) | KeySet::Array(_) => Some(set.clone()),
        KeySet::Range { .. } => (single && ordered).then(|| set.clone()),
        // An alternative of which nothing is known may be any key.
        KeySet::Any(sets) => {
            let sets: Vec<KeySet> = sets.iter().map(|set| usable(set, single, ordered)).collect::<Option<_>>()?;
            single.then_some(KeySet::Any(sets))
        }
        KeySet::All(sets) => {
            let mut sets: Vec<KeySet> = sets.iter().filter_map(|set| usable(set, single, ordered)).collect();
            match sets.len() {
                0 => None,
                1 => sets.pop(),
                _ if single => Some(KeySet::all(sets)),
                _ => sets.into_iter().min_by_key(weight),
            }
        }
    }
}

fn weight(set: &KeySet) -> usize {
    match set {
        KeySet::Values(values) => values.len(),
        KeySet::Array(_) => 1_000,
        KeySet::Any(_) | KeySet::All(_) => 10_000,
        KeySet::Range { .. } => 100_000,
    }
}

/// Whether equality of two columns means equality of their keys: integers of any width, or the same type.
pub fn comparable(one: KeyType, other: KeyType) -> bool {
    let integer = |key| matches!(key, KeyType::Int2 | KeyType::Int4 | KeyType::Int8);
    one == other || (integer(one) && integer(other))
}
