//! What may run on a server that is the workbench and no shard (`[workbench] server`).
//!
//! That server has PostgreSQL's own functions, operators, casts and types and no others ([`Pools::workbench`](crate::pool::Pools::workbench)
//! sees to it), and none of the shards' tables. A rest that needs more runs on a shard, as it does where there is no such server:
//! * what reads a shard's own tables, reference tables or the home shard's catalog, the plan knows;
//! * inputs and parameters of users' types, their kinds tell;
//! * a collation that is not PostgreSQL's own by name may be another there;
//! * a user's function may have the name of one of PostgreSQL's, which would be called in its place: the name alone decides;
//! * all else of users' does not parse there, which is tried before a row is sent.
//!
//! So does all while the server is down or is not like the shards. When it goes down with a statement's rows, that statement fails (08006), as
//! with any server that is lost.

use std::sync::Arc;

use super::super::ask::Ask;
use super::super::{Assignment, Stop};
use super::fetch::Types;
use super::form::Form;
use super::kinds::FIRST_OWN;
use crate::plan::work::Bench;
use crate::session::Session;
use crate::sql;
use crate::sql::classify::name_of;
use crate::types::{Oid, ShardId};

/// The rest over inputs without rows: whether it parses.
#[derive(Debug, Clone)]
pub(in crate::session) struct Probe {
    pub sql: Arc<str>,
    pub types: Vec<Oid>,
}

/// Collations that are the same in every database of the same version, encoding and default.
const COLLATIONS: &[&str] =
    &["pg_catalog.\"C\"", "pg_catalog.\"POSIX\"", "pg_catalog.\"default\"", "pg_catalog.ucs_basic"];

impl Session {
    /// What the server that is no shard has to parse for the rest to run there; `None`: there is none, or the rest needs a shard.
    pub(super) async fn probe_of(
        &mut self,
        job: &Assignment,
        bench: &Bench,
        places: &[Vec<ShardId>],
        types: &Types,
        home: ShardId,
    ) -> Result<Option<Probe>, Stop> {
        let tied = !bench.keyspaces.is_empty() || bench.fixed.is_some();
        if tied || !self.shared.pools.has_workbench() || types.oids.iter().any(|oid| *oid >= FIRST_OWN) {
            return Ok(None);
        }
        if self.names_of_users(job)? {
            return Ok(None);
        }
        let staged = self.empty_inputs(job, &bench.inputs, places, types).await?;
        let (texts, lossless) = (self.texts_of(job, &bench.inputs)?, true);
        let shapes = self.shapes_of(&job.work, &bench.inputs, &texts, places, types).await?;
        for (input, kinds) in bench.inputs.iter().zip(shapes.iter()) {
            let form = Form::new(input, kinds, lossless)?;
            let strange = |collation: &String| !COLLATIONS.contains(&collation.as_str());
            if form.oids.iter().any(|oid| *oid >= FIRST_OWN)
                || input.columns.iter().any(|column| column.collation.as_ref().is_some_and(strange))
            {
                return Ok(None);
            }
        }
        let (ask, _) = self.ask_rest_of(job, &bench.rest, &staged, types, home, Vec::new())?;
        let Ask { sql, types, .. } = ask;
        Ok(Some(Probe { sql: sql.into(), types }))
    }

    /// Whether a word of the statement is the name of a user's function or aggregate.
    fn names_of_users(&self, job: &Assignment) -> Result<bool, Stop> {
        let catalog = &self.context.catalog;
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let users = |name: &str| catalog.functions.contains_key(name) || catalog.aggregates.contains(name);
        Ok(tokens.iter().any(|token| name_of(&job.text, *token).is_some_and(|name| users(&name))))
    }

    /// Whether the statement's workbench is a server that is no shard.
    pub(in crate::session) fn is_apart(&self) -> bool {
        self.workbench.as_ref().is_some_and(|bench| bench.apart)
    }
}
