//! The tables of directory vindexes: which shard each key was given to.
//!
//! A directory is a table `goldseam.directory_<vindex> (key text primary key, shard text not null)` on one shard, read through a bounded
//! cache. Keys are in their canonical text form; shards are written by name, because their order in a configuration may change. A
//! row is never changed here, only added, so that a cached one stays true; whoever moves keys calls [`Directories::forget`].
//!
//! A new key is placed before the INSERT that brings it, in a transaction of its own: if the INSERT then fails, the key has a place and
//! no rows, which harms nobody. Two sessions that place one key at one time agree, because the table's primary key decides, and both read it
//! again.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;

use super::{Lease, Pools};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::{ShardId, VindexId};
use crate::vschema::{Directory, DirectoryDefault, Vschema};

/// How long the numbers of keys per shard are believed, before the table is counted again: other Goldseam nodes and moves change it too.
const COUNTS_LIFETIME: Duration = Duration::from_secs(60);

/// The directory vindexes of one vschema.
#[derive(Debug)]
pub struct Directories {
    pools: Arc<Pools>,
    shards: Vec<String>,
    /// By [`VindexId`]; `None` for other kinds.
    tables: Vec<Option<Table>>,
}

#[derive(Debug)]
struct Table {
    vindex: String,
    /// Schema and name, quoted.
    name: String,
    directory: Directory,
    cache: Mutex<LruCache<Box<str>, ShardId>>,
    counts: Mutex<Option<(Instant, Vec<u64>)>>,
}

impl Directories {
    /// The directories of a vschema, with empty caches.
    pub fn new(vschema: &Vschema, pools: Arc<Pools>) -> Arc<Directories> {
        let table = |vindex: &crate::vschema::NamedVindex| {
            let directory = vindex.directory.clone()?;
            Some(Table {
                name: format!("goldseam.\"directory_{}\"", vindex.name.replace('"', "\"\"")),
                vindex: vindex.name.clone(),
                cache: Mutex::new(LruCache::new(NonZeroUsize::new(directory.cache).unwrap_or(NonZeroUsize::MIN))),
                directory,
                counts: Mutex::default(),
            })
        };
        let tables = vschema.vindexes.iter().map(table).collect();
        Arc::new(Directories { pools, shards: vschema.shards.clone(), tables })
    }

    /// Creates the tables that are missing. An error keeps nobody from starting: the first look-up tries again.
    pub async fn prepare(&self) -> Vec<PgError> {
        let mut errors = Vec::new();
        for table in self.tables.iter().flatten() {
            if let Err(error) = self.create(table).await {
                errors.push(error);
            }
        }
        errors
    }

    /// A key's shard if the cache knows it. `key` is in canonical text form.
    pub fn cached(&self, vindex: VindexId, key: &str) -> Option<ShardId> {
        self.tables.get(usize::from(vindex.0))?.as_ref()?.cache.lock().get(key).copied()
    }

    /// A key's shard, from the cache or the table; `None`: not placed yet.
    ///
    /// # Cancel safety
    /// Nothing is lost but the answer.
    pub async fn lookup(&self, vindex: VindexId, key: &str) -> Result<Option<ShardId>, PgError> {
        if let Some(shard) = self.cached(vindex, key) {
            return Ok(Some(shard));
        }
        let table = self.table(vindex)?;
        let mut lease = self.pools.service(table.directory.shard).await?;
        let found = match self.read(table, &mut lease, key).await {
            Err(error) if error.code == SqlState::UNDEFINED_TABLE => {
                create(table, &mut lease).await?;
                self.read(table, &mut lease, key).await
            }
            result => result,
        };
        lease.release();
        found
    }

    /// A key's shard; a key that has none is given one, as the vindex's default says. `23514` where keys are placed by hand only.
    ///
    /// # Cancel safety
    /// Dropped half-way the key may or may not have been placed; asked again, the answer is the same for everybody.
    pub async fn assign(&self, vindex: VindexId, key: &str) -> Result<ShardId, PgError> {
        if let Some(shard) = self.lookup(vindex, key).await? {
            return Ok(shard);
        }
        let table = self.table(vindex)?;
        let mut lease = self.pools.service(table.directory.shard).await?;
        let chosen = self.choose(table, &mut lease, key).await?;
        let name = self.shards.get(usize::from(chosen.0)).map(String::as_str);
        let insert = format!("INSERT INTO {} (key, shard) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING", table.name);
        lease.query_params(&insert, &[Some(key), name]).await?;
        let placed = self.read(table, &mut lease, key).await?;
        lease.release();
        placed.ok_or_else(|| PgError::new(SqlState::INTERNAL_ERROR, "a directory entry vanished while it was made"))
    }

    /// Forgets what the cache knows of a key that was moved.
    pub fn forget(&self, vindex: VindexId, key: &str) {
        if let Some(Some(table)) = self.tables.get(usize::from(vindex.0)) {
            table.cache.lock().pop(key);
        }
    }

    fn table(&self, vindex: VindexId) -> Result<&Table, PgError> {
        self.tables
            .get(usize::from(vindex.0))
            .and_then(Option::as_ref)
            .ok_or_else(|| PgError::new(SqlState::INTERNAL_ERROR, "a look-up in a vindex that has no directory"))
    }

    async fn create(&self, table: &Table) -> Result<(), PgError> {
        let mut lease = self.pools.service(table.directory.shard).await?;
        create(table, &mut lease).await?;
        lease.release();
        Ok(())
    }

    async fn read(&self, table: &Table, lease: &mut Lease, key: &str) -> Result<Option<ShardId>, PgError> {
        let select = format!("SELECT shard FROM {} WHERE key = $1", table.name);
        let rows = lease.query_params(&select, &[Some(key)]).await?;
        let Some(name) = rows.into_iter().flatten().flatten().next() else { return Ok(None) };
        let shard = self.shard_by_name(&name).ok_or_else(|| {
            PgError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!(
                    "directory \"{}\" places key \"{key}\" on shard \"{name}\", which is not configured",
                    table.vindex
                ),
            )
        })?;
        table.cache.lock().put(key.into(), shard);
        Ok(Some(shard))
    }

    async fn choose(&self, table: &Table, lease: &mut Lease, key: &str) -> Result<ShardId, PgError> {
        match table.directory.placement {
            DirectoryDefault::Shard(shard) => Ok(shard),
            DirectoryDefault::LeastLoaded => self.least_loaded(table, lease).await,
            DirectoryDefault::Refuse => Err(PgError::new(
                SqlState::CHECK_VIOLATION,
                format!("key \"{key}\" has no place in directory \"{}\"", table.vindex),
            )
            .with_hint(format!(
                "Place it first: INSERT INTO {} (key, shard) VALUES ('{}', '<shard>') on shard \"{}\".",
                table.name,
                key.replace('\'', "''"),
                self.shards.get(usize::from(table.directory.shard.0)).map_or("?", String::as_str),
            ))),
        }
    }

    /// The shard with the fewest keys of this directory; the first of equals.
    async fn least_loaded(&self, table: &Table, lease: &mut Lease) -> Result<ShardId, PgError> {
        let fresh = table.counts.lock().as_ref().is_some_and(|(since, _)| since.elapsed() < COUNTS_LIFETIME);
        if !fresh {
            let rows = lease.query(&format!("SELECT shard, count(*) FROM {} GROUP BY shard", table.name)).await?;
            let mut counts = vec![0; self.shards.len()];
            for row in rows {
                if let [Some(name), Some(count)] = &row[..]
                    && let Some(shard) = self.shard_by_name(name)
                {
                    counts[usize::from(shard.0)] = count.parse().unwrap_or(0);
                }
            }
            *table.counts.lock() = Some((Instant::now(), counts));
        }
        let mut counts = table.counts.lock();
        let mut none = Vec::new();
        let counts = counts.as_mut().map_or(&mut none, |(_, counts)| counts);
        let count = |shard: &ShardId| counts.get(usize::from(shard.0)).copied().unwrap_or(0);
        let chosen = table.directory.shards.iter().copied().min_by_key(|shard| (count(shard), shard.0));
        let chosen = chosen.unwrap_or(table.directory.shard);
        if let Some(count) = counts.get_mut(usize::from(chosen.0)) {
            *count += 1;
        }
        Ok(chosen)
    }

    fn shard_by_name(&self, name: &str) -> Option<ShardId> {
        self.shards.iter().position(|shard| shard == name).map(|index| ShardId(index as u16))
    }
}

/// Creates the table if it is missing. Two nodes that start together may collide in the catalog's own unique index (23505) or find each
/// other's work (42P06, 42P07): then it is there.
async fn create(table: &Table, lease: &mut Lease) -> Result<(), PgError> {
    let exists = format!("SELECT to_regclass('{}') IS NOT NULL", table.name.replace('\'', "''"));
    let rows = lease.query(&exists).await?;
    if rows.into_iter().flatten().flatten().next().as_deref() == Some("t") {
        return Ok(());
    }
    let ddl = format!(
        "CREATE SCHEMA IF NOT EXISTS goldseam; CREATE TABLE IF NOT EXISTS {} (key text PRIMARY KEY, shard text NOT NULL)",
        table.name
    );
    match lease.query(&ddl).await {
        Err(error) if !matches!(&error.code.0, b"23505" | b"42P06" | b"42P07") => Err(error),
        Err(_) => lease.query(&ddl).await.map(drop),
        Ok(_) => Ok(()),
    }
}
