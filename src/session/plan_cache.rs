//! Plans by normalised text: a hit costs no parse.
//!
//! A plan depends on the text without its literals, and on the [`PlanContext`]: vschema, catalog, search_path, a forced shard.
//! Both are 128-bit keyed hashes, and the cache's key is their combination; the hash's seed is random for each process, so that
//! no client can prepare two texts that share a key.

use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;
use parking_lot::Mutex;
use twox_hash::XxHash3_128;

use crate::catalog::Catalog;
use crate::plan::Plan;
use crate::planner;
use crate::sql;
use crate::types::ShardId;
use crate::vschema::Vschema;

/// Locks are taken for some ten nanoseconds; with 16 of them, cores seldom meet.
const STRIPES: usize = 16;

/// A bounded map from normalised text and context to a plan.
#[derive(Debug)]
pub struct PlanCache {
    stripes: Vec<Mutex<LruCache<u128, Arc<Plan>>>>,
}

impl PlanCache {
    /// A cache of about `capacity` plans.
    pub fn new(capacity: usize) -> Self {
        let each = NonZeroUsize::new(capacity.div_ceil(STRIPES)).unwrap_or(NonZeroUsize::MIN);
        PlanCache { stripes: (0..STRIPES).map(|_| Mutex::new(LruCache::new(each))).collect() }
    }

    fn stripe(&self, key: u128) -> &Mutex<LruCache<u128, Arc<Plan>>> {
        &self.stripes[(key >> 64) as usize % STRIPES]
    }

    /// The plan of a key. `literals` is a hash of the text's literals, asked for only where the plan depends on them.
    pub fn get(&self, key: u128, literals: impl FnOnce() -> u128) -> Option<Arc<Plan>> {
        let plan = self.find(key)?;
        if plan.literal { self.find(key ^ literals()) } else { Some(plan) }
    }

    fn find(&self, key: u128) -> Option<Arc<Plan>> {
        self.stripe(key).lock().get(&key).cloned()
    }

    /// Keeps a plan, and lets the one unused for longest go. One that holds for its literals only is kept under the key too, where it
    /// says that literals have to be asked for.
    pub fn insert(&self, key: u128, literals: impl FnOnce() -> u128, plan: Arc<Plan>) {
        if plan.literal {
            let own = key ^ literals();
            self.stripe(own).lock().put(own, plan.clone());
        }
        self.stripe(key).lock().put(key, plan);
    }

    /// How many plans there are.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// All that plans depend on besides the text, and its hash.
#[derive(Debug, Clone)]
pub struct PlanContext {
    /// The layout in force.
    pub vschema: Arc<Vschema>,
    /// The catalog in force.
    pub catalog: Arc<Catalog>,
    /// The catalog of all sessions that it is, or is made of.
    pub base: Arc<Catalog>,
    /// Without `pg_catalog`, `"$user"` replaced.
    pub search_path: Arc<[String]>,
    /// `goldseam.shard`.
    pub forced: Option<ShardId>,
    key: u128,
}

impl PlanContext {
    /// Hashes what it is given.
    pub fn new(
        vschema: Arc<Vschema>,
        catalog: Arc<Catalog>,
        search_path: Arc<[String]>,
        forced: Option<ShardId>,
        seed: u64,
    ) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(vschema.version.to_le_bytes());
        bytes.extend(catalog.version.to_le_bytes());
        bytes.extend(forced.map_or(u32::MAX, |shard| u32::from(shard.0)).to_le_bytes());
        for schema in search_path.iter() {
            bytes.extend(schema.as_bytes());
            bytes.push(0);
        }
        let key = XxHash3_128::oneshot_with_seed(seed, &bytes);
        PlanContext { vschema, base: catalog.clone(), catalog, search_path, forced, key }
    }

    /// A hash of a text's literals, for plans that depend on them.
    pub fn literals(&self, text: &str, literals: &[sql::Literal]) -> u128 {
        let mut bytes = Vec::with_capacity(64);
        for literal in literals {
            let written = text.get(literal.start as usize..literal.end as usize).unwrap_or_default();
            bytes.extend((written.len() as u64).to_le_bytes());
            bytes.extend(written.as_bytes());
        }
        // Rotated, so that it does not undo the key of the context, which is of the same hash.
        XxHash3_128::oneshot_with_seed(self.key as u64, &bytes).rotate_left(1)
    }

    /// Whether it is still made of these.
    pub fn is_current(&self, vschema: &Arc<Vschema>, catalog: &Arc<Catalog>) -> bool {
        Arc::ptr_eq(&self.vschema, vschema) && Arc::ptr_eq(&self.base, catalog)
    }

    /// The cache's key of a normalised text under this context. `hint` is a shard named in the statement's own comment.
    pub fn key(&self, normalized: u128, hint: Option<ShardId>) -> u128 {
        let hinted = hint.map_or(0, |shard| (u128::from(shard.0) + 1) << 100);
        normalized ^ self.key ^ hinted
    }

    /// Plans a text anew.
    pub fn plan(&self, text: &str, hint: Option<ShardId>, limits: sql::Limits) -> Plan {
        let mut plan = planner::plan(
            text,
            &planner::Context {
                vschema: &self.vschema,
                catalog: &self.catalog,
                search_path: &self.search_path,
                forced: hint.or(self.forced),
                limits,
                triggers: 0,
            },
        );
        if !sql::set_configs(text).is_empty() {
            // The session follows it, and repeats it where the transaction goes: its backend need not be kept.
            plan.effects.sets = true;
            plan.effects.pin = None;
            plan.effects.floating = true;
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(path: &[&str], forced: Option<ShardId>) -> PlanContext {
        let path: Vec<String> = path.iter().map(|schema| schema.to_string()).collect();
        PlanContext::new(Arc::default(), Arc::default(), path.into(), forced, 7)
    }

    #[test]
    fn a_text_means_another_plan_under_another_search_path_or_shard() {
        let keys = [
            context(&["public"], None).key(1, None),
            context(&["sales", "public"], None).key(1, None),
            context(&["salespublic"], None).key(1, None),
            context(&["public"], Some(ShardId(0))).key(1, None),
            context(&["public"], None).key(1, Some(ShardId(0))),
            context(&["public"], None).key(1, Some(ShardId(1))),
        ];
        let distinct: std::collections::HashSet<u128> = keys.into_iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn a_plan_that_depends_on_its_literals_serves_no_others() {
        let (cache, context) = (PlanCache::new(64), context(&[], None));
        let plan = |literal| Arc::new(Plan { literal, ..context.plan("SELECT 1", None, sql::Limits::default()) });
        let (first, second) = (plan(true), plan(true));
        assert!(cache.get(1, || 5).is_none());
        cache.insert(1, || 5, first.clone());
        assert!(cache.get(1, || 6).is_none());
        cache.insert(1, || 6, second.clone());
        assert!(Arc::ptr_eq(&cache.get(1, || 5).unwrap(), &first));
        assert!(Arc::ptr_eq(&cache.get(1, || 6).unwrap(), &second));
        cache.insert(2, || unreachable!("not asked for"), plan(false));
        assert!(cache.get(2, || unreachable!("not asked for")).is_some());
        let hash = |text: &str, ends: &[(u32, u32)]| {
            let kind = sql::LiteralKind::Integer;
            let literals: Vec<_> = ends.iter().map(|&(start, end)| sql::Literal { kind, start, end }).collect();
            context.literals(text, &literals)
        };
        assert_ne!(hash("1 23", &[(0, 1), (2, 4)]), hash("12 3", &[(0, 2), (3, 4)]));
    }

    #[test]
    fn the_cache_stays_within_its_bound() {
        let cache = PlanCache::new(64);
        let plan = Arc::new(context(&[], None).plan("SELECT 1", None, sql::Limits::default()));
        for key in 0..10_000u128 {
            cache.insert(key << 64, || 0, plan.clone());
        }
        assert!(cache.len() <= 64);
    }
}
