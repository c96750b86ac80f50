//! Writes in steps: the parts that stand for themselves are run and their rows kept, then each shard does the rest for its own rows, or each row
//! goes to its shard.
//!
//! * [`errand`]: a statement of Goldseam's own text is planned like a client's, and goes wherever its plan leads: to one shard, to several, or in
//!   steps of its own.
//! * [`kept`]: its rows, which become parameters of what is run next.
//! * [`rows`], [`moved`], [`merge`]: what is done last, where it is not an errand again.
//!
//! # What holds
//! - All of it is in one transaction over the shards that it touches: the client's, or one around the statement. Whatever fails undoes all.
//! - The client's own text is described on a shard before anything runs, wherever one has all of its tables: mistakes in it, and types that do
//!   not fit, are told as PostgreSQL tells them, and its parameters have the types that the whole text gives them.

mod errand;
mod kept;
mod merge;
mod moved;
mod place;
mod rows;

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};

use super::ask::{Ask, What};
use super::bench::{Staged, Types};
use super::outlet::Outlet;
use super::{Assignment, Stop};
use crate::error::PgError;
use crate::plan::Effects;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::Write;
use crate::plan::work::write::{Last, MOMENT, Source, Target};
use crate::session::Session;
use crate::sqlstate::SqlState;
use crate::types::{KeyspaceId, ShardId};

use errand::Errand;
use kept::Kept;

/// What is known of one execution.
struct Course {
    /// The client's parameters' types.
    types: Types,
    /// The columns of the client's own statement, if a shard was asked.
    columns: Option<Option<Bytes>>,
    /// What columns are given that are given nothing, as SQL.
    defaults: HashMap<String, String>,
    /// The sources that have been run.
    kept: Vec<Kept>,
    /// The same, as the texts that follow see them.
    staged: Vec<Staged>,
}

impl Session {
    /// Does it; the command tag.
    pub(super) async fn perform_write(
        &mut self,
        job: &Assignment,
        write: &Write,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let mut course = self.describe_write(job, write).await?;
        course.defaults = self.defaults_of(write).await?;
        for (number, source) in write.sources.iter().enumerate() {
            let kept = self.run_source(job, source, &course).await?;
            if let Last::Rows(rows) = &write.last
                && usize::from(rows.source) == number
                && rows.width.is_some_and(|width| width != kept.columns.len())
            {
                return Err(PgError::unsupported("INSERT of a query whose columns are not known").into());
            }
            course.staged.push(kept.staged(&source.names));
            course.kept.push(kept);
        }
        match &write.last {
            Last::Anew(text) | Last::Each(text, _) => self.rest_anew(job, text, &course, outlet).await,
            Last::Rows(rows) => self.insert_rows(job, rows, &course, outlet).await,
            Last::Move(moved) => self.move_rows_of(job, moved, &course, outlet).await,
            Last::Merge(merge) => self.merge_rows(job, merge, &course, outlet).await,
        }
    }

    /// What a shard says of the client's own text.
    async fn describe_write(&mut self, job: &Assignment, write: &Write) -> Result<Course, Stop> {
        let declared = job.statement.as_ref().map(|statement| statement.types.clone()).unwrap_or_default();
        let mut course = Course {
            types: Types { oids: declared.clone(), shard: None },
            columns: None,
            defaults: HashMap::new(),
            kept: Vec::new(),
            staged: Vec::new(),
        };
        let Some(shard) = self.describer_of(write) else { return Ok(course) };
        self.enlist_reading(&[shard]).await?;
        let ask = Ask { what: What::Describe, types: declared, rewritten: false, ..Ask::new(shard, job.text.clone()) };
        let mut replies = self.ask_shards(vec![ask]).await?;
        if let Some(reply) = replies.pop() {
            course.types = Types { oids: reply.types, shard: Some(shard) };
            course.columns = Some(reply.columns);
        }
        Ok(course)
    }

    /// A shard that can describe the client's own text: the home shard, because clients ask its catalog for the types that they are told;
    /// else another that has all of the tables.
    pub(super) fn describer_of(&self, write: &Write) -> Option<ShardId> {
        let shards = write.describers.as_deref().unwrap_or_default();
        let home = self.state.vschema.home();
        if shards.contains(&home) { Some(home) } else { shards.first().copied() }
    }

    /// The first shard of a keyspace.
    fn first_of(&self, keyspace: KeyspaceId) -> ShardId {
        self.state.vschema.keyspace(keyspace).shards.first().copied().unwrap_or_else(|| self.state.vschema.home())
    }

    /// Shards that are only asked.
    async fn enlist_reading(&mut self, shards: &[ShardId]) -> Result<(), Stop> {
        Ok(self.enlist_for(&Effects::default(), shards).await?)
    }

    /// The shards in the order in which all sessions take them.
    async fn enlist_writing(&mut self, job: &Assignment, keyspace: KeyspaceId, shards: &[ShardId]) -> Result<(), Stop> {
        let order = &self.state.vschema.keyspace(keyspace).shards;
        let ordered: Vec<ShardId> = order.iter().copied().filter(|shard| shards.contains(shard)).collect();
        Ok(self.enlist_for(&job.effects, &ordered).await?)
    }

    /// The expressions of the defaults that the texts ask for.
    async fn defaults_of(&mut self, write: &Write) -> Result<HashMap<String, String>, Stop> {
        let mut texts: Vec<&Text> = write.sources.iter().map(|source| &source.text).collect();
        match &write.last {
            Last::Move(moved) => texts.extend([&moved.find, &moved.judge]),
            Last::Rows(rows) => texts.push(&rows.tail),
            Last::Merge(merge) => texts.push(&merge.text),
            Last::Anew(_) | Last::Each(..) => {}
        }
        let wanted = |moment: bool| {
            let mut pieces = texts.iter().flat_map(|text| &text.pieces);
            pieces.any(|piece| matches!(piece, Piece::Default(name) if (name == MOMENT) == moment))
        };
        let (moment, others) = (wanted(true), wanted(false));
        let mut defaults = HashMap::new();
        if moment {
            let moment = self.moment(&crate::session::route::Destination::Work).await?;
            defaults.insert(MOMENT.to_string(), format!("('{moment}'::pg_catalog.timestamptz)"));
        }
        let Some(target) = target_of(&write.last).filter(|_| others) else { return Ok(defaults) };
        const QUESTION: &str = "\
            SELECT a.attname, COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
                   CASE WHEN t.typtype = 'd' THEN t.typdefault END, 'NULL') \
            FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
            LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
            WHERE a.attrelid = $1::pg_catalog.text::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped";
        let shard = self.first_of(target.keyspace);
        self.enlist_reading(&[shard]).await?;
        let value = Some(Bytes::from(target.sql.clone()));
        let values = vec![(crate::protocol::frontend::Format::Text, value)];
        let ask = Ask { values, formats: vec![0], ..Ask::new(shard, QUESTION) };
        for reply in self.ask_shards(vec![ask]).await? {
            for row in reply.values()? {
                let text =
                    |at: usize| row.get(at).copied().flatten().map(|text| String::from_utf8_lossy(text).into_owned());
                if let (Some(name), Some(default)) = (text(0), text(1)) {
                    defaults.insert(name, default);
                }
            }
        }
        Ok(defaults)
    }

    /// Runs a part of the statement, and keeps its rows.
    async fn run_source(&mut self, job: &Assignment, source: &Source, course: &Course) -> Result<Kept, Stop> {
        let mut errand = self.errand(job, &source.text, course, vec![1])?;
        if errand.writes {
            // It cannot be run twice: the form of its columns has to be known.
            errand.formats = self.forms_of_errand(&errand).await?;
        }
        let done = self.run_errand(&errand).await?;
        let kept = self.keep(done, &errand.formats).await?;
        match kept.wrong_form() {
            Some(formats) if !errand.writes && kept.rows > 0 => {
                errand.formats = formats;
                let done = self.run_errand(&errand).await?;
                self.keep(done, &errand.formats).await
            }
            Some(_) if kept.rows > 0 => {
                Err(PgError::unsupported("values of a user's type that a write in WITH returns").into())
            }
            _ => Ok(kept),
        }
    }

    /// The rest is a statement of its own.
    async fn rest_anew(
        &mut self,
        job: &Assignment,
        text: &Text,
        course: &Course,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let errand = self.errand(job, text, course, job.formats()?)?;
        let mut done = self.run_errand(&errand).await?;
        self.put_columns(outlet, done.columns.as_deref());
        self.put_rows(outlet, &mut done.rows).await?;
        Ok(done.tag)
    }

    /// A text as an errand: the client's parameters that it uses, and the rows of the sources that it names.
    fn errand(&self, job: &Assignment, text: &Text, course: &Course, formats: Vec<i16>) -> Result<Errand, Stop> {
        let text = course.filled(text);
        // Numbers of users' types are those of one shard, and it is not known yet where this goes.
        let types = Types { oids: course.types.oids.clone(), shard: None };
        let ask = self.ask_rest(job, &text, &course.staged, &types, self.state.vschema.home(), formats)?;
        Ok(Errand::new(ask))
    }

    /// The client gets the rows of several shards, and their columns once.
    async fn put_replies(
        &mut self,
        outlet: &mut Outlet,
        columns: Option<&[u8]>,
        mut rows: BytesMut,
    ) -> Result<(), Stop> {
        self.put_columns(outlet, columns);
        self.put_rows(outlet, &mut rows).await
    }
}

impl Course {
    /// The text with defaults in it.
    fn filled(&self, text: &Text) -> Text {
        let fill = |piece: &Piece| match piece {
            Piece::Default(name) => Piece::Words(self.defaults.get(name).cloned().unwrap_or_else(|| "NULL".into())),
            piece => piece.clone(),
        };
        Text { pieces: text.pieces.iter().map(fill).collect() }
    }
}

/// The table whose columns' defaults may be asked for.
fn target_of(last: &Last) -> Option<&Target> {
    match last {
        Last::Rows(rows) => Some(&rows.target),
        Last::Move(moved) => Some(&moved.target),
        Last::Anew(_) | Last::Each(..) | Last::Merge(_) => None,
    }
}

fn changed() -> PgError {
    PgError::new(SqlState::SERIALIZATION_FAILURE, "rows have changed while they were moved")
        .with_hint("Repeat the transaction.")
}
