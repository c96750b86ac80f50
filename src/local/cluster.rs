//! Several servers in one folder, started and stopped at the same time.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::account::Account;
use super::server::{GUARD, GUARD_FILE, tool_command, tool_failed};
use super::{Binaries, Folder, LocalError, Server, Stop};

/// More servers than a machine for demonstrations bears.
pub const MAX_SERVERS: usize = 65;
/// The superuser of every local server.
const SUPERUSER: &str = "postgres";

/// Settings of every local server. Nothing here survives a power cut, and nothing has to; but what a server has answered is written before, so that
/// it is there after the process was killed.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "'127.0.0.1'"),
    // No socket file: its path has a length limit that temporary folders exceed, and its folder a permission problem.
    ("unix_socket_directories", "''"),
    ("max_connections", "200"),
    // Two-phase commit needs it, and it cannot be changed without a restart.
    ("max_prepared_transactions", "64"),
    // Logical decoding, for moving shards and change feeds.
    ("wal_level", "logical"),
    ("max_wal_senders", "16"),
    ("max_replication_slots", "16"),
    ("shared_buffers", "64MB"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("timezone", "'UTC'"),
    ("log_timezone", "'UTC'"),
    ("lc_messages", "'C'"),
    ("log_line_prefix", "'%m [%p] %q%u@%d '"),
];

/// How one logs in to the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// Anybody on this machine, without a password: for tests.
    Trust,
    /// SCRAM, with this password for the superuser.
    Scram {
        /// Of the superuser `postgres`.
        password: String,
    },
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Which PostgreSQL.
    pub binaries: Binaries,
    /// The name of each server: its data folder's name.
    pub names: Vec<String>,
    /// How one logs in.
    pub access: Access,
    /// Settings beside the usual ones, as in `postgresql.conf`.
    pub settings: Vec<(String, String)>,
}

impl Spec {
    /// `count` servers named `s0`, `s1` ... that trust everybody on this machine.
    pub fn new(binaries: Binaries, count: usize) -> Spec {
        let names = (0..count).map(|n| format!("s{n}")).collect();
        Spec { binaries, names, access: Access::Trust, settings: Vec::new() }
    }
}

/// Running servers and the folder they live in. Dropping it stops them all at once; a temporary folder goes with them.
#[derive(Debug)]
pub struct Cluster {
    /// In the order of the specification's names.
    pub servers: Vec<Server>,
    folder: Folder, // after the servers: dropped after them
}

impl Cluster {
    /// Makes what is missing in the folder, starts all servers and waits until they accept connections.
    ///
    /// Each server gets an `initdb` of its own and is no copy of its neighbour: a copy would have its system identifier, by which
    /// tools tell servers apart.
    pub fn start(folder: Folder, spec: &Spec) -> Result<Cluster, LocalError> {
        if spec.names.is_empty() || spec.names.len() > MAX_SERVERS {
            return Err(LocalError::Count(spec.names.len()));
        }
        let account = Account::for_servers()?;
        let path = folder.path().to_path_buf();
        reachable(&path, &spec.binaries, account)?;
        let guard = path.join(GUARD_FILE);
        fs::write(&guard, GUARD).map_err(|e| LocalError::Folder { path: guard, reason: e.to_string() })?;
        init_all(&path, spec, account)?;
        let remove = folder.is_temporary().then(|| path.clone());
        let server = |name: &String| Server::new(path.join(name), spec.binaries.clone(), account, remove.clone());
        let mut servers: Vec<Server> = spec.names.iter().map(server).collect();
        let started = servers.iter_mut().try_for_each(Server::spawn);
        if let Err(error) = started.and_then(|()| servers.iter_mut().try_for_each(Server::wait_ready)) {
            // The log is what explains the failure, and it is in the error; the folder is of no further use.
            drop(Cluster { servers, folder });
            return Err(error);
        }
        Ok(Cluster { servers, folder })
    }

    /// Where everything is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder for other files beside the servers; it goes when they go.
    pub fn subfolder(&self, name: &str) -> Result<PathBuf, LocalError> {
        self.folder.subfolder(name)
    }

    /// Stops all servers together.
    pub fn stop(&mut self, how: Stop) {
        self.servers.iter_mut().for_each(|server| server.ask_to_stop(how));
        self.servers.iter_mut().for_each(Server::wait_stopped);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

/// Fails early and clearly where the servers' user cannot even enter the folder (`/root` is closed to it).
fn reachable(path: &Path, binaries: &Binaries, account: Option<Account>) -> Result<(), LocalError> {
    let mut command = tool_command(Path::new("/bin/sh"), binaries, account, Path::new("/"));
    let probe = command.args(["-c", r#"test -x "$1" && test -w "$1""#, "sh"]).arg(path).status();
    match probe {
        Ok(status) if status.success() => Ok(()),
        _ => {
            let user =
                if account.is_some() { "the user \"postgres\", who runs the servers," } else { "the current user" };
            let reason = format!("{user} cannot write there; choose a folder that is open to it");
            Err(LocalError::Folder { path: path.to_path_buf(), reason })
        }
    }
}

/// Runs `initdb` for every data folder that does not exist, a few at a time.
fn init_all(path: &Path, spec: &Spec, account: Option<Account>) -> Result<(), LocalError> {
    let missing: Vec<PathBuf> =
        spec.names.iter().map(|name| path.join(name)).filter(|data| !data.join("PG_VERSION").exists()).collect();
    let lanes = std::thread::available_parallelism().map_or(2, |n| n.get()).min(missing.len().max(1));
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..lanes)
            .map(|lane| {
                let mine = missing.iter().skip(lane).step_by(lanes);
                scope.spawn(move || mine.into_iter().try_for_each(|data| init(data, spec, account)))
            })
            .collect();
        lanes.into_iter().try_for_each(|lane| {
            lane.join().unwrap_or_else(|_| Err(tool_failed("initdb", "its thread panicked".into())))
        })
    })
}

fn init(data: &Path, spec: &Spec, account: Option<Account>) -> Result<(), LocalError> {
    let folder_error = |e: std::io::Error| LocalError::Folder { path: data.to_path_buf(), reason: e.to_string() };
    let parent = data.parent().unwrap_or(Path::new("/"));
    let mut command = tool_command(&spec.binaries.tool("initdb"), &spec.binaries, account, parent);
    command.arg("-D").arg(data).args(["-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--no-sync"]);
    let password_file = data.with_extension("password");
    match &spec.access {
        Access::Trust => command.args(["-A", "trust"]),
        Access::Scram { password } => {
            fs::write(&password_file, "").map_err(folder_error)?;
            fs::set_permissions(&password_file, Permissions::from_mode(0o600)).map_err(folder_error)?;
            Account::own(account, &password_file).map_err(folder_error)?;
            fs::write(&password_file, password).map_err(folder_error)?;
            command.args(["-A", "scram-sha-256"]).arg("--pwfile").arg(&password_file)
        }
    };
    let output = command.stdin(Stdio::null()).output();
    let _ = fs::remove_file(&password_file);
    let output = output.map_err(|e| tool_failed("initdb", e.to_string()))?;
    if !output.status.success() {
        return Err(tool_failed("initdb", String::from_utf8_lossy(&output.stderr).trim().to_string()));
    }
    let extra = spec.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let lines: Vec<String> =
        SETTINGS.iter().copied().chain(extra).map(|(name, value)| format!("{name} = {value}\n")).collect();
    let conf = data.join("postgresql.auto.conf");
    fs::write(&conf, lines.concat()).map_err(folder_error)?;
    Account::own(account, &conf).map_err(folder_error)
}
