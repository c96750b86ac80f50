//! The program as a user runs it: the demo from its first word to its last server, and what the other commands print and return.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Long enough for a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn goldseam(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldseam"));
    command.args(arguments).env("NO_COLOR", "1").env_remove("GOLDSEAM_CONFIG");
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = goldseam(arguments).output().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// A running demo, and what it said until it was ready.
struct Demo {
    process: Child,
    said: String,
    config: PathBuf,
    /// Of the servers, from their `postmaster.pid`.
    pids: Vec<i32>,
}

impl Demo {
    fn start(arguments: &[&str]) -> Demo {
        let mut command = goldseam(&["demo", "--port", "0"]);
        let mut process = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut said = String::new();
        while !said.contains("Ctrl-C stops everything") {
            match receive.recv_timeout(PATIENCE) {
                Ok(line) => said += &format!("{line}\n"),
                Err(_) => {
                    let _ = process.kill();
                    let mut why = String::new();
                    process.stderr.take().unwrap().read_to_string(&mut why).unwrap();
                    panic!("the demo did not come up; it said\n{said}\n{why}");
                }
            }
        }
        let config = said.split_whitespace().find(|word| word.ends_with("goldseam.toml")).unwrap();
        let config = Path::new(config).to_path_buf();
        let pids = server_pids(config.parent().unwrap());
        Demo { process, said, config, pids }
    }

    fn folder(&self) -> &Path {
        self.config.parent().unwrap()
    }

    fn url(&self) -> String {
        let (_, rest) = self.said.split_once("psql \"").unwrap();
        rest.split('"').next().unwrap().to_string()
    }

    /// Sends a signal; the exit code.
    fn end(&mut self, signal: i32) -> Option<i32> {
        // SAFETY: the id is that of our own child, which we have not yet waited for.
        assert_eq!(unsafe { libc::kill(self.process.id() as i32, signal) }, 0);
        self.process.wait().unwrap().code()
    }
}

impl Drop for Demo {
    /// A test that fails half-way must not leave a demo behind.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn server_pids(folder: &Path) -> Vec<i32> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("postmaster.pid"));
    let texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
    texts.map(|text| text.lines().next().unwrap().trim().parse().unwrap()).collect()
}

fn gone(pids: &[i32]) -> bool {
    // SAFETY: signal 0 only asks whether the process exists.
    pids.iter().all(|pid| unsafe { libc::kill(*pid, 0) } != 0)
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(15), "not within 15 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn the_demo_serves_its_rows_and_leaves_nothing_behind() {
    let mut demo = Demo::start(&["--shards", "2"]);
    assert_eq!(demo.pids.len(), 2);
    let (client, connection) = tokio_postgres::connect(&demo.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one("SELECT email FROM customers WHERE id = $1", &[&42i64]).await.unwrap();
    assert!(row.get::<_, String>(0).ends_with("42@example.com"));
    drop(client);

    let config = demo.config.display().to_string();
    let (code, report, _) = run(&["check", "--config", &config]);
    assert!(code == 0 && report.contains("8 tables checked: 0 errors, 0 warnings"), "{report}");
    let (code, route, _) = run(&["explain", "--config", &config, "SELECT * FROM customers WHERE id = 42"]);
    assert!(code == 0 && route.contains("customers"), "{route}");
    let (code, route, _) = run(&["explain", "--config", &config, "SELECT count(*) FROM customers"]);
    assert!(code == 0 && route.contains("count"), "{route}");
    let (code, route, _) = run(&["explain", "--config", &config, "SELECT ctid FROM customers"]);
    assert_eq!(code, 1, "{route}");

    assert_eq!(demo.end(libc::SIGINT), Some(0));
    assert!(gone(&demo.pids));
    assert!(!demo.folder().exists());
}

#[test]
fn a_kept_demo_comes_back_with_its_rows_and_its_number_of_shards() {
    let base = goldseam::local::Folder::temporary(goldseam::local::Account::for_servers().unwrap()).unwrap();
    let dir = base.path().join("kept").display().to_string();
    let mut demo = Demo::start(&["--shards", "1", "--dir", &dir]);
    assert_eq!(demo.end(libc::SIGTERM), Some(0));
    assert!(gone(&demo.pids) && demo.folder().exists());
    let began = Instant::now();
    let mut demo = Demo::start(&["--shards", "1", "--dir", &dir]);
    assert!(began.elapsed() < PATIENCE);
    // The same folder twice at the same time is refused.
    let (code, _, why) = run(&["demo", "--port", "0", "--dir", &dir]);
    assert!(code == 1 && why.contains("in use by another goldseam"), "{why}");
    assert_eq!(demo.end(libc::SIGINT), Some(0));
    let (code, _, why) = run(&["demo", "--port", "0", "--shards", "2", "--dir", &dir]);
    assert!(code == 1 && why.contains("holds 1 shards, not 2"), "{why}");
}

#[test]
fn a_killed_demo_takes_its_servers_with_it() {
    let mut demo = Demo::start(&["--shards", "1"]);
    assert_eq!(demo.end(libc::SIGKILL), None);
    eventually("the servers are gone", || gone(&demo.pids));
    eventually("the folder is gone", || !demo.folder().exists());
}

#[test]
fn what_stands_in_the_demos_way_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, why) = run(&["demo", "--port", &port]);
    assert!(
        code == 1 && why.contains(&format!("cannot listen on 127.0.0.1:{port}")) && why.contains("--port"),
        "{why}"
    );

    let empty = tempfile::tempdir().unwrap();
    let (code, _, why) = run(&["demo", "--port", "0", "--pg-bin", &empty.path().display().to_string()]);
    assert!(code == 1 && why.contains("no PostgreSQL server in"), "{why}");

    let (code, _, why) = run(&["demo", "--port", "0", "--dir", "/proc/none"]);
    assert!(code == 1 && why.contains("/proc/none"), "{why}");

    for shards in ["0", "65", "many"] {
        let (code, _, why) = run(&["demo", "--shards", shards]);
        assert!(code == 2 && why.contains("--shards"), "{why}");
    }
}

#[test]
fn check_names_what_is_wrong_with_the_servers() {
    let mut demo = Demo::start(&["--shards", "2"]);
    let text = std::fs::read_to_string(&demo.config).unwrap();
    let layout = std::fs::read_to_string(demo.folder().join("vschema/commerce.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("vschema")).unwrap();
    let config = folder.path().join("goldseam.toml");
    std::fs::write(
        folder.path().join("vschema/commerce.toml"),
        layout + "\n[table.missing]\nkeyspace = \"commerce\"\ntype = \"reference\"\n",
    )
    .unwrap();
    std::fs::write(&config, text + "\n[auth.user.stranger]\npassword = \"x\"\n").unwrap();
    let (code, report, _) = run(&["check", "--config", &config.display().to_string()]);
    assert_eq!(code, 1, "{report}");
    for expected in
        ["error: user stranger on s0:", "error: table missing: none of its shards has it", "3 errors, 0 warnings"]
    {
        assert!(report.contains(expected), "{expected}\n{report}");
    }
    let (code, json, _) = run(&["check", "--format", "json", "--config", &config.display().to_string()]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(code == 1 && json["findings"].as_array().unwrap().len() == 3, "{json}");

    assert_eq!(demo.end(libc::SIGINT), Some(0));
    let (code, report, _) = run(&["check", "--config", &config.display().to_string()]);
    assert!(code == 1 && report.contains("does not answer") && report.contains("error: shard s1:"), "{report}");
}

#[test]
fn files_that_are_refused_are_named_with_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("goldseam.toml").display().to_string();
    for command in ["run", "check", "vschema"] {
        let arguments = if command == "vschema" { vec!["vschema", "show"] } else { vec![command] };
        let (code, _, why) = run(&[&arguments[..], &["--config", &config]].concat());
        assert!(code == 2 && why.contains("goldseam.toml"), "{command}: {why}");
    }
    std::fs::write(&config, "listen = \"127.0.0.1:0\"\nvshema = \"x\"\n").unwrap();
    let (code, _, why) = run(&["check", "--config", &config]);
    assert!(code == 2 && why.contains("goldseam.toml:2:") && why.contains("vschema"), "{why}");
}

#[test]
fn schemas_completions_and_help_are_printed() {
    for (arguments, expected) in [
        (&["schema", "config"][..], "\"properties\""),
        (&["schema", "vschema"], "\"properties\""),
        (&["completions", "bash"], "_goldseam"),
        (&["--help"], "Exit codes"),
        (&["demo", "--help"], "--pg-bin"),
        (&["--version"], "goldseam 0"),
    ] {
        let (code, out, why) = run(arguments);
        assert!(
            code == 0 && out.contains(expected) && why.is_empty() && !out.contains('\x1b'),
            "{arguments:?}: {out}{why}"
        );
    }
    assert_eq!(run(&["nonsense"]).0, 2);
}
