//! skeleton
use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Login};
use crate::config::Server;
use crate::error::PgError;
use crate::types::ShardId;

/// Where a server is and how it is reached: address, TLS, the shard it serves.
#[derive(Debug)]
pub struct Connector {
    /// The shard.
    pub shard: ShardId,
    /// Its name.
    pub shard_name: Arc<str>,
    /// Address and TLS mode.
    pub server: Server,
}

impl Connector {
    /// A way to a server; nothing is opened yet.
    pub fn new(shard: ShardId, shard_name: Arc<str>, server: Server) -> Arc<Self> {
        Arc::new(Connector { shard, shard_name, server })
    }
}

/// What a new connection is given.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// For TCP, TLS and login together.
    pub timeout: Duration,
    /// What `pg_stat_activity` shows while the connection is idle.
    pub application_name: String,
    /// The largest message taken from the server, in bytes.
    pub max_frame: usize,
    /// How many prepared statements it may have.
    pub prepared_statements: usize,
}

impl Backend {
    /// Connects and logs in.
    pub async fn connect(
        _connector: &Arc<Connector>,
        _login: &Login,
        _options: &ConnectOptions,
    ) -> Result<Backend, PgError> {
        todo!()
    }
}

/// Asks a server to end the running statement of the connection with this key.
pub async fn cancel(_connector: &Connector, _pid: i32, _secret: &[u8], _timeout: Duration) -> Result<(), PgError> {
    todo!()
}
