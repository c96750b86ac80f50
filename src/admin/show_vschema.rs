//! `SHOW VSCHEMA`

use super::{AdminCommand, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW VSCHEMA",
    about: "Keyspaces, vindexes and tables in force, as a vschema file.",
    run: |shared| {
        Box::pin(async move {
            let text = shared.state.load().vschema.to_toml();
            let rows = text.lines().map(|line| vec![line.to_owned()]).collect();
            Ok(Table { columns: vec!["vschema"], rows })
        })
    },
};
