//! Not built yet.

use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::work::Definition;
use crate::session::Session;

impl Session {
    /// Does it; the command tag.
    pub(super) async fn perform_definition(
        &mut self,
        job: &Assignment,
        definition: &Definition,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let _ = (job, definition, outlet);
        Err(PgError::unsupported("not built yet").into())
    }
}
