//! `SHOW DATABASES`: host, port and database are the first shard's; `SHOW SHARDS` has all.

use super::{AdminCommand, Argument, Cell, Column, Kind, Table};
use crate::config::PoolMode;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW DATABASES",
    argument: Argument::None,
    about: "The database, and where its rows are.",
    run: |request| {
        Box::pin(async move {
            let state = request.shared.state.load_full();
            let (config, pools, clients) = (&state.config, &request.shared.pools, &request.shared.clients);
            let open: usize = pools.stats().iter().map(|pool| pool.active + pool.idle + pool.connecting).sum();
            let connected = clients.list().iter().filter(|client| client.database == config.database).count();
            let first = config.shards.first().map(|shard| &shard.primary);
            let mode = match config.pool.mode {
                PoolMode::Transaction => "transaction",
                PoolMode::Session => "session",
            };
            let row = vec![
                config.database.as_str().into(),
                first.map(|server| server.host.clone()).into(),
                first.map(|server| server.port).into(),
                first.map(|server| server.database.clone()).into(),
                Cell::Null,
                config.pool.size.into(),
                config.pool.min_idle.into(),
                0.into(),
                config.pool.max_lifetime.as_secs().into(),
                mode.into(),
                Cell::Null,
                config.pool.max_shard_connections.unwrap_or(0).into(),
                open.into(),
                config.pool.max_client_connections.into(),
                connected.into(),
                pools.gate().is_closed().into(),
                pools.gate().is_disabled().into(),
                config.shards.len().into(),
            ];
            Ok(Table { columns: COLUMNS, rows: vec![row] })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("name", Kind::Text),
    ("host", Kind::Text),
    ("port", Kind::Int),
    ("database", Kind::Text),
    ("force_user", Kind::Text),
    ("pool_size", Kind::Int),
    ("min_pool_size", Kind::Int),
    ("reserve_pool_size", Kind::Int),
    ("server_lifetime", Kind::Int),
    ("pool_mode", Kind::Text),
    ("load_balance_hosts", Kind::Text),
    ("max_connections", Kind::Int),
    ("current_connections", Kind::Int),
    ("max_client_connections", Kind::Int),
    ("current_client_connections", Kind::Int),
    ("paused", Kind::Int),
    ("disabled", Kind::Int),
    ("shards", Kind::Int),
];
