//! What an operator sees of a pool.

use std::sync::Arc;
use std::time::Duration;

use crate::types::ShardId;

/// A row of `SHOW POOLS`.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolStats {
    /// The shard.
    pub shard: ShardId,
    /// Its name.
    pub shard_name: Arc<str>,
    /// The user on the server.
    pub user: String,
    /// The database on the server.
    pub database: String,
    /// Connections on loan.
    pub active: usize,
    /// Connections at rest.
    pub idle: usize,
    /// Connections being made.
    pub connecting: usize,
    /// Sessions that wait.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub max_wait: Duration,
    /// The limit of connections.
    pub size: usize,
    /// How many loans there have been.
    pub loans: u64,
    /// Whether the server answered last.
    pub up: bool,
    /// It is Goldseam's own login.
    pub service: bool,
}
