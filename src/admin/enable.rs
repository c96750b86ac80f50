//! `ENABLE`

use super::{AdminCommand, Argument, Table, database};

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "ENABLE",
    argument: Argument::Required("database"),
    about: "Lets clients log in again after DISABLE.",
    run: |request| {
        Box::pin(async move {
            database(&request)?;
            request.shared.pools.gate().disable(false);
            Ok(Table::default())
        })
    },
};
