//! Statements over several shards where something goes wrong: a server, the client, or the time.

mod middleman;
mod patience;
mod trouble;

use std::path::PathBuf;

use middleman::Middleman;

use crate::own::Own;

/// A configuration whose second shard is reached through somebody in between.
fn between(own: &Own, extra: &str) -> (Middleman, PathBuf) {
    let port = own.cluster.servers[1].port();
    let middleman = Middleman::start(port);
    let config = own.config(extra);
    let text = std::fs::read_to_string(&config).unwrap();
    let (old, new) = (format!(":{port}/"), format!(":{}/", middleman.port));
    assert!(text.contains(&old));
    std::fs::write(&config, text.replace(&old, &new)).unwrap();
    (middleman, config)
}
