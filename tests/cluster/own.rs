//! Two shards and one plain PostgreSQL with the same rows, for tests that need proxies of their own: small pools, other users, real
//! processes. A test that stops servers takes servers of its own ([`Own::start`]).

// Each test file uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use goldseam::local::Cluster;
use tokio::runtime::Runtime;

use crate::fixture;
use crate::raw::Wire;

pub const USER: &str = "postgres";
/// A role without any right but on the tables.
pub const CLERK: &str = "clerk";
pub const DATABASE: &str = "postgres";
const SCHEMA: &str = "
    CREATE ROLE clerk LOGIN;
    CREATE SCHEMA other;
    CREATE TABLE items (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, note text);
    CREATE TABLE placed (key text PRIMARY KEY, n int);
    CREATE TABLE facts (id int PRIMARY KEY, name text);
    GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk;
    GRANT USAGE ON SCHEMA other TO clerk;";
pub const VSCHEMA: &str = r#"
[keyspace.main]
shards = ["s0", "s1"]

[keyspace.one]
shards = ["s0"]

[vindex.by_hash]
type = "hash"

[vindex.book]
type = "directory"
default = "least_loaded"

[table.items]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"

[table.placed]
keyspace = "main"
shard_key = "key"
vindex = "book"

[table.facts]
keyspace = "main"
type = "reference"

[table.lone]
keyspace = "one"
type = "unsharded"
"#;

pub struct Own {
    /// `s0`, `s1`, and the plain server.
    pub cluster: Cluster,
    /// A key of a row on each shard.
    pub keys: [i64; 2],
    runtime: Runtime,
}

/// Shared by all tests that break nothing.
pub fn get() -> &'static Own {
    static OWN: OnceLock<Own> = OnceLock::new();
    OWN.get_or_init(Own::start)
}

impl Own {
    pub fn start() -> Own {
        let cluster = fixture::start_servers(3);
        for (n, server) in cluster.servers.iter().enumerate() {
            let mut server = Wire::open(server.port(), USER, DATABASE, &[]).unwrap();
            server.ok(SCHEMA);
            if n != 1 {
                server.ok("CREATE TABLE lone (id int PRIMARY KEY, note text); GRANT ALL ON lone TO clerk");
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut own = Own { cluster, keys: [0; 2], runtime };
        let mut proxy = own.connect(own.proxy(""));
        let mut plain = own.plain();
        for id in 1..=40 {
            let sql = format!("INSERT INTO items VALUES ({id}, 0, 'first')");
            proxy.ok(&sql);
            plain.ok(&sql);
        }
        own.keys = [0, 1].map(|n| own.shard(n).one("SELECT min(id) FROM items").parse().unwrap());
        own
    }

    /// Writes a configuration of its own folder; `extra` goes to the end, but for lines that begin with `=`, which go to the top.
    pub fn config(&self, extra: &str) -> PathBuf {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("proxy{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = self.cluster.subfolder(&name).unwrap();
        std::fs::write(folder.join("vschema.toml"), VSCHEMA).unwrap();
        let config = folder.join("goldseam.toml");
        std::fs::write(&config, self.config_text(extra)).unwrap();
        config
    }

    pub fn config_text(&self, extra: &str) -> String {
        let shards: String = (0..2)
            .map(|n| {
                let port = self.cluster.servers[n].port();
                format!("[shard.s{n}]\nprimary = \"postgres://{USER}@127.0.0.1:{port}/{DATABASE}\"\n")
            })
            .collect();
        let (top, extra): (Vec<&str>, Vec<&str>) = extra.lines().partition(|line| line.starts_with('='));
        let top: String = top.iter().map(|line| format!("{}\n", &line[1..])).collect();
        let extra = extra.join("\n");
        format!(
            "listen = \"127.0.0.1:0\"\nvschema = \"vschema.toml\"\n{top}[auth]\nmethod = \"trust\"\n\
             [auth.user.{USER}]\noperator = true\n{shards}{extra}\n"
        )
    }

    /// A proxy in this process; its port.
    pub fn proxy(&self, extra: &str) -> u16 {
        let config = self.config(extra);
        self.runtime.block_on(fixture::start_proxy(&config))
    }

    /// A proxy in this process over a configuration of [`Own::config`]; its port.
    pub fn proxy_of(&self, config: &Path) -> u16 {
        self.runtime.block_on(fixture::start_proxy(config))
    }

    pub fn connect(&self, port: u16) -> Wire {
        Wire::open(port, USER, DATABASE, &[]).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The operators' console.
    pub fn console(&self, port: u16) -> Wire {
        Wire::open(port, USER, "goldseam", &[]).unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub fn plain(&self) -> Wire {
        self.connect(self.cluster.servers[2].port())
    }

    /// Past the proxy.
    pub fn shard(&self, n: usize) -> Wire {
        self.connect(self.cluster.servers[n].port())
    }
}

/// `goldseam run` as a process; it ends with the test.
pub struct Program {
    pub process: Child,
    pub port: u16,
    pub config: PathBuf,
    log: PathBuf,
}

/// Where a program of such a configuration answers HTTP: `http = "127.0.0.1:0"` is a line of its top.
pub const HTTP: &str = "=http = \"127.0.0.1:0\"";

impl Program {
    pub fn start(config: &Path) -> Program {
        let log = config.with_extension("log");
        let file = std::fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_goldseam"));
        command.args(["run", "--config"]).arg(config).env("NO_COLOR", "1");
        let process = command.stdout(Stdio::from(file.try_clone().unwrap())).stderr(Stdio::from(file)).spawn().unwrap();
        let mut program = Program { process, port: 0, config: config.to_path_buf(), log };
        eventually("the proxy listens", || program.said().contains("listening"));
        let said = program.said();
        let (_, rest) = said.split_once("127.0.0.1:").unwrap();
        program.port = rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
        program
    }

    /// Its log.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The port of its HTTP.
    pub fn http(&self) -> u16 {
        let marker = "over HTTP address=127.0.0.1:";
        eventually("it answers HTTP", || self.said().contains(marker));
        let said = self.said();
        let (_, rest) = said.split_once(marker).unwrap();
        rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the id is that of our own child, which we have not yet waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, signal) }, 0);
    }

    pub fn connect(&self) -> Wire {
        Wire::open(self.port, USER, DATABASE, &[]).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Its exit code, once it has ended.
    pub fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < Duration::from_secs(40), "the process does not end:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(40), "not within 40 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
