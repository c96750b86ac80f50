//! `DISABLE`

use super::{AdminCommand, Argument, Table, database};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "DISABLE",
    argument: Argument::Required("database"),
    about: "Lets no new client log in to the database.",
    run: |request| {
        Box::pin(async move {
            database(&request)?;
            request.shared.pools.gate().disable(true);
            Ok(Table::default())
        })
    },
};
