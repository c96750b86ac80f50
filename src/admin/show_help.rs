//! `SHOW HELP`

use super::{AdminCommand, Argument, COMMANDS, Column, Kind, Table};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW HELP",
    argument: Argument::None,
    about: "This list.",
    run: |_| {
        Box::pin(async {
            let name = |command: &AdminCommand| match command.argument {
                Argument::None => command.name.to_owned(),
                Argument::Optional(what) => format!("{} [{what}]", command.name),
                Argument::Required(what) => format!("{} {what}", command.name),
            };
            let rows = COMMANDS.iter().map(|command| vec![name(command).into(), command.about.into()]).collect();
            Ok(Table { columns: COLUMNS, rows })
        })
    },
};

const COLUMNS: &[Column] = &[("command", Kind::Text), ("about", Kind::Text)];
