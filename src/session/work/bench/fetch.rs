//! Inputs' rows, from all shards side by side.
//!
//! In which form a column has to come (binary or text) its type decides, which the shards say when they answer. So the first time binary form is
//! taken for granted, and where that was wrong the inputs are fetched once more; from then on it is known for the plan.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::super::ask::{Ask, Desk, Taker};
use super::super::outlet::count;
use super::super::{Assignment, Stop};
use super::kinds::{FIRST_OWN, Forms, Way};
use super::{Bounds, too_large};
use crate::error::PgError;
use crate::merge;
use crate::plan::render::{Rendered, Rows, Source, SourceColumn, render};
use crate::plan::work::bench::{Input, InputColumn};
use crate::protocol::frontend::Format;
use crate::session::Session;
use crate::session::scatter::drive::take_rows;
use crate::sql;
use crate::sqlstate::SqlState;
use crate::types::{Oid, ShardId};

/// An input that has been fetched.
#[derive(Debug, Clone)]
pub(in crate::session) struct Staged {
    /// How the rest of the statement sees it.
    pub source: Source,
    /// One array for each column, if its rows are parameters.
    pub arrays: Vec<Bytes>,
    /// How many rows it has.
    pub rows: u64,
    /// How many bytes they were.
    pub bytes: u64,
}

/// The types of the client's parameters, as one shard gives them.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct Types {
    pub oids: Vec<Oid>,
    /// Whose numbers they are.
    pub shard: Option<ShardId>,
}

impl Types {
    /// A parameter's type as another shard calls it; 0: it has to find out.
    pub fn on(&self, shard: ShardId, parameter: u16) -> Oid {
        let oid = self.oids.get(usize::from(parameter)).copied().unwrap_or(0);
        if oid < FIRST_OWN || self.shard == Some(shard) { oid } else { 0 }
    }
}

/// What has come of one input.
#[derive(Debug, Default)]
struct Pile {
    /// The first shard that has described it, and the columns' types.
    kind: Option<(ShardId, Vec<Oid>)>,
    /// Its rows, as whole DataRow messages.
    frames: BytesMut,
    rows: u64,
    bytes: u64,
}

/// Takes the rows of all inputs.
struct Fetch {
    /// Of each question its input.
    inputs: Vec<usize>,
    piles: Vec<Pile>,
    bounds: Bounds,
}

impl Taker for Fetch {
    fn columns(
        &mut self,
        question: usize,
        shard: ShardId,
        body: Option<&Bytes>,
        _desk: &mut Desk<'_>,
    ) -> Result<(), Stop> {
        let pile = self.pile(question)?;
        let types = body.and_then(|body| merge::column_types(body)).ok_or_else(no_columns)?;
        match &pile.kind {
            None => pile.kind = Some((shard, types)),
            Some((_, known)) if alike(known, &types) => {}
            Some(_) => return Err(unlike().into()),
        }
        Ok(())
    }

    fn rows(&mut self, question: usize, incoming: &mut BytesMut, _desk: &mut Desk<'_>) -> Result<bool, Stop> {
        let bounds = self.bounds;
        let pile = self.pile(question)?;
        let before = incoming.len();
        pile.rows += count(incoming);
        take_rows(incoming, Some(&mut pile.frames));
        pile.bytes += (before - incoming.len()) as u64;
        let (rows, bytes) = self.piles.iter().fold((0, 0), |sum, pile| (sum.0 + pile.rows, sum.1 + pile.bytes));
        if rows > bounds.rows || bytes > bounds.bytes {
            return Err(too_large(bounds).into());
        }
        Ok(true)
    }
}

impl Fetch {
    fn pile(&mut self, question: usize) -> Result<&mut Pile, PgError> {
        let input = self.inputs.get(question).copied().unwrap_or(usize::MAX);
        self.piles.get_mut(input).ok_or_else(no_columns)
    }
}

impl Session {
    /// Fetches inputs from the shards of `places`, which have to be enlisted.
    ///
    /// # Errors
    /// As [`Session::ask_shards`]; 54000 beyond the bounds; types whose values cannot travel (0A000).
    pub(in crate::session) async fn fetch_inputs(
        &mut self,
        job: &Assignment,
        inputs: &[Input],
        places: &[Vec<ShardId>],
        types: &Types,
    ) -> Result<Vec<Staged>, Stop> {
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let texts = inputs.iter().map(|input| render(&input.text, &job.text, &tokens, None, None));
        let texts = texts.collect::<Result<Vec<Rendered>, PgError>>()?;
        // Text of values that are to be read again must not depend on settings that lose something.
        let mut forms = self.shared.benches.forms(&job.work);
        loop {
            let fetch = self.fetch_once(job, &texts, places, types, forms.as_deref()).await?;
            self.learn_piles(&fetch.piles).await?;
            let right = self.forms_of(&fetch.piles)?;
            let asked = |input: usize, column: usize| {
                forms.as_ref().is_some_and(|forms| {
                    forms.get(input).and_then(|input| input.get(column)).copied().unwrap_or(false)
                })
            };
            let as_asked = right.iter().enumerate().all(|(input, columns)| {
                columns.iter().enumerate().all(|(column, text)| asked(input, column) == *text)
            });
            if !as_asked && fetch.piles.iter().any(|pile| pile.rows > 0) {
                self.shared.benches.learn_forms(&job.work, right.clone());
                forms = Some(right);
                continue;
            }
            return self.stage(inputs, fetch.piles, &right);
        }
    }

    async fn fetch_once(
        &mut self,
        job: &Assignment,
        texts: &[Rendered],
        places: &[Vec<ShardId>],
        types: &Types,
        forms: Option<&[Vec<bool>]>,
    ) -> Result<Fetch, Stop> {
        let values = job.values()?;
        let (mut asks, mut inputs) = (Vec::new(), Vec::new());
        for (input, (text, shards)) in texts.iter().zip(places).enumerate() {
            let given = text.parameters.iter().map(|n| {
                let (format, value) = values.get(usize::from(*n)).copied().unwrap_or((Format::Text, None));
                (format, value.map(Bytes::copy_from_slice))
            });
            let given: Vec<_> = given.collect();
            let formats = match forms.and_then(|forms| forms.get(input)) {
                Some(columns) if columns.contains(&true) => columns.iter().map(|text| i16::from(!text)).collect(),
                _ => vec![1],
            };
            for shard in shards {
                inputs.push(input);
                asks.push(Ask {
                    types: text.parameters.iter().map(|n| types.on(*shard, *n)).collect(),
                    values: given.clone(),
                    formats: formats.clone(),
                    ..Ask::new(*shard, text.sql.clone())
                });
            }
        }
        let piles = texts.iter().map(|_| Pile::default()).collect();
        let mut fetch = Fetch { inputs, piles, bounds: self.bounds() };
        if !asks.is_empty() {
            self.ask_taking(asks, Some(&mut fetch)).await?;
        }
        Ok(fetch)
    }

    /// Learns the types of what has come.
    async fn learn_piles(&mut self, piles: &[Pile]) -> Result<(), Stop> {
        for (shard, oids) in piles.iter().filter_map(|pile| pile.kind.as_ref()) {
            self.learn_kinds(*shard, oids).await?;
        }
        Ok(())
    }

    /// In which form each column has to come.
    fn forms_of(&self, piles: &[Pile]) -> Result<Forms, PgError> {
        let forms = piles.iter().map(|pile| {
            let Some((shard, oids)) = &pile.kind else { return Ok(Vec::new()) };
            let text = |oid: &Oid| Ok(matches!(self.kind_of(*shard, *oid)?.way, Way::Text | Way::Array));
            oids.iter().map(text).collect::<Result<Vec<bool>, PgError>>()
        });
        Ok(Arc::from(forms.collect::<Result<Vec<_>, PgError>>()?))
    }

    /// Rows as parameters.
    fn stage(&self, inputs: &[Input], piles: Vec<Pile>, forms: &Forms) -> Result<Vec<Staged>, Stop> {
        let mut staged = Vec::with_capacity(piles.len());
        for ((input, pile), texts) in inputs.iter().zip(piles).zip(forms.iter()) {
            let (shard, oids) = pile.kind.as_ref().ok_or_else(no_columns)?;
            if oids.len() != input.columns.len() {
                return Err(unlike().into());
            }
            let mut columns = Vec::with_capacity(oids.len());
            let mut elements = Vec::with_capacity(oids.len());
            for ((column, oid), text) in input.columns.iter().zip(oids).zip(texts) {
                columns.push(source_column(column, &self.kind_of(*shard, *oid)?.name, *text));
                elements.push(if *text { TEXT } else { *oid });
            }
            let arrays = merge::arrays(&pile.frames, &elements)?;
            let source = Source { columns, rows: Rows::Arrays { count: pile.rows } };
            staged.push(Staged { source, arrays, rows: pile.rows, bytes: pile.bytes });
        }
        Ok(staged)
    }
}

/// `text` (`src/include/catalog/pg_type.dat`).
const TEXT: Oid = 25;

/// How the rest sees a column whose type is called so, and whose values have come as text or in binary form.
fn source_column(column: &InputColumn, type_name: &str, text: bool) -> SourceColumn {
    let seen = column.type_name.clone().unwrap_or_else(|| type_name.to_owned());
    let (carried, cast) = if text { ("pg_catalog.text".to_owned(), Some(seen)) } else { (seen, None) };
    SourceColumn { name: column.name.clone(), carried, cast, collation: column.collation.clone() }
}

/// Types of users have numbers of their own on each server.
fn alike(one: &[Oid], other: &[Oid]) -> bool {
    let same = |(one, other): (&Oid, &Oid)| one == other || (*one >= FIRST_OWN && *other >= FIRST_OWN);
    one.len() == other.len() && one.iter().zip(other).all(same)
}

fn no_columns() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "an input of the statement has no columns")
}

fn unlike() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "the shards' columns of the statement's inputs differ")
        .with_hint("Run the same DDL on all shards.")
}
