//! `KILL_CLIENT`

use super::{AdminCommand, Argument, Request, Table};
use crate::error::PgError;
use crate::sqlstate::SqlState;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "KILL_CLIENT",
    argument: Argument::Required("client's id (SHOW CLIENTS)"),
    about: "Ends one client at once, and what it is running.",
    run: |request| {
        Box::pin(async move {
            let id = request.argument.as_deref().and_then(|argument| argument.parse().ok());
            match id {
                Some(id) => kill(&request, id).await,
                None => Err(PgError::new(SqlState::SYNTAX_ERROR, "KILL_CLIENT needs a client's id: a number")),
            }
        })
    },
};

/// Ends the client with this number.
pub(super) async fn kill(request: &Request, id: i32) -> Result<Table, PgError> {
    match request.shared.clients.list().into_iter().find(|client| client.pid == id) {
        Some(client) => {
            client.kill();
            Ok(Table::default())
        }
        None => Err(PgError::new(SqlState::UNDEFINED_OBJECT, format!("no such client: {id}"))
            .with_hint("The column id of SHOW CLIENTS has the numbers.")),
    }
}
