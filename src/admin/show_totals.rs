//! `SHOW TOTALS`

use super::{AdminCommand, Argument, Column, Kind, Table, show_stats};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW TOTALS",
    argument: Argument::None,
    about: "SHOW STATS, one number to a row.",
    run: |request| {
        Box::pin(async move {
            let stats = (show_stats::COMMAND.run)(request).await?;
            let values = stats.rows.into_iter().next().unwrap_or_default();
            let pairs = stats.columns.iter().zip(values).skip(1);
            Ok(Table { columns: COLUMNS, rows: pairs.map(|((name, _), value)| vec![(*name).into(), value]).collect() })
        })
    },
};

const COLUMNS: &[Column] = &[("name", Kind::Text), ("value", Kind::Int)];
