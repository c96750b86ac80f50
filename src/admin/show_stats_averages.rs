//! `SHOW STATS_AVERAGES`

use super::{AdminCommand, Argument, Column, Kind, Table, show_stats};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW STATS_AVERAGES",
    argument: Argument::None,
    about: "The averages of SHOW STATS.",
    run: |request| Box::pin(async move { Ok(Table { columns: COLUMNS, rows: vec![show_stats::averages(&request)] }) }),
};

const COLUMNS: &[Column] = &[
    ("database", Kind::Text),
    ("server_assignment_count", Kind::Int),
    ("xact_count", Kind::Int),
    ("query_count", Kind::Int),
    ("bytes_received", Kind::Int),
    ("bytes_sent", Kind::Int),
    ("xact_time", Kind::Int),
    ("query_time", Kind::Int),
    ("wait_time", Kind::Int),
    ("client_parse_count", Kind::Int),
    ("server_parse_count", Kind::Int),
    ("bind_count", Kind::Int),
];
