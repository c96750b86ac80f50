//! What goes wrong in the middle of a statement over several shards: PostgreSQL's own error where it has one, everything of the statement
//! undone everywhere, and nothing left behind ([`nothing_is_left`]).

use goldseam::local::Stop;

use crate::own::{Own, eventually, get};
use crate::raw::{Reply, Wire};

/// No temporary table, no prepared transaction, no transaction left open on any server.
#[track_caller]
fn nothing_is_left(own: &Own) {
    const LEFT: &str = "SELECT (SELECT count(*) FROM pg_class WHERE relpersistence = 't') \
        + (SELECT count(*) FROM pg_prepared_xacts) \
        + (SELECT count(*) FROM pg_stat_activity WHERE state LIKE '%in transaction%' OR (state = 'active' AND pid <> pg_backend_pid() \
             AND backend_type = 'client backend' AND query NOT LIKE '%pg_prepared_xacts%'))";
    for n in 0..2 {
        let mut shard = own.shard(n);
        eventually("nothing is left behind", || shard.one(LEFT) == "0");
    }
}

fn rows(own: &Own, sql: &str) -> [String; 2] {
    [0, 1].map(|n| own.shard(n).one(sql))
}

/// Sends rows for COPY in pieces of no particular size.
fn copy(client: &mut Wire, sql: &str, data: &str) -> Reply {
    client.start(sql);
    for piece in data.as_bytes().chunks(60_000) {
        client.send(&[(b'd', piece.to_vec())]);
    }
    client.send(&[(b'c', Vec::new())]);
    client.collect()
}

#[test]
fn a_copy_that_breaks_in_its_last_row_leaves_no_row() {
    let own = get();
    let (mut client, mut plain) = (own.connect(own.proxy("")), own.plain());
    let before = rows(own, "SELECT count(*) FROM items");
    let mut data: String = (0..100_000).map(|n| format!("{}\t{n}\trow\n", 10_000_000 + n)).collect();
    data += "10100000\tnone\trow\n";
    for (sql, data) in [
        ("COPY items FROM STDIN", data.clone()),
        ("COPY items FROM STDIN CSV", data.replace('\t', ",")),
        // The last row is there already.
        ("COPY items FROM STDIN", data.replace("none", "0").replace("10100000", &own.keys[1].to_string())),
        // It has too few columns.
        ("COPY items FROM STDIN", data.replace("\tnone\trow", "")),
        // It has no key.
        ("COPY items FROM STDIN", data.replace("10100000\tnone", "\\N\t1")),
    ] {
        let (found, expected) = (copy(&mut client, sql, &data), copy(&mut plain, sql, &data));
        let said = |reply: &Reply| reply.error.clone().map(|error| (error.code, error.message));
        assert_eq!(said(&found), said(&expected), "{sql}");
        assert_eq!(found.status, 'I');
        assert_eq!(rows(own, "SELECT count(*) FROM items"), before, "{sql}");
    }
    nothing_is_left(own);
    client.ok("SELECT count(*) FROM items");
}

#[test]
fn a_row_that_is_there_already_on_the_other_shard_undoes_an_insert_of_a_query() {
    let own = get();
    let mut client = own.connect(own.proxy(""));
    let before = rows(own, "SELECT count(*) FROM items");
    for key in own.keys {
        let sql = format!(
            "INSERT INTO items SELECT CASE WHEN g = 500 THEN {key} ELSE 20000000 + g END, g FROM generate_series(1, 1000) g"
        );
        let reply = client.query(&sql);
        assert_eq!((reply.code(), reply.status), ("23505", 'I'), "{reply:?}");
        client.ok("BEGIN");
        assert_eq!(client.query(&sql).code(), "23505");
        assert_eq!(client.query("SELECT 1").code(), "25P02");
        client.ok("ROLLBACK");
    }
    assert_eq!(rows(own, "SELECT count(*) FROM items"), before);
    nothing_is_left(own);
}

const RANKED: &str = "SELECT id, rank() OVER (ORDER BY n, id) FROM items";

#[test]
fn a_workbench_that_is_full_says_so_and_leaves_nothing() {
    let own = get();
    for limit in ["max_rows = 10", "max_bytes = \"1kB\""] {
        let mut client = own.connect(own.proxy(&format!("[workbench]\n{limit}\n")));
        for sql in [RANKED, "SELECT count(*) FROM items a JOIN items b ON a.n = b.n"] {
            let reply = client.query(sql);
            assert_eq!((reply.code(), reply.status), ("54000", 'I'), "{limit}: {sql}: {reply:?}");
            assert!(reply.rows.is_empty());
        }
        let reply = client.query("INSERT INTO facts SELECT rank() OVER (ORDER BY n, id) + 5000, 'x' FROM items");
        assert_eq!(reply.code(), "54000", "{limit}: {reply:?}");
        client.ok("BEGIN");
        client.ok("UPDATE items SET note = 'changed'");
        assert_eq!(client.query(RANKED).code(), "54000");
        assert_eq!(client.query("SELECT 1").code(), "25P02");
        client.ok("ROLLBACK");
        assert_eq!(client.one("SELECT count(*) FROM items WHERE note = 'changed'"), "0");
        // What fits is answered.
        client.ok("SELECT id, rank() OVER (ORDER BY n) FROM items WHERE id IN (1, 2)");
    }
    nothing_is_left(own);
}

#[test]
fn a_rest_that_runs_out_of_disk_is_undone() {
    let own = Own::start();
    for n in 0..3 {
        own.connect(own.cluster.servers[n].port()).ok("ALTER DATABASE postgres SET temp_file_limit = '128kB'");
        own.connect(own.cluster.servers[n].port()).ok("ALTER DATABASE postgres SET work_mem = '64kB'");
    }
    let mut client = own.connect(own.proxy(""));
    let sql = "SELECT a.id, b.id, repeat('x', 100) || a.id + b.id AS t, rank() OVER (ORDER BY a.n) FROM items a, items b, generate_series(1, 20) g ORDER BY t";
    let (found, expected) = (client.query(sql), own.plain().query(sql));
    assert_eq!((found.code(), found.status), (expected.code(), 'I'), "{found:?}");
    assert_eq!(found.code(), "53400");
    client.ok(RANKED);
    nothing_is_left(&own);
}

#[test]
fn a_definition_that_fails_on_one_shard_is_on_none() {
    let own = Own::start();
    let mut client = own.connect(own.proxy(""));
    own.shard(1).ok("CREATE TABLE taken (id int)");
    own.shard(1).ok("CREATE TYPE taken_type AS ENUM ('x')");
    own.shard(1).ok("ALTER TABLE items ADD COLUMN extra int");
    own.shard(1).ok("CREATE FUNCTION taken_function() RETURNS int LANGUAGE sql AS 'SELECT 1'");
    for (sql, code) in [
        ("CREATE TABLE taken (id bigint PRIMARY KEY) /* goldseam: shard_key=id vindex=by_hash */", "42P07"),
        ("CREATE TYPE taken_type AS ENUM ('y')", "42710"),
        ("ALTER TABLE items ADD COLUMN extra int", "42701"),
        ("CREATE FUNCTION taken_function() RETURNS int LANGUAGE sql AS 'SELECT 1'", "42723"),
    ] {
        let reply = client.query(sql);
        assert_eq!((reply.code(), reply.status), (code, 'I'), "{sql}: {reply:?}");
    }
    let there = "SELECT (to_regclass('taken') IS NOT NULL)::int + (to_regtype('taken_type') IS NOT NULL)::int + \
        (SELECT count(*) FROM pg_attribute WHERE attname = 'extra') + (to_regproc('taken_function') IS NOT NULL)::int";
    assert_eq!(rows(&own, there), ["0", "4"]);
    nothing_is_left(&own);
    assert_eq!(client.one("SELECT count(*) FROM items"), "40");
}

#[test]
fn a_function_that_reads_a_sharded_table_is_refused() {
    let own = Own::start();
    for n in 0..3 {
        let mut server = own.connect(own.cluster.servers[n].port());
        server.ok("CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM items'");
        server.ok("CREATE FUNCTION hidden() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM items); END $$");
    }
    let mut client = own.connect(own.proxy(""));
    for sql in [
        "SELECT counted()",
        "SELECT id, hidden() FROM items",
        "SELECT id FROM items WHERE n < counted()",
        "UPDATE items SET n = hidden()",
    ] {
        let reply = client.query(sql);
        assert_eq!((reply.code(), reply.status), ("0A000", 'I'), "{sql}: {reply:?}");
    }
    assert_eq!(rows(&own, "SELECT count(*) FROM items WHERE n <> 0"), ["0", "0"]);
    nothing_is_left(&own);
}

#[test]
fn a_type_of_one_shard_only_is_an_error_of_the_other() {
    let own = Own::start();
    own.shard(0).ok("CREATE TYPE lonely AS ENUM ('a', 'b')");
    let mut client = own.connect(own.proxy(""));
    for sql in [
        "SELECT id, 'a'::lonely FROM items",
        "SELECT id, 'a'::lonely, rank() OVER (ORDER BY n) FROM items WHERE 'a'::lonely IS NOT NULL",
        "UPDATE items SET note = 'b'::lonely::text",
    ] {
        let reply = client.query(sql);
        assert!(["42704", "0A000"].contains(&reply.code()) || sql.contains("rank"), "{sql}: {reply:?}");
        assert_eq!(reply.status, 'I');
    }
    assert_eq!(rows(&own, "SELECT count(*) FROM items WHERE note <> 'first'"), ["0", "0"]);
    nothing_is_left(&own);
}

#[test]
fn a_cursor_whose_shard_died_fails_and_its_session_goes_on() {
    let mut own = Own::start();
    let port = own.proxy("[pool]\nconnect_timeout = \"2s\"\n");
    for (declare, hold) in [
        ("DECLARE c CURSOR FOR SELECT id, repeat('x', 100000) FROM items ORDER BY id", false),
        ("DECLARE c CURSOR FOR SELECT id, repeat('x', 1000), rank() OVER (ORDER BY n, id) FROM items", false),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT id FROM items ORDER BY id", true),
    ] {
        let mut client = own.connect(port);
        client.ok("BEGIN");
        client.ok(declare);
        client.ok("FETCH 1 FROM c");
        client.ok(&format!("UPDATE items SET n = n + 1 WHERE id = {}", own.keys[0]));
        own.cluster.servers[1].stop(Stop::Immediate);
        // What was fetched before may still come; an end that is none may not.
        let mut seen = 1;
        let mut failed = false;
        for _ in 0..60 {
            let reply = client.query("FETCH 1 FROM c");
            if reply.error.is_some() {
                assert!(["08006", "57P01", "57P02", "25P02", "08003"].contains(&reply.code()), "{declare}: {reply:?}");
                failed = true;
                break;
            }
            if reply.rows.is_empty() {
                break;
            }
            seen += reply.rows.len();
        }
        assert!(failed || seen == 40, "{declare}: ended after {seen} rows");
        client.query("ROLLBACK");
        own.cluster.servers[1].start().unwrap();
        eventually("the session goes on", || client.query("SELECT count(*) FROM items").error.is_none());
        assert_eq!(client.one("SELECT sum(n) FROM items"), "0", "{declare}: hold {hold}");
        assert_eq!(client.query("FETCH 1 FROM c").code(), "34000");
        nothing_is_left(&own);
    }
}
