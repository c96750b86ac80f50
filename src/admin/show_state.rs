//! `SHOW STATE`

use super::{AdminCommand, Argument, Column, Kind, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW STATE",
    argument: Argument::None,
    about: "Whether transactions may begin.",
    run: |request| {
        Box::pin(async move {
            let paused = request.shared.pools.gate().is_closed();
            let row = |key: &str, yes: bool| vec![key.into(), (if yes { "yes" } else { "no" }).into()];
            let rows = vec![row("active", !paused), row("paused", paused), row("suspended", false)];
            Ok(Table { columns: COLUMNS, rows })
        })
    },
};

const COLUMNS: &[Column] = &[("key", Kind::Text), ("value", Kind::Text)];
