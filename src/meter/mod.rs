//! What Goldseam does, in numbers: the one source of the console's tables, the API and the metrics.
//!
//! A statement must not pay for being counted. So what is counted for each statement is an addition to memory that the counting thread has
//! to itself ([`Totals`]) or that hangs on the statement's plan ([`Tally`]), and a time in its shard's histogram, whose handle is
//! looked up once per configuration; nothing is looked up by a label, and no lock is shared. What is rare (errors, refusals) may cost a
//! lock and an allocation.
//!
//! - [`Totals`]: sums over everything, striped over threads.
//! - [`Queries`]: statements and their tallies.
//! - [`Refusals`]: what was not answered.
//! - [`Errors`]: by SQLSTATE.
//! - [`Averages`]: the last minute against the one before.
//!
//! It knows no session and no client.

mod averages;
mod errors;
mod queries;
mod refusals;
mod totals;

pub use averages::Averages;
pub use errors::{Errors, Source};
pub use queries::Queries;
pub use refusals::{Refusal, Refusals};
pub use totals::{Sums, Totals};

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use metrics::Histogram;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

#[cfg(doc)]
use crate::plan::Tally;
use crate::types::ShardId;

/// Of a shard's statements: from the client's message to the last of the answer.
pub const STATEMENT_SECONDS: &str = "goldseam_statement_duration_seconds";
/// Of statements over several shards, as a whole.
pub const SCATTER_SECONDS: &str = "goldseam_scatter_duration_seconds";
/// Upper bounds in seconds: from a fifth of what one hop costs to what no user waits for.
const BOUNDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 60.0,
];
/// Times that wait to be sorted into a histogram are held in memory: that long at most.
pub const UPKEEP: Duration = Duration::from_secs(1);

/// All numbers of one proxy.
pub struct Meters {
    /// When it began.
    pub since: SystemTime,
    /// Sums over all.
    pub totals: Totals,
    /// By statement.
    pub queries: Queries,
    /// What was not answered.
    pub refusals: Refusals,
    /// By SQLSTATE.
    pub errors: Errors,
    /// For `SHOW STATS`.
    pub averages: Averages,
    recorder: PrometheusRecorder,
    shards: ArcSwap<Vec<Histogram>>,
    scatter: Histogram,
}

impl Meters {
    /// Nothing has happened yet. `statements` is how many plans there may be at one time.
    pub fn new(shards: &[String], statements: usize) -> Meters {
        let recorder = PrometheusBuilder::new();
        // The only error is an empty list.
        let recorder = recorder.set_buckets(BOUNDS).unwrap_or_default().build_recorder();
        let scatter = metrics::with_local_recorder(&recorder, || {
            metrics::describe_histogram!(
                STATEMENT_SECONDS,
                "Time of statements that one shard answered, from the client's message to the answer's end."
            );
            metrics::describe_histogram!(SCATTER_SECONDS, "Time of statements that several shards answered.");
            metrics::histogram!(SCATTER_SECONDS)
        });
        let meters = Meters {
            since: SystemTime::now(),
            totals: Totals::default(),
            queries: Queries::new(statements),
            refusals: Refusals::default(),
            errors: Errors::default(),
            averages: Averages::default(),
            recorder,
            shards: ArcSwap::default(),
            scatter,
        };
        meters.name_shards(shards);
        meters
    }

    /// The shards of a new configuration.
    pub fn name_shards(&self, names: &[String]) {
        let histograms = metrics::with_local_recorder(&self.recorder, || {
            names.iter().map(|name| metrics::histogram!(STATEMENT_SECONDS, "shard" => name.clone())).collect()
        });
        self.shards.store(Arc::new(histograms));
    }

    /// A shard has answered a statement.
    pub fn record_shard(&self, shard: ShardId, time: Duration) {
        if let Some(histogram) = self.shards.load().get(usize::from(shard.0)) {
            histogram.record(time);
        }
    }

    /// Several shards have answered a statement together.
    pub fn record_scatter(&self, time: Duration) {
        self.scatter.record(time);
    }

    /// The histograms, for whoever renders them.
    pub fn histograms(&self) -> PrometheusHandle {
        self.recorder.handle()
    }

    /// Sorts new times into their histograms and renews the averages, for ever; to be spawned.
    pub async fn maintain(self: Arc<Self>) {
        let handle = self.histograms();
        loop {
            tokio::time::sleep(UPKEEP).await;
            handle.run_upkeep();
            self.averages.renew(self.totals.read(), std::time::Instant::now());
        }
    }
}

impl std::fmt::Debug for Meters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meters").field("totals", &self.totals.read()).finish_non_exhaustive()
    }
}
