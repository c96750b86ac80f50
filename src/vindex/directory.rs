//! `directory`: a table says where each key lives.

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::{Kind, Placement, Vindex};

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
pub const KIND: Kind = Kind { name: "directory", about: "", build: |_, _| todo!(), schema: |_| todo!() };

#[derive(Debug)]
struct DirectoryVindex(Directory);

impl Vindex for DirectoryVindex {
    fn place(&self, _key: &[Key<'_>]) -> Placement {
        Placement::Directory
    }

    fn accepts(&self, _types: &[KeyType]) -> Result<(), String> {
        Ok(())
    }

    fn directory(&self) -> Option<Directory> {
        Some(self.0.clone())
    }
}
