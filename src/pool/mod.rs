//! skeleton
mod directory;
pub use directory::Directories;

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Login, Parameters};
use crate::config;
use crate::error::PgError;
use crate::topology::Topology;
use crate::types::ShardId;

/// All server connections.
#[derive(Debug)]
pub struct Pools {}

/// What a session may know of a login before it has run anything.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// What the server reports at login.
    pub parameters: Parameters,
    /// The login's own `search_path`.
    pub search_path: String,
}

/// A row of SHOW POOLS.
#[derive(Debug, Clone)]
pub struct PoolStats {
    pub shard: ShardId,
    pub shard_name: Arc<str>,
    pub user: String,
    pub database: String,
    /// Connections leased.
    pub active: usize,
    /// Connections at rest.
    pub idle: usize,
    /// Connections being made.
    pub connecting: usize,
    /// Clients that wait.
    pub waiting: usize,
    /// How long the first of them has waited.
    pub max_wait: Duration,
    /// Limit.
    pub size: usize,
}

impl Pools {
    /// Nothing is opened yet.
    pub fn new(_config: &config::Pool, _topology: Arc<Topology>) -> Arc<Pools> {
        todo!()
    }
    /// An idle connection at once, or nothing. No await, no system call.
    pub fn try_checkout(self: &Arc<Self>, _shard: ShardId, _login: &Arc<Login>) -> Option<Lease> {
        todo!()
    }
    /// A connection: idle, new, or the next that comes free.
    ///
    /// # Cancel safety
    /// Nothing is lost: the place in the queue is given up, a connection that was already handed over goes to the next.
    pub async fn checkout(self: &Arc<Self>, _shard: ShardId, _login: &Arc<Login>) -> Result<Lease, PgError> {
        todo!()
    }
    /// A connection with Goldseam's own login.
    pub async fn service(self: &Arc<Self>, _shard: ShardId) -> Result<Lease, PgError> {
        todo!()
    }
    /// What a login sees before it has run anything; cached.
    pub async fn greeting(self: &Arc<Self>, _login: &Arc<Login>) -> Result<Arc<Greeting>, PgError> {
        todo!()
    }
    /// Keeps `min_idle` connections of this login warm on every shard from now on.
    pub fn register(self: &Arc<Self>, _login: &Arc<Login>) {
        todo!()
    }
    /// Closes what is old, opens what should be warm: for ever, to be spawned.
    pub async fn maintain(self: Arc<Self>) {
        todo!()
    }
    /// New limits and shards in force; connections to servers that stay are kept.
    pub fn reconfigure(&self, _config: &config::Pool, _topology: Arc<Topology>) {
        todo!()
    }
    /// Closes idle connections now and leased ones when they come back (RECONNECT).
    pub fn close_all(&self) {
        todo!()
    }
    /// For SHOW POOLS.
    pub fn stats(&self) -> Vec<PoolStats> {
        todo!()
    }
    /// The topology in force.
    pub fn topology(&self) -> Arc<Topology> {
        todo!()
    }
}

/// A connection on loan. Dropped without [`Lease::release`] it is closed, and what it still runs is cancelled.
#[derive(Debug)]
pub struct Lease {
    backend: Option<Box<Backend>>,
}

impl Lease {
    /// Gives it back: to whoever waits, or to rest; closed if it is not clean.
    pub fn release(self) {
        todo!()
    }
}

impl Deref for Lease {
    type Target = Backend;
    fn deref(&self) -> &Backend {
        self.backend.as_deref().expect("a lease has its backend until it is released or dropped")
    }
}
impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Backend {
        self.backend.as_deref_mut().expect("a lease has its backend until it is released or dropped")
    }
}
