//! Many rows: tables of the workbench, their bounds, and that nothing of them stays.

use super::world::{self, MANY, World};

pub const QUERIES: &[&str] = &[
    "SELECT count(*), sum(a.id) FROM many a JOIN many b ON a.id = b.n",
    "SELECT a.id, a.note, b.note FROM many a JOIN many b ON b.id = a.id + 1 ORDER BY a.id",
    "SELECT b.name, m.note FROM buyer b JOIN many m ON m.n = b.id ORDER BY 1, 2",
    "SELECT m.n, percentile_disc(0.5) WITHIN GROUP (ORDER BY m.note) FROM many m GROUP BY m.n ORDER BY 1",
    "SELECT land.name, count(*) FROM land, buyer b, many m WHERE land.code = b.land AND m.n = b.id GROUP BY 1 ORDER BY 1",
    "SELECT lone.note, m.id FROM lone JOIN many m ON m.n = lone.id ORDER BY 2",
];

/// Connections that are in the middle of something, and temporary tables, on all shards.
pub fn left_behind(world: &World) -> String {
    let left = (0..world::SHARDS).map(|n| {
        let mut shard = world.shard(n);
        let busy = shard.one(
            "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND backend_type = 'client backend' \
             AND pid <> pg_backend_pid()",
        );
        let tables = shard.one("SELECT count(*) FROM pg_class WHERE relpersistence = 't'");
        format!("{busy} {tables}")
    });
    left.collect::<Vec<_>>().join(", ")
}

pub const NOTHING: &str = "0 0, 0 0, 0 0";

#[test]
fn many_rows_are_answered_as_by_one_server() {
    let world = world::get();
    let (mut proxy, mut plain) = (world.connect(), world.plain());
    for sql in QUERIES {
        let reply = world::same(&mut proxy, &mut plain, sql);
        assert_eq!(reply.code(), "", "{sql}: {reply:?}");
        for (begin, end) in [("BEGIN", "COMMIT"), ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "ROLLBACK")] {
            proxy.ok(begin);
            plain.ok(begin);
            assert_eq!(world::same(&mut proxy, &mut plain, sql).code(), "", "{sql}: {reply:?}");
            proxy.ok(end);
            plain.ok(end);
        }
    }
}

#[test]
fn a_transaction_sees_its_own_rows_among_many() {
    let world = world::get();
    let (mut proxy, mut plain) = (world.connect(), world.plain());
    for sql in [
        "BEGIN",
        "UPDATE many SET note = 'changed' WHERE id = 77",
        "DELETE FROM many WHERE id = 78",
        "UPDATE buyer SET name = 'changed' WHERE id = 3",
    ] {
        assert_eq!(proxy.query(sql).comparable(), plain.query(sql).comparable(), "{sql}");
    }
    for sql in QUERIES {
        assert_eq!(world::same(&mut proxy, &mut plain, sql).code(), "", "{sql}");
    }
    proxy.ok("ROLLBACK");
    plain.ok("ROLLBACK");
}

#[test]
fn beyond_the_bounds_it_fails_and_leaves_nothing() {
    let world = World::start("");
    let joined = "SELECT count(*) FROM many a JOIN many b ON a.id = b.n + 1";
    for (extra, bound) in [
        ("[workbench]\nmax_rows = 5000", "At most 5000 rows"),
        ("[workbench]\nmax_bytes = 100000", "100000 bytes"),
        ("[workbench]\nmax_rows = 100", "At most 100 rows"),
    ] {
        let port = world.proxy(extra);
        let mut client = world.connect_to(port);
        for block in [false, true] {
            if block {
                client.ok("BEGIN");
                client.ok("UPDATE many SET note = 'never' WHERE id = 5");
            }
            let reply = client.query(joined);
            assert_eq!(reply.code(), "54000", "{reply:?}");
            assert!(reply.error.unwrap().detail.contains(bound), "{extra}");
            if block {
                assert_eq!(client.query("SELECT 1").code(), "25P02");
                client.ok("ROLLBACK");
            }
            assert_eq!(client.one("SELECT note FROM many WHERE id = 5"), "row 5");
            crate::own::eventually("nothing is left", || left_behind(&world) == NOTHING);
        }
    }
    let mut client = world.connect();
    let reply = client.query("SELECT 1 / (a.id - 7) FROM many a JOIN many b ON a.id = b.n");
    assert_eq!(reply.code(), "22012", "{reply:?}");
    assert_eq!(client.one(joined), "12000");
    crate::own::eventually("nothing is left", || left_behind(&world) == NOTHING);
    assert_eq!(MANY, 12_000);
}

/// The end of one input on the last shard lets another go on, whose shard has been looked at already: whether it comes to that is a matter of
/// how the answers meet, and so it is tried often.
#[tokio::test]
async fn what_waits_for_the_end_of_an_input_goes_on_when_it_ends() {
    let (proxy, oracle) = (crate::fixture::get().proxy().await, crate::fixture::get().oracle().await);
    let sql = "SELECT count(*), min(t5.line) FROM orders t1 (x, customer_id) \
               JOIN orders t2 ON t1.customer_id = t2.customer_id AND t2.customer_id = ( \
                   SELECT t4.customer_id FROM orders t3 (x, customer_id) JOIN orders t4 ON t4.customer_id = t3.customer_id \
                   WHERE t1.customer_id = t4.customer_id AND (t3.customer_id, 1) = (7, 1) AND t4.customer_id = 42 LIMIT 1) \
               JOIN order_items t5 ON t5.customer_id = t2.customer_id \
               WHERE (t1.customer_id = 42 OR t1.customer_id = '42') AND t2.customer_id = 42";
    let expected = oracle.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    for _ in 0..60 {
        assert_eq!(proxy.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), expected);
    }
}
