//! Parts of transactions over several shards whose server has not said what became of them, and the names by which they are found.
//!
//! All of this happens over other connections than the one that was lost, with the client's own login: a prepared transaction can be
//! ended by its owner only, and in its own database. They are none of the pool's: all of its connections may be waiting for the very locks that
//! the prepared transaction holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::backend::{Backend, Login};
use crate::error::PgError;
use crate::pool::Pools;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// The longest a gid may be (PostgreSQL's `GIDSIZE` is 200, with the zero).
const MAX_GID: usize = 199;
/// What the names of all our prepared transactions begin with.
pub const PREFIX: &str = "goldseam";
/// The first pause between two attempts, which doubles up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A server that comes back does its part within this time.
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// One attempt, from waiting for a connection to the answer.
const ATTEMPT: Duration = Duration::from_secs(30);
/// How long a server process may take to end.
const TERMINATION: Duration = Duration::from_secs(5);

/// Names for prepared transactions: `goldseam:<cluster>:<instance>.<epoch>:<number>:<shard>`.
///
/// Where one part could not be prepared, the number is followed by `+<shard>.<transaction>`: that part's, whose end is that of all
/// ([`last_agent`](super::last_agent)). The instance is random for each process, and the epoch is when it started, so that two processes never give one name. All parts of one
/// transaction have one number. The shard is a part of the name because two shards may be two databases of one server, which has one
/// space of names.
#[derive(Debug)]
pub struct Gids {
    instance: String,
    next: AtomicU64,
}

impl Gids {
    /// Names of this process.
    pub fn new(random: u32) -> Gids {
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Gids { instance: format!("{PREFIX}:main:{random:08x}.{epoch}"), next: AtomicU64::new(1) }
    }

    /// The number of one more transaction.
    pub fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// The name of a transaction's part on a shard; the shard's own name stands in it if that is short and plain.
    pub fn gid(&self, number: impl std::fmt::Display, shard: ShardId, name: &str) -> String {
        let gid = format!("{}:{number}:{name}", self.instance);
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if plain && gid.len() <= MAX_GID { gid } else { format!("{}:{number}:#{}", self.instance, shard.0) }
    }
}

/// A part of a transaction that is prepared, or was about to be.
#[derive(Debug)]
pub(super) struct InDoubt {
    pub pools: Arc<Pools>,
    pub login: Arc<Login>,
    pub shard: ShardId,
    pub shard_name: Arc<str>,
    pub gid: String,
    /// The server process that was asked to prepare it.
    pub pid: i32,
    /// When that connection was made.
    pub since: Instant,
}

impl InDoubt {
    /// The statement that prepares it. Its name has no quotes.
    pub(super) fn prepare(&self) -> String {
        format!("PREPARE TRANSACTION '{}'", self.gid)
    }

    /// The statement that commits it.
    pub(super) fn commit(&self) -> String {
        format!("COMMIT PREPARED '{}'", self.gid)
    }

    /// The statement that rolls it back.
    pub(super) fn roll_back(&self) -> String {
        format!("ROLLBACK PREPARED '{}'", self.gid)
    }

    /// Commits it, however long it takes: the decision cannot be taken back.
    pub(super) async fn commit_prepared(self) {
        let statement = self.commit();
        self.insist(&statement, false).await;
    }

    /// Rolls it back, however long it takes: until then it keeps its locks.
    pub(super) async fn roll_back_prepared(self) {
        let statement = self.roll_back();
        self.insist(&statement, false).await;
    }

    /// The connection was lost before the server had said that it is prepared. It may be, or may be about to be: a PREPARE that is still on its
    /// way would come after a ROLLBACK PREPARED that found nothing. So the old server process has to go first.
    pub(super) async fn roll_back_lost(self) {
        let statement = self.roll_back();
        self.insist(&statement, true).await;
    }

    async fn insist(&self, statement: &str, end_old: bool) {
        let (mut pause, begun) = (FIRST_PAUSE, Instant::now());
        loop {
            let error = match tokio::time::timeout(ATTEMPT, self.attempt(statement, end_old)).await {
                Ok(Ok(())) => {
                    tracing::info!(shard = %self.shard_name, statement, after = ?begun.elapsed(), "an open two-phase commit is resolved");
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {ATTEMPT:?}"),
            };
            if self.is_orphaned() {
                tracing::error!(shard = %self.shard_name, statement, "the shard is gone from the configuration: this statement has to be run by hand");
                return;
            }
            tracing::warn!(shard = %self.shard_name, statement, error, "a two-phase commit is still open; it is tried again");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// A reload has taken the shard away, or given its number to another.
    fn is_orphaned(&self) -> bool {
        self.pools.topology().shard(self.shard).is_none_or(|shard| shard.name != self.shard_name)
    }

    async fn attempt(&self, statement: &str, end_old: bool) -> Result<(), PgError> {
        let mut backend = fresh(&self.pools, self.shard, &self.login).await?;
        if backend.shard_name != self.shard_name {
            return Err(PgError::new(SqlState::INTERNAL_ERROR, "the shard's number belongs to another now"));
        }
        if end_old {
            self.end_old(&mut backend).await?;
        }
        match backend.query(statement).await {
            // It was done before the connection was lost; or, of a rollback, it was never prepared and never will be.
            Err(error) if error.code == SqlState::UNDEFINED_OBJECT => {}
            // It was prepared by a role that the client had taken on.
            Err(error) if error.code == SqlState::INSUFFICIENT_PRIVILEGE => {
                let owner = format!(
                    "SELECT pg_catalog.quote_ident(owner) FROM pg_catalog.pg_prepared_xacts WHERE gid = '{}'",
                    self.gid
                );
                let owner = backend.query(&owner).await?.into_iter().flatten().flatten().next();
                backend.query(&format!("SET ROLE {}", owner.ok_or(error)?)).await?;
                backend.query(statement).await?;
            }
            result => drop(result?),
        }
        backend.close();
        Ok(())
    }

    /// Ends the server process of the lost connection and waits until it is gone. Its number may have been given to another by now, which
    /// however is younger.
    async fn end_old(&self, backend: &mut Backend) -> Result<(), PgError> {
        let which = format!(
            "pg_catalog.pg_stat_activity WHERE pid = {} AND backend_start < pg_catalog.clock_timestamp() - interval '{} ms'",
            self.pid,
            self.since.elapsed().as_millis().saturating_sub(1_000),
        );
        let end = format!("SELECT pg_catalog.pg_terminate_backend(pid) FROM {which}");
        let there = format!("SELECT pid FROM {which}");
        let begun = Instant::now();
        while !backend.query(&there).await?.is_empty() {
            if begun.elapsed() > TERMINATION {
                return Err(PgError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "the old server process does not end",
                ));
            }
            backend.query(&end).await?;
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        Ok(())
    }
}

/// A connection of its own, as the login itself: no role that the client may have taken on.
async fn fresh(pools: &Pools, shard: ShardId, login: &Login) -> Result<Backend, PgError> {
    let topology = pools.topology();
    match topology.shard(shard) {
        Some(info) => Backend::connect(&info.primary, login, topology.options()).await,
        None => Err(PgError::new(SqlState::INTERNAL_ERROR, format!("there is no shard number {}", shard.0))),
    }
}

/// Whether a transaction whose connection was lost during its COMMIT has been committed. Does not return before it is known.
pub(super) async fn outcome(pools: &Pools, shard: ShardId, login: &Login, xid: &str) -> bool {
    let status = format!("SELECT pg_catalog.txid_status({xid})");
    let mut pause = FIRST_PAUSE;
    loop {
        let answer = async {
            let mut backend = fresh(pools, shard, login).await?;
            let rows = backend.query(&status).await?;
            backend.close();
            Ok::<_, PgError>(rows.into_iter().flatten().flatten().next())
        };
        match answer.await.ok().flatten().as_deref() {
            Some("committed") => return true,
            Some("aborted") => return false,
            // In progress, or not to be asked.
            _ => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

/// Names in the log what an earlier process has left prepared on the shards: nobody but an operator knows what is to become of it.
pub async fn report(pools: Arc<Pools>) {
    let query = format!(
        "SELECT gid, prepared FROM pg_catalog.pg_prepared_xacts \
         WHERE database = pg_catalog.current_database() AND pg_catalog.starts_with(gid, '{PREFIX}:') ORDER BY prepared"
    );
    for shard in pools.topology().shards.iter().filter(|shard| shard.health.is_up()) {
        let found = async {
            let mut lease = pools.service(shard.id).await?;
            let rows = lease.query(&query).await?;
            lease.release();
            Ok::<_, PgError>(rows)
        };
        match found.await {
            Ok(rows) => {
                for row in rows {
                    let mut values = row.into_iter().flatten();
                    let (gid, prepared) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
                    tracing::warn!(
                        shard = &*shard.name,
                        gid,
                        prepared,
                        "a prepared transaction of an earlier run is open and holds locks: if it is missing on any of its shards, run COMMIT PREPARED here, else COMMIT PREPARED or ROLLBACK PREPARED on all"
                    );
                }
            }
            Err(error) => tracing::debug!(shard = &*shard.name, %error, "prepared transactions could not be listed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_plain_and_short_enough() {
        let (one, other) = (Gids::new(1), Gids::new(2));
        let number = one.next();
        let gid = one.gid(number, ShardId(3), "s3");
        assert!(gid.starts_with("goldseam:main:00000001.") && gid.ends_with(&format!(":{number}:s3")), "{gid}");
        assert_ne!(gid, other.gid(number, ShardId(3), "s3"));
        assert_ne!(gid, one.gid(one.next(), ShardId(3), "s3"));
        for name in ["it's", "a:b", &"x".repeat(300)] {
            let gid = one.gid(u64::MAX, ShardId(u16::MAX), name);
            assert!(gid.ends_with(":#65535") && gid.len() <= MAX_GID, "{gid}");
        }
    }
}
