//! The rows of CREATE TABLE AS: the table is made empty on its shards, and then an INSERT of the query brings the rows to where they belong, in the same
//! transaction and planned as any other.

use super::{Ask, Assignment, Outlet, Session, Stop, written};
use crate::error::PgError;
use crate::plan::work::definition::Fill;
use crate::plan::{Plan, Route, Verdict, render};
use crate::session::command::quoted;
use crate::session::route::Destination;
use crate::sql::{Token, lex};
use crate::types::ShardId;

/// How often values that are one for the whole are put in.
const ROUNDS: usize = 3;

impl Session {
    /// Inserts the rows; the command tag, which counts them.
    pub(super) async fn fill_table(
        &mut self,
        job: &Assignment,
        fill: &Fill,
        tokens: &[Token],
    ) -> Result<Vec<u8>, Stop> {
        let query = written(&job.text, tokens, fill.query.start, fill.query.end)?;
        self.renew_draft().await?;
        let table = format!("{}.{}", quoted(&fill.table.schema), quoted(&fill.table.name));
        let count = self.insert(format!("INSERT INTO {table} {query}"), &fill.table.name).await?;
        Ok(format!("SELECT {count}").into_bytes())
    }

    /// Runs an INSERT of ours within the transaction; how many rows it has made.
    async fn insert(&mut self, mut text: String, table: &str) -> Result<u64, Stop> {
        for _ in 0..ROUNDS {
            let (plan, destination) = self.decide(&text)?;
            if let Some(filled) = self.fill(&text, &plan, &destination, None).await? {
                text = filled.text;
                continue;
            }
            let (shards, text) = match destination {
                Destination::Work => {
                    let insert = Assignment::new(&plan, &text)?;
                    let tag = Box::pin(self.perform(&insert, &mut Outlet::default())).await?;
                    return Ok(counted(&String::from_utf8_lossy(&tag)));
                }
                Destination::Shards { rows, .. } if !rows.is_empty() => return Err(unfilled(table).into()),
                Destination::Shards { shards, .. } => (shards, self.scattered(&plan, &text)?),
                destination => (vec![self.locate(destination).await?], text.clone()),
            };
            return self.insert_at(&plan, &shards, text).await;
        }
        Err(unfilled(table).into())
    }

    async fn insert_at(&mut self, plan: &Plan, shards: &[ShardId], text: String) -> Result<u64, Stop> {
        self.enlist_for(&plan.effects, shards).await?;
        let replies = self.ask_shards(shards.iter().map(|shard| Ask::new(*shard, text.clone())).collect()).await?;
        Ok(replies.iter().map(|reply| reply.count()).sum())
    }

    /// What each of several shards is sent.
    fn scattered(&self, plan: &Plan, text: &str) -> Result<String, PgError> {
        let Verdict::Route(Route { gather: Some(gather), .. }) = &plan.verdict else { return Ok(text.to_owned()) };
        let Some(template) = &gather.text else { return Ok(text.to_owned()) };
        let tokens = lex(text, &self.state.sql_limits())?;
        Ok(render::render(template, text, &tokens, None, None)?.sql)
    }
}

fn counted(tag: &str) -> u64 {
    tag.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn unfilled(table: &str) -> PgError {
    PgError::unsupported(format!("the rows of new table \"{table}\" cannot be brought to their shards in one step"))
        .with_hint("CREATE TABLE first, and then INSERT INTO it SELECT.")
}
