//! `PAUSE`: a session that holds a server connection (in a transaction, or pinned) goes on until it gives it back, and the
//! command waits for it; `SHOW CLIENTS` tells who that is. An operator who does not want to wait any more cancels, and all go on.

use super::{AdminCommand, Argument, Table, database};
use crate::error::PgError;
use crate::sqlstate::SqlState;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "PAUSE",
    argument: Argument::Optional("database"),
    about: "Waits for all transactions to end and closes all server connections; new transactions wait for RESUME.",
    run: |request| {
        Box::pin(async move {
            database(&request)?;
            if request.shared.pools.gate().is_closed() {
                return Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "already suspended/paused"));
            }
            request.shared.pools.pause().await;
            Ok(Table::default())
        })
    },
};
