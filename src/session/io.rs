//! The one place where a session waits for its client and its backend at the same time.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::registry::Status;
use super::relay::Event;
use super::{Over, Session, Trouble, gate};
use crate::error::PgError;
use crate::pool::Lease;
use crate::protocol::{encode, request};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// Bytes for a client that does not read: beyond this its backend is not read either, and the server waits.
pub(super) const HIGH_WATER: usize = 256 << 10;
/// Bytes of a client that pipelines: beyond this, or one whole frame, it is not read until they are acted on.
pub(super) const CLIENT_AHEAD: usize = 256 << 10;

/// What a round of polling found.
enum News {
    /// The client sent bytes.
    Client,
    /// The backend's answer reached a point that the session has to act on.
    Backend,
    /// The client hung up.
    Gone,
    /// The backend is lost.
    Lost(PgError),
    /// The session is told to look at its handle.
    Told,
    /// An operator has ended the session.
    Killed,
}

impl Session {
    /// Moves bytes in both directions until there is something to act on.
    pub(super) async fn pump(&mut self) -> Result<(), Over> {
        let stopped = self.handle.is_stopped();
        let waits_for_client = self.accepts_frames();
        if self.is_at_rest() && self.client.outgoing.is_empty() {
            self.client.release_buffers();
        }
        let news = poll_fn(|cx| self.poll_news(cx, stopped, waits_for_client)).await;
        match news {
            News::Client | News::Backend | News::Told => Ok(()),
            News::Gone => Err(Over::Gone),
            News::Killed => Err(gate::killed()),
            News::Lost(error) => self.lose(error),
        }
    }

    /// # Cancel safety
    /// Nothing is lost between polls: every byte is in a buffer of the session's.
    fn poll_news(&mut self, cx: &mut Context<'_>, stopped: bool, waits_for_client: bool) -> Poll<News> {
        self.handle.register(cx.waker());
        if self.handle.is_stopped() != stopped {
            return Poll::Ready(News::Told);
        }
        if stopped && self.handle.activity.is_killed() {
            return Poll::Ready(News::Killed);
        }
        if let Some(index) = self.attached {
            if self.held[index].lease.wants_send() {
                match self.held[index].lease.poll_send(cx) {
                    Poll::Ready(Ok(())) if self.copy_in && !waits_for_client => return Poll::Ready(News::Backend),
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(News::Lost(self.held[index].lease.lost(&error.to_string())));
                    }
                    _ => {}
                }
            }
            loop {
                match self.relay_ready() {
                    Ok(false) => {}
                    Ok(true) => return Poll::Ready(News::Backend),
                    Err(error) => return Poll::Ready(News::Lost(error)),
                }
                if self.client.outgoing.len() >= HIGH_WATER {
                    match self.client.poll_send(cx) {
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(_)) => return Poll::Ready(News::Gone),
                        Poll::Pending => break,
                    }
                }
                match self.held[index].lease.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => {
                        let error = self.held[index].lease.lost("The server closed the connection");
                        return Poll::Ready(News::Lost(error));
                    }
                    Poll::Ready(Ok(_)) => self.own_only = false,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(News::Lost(self.held[index].lease.lost(&error.to_string())));
                    }
                    Poll::Pending => break,
                }
            }
        }
        if self.copying.is_none() {
            self.poll_pinned(cx);
        } else if self.poll_copying(cx) {
            return Poll::Ready(News::Backend);
        }
        let soon = self.own_only && self.attached.is_some() && self.relay.awaits_ready();
        if !self.client.outgoing.is_empty() && !soon {
            self.own_only = false;
            match self.client.poll_send(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(News::Gone),
                // Frames that had to wait for the client to read may go on.
                Poll::Ready(Ok(())) if !waits_for_client && self.accepts_frames() => return Poll::Ready(News::Client),
                _ => {}
            }
        }
        // Nothing of a client is read that could not be acted on, but for a little, so as to notice that it has gone.
        if self.client.incoming.len() < CLIENT_AHEAD || waits_for_client {
            match self.client.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(News::Gone),
                Poll::Ready(Ok(_)) => return Poll::Ready(News::Client),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Relays what the backend has sent so far; true if it reached a ReadyForQuery or another turning point.
    fn relay_ready(&mut self) -> Result<bool, PgError> {
        let Some(index) = self.attached else { return Ok(false) };
        let mut turned = false;
        loop {
            let backend = &mut *self.held[index].lease;
            match self.relay.advance(&mut backend.incoming, &mut self.client.outgoing)? {
                Event::Dry => return Ok(turned),
                event => turned |= self.note(index, event),
            }
        }
    }

    /// Held backends that are not at work may still say something: notifications above all.
    fn poll_pinned(&mut self, cx: &mut Context<'_>) {
        let mut gone = Vec::new();
        for (index, held) in self.held.iter_mut().enumerate() {
            if Some(index) == self.attached {
                continue;
            }
            let alive = loop {
                match held.lease.poll_fill(cx) {
                    Poll::Pending => break true,
                    Poll::Ready(Ok(n)) if n > 0 => {}
                    Poll::Ready(_) => break false,
                }
            };
            // Not in the middle of another backend's message; what waits is passed on the next round, which that message's rest brings.
            let quiet = self.relay.is_mid_message()
                || super::relay::pass_unasked(&mut held.lease.incoming, &mut self.client.outgoing);
            if !alive || !quiet {
                gone.push(index);
            }
        }
        for index in gone.into_iter().rev() {
            let held = &self.held[index];
            tracing::warn!(shard = %held.lease.shard_name, pins = ?held.pins, "a held server connection was lost");
            self.lose_participant(index);
        }
    }

    /// Waits until the backend owes nothing, while its answers go to the client.
    pub(super) async fn drain(&mut self) -> Result<(), Over> {
        while !self.relay.is_idle() {
            let stopped = self.handle.is_stopped();
            match poll_fn(|cx| self.poll_news(cx, stopped, false)).await {
                News::Gone => return Err(Over::Gone),
                News::Killed => return Err(gate::killed()),
                News::Lost(error) => return self.lose(error),
                News::Client | News::Backend | News::Told => {}
            }
        }
        Ok(())
    }

    /// A connection to a shard, waiting for one while the client is watched: it may cancel, or leave.
    pub(super) async fn wait_for_lease(&mut self, shard: ShardId) -> Result<Lease, Trouble> {
        self.handle.set_status(Status::Waiting);
        let since = std::time::Instant::now();
        let (pools, login) = (self.shared.pools.clone(), self.login.clone());
        let mut checkout = std::pin::pin!(pools.checkout(shard, &login));
        let outcome = poll_fn(|cx| {
            self.handle.register(cx.waker());
            if let Poll::Ready(outcome) = checkout.as_mut().poll(cx) {
                return Poll::Ready(outcome.map_err(Trouble::from));
            }
            if self.handle.activity.is_killed() {
                return Poll::Ready(Err(gate::killed().into()));
            }
            if self.handle.take_cancelled() {
                return Poll::Ready(Err(gate::cancelled().into()));
            }
            if self.client.incoming.len() < CLIENT_AHEAD
                && let Poll::Ready(Ok(0) | Err(_)) = self.client.poll_fill(cx)
            {
                return Poll::Ready(Err(Over::Gone.into()));
            }
            Poll::Pending
        })
        .await;
        self.handle.set_status(Status::Active);
        self.meter.assigned(since.elapsed());
        match outcome {
            // It came together with the connection.
            Ok(lease) if self.handle.take_cancelled() => {
                lease.release();
                Err(gate::cancelled().into())
            }
            outcome => outcome,
        }
    }

    /// The attached backend broke. The client is told once, and its transaction has failed; the session lives on.
    fn lose(&mut self, mut error: PgError) -> Result<(), Over> {
        let Some(index) = self.attached.take() else { return Ok(()) };
        if self.relay.is_mid_message() {
            return Err(Over::Fatal(Box::new(error)));
        }
        if self.after.iter().any(|after| after.commits()) {
            error.code = SqlState::TRANSACTION_RESOLUTION_UNKNOWN;
            error.hint = Some("Whether the transaction was committed is not known: look before you repeat it.".into());
        }
        tracing::warn!(shard = %self.held[index].lease.shard_name, error = %error, "a server connection was lost");
        let held = self.drop_held(index);
        drop(held);
        let ready_due = self.relay.owes_ready();
        let reported = self.failed;
        self.relay.clear();
        self.after.clear();
        self.copy_in = false;
        self.failed = false;
        self.handle.aim(None);
        self.portals.clear();
        if self.transaction.is_idle() {
            // What an implicit transaction had set went with it.
            if let Some(before) = self.transaction.rollback() {
                self.restore(before);
            }
        } else {
            self.doom(error.clone());
        }
        if let Some(sequence) = &mut self.sequence {
            // What ends a query of several statements sees to its ReadyForQuery.
            if !std::mem::replace(&mut sequence.failed, true) {
                self.lost = None;
                self.meter_failed(error.code);
                encode::error_response(&mut self.client.outgoing, &error);
            }
            return Ok(());
        }
        let waited_for = ready_due || self.batch.open;
        if waited_for {
            self.lost = None;
        }
        if waited_for && !reported {
            self.meter_failed(error.code);
            encode::error_response(&mut self.client.outgoing, &error);
        }
        if !waited_for {
            // Between two statements of a transaction nobody waits for an error; the next statement learns that the transaction failed.
            encode::notice(&mut self.client.outgoing, "WARNING", &error);
        } else if ready_due {
            self.batch = Default::default();
            encode::ready_for_query(&mut self.client.outgoing, self.transaction.status());
        } else {
            self.relay.skip();
        }
        Ok(())
    }

    /// Sends a Sync to a held backend.
    pub(super) fn send_sync(&mut self, index: usize, pass: bool) {
        let backend = &mut *self.held[index].lease;
        request::sync(&mut backend.outgoing);
        backend.in_flight += 1;
        self.relay.expect(super::relay::Expect::Sync { pass });
    }
}
