//! What has to be one value for a whole statement is put into its text before it goes anywhere ([`Once`]).
//!
//! In the simple protocol the values are literals, in the extended one parameters behind the client's own, so that the text stays the same from
//! one execution to the next. The new text is planned like a client's, and may go to one shard, to several, or be done in steps.
//!
//! # The time
//! A transaction's `now()` is that of its first participant. A statement that goes there alone says it as it is; all others get it from here. Outside a
//! block a statement over several shards begins when Goldseam sends it.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::effects::After;
use super::route::Destination;
use super::statements::Statement;
use super::work::ask::Ask;
use super::{Session, Trouble, fresh};
use crate::error::PgError;
use crate::plan::once::{Maker, Part, Sequence, Source};
use crate::plan::{Effects, Once, Plan, Verdict};
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{BindView, request};
use crate::sql;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// A text may need values again when it is seen with those that it has got.
const ROUNDS: usize = 4;
/// More values than this are written into the text: the protocol counts parameters with 16 bits, and the client has its own.
const MOST_PARAMETERS: usize = 30_000;
/// When a transaction began, in a form that every server reads alike, whatever its DateStyle.
const MOMENT: &str = "SELECT pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')";

/// The numbers that a session got from sequences that several shards have.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    current: HashMap<Sequence, i64>,
    last: Option<i64>,
}

/// A statement with its values.
pub(super) struct Filled {
    /// The statement.
    pub text: String,
    /// Parameters behind the client's own, in text form.
    pub values: Vec<Bytes>,
}

/// The values of one execution.
struct Values {
    moment: Option<String>,
    statement: String,
    numbers: HashMap<Sequence, std::vec::IntoIter<i64>>,
    /// This process's own number, for snowflakes.
    node: u64,
}

impl Session {
    /// The text with what is one for the whole, if it has to be put in; none if the statement can go as it is. `parameters`: how many of its own the
    /// text has, in the extended protocol.
    pub(super) async fn fill(
        &mut self,
        text: &str,
        plan: &Plan,
        destination: &Destination,
        parameters: Option<usize>,
    ) -> Result<Option<Filled>, Trouble> {
        let Verdict::Route(route) = &plan.verdict else { return Ok(None) };
        let Some(once) = &route.once else { return Ok(None) };
        once.resets.iter().for_each(|sequence| self.shared.sequences.forget(sequence));
        if !self.must_fill(once, destination) {
            return Ok(None);
        }
        let once = once.clone();
        let mut values = self.values_for(&once, destination).await?;
        let tokens = sql::lex(text, &self.state.sql_limits())?;
        let count = once.parts.iter().filter(|part| matches!(part, Part::Value { .. })).count();
        let first = parameters.filter(|own| own + count <= MOST_PARAMETERS);
        let mut filled = Filled { text: String::with_capacity(text.len() + 64), values: Vec::new() };
        // A comment in front may say what Goldseam has to do.
        filled.text.push_str(tokens.first().and_then(|token| text.get(..token.start as usize)).unwrap_or_default());
        for part in &once.parts {
            filled.text.push(' ');
            match part {
                Part::Tokens(range) => {
                    let range = tokens.get(range.start as usize..range.end as usize).unwrap_or_default();
                    if let (Some(first), Some(last)) = (range.first(), range.last()) {
                        filled.text.push_str(text.get(first.start as usize..last.end as usize).unwrap_or_default());
                    }
                }
                Part::Words(words) => filled.text.push_str(words),
                Part::Value { source, bare } => {
                    let value = self.value(source, &mut values)?;
                    filled.put(source, &value, *bare, first);
                }
            }
        }
        tracing::debug!(statement = filled.text, "filled in");
        Ok(Some(filled))
    }

    /// Whether values have to be put in before a statement may go to where its plan leads.
    pub(super) fn waits_for_values(&self, plan: &Plan, destination: &Destination) -> bool {
        let Verdict::Route(route) = &plan.verdict else { return false };
        route.once.as_ref().is_some_and(|once| !once.resets.is_empty() || self.must_fill(once, destination))
    }

    /// A text with its values, its plan and where it goes: for a statement without parameters that is a part of another one.
    pub(super) async fn decide_filled(&mut self, text: &str) -> Result<(String, Arc<Plan>, Destination), Trouble> {
        let mut text = text.to_owned();
        for _ in 0..ROUNDS {
            let (plan, destination) = self.decide(&text)?;
            match self.fill(&text, &plan, &destination, None).await? {
                Some(filled) => text = filled.text,
                None => return Ok((text, plan, destination)),
            }
        }
        Err(endless().into())
    }

    /// Whether a statement cannot go as it is.
    fn must_fill(&self, once: &Once, destination: &Destination) -> bool {
        if once.always || (once.has_last && self.drawn.last.is_some()) {
            return true;
        }
        if !once.timed {
            return false;
        }
        let mut taking_part = self.participants().map(|index| self.held[index].lease.shard);
        let begun = if self.transaction.is_idle() { None } else { taking_part.next() };
        match (destination, begun) {
            (Destination::Shards { .. } | Destination::Work, _) => true,
            (_, None) => false,
            (Destination::Shard(shard), Some(first)) => *shard != first,
            (Destination::Home, Some(first)) => self.state.vschema.home() != first,
            (Destination::Directory { .. }, Some(_)) => true,
            (Destination::Any(_) | Destination::Attached, Some(_)) => taking_part.next().is_some(),
        }
    }

    async fn values_for(&mut self, once: &Once, destination: &Destination) -> Result<Values, Trouble> {
        let mut wanted: HashMap<Sequence, usize> = HashMap::new();
        for part in &once.parts {
            if let Part::Value { source: Source::Next(sequence), .. } = part {
                *wanted.entry((**sequence).clone()).or_default() += 1;
            }
        }
        let mut numbers = HashMap::with_capacity(wanted.len());
        for (sequence, count) in wanted {
            let drawn = self.draw(&sequence, count).await?;
            numbers.insert(sequence, drawn.into_iter());
        }
        let moment = if once.timed { Some(self.moment(destination).await?) } else { None };
        let now = fresh::moment();
        // The statement begins after its transaction, whatever two clocks say.
        let statement = moment.clone().filter(|moment| *moment > now || self.transaction.is_idle()).unwrap_or(now);
        let flakes = |part: &Part| matches!(part, Part::Value { source: Source::Made(Maker::Snowflake), .. });
        let node = match once.parts.iter().any(flakes) {
            true => self.shared.sequences.node(self.state.vschema.home()).await?,
            false => 0,
        };
        Ok(Values { moment, statement, numbers, node })
    }

    /// The next numbers of a sequence, of which the session remembers the last.
    pub(super) async fn draw(&mut self, sequence: &Sequence, count: usize) -> Result<Vec<i64>, Trouble> {
        let drawn = self.numbers_of(sequence, count).await?;
        if let Some(last) = drawn.last() {
            self.drawn.current.insert(sequence.clone(), *last);
            self.drawn.last = Some(*last);
        }
        Ok(drawn)
    }

    /// When the transaction began.
    pub(super) async fn moment(&mut self, destination: &Destination) -> Result<String, Trouble> {
        if self.transaction.is_idle() {
            return Ok(fresh::moment());
        }
        if let Some(moment) = self.transaction.moment() {
            return Ok(moment.to_owned());
        }
        let first = self.participants().next().map(|index| self.held[index].lease.shard);
        let shard = first.unwrap_or_else(|| match destination {
            Destination::Shard(shard) => *shard,
            Destination::Shards { shards, .. } => shards.first().copied().unwrap_or(ShardId(0)),
            _ => self.state.vschema.home(),
        });
        self.enlist_for(&Effects::default(), &[shard]).await?;
        self.transaction.settle();
        let replies = self.ask_shards(vec![Ask::new(shard, MOMENT)]).await?;
        let rows = replies.first().map(super::work::ask::Reply::values).transpose()?;
        let told = rows.and_then(|rows| String::from_utf8(rows.first()?.first()?.as_ref()?.to_vec()).ok());
        let moment = told.ok_or_else(|| PgError::new(SqlState::INTERNAL_ERROR, "a server does not tell the time"))?;
        let moment = format!("{moment}+00");
        self.transaction.set_moment(moment.clone());
        Ok(moment)
    }

    fn value(&mut self, source: &Source, values: &mut Values) -> Result<String, PgError> {
        Ok(match source {
            Source::Transaction => values.moment.clone().unwrap_or_else(|| values.statement.clone()),
            Source::Statement => values.statement.clone(),
            Source::Next(sequence) => {
                let number = values.numbers.get_mut(&**sequence).and_then(Iterator::next);
                let number =
                    number.ok_or_else(|| PgError::new(SqlState::INTERNAL_ERROR, "a sequence's numbers are missing"))?;
                self.drawn.current.insert((**sequence).clone(), number);
                self.drawn.last = Some(number);
                number.to_string()
            }
            Source::Current(sequence) => match self.drawn.current.get(&**sequence) {
                Some(number) => number.to_string(),
                None => {
                    return Err(undefined(format!(
                        "currval of sequence \"{}\" is not yet defined in this session",
                        sequence.name
                    )));
                }
            },
            Source::Last => match self.drawn.last {
                Some(number) => number.to_string(),
                None => return Err(undefined("lastval is not yet defined in this session".into())),
            },
            Source::Made(Maker::Ulid) => fresh::ulid(),
            Source::Made(Maker::UuidV7) => fresh::uuid_v7(),
            Source::Made(Maker::UuidV4) => fresh::uuid_v4(),
            Source::Made(Maker::Snowflake) => fresh::snowflake(values.node).to_string(),
        })
    }

    /// A simple query again, with its values.
    pub(super) async fn simple_filled(&mut self, text: &str) -> Result<(), Trouble> {
        let (text, plan, destination) = self.decide_filled(text).await?;
        match destination {
            Destination::Shards { shards, rows } => Box::pin(self.scatter_query(&text, &plan, shards, rows)).await,
            Destination::Work => Box::pin(self.work_query(&text, &plan)).await,
            destination => {
                let mut frame = BytesMut::new();
                request::query(&mut frame, &text);
                self.send_query(&frame, destination, &plan.effects, After::Nothing).await
            }
        }
    }

    /// Bind again, of the statement with its values.
    pub(super) async fn bind_filled(
        &mut self,
        view: &BindView<'_>,
        statement: &Statement,
        filled: Filled,
        round: usize,
    ) -> Result<(), Trouble> {
        if round >= ROUNDS {
            return Err(endless().into());
        }
        let filled_in = self.statement(&filled.text, &statement.types, statement.sql_types.clone())?;
        let frame = rebound(view, &filled);
        let view = BindView::new(&frame[HEADER..])?;
        Box::pin(self.bind_statement(&frame, view, filled_in, round + 1)).await
    }

    /// DISCARD SEQUENCES.
    pub(super) fn forget_numbers(&mut self) {
        self.drawn = Drawn::default();
    }
}

impl Filled {
    /// Puts a value in. `first`: how many parameters the client has, if values are to be parameters.
    fn put(&mut self, source: &Source, value: &str, bare: bool, first: Option<usize>) {
        // Writing to a string cannot fail.
        let _ = match first {
            Some(first) => {
                self.values.push(Bytes::copy_from_slice(value.as_bytes()));
                write!(self.text, "${}", first + self.values.len())
            }
            None if bare && matches!(source.type_name(), "bigint") => match value.starts_with('-') {
                true => write!(self.text, "({value})"),
                false => write!(self.text, "{value}"),
            },
            None => write!(self.text, "'{value}'"),
        };
        if !bare {
            let _ = write!(self.text, "::{}", source.type_name());
        }
    }
}

/// A Bind message with more values behind its own.
fn rebound(view: &BindView<'_>, filled: &Filled) -> BytesMut {
    let own = view.parameters().enumerate().map(|(n, value)| (view.format(n), value));
    let more = filled.values.iter().map(|value| (Format::Text, Some(&value[..])));
    let values: Vec<_> = own.chain(more).collect();
    let formats: Vec<i16> = view.result_formats().map(|format| i16::from(format == Format::Binary)).collect();
    let mut frame = BytesMut::new();
    request::bind_values(&mut frame, view.portal, view.statement, values.into_iter(), &formats);
    frame
}

fn undefined(message: String) -> PgError {
    PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

fn endless() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a statement wants values again and again")
}
