//! `SHOW POOLS`: one row for each user on each shard. The pool of Goldseam's own login, which reads catalogs and directories, says `yes` under service; a
//! client user of the same name and password shares it.

use super::{AdminCommand, Argument, Cell, Column, Kind, Table};
use crate::config::PoolMode;
use crate::pool::PoolStats;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW POOLS",
    argument: Argument::None,
    about: "Server connections by shard and user: in use, idle, being made; clients waiting, and for how long.",
    run: |request| {
        Box::pin(async move {
            let mode = match request.shared.state.load().config.pool.mode {
                PoolMode::Transaction => "transaction",
                PoolMode::Session => "session",
            };
            let rows = request.shared.pools.stats().into_iter().map(|pool| row(pool, mode)).collect();
            Ok(Table { columns: COLUMNS, rows })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("database", Kind::Text),
    ("user", Kind::Text),
    ("cl_active", Kind::Int),
    ("cl_waiting", Kind::Int),
    ("cl_active_cancel_req", Kind::Int),
    ("cl_waiting_cancel_req", Kind::Int),
    ("sv_active", Kind::Int),
    ("sv_active_cancel", Kind::Int),
    ("sv_being_canceled", Kind::Int),
    ("sv_idle", Kind::Int),
    ("sv_used", Kind::Int),
    ("sv_tested", Kind::Int),
    ("sv_login", Kind::Int),
    ("maxwait", Kind::Int),
    ("maxwait_us", Kind::Int),
    ("pool_mode", Kind::Text),
    ("load_balance_hosts", Kind::Text),
    ("shard", Kind::Text),
    ("pool_size", Kind::Int),
    ("assignments", Kind::Int),
    ("service", Kind::Text),
];

fn row(pool: PoolStats, mode: &str) -> Vec<Cell> {
    vec![
        pool.database.into(),
        pool.user.into(),
        pool.active.into(),
        pool.waiting.into(),
        0.into(),
        0.into(),
        pool.active.into(),
        0.into(),
        0.into(),
        pool.idle.into(),
        0.into(),
        0.into(),
        pool.connecting.into(),
        pool.max_wait.as_secs().into(),
        pool.max_wait.subsec_micros().into(),
        mode.into(),
        Cell::Null,
        (&*pool.shard_name).into(),
        pool.size.into(),
        pool.loans.into(),
        (if pool.service { "yes" } else { "no" }).into(),
    ]
}
