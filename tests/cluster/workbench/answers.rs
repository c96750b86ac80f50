//! Right answers over few rows: every kind of query, every type, both protocols.

use super::world;

const QUERIES: &[&str] = &[
    "SELECT b.id, d.id FROM buyer b JOIN deal d ON d.id = b.id ORDER BY 1, 2",
    "SELECT b.id, d.id, d.price FROM buyer b LEFT JOIN deal d ON d.item = b.id ORDER BY 1, 2",
    "SELECT b.id, d.id FROM buyer b FULL JOIN deal d ON d.id = b.id + 20 ORDER BY 1, 2",
    "SELECT b.name, (SELECT count(*) FROM deal d WHERE d.item = b.id) FROM buyer b ORDER BY b.id",
    "SELECT name FROM buyer WHERE id IN (SELECT item FROM deal WHERE price > 100) ORDER BY 1",
    "SELECT name FROM buyer b WHERE NOT EXISTS (SELECT FROM deal d WHERE d.item = b.friend) ORDER BY 1",
    "SELECT id, row_number() OVER (ORDER BY price, id), sum(price) OVER (PARTITION BY item ORDER BY id) FROM deal ORDER BY id",
    "SELECT item, string_agg(id::text, ',' ORDER BY id DESC), percentile_cont(0.5) WITHIN GROUP (ORDER BY price) FROM deal GROUP BY item ORDER BY 1",
    "SELECT a.name, b.name FROM buyer a JOIN buyer b ON a.friend = b.id ORDER BY 1, 2",
    "SELECT land.name, count(DISTINCT d.item) FROM buyer b JOIN land ON land.code = b.land JOIN deal d ON d.id = b.id GROUP BY 1 ORDER BY 1",
    "SELECT lone.note, b.name FROM lone JOIN buyer b ON b.id = lone.id ORDER BY 1",
    "WITH big AS (SELECT * FROM deal WHERE price > 150) SELECT b.name, big.price FROM buyer b, big WHERE big.item = b.id ORDER BY 1, 2",
    "SELECT mood, count(*) FROM (SELECT b.mood FROM buyer b JOIN deal d ON d.id = b.id) x GROUP BY mood ORDER BY mood",
    "SELECT d.item, x.id FROM deal d CROSS JOIN LATERAL (SELECT b.id FROM buyer b WHERE b.friend = d.item ORDER BY b.id LIMIT 1) x ORDER BY 1, 2",
    "SELECT id FROM buyer WHERE friend = 7 AND id > (SELECT avg(item) FROM deal) ORDER BY 1",
    "SELECT id FROM buyer UNION SELECT item FROM deal ORDER BY 1",
    "SELECT count(*) FROM buyer b, deal d WHERE b.id = 5 AND d.buyer = 6",
    "SELECT b.id FROM buyer b, deal d WHERE b.id = 5 AND d.buyer = 6 AND d.id = -1",
];

#[test]
fn queries_of_every_kind_are_answered_as_by_one_server() {
    let world = world::get();
    let (mut proxy, mut plain) = (world.connect(), world.plain());
    for sql in QUERIES {
        world::same(&mut proxy, &mut plain, sql);
    }
}

#[test]
fn values_of_every_type_go_through_unchanged() {
    let world = world::get();
    let (mut proxy, mut plain) = (world.connect(), world.plain());
    for setting in ["", "SET DateStyle = 'SQL, DMY'", "SET extra_float_digits = 0", "SET IntervalStyle = sql_standard"]
    {
        if !setting.is_empty() {
            proxy.ok(setting);
            plain.ok(setting);
        }
        let columns = "m s d r ir a am aa sp n f f4 t v c b bo u j js ts tz da ti iv ip bi vb ch rc rt na mo x tv pt e";
        for column in columns.split(' ') {
            let sql = format!(
                "SELECT a.id, b.id, a.{column}, b.{column} FROM thing a JOIN thing b ON a.id = b.id + 1 ORDER BY 1, 2"
            );
            let reply = world::same(&mut proxy, &mut plain, &sql);
            assert_eq!(reply.code(), "", "{setting}: {sql}: {reply:?}");
        }
        let all = "SELECT * FROM thing a LEFT JOIN thing b ON a.id = b.id + 1 ORDER BY a.id";
        assert_eq!(world::same(&mut proxy, &mut plain, all).code(), "", "{setting}");
    }
}

#[test]
fn prepared_statements_are_described_without_running() {
    let world = world::get();
    let (mut proxy, mut plain) = (world.connect(), world.plain());
    for (sql, values) in [
        (
            "SELECT b.name, d.price FROM buyer b JOIN deal d ON d.item = b.id WHERE d.price > $1 ORDER BY d.id",
            &["20"][..],
        ),
        (
            "SELECT b.name, $2::text FROM buyer b JOIN deal d ON d.item = b.id WHERE b.mood = $1 ORDER BY d.id",
            &["ok", "x"],
        ),
        (
            "SELECT l.note, b.name FROM lone l JOIN buyer b ON b.id = l.id WHERE l.id > $1 ORDER BY 1 LIMIT $2",
            &["2", "3"],
        ),
        ("SELECT count(*), $1 FROM buyer b, deal d WHERE d.id = b.friend", &["text"]),
        (
            "SELECT t.am, u.s FROM thing t, thing u WHERE u.id = t.id + 1 AND t.m = ANY ($1) ORDER BY t.id",
            &["{sad,ok}"],
        ),
    ] {
        for name in ["", "kept"] {
            assert_eq!(proxy.prepare(name, sql), plain.prepare(name, sql), "{sql}");
            for _ in 0..3 {
                let (ours, theirs) = (proxy.execute(name, values), plain.execute(name, values));
                assert_eq!(ours.clone().comparable(), theirs.comparable(), "{sql}");
                assert_eq!(ours.code(), "", "{sql}: {ours:?}");
            }
            let (ours, theirs) = (proxy.describe(name), plain.describe(name));
            assert_eq!(ours, theirs, "{sql}");
            for wire in [&mut proxy, &mut plain] {
                wire.ok("DEALLOCATE ALL");
            }
        }
    }
}

#[test]
fn explain_shows_what_is_fetched_and_what_runs_over_it() {
    let mut proxy = world::get().connect();
    let reply = proxy.ok("EXPLAIN (ROUTE) SELECT b.name, count(*) FROM buyer b JOIN deal d ON d.item = b.id JOIN land l ON l.code = b.land WHERE d.buyer = 5 GROUP BY 1");
    let lines: Vec<String> = reply.rows.into_iter().flatten().flatten().collect();
    let text = lines.join("\n");
    for wanted in [
        "input 1, buyer b, from shards s0, s1, s2: SELECT",
        "input 2, deal d, from shard s",
        "the rest runs on one of shards s0, s1, s2: SELECT b.name",
        "FROM (input 1)",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}

#[test]
fn explain_asks_all_that_have_a_part_in_it() {
    let world = world::get();
    let mut proxy = world.connect();
    let mut text = |sql: &str| {
        let reply = proxy.ok(sql);
        assert_eq!(reply.tags, ["EXPLAIN"], "{sql}");
        reply.rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
    };
    let joined = "SELECT b.name, count(*) FROM buyer b JOIN deal d ON d.item = b.id GROUP BY 1 ORDER BY 1";
    let many = "SELECT count(*) FROM many a JOIN many b ON a.id = b.n";
    for (sql, wanted) in [
        (
            "EXPLAIN SELECT name FROM buyer ORDER BY id".to_string(),
            &["Goldseam Scatter over shards s0, s1, s2", "->  Shard s2", "Index Scan"][..],
        ),
        ("EXPLAIN (ANALYZE, COSTS off) SELECT name FROM buyer ORDER BY id".into(), &["actual time", "Execution Time"]),
        (
            format!("EXPLAIN (COSTS off) {joined}"),
            &["Goldseam Workbench on shard s", "Input 1, buyer b", "->  Rest: SELECT b.name", "Function Scan"],
        ),
        (format!("EXPLAIN ANALYZE {joined}"), &["(rows=30 bytes=", "as arrays)", "actual time"]),
        (format!("EXPLAIN (ANALYZE, TIMING off) {many}"), &["(rows=12000 bytes=", "in a table)", "goldseam_0"]),
        (
            format!("EXPLAIN (ROUTE, ANALYZE) {joined}"),
            &["the rest runs on", "Input 2, deal d: 60 rows", "Rest on shard s", "Measured: "],
        ),
        (format!("EXPLAIN (ROUTE, ANALYZE) {many}"), &["12000 rows", "in a table", "Rest on shard"]),
        ("EXPLAIN (ROUTE, ANALYZE) SELECT name FROM buyer ORDER BY id".into(), &["Shard s1: ", "Measured: 30 rows"]),
        ("EXPLAIN (ROUTE, ANALYZE) SELECT name FROM buyer WHERE id = 3".into(), &["Measured: 1 rows"]),
        ("EXPLAIN (COSTS off) UPDATE buyer SET name = 'x'".into(), &["Shard s0", "Update on buyer"]),
    ] {
        let shown = text(&sql);
        for wanted in wanted {
            assert!(shown.contains(wanted), "{sql}: {wanted} is not in\n{shown}");
        }
    }
    assert_eq!(proxy.one("SELECT count(*) FROM buyer WHERE name = 'x'"), "0");
    assert_eq!(proxy.query("EXPLAIN (FORMAT json) SELECT name FROM buyer ORDER BY id").code(), "0A000");
    assert_eq!(proxy.prepare("", &format!("EXPLAIN (COSTS off) {joined}")).code(), "");
    assert!(proxy.execute("", &[]).rows.len() > 5);
    assert_eq!(
        proxy
            .prepare("", "EXPLAIN (COSTS off) SELECT b.name FROM buyer b, deal d WHERE d.item = b.id AND d.price > $1")
            .code(),
        ""
    );
    assert!(proxy.execute("", &["12"]).rows.len() > 5);
}

#[test]
fn what_no_merge_compares_a_server_does() {
    let world = world::get();
    let (mut proxy, mut plain) = (world.connect(), world.plain());
    for sql in [
        "SELECT id, m FROM thing ORDER BY m, id",
        "SELECT max(m), min(m) FROM thing",
        "SELECT max(a) FROM thing",
        "SELECT DISTINCT m FROM thing",
        "SELECT DISTINCT am FROM thing ORDER BY am",
        "SELECT id, r FROM thing ORDER BY r DESC, id",
        "SELECT id, j FROM thing ORDER BY j, id LIMIT 5",
        "SELECT m, count(*) FROM thing GROUP BY m ORDER BY m DESC",
        "SELECT avg(f4) FROM thing WHERE id < 3",
        "SELECT id, name FROM buyer ORDER BY mood DESC NULLS LAST, name COLLATE \"de-x-icu\" LIMIT 7 OFFSET 2",
    ] {
        for block in [false, true] {
            if block {
                proxy.ok("BEGIN");
                plain.ok("BEGIN");
            }
            for _ in 0..2 {
                assert_eq!(world::same(&mut proxy, &mut plain, sql).code(), "", "{sql}");
            }
            assert_eq!(proxy.prepare("", sql), plain.prepare("", sql));
            assert_eq!(proxy.execute("", &[]).comparable().rows.len(), plain.execute("", &[]).rows.len(), "{sql}");
            if block {
                proxy.ok("COMMIT");
                plain.ok("COMMIT");
            }
        }
    }
}

#[test]
fn tables_of_different_shards_are_described_and_joined() {
    let world = world::get();
    let (mut proxy, mut plain) = (world.connect(), world.plain());
    let sql = "SELECT f.note, l.note FROM far f JOIN lone l ON l.id = f.id + $1 WHERE f.id < $2 ORDER BY 1";
    for name in ["", "kept"] {
        assert_eq!(proxy.prepare(name, sql), plain.prepare(name, sql));
        assert_eq!(proxy.describe(name), plain.describe(name));
        let (ours, theirs) = (proxy.execute(name, &["1", "5"]), plain.execute(name, &["1", "5"]));
        assert_eq!(ours.clone().comparable(), theirs.comparable());
        assert_eq!(ours.rows.len(), 4, "{ours:?}");
    }
    world::same(
        &mut proxy,
        &mut plain,
        "SELECT f.note, l.note, b.name FROM far f JOIN lone l USING (id) JOIN buyer b USING (id) ORDER BY 1",
    );
}
