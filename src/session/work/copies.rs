//! Not built yet.

use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::work::Copies;
use crate::session::Session;

impl Session {
    /// Does it; the command tag.
    pub(super) async fn perform_copies(
        &mut self,
        job: &Assignment,
        copies: &Copies,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let _ = (job, copies, outlet);
        Err(PgError::unsupported("not built yet").into())
    }
}
