//! `SHOW STATS_TOTALS`

use super::{AdminCommand, Argument, Table, show_stats};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW STATS_TOTALS",
    argument: Argument::None,
    about: "The totals of SHOW STATS.",
    run: |request| {
        Box::pin(async move { Ok(Table { columns: show_stats::EACH, rows: vec![show_stats::totals(&request)] }) })
    },
};
