//! Several statements in one simple query, and pipelines, that lead to several shards.

use super::{rest, same};
use crate::transactions::stage::{Stage, one};

#[test]
fn statements_of_one_query_are_one_transaction_over_all_shards() {
    let mut stage = Stage::new();
    same(
        &mut stage,
        &[
            "UPDATE items SET n = n - 1 WHERE id = A0; UPDATE items SET n = n + 1 WHERE id = B0",
            "SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0; SELECT count(*) FROM items WHERE id IN (A0, B0, A1)",
            "UPDATE items SET n = 7 WHERE id = A0; UPDATE items SET n = 1 / 0 WHERE id = B0; UPDATE items SET n = 9 WHERE id = A1",
            "UPDATE items SET n = 7 WHERE id = A0;\n -- é\n SELECT bogus FROM items WHERE id = B0; SELECT 1",
            "SELECT id, n FROM items WHERE id IN (A0, B0) ORDER BY id; UPDATE items SET note = 'x' WHERE id IN (A0, B0)",
            ";;SELECT n FROM items WHERE id = A0;;SELECT n FROM items WHERE id = B0;;",
        ],
    );
    stage.same_rows();
}

#[test]
fn begin_and_commit_among_them_mean_what_they_mean_to_postgresql() {
    let mut stage = Stage::new();
    same(
        &mut stage,
        &[
            "BEGIN; UPDATE items SET n = 1 WHERE id = A0; UPDATE items SET n = 2 WHERE id = B0; COMMIT",
            "UPDATE items SET n = 3 WHERE id = A0; BEGIN; UPDATE items SET n = 3 WHERE id = B0",
            "SELECT n FROM items WHERE id = A0; ROLLBACK; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
            "UPDATE items SET n = 4 WHERE id = A0; COMMIT; UPDATE items SET n = 4 WHERE id = B0; SELECT 1 / 0",
            "SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
            "UPDATE items SET n = 5 WHERE id = A0; UPDATE items SET n = 5 WHERE id = B0; ROLLBACK; UPDATE items SET n = 6 WHERE id = B1",
            "BEGIN; UPDATE items SET n = 8 WHERE id = A0; SAVEPOINT s; UPDATE items SET n = 8 WHERE id = B0; ROLLBACK TO s; COMMIT",
            "UPDATE items SET n = 9 WHERE id = A0; SAVEPOINT s; UPDATE items SET n = 9 WHERE id = B0",
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0; SHOW transaction_isolation; COMMIT",
            "BEGIN READ ONLY; SELECT n FROM items WHERE id = B0; UPDATE items SET n = 1 WHERE id = A0; COMMIT",
            "SELECT 1",
            "ROLLBACK; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
            "COMMIT; COMMIT; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
            "COMMIT AND CHAIN; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
            "BEGIN; UPDATE items SET n = 11 WHERE id = A0; COMMIT AND CHAIN; UPDATE items SET n = 12 WHERE id = B0; ROLLBACK",
            "SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
        ],
    );
    stage.same_rows();
}

#[test]
fn within_a_block_they_are_a_part_of_it() {
    let mut stage = Stage::new();
    same(
        &mut stage,
        &[
            "BEGIN",
            "UPDATE items SET n = 21 WHERE id = A0; UPDATE items SET n = 21 WHERE id = B0",
            "SAVEPOINT one; UPDATE items SET n = 22 WHERE id = A0; UPDATE items SET n = 1 / 0 WHERE id = B0",
            "SELECT 1; ROLLBACK TO one",
            "ROLLBACK TO one; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
            "COMMIT; BEGIN; UPDATE items SET n = 23 WHERE id = B1",
            "ROLLBACK",
        ],
    );
    stage.same_rows();
}

#[test]
fn settings_prepared_statements_and_cursors_go_along() {
    let mut stage = Stage::new();
    same(
        &mut stage,
        &[
            "SET statement_timeout = '11s'; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0; SHOW statement_timeout",
            "SET statement_timeout = '12s'; SELECT n FROM items WHERE id = A0; SELECT 1 / 0",
            "SHOW statement_timeout",
            "PREPARE p1 (bigint) AS SELECT n FROM items WHERE id = $1; EXECUTE p1 (A0); EXECUTE p1 (B0); DEALLOCATE p1",
            "SET LOCAL statement_timeout = '13s'; SHOW statement_timeout; SELECT n FROM items WHERE id = A0; SELECT n FROM items WHERE id = B0",
            "SHOW statement_timeout; RESET statement_timeout; SHOW statement_timeout",
            "DISCARD ALL; SELECT 1",
            "SELECT n FROM items WHERE id = A0; DISCARD ALL; SELECT n FROM items WHERE id = B0",
        ],
    );
}

#[test]
fn a_copy_may_stand_among_them() {
    let mut stage = Stage::new();
    for end in ["", "; SELECT 1 / 0"] {
        let sql = format!(
            "UPDATE items SET n = 31 WHERE id = A0; COPY lone FROM STDIN; UPDATE items SET n = 31 WHERE id = B0; SELECT count(*) FROM lone{end}"
        );
        let text = stage.text(&sql);
        let mut said = Vec::new();
        for wire in [&mut stage.proxy, &mut stage.plain] {
            wire.start(&text);
            wire.send(&[(b'd', b"700\tseven\n".to_vec()), (b'd', b"701\tmore\n".to_vec()), (b'c', vec![])]);
            said.push(rest(wire));
            wire.ok("DELETE FROM lone WHERE id IN (700, 701)");
        }
        assert_eq!(said[0], said[1], "left: Goldseam, right: PostgreSQL; {text}");
    }
    stage.same_rows();
}

#[test]
fn a_pipeline_that_moves_to_another_shard_is_one_transaction_over_both() {
    let mut stage = Stage::new();
    let pipelines: &[&[&str]] = &[
        &[
            "UPDATE items SET n = 41 WHERE id = A0",
            "UPDATE items SET n = 41 WHERE id = B0",
            "SELECT n FROM items WHERE id = A0",
        ],
        &["UPDATE items SET n = 42 WHERE id = A0", "UPDATE items SET n = 42 WHERE id = B0", "SELECT 1 / 0"],
        &[
            "UPDATE items SET n = 43 WHERE id = A0",
            "SELECT n FROM items WHERE id = B0",
            "UPDATE items SET n = 43 WHERE id = A1",
        ],
        &["UPDATE items SET n = 44 WHERE id = A0", "UPDATE items SET n = 1 / 0 WHERE id = B0", "SELECT 1"],
        &[
            "UPDATE items SET n = 45 WHERE id = A0",
            "UPDATE items SET n = 45 WHERE id IN (A0, B0)",
            "SELECT n FROM items WHERE id = B0",
        ],
        &[
            "UPDATE items SET n = 46 WHERE id = A0",
            "UPDATE items SET n = 46 WHERE id = B0",
            "COMMIT",
            "UPDATE items SET n = 47 WHERE id = B1",
        ],
        &[
            "UPDATE items SET n = 48 WHERE id = A0",
            "UPDATE items SET n = 48 WHERE id = B0",
            "BEGIN",
            "UPDATE items SET n = 49 WHERE id = B1",
        ],
        &["ROLLBACK"],
    ];
    for pipeline in pipelines {
        let mut said = Vec::new();
        for n in 0..2 {
            let texts: Vec<String> = pipeline.iter().map(|sql| stage.text(sql)).collect();
            let wire = if n == 0 { &mut stage.proxy } else { &mut stage.plain };
            for text in &texts {
                wire.send(&one(text));
            }
            wire.send(&[(b'S', vec![])]);
            said.push(rest(wire));
        }
        assert_eq!(said[0], said[1], "left: Goldseam, right: PostgreSQL; {pipeline:?}");
        if pipeline.last() != Some(&"UPDATE items SET n = 49 WHERE id = B1") {
            stage.same_rows();
        }
    }
}

#[test]
fn a_simple_query_ends_the_pipeline_before_it() {
    let mut stage = Stage::new();
    for end in
        ["UPDATE items SET n = 51 WHERE id = B0", "SELECT n FROM items WHERE id IN (A0, B0)", "SELECT 1 / 0", "COMMIT"]
    {
        let (begin, end) = (stage.text("UPDATE items SET n = 51 WHERE id = A0"), stage.text(end));
        let other = stage.text("UPDATE items SET n = 52 WHERE id = B1");
        for texts in [vec![&begin], vec![&begin, &other]] {
            let mut said = Vec::new();
            for wire in [&mut stage.proxy, &mut stage.plain] {
                texts.iter().for_each(|text| wire.send(&one(text)));
                wire.start(&end);
                said.push(rest(wire));
            }
            assert_eq!(said[0], said[1], "left: Goldseam, right: PostgreSQL; {texts:?} {end}");
            stage.same_rows();
        }
    }
}
