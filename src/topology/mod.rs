//! skeleton
mod catalog;
mod health;

pub use catalog::{ShardCatalog, merge};
pub use health::Health;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::backend::{ConnectOptions, Connector, Login};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::error::PgError;
use crate::types::ShardId;

/// One shard's servers.
#[derive(Debug)]
pub struct ShardInfo {
    /// Its index.
    pub id: ShardId,
    /// Its name.
    pub name: Arc<str>,
    /// Where writes go.
    pub primary: Arc<Connector>,
    /// Its copies.
    pub replicas: Vec<Arc<Connector>>,
    /// Goldseam's own login there.
    pub service: Arc<Login>,
    /// Whether it answers.
    pub health: Arc<Health>,
}

/// All shards, and what their catalogs say.
#[derive(Debug)]
pub struct Topology {
    /// In the order of the configuration.
    pub shards: Vec<Arc<ShardInfo>>,
    /// Merged.
    pub catalog: ArcSwap<Catalog>,
}

impl Topology {
    /// No I/O yet: the catalog is empty until [`Topology::refresh`].
    pub fn new(_config: &Config) -> Arc<Topology> {
        todo!()
    }
    /// Reads the catalogs of all shards and merges them; a shard that does not answer keeps what was known of it. The errors say which did not.
    pub async fn refresh(&self) -> Vec<(ShardId, PgError)> {
        todo!()
    }
    /// Refreshes for ever: shards that have not been read yet every few seconds, all every `interval`.
    pub async fn keep_fresh(self: Arc<Self>, _interval: Duration) {
        todo!()
    }
    /// What each shard said when it was last read, for comparison between shards.
    pub fn shard_catalogs(&self) -> Vec<Option<Arc<ShardCatalog>>> {
        todo!()
    }
    /// A shard.
    pub fn shard(&self, id: ShardId) -> Option<&Arc<ShardInfo>> {
        self.shards.get(id.0 as usize)
    }
    /// For connections of Goldseam's own.
    pub fn options(&self) -> ConnectOptions {
        todo!()
    }
}
