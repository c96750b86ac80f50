//! What has to be known of a statement before the shards are asked.
//!
//! A Bind that wants hidden columns in binary form and visible ones in text form has to say how many there are, and a text that was put
//! together for the shards must not let the server infer other parameter types than the client's own text does (`LIMIT $1` means
//! bigint, `($1)::int8` would too, but `coalesce($2::numeric, 0)` would not). One shard is asked what the client's own statement
//! is like; the answer is remembered for the plan, and for the statement.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use lru::LruCache;
use parking_lot::Mutex;

use super::answers::Owed;
use super::ask::Texts;
use super::drive::Goal;
use super::run::{Learned, Run};
use super::{Job, Stop};
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{Hidden, Merge};
use crate::protocol::{answer, request};
use crate::session::Session;
use crate::types::Oid;

/// How many columns the clients' statements of the plans in use have.
pub struct Columns {
    /// By address; the plan's part is kept, so that no other takes its place.
    known: Mutex<LruCache<usize, (Arc<Gather>, usize)>>,
}

impl Columns {
    /// Remembers about so many plans.
    pub fn new(capacity: usize) -> Columns {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Columns { known: Mutex::new(LruCache::new(capacity)) }
    }

    fn get(&self, gather: &Arc<Gather>) -> Option<usize> {
        self.known.lock().get(&(Arc::as_ptr(gather) as usize)).map(|(_, columns)| *columns)
    }

    fn put(&self, gather: &Arc<Gather>, columns: usize) {
        self.known.lock().put(Arc::as_ptr(gather) as usize, (gather.clone(), columns));
    }

    /// Tables have changed: what is known may be wrong.
    pub(super) fn forget(&self, gather: &Arc<Gather>) {
        self.known.lock().pop(&(Arc::as_ptr(gather) as usize));
    }
}

/// What the shards' Parse and Bind need.
pub(super) struct Known {
    /// The client's parameters' types, as far as they matter.
    pub types: Vec<Oid>,
    /// How many columns the shards return, where the client's list of formats is not theirs.
    pub columns: Option<usize>,
}

impl Job {
    /// The visible columns are made by a final statement alone.
    pub(super) fn is_finish_only(&self) -> bool {
        matches!(&self.gather.merge, Merge::Aggregate(aggregation) if !aggregation.native)
    }

    fn has_finish(&self) -> bool {
        matches!(&self.gather.merge, Merge::Aggregate(aggregation) if aggregation.finish.is_some())
    }
}

impl Session {
    /// Finds out what is missing, by one round trip to one shard the first time.
    pub(super) async fn know(&mut self, job: &Job, run: &mut Run, texts: &Texts) -> Result<Known, Stop> {
        let declared: &[Oid] = job.statement.as_ref().map_or(&[], |statement| &statement.types);
        let parameters = job.statement.as_ref().map_or(0, |statement| statement.parameters);
        if job.statement.as_ref().is_some_and(|statement| matches!(statement.sql_types, Some(Some(_)))) {
            return Err(PgError::unsupported("a statement over several shards cannot be one that PREPARE gave types")
                .with_hint("Prepare it by the protocol, or cast its parameters.")
                .into());
        }
        let open = (0..parameters).any(|n| declared.get(n).is_none_or(|oid| *oid == 0));
        let wants_types = open && (texts.use_parameters() || job.has_finish());
        let wants_columns = match job.gather.hidden {
            Hidden::Last(0) => false,
            // All of them are hidden, and all binary.
            Hidden::Last(_) if job.is_finish_only() => false,
            // All are binary, however many there are.
            _ => job.formats()? != [1],
        };
        let mut visible = if wants_columns { self.shared.columns.get(&job.gather) } else { Some(0) };
        let mut types = match (&job.statement, wants_types) {
            (Some(statement), true) => statement.inferred.get().map(|types| types.to_vec()),
            _ => Some(declared.to_vec()),
        };
        if visible.is_none() || types.is_none() {
            let learned = self.learn(job, run, true).await?;
            if let (true, Some(statement)) = (wants_types, &job.statement) {
                let _ = statement.inferred.set(learned.types.clone().into());
                types = Some(learned.types.clone());
            }
            let count = learned
                .columns
                .as_deref()
                .map_or(0, |mut body| if body.len() < 2 { 0 } else { usize::from(body.get_u16()) });
            if wants_columns {
                self.shared.columns.put(&job.gather, count);
                visible = Some(count);
            }
        }
        let columns = visible.filter(|_| wants_columns).map(|visible| match job.gather.hidden {
            Hidden::Last(hidden) => visible + usize::from(hidden),
            Hidden::Twice(more) => 2 * visible + usize::from(more),
        });
        Ok(Known { types: types.unwrap_or_default(), columns })
    }

    /// Asks the first shard what the client's own statement is like. The client's errors come from here as they would from a single server.
    /// Without `sync` a portal that is open there stays open.
    pub(super) async fn learn(&mut self, job: &Job, run: &mut Run, sync: bool) -> Result<Learned, Stop> {
        let declared: &[Oid] = job.statement.as_ref().map_or(&[], |statement| &statement.types);
        let Some(part) = run.parts.first_mut() else { return Ok(Learned::default()) };
        let mut out = BytesMut::with_capacity(job.text.len() + 64);
        request::parse(&mut out, "", &job.text, declared.iter().copied());
        part.answers.expect(Owed::Parse(None));
        request::describe_statement(&mut out, "");
        part.answers.expect(Owed::Statement);
        if sync {
            request::sync(&mut out);
            part.answers.expect(Owed::Ready);
        } else {
            request::flush(&mut out);
        }
        if let Some(held) = &mut part.held {
            held.unnamed = None;
        }
        part.send(&out);
        run.learning = Some(Learned::default());
        let rewritten = std::mem::take(&mut run.rewritten);
        let outcome = self.drive(run, Goal::Rest).await;
        run.rewritten = rewritten;
        let learned = run.learning.take().unwrap_or_default();
        outcome.map(|_| learned)
    }
}

impl Learned {
    /// Takes a ParameterDescription.
    pub(super) fn take_types(&mut self, body: &[u8]) -> Result<(), PgError> {
        self.types = answer::parameter_types(body)?;
        Ok(())
    }
}
