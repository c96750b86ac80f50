//! Server connections, lent to sessions one transaction at a time.
//!
//! A connection to PostgreSQL costs a process and milliseconds to make; clients are many and mostly idle. So connections are kept, per
//! shard and [`Login`], and lent out: [`Pools::try_checkout`] takes an idle one without waiting and without a system call, which
//! is the usual case; [`Pools::checkout`] otherwise makes a new one within the limits, or waits its turn.
//!
//! What a borrower gets back to us must be clean ([`Backend::is_clean`]), else it is closed: a [`Lease`] that is dropped without
//! [`Lease::release`], because a future was dropped or a client left, closes its connection and cancels what still runs there.
//! Settings may stay on a connection; whoever borrows it next makes them its own ([`Backend::sync_settings`]).
//!
//! Limits: connections per shard and login (`pool.size`), per shard (`pool.max_shard_connections`), per user
//! (`pool.max_user_connections`). The queue is first come, first served for each login, and is itself bounded by the number of clients
//! (`pool.max_client_connections`): a session waits in one queue at a time.
//!
//! - `shard`: one shard's connections and its queue, under one lock that is never held across an await.
//! - `lease`: connections and places on loan, and what their drop does.
//! - `workbench`: the server that is no shard, and whether it is like the shards.
//! - `upkeep`: what becomes old is closed, what should be warm is opened.
//! - [`Directories`]: the tables of directory vindexes.
//! - [`Sequences`]: numbers of sequences, a block at a time.
//!
//! It must not know of statements, plans or clients.

mod directory;
mod gate;
mod lease;
pub mod sequences;
mod shard;
mod stats;
mod upkeep;
mod workbench;

#[cfg(test)]
mod tests;

pub use directory::Directories;
pub use gate::Gate;
pub use lease::Lease;
pub use sequences::Sequences;
pub use stats::PoolStats;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::backend::{Backend, Login, Parameters, Seen, Settings};
use crate::config;
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::topology::{ShardInfo, Topology};
use crate::types::ShardId;
use shard::{ShardPool, Turn};

/// How long a login's greeting is believed: so late an `ALTER ROLE ... SET` reaches new clients.
const GREETING_LIFETIME: Duration = Duration::from_secs(60);

/// What a login finds set, beside what servers report by themselves.
const DEFAULTS: &str = "SELECT pg_catalog.current_setting('search_path'), \
    pg_catalog.current_setting('default_transaction_isolation')";
/// How often a pause looks whether all connections are closed.
const PAUSE_STEP: Duration = Duration::from_millis(20);

/// All server connections.
#[derive(Debug)]
pub struct Pools {
    current: ArcSwap<Current>,
    limits: Arc<ArcSwap<config::Pool>>,
    gate: Arc<Gate>,
    users: Mutex<HashMap<String, Arc<UserCount>>>,
    greetings: Mutex<Greetings>,
    judgements: Mutex<workbench::Judgements>,
    /// For what outlives a call: leases, tasks.
    me: Weak<Pools>,
}

/// Each with the time when it was taken.
type Greetings = HashMap<Arc<Login>, (Instant, Arc<Greeting>)>;

/// What a reload exchanges.
#[derive(Debug)]
struct Current {
    topology: Arc<Topology>,
    shards: Vec<Arc<ShardPool>>,
    workbench: Option<Arc<ShardPool>>,
}

impl Current {
    /// All pools: of the shards in their order, and of the workbench.
    fn all(&self) -> impl Iterator<Item = &Arc<ShardPool>> {
        self.shards.iter().chain(&self.workbench)
    }
}

/// A user's connections over all shards.
#[derive(Debug, Default)]
struct UserCount {
    open: AtomicUsize,
    waiting: AtomicUsize,
}

/// What a session may know of a login before it has run anything.
#[derive(Debug, Clone)]
pub struct Greeting {
    /// What the server reports at login.
    pub parameters: Parameters,
    /// The login's own `search_path`, as `SHOW search_path` prints it.
    pub search_path: String,
    /// The login's own `default_transaction_isolation`.
    pub isolation: String,
}

impl Pools {
    /// Nothing is opened yet.
    pub fn new(config: &config::Pool, topology: Arc<Topology>) -> Arc<Pools> {
        let limits = Arc::new(ArcSwap::from_pointee(config.clone()));
        let gate = Arc::<Gate>::default();
        Arc::new_cyclic(|me| {
            let new = |info: &Arc<ShardInfo>| ShardPool::new(info.clone(), limits.clone(), gate.clone(), me.clone());
            let (shards, workbench) = (topology.shards.iter().map(new).collect(), topology.workbench.as_ref().map(new));
            Pools {
                current: ArcSwap::from_pointee(Current { shards, workbench, topology: topology.clone() }),
                limits: limits.clone(),
                gate: gate.clone(),
                users: Mutex::default(),
                greetings: Mutex::default(),
                judgements: Mutex::default(),
                me: me.clone(),
            }
        })
    }

    /// An idle connection at once, or nothing. No await and, while servers are silent, no system call.
    pub fn try_checkout(&self, shard: ShardId, login: &Arc<Login>) -> Option<Lease> {
        self.current.load().shards.get(usize::from(shard.0))?.try_checkout(login)
    }

    /// A connection: idle, new, or the next that comes free. Errors: the server's own refusal, `08006` if it cannot be reached (at once while it
    /// is known to be down), `53300` if none came free in time.
    ///
    /// # Cancel safety
    /// Nothing is lost: the place in the queue is given up, and a connection that was already handed over goes to the next.
    pub async fn checkout(&self, shard: ShardId, login: &Arc<Login>) -> Result<Lease, PgError> {
        let (pool, options) = {
            let current = self.current.load();
            let Some(pool) = current.shards.get(usize::from(shard.0)) else {
                return Err(PgError::new(SqlState::INTERNAL_ERROR, format!("there is no shard number {}", shard.0)));
            };
            if let Some(lease) = pool.try_checkout(login) {
                return Ok(lease);
            }
            (pool.clone(), current.topology.options().clone())
        };
        let slot = match pool.take_turn(login, self.user(&login.user)) {
            Turn::Idle(mut lease) => match tokio::time::timeout(options.timeout, lease.ping()).await {
                Ok(Ok(())) => return Ok(lease),
                _ => lease.into_slot(),
            },
            Turn::Open(slot) => slot,
            Turn::Wait(waiter) => {
                pool.health().check(Instant::now())?;
                self.make_room(&pool, login);
                let patience = self.limits.load().queue_timeout;
                match waiter.wait(patience).await? {
                    Turn::Idle(lease) => return Ok(lease),
                    Turn::Open(slot) => slot,
                    Turn::Wait(_) => unreachable!("a waiter is granted a connection or a place"),
                }
            }
        };
        slot.connect(&options).await
    }

    /// A connection at once: an idle one, or a new one beyond the pool's size. For whoever holds other connections already: if those waited
    /// here for one another, all would wait for ever. Whoever asks bounds how many there are.
    ///
    /// # Cancel safety
    /// As [`Pools::checkout`].
    pub async fn extra(&self, shard: ShardId, login: &Arc<Login>) -> Result<Lease, PgError> {
        let (slot, options) = {
            let current = self.current.load();
            let Some(pool) = current.shards.get(usize::from(shard.0)) else {
                return Err(PgError::new(SqlState::INTERNAL_ERROR, format!("there is no shard number {}", shard.0)));
            };
            if let Some(lease) = pool.try_checkout(login) {
                return Ok(lease);
            }
            (pool.extra(login, self.user(&login.user)), current.topology.options().clone())
        };
        slot.connect(&options).await
    }

    /// A connection with Goldseam's own login, for its own tables.
    ///
    /// # Cancel safety
    /// As [`Pools::checkout`].
    pub async fn service(&self, shard: ShardId) -> Result<Lease, PgError> {
        let service = self.current.load().topology.shard(shard).map(|info| info.service.clone());
        match service {
            Some(login) => self.checkout(shard, &login).await,
            None => Err(PgError::new(SqlState::INTERNAL_ERROR, format!("there is no shard number {}", shard.0))),
        }
    }

    /// What a login sees before it has run anything, from the first shard that answers; kept for a minute.
    pub async fn greeting(&self, login: &Arc<Login>) -> Result<Arc<Greeting>, PgError> {
        if let Some((since, greeting)) = self.greetings.lock().get(login)
            && since.elapsed() < GREETING_LIFETIME
        {
            return Ok(greeting.clone());
        }
        let mut shards: Vec<(bool, ShardId)> =
            self.topology().shards.iter().map(|shard| (!shard.health.is_up(), shard.id)).collect();
        shards.sort();
        let mut first_error = None;
        for (_, shard) in shards {
            match self.greeting_of(shard, login).await {
                Ok(greeting) => {
                    let greeting = Arc::new(greeting);
                    let mut greetings = self.greetings.lock();
                    greetings.retain(|_, (since, _)| since.elapsed() < GREETING_LIFETIME);
                    greetings.insert(login.clone(), (Instant::now(), greeting.clone()));
                    return Ok(greeting);
                }
                // Another shard would refuse the login too.
                Err(error)
                    if error.code != SqlState::CONNECTION_FAILURE && error.code != SqlState::CANNOT_CONNECT_NOW =>
                {
                    return Err(error);
                }
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        Err(first_error.unwrap_or_else(|| PgError::new(SqlState::CANNOT_CONNECT_NOW, "no shard is configured")))
    }

    async fn greeting_of(&self, shard: ShardId, login: &Arc<Login>) -> Result<Greeting, PgError> {
        let mut lease = self.checkout(shard, login).await?;
        lease.sync_settings(&Settings::none()).await?;
        let rows = lease.query(DEFAULTS).await?;
        let mut values = rows.into_iter().flatten().flatten();
        let (search_path, isolation) = (values.next().unwrap_or_default(), values.next().unwrap_or_default());
        let greeting = Greeting { parameters: lease.parameters.clone(), search_path, isolation };
        lease.release();
        Ok(greeting)
    }

    /// Keeps `pool.min_idle` connections of this login warm on every shard from now on; [`Pools::maintain`] opens them.
    pub fn register(&self, login: &Arc<Login>) {
        let user = self.user(&login.user);
        self.current.load().shards.iter().for_each(|shard| shard.register(login, &user));
    }

    /// New limits and shards in force. Shards whose server stayed the same keep their connections; waiters at a shard that is gone get an error.
    pub fn reconfigure(&self, config: &config::Pool, topology: Arc<Topology>) {
        self.limits.store(Arc::new(config.clone()));
        let old = self.current.load_full();
        let kept = |index: usize| {
            let (old, new) = (old.shards.get(index)?, topology.shards.get(index)?);
            Arc::ptr_eq(&old.info().primary, &new.primary).then(|| old.clone())
        };
        let shards: Vec<Arc<ShardPool>> = topology
            .shards
            .iter()
            .enumerate()
            .map(|(i, info)| {
                kept(i).unwrap_or_else(|| {
                    ShardPool::new(info.clone(), self.limits.clone(), self.gate.clone(), self.me.clone())
                })
            })
            .collect();
        let same = |one: &&Arc<ShardPool>| {
            topology.workbench.as_ref().is_some_and(|new| Arc::ptr_eq(&one.info().primary, &new.primary))
        };
        let workbench = old.workbench.as_ref().filter(same).cloned().or_else(|| {
            let info = topology.workbench.clone()?;
            Some(ShardPool::new(info, self.limits.clone(), self.gate.clone(), self.me.clone()))
        });
        if let Some(gone) = old.workbench.as_ref().filter(|one| !same(one)) {
            gone.shut();
        }
        for (index, shard) in old.shards.iter().enumerate() {
            match shards.get(index) {
                Some(new) if Arc::ptr_eq(new, shard) => {}
                new => {
                    for (login, user) in shard.shut() {
                        new.into_iter().for_each(|new| new.register(&login, &user));
                    }
                }
            }
        }
        self.greetings.lock().clear();
        self.judgements.lock().clear();
        self.current.store(Arc::new(Current { topology, shards, workbench }));
        self.current.load().shards.iter().for_each(|shard| shard.dispatch());
    }

    /// Closes idle connections now and leased ones when they come back (`RECONNECT`).
    pub fn close_all(&self) {
        self.greetings.lock().clear();
        self.judgements.lock().clear();
        self.current.load().all().for_each(|shard| shard.close_all());
    }

    /// Whether transactions may begin.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Lets nobody begin a transaction, and waits until no server connection is left (`PAUSE`).
    ///
    /// # Cancel safety
    /// Dropped before it is done, the gate is open again.
    pub async fn pause(&self) {
        struct Reopen<'a>(Option<&'a Gate>);
        impl Drop for Reopen<'_> {
            fn drop(&mut self) {
                self.0.map(Gate::open);
            }
        }
        self.gate.close();
        let mut undo = Reopen(Some(&self.gate));
        let mut quiet = 0;
        // Twice, because somebody may have passed the gate a moment ago and not have a connection yet.
        while quiet < 2 && self.gate.is_closed() {
            self.close_all();
            let busy = self.stats().iter().any(|pool| pool.active + pool.idle + pool.connecting > 0);
            quiet = if busy { 0 } else { quiet + 1 };
            tokio::time::sleep(PAUSE_STEP).await;
        }
        undo.0 = None;
    }

    /// All server connections, in the order of their shards.
    pub fn servers(&self) -> Vec<Arc<Seen>> {
        self.current.load().all().flat_map(|shard| shard.servers()).collect()
    }

    /// For `SHOW POOLS`: one row per shard and login.
    pub fn stats(&self) -> Vec<PoolStats> {
        let mut stats: Vec<PoolStats> = self.current.load().all().flat_map(|shard| shard.stats()).collect();
        stats.sort_by(|one, other| (one.shard, one.service, &one.user).cmp(&(other.shard, other.service, &other.user)));
        stats
    }

    /// The topology in force.
    pub fn topology(&self) -> Arc<Topology> {
        self.current.load().topology.clone()
    }

    fn user(&self, name: &str) -> Arc<UserCount> {
        let mut users = self.users.lock();
        match users.get(name) {
            Some(user) => user.clone(),
            None => users.entry(name.to_string()).or_default().clone(),
        }
    }

    /// Somebody waits because the user has too many connections, of which some may be idle on other shards, or here with another password:
    /// one of these must go.
    fn make_room(&self, wanted: &Arc<ShardPool>, login: &Login) {
        let limit = self.limits.load().max_user_connections;
        let user = self.user(&login.user);
        if limit.is_none_or(|limit| user.open.load(Ordering::Acquire) < limit) {
            return;
        }
        let current = self.current.load();
        for shard in &current.shards {
            if shard.evict_idle_of(&login.user) {
                return wanted.dispatch();
            }
        }
    }

    /// A user's place came free on one shard; somebody may be waiting for it on another.
    fn offer_elsewhere(&self, user: &UserCount) {
        if user.waiting.load(Ordering::Acquire) > 0 && self.limits.load().max_user_connections.is_some() {
            self.current.load().shards.iter().for_each(|shard| shard.dispatch());
        }
    }
}

/// Whether a connection has lived long enough. Spread over a tenth, so that connections made together do not all end together.
fn outlived(backend: &Backend, max_lifetime: Duration, now: Instant) -> bool {
    let spread = (backend.pid as u32 % 32) as f64 / 320.0;
    now.duration_since(backend.since) > max_lifetime.mul_f64(1.0 - spread)
}
