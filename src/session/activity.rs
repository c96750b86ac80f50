//! What a client is doing, as an operator sees it; and the operator's last word to it.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::registry::Handle;

/// How long a killed session may take to say farewell before its task is ended from outside.
const FAREWELL: Duration = Duration::from_secs(1);

/// A client's doings; written by its session, read by whoever looks.
#[derive(Debug)]
pub struct Activity {
    begun: Instant,
    /// When it last asked for something, in microseconds after `begun`.
    asked: AtomicU64,
    /// Since when it waits, likewise.
    waits: AtomicU64,
    prepared: AtomicUsize,
    local: OnceLock<SocketAddr>,
    task: Mutex<Option<AbortHandle>>,
    killed: AtomicBool,
    /// The server process that works for it; 0 is none.
    server: AtomicI32,
}

impl Default for Activity {
    fn default() -> Self {
        Activity {
            begun: Instant::now(),
            asked: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            prepared: AtomicUsize::new(0),
            local: OnceLock::new(),
            task: Mutex::new(None),
            killed: AtomicBool::new(false),
            server: AtomicI32::new(0),
        }
    }
}

impl Activity {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    /// It has just been answered.
    pub fn asked(&self, prepared: usize) {
        self.asked.store(self.now(), Ordering::Relaxed);
        self.prepared.store(prepared, Ordering::Relaxed);
    }

    /// It begins to wait.
    pub fn waits(&self) {
        self.waits.store(self.now(), Ordering::Relaxed);
    }

    /// For how long it has waited, if it does.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.now().saturating_sub(self.waits.load(Ordering::Relaxed)))
    }

    /// When it was last answered; `connected` is when it logged in.
    pub fn last_request(&self, connected: SystemTime) -> SystemTime {
        connected + Duration::from_micros(self.asked.load(Ordering::Relaxed))
    }

    /// How many prepared statements it has.
    pub fn prepared(&self) -> usize {
        self.prepared.load(Ordering::Relaxed)
    }

    /// Our end of its connection.
    pub fn local(&self) -> Option<SocketAddr> {
        self.local.get().copied()
    }

    /// Says which is our end of its connection.
    pub fn set_local(&self, address: Option<SocketAddr>) {
        if let Some(address) = address {
            // Said once, at login.
            let _ = self.local.set(address);
        }
    }

    /// Which server process works for it; 0 is none.
    pub fn server(&self) -> i32 {
        self.server.load(Ordering::Relaxed)
    }

    /// Says which server process works for it.
    pub fn set_server(&self, pid: i32) {
        self.server.store(pid, Ordering::Relaxed);
    }

    /// The task that serves it, for [`Handle::kill`].
    pub fn set_task(&self, task: AbortHandle) {
        *self.task.lock() = Some(task);
    }

    /// An operator has ended it.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }
}

impl Handle {
    /// The session ends at once, whatever it is doing, and so do its server connections. One that waits for something else than its
    /// client and its servers is ended from outside a moment later.
    pub fn kill(&self) {
        self.activity.killed.store(true, Ordering::Release);
        self.stop();
        let task = self.activity.task.lock().clone();
        if let (Some(task), Ok(runtime)) = (task, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(FAREWELL).await;
                task.abort();
            });
        }
    }
}
