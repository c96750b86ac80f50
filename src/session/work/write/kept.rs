//! Rows that are kept, and as parameters of what is run next.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::super::Stop;
use super::super::bench::Staged;
use super::super::outlet::count;
use super::errand::Done;
use crate::error::PgError;
use crate::merge;
use crate::plan::render::{Rows, Source, SourceColumn};
use crate::protocol;
use crate::protocol::frame::HEADER;
use crate::protocol::{answer, encode};
use crate::session::Session;
use crate::session::scatter::drive::MAX_ROW;
use crate::types::{Oid, oid};

/// A column of them.
#[derive(Debug, Clone)]
pub(super) struct KeptColumn {
    pub name: String,
    pub oid: Oid,
    /// Its type as SQL that every server reads the same way.
    pub type_name: Arc<str>,
    /// It has come as text.
    pub text: bool,
    /// It has to.
    pub as_text: bool,
}

/// Rows that have been fetched.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub columns: Vec<KeptColumn>,
    /// Whole DataRow messages.
    pub frames: BytesMut,
    pub rows: u64,
}

impl Session {
    /// Rows that have come in these formats, with what their columns are.
    pub(super) async fn keep(&mut self, done: Done, formats: &[i16]) -> Result<Kept, Stop> {
        let (names, oids) = match done.columns.as_deref() {
            None => (Vec::new(), Vec::new()),
            Some(body) => (column_names(body), merge::column_types(body).unwrap_or_default()),
        };
        let own: Vec<Oid> = oids.iter().copied().filter(|oid| merge::builtin(*oid).is_none()).collect();
        if !own.is_empty() {
            let shard = done.shard.ok_or_else(|| {
                PgError::unsupported("values of a user's type in a write over several shards")
                    .with_hint("Cast the expression to a type of PostgreSQL's own, such as text.")
            })?;
            self.enlist_reading(&[shard]).await?;
            self.learn_kinds(shard, &oids).await?;
        }
        let home = done.shard.unwrap_or_else(|| self.state.vschema.home());
        let mut columns = Vec::with_capacity(oids.len());
        for (at, (name, number)) in names.into_iter().zip(&oids).enumerate() {
            let kind = self.kind_of(home, *number)?;
            let format = match formats {
                [] => 0,
                [one] => *one,
                many => many.get(at).copied().unwrap_or(0),
            };
            let (text, as_text) = (format == 0, kind.is_text());
            columns.push(KeptColumn { name, oid: *number, type_name: kind.name, text, as_text });
        }
        let rows = count(&done.rows);
        Ok(Kept { columns, frames: done.rows, rows })
    }
}

impl Session {
    /// The rows with the numbers that each gets from sequences behind them.
    pub(super) async fn numbered(&mut self, kept: &Kept, rows: &crate::plan::work::write::Rows) -> Result<Kept, Stop> {
        let mut numbered = kept.clone();
        for sequence in &rows.numbers {
            let count = usize::try_from(numbered.rows).unwrap_or(usize::MAX);
            let numbers = self.draw(sequence, count).await?;
            let mut frames = BytesMut::with_capacity(numbered.frames.len() + count * 12);
            for (message, number) in numbered.messages().zip(numbers) {
                let mut row = values(message)?;
                let number = number.to_be_bytes();
                row.push(Some(&number));
                encode::data_row(&mut frames, row.into_iter());
            }
            numbered.frames = frames;
            numbered.columns.push(KeptColumn {
                name: sequence.name.clone(),
                oid: oid::INT8,
                type_name: "pg_catalog.int8".into(),
                text: false,
                as_text: false,
            });
        }
        Ok(numbered)
    }
}

impl Kept {
    /// The formats in which the columns have to come, if they have come in others.
    pub fn wrong_form(&self) -> Option<Vec<i16>> {
        let wrong = self.columns.iter().any(|column| column.as_text != column.text);
        wrong.then(|| self.columns.iter().map(|column| i16::from(!column.as_text)).collect())
    }

    /// The rows as parameters; the first columns may have other names.
    pub fn staged(&self, names: &[String]) -> Staged {
        self.staged_of(&self.frames, self.rows, names)
    }

    /// Some of the rows as parameters.
    pub fn staged_of(&self, frames: &[u8], rows: u64, names: &[String]) -> Staged {
        let called = |at: usize, column: &KeptColumn| names.get(at).cloned().unwrap_or_else(|| column.name.clone());
        let columns = self.columns.iter().enumerate().map(|(at, column)| column.source(called(at, column)));
        let source = Source { columns: columns.collect(), rows: Rows::Arrays { count: rows } };
        Staged { source, arrays: self.arrays(frames), rows, bytes: frames.len() as u64 }
    }

    /// One array for each column. Messages are whole rows by now: anything else would be a mistake of ours.
    pub fn arrays(&self, frames: &[u8]) -> Vec<Bytes> {
        let elements: Vec<Oid> =
            self.columns.iter().map(|column| if column.text { oid::TEXT } else { column.oid }).collect();
        merge::arrays(frames, &elements).unwrap_or_default()
    }

    /// Each row's message.
    pub fn messages(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.frames[..];
        std::iter::from_fn(move || {
            let frame = protocol::frame(rest, MAX_ROW).ok().flatten()?;
            let (message, behind) = rest.split_at(frame.len);
            rest = behind;
            Some(message)
        })
    }
}

/// The values of a row's message.
pub(super) fn values(message: &[u8]) -> Result<Vec<Option<&[u8]>>, PgError> {
    answer::row_values(message.get(HEADER..).unwrap_or_default())
}

impl KeptColumn {
    /// How what follows sees it under a name.
    pub fn source(&self, name: String) -> SourceColumn {
        let seen = self.type_name.to_string();
        let (carried, cast) = if self.text { ("pg_catalog.text".to_string(), Some(seen)) } else { (seen, None) };
        SourceColumn { name, carried, cast, collation: None }
    }
}

/// The names in a RowDescription's body.
fn column_names(body: &[u8]) -> Vec<String> {
    /// Table, attribute, type, length, modifier, format.
    const REST: usize = 18;
    let mut names = Vec::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(String::from_utf8_lossy(&rest[..end]).into_owned());
        rest = rest.get(end + 1 + REST..).unwrap_or_default();
    }
    names
}
