//! `goldseam demo`: from nothing to a proxy in front of real servers, for somebody who has one minute.
//!
//! In order: find PostgreSQL ([`crate::local`]), start the shards, fill them ([`load`]), write the two files an operator
//! would write, serve, say what to try. Everything lives in one folder and one process; Ctrl-C takes it all down again.

pub mod layout;
pub mod load;
pub mod tables;
mod welcome;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::load::{DATABASE, Load, PASSWORD, Spread, USER};
use super::{Failure, SUCCESS, Shared, logs, style::Paint};
use crate::config::{Log, LogFormat};
use crate::local::{self, Access, Account, Binaries, Cluster, Folder, MAX_SERVERS, Spec, Stop};
use crate::server::{Server, files};

/// How long clients may finish after Ctrl-C; a second Ctrl-C does not wait.
const DRAIN: Duration = Duration::from_secs(3);
/// Written last: a kept folder that has it is complete.
const MARK: &str = "loaded";

/// Try it: local PostgreSQL shards with sample data, and the proxy in front of them
///
/// Finds PostgreSQL on this machine, starts some servers of its own on free loopback ports, loads about 100,000 rows of a small shop
/// and serves them as one database. Ctrl-C stops everything it started and removes it.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// How many shards, 1 to 64
    #[arg(long, default_value_t = 4, value_parser = RangedU64ValueParser::<u64>::new().range(1..MAX_SERVERS as u64))]
    shards: u64,
    /// The proxy's port on 127.0.0.1; 0 chooses a free one
    #[arg(long, default_value_t = 6432)]
    port: u16,
    /// Keep the servers' data under ~/.local/share, for root under /var/lib; the same command starts them again with it
    #[arg(long)]
    keep: bool,
    /// Where to keep it; implies --keep
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The folder with PostgreSQL's binaries, such as /usr/lib/postgresql/17/bin
    #[arg(long, value_name = "FOLDER", env = "GOLDSEAM_PG_BIN")]
    pg_bin: Option<PathBuf>,
    /// Install PostgreSQL if it is missing; the default for root on Debian and Ubuntu, and in CI
    #[arg(long)]
    install: bool,
    /// Never install anything
    #[arg(long, conflicts_with = "install")]
    no_install: bool,
}

impl Arguments {
    fn may_install(&self) -> bool {
        self.install || (!self.no_install && local::installs_by_default())
    }
}

pub(super) fn execute(arguments: &Arguments, shared: &Shared) -> Result<u8, Failure> {
    // Quiet by default: the demo's own words are what the user should read.
    logs::start(&Log { level: "warn".into(), format: LogFormat::Plain, slow: None }, shared)?;
    port_is_free(arguments.port)?;
    let binaries =
        local::find_or_install(arguments.pg_bin.as_deref(), arguments.may_install()).map_err(Failure::new)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::new)?;
    runtime.block_on(demo(arguments, binaries))
}

async fn demo(arguments: &Arguments, binaries: Binaries) -> Result<u8, Failure> {
    let mut interrupt = Interrupt::new()?;
    let said = Paint::stderr();
    eprintln!("PostgreSQL {} in {}", binaries.version, binaries.dir.display());

    let names = layout::shard_names(arguments.shards as usize);
    let folder = folder(arguments)?;
    let fresh = !folder.path().join(MARK).exists();
    same_shards(folder.path(), &names)?;
    let superuser = if fresh { random_password()? } else { String::new() };
    let access = Access::Scram { password: superuser.clone() };
    let spec = Spec { binaries: binaries.clone(), names: names.clone(), access, settings: Vec::new() };
    // Starting blocks, and an interrupted start must still be cleaned up: so it is waited for in any case.
    let mut starting = tokio::task::spawn_blocking(move || Cluster::start(folder, &spec));
    let mut cluster = tokio::select! {
        started = &mut starting => started.map_err(Failure::new)?.map_err(Failure::new)?,
        () = interrupt.next() => {
            drop(starting.await);
            return Err(Failure::new("interrupted"));
        }
    };
    let ports: Vec<u16> = cluster.servers.iter().map(|server| server.port()).collect();
    let shards = names.len();
    let plural = if shards == 1 { "shard" } else { "shards" };
    eprintln!("{} {shards} {plural} in {}", said.green("started"), cluster.path().display());

    let config_path = write_files(&cluster, arguments.port, &names)?;
    if fresh {
        // A load that is dropped half-way leaves a folder without MARK; it is filled from scratch next time.
        let spread = tokio::select! {
            loaded = fill(&config_path, &names, &ports, &superuser) => loaded?,
            () = interrupt.next() => {
                cluster.stop(Stop::Immediate);
                return Err(Failure::new("interrupted"));
            }
        };
        fs::write(cluster.path().join(MARK), names.join(" ")).map_err(|e| in_folder(cluster.path(), &e))?;
        eprint!("{}", welcome::table(&spread, &names));
    }

    let serving = Server::start(&config_path).await.map_err(Failure::new)?;
    super::print(&welcome::text(&serving, &config_path, binaries.psql().is_some(), shards, Paint::stdout()))?;
    interrupt.next().await;
    eprintln!("\nstopping (once more to stop at once)");
    tokio::select! {
        _ = tokio::time::timeout(DRAIN, serving.drain()) => cluster.stop(Stop::Fast),
        () = interrupt.next() => cluster.stop(Stop::Immediate),
    }
    if arguments.keep || arguments.dir.is_some() {
        eprintln!("kept in {}; the same command starts it again", cluster.path().display());
    }
    Ok(SUCCESS)
}

/// SIGINT and SIGTERM alike.
struct Interrupt {
    int: Signal,
    term: Signal,
}

impl Interrupt {
    fn new() -> Result<Interrupt, Failure> {
        let stream = |kind| signal(kind).map_err(Failure::new);
        Ok(Interrupt { int: stream(SignalKind::interrupt())?, term: stream(SignalKind::terminate())? })
    }

    /// # Cancel safety
    /// A dropped wait loses no signal: the streams keep it.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.int.recv() => {}
            _ = self.term.recv() => {}
        }
    }
}

/// Asked before anything is started, because it is the likeliest thing to go wrong.
fn port_is_free(port: u16) -> Result<(), Failure> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(format!(
            "cannot listen on 127.0.0.1:{port}: {error}\n  hint: choose another with --port, or let --port 0 choose a free one"
        ))),
    }
}

fn folder(arguments: &Arguments) -> Result<Folder, Failure> {
    let account = Account::for_servers().map_err(Failure::new)?;
    let folder = match (&arguments.dir, arguments.keep) {
        (Some(dir), _) => Folder::kept(dir, account),
        (None, true) => Folder::kept(&kept_folder()?, account),
        (None, false) => Folder::temporary(account),
    };
    folder.map_err(Failure::new)
}

/// Where `--keep` keeps: not in a folder that everybody can write to, where a link could wait for us.
fn kept_folder() -> Result<PathBuf, Failure> {
    if local::is_root() {
        return Ok("/var/lib/goldseam-demo".into()); // the servers' user cannot enter root's home
    }
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"));
    let base = data.or_else(home).ok_or_else(|| Failure::usage("HOME is not set: say where to keep it with --dir"))?;
    Ok(base.join("goldseam-demo"))
}

/// A kept folder is not silently spread anew; one whose load was interrupted is emptied.
fn same_shards(path: &Path, names: &[String]) -> Result<(), Failure> {
    let mark = fs::read_to_string(path.join(MARK)).unwrap_or_default();
    let kept = mark.split_whitespace().count();
    if kept != 0 && kept != names.len() {
        let hint = format!("say --shards {kept}, or another --dir, or remove the folder");
        return Err(Failure::new(format!(
            "{} holds {kept} shards, not {}\n  hint: {hint}",
            path.display(),
            names.len()
        )));
    }
    if kept == 0 {
        for entry in fs::read_dir(path).map_err(|e| in_folder(path, &e))?.flatten() {
            // Only what a demo made: somebody may have pointed --dir at a folder with other things in it.
            if entry.path().join("PG_VERSION").exists() && names.iter().any(|name| entry.file_name() == name.as_str()) {
                fs::remove_dir_all(entry.path()).map_err(|e| in_folder(path, &e))?;
            }
        }
    }
    Ok(())
}

/// The files an operator would write; they stay readable beside the servers while the demo runs.
pub fn write_files(cluster: &Cluster, port: u16, names: &[String]) -> Result<PathBuf, Failure> {
    let path = cluster.path();
    let failed = |e: std::io::Error| in_folder(path, &e);
    let ports: Vec<u16> = cluster.servers.iter().map(|server| server.port()).collect();
    let vschema = cluster.subfolder("vschema").map_err(Failure::new)?;
    cluster.subfolder("data").map_err(Failure::new)?;
    fs::write(vschema.join("commerce.toml"), layout::vschema_toml(names.len())).map_err(failed)?;
    let config = path.join("goldseam.toml");
    fs::write(&config, config_toml(port, names, &ports)).map_err(failed)?;
    Ok(config)
}

/// The demo's `goldseam.toml`.
fn config_toml(port: u16, names: &[String], ports: &[u16]) -> String {
    let mut text = format!(
        "listen   = \"127.0.0.1:{port}\"\nhttp     = \"127.0.0.1:0\"\nvschema  = \"vschema/commerce.toml\"\ndata_dir = \"data\"\n\n\
         [auth]\nmethod = \"scram-sha-256\"\n[auth.user.{USER}]\npassword = \"{PASSWORD}\"\noperator = true\n"
    );
    for (name, port) in names.iter().zip(ports) {
        text += &format!("\n[shard.{name}]\nprimary = \"postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}\"\n");
    }
    text
}

async fn fill(config: &Path, names: &[String], ports: &[u16], superuser: &str) -> Result<Vec<Spread>, Failure> {
    let vschema = files::load(config).map_err(Failure::new)?.vschema;
    let (loads, spread) = Load::sharded(&vschema).map_err(Failure::new)?;
    let total = loads.iter().map(Load::rows).sum();
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("loading {wide_bar} {human_pos} of {human_len} rows") {
        bar.set_style(style);
    }
    let progress = bar.clone();
    let servers = names.iter().zip(ports).zip(loads).map(|((name, port), load)| (name.clone(), *port, load)).collect();
    load::fill(servers, Some(superuser), Arc::new(move |rows| progress.inc(rows))).await.map_err(Failure::new)?;
    bar.finish_and_clear();
    Ok(spread)
}

/// For the servers' superuser, whom nobody needs after the load: local users must not get in as one.
fn random_password() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(Failure::new)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn in_folder(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot use the folder {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_a_way_out() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let message = port_is_free(port).unwrap_err().message;
        assert!(message.contains(&format!("127.0.0.1:{port}")) && message.contains("--port"), "{message}");
    }

    #[test]
    fn a_kept_folder_is_not_spread_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MARK), "s0 s1").unwrap();
        assert!(same_shards(folder.path(), &layout::shard_names(2)).is_ok());
        let message = same_shards(folder.path(), &layout::shard_names(4)).unwrap_err().message;
        assert!(message.contains("holds 2 shards, not 4"), "{message}");
    }
}
