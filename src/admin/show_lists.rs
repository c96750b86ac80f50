//! `SHOW LISTS`

use super::{AdminCommand, Argument, Column, Kind, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW LISTS",
    argument: Argument::None,
    about: "How many there are of this and that.",
    run: |request| {
        Box::pin(async move {
            let shared = &request.shared;
            let (state, pools) = (shared.state.load_full(), shared.pools.stats());
            let servers: usize = pools.iter().map(|pool| pool.active + pool.idle + pool.connecting).sum();
            let rows = [
                ("databases", 1),
                ("users", state.config.auth.users.len()),
                ("pools", pools.len()),
                ("free_clients", 0),
                ("used_clients", shared.clients.len()),
                ("login_clients", 0),
                ("free_servers", 0),
                ("used_servers", servers),
                ("dns_names", 0),
                ("dns_zones", 0),
                ("dns_queries", 0),
                ("dns_pending", 0),
                ("shards", state.config.shards.len()),
                ("plans", shared.plans.len()),
                ("queries", shared.meters.queries.len()),
            ];
            let rows = rows.into_iter().map(|(list, items)| vec![list.into(), items.into()]).collect();
            Ok(Table { columns: COLUMNS, rows })
        })
    },
};

const COLUMNS: &[Column] = &[("list", Kind::Text), ("items", Kind::Int)];
