//! Clients that cancel or leave, servers that end or refuse: one clear error, and nothing is left behind.

use super::large::{NOTHING, left_behind};
use super::world::{self, World};
use crate::own::eventually;
use crate::raw::Wire;

/// Hours of work over few rows, on a shard.
const LONG: &str = "SELECT count(*) FROM buyer a JOIN deal b ON a.id = b.item, generate_series(1, 30000) x, generate_series(1, 30000) y \
                    WHERE x + y > a.id";
/// The same over many rows, on the workbench.
pub const LONG_OVER_MANY: &str = "SELECT count(*) FROM many a JOIN many b ON a.id = b.n, generate_series(1, 30000) x, generate_series(1, 30000) y \
                              WHERE x + y > a.id";
/// Waits for a shard whose table is locked, while the others' rows come.
const LOCKED: &str = "SELECT count(*) FROM many a JOIN many b ON a.id = b.n";

/// Statements at work on the shards, but for the test's own.
fn at_work(world: &World) -> usize {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' \
               AND pid <> pg_backend_pid() AND query_start < clock_timestamp() - interval '300 ms'";
    (0..world::SHARDS).map(|n| world.shard(n).one(sql).parse::<usize>().unwrap()).sum()
}

/// Begins a statement, and does something while it is at work.
fn amid(world: &World, client: &mut Wire, sql: &str, act: impl FnOnce(&mut Wire)) {
    let locker = (sql == LOCKED).then(|| {
        let mut locker = world.shard(1);
        locker.ok("BEGIN");
        locker.ok("LOCK TABLE many IN ACCESS EXCLUSIVE MODE");
        locker
    });
    client.start(sql);
    eventually("it is at work", || at_work(world) >= 1);
    act(client);
    drop(locker);
}

#[test]
fn a_client_that_cancels_or_leaves_ends_all_that_it_began() {
    let world = World::start("");
    for sql in [LONG, LONG_OVER_MANY, LOCKED] {
        for block in [false, true] {
            let mut client = world.connect();
            if block {
                client.ok("BEGIN");
                client.ok("UPDATE buyer SET name = 'never' WHERE id = 5");
            }
            amid(&world, &mut client, sql, |client| {
                client.cancel(world.port);
                let reply = client.collect();
                assert_eq!(reply.code(), "57014", "{sql}: {reply:?}");
                assert_eq!(reply.status, if block { 'E' } else { 'I' });
            });
            if block {
                client.ok("ROLLBACK");
            }
            eventually("nothing is left after a cancel", || left_behind(&world) == NOTHING);
            assert_eq!(client.one("SELECT name FROM buyer WHERE id = 5"), "buyer 5", "the session goes on");
            if block {
                client.ok("BEGIN");
                client.ok("UPDATE buyer SET name = 'never' WHERE id = 5");
            }
            amid(&world, &mut client, sql, |_| {});
            drop(client);
            eventually("nothing is left of a client that is gone", || left_behind(&world) == NOTHING);
        }
    }
    assert_eq!(world.connect().one("SELECT name FROM buyer WHERE id = 5"), "buyer 5");
}

#[test]
fn a_server_process_that_ends_is_an_error_of_the_statement() {
    let world = World::start("");
    for (sql, codes) in [(LONG, ["57P01", "08006"]), (LONG_OVER_MANY, ["57P01", "08006"]), (LOCKED, ["57P01", "08006"])]
    {
        for block in [false, true] {
            let mut client = world.connect();
            if block {
                client.ok("BEGIN");
                client.ok("UPDATE buyer SET name = 'never' WHERE id = 5");
            }
            amid(&world, &mut client, sql, |client| {
                let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'client backend' \
                           AND pid <> pg_backend_pid() AND state = 'active'";
                (0..world::SHARDS).for_each(|n| drop(world.shard(n).ok(end)));
                let reply = client.collect();
                assert!(codes.contains(&reply.code()), "{sql}: {reply:?}");
            });
            if block {
                assert_eq!(client.query("SELECT 1").code(), "25P02");
                client.query("ROLLBACK");
            }
            eventually("nothing is left", || left_behind(&world) == NOTHING);
            assert_eq!(client.one("SELECT name FROM buyer WHERE id = 5"), "buyer 5", "the session goes on");
            assert_eq!(client.one(LOCKED), "12000", "and the statement");
        }
    }
}

#[test]
fn time_has_a_bound_too() {
    let world = world::get();
    let port = world.proxy("[workbench]\ntimeout = \"700ms\"");
    let mut client = world.connect_to(port);
    for sql in [LONG, LONG_OVER_MANY] {
        let reply = client.query(sql);
        assert_eq!(reply.code(), "54000", "{reply:?}");
        assert_eq!(client.one("SELECT count(*) FROM many a JOIN many b ON a.id = b.id + 1"), "11999");
    }
}

#[test]
fn small_pools_do_not_wait_for_one_another() {
    let world = world::get();
    let port = world.proxy("[pool]\nsize = 1\n[workbench]\nconcurrency = 2");
    let clients: Vec<_> = (0..8).map(|_| world.connect_to(port)).collect();
    let threads = clients.into_iter().map(|mut client| {
        std::thread::spawn(move || {
            (0..4).map(|_| client.one("SELECT count(*) FROM many a JOIN many b ON a.id = b.id + 1")).collect::<Vec<_>>()
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        assert_eq!(thread.join().unwrap(), ["11999"; 4]);
    }
}
