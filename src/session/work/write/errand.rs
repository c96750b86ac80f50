//! A statement of Goldseam's own text that is planned like a client's.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::super::ask::{Ask, What};
use super::super::outlet::Outlet;
use super::super::{Assignment, Stop};
use crate::error::PgError;
use crate::merge;
use crate::plan::{Plan, Verdict};
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{BindView, request};
use crate::session::Session;
use crate::session::route::Destination;
use crate::session::statements::Statement;
use crate::session::values::BoundValues;
use crate::types::{Oid, ShardId};

/// How often a text may need values for what is seen with those that it has got.
const ROUNDS: usize = 4;

/// What is to be run.
pub(super) struct Errand {
    pub sql: String,
    pub types: Vec<Oid>,
    pub values: Vec<(Format, Option<Bytes>)>,
    /// The forms of the columns that come back, by Bind's rule.
    pub formats: Vec<i16>,
    /// It is no query.
    pub writes: bool,
}

/// What has come of it.
pub(super) struct Done {
    /// The body of the RowDescription; none if it has no rows.
    pub columns: Option<Bytes>,
    /// Whole DataRow messages.
    pub rows: BytesMut,
    pub tag: Vec<u8>,
    /// The shard whose numbers of types the columns have, if it is known.
    pub shard: Option<ShardId>,
}

impl Errand {
    pub fn new(ask: Ask) -> Errand {
        let sql = ask.sql.into_owned();
        let first = sql.trim_start().get(..6).unwrap_or_default().to_ascii_lowercase();
        let writes = ["insert", "update", "delete", "merge "].contains(&first.as_str());
        Errand { sql, types: ask.types, values: ask.values, formats: ask.formats, writes }
    }
}

impl Session {
    /// Where a text of Goldseam's own goes under these values.
    pub(super) fn judge_errand(
        &self,
        errand: &Errand,
    ) -> Result<(Arc<Statement>, BytesMut, Arc<Plan>, Destination), PgError> {
        let normal = self.normal(&errand.sql)?;
        let statement = Statement::new(
            0,
            String::new(),
            errand.sql.clone(),
            errand.types.clone(),
            None,
            normal.key,
            normal.hint,
            normal.literals,
        );
        let mut bind = BytesMut::new();
        let values: Vec<_> = errand.values.iter().map(|(format, value)| (*format, value.as_deref())).collect();
        request::bind_values(&mut bind, "", "", values.into_iter(), &errand.formats);
        let plan = self.plan_for(&statement);
        if plan.effects.pin.is_some() || plan.effects.ddl || plan.effects.sets {
            return Err(PgError::unsupported("a part of a write over several shards cannot change the session"));
        }
        let destination = {
            let view = BindView::new(&bind[HEADER..])?;
            let values = BoundValues {
                text: &statement.text,
                literals: &statement.literals,
                types: &statement.types,
                bind: &view,
            };
            // A place in a text that the client has never seen would mislead.
            self.resolve(&plan, &values).map_err(|error| PgError { position: None, ..error })?
        };
        Ok((Arc::new(statement), bind, plan, destination))
    }

    /// Runs it wherever its plan leads, with what has to be one value for the whole in its place.
    pub(super) async fn run_errand(&mut self, errand: &Errand) -> Result<Done, Stop> {
        let mut filled: Option<Errand> = None;
        for _ in 0..ROUNDS {
            let errand = filled.as_ref().unwrap_or(errand);
            let (statement, bind, plan, destination) = self.judge_errand(errand)?;
            let more = self.fill(&errand.sql, &plan, &destination, Some(errand.values.len())).await?;
            let Some(more) = more else {
                return self.send_errand(errand, statement, bind, plan, destination).await;
            };
            let mut values = errand.values.clone();
            values.extend(more.values.into_iter().map(|value| (Format::Text, Some(value))));
            let mut types = errand.types.clone();
            types.resize(errand.values.len(), 0);
            filled =
                Some(Errand { sql: more.text, types, values, formats: errand.formats.clone(), writes: errand.writes });
        }
        Err(PgError::unsupported("a part of a write over several shards that wants values again and again").into())
    }

    async fn send_errand(
        &mut self,
        errand: &Errand,
        statement: Arc<Statement>,
        bind: BytesMut,
        plan: Arc<Plan>,
        destination: Destination,
    ) -> Result<Done, Stop> {
        match destination {
            Destination::Shards { shards, rows } => {
                let shard = shards.first().copied();
                let collected = Box::pin(self.collect(&plan, shards, rows, statement, bind)).await?;
                Ok(Done { columns: collected.columns, rows: collected.rows, tag: collected.tag, shard })
            }
            Destination::Work => {
                let work = match &plan.verdict {
                    Verdict::Route(route) => route.work.clone(),
                    Verdict::Refuse(_) => None,
                };
                let work = work.ok_or_else(|| PgError::unsupported("statement needs rows of several shards"))?;
                let text = errand.sql.clone();
                let job = Assignment { text, statement: Some(statement), work, effects: plan.effects.clone(), bind };
                let formats = errand.formats.clone();
                let mut outlet = Outlet { kept: Some(BytesMut::new()), formats, ..Outlet::default() };
                let tag = Box::pin(self.perform(&job, &mut outlet)).await?;
                let described = outlet.description.filter(|message| message.first() == Some(&b'T'));
                let columns = described.map(|message| message.slice(HEADER.min(message.len())..));
                Ok(Done { columns, rows: outlet.kept.unwrap_or_default(), tag, shard: outlet.shard })
            }
            other => {
                let shard = self.locate(other).await?;
                self.enlist_for(&plan.effects, &[shard]).await?;
                let ask = Ask {
                    types: errand.types.clone(),
                    values: errand.values.clone(),
                    formats: errand.formats.clone(),
                    ..Ask::new(shard, errand.sql.clone())
                };
                let mut replies = self.ask_shards(vec![ask]).await?;
                let reply = replies.pop().ok_or_else(|| PgError::unsupported("a shard's answer is missing"))?;
                Ok(Done { columns: reply.columns, rows: reply.rows, tag: reply.tag.into_bytes(), shard: Some(shard) })
            }
        }
    }

    /// In which form each column of an errand has to come back, which a shard is asked without running it.
    pub(super) async fn forms_of_errand(&mut self, errand: &Errand) -> Result<Vec<i16>, Stop> {
        let (_, _, _, destination) = self.judge_errand(errand)?;
        let shard = match &destination {
            Destination::Shard(shard) => *shard,
            Destination::Shards { shards, .. } => shards.first().copied().unwrap_or_else(|| self.state.vschema.home()),
            _ => self.state.vschema.home(),
        };
        self.enlist_reading(&[shard]).await?;
        let ask = Ask { what: What::Describe, types: errand.types.clone(), ..Ask::new(shard, errand.sql.clone()) };
        let mut replies = self.ask_shards(vec![ask]).await?;
        let columns = replies.pop().and_then(|reply| reply.columns);
        let Some(oids) = columns.as_deref().and_then(merge::column_types) else { return Ok(vec![1]) };
        self.learn_kinds(shard, &oids).await?;
        let forms = oids.iter().map(|oid| Ok(i16::from(!self.kind_of(shard, *oid)?.is_text())));
        Ok(forms.collect::<Result<Vec<_>, PgError>>()?)
    }
}
