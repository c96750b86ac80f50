//! `pg_dump` through Goldseam: what it writes makes one plain PostgreSQL with the same rows.

use std::process::Command;

use goldseam::local::find_for_tests;

use crate::own::{DATABASE, USER};
use crate::raw::Wire;
use crate::workbench::world;

/// Runs one of PostgreSQL's programs; what it prints.
#[track_caller]
fn tool(name: &str, port: u16, arguments: &[&str]) -> String {
    let program = find_for_tests().unwrap().tool(name);
    let mut command = Command::new(&program);
    command.args(["-h", "127.0.0.1", "-U", USER, "-p"]).arg(port.to_string()).args(arguments);
    let output = command.env("PGOPTIONS", "").output().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert!(output.status.success(), "{name} {arguments:?}: {err}");
    out
}

#[test]
fn a_dump_of_all_shards_restores_into_one_plain_server() {
    let world = world::get();
    let plain = world.cluster.servers[world::SHARDS].port();
    let script = world.cluster.subfolder("dump").unwrap().join("dump.sql");
    let path = script.display().to_string();
    tool("pg_dump", world.port, &["-d", DATABASE, "-f", &path]);
    world.plain().ok("CREATE DATABASE restored");
    tool("psql", plain, &["-d", "restored", "-v", "ON_ERROR_STOP=1", "-q", "-f", &path]);
    let mut restored = Wire::open(plain, USER, "restored", &[]).unwrap();
    let (mut whole, mut proxy) = (world.plain(), world.connect());
    // Of the tables that are on one shard only those of the home shard are in the catalog that a client sees.
    for table in ["buyer", "deal", "thing", "many", "land"] {
        let sql = format!("SELECT t::text COLLATE \"C\" FROM {table} t ORDER BY 1");
        let rows = restored.ok(&sql).rows;
        assert_eq!(rows, whole.ok(&sql).rows, "{table}");
        assert!(!rows.is_empty(), "{table}");
        let count = proxy.one(&format!("SELECT count(*) FROM {table}"));
        assert_eq!(count, rows.len().to_string(), "{table}");
    }
    // Keys and types came along.
    let sql = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('buyer'::regclass, 'deal'::regclass, 'thing'::regclass, 'many'::regclass, 'land'::regclass) ORDER BY 1, 2";
    assert_eq!(restored.ok(sql).rows, whole.ok(sql).rows);
    // The archive formats ask for the same in other ways.
    for format in ["c", "t"] {
        let archive = script.with_extension(format).display().to_string();
        tool("pg_dump", world.port, &["-d", DATABASE, "-F", format, "-f", &archive]);
    }
    let data = tool("pg_dump", world.port, &["-d", DATABASE, "--data-only", "-t", "buyer", "--inserts"]);
    let inserts = data.lines().filter(|line| line.starts_with("INSERT INTO public.buyer")).count();
    assert_eq!(inserts.to_string(), whole.one("SELECT count(*) FROM buyer"));
    restored.ok("SELECT 1");
    drop(restored);
    world.plain().ok("DROP DATABASE restored WITH (FORCE)");
}
