//! Places: columns that say where a row is; and classes of columns that are equal.

use std::collections::HashMap;

use super::super::facts::{Node, comparable};
use super::super::tree::Pair;
use crate::types::{KeyType, KeyspaceId, VindexId};

/// Columns whose values say where a row is.
#[derive(Debug, Clone)]
pub(super) struct Place<T> {
    pub keyspace: KeyspaceId,
    pub vindex: VindexId,
    /// One for each column of the key.
    pub columns: Vec<T>,
    /// The key's types: equal values of types that are not comparable may be different keys.
    pub types: Vec<KeyType>,
    /// Never NULL.
    pub sure: bool,
    /// The use of a table that it comes from, for messages.
    pub used: usize,
}

impl<T> Place<T> {
    pub fn fits<U>(&self, other: &Place<U>) -> bool {
        self.keyspace == other.keyspace
            && self.vindex == other.vindex
            && self.columns.len() == other.columns.len()
            && self.types.iter().zip(&other.types).all(|(one, other)| comparable(*one, *other))
    }

    pub fn at<U>(&self, columns: Vec<U>, sure: bool) -> Place<U> {
        let Place { keyspace, vindex, used, .. } = *self;
        Place { keyspace, vindex, columns, types: self.types.clone(), sure, used }
    }
}

/// Classes of equal columns.
#[derive(Debug, Default)]
pub(super) struct Classes(HashMap<Node, Node>);

impl Classes {
    pub fn of<'p>(pairs: impl IntoIterator<Item = &'p Pair>) -> Classes {
        let mut classes = Classes::default();
        for (one, other) in pairs {
            let (one, other) = (classes.find(*one), classes.find(*other));
            classes.0.entry(one).or_insert(one);
            classes.0.insert(other, one);
        }
        classes
    }

    pub fn find(&self, mut node: Node) -> Node {
        while let Some(next) = self.0.get(&node)
            && *next != node
        {
            node = *next;
        }
        node
    }

    /// An equality is about it: it is not NULL.
    pub fn knows(&self, node: Node) -> bool {
        self.0.contains_key(&node)
    }

    pub fn equal(&self, one: &[Node], other: &[Node]) -> bool {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| self.find(*one) == self.find(*other))
    }

    /// Whether every column of the place is among these.
    pub fn contain(&self, nodes: &[Node], place: &Place<Node>) -> bool {
        place.columns.iter().all(|column| nodes.iter().any(|node| self.find(*node) == self.find(*column)))
    }
}
