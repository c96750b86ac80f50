//! The composition root: builds everything from the operator's files, runs it, reloads it, drains it.
//!
//! [`Server::start`] is all that a test needs for a proxy in its own process; [`run`] adds signals, and is `goldseam run`.

pub mod files;
mod reload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::dashboard;
use crate::frontend::listener::Frontend;
use crate::frontend::tls::Tls;
use crate::pool::{Directories, Pools};
use crate::session::shared::{Shared, Shutdown, State};
use crate::sqlstate::SqlState;
use crate::topology::Topology;
use files::{Files, Mistake};

/// How often all catalogs are read again without a reason: tables may be changed behind Goldseam's back.
const CATALOG_INTERVAL: Duration = Duration::from_secs(60);
/// How often the drain looks whether everybody has left.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// A running proxy.
#[derive(Debug)]
pub struct Server {
    frontend: Arc<Frontend>,
    addresses: Vec<SocketAddr>,
    http: Option<SocketAddr>,
    listeners: Vec<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

impl Server {
    /// Reads the files, opens the listeners and serves. Shards that do not answer are a warning, not an error: the others serve.
    ///
    /// # Errors
    /// A mistake in a file, or an address that cannot be listened on.
    pub async fn start(config: &Path) -> Result<Server, Mistake> {
        let Files { config: settings, vschema, read } = files::load(config)?;
        let tls = settings.tls.as_ref().map(Tls::load).transpose().map_err(Mistake)?;
        let mut listening = Vec::new();
        for address in &settings.listen {
            let listener = TcpListener::bind(address).await;
            listening.push(listener.map_err(|error| Mistake(format!("cannot listen on {address}: {error}")))?);
        }
        let http = match settings.http {
            Some(address) => {
                let listener = TcpListener::bind(address).await;
                Some(listener.map_err(|error| Mistake(format!("cannot listen on {address} (http): {error}")))?)
            }
            None => None,
        };
        let topology = Topology::new(&settings);
        for (shard, error) in topology.refresh().await {
            tracing::warn!(shard = vschema.shard_name(shard), %error, "shard does not answer; it is tried again");
        }
        let pools = Pools::new(&settings.pool, topology.clone());
        check_workbench(&pools).await;
        let directories = Directories::new(&vschema, pools.clone());
        for error in directories.prepare().await {
            tracing::warn!(%error, "a directory is not ready; it is tried again when it is used");
        }
        let state =
            State { config: Arc::new(settings), vschema: Arc::new(vschema), topology: topology.clone(), directories };
        let no_random = |error: getrandom::Error| Mistake(format!("no random numbers: {error}"));
        let shared = Shared::new(state, pools.clone()).map_err(no_random)?;
        let frontend = Frontend::new(shared, tls).map_err(no_random)?;

        let mut background = vec![tokio::spawn(pools.clone().maintain())];
        background.push(tokio::spawn(crate::session::in_doubt::report(pools)));
        background.push(reload::spawn(frontend.clone(), config.to_path_buf(), read));
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        for listener in listening {
            let address = listener.local_addr().map_err(|error| Mistake(error.to_string()))?;
            tracing::info!(%address, "listening");
            addresses.push(address);
            listeners.push(tokio::spawn(frontend.clone().listen(listener)));
        }
        background.push(tokio::spawn(keep_fresh(frontend.clone())));
        background.push(tokio::spawn(frontend.shared.meters.clone().maintain()));
        let mut http_address = None;
        if let Some(listener) = http {
            let address = listener.local_addr().map_err(|error| Mistake(error.to_string()))?;
            tracing::info!(%address, "metrics, health and API over HTTP");
            http_address = Some(address);
            background.push(tokio::spawn(dashboard::serve(listener, frontend.shared.clone())));
        }
        Ok(Server { frontend, addresses, http: http_address, listeners, background })
    }

    /// Where it listens, with the ports that the system chose where the file said 0.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The port of its first address.
    pub fn port(&self) -> u16 {
        self.addresses.first().map_or(0, SocketAddr::port)
    }

    /// Where it answers HTTP, if it does.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// What all its sessions share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.frontend.shared
    }

    /// Reads the files again.
    ///
    /// # Errors
    /// What was wrong with them; the old ones stay in force.
    pub async fn reload(&self) -> Result<(), Mistake> {
        let reloader = self.shared().reloader.load_full();
        let Some(reloader) = reloader else { return Err(Mistake("the server is shutting down".into())) };
        match reloader().await {
            Ok(outcome) => outcome.map_err(Mistake),
            Err(_) => Err(Mistake("the server is shutting down".into())),
        }
    }

    /// Closes the listeners and waits until all clients have left by themselves.
    ///
    /// # Cancel safety
    /// Dropped, the listeners stay closed.
    async fn refuse(&self) {
        self.listeners.iter().for_each(JoinHandle::abort);
        let clients = || self.shared().clients.list().iter().any(|client| !crate::admin::is_console(&client.database));
        while clients() {
            tokio::time::sleep(DRAIN_STEP).await;
        }
    }

    /// Closes the listeners, lets transactions finish, tells clients to go; after `limits.drain_timeout` nobody is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting, and with the runtime all that is left.
    pub async fn drain(self) {
        for listener in &self.listeners {
            listener.abort();
        }
        let shared = self.shared();
        shared.clients.stop_all();
        let patience = shared.state.load().config.limits.drain_timeout;
        let begun = Instant::now();
        while !shared.clients.is_empty() && begun.elapsed() < patience {
            tokio::time::sleep(DRAIN_STEP).await;
        }
        if !shared.clients.is_empty() {
            tracing::warn!(clients = shared.clients.len(), "the drain timed out; transactions are cut off");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for task in self.listeners.iter().chain(&self.background) {
            task.abort();
        }
    }
}

/// Says whether the server that is the workbench and no shard, if there is one, will not be used, and why.
pub(crate) async fn check_workbench(pools: &Pools) {
    if !pools.has_workbench() {
        return;
    }
    match pools.check_workbench().await {
        Ok(()) => tracing::info!("the workbench has a server of its own"),
        // The pools have said what differs.
        Err(error) if error.code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => {}
        Err(error) => {
            tracing::warn!(%error, "the workbench's server does not answer; shards take its place until it does")
        }
    }
}

/// Catalogs follow what happens behind Goldseam's back, on whatever topology is in force.
async fn keep_fresh(frontend: Arc<Frontend>) {
    loop {
        let topology: Arc<Topology> = frontend.shared.state.load().topology.clone();
        let replaced = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if !Arc::ptr_eq(&frontend.shared.state.load().topology, &topology) {
                    return;
                }
            }
        };
        tokio::select! {
            // Both futures can be dropped at any point: a catalog is put in force as a whole or not at all.
            () = topology.clone().keep_fresh(CATALOG_INTERVAL) => {}
            () = replaced => {}
        }
    }
}

/// `goldseam run`: serves until SIGTERM or SIGINT, drains; a second one stops at once. SIGHUP reloads.
///
/// # Errors
/// As [`Server::start`].
pub async fn run(config: PathBuf) -> Result<(), Mistake> {
    let server = Server::start(&config).await?;
    let hook = |kind| signal(kind).map_err(|error| Mistake(format!("cannot receive signals: {error}")));
    let (mut hangup, mut terminate, mut interrupt) =
        (hook(SignalKind::hangup())?, hook(SignalKind::terminate())?, hook(SignalKind::interrupt())?);
    let mut wishes = server.shared().shutdown.subscribe();
    let clients_first = loop {
        // Receiving a signal is cancel safe: none is lost between rounds.
        tokio::select! {
            _ = hangup.recv() => {
                // What is wrong has been logged where it was found.
                let _ = server.reload().await;
            }
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
            _ = wishes.changed() => match *wishes.borrow_and_update() {
                None => {}
                Some(Shutdown::AfterTransactions) => break false,
                Some(Shutdown::AfterClients) => break true,
                Some(Shutdown::Now) => {
                    tracing::info!("stopped from the console");
                    return Ok(());
                }
            },
        }
    };
    if clients_first {
        tracing::info!("new clients are refused; the process ends when all have left");
        tokio::select! {
            // What a dropped wait leaves is the drain's to do.
            () = server.refuse() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = wishes.changed() => {}
        }
    }
    tracing::info!("draining: transactions finish, new ones are refused; a second signal stops at once");
    tokio::select! {
        // What a dropped drain leaves, the end of the process takes.
        () = server.drain() => {}
        _ = terminate.recv() => tracing::warn!("stopped by a second signal"),
        _ = interrupt.recv() => tracing::warn!("stopped by a second signal"),
        _ = wishes.changed() => tracing::warn!("stopped from the console"),
    }
    Ok(())
}
