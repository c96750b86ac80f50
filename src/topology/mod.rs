//! The shards: where they are, whether they answer, and what their catalogs say.
//!
//! The picture is a snapshot. The planner asks it, on every miss of the plan cache; it is read from the shards' system catalogs at start,
//! after each DDL, and now and then, for tables are also made behind Goldseam's back. One dead shard must not keep the others from
//! serving: its part of the picture is what was known of it last, and it is asked again until it answers.
//!
//! - [`Topology`]: all shards and the merged [`Catalog`].
//! - [`ShardCatalog`]: what one shard said; [`merge`](fn@merge) makes one picture of all.
//! - [`drift`]: whether all copies of a reference table are equal.
//! - [`Health`]: whether a shard answers, and when to try again.
//!
//! It must not know of clients, pools or plans.

mod catalog;
pub mod drift;
mod health;
mod queries;

#[cfg(test)]
mod tests;

pub use catalog::{ShardCatalog, Source, merge};
pub use health::Health;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::backend::{Backend, ConnectOptions, Connector, Login};
use crate::catalog::Catalog;
use crate::config::Config;
use crate::error::PgError;
use crate::types::ShardId;

/// How many shards are read at one time: a fleet of thousands is no reason for thousands of logins in one instant.
const READERS: usize = 16;
/// How soon a shard that has never been read is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// The number of a server that is the workbench and no shard: no shard has it.
pub const WORKBENCH: ShardId = ShardId(u16::MAX);

/// One shard's servers.
#[derive(Debug)]
pub struct ShardInfo {
    /// Its index.
    pub id: ShardId,
    /// Its name.
    pub name: Arc<str>,
    /// Where writes go.
    pub primary: Arc<Connector>,
    /// Its copies.
    pub replicas: Vec<Arc<Connector>>,
    /// Goldseam's own login there.
    pub service: Arc<Login>,
    /// Whether the primary answers.
    pub health: Arc<Health>,
}

/// All shards, and what their catalogs say.
#[derive(Debug)]
pub struct Topology {
    /// In the order of the configuration.
    pub shards: Vec<Arc<ShardInfo>>,
    /// The server that is the workbench and nothing else, if there is one; its number is [`WORKBENCH`].
    pub workbench: Option<Arc<ShardInfo>>,
    /// What all shards' catalogs say together; empty until the first [`Topology::refresh`].
    pub catalog: ArcSwap<Catalog>,
    parts: Mutex<Parts>,
    /// One refresh at a time: two would read the same twice, and the older might be stored last.
    refreshing: tokio::sync::Mutex<()>,
    options: ConnectOptions,
}

#[derive(Debug)]
struct Parts {
    shards: Vec<Option<Arc<ShardCatalog>>>,
    version: u64,
}

impl Topology {
    /// The shards of a configuration. Nothing is opened yet.
    pub fn new(config: &Config) -> Arc<Topology> {
        let shards: Vec<Arc<ShardInfo>> = config
            .shards
            .iter()
            .enumerate()
            .map(|(index, shard)| {
                let (id, name) = (ShardId(index as u16), Arc::<str>::from(shard.name.as_str()));
                let connector = |server: &crate::config::Server| Connector::new(id, name.clone(), server.clone());
                Arc::new(ShardInfo {
                    id,
                    primary: connector(&shard.primary),
                    replicas: shard.replicas.iter().map(connector).collect(),
                    service: Arc::new(Login::service(&shard.primary)),
                    health: Arc::default(),
                    name,
                })
            })
            .collect();
        let workbench = config.workbench.server.as_ref().map(|server| {
            let name = Arc::<str>::from("workbench");
            Arc::new(ShardInfo {
                id: WORKBENCH,
                primary: Connector::new(WORKBENCH, name.clone(), server.clone()),
                replicas: Vec::new(),
                service: Arc::new(Login::service(server)),
                health: Arc::default(),
                name,
            })
        });
        Topology::of(shards, workbench, connect_options(config))
    }

    /// The shards of a new configuration, with the health and the catalogs of those that stayed the same.
    pub fn renewed(&self, config: &Config) -> Arc<Topology> {
        let mut new = Arc::into_inner(Topology::new(config)).unwrap_or_else(|| unreachable!("nobody else has it yet"));
        let old_parts = self.parts.lock();
        let parts = new.parts.get_mut();
        for (index, shard) in new.shards.iter_mut().enumerate() {
            let Some(old) = self.shards.get(index).filter(|old| old.primary.server == shard.primary.server) else {
                continue;
            };
            if old.name == shard.name && old.service == shard.service {
                parts.shards[index] = old_parts.shards[index].clone();
                let replicas =
                    if same_servers(&old.replicas, &shard.replicas) { &old.replicas } else { &shard.replicas };
                *shard = Arc::new(ShardInfo {
                    id: shard.id,
                    name: old.name.clone(),
                    primary: old.primary.clone(),
                    replicas: replicas.clone(),
                    service: old.service.clone(),
                    health: old.health.clone(),
                });
            }
        }
        let server = |one: &Option<Arc<ShardInfo>>| one.as_ref().map(|one| one.primary.server.clone());
        if server(&new.workbench) == server(&self.workbench) {
            new.workbench = self.workbench.clone();
        }
        parts.version = old_parts.version + 1;
        new.catalog = ArcSwap::from_pointee(merge(parts.version, &parts.shards));
        drop(old_parts);
        Arc::new(new)
    }

    fn of(shards: Vec<Arc<ShardInfo>>, workbench: Option<Arc<ShardInfo>>, options: ConnectOptions) -> Arc<Topology> {
        let parts = Parts { shards: vec![None; shards.len()], version: 0 };
        Arc::new(Topology {
            shards,
            workbench,
            catalog: ArcSwap::default(),
            parts: Mutex::new(parts),
            refreshing: tokio::sync::Mutex::default(),
            options,
        })
    }

    /// A shard, or the [`WORKBENCH`].
    pub fn shard(&self, id: ShardId) -> Option<&Arc<ShardInfo>> {
        self.shards.get(usize::from(id.0)).or_else(|| self.workbench.as_ref().filter(|workbench| workbench.id == id))
    }

    /// What new connections are given.
    pub fn options(&self) -> &ConnectOptions {
        &self.options
    }

    /// Reads the catalogs of all shards and merges them. A shard that does not answer keeps what was known of it; the errors say which and why.
    /// The catalog's version grows only if something has changed, because each version costs every cached plan.
    ///
    /// # Cancel safety
    /// Dropped half-way nothing has changed.
    pub async fn refresh(&self) -> Vec<(ShardId, PgError)> {
        let all: Vec<Arc<ShardInfo>> = self.shards.clone();
        self.refresh_some(all).await
    }

    /// The same for one shard, as after DDL that went to it alone.
    pub async fn refresh_shard(&self, id: ShardId) -> Result<(), PgError> {
        let one = self.shard(id).cloned().into_iter().collect();
        self.refresh_some(one).await.into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    async fn refresh_some(&self, shards: Vec<Arc<ShardInfo>>) -> Vec<(ShardId, PgError)> {
        let _one_at_a_time = self.refreshing.lock().await;
        let (turns, mut readers) = (Arc::new(Semaphore::new(READERS)), JoinSet::new());
        for shard in shards {
            let (turns, options) = (turns.clone(), self.options.clone());
            readers.spawn(async move {
                let _turn = turns.acquire_owned().await;
                (shard.id, read(&shard, &options).await)
            });
        }
        let (mut news, mut errors) = (Vec::new(), Vec::new());
        while let Some(result) = readers.join_next().await {
            match result {
                Ok((id, Ok(part))) => news.push((id, Arc::new(part))),
                Ok((id, Err(error))) => errors.push((id, error)),
                Err(defect) => tracing::error!(%defect, "reading a shard's catalog failed"),
            }
        }
        let mut parts = self.parts.lock();
        let mut changed = false;
        for (id, part) in news {
            let known = &mut parts.shards[usize::from(id.0)];
            if known.as_ref() != Some(&part) {
                (*known, changed) = (Some(part), true);
            }
        }
        if changed {
            parts.version += 1;
            self.catalog.store(Arc::new(merge(parts.version, &parts.shards)));
        }
        errors.sort_by_key(|&(id, _)| id);
        errors
    }

    /// Refreshes for ever: all shards every `interval`, those that have never been read every two seconds. To be spawned; abort it to end it.
    pub async fn keep_fresh(self: Arc<Self>, interval: Duration) {
        let mut last = Instant::now();
        loop {
            tokio::time::sleep(RETRY.min(interval)).await;
            let unread: Vec<Arc<ShardInfo>> = {
                let parts = self.parts.lock();
                self.shards
                    .iter()
                    .zip(&parts.shards)
                    .filter(|(_, part)| part.is_none())
                    .map(|(shard, _)| shard.clone())
                    .collect()
            };
            let errors = if last.elapsed() >= interval {
                last = Instant::now();
                self.refresh().await
            } else if unread.is_empty() {
                continue;
            } else {
                self.refresh_some(unread).await
            };
            for (_, error) in errors {
                tracing::debug!(%error, "a shard's catalog could not be read");
            }
        }
    }

    /// What each shard said when it was last read, for comparison between shards; `None`: it never answered.
    pub fn shard_catalogs(&self) -> Vec<Option<Arc<ShardCatalog>>> {
        self.parts.lock().shards.clone()
    }
}

/// Reads one shard's catalog over a connection of its own, by the service login.
async fn read(shard: &ShardInfo, options: &ConnectOptions) -> Result<ShardCatalog, PgError> {
    // A little more than a login may take: a catalog of 100,000 tables takes a few seconds.
    const PATIENCE: Duration = Duration::from_secs(60);
    shard.health.check(Instant::now())?;
    let mut backend = match Backend::connect(&shard.primary, &shard.service, options).await {
        Ok(backend) => backend,
        Err(error) => {
            shard.health.failed(&error, Instant::now());
            return Err(error);
        }
    };
    if shard.health.succeeded() {
        tracing::info!(shard = &*shard.name, "shard answers again");
    }
    let result = match tokio::time::timeout(PATIENCE, ShardCatalog::read(&mut backend)).await {
        Ok(result) => result,
        Err(_) => Err(backend.lost(&format!("its catalog could not be read within {PATIENCE:?}"))),
    };
    backend.close();
    result
}

fn same_servers(some: &[Arc<Connector>], others: &[Arc<Connector>]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.server == other.server)
}

/// What new connections are given under a configuration.
fn connect_options(config: &Config) -> ConnectOptions {
    ConnectOptions {
        timeout: config.pool.connect_timeout,
        application_name: "goldseam".into(),
        max_frame: crate::protocol::MAX_FRAME,
        prepared_statements: config.pool.prepared_statements,
    }
}
