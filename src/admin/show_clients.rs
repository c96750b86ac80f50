//! `SHOW CLIENTS`

use super::{AdminCommand, Table};
use crate::session::registry::Status;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW CLIENTS",
    about: "Who is connected, what each is doing, and why one keeps a server connection (pins).",
    run: |shared| {
        Box::pin(async move {
            let state = shared.state.load_full();
            let rows = shared
                .clients
                .list()
                .iter()
                .map(|client| {
                    let pins: Vec<String> = client
                        .pins()
                        .iter()
                        .map(|(shard, pin)| format!("{}: {pin:?}", state.vschema.shard_name(*shard)))
                        .collect();
                    let connected = client.connected.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                    vec![
                        "C".into(),
                        client.user.clone(),
                        client.database.clone(),
                        match client.status() {
                            Status::Idle => "idle",
                            Status::Active => "active",
                            Status::Waiting => "waiting",
                        }
                        .into(),
                        client.address.ip().to_string(),
                        client.address.port().to_string(),
                        connected.as_secs().to_string(),
                        client.pid.to_string(),
                        if client.tls { "TLS".into() } else { String::new() },
                        client.application_name.clone(),
                        pins.join(", "),
                    ]
                })
                .collect();
            let columns = vec![
                "type",
                "user",
                "database",
                "state",
                "addr",
                "port",
                "connect_time",
                "ptr",
                "tls",
                "application_name",
                "pins",
            ];
            Ok(Table { columns, rows })
        })
    },
};
