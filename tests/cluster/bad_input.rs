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

/// Four servers: the third is not the first that is asked, nor the last.
#[test]
fn a_row_that_is_there_already_on_the_third_shard_undoes_all_of_an_insert() {
    let fixture = crate::fixture::get();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let proxy = fixture.proxy().await;
        let base = (0..400).map(|_| fixture.fresh_customer()).collect::<Vec<_>>();
        let row = |id: &i64| format!("({id}, 'bad input', 'b@x', 'DE')");
        let mut third = None;
        for id in &base[..40] {
            proxy.batch_execute(&format!("INSERT INTO customers (id, name, email, country) VALUES {}", row(id))).await.unwrap();
            let here = format!("SELECT count(*) FROM customers WHERE id = {id}");
            if fixture.shard(2).await.query_one(&here, &[]).await.unwrap().get::<_, i64>(0) == 1 {
                third = Some(*id);
                break;
            }
        }
        let third = third.expect("one of forty is on the third shard");
        let count = "SELECT count(*) FROM customers WHERE name = 'bad input'";
        let before: i64 = proxy.query_one(count, &[]).await.unwrap().get(0);
        let news: Vec<String> = base[40..].iter().map(|id| id.to_string()).collect();
        let list = news.join(", ");
        for select in [
            format!("SELECT i, 'bad input', 'b@x', 'DE' FROM unnest(ARRAY[{list}, {third}]::bigint[]) i"),
            // By way of the workbench.
            format!(
                "SELECT CASE WHEN r = 1 THEN {third} ELSE {} + r END, 'bad input', 'b@x', 'DE' \
                 FROM (SELECT rank() OVER (ORDER BY id) AS r FROM customers WHERE id <= 300) q",
                base[40]
            ),
        ] {
            for returning in ["", " RETURNING id"] {
                let sql = format!("INSERT INTO customers (id, name, email, country) {select}{returning}");
                let error = proxy.batch_execute(&sql).await.unwrap_err();
                assert_eq!(error.code().map(|code| code.code()), Some("23505"), "{sql}: {error:?}");
                assert_eq!(proxy.query_one(count, &[]).await.unwrap().get::<_, i64>(0), before, "{sql}");
            }
        }
        for n in 0..crate::fixture::SHARDS {
            let left = "SELECT (SELECT count(*) FROM pg_prepared_xacts) + (SELECT count(*) FROM pg_class WHERE relpersistence = 't' \
                        AND relname LIKE 'goldseam%')";
            assert_eq!(fixture.shard(n).await.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
        }
        proxy.batch_execute("DELETE FROM customers WHERE name = 'bad input'").await.unwrap();
    });
}

/// psql and libpq call functions of large objects in a message of their own.
#[test]
fn large_objects_are_refused_with_the_reason() {
    let own = get();
    let mut client = own.connect(own.proxy(""));
    for sql in [
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, '\\x00')",
        "SELECT pg_catalog.lo_open(1, 131072)",
        "SELECT loread(0, 1)",
        "SELECT lowrite(0, '')",
        "SELECT lo_unlink(1)",
        "SELECT lo_import('/etc/hostname')",
        "SELECT id, lo_get(id::oid) FROM items",
        "UPDATE items SET n = lo_create(0)::int",
    ] {
        let reply = client.query(sql);
        assert_eq!((reply.code(), reply.status), ("0A000", 'I'), "{sql}: {reply:?}");
    }
    // FunctionCall of lo_creat (957): no formats, one argument of four bytes, the result as text.
    let call = [&957u32.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0]].concat();
    client.send(&[(b'F', call)]);
    let reply = client.collect();
    assert_eq!((reply.code(), reply.status), ("0A000", 'I'), "{reply:?}");
    client.ok("SELECT count(*) FROM pg_largeobject_metadata");
    assert_eq!(rows(own, "SELECT count(*) FROM pg_largeobject_metadata"), ["0", "0"]);
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
    // Nested in another function, in a view, in a default.
    for n in 0..3 {
        let mut server = own.connect(own.cluster.servers[n].port());
        server.ok("CREATE FUNCTION around() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT counted() + 1'");
        server.ok("CREATE VIEW seen AS SELECT id, around() AS n FROM items");
        server.ok("CREATE VIEW alone AS SELECT counted() AS n");
        server.ok("ALTER TABLE items ALTER COLUMN n SET DEFAULT around()");
    }
    let mut client = own.connect(own.proxy(""));
    for sql in [
        "SELECT around()",
        "SELECT * FROM seen",
        "SELECT * FROM alone",
        "SELECT n FROM items WHERE id = (SELECT around())",
        "INSERT INTO items (id) VALUES (900001)",
        "INSERT INTO items (id) SELECT 900000 + g FROM generate_series(1, 9) g",
        "INSERT INTO items VALUES (900001, DEFAULT, 'x')",
        "UPDATE items SET n = DEFAULT",
        "WITH w AS (SELECT around() AS n) SELECT count(*) FROM items, w",
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
        eventually("the session goes on", || {
            let reply = client.query("SELECT count(*) FROM items");
            reply.error.iter().for_each(|error| println!("{declare}: {error:?}"));
            reply.error.is_none()
        });
        assert_eq!(client.one("SELECT sum(n) FROM items"), "0", "{declare}: hold {hold}");
        assert_eq!(client.query("FETCH 1 FROM c").code(), "34000");
        nothing_is_left(&own);
    }
}
