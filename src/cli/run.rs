//! `goldseam run`, and the one place where the command line touches the server.

use super::{ConfigFile, Failure, SUCCESS, Shared, logs};
use crate::server;

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
    let config = super::load_files(&arguments.file)?.config;
    logs::start(&config.log, shared)?;
    let mut builder = match config.workers {
        // One thread has nobody to share work with, and pays for no sharing.
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(config.workers).enable_all().build().map_err(Failure::new)?;
    runtime.block_on(server::run(arguments.file.config.clone())).map_err(Failure::new)?;
    Ok(SUCCESS)
}
