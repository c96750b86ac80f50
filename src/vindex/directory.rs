//! `directory`: a table says where each key lives.
//!
//! For keys that are placed one by one: a customer who gets a shard of their own, a key that must be movable without its
//! neighbours. The table `goldseam.directory_<vindex>` is kept on one shard and read through a bounded cache; a key's first
//! INSERT assigns it. None of that happens here: the vindex says that only the table knows, and how new keys are placed.

use serde::Deserialize;

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::{Kind, Placement, Shards, SpecError, Vindex, options};

/// At about 100 bytes each, 10 MB.
const DEFAULT_CACHE: usize = 100_000;
/// A cache beyond this is a mistake in the file.
const MAX_CACHE: usize = 100_000_000;

/// Where a directory vindex keeps its table, and how it places a new key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The shard that holds the table `goldseam.directory_<vindex>`.
    pub shard: ShardId,
    /// How a new key is placed.
    pub placement: DirectoryDefault,
    /// The shards a new key may be given to.
    pub shards: Vec<ShardId>,
    /// How many keys the cache holds.
    pub cache: usize,
}

/// Where a directory vindex puts a key it sees for the first time in an INSERT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryDefault {
    /// The shard with the fewest keys of this directory.
    LeastLoaded,
    /// Always this one.
    Shard(ShardId),
    /// Nowhere: keys are placed by hand, an INSERT of an unknown one is refused.
    Refuse,
}

/// The kind's entry in [`KINDS`](crate::vindex::KINDS).
pub const KIND: Kind = Kind {
    name: "directory",
    about: "A table, key to shard, kept on the first shard of the keyspace `store` (the vindex's own by default), read through \
            a cache of `cache` keys (100000). `default` says where a new key goes: \"least_loaded\" (default), \"refuse\", or a \
            shard's name. Any key type, one column.",
    build,
    schema: |generator| generator.subschema_for::<Options>(),
};

/// The options of `type = "directory"`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "directory")]
struct Options {
    /// Where a key goes that is inserted for the first time: `least_loaded`, `refuse`, or a shard's name.
    default: Option<String>,
    /// The keyspace whose first shard keeps the table.
    store: Option<String>,
    /// How many keys the cache holds.
    #[schemars(range(min = 1, max = 100_000_000))]
    cache: Option<usize>,
}

#[derive(Debug)]
struct DirectoryVindex(Directory);

impl Vindex for DirectoryVindex {
    fn place(&self, _key: &[Key<'_>]) -> Placement {
        Placement::Directory
    }

    fn accepts(&self, types: &[KeyType]) -> Result<(), String> {
        match types.len() {
            1 => Ok(()),
            count => Err(format!("a directory takes a key of one column, not of {count}")),
        }
    }

    fn directory(&self) -> Option<Directory> {
        Some(self.0.clone())
    }
}

fn build(spec: toml::de::ValueDeserializer<'_>, shards: &Shards<'_>) -> Result<Box<dyn Vindex>, SpecError> {
    let options: Options = options(spec)?;
    let cache = options.cache.unwrap_or(DEFAULT_CACHE);
    if !(1..=MAX_CACHE).contains(&cache) {
        return Err(SpecError::new(format!("a cache of {cache} keys is not possible"))
            .at("cache")
            .hint("Use 1 to 100000000."));
    }
    let placement = match options.default.as_deref() {
        None | Some("least_loaded") => DirectoryDefault::LeastLoaded,
        Some("refuse") => DirectoryDefault::Refuse,
        Some(name) => DirectoryDefault::Shard(shards.find(name).map_err(|error| {
            let hint = "Use \"least_loaded\", \"refuse\", or one of the keyspace's shards.";
            SpecError { hint: error.hint.or(Some(hint.to_owned())), ..error }.at("default")
        })?),
    };
    let store = options.store.as_deref().unwrap_or(shards.keyspace);
    let Some((_, shard)) = shards.stores.iter().find(|(keyspace, _)| keyspace == store) else {
        let names = shards.stores.iter().map(|(keyspace, _)| keyspace.as_str());
        return Err(SpecError::new(format!("there is no keyspace \"{store}\"")).nearest(store, names).at("store"));
    };
    let shards = shards.members.iter().map(|(_, shard)| *shard).collect();
    Ok(Box::new(DirectoryVindex(Directory { shard: *shard, placement, shards, cache })))
}
