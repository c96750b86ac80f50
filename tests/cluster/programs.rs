//! The subcommands against real servers: what they print, and their exit codes.

use std::path::Path;
use std::process::Command;

use crate::own::{self, VSCHEMA};

/// Exit code, standard output, standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_goldseam"));
    let output = command.args(arguments).env("NO_COLOR", "1").env_remove("GOLDSEAM_CONFIG").output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), out, err)
}

fn with_layout(extra: &str) -> String {
    let config = own::get().config("");
    std::fs::write(config.with_file_name("vschema.toml"), format!("{VSCHEMA}\n{extra}")).unwrap();
    config.display().to_string()
}

#[test]
fn check_is_content_with_servers_that_agree() {
    let config = with_layout("");
    let (code, report, _) = run(&["check", "--config", &config]);
    assert!(code == 0 && report.contains("0 errors"), "{report}");
    let (code, json, _) = run(&["check", "--config", &config, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(code == 0 && json["shards"].as_array().unwrap().len() == 2 && json["tables"] == 4, "{json}");
}

#[test]
fn check_finds_tables_that_differ_or_are_missing() {
    let own = own::get();
    let sharded =
        |name: &str| format!("[table.{name}]\nkeyspace = \"main\"\nshard_key = \"id\"\nvindex = \"by_hash\"\n");
    for (name, on_s0, on_s1, words) in [
        ("half", "id bigint PRIMARY KEY", "", &["half", "s1"][..]),
        ("types", "id bigint PRIMARY KEY, a int", "id bigint PRIMARY KEY, a text", &["types", "a"]),
        ("columns", "id bigint PRIMARY KEY, a int", "id bigint PRIMARY KEY", &["columns", "a"]),
        ("keyless", "a int", "a int", &["keyless", "id"]),
        ("floaty", "id float8 PRIMARY KEY", "id float8 PRIMARY KEY", &["floaty", "id"]),
    ] {
        for (shard, columns) in [(0, on_s0), (1, on_s1)] {
            if !columns.is_empty() {
                own.shard(shard).ok(&format!("CREATE TABLE {name} ({columns})"));
            }
        }
        let config = with_layout(&sharded(name));
        let (code, report, _) = run(&["check", "--config", &config]);
        let errors: Vec<&str> = report.lines().filter(|line| line.contains("error")).collect();
        assert_eq!(code, 1, "{name}: {report}");
        assert!(words.iter().all(|word| errors.iter().any(|line| line.contains(word))), "{name}: {report}");
        // The proxy serves all the same: a statement that leads to the missing table gets the server's error and nothing else breaks.
        if name == "half" {
            let program = own::Program::start(Path::new(&config));
            let mut client = program.connect();
            for key in own.keys {
                let code = client.query(&format!("SELECT count(*) FROM half WHERE id = {key}")).code().to_string();
                assert!(["", "42P01"].contains(&code.as_str()), "{code}");
                assert_eq!(client.one(&format!("SELECT note FROM items WHERE id = {key}")), "first");
            }
        }
        (0..2).for_each(|shard| _ = own.shard(shard).ok(&format!("DROP TABLE IF EXISTS {name}")));
    }
}

#[test]
fn explain_shows_the_shard_and_refuses_with_a_code() {
    let own = own::get();
    let config = with_layout("");
    for shard in [0, 1] {
        let sql = format!("SELECT * FROM items WHERE id = {}", own.keys[shard]);
        let (code, route, _) = run(&["explain", "--config", &config, &sql]);
        assert!(
            code == 0 && route.contains(&format!("s{shard}")) && !route.contains(&format!("s{}", 1 - shard)),
            "{route}"
        );
        // The proxy itself says the same.
        let said = own.connect(own.proxy("")).ok(&format!("EXPLAIN (ROUTE) {sql}"));
        let said: Vec<String> = said.rows.iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!(route.trim_end(), said.join("\n"));
    }
    for (sql, code) in [
        ("SELECT * FROM facts; SELECT 1", 0),
        ("SELECT * FROM items; SELECT 1", 0),
        ("SELECT ctid FROM items; SELECT 1", 1),
        ("SELECT id, row_number() OVER () FROM items; SELECT 1", 0),
        ("SELECT * FROM items WHERE id = $1", 0),
        ("SELECT count(*) FROM items", 0),
        ("SELECT string_agg(id::text, ',') FROM items", 0),
        // PostgreSQL's own error is the better one.
        ("nonsense", 0),
        ("SELECT ((((", 0),
    ] {
        let (found, out, err) = run(&["explain", "--config", &config, sql]);
        assert_eq!(found, code, "{sql}: {out}{err}");
    }
}

#[test]
fn vschema_show_prints_what_it_reads() {
    let config = with_layout("");
    let (code, toml, _) = run(&["vschema", "show", "--config", &config]);
    assert!(code == 0 && toml.contains("[table.items]"), "{toml}");
    std::fs::write(Path::new(&config).with_file_name("vschema.toml"), &toml).unwrap();
    assert_eq!(run(&["vschema", "show", "--config", &config]).1, toml, "what it prints is what it reads");
    let (code, json, _) = run(&["vschema", "show", "--config", &config, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(code == 0 && json["table"]["items"]["shard_key"].to_string().contains("id"), "{json}");
    assert_eq!(run(&["vschema", "show", "--config", &config, "--format", "yaml"]).0, 2);
}

#[test]
fn schemas_are_json_and_completions_are_for_shells() {
    for (file, key) in [("config", "listen"), ("vschema", "keyspace")] {
        let (code, json, _) = run(&["schema", file]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(code == 0 && json["properties"][key].is_object(), "{json}");
    }
    assert_eq!(run(&["schema", "other"]).0, 2);
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = run(&["completions", shell]);
        assert!(code == 0 && script.contains("goldseam") && script.contains("vschema"), "{shell}");
    }
    assert_eq!(run(&["completions", "dos"]).0, 2);
    assert_eq!(run(&[]).0, 2);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let own = own::get();
    let config = own.config("");
    std::fs::write(&config, own.config_text("").replace("127.0.0.1:0", &address)).unwrap();
    let (code, _, why) = run(&["run", "--config", &config.display().to_string()]);
    assert!(code == 1 && why.contains(&format!("cannot listen on {address}")), "{code} {why}");
}

#[test]
fn a_wrong_configuration_is_named_with_its_line() {
    let own = own::get();
    let config = own.config("");
    let good = own.config_text("");
    let path = config.display().to_string();
    let line_of = |text: &str, word: &str| 1 + text.lines().position(|line| line.contains(word)).unwrap();
    for (what, from, to, at) in [
        ("an unknown key", "[auth]", "colour = 1\n[auth]", "colour"),
        ("a wrong type", "[auth]", "workers = \"two\"\n[auth]", "workers"),
        ("a bad address", "127.0.0.1:0", "nowhere", "nowhere"),
        ("no TOML", "[auth]", "[auth\n", "[auth"),
        ("a duplicate key", "[auth]", "listen = \"127.0.0.1:1\"\n[auth]", "127.0.0.1:1"),
        ("an unknown method", "\"trust\"", "\"password\"", "\"password\""),
        ("trust for the world", "127.0.0.1:0", "0.0.0.0:0", "method"),
        ("a bad URL", "postgres://postgres@", "http://postgres@", "http://"),
        ("a bad duration", "[auth]\n", "[pool]\nqueue_timeout = \"soon\"\n[auth]\n", "soon"),
        ("a pool of nothing", "[auth]\n", "[pool]\nsize = 0\n[auth]\n", "size = 0"),
        ("a certificate without a key", "[auth]\n", "[tls]\ncert = \"x.crt\"\n[auth]\n", "[tls]"),
        ("a duplicate shard", "[shard.s1]", "[shard.s0]", "[shard.s0]\nagain"),
    ] {
        let text = good.replacen(from, to, 1);
        std::fs::write(&config, &text).unwrap();
        for command in ["run", "check", "explain"] {
            let mut arguments = vec![command, "--config", &path];
            arguments.extend((command == "explain").then_some("SELECT 1"));
            let (code, _, why) = run(&arguments);
            assert_eq!(code, 2, "{what}: {why}");
            let line = match at.strip_suffix("\nagain") {
                Some(word) => text.lines().enumerate().filter(|(_, line)| line.contains(word)).nth(1).unwrap().0 + 1,
                None => line_of(&text, at),
            };
            assert!(why.contains(&format!("goldseam.toml:{line}:")), "{what}, line {line}: {why}");
        }
    }
    std::fs::write(&config, good).unwrap();
    for (what, extra, word) in [
        ("an unknown shard", "[keyspace.more]\nshards = [\"s7\"]\n", "s7"),
        ("an unknown vindex", "[table.x]\nkeyspace = \"main\"\nshard_key = \"id\"\nvindex = \"none\"\n", "none"),
        ("a gap", "[vindex.r]\ntype = \"range\"\nranges = [ { to = 5, shard = \"s0\" } ]\n", "range"),
        ("a duplicate table", "[table.items]\nkeyspace = \"one\"\ntype = \"unsharded\"\n", "items"),
        ("an unknown kind", "[vindex.r]\ntype = \"magic\"\n", "magic"),
    ] {
        let path = with_layout(extra);
        let (code, _, why) = run(&["run", "--config", &path]);
        assert!(code == 2 && why.contains("vschema.toml:") && why.contains(word), "{what}: {code} {why}");
    }
    // Files that are not there, or not text.
    let config = own.config("");
    let path = config.display().to_string();
    std::fs::remove_file(config.with_file_name("vschema.toml")).unwrap();
    let (code, _, why) = run(&["run", "--config", &path]);
    assert!(code == 2 && why.contains("vschema.toml"), "{why}");
    std::fs::write(&config, [0xff, 0xfe, 0x00]).unwrap();
    let (code, _, why) = run(&["check", "--config", &path]);
    assert!(code == 2 && why.contains("goldseam.toml"), "{why}");
}
