//! `SHOW POOLS`

use super::{AdminCommand, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW POOLS",
    about: "Server connections by shard and user: in use, idle, being made; clients waiting, and for how long.",
    run: |shared| {
        Box::pin(async move {
            let rows = shared
                .pools
                .stats()
                .into_iter()
                .map(|pool| {
                    vec![
                        pool.database,
                        pool.user,
                        pool.shard_name.to_string(),
                        pool.waiting.to_string(),
                        pool.active.to_string(),
                        pool.idle.to_string(),
                        pool.connecting.to_string(),
                        format!("{:.3}", pool.max_wait.as_secs_f64()),
                        pool.size.to_string(),
                    ]
                })
                .collect();
            let columns = vec![
                "database",
                "user",
                "shard",
                "cl_waiting",
                "sv_active",
                "sv_idle",
                "sv_login",
                "maxwait",
                "pool_size",
            ];
            Ok(Table { columns, rows })
        })
    },
};
