//! `SHUTDOWN`

use super::{AdminCommand, Argument, Table};
use crate::error::PgError;
use crate::session::shared::Shutdown;
use crate::sqlstate::SqlState;
use std::time::Duration;

/// The operator's own answer goes out first.
const FAREWELL: Duration = Duration::from_millis(50);

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHUTDOWN",
    argument: Argument::Optional("WAIT_FOR_SERVERS or WAIT_FOR_CLIENTS"),
    about: "Ends the process: at once, after all transactions, or after all clients have left by themselves.",
    run: |request| {
        Box::pin(async move {
            let how = match request.argument.as_deref().map(str::to_uppercase).as_deref() {
                None => Shutdown::Now,
                Some("WAIT_FOR_SERVERS") => Shutdown::AfterTransactions,
                Some("WAIT_FOR_CLIENTS") => Shutdown::AfterClients,
                Some(other) => {
                    let error = PgError::new(SqlState::SYNTAX_ERROR, format!("SHUTDOWN {other} is not known"));
                    return Err(
                        error.with_hint("Use SHUTDOWN, SHUTDOWN WAIT_FOR_SERVERS or SHUTDOWN WAIT_FOR_CLIENTS.")
                    );
                }
            };
            let shared = request.shared.clone();
            tokio::spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                shared.shutdown.send_replace(Some(how));
            });
            Ok(Table::default())
        })
    },
};
