//! Real clients: whole programs run twice, through Goldseam over four shards and against one plain PostgreSQL, and everything they print
//! must be the same.
//!
//! The programs (`tests/clients/`) know nothing of Goldseam. They connect over TLS and SCRAM, read and write a sharded, a reference and
//! an unsharded table, open transactions, pipelines and cursors, copy, fail and recover, cancel, listen and look at the catalog. The
//! Python drivers come from the package index into an environment under `target/`; where that is out of reach their tests say so and
//! pass, for what they test has not changed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use goldseam::local::{Cluster, find_or_install, installs_by_default};
use tokio::runtime::Runtime;

use crate::fixture;

const SHARDS: usize = 4;
/// A program that hangs must not hang the tests; on a slow machine they take a few seconds.
const TIMEOUT_SECONDS: &str = "180";
/// What `prepare.sh` exits with where there are no drivers.
const SKIPPED: i32 = 77;

/// Servers of their own: the programs' tables have the names of the sample's, and other columns.
struct Servers {
    cluster: Cluster,
    proxy: String,
    plain: String,
    tools: PathBuf,
    _runtime: Runtime,
}

fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(start)
}

fn start() -> Servers {
    let tools = find_or_install(None, installs_by_default()).unwrap().dir;
    let cluster = fixture::start_servers(SHARDS + 1);
    let url = |port: u16| format!("postgres://postgres@127.0.0.1:{port}/postgres");
    for server in &cluster.servers {
        let schema = clients().join("schema.sql");
        let mut psql = command("psql", &tools);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url(server.port()), "-f"]).arg(schema);
        assert!(psql.status().unwrap().success(), "schema.sql does not load");
    }
    let shards: String =
        (0..SHARDS).map(|n| format!("\n[shard.s{n}]\nprimary = \"{}\"\n", url(cluster.servers[n].port()))).collect();
    let folder = cluster.path();
    let names = ["localhost".to_string(), "127.0.0.1".to_string()];
    let certificate = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(folder.join("server.crt"), certificate.cert.pem()).unwrap();
    std::fs::write(folder.join("server.key"), certificate.signing_key.serialize_pem()).unwrap();
    std::fs::copy(clients().join("vschema.toml"), folder.join("vschema.toml")).unwrap();
    let config = folder.join("goldseam.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nvschema = \"vschema.toml\"\n\
         [tls]\ncert = \"server.crt\"\nkey = \"server.key\"\nrequired = true\n\
         [auth.user.postgres]\npassword = \"gold\"\n{shards}"
    );
    std::fs::write(&config, text).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let port = runtime.block_on(fixture::start_proxy(&config));
    let proxy = format!("postgres://postgres:gold@127.0.0.1:{port}/postgres?sslmode=require");
    let plain = url(cluster.servers[SHARDS].port());
    Servers { cluster, proxy, plain, tools, _runtime: runtime }
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A command that sees PostgreSQL's tools and none of the caller's connection settings.
fn command(program: &str, tools: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args([TIMEOUT_SECONDS, program]).env("LC_ALL", "C.UTF-8");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(tools.to_path_buf()).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
        command.env_remove(name);
    }
    command
}

/// Runs a program against both and compares line by line.
fn same(program: &str, arguments: &[&str]) {
    let servers = servers();
    let run = |url: &str| {
        let output = command(program, &servers.tools).args(arguments).arg(url).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (format!("{text}{errors}"), output.status)
    };
    let (expected, status) = run(&servers.plain);
    assert!(status.success(), "{program} {arguments:?} fails on a plain PostgreSQL: {status}\n{expected}");
    let (found, status) = run(&servers.proxy);
    let mut step = "";
    for (number, (left, right)) in found.lines().zip(expected.lines()).enumerate() {
        if right.starts_with("-- ") {
            step = right;
        }
        assert_eq!(left, right, "left: Goldseam, right: PostgreSQL; line {} of the output, step {step:?}", number + 1);
    }
    let rest: Vec<&str> = found.lines().skip(expected.lines().count()).collect();
    assert_eq!(found.lines().count(), expected.lines().count(), "one output goes on after {step:?}: {rest:#?}");
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// The interpreter with the drivers, if there can be one.
fn python() -> Option<&'static str> {
    static PYTHON: OnceLock<Option<String>> = OnceLock::new();
    let prepare = || {
        let script = clients().join("prepare.sh");
        let output = Command::new(script).arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/python-clients")).output().ok()?;
        match output.status.code() {
            Some(0) => Some(String::from_utf8(output.stdout).ok()?.trim().to_string()),
            Some(SKIPPED) => None,
            _ => panic!("prepare.sh: {}", String::from_utf8_lossy(&output.stderr)),
        }
    };
    let found = PYTHON.get_or_init(prepare).as_deref();
    if found.is_none() {
        eprintln!("skipped: no Python drivers (python3 with venv, and a package index, would give them)");
    }
    found
}

fn script(name: &str) -> String {
    clients().join(name).to_string_lossy().into_owned()
}

#[test]
fn psql_prints_the_same() {
    same(&script("psql_steps.sh"), &[]);
}

#[test]
fn pgbench_runs_in_its_three_modes() {
    same(&script("pgbench_steps.sh"), &[]);
}

#[test]
fn psycopg_prints_the_same() {
    if let Some(python) = python() {
        same(python, &[&script("psycopg_steps.py")]);
    }
}

#[test]
fn asyncpg_prints_the_same() {
    if let Some(python) = python() {
        same(python, &[&script("asyncpg_steps.py")]);
    }
}

/// What the programs wrote must have been spread: were every row on one shard, the comparison would show little.
#[test]
fn the_programs_customers_are_on_several_shards() {
    let servers = servers();
    let ids: Vec<i64> = (5_000_000..5_000_040).collect();
    for id in &ids {
        let sql = format!("INSERT INTO customers (id, name) VALUES ({id}, 'spread')");
        let mut psql = command("psql", &servers.tools);
        assert!(psql.args(["-X", "-q", "-d", &servers.proxy, "-c", &sql]).status().unwrap().success());
    }
    let mut total = 0;
    for server in &servers.cluster.servers[..SHARDS] {
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", server.port());
        let sql = "SELECT count(*) FROM customers WHERE name = 'spread'";
        let mut psql = command("psql", &servers.tools);
        let output = psql.args(["-X", "-q", "-At", "-d", &url, "-c", sql]).output().unwrap();
        let rows: usize = String::from_utf8_lossy(&output.stdout).trim().parse().unwrap();
        assert!(rows > 0, "a shard without any");
        total += rows;
    }
    assert_eq!(total, ids.len());
}
