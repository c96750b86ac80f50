//! Whether a merge can answer at all, where that depends on types which the planner does not know: an order of text under a collation that
//! does not compare bytes, the greatest of enums. Then the same query is answered over fetched inputs, for which its plan has a way too.
//!
//! One shard is asked what its part would be like, without running it, once for each plan.

use std::sync::Arc;

use bytes::Bytes;

use super::ask::Texts;
use super::{Job, Stop};
use crate::error::PgError;
use crate::merge::{Merger, Setup};
use crate::plan::gather::Merge;
use crate::plan::render::render;
use crate::plan::{Effects, Plan, Steps, Verdict, Work};
use crate::session::route::Destination;
use crate::session::statements::Statement;
use crate::session::work::ask::{Ask, What};
use crate::session::{Session, Trouble};
use crate::sql;
use crate::sqlstate::SqlState;
use crate::types::Oid;

impl Session {
    /// Where a statement goes that leads to several shards: there, or to steps of its own, if no merge can answer it.
    pub(in crate::session) async fn fitting(
        &mut self,
        plan: &Plan,
        text: &str,
        statement: Option<&Arc<Statement>>,
        destination: Destination,
    ) -> Result<Destination, Trouble> {
        let (Destination::Shards { .. }, Some(work)) = (&destination, instead(plan)) else { return Ok(destination) };
        let rounded = self.has_rounded_floats();
        if self.shared.benches.merges(&work, rounded).is_none() {
            Box::pin(self.learn_merge(plan, text, statement, &work, &destination)).await?;
        }
        Ok(match self.shared.benches.merges(&work, rounded) {
            Some(false) => Destination::Work,
            _ => destination,
        })
    }

    async fn learn_merge(
        &mut self,
        plan: &Plan,
        text: &str,
        statement: Option<&Arc<Statement>>,
        work: &Arc<Work>,
        destination: &Destination,
    ) -> Result<(), Trouble> {
        let Destination::Shards { shards, rows } = destination else { return Ok(()) };
        let mut job = Job::new(plan, shards.clone(), rows.clone(), text)?;
        job.statement = statement.cloned();
        self.prove_all().await?;
        self.set_aside().await?;
        let described = self.describe_part(&job).await;
        if self.transaction.is_idle() {
            self.release_unused();
        }
        let fits = self.merger_fits(&job, described?.as_deref())?;
        self.shared.benches.learn_merges(work, self.has_rounded_floats(), fits);
        Ok(())
    }

    /// The columns of a shard's part of a statement.
    async fn describe_part(&mut self, job: &Job) -> Result<Option<Bytes>, Stop> {
        let Some(shard) = job.shards.first().copied() else { return Ok(None) };
        self.enlist_for(&Effects { floating: true, ..Effects::default() }, &[shard]).await?;
        self.transaction.settle();
        let texts = Texts::of(job, &self.state.sql_limits())?;
        let declared = job.statement.as_ref().map(|statement| statement.types.clone()).unwrap_or_default();
        let describe = |types: Vec<Oid>, text: &str, rewritten: bool| Ask {
            what: What::Describe,
            types,
            rewritten,
            ..Ask::new(shard, text.to_owned())
        };
        // The client's own text first: so its mistakes are told as by a single server.
        let own = self.ask_shards(vec![describe(declared, &job.text, false)]).await?.pop();
        let (types, columns) = own.map(|reply| (reply.types, reply.columns)).unwrap_or_default();
        let Some(rendered) = texts.get(0) else { return Ok(columns) };
        let types = rendered.parameters.iter().map(|n| types.get(usize::from(*n)).copied().unwrap_or(0));
        let part = self.ask_shards(vec![describe(types.collect(), &rendered.sql, true)]).await?.pop();
        Ok(part.and_then(|reply| reply.columns))
    }

    /// Whether a merge of such columns can be done, and its final statement be written.
    fn merger_fits(&self, job: &Job, columns: Option<&[u8]>) -> Result<bool, PgError> {
        let setup = self.setup(job).map_err(|_| PgError::new(SqlState::INTERNAL_ERROR, "a merge cannot be set up"))?;
        // As if all were wanted as text, which not every value of ours can be put in.
        let mut merger = Merger::new(job.gather.clone(), Setup { formats: Vec::new(), ..setup });
        let beyond = |error: &PgError| error.code == SqlState::FEATURE_NOT_SUPPORTED;
        for index in 0..job.shards.len() {
            match merger.describe(index, columns) {
                Err(error) if beyond(&error) => return Ok(false),
                // Whatever else is wrong shows again.
                Err(_) => return Ok(true),
                Ok(()) => {}
            }
        }
        let Merge::Aggregate(aggregation) = &job.gather.merge else { return Ok(true) };
        let (Some(finish), true) = (&aggregation.finish, merger.needs_finish()) else { return Ok(true) };
        let parts = merger.parts()?;
        let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let rendered = render(&finish.text, &job.text, &tokens, None, Some(&names));
        Ok(!rendered.is_err_and(|error| beyond(&error)))
    }
}

/// The steps that answer a statement without its merge.
fn instead(plan: &Plan) -> Option<Arc<Work>> {
    let Verdict::Route(route) = &plan.verdict else { return None };
    route.gather.as_ref()?;
    route.work.clone().filter(|work| matches!(work.steps, Steps::Bench(_)))
}
