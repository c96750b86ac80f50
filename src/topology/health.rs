//! skeleton
use crate::error::PgError;
/// Whether a shard answers.
#[derive(Debug, Default)]
pub struct Health {}
impl Health {
    /// Whether the last attempt succeeded.
    pub fn is_up(&self) -> bool {
        todo!()
    }
    /// Why not.
    pub fn last_error(&self) -> Option<PgError> {
        todo!()
    }
}
