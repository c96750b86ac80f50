//! `SHOW SHARDS`

use super::{AdminCommand, Argument, Column, Kind, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW SHARDS",
    argument: Argument::None,
    about: "Each shard's server, and whether it answers.",
    run: |request| {
        Box::pin(async move {
            let state = request.shared.state.load_full();
            let rows = state.topology.shards.iter().map(|shard| {
                let server = &shard.primary.server;
                vec![
                    (&*shard.name).into(),
                    server.host.as_str().into(),
                    server.port.into(),
                    server.database.as_str().into(),
                    (if shard.health.is_up() { "up" } else { "down" }).into(),
                    shard.health.last_error().map(|error| error.message).unwrap_or_default().into(),
                ]
            });
            Ok(Table { columns: COLUMNS, rows: rows.collect() })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("shard", Kind::Text),
    ("host", Kind::Text),
    ("port", Kind::Int),
    ("database", Kind::Text),
    ("state", Kind::Text),
    ("last_error", Kind::Text),
];
