//! The servers that are compared: what starts them, and where each one is reached.
//!
//! The first PostgreSQL serves the contenders with one server: direct, PgBouncer, and Goldseam over one shard. Four more are the
//! shards of Goldseam over four. All trust the loopback, because what a login costs is not measured here; pools have the same size.

use std::fmt;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::pgbench::{Mode, SCRIPT};
use crate::{Options, Outcome, placement};

/// Server connections per pool, for PgBouncer and Goldseam alike: the default of both.
const POOL_SIZE: u32 = 20;
/// How long a server may take to accept connections.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// What stands between pgbench and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Contender {
    /// Nothing.
    Direct,
    /// PgBouncer as the system packages it.
    Pgbouncer,
    /// Goldseam over one shard: everything passes straight through.
    #[value(name = "goldseam-1")]
    Goldseam1,
    /// Goldseam over four shards: every query is routed.
    #[value(name = "goldseam-4")]
    Goldseam4,
}

impl Contender {
    pub const ALL: [Contender; 4] =
        [Contender::Direct, Contender::Pgbouncer, Contender::Goldseam1, Contender::Goldseam4];

    pub fn is_proxy(self) -> bool {
        self != Contender::Direct
    }
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Contender::Direct => "direct",
            Contender::Pgbouncer => "PgBouncer",
            Contender::Goldseam1 => "Goldseam, 1",
            Contender::Goldseam4 => "Goldseam, 4",
        })
    }
}

/// Where pgbench connects.
#[derive(Debug)]
pub struct Address {
    pub port: u16,
    pub database: &'static str,
}

/// A running proxy; it stops when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    pub port: u16,
    process: Process,
}

impl Proxy {
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// All the servers of the comparison. Dropping it stops them and removes their folder.
pub struct Bench {
    pub scale: u32,
    workers: Option<u32>,
    binaries: PathBuf,
    /// Declared before the servers behind them, so that they stop first.
    proxies: Vec<(Contender, Proxy)>,
    /// The single server, then the four shards (if they are wanted at all).
    servers: Vec<(u16, Process)>,
    folder: tempfile::TempDir,
}

impl Bench {
    /// Starts the servers, loads them, and starts the proxies.
    pub fn start(options: &Options) -> Outcome<Bench> {
        let folder = tempfile::Builder::new().prefix("goldseam-bench-").tempdir()?;
        open_to_all(folder.path())?;
        let mut bench = Bench {
            scale: options.scale,
            workers: options.workers,
            binaries: find_binaries(options.pg_bin.as_deref())?,
            proxies: Vec::new(),
            servers: Vec::new(),
            folder,
        };
        fs::write(bench.folder().join("select.sql"), SCRIPT)?;
        let count = if options.only.contains(&Contender::Goldseam4) { 5 } else { 1 };
        bench.start_servers(count)?;
        bench.pgbench_init(bench.servers[0].0, "dtgp")?;
        if count > 1 {
            let shards: Vec<u16> = bench.servers[1..].iter().map(|server| server.0).collect();
            for &port in &shards {
                bench.pgbench_init(port, "dtp")?;
            }
            placement::load(&bench, &shards)?;
        }
        for &contender in options.only.iter().filter(|contender| contender.is_proxy()) {
            let proxy = bench.start_proxy(contender)?;
            bench.proxies.push((contender, proxy));
        }
        Ok(bench)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    fn proxy(&self, contender: Contender) -> Option<&Proxy> {
        self.proxies.iter().find(|(which, _)| *which == contender).map(|(_, proxy)| proxy)
    }

    pub fn proxy_pid(&self, contender: Contender) -> Option<u32> {
        self.proxy(contender).map(Proxy::pid)
    }

    pub fn address(&self, contender: Contender, mode: Mode) -> Address {
        let port = self.proxy(contender).map_or(self.servers[0].0, |proxy| proxy.port);
        // PgBouncer before 1.21 keeps prepared statements only where a client keeps its server connection.
        let session = contender == Contender::Pgbouncer && mode == Mode::Prepared;
        Address { port, database: if session { "bench_session" } else { "bench" } }
    }

    /// Starts a proxy of its own, beside the one that `start` made.
    pub fn start_proxy(&self, contender: Contender) -> Outcome<Proxy> {
        let port = free_port()?;
        let mut command = match contender {
            Contender::Direct => return Err("there is no proxy to start".into()),
            Contender::Pgbouncer => self.pgbouncer(port)?,
            Contender::Goldseam1 => self.goldseam(port, &["s0"], 0, placement::ONE_SHARD)?,
            Contender::Goldseam4 => self.goldseam(port, &placement::SHARDS, 1, placement::FOUR_SHARDS)?,
        };
        let log = fs::File::create(self.folder().join(format!("proxy-{port}.log")))?;
        command.stdout(log.try_clone()?).stderr(log);
        let mut process = Process::spawn(&mut command)?;
        process.wait_for(port).map_err(|error| {
            let log = fs::read_to_string(self.folder().join(format!("proxy-{port}.log"))).unwrap_or_default();
            format!("{contender}: {error}\n{log}")
        })?;
        Ok(Proxy { port, process })
    }

    fn pgbouncer(&self, port: u16) -> Outcome<Command> {
        let folder = self.folder().join(format!("pgbouncer-{port}"));
        fs::create_dir(&folder)?;
        open_to_all(&folder)?;
        fs::write(folder.join("users.txt"), "\"bench\" \"\"\n")?;
        let server = self.servers[0].0;
        let config = format!(
            "[databases]\n\
             bench = host=127.0.0.1 port={server} dbname=bench pool_mode=transaction\n\
             bench_session = host=127.0.0.1 port={server} dbname=bench pool_mode=session pool_size=100\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = trust\n\
             auth_file = {users}\n\
             max_client_conn = 2000\n\
             default_pool_size = {POOL_SIZE}\n\
             log_connections = 0\n\
             log_disconnections = 0\n",
            users = folder.join("users.txt").display(),
        );
        fs::write(folder.join("pgbouncer.ini"), config)?;
        // Debian installs it where only root's PATH looks.
        let program = if Path::new("/usr/sbin/pgbouncer").exists() { "/usr/sbin/pgbouncer" } else { "pgbouncer" };
        let mut command = as_postgres(program);
        command.arg(folder.join("pgbouncer.ini"));
        Ok(command)
    }

    fn goldseam(&self, port: u16, shards: &[&str], first: usize, vschema: &str) -> Outcome<Command> {
        let folder = self.folder().join(format!("goldseam-{port}"));
        fs::create_dir(&folder)?;
        fs::write(folder.join("bench.toml"), vschema)?;
        let workers = self.workers.map_or(String::new(), |workers| format!("workers = {workers}\n"));
        let mut config = format!(
            "listen = \"127.0.0.1:{port}\"\n\
             vschema = \"bench.toml\"\n\
             {workers}\
             [auth]\n\
             method = \"trust\"\n\
             [auth.user.bench]\n\
             [pool]\n\
             mode = \"transaction\"\n\
             size = {POOL_SIZE}\n"
        );
        for (name, (server, _)) in shards.iter().zip(&self.servers[first..]) {
            config += &format!("[shard.{name}]\nprimary = \"postgres://bench@127.0.0.1:{server}/bench\"\n");
        }
        fs::write(folder.join("goldseam.toml"), config)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_goldseam"));
        command.arg("run").arg("--config").arg(folder.join("goldseam.toml")).current_dir(&folder);
        Ok(command)
    }

    fn start_servers(&mut self, count: usize) -> Outcome<()> {
        for number in 0..count {
            let data = self.folder().join(format!("pg{number}"));
            let mut initdb = as_postgres(self.binary("initdb"));
            initdb.args([
                "--auth",
                "trust",
                "--username",
                "bench",
                "--encoding",
                "UTF8",
                "--locale",
                "C",
                "--no-sync",
                "-D",
            ]);
            succeed(initdb.arg(&data))?;
            let port = free_port()?;
            let mut server = as_postgres(self.binary("postgres"));
            server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
            // Nothing is written while we measure; these only make the loading quick, and the servers alike.
            for setting in
                ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=200"]
            {
                server.args(["-c", setting]);
            }
            let log = fs::File::create(self.folder().join(format!("pg{number}.log")))?;
            server.stdout(log.try_clone()?).stderr(log);
            let mut process = Process::spawn(&mut server)?;
            process.wait_for(port)?;
            self.servers.push((port, process));
            self.psql(port, "postgres", "CREATE DATABASE bench")?;
        }
        Ok(())
    }

    fn pgbench_init(&self, port: u16, steps: &str) -> Outcome<()> {
        let mut command = Command::new(self.binary("pgbench"));
        command.args(["--initialize", "--quiet", "--init-steps", steps, "--scale", &self.scale.to_string()]);
        succeed(command.args(["-h", "127.0.0.1", "-U", "bench", "-p", &port.to_string(), "bench"]))
    }

    /// Runs SQL through psql; what it prints, unaligned and without headings.
    pub fn psql(&self, port: u16, database: &str, sql: &str) -> Outcome<String> {
        let mut command = Command::new(self.binary("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "bench"]);
        command.args(["-p", &port.to_string(), "-d", database]).arg("-f").arg("-").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().ok_or("psql has no standard input")?;
        let sql = sql.to_owned();
        // From another thread, since psql may answer before it has read everything.
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, sql.as_bytes()));
        let output = child.wait_with_output()?;
        // A failed write means that psql stopped early, and its own message says why.
        let written = writer.join();
        if !output.status.success() {
            return Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        written.map_err(|_| "the writer to psql panicked")??;
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The port of a proxy that runs.
    pub fn port(&self, contender: Contender) -> u16 {
        self.address(contender, Mode::Simple).port
    }
}

/// A server process that is stopped, and waited for, when it is dropped; and that the kernel ends if this program dies first.
#[derive(Debug)]
struct Process(Child);

impl Process {
    fn spawn(command: &mut Command) -> Outcome<Process> {
        command.stdin(Stdio::null());
        // SAFETY: prctl is async-signal-safe and touches nothing that was shared before the fork.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT);
                Ok(())
            });
        }
        let program = command.get_program().to_string_lossy().into_owned();
        Ok(Process(command.spawn().map_err(|error| format!("{program}: {error}"))?))
    }

    /// Waits until the process accepts connections. A port alone is not enough for PostgreSQL, which refuses logins while it starts;
    /// it opens its port only a few milliseconds earlier, so that is waited for here and psql's first login does the rest.
    fn wait_for(&mut self, port: u16) -> Outcome<()> {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if let Some(status) = self.0.try_wait()? {
                return Err(format!("stopped at once: {status}").into());
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                std::thread::sleep(Duration::from_millis(200));
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("did not accept connections in time".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGINT asks PostgreSQL for its fast shutdown, PgBouncer and Goldseam to stop.
        // SAFETY: the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGINT) };
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nothing of value is lost with a server of ours, and nobody is left to hear of an error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs as the user postgres where we are root, because neither PostgreSQL nor PgBouncer runs as root.
fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    // SAFETY: geteuid cannot fail.
    if unsafe { libc::geteuid() } == 0
        && let Some((uid, gid)) = postgres_user()
    {
        command.uid(uid).gid(gid);
    }
    command
}

fn postgres_user() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = users.lines().find(|line| line.starts_with("postgres:"))?.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The servers write into a folder that belongs to whoever runs this; it lies in a temporary folder and holds no secrets.
fn open_to_all(folder: &Path) -> Outcome<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?)
}

fn succeed(command: &mut Command) -> Outcome<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// The newest version in Debian's places, or whatever the PATH finds.
fn find_binaries(given: Option<&Path>) -> Outcome<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder.to_owned());
    }
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some((entry.ok()?.file_name().to_str()?.parse().ok()?, PathBuf::new())))
        .map(|(version, _): (u32, PathBuf)| (version, PathBuf::from(format!("/usr/lib/postgresql/{version}/bin"))))
        .filter(|(_, folder)| folder.join("postgres").exists())
        .collect();
    versions.sort();
    if let Some((_, folder)) = versions.pop() {
        return Ok(folder);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .find(|folder| folder.join("postgres").exists())
        .ok_or_else(|| "no PostgreSQL server found: give its folder with --pg-bin".into())
}
