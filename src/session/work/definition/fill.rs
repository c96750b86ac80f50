//! The rows of CREATE TABLE AS: the table is made empty on its shards, and then an INSERT of the query brings the rows to where they belong, in the same
//! transaction and planned as any other.

use super::{Assignment, Outlet, Session, Stop, written};
use crate::error::PgError;
use crate::plan::work::definition::Fill;
use crate::session::command::quoted;
use crate::session::route::Destination;
use crate::sql::Token;

impl Session {
    /// Inserts the rows; the command tag, which counts them.
    pub(super) async fn fill_table(&mut self, job: &Assignment, fill: &Fill, tokens: &[Token]) -> Result<Vec<u8>, Stop> {
        let query = written(&job.text, tokens, fill.query.start, fill.query.end)?;
        self.renew_draft().await?;
        let text = format!("INSERT INTO {}.{} {query}", quoted(&fill.table.schema), quoted(&fill.table.name));
        let (text, plan, destination) = self.decide_filled(&text).await?;
        if destination != Destination::Work {
            return Err(unfilled(&fill.table.name).into());
        }
        let insert = Assignment::new(&plan, &text)?;
        let mut outlet = Outlet::default();
        let tag = Box::pin(self.perform(&insert, &mut outlet)).await?;
        let count = String::from_utf8_lossy(&tag).rsplit(' ').next().unwrap_or("0").to_owned();
        Ok(format!("SELECT {count}").into_bytes())
    }
}

fn unfilled(table: &str) -> PgError {
    PgError::unsupported(format!("the rows of new table \"{table}\" cannot be brought to their shards in one step"))
        .with_hint("CREATE TABLE first, and then INSERT INTO it SELECT.")
}
