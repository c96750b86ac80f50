//! Connections and places on loan. Each is a value whose drop gives back what it stands for, so that a future dropped at any await
//! loses nothing.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::shard::{Grant, ShardPool, Turn};
use crate::backend::{Backend, ConnectOptions, Login, cancel};
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// How long a cancel request for an abandoned statement may take.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// A connection on loan. Dropped without [`Lease::release`] it is closed, and what still runs on it is cancelled.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<ShardPool>,
    login: Arc<Login>,
    /// `None` only after it was taken out by what consumes the lease.
    backend: Option<Box<Backend>>,
}

impl Lease {
    pub(super) fn new(pool: Arc<ShardPool>, login: Arc<Login>, backend: Box<Backend>) -> Self {
        backend.seen.lent();
        Lease { pool, login, backend: Some(backend) }
    }

    /// Gives it back: to whoever waits, or to rest; closed if it is not clean ([`Backend::is_clean`]).
    pub fn release(mut self) {
        if let Some(backend) = self.backend.take() {
            self.pool.give_back(&self.login, backend);
        }
    }

    /// As whom it is logged in.
    pub fn login(&self) -> &Arc<Login> {
        &self.login
    }

    /// Closes the connection and keeps its place.
    pub(super) fn into_slot(mut self) -> Slot {
        self.backend = None;
        self.pool.reconnecting(&self.login);
        Slot::new(self.pool.clone(), self.login.clone())
    }
}

impl Deref for Lease {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        self.backend.as_deref().expect("taken out only by what consumes the lease")
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Backend {
        self.backend.as_deref_mut().expect("taken out only by what consumes the lease")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(backend) = self.backend.take() else { return };
        // A server notices a closed socket only when it writes: a long statement would go on for nobody.
        if backend.in_flight > 0
            && !backend.tainted
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (connector, pid, secret) = backend.cancel_key();
            runtime.spawn(async move {
                if let Err(error) = cancel(&connector, pid, &secret, CANCEL_PATIENCE).await {
                    tracing::debug!(%error, "an abandoned statement could not be cancelled");
                }
            });
        }
        backend.close();
        self.pool.free_place(&self.login);
    }
}

/// A place for a connection about to be made.
#[derive(Debug)]
pub(super) struct Slot {
    pool: Arc<ShardPool>,
    login: Arc<Login>,
    used: bool,
}

impl Slot {
    pub fn new(pool: Arc<ShardPool>, login: Arc<Login>) -> Self {
        Slot { pool, login, used: false }
    }

    /// Makes the connection.
    ///
    /// # Cancel safety
    /// Dropped half-way the place comes free.
    pub async fn connect(mut self, options: &ConnectOptions) -> Result<Lease, PgError> {
        let (info, health) = (self.pool.info().clone(), self.pool.health());
        health.check(Instant::now())?;
        match Backend::connect(&info.primary, &self.login, options).await {
            Ok(backend) => {
                if health.succeeded() {
                    tracing::info!(shard = &*info.name, "shard answers again");
                }
                self.used = true;
                self.pool.connected(&self.login, true);
                self.pool.show(&backend.seen);
                Ok(Lease::new(self.pool.clone(), self.login.clone(), Box::new(backend)))
            }
            Err(error) => {
                let was_up = health.is_up();
                health.failed(&error, Instant::now());
                if was_up && !health.is_up() {
                    tracing::warn!(shard = &*info.name, %error, "shard does not answer");
                }
                Err(error)
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if !self.used {
            self.pool.connected(&self.login, false);
            self.pool.free_place(&self.login);
        }
    }
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Waiter {
    pool: Arc<ShardPool>,
    login: Arc<Login>,
    ticket: u64,
    receiver: oneshot::Receiver<Grant>,
    done: bool,
}

impl Waiter {
    pub fn new(pool: Arc<ShardPool>, login: Arc<Login>, ticket: u64, receiver: oneshot::Receiver<Grant>) -> Self {
        Waiter { pool, login, ticket, receiver, done: false }
    }

    /// Waits for a connection or a place.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the queue; what it was granted in that very moment goes to the next.
    pub async fn wait(mut self, patience: Duration) -> Result<Turn, PgError> {
        match tokio::time::timeout(patience, &mut self.receiver).await {
            Ok(Ok(grant)) => {
                self.done = true;
                let (pool, login) = (self.pool.clone(), self.login.clone());
                Ok(match grant {
                    Grant::Backend(backend) => Turn::Idle(Lease::new(pool, login, backend)),
                    Grant::Place => Turn::Open(Slot::new(pool, login)),
                })
            }
            Ok(Err(_)) => {
                self.done = true;
                let name = &self.pool.info().name;
                Err(PgError::new(SqlState::CANNOT_CONNECT_NOW, format!("shard \"{name}\" was changed by a reload")))
            }
            Err(_) => Err(self.pool.full(&self.login, patience)),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if !self.done {
            self.receiver.close();
            self.pool.leave_queue(&self.login, self.ticket, self.receiver.try_recv().ok());
        }
    }
}
