//! skeleton
use crate::backend::{Backend, Settings};
use crate::error::PgError;
use std::sync::Arc;

/// Rows in text form; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

impl Backend {
    /// Runs statements by the simple protocol; the rows of the last one that returned any.
    pub async fn query(&mut self, _sql: &str) -> Result<Rows, PgError> {
        todo!()
    }
    /// Runs one statement with values in text form.
    pub async fn query_params(&mut self, _sql: &str, _values: &[Option<&str>]) -> Result<Rows, PgError> {
        todo!()
    }
    /// Feeds `COPY ... FROM STDIN` with data; returns the command tag.
    pub async fn copy_in(&mut self, _sql: &str, _data: &[u8]) -> Result<String, PgError> {
        todo!()
    }
    /// Makes the connection's settings these.
    pub async fn sync_settings(&mut self, _settings: &Arc<Settings>) -> Result<(), PgError> {
        todo!()
    }
}
