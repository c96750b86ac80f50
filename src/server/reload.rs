//! Reads the files again: on SIGHUP, on RELOAD, and when one of them changes.
//!
//! The new files are checked as a whole before anything changes, and put in force as a whole. What cannot change while clients are
//! connected is said, and the old files stay: the addresses listened on, the number of threads, and the order of shards, because
//! plans and pools know shards by their place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecursiveMode, Watcher};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::files::{self, Files, Mistake};
use crate::config::Config;
use crate::frontend::listener::Frontend;
use crate::frontend::tls::Tls;
use crate::pool::Directories;
use crate::session::Reloader;
use crate::session::shared::State;
use crate::topology::Topology;

/// Editors write a file in several steps; after the last of them there is quiet.
const QUIET: Duration = Duration::from_millis(200);
/// Reload requests that wait: more than one at a time means the same.
const QUEUE: usize = 16;

type Request = Option<oneshot::Sender<Result<(), String>>>;

/// Serves reload requests for ever.
pub(super) fn spawn(frontend: Arc<Frontend>, config: PathBuf, read: Vec<PathBuf>) -> JoinHandle<()> {
    let (requests, mut inbox) = mpsc::channel::<Request>(QUEUE);
    let asked = requests.clone();
    let reloader: Reloader = Box::new(move || {
        let (answer, outcome) = oneshot::channel();
        // A full queue drops the answer, and the asker sees that.
        let _ = asked.try_send(Some(answer));
        outcome
    });
    frontend.shared.reloader.store(Some(Arc::new(reloader)));
    tokio::spawn(async move {
        let mut watcher = watch(&read, requests.clone());
        while let Some(request) = inbox.recv().await {
            if request.is_none() {
                tokio::time::sleep(QUIET).await;
            }
            let outcome = reload(&frontend, &config).await;
            match &outcome {
                Ok(read) => {
                    tracing::info!("the configuration was read again");
                    watcher = watch(read, requests.clone());
                }
                Err(mistake) => {
                    tracing::error!(%mistake, "the new configuration is refused; the old one stays in force")
                }
            }
            if let Some(answer) = request {
                // The asker may have left.
                let _ = answer.send(outcome.map(|_| ()).map_err(|mistake| mistake.0));
            }
        }
        drop(watcher);
    })
}

/// Tells of changes of these files. Folders are watched, because editors replace files.
fn watch(read: &[PathBuf], requests: mpsc::Sender<Request>) -> Option<notify::RecommendedWatcher> {
    let files: Vec<PathBuf> = read.iter().filter_map(|path| std::fs::canonicalize(path).ok()).collect();
    let watched = files.clone();
    let handler = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        let changes = event.kind.is_modify() || event.kind.is_create() || event.kind.is_remove();
        let ours =
            event.paths.iter().any(|path| watched.iter().any(|file| path == file || path.parent() == Some(file)));
        if changes && ours {
            // A full queue means that a reload is due anyway.
            let _ = requests.try_send(None);
        }
    };
    let mut watcher = notify::recommended_watcher(handler)
        .map_err(|error| tracing::warn!(%error, "files cannot be watched; use SIGHUP or RELOAD"))
        .ok()?;
    let folders: std::collections::BTreeSet<&Path> =
        files.iter().map(|file| if file.is_dir() { file.as_path() } else { file.parent().unwrap_or(file) }).collect();
    for folder in folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(folder = %folder.display(), %error, "folder cannot be watched; use SIGHUP or RELOAD");
        }
    }
    Some(watcher)
}

/// Reads, checks, and puts in force; returns what was read.
async fn reload(frontend: &Frontend, path: &Path) -> Result<Vec<PathBuf>, Mistake> {
    let _alone = frontend.shared.layout.lock().await;
    let Files { config, mut vschema, read } = files::load(path)?;
    let tls = config.tls.as_ref().map(Tls::load).transpose().map_err(Mistake)?;
    let shared = &frontend.shared;
    let old = shared.state.load_full();
    if let Some(fixed) = cannot_change(&old.config, &config) {
        return Err(Mistake(format!("{}: {fixed} cannot change while the server runs; restart it", path.display())));
    }
    vschema.version = old.vschema.version + 1;
    let topology = if old.config.shards == config.shards
        && old.config.workbench.server == config.workbench.server
        && old.config.pool.connect_timeout == config.pool.connect_timeout
    {
        // Tables may be what has changed.
        old.topology.refresh().await;
        old.topology.clone()
    } else {
        let topology = Topology::new(&config);
        // Plans made from an older catalog must not be taken for plans of this one.
        topology.catalog.store(old.topology.catalog.load_full());
        for (shard, error) in topology.refresh().await {
            tracing::warn!(shard = vschema.shard_name(shard), %error, "shard does not answer; it is tried again");
        }
        topology
    };
    shared.meters.name_shards(&config.shard_names());
    shared.pools.reconfigure(&config.pool, topology.clone());
    super::check_workbench(&shared.pools).await;
    let directories = Directories::new(&vschema, shared.pools.clone());
    for error in directories.prepare().await {
        tracing::warn!(%error, "a directory is not ready; it is tried again when it is used");
    }
    shared.state.store(Arc::new(State { config: Arc::new(config), vschema: Arc::new(vschema), topology, directories }));
    frontend.verifiers.forget();
    frontend.tls.store(tls.map(Arc::new));
    Ok(read)
}

/// What differs and must not.
fn cannot_change(old: &Config, new: &Config) -> Option<&'static str> {
    let names = |config: &Config| config.shard_names();
    if old.listen != new.listen {
        Some("listen")
    } else if old.http != new.http {
        Some("http")
    } else if old.workers != new.workers {
        Some("workers")
    } else if old.database != new.database {
        Some("database")
    } else if !names(new).starts_with(&names(old)) {
        Some("the order of the shards (new ones go to the end)")
    } else {
        None
    }
}
