//! Statements over both shards, in blocks and alone: each is done on both, or on none.

use super::stage::{Stage, one, prepared};
use crate::own::eventually;

#[test]
fn statements_over_both_shards_take_part_in_a_block() {
    let mut stage = Stage::new();
    let steps = [
        "BEGIN",
        "UPDATE items SET n = n + 1 WHERE id IN (A0, B0)",
        "SELECT n FROM items WHERE id = A0",
        "SELECT id, n FROM items WHERE id IN (A0, A1, B0) ORDER BY id",
        "SAVEPOINT s",
        "UPDATE items SET n = n * 2 WHERE id IN (A0, B0, B1)",
        "SELECT sum(n) FROM items WHERE id IN (A0, B0, B1)",
        "ROLLBACK TO s",
        "SELECT sum(n) FROM items WHERE id IN (A0, B0, B1)",
        "UPDATE items SET n = n + 7 WHERE id = B1",
        "SAVEPOINT t",
        "RELEASE s",
        "DELETE FROM items WHERE id IN (A2, B2)",
        "COMMIT",
    ];
    stage.same(&steps);
    stage.same_rows();
    stage.same_extended(&steps);
    stage.same_rows();
}

#[test]
fn an_error_of_one_shard_in_a_block_fails_all_of_it_until_a_savepoint() {
    let mut stage = Stage::new();
    for steps in [
        &[
            "BEGIN",
            "UPDATE items SET n = 99 WHERE id = B0",
            "SAVEPOINT s",
            "UPDATE items SET n = 1 / (n - 99) WHERE id IN (A0, B0)",
            "SELECT 1",
            "SELECT n FROM items WHERE id = A0",
            "ROLLBACK TO s",
            "SELECT n FROM items WHERE id = A0",
            "UPDATE items SET n = n + 1 WHERE id IN (A0, B0)",
            "COMMIT",
        ][..],
        &[
            "BEGIN",
            "UPDATE items SET n = 1 / (n - 101) WHERE id IN (A0, B0, B1)",
            "COMMIT",
            "SELECT n FROM items WHERE id = A0",
        ],
        &["BEGIN", "UPDATE items SET n = 1 / (n - 101) WHERE id IN (A0, B0, B1)", "ROLLBACK"],
    ] {
        stage.same(steps);
        stage.same_rows();
    }
}

#[test]
fn a_statement_alone_is_done_on_both_shards_or_on_none() {
    let mut stage = Stage::new();
    stage.same(&["UPDATE items SET n = 1 / (n - 100) WHERE id IN (A0, B0)"]);
    stage.same_rows();
    stage.same(&["UPDATE items SET n = 50 WHERE id = B0", "UPDATE items SET n = 1 / (n - 50) WHERE id IN (A0, B0)"]);
    stage.same_rows();
    stage.same_extended(&[
        "UPDATE items SET n = 1 / (n - 50) WHERE id IN (B0, A0)",
        "UPDATE items SET n = n + 1 WHERE id IN (B0, A0)",
    ]);
    stage.same_rows();
    stage.same(&["DELETE FROM items WHERE id IN (A1, B1) RETURNING n", "DELETE FROM items WHERE id IN (A1, B1)"]);
    stage.same_rows();
    stage.same(&["INSERT INTO items VALUES (A1, 1), (B1, 2), (A0, 3)", "INSERT INTO items VALUES (A1, 1), (B1, 2)"]);
    stage.same_rows();
    for shard in [0, 1] {
        eventually("nothing is left prepared", || prepared(&mut stage.own.shard(shard)) == "0");
    }
}

#[test]
fn a_pipeline_that_writes_on_both_shards_is_one_transaction() {
    let mut stage = Stage::new();
    for steps in [
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "UPDATE items SET n = n + 1 WHERE id = A1"][..],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "UPDATE items SET n = 1 / 0 WHERE id = A1"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "UPDATE items SET n = 1 / 0 WHERE id = A1", "SELECT 1"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "nonsense", "SELECT 1"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "COMMIT", "UPDATE items SET n = 1 / 0 WHERE id = A1"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "ROLLBACK", "UPDATE items SET n = n + 3 WHERE id = A1"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "SAVEPOINT s", "UPDATE items SET n = n + 3 WHERE id = A1"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "UPDATE items SET n = n + 1 WHERE id IN (A1, B0)"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "UPDATE items SET n = 1 / (n - 100) WHERE id IN (A2, B2)"],
        &["UPDATE items SET n = n + 1 WHERE id IN (A0, B0)", "BEGIN", "UPDATE items SET n = n + 3 WHERE id = A1"],
    ] {
        let texts: Vec<String> = steps.iter().map(|sql| stage.text(sql)).collect();
        let mut replies = Vec::new();
        for wire in [&mut stage.proxy, &mut stage.plain] {
            for text in &texts {
                wire.send(&one(text));
            }
            wire.send(&[(b'S', vec![])]);
            replies.push([wire.collect().comparable(), wire.query("ROLLBACK")]);
        }
        assert_eq!(replies[0], replies[1], "left: Goldseam, right: PostgreSQL; {steps:#?}");
        stage.same_rows();
    }
}

#[test]
fn a_failed_end_of_a_statement_alone_undoes_it_on_both() {
    let mut stage = Stage::new();
    for mut wire in [stage.own.shard(0), stage.own.shard(1), stage.own.plain()] {
        wire.ok("CREATE TABLE IF NOT EXISTS owners (id int PRIMARY KEY)");
        wire.ok("DO $$ BEGIN ALTER TABLE items ADD COLUMN owner int REFERENCES owners DEFERRABLE INITIALLY DEFERRED; \
                 EXCEPTION WHEN duplicate_column THEN NULL; END $$");
    }
    // The new column is the planner's from the next reading of the catalog on.
    let update = stage.text("UPDATE items SET owner = 7 WHERE id IN (A0, B0)");
    eventually("the column is known", || stage.proxy.query(&update).code() == "23503");
    stage.same(&["UPDATE items SET owner = 7, n = 5 WHERE id IN (A0, B0)"]);
    stage.same_rows();
    stage.same_extended(&["UPDATE items SET owner = 7, n = 5 WHERE id IN (A0, B0)"]);
    stage.same_rows();
}
