//! Numbers of sequences that several shards have: all of them come from one shard, a block at a time.
//!
//! A table that is spread has its sequence on every shard, and each would count by itself. Here only the first shard's counts (its *home*).
//! A node of Goldseam takes a block of numbers from it, by `nextval` itself, and gives them out to its sessions one by one. What a crash takes with
//! it is the rest of a block: numbers are left out, as a rollback leaves them out in PostgreSQL, and none comes twice, because the server that
//! counted has written down how far it is before it answered. There is no table beside the sequence, so CREATE, ALTER SEQUENCE, RESTART,
//! `pg_dump` and CYCLE mean what they always mean.
//!
//! Before its first block a node looks at the other shards' sequences, which may have counted before Goldseam came, and moves the home's
//! behind all of them. That, and every block, is done under one advisory lock on the home shard, so that no node counts between
//! another's look and its step.
//!
//! A block grows with the pace at which it is used, up to [`MOST`], and one that has lain for [`FRESH`] is thrown away: what `setval` or RESTART has
//! done through another node is then seen here too.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::Pools;
use crate::backend::Backend;
use crate::error::PgError;
use crate::plan::once::Sequence;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// The largest block: at this size the round trip is a thousandth of each number's cost, and a crash leaves out no more than this.
const MOST: usize = 1_000;
/// The first block of a sequence that is seldom used.
const FIRST: usize = 20;
/// A block that is used up within this time was too small.
const BRISK: Duration = Duration::from_secs(5);
/// A block that is older is not used any more.
const FRESH: Duration = Duration::from_secs(60);
/// A block is no more than this part of what is left to the sequence's end: a short sequence is not used up by those who wait.
const SHARE: u32 = 64;
/// So long after a `setval` no numbers are kept back: it may still be under way.
const UNSETTLED: Duration = Duration::from_secs(10);
/// The advisory lock's first key; the second is a hash of the sequence's name.
const LOCK: i32 = 0x676f_6c64;

/// The numbers that wait to be given out.
#[derive(Debug)]
pub struct Sequences {
    pools: Arc<Pools>,
    known: Mutex<HashMap<Sequence, Arc<Known>>>,
    /// Roles that may use a sequence.
    allowed: Mutex<HashSet<(String, Sequence)>>,
    /// This process's number among all of the cluster's, once it is needed.
    node: tokio::sync::OnceCell<u64>,
}

/// One sequence. The lock is held while a block is fetched: whoever needs numbers meanwhile waits for it.
#[derive(Debug, Default)]
struct Known {
    block: tokio::sync::Mutex<Block>,
    reset: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Block {
    numbers: VecDeque<i64>,
    size: usize,
    since: Option<Instant>,
    /// The other shards' sequences have been looked at.
    settled: bool,
}

impl Sequences {
    /// Nothing is known yet.
    pub fn new(pools: Arc<Pools>) -> Sequences {
        Sequences { pools, known: Mutex::default(), allowed: Mutex::default(), node: tokio::sync::OnceCell::new() }
    }

    /// The next numbers, as many as asked for.
    ///
    /// # Errors
    /// What the server says to `nextval` (2200H at its end); the home shard cannot be reached.
    ///
    /// # Cancel safety
    /// Numbers may be lost.
    pub async fn draw(&self, sequence: &Sequence, count: usize) -> Result<Vec<i64>, PgError> {
        let known = self.known.lock().entry(sequence.clone()).or_default().clone();
        let mut block = known.block.lock().await;
        let kept_back = known.reset.lock().is_none_or(|reset| reset.elapsed() > UNSETTLED);
        if !kept_back || block.since.is_some_and(|since| since.elapsed() > FRESH) {
            block.numbers.clear();
        }
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let Some(number) = block.numbers.pop_front() else {
                let missing = count - drawn.len();
                self.fetch(sequence, &mut block, missing, kept_back).await?;
                continue;
            };
            drawn.push(number);
        }
        Ok(drawn)
    }

    /// The sequence is about to be set: numbers that wait are thrown away, and for a while none are kept back.
    pub fn forget(&self, sequence: &Sequence) {
        let known = self.known.lock().entry(sequence.clone()).or_default().clone();
        *known.reset.lock() = Some(Instant::now());
    }

    /// Sequences may have been made, dropped or restarted: nothing is known of any of them.
    pub fn forget_all(&self) {
        self.known.lock().clear();
        self.allowed.lock().clear();
    }

    /// Whether a role may draw from a sequence: `42501` if not.
    pub async fn check_privilege(&self, role: &str, sequence: &Sequence) -> Result<(), PgError> {
        let key = (role.to_owned(), sequence.clone());
        if sequence.identity || self.allowed.lock().contains(&key) {
            return Ok(());
        }
        let mut lease = self.connect(sequence.home).await?;
        let ask = "SELECT pg_catalog.has_sequence_privilege($1::name, $2::text, 'USAGE, UPDATE')";
        let rows = lease.query_params(ask, &[Some(role), Some(&sequence.quoted())]).await?;
        if rows.into_iter().flatten().flatten().next().as_deref() == Some("t") {
            self.allowed.lock().insert(key);
            return Ok(());
        }
        Err(PgError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied for sequence {}", sequence.name)))
    }

    /// This process's number, unlike those of the 1,023 processes before it.
    pub async fn node(&self, home: ShardId) -> Result<u64, PgError> {
        let next = "SELECT pg_catalog.nextval('goldseam.nodes')";
        let ask = async || {
            let mut backend = self.connect(home).await?;
            let rows = match backend.query(next).await {
                Err(error) if matches!(&error.code.0, b"42P01" | b"3F000") => {
                    // Another node may be making them just now: then they are there.
                    let _ = backend.query("CREATE SCHEMA IF NOT EXISTS goldseam").await;
                    let _ = backend
                        .query("CREATE SEQUENCE IF NOT EXISTS goldseam.nodes MINVALUE 0 MAXVALUE 1023 CYCLE")
                        .await;
                    backend.query(next).await?
                }
                rows => rows?,
            };
            let node = rows.into_iter().flatten().flatten().next().and_then(|node| node.parse().ok());
            node.ok_or_else(|| PgError::new(SqlState::INTERNAL_ERROR, "the sequence goldseam.nodes has no number"))
        };
        self.node.get_or_try_init(ask).await.copied()
    }

    /// A connection of its own: whoever needs a number may hold the last one of the pool.
    async fn connect(&self, shard: ShardId) -> Result<Backend, PgError> {
        let topology = self.pools.topology();
        let Some(info) = topology.shard(shard) else {
            return Err(PgError::new(SqlState::INTERNAL_ERROR, format!("there is no shard number {}", shard.0)));
        };
        Backend::connect(&info.primary, &info.service, topology.options()).await
    }

    async fn fetch(
        &self,
        sequence: &Sequence,
        block: &mut Block,
        missing: usize,
        keep_back: bool,
    ) -> Result<(), PgError> {
        let brisk = block.since.is_some_and(|since| since.elapsed() < BRISK);
        block.size = if brisk { (block.size * 2).min(MOST) } else { FIRST };
        let wanted = if keep_back { missing.max(block.size) } else { missing };
        let mut lease = self.connect(sequence.home).await?;
        if !block.settled {
            self.settle(sequence, &mut lease).await?;
            block.settled = true;
        }
        let numbers = take(sequence, &mut lease, missing, wanted).await?;
        block.numbers.extend(numbers);
        block.since = Some(Instant::now());
        Ok(())
    }

    /// Moves the home's sequence behind where the other shards' have counted.
    async fn settle(&self, sequence: &Sequence, home: &mut Backend) -> Result<(), PgError> {
        let name = sequence.quoted();
        let mut reached: Vec<i64> = Vec::new();
        for shard in &sequence.others {
            let mut lease = self.connect(*shard).await?;
            let rows = lease.query(&format!("SELECT last_value FROM {name} WHERE is_called")).await?;
            reached.extend(rows.into_iter().flatten().flatten().filter_map(|number| number.parse::<i64>().ok()));
        }
        let (Some(least), Some(most)) = (reached.iter().min(), reached.iter().max()) else { return Ok(()) };
        home.query(&format!("{}; {}", lock(sequence), step(&name, *least, *most))).await.map(drop)
    }
}

/// Moves a sequence, given as SQL, behind where others have counted; only forwards, in the direction in which it counts.
pub fn step(name: &str, least: i64, most: i64) -> String {
    format!(
        "SELECT pg_catalog.setval('{text}', CASE WHEN q.seqincrement > 0 THEN {most} ELSE {least} END) \
         FROM {name} s, pg_catalog.pg_sequence q WHERE q.seqrelid = '{text}'::pg_catalog.regclass \
         AND CASE WHEN q.seqincrement > 0 THEN s.last_value < {most} OR (s.last_value = {most} AND NOT s.is_called) \
         ELSE s.last_value > {least} OR (s.last_value = {least} AND NOT s.is_called) END",
        text = name.replace('\'', "''"),
    )
}

/// The lock under which a sequence moves, until the end of the transaction that several statements of one message are.
fn lock(sequence: &Sequence) -> String {
    let hash = crc32fast::hash(sequence.quoted().as_bytes()) as i32;
    format!("SELECT pg_catalog.pg_advisory_xact_lock({LOCK}, {hash})")
}

/// The next numbers from the server: as many as wanted if there are so many to the sequence's end, and the least in any case, be it with
/// PostgreSQL's error. A sequence that begins anew at its end gives no more than the least.
async fn take(sequence: &Sequence, lease: &mut Backend, least: usize, wanted: usize) -> Result<Vec<i64>, PgError> {
    let name = sequence.quoted();
    let text = name.replace('\'', "''");
    let left = "pg_catalog.floor((CASE WHEN q.seqincrement > 0 THEN q.seqmax ELSE q.seqmin END - s.last_value::numeric) / q.seqincrement)";
    let sql = format!(
        "{}; SELECT pg_catalog.nextval('{text}') FROM {name} s, pg_catalog.pg_sequence q, \
         LATERAL pg_catalog.generate_series(1::bigint, CASE WHEN q.seqcycle THEN {least} \
         ELSE GREATEST({least}, LEAST({wanted}, ({left} / {SHARE})::bigint)) END) \
         WHERE q.seqrelid = '{text}'::pg_catalog.regclass",
        lock(sequence)
    );
    let rows = lease.query(&sql).await?;
    // The lock's own row is empty.
    let numbers: Vec<i64> = rows.into_iter().flatten().flatten().filter_map(|number| number.parse().ok()).collect();
    if numbers.len() < least {
        return Err(PgError::new(SqlState::INTERNAL_ERROR, "a sequence gave other numbers than it was asked for"));
    }
    Ok(numbers)
}
