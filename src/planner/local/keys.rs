//! Which keys narrow the shards of a part.

use super::super::tree;
use crate::plan::{KeyColumn, KeySet, Requirement};

/// Of two sets of keys the one that names fewer values: most likely it leads to fewer shards.
pub(super) fn fewer(one: Option<Vec<Requirement>>, other: Option<Vec<Requirement>>) -> Option<Vec<Requirement>> {
    let weight = |keys: &Vec<Requirement>| {
        let values = |column: &KeyColumn| match &column.values {
            KeySet::Values(values) => values.len(),
            _ => 1_000,
        };
        keys.iter().flat_map(|key| &key.columns).map(values).sum::<usize>()
    };
    match (one, other) {
        (Some(one), Some(other)) => Some(if weight(&other) < weight(&one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// One requirement for all that any of these leads to.
pub(super) fn one_of(keys: Vec<Requirement>) -> Option<Requirement> {
    let mut keys = keys.into_iter();
    let mut all = keys.next()?;
    for key in keys {
        if key.vindex != all.vindex || key.keyspace != all.keyspace || key.columns.len() != all.columns.len() {
            return None;
        }
        let single = all.columns.len() == 1;
        for (column, other) in all.columns.iter_mut().zip(key.columns) {
            // Of integers the wider type reads what the other reads, and as the same key.
            column.key_type = tree::wider(column.key_type, other.key_type);
            match (&mut column.values, other.values) {
                (known, other) if *known == other => {}
                (KeySet::Values(known), KeySet::Values(other)) => known.extend(other),
                (KeySet::Any(known), other) if single => known.push(other),
                (known, other) if single => {
                    let first = std::mem::replace(known, KeySet::EVERYTHING);
                    *known = KeySet::Any(vec![first, other]);
                }
                _ => return None,
            }
        }
    }
    Some(all)
}

/// The keys of two parts of which each puts rows out by itself.
pub(super) fn both(one: Option<Vec<Requirement>>, other: Option<Vec<Requirement>>) -> Option<Vec<Requirement>> {
    let mut keys = one?;
    keys.extend(other?);
    Some(keys)
}
