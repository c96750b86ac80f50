//! `SHOW STATS_AVERAGES`

use super::{AdminCommand, Argument, Table, show_stats};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW STATS_AVERAGES",
    argument: Argument::None,
    about: "The averages of SHOW STATS.",
    run: |request| {
        Box::pin(async move { Ok(Table { columns: show_stats::EACH, rows: vec![show_stats::averages(&request)] }) })
    },
};
