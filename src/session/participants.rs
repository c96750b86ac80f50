//! The backends that have a part in the client's transaction block: how they join, are set aside for another, come back, and are lost.
//!
//! One of them is *attached* at a time: it is the one that the client's bytes go to, and the only one that the [`relay`](super::relay) knows.
//! A statement for another shard first waits until the attached backend owes nothing; then that is *set aside*, in the middle of its
//! server-side transaction, and the other one is attached, which takes the block's BEGIN and its prelude along with the statement. So a
//! second shard costs its first statement no round trip of its own, and a transaction on one shard pays nothing for the possibility.
//!
//! # What several shards cannot give, and is refused
//! - SERIALIZABLE: each server sees its own conflicts only.
//! - A second shard that tells the time where the first one's cannot be put in its place ([`once`](super::once)): `now()` is when the transaction
//!   began, and each server has an instant of its own.
//! - A second shard that is written, while one of the two has `max_prepared_transactions = 0`: COMMIT could not be all or nothing.
//!
//! READ COMMITTED and REPEATABLE READ hold on each shard by itself: what two shards show need not be of one moment. Deadlocks over
//! several shards are nobody's to see yet; `lock_timeout` or `statement_timeout` ends them.

use super::ask::{Question, Reply};
use super::registry::Status;
use super::statements::own_statement;
use super::{Held, Session, Trouble, settings};
use crate::config::PoolMode;
use crate::error::PgError;
use crate::plan::Effects;
use crate::protocol::encode;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// A held backend's part in the client's transaction block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// How far it has got in the block's prelude.
    pub done: u64,
    /// A statement that may write ran here. The server knows better, and is asked at COMMIT.
    pub wrote: bool,
    /// It has listened or notified, so that it cannot be prepared.
    pub notified: bool,
}

impl Session {
    /// The held backends that have a part in the block.
    pub(super) fn participants(&self) -> impl Iterator<Item = usize> {
        self.held.iter().enumerate().filter(|(_, held)| held.part.is_some()).map(|(index, _)| index)
    }

    /// The block is not simply the attached backend's own transaction: its end, and its savepoints, are for the session to see to.
    pub(super) fn is_spread(&self) -> bool {
        !self.transaction.is_idle()
            && (self.transaction.is_doomed()
                || self.changes_layout()
                || self.participants().any(|index| Some(index) != self.attached))
    }

    /// Whether the block would be of several backends if it went to this shard now.
    pub(super) fn would_spread(&self, shard: ShardId) -> bool {
        self.is_spread()
            || (!self.transaction.is_idle()
                && !self.transaction.is_floating()
                && self.participants().any(|index| self.held[index].lease.shard != shard))
    }

    /// Whether a statement may run on this shard within the block as it stands; to be asked before the shard is attached or enlisted.
    pub(super) fn admit(&self, shard: ShardId, effects: &Effects) -> Result<(), PgError> {
        if self.transaction.is_idle() {
            return Ok(());
        }
        if effects.timed
            && let Some(told) = self.transaction.timed().filter(|told| *told != shard)
        {
            return Err(self.other_time(told, shard));
        }
        if effects.writes || effects.ddl {
            self.admit_writer(shard)?;
        }
        Ok(())
    }

    /// A second shard can be written only if both can prepare.
    fn admit_writer(&self, shard: ShardId) -> Result<(), PgError> {
        let others =
            || self.held.iter().filter(|held| held.lease.shard != shard && held.part.is_some_and(|part| part.wrote));
        if others().next().is_none() {
            return Ok(());
        }
        let catalogs = self.state.topology.shard_catalogs();
        for shard in others().map(|held| held.lease.shard).chain([shard]) {
            let known = catalogs.get(usize::from(shard.0)).and_then(Option::as_ref);
            if known.is_some_and(|catalog| catalog.max_prepared_transactions == 0) {
                let name = self.state.vschema.shard_name(shard);
                return Err(PgError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("a transaction cannot write to several shards: shard \"{name}\" has prepared transactions disabled"),
                )
                .with_detail("Its COMMIT is a two-phase commit, for which each server needs max_prepared_transactions.")
                .with_hint(format!(
                    "Set max_prepared_transactions = 200 (at least max_connections) in postgresql.conf of shard \"{name}\", and restart it."
                )));
            }
        }
        Ok(())
    }

    fn other_time(&self, told: ShardId, shard: ShardId) -> PgError {
        let (told, here) = (self.state.vschema.shard_name(told), self.state.vschema.shard_name(shard));
        PgError::unsupported("now() and its like cannot be used on two shards in one transaction")
            .with_detail(format!(
                "The transaction began at another instant on shard \"{here}\" than on shard \"{told}\", which has told the time before."
            ))
            .with_hint("Read the time once, and send it as a value.")
    }

    /// Whether one more shard may have a part in the block.
    pub(super) fn may_join(&self, shard: ShardId) -> Result<(), PgError> {
        if self.transaction.is_idle() {
            return Ok(());
        }
        if let Some(error) = &self.lost {
            return Err((**error).clone());
        }
        let mut others = self.held.iter().filter(|held| held.part.is_some());
        match others.next() {
            Some(first) if first.lease.shard != shard && !others.any(|held| held.lease.shard == shard) => {
                self.may_spread(&first.lease.shard_name, shard)
            }
            _ => Ok(()),
        }
    }

    fn may_spread(&self, here: &str, to: ShardId) -> Result<(), PgError> {
        if self.transaction.is_serializable().unwrap_or_else(|| self.is_serializable_by_default()) {
            let there = self.state.vschema.shard_name(to);
            return Err(PgError::unsupported("a SERIALIZABLE transaction over several shards is not supported")
                .with_detail(format!(
                    "It has used shard \"{here}\" and needs shard \"{there}\"; each sees its own conflicts only."
                ))
                .with_hint(
                    "Use REPEATABLE READ with SELECT ... FOR UPDATE, or keep rows that change together under one shard key.",
                ));
        }
        if !self.transaction.can_be_joined() {
            return Err(PgError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                "the transaction has too many savepoints and settings for another shard to join it",
            )
            .with_hint("Use the other shard earlier in the transaction, or release savepoints."));
        }
        Ok(())
    }

    fn is_serializable_by_default(&self) -> bool {
        use crate::backend::Value;
        match self.settings.server.get("default_transaction_isolation") {
            Some(Value::Sql(text) | Value::Plain(text)) => text.to_ascii_lowercase().contains("serializable"),
            None => self.greeting.isolation == "serializable",
        }
    }

    /// A held backend of a shard, leased if there is none yet.
    pub(super) async fn hold(&mut self, shard: ShardId) -> Result<usize, Trouble> {
        if let Some(index) = self.held.iter().position(|held| held.lease.shard == shard) {
            return Ok(index);
        }
        let lease = match self.shared.pools.try_checkout(shard, &self.login) {
            Some(lease) => {
                self.meter.assigned(std::time::Duration::ZERO);
                lease
            }
            None => self.wait_for_lease(shard).await?,
        };
        self.held.push(Held { lease, pins: Vec::new(), unnamed: None, wrote: false, part: None });
        Ok(self.held.len() - 1)
    }

    /// The attached backend gets its part in the block with its next bytes: BEGIN and the prelude, or what is new in the prelude.
    pub(super) fn catch_up(&mut self, index: usize) {
        if self.transaction.is_idle() {
            return;
        }
        let held = &mut self.held[index];
        let pending = match held.part {
            None => {
                let (begin, prelude) = self.transaction.opening();
                own_statement(begin, &mut held.lease.outgoing, &mut self.relay);
                held.unnamed = None;
                prelude
            }
            Some(part) => self.transaction.pending(part.done),
        };
        for replay in pending {
            own_statement(&replay.text, &mut held.lease.outgoing, &mut self.relay);
        }
        if !pending.is_empty() || held.part.is_none() {
            // The replay has brought it to where the session is.
            held.lease.settings = self.settings.server.clone();
            held.unnamed = None;
        }
        let part = held.part.get_or_insert(Part { done: 0, wrote: false, notified: false });
        part.done = self.transaction.progress();
        self.transaction.join();
    }

    /// The attached backend, if there is one, owes nothing and is no longer attached. In a block it stays a participant; outside one it goes
    /// back to the pool, unless it is tied to what a pipeline has done: then it stays in what becomes a [transaction over several
    /// shards](Session::begin_implicit), which ends with the pipeline.
    ///
    /// # Errors
    /// `Skipped` if what it still owed was an error, of which the client has been told.
    pub(super) async fn set_aside(&mut self) -> Result<(), Trouble> {
        let Some(index) = self.attached else { return Ok(()) };
        let tied = self.transaction.is_idle() && self.batch.tied;
        if tied {
            // The server's implicit transaction becomes a block that the coming Sync does not end (`BeginTransactionBlock`).
            own_statement("BEGIN", &mut self.held[index].lease.outgoing, &mut self.relay);
            self.held[index].unnamed = None;
        }
        self.come_to_rest().await?;
        let Some(index) = self.attached else { return Err(Trouble::Skipped) };
        if tied {
            self.transaction.adopt("BEGIN");
            self.implicit = true;
        }
        if self.transaction.is_idle() {
            self.detach();
        } else if self.transaction.is_floating() && !self.transaction.is_failed() {
            self.leave_floating(index).await?;
        } else {
            self.attached = None;
            self.handle.aim(None);
        }
        Ok(())
    }

    /// Waits until the attached backend owes nothing. A batch is ended for the server by a Sync that the client does not see: within a block
    /// that changes nothing, and outside one it is only done where nothing ties the batch together.
    pub(super) async fn come_to_rest(&mut self) -> Result<(), Trouble> {
        let Some(index) = self.attached else { return Ok(()) };
        if self.batch.open {
            // Also when all is answered: without a Sync the server still is in the batch's implicit transaction.
            self.send_sync(index, false);
        }
        self.drain().await?;
        if self.relay.is_skipping() || self.attached.is_none() {
            return Err(Trouble::Skipped);
        }
        Ok(())
    }

    /// Held backends of all these shards, in their order: in the client's transaction with all of its prelude done if a block is open, with
    /// the client's settings, owing nothing. None is attached. One round trip for all together, and none if there is nothing to do.
    ///
    /// The indexes hold until a backend is dropped ([`Session::lose_participant`], [`Session::detach`]).
    ///
    /// # Errors
    /// As [`Session::set_aside`] and [`Session::may_join`], and what a server says to the settings; then nothing has joined.
    pub(super) async fn enlist_all(&mut self, shards: &[ShardId]) -> Result<Vec<usize>, Trouble> {
        self.set_aside().await?;
        self.handle.set_status(Status::Active);
        let outcome = self.enlist_held(shards).await;
        if outcome.is_err() {
            self.release_unused();
        }
        outcome
    }

    async fn enlist_held(&mut self, shards: &[ShardId]) -> Result<Vec<usize>, Trouble> {
        let mut indexes = Vec::with_capacity(shards.len());
        let mut questions = Vec::new();
        if let ([first, second, ..], false) = (shards, self.transaction.is_idle()) {
            self.may_spread(self.state.vschema.shard_name(*first), *second)?;
        }
        for shard in shards {
            self.may_join(*shard)?;
            let index = self.hold(*shard).await?;
            let texts = self.opening_of(index);
            if !texts.is_empty() {
                questions.push(Question { index, texts });
            }
            indexes.push(index);
        }
        let mut replies = if questions.is_empty() { Vec::new() } else { self.ask(questions, None).await };
        if let Some(failed) = replies.iter_mut().find(|reply| !reply.is_ok()) {
            let failure = failed.error.take();
            self.drop_failed(&replies);
            return Err(failure.map_or(Trouble::Skipped, |failure| Trouble::Failed(failure.frame)));
        }
        for index in &indexes {
            let held = &mut self.held[*index];
            held.lease.settings = self.settings.server.clone();
            if !self.transaction.is_idle() {
                held.part.get_or_insert(Part { done: 0, wrote: false, notified: false }).done =
                    self.transaction.progress();
            }
        }
        self.transaction.join();
        for index in &indexes {
            self.tell_news(*index);
        }
        Ok(indexes)
    }

    /// What brings a held backend to where the session is: settings, BEGIN, the prelude.
    fn opening_of(&self, index: usize) -> Vec<String> {
        let held = &self.held[index];
        if let Some(part) = held.part {
            return self.transaction.pending(part.done).iter().map(|replay| replay.text.clone()).collect();
        }
        let wanted = self.transaction.settings_at_begin().unwrap_or(&self.settings);
        let mut texts: Vec<String> = wanted.server.sync_sql(&held.lease.settings).into_iter().collect();
        if !self.transaction.is_idle() {
            let (begin, prelude) = self.transaction.opening();
            texts.push(begin.to_owned());
            texts.extend(prelude.iter().map(|replay| replay.text.clone()));
        }
        texts
    }

    /// Some shard could not be brought to where the session is. Those that were about to join have a transaction that is of no use, or
    /// settings that nobody has noted: they are closed.
    fn drop_failed(&mut self, replies: &[Reply]) {
        let new = |reply: &&Reply| reply.lost || self.held[reply.index].part.is_none();
        let mut gone: Vec<usize> = replies.iter().filter(new).map(|reply| reply.index).collect();
        gone.sort_unstable();
        for index in gone.into_iter().rev() {
            self.lose_participant(index);
        }
    }

    /// Gives back what is held without a reason, as after a statement that could not begin.
    pub(super) fn release_unused(&mut self) {
        for index in (0..self.held.len()).rev() {
            let held = &self.held[index];
            let kept = self.mode == PoolMode::Session && held.lease.is_clean();
            if held.part.is_none() && held.pins.is_empty() && self.attached != Some(index) && !kept {
                self.drop_held(index).lease.release();
            }
        }
    }

    /// A held backend is of no more use and is closed. If it had a part in the block, the block has failed, and nothing but its end helps:
    /// what it wrote there is gone. The client learns of it by its next statement, if not by this one.
    pub(super) fn lose_participant(&mut self, index: usize) {
        let mut held = self.drop_held(index);
        if held.part.is_none() {
            return;
        }
        let mut error = held.lease.lost("The transaction was open there");
        error.hint = Some("The transaction is rolled back on all shards: repeat it.".into());
        self.doom(error);
    }

    /// The block cannot succeed any more.
    pub(super) fn doom(&mut self, error: PgError) {
        if self.transaction.is_idle() {
            return;
        }
        self.transaction.lose();
        self.lost.get_or_insert(Box::new(error));
        self.portals.clear();
    }

    /// Tells the client what has changed in its settings, as a backend reports them.
    pub(super) fn tell_news(&mut self, index: usize) {
        let held = &self.held[index];
        if held.lease.parameters != self.reported {
            for (name, value) in held.lease.parameters.news_for(&self.reported) {
                encode::parameter_status(&mut self.client.outgoing, name, value);
            }
            self.reported = held.lease.parameters.clone();
            self.decode = settings::decode_context(&self.reported);
        }
    }
}
