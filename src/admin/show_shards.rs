//! `SHOW SHARDS`

use super::{AdminCommand, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW SHARDS",
    about: "Each shard's server, and whether it answers.",
    run: |shared| {
        Box::pin(async move {
            let state = shared.state.load_full();
            let rows = state
                .topology
                .shards
                .iter()
                .map(|shard| {
                    let server = &shard.primary.server;
                    vec![
                        shard.name.to_string(),
                        server.host.clone(),
                        server.port.to_string(),
                        server.database.clone(),
                        if shard.health.is_up() { "up".into() } else { "down".into() },
                        shard.health.last_error().map(|error| error.message).unwrap_or_default(),
                    ]
                })
                .collect();
            Ok(Table { columns: vec!["shard", "host", "port", "database", "state", "last_error"], rows })
        })
    },
};
