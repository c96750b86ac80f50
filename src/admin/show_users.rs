//! `SHOW USERS`

use super::{AdminCommand, Argument, Cell, Column, Kind, Table};
use crate::config::User;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW USERS",
    argument: Argument::None,
    about: "Who may log in, and how many connections each has.",
    run: |request| {
        Box::pin(async move {
            let config = request.shared.state.load().config.clone();
            let (clients, servers) = (request.shared.clients.list(), request.shared.pools.servers());
            let row = |(name, user): (&String, &User)| {
                let server_user = user.server_user.as_ref().unwrap_or(name);
                let rights = match (user.operator, user.stats) {
                    (true, _) => "operator",
                    (false, true) => "stats",
                    (false, false) => "",
                };
                vec![
                    name.as_str().into(),
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                    config.pool.max_user_connections.unwrap_or(0).into(),
                    servers.iter().filter(|server| server.user == *server_user).count().into(),
                    user.max_connections.unwrap_or(0).into(),
                    clients.iter().filter(|client| client.user == *name).count().into(),
                    rights.into(),
                ]
            };
            Ok(Table { columns: COLUMNS, rows: config.auth.users.iter().map(row).collect() })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("name", Kind::Text),
    ("pool_size", Kind::Int),
    ("reserve_pool_size", Kind::Int),
    ("pool_mode", Kind::Text),
    ("max_user_connections", Kind::Int),
    ("current_connections", Kind::Int),
    ("max_user_client_connections", Kind::Int),
    ("current_client_connections", Kind::Int),
    ("rights", Kind::Text),
];
