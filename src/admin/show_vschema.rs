//! `SHOW VSCHEMA`

use super::{AdminCommand, Argument, Column, Kind, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW VSCHEMA",
    argument: Argument::None,
    about: "Keyspaces, vindexes and tables in force, as a vschema file.",
    run: |request| {
        Box::pin(async move {
            let text = request.shared.state.load().vschema.to_toml();
            Ok(Table { columns: COLUMNS, rows: text.lines().map(|line| vec![line.into()]).collect() })
        })
    },
};

const COLUMNS: &[Column] = &[("vschema", Kind::Text)];
