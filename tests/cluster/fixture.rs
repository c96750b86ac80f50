//! The servers that all tests of a test binary share: four shards, one plain PostgreSQL with the very same rows (the *oracle*), and a
//! proxy in this process.
//!
//! A test asks the proxy and the oracle the same thing and compares: that is promise 1 of Goldseam made executable. Everything starts on
//! first use, once per test binary, on free ports and in a folder of its own, and dies with the test process, even by SIGKILL (see
//! `goldseam::local`). Tests share rows, so a test that writes uses keys of its own ([`Fixture::fresh_customer`]).
//!
//! ```ignore
//! let fixture = fixture::get();
//! let proxy = fixture.proxy().await;                    // tokio_postgres::Client through Goldseam
//! fixture.same("SELECT name FROM customers WHERE id = 42").await;
//! ```

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use goldseam::cli::demo::layout::{shard_names, vschema_toml};
use goldseam::cli::demo::load::{self, DATABASE, Load, PASSWORD, USER};
use goldseam::cli::demo::{self, tables};
use goldseam::local::{Account, Cluster, Folder, Spec, find_for_tests};
use goldseam::server::Server;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How many shards there are.
pub const SHARDS: usize = 4;
/// A second user, without the operator right, who may read and write all tables.
pub const GUEST: &str = "guest";
const GUEST_PASSWORD: &str = "silver";

/// All that a test needs.
pub struct Fixture {
    /// `s0` to `s3`, and the oracle last.
    pub cluster: Cluster,
    /// The running proxy's `goldseam.toml`; `vschema/commerce.toml` lies beside it.
    pub config: PathBuf,
    /// The proxy's port on 127.0.0.1.
    pub proxy_port: u16,
    /// On which loading was done and the proxy runs: tests have runtimes of their own that end with them.
    pub runtime: Runtime,
}

/// The shared fixture, started by the first test that asks.
pub fn get() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    // A test's own runtime must not be blocked from within: the start has a thread of its own.
    FIXTURE.get_or_init(|| std::thread::spawn(start).join().expect("the fixture starts; the reason is above"))
}

fn start() -> Fixture {
    let servers = start_servers(SHARDS + 1);
    let names = shard_names(SHARDS);
    let ports: Vec<u16> = servers.servers.iter().map(|server| server.port()).collect();
    let (shards, oracle) = ports.split_at(SHARDS);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let vschema = goldseam::vschema::load(&[("commerce.toml".into(), vschema_toml(SHARDS))], &names).unwrap();
    let (loads, _) = Load::sharded(&vschema).unwrap();
    let mut all: Vec<(String, u16, Load)> =
        names.iter().zip(shards).zip(loads).map(|((name, port), load)| (name.clone(), *port, load)).collect();
    all.push(("oracle".into(), oracle[0], Load::plain()));
    runtime.block_on(async {
        load::fill(all, None, Arc::new(|_| {})).await.unwrap();
        for port in &ports {
            add_guest(*port).await;
            add_extras(*port).await;
        }
    });
    let config = write_files(&servers, &names);
    let proxy_port = runtime.block_on(start_proxy(&config));
    Fixture { cluster: servers, config, proxy_port, runtime }
}

/// Fresh, empty servers for a test that wants to stop or break some: they go when dropped.
pub fn start_servers(count: usize) -> Cluster {
    let binaries = find_for_tests().unwrap();
    let folder = Folder::temporary(Account::for_servers().unwrap()).unwrap();
    Cluster::start(folder, &Spec::new(binaries, count)).unwrap()
}

/// Writes a vschema and the configuration of a proxy that trusts `user`, an operator, over shards `s0`, `s1`, ... on these ports. `more` stands
/// behind the user, before the shards.
pub fn write_config(folder: &Path, vschema: &str, user: &str, ports: &[u16], database: &str, more: &str) -> PathBuf {
    std::fs::write(folder.join("vschema.toml"), vschema).unwrap();
    let mut text = format!(
        "listen = \"127.0.0.1:0\"\nvschema = \"vschema.toml\"\n[auth]\nmethod = \"trust\"\n[auth.user.{user}]\noperator = true\n{more}\n"
    );
    for (n, port) in ports.iter().enumerate() {
        text += &format!("[shard.s{n}]\nprimary = \"postgres://{user}@127.0.0.1:{port}/{database}\"\n");
    }
    let config = folder.join("goldseam.toml");
    std::fs::write(&config, text).unwrap();
    config
}

/// The ports of so many of a cluster's servers.
pub fn ports(cluster: &Cluster, count: usize) -> Vec<u16> {
    cluster.servers.iter().take(count).map(|server| server.port()).collect()
}

/// Starts a proxy in this process over a configuration file, on the current runtime; its port.
pub async fn start_proxy(config: &Path) -> u16 {
    let serving = Server::start(config).await.unwrap_or_else(|mistake| panic!("{mistake}"));
    let port = serving.port();
    std::mem::forget(serving); // it runs until the process ends
    port
}

fn write_files(cluster: &Cluster, names: &[String]) -> PathBuf {
    let config = demo::write_files(cluster, 0, names).unwrap_or_else(|failure| panic!("{failure:?}"));
    let guest = format!("\n[auth.user.{GUEST}]\npassword = \"{GUEST_PASSWORD}\"\n");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + &guest).unwrap();
    config
}

async fn add_guest(port: u16) {
    let mut backend = load::connect("new", load::server(port, DATABASE, "postgres", None)).await.unwrap();
    let sql = format!(
        "CREATE ROLE {GUEST} LOGIN PASSWORD '{GUEST_PASSWORD}'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {GUEST}"
    );
    backend.query(&sql).await.unwrap();
}

/// What the demo's schema lacks and the differential tests ask about: a view, and functions that do and do not read tables.
async fn add_extras(port: u16) {
    let mut backend = load::connect("new", load::server(port, DATABASE, "postgres", None)).await.unwrap();
    let sql = "CREATE VIEW t1_view AS SELECT country, count(*) FROM customers GROUP BY country; \
         CREATE FUNCTION t1_double(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'; \
         CREATE FUNCTION t1_count() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM customers'; \
         CREATE FUNCTION t1_rows() RETURNS SETOF customers LANGUAGE sql STABLE AS 'SELECT * FROM customers'; \
         CREATE FUNCTION t1_orders(customers) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM orders'; \
         GRANT SELECT ON t1_view TO PUBLIC; \
         DO $$ BEGIN IF to_regclass('settings') IS NOT NULL THEN \
         CREATE VIEW t1_settings AS SELECT * FROM settings; GRANT SELECT ON t1_settings TO PUBLIC; END IF; END $$";
    backend.query(sql).await.unwrap();
}

/// One client connection; its driver task runs on the current runtime.
pub async fn connect(port: u16, user: &str, password: &str) -> Client {
    let url = format!("host=127.0.0.1 port={port} user={user} password={password} dbname={DATABASE}");
    let (client, connection) =
        tokio_postgres::connect(&url, NoTls).await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
    tokio::spawn(connection);
    client
}

impl Fixture {
    /// A connection through Goldseam, as the operator `app`.
    pub async fn proxy(&self) -> Client {
        connect(self.proxy_port, USER, PASSWORD).await
    }

    /// A connection through Goldseam, as the user without rights.
    pub async fn proxy_as_guest(&self) -> Client {
        connect(self.proxy_port, GUEST, GUEST_PASSWORD).await
    }

    /// A connection to the plain server that has all rows.
    pub async fn oracle(&self) -> Client {
        connect(self.oracle_port(), USER, PASSWORD).await
    }

    /// A connection to one shard, past the proxy: to see what really is there.
    pub async fn shard(&self, shard: usize) -> Client {
        connect(self.cluster.servers[shard].port(), USER, PASSWORD).await
    }

    /// The plain server's port.
    pub fn oracle_port(&self) -> u16 {
        self.cluster.servers[SHARDS].port()
    }

    /// What psql and drivers take to reach the proxy.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{DATABASE}", self.proxy_port)
    }

    /// A customer number that no sample row and no other test has.
    pub fn fresh_customer(&self) -> i64 {
        static NEXT: AtomicI64 = AtomicI64::new(tables::CUSTOMERS + 1_000_000);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks proxy and oracle the same and compares rows, or SQLSTATE and message of the error. Without ORDER BY in the statement the
    /// order does not count.
    pub async fn same(&self, sql: &str) {
        let (proxy, oracle) = (answer(&self.proxy().await, sql).await, answer(&self.oracle().await, sql).await);
        assert_eq!(proxy, oracle, "left: Goldseam, right: PostgreSQL; {sql}");
    }
}

/// A statement's answer in a form that can be compared: its rows as text, or its error.
pub async fn answer(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, (String, String)> {
    let messages = client.simple_query(sql).await.map_err(|error| {
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
        (error.code().code().to_string(), error.message().to_string())
    })?;
    let row = |message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|n| row.get(n).map(str::to_string)).collect()),
        _ => None,
    };
    let mut rows: Vec<Vec<Option<String>>> = messages.into_iter().filter_map(row).collect();
    if !sql.to_uppercase().contains("ORDER BY") {
        rows.sort();
    }
    Ok(rows)
}
