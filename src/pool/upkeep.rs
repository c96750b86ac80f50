//! What becomes old is closed, what should be warm is opened, once a second.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use super::Pools;

/// How often.
const PERIOD: Duration = Duration::from_secs(1);
/// How many warm connections are made at one time: a start with thousands of shards must not look like an attack.
const CONNECTORS: usize = 32;

impl Pools {
    /// Upkeep for ever, to be spawned; it ends by itself when the pools are gone.
    pub async fn maintain(self: Arc<Self>) {
        let pools: Weak<Pools> = Arc::downgrade(&self);
        drop(self);
        while let Some(pools) = pools.upgrade() {
            pools.tidy().await;
            drop(pools);
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// One round of upkeep: what a test calls instead of waiting.
    pub async fn tidy(&self) {
        let (options, shards) = {
            let current = self.current.load();
            (current.topology.options().clone(), current.all().cloned().collect::<Vec<_>>())
        };
        let mut connecting = JoinSet::new();
        for slot in shards.iter().flat_map(|shard| shard.tidy()) {
            if connecting.len() >= CONNECTORS {
                connecting.join_next().await;
            }
            let options = options.clone();
            connecting.spawn(async move {
                // Its failure is noted in the shard's health, and logged there.
                if let Ok(lease) = slot.connect(&options).await {
                    lease.release();
                }
            });
        }
        while connecting.join_next().await.is_some() {}
    }
}
