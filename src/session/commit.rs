//! The end of a transaction over several shards: all of it, or nothing.
//!
//! A transaction that only the attached backend has a part in never comes here: its COMMIT is that server's. Otherwise every participant
//! is first asked, in one round, whether it has written (`txid_current_if_assigned`; a row lock counts, for it was promised). The
//! session's own notes are not enough: a function may have written, and an UPDATE may have found no row.
//!
//! # One writer, or none
//! Then its COMMIT is the transaction's, at the price of one round. Afterwards the readers commit too: they have nothing to
//! lose but what is no part of a transaction (session settings, notifications).
//!
//! # Several writers: two phases
//! 1. PREPARE TRANSACTION on all writers at once. A prepared transaction is on the server's disk, keeps its locks, survives the
//!    connection and the server, and can be committed from any connection.
//! 2. *The decision* ([`Session::decide_commit`]): all are prepared, and so the transaction is committed.
//! 3. COMMIT PREPARED on all writers, COMMIT on all readers, at once. The client is answered after that.
//!
//! | when | what happens | decision | the client gets |
//! |---|---|---|---|
//! | asking who wrote | an error, a lost connection | rolled back | the error |
//! | one writer's COMMIT | an error | rolled back | the server's error |
//! | | a lost connection | asked over another one (`txid_status`) | COMMIT; or the error `08006` if it was rolled back; or `08007` with the transaction's number if no answer comes in time |
//! | a reader's COMMIT | an error, a lost connection | committed | COMMIT, with a warning if a statement there might have had effects |
//! | PREPARE | an error; an answer other than `PREPARE TRANSACTION`; a standby that was not waited for | rolled back: ROLLBACK PREPARED where it had succeeded | the server's error |
//! | | a lost connection | rolled back, whatever that server made of it ([`in_doubt`](super::in_doubt)) | `08006` |
//! | COMMIT PREPARED | an error, a lost connection, no answer in time | committed; tried again over other connections until it is done | COMMIT; with a warning that says where it is still to come if it takes longer than [`PATIENCE`] |
//!
//! # What a crash leaves
//! If Goldseam ends between 1 and 3, prepared transactions stay on the servers with their locks: `SELECT * FROM pg_prepared_xacts WHERE gid
//! LIKE 'goldseam:%'` shows them, and Goldseam names them in its log when it starts. All parts of one transaction have the same gid up to the last colon. If
//! any of them is gone, the decision was to commit and the others need COMMIT PREPARED; if all are there, either is consistent. (A log of
//! decisions that does this by itself belongs in [`Session::decide_commit`].)

use std::sync::Arc;
use std::time::Duration;

use super::ask::{Failure, Question, Reply};
use super::command::{in_failed_transaction, no_transaction, quoted};
use super::in_doubt::{self, InDoubt};
use super::local::Answer;
use super::{Session, Trouble, last_agent};
use crate::error::PgError;
use crate::protocol::encode;
use crate::sqlstate::SqlState;

/// How long a client waits for what is decided but not yet done, or for the answer whether it was done.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a participant has written or locked anything, as the number of its transaction.
const WRITTEN: &str = "SELECT pg_catalog.txid_current_if_assigned()";

/// What all participants have to do at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Everywhere {
    /// RELEASE of this savepoint.
    Release(String),
    /// ROLLBACK TO it.
    RollbackTo(String),
    /// CLOSE ALL.
    CloseAll,
}

/// A participant that has written.
#[derive(Debug)]
pub(super) struct Writer {
    pub index: usize,
    pub xid: String,
}

impl Session {
    /// A block of the session's own begins, for one statement that several shards have to do or none: participants that are enlisted get a
    /// BEGIN. The client sees nothing of it.
    pub(super) fn begin_implicit(&mut self) {
        self.transaction.begin("BEGIN".into(), &self.settings);
        self.implicit = true;
    }

    /// The block of [`Session::begin_implicit`] ends.
    ///
    /// # Errors
    /// It could not be committed, and is rolled back on all shards; or what became of it is not known. `Skipped` if the attached backend still
    /// owed an error, of which the client has been told.
    pub(super) async fn end_implicit(&mut self, commit: bool) -> Result<(), Trouble> {
        let told = match self.come_to_rest().await {
            Ok(()) => false,
            Err(Trouble::Skipped) => true,
            Err(trouble) => return Err(trouble),
        };
        let ended = self.finish_block(commit && !told, false).await;
        if told { Err(Trouble::Skipped) } else { ended.map(drop) }
    }

    /// The block ends on all participants.
    ///
    /// # Errors
    /// It could not be committed, and is rolled back on all shards; or what became of it is not known.
    pub(super) async fn end_block(&mut self, commit: bool, chain: bool) -> Result<Answer, Trouble> {
        self.come_to_rest().await?;
        let warning = self.implicit.then(no_transaction);
        let answer = self.finish_block(commit, chain).await?;
        Ok(Answer { warning, ..answer })
    }

    async fn finish_block(&mut self, commit: bool, chain: bool) -> Result<Answer, Trouble> {
        self.implicit = false;
        let settled = match commit && self.noted && !self.transaction.is_failed() {
            true => Box::pin(self.settle_lookups()).await,
            false => Ok(()),
        };
        self.noted = false;
        let lost = self.lost.take().filter(|_| commit);
        let characteristics = chain.then(|| self.transaction.characteristics());
        let outcome = if let Err(trouble) = settled {
            self.roll_back_all().await;
            Err(trouble)
        } else if commit && !self.transaction.is_failed() {
            self.commit_with_layout().await
        } else {
            self.roll_back_all().await;
            lost.map_or(Ok(false), |error| Err(Trouble::Refused(error)))
        };
        self.transaction_over(matches!(outcome, Ok(true)));
        if let Ok(true) = outcome {
            self.transaction.commit();
        } else {
            if let Some(before) = self.transaction.rollback() {
                self.restore(before);
            }
            self.ddl = false;
        }
        self.draft = None;
        self.dismiss();
        let committed = outcome?;
        if let Some(characteristics) = characteristics {
            self.transaction.chain(characteristics, &self.settings);
        }
        Ok(Answer::tag(if committed { "COMMIT" } else { "ROLLBACK" }))
    }

    /// Nobody is a participant any more. Connections that are not as they should be are closed, the others go back.
    fn dismiss(&mut self) {
        self.attached = None;
        self.release_portals();
        self.close_cursors();
        let mut told = false;
        for index in (0..self.held.len()).rev() {
            if self.held[index].part.take().is_none() {
                continue;
            }
            if !self.held[index].lease.is_clean() {
                let gone = self.drop_held(index);
                if !gone.pins.is_empty() {
                    tracing::warn!(shard = %gone.lease.shard_name, pins = ?gone.pins, "a pinned server connection was lost");
                }
            } else if !told && self.held[index].lease.settings == self.settings.server {
                // Settings that came or went with the transaction are reported by each server; once is enough.
                self.tell_news(index);
                told = true;
            }
        }
        self.detach();
    }

    async fn roll_back_all(&mut self) {
        let all: Vec<usize> = self.participants().collect();
        self.roll_back(&all).await;
    }

    /// Ends these participants' transactions. One that does not answer is closed, and its server rolls back by itself.
    pub(super) async fn roll_back(&mut self, participants: &[usize]) {
        let open = participants.iter().filter(|index| !self.held[**index].lease.tainted);
        let questions = open.map(|index| Question::one(*index, "ROLLBACK")).collect();
        let replies = self.ask(questions, Some(PATIENCE)).await;
        for reply in replies.iter().filter(|reply| reply.is_ok()) {
            self.put_back_settings(reply.index);
        }
    }

    /// A server has rolled its transaction back, and the settings that were made in it.
    pub(super) fn put_back_settings(&mut self, index: usize) {
        if let Some(before) = self.transaction.settings_at_begin() {
            self.held[index].lease.settings = before.server.clone();
        }
    }

    /// COMMIT on all participants, and of the vschema's changes with them.
    async fn commit_with_layout(&mut self) -> Result<bool, Trouble> {
        let before = match Box::pin(self.publish_changes()).await {
            Ok(before) => before,
            Err(trouble) => {
                self.roll_back_all().await;
                return Err(trouble);
            }
        };
        let outcome = self.commit_all().await;
        if let (Some(before), Ok(false) | Err(Trouble::Refused(_) | Trouble::Failed(_))) = (before, &outcome) {
            super::layout::restore(&self.shared, before).await;
        }
        outcome
    }

    /// COMMIT on all participants; whether they are committed, or all rolled back because one had failed without telling.
    async fn commit_all(&mut self) -> Result<bool, Trouble> {
        let all: Vec<usize> = self.participants().collect();
        let questions = all.iter().map(|index| Question::one(*index, WRITTEN)).collect();
        let mut replies = self.ask(questions, None).await;
        if let Some(failed) = replies.iter_mut().find(|reply| !reply.is_ok()) {
            let failure = rolled_back(failed);
            self.roll_back(&all).await;
            return Err(failure);
        }
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for reply in replies {
            match reply.value {
                Some(xid) => writers.push(Writer { index: reply.index, xid }),
                None => readers.push(reply.index),
            }
        }
        if writers.len() > 1 {
            self.meter_two_phase();
            let (mut last, others) = self.last_agents(writers);
            return match (last.pop(), last.is_empty()) {
                (None, _) => self.commit_in_two_phases(&others, &readers).await,
                (Some(last), true) => Box::pin(self.commit_with_last(&last, &others, &readers)).await,
                (Some(_), false) => {
                    self.roll_back(&all).await;
                    Err(last_agent::too_many().into())
                }
            };
        }
        if let Some(writer) = writers.first()
            && !self.commit_writer(writer, &readers).await?
        {
            return Ok(false);
        }
        let commits = readers.iter().map(|index| Question::one(*index, "COMMIT")).collect();
        let replies = self.ask(commits, Some(PATIENCE)).await;
        self.warn_of_readers(&replies);
        Ok(true)
    }

    /// The only writer's COMMIT is the transaction's.
    async fn commit_writer(&mut self, writer: &Writer, readers: &[usize]) -> Result<bool, Trouble> {
        let mut replies = self.ask(vec![Question::one(writer.index, "COMMIT")], None).await;
        let Some(mut reply) = replies.pop() else { return Ok(false) };
        if reply.is_ok() && reply.tag == "COMMIT" {
            return Ok(true);
        }
        if reply.lost {
            let shard = self.held[writer.index].lease.shard;
            let (pools, login) = (self.shared.pools.clone(), self.login.clone());
            match tokio::time::timeout(PATIENCE, in_doubt::outcome(&pools, shard, &login, &writer.xid)).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(_) => {
                    self.roll_back(readers).await;
                    return Err(self.unknown(writer).into());
                }
            }
        }
        self.roll_back(readers).await;
        self.put_back_settings(writer.index);
        match reply.is_ok() {
            true => Ok(false),
            false => Err(rolled_back(&mut reply)),
        }
    }

    pub(super) fn unknown(&self, writer: &Writer) -> PgError {
        let (shard, xid) = (&self.held[writer.index].lease.shard_name, &writer.xid);
        PgError::new(
            SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
            format!("connection to shard \"{shard}\" was lost while the transaction was committed"),
        )
        .with_detail(format!("Only shard \"{shard}\" was written, and whether that was committed is not known."))
        .with_hint(format!(
            "SELECT txid_status({xid}) on shard \"{shard}\" tells; look before you repeat the transaction."
        ))
    }

    async fn commit_in_two_phases(&mut self, writers: &[Writer], readers: &[usize]) -> Result<bool, Trouble> {
        let parts: Vec<InDoubt> = self.prepared_parts(writers, None);
        let prepares = writers.iter().zip(&parts);
        let prepares = prepares.map(|(writer, part)| Question::one(writer.index, part.prepare())).collect();
        let mut replies = self.ask(prepares, None).await;
        let refused = replies.iter().position(|reply| !is_prepared(reply));
        let decision = match refused {
            None => self.decide_commit(&parts).await,
            Some(refused) => Err(rolled_back(&mut replies[refused])),
        };
        if let Err(why) = decision {
            self.abandon(&replies, parts, readers).await;
            return Err(why);
        }
        self.commit_prepared(writers, parts, readers).await;
        Ok(true)
    }

    /// It is decided: all that is prepared is committed, and the readers with it.
    pub(super) async fn commit_prepared(&mut self, writers: &[Writer], parts: Vec<InDoubt>, readers: &[usize]) {
        let commits = writers.iter().zip(&parts).map(|(writer, part)| Question::one(writer.index, part.commit()));
        let all = commits.chain(readers.iter().map(|index| Question::one(*index, "COMMIT"))).collect();
        let replies = self.ask(all, Some(PATIENCE)).await;
        let (written, read) = replies.split_at(writers.len());
        let mut pending = Vec::new();
        for (reply, part) in written.iter().zip(parts) {
            if !reply.is_ok() {
                pending.push(part);
            }
        }
        if !pending.is_empty() {
            self.see_through(pending).await;
        }
        self.warn_of_readers(read);
    }

    /// The parts of one two-phase commit, by the order of the writers. `last` is one that is not prepared, whose COMMIT decides.
    pub(super) fn prepared_parts(&self, writers: &[Writer], last: Option<&Writer>) -> Vec<InDoubt> {
        let decided = last.map(|last| format!("+{}.{}", self.held[last.index].lease.shard.0, last.xid));
        let number = format!("{}{}", self.shared.gids.next(), decided.unwrap_or_default());
        let part = |writer: &Writer| {
            let lease = &*self.held[writer.index].lease;
            InDoubt {
                pools: self.shared.pools.clone(),
                login: self.login.clone(),
                shard: lease.shard,
                shard_name: lease.shard_name.clone(),
                gid: self.shared.gids.gid(&number, lease.shard, &lease.shard_name),
                pid: lease.pid,
                since: lease.since,
            }
        };
        writers.iter().map(part).collect()
    }

    /// The one point where a prepared transaction becomes a committed one. Before it returns nothing may be committed anywhere; after it nothing
    /// may be rolled back.
    async fn decide_commit(&self, parts: &[InDoubt]) -> Result<(), Trouble> {
        tracing::debug!(user = %self.user, gids = ?parts.iter().map(|part| &part.gid).collect::<Vec<_>>(), "committed");
        Ok(())
    }

    /// The decision is to roll back: what is prepared as well as what is not.
    pub(super) async fn abandon(&mut self, replies: &[Reply], parts: Vec<InDoubt>, readers: &[usize]) {
        let mut questions = Vec::new();
        let mut prepared = Vec::new();
        for (reply, part) in replies.iter().zip(parts) {
            if reply.lost {
                tokio::spawn(part.roll_back_lost());
            } else if reply.tag == "PREPARE TRANSACTION" && reply.error.is_none() {
                questions.push(Question::one(reply.index, part.roll_back()));
                prepared.push(part);
            }
        }
        let unprepared = replies.iter().filter(|reply| !reply.lost && self.held[reply.index].lease.transaction != b'I');
        let open: Vec<usize> = unprepared.map(|reply| reply.index).chain(readers.iter().copied()).collect();
        let undone = self.ask(questions, Some(PATIENCE)).await;
        for (reply, part) in undone.iter().zip(prepared) {
            if !reply.is_ok() {
                tokio::spawn(part.roll_back_prepared());
            }
        }
        self.roll_back(&open).await;
        // A PREPARE that failed has ended the transaction; one that succeeded has made the settings in it last, as COMMIT would.
        for reply in replies.iter().filter(|reply| !reply.lost && reply.tag != "PREPARE TRANSACTION") {
            self.put_back_settings(reply.index);
        }
    }

    /// What is decided gets done, over other connections, however long it takes; the client waits for a while.
    async fn see_through(&mut self, pending: Vec<InDoubt>) {
        let names: Vec<(Arc<str>, String)> =
            pending.iter().map(|part| (part.shard_name.clone(), part.gid.clone())).collect();
        let tasks: Vec<_> = pending.into_iter().map(|part| tokio::spawn(part.commit_prepared())).collect();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        for (task, (shard, gid)) in tasks.into_iter().zip(names) {
            // The task goes on by itself when it is no longer waited for.
            if tokio::time::timeout_at(deadline, task).await.is_err() {
                let warning = PgError::new(
                    SqlState::WARNING,
                    format!("the transaction is committed, but shard \"{shard}\" has not been told yet"),
                )
                .with_detail(format!("It does not answer; there the transaction is prepared as '{gid}'."))
                .with_hint(
                    "It is tried again until it succeeds. Until then its rows there are locked and look as before.",
                );
                encode::notice(&mut self.client.outgoing, "WARNING", &warning);
            }
        }
    }

    /// Readers had nothing to commit; but a notification may have been among what they did.
    fn warn_of_readers(&mut self, replies: &[Reply]) {
        for reply in replies.iter().filter(|reply| !reply.is_ok()) {
            let held = &self.held[reply.index];
            tracing::warn!(shard = %held.lease.shard_name, "a part of a transaction that wrote nothing could not be committed");
            if held.part.is_some_and(|part| part.wrote) {
                let warning = PgError::new(
                    SqlState::WARNING,
                    format!("shard \"{}\" could not end its part of the transaction", held.lease.shard_name),
                )
                .with_detail("No rows were written there. Notifications sent there may be lost.");
                encode::notice(&mut self.client.outgoing, "WARNING", &warning);
            }
        }
    }

    /// Something that all participants have to do.
    ///
    /// # Errors
    /// A participant is lost, or not where it should be: the block is over.
    pub(super) async fn everywhere(&mut self, what: Everywhere) -> Result<Answer, Trouble> {
        self.come_to_rest().await?;
        let (text, name) = match &what {
            Everywhere::Release(name) => (format!("RELEASE SAVEPOINT {}", quoted(name)), Some(name)),
            Everywhere::RollbackTo(name) => (format!("ROLLBACK TO SAVEPOINT {}", quoted(name)), Some(name)),
            Everywhere::CloseAll => ("CLOSE ALL".to_owned(), None),
        };
        // Who has not got as far as the savepoint has done nothing since.
        let concerned = |index: &usize| {
            let part = self.held[*index].part;
            name.is_none_or(|name| part.is_some_and(|part| self.transaction.reaches(name, part.done)))
        };
        let concerned: Vec<usize> = self.participants().filter(concerned).collect();
        let questions = concerned.iter().map(|index| Question::one(*index, text.clone())).collect();
        let mut replies = self.ask(questions, None).await;
        if let Some(failed) = replies.iter_mut().find(|reply| !reply.is_ok()) {
            let failure = rolled_back(failed);
            let index = failed.index;
            self.lose_participant(index);
            return Err(failure);
        }
        Ok(match &what {
            Everywhere::Release(name) => {
                self.transaction.release(name);
                self.declared_released();
                Answer::tag("RELEASE")
            }
            Everywhere::RollbackTo(name) => {
                self.undo_definitions();
                if let Some(before) = self.transaction.rollback_to(name) {
                    self.savepoint_restored();
                    self.restore(before);
                }
                for index in &concerned {
                    self.held[*index].lease.settings = self.settings.server.clone();
                }
                if let Some(index) = concerned.first() {
                    self.tell_news(*index);
                }
                Answer::tag("ROLLBACK")
            }
            Everywhere::CloseAll => Answer::tag("CLOSE CURSOR ALL"),
        })
    }
}

/// Whether PREPARE TRANSACTION has done what it should: in a failed block it answers with ROLLBACK and no error, and a cancelled wait
/// for a standby is a success with a warning.
pub(super) fn is_prepared(reply: &Reply) -> bool {
    reply.is_ok() && reply.tag == "PREPARE TRANSACTION" && !reply.unreplicated
}

/// What the client is told of a transaction that this participant kept from being committed.
pub(super) fn rolled_back(reply: &mut Reply) -> Trouble {
    match reply.error.take() {
        Some(Failure { mut error, .. }) if reply.lost => {
            error.hint = Some("The transaction is rolled back on all shards: repeat it.".into());
            error.into()
        }
        Some(failure) => Trouble::Failed(failure.frame),
        None if reply.unreplicated => {
            PgError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request").into()
        }
        None => in_failed_transaction().into(),
    }
}

#[cfg(test)]
mod tests;
