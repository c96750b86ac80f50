//! A server that is the workbench and no shard: what runs there, what does not, and what happens without it.

use goldseam::local::{Cluster, Stop};

use super::large::{NOTHING, QUERIES, left_behind};
use super::trouble::LONG_OVER_MANY;
use super::world::{self, World};
use crate::fixture;
use crate::own::{DATABASE, USER, eventually};
use crate::raw::Wire;

const THERE: &str = "Goldseam Workbench on its own server";
const PLAIN: &str = "SELECT count(*), sum(a.id) FROM many a JOIN many b ON a.id = b.n";

struct Apart {
    server: Cluster,
    world: &'static World,
    port: u16,
}

impl Apart {
    /// `prepare` is run on the server before the proxy starts.
    fn start(database: &str, prepare: &str) -> Apart {
        let (server, world) = (fixture::start_servers(1), world::get());
        let own = server.servers[0].port();
        for sql in prepare.split(';').filter(|sql| !sql.trim().is_empty()) {
            Wire::open(own, USER, DATABASE, &[]).unwrap().ok(sql);
        }
        let url = format!("postgres://{USER}@127.0.0.1:{own}/{database}");
        let port = world.proxy(&format!("[workbench]\nserver = \"{url}\""));
        Apart { server, world, port }
    }

    fn connect(&self) -> Wire {
        self.world.connect_to(self.port)
    }

    fn own(&self) -> Wire {
        Wire::open(self.server.servers[0].port(), USER, DATABASE, &[]).unwrap()
    }

    fn nothing_is_left(&self) {
        eventually("nothing is left", || {
            let mut own = self.own();
            let sql = "SELECT (SELECT count(*) FROM pg_class WHERE relpersistence = 't') + (SELECT count(*) FROM pg_stat_activity \
                       WHERE state <> 'idle' AND backend_type = 'client backend' AND pid <> pg_backend_pid())";
            own.one(sql) == "0" && left_behind(self.world) == NOTHING
        });
    }
}

/// Whether the rest of a statement runs on that server.
fn is_there(client: &mut Wire, sql: &str) -> bool {
    let reply = client.ok(&format!("EXPLAIN (ANALYZE, TIMING off) {sql}"));
    let line = reply.rows[0][0].clone().unwrap();
    assert!(line.starts_with("Goldseam Workbench on "), "{sql}: {line}");
    line == THERE
}

#[test]
fn many_rows_are_put_together_there_and_what_needs_a_shard_on_a_shard() {
    let world = world::get();
    let function = "CREATE OR REPLACE FUNCTION apart_twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'; \
                    CREATE OR REPLACE FUNCTION reverse(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''mine'''";
    (0..world::SHARDS).for_each(|n| drop(world.shard(n).ok(function)));
    world.plain().ok(function);
    let apart = Apart::start(DATABASE, "");
    let (mut proxy, mut plain) = (apart.connect(), world.plain());
    let joined = "FROM many a JOIN many b ON a.id = b.n";
    let own = [
        format!("SELECT apart_twice(b.n) {joined} WHERE b.n < 3"),
        // One PostgreSQL has a reverse(text).
        format!("SELECT reverse(b.n) {joined} WHERE b.n < 3"),
        format!("SELECT b.n + 1::posint {joined} WHERE b.n < 3"),
        format!("SELECT count(*) {joined} WHERE 'sad'::mood < 'ok'"),
        "SELECT m.id, b.mood FROM buyer b JOIN many m ON m.n = b.id".to_owned(),
        "SELECT (m.id, b.mood)::text FROM (SELECT id, 'ok'::mood AS mood FROM buyer) b JOIN many m ON m.n = b.id"
            .to_owned(),
    ];
    for (sql, there) in QUERIES
        .iter()
        .map(|sql| (*sql, !sql.contains("land") && !sql.contains("lone")))
        .chain(own.iter().map(|sql| (sql.as_str(), false)))
    {
        for block in [false, true] {
            if block {
                for sql in ["BEGIN", "SET LOCAL TIME ZONE 'Asia/Tokyo'", "UPDATE many SET note = 'own' WHERE id = 77"] {
                    proxy.ok(sql);
                    plain.ok(sql);
                }
            }
            let reply = world::same(&mut proxy, &mut plain, sql);
            assert_eq!(reply.code(), "", "{sql}: {reply:?}");
            assert_eq!(is_there(&mut proxy, sql), there, "{sql}");
            if block {
                proxy.ok("ROLLBACK");
                plain.ok("ROLLBACK");
            }
        }
    }
    // The client's settings and errors of the rest's own.
    for sql in [
        "SET TIME ZONE 'Asia/Tokyo'",
        "SELECT count(*), max(a.id::text::int + extract(hour FROM '2026-01-01 00:00+00'::timestamptz)) FROM many a JOIN many b ON a.id = b.n",
        "RESET ALL",
        "SELECT 1 / (a.id - 7) FROM many a JOIN many b ON a.id = b.n",
        "SELECT nothing(a.id) FROM many a JOIN many b ON a.id = b.n",
    ] {
        // Rows that came before an error are those that came first.
        let answer = |reply: crate::raw::Reply| match reply.code() {
            "" => format!("{:?}", reply.rows),
            code => code.to_owned(),
        };
        assert_eq!(answer(proxy.query(sql)), answer(plain.query(sql)), "{sql}");
    }
    apart.nothing_is_left();
}

#[test]
fn a_server_that_is_not_like_the_shards_is_not_used() {
    for (database, prepare) in [
        ("other", "CREATE DATABASE other LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0"),
        ("other", "CREATE DATABASE other ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"),
        (DATABASE, "CREATE FUNCTION lower(int) RETURNS text LANGUAGE sql AS 'SELECT ''its own'''"),
        (DATABASE, "ALTER DATABASE postgres SET DateStyle = 'German'"),
        (
            DATABASE,
            "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC; ALTER ROLE postgres SET bytea_output = 'escape'",
        ),
        ("nowhere", ""),
    ] {
        let apart = Apart::start(database, prepare);
        let (mut proxy, mut plain) = (apart.connect(), apart.world.plain());
        assert_eq!(world::same(&mut proxy, &mut plain, PLAIN).code(), "", "{prepare}");
        assert!(!is_there(&mut proxy, PLAIN), "{prepare}");
    }
}

#[test]
fn without_the_server_a_shard_takes_its_place_and_a_statement_that_loses_it_fails() {
    let mut apart = Apart::start(DATABASE, "");
    let mut client = apart.connect();
    assert!(is_there(&mut client, PLAIN));
    for end in [true, false] {
        client.start(LONG_OVER_MANY);
        eventually("it is at work there", || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%30000%'";
            apart.own().one(sql) == "1"
        });
        if end {
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()";
            apart.own().ok(sql);
            let reply = client.collect();
            assert!(["57P01", "08006"].contains(&reply.code()), "{reply:?}");
        } else {
            client.cancel(apart.port);
            assert_eq!(client.collect().code(), "57014");
        }
        apart.nothing_is_left();
    }
    assert!(is_there(&mut client, PLAIN));
    apart.server.servers[0].stop(Stop::Immediate);
    assert!(!is_there(&mut client, PLAIN));
    assert_eq!(world::same(&mut client, &mut apart.world.plain(), PLAIN).code(), "");
    apart.server.servers[0].start().unwrap();
    eventually("it is used again", || is_there(&mut client, PLAIN));
}
