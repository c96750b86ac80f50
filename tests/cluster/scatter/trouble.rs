//! A shard that dies, hangs, or answers what it should not: one clear error, no wrong row, and the session goes on.

use std::time::{Duration, Instant};

use super::between;
use super::middleman::Mischief;
use crate::own::{Own, Program, eventually};
use crate::raw::{Reply, Wire};

const IN_ORDER: &str = "SELECT id, note FROM items WHERE id <= 40 ORDER BY id";

/// Asks by the one protocol or the other.
fn ask(client: &mut Wire, sql: &str, extended: bool) -> Reply {
    if !extended {
        return client.query(sql);
    }
    let prepared = client.prepare("", sql);
    if prepared.error.is_some() { prepared } else { client.execute("", &[]) }
}

/// No client's statement is at work on any server, and no connection is in the middle of a transaction.
fn at_rest(own: &Own) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND backend_type = 'client backend' \
               AND pid <> pg_backend_pid() AND query NOT LIKE '%pg_stat_activity%'";
    for shard in 0..2 {
        let mut server = own.shard(shard);
        eventually("the servers are at rest", || server.one(sql) == "0");
    }
}

#[test]
fn a_shard_that_breaks_in_the_middle_ends_the_statement_and_nothing_else() {
    let own = Own::start();
    let (middleman, config) = between(&own, "");
    let program = Program::start(&config);
    let mut client = program.connect();
    let whole = client.ok(IN_ORDER).rows;
    assert_eq!(whole.len(), 40);
    for (mischief, code) in [
        (Mischief::Die(0), "08006"),
        (Mischief::Die(3), "08006"),
        (Mischief::Garbage(0), "08P01"),
        (Mischief::Garbage(3), "08P01"),
        (Mischief::Rename, "XX000"),
        (Mischief::Disorder, "XX000"),
        (Mischief::Crooked, "08P01"),
    ] {
        for extended in [false, true] {
            for block in [false, true] {
                let what = format!("{mischief:?}, extended {extended}, in a block {block}");
                if block {
                    client.ok("BEGIN");
                    assert_eq!(client.one("SELECT count(*) FROM items WHERE id <= 40"), "40", "{what}");
                }
                middleman.set(mischief);
                let reply = ask(&mut client, IN_ORDER, extended);
                middleman.set(Mischief::None);
                assert_eq!(reply.code(), code, "{what}: {reply:?}");
                assert!(
                    reply.error.as_ref().is_some_and(|error| format!("{error:?}").contains("s1")),
                    "{what}: {reply:?}"
                );
                // Rows out of order are found by the next one, when one is missing already.
                if mischief != Mischief::Disorder {
                    assert_eq!(reply.rows, whole[..reply.rows.len()], "{what}: no wrong row");
                }
                assert!(reply.tags.is_empty(), "{what}: {reply:?}");
                assert_eq!(reply.status, if block { 'E' } else { 'I' }, "{what}");
                if block {
                    assert_eq!(client.query("SELECT 1").code(), "25P02", "{what}");
                    client.ok("ROLLBACK");
                }
                assert_eq!(ask(&mut client, IN_ORDER, extended).rows, whole, "{what}: the session goes on");
            }
        }
    }
    at_rest(&own);
}

#[test]
fn a_shard_that_hangs_is_ended_by_a_cancel_request_and_no_other_client_waits_for_it() {
    let own = Own::start();
    let (middleman, config) = between(&own, "");
    let program = Program::start(&config);
    let (mut client, mut other) = (program.connect(), program.connect());
    assert_eq!(client.ok(IN_ORDER).rows.len(), 40);
    for block in [false, true] {
        if block {
            client.ok("BEGIN");
            assert_eq!(client.ok(IN_ORDER).rows.len(), 40);
        }
        middleman.set(Mischief::Hang(2));
        client.start(IN_ORDER);
        std::thread::sleep(Duration::from_millis(300));
        let key = own.keys[0];
        assert_eq!(other.one(&format!("SELECT count(*) FROM items WHERE id = {key}")), "1");
        let began = Instant::now();
        client.cancel(program.port);
        let reply = client.collect();
        assert_eq!(reply.code(), "57014", "{reply:?}");
        assert!(began.elapsed() < Duration::from_secs(20));
        middleman.set(Mischief::None);
        if block {
            assert_eq!(reply.status, 'E');
            client.ok("ROLLBACK");
        }
        assert_eq!(client.ok(IN_ORDER).rows.len(), 40);
    }
    at_rest(&own);
}

#[test]
fn a_limit_that_is_reached_does_not_wait_for_a_slow_shard() {
    let own = Own::start();
    let (middleman, config) = between(&own, "");
    let program = Program::start(&config);
    let mut client = program.connect();
    for extended in [false, true] {
        assert_eq!(ask(&mut client, "SELECT note FROM items WHERE id <= 40 LIMIT 3", extended).rows.len(), 3);
        middleman.set(Mischief::Hang(0));
        let began = Instant::now();
        let reply = ask(&mut client, "SELECT note FROM items WHERE id <= 40 LIMIT 3", extended);
        assert_eq!((reply.rows.len(), reply.tags), (3, vec!["SELECT 3".to_string()]));
        assert!(began.elapsed() < Duration::from_secs(5));
        middleman.set(Mischief::None);
    }
    at_rest(&own);
}

#[test]
fn an_error_on_one_shard_stops_the_others() {
    let own = &Own::start();
    let port = own.proxy("");
    let mut client = own.connect(port);
    let [one, _] = own.keys;
    // The shard with that key fails at its first row; the other is at work for hours.
    let sql = format!(
        "SELECT count(*) FROM items i WHERE i.id <= 40 AND CASE WHEN i.id = {one} THEN 1 / (i.id - {one}) ELSE \
         (SELECT count(*) FROM generate_series(1, 30000) a, generate_series(1, 30000) b WHERE a + b > i.id) END > 0"
    );
    for block in [false, true] {
        if block {
            client.ok("BEGIN");
        }
        let began = Instant::now();
        let reply = client.query(&sql);
        assert_eq!(reply.code(), "22012", "{reply:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        if block {
            client.ok("ROLLBACK");
        }
        assert_eq!(client.ok(IN_ORDER).rows.len(), 40);
        at_rest(own);
    }
}
