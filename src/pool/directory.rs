//! skeleton
use crate::error::PgError;
use crate::pool::Pools;
use crate::types::{ShardId, VindexId};
use crate::vschema::Vschema;
use std::sync::Arc;

/// The directory vindexes' keys.
#[derive(Debug)]
pub struct Directories {}
impl Directories {
    /// The directories of a vschema, with empty caches.
    pub fn new(_vschema: &Vschema, _pools: Arc<Pools>) -> Arc<Directories> {
        todo!()
    }
    /// Creates the tables that are missing.
    pub async fn prepare(&self) -> Vec<PgError> {
        todo!()
    }
    /// A key's shard if the cache knows it.
    pub fn cached(&self, _vindex: VindexId, _key: &str) -> Option<ShardId> {
        todo!()
    }
    /// A key's shard, from the cache or the table; `None`: not placed yet.
    pub async fn lookup(&self, _vindex: VindexId, _key: &str) -> Result<Option<ShardId>, PgError> {
        todo!()
    }
    /// A key's shard, placing the key if it is new.
    pub async fn assign(&self, _vindex: VindexId, _key: &str) -> Result<ShardId, PgError> {
        todo!()
    }
}
