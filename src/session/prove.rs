//! Which backend judges and keeps a prepared text.
//!
//! A Parse whose text no server has accepted yet waits until there is a backend to judge it, and is answered in its turn; one that was
//! accepted before is answered at once. A backend that lacks a statement is sent its Parse before the Bind.

use std::sync::Arc;

use bytes::BytesMut;

use super::relay::Expect;
use super::route::Destination;
use super::statements::Statement;
use super::{Session, Trouble};
use crate::plan::{Steps, Work};
use crate::protocol::{encode, request};

impl Session {
    /// Makes sure that a backend has a statement, and says under which name. Texts without a name that have not come back yet are
    /// parsed as the backend's unnamed statement, so that it keeps only what is used again.
    pub(super) fn have_prepared<'a>(&mut self, index: usize, statement: &'a Statement) -> &'a str {
        let held = &mut self.held[index];
        if statement.of_cursor {
            self.meter.parsed_on_server();
            statement.prepare("", &mut held.lease.outgoing, &mut self.relay, false);
            held.unnamed = None;
            return "";
        }
        if held.lease.prepared.has(statement.id) {
            return &statement.server_name;
        }
        let named = statement.sql_types.is_some()
            || statement.is_promoted()
            || self.names.values().any(|known| known.id == statement.id);
        if !named {
            if held.unnamed != Some(statement.id) {
                self.meter.parsed_on_server();
                statement.prepare("", &mut held.lease.outgoing, &mut self.relay, false);
                held.unnamed = Some(statement.id);
            }
            return "";
        }
        if let Some(evicted) = held.lease.prepared.insert(statement.id) {
            request::close_statement(&mut held.lease.outgoing, &format!("gs_{evicted}"));
            self.relay.expect(Expect::Close { pass: false });
        }
        self.meter.parsed_on_server();
        statement.prepare(&statement.server_name, &mut held.lease.outgoing, &mut self.relay, false);
        if statement.sql_types.is_some() {
            held.unnamed = None;
        }
        &statement.server_name
    }

    /// Makes sure that a backend keeps a statement under its own name, as EXECUTE needs it.
    pub(super) fn have_kept(&mut self, index: usize, statement: &Arc<Statement>) {
        let held = &mut self.held[index];
        if held.lease.prepared.has(statement.id) {
            return;
        }
        if let Some(evicted) = held.lease.prepared.insert(statement.id) {
            request::close_statement(&mut held.lease.outgoing, &format!("gs_{evicted}"));
            self.relay.expect(Expect::Close { pass: false });
        }
        self.meter.parsed_on_server();
        statement.prepare(&statement.server_name, &mut held.lease.outgoing, &mut self.relay, false);
        held.unnamed = None;
    }

    /// Answers the Parse messages that still wait, now that a backend is there to judge the texts.
    pub(super) fn prove(&mut self, index: usize) {
        for statement in std::mem::take(&mut self.batch.unproven) {
            let before =
                self.held[index].lease.prepared.has(statement.id) || self.held[index].unnamed == Some(statement.id);
            if before {
                let mut answer = BytesMut::new();
                encode::parse_complete(&mut answer);
                self.relay.expect(Expect::Own(answer.freeze()));
                continue;
            }
            self.have_prepared(index, &statement);
            self.relay.pass_parse();
            self.proving.push_back(statement);
        }
    }

    /// A backend for what needs one although nothing says which: a Describe, or a Parse that is to be judged.
    pub(super) async fn attach_for(&mut self, statement: &Statement) -> Result<usize, Trouble> {
        let plan = self.plan_for(statement);
        // A FETCH returns what its cursor does.
        if let Destination::Shard(shard) = self.toward_cursor(Destination::Attached, &statement.text)
            && !self.transaction.is_failed()
        {
            self.attach(shard).await?;
            return self.attached.ok_or(Trouble::Skipped);
        }
        let shard = match (&plan.verdict, self.attached) {
            (crate::plan::Verdict::Refuse(error), _) => return Err((**error).clone().into()),
            // Of a transaction's shards only some may have the statement's tables.
            (crate::plan::Verdict::Route(route), Some(index))
                if self.transaction.is_failed()
                    || route.tables_are_on(self.held[index].lease.shard, &self.state.vschema) =>
            {
                return Ok(index);
            }
            (crate::plan::Verdict::Route(route), _) => {
                let (shards, home) = (route.describable(&self.state.vschema), self.state.vschema.home());
                // Clients ask the catalog, which is the home shard's, for the types that they are told: better its own OIDs.
                match &shards {
                    Some(shards) if (route.gather.is_some() || route.work.is_some()) && shards.contains(&home) => home,
                    _ => self.any_shard(shards.as_deref()),
                }
            }
        };
        self.attach(shard).await?;
        self.attached.ok_or(Trouble::Skipped)
    }

    /// Gives the Parse messages that still wait to a backend.
    pub(super) async fn prove_all(&mut self) -> Result<(), Trouble> {
        if let Some(statement) = self.batch.unproven.first().cloned() {
            let index = self.attach_for(&statement).await?;
            self.prove(index);
        }
        Ok(())
    }
}

/// Where a statement may be described.
impl crate::plan::Route {
    /// Whether a shard has all the tables that the statement names.
    fn tables_are_on(&self, shard: crate::types::ShardId, vschema: &crate::vschema::Vschema) -> bool {
        let told = |work: &Work| match &work.steps {
            Steps::Bench(_) => work.always,
            Steps::Write(write) => write.describers.is_some(),
            _ => false,
        };
        if !self.work.as_ref().is_some_and(|work| told(work))
            && self.fixed.is_none()
            && self.gather.is_none()
            && self.keyed.is_empty()
            && self.keyspaces.is_empty()
        {
            return true;
        }
        self.describable(vschema).is_none_or(|shards| shards.contains(&shard))
    }

    pub(super) fn describable(&self, vschema: &crate::vschema::Vschema) -> Option<Vec<crate::types::ShardId>> {
        if let Some(work) = &self.work
            && work.always
            && let Steps::Bench(bench) = &work.steps
        {
            // Nobody, where the tables are on different shards: then the home shard says what it misses.
            let shards = bench.describers(vschema);
            return Some(if shards.is_empty() { vec![vschema.home()] } else { shards });
        }
        if let Some(work) = &self.work
            && let Steps::Write(write) = &work.steps
            && let Some(shards) = write.describers.as_ref().filter(|shards| !shards.is_empty())
        {
            return Some(shards.clone());
        }
        if let Some(shard) = self.fixed {
            return Some(vec![shard]);
        }
        if let Some(gather) = &self.gather {
            return Some(vschema.keyspace(gather.keyspace).shards.clone());
        }
        let keyspace = self.keyed.first().map(|requirement| requirement.keyspace).or(self.keyspaces.first().copied());
        match (keyspace, self.fallback) {
            (Some(keyspace), _) => Some(vschema.keyspace(keyspace).shards.clone()),
            (None, crate::plan::Fallback::Any) => None,
            (None, _) => Some(vec![vschema.home()]),
        }
    }
}
