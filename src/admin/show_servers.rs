//! `SHOW SERVERS`

use super::{AdminCommand, Argument, Cell, Column, Kind, Table};
use crate::backend::Seen;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW SERVERS",
    argument: Argument::None,
    about: "Each server connection: whose, to which shard, for which client (link).",
    run: |request| {
        Box::pin(async move {
            let rows = request.shared.pools.servers().iter().map(|server| row(server)).collect();
            Ok(Table { columns: COLUMNS, rows })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("type", Kind::Text),
    ("user", Kind::Text),
    ("database", Kind::Text),
    ("replication", Kind::Text),
    ("state", Kind::Text),
    ("addr", Kind::Text),
    ("port", Kind::Int),
    ("local_addr", Kind::Text),
    ("local_port", Kind::Int),
    ("connect_time", Kind::Text),
    ("request_time", Kind::Text),
    ("wait", Kind::Int),
    ("wait_us", Kind::Int),
    ("close_needed", Kind::Int),
    ("ptr", Kind::Text),
    ("link", Kind::Text),
    ("remote_pid", Kind::Int),
    ("tls", Kind::Text),
    ("application_name", Kind::Text),
    ("prepared_statements", Kind::Int),
    ("id", Kind::Int),
    ("shard", Kind::Text),
];

fn row(server: &Seen) -> Vec<Cell> {
    let client = server.client();
    vec![
        "S".into(),
        server.user.as_str().into(),
        server.database.as_str().into(),
        "none".into(),
        (if server.is_lent() { "active" } else { "idle" }).into(),
        server.address.as_str().into(),
        server.port.into(),
        server.local.map(|local| local.ip().to_string()).into(),
        server.local.map(|local| local.port()).into(),
        Cell::time(server.connected),
        Cell::time(server.last_used()),
        0.into(),
        0.into(),
        server.is_closing().into(),
        server.pid.to_string().into(),
        (if client == 0 { String::new() } else { client.to_string() }).into(),
        server.pid.into(),
        (if server.tls { "TLS" } else { "" }).into(),
        "goldseam".into(),
        server.prepared().into(),
        server.id.into(),
        (&*server.shard).into(),
    ]
}
