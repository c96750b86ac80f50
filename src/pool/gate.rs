//! The gate before the servers: closed by PAUSE and KILL, opened by RESUME.
//!
//! Whoever begins a transaction passes it; whoever is in one goes on, else the servers would never come to rest. Logins are a gate of
//! their own (DISABLE, ENABLE), because they end with an error and do not wait.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Whether transactions may begin, and clients log in.
#[derive(Debug)]
pub struct Gate {
    /// What is read for each statement.
    closed: AtomicBool,
    disabled: AtomicBool,
    news: watch::Sender<bool>,
}

impl Default for Gate {
    fn default() -> Self {
        Gate { closed: AtomicBool::new(false), disabled: AtomicBool::new(false), news: watch::Sender::new(false) }
    }
}

impl Gate {
    /// Nobody begins a transaction from now on; says whether it was open.
    pub fn close(&self) -> bool {
        let was_open = !self.closed.swap(true, Ordering::AcqRel);
        self.news.send_replace(true);
        was_open
    }

    /// All may go on; says whether it was closed.
    pub fn open(&self) -> bool {
        let was_closed = self.closed.swap(false, Ordering::AcqRel);
        self.news.send_replace(false);
        was_closed
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Waits until it is open.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn passed(&self) {
        if self.is_closed() {
            // The sender is our own: it cannot have gone.
            let _ = self.news.subscribe().wait_for(|closed| !closed).await;
        }
    }

    /// Nobody, or everybody, may log in from now on.
    pub fn disable(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::Release);
    }

    /// Whether nobody may log in.
    pub fn is_disabled(&self) -> bool {
        self.disabled.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn those_who_wait_go_on_when_it_opens() {
        let gate = Arc::new(Gate::default());
        gate.passed().await;
        assert!(gate.close() && !gate.close());
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.passed().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(gate.open() && !gate.open());
        waiting.await.unwrap();
    }
}
