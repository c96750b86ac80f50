//! Not built yet.

use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::work::Bench;
use crate::session::Session;

impl Session {
    /// Does it; the command tag.
    pub(super) async fn perform_bench(
        &mut self,
        job: &Assignment,
        bench: &Bench,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let _ = (job, bench, outlet);
        Err(PgError::unsupported("not built yet").into())
    }
}
