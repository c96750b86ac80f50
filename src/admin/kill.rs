//! `KILL`

use super::{AdminCommand, Argument, Table, database, is_console, kill_client};
use std::time::{Duration, Instant};

/// A client that is told to go is gone after that, whatever it was doing.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often it looks whether they are gone.
const STEP: Duration = Duration::from_millis(10);

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "KILL",
    argument: Argument::Optional("database, or a client's id"),
    about: "Ends all clients and server connections at once, and new clients wait for RESUME; or one client, by its id.",
    run: |request| {
        Box::pin(async move {
            if let Some(id) = request.argument.as_deref().and_then(|argument| argument.parse().ok()) {
                return kill_client::kill(&request, id).await;
            }
            database(&request)?;
            let (pools, clients) = (&request.shared.pools, &request.shared.clients);
            pools.gate().close();
            let victims = || clients.list().into_iter().filter(|client| !is_console(&client.database));
            victims().for_each(|client| client.kill());
            let begun = Instant::now();
            while victims().next().is_some() && begun.elapsed() < PATIENCE {
                tokio::time::sleep(STEP).await;
            }
            pools.close_all();
            Ok(Table::default())
        })
    },
};
