//! `SHOW HELP`

use super::{AdminCommand, COMMANDS, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW HELP",
    about: "This list.",
    run: |_| {
        Box::pin(async {
            let rows = COMMANDS.iter().map(|command| vec![command.name.into(), command.about.into()]).collect();
            Ok(Table { columns: vec!["command", "about"], rows })
        })
    },
};
