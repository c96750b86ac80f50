//! LISTEN and NOTIFY between clients, also in transactions over several shards; advisory locks.

use std::time::Duration;

use crate::raw::Wire;
use crate::transactions::stage::{Stage, prepared};

/// Channels and payloads that have come.
fn heard(wire: &mut Wire) -> Vec<(String, String)> {
    std::thread::sleep(Duration::from_millis(150));
    wire.ok("SELECT 1");
    std::mem::take(&mut wire.notifications)
}

fn told(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}

#[test]
fn notifications_reach_every_client_of_every_proxy_once_and_at_commit() {
    let mut stage = Stage::new();
    let mut elsewhere = stage.own.connect(stage.own.proxy(""));
    let mut near = stage.own.connect(stage.own.proxy(""));
    for wire in [&mut elsewhere, &mut near] {
        wire.ok("LISTEN news");
    }
    stage.ask("NOTIFY news, 'alone'");
    stage.ask("BEGIN");
    stage.ask("NOTIFY news, 'late'");
    stage.ask("NOTIFY news, 'late'");
    assert_eq!(heard(&mut near), [told("news", "alone")]);
    stage.ask("UPDATE items SET n = 7 WHERE id = A0");
    stage.ask("UPDATE items SET n = 7 WHERE id = B0");
    assert_eq!(heard(&mut near), []);
    assert_eq!(stage.ask("COMMIT").tags, ["COMMIT"]);
    stage.ask("BEGIN");
    stage.ask("UPDATE items SET n = 8 WHERE id = A0");
    stage.ask("SELECT pg_notify('news', 'called')");
    stage.ask("UPDATE items SET n = 8 WHERE id = B0");
    assert_eq!(stage.ask("COMMIT").tags, ["COMMIT"]);
    stage.ask("BEGIN");
    stage.ask("UPDATE items SET n = 9 WHERE id IN (A0, B0)");
    stage.ask("NOTIFY news, 'never'");
    stage.ask("ROLLBACK");
    assert_eq!(heard(&mut near), [told("news", "late"), told("news", "called")]);
    assert_eq!(heard(&mut elsewhere), [told("news", "alone"), told("news", "late"), told("news", "called")]);
    near.ok("UNLISTEN *");
    stage.ask("NOTIFY news, 'more'");
    assert_eq!(heard(&mut near), []);
    assert_eq!(heard(&mut elsewhere), [told("news", "more")]);
    let text = stage.text("UPDATE items SET n = 8 WHERE id IN (A0, B0)");
    stage.plain.ok(&text);
    stage.same_rows();
}

#[test]
fn advisory_locks_exclude_over_all_proxies_and_shards() {
    let mut stage = Stage::new();
    let mut other = stage.own.connect(stage.own.proxy(""));
    let key = stage.keys[0][0];
    stage.ask("BEGIN");
    stage.ask("UPDATE items SET n = 3 WHERE id = B0");
    stage.proxy.ok(&format!("SELECT pg_advisory_xact_lock({key})"));
    stage.ask("UPDATE items SET n = 3 WHERE id = A0");
    let attempt = format!("SELECT pg_try_advisory_lock({key})");
    assert_eq!(other.one(&attempt), "f");
    assert_eq!(stage.ask("COMMIT").tags, ["COMMIT"]);
    assert_eq!(other.one(&attempt), "t");
    let second = format!("SELECT pg_try_advisory_xact_lock({key})");
    assert_eq!(stage.proxy.one(&second), "f");
    assert_eq!(other.one(&format!("SELECT pg_advisory_unlock({key})")), "t");
    assert_eq!(stage.proxy.one(&second), "t");
    for n in 0..2 {
        stage.plain.ok(&format!("UPDATE items SET n = 3 WHERE id = {}", stage.keys[n][0]));
    }
    stage.same_rows();
}

#[test]
fn a_temporary_table_may_be_written_beside_several_shards() {
    let mut stage = Stage::new();
    stage.same(&[
        "CREATE TEMP TABLE mine (id bigint)",
        "BEGIN",
        "INSERT INTO mine VALUES (A0), (B0)",
        "UPDATE items SET n = 61 WHERE id IN (A0, B0)",
        "COMMIT",
        "BEGIN",
        "INSERT INTO mine VALUES (A1)",
        "UPDATE items SET n = 62 WHERE id IN (A0, B0)",
        "ROLLBACK",
        "SELECT count(*) FROM mine",
        "SELECT sum(n) FROM items JOIN mine USING (id)",
    ]);
    stage.same_rows();
    for shard in 0..2 {
        let keys = stage.keys[shard][0];
        assert_eq!(stage.own.shard(shard).one(&format!("SELECT n FROM items WHERE id = {keys}")), "61");
        let _ = prepared(&mut stage.own.shard(shard));
    }
}
