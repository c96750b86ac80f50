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
use goldseam::local::{Account, Binaries, Cluster, Folder, Spec, find_postgres};

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
    binaries: Binaries,
    /// Declared before the servers behind them, so that they stop first.
    proxies: Vec<(Contender, Proxy)>,
    /// The ports of the single server, then of the four shards (if they are wanted at all).
    servers: Vec<u16>,
    cluster: Cluster,
}

impl Bench {
    /// Starts the servers, loads them, and starts the proxies.
    pub fn start(options: &Options) -> Outcome<Bench> {
        let binaries = find_postgres(options.pg_bin.as_deref())?;
        let count = if options.only.contains(&Contender::Goldseam4) { 1 + placement::SHARDS.len() } else { 1 };
        let folder = Folder::temporary(Account::for_servers()?)?;
        let cluster = Cluster::start(folder, &Spec::new(binaries.clone(), count))?;
        let servers: Vec<u16> = cluster.servers.iter().map(|server| server.port()).collect();
        let mut bench =
            Bench { scale: options.scale, workers: options.workers, binaries, proxies: Vec::new(), servers, cluster };
        fs::write(bench.folder().join("select.sql"), SCRIPT)?;
        let create = "CREATE ROLE bench LOGIN SUPERUSER;\nCREATE DATABASE bench OWNER bench;\n";
        for &port in &bench.servers {
            bench.psql(port, "postgres", "postgres", create)?;
        }
        bench.pgbench_init(bench.servers[0], "dtgp")?;
        if let Some(shards) = bench.servers.get(1..).filter(|shards| !shards.is_empty()) {
            for &port in shards {
                bench.pgbench_init(port, "dtp")?;
            }
            placement::load(&bench, shards)?;
        }
        for &contender in options.only.iter().filter(|contender| contender.is_proxy()) {
            let proxy = bench.start_proxy(contender)?;
            bench.proxies.push((contender, proxy));
        }
        Ok(bench)
    }

    /// The port of the server that the contenders with a single one share.
    pub fn single(&self) -> u16 {
        self.servers[0]
    }

    /// The ports of the four shards, if they are wanted at all.
    pub fn shards(&self) -> &[u16] {
        &self.servers[1..]
    }

    pub fn folder(&self) -> &Path {
        self.cluster.path()
    }

    pub fn binary(&self, name: &str) -> PathBuf {
        self.binaries.tool(name)
    }

    fn proxy(&self, contender: Contender) -> Option<&Proxy> {
        self.proxies.iter().find(|(which, _)| *which == contender).map(|(_, proxy)| proxy)
    }

    pub fn proxy_pid(&self, contender: Contender) -> Option<u32> {
        self.proxy(contender).map(Proxy::pid)
    }

    pub fn address(&self, contender: Contender, mode: Mode) -> Address {
        let port = self.proxy(contender).map_or(self.servers[0], |proxy| proxy.port);
        // PgBouncer before 1.21 keeps prepared statements only where a client keeps its server connection.
        let session = contender == Contender::Pgbouncer && mode == Mode::Prepared;
        Address { port, database: if session { "bench_session" } else { "bench" } }
    }

    /// Starts a proxy of its own, beside the one that `start` made.
    pub fn start_proxy(&self, contender: Contender) -> Outcome<Proxy> {
        let port = free_port()?;
        let command = match contender {
            Contender::Direct => return Err("there is no proxy to start".into()),
            Contender::Pgbouncer => self.pgbouncer(port)?,
            Contender::Goldseam1 => self.goldseam(port, &[(self.servers[0], "bench".into())], placement::ONE_SHARD)?,
            Contender::Goldseam4 => {
                let shards: Vec<_> = self.shards().iter().map(|&port| (port, "bench".into())).collect();
                self.goldseam(port, &shards, placement::FOUR_SHARDS)?
            }
        };
        self.wait_for(port, command, &contender.to_string())
    }

    /// Starts Goldseam over any shards, named `s0`, `s1` ...: each a server's port and a database there.
    pub fn start_goldseam(&self, shards: &[(u16, String)], vschema: &str) -> Outcome<Proxy> {
        let port = free_port()?;
        let command = self.goldseam(port, shards, vschema)?;
        self.wait_for(port, command, &format!("Goldseam over {} shards", shards.len()))
    }

    fn wait_for(&self, port: u16, mut command: Command, name: &str) -> Outcome<Proxy> {
        let log = fs::File::create(self.folder().join(format!("proxy-{port}.log")))?;
        command.stdout(log.try_clone()?).stderr(log);
        let mut process = Process::spawn(&mut command)?;
        process.wait_for(port).map_err(|error| {
            let log = fs::read_to_string(self.folder().join(format!("proxy-{port}.log"))).unwrap_or_default();
            format!("{name}: {error}\n{log}")
        })?;
        Ok(Proxy { port, process })
    }

    fn pgbouncer(&self, port: u16) -> Outcome<Command> {
        let folder = self.cluster.subfolder(&format!("pgbouncer-{port}"))?;
        fs::write(folder.join("users.txt"), "\"bench\" \"\"\n")?;
        let server = self.servers[0];
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
        let mut command = Command::new(program);
        // It refuses to run as root.
        Account::apply(Account::for_servers()?, &mut command);
        command.current_dir("/").arg(folder.join("pgbouncer.ini"));
        Ok(command)
    }

    fn goldseam(&self, port: u16, shards: &[(u16, String)], vschema: &str) -> Outcome<Command> {
        let folder = self.cluster.subfolder(&format!("goldseam-{port}"))?;
        fs::write(folder.join("bench.toml"), vschema)?;
        let workers = self.workers.map_or(String::new(), |workers| format!("workers = {workers}\n"));
        let mut config = format!(
            "listen = \"127.0.0.1:{port}\"\n\
             vschema = \"bench.toml\"\n\
             {workers}\
             [auth]\n\
             method = \"trust\"\n\
             [auth.user.bench]\n\
             operator = true\n\
             [pool]\n\
             mode = \"transaction\"\n\
             size = {POOL_SIZE}\n"
        );
        for (n, (server, database)) in shards.iter().enumerate() {
            config += &format!("[shard.s{n}]\nprimary = \"postgres://bench@127.0.0.1:{server}/{database}\"\n");
        }
        fs::write(folder.join("goldseam.toml"), config)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_goldseam"));
        command.arg("run").arg("--config").arg(folder.join("goldseam.toml")).current_dir(&folder);
        Ok(command)
    }

    fn pgbench_init(&self, port: u16, steps: &str) -> Outcome<()> {
        let mut command = Command::new(self.binary("pgbench"));
        command.args(["--initialize", "--quiet", "--init-steps", steps, "--scale", &self.scale.to_string()]);
        succeed(command.args(["-h", "127.0.0.1", "-U", "bench", "-p", &port.to_string(), "bench"]))
    }

    /// Runs SQL through psql; what it prints, unaligned and without headings.
    pub fn psql(&self, port: u16, user: &str, database: &str, sql: &str) -> Outcome<String> {
        let mut command = Command::new(self.binaries.psql().ok_or("there is no psql")?);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
        command.args(["-p", &port.to_string(), "-U", user, "-d", database]).arg("-f").arg("-").stdin(Stdio::piped());
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

/// A proxy's process that is stopped, and waited for, when it is dropped; and that the kernel ends if this program dies first.
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

    /// Waits until the process accepts connections.
    fn wait_for(&mut self, port: u16) -> Outcome<()> {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if let Some(status) = self.0.try_wait()? {
                return Err(format!("stopped at once: {status}").into());
            }
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("did not accept connections in time".into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGINT asks both proxies to stop.
        // SAFETY: the child has not been waited for, so its id is still its own.
        unsafe { libc::kill(self.0.id() as libc::pid_t, libc::SIGINT) };
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nothing of value is lost with it, and nobody is left to hear of an error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
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
