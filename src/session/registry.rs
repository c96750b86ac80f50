//! Who is connected: for cancel requests, for `SHOW CLIENTS`, and for telling every session that the proxy is going down.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::activity::Activity;
use crate::error::PgError;
use crate::plan::Pin;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// The statement that a cancel request would end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelTarget {
    /// Whose server.
    pub shard: ShardId,
    /// The server process.
    pub pid: i32,
    /// Its secret.
    pub secret: Arc<[u8]>,
}

/// What an operator sees of a client, and what others may tell it.
#[derive(Debug)]
pub struct Handle {
    /// The number in BackendKeyData, unique among those connected.
    pub pid: i32,
    secret: [u8; 4],
    /// Who.
    pub user: String,
    /// The database's name as the client gave it.
    pub database: String,
    /// From where.
    pub address: SocketAddr,
    /// Since when.
    pub connected: SystemTime,
    /// Encrypted.
    pub tls: bool,
    /// As the client called itself at login.
    pub application_name: String,
    status: AtomicU8,
    stop: AtomicBool,
    /// Cancel requests on their way to a server.
    cancelling: AtomicUsize,
    waker: Mutex<Option<Waker>>,
    target: Mutex<Aim>,
    cancelled: AtomicBool,
    /// How often a cancel request found something to end.
    cancels: AtomicUsize,
    pins: Mutex<Vec<(ShardId, Pin)>>,
    /// What it is doing.
    pub activity: Activity,
}

/// Whom a cancel request is for: nearly always one at most, for which nothing is allocated.
#[derive(Debug, Default)]
struct Aim {
    first: Option<CancelTarget>,
    /// The other shards of a statement that runs on several.
    others: Vec<CancelTarget>,
}

/// What a client is doing, in PgBouncer's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Between transactions.
    Idle = 0,
    /// With a server connection.
    Active = 1,
    /// In the queue for one.
    Waiting = 2,
}

impl Handle {
    /// What it is doing now.
    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Relaxed) {
            0 => Status::Idle,
            1 => Status::Active,
            _ => Status::Waiting,
        }
    }

    /// The session says what it is doing.
    pub fn set_status(&self, status: Status) {
        if status == Status::Waiting {
            self.activity.waits();
            // What came too late for an earlier wait was not meant for what waits now.
            self.cancelled.store(false, Ordering::Release);
        }
        self.status.store(status as u8, Ordering::Relaxed);
    }

    /// The session must end as soon as its transaction has.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether it has been told to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.lock().take() {
            waker.wake();
        }
    }

    /// Whoever polls the session registers, so that [`stop`](Self::stop) and a cancel request reach it.
    pub fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock();
        if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// From now on a cancel request is meant for this server process, or for none.
    pub fn aim(&self, target: Option<CancelTarget>) {
        *self.target.lock() = Aim { first: target, others: Vec::new() };
    }

    /// From now on a cancel request is meant for all of these server processes.
    pub fn aim_at_all(&self, mut targets: Vec<CancelTarget>) {
        let first = targets.pop();
        *self.target.lock() = Aim { first, others: targets };
    }

    /// How many cancel requests have found something to end: more than a moment ago, if one came since.
    pub fn cancels(&self) -> usize {
        self.cancels.load(Ordering::Acquire)
    }

    /// Takes the note that a cancel request came while no server process was there to be told.
    pub fn take_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) && self.cancelled.swap(false, Ordering::AcqRel)
    }

    /// A cancel request is on its way to the server: a connection released meanwhile might hand it to somebody else.
    pub fn is_cancelling(&self) -> bool {
        self.cancelling.load(Ordering::Acquire) > 0
    }

    /// Why it keeps server connections.
    pub fn pins(&self) -> Vec<(ShardId, Pin)> {
        self.pins.lock().clone()
    }

    /// The session says why it keeps server connections.
    pub fn set_pins(&self, pins: Vec<(ShardId, Pin)>) {
        *self.pins.lock() = pins;
    }
}

/// All connected clients.
#[derive(Debug, Default)]
pub struct Clients {
    by_pid: Mutex<HashMap<i32, Arc<Handle>>>,
    stopping: AtomicBool,
}

/// A registered client; dropping it takes the client out.
#[derive(Debug)]
pub struct Registration {
    clients: Arc<Clients>,
    handle: Arc<Handle>,
}

impl std::ops::Deref for Registration {
    type Target = Arc<Handle>;

    fn deref(&self) -> &Arc<Handle> {
        &self.handle
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.clients.by_pid.lock().remove(&self.handle.pid);
    }
}

impl Registration {
    /// The secret for BackendKeyData.
    pub fn secret(&self) -> [u8; 4] {
        self.handle.secret
    }
}

/// A cancel request on its way; dropping it says that it has arrived.
#[derive(Debug)]
pub struct Cancelling(Arc<Handle>);

impl Drop for Cancelling {
    fn drop(&mut self) {
        self.0.cancelling.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Clients {
    /// A client has logged in.
    ///
    /// # Errors
    /// `53300` if there are too many, `57P01` if the proxy is going down.
    #[allow(clippy::too_many_arguments)] // plain data of one record
    pub fn register(
        self: &Arc<Self>,
        user: &str,
        database: &str,
        application_name: &str,
        address: SocketAddr,
        tls: bool,
        most: usize,
        most_of_user: Option<usize>,
    ) -> Result<Registration, PgError> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random)
            .map_err(|error| PgError::fatal(SqlState::INTERNAL_ERROR, format!("no random numbers: {error}")))?;
        let [a, b, c, d, secret @ ..] = random;
        let mut by_pid = self.by_pid.lock();
        if by_pid.len() >= most {
            return Err(PgError::fatal(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
                .with_detail(format!("The limit pool.max_client_connections is {most}.")));
        }
        if let Some(limit) = most_of_user
            && by_pid.values().filter(|client| client.user == user).count() >= limit
        {
            return Err(PgError::fatal(
                SqlState::TOO_MANY_CONNECTIONS,
                format!("too many connections for role \"{user}\""),
            )
            .with_detail(format!("The limit auth.user.{user}.max_connections is {limit}.")));
        }
        // Under the lock, so that no client slips in between the stop and its own registration.
        if self.stopping.load(Ordering::Acquire) {
            return Err(PgError::fatal(SqlState::ADMIN_SHUTDOWN, "the proxy is shutting down"));
        }
        let mut pid = i32::from_be_bytes([a, b, c, d]) & i32::MAX;
        while pid == 0 || by_pid.contains_key(&pid) {
            pid = (pid.wrapping_add(1)) & i32::MAX;
        }
        let handle = Arc::new(Handle {
            pid,
            secret,
            user: user.to_owned(),
            database: database.to_owned(),
            address,
            connected: SystemTime::now(),
            tls,
            application_name: application_name.to_owned(),
            status: AtomicU8::new(Status::Idle as u8),
            stop: AtomicBool::new(false),
            cancelling: AtomicUsize::new(0),
            waker: Mutex::new(None),
            target: Mutex::default(),
            cancelled: AtomicBool::new(false),
            cancels: AtomicUsize::new(0),
            pins: Mutex::new(Vec::new()),
            activity: Activity::default(),
        });
        by_pid.insert(pid, handle.clone());
        Ok(Registration { clients: self.clone(), handle })
    }

    /// Everybody who is connected, in the order of their numbers.
    pub fn list(&self) -> Vec<Arc<Handle>> {
        let mut all: Vec<_> = self.by_pid.lock().values().cloned().collect();
        all.sort_by_key(|handle| handle.connected);
        all
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.by_pid.lock().len()
    }

    /// Nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nobody new is let in.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Nobody new, and everybody ends with their transaction.
    pub fn stop_all(&self) {
        self.stopping.store(true, Ordering::Release);
        for client in self.list() {
            client.stop();
        }
    }

    /// A cancel request: the server processes to be told, if the secret is right and there are any. The comparison takes the
    /// same time whatever the secret (a wrong guess must not say how wrong it was).
    pub fn cancel(&self, pid: i32, secret: &[u8]) -> Option<(Vec<CancelTarget>, Cancelling)> {
        let handle = self.by_pid.lock().get(&pid)?.clone();
        let differs = handle.secret.iter().zip(secret).fold(0u8, |differs, (a, b)| differs | (a ^ b));
        if secret.len() != handle.secret.len() || differs != 0 {
            return None;
        }
        // The target's lock is held while the request is counted: a session that releases its server afterwards sees it.
        let target = handle.target.lock();
        match &target.first {
            Some(first) => {
                let aimed = std::iter::once(first).chain(&target.others).cloned().collect();
                handle.cancelling.fetch_add(1, Ordering::AcqRel);
                handle.cancels.fetch_add(1, Ordering::AcqRel);
                drop(target);
                // A server may be beyond hearing it: then the session itself has to end the statement.
                handle.wake();
                Some((aimed, Cancelling(handle)))
            }
            None => {
                drop(target);
                if handle.status() == Status::Waiting {
                    handle.cancelled.store(true, Ordering::Release);
                    handle.wake();
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(clients: &Arc<Clients>, user: &str) -> Result<Registration, PgError> {
        clients.register(user, "db", "", ([127, 0, 0, 1], 1).into(), false, 3, Some(2))
    }

    #[test]
    fn limits_hold_for_all_and_for_each_user_and_end_with_the_connection() {
        let clients = Arc::new(Clients::default());
        let (first, _second) = (register(&clients, "a").unwrap(), register(&clients, "a").unwrap());
        assert_eq!(register(&clients, "a").unwrap_err().code, SqlState::TOO_MANY_CONNECTIONS);
        let _third = register(&clients, "b").unwrap();
        assert_eq!(register(&clients, "c").unwrap_err().code, SqlState::TOO_MANY_CONNECTIONS);
        drop(first);
        register(&clients, "a").unwrap();
    }

    #[test]
    fn only_the_right_secret_cancels_and_only_what_is_running() {
        let clients = Arc::new(Clients::default());
        let client = register(&clients, "a").unwrap();
        let (pid, secret) = (client.pid, client.secret());
        assert!(clients.cancel(pid, &secret).is_none(), "nothing runs");
        client.aim(Some(CancelTarget { shard: ShardId(1), pid: 7, secret: Arc::from([1]) }));
        assert!(clients.cancel(pid, &secret[..3]).is_none());
        assert!(clients.cancel(pid, &[]).is_none());
        assert!(clients.cancel(pid, &[secret[0] ^ 1, secret[1], secret[2], secret[3]]).is_none());
        let (targets, cancelling) = clients.cancel(pid, &secret).unwrap();
        assert_eq!((targets.len(), targets[0].pid, client.cancels()), (1, 7, 1));
        assert!(client.is_cancelling());
        drop(cancelling);
        assert!(!client.is_cancelling());
    }

    #[test]
    fn all_servers_of_a_statement_are_cancelled() {
        let clients = Arc::new(Clients::default());
        let client = register(&clients, "a").unwrap();
        let target = |pid| CancelTarget { shard: ShardId(pid as u16), pid, secret: Arc::from([1]) };
        client.aim_at_all((0..3).map(target).collect());
        let (targets, _cancelling) = clients.cancel(client.pid, &client.secret()).unwrap();
        let mut pids: Vec<i32> = targets.iter().map(|target| target.pid).collect();
        pids.sort();
        assert_eq!(pids, [0, 1, 2]);
        client.aim(None);
        assert!(clients.cancel(client.pid, &client.secret()).is_none());
    }

    #[test]
    fn nobody_logs_in_while_the_proxy_goes_down() {
        let clients = Arc::new(Clients::default());
        let early = register(&clients, "a").unwrap();
        clients.stop_all();
        assert!(early.is_stopped());
        assert_eq!(register(&clients, "b").unwrap_err().code, SqlState::ADMIN_SHUTDOWN);
    }
}
