//! What a block over two shards cannot give, and is refused.

use super::stage::Stage;

#[test]
fn repeatable_read_holds_on_each_shard_and_serializable_is_refused_over_two() {
    let mut stage = Stage::new();
    let mut other = stage.own.plain();
    drop(std::mem::replace(&mut other, stage.own.shard(1)));
    stage.ask("BEGIN ISOLATION LEVEL REPEATABLE READ");
    stage.ask("SELECT n FROM items WHERE id = A0");
    assert_eq!(stage.ask("SELECT n FROM items WHERE id = B0").value(), "100");
    let text = stage.text("UPDATE items SET n = 5 WHERE id = B0");
    other.ok(&text);
    assert_eq!(stage.ask("SELECT n FROM items WHERE id = B0").value(), "100");
    assert_eq!(stage.ask("UPDATE items SET n = 6 WHERE id = B0").code(), "40001");
    stage.ask("ROLLBACK");
    for begin in [
        &["BEGIN ISOLATION LEVEL SERIALIZABLE"][..],
        &["BEGIN", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"],
        &["SET default_transaction_isolation = 'serializable'", "BEGIN"],
    ] {
        for sql in begin {
            assert_eq!(stage.ask(sql).code(), "");
        }
        assert_eq!(stage.ask("UPDATE items SET n = 7 WHERE id = A0").code(), "");
        let refused = stage.ask("UPDATE items SET n = 7 WHERE id = B0");
        assert_eq!((refused.code(), refused.status), ("0A000", 'E'), "{refused:?}");
        assert_eq!(stage.ask("COMMIT").tags, ["ROLLBACK"]);
        assert_eq!(stage.ask("RESET default_transaction_isolation").code(), "");
    }
}

#[test]
fn a_transaction_has_one_time_on_all_its_shards() {
    let mut stage = Stage::new();
    stage.ask("BEGIN");
    let told = stage.ask("SELECT now()::text FROM items WHERE id = A0").value().to_owned();
    assert_eq!(stage.ask("UPDATE items SET note = now()::text WHERE id = B0").tags, ["UPDATE 1"]);
    assert_eq!(stage.ask("SELECT note FROM items WHERE id = B0").value(), told);
    assert_eq!(stage.ask("SELECT now()::text FROM items WHERE id = B0").value(), told);
    assert_eq!(stage.ask("ROLLBACK").tags, ["ROLLBACK"]);
    stage.same_rows();
}

#[test]
fn a_query_of_several_statements_may_end_a_block_over_two_shards() {
    let mut stage = Stage::new();
    for end in ["COMMIT", "ROLLBACK", "RELEASE s", "ROLLBACK TO s"] {
        stage.same(&[
            "BEGIN",
            "SAVEPOINT s",
            "UPDATE items SET n = 1 WHERE id = A0",
            "UPDATE items SET n = 1 WHERE id = B0",
            &format!("SELECT n FROM items WHERE id = B0; {end}"),
            "ROLLBACK",
            "BEGIN",
            "SAVEPOINT s",
            "UPDATE items SET n = 1 WHERE id = A0",
            &format!("UPDATE items SET n = 1 WHERE id = B0; {end}"),
            "ROLLBACK",
        ]);
    }
    stage.same_rows();
    // Without its end, several statements of one query may lead the block to another shard.
    stage.same(&[
        "BEGIN; UPDATE items SET n = 1 WHERE id = A0",
        "UPDATE items SET n = 1 WHERE id = B0; SELECT n FROM items WHERE id = B1",
        "SAVEPOINT s; UPDATE items SET n = 2 WHERE id = A0",
        "UPDATE items SET n = 2 WHERE id = B0",
        "ROLLBACK TO s",
        "SELECT n FROM items WHERE id = A0",
        "COMMIT",
    ]);
    stage.same_rows();
}

#[test]
fn what_a_connection_remembers_of_sequences_is_not_asked_of_two() {
    let mut stage = Stage::new();
    stage.ask("BEGIN");
    stage.ask("UPDATE items SET n = 1 WHERE id = A0");
    stage.ask("UPDATE items SET n = 1 WHERE id = B0");
    let refused = stage.ask("SELECT lastval()");
    assert_eq!((refused.code(), refused.status), ("0A000", 'E'), "{refused:?}");
    stage.ask("ROLLBACK");
}
