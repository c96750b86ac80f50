//! Whether a shard answers, and how long nobody should try again after it did not.
//!
//! A dead server costs each attempt a connect timeout. So attempts stop for a while that doubles with each failure, and
//! whoever asks in between gets the last error at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::PgError;
use crate::sqlstate::SqlState;

/// The first pause: a server that restarts is back about then.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause: how late a server's return may be noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Whether a server answers.
#[derive(Debug)]
pub struct Health {
    /// The usual case without the lock.
    up: AtomicBool,
    failure: Mutex<Option<Failure>>,
}

#[derive(Debug)]
struct Failure {
    error: PgError,
    pause: Duration,
    until: Instant,
}

impl Default for Health {
    /// Up, until an attempt says otherwise.
    fn default() -> Self {
        Health { up: AtomicBool::new(true), failure: Mutex::new(None) }
    }
}

impl Health {
    /// Whether the last attempt succeeded.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// Why the last attempt failed, if it did.
    pub fn last_error(&self) -> Option<PgError> {
        self.failure.lock().as_ref().map(|failure| failure.error.clone())
    }

    /// Whether an attempt may be made now; the error is the last one's, with a word on the pause.
    pub fn check(&self, now: Instant) -> Result<(), PgError> {
        if self.is_up() {
            return Ok(());
        }
        match &*self.failure.lock() {
            Some(failure) if now < failure.until => {
                let error = failure.error.clone();
                let detail = error.detail.clone().unwrap_or_default();
                let wait = failure.until.duration_since(now).as_millis();
                Err(error.with_detail(format!("{detail}\nThe next attempt is made in {wait} ms.")))
            }
            _ => Ok(()),
        }
    }

    /// Notes an attempt that failed. Only a server that could not be reached or is not ready counts: a refused login is
    /// the login's own affair.
    pub fn failed(&self, error: &PgError, now: Instant) {
        let unreachable = [SqlState::CONNECTION_FAILURE, SqlState::CANNOT_CONNECT_NOW, SqlState::ADMIN_SHUTDOWN];
        if !unreachable.contains(&error.code) {
            return;
        }
        let mut failure = self.failure.lock();
        let pause = match &*failure {
            // Several attempts that began together fail together, and count as one.
            Some(last) if now < last.until => return,
            Some(last) => (last.pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        *failure = Some(Failure { error: error.clone(), pause, until: now + pause });
        self.up.store(false, Ordering::Release);
    }

    /// Notes an attempt that succeeded; says whether the one before had failed.
    pub fn succeeded(&self) -> bool {
        if self.is_up() {
            return false;
        }
        *self.failure.lock() = None;
        self.up.store(true, Ordering::Release);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_end_with_a_success() {
        let (health, mut now) = (Health::default(), Instant::now());
        let error = PgError::new(SqlState::CONNECTION_FAILURE, "gone");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(health.check(now).is_ok());
            health.failed(&error, now);
            health.failed(&error, now);
            assert!(health.check(now).unwrap_err().detail.unwrap().contains("next attempt"));
            let begin = now;
            while health.check(now).is_err() {
                now += Duration::from_millis(100);
            }
            pauses.push((now - begin).as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(!health.is_up() && health.succeeded() && health.is_up() && !health.succeeded());
    }

    #[test]
    fn a_refused_login_says_nothing_of_the_server() {
        let health = Health::default();
        health.failed(&PgError::new(SqlState::INVALID_PASSWORD, "no"), Instant::now());
        assert!(health.is_up());
    }
}
