//! What an operator sees of a server connection, apart from the connection itself: whoever holds that one does not lend it for a look.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::{Connector, Login, Stream};

/// A row of `SHOW SERVERS`.
#[derive(Debug)]
pub struct Seen {
    /// Unique in this process.
    pub id: u64,
    /// The server process's id.
    pub pid: i32,
    /// Its shard's name.
    pub shard: Arc<str>,
    /// The user on the server.
    pub user: String,
    /// The database on the server.
    pub database: String,
    /// The server's host as configured, or the address that it was reached at.
    pub address: String,
    /// The server's port.
    pub port: u16,
    /// Our end of it; none of a unix socket.
    pub local: Option<SocketAddr>,
    /// Encrypted.
    pub tls: bool,
    /// When it was made.
    pub since: Instant,
    /// The same for people.
    pub connected: SystemTime,
    lent: AtomicBool,
    client: AtomicI32,
    /// When it was last lent, in microseconds after `since`.
    used: AtomicU64,
    prepared: AtomicUsize,
    closing: AtomicBool,
}

impl Seen {
    pub(super) fn new(pid: i32, stream: &Stream, connector: &Connector, login: &Login) -> Arc<Seen> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (local, peer) = stream.addresses();
        let server = &connector.server;
        Arc::new(Seen {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            pid,
            shard: connector.shard_name.clone(),
            user: login.user.clone(),
            database: login.database.clone().unwrap_or_else(|| server.database.clone()),
            address: peer.map_or_else(|| server.host.clone(), |peer| peer.ip().to_string()),
            port: server.port,
            local,
            tls: stream.is_tls(),
            since: Instant::now(),
            connected: SystemTime::now(),
            lent: AtomicBool::new(false),
            client: AtomicI32::new(0),
            used: AtomicU64::new(0),
            prepared: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        })
    }

    /// It is lent from now on.
    pub fn lent(&self) {
        self.used.store(self.since.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.lent.store(true, Ordering::Relaxed);
    }

    /// It is lent to this client.
    pub fn lent_to(&self, client: i32) {
        self.client.store(client, Ordering::Relaxed);
    }

    /// It has come back, with so many prepared statements.
    pub fn returned(&self, prepared: usize) {
        self.lent.store(false, Ordering::Relaxed);
        self.client.store(0, Ordering::Relaxed);
        self.prepared.store(prepared, Ordering::Relaxed);
    }

    /// Whether it is lent.
    pub fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Relaxed)
    }

    /// To which client; 0 is none, or Goldseam itself.
    pub fn client(&self) -> i32 {
        self.client.load(Ordering::Relaxed)
    }

    /// When it was last lent.
    pub fn last_used(&self) -> SystemTime {
        self.connected + Duration::from_micros(self.used.load(Ordering::Relaxed))
    }

    /// How many prepared statements it had when it last came back.
    pub fn prepared(&self) -> usize {
        self.prepared.load(Ordering::Relaxed)
    }

    /// Whether it is closed when it comes back.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Says whether it is closed when it comes back.
    pub fn set_closing(&self, closing: bool) {
        self.closing.store(closing, Ordering::Relaxed);
    }
}
