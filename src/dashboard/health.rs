//! Whether clients can be served.
//!
//! Ready is: not on the way down, not paused, not disabled, and every shard of every keyspace answered when it was last tried and has told
//! what tables it has. A load balancer that has another Goldseam sends clients there; one that has not should ask `/healthz` instead, because a
//! Goldseam with a dead shard still serves the others.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::session::shared::Shared;

/// Whether it is ready, and why not.
pub(super) fn readiness(shared: &Arc<Shared>) -> (bool, Value) {
    let state = shared.state.load_full();
    let mut reasons: Vec<Value> = Vec::new();
    if shared.clients.is_stopping() {
        reasons.push(json!({ "reason": "the proxy is shutting down" }));
    }
    if shared.pools.gate().is_closed() {
        reasons.push(json!({ "reason": "the database is paused", "hint": "RESUME" }));
    }
    if shared.pools.gate().is_disabled() {
        reasons.push(json!({ "reason": "the database is disabled", "hint": "ENABLE" }));
    }
    let read = state.topology.shard_catalogs();
    for shard in &state.topology.shards {
        let error = shard.health.last_error().map(|error| error.message);
        if !shard.health.is_up() {
            reasons.push(json!({ "shard": &*shard.name, "reason": "it does not answer", "error": error }));
        } else if !read.get(usize::from(shard.id.0)).is_some_and(Option::is_some) {
            reasons.push(json!({ "shard": &*shard.name, "reason": "its catalog has not been read yet" }));
        }
    }
    let ready = reasons.is_empty();
    (ready, json!({ "ready": ready, "reasons": reasons }))
}
