//! `WAIT_CLOSE`

use super::{AdminCommand, Argument, Table, database};
use std::time::Duration;

/// How often it looks.
const STEP: Duration = Duration::from_millis(20);

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "WAIT_CLOSE",
    argument: Argument::Optional("database"),
    about: "Waits until the connections that RECONNECT or RELOAD gave up are closed.",
    run: |request| {
        Box::pin(async move {
            database(&request)?;
            while request.shared.pools.servers().iter().any(|server| server.is_closing()) {
                tokio::time::sleep(STEP).await;
            }
            Ok(Table::default())
        })
    },
};
