//! A two-phase commit in which one of the writers cannot prepare.
//!
//! PostgreSQL does not prepare a transaction that has used temporary tables, listened or notified, or opened a cursor WITH HOLD. One such
//! writer may still be a part of a transaction over several shards: all others are prepared first, and then its plain COMMIT is the decision.
//! If its connection is lost in the middle of that, what became of its transaction's number is asked until it is known, and the
//! others follow.
//!
//! # What a crash leaves
//! Parts that are prepared, whose decision is the last writer's: their names have its shard and its transaction's number behind a `+`, and
//! `txid_status` of that number on that shard says whether they are to be committed.

use std::sync::Arc;

use super::ask::Question;
use super::commit::{PATIENCE, Writer, is_prepared, rolled_back};
use super::in_doubt::{self, InDoubt};
use super::{Held, Session, Trouble};
use crate::error::PgError;
use crate::plan::Pin;
use crate::sql::{self, Command};

impl Held {
    /// Why its transaction could not be prepared, if it has written.
    fn cannot_prepare(&self) -> bool {
        self.pins.iter().any(|pin| matches!(pin, Pin::TemporaryTable | Pin::HoldCursor))
            || self.part.is_some_and(|part| part.notified)
    }
}

/// Whether a statement listens or notifies, as far as its text tells: a function or a trigger that does is PostgreSQL's to refuse.
fn notifies(text: &str) -> bool {
    matches!(sql::classify(text), Command::Listen(_) | Command::Unlisten(_) | Command::Notify)
        || text.as_bytes().windows(9).any(|word| word.eq_ignore_ascii_case(b"pg_notify"))
}

impl Session {
    /// Notes that the attached backend's part in a block cannot be prepared any more, if the statement that it is about to be sent says so.
    pub(super) fn note_notification(&mut self, text: &str) {
        let Some(index) = self.attached.filter(|_| !self.transaction.is_idle()) else { return };
        if let Some(part) = &mut self.held[index].part
            && !part.notified
        {
            part.notified = notifies(text);
        }
    }

    /// Which of several writers cannot prepare, and the others.
    pub(super) fn last_agents(&self, writers: Vec<Writer>) -> (Vec<Writer>, Vec<Writer>) {
        writers.into_iter().partition(|writer| self.held[writer.index].cannot_prepare())
    }

    /// Commits where one writer's COMMIT decides.
    pub(super) async fn commit_with_last(
        &mut self,
        last: &Writer,
        others: &[Writer],
        readers: &[usize],
    ) -> Result<bool, Trouble> {
        let parts = self.prepared_parts(others, Some(last));
        let prepares = others.iter().zip(&parts);
        let prepares = prepares.map(|(writer, part)| Question::one(writer.index, part.prepare())).collect();
        let mut replies = self.ask(prepares, None).await;
        let open: Vec<usize> = readers.iter().copied().chain([last.index]).collect();
        if let Some(refused) = replies.iter().position(|reply| !is_prepared(reply)) {
            let why = rolled_back(&mut replies[refused]);
            self.abandon(&replies, parts, &open).await;
            return Err(why);
        }
        let mut said = self.ask(vec![Question::one(last.index, "COMMIT")], None).await;
        let Some(mut said) = said.pop() else { return Ok(false) };
        let mut committed = said.is_ok() && said.tag == "COMMIT";
        if said.lost {
            let shard = self.held[last.index].lease.shard;
            let (pools, login) = (self.shared.pools.clone(), self.login.clone());
            let asked = in_doubt::outcome(&pools, shard, &login, &last.xid);
            match tokio::time::timeout(PATIENCE, asked).await {
                Ok(outcome) => committed = outcome,
                Err(_) => {
                    let unknown = self.unknown(last);
                    let (login, xid) = (self.login.clone(), last.xid.clone());
                    tokio::spawn(follow(pools, shard, login, xid, parts));
                    self.roll_back(readers).await;
                    return Err(unknown.into());
                }
            }
        }
        if committed {
            self.commit_prepared(others, parts, readers).await;
            return Ok(true);
        }
        self.abandon(&replies, parts, readers).await;
        self.put_back_settings(last.index);
        match said.is_ok() {
            true => Ok(false),
            false => Err(rolled_back(&mut said)),
        }
    }
}

/// The others do what the last writer did, as soon as that is known.
async fn follow(
    pools: Arc<crate::pool::Pools>,
    shard: crate::types::ShardId,
    login: Arc<crate::backend::Login>,
    xid: String,
    parts: Vec<InDoubt>,
) {
    let committed = in_doubt::outcome(&pools, shard, &login, &xid).await;
    for part in parts {
        match committed {
            true => part.commit_prepared().await,
            false => part.roll_back_prepared().await,
        }
    }
}

/// More than one of them.
pub(super) fn too_many() -> PgError {
    PgError::unsupported(
        "a transaction cannot write on several shards and use temporary tables or notifications on two of them",
    )
    .with_detail("PostgreSQL does not prepare such a part, and only one part of a transaction may do without.")
    .with_hint("Use temporary tables and NOTIFY in transactions of their own.")
}
