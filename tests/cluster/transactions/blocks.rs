//! Blocks over two shards, statement by statement beside one PostgreSQL.

use super::stage::{Stage, extended, one};
use crate::fixture;

#[test]
fn a_transfer_between_shards_commits_on_both() {
    let mut stage = Stage::new();
    stage.same(&[
        "BEGIN",
        "UPDATE items SET n = n - 30 WHERE id = A0",
        "UPDATE items SET n = n + 30 WHERE id = B0 RETURNING n",
        "SELECT n FROM items WHERE id = A0",
        "COMMIT",
    ]);
    stage.same_rows();
    stage.same_extended(&[
        "START TRANSACTION",
        "UPDATE items SET n = n - 5 WHERE id = B0 RETURNING n",
        "UPDATE items SET n = n + 5 WHERE id = A0",
        "END",
        "SELECT n FROM items WHERE id = A0",
    ]);
    stage.same_rows();
}

#[test]
fn a_transfer_between_shards_rolls_back_on_both() {
    let mut stage = Stage::new();
    for end in ["ROLLBACK", "ABORT"] {
        stage.same(&[
            "BEGIN",
            "UPDATE items SET n = 0 WHERE id = A0",
            "DELETE FROM items WHERE id = B0",
            "INSERT INTO items VALUES (B0, 7)",
            end,
            "SELECT n FROM items WHERE id = B0",
        ]);
        stage.same_rows();
        stage.same_extended(&["BEGIN", "DELETE FROM items WHERE id = A0", "DELETE FROM items WHERE id = B0", end]);
        stage.same_rows();
    }
}

#[test]
fn going_back_and_forth_is_one_transaction_on_each_shard() {
    let mut stage = Stage::new();
    stage.same(&[
        "BEGIN",
        "UPDATE items SET n = n + 1 WHERE id = A0",
        "UPDATE items SET n = n + 1 WHERE id = B0",
        "UPDATE items SET n = n + 1 WHERE id = A0",
        "UPDATE items SET n = n + 1 WHERE id = B0",
        "SELECT n FROM items WHERE id = A0",
        "SELECT n FROM items WHERE id = B0",
        "SELECT 1",
        "COMMIT",
        "COMMIT",
    ]);
    stage.same_rows();
}

#[test]
fn an_error_on_one_shard_fails_the_block_and_rolls_back_the_other() {
    let mut stage = Stage::new();
    stage.same(&[
        "BEGIN",
        "UPDATE items SET n = 1 WHERE id = A0",
        "UPDATE items SET n = 1 / 0 WHERE id = B0",
        "SELECT n FROM items WHERE id = A0",
        "SELECT n FROM items WHERE id = B0",
        "SAVEPOINT late",
        "COMMIT",
        "SELECT n FROM items WHERE id = A0",
    ]);
    stage.same_rows();
    stage.same_extended(&[
        "BEGIN",
        "UPDATE items SET n = 1 WHERE id = A0",
        "INSERT INTO items VALUES (B0, 1)",
        "SELECT n FROM items WHERE id = A0",
        "ROLLBACK",
    ]);
    stage.same_rows();
}

#[test]
fn savepoints_reach_every_shard_whenever_it_joined() {
    let mut stage = Stage::new();
    stage.same(&[
        "BEGIN",
        "UPDATE items SET n = 1 WHERE id = A0",
        "SAVEPOINT one",
        "UPDATE items SET n = 2 WHERE id = A0",
        "UPDATE items SET n = 2 WHERE id = B0",
        "SAVEPOINT two",
        "UPDATE items SET n = 3 WHERE id = B0",
        "ROLLBACK TO two",
        "SELECT n FROM items WHERE id = B0",
        "ROLLBACK TO SAVEPOINT one",
        "SELECT n FROM items WHERE id = B0",
        "SELECT n FROM items WHERE id = A0",
        "UPDATE items SET n = 4 WHERE id = B0",
        "RELEASE one",
        "ROLLBACK TO one",
        "ROLLBACK",
    ]);
    stage.same_rows();
    stage.same(&[
        "BEGIN",
        "SAVEPOINT \"A b\"",
        "UPDATE items SET n = 1 WHERE id = A0",
        "SAVEPOINT s",
        "SAVEPOINT s",
        "UPDATE items SET n = 2 WHERE id = B0",
        "RELEASE s",
        "UPDATE items SET n = 3 WHERE id = A1",
        "ROLLBACK TO s",
        "UPDATE items SET n = 4 WHERE id = B1",
        "RELEASE \"A b\"",
        "COMMIT",
    ]);
    stage.same_rows();
}

#[test]
fn rolling_back_to_a_savepoint_heals_a_failed_block() {
    let mut stage = Stage::new();
    stage.same(&[
        "BEGIN",
        "UPDATE items SET n = 1 WHERE id = A0",
        "SAVEPOINT s",
        "UPDATE items SET n = 2 WHERE id = B0",
        "UPDATE items SET n = 1/0 WHERE id = A0",
        "SELECT 1",
        "ROLLBACK TO s",
        "SELECT n FROM items WHERE id = B0",
        "SELECT n FROM items WHERE id = A0",
        "UPDATE items SET n = 1/0 WHERE id = B0",
        "RELEASE s",
        "ROLLBACK TO s",
        "UPDATE items SET n = 9 WHERE id = B1",
        "COMMIT",
    ]);
    stage.same_rows();
    stage.same_extended(&[
        "BEGIN",
        "SAVEPOINT s",
        "UPDATE items SET n = 5 WHERE id = A0",
        "UPDATE items SET n = 1/0 WHERE id = B0",
        "ROLLBACK TO s",
        "UPDATE items SET n = 6 WHERE id = B0",
        "ROLLBACK TO nothing",
        "ROLLBACK TO s",
        "UPDATE items SET n = 7 WHERE id = A0",
        "COMMIT",
    ]);
    stage.same_rows();
}

#[test]
fn settings_made_in_a_block_hold_on_every_shard_and_go_with_it() {
    let mut stage = Stage::new();
    let zone = "SELECT current_setting('TimeZone'), n FROM items WHERE id = ";
    let (a, b) = (format!("{zone}A0"), format!("{zone}B0"));
    stage.same(&[
        "SET work_mem = '5MB'",
        "BEGIN",
        &a,
        "SET TimeZone = 'Asia/Tokyo'",
        &b,
        "UPDATE items SET n = 1 WHERE id = B0",
        "SET LOCAL TimeZone = 'Europe/Paris'",
        &a,
        &b,
        "SAVEPOINT s",
        "SET LOCAL TimeZone = 'America/New_York'",
        &a,
        "ROLLBACK TO s",
        &b,
        &a,
        "UPDATE items SET n = 1 WHERE id = A0",
        "COMMIT",
        &a,
        &b,
        "SHOW TimeZone",
        "BEGIN",
        "UPDATE items SET n = 2 WHERE id = A0",
        "SET TimeZone = 'UTC'",
        "UPDATE items SET n = 2 WHERE id = B0",
        &b,
        "ROLLBACK",
        &a,
        &b,
        "SELECT current_setting('work_mem') FROM items WHERE id = B0",
    ]);
    assert_eq!(stage.proxy.parameters.get("TimeZone"), stage.plain.parameters.get("TimeZone"));
    stage.same_rows();
}

#[test]
fn a_chained_block_begins_again_on_every_shard_with_the_same_characteristics() {
    let mut stage = Stage::new();
    stage.same(&[
        "BEGIN ISOLATION LEVEL REPEATABLE READ",
        "UPDATE items SET n = 1 WHERE id = A0",
        "UPDATE items SET n = 1 WHERE id = B0",
        "COMMIT AND CHAIN",
        "SHOW transaction_isolation",
        "UPDATE items SET n = 2 WHERE id = B0",
        "UPDATE items SET n = 2 WHERE id = A0",
        "ROLLBACK AND CHAIN",
        "SHOW transaction_isolation",
        "UPDATE items SET n = 3 WHERE id = A0",
        "COMMIT",
        "BEGIN",
        "SET TRANSACTION READ ONLY",
        "SELECT n FROM items WHERE id = A0",
        "SELECT n FROM items WHERE id = B0",
        "COMMIT AND CHAIN",
        "SELECT n FROM items WHERE id = B0",
        "UPDATE items SET n = 4 WHERE id = A0",
        "ROLLBACK",
    ]);
    stage.same_rows();
}

#[test]
fn read_only_blocks_read_everywhere_and_write_nowhere() {
    let mut stage = Stage::new();
    stage.same(&[
        "BEGIN READ ONLY",
        "SELECT n FROM items WHERE id = A0",
        "SELECT n FROM items WHERE id = B0",
        "UPDATE items SET n = 4 WHERE id = B0",
        "ROLLBACK",
        "BEGIN READ ONLY",
        "SELECT n FROM items WHERE id = A0",
        "SELECT n FROM items WHERE id = B0",
        "COMMIT",
    ]);
}

#[test]
fn a_pipeline_goes_to_several_shards_within_a_block() {
    let mut stage = Stage::new();
    let steps = [
        "BEGIN",
        "UPDATE items SET n = n + 1 WHERE id = A0",
        "UPDATE items SET n = n + 1 WHERE id = B0",
        "SAVEPOINT s",
        "UPDATE items SET n = n + 1 WHERE id = A0",
        "UPDATE items SET n = n + 1 WHERE id = B0",
        "ROLLBACK TO s",
        "UPDATE items SET n = n + 1 WHERE id = B1",
        "COMMIT",
        "SELECT n FROM items WHERE id = A0",
    ];
    let texts: Vec<String> = steps.iter().map(|sql| stage.text(sql)).collect();
    let mut replies = Vec::new();
    for wire in [&mut stage.proxy, &mut stage.plain] {
        for text in &texts {
            wire.send(&one(text));
        }
        wire.send(&[(b'S', vec![])]);
        replies.push(wire.collect());
    }
    assert_eq!(replies[0], replies[1]);
    stage.same_rows();
    // The same with an error in the middle: all that follows up to the Sync is skipped.
    let texts: Vec<String> =
        ["BEGIN", "UPDATE items SET n = 0 WHERE id = A0", "UPDATE items SET n = 1/0 WHERE id = B0", "COMMIT"]
            .iter()
            .map(|sql| stage.text(sql))
            .collect();
    let mut replies = Vec::new();
    for wire in [&mut stage.proxy, &mut stage.plain] {
        for text in &texts {
            wire.send(&one(text));
        }
        wire.send(&[(b'S', vec![])]);
        replies.push(wire.collect().comparable());
        replies.push(extended(wire, "COMMIT"));
    }
    assert_eq!(replies[..2], replies[2..]);
    stage.same_rows();
}

#[test]
fn constraints_are_deferred_on_every_shard() {
    let mut stage = Stage::new();
    let wires = [stage.own.shard(0), stage.own.shard(1), stage.own.plain()];
    for mut wire in wires {
        wire.ok("CREATE TABLE IF NOT EXISTS parents (id int PRIMARY KEY)");
        wire.ok("DO $$ BEGIN ALTER TABLE items ADD COLUMN parent int REFERENCES parents DEFERRABLE; \
                 EXCEPTION WHEN duplicate_column THEN NULL; END $$");
    }
    stage.same(&[
        "BEGIN",
        "SET CONSTRAINTS ALL DEFERRED",
        "UPDATE items SET n = 1 WHERE id = A0",
        "UPDATE items SET parent = 7 WHERE id = B0",
        "UPDATE items SET n = 2 WHERE id = A0",
        "COMMIT",
        "SELECT parent FROM items WHERE id = B0",
    ]);
    stage.same_rows();
    stage.same_extended(&[
        "BEGIN",
        "SET CONSTRAINTS ALL DEFERRED",
        "UPDATE items SET n = 1 WHERE id = A0",
        "UPDATE items SET parent = 7 WHERE id = B0",
        "COMMIT",
    ]);
    stage.same_rows();
}

#[test]
fn a_cursor_is_fetched_from_where_it_is() {
    let mut stage = Stage::new();
    let steps = [
        "BEGIN",
        "DECLARE a SCROLL CURSOR FOR SELECT n, x FROM items, generate_series(1, 3) x WHERE id = A0",
        "FETCH a",
        "/* the other */ DECLARE \"B x\" CURSOR FOR SELECT n, x FROM items, generate_series(1, 3) x WHERE id = B0",
        "FETCH a",
        "UPDATE items SET n = 3 WHERE id = A0",
        "FETCH 2 FROM \"B x\"",
        "MOVE BACKWARD ALL IN a",
        "SAVEPOINT s",
        "FETCH NEXT FROM a",
        "FETCH FROM \"B x\"",
        "CLOSE a",
        "UPDATE items SET n = 3 WHERE id = A0",
        "CLOSE \"B x\"",
        "FETCH a",
        "ROLLBACK TO s",
        "CLOSE ALL",
        "COMMIT",
    ];
    stage.same(&steps);
    stage.same_rows();
    stage.same_extended(&steps);
    stage.same_rows();
}

#[test]
fn a_portal_is_read_on_after_statements_on_another_shard() {
    let mut stage = Stage::new();
    let read = stage.text("SELECT n, x FROM items, generate_series(1, 5) x WHERE id = A0");
    let write = stage.text("UPDATE items SET n = n + 1 WHERE id = B0");
    let parse = (b'P', [b"\0", read.as_bytes(), b"\0\0\0"].concat());
    let bind = (b'B', [&b"p1\0\0"[..], &[0; 6]].concat());
    let execute = |rows: u8| (b'E', [&b"p1\0"[..], &[0, 0, 0, rows]].concat());
    let sync = (b'S', vec![]);
    let mut replies = Vec::new();
    for wire in [&mut stage.proxy, &mut stage.plain] {
        replies.push(vec![wire.query("BEGIN")]);
        let replies = replies.last_mut().unwrap();
        wire.send(&[parse.clone(), bind.clone(), execute(2), sync.clone()]);
        replies.push(wire.collect());
        replies.push(wire.query(&write));
        wire.send(&[(b'D', b"Pp1\0".to_vec()), execute(2), sync.clone()]);
        replies.push(wire.collect());
        replies.push(extended(wire, &write));
        wire.send(&[execute(0), (b'C', b"Pp1\0".to_vec()), execute(0), sync.clone()]);
        replies.push(wire.collect().comparable());
        replies.push(wire.query("COMMIT"));
    }
    assert_eq!(replies[0], replies[1]);
    assert!(replies[0].iter().any(|reply| reply.rows.len() == 2));
    stage.same_rows();
}

#[test]
fn notices_and_notifications_come_once() {
    let mut stage = Stage::new();
    stage.same(&[
        "LISTEN news",
        "BEGIN",
        "UPDATE items SET n = 1 WHERE id = A0",
        "SELECT n FROM items WHERE id = B0",
        "COMMIT",
        "SELECT pg_notify('news', 'one')",
        "UNLISTEN *",
        "SELECT 1",
    ]);
}

#[test]
fn what_a_connection_keeps_for_its_session_outlives_a_block_over_two_shards() {
    let mut stage = Stage::new();
    stage.same(&[
        "CREATE TEMP TABLE mine AS SELECT 7 AS a",
        "SELECT pg_advisory_lock(4711)",
        "BEGIN",
        "UPDATE items SET n = 1 WHERE id = A0",
        "UPDATE items SET n = 1 WHERE id = B0",
        "COMMIT",
        "SELECT a FROM mine",
        "BEGIN",
        "UPDATE items SET n = 2 WHERE id = B0",
        "UPDATE items SET n = 2 WHERE id = A0",
        "ROLLBACK",
        "SELECT a FROM mine",
        "SELECT pg_advisory_unlock(4711)",
        "DROP TABLE mine",
    ]);
    stage.same_rows();
}

#[test]
fn a_session_that_keeps_its_connections_has_transactions_over_both() {
    let port = crate::own::get().proxy("[pool]\nmode = \"session\"\n");
    let mut stage = Stage::through(port);
    for end in ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "COMMIT"] {
        stage.same(&[
            "BEGIN",
            "UPDATE items SET n = n + 1 WHERE id = A0",
            "SET work_mem = '7MB'",
            "UPDATE items SET n = n + 1 WHERE id = B0",
            "SAVEPOINT s",
            "UPDATE items SET n = n + 1 WHERE id = A0",
            "ROLLBACK TO s",
            end,
            "ROLLBACK",
            "SELECT current_setting('work_mem'), n FROM items WHERE id = A0",
            "SELECT current_setting('work_mem'), n FROM items WHERE id = B0",
        ]);
        stage.same_rows();
    }
}

#[test]
fn four_shards_are_one_transaction_too() {
    let fixture = fixture::get();
    fixture.runtime.block_on(async {
        let ids: Vec<i64> = (0..12).map(|_| fixture.fresh_customer()).collect();
        let on = |sql: &str| -> Vec<String> { ids.iter().map(|id| sql.replace('?', &id.to_string())).collect() };
        let mut steps = vec!["BEGIN".to_string()];
        steps.extend(on("INSERT INTO customers (id, name, email, country, created_at) \
                         VALUES (?, 'many', 'e', 'DE', '2026-01-01 00:00+00')"));
        steps.push("SAVEPOINT all_there".into());
        steps.extend(on("UPDATE customers SET name = name || 'x' WHERE id = ? RETURNING name").into_iter().take(7));
        steps.push("SELECT 1 / 0".into());
        steps.push("ROLLBACK TO all_there".into());
        steps.extend(on("UPDATE customers SET name = name || 'y' WHERE id = ? RETURNING name").into_iter().skip(5));
        steps.push("COMMIT".into());
        steps.extend(on("SELECT id, name FROM customers WHERE id = ?"));
        steps.push("BEGIN".into());
        steps.extend(on("DELETE FROM customers WHERE id = ?"));
        steps.push("ROLLBACK".into());
        steps.extend(on("SELECT id, name FROM customers WHERE id = ?"));
        let (proxy, oracle) = (fixture.proxy().await, fixture.oracle().await);
        for step in &steps {
            let (proxy, oracle) = (fixture::answer(&proxy, step).await, fixture::answer(&oracle, step).await);
            assert_eq!(proxy, oracle, "left: Goldseam, right: PostgreSQL; {step}");
        }
        let clean_up = on("DELETE FROM customers WHERE id = ?").join("|");
        for step in clean_up.split('|') {
            proxy.simple_query(step).await.unwrap();
            oracle.simple_query(step).await.unwrap();
        }
    });
}
