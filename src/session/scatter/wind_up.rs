//! The end of a statement over several shards: connections go back clean, or not at all.
//!
//! Outside a transaction a shard that still works when the statement is over (another shard's error, a LIMIT that is reached) is read to
//! its end aside from the session for a moment, because most are nearly done; then its connection is closed, which also cancels what
//! runs there. Within a transaction the connections are the transaction's: after an error the others are cancelled and read to their end; when
//! only a LIMIT is reached they are waited for, because a cancelled statement would fail the client's transaction.

use std::time::Duration;

use bytes::{Buf, BytesMut};

use super::Stop;
use super::answers::{Answers, Heard, Owed};
use super::drive::{CANCEL_PATIENCE, Goal};
use super::run::{Part, Run};
use crate::backend;
use crate::pool::Lease;
use crate::protocol::{self, request};
use crate::session::{Held, Over, Session};

/// How long a shard may take for the rest of an answer that nobody wants before it is stopped by force.
const GRACE: Duration = Duration::from_millis(20);

impl Session {
    /// Gives the connections back after a statement that ended well, though some shards may still be at work.
    pub(super) async fn wind_up(&mut self, run: &mut Run) -> Result<(), Stop> {
        if !run.is_at_rest() {
            run.discard = true;
            match run.block {
                true => drop(self.drive(run, Goal::Rest).await?),
                false => self.drive_once(run),
            }
            run.discard = false;
        }
        self.release(run);
        Ok(())
    }

    /// Gives the connections back to where they belong. Those that still owe something outside of a transaction are read to their end aside.
    pub(super) fn release(&mut self, run: &mut Run) {
        // From here on a cancel request finds nobody.
        self.handle.aim(None);
        let cancelling = self.handle.is_cancelling();
        for part in &mut run.parts {
            let Some(mut held) = part.held.take() else { continue };
            if part.is_usable(&held) {
                self.put_back(held, run.block);
                continue;
            }
            // What is not at its end in a transaction is lost to it: see `stop`.
            if run.block || cancelling || held.lease.tainted || !held.pins.is_empty() {
                continue;
            }
            let mut answers = std::mem::take(&mut part.answers);
            if !answers.owes_ready() {
                let mut out = BytesMut::new();
                request::sync(&mut out);
                answers.expect(Owed::Ready);
                let _ = held.lease.send_now(&out);
            }
            tokio::spawn(settle(held.lease, answers));
        }
        if !run.block {
            self.handle.set_status(crate::session::registry::Status::Idle);
        }
    }

    /// Ends a statement that has failed: the other shards are stopped. Says whether all of a transaction's connections are still there.
    pub(super) async fn stop(&mut self, run: &mut Run) -> Result<bool, Over> {
        if !run.block {
            self.release(run);
            return Ok(true);
        }
        run.discard = true;
        for part in &mut run.parts {
            let open = part.held.as_ref().is_some_and(|held| held.lease.in_flight > 0 && !held.lease.tainted);
            if open && !part.answers.owes_ready() {
                let mut out = BytesMut::new();
                request::sync(&mut out);
                part.answers.expect(Owed::Ready);
                part.send(&out);
            }
        }
        self.rest_within(run, GRACE).await?;
        let cancels: Vec<_> = run
            .parts
            .iter_mut()
            .filter(|part| !part.answers.is_idle())
            .filter_map(|part| part.held.as_mut())
            .filter(|held| !held.lease.tainted)
            .map(|held| held.lease.cancel_key())
            .collect();
        if !cancels.is_empty() {
            let mut requests = tokio::task::JoinSet::new();
            for (connector, pid, secret) in cancels {
                requests.spawn(async move {
                    if let Err(error) = backend::cancel(&connector, pid, &secret, CANCEL_PATIENCE).await {
                        tracing::debug!(%error, "a shard's part of a failed statement could not be cancelled");
                    }
                });
            }
            self.rest_within(run, CANCEL_PATIENCE).await?;
            // One that arrived late would hit the ROLLBACK.
            while requests.join_next().await.is_some() {}
        }
        let whole = run.parts.iter().all(|part| part.held.as_ref().is_some_and(|held| part.is_usable(held)));
        self.release(run);
        Ok(whole)
    }

    /// Reads what nobody wants, for so long at most. Shards whose connection breaks meanwhile are given up.
    async fn rest_within(&mut self, run: &mut Run, patience: Duration) -> Result<(), Over> {
        let until = tokio::time::Instant::now() + patience;
        loop {
            // A broken connection has nothing more to say.
            for part in &mut run.parts {
                if part.held.as_ref().is_some_and(|held| held.lease.tainted) {
                    part.held = None;
                }
            }
            match tokio::time::timeout_at(until, self.drive(run, Goal::Rest)).await {
                Ok(Ok(_)) | Err(_) => return Ok(()),
                Ok(Err(Stop::Over(over))) => return Err(over),
                // Lost, or garbage: it is tainted, and the others go on. Every other error has been discarded.
                Ok(Err(_)) if run.parts.iter().any(Part::is_tainted) => {}
                Ok(Err(_)) => return Ok(()),
            }
        }
    }
}

impl Part {
    fn is_tainted(&self) -> bool {
        self.held.as_ref().is_some_and(|held: &Held| held.lease.tainted)
    }

    /// At rest, with a connection that can go on.
    fn is_usable(&self, held: &Held) -> bool {
        let lease = &held.lease;
        self.answers.is_idle() && !lease.tainted && lease.in_flight == 0 && lease.incoming.is_empty()
    }
}

/// Reads an answer that nobody wants to its end, if that is near, and gives the connection back; closes it otherwise.
async fn settle(mut lease: Lease, mut answers: Answers) {
    // Dropped without release, a lease closes its connection and cancels what runs there.
    if let Ok(true) = tokio::time::timeout(GRACE, read_out(&mut lease, &mut answers)).await {
        lease.release();
    }
}

async fn read_out(lease: &mut Lease, answers: &mut Answers) -> bool {
    const MAX: usize = 1 << 30;
    loop {
        match answers.next(&mut lease.incoming, MAX) {
            Ok(Heard::Nothing) if answers.is_idle() => return true,
            Ok(Heard::Nothing) => {
                if lease.wants_send() && std::future::poll_fn(|cx| lease.poll_send(cx)).await.is_err() {
                    lease.tainted = true;
                    return false;
                }
                if lease.fill().await.is_err() {
                    return false;
                }
            }
            Ok(Heard::Row) => {
                if let Ok(Some(frame)) = protocol::frame(&lease.incoming, MAX) {
                    lease.incoming.advance(frame.len);
                }
            }
            Ok(Heard::Ready(status)) => {
                lease.transaction = status;
                lease.in_flight = 0;
            }
            Ok(Heard::Parameter { name, value }) => drop(lease.parameters.set(&name, &value)),
            Ok(Heard::Failed(_)) => {
                answers.take_undone().into_iter().for_each(|id| _ = lease.prepared.remove(id));
            }
            Ok(_) => {}
            Err(_) => {
                lease.tainted = true;
                return false;
            }
        }
    }
}
