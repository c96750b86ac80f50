//! Commands that the session itself acts on: transaction control, settings, DISCARD.

use super::begin::{begin_tag, is_plain_begin};
use super::commit::Everywhere;
use super::effects::After;
use super::local::Answer;
use super::route::Destination;
use super::statements::Statement;
use super::transaction::State;
use super::values::TextValues;
use super::{Session, Trouble, settings};
use crate::backend::Value;
use crate::error::PgError;
use crate::plan::{Effects, Pin};
use crate::protocol::encode;
use crate::sql::{Command, DiscardTarget, SetValue};
use crate::sqlstate::SqlState;

/// What is to be done with a command.
pub(super) enum Action {
    /// It is done.
    Answer(Answer),
    /// The end of a block that more than the attached backend has a part in.
    End { commit: bool, chain: bool },
    /// The vschema is changed.
    Layout,
    /// All participants have to do it.
    Everywhere(Everywhere),
    /// A prepared statement runs that leads to several shards, or nobody knows yet where.
    Execute(Box<super::sql_execute::Execution>),
    /// A backend has to do it.
    Forward {
        destination: Destination,
        effects: Effects,
        after: After,
        /// The text to send instead of the client's.
        text: Option<String>,
        /// A prepared statement that the backend must have for it.
        needs: Option<std::sync::Arc<Statement>>,
        /// Statements of ours that must follow it.
        then: Vec<String>,
    },
}

impl Action {
    /// A RESET, or its like.
    fn reset(destination: Destination, after: After, then: Vec<String>) -> Self {
        Action::Forward { destination, effects: floating(), after, text: None, needs: None, then }
    }

    fn forward(destination: Destination, effects: Effects, after: After) -> Self {
        Action::Forward { destination, effects, after, text: None, needs: None, then: Vec::new() }
    }
}

/// Nothing that ties a transaction to its backend.
pub(super) fn floating() -> Effects {
    Effects { floating: true, ..Effects::default() }
}

fn pinned(pin: Pin) -> Effects {
    Effects { pin: Some(pin), ..Effects::default() }
}

impl Session {
    /// Decides what a command means now. Changes the session only where no backend has a say.
    pub(super) fn command(&mut self, text: &str, command: &Command<'_>) -> Result<Action, Trouble> {
        let here = Destination::Attached;
        let state = self.transaction.state();
        if self.transaction.is_failed()
            && !matches!(command, Command::Commit { .. } | Command::Rollback { .. } | Command::RollbackTo(_))
        {
            return Err(self.failed_block().into());
        }
        if self.implicit
            && let Some(action) = self.implicit_command(text, command)?
        {
            return Ok(action);
        }
        if self.is_spread()
            && let Some(action) = self.spread_command(command)?
        {
            return Ok(action);
        }
        Ok(match command {
            Command::Begin { .. } | Command::Commit { .. } | Command::Rollback { .. } => {
                return Ok(self.block_command(text, command));
            }
            Command::Savepoint(name) if state == (State::Virtual { failed: false }) => {
                self.transaction.replay(text.to_owned(), Some(name));
                self.transaction.savepoint(name, &self.settings);
                Action::Answer(Answer::tag("SAVEPOINT"))
            }
            Command::Release(name) if state == (State::Virtual { failed: false }) => {
                if !self.transaction.release(name) {
                    return Err(no_savepoint(name).into());
                }
                self.declared_released();
                Action::Answer(Answer::tag("RELEASE"))
            }
            Command::RollbackTo(name) if matches!(state, State::Virtual { .. }) => {
                let Some(before) = self.transaction.rollback_to(name) else { return Err(no_savepoint(name).into()) };
                self.savepoint_restored();
                self.restore(before);
                Action::Answer(Answer::tag("ROLLBACK"))
            }
            Command::Savepoint(name) => {
                let after = After::Savepoint { name: name.to_string(), text: text.to_owned() };
                Action::forward(here, floating(), after)
            }
            Command::Release(name) => {
                let after = After::Release { name: name.to_string() };
                Action::forward(here, floating(), after)
            }
            Command::RollbackTo(name) => {
                let after = After::RollbackTo { name: name.to_string() };
                Action::forward(here, floating(), after)
            }
            Command::PrepareTransaction | Command::CommitPrepared | Command::RollbackPrepared => {
                self.prepared_transaction(command)?
            }
            Command::Set { name, value, local, .. } if settings::is_own(name) => {
                self.set_own(name, value, *local)?;
                Action::Answer(Answer::tag("SET"))
            }
            Command::Reset(name) if settings::is_own(name) => {
                self.set_own(name, &SetValue::Default, false)?;
                Action::Answer(Answer::tag("RESET"))
            }
            Command::Show(name) if settings::is_own(name) => {
                let value = self.settings.show_own(name, &self.state.vschema)?;
                Action::Answer(Answer::lines(name, vec![value], "SHOW"))
            }
            Command::Show(_) => {
                let lines = self.state.vschema.to_toml().lines().map(str::to_owned).collect();
                Action::Answer(Answer::lines("vschema", lines, "SHOW"))
            }
            Command::Set { name, value: SetValue::Text(value), local, .. } if settings::changes_reading(name) => {
                settings::check_readable(name, value, self.state.vschema.single_shard())?;
                let after = match local {
                    true => After::local(text),
                    false => after_set(text, name, &SetValue::Text(value.clone())),
                };
                Action::forward(self.anywhere(), floating(), after)
            }
            Command::Set { name, value: SetValue::Default, local: true, .. } if self.restores(Some(name)) => {
                let then = self.base.server.restore_statements(Some(name), true);
                Action::reset(self.anywhere(), After::local(&then.join(";")), then)
            }
            Command::Set { local: true, .. } | Command::SetTransaction { session_characteristics: false } => {
                let characteristic = matches!(command, Command::SetTransaction { .. });
                if characteristic {
                    self.transaction.alter();
                }
                Action::forward(self.anywhere(), floating(), After::Local { text: text.to_owned(), characteristic })
            }
            Command::SetConstraints => Action::forward(self.anywhere(), floating(), After::local(text)),
            Command::Set { name, value, .. } => {
                let default = matches!(value, SetValue::Default);
                let then = if default { self.base.server.restore_statements(Some(name), false) } else { Vec::new() };
                Action::reset(self.anywhere(), after_set(text, name, value), then)
            }
            Command::SetTransaction { session_characteristics: true } => self.characteristics(text)?,
            Command::Reset(name) => {
                let after = After::Reset { name: Some(name.to_string()), text: text.to_owned(), followed: true };
                Action::reset(self.anywhere(), after, self.base.server.restore_statements(Some(name), false))
            }
            Command::ResetAll => {
                let after = After::Reset { name: None, text: text.to_owned(), followed: true };
                Action::reset(self.anywhere(), after, self.base.server.restore_statements(None, false))
            }
            Command::Discard(DiscardTarget::All) => self.discard_all()?,
            Command::Discard(DiscardTarget::Sequences) => {
                self.forget_numbers();
                Action::forward(here, Effects::default(), After::Recheck)
            }
            Command::Discard(_) => Action::forward(here, Effects::default(), After::Recheck),
            Command::Prepare { name, types, body } => {
                let types = types.clone().and_then(|range| text.get(range)).map(str::to_owned);
                self.sql_prepare(name, types, text.get(body.clone()).unwrap_or_default())?
            }
            Command::Execute { name, args } => {
                self.sql_execute(name, args.clone().and_then(|range| text.get(range)))?
            }
            Command::Deallocate(name) => self.deallocate(name.as_deref())?,
            Command::Listen(_) => Action::forward(Destination::Home, pinned(Pin::Listen), After::Recheck),
            Command::Unlisten(_) => Action::forward(Destination::Home, Effects::default(), After::Recheck),
            Command::Notify => {
                Action::forward(Destination::Home, Effects { writes: true, ..Effects::default() }, After::Nothing)
            }
            Command::ClosePortal(name) => {
                let destination = self.toward_cursor(here, text);
                name.iter().for_each(|name| self.forget_cursor(name));
                Action::forward(destination, Effects::default(), After::Recheck)
            }
            Command::Explain { inner, .. } => {
                let inner = text.get(inner.clone()).unwrap_or_default();
                let normal = self.normal(inner)?;
                let plan = self.plan(inner, &normal);
                let values = TextValues { text: inner, literals: &normal.literals };
                let lines = crate::plan::explain(&plan, inner, &values, &self.state.vschema, &self.decode);
                Action::Answer(Answer::lines("QUERY PLAN", lines, "EXPLAIN"))
            }
            Command::AlterVschema => Action::Layout,
            _ => Action::forward(here, Effects::default(), After::Nothing),
        })
    }

    /// Transaction control within a batch that is one transaction over several shards without a block of the client's.
    fn implicit_command(&mut self, text: &str, command: &Command<'_>) -> Result<Option<Action>, PgError> {
        let needs_block = |what: &str| {
            let message = format!("{what} can only be used in transaction blocks");
            Err(PgError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message))
        };
        Ok(Some(match command {
            Command::Begin { .. } if text.split_whitespace().count() <= 2 => {
                // The batch's transaction becomes the block.
                self.implicit = false;
                Action::Answer(Answer::tag(begin_tag(text)))
            }
            Command::Begin { .. } => {
                return Err(PgError::unsupported(
                    "BEGIN with modes is not supported after a statement over several shards",
                )
                .with_hint("Send BEGIN first."));
            }
            Command::Commit { chain: true } => return needs_block("COMMIT AND CHAIN"),
            Command::Rollback { chain: true } => return needs_block("ROLLBACK AND CHAIN"),
            Command::Commit { .. } => Action::End { commit: true, chain: false },
            Command::Rollback { .. } => Action::End { commit: false, chain: false },
            Command::Savepoint(_) => return needs_block("SAVEPOINT"),
            Command::Release(_) => return needs_block("RELEASE SAVEPOINT"),
            Command::RollbackTo(_) => return needs_block("ROLLBACK TO SAVEPOINT"),
            _ => return Ok(None),
        }))
    }

    /// Commands that mean something else, or have to reach more, in a block of several backends.
    fn spread_command(&mut self, command: &Command<'_>) -> Result<Option<Action>, PgError> {
        Ok(Some(match command {
            Command::Commit { chain } => Action::End { commit: true, chain: *chain },
            Command::Rollback { chain } => Action::End { commit: false, chain: *chain },
            Command::Release(name) | Command::RollbackTo(name) if self.transaction.is_doomed() => {
                return Err(self.lost.as_deref().cloned().unwrap_or_else(|| no_savepoint(name)));
            }
            Command::Release(name) | Command::RollbackTo(name) if !self.transaction.has_savepoint(name) => {
                return Err(no_savepoint(name));
            }
            Command::Release(name) => Action::Everywhere(Everywhere::Release(name.to_string())),
            Command::RollbackTo(name) => Action::Everywhere(Everywhere::RollbackTo(name.to_string())),
            Command::Savepoint(name) if self.attached.is_none() => {
                // Each participant makes it before its next statement.
                self.transaction.replay(format!("SAVEPOINT {}", quoted(name)), Some(name));
                self.transaction.savepoint(name, &self.settings);
                Action::Answer(Answer::tag("SAVEPOINT"))
            }
            Command::ClosePortal(None) => Action::Everywhere(Everywhere::CloseAll),
            _ => return Ok(None),
        }))
    }

    /// Why nothing but the end of the block is taken.
    pub(super) fn failed_block(&self) -> PgError {
        self.lost.as_deref().cloned().unwrap_or_else(in_failed_transaction)
    }

    /// BEGIN, COMMIT, ROLLBACK.
    fn block_command(&mut self, text: &str, command: &Command<'_>) -> Action {
        let state = self.transaction.state();
        match (command, state) {
            (Command::Begin { .. }, State::Idle) if self.attached.is_some() => {
                // The batch's implicit transaction becomes the block, on the backend where it is. One that has only parsed counts
                // too: the Sync that it will be sent says whether a block is open.
                let after = After::Begin { text: text.to_owned(), floating: !self.batch.executed };
                Action::forward(Destination::Attached, floating(), after)
            }
            (Command::Begin { .. }, State::Idle) if is_plain_begin(text) => {
                self.transaction.begin(text.to_owned(), &self.settings);
                Action::Answer(Answer::tag(begin_tag(text)))
            }
            // Not a form that is known to succeed: the server judges it at once.
            (Command::Begin { .. }, State::Idle) => {
                let after = After::Begin { text: text.to_owned(), floating: false };
                Action::forward(Destination::Home, floating(), after)
            }
            (Command::Begin { .. }, State::Virtual { .. }) => Action::Answer(Answer::warned(
                begin_tag(text),
                PgError::new(SqlState::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress"),
            )),
            (Command::Commit { chain } | Command::Rollback { chain }, State::Virtual { failed }) => {
                let commits = matches!(command, Command::Commit { .. }) && !failed;
                let characteristics = chain.then(|| self.transaction.characteristics());
                self.transaction_over(commits);
                if commits {
                    self.transaction.commit();
                } else if let Some(before) = self.transaction.rollback() {
                    self.restore(before);
                }
                if let Some(characteristics) = characteristics {
                    self.transaction.chain(characteristics, &self.settings);
                }
                Action::Answer(Answer::tag(if commits { "COMMIT" } else { "ROLLBACK" }))
            }
            (Command::Commit { chain: false }, State::Idle) if !self.batch.executed => {
                Action::Answer(Answer::warned("COMMIT", no_transaction()))
            }
            (Command::Rollback { chain: false }, State::Idle) if !self.batch.executed => {
                Action::Answer(Answer::warned("ROLLBACK", no_transaction()))
            }
            (Command::Commit { chain }, _) => {
                Action::forward(Destination::Attached, floating(), After::Commit { chain: *chain })
            }
            (Command::Rollback { chain }, _) => {
                Action::forward(Destination::Attached, floating(), After::Rollback { chain: *chain })
            }
            _ => Action::forward(Destination::Attached, floating(), After::Nothing),
        }
    }

    /// Whether a RESET has to bring back what the client's startup message set, which no server knows.
    pub(super) fn restores(&self, name: Option<&str>) -> bool {
        !self.base.server.restore_statements(name, false).is_empty()
    }

    /// Settings can be tried on any server; within a transaction, on its own.
    fn anywhere(&self) -> Destination {
        Destination::Any(None)
    }

    fn set_own(&mut self, name: &str, value: &SetValue<'_>, local: bool) -> Result<(), PgError> {
        if local && self.transaction.is_idle() {
            let warning =
                PgError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "SET LOCAL can only be used in transaction blocks");
            encode::notice(&mut self.client.outgoing, "WARNING", &warning);
            return Ok(());
        }
        let text = match value {
            SetValue::Default => None,
            SetValue::Text(text) => Some(&**text),
        };
        let mut changed = self.settings.clone();
        changed.set_own(name, text, &self.state.vschema)?;
        if changed.shard.is_some() {
            self.may_name_shards(name)?;
        }
        if !self.transaction.is_idle() {
            self.transaction.remember(&self.settings);
        }
        match local {
            true => _ = self.local_shard.get_or_insert(self.settings.shard),
            false => self.local_shard = None,
        }
        self.settings = changed;
        self.renew_context();
        Ok(())
    }

    /// SET SESSION CHARACTERISTICS sets `default_transaction_*`, one setting for each mode.
    fn characteristics(&mut self, text: &str) -> Result<Action, PgError> {
        let words: Vec<String> =
            text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_uppercase).collect();
        let has = |phrase: &[&str]| words.windows(phrase.len()).any(|window| window == phrase);
        let isolation = [
            (&["READ", "UNCOMMITTED"][..], "read uncommitted"),
            (&["READ", "COMMITTED"], "read committed"),
            (&["REPEATABLE", "READ"], "repeatable read"),
            (&["SERIALIZABLE"], "serializable"),
        ];
        let mut found = Vec::new();
        if let Some((_, value)) = isolation.iter().find(|(phrase, _)| has(phrase)) {
            found.push(("default_transaction_isolation", *value));
        }
        if has(&["READ", "ONLY"]) {
            found.push(("default_transaction_read_only", "on"));
        } else if has(&["READ", "WRITE"]) {
            found.push(("default_transaction_read_only", "off"));
        }
        if has(&["NOT", "DEFERRABLE"]) {
            found.push(("default_transaction_deferrable", "off"));
        } else if has(&["DEFERRABLE"]) {
            found.push(("default_transaction_deferrable", "on"));
        }
        let set = found.iter().map(|(name, value)| ((*name).to_owned(), Value::Plain((*value).into())));
        Ok(Action::forward(
            self.anywhere(),
            floating(),
            After::Characteristics { values: set.collect(), text: text.to_owned() },
        ))
    }

    fn prepared_transaction(&self, command: &Command<'_>) -> Result<Action, PgError> {
        if self.state.vschema.single_shard() {
            let after = match command {
                Command::PrepareTransaction => After::Commit { chain: false },
                _ => After::Nothing,
            };
            return Ok(Action::forward(Destination::Attached, Effects { writes: true, ..Effects::default() }, after));
        }
        Err(PgError::unsupported("two-phase commit by clients is not supported over several shards")
            .with_hint("COMMIT alone is enough: a transaction of one shard needs no second phase."))
    }

    fn discard_all(&mut self) -> Result<Action, PgError> {
        if !self.transaction.is_idle() {
            return Err(PgError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "DISCARD ALL cannot run inside a transaction block",
            ));
        }
        // Backends that are held elsewhere are closed: nothing of theirs is to stay.
        let keep = self.held.iter().position(|held| !held.pins.is_empty());
        self.held = keep.map(|index| self.held.swap_remove(index)).into_iter().collect();
        self.attached = None;
        Ok(Action::forward(Destination::Attached, Effects::default(), After::DiscardAll))
    }
}

/// The setting that a SET changes, once it has succeeded.
pub(super) fn after_set(text: &str, name: &str, value: &SetValue<'_>) -> After {
    let value = match value {
        SetValue::Default => None,
        SetValue::Text(value) => Some(Value::Sql((&**value).into())),
    };
    After::Set { name: name.to_owned(), value, text: text.to_owned() }
}

pub(super) fn no_transaction() -> PgError {
    PgError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress")
}

/// An identifier, as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn no_savepoint(name: &str) -> PgError {
    PgError::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}

pub(super) fn in_failed_transaction() -> PgError {
    PgError::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}
