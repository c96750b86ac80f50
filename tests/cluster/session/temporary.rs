//! Temporary tables beside tables of several shards.

use super::same;
use crate::transactions::stage::Stage;

#[test]
fn a_temporary_table_joins_with_tables_of_several_shards() {
    let mut stage = Stage::new();
    let rows = "(A0, 1), (B0, 2), (A1, 3), (-1, 4)";
    stage.same(&[
        "CREATE TEMP TABLE t (id bigint, k int)",
        &format!("INSERT INTO t VALUES {rows}"),
        "SELECT t.k, i.n FROM t JOIN items i ON i.id = t.id ORDER BY 1",
        "SELECT t.k, i.n FROM t LEFT JOIN items i USING (id) ORDER BY 1",
        "SELECT count(*) FROM items WHERE id IN (SELECT id FROM t)",
        "SELECT k FROM t WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.id = t.id)",
        "BEGIN",
        "UPDATE items SET n = 81 WHERE id IN (A0, B0)",
        "UPDATE t SET k = k + 10",
        "SELECT t.k, i.n FROM t JOIN items i ON i.id = t.id ORDER BY 1",
        "ROLLBACK",
        "SELECT k FROM t ORDER BY 1",
        "ALTER TABLE t ADD COLUMN more text DEFAULT 'x'",
        "SELECT t.more, t.k, i.n FROM t JOIN items i ON i.id = t.id ORDER BY 2",
        "DROP TABLE t",
        "SELECT * FROM t",
        "BEGIN",
        "CREATE TEMP TABLE t (id bigint) ON COMMIT DROP",
        "INSERT INTO t VALUES (A0), (B0)",
        "SELECT sum(n) FROM items JOIN t USING (id)",
        "SAVEPOINT s",
        "CREATE TEMP TABLE u (id bigint)",
        "INSERT INTO u VALUES (A1)",
        "SELECT count(*) FROM items JOIN u USING (id)",
        "ROLLBACK TO s",
        "SELECT sum(n) FROM items JOIN t USING (id)",
        "COMMIT",
        "SELECT * FROM t",
    ]);
    stage.same_extended(&[
        "CREATE TEMP TABLE t (id bigint, k int)",
        &format!("INSERT INTO t VALUES {rows}"),
        "SELECT t.k, i.n FROM t JOIN items i ON i.id = t.id ORDER BY 1",
        "SELECT t.k, i.n FROM t JOIN items i ON i.id = t.id ORDER BY 1",
        "DISCARD ALL",
        "SELECT k FROM t",
    ]);
}

#[test]
fn a_temporary_table_is_made_of_a_query_over_several_shards() {
    let mut stage = Stage::new();
    let all = "FROM items WHERE id IN (A0, A1, B0)";
    stage.same(&[
        &format!("CREATE TEMP TABLE t AS SELECT id, n * 2 AS twice, note {all}"),
        "SELECT * FROM t ORDER BY id",
        &format!("SELECT count(*) AS n, sum(n) INTO TEMP u {all}"),
        "SELECT * FROM u",
        "BEGIN",
        "CREATE TEMPORARY TABLE v (a, b) ON COMMIT DROP AS SELECT i.id, t.twice FROM items i JOIN t USING (id) WHERE i.id IN (A0, A1, B0)",
        "SELECT * FROM v ORDER BY a",
        "UPDATE items SET n = 91 WHERE id = B1",
        "COMMIT",
        "SELECT * FROM v",
        &format!("CREATE TEMP TABLE w AS SELECT 1 / (n - n) {all}"),
        "SELECT * FROM w",
    ]);
    stage.same_rows();
    stage.same_extended(&[&format!("CREATE TEMP TABLE x AS SELECT id {all}"), "SELECT count(*) FROM x"]);
}

#[test]
fn settings_of_the_session_and_of_a_transaction() {
    let mut stage = Stage::new();
    same(
        &mut stage,
        &[
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
            "SHOW transaction_isolation",
            "BEGIN",
            "SHOW transaction_read_only",
            "SELECT n FROM items WHERE id = A0",
            "SELECT n FROM items WHERE id = B0",
            "UPDATE items SET n = 1 WHERE id = B0",
            "COMMIT",
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE",
            "SHOW default_transaction_isolation",
            "BEGIN",
            "SET LOCAL statement_timeout = '5s'",
            "SELECT n FROM items WHERE id = A0",
            "SELECT n FROM items WHERE id = B0",
            "SHOW statement_timeout",
            "COMMIT",
            "SHOW statement_timeout",
            "DISCARD PLANS",
            "DISCARD SEQUENCES",
            "DISCARD TEMP",
        ],
    );
    assert_eq!(stage.ask("SET LOCAL goldseam.shard = 's1'").notices.len(), 1);
    stage.proxy.ok("BEGIN");
    stage.proxy.ok("SET LOCAL goldseam.shard = 's1'");
    assert_eq!(stage.proxy.one("SHOW goldseam.shard"), "s1");
    stage.proxy.ok("COMMIT");
    assert_ne!(stage.proxy.one("SHOW goldseam.shard"), "s1");
}
