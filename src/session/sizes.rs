//! Sizes and row estimates of tables that are spread: each shard knows those of its own part, and what a client wants to know is the whole.
//!
//! Such questions are asked of the home shard's catalog, often in the middle of a long query (`\dt+` of psql). So the query is asked there as
//! it is, but for the calls of the size functions and the columns `reltuples` and `relpages`: to each of them is added what the other
//! shards say, which they are asked beforehand ([`rewrite`]). Nothing else of a query is touched, and its columns keep their names.
//!
//! A copy of a reference table counts as often as there are copies: that is the space which it takes.

mod rewrite;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;

use super::effects::After;
use super::route::Destination;
use super::statements::Statement;
use super::work::ask::Ask;
use super::{Session, Trouble};
use crate::plan::{Effects, Plan};
use crate::protocol::request;
use crate::types::ShardId;

pub(super) use rewrite::{Facts, Rewrite, may_tell_sizes};

/// Of each table in the schemas of users its name, the sizes in the order of [`rewrite::FUNCTIONS`], rows and pages as last estimated.
const QUESTION: &str = "\
SELECT n.nspname, c.relname, pg_catalog.pg_relation_size(c.oid), pg_catalog.pg_table_size(c.oid), pg_catalog.pg_total_relation_size(c.oid),
       pg_catalog.pg_indexes_size(c.oid), GREATEST(c.reltuples, 0)::float8::numeric, c.relpages
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I', 'S') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'goldseam') AND n.nspname !~ '^pg_(temp|toast_temp)_'";

impl Session {
    /// What has to be added to a query of the catalog that tells sizes; none if it is no such query.
    pub(super) fn sized(&self, text: &str) -> Option<Rewrite> {
        if !may_tell_sizes(text) || self.state.vschema.single_shard() || self.settings.shard.is_some() {
            return None;
        }
        let rewrite = Rewrite::of(text, &self.state.sql_limits())?;
        // Without them it has to be a question to one shard's catalog.
        let (_, destination) = self.decide(&rewrite.probe).ok()?;
        matches!(destination, Destination::Home | Destination::Attached | Destination::Any(_)).then_some(rewrite)
    }

    /// The query with the other shards' part in it, for the home shard.
    pub(super) async fn with_sizes(&mut self, rewrite: &Rewrite) -> Result<String, Trouble> {
        self.set_aside().await?;
        let others = self.size_facts().await;
        if self.transaction.is_idle() {
            self.release_unused();
        } else if others.is_err() {
            self.transaction.fail();
        }
        Ok(rewrite.render(&others?))
    }

    /// What all shards but the home shard say of each relation.
    async fn size_facts(&mut self) -> Result<HashMap<(String, String), Facts>, Trouble> {
        let home = self.state.vschema.home();
        let shards: Vec<ShardId> =
            (0..self.state.topology.shards.len()).map(|n| ShardId(n as u16)).filter(|shard| *shard != home).collect();
        self.enlist_for(&Effects::default(), &shards).await?;
        let asks = shards.iter().map(|shard| Ask { formats: vec![0], ..Ask::new(*shard, QUESTION) }).collect();
        let mut facts: HashMap<(String, String), Facts> = HashMap::new();
        for reply in self.ask_shards(asks).await? {
            for row in reply.values()? {
                let text = |n: usize| row.get(n).copied().flatten().map(String::from_utf8_lossy);
                let (Some(schema), Some(name)) = (text(0), text(1)) else { continue };
                let whole = facts.entry((schema.into_owned(), name.into_owned())).or_default();
                for (n, sum) in whole.iter_mut().enumerate() {
                    *sum += text(n + 2).and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
                }
            }
        }
        Ok(facts)
    }

    /// The same where the plan is known: only a query of the catalog is looked at again.
    pub(super) fn sized_catalog(&self, text: &str, destination: &Destination) -> Option<Rewrite> {
        match destination {
            Destination::Home | Destination::Attached | Destination::Any(_) => self.sized(text),
            _ => None,
        }
    }

    /// A query that tells sizes, as a simple query.
    pub(super) async fn sized_query(&mut self, rewrite: &Rewrite) -> Result<(), Trouble> {
        let (plan, _) = self.decide(&rewrite.probe)?;
        let text = self.with_sizes(rewrite).await?;
        let mut frame = BytesMut::with_capacity(text.len() + 8);
        request::query(&mut frame, &text);
        let home = Destination::Shard(self.state.vschema.home());
        self.send_query(&frame, home, &plan.effects, After::Nothing).await
    }

    /// A bound statement that tells sizes: the one to bind instead, and its plan; it goes to the home shard.
    pub(super) async fn sized_statement(
        &mut self,
        statement: &Statement,
    ) -> Result<Option<(Arc<Statement>, Arc<Plan>)>, Trouble> {
        // On the heap only when it is needed.
        if !may_tell_sizes(&statement.text) { Ok(None) } else { Box::pin(self.size_statement(statement)).await }
    }

    async fn size_statement(&mut self, statement: &Statement) -> Result<Option<(Arc<Statement>, Arc<Plan>)>, Trouble> {
        let Some(rewrite) = self.sized(&statement.text) else { return Ok(None) };
        let (plan, _) = self.decide(&rewrite.probe)?;
        let text = self.with_sizes(&rewrite).await?;
        Ok(Some((self.statement(&text, &statement.types, None)?, plan)))
    }
}
