//! `RECONNECT`

use super::{AdminCommand, Argument, Table, database};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "RECONNECT",
    argument: Argument::Optional("database"),
    about: "Closes each server connection as soon as nobody uses it; new ones are made as they are needed.",
    run: |request| {
        Box::pin(async move {
            database(&request)?;
            request.shared.pools.close_all();
            Ok(Table::default())
        })
    },
};
