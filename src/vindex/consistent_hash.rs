//! `consistent_hash`: a ring of 2^32 positions; a key belongs to the next virtual node clockwise.
//!
//! Karger et al., "Consistent Hashing and Random Trees" (1997). Each shard stands on the ring with 150 virtual nodes (times
//! its weight). A new shard takes its share from all others and nothing moves between them; a removed one leaves its share
//! to all others. The price is unevenness: a shard's share is spread around the mean by 1/sqrt(150), 8 per cent; more virtual
//! nodes make it smaller.
//!
//! A virtual node's position hashes the shard's *name*, so the ring does not depend on the order of shards, and a shard that
//! is renamed is another shard. A look-up goes to a slot of the ring by the position's first bits and counts there.

use std::collections::BTreeMap;

use serde::Deserialize;
use twox_hash::XxHash3_64;

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::{Kind, Placement, Shards, SpecError, Vindex, canonical, options};

/// Enough for 8 per cent of unevenness, few enough for 10,000 shards in 10 MB.
const DEFAULT_VNODES: u32 = 150;
/// A shard with more would gain less than a per cent of evenness.
const MAX_VNODES: u32 = 10_000;
/// Virtual nodes of one ring: up to 8 bytes each.
const MAX_RING: usize = 1 << 24;
/// Part of every virtual node's position. It was chosen among thousands so that the small clusters which most operators
/// begin with (`s0`, `s1`, ... up to 32 shards) come out evenly; see `find_a_salt` below, and the table that `cargo test movement` prints.
const SALT: u64 = 22_050;

/// The kind's entry in [`KINDS`](crate::vindex::KINDS).
pub const KIND: Kind = Kind {
    name: "consistent_hash",
    about: "A ring of 2^32 positions with `vnodes` (150) virtual nodes per shard; a key belongs to the next one clockwise. \
            `weights = { s0 = 2.0 }` gives a shard more of the ring. Adding a shard moves only its own share. Any key type, \
            any number of columns.",
    build,
    schema: |generator| generator.subschema_for::<Options>(),
};

/// The options of `type = "consistent_hash"`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "consistent_hash")]
struct Options {
    /// Virtual nodes of a shard with weight 1; must not change once there are rows.
    #[schemars(range(min = 1, max = 10_000))]
    vnodes: Option<u32>,
    /// A shard's share relative to the others; 1 where nothing is said.
    #[serde(default)]
    weights: BTreeMap<String, f64>,
}

/// The ring, cut into slots by the position's first bits. A virtual node needs only the bits that follow, and with at least
/// 65,536 slots these are at most sixteen: with its shard it fits into four bytes. A slot has four to eight virtual nodes of
/// a large ring, which lie in one or two cache lines and are counted without a branch.
#[derive(Debug)]
struct Ring {
    /// Ascending by position: the bits that follow the slot's above, the shard below. The first one once more at the end, for
    /// keys beyond the last.
    nodes: Box<[u32]>,
    /// For each slot its first node, and the end.
    slots: Box<[u32]>,
    /// How many bits choose the slot.
    bits: u32,
}

impl Ring {
    fn new(mut nodes: Vec<(u32, &str, ShardId)>) -> Self {
        // Where two virtual nodes meet, the name decides: the order of shards in the file must not.
        nodes.sort_unstable();
        nodes.dedup_by_key(|node| node.0);
        let bits = nodes.len().max(1).ilog2().saturating_sub(2).max(16);
        let mut slots = Vec::with_capacity((1 << bits) + 1);
        let mut next = 0;
        for slot in 0..=1u64 << bits {
            while nodes.get(next).is_some_and(|node| u64::from(node.0) < slot << (32 - bits)) {
                next += 1;
            }
            slots.push(next as u32);
        }
        let first = nodes.first().copied();
        let pack = |(position, _, shard): &(u32, &str, ShardId)| position << bits | u32::from(shard.0);
        Ring { nodes: nodes.iter().chain(&first).map(pack).collect(), slots: slots.into(), bits }
    }

    fn shard_at(&self, position: u32) -> ShardId {
        let slot = (position >> (32 - self.bits)) as usize;
        let (first, end) = (self.slots[slot] as usize, self.slots[slot + 1] as usize);
        // Every shard's number is at least 0: a node at the position itself is not before it.
        let lowest = position << self.bits;
        let before: u32 = self.nodes[first..end].iter().map(|node| u32::from(*node < lowest)).sum();
        // If all are before it, the next node is the first of the slots after it.
        ShardId(self.nodes[first + before as usize] as u16)
    }
}

fn position(key: &[Key<'_>]) -> u32 {
    (canonical::xxh3(key) >> 32) as u32
}

fn node_position(shard: &str, vnode: u32, salt: u64) -> u32 {
    // The name's hash seeds the number's, so that nothing is formatted and no two names share a sequence.
    let seed = XxHash3_64::oneshot_with_seed(salt, shard.as_bytes());
    (XxHash3_64::oneshot_with_seed(seed, &vnode.to_le_bytes()) >> 32) as u32
}

impl Vindex for Ring {
    fn place(&self, key: &[Key<'_>]) -> Placement {
        Placement::Shard(self.shard_at(position(key)))
    }

    fn accepts(&self, _types: &[KeyType]) -> Result<(), String> {
        Ok(())
    }

    fn trace(&self, key: &[Key<'_>]) -> String {
        format!("ring position {}", position(key))
    }
}

fn build(spec: toml::de::ValueDeserializer<'_>, shards: &Shards<'_>) -> Result<Box<dyn Vindex>, SpecError> {
    let options: Options = options(spec)?;
    let vnodes = options.vnodes.unwrap_or(DEFAULT_VNODES);
    if !(1..=MAX_VNODES).contains(&vnodes) {
        return Err(SpecError::new(format!("{vnodes} virtual nodes are not possible"))
            .at("vnodes")
            .hint("Use 1 to 10000."));
    }
    for (name, weight) in &options.weights {
        shards.find(name).map_err(|error| error.at(name).within_key("weights"))?;
        if !(0.01..=100.0).contains(weight) {
            let error = SpecError::new(format!("{weight} is no weight")).hint("Use 0.01 to 100; 1 is the usual share.");
            return Err(error.at(name).within_key("weights"));
        }
    }
    let mut nodes = Vec::new();
    for (name, shard) in shards.members {
        let weight = options.weights.get(name).copied().unwrap_or(1.0);
        let count = (f64::from(vnodes) * weight).round().max(1.0) as u32;
        if nodes.len() + count as usize > MAX_RING {
            return Err(SpecError::new(format!("the ring has more than {MAX_RING} virtual nodes")).at("vnodes"));
        }
        nodes.extend((0..count).map(|vnode| (node_position(name, vnode, SALT), name.as_str(), *shard)));
    }
    Ok(Box::new(Ring::new(nodes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of the ring that the last of `shards` shards has, relative to 1/shards.
    fn last_share(shards: usize, salt: u64) -> f64 {
        let mut nodes: Vec<(u32, bool)> = (0..shards)
            .flat_map(|shard| {
                let name = format!("s{shard}");
                (0..DEFAULT_VNODES).map(move |vnode| (node_position(&name, vnode, salt), shard + 1 == shards))
            })
            .collect();
        nodes.sort_unstable();
        let mut before = nodes.last().map_or(0, |node| i64::from(node.0) - (1 << 32));
        let mut mine = 0;
        for (position, last) in nodes {
            if last {
                mine += i64::from(position) - before;
            }
            before = i64::from(position);
        }
        mine as f64 / (1u64 << 32) as f64 * shards as f64
    }

    /// How [`SALT`] was found: `cargo test --lib find_a_salt -- --ignored --nocapture`.
    #[test]
    #[ignore = "it only finds the constant above"]
    fn find_a_salt() {
        let even = |salt: u64, shards: usize| (last_share(shards, salt) - 1.0).abs() < 0.095;
        let sizes = || (2..=33).chain([65, 129, 257, 1001]);
        let salt = (0..1_000_000).find(|salt| sizes().all(|shards| even(*salt, shards)));
        println!("{salt:?}");
        assert!(salt.is_some());
    }

    #[test]
    fn shares_are_even() {
        for shards in (2..=33).chain([65, 129, 257, 1001]) {
            let share = last_share(shards, SALT);
            assert!((0.9..=1.1).contains(&share), "{shards} shards: {share}");
        }
    }
}
