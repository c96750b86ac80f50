//! `RELOAD`

use super::{AdminCommand, Argument, Table};
use crate::error::PgError;
use crate::sqlstate::SqlState;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "RELOAD",
    argument: Argument::None,
    about: "Read the configuration, vschema and certificate again; a mistake leaves the old ones in force.",
    run: |request| {
        Box::pin(async move {
            let Some(reloader) = request.shared.reloader.load_full() else {
                return Err(PgError::new(SqlState::CANNOT_CONNECT_NOW, "the server is not ready to reload"));
            };
            match reloader().await {
                Ok(Ok(())) => Ok(Table::default()),
                Ok(Err(mistake)) => Err(PgError::new(SqlState::CONFIG_FILE_ERROR, "the new configuration is refused")
                    .with_detail(mistake)
                    .with_hint("The old configuration stays in force.")),
                Err(_) => Err(PgError::new(SqlState::CANNOT_CONNECT_NOW, "the server is shutting down")),
            }
        })
    },
};
