//! `SHOW REFUSALS`

use super::{AdminCommand, Argument, Cell, Column, Kind, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW REFUSALS",
    argument: Argument::None,
    about: "What was refused: code, message, the statement without values, how often, when last, and what would help.",
    run: |request| {
        Box::pin(async move {
            let rows = request.shared.meters.refusals.list().into_iter().map(|refusal| {
                vec![
                    refusal.code.to_string().into(),
                    refusal.message.into(),
                    refusal.statement.into(),
                    refusal.count.into(),
                    Cell::time(refusal.last),
                    refusal.hint.into(),
                ]
            });
            Ok(Table { columns: COLUMNS, rows: rows.collect() })
        })
    },
};

const COLUMNS: &[Column] = &[
    ("sqlstate", Kind::Text),
    ("message", Kind::Text),
    ("query", Kind::Text),
    ("count", Kind::Int),
    ("last_seen", Kind::Text),
    ("hint", Kind::Text),
];
