//! Describe, Execute and Close: what becomes of statements and portals once they are there.

use bytes::BytesMut;

use super::super::command::Action;
use super::super::effects::After;
use super::super::local::Answer;
use super::super::relay::Expect;
use super::super::sql_execute::{Execution, arguments_of};
use super::super::statements::Statement;
use super::super::{Change, Session, Trouble};
use super::{Portal, local_columns, no_portal};
use crate::protocol::frame::HEADER;
use crate::protocol::{ExecuteView, Subject, SubjectKind, encode, request};
use crate::sql::{self, Command};

impl Session {
    /// Describe.
    pub(in crate::session) async fn describe(&mut self, frame: &[u8]) -> Result<(), Trouble> {
        let subject = Subject::new(&frame[HEADER..])?;
        self.batch.open = true;
        match subject.kind {
            SubjectKind::Statement => {
                self.open_pending().await?;
                let statement = self.named(subject.name)?;
                if statement.is_command {
                    let command = sql::classify(&statement.text);
                    if let Command::Execute { name, .. } = &command {
                        return Box::pin(self.describe_execute(name, &[], true)).await;
                    }
                    self.prove_all().await?;
                    let mut answer = BytesMut::new();
                    encode::parameter_description(&mut answer, &[]);
                    Answer::describe(local_columns(&command).as_deref(), &mut answer);
                    self.answer(answer);
                    return Ok(());
                }
                if self.own_fetch(&statement.text).is_some()
                    && Box::pin(self.describe_fetch_text(&statement.text)).await?
                {
                    return Ok(());
                }
                let plan = self.plan_for(&statement);
                if plan.tables_are_apart(&self.state.vschema) && !self.transaction.is_failed() {
                    return Box::pin(self.describe_apart(&statement, &plan)).await;
                }
                let index = self.attach_for(&statement).await?;
                self.prove(index);
                let name = self.have_prepared(index, &statement);
                request::describe_statement(&mut self.held[index].lease.outgoing, name);
                self.relay.expect(Expect::Describe);
            }
            SubjectKind::Portal => {
                if self.is_scatter(subject.name) {
                    return Box::pin(self.describe_scatter(subject.name)).await;
                }
                if self.is_work(subject.name) {
                    return Box::pin(self.describe_work(subject.name)).await;
                }
                self.open_pending().await?;
                let found = self.portals.iter().find(|(name, _)| name == subject.name);
                if let Some((_, Portal::Fetch(fetching))) = found {
                    let fetching = fetching.clone();
                    return Box::pin(self.describe_fetch(&fetching)).await;
                }
                if let Some((_, Portal::Declare(_) | Portal::Make(_))) = found {
                    let mut answer = BytesMut::new();
                    encode::no_data(&mut answer);
                    self.prove_all().await?;
                    self.answer(answer);
                    return Ok(());
                }
                if found.is_none() && Box::pin(self.describe_declared(subject.name)).await? {
                    return Ok(());
                }
                if let Some((_, Portal::Local { statement, formats })) =
                    self.portals.iter().find(|(name, _)| name == subject.name)
                {
                    let command = sql::classify(&statement.text);
                    if let Command::Execute { name, .. } = &command {
                        let (name, formats) = (name.to_string(), formats.clone());
                        return Box::pin(self.describe_execute(&name, &formats, false)).await;
                    }
                    let mut answer = BytesMut::new();
                    Answer::describe(local_columns(&command).as_deref(), &mut answer);
                    self.prove_all().await?;
                    self.answer(answer);
                    return Ok(());
                }
                self.prove_all().await?;
                self.attach_portal(subject.name).await?;
                // A portal may also be a cursor that SQL's DECLARE made.
                let Some(index) = self.attached else { return Err(no_portal(subject.name).into()) };
                self.held[index].lease.outgoing.extend_from_slice(frame);
                self.relay.expect(Expect::Describe);
            }
        }
        Ok(())
    }

    /// Execute.
    pub(in crate::session) async fn execute(&mut self, frame: &[u8]) -> Result<(), Trouble> {
        let view = ExecuteView::new(&frame[HEADER..])?;
        self.batch.open = true;
        let (mut after, mut tally) = (After::Nothing, None);
        if self.is_scatter(view.portal) {
            return Box::pin(self.execute_scatter(view.portal, view.max_rows)).await;
        }
        if self.is_work(view.portal) {
            return Box::pin(self.execute_work(view.portal, view.max_rows)).await;
        }
        self.open_pending().await?;
        self.prove_all().await?;
        if let Some(own) = self.own_portal(view.portal) {
            return Box::pin(self.execute_own(view.portal, view.max_rows, own)).await;
        }
        self.attach_portal(view.portal).await?;
        let local = match self.portals.iter().find(|(name, _)| name == view.portal) {
            Some((_, Portal::Local { statement, formats })) => Some((statement.clone(), formats.clone())),
            Some((_, Portal::Remote { plan, after: meant })) => {
                after = meant.clone();
                let effects = plan.effects.clone();
                self.note_effects(&effects);
                tally = effects.tally;
                None
            }
            None if self.attached.is_none() => return Err(no_portal(view.portal).into()),
            Some(_) | None => None,
        };
        if let Some((statement, formats)) = local {
            return self.execute_command(&statement, &formats).await;
        }
        let Some(index) = self.attached else { return Err(no_portal(view.portal).into()) };
        self.batch.executed = true;
        self.held[index].lease.outgoing.extend_from_slice(frame);
        self.relay.expect(Expect::Execute { pass: true });
        self.meter_sent(tally.as_ref());
        self.after.push_back(after);
        Ok(())
    }

    /// Runs a command that the session itself acts on.
    async fn execute_command(&mut self, statement: &Statement, formats: &[i16]) -> Result<(), Trouble> {
        let command = sql::classify(&statement.text);
        let text = statement.text.trim().trim_end_matches(';');
        if matches!(command, Command::Empty) {
            let mut answer = BytesMut::new();
            encode::empty_query(&mut answer);
            self.answer(answer);
            return Ok(());
        }
        if let Command::ClosePortal(name) = &command
            && !self.transaction.is_failed()
            && Box::pin(self.close_declared(name.as_deref())).await?
            && name.is_some()
        {
            let mut bytes = BytesMut::new();
            Answer::tag("CLOSE CURSOR").write(true, &mut bytes);
            self.answer(bytes);
            return Ok(());
        }
        match self.command(text, &command)? {
            Action::Answer(answer) => {
                self.meter_local(&command);
                let mut bytes = BytesMut::new();
                answer.write(true, &mut bytes);
                self.answer(bytes);
            }
            Action::End { commit, chain } => {
                let answer = self.end_block(commit, chain).await?;
                self.meter_local(&command);
                let mut bytes = BytesMut::new();
                answer.write(true, &mut bytes);
                self.answer(bytes);
            }
            Action::Layout => {
                let answer = Box::pin(self.alter_vschema(&statement.text)).await?;
                self.meter_local(&command);
                let mut bytes = BytesMut::new();
                answer.write(true, &mut bytes);
                self.answer(bytes);
            }
            Action::Everywhere(everywhere) => {
                let answer = self.everywhere(everywhere).await?;
                let mut bytes = BytesMut::new();
                answer.write(true, &mut bytes);
                self.answer(bytes);
            }
            Action::Execute(execution) => return Box::pin(self.execute_prepared(*execution, formats, false)).await,
            Action::Forward { destination, effects, after, text: changed, then, needs } => {
                if let (Some(statement), false) = (&needs, formats.is_empty()) {
                    // Its rows in the client's formats: bound like a statement of the protocol.
                    let Command::Execute { args, .. } = &command else { return Err(Trouble::Skipped) };
                    let arguments = args.clone().and_then(|range| text.get(range));
                    let arguments = arguments_of(arguments, &self.state.sql_limits())?;
                    let execution = Execution { statement: statement.clone(), arguments };
                    return Box::pin(self.execute_prepared(execution, formats, false)).await;
                }
                let shard = self.locate(destination).await?;
                self.admit(shard, &effects)?;
                self.attach(shard).await?;
                let Some(index) = self.attached else { return Err(Trouble::Skipped) };
                if let Some(statement) = &needs {
                    self.have_kept(index, statement);
                }
                self.note_notification(text);
                self.note_effects(&effects);
                self.batch.executed = true;
                self.batch.tied = true;
                self.reserve(index, &after);
                self.forward_command(index, changed.as_deref().unwrap_or(text), after);
                self.follow_up(index, &then);
            }
        }
        Ok(())
    }

    /// Close.
    pub(in crate::session) async fn close(&mut self, frame: &[u8]) -> Result<(), Trouble> {
        let subject = Subject::new(&frame[HEADER..])?;
        self.batch.open = true;
        self.prove_all().await?;
        self.trim_journal();
        match subject.kind {
            SubjectKind::Statement => {
                let known = match subject.name {
                    "" => self.unnamed.take(),
                    name => self.names.remove(name),
                };
                self.journal.push(Change::Taken(known.map(|known| (subject.name.to_owned(), known))));
            }
            SubjectKind::Portal => {
                self.journal.push(Change::Taken(None));
                let unbound = !self.portals.iter().any(|(name, _)| name == subject.name);
                if self.close_if_work(subject.name).await?
                    || self.close_if_scatter(subject.name).await?
                    || (unbound && Box::pin(self.close_declared(Some(subject.name))).await?)
                {
                    let mut answer = BytesMut::new();
                    encode::close_complete(&mut answer);
                    self.answer(answer);
                    return Ok(());
                }
                self.attach_portal(subject.name).await?;
                self.forget_cursor(subject.name);
                let known = self.portals.iter().position(|(name, _)| name == subject.name);
                let removed = known.map(|at| self.portals.swap_remove(at).1);
                if let (None | Some(Portal::Remote { .. }), Some(index)) = (&removed, self.attached) {
                    self.held[index].lease.outgoing.extend_from_slice(frame);
                    self.relay.expect(Expect::Close { pass: true });
                    return Ok(());
                }
            }
        }
        let mut answer = BytesMut::new();
        encode::close_complete(&mut answer);
        self.answer(answer);
        Ok(())
    }
}
