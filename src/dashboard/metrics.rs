//! `/metrics`: what [`meter`](crate::meter), pools and clients say now, in Prometheus' text format.
//!
//! A scrape is a picture. It is drawn anew each time from the same numbers that the console shows, so that a pool that is gone leaves no
//! line behind; only the histograms live on between scrapes. Base units: seconds and bytes.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::meter::{SCATTER_SECONDS, STATEMENT_SECONDS, Sums};
use crate::plan::RouteKind;
use crate::session::registry::Status;
use crate::session::shared::Shared;

/// Every metric with its help, histograms aside: `_total` are counters, the rest are gauges.
const HELP: &[(&str, &str)] = &[
    ("goldseam_build_info", "Always 1; the version is a label."),
    ("goldseam_start_time_seconds", "When the process started, since the epoch."),
    ("goldseam_paused", "1 while PAUSE or KILL keeps transactions from beginning."),
    ("goldseam_disabled", "1 while DISABLE keeps clients from logging in."),
    ("goldseam_clients", "Clients by what they are doing: idle, active, waiting."),
    ("goldseam_clients_pinned", "Clients that keep a server connection beyond their transaction."),
    ("goldseam_clients_max", "The limit pool.max_client_connections."),
    ("goldseam_statements_total", "Statements by the way they were answered."),
    ("goldseam_statement_seconds_total", "Time of all statements, from the client's message to the answer's end."),
    ("goldseam_transactions_total", "Transactions that ended, single statements among them."),
    ("goldseam_transaction_seconds_total", "Their time."),
    ("goldseam_two_phase_commits_total", "Transactions that wrote to several shards, committed in two phases."),
    ("goldseam_slow_statements_total", "Statements that took longer than log.slow."),
    ("goldseam_wait_seconds_total", "Time for which statements waited for a server connection."),
    ("goldseam_server_assignments_total", "Server connections lent to clients."),
    ("goldseam_received_bytes_total", "Bytes from clients."),
    ("goldseam_sent_bytes_total", "Bytes to clients."),
    ("goldseam_client_parses_total", "Parse messages from clients."),
    ("goldseam_server_parses_total", "Parse messages to servers."),
    ("goldseam_binds_total", "Bind messages from clients."),
    ("goldseam_errors_total", "Errors that clients got, by SQLSTATE and by whose word they are."),
    ("goldseam_refusals_total", "Statements refused by Goldseam, by SQLSTATE; SHOW REFUSALS has their texts."),
    ("goldseam_plan_cache_hits_total", "Statements whose plan was known."),
    ("goldseam_plan_cache_misses_total", "Statements that had to be planned."),
    ("goldseam_plan_cache_entries", "Plans in the cache."),
    ("goldseam_plan_cache_max", "The limit plan_cache."),
    ("goldseam_shard_up", "1 if the shard answered when it was last tried."),
    ("goldseam_pool_connections", "Server connections by shard, user and state: active, idle, connecting."),
    ("goldseam_pool_waiting", "Sessions that wait for a connection of this pool."),
    ("goldseam_pool_max_wait_seconds", "How long the first of them has waited."),
    ("goldseam_pool_size", "The limit pool.size."),
];

/// The names of all metrics; of histograms, without `_bucket`, `_sum` and `_count`.
pub const NAMES: &[&str] = &{
    let mut names = [""; HELP.len() + 2];
    let mut at = 0;
    while at < HELP.len() {
        names[at] = HELP[at].0;
        at += 1;
    }
    names[at] = STATEMENT_SECONDS;
    names[at + 1] = SCATTER_SECONDS;
    names
};

/// The text.
pub(super) fn render(shared: &Arc<Shared>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        for (name, help) in HELP {
            if name.ends_with("_total") { describe_counter!(*name, *help) } else { describe_gauge!(*name, *help) }
        }
        process(shared);
        clients(shared);
        statements(shared);
        shards(shared);
    });
    // Seconds that add up are counters too.
    let mut text = handle.render().replace("_total gauge\n", "_total counter\n");
    text.push_str(&shared.meters.histograms().render());
    text
}

fn process(shared: &Shared) {
    let since = shared.meters.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("goldseam_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("goldseam_start_time_seconds").set(since.as_secs_f64());
    gauge!("goldseam_paused").set(number(shared.pools.gate().is_closed()));
    gauge!("goldseam_disabled").set(number(shared.pools.gate().is_disabled()));
}

fn clients(shared: &Shared) {
    let (mut by_status, mut pinned) = ([0u32; 3], 0u32);
    for client in shared.clients.list() {
        by_status[client.status() as usize] += 1;
        pinned += u32::from(!client.pins().is_empty());
    }
    for (status, name) in [(Status::Idle, "idle"), (Status::Active, "active"), (Status::Waiting, "waiting")] {
        gauge!("goldseam_clients", "state" => name).set(by_status[status as usize]);
    }
    gauge!("goldseam_clients_pinned").set(pinned);
    gauge!("goldseam_clients_max").set(shared.state.load().config.pool.max_client_connections as f64);
}

fn statements(shared: &Shared) {
    let sums = shared.meters.totals.read();
    for route in RouteKind::ALL {
        counter!("goldseam_statements_total", "route" => route.as_str()).absolute(sums.route(route));
    }
    whole_numbers(&sums);
    // The facade's counters are whole numbers; `render` sets these three's type right.
    gauge!("goldseam_statement_seconds_total").set(sums.statement_nanos as f64 / 1e9);
    gauge!("goldseam_transaction_seconds_total").set(sums.transaction_nanos as f64 / 1e9);
    gauge!("goldseam_wait_seconds_total").set(sums.wait_nanos as f64 / 1e9);
    for (source, code, count) in shared.meters.errors.list() {
        counter!("goldseam_errors_total", "sqlstate" => code, "source" => source.as_str()).absolute(count);
    }
    for (code, count) in shared.meters.refusals.by_code() {
        counter!("goldseam_refusals_total", "sqlstate" => code.to_string()).absolute(count);
    }
    gauge!("goldseam_plan_cache_entries").set(shared.plans.len() as f64);
    gauge!("goldseam_plan_cache_max").set(shared.state.load().config.plan_cache as f64);
}

fn whole_numbers(sums: &Sums) {
    for (name, value) in [
        ("goldseam_transactions_total", sums.transactions),
        ("goldseam_slow_statements_total", sums.slow),
        ("goldseam_two_phase_commits_total", sums.two_phase_commits),
        ("goldseam_server_assignments_total", sums.assignments),
        ("goldseam_received_bytes_total", sums.received),
        ("goldseam_sent_bytes_total", sums.sent),
        ("goldseam_client_parses_total", sums.client_parses),
        ("goldseam_server_parses_total", sums.server_parses),
        ("goldseam_binds_total", sums.binds),
        ("goldseam_plan_cache_hits_total", sums.plan_hits),
        ("goldseam_plan_cache_misses_total", sums.plan_misses),
    ] {
        counter!(name).absolute(value);
    }
}

fn shards(shared: &Shared) {
    for shard in &shared.state.load().topology.shards {
        gauge!("goldseam_shard_up", "shard" => shard.name.to_string()).set(number(shard.health.is_up()));
    }
    for pool in shared.pools.stats() {
        let labels = [
            ("shard", pool.shard_name.to_string()),
            ("user", pool.user.clone()),
            ("database", pool.database.clone()),
            ("service", if pool.service { "yes" } else { "no" }.to_owned()),
        ];
        for (state, count) in [("active", pool.active), ("idle", pool.idle), ("connecting", pool.connecting)] {
            let mut labels = labels.to_vec();
            labels.push(("state", state.to_owned()));
            gauge!("goldseam_pool_connections", &labels).set(count as f64);
        }
        gauge!("goldseam_pool_waiting", &labels).set(pool.waiting as f64);
        gauge!("goldseam_pool_max_wait_seconds", &labels).set(pool.max_wait.as_secs_f64());
        gauge!("goldseam_pool_size", &labels).set(pool.size as f64);
    }
}

fn number(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}
