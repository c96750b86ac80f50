//! What each shard is sent.
//!
//! Parse, Bind, Describe and Execute go out together, and with the Sync behind them all of it is one write for each shard. A text
//! of a prepared statement that comes back is prepared on the servers too, under a name of Goldseam's own.

use std::sync::Arc;

use bytes::BytesMut;

use super::Job;
use super::answers::Owed;
use super::run::{Part, Run};
use crate::error::PgError;
use crate::merge;
use crate::plan::render::{Rendered, render};
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{BindView, request};
use crate::session::Session;
use crate::session::statements::Statement;
use crate::sql;
use crate::types::Oid;

/// A value of the client's, and its form.
pub(super) type Value<'a> = (Format, Option<&'a [u8]>);

/// One text for all shards, or one for each.
pub(super) enum Texts {
    /// The client's own, with all of its parameters.
    Own,
    /// The same for all.
    One(Rendered),
    /// Each its own: the rows that are for it.
    Each(Vec<Rendered>),
}

impl Texts {
    /// What the shards of a job are sent.
    pub fn of(job: &Job, limits: &sql::Limits) -> Result<Texts, PgError> {
        let Some(text) = &job.gather.text else { return Ok(Texts::Own) };
        let tokens = sql::lex(&job.text, limits)?;
        if job.rows.is_empty() {
            return Ok(Texts::One(render(text, &job.text, &tokens, None, None)?));
        }
        let each = (0..job.shards.len()).map(|shard| {
            let wanted: Vec<bool> = job.rows.iter().map(|row| usize::from(*row) == shard).collect();
            render(text, &job.text, &tokens, Some(&wanted), None)
        });
        Ok(Texts::Each(each.collect::<Result<_, _>>()?))
    }

    /// The text and its parameters for one shard; none where they are the client's own.
    pub fn get(&self, index: usize) -> Option<&Rendered> {
        match self {
            Texts::Own => None,
            Texts::One(rendered) => Some(rendered),
            Texts::Each(each) => each.get(index),
        }
    }

    /// Whether any parameter is used in a text that is not the client's own.
    pub fn use_parameters(&self) -> bool {
        match self {
            Texts::Own => false,
            Texts::One(rendered) => !rendered.parameters.is_empty(),
            Texts::Each(each) => each.iter().any(|rendered| !rendered.parameters.is_empty()),
        }
    }
}

impl Job {
    /// The client's values, in their order.
    pub(super) fn values(&self) -> Result<Vec<Value<'_>>, PgError> {
        if self.bind.is_empty() {
            return Ok(Vec::new());
        }
        let view = BindView::new(&self.bind[HEADER..])?;
        Ok(view.parameters().enumerate().map(|(n, value)| (view.format(n), value)).collect())
    }

    /// The result formats that the client asked for, by Bind's rule.
    pub(super) fn formats(&self) -> Result<Vec<i16>, PgError> {
        if self.bind.is_empty() {
            return Ok(Vec::new());
        }
        let view = BindView::new(&self.bind[HEADER..])?;
        Ok(view.result_formats().map(|format| i16::from(format == Format::Binary)).collect())
    }
}

/// What one Execute adds to what a shard is sent.
#[derive(Clone, Copy)]
pub(super) struct Order {
    /// Execute too, with this row limit; 0 is none.
    pub execute: Option<i32>,
    /// End with Sync; otherwise with Flush.
    pub sync: bool,
}

impl Session {
    /// Sends each shard its part: all up to the Describe of its portal, and what `order` adds.
    pub(super) fn ask_all(
        &self,
        job: &Job,
        run: &mut Run,
        texts: &Texts,
        types: &[Oid],
        columns: Option<usize>,
        order: Order,
    ) -> Result<(), PgError> {
        let (values, formats) = (job.values()?, job.formats()?);
        let results = match columns {
            Some(columns) => merge::result_formats(job.gather.hidden, columns, &formats)?,
            // All columns are hidden ones.
            None if job.is_finish_only() => vec![1],
            // Without hidden columns, or with all in binary form, the client's own list says it, whatever the number of columns.
            None => formats,
        };
        let own: Vec<u16> = (0..values.len()).map(|n| n as u16).collect();
        for (index, part) in run.parts.iter_mut().enumerate() {
            let (text, used) = match texts.get(index) {
                Some(rendered) => (rendered.sql.as_str(), rendered.parameters.as_slice()),
                None => (job.text.as_str(), own.as_slice()),
            };
            let mut out = BytesMut::with_capacity(text.len() + 256);
            let declared = |n: &u16| types.get(usize::from(*n)).copied().unwrap_or(0);
            // PostgreSQL judges a wrong number of values itself where the text is the client's.
            let given: Vec<Value<'_>> =
                used.iter().map(|n| values.get(usize::from(*n)).copied().unwrap_or((Format::Text, None))).collect();
            let own_types = || types.to_vec();
            let types: Vec<Oid> =
                if matches!(texts, Texts::Own) { own_types() } else { used.iter().map(declared).collect() };
            let name = match self.keeps(job, texts) {
                true => self.named_on(part, job, texts, text, types, &mut out),
                false => {
                    request::parse(&mut out, "", text, types.into_iter());
                    part.answers.expect(Owed::Parse(None));
                    if let Some(held) = &mut part.held {
                        held.unnamed = None;
                    }
                    String::new()
                }
            };
            request::bind_values(&mut out, &run.portal, &name, given.into_iter(), &results);
            part.answers.expect(Owed::Bind);
            request::describe_portal(&mut out, &run.portal);
            part.answers.expect(Owed::Portal);
            // A server keeps what it has to say until it says enough. Where the rows of some shards may do, the description of one that finds its
            // rows late must not be waited for.
            if job.gather.window.limit.is_some() {
                request::flush(&mut out);
            }
            part.finish_asking(&run.portal, order, &mut out);
        }
        Ok(())
    }

    /// Whether the servers are to keep the text: a prepared one that comes back, and is the same for all shards.
    fn keeps(&self, job: &Job, texts: &Texts) -> bool {
        let Some(statement) = &job.statement else { return false };
        !matches!(texts, Texts::Each(_))
            && (statement.is_promoted() || self.names.values().any(|known| known.id == statement.id))
    }

    /// The name under which a shard has the text, with what prepares it if it has not yet.
    fn named_on(
        &self,
        part: &mut Part,
        job: &Job,
        texts: &Texts,
        text: &str,
        types: Vec<Oid>,
        out: &mut BytesMut,
    ) -> String {
        let statement = match (&job.statement, texts) {
            (Some(statement), Texts::Own) => statement.clone(),
            _ => self.rendered(text, types),
        };
        let name = statement.server_name.clone();
        if let Some(held) = &mut part.held
            && !held.lease.prepared.has(statement.id)
        {
            if let Some(evicted) = held.lease.prepared.insert(statement.id) {
                request::close_statement(out, &format!("gs_{evicted}"));
                part.answers.expect(Owed::Close);
            }
            request::parse(out, &name, text, statement.types.iter().copied());
            part.answers.expect(Owed::Parse(Some(statement.id)));
        }
        part.statement = Some(statement);
        name
    }

    /// The process's statement of a text that was put together for the shards.
    fn rendered(&self, text: &str, types: Vec<Oid>) -> Arc<Statement> {
        // Apart from a client's statement of the very same text, whose unanswered Parse is the client's.
        let key = self.shared.statements.key(text, &types, None, !self.context.catalog.version);
        if let Some(known) = self.shared.statements.get(key) {
            return known;
        }
        self.shared
            .statements
            .insert(key, |id, name| Statement::new(id, name, text.to_owned(), types, None, 0, None, Vec::new()))
    }
}

impl Part {
    /// Execute as ordered, and the end of what is asked.
    pub fn finish_asking(&mut self, portal: &str, order: Order, out: &mut BytesMut) {
        if let Some(rows) = order.execute {
            request::execute(out, portal, rows);
            self.answers.expect(Owed::Execute);
            self.suspended = false;
        }
        match order.sync {
            true => {
                request::sync(out);
                self.answers.expect(Owed::Ready);
            }
            false => request::flush(out),
        }
        self.send(out);
    }

    /// Sends at once what the socket takes. From the first byte to the ReadyForQuery of its Sync the connection is in use, also while
    /// nothing is owed: a portal may be open.
    pub fn send(&mut self, out: &[u8]) {
        let Some(held) = &mut self.held else { return };
        held.lease.in_flight = 1;
        // An error shows again when the answer is read.
        let _ = held.lease.send_now(out);
    }
}
