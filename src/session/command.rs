//! Commands that the session itself acts on: transaction control, settings, SQL's own prepared statements.

use super::effects::After;
use super::local::Answer;
use super::route::Destination;
use super::statements::Statement;
use super::transaction::State;
use super::values::{ExecuteValues, TextValues};
use super::{Session, Trouble, settings};
use crate::backend::Value;
use crate::error::PgError;
use crate::plan::{Effects, Pin};
use crate::sql::{self, Command, DiscardTarget, SetValue, TokenKind};
use crate::sqlstate::SqlState;
use crate::types::{Raw, oid};

/// What is to be done with a command.
pub(super) enum Action {
    /// It is done.
    Answer(Answer),
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
fn floating() -> Effects {
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
            return Err(in_failed_transaction().into());
        }
        Ok(match command {
            Command::Begin { .. } | Command::Commit { .. } | Command::Rollback { .. } => {
                return Ok(self.block_command(text, command));
            }
            Command::Savepoint(name) if state == (State::Virtual { failed: false }) => {
                self.transaction.replay(text, Some(name));
                self.transaction.savepoint(name, &self.settings);
                Action::Answer(Answer::tag("SAVEPOINT"))
            }
            Command::Release(name) if state == (State::Virtual { failed: false }) => {
                if !self.transaction.release(name) {
                    return Err(no_savepoint(name).into());
                }
                Action::Answer(Answer::tag("RELEASE"))
            }
            Command::RollbackTo(name) if matches!(state, State::Virtual { .. }) => {
                let Some(before) = self.transaction.rollback_to(name) else { return Err(no_savepoint(name).into()) };
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
                    true => After::Local { text: text.to_owned() },
                    false => after_set(text, name, &SetValue::Text(value.clone())),
                };
                Action::forward(self.anywhere(), floating(), after)
            }
            Command::Set { name, value: SetValue::Default, local: true, .. } if self.restores(Some(name)) => {
                let then = self.base.server.restore_statements(Some(name), true);
                Action::reset(self.anywhere(), After::Local { text: then.join(";") }, then)
            }
            Command::Set { local: true, .. } | Command::SetTransaction { session_characteristics: false } => {
                if matches!(command, Command::SetTransaction { .. }) {
                    self.transaction.alter();
                }
                Action::forward(self.anywhere(), floating(), After::Local { text: text.to_owned() })
            }
            Command::SetConstraints => {
                Action::forward(self.anywhere(), floating(), After::Local { text: text.to_owned() })
            }
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
            Command::ClosePortal(_) => Action::forward(here, Effects::default(), After::Recheck),
            Command::Explain { inner, .. } => {
                let inner = text.get(inner.clone()).unwrap_or_default();
                let normal = self.normal(inner)?;
                let plan = self.plan(inner, &normal);
                let values = TextValues { text: inner, literals: &normal.literals };
                let lines = crate::plan::explain(&plan, &values, &self.state.vschema, &self.decode);
                Action::Answer(Answer::lines("QUERY PLAN", lines, "EXPLAIN"))
            }
            Command::AlterVschema => {
                return Err(PgError::unsupported("ALTER VSCHEMA is not supported yet")
                    .with_hint("Edit the vschema file; it is read again when it changes, and by RELOAD.")
                    .into());
            }
            _ => Action::forward(here, Effects::default(), After::Nothing),
        })
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
                let (begin, _) = self.transaction.opening();
                let begin = begin.to_owned();
                if commits {
                    self.transaction.commit();
                } else if let Some(before) = self.transaction.rollback() {
                    self.restore(before);
                }
                if *chain {
                    self.transaction.begin(begin, &self.settings);
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
        if local {
            return Err(PgError::unsupported(format!("SET LOCAL {name} is not supported yet"))
                .with_hint("Use SET, or a comment such as /* goldseam: shard=s1 */ before one statement."));
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
        match found[..] {
            [(name, value)] => {
                let after =
                    After::Set { name: name.into(), value: Some(Value::Plain(value.into())), text: text.to_owned() };
                Ok(Action::forward(self.anywhere(), floating(), after))
            }
            _ => Err(PgError::unsupported("SET SESSION CHARACTERISTICS with several modes is not supported yet")
                .with_hint("Set default_transaction_isolation and default_transaction_read_only one by one.")),
        }
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

    fn sql_prepare(&mut self, name: &str, types: Option<String>, body: &str) -> Result<Action, PgError> {
        if self.names.contains_key(name) {
            return Err(PgError::new(
                SqlState::DUPLICATE_PSTATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let statement = self.statement(body, &[], Some(types))?;
        let plan = self.plan_of(&statement.text, statement.normalized, statement.hint);
        if let crate::plan::Verdict::Refuse(error) = &plan.verdict {
            return Err((**error).clone());
        }
        if statement.validated.load(std::sync::atomic::Ordering::Relaxed) {
            self.remember_name(name, statement)?;
            return Ok(Action::Answer(Answer::tag("PREPARE")));
        }
        self.check_room()?;
        // A server has to accept the text first; it keeps the statement.
        let destination = match &plan.verdict {
            crate::plan::Verdict::Route(route) => Destination::Any(route.describable(&self.state.vschema)),
            crate::plan::Verdict::Refuse(error) => return Err((**error).clone()),
        };
        let destination = if self.attached.is_some() { Destination::Attached } else { destination };
        Ok(Action::Forward {
            destination,
            effects: floating(),
            text: Some(statement.sql_prepare(&statement.server_name)),
            after: After::Prepare { name: name.to_owned(), statement },
            needs: None,
            then: Vec::new(),
        })
    }

    fn sql_execute(&mut self, name: &str, arguments: Option<&str>) -> Result<Action, PgError> {
        let Some(statement) = self.names.get(name).cloned() else { return Err(no_statement(name)) };
        let plan = self.plan_of(&statement.text, statement.normalized, statement.hint);
        let limits = self.state.sql_limits();
        let texts = arguments.map(|text| split_arguments(text, &limits)).transpose()?.unwrap_or_default();
        let declared = statement.sql_types.as_ref().and_then(Option::as_deref);
        let declared = declared.map(|list| split_arguments(list, &limits)).transpose()?.unwrap_or_default();
        let expected = statement.parameters.max(declared.len());
        if texts.len() != expected {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!("Expected {expected} parameters but got {}.", texts.len())));
        }
        let mut raws: Vec<Option<Raw<'_>>> = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let declared = declared.get(at).map(|name| name.trim());
            raws.push(argument(text, &limits).and_then(|raw| converted(raw, declared)));
        }
        let values = ExecuteValues { text: &statement.text, literals: &statement.literals, arguments: &raws };
        let destination = self.resolve(&plan, &values)?;
        let arguments = arguments.map(|text| format!("({text})")).unwrap_or_default();
        Ok(Action::Forward {
            destination,
            effects: plan.effects.clone(),
            after: After::Nothing,
            text: Some(format!("EXECUTE \"{}\"{arguments}", statement.server_name)),
            needs: Some(statement),
            then: Vec::new(),
        })
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<Action, PgError> {
        match name {
            None => {
                self.names.clear();
                Ok(Action::Answer(Answer::tag("DEALLOCATE ALL")))
            }
            Some(name) if self.names.remove(name).is_some() => Ok(Action::Answer(Answer::tag("DEALLOCATE"))),
            Some(name) => Err(no_statement(name)),
        }
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

/// The arguments of EXECUTE: cut at commas outside of parentheses and brackets, by the lexer's own tokens.
fn split_arguments<'a>(text: &'a str, limits: &sql::Limits) -> Result<Vec<&'a str>, PgError> {
    let (mut pieces, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for token in sql::lex(text, limits)? {
        match token.kind {
            TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
            TokenKind::RightParen | TokenKind::RightBracket => depth = depth.saturating_sub(1),
            TokenKind::Comma if depth == 0 => {
                pieces.push(&text[start..token.start as usize]);
                start = token.end as usize;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    Ok(pieces)
}

/// One argument of EXECUTE, if it is a plain literal: whole, with a sign perhaps.
fn argument<'a>(text: &'a str, limits: &sql::Limits) -> Option<Raw<'a>> {
    if text.trim().eq_ignore_ascii_case("null") {
        return Some(Raw::Null);
    }
    let mut normalized = sql::Normalized::default();
    sql::normalize(text, limits, &mut normalized).ok()?;
    let [literal] = normalized.literals[..] else { return None };
    let (before, after) = (text.get(..literal.start as usize)?, text.get(literal.end as usize..)?);
    if !after.trim().is_empty() {
        return None;
    }
    match (before.trim(), literal.raw(text)?) {
        ("", raw) => Some(raw),
        ("-", Raw::Text { text, oid }) => Some(Raw::Text { text: format!("-{text}").into(), oid }),
        _ => None,
    }
}

/// An argument as its parameter has it. EXECUTE assigns: a fraction is rounded, and a string is read as the declared type.
fn converted<'a>(raw: Raw<'a>, declared: Option<&str>) -> Option<Raw<'a>> {
    let Raw::Text { text, oid } = raw else { return Some(raw) };
    match oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC if text.parse::<i64>().is_ok() => {
            Some(Raw::Text { text, oid })
        }
        oid::UNKNOWN | oid::UNSPECIFIED => {
            let oid = match declared.map(str::to_ascii_lowercase).as_deref() {
                None | Some("unknown") => oid,
                Some("smallint" | "int2") => oid::INT2,
                Some("int" | "integer" | "int4") => oid::INT4,
                Some("bigint" | "int8") => oid::INT8,
                Some("text") => oid::TEXT,
                Some("uuid") => oid::UUID,
                Some("date") => oid::DATE,
                Some(_) => return None,
            };
            Some(Raw::Text { text, oid })
        }
        _ => None,
    }
}

/// A BEGIN made of nothing but the words that the grammar knows there: it cannot fail.
fn is_plain_begin(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "BEGIN",
        "START",
        "WORK",
        "TRANSACTION",
        "ISOLATION",
        "LEVEL",
        "SERIALIZABLE",
        "REPEATABLE",
        "READ",
        "COMMITTED",
        "UNCOMMITTED",
        "WRITE",
        "ONLY",
        "NOT",
        "DEFERRABLE",
    ];
    let text = text.trim().trim_end_matches(';');
    let mut words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    words.all(|word| WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))) && is_well_formed_begin(text)
}

/// Whether the words stand in an order that the grammar takes: mode after mode.
fn is_well_formed_begin(text: &str) -> bool {
    let words: Vec<String> = text
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .map(str::to_uppercase)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut rest = match &words[..] {
        ["BEGIN", "WORK" | "TRANSACTION", rest @ ..] | ["START", "TRANSACTION", rest @ ..] | ["BEGIN", rest @ ..] => {
            rest
        }
        _ => return false,
    };
    while !rest.is_empty() {
        rest = match rest {
            ["ISOLATION", "LEVEL", "SERIALIZABLE", rest @ ..]
            | ["ISOLATION", "LEVEL", "REPEATABLE", "READ", rest @ ..]
            | ["ISOLATION", "LEVEL", "READ", "COMMITTED" | "UNCOMMITTED", rest @ ..]
            | ["READ", "WRITE" | "ONLY", rest @ ..]
            | ["NOT", "DEFERRABLE", rest @ ..]
            | ["DEFERRABLE", rest @ ..] => rest,
            _ => return false,
        };
    }
    true
}

fn begin_tag(text: &str) -> &'static str {
    let start = text.trim_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case("start"));
    if start { "START TRANSACTION" } else { "BEGIN" }
}

fn no_transaction() -> PgError {
    PgError::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress")
}

fn no_savepoint(name: &str) -> PgError {
    PgError::new(SqlState::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
}

pub(super) fn no_statement(name: &str) -> PgError {
    if name.is_empty() {
        return PgError::new(SqlState::UNDEFINED_PSTATEMENT, "unnamed prepared statement does not exist");
    }
    PgError::new(SqlState::UNDEFINED_PSTATEMENT, format!("prepared statement \"{name}\" does not exist"))
}

pub(super) fn in_failed_transaction() -> PgError {
    PgError::new(
        SqlState::IN_FAILED_SQL_TRANSACTION,
        "current transaction is aborted, commands ignored until end of transaction block",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_begin_that_cannot_fail_is_put_off() {
        for text in [
            "BEGIN",
            "begin;",
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE",
            "BEGIN WORK READ WRITE",
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ] {
            assert!(is_plain_begin(text), "{text}");
        }
        for text in
            ["BEGIN READ", "BEGIN ISOLATION LEVEL bogus", "START", "BEGIN ATOMIC", "BEGIN WORK WORK", "BEGIN /*x*/"]
        {
            assert!(!is_plain_begin(text), "{text}");
        }
    }

    #[test]
    fn arguments_are_cut_where_the_lexer_says() {
        let limits = sql::Limits::default();
        let cases: &[(&str, &[&str])] = &[
            ("1, 'a, b'", &["1", "'a, b'"]),
            (r"E'x\',1,', 2", &[r"E'x\',1,'", "2"]),
            ("f(1, 2), ARRAY[3, 4], $$a,b$$", &["f(1, 2)", "ARRAY[3, 4]", "$$a,b$$"]),
        ];
        for (text, pieces) in cases {
            let found: Vec<&str> = split_arguments(text, &limits).unwrap().iter().map(|piece| piece.trim()).collect();
            assert_eq!(found, *pieces, "{text}");
        }
    }

    #[test]
    fn arguments_of_execute_are_keys_only_if_they_are_plain_literals() {
        let limits = sql::Limits::default();
        assert!(matches!(argument(" 42 ", &limits), Some(Raw::Text { text, .. }) if text == "42"));
        assert!(matches!(argument("-7", &limits), Some(Raw::Text { text, .. }) if text == "-7"));
        assert!(matches!(argument("'it''s'", &limits), Some(Raw::Text { text, .. }) if text == "it's"));
        assert_eq!(argument("NULL", &limits), Some(Raw::Null));
        for text in ["1 + 1", "f(1)", "'a' || 'b'", "x", "", "1::int"] {
            assert_eq!(argument(text, &limits), None, "{text}");
        }
    }
}
