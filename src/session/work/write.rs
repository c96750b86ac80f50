//! Not built yet.

use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::work::Write;
use crate::session::Session;

impl Session {
    /// Does it; the command tag.
    pub(super) async fn perform_write(
        &mut self,
        job: &Assignment,
        write: &Write,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let _ = (job, write, outlet);
        Err(PgError::unsupported("not built yet").into())
    }
}
