//! The simple query protocol: one message, any number of statements, one ReadyForQuery.

use std::ops::Range;
use std::sync::Arc;

use super::command::{self, Action};
use super::effects::After;
use super::local::Answer;
use super::relay::Expect;
use super::route::{self, Destination};
use super::values::TextValues;
use super::{Session, Trouble};
use crate::error::PgError;
use crate::plan::{Effects, Tally};
use crate::protocol::{self, encode, request};
use crate::sql::fetch::Fetch;
use crate::sql::{self, Command, SetValue};

impl Session {
    /// A Query message.
    pub(super) async fn simple(&mut self, frame: &[u8]) -> Result<(), Trouble> {
        let text = protocol::frontend::query(&frame[protocol::frame::HEADER..])?;
        self.meter.begin(text);
        self.renew_temporary().await?;
        if !self.batch.unproven.is_empty() {
            self.prove_all().await?;
        }
        // A simple query takes the place of the unnamed statement and portal (`exec_simple_query`).
        self.unnamed = None;
        self.portals.retain(|(name, _)| !name.is_empty());
        let continues = self.continues_batch();
        let known = match self.transaction.is_failed() || continues {
            true => None,
            // What is refused for several shards may be for the session itself to do: a cursor, a temporary table.
            false => self.decide_known(text).unwrap_or(None),
        };
        if let Some((plan, destination)) = known
            && !plan.effects.sets
        {
            if plan.effects.noted && self.sequence.is_none() {
                return self.noted_alone(frame, text).await;
            }
            if destination == Destination::Attached
                && let Some(Fetch { moves, motion, name }) = self.own_fetch(text)
            {
                return Box::pin(self.fetch_query(&name, moves, motion)).await;
            }
            if let Some(rewrite) = self.sized_catalog(text, &destination) {
                return Box::pin(self.sized_query(&rewrite)).await;
            }
            if let Some(filled) = self.fill(text, &plan, &destination, None).await? {
                return Box::pin(self.simple_filled(&filled.text)).await;
            }
            let destination = self.fitting(&plan, text, None, destination).await?;
            if let Destination::Shards { shards, rows } = destination {
                return Box::pin(self.scatter_query(text, &plan, shards, rows)).await;
            }
            if destination == Destination::Work {
                return Box::pin(self.work_query(text, &plan)).await;
            }
            return self.send_query(frame, destination, &plan.effects, After::Nothing).await;
        }
        let pieces = route::aside(text, || sql::split(text, &self.state.sql_limits()))?;
        match &pieces[..] {
            [] => {
                let mut answer = bytes::BytesMut::new();
                encode::empty_query(&mut answer);
                self.end_query(answer);
                Ok(())
            }
            [only] if !continues => self.single(frame, text, &text[only.clone()]).await,
            several => Box::pin(self.several(frame, text, several)).await,
        }
    }

    /// After messages of the extended protocol without a Sync that have done something a query is a part of their transaction, and ends it.
    fn continues_batch(&self) -> bool {
        self.implicit || (self.transaction.is_idle() && self.batch.tied && self.attached.is_some())
    }

    /// A query of one statement. `whole` is the message's text, `statement` the statement without its semicolon.
    pub(super) async fn single(&mut self, frame: &[u8], whole: &str, statement: &str) -> Result<(), Trouble> {
        let command = sql::classify(statement);
        if !self.transaction.is_failed() {
            if let Command::Explain { route: true, analyze: true, .. } = command {
                return Box::pin(self.measure_query(statement)).await;
            }
            if let Some(declaration) = self.declaration(statement, &command)? {
                Box::pin(self.declare(declaration)).await?;
                self.answer_query(&Answer::tag("DECLARE CURSOR"));
                return Ok(());
            }
            if let Some(Fetch { moves, motion, name }) = self.own_fetch(statement) {
                return Box::pin(self.fetch_query(&name, moves, motion)).await;
            }
            if let Some(rewrite) = self.sized(statement) {
                return Box::pin(self.sized_query(&rewrite)).await;
            }
            if let Some(made) = self.made_of_many(statement)? {
                let rows = Box::pin(self.make_temporary(made)).await?;
                self.answer_query(&Answer::tag(&format!("SELECT {rows}")));
                return Ok(());
            }
            if let Command::ClosePortal(name) = &command
                && Box::pin(self.close_declared(name.as_deref())).await?
                && name.is_some()
            {
                self.answer_query(&Answer::tag("CLOSE CURSOR"));
                return Ok(());
            }
        }
        if route::is_command(&command) {
            return match self.command(statement, &command)? {
                Action::Answer(answer) => {
                    self.meter_local(&command);
                    self.answer_query(&answer);
                    Ok(())
                }
                Action::End { commit, chain } => {
                    let answer = self.end_block(commit, chain).await?;
                    self.meter_local(&command);
                    self.answer_query(&answer);
                    Ok(())
                }
                Action::Layout => {
                    let answer = Box::pin(self.alter_vschema(statement)).await?;
                    self.meter_local(&command);
                    self.answer_query(&answer);
                    Ok(())
                }
                Action::Everywhere(everywhere) => {
                    let answer = self.everywhere(everywhere).await?;
                    self.answer_query(&answer);
                    Ok(())
                }
                Action::Execute(execution)
                    if self.sequence.is_none() && self.plan_for(&execution.statement).effects.noted =>
                {
                    self.noted_alone(frame, whole).await
                }
                Action::Execute(execution) => Box::pin(self.execute_prepared(*execution, &[], true)).await,
                Action::Forward { destination, effects, after, text, needs, then } => {
                    let effects = self.meter_command(effects, &command);
                    let shard = self.locate(destination).await?;
                    self.admit(shard, &effects)?;
                    self.attach(shard).await?;
                    self.note_notification(statement);
                    if let (false, Some(index)) = (then.is_empty(), self.attached) {
                        // In extended form, so that all of it is one transaction and the client sees one answer.
                        self.note_effects(&effects);
                        self.forward_command(index, statement, after);
                        self.follow_up(index, &then);
                        self.send_sync(index, self.sequence.is_none());
                        return Ok(());
                    }
                    if let (Some(statement), Some(index)) = (needs, self.attached) {
                        self.have_prepared(index, &statement);
                    }
                    if let Some(index) = self.attached {
                        self.reserve(index, &after);
                    }
                    let changed = text.map(|text| {
                        let mut bytes = bytes::BytesMut::new();
                        request::query(&mut bytes, &text);
                        bytes
                    });
                    let frame = changed.as_deref().unwrap_or(frame);
                    self.send_query(frame, Destination::Shard(shard), &effects, after).await
                }
            };
        }
        if self.transaction.is_failed() {
            return self.in_failed(frame, vec![After::Nothing]).await;
        }
        let (plan, destination) = if whole == statement {
            self.decide(whole)?
        } else {
            // A semicolon, or white space, more: the key of the whole text is the one that is looked up first the next time.
            let decided = self.decide(statement)?;
            let normal = self.normal(whole)?;
            let key = self.context.key(normal.key, normal.hint);
            let literals = || self.context.literals(whole, &normal.literals);
            self.shared.plans.insert(key, literals, decided.0.clone());
            decided
        };
        if plan.effects.noted && self.sequence.is_none() {
            return self.noted_alone(frame, whole).await;
        }
        if let Some(filled) = self.fill(statement, &plan, &destination, None).await? {
            return Box::pin(self.simple_filled(&filled.text)).await;
        }
        let destination = self.fitting(&plan, statement, None, destination).await?;
        if let Destination::Shards { shards, rows } = destination {
            return Box::pin(self.scatter_query(statement, &plan, shards, rows)).await;
        }
        if destination == Destination::Work {
            return Box::pin(self.work_query(statement, &plan)).await;
        }
        let after = self.after_function(statement, &TextValues { text: statement, literals: &[] })?;
        self.send_query(frame, destination, &plan.effects, after).await
    }

    /// A statement that writes what lookups find, by itself: what they know of it is a part of its transaction, and is seen to behind it.
    async fn noted_alone(&mut self, frame: &[u8], whole: &str) -> Result<(), Trouble> {
        let pieces = sql::split(whole, &self.state.sql_limits())?;
        Box::pin(self.begin_sequence(frame, whole, &pieces)).await
    }

    /// A query of several statements: they are one transaction. If one shard can do all of them, it gets them as they came; otherwise they
    /// are done [one by one](super::sequence).
    async fn several(&mut self, frame: &[u8], text: &str, pieces: &[Range<usize>]) -> Result<(), Trouble> {
        let statements: Vec<&str> = pieces.iter().map(|piece| &text[piece.clone()]).collect();
        let together = match self.transaction.is_failed() || self.implicit {
            true => None,
            // What is refused is refused in its turn.
            false => self.together(&statements).ok(),
        };
        let Some(Together { destination, effects, afters, tallies }) = together else {
            return self.begin_sequence(frame, text, pieces).await;
        };
        let shard = self.locate(destination).await?;
        let moves = self.attached.is_none_or(|index| self.held[index].lease.shard != shard);
        if self.admit(shard, &effects).is_err()
            || (ends_block(&afters) && self.would_spread(shard))
            || (moves && self.continues_batch())
        {
            return self.begin_sequence(frame, text, pieces).await;
        }
        if statements.iter().any(|statement| matches!(sql::classify(statement), Command::SetTransaction { .. })) {
            self.transaction.alter();
        }
        self.attach(shard).await?;
        for statement in statements {
            self.note_cursor(statement, shard)?;
            self.note_notification(statement);
        }
        self.forward_query(frame, &effects, afters, &tallies);
        Ok(())
    }

    /// Where several statements go together.
    ///
    /// # Errors
    /// They do not, or one of them is for the session itself to act on.
    fn together(&self, statements: &[&str]) -> Result<Together, PgError> {
        let (mut destinations, mut afters, mut tallies) = (Vec::new(), Vec::new(), Vec::new());
        let mut effects = Effects { floating: true, ..Effects::default() };
        for (position, statement) in statements.iter().enumerate() {
            let command = sql::classify(statement);
            let resets = match &command {
                Command::ResetAll => self.restores(None),
                Command::Reset(name) | Command::Set { name, value: SetValue::Default, .. } => self.restores(Some(name)),
                _ => false,
            };
            // The server's own values would be seen by what follows. At the end they are not: the next statement's backend is told anew.
            let harmless = |later: &str| {
                matches!(
                    sql::classify(later),
                    Command::Reset(_)
                        | Command::ResetAll
                        | Command::Unlisten(_)
                        | Command::ClosePortal(_)
                        | Command::Discard(_)
                )
            };
            if resets && !(self.transaction.is_idle() && statements[position..].iter().all(|later| harmless(later))) {
                return Err(alone());
            }
            if matches!(command, Command::ClosePortal(_)) && !self.declared.is_empty() {
                return Err(alone());
            }
            afters.push(after_of(statement, &command)?);
            let (destination, these) = if route::is_command(&command) {
                match command {
                    Command::Listen(_) => {
                        (Destination::Home, Effects { pin: Some(crate::plan::Pin::Listen), ..Effects::default() })
                    }
                    Command::Notify => (Destination::Home, Effects::default()),
                    _ => (Destination::Attached, Effects { floating: true, ..Effects::default() }),
                }
            } else {
                if self.own_fetch(statement).is_some() {
                    return Err(alone());
                }
                let (plan, destination) = self.decide(statement)?;
                if self.waits_for_values(&plan, &destination) {
                    return Err(alone());
                }
                (self.toward_cursor(destination, statement), plan.effects.clone())
            };
            if these.noted {
                return Err(alone());
            }
            destinations.push(destination);
            tallies.push(these.tally);
            effects.floating &= these.floating;
            effects.writes |= these.writes;
            effects.ddl |= these.ddl;
            effects.pin = effects.pin.or(these.pin);
        }
        let agreed = self.agree(&destinations)?;
        self.admit_state(&agreed, &effects)?;
        let destination = match agreed {
            Destination::Shards { .. } | Destination::Work => return Err(alone()),
            Destination::Attached => Destination::Any(None),
            other => other,
        };
        Ok(Together { destination, effects, afters, tallies })
    }

    /// Sends a query of one statement where it belongs.
    pub(super) async fn send_query(
        &mut self,
        frame: &[u8],
        destination: Destination,
        effects: &Effects,
        after: After,
    ) -> Result<(), Trouble> {
        // Only where a cursor could be meant is the text looked at again.
        let text = match self.transaction.is_idle() && self.cursors.is_empty() && effects.pin.is_none() {
            true => "",
            false => protocol::frontend::query(&frame[protocol::frame::HEADER..])?,
        };
        self.admit_state(&destination, effects)?;
        let notifies = effects.writes && destination == Destination::Home;
        let shard = self.locate(self.toward_cursor(destination, text)).await?;
        self.admit(shard, effects)?;
        self.attach(shard).await?;
        let Some(index) = self.attached else { return Err(Trouble::Skipped) };
        if notifies {
            self.note_notification(text);
        }
        self.note_cursor(text, shard)?;
        self.note_effects(effects);
        self.meter_sent(effects.tally.as_ref());
        self.after.push_back(after);
        self.put_query(index, frame);
        Ok(())
    }

    /// `tallies` count the statements in their order, as far as they are there.
    fn forward_query(&mut self, frame: &[u8], effects: &Effects, afters: Vec<After>, tallies: &[Option<Arc<Tally>>]) {
        let Some(index) = self.attached else { return };
        self.note_effects(effects);
        let mut tallies = tallies.iter();
        for after in afters {
            self.meter_sent(tallies.next().and_then(Option::as_ref));
            self.after.push_back(after);
        }
        self.put_query(index, frame);
    }

    pub(super) fn put_query(&mut self, index: usize, frame: &[u8]) {
        let held = &mut self.held[index];
        held.unnamed = None;
        held.lease.in_flight += 1;
        self.relay.expect(self.sequence.as_ref().map_or(Expect::Query { pass: true }, |sequence| sequence.expect()));
        if held.lease.outgoing.is_empty() {
            // An error shows again when the answer is read.
            let _ = held.lease.send_now(frame);
        } else {
            held.lease.outgoing.extend_from_slice(frame);
        }
    }

    /// The transaction has failed: whatever comes, its backend knows the answer; without one, it is ours to give.
    async fn in_failed(&mut self, frame: &[u8], afters: Vec<After>) -> Result<(), Trouble> {
        // What is lost, the attached backend does not know; and the end of several is not its own to make.
        if self.attached.is_none() || self.transaction.is_doomed() {
            return Err(self.failed_block().into());
        }
        self.forward_query(frame, &Effects::default(), afters, &[]);
        Ok(())
    }

    fn answer_query(&mut self, answer: &Answer) {
        let mut bytes = bytes::BytesMut::new();
        answer.write(false, &mut bytes);
        self.end_query(bytes);
    }

    /// An answer of ours that is a whole query's, in its turn. A query ends the batch before it, as a Sync does.
    fn end_query(&mut self, answer: bytes::BytesMut) {
        match self.attached {
            Some(index) if self.batch.open => {
                self.relay.expect(Expect::Own(answer.freeze()));
                self.send_sync(index, true);
            }
            _ => {
                self.client.outgoing.extend_from_slice(&answer);
                self.end_statement();
            }
        }
    }

    /// ReadyForQuery after an answer of ours, unless it is one of several statements.
    pub(super) fn end_statement(&mut self) {
        if self.sequence.is_none() {
            encode::ready_for_query(&mut self.client.outgoing, self.transaction.status());
        }
    }
}

/// Several statements for one shard.
struct Together {
    destination: Destination,
    effects: Effects,
    afters: Vec<After>,
    tallies: Vec<Option<Arc<Tally>>>,
}

/// What a command within a query of several statements will mean where one shard does all of them; an error for those that only the session
/// itself can answer.
fn after_of(statement: &str, command: &Command<'_>) -> Result<After, PgError> {
    let text = statement.to_owned();
    Ok(match command {
        Command::Set { name, .. } | Command::Reset(name) | Command::Show(name)
            if super::settings::is_own(name) || &**name == "vschema" =>
        {
            return Err(alone());
        }
        Command::Explain { route: true, .. }
        | Command::Prepare { .. }
        | Command::Execute { .. }
        | Command::Deallocate(_)
        | Command::PrepareTransaction
        | Command::CommitPrepared
        | Command::RollbackPrepared
        | Command::AlterVschema
        | Command::SetTransaction { session_characteristics: true } => return Err(alone()),
        Command::Set { name, .. } if super::settings::changes_reading(name) => return Err(alone()),
        Command::Begin { .. } => After::Begin { text, floating: false },
        Command::Commit { chain } => After::Commit { chain: *chain },
        Command::Rollback { chain } => After::Rollback { chain: *chain },
        Command::Savepoint(name) => After::Savepoint { name: name.to_string(), text },
        Command::Release(name) => After::Release { name: name.to_string() },
        Command::RollbackTo(name) => After::RollbackTo { name: name.to_string() },
        Command::Set { local: true, .. } => After::Local { text, characteristic: false },
        Command::SetTransaction { session_characteristics: false } => After::Local { text, characteristic: true },
        Command::SetConstraints => After::Local { text, characteristic: false },
        // Of some settings it is the session's to say what they may be.
        Command::Set { function: true, .. } => return Err(alone()),
        Command::Query if !sql::set_configs(statement).is_empty() => return Err(alone()),
        Command::Set { name, value: SetValue::Default, .. } => {
            After::Reset { name: Some(name.to_string()), text, followed: false }
        }
        Command::Set { name, value, .. } => command::after_set(statement, name, value),
        Command::Reset(name) => After::Reset { name: Some(name.to_string()), text, followed: false },
        Command::ResetAll => After::Reset { name: None, text, followed: false },
        // The server itself refuses it among others.
        Command::Discard(sql::DiscardTarget::All) => After::DiscardAll,
        Command::Unlisten(_) | Command::ClosePortal(_) | Command::Discard(_) => After::Recheck,
        _ => After::Nothing,
    })
}

/// Whether one of several statements ends the block, or a savepoint, which a transaction over several shards cannot leave to one of them.
fn ends_block(afters: &[After]) -> bool {
    let ends = |after: &After| {
        matches!(
            after,
            After::Commit { .. } | After::Rollback { .. } | After::Release { .. } | After::RollbackTo { .. }
        )
    };
    afters.iter().any(ends)
}

fn alone() -> PgError {
    PgError::unsupported("the statements of one query do not lead to one shard")
}
