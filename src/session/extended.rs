//! The extended query protocol: Parse, Bind, Describe, Execute, Close, Flush, Sync.
//!
//! Which shard a statement goes to is known at Bind, so a Parse is answered at once if a server has accepted its text before, and
//! waits for the Bind, a Describe, a Flush or the Sync otherwise. From the first message that a backend is sent to the
//! Sync all messages go to that backend, because together they are one transaction.

mod run;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use super::cursors::declared::Declaration;
use super::cursors::fetch::Fetching;
use super::cursors::may_declare;
use super::effects::After;
use super::relay::Expect;
use super::route::{Destination, aside};
use super::scatter::Scattered;
use super::sql_prepare::no_statement;
use super::statements::Statement;
use super::temporary::Made;
use super::values::BoundValues;
use super::work::Working;
use super::{Change, Session, Trouble};
use crate::error::PgError;
use crate::plan::Plan;
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{BindView, ParseView, encode, request};
use crate::sql::{self, Command};
use crate::sqlstate::SqlState;
use crate::types::Oid;

/// The messages since the last Sync.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Some came.
    pub open: bool,
    /// A statement was bound or run on the attached backend: the batch can go to no other.
    pub executed: bool,
    /// One of them wrote, told the time, or left something behind: what follows must see the same transaction.
    pub tied: bool,
    /// Parsed, but no server has said yet that it can.
    pub unproven: Vec<Arc<Statement>>,
}

/// A portal: on a backend, or, for commands that the session itself acts on, here.
#[derive(Debug)]
pub(super) enum Portal {
    /// On the attached backend.
    Remote { plan: Arc<Plan>, after: After },
    /// Here.
    Local { statement: Arc<Statement>, formats: Vec<i16> },
    /// On several shards; taken out while it is at work.
    Scatter(Option<Box<Scattered>>),
    /// Answered in steps; taken out while it is at work.
    Work(Option<Box<Working>>),
    /// DECLARE of a cursor over several shards; taken out when it is executed.
    Declare(Option<Box<Declaration>>),
    /// FETCH or MOVE of such a cursor.
    Fetch(Fetching),
    /// A temporary table made of a query over several shards; taken out when it is executed.
    Make(Option<Box<Made>>),
}

impl Session {
    /// Parse.
    pub(super) async fn parse(&mut self, frame: &[u8]) -> Result<(), Trouble> {
        let view = ParseView::new(&frame[HEADER..])?;
        self.batch.open = true;
        self.meter.parsed();
        self.renew_temporary().await?;
        if !view.name.is_empty() && self.names.contains_key(view.name) {
            return Err(PgError::new(
                SqlState::DUPLICATE_PSTATEMENT,
                format!("prepared statement \"{}\" already exists", view.name),
            )
            .into());
        }
        self.trim_journal();
        let types: Vec<Oid> = view.types().collect();
        let statement = self.statement(view.sql, &types, None)?;
        statement.used();
        if view.name.is_empty() {
            self.unnamed = Some(statement.clone());
        } else {
            self.remember_name(view.name, statement.clone())?;
        }
        if self.transaction.is_failed() && !is_exit(&sql::classify(&statement.text)) {
            self.forget_name(view.name);
            return Err(self.failed_block().into());
        }
        if statement.is_command || (statement.validated.load(Ordering::Relaxed) && self.batch.unproven.is_empty()) {
            return self.accept_parse(view.name).await;
        }
        let plan = self.plan_for(&statement);
        if let crate::plan::Verdict::Refuse(error) = &plan.verdict {
            self.forget_name(view.name);
            return Err((**error).clone().into());
        }
        if plan.tables_are_apart(&self.state.vschema) {
            // No server can judge it: what is wrong with it shows when it is described or run.
            return self.accept_parse(view.name).await;
        }
        self.batch.unproven.push(statement);
        self.journal.push(Change::Given(view.name.to_owned()));
        Ok(())
    }

    /// Answers a Parse that no server has to judge; those before it are judged first.
    async fn accept_parse(&mut self, name: &str) -> Result<(), Trouble> {
        if let Err(trouble) = self.prove_all().await {
            self.forget_name(name);
            return Err(trouble);
        }
        let mut answer = BytesMut::new();
        encode::parse_complete(&mut answer);
        self.answer(answer);
        self.journal.push(Change::Given(name.to_owned()));
        Ok(())
    }

    /// What has been answered cannot be skipped any more.
    pub(super) fn trim_journal(&mut self) {
        if self.relay.is_idle() && self.batch.unproven.is_empty() {
            self.journal.clear();
        }
    }

    fn forget_name(&mut self, name: &str) {
        if name.is_empty() {
            self.unnamed = None;
        } else {
            self.names.remove(name);
        }
    }

    /// The shared statement of a text and its types.
    pub(super) fn statement(
        &self,
        text: &str,
        types: &[Oid],
        sql_types: Option<Option<String>>,
    ) -> Result<Arc<Statement>, PgError> {
        let marker = sql_types.as_ref().map(|types| types.as_deref().unwrap_or(""));
        let key = self.shared.statements.key(text, types, marker, self.context.catalog.version);
        if let Some(known) = self.shared.statements.get(key) {
            return Ok(known);
        }
        let pieces = aside(text, || sql::split(text, &self.state.sql_limits()))?;
        if pieces.len() > 1 {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                "cannot insert multiple commands into a prepared statement",
            ));
        }
        let normal = self.normal(text)?;
        Ok(self.shared.statements.insert(key, |id, name| {
            Statement::new(
                id,
                name,
                text.to_owned(),
                types.to_vec(),
                sql_types,
                normal.key,
                normal.hint,
                normal.literals,
            )
        }))
    }

    /// A name for a statement, within the session's bound.
    pub(super) fn remember_name(&mut self, name: &str, statement: Arc<Statement>) -> Result<(), PgError> {
        self.check_room()?;
        self.names.insert(name.to_owned(), statement);
        Ok(())
    }

    /// Whether one more name is within the session's bound.
    pub(super) fn check_room(&self) -> Result<(), PgError> {
        let most = self.state.config.limits.max_prepared_per_session;
        if self.names.len() >= most {
            return Err(PgError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("too many prepared statements in this session: {most}"),
            )
            .with_hint("Deallocate some, or raise limits.max_prepared_per_session."));
        }
        Ok(())
    }

    fn named(&self, name: &str) -> Result<Arc<Statement>, PgError> {
        let found = if name.is_empty() { self.unnamed.as_ref() } else { self.names.get(name) };
        found.cloned().ok_or_else(|| no_statement(name))
    }

    /// Bind.
    pub(super) async fn bind(&mut self, frame: &[u8]) -> Result<(), Trouble> {
        self.batch.open = true;
        let view = match BindView::new(&frame[HEADER..]) {
            Ok(view) => view,
            Err(error) => {
                // Which statement is meant is read, and judged, before the values.
                if let Ok((_, statement)) = BindView::names(&frame[HEADER..]) {
                    self.named(statement)?;
                }
                return Err(error.into());
            }
        };
        let statement = self.named(view.statement)?;
        self.renew_temporary().await?;
        self.meter.bound(&statement.text);
        if !view.portal.is_empty() && self.portals.iter().any(|(name, _)| name == view.portal) {
            return Err(
                PgError::new(SqlState::DUPLICATE_CURSOR, format!("cursor \"{}\" already exists", view.portal)).into()
            );
        }
        // An empty statement may be parsed in a failed transaction, but not bound (`exec_bind_message`).
        if self.transaction.is_failed() {
            let command = sql::classify(&statement.text);
            if !is_exit(&command) || matches!(command, Command::Empty) {
                return Err(self.failed_block().into());
            }
        }
        let supplied = view.parameter_count();
        if statement.sql_types.is_none() && supplied != statement.parameters {
            return Err(PgError::new(
                SqlState::PROTOCOL_VIOLATION,
                format!(
                    "bind message supplies {supplied} parameters, but prepared statement \"{}\" requires {}",
                    view.statement, statement.parameters
                ),
            )
            .into());
        }
        if statement.is_command {
            self.prove_all().await?;
            let mut answer = BytesMut::new();
            encode::bind_complete(&mut answer);
            self.answer(answer);
            let formats = view.result_formats().map(|format| i16::from(format == Format::Binary)).collect();
            self.set_portal(view.portal, Portal::Local { statement, formats })?;
            return Ok(());
        }
        if may_declare(&statement.text) {
            let values = BoundValues {
                text: &statement.text,
                literals: &statement.literals,
                types: &statement.types,
                bind: &view,
            };
            if let Some(declaration) = self.bound_declaration(&statement, &values, frame)? {
                return self.bind_here(view.portal, Portal::Declare(Some(Box::new(declaration)))).await;
            }
        }
        if supplied == 0
            && let Some(made) = self.made_of_many(statement.text.trim_end().trim_end_matches(';'))?
        {
            return self.bind_here(view.portal, Portal::Make(Some(Box::new(made)))).await;
        }
        if let Some(fetch) = self.own_fetch(&statement.text) {
            let formats = view.result_formats().map(|format| i16::from(format == Format::Binary)).collect();
            return self.bind_here(view.portal, Portal::Fetch(Fetching::new(&fetch, formats))).await;
        }
        self.bind_statement(frame, view, statement, 0).await
    }

    /// Bind of a statement that is no command. `round`: how often it has got values that are one for the whole.
    pub(super) async fn bind_statement(
        &mut self,
        frame: &[u8],
        view: BindView<'_>,
        statement: Arc<Statement>,
        round: usize,
    ) -> Result<(), Trouble> {
        // The sizes of spread tables are in the text, for the home shard.
        let (statement, sized) = match self.sized_statement(&statement).await? {
            Some((statement, plan)) => (statement, Some(plan)),
            None => (statement, None),
        };
        let told = sized.is_some();
        let plan = sized.unwrap_or_else(|| self.plan_for(&statement));
        let typed = if statement.sql_types.is_some() { self.twin(&statement)? } else { statement.clone() };
        let after = match plan.effects.sets {
            true => {
                let bound = BoundValues {
                    text: &statement.text,
                    literals: &statement.literals,
                    types: &typed.types,
                    bind: &view,
                };
                self.after_function(&statement.text, &bound)?
            }
            false => After::Nothing,
        };
        let destination = if told {
            Destination::Shard(self.state.vschema.home())
        } else {
            let values =
                BoundValues { text: &statement.text, literals: &statement.literals, types: &typed.types, bind: &view };
            self.resolve(&plan, &values).map_err(|error| not_text(&view).unwrap_or(error))?
        };
        if let Some(filled) = self.fill(&statement.text, &plan, &destination, Some(statement.parameters)).await? {
            return Box::pin(self.bind_filled(&view, &statement, filled, round)).await;
        }
        let destination = self.fitting(&plan, &statement.text, Some(&typed), destination).await?;
        if plan.effects.noted && self.transaction.is_idle() {
            // What lookups know of it is a part of its transaction, which lasts up to the Sync.
            self.set_aside().await?;
            self.begin_implicit();
        }
        if let Destination::Shards { shards, rows } = destination {
            return Box::pin(self.bind_scatter(frame, &view, typed, &plan, (shards, rows))).await;
        }
        if destination == Destination::Work {
            // Its values go to the shards when it is executed; what is no text PostgreSQL says at once.
            if let Some(error) = not_text(&view) {
                return Err(error.into());
            }
            return Box::pin(self.bind_work(frame, &view, typed, &plan)).await;
        }
        self.admit_state(&destination, &plan.effects)?;
        self.close_if_work(view.portal).await?;
        self.close_if_scatter(view.portal).await?;
        let shard = self.locate(self.toward_cursor(destination, &statement.text)).await?;
        self.admit(shard, &plan.effects)?;
        self.attach(shard).await?;
        let Some(index) = self.attached else { return Err(Trouble::Skipped) };
        self.note_cursor(&statement.text, shard)?;
        if plan.effects.writes && shard == self.state.vschema.home() {
            self.note_notification(&statement.text);
        }
        self.note_portal(view.portal, shard)?;
        self.prove(index);
        self.note_effects(&plan.effects);
        let name = self.have_prepared(index, &statement);
        self.batch.executed = true;
        self.batch.tied |= ties(&plan.effects) || !view.portal.is_empty();
        let backend = &mut *self.held[index].lease;
        request::bind_renamed(&mut backend.outgoing, frame, &view, view.portal, name);
        self.relay.expect(Expect::Bind { pass: true });
        self.set_portal(view.portal, Portal::Remote { plan, after })?;
        Ok(())
    }

    /// Bind of what the session itself does, beside the shards.
    async fn bind_here(&mut self, name: &str, portal: Portal) -> Result<(), Trouble> {
        self.prove_all().await?;
        self.close_if_work(name).await?;
        self.close_if_scatter(name).await?;
        let mut answer = BytesMut::new();
        encode::bind_complete(&mut answer);
        self.answer(answer);
        Ok(self.set_portal(name, portal)?)
    }

    pub(super) fn set_portal(&mut self, name: &str, portal: Portal) -> Result<(), PgError> {
        if let Some(known) = self.portals.iter_mut().find(|(known, _)| known == name) {
            known.1 = portal;
            return Ok(());
        }
        if self.portals.len() >= self.state.config.limits.max_prepared_per_session {
            return Err(PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many open portals in this session"));
        }
        self.portals.push((name.to_owned(), portal));
        Ok(())
    }

    /// An answer of ours, in its turn.
    fn answer(&mut self, bytes: BytesMut) {
        if self.attached.is_none() {
            self.own_only = self.client.outgoing.is_empty() || self.own_only;
            self.client.outgoing.extend_from_slice(&bytes);
        } else {
            self.relay.expect(Expect::Own(bytes.freeze()));
        }
    }
}

/// The error of a text parameter that is not UTF-8: it is what the server would say.
fn not_text(bind: &BindView<'_>) -> Option<PgError> {
    let texts = bind.parameters().enumerate().filter(|(n, _)| bind.format(*n) == Format::Text);
    texts.filter_map(|(_, value)| crate::protocol::utf8(value?).err()).next()
}

/// Whether a statement ties its batch to its shard. Reads do not: under READ COMMITTED each statement has a snapshot of its own, so that
/// reads of one implicit transaction may as well be of several.
pub(super) fn ties(effects: &crate::plan::Effects) -> bool {
    effects.writes || effects.timed || effects.pin.is_some() || effects.ddl
}

/// The columns that a command of ours returns.
fn local_columns(command: &Command<'_>) -> Option<Vec<String>> {
    match command {
        Command::Show(name) => Some(vec![name.to_string()]),
        Command::Explain { .. } => Some(vec!["QUERY PLAN".into()]),
        _ => None,
    }
}

/// Whether a command is taken in a failed transaction (`IsTransactionExitStmt`).
fn is_exit(command: &Command<'_>) -> bool {
    matches!(command, Command::Commit { .. } | Command::Rollback { .. } | Command::RollbackTo(_) | Command::Empty)
}

fn no_portal(name: &str) -> PgError {
    PgError::new(SqlState::UNDEFINED_CURSOR, format!("portal \"{name}\" does not exist"))
}
