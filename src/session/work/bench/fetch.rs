//! Inputs' rows, from all shards side by side.
//!
//! Few rows are kept until all are there. When they become more than that, the first input that is not complete goes into a table of the
//! workbench ([`stage`](super::stage)), and others wait for their turn: all shards answer the inputs in the same order, so that the first
//! incomplete one never waits for another.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::super::ask::{Ask, Desk, Taker};
use super::super::outlet::count;
use super::super::{Assignment, Stop};
use super::form::Form;
use super::keys::Lent;
use super::kinds::{FIRST_OWN, Kind, Shapes};
use super::stage::{Copy, Opener};
use super::{Bounds, Place, SMALL, Workbench, late, too_large};
use crate::error::PgError;
use crate::merge;
use crate::plan::render::{Rendered, Rows, Source, render};
use crate::plan::work::bench::Input;
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
    /// Its rows as whole DataRow messages, as long as they are kept.
    frames: BytesMut,
    rows: u64,
    bytes: u64,
    /// Shards that have not sent all of it.
    open: usize,
    /// Its table.
    table: Option<String>,
}

/// Whether there is a connection to the workbench.
enum Bench {
    /// Not needed so far.
    No,
    /// It is being made.
    Opening(Pin<Box<dyn Future<Output = Result<Workbench, PgError>> + Send>>),
    /// It is there.
    Open,
}

/// Takes the rows of all inputs.
struct Fetch {
    /// Of each question its input.
    inputs: Vec<usize>,
    forms: Vec<Form>,
    piles: Vec<Pile>,
    lent: Lent,
    /// What may be kept for parameters.
    small: Bounds,
    bounds: Bounds,
    /// Makes the connection to the workbench, if there may be one.
    opener: Option<Opener>,
    bench: Bench,
    /// The table that is being filled, and for which input.
    copy: Option<(usize, Copy)>,
    /// The statement's literals have made other types of the columns than those that were known.
    stale: bool,
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Taker for Fetch {
    fn columns(
        &mut self,
        question: usize,
        _shard: ShardId,
        body: Option<&Bytes>,
        _desk: &mut Desk<'_>,
    ) -> Result<(), Stop> {
        let input = self.input(question)?;
        let types = body.and_then(|body| merge::column_types(body)).ok_or_else(no_columns)?;
        self.stale |= !alike(&self.forms[input].oids, &types);
        Ok(())
    }

    fn rows(&mut self, question: usize, incoming: &mut BytesMut, desk: &mut Desk<'_>) -> Result<bool, Stop> {
        let input = self.input(question)?;
        if self.stale {
            take_rows(incoming, None);
            return Ok(true);
        }
        if self.piles[input].table.is_some() {
            return self.fill_table(input, incoming, desk);
        }
        let (rows, bytes) = self.kept();
        if !self.forms[input].table && rows < self.small.rows && bytes < self.small.bytes {
            let before = incoming.len();
            self.lent.note(input, incoming);
            let pile = &mut self.piles[input];
            pile.rows += count(incoming);
            take_rows(incoming, Some(&mut pile.frames));
            pile.bytes += (before - incoming.len()) as u64;
            self.within_bounds()?;
            return Ok(true);
        }
        let first = self.piles.iter().position(|pile| pile.open > 0);
        if self.opener.is_none() && matches!(self.bench, Bench::No) {
            return Err(too_large(self.small).into());
        }
        if first != Some(input) || self.copy.is_some() {
            return Ok(false);
        }
        match &mut self.bench {
            Bench::No => {
                if let Some(opener) = self.opener.take() {
                    self.bench = Bench::Opening(Box::pin(opener.open()));
                }
                Ok(false)
            }
            Bench::Opening(_) => Ok(false),
            Bench::Open => {
                self.begin_table(input, desk)?;
                self.fill_table(input, incoming, desk)
            }
        }
    }

    fn done(&mut self, question: usize, desk: &mut Desk<'_>) -> Result<(), Stop> {
        let input = self.input(question)?;
        self.piles[input].open -= 1;
        if self.piles[input].open == 0
            && let Some((copied, copy)) = &mut self.copy
            && *copied == input
        {
            copy.end(lease(desk)?);
        }
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>, desk: &mut Desk<'_>) -> Result<bool, Stop> {
        if self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready()) {
            return Err(late().into());
        }
        if let Bench::Opening(opening) = &mut self.bench {
            let Poll::Ready(opened) = opening.as_mut().poll(cx) else { return Ok(false) };
            let Some(place) = &mut desk.bench else { return Err(no_bench().into()) };
            **place = Some(opened?);
            self.bench = Bench::Open;
            return Ok(true);
        }
        let Some((_, copy)) = &mut self.copy else { return Ok(false) };
        let moved = copy.poll(lease(desk)?, cx)?;
        if copy.is_over() {
            self.copy = None;
            return Ok(true);
        }
        Ok(moved)
    }

    fn is_idle(&self) -> bool {
        self.copy.is_none()
    }
}

impl Fetch {
    fn input(&self, question: usize) -> Result<usize, PgError> {
        let input = self.inputs.get(question).copied();
        input.filter(|input| *input < self.piles.len().min(self.forms.len())).ok_or_else(no_columns)
    }

    /// Rows and bytes that are kept for parameters.
    fn kept(&self) -> (u64, u64) {
        let kept = self.piles.iter().filter(|pile| pile.table.is_none());
        kept.fold((0, 0), |sum, pile| (sum.0 + pile.rows, sum.1 + pile.bytes))
    }

    fn within_bounds(&self) -> Result<(), PgError> {
        let (rows, bytes) = self.piles.iter().fold((0, 0), |sum, pile| (sum.0 + pile.rows, sum.1 + pile.bytes));
        if rows > self.bounds.rows || bytes > self.bounds.bytes { Err(too_large(self.bounds)) } else { Ok(()) }
    }

    fn begin_table(&mut self, input: usize, desk: &mut Desk<'_>) -> Result<(), Stop> {
        let lease = lease(desk)?;
        let table = table(input);
        let mut copy = Copy::begin(lease, &self.forms[input], &table);
        let pile = &mut self.piles[input];
        pile.table = Some(table);
        let mut frames = std::mem::take(&mut pile.frames);
        copy.send(lease, &mut frames)?;
        self.copy = Some((input, copy));
        Ok(())
    }

    fn fill_table(&mut self, input: usize, incoming: &mut BytesMut, desk: &mut Desk<'_>) -> Result<bool, Stop> {
        let Some((copied, copy)) = &mut self.copy else { return Err(no_bench().into()) };
        if *copied != input {
            return Ok(false);
        }
        let lease = lease(desk)?;
        if copy.is_full(lease) {
            return Ok(false);
        }
        self.lent.note(input, incoming);
        let (rows, bytes) = copy.send(lease, incoming)?;
        let pile = &mut self.piles[input];
        pile.rows += rows;
        pile.bytes += bytes;
        self.within_bounds()?;
        Ok(true)
    }
}

impl Session {
    /// Fetches inputs, which have to be those of the job's own plan, from the shards of `places`, which have to be enlisted. `place`: where
    /// there may be tables for many rows; then [`Session::close_bench`] has to follow.
    ///
    /// # Errors
    /// As [`Session::ask_shards`]; 54000 beyond the bounds; types whose values cannot travel (0A000).
    pub(in crate::session) async fn fetch_inputs(
        &mut self,
        job: &Assignment,
        inputs: &[Input],
        places: &[Vec<ShardId>],
        types: &Types,
        mut place: Option<Place>,
    ) -> Result<Vec<Staged>, Stop> {
        let bench = place.as_ref().map(|place| place.home);
        let texts = self.texts_of(job, inputs)?;
        loop {
            let shapes = self.shapes_of(&job.work, inputs, &texts, places, types).await?;
            let fetch = self.fetch_once(job, inputs, &texts, places, types, &shapes, &place).await?;
            if fetch.stale {
                self.shared.benches.forget_shapes(inputs);
                self.close_bench().await;
                // It was made of what the inputs no longer are.
                place.iter_mut().for_each(|place| place.apart = None);
                continue;
            }
            return self.staged(job, fetch, bench).await;
        }
    }

    #[allow(clippy::too_many_arguments)] // a step of the one above
    async fn fetch_once(
        &mut self,
        job: &Assignment,
        inputs: &[Input],
        texts: &[Rendered],
        places: &[Vec<ShardId>],
        types: &Types,
        shapes: &Shapes,
        place: &Option<Place>,
    ) -> Result<Fetch, Stop> {
        let values = job.values()?;
        let lossless = self.has_lossless_text();
        let forms = inputs.iter().zip(shapes.iter()).map(|(input, kinds)| Form::new(input, kinds, lossless));
        let forms = forms.collect::<Result<Vec<Form>, PgError>>()?;
        let small = if place.is_some() { SMALL } else { self.bounds_of_arrays() };
        let mut fetch = Fetch {
            inputs: Vec::new(),
            forms,
            piles: places.iter().map(|_| Pile::default()).collect(),
            lent: Lent::new(inputs),
            small,
            bounds: self.bounds(),
            opener: place.as_ref().map(|place| self.opener(place.home, &job.text, place.apart.clone())),
            bench: if self.workbench.is_some() { Bench::Open } else { Bench::No },
            copy: None,
            stale: false,
            deadline: self.deadline(),
        };
        let rounds = Input::rounds(inputs);
        for round in 0..=rounds.iter().copied().max().unwrap_or(0) {
            fetch.inputs.clear();
            let mut asks = Vec::new();
            for at in (0..inputs.len()).filter(|at| rounds.get(*at) == Some(&round)) {
                let (Some(input), Some(text), Some(shards)) = (inputs.get(at), texts.get(at), places.get(at)) else {
                    continue;
                };
                let given = text.parameters.iter().map(|n| {
                    let (format, value) = values.get(usize::from(*n)).copied().unwrap_or((Format::Text, None));
                    (format, value.map(Bytes::copy_from_slice))
                });
                let (values, formats) = (given.collect(), fetch.forms[at].formats());
                let ask = Ask { values, formats, ..Ask::new(ShardId(0), text.sql.clone()) };
                let Some(ask) = fetch.lent.lend(input, ask) else { continue };
                for shard in shards {
                    let types = text.parameters.iter().map(|n| types.on(*shard, *n)).collect();
                    asks.push(Ask { shard: *shard, types, ..ask.clone() });
                    fetch.inputs.push(at);
                    fetch.piles[at].open += 1;
                }
            }
            if !asks.is_empty() && !fetch.stale {
                self.ask_taking(asks, Some(&mut fetch)).await?;
            }
        }
        Ok(fetch)
    }

    /// Whether what a server prints is read by another as the very same value.
    fn has_lossless_text(&self) -> bool {
        let digits = self.settings.server.get("extra_float_digits");
        let digits = digits.map(|(crate::backend::Value::Plain(text) | crate::backend::Value::Sql(text))| text);
        self.decode.iso && digits.is_none_or(|digits| digits.trim_matches('\'').parse::<i32>().is_ok_and(|n| n >= 1))
    }

    /// Inputs without rows: what the rest is described, or explained, over.
    pub(super) async fn empty_inputs(
        &mut self,
        job: &Assignment,
        inputs: &[Input],
        places: &[Vec<ShardId>],
        types: &Types,
    ) -> Result<Vec<Staged>, Stop> {
        let texts = self.texts_of(job, inputs)?;
        let shapes = self.shapes_of(&job.work, inputs, &texts, places, types).await?;
        let empty = |(input, kinds): (&Input, &Vec<(Oid, Kind)>)| {
            let form = Form::new(input, kinds, true)?;
            let arrays = merge::arrays(&[], &form.elements)?;
            let source = Source { columns: form.columns, rows: Rows::Arrays { count: 0 } };
            Ok(Staged { source, arrays, rows: 0, bytes: 0 })
        };
        Ok(inputs.iter().zip(shapes.iter()).map(empty).collect::<Result<Vec<_>, PgError>>()?)
    }

    /// What the shards are sent for each input.
    pub(in crate::session) fn texts_of(&self, job: &Assignment, inputs: &[Input]) -> Result<Vec<Rendered>, PgError> {
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        inputs.iter().map(|input| render(&input.text, &job.text, &tokens, None, None)).collect()
    }

    /// What the rest sees of what has come.
    async fn staged(&mut self, job: &Assignment, fetch: Fetch, bench: Option<ShardId>) -> Result<Vec<Staged>, Stop> {
        let mut staged = Vec::with_capacity(fetch.piles.len());
        let (mut empty, mut filled) = (Vec::new(), Vec::new());
        for (input, (form, pile)) in fetch.forms.into_iter().zip(fetch.piles).enumerate() {
            let name = match &pile.table {
                Some(name) => Some(name.clone()),
                // Without rows nothing has made its table.
                None if form.table => {
                    empty.push(form.create(&table(input)));
                    Some(table(input))
                }
                None => None,
            };
            let (rows, bytes, mut arrays) = (pile.rows, pile.bytes, Vec::new());
            let kept = match name {
                Some(name) => {
                    filled.extend(form.key(&name));
                    filled.extend(form.indexes(&name));
                    filled.push(format!("ANALYZE {name}"));
                    if form.is_whole() { Rows::Whole(name) } else { Rows::Table(name) }
                }
                None => {
                    arrays = merge::arrays(&pile.frames, &form.elements)?;
                    Rows::Arrays { count: rows }
                }
            };
            staged.push(Staged { source: Source { columns: form.columns, rows: kept }, arrays, rows, bytes });
        }
        if let (false, Some(shard)) = (empty.is_empty() && filled.is_empty(), bench) {
            self.finish_tables(shard, &job.text, empty.into_iter().chain(filled)).await?;
        }
        Ok(staged)
    }
}

/// The connection to the workbench.
fn lease<'d>(desk: &'d mut Desk<'_>) -> Result<&'d mut crate::pool::Lease, PgError> {
    let bench = desk.bench.as_mut().and_then(|place| place.as_mut());
    bench.map(|bench| &mut bench.lease).ok_or_else(no_bench)
}

/// The table of an input.
fn table(input: usize) -> String {
    format!("pg_temp.goldseam_{input}")
}

/// Types of users have numbers of their own on each server.
fn alike(one: &[Oid], other: &[Oid]) -> bool {
    let same = |(one, other): (&Oid, &Oid)| one == other || (*one >= FIRST_OWN && *other >= FIRST_OWN);
    one.len() == other.len() && one.iter().zip(other).all(same)
}

pub(super) fn no_columns() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "an input of the statement has no columns")
}

fn no_bench() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "the connection to the workbench is missing")
}
