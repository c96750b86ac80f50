//! PostgreSQL servers on this machine: found, started, watched over and removed again, for the demo and the tests.
//!
//! A reader of the README should see real servers behind the proxy one minute after the clone, and `cargo test` should need
//! nothing that is not there. So this module finds the binaries ([`find_postgres`]), says how to install them where there are
//! none ([`Install`]), makes a folder that no other run can mistake for its own ([`Folder`]) and starts any number of servers
//! in it ([`Cluster`]).
//!
//! The one promise that costs thought: **no server outlives the process that started it**, however that process ends, and
//! none is ever killed that it did not start. Each server runs under a small shell guard whose standard input is a pipe that
//! only we hold open; the kernel closes it when we are gone, even by SIGKILL, and the guard stops exactly its own child. No
//! process is ever looked for by name. See [`server`].
//!
//! It must not know of vschemas, vindexes or routing; what is loaded into the servers is `cli::demo`'s business. It blocks (processes and
//! files only, no sockets of its own): asynchronous callers use `spawn_blocking`.

mod account;
mod cluster;
mod find;
mod folder;
mod install;
pub mod server;

pub use account::{Account, is_root};
pub use cluster::{Access, Cluster, MAX_SERVERS, Spec};
pub use find::{Binaries, MINIMUM_MAJOR, NotFound, find_for_tests, find_or_install, find_postgres};
pub use folder::Folder;
pub use install::{Install, installs_by_default};
pub use server::{Server, Stop};

use std::path::PathBuf;

/// Why a local server could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No PostgreSQL on this machine.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// The installation was tried and failed.
    #[error("installing PostgreSQL failed: `{command}` {outcome}")]
    Install {
        /// As one would type it.
        command: String,
        /// Its exit status, or why it could not be started.
        outcome: String,
    },
    /// PostgreSQL refuses to run as root, and there is no other user to run it as.
    #[error("PostgreSQL does not run as root, and this system has no user \"postgres\" to run it as: {0}")]
    NoAccount(String),
    /// A folder that cannot be used.
    #[error("cannot use the folder {path}: {reason}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A folder with other things in it, which must not become the servers'.
    #[error("the folder {0} is not empty and was not made by goldseam")]
    ForeignFolder(PathBuf),
    /// Somebody else works in this folder.
    #[error("the folder {0} is in use by another goldseam")]
    FolderInUse(PathBuf),
    /// The number of servers is out of range.
    #[error("{0} servers asked for: between 1 and {MAX_SERVERS} can be started")]
    Count(usize),
    /// A tool of PostgreSQL's failed.
    #[error("{tool} failed: {reason}")]
    Tool {
        /// `initdb`, `postgres`.
        tool: &'static str,
        /// The end of what it printed.
        reason: String,
    },
    /// The server did not become ready.
    #[error("the PostgreSQL server in {data} did not become ready within {seconds} s; the end of its log:\n{log}")]
    NotReady {
        /// Its data folder.
        data: PathBuf,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
}
