//! What this session's statements cost: from the client's message to the last of the answer.
//!
//! A statement begins with its Query or Bind message, runs from the moment when it is sent, and ends with its CommandComplete. Statements that
//! were sent together are told apart by their place among the [`After`](super::effects::After)s, which end in the same order; one that is not
//! here, or is here and never ends, does not make others be counted wrongly. Numbers are added up here, without sharing, and go to
//! the [`Meters`] when the client is told that it may go on.
//!
//! Two readings of the clock and a handful of additions for each statement; nothing is allocated once the queue has its size.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::relay::Tag;
use super::{Session, Trouble};
use crate::error::PgError;
use crate::meter::{Meters, Source, Sums};
use crate::plan::{Effects, RouteKind, ShardSet, Tally};
use crate::protocol::{self, BindView, ParseView, frame::HEADER};
use crate::sql::{self, TraceParent};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// The longest text of a statement in a log line or among the refusals.
const TEXT: usize = 2_000;

/// A session's own counting.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// When the message came that began the next statement, and its trace.
    begun: Option<Begun>,
    running: VecDeque<Running>,
    /// How many of the afters have ended since the queue was last empty.
    ended: u64,
    /// When the transaction that is open began.
    transaction: Option<Instant>,
    /// The end of the last statement: before it, the next of the same pipeline had not begun.
    last_end: Option<Instant>,
    /// When the statement over several shards began that runs.
    scatter: Option<Instant>,
    /// The shards that its steps have touched.
    touched: ShardSet,
    sums: Sums,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    at: Instant,
    trace: Option<TraceParent>,
}

/// A statement that has been sent.
#[derive(Debug)]
pub(super) struct Running {
    /// Its place among the afters.
    place: u64,
    begun: Begun,
    tally: Option<Arc<Tally>>,
    route: RouteKind,
    shards: ShardSet,
    shard: Option<ShardId>,
    /// It is made to fail, and the error is ours.
    provoked: bool,
    span: tracing::Span,
}

impl Meter {
    /// A message came that begins a statement.
    pub(super) fn begin(&mut self, text: &str) {
        let begun = Begun { at: Instant::now(), trace: sql::traceparent(text) };
        self.begun = Some(begun);
        self.transaction.get_or_insert(begun.at);
    }

    /// A Bind message.
    pub(super) fn bound(&mut self, text: &str) {
        self.begin(text);
        self.sums.binds += 1;
    }

    /// A Parse message.
    pub(super) fn parsed(&mut self) {
        self.sums.client_parses += 1;
    }

    /// A server is sent a Parse.
    pub(super) fn parsed_on_server(&mut self) {
        self.sums.server_parses += 1;
    }

    /// A server connection has been lent, after so long.
    pub(super) fn assigned(&mut self, waited: Duration) {
        self.sums.assignments += 1;
        self.sums.wait_nanos += nanos(waited);
    }

    fn begun(&mut self) -> Begun {
        self.begun.take().unwrap_or_else(|| Begun { at: Instant::now(), trace: None })
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Session {
    fn meters(&self) -> &Arc<Meters> {
        &self.shared.meters
    }

    /// A statement is sent to the attached backend; its [`After`](super::effects::After) is pushed next.
    pub(super) fn meter_sent(&mut self, tally: Option<&Arc<Tally>>) {
        let shard = self.attached.map(|index| self.held[index].lease.shard);
        let route = tally.map_or(RouteKind::Single, |tally| match tally.route() {
            RouteKind::Any => RouteKind::Any,
            _ => RouteKind::Single,
        });
        let shards = shard.map(ShardSet::one).unwrap_or_default();
        let place = self.meter.ended + self.after.len() as u64;
        let running = self.meter_start(tally.cloned(), route, shards);
        // What stands at this place or behind it belonged to afters that were dropped.
        while self.meter.running.back().is_some_and(|last| last.place >= place) {
            self.meter.running.pop_back();
        }
        self.meter.running.push_back(Running { place, shard, ..running });
    }

    /// An error of ours is put in an answer's place; its after is pushed next.
    pub(super) fn meter_provoked(&mut self) {
        self.meter_sent(None);
        if let Some(last) = self.meter.running.back_mut() {
            last.provoked = true;
        }
    }

    /// A statement begins that is not sent to the attached backend alone, such as one over several shards; to be handed to
    /// [`meter_end`](Self::meter_end) when it is over.
    pub(super) fn meter_start(&mut self, tally: Option<Arc<Tally>>, route: RouteKind, shards: ShardSet) -> Running {
        let begun = self.meter.begun();
        let span = if tracing::enabled!(tracing::Level::DEBUG) {
            tracing::debug_span!(
                "statement",
                client = self.handle.pid,
                user = %self.user,
                route = route.as_str(),
                shards = %self.shard_names(shards),
                traceparent = begun.trace.as_ref().map(TraceParent::as_str),
            )
        } else {
            tracing::Span::none()
        };
        Running { place: 0, begun, tally, route, shards, shard: None, provoked: false, span }
    }

    /// The statement of the first after has ended; to be called before that after is taken out. `tag` is none for a portal that may go on.
    pub(super) fn meter_done(&mut self, tag: Option<Tag>) {
        let place = self.meter.ended;
        self.meter.ended += 1;
        while self.meter.running.front().is_some_and(|first| first.place < place) {
            self.meter.running.pop_front();
        }
        if self.meter.running.front().is_some_and(|first| first.place == place)
            && let Some(running) = self.meter.running.pop_front()
        {
            self.meter_end(running, tag.map_or(0, |tag| rows(tag.as_bytes())), None);
        }
    }

    /// The backend's statement failed, and all behind it is skipped.
    pub(super) fn meter_failed(&mut self, code: SqlState) {
        match self.meter.running.pop_front() {
            // Counted where it was refused.
            Some(running) if running.provoked => {}
            Some(running) => self.meter_end(running, 0, Some(code)),
            // A Parse or a Describe.
            None => self.meters().errors.add(Source::Server, code),
        }
        self.meter.running.clear();
        self.meter.ended = 0;
    }

    /// A statement is over. `failed` with a server's error.
    pub(super) fn meter_end(&mut self, running: Running, rows: u64, failed: Option<SqlState>) {
        let now = Instant::now();
        let begun = self.meter.last_end.map_or(running.begun.at, |last| last.max(running.begun.at));
        self.meter.last_end = Some(now);
        let time = now.saturating_duration_since(begun);
        let nanos = nanos(time);
        if let Some(tally) = &running.tally {
            tally.add(running.route, running.shards, nanos, rows);
        }
        let meters = &self.shared.meters;
        match running.shard {
            Some(shard) => meters.record_shard(shard, time),
            None if running.route == RouteKind::Scatter => meters.record_scatter(time),
            None => {}
        }
        if let Some(code) = failed {
            meters.errors.add(Source::Server, code);
            if let Some(tally) = &running.tally {
                tally.add_error();
            }
        }
        let sums = &mut self.meter.sums;
        sums.statements += 1;
        sums.statement_nanos += nanos;
        sums.routes[running.route as usize] += 1;
        let slow = self.state.config.log.slow.is_some_and(|limit| time >= limit);
        if slow || !running.span.is_none() {
            self.log_statement(&running, time, rows, failed, slow);
        }
    }

    /// Puts a statement in the log.
    #[cold]
    fn log_statement(&mut self, running: &Running, time: Duration, rows: u64, failed: Option<SqlState>, slow: bool) {
        let statement = running.tally.as_ref().map_or("", |tally| tally.text.as_str());
        let (route, shards) = (running.route.as_str(), self.shard_names(running.shards));
        let (seconds, code) = (time.as_secs_f64(), failed.map(|code| code.to_string()));
        let (sqlstate, trace) = (code.as_deref(), running.begun.trace);
        let traceparent = trace.as_ref().map(TraceParent::as_str);
        if slow {
            self.meter.sums.slow += 1;
            tracing::warn!(
                parent: &running.span, seconds, route, %shards, rows, sqlstate, traceparent,
                user = %self.user, client = self.handle.pid, statement, "slow statement"
            );
        } else {
            tracing::debug!(parent: &running.span, seconds, rows, sqlstate, statement, "statement");
        }
    }

    /// The client may go on: what was added up is handed on. `status` is the ReadyForQuery's.
    pub(super) fn meter_ready(&mut self, status: u8) {
        if status == b'I'
            && let Some(begun) = self.meter.transaction.take()
        {
            let end = self.meter.last_end.unwrap_or_else(Instant::now);
            self.meter.sums.transactions += 1;
            self.meter.sums.transaction_nanos += nanos(end.saturating_duration_since(begun));
        }
        self.meter_flush();
    }

    /// Hands on what was added up.
    pub(super) fn meter_flush(&mut self) {
        let (received, sent) = self.client.take_traffic();
        let mut sums = std::mem::take(&mut self.meter.sums);
        (sums.received, sums.sent) = (received, sent);
        self.meters().totals.add(&sums);
        self.handle.activity.asked(self.names.len());
        if self.after.is_empty() {
            self.meter.running.clear();
            self.meter.ended = 0;
        }
        self.meter.last_end = None;
    }

    /// A command that is sent to a server is counted by its first words too.
    pub(super) fn meter_command(&self, effects: Effects, command: &sql::Command<'_>) -> Effects {
        Effects { tally: Some(self.meters().queries.local(command).clone()), ..effects }
    }

    /// A command that the session has answered by itself.
    pub(super) fn meter_local(&mut self, command: &sql::Command<'_>) {
        let begun = self.meter.begun();
        let time = nanos(begun.at.elapsed());
        self.meters().queries.local(command).add(RouteKind::Local, ShardSet::default(), time, 0);
        self.meter.sums.statements += 1;
        self.meter.sums.statement_nanos += time;
        self.meter.sums.routes[RouteKind::Local as usize] += 1;
        if self.transaction.is_idle() && self.attached.is_none() {
            self.meter_ready(b'I');
        }
    }

    /// What a message of the client came to, if it is an error.
    pub(super) fn meter_outcome(&mut self, outcome: &Result<(), Trouble>, tag: u8, frame: &[u8]) {
        match outcome {
            Err(Trouble::Refused(error)) => self.meter_refused(tag, frame, error),
            Err(Trouble::Failed(message)) => {
                let code = protocol::ErrorFields::new(message.get(HEADER..).unwrap_or_default()).code();
                self.meters().errors.add(Source::Server, code);
                self.meter_flush();
            }
            _ => {}
        }
    }

    /// A statement over several shards begins.
    pub(super) fn meter_scatter(&mut self, effects: &Effects, shards: &[ShardId]) -> Running {
        self.noted |= effects.noted;
        let set = shards.iter().fold(ShardSet::default(), |set, shard| set.with(*shard));
        let running = self.meter_start(effects.tally.clone(), RouteKind::Scatter, set);
        self.meter.scatter = Some(running.begun.at);
        running
    }

    /// A statement begins that is done in steps; which shards it touches shows when it is over.
    pub(super) fn meter_steps(&mut self, effects: &Effects) -> Running {
        let running = self.meter_start(effects.tally.clone(), RouteKind::Workbench, ShardSet::default());
        self.meter.scatter = Some(running.begun.at);
        self.meter.touched = ShardSet::default();
        running
    }

    /// A step of it touches this shard.
    pub(super) fn meter_touched(&mut self, shard: ShardId) {
        self.meter.touched = self.meter.touched.with(shard);
    }

    /// One shard has answered its part of it.
    pub(super) fn meter_part(&self, shard: ShardId) {
        if let Some(begun) = self.meter.scatter {
            self.meters().record_shard(shard, begun.elapsed());
        }
    }

    /// It has ended, with this command tag; none if it failed, which is counted where the client is told.
    pub(super) fn meter_scattered(&mut self, mut running: Running, tag: Option<&[u8]>) {
        self.meter.scatter = None;
        if running.route == RouteKind::Workbench {
            running.shards = std::mem::take(&mut self.meter.touched);
        }
        match tag {
            Some(tag) => self.meter_end(running, rows(tag), None),
            None => {
                if let Some(tally) = &running.tally {
                    tally.add_error();
                }
                self.meter_end(running, 0, None);
            }
        }
    }

    /// A transaction is committed in two phases.
    pub(super) fn meter_two_phase(&mut self) {
        self.meter.sums.two_phase_commits += 1;
    }

    /// A message of the client is answered with an error of ours.
    fn meter_refused(&mut self, tag: u8, frame: &[u8], error: &PgError) {
        let meters = self.shared.meters.clone();
        meters.errors.add(Source::Goldseam, error.code);
        let refused = is_refusal(error.code);
        if refused {
            let text = self.text_of(tag, frame).unwrap_or_default();
            // Statements are planned without the semicolon at their end.
            if let Ok(normal) = self.normal(text.trim_end_matches(|c: char| c == ';' || c.is_ascii_whitespace()))
                && let Some(tally) = meters.queries.known(normal.key)
            {
                let time = self.meter.begun.map_or(0, |begun| nanos(begun.at.elapsed()));
                tally.add(RouteKind::Refused, ShardSet::default(), time, 0);
                tally.add_error();
            }
            let message = without_values(error);
            meters.refusals.add(error.code, &message, error.hint.as_deref(), sql::anonymous(&text, TEXT));
        }
        let kind = if refused { RouteKind::Refused } else { RouteKind::Local };
        let begun = self.meter.begun();
        self.meter.sums.statements += 1;
        self.meter.sums.statement_nanos += nanos(begun.at.elapsed());
        self.meter.sums.routes[kind as usize] += 1;
        self.meter_flush();
    }

    /// The statement that a message is about.
    fn text_of(&self, tag: u8, frame: &[u8]) -> Option<String> {
        let body = frame.get(HEADER..)?;
        let named = |name: &str| match name {
            "" => self.unnamed.as_ref().map(|statement| statement.text.clone()),
            name => self.names.get(name).map(|statement| statement.text.clone()),
        };
        match tag {
            b'Q' => protocol::frontend::query(body).ok().map(str::to_owned),
            b'P' => ParseView::new(body).ok().map(|view| view.sql.to_owned()),
            b'B' => BindView::names(body).ok().and_then(|(_, name)| named(name)),
            b'D' | b'C' => protocol::Subject::new(body).ok().and_then(|subject| named(subject.name)),
            _ => None,
        }
    }

    fn shard_names(&self, shards: ShardSet) -> String {
        shard_names(shards, &self.state.vschema)
    }
}

/// Names with commas between, and `...` for those that have no mark of their own.
pub fn shard_names(shards: ShardSet, vschema: &crate::vschema::Vschema) -> String {
    let (exact, others) = shards.shards();
    let names: Vec<&str> = exact.map(|shard| vschema.shard_name(shard)).chain(others.then_some("...")).collect();
    names.join(",")
}

/// Whether an error says that the statement cannot be answered as it is, in contrast to one that says that something is broken or full.
fn is_refusal(code: SqlState) -> bool {
    matches!(&code.0[..2], b"0A" | b"22" | b"23" | b"42" | b"54") || code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
}

/// Messages about data quote it.
fn without_values(error: &PgError) -> String {
    if !matches!(&error.code.0[..2], b"22" | b"23") {
        return error.message.clone();
    }
    let parts = error.message.split('"').enumerate();
    let shown: Vec<&str> = parts.map(|(n, part)| if n % 2 == 1 { "?" } else { part }).collect();
    shown.join("\"")
}

/// The number at a command tag's end.
fn rows(tag: &[u8]) -> u64 {
    let digits = tag.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    tag[tag.len() - digits..].iter().fold(0u64, |n, byte| n.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_ends_with_its_rows() {
        for (tag, expected) in [(&b"SELECT 12"[..], 12), (b"INSERT 0 3", 3), (b"BEGIN", 0), (b"", 0), (b"7", 7)] {
            assert_eq!(rows(tag), expected);
        }
    }

    #[test]
    fn data_in_messages_is_not_kept() {
        let data =
            PgError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type integer: \"12x\"");
        assert_eq!(without_values(&data), "invalid input syntax for type integer: \"?\"");
        let name = PgError::new(SqlState::UNDEFINED_TABLE, "relation \"t\" does not exist");
        assert_eq!(without_values(&name), "relation \"t\" does not exist");
    }
}
