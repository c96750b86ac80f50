//! A session before the closed gate ([`Gate`](crate::pool::Gate)): its next transaction waits, until RESUME lets it go on.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use super::registry::{Handle, Status};
use super::{Over, Session, Trouble, io};
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// What an operator's KILL tells a client.
pub(super) fn killed() -> Over {
    PgError::fatal(SqlState::ADMIN_SHUTDOWN, "terminating connection due to administrator command").into()
}

/// What a cancel request tells a client whose statement has no server process yet.
pub(super) fn cancelled() -> PgError {
    PgError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")
}

impl Session {
    /// Who it is, for whoever looks at it from outside.
    pub fn handle(&self) -> Arc<Handle> {
        Arc::clone(&self.handle)
    }

    /// Whether a message has to wait for RESUME: it would begin a transaction. One that holds a server connection goes on, and so does
    /// one whose batch has begun: its portals may hold some.
    pub(super) fn must_wait(&self, tag: u8) -> bool {
        self.shared.pools.gate().is_closed()
            && self.held.is_empty()
            && !self.batch.open
            && matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'E')
            && !self.relay.is_skipping()
    }

    /// Waits at the gate while the client is watched: it may cancel, or leave.
    pub(super) async fn wait_at_gate(&mut self) -> Result<(), Trouble> {
        self.handle.set_status(Status::Waiting);
        let pools = self.shared.pools.clone();
        let mut passed = std::pin::pin!(pools.gate().passed());
        let outcome = poll_fn(|cx| {
            self.handle.register(cx.waker());
            if self.handle.activity.is_killed() || self.handle.is_stopped() {
                return Poll::Ready(Err(killed().into()));
            }
            if passed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if self.handle.take_cancelled() {
                return Poll::Ready(Err(cancelled().into()));
            }
            if !self.client.outgoing.is_empty()
                && let Poll::Ready(Err(_)) = self.client.poll_send(cx)
            {
                return Poll::Ready(Err(Over::Gone.into()));
            }
            if self.client.incoming.len() < io::CLIENT_AHEAD
                && let Poll::Ready(Ok(0) | Err(_)) = self.client.poll_fill(cx)
            {
                return Poll::Ready(Err(Over::Gone.into()));
            }
            Poll::Pending
        })
        .await;
        self.handle.set_status(Status::Idle);
        outcome
    }
}
