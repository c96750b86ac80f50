//! Inputs made smaller by tables that the same shards have: `... AND EXISTS (SELECT FROM nation WHERE ...)`.
//!
//! What a [`Link`](super::Link) says of a source's rows a shard can find out by itself where it has all of them that a row of the target could
//! equal: those of a reference table, and those of a sharded table whose shard key the links make equal to the target's. The source has its own
//! conditions there, and is made smaller by its own neighbours in turn. A source that nothing restricts would only be read in vain.

use super::{Origin, Site, quote};
use crate::plan::gather::Piece;
use crate::planner::facts::comparable;
use crate::planner::{Planner, Use};
use crate::types::KeyspaceId;
use crate::vschema::TablePlacement;

/// How far from the input's own table others are looked for.
const DEPTH: usize = 4;
/// How many tables one input's text may have.
const MOST: usize = 12;

/// Conditions on an input.
#[derive(Default)]
pub(super) struct Reduced {
    /// One `EXISTS` each.
    pub conditions: Vec<Vec<Piece>>,
    /// The uses that they are about.
    pub sources: Vec<usize>,
}

impl Planner<'_> {
    /// What the shards of a sharded table's input can say of its rows by those of other tables.
    pub(super) fn reduced(&self, site: &Site) -> Reduced {
        let Origin::Sharded(keyspace) = site.origin else { return Reduced::default() };
        // Rows that are locked are those that the conditions let through, no fewer.
        if self.locks > 0 {
            return Reduced::default();
        }
        self.neighbours(site.instance, keyspace, &[site.instance], &mut 0)
    }

    /// `path`: from the input's own use to this one.
    fn neighbours(&self, target: usize, keyspace: KeyspaceId, path: &[usize], count: &mut usize) -> Reduced {
        let mut reduced = Reduced::default();
        if path.len() > DEPTH {
            return reduced;
        }
        for site in &self.sites {
            let source = site.instance;
            if *count >= MOST || !self.is_beside(site, target, keyspace) || self.is_named_in(source, path) {
                continue;
            }
            let path: Vec<usize> = path.iter().copied().chain([source]).collect();
            let filters = self.filters_of(source);
            let beyond = self.neighbours(source, keyspace, &path, count);
            if filters.is_empty() && beyond.conditions.is_empty() {
                continue;
            }
            let Some(mut pieces) = self.exists(site, target) else { continue };
            for filter in filters {
                let (Ok(start), Ok(end)) = (super::place(filter.start), super::place(filter.end)) else { continue };
                pieces.extend([Piece::Words("AND (".into()), Piece::Tokens(start..end), Piece::Words(")".into())]);
            }
            for condition in beyond.conditions {
                pieces.push(Piece::Words("AND".into()));
                pieces.extend(condition);
            }
            pieces.push(Piece::Words(")".into()));
            *count += 1;
            reduced.conditions.push(pieces);
            reduced.sources.push(source);
        }
        reduced
    }

    /// `EXISTS (SELECT FROM source WHERE source.a = target.b`.
    fn exists(&self, site: &Site, target: usize) -> Option<Vec<Piece>> {
        let name = |instance: usize| Some(quote(&self.instances.get(instance)?.name));
        let (own, other) = (name(site.instance)?, name(target)?);
        let terms: Vec<String> = self
            .links_between(target, site.instance)
            .map(|(asked, known)| format!("{own}.{} = {other}.{}", quote(known), quote(asked)))
            .collect();
        let from = self.source_text(site)?;
        Some(vec![Piece::Words(format!("EXISTS (SELECT FROM {from} WHERE {}", terms.join(" AND ")))])
    }

    /// Whether a shard of the keyspace that has a row of the target has all rows of the source that it can equal.
    fn is_beside(&self, site: &Site, target: usize, keyspace: KeyspaceId) -> bool {
        if site.name.is_empty() || !site.sample.is_empty() || self.links_between(target, site.instance).next().is_none()
        {
            return false;
        }
        let shards = &self.context.vschema.keyspace(keyspace).shards;
        match site.origin {
            Origin::Reference(copies) => shards.iter().all(|shard| self.has_copies(copies, Some(*shard))),
            Origin::Sharded(other) if other == keyspace => self.are_together(target, site.instance),
            _ => false,
        }
    }

    /// Whether links make the shard keys of two uses equal.
    fn are_together(&self, target: usize, source: usize) -> bool {
        let used = |instance: usize| self.uses.iter().find(|used| used.instance == instance && !used.reference);
        let (Some(one), Some(other)) = (used(target), used(source)) else { return false };
        let vindex = |used: &Use| match used.table.placement {
            TablePlacement::Sharded { vindex, .. } => Some(vindex),
            _ => None,
        };
        let key_type = |instance: usize, called: &str| {
            self.instances.get(instance)?.columns.iter().find(|column| column.name == called)?.key_type
        };
        let equal = |(asked, known): (&str, &str)| {
            let both = key_type(target, asked).zip(key_type(source, known));
            both.is_some_and(|(one, other)| comparable(one, other))
                && self.links_between(target, source).any(|link| link == (asked, known))
        };
        vindex(one).is_some()
            && vindex(one) == vindex(other)
            && one.columns.len() == other.columns.len()
            && one.columns.iter().zip(&other.columns).all(|((_, asked), (_, known))| equal((asked, known)))
    }

    /// Whether a use is on the path already, or has a name that one there has.
    fn is_named_in(&self, instance: usize, path: &[usize]) -> bool {
        let name = |at: usize| self.instances.get(at).map(|one| one.name.as_str());
        path.iter().any(|at| *at == instance || name(*at) == name(instance))
    }
}
