//! `SHOW CLIENTS`

use super::{AdminCommand, Argument, Cell, Column, Kind, Table};
use crate::session::registry::{Handle, Status};
use crate::vschema::Vschema;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW CLIENTS",
    argument: Argument::None,
    about: "Who is connected, what each is doing, and why one keeps a server connection (pins).",
    run: |request| {
        Box::pin(async move {
            let state = request.shared.state.load_full();
            let rows = request.shared.clients.list().iter().map(|client| row(client, &state.vschema)).collect();
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
    ("pins", Kind::Text),
];

fn row(client: &Handle, vschema: &Vschema) -> Vec<Cell> {
    let activity = &client.activity;
    let status = client.status();
    let waited = if status == Status::Waiting { activity.waited() } else { Default::default() };
    let pins = client.pins();
    let pins: Vec<String> =
        pins.iter().map(|(shard, pin)| format!("{}: {pin:?}", vschema.shard_name(*shard))).collect();
    let local = activity.local();
    let server = activity.server();
    vec![
        "C".into(),
        client.user.as_str().into(),
        client.database.as_str().into(),
        "none".into(),
        match status {
            Status::Idle => "idle",
            Status::Active => "active",
            Status::Waiting => "waiting",
        }
        .into(),
        client.address.ip().to_string().into(),
        client.address.port().into(),
        local.map(|local| local.ip().to_string()).into(),
        local.map(|local| local.port()).into(),
        Cell::time(client.connected),
        Cell::time(activity.last_request(client.connected)),
        waited.as_secs().into(),
        waited.subsec_micros().into(),
        activity.is_killed().into(),
        client.pid.to_string().into(),
        (if server == 0 { String::new() } else { server.to_string() }).into(),
        0.into(),
        (if client.tls { "TLS" } else { "" }).into(),
        client.application_name.as_str().into(),
        activity.prepared().into(),
        client.pid.into(),
        pins.join(", ").into(),
    ]
}
