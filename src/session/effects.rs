//! What a statement that ended means for the session.

use std::sync::Arc;

use super::participants::Part;
use super::relay::{Event, Expect, Tag};
use super::settings::SessionSettings;
use super::statements::{Statement, own_statement};
use super::{Change, Session, settings};
use crate::backend;
use crate::error::PgError;
use crate::plan::{Effects, Pin};
use crate::protocol::request;
use crate::sqlstate::SqlState;

/// What to remember when a statement has ended well.
#[derive(Debug, Clone)]
pub(super) enum After {
    /// Nothing.
    Nothing,
    /// BEGIN that went to a backend, with its text; `floating` if nothing has been done on that backend.
    Begin { text: String, floating: bool },
    /// COMMIT, or PREPARE TRANSACTION.
    Commit { chain: bool },
    /// ROLLBACK.
    Rollback { chain: bool },
    /// SAVEPOINT, with its text.
    Savepoint { name: String, text: String },
    /// RELEASE.
    Release { name: String },
    /// ROLLBACK TO.
    RollbackTo { name: String },
    /// SET; `None` is DEFAULT.
    Set { name: String, value: Option<backend::Value>, text: String },
    /// Several settings in one statement: of each what is to be remembered.
    Several(Vec<After>),
    /// SET SESSION CHARACTERISTICS: one setting for each mode.
    Characteristics { values: Vec<(String, backend::Value)>, text: String },
    /// RESET of one setting, or of all; `followed` if statements that bring back the startup message's settings come with it.
    Reset { name: Option<String>, text: String, followed: bool },
    /// Something that holds until the transaction's end: SET LOCAL, SET CONSTRAINTS, and the `characteristic` SET TRANSACTION.
    Local { text: String, characteristic: bool },
    /// SQL's PREPARE of a text that no server had seen: from now on the name means it.
    Prepare { name: String, statement: Arc<Statement> },
    /// DISCARD ALL.
    DiscardAll,
    /// What pins the backend may be gone.
    Recheck,
}

impl After {
    /// A statement that holds until the transaction's end.
    pub(super) fn local(text: &str) -> Self {
        After::Local { text: text.to_owned(), characteristic: false }
    }

    /// Whether its success is the transaction's.
    pub(super) fn commits(&self) -> bool {
        matches!(self, After::Commit { .. })
    }
}

impl Session {
    /// What is known of a statement before it is sent.
    pub(super) fn note_effects(&mut self, effects: &Effects) {
        self.note_temporary(effects);
        self.noted |= effects.noted;
        if !effects.floating {
            self.transaction.settle();
        }
        if let Some(pin) = effects.pin {
            self.forget_others_sequences(pin);
            self.pin(pin);
        }
        if let Some(index) = self.attached {
            self.note_writes(index, effects);
        }
        // A statement that fails, or succeeds, may have let go of what pins its backend.
        self.recheck |= self.attached.is_some_and(|index| !self.held[index].pins.is_empty());
    }

    /// What a statement that runs on a held backend makes of it.
    pub(super) fn note_writes(&mut self, index: usize, effects: &Effects) {
        let held = &mut self.held[index];
        held.wrote |= effects.writes;
        if let Some(part) = &mut held.part {
            part.wrote |= effects.writes || effects.ddl;
            if effects.timed {
                self.transaction.tell_time(held.lease.shard);
            }
        }
        // What only this connection has changes no catalog.
        self.ddl |= effects.ddl && effects.pin != Some(Pin::TemporaryTable);
    }

    /// `currval` and `lastval` tell what the connection remembers: not what another session left there.
    fn forget_others_sequences(&mut self, pin: Pin) {
        let Some(index) = self.attached.filter(|_| pin == Pin::SessionState) else { return };
        let held = &mut self.held[index];
        if !held.wrote && !held.pins.contains(&pin) {
            own_statement("DISCARD SEQUENCES", &mut held.lease.outgoing, &mut self.relay);
            held.unnamed = None;
        }
    }

    /// Acts on an event of the attached backend's answer. True at a point where the session's loop has to go on.
    pub(super) fn note(&mut self, index: usize, event: Event) -> bool {
        match event {
            Event::Dry | Event::Swallowed => false,
            Event::Parsed => {
                if let Some(statement) = self.proving.pop_front() {
                    statement.validated.store(true, std::sync::atomic::Ordering::Relaxed);
                }
                false
            }
            Event::Suspended => {
                self.meter_done(None);
                self.after.pop_front();
                false
            }
            Event::Complete(tag) => {
                self.meter_done(Some(tag));
                match self.after.pop_front() {
                    None | Some(After::Nothing) => {}
                    Some(after) => self.complete(index, after, tag),
                }
                false
            }
            Event::Failed { cached_plan, code } => {
                self.meter_failed(code);
                self.note_failure(index);
                self.proving.clear();
                self.copy_in = false;
                if cached_plan {
                    self.forget_stale(index);
                }
                true
            }
            Event::NeedSync => {
                self.note_failure(index);
                let backend = &mut *self.held[index].lease;
                request::sync(&mut backend.outgoing);
                true
            }
            Event::Ready(status) => {
                let backend = &mut *self.held[index].lease;
                backend.transaction = status;
                backend.in_flight = backend.in_flight.saturating_sub(1);
                if self.leaving {
                    return true;
                }
                self.meter_ready(status);
                let failed = std::mem::take(&mut self.failed);
                match status {
                    b'I' => {
                        self.draft = None;
                        self.held[index].part = None;
                        self.close_cursors();
                        self.transaction_over(!failed);
                        if self.participants().next().is_some() {
                            // Nothing that is let through does this; a part that were forgotten would be lost in silence.
                            self.doom(PgError::new(
                                SqlState::INTERNAL_ERROR,
                                "a shard ended its part of a transaction by itself",
                            ));
                            return true;
                        }
                    }
                    // A block that a query of several statements has opened.
                    _ if self.held[index].part.is_none() => {
                        self.held[index].part =
                            Some(Part { done: self.transaction.progress(), wrote: true, notified: false });
                    }
                    _ => {}
                }
                if let Some(before) = self.transaction.ready(status, failed) {
                    self.restore(before);
                    self.held[index].lease.settings = self.settings.server.clone();
                }
                if failed && status == b'I' {
                    self.ddl = false;
                }
                true
            }
            Event::CopyIn => {
                self.copy_in = true;
                self.relay.enter_copy();
                true
            }
            Event::Parameter { name, value } => {
                self.held[index].lease.parameters.set(&name, &value);
                self.reported.set(&name, &value);
                self.decode = settings::decode_context(&self.reported);
                false
            }
        }
    }

    /// Names that skipped messages gave or took are as if those had never come.
    fn undo_skipped(&mut self, index: usize) {
        let skipped = self.relay.take_skipped();
        let backend = &mut *self.held[index].lease;
        backend.in_flight = backend.in_flight.saturating_sub(skipped.queries);
        let kept = self.journal.len().saturating_sub(skipped.changes + self.batch.unproven.len());
        self.batch.unproven.clear();
        while self.journal.len() > kept {
            match self.journal.pop() {
                Some(Change::Given(name)) if name.is_empty() => self.unnamed = None,
                Some(Change::Given(name)) => drop(self.names.remove(&name)),
                Some(Change::Taken(Some((name, statement)))) if name.is_empty() => self.unnamed = Some(statement),
                Some(Change::Taken(Some((name, statement)))) => drop(self.names.insert(name, statement)),
                Some(Change::Taken(None)) | None => {}
            }
        }
    }

    fn note_failure(&mut self, index: usize) {
        self.failed = true;
        self.sequence.iter_mut().for_each(|sequence| sequence.failed = true);
        self.undo_skipped(index);
        let (unparsed, out_of_step) = self.relay.take_undone();
        let held = &mut self.held[index];
        for after in self.after.drain(..) {
            if let After::Prepare { statement, .. } = after {
                held.lease.prepared.remove(statement.id);
            }
        }
        held.unnamed = None;
        for statement in unparsed {
            held.lease.prepared.remove(statement);
        }
        held.lease.tainted |= out_of_step;
    }

    fn complete(&mut self, index: usize, after: After, tag: Tag) {
        match after {
            After::Nothing => {}
            // set_config() for no row has set nothing.
            After::Set { .. } | After::Local { .. } if tag.as_bytes() == b"SELECT 0" => {}
            After::Prepare { name, statement } => {
                statement.validated.store(true, std::sync::atomic::Ordering::Relaxed);
                // The bound on names was checked before.
                self.names.insert(name, statement);
            }
            After::Begin { text, floating } => {
                if self.transaction.is_idle() {
                    self.transaction.begin(text, &self.settings);
                    self.transaction.join();
                    self.held[index].part = Some(Part { done: 0, wrote: !floating, notified: false });
                    if !floating {
                        self.transaction.settle();
                    }
                }
            }
            After::Commit { chain } | After::Rollback { chain } => {
                let characteristics = chain.then(|| self.transaction.characteristics());
                self.held[index].part = None;
                // COMMIT of a failed transaction is answered with ROLLBACK.
                self.transaction_over(tag.as_bytes() != b"ROLLBACK");
                if tag.as_bytes() == b"ROLLBACK" {
                    if let Some(before) = self.transaction.rollback() {
                        self.restore(before);
                        self.held[index].lease.settings = self.settings.server.clone();
                    }
                    self.ddl = false;
                } else {
                    self.transaction.commit();
                }
                if let Some(characteristics) = characteristics {
                    self.transaction.chain(characteristics, &self.settings);
                    self.transaction.join();
                    self.held[index].part =
                        Some(Part { done: self.transaction.progress(), wrote: false, notified: false });
                }
            }
            After::Savepoint { name, text } => {
                self.replay(index, text, Some(&name));
                self.transaction.savepoint(&name, &self.settings);
            }
            After::Release { name } => {
                self.transaction.release(&name);
                self.declared_released();
            }
            After::RollbackTo { name } => {
                self.undo_definitions();
                if let Some(before) = self.transaction.rollback_to(&name) {
                    self.savepoint_restored();
                    self.restore(before);
                    self.held[index].lease.settings = self.settings.server.clone();
                }
            }
            After::Set { name, value, text } => {
                self.transaction.remember(&self.settings);
                self.replay(index, text, None);
                if value.is_none() {
                    self.replay_restored(index, Some(&name));
                }
                self.change(index, true, |settings, base| match &value {
                    Some(value) => settings.set(&name, value.clone()),
                    None => reset_one(settings, base, &name),
                });
            }
            After::Several(list) => list.into_iter().for_each(|after| self.complete(index, after, tag)),
            After::Characteristics { values, text } => {
                self.transaction.remember(&self.settings);
                self.replay(index, text, None);
                self.change(index, true, |settings, _| {
                    values.iter().for_each(|(name, value)| settings.set(name, value.clone()));
                });
            }
            After::Reset { name, text, followed } => {
                self.transaction.remember(&self.settings);
                self.replay(index, text, None);
                self.replay_restored(index, name.as_deref());
                match name {
                    Some(name) => self.change(index, followed, |settings, base| reset_one(settings, base, &name)),
                    None => {
                        self.change(index, followed, |settings, base| {
                            settings.reset_all();
                            base.iter().for_each(|(name, value)| settings.set(name, value.clone()));
                        });
                        self.settings.shard = self.base.shard;
                        self.renew_context();
                    }
                }
            }
            After::Local { text, characteristic } => {
                self.replay(index, text, None);
                if characteristic {
                    self.transaction.mark_characteristic();
                }
            }
            After::DiscardAll => {
                self.names.clear();
                self.unnamed = None;
                self.portals.clear();
                self.declared.clear();
                self.forget_temporary();
                self.forget_numbers();
                self.forget_temporary();
                self.settings = self.base.clone();
                let held = &mut self.held[index];
                held.lease.prepared.clear();
                held.lease.settings = backend::Settings::none();
                held.unnamed = None;
                held.pins.clear();
                self.show_pins();
                self.renew_context();
            }
            After::Recheck => {
                self.recheck = true;
                self.temporary.stale |= self.temporary_shard().is_some();
            }
        }
    }

    /// Changes PostgreSQL's settings of the session, which its attached backend has just done itself.
    fn change(&mut self, index: usize, followed: bool, change: impl Fn(&mut backend::Settings, &backend::Settings)) {
        let mut ours = (*self.settings.server).clone();
        change(&mut ours, &self.base.server);
        let mut theirs = (*self.held[index].lease.settings).clone();
        // The backend went back to the server's own values, not to those of the client's startup message, unless these follow.
        if followed {
            change(&mut theirs, &self.base.server);
        } else {
            change(&mut theirs, &backend::Settings::none());
        }
        self.settings.server = std::sync::Arc::new(ours);
        self.held[index].lease.settings =
            if *self.settings.server == theirs { self.settings.server.clone() } else { std::sync::Arc::new(theirs) };
        self.renew_context();
    }

    /// Settings as they were: the transaction that changed them is undone.
    pub(super) fn restore(&mut self, before: SessionSettings) {
        if self.settings != before {
            self.settings = before;
            self.renew_context();
        }
    }

    /// A server refuses a prepared statement because tables have changed since: the next Parse of its text gets a new one.
    fn forget_stale(&mut self, index: usize) {
        let used: Vec<_> = self.names.values().chain(&self.unnamed).cloned().collect();
        for statement in used {
            if self.held[index].lease.prepared.has(statement.id) {
                self.shared.statements.forget(&statement);
            }
        }
    }

    /// A statement that the attached backend has done, and that all other participants have to do.
    fn replay(&mut self, index: usize, text: String, savepoint: Option<&str>) {
        let progress = self.transaction.replay(text, savepoint);
        if let Some(part) = &mut self.held[index].part {
            part.done = progress;
        }
    }

    fn replay_restored(&mut self, index: usize, name: Option<&str>) {
        for statement in self.base.server.restore_statements(name, false) {
            self.replay(index, statement, None);
        }
    }

    /// Sends statements of ours after a command, in the same batch.
    pub(super) fn follow_up(&mut self, index: usize, statements: &[String]) {
        for statement in statements {
            own_statement(statement, &mut self.held[index].lease.outgoing, &mut self.relay);
        }
    }

    /// Makes room on a backend for the statement that a PREPARE on its way will make.
    pub(super) fn reserve(&mut self, index: usize, after: &After) {
        let After::Prepare { statement, .. } = after else { return };
        let lease = &mut self.held[index].lease;
        // One of this name may be there from a session that never ended well.
        let known = lease.prepared.has(statement.id).then_some(statement.id);
        let evicted = lease.prepared.insert(statement.id);
        for gone in known.into_iter().chain(evicted) {
            request::close_statement(&mut lease.outgoing, &format!("gs_{gone}"));
            self.relay.expect(Expect::Close { pass: false });
        }
    }

    /// Sends a statement of the client's in extended form whose answer, but for the completion, is ours to give.
    pub(super) fn forward_command(&mut self, index: usize, text: &str, after: After) {
        let held = &mut self.held[index];
        own_statement(text, &mut held.lease.outgoing, &mut self.relay);
        held.unnamed = None;
        self.relay.pass_last();
        let tally = self.shared.meters.queries.local(&crate::sql::classify(text)).clone();
        self.meter_sent(Some(&tally));
        self.after.push_back(after);
    }
}

fn reset_one(settings: &mut backend::Settings, base: &backend::Settings, name: &str) {
    match base.get(name) {
        Some(value) => settings.set(name, value.clone()),
        None => {
            settings.reset(name);
        }
    }
}
