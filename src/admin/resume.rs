//! `RESUME`

use super::{AdminCommand, Argument, Table, database};
use crate::error::PgError;
use crate::sqlstate::SqlState;

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "RESUME",
    argument: Argument::Optional("database"),
    about: "Lets transactions begin again after PAUSE or KILL.",
    run: |request| {
        Box::pin(async move {
            database(&request)?;
            if !request.shared.pools.gate().open() {
                return Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "pooler is not paused/suspended"));
            }
            Ok(Table::default())
        })
    },
};
