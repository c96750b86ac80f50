//! PREPARE, EXECUTE and DEALLOCATE of statements over several shards.

use super::{messages, rest, same};
use crate::transactions::stage::Stage;

#[test]
fn execute_answers_over_all_shards_with_any_arguments() {
    let mut stage = Stage::new();
    // Places in the text are not compared: the servers see another one.
    stage.same(&[
        "PREPARE q1 AS SELECT id, n FROM items WHERE id = ANY ($1) ORDER BY id",
        "EXECUTE q1 ('{A0,B0,A1}')",
        "EXECUTE q1 (ARRAY[A0, B0])",
        "EXECUTE q1 (NULL)",
        "EXECUTE q1 ('nonsense')",
        "PREPARE q2 (bigint, int) AS SELECT sum(n), count(*) FROM items WHERE id IN (A0, $1) AND n > $2",
        "EXECUTE q2 (B0, 0)",
        "EXECUTE q2 (B0, 1.6)",
        "EXECUTE q2 (B0 + 0, length('abc'))",
        "EXECUTE q2 (B0)",
        "EXECUTE q2 (B0, 'x'::text)",
        "EXECUTE q2 (B0, (SELECT 1))",
        "PREPARE q3 (bigint) AS SELECT n FROM items WHERE id = $1",
        "EXECUTE q3 (A0)",
        "EXECUTE q3 (B0 + 0)",
        "EXECUTE q3 ('B0')",
        "PREPARE q4 (text, bigint, bigint) AS UPDATE items SET note = $1 WHERE id IN ($2, $3)",
        "EXECUTE q4 ('it''s \\ here', A0, B0)",
        "SELECT id, note FROM items WHERE id IN (A0, B0) ORDER BY id",
        "BEGIN",
        "EXECUTE q4 (upper('gone'), A0, B0)",
        "EXECUTE q2 (B0, 1 / 0)",
        "EXECUTE q2 (B0, 1)",
        "ROLLBACK",
        "SELECT id, note FROM items WHERE id IN (A0, B0) ORDER BY id",
        "DEALLOCATE q1",
        "EXECUTE q1 ('{A0}')",
        "DEALLOCATE ALL",
        "EXECUTE q2 (1, 2)",
    ]);
    stage.same_rows();
}

#[test]
fn a_typed_statement_of_sql_may_be_bound_by_the_protocol() {
    let mut stage = Stage::new();
    same(&mut stage, &["PREPARE q5 (bigint, text) AS SELECT count(*) FROM items WHERE id IN (A0, $1) AND note <> $2"]);
    for value in ["A1", "B0", "B1"] {
        let value = stage.text(value);
        let (proxy, plain) = (stage.proxy.execute("q5", &[&value, "x"]), stage.plain.execute("q5", &[&value, "x"]));
        assert_eq!(proxy.comparable(), plain.comparable(), "{value}");
    }
}

#[test]
fn execute_within_the_extended_protocol() {
    let mut stage = Stage::new();
    same(
        &mut stage,
        &[
            "PREPARE q6 (bigint) AS SELECT id, n, note FROM items WHERE id = $1",
            "PREPARE q7 (bigint, bigint) AS SELECT id, n, note FROM items WHERE id IN ($1, $2) ORDER BY id",
            "PREPARE q8 (int, bigint, bigint) AS UPDATE items SET n = $1 WHERE id IN ($2, $3)",
        ],
    );
    for sql in [
        "EXECUTE q6 (A0)",
        "EXECUTE q6 (B0 + 0)",
        "EXECUTE q7 (A0, B0)",
        "EXECUTE q7 (A0, B0 + 0)",
        "EXECUTE q8 (61, A0, B0)",
        "EXECUTE q8 (1 / 0, A0, B0)",
        "EXECUTE q9 (1)",
    ] {
        for formats in [&[0u8, 0][..], &[0, 1, 0, 1]] {
            let text = stage.text(sql);
            let mut said = Vec::new();
            for wire in [&mut stage.proxy, &mut stage.plain] {
                let bind = [&[0, 0, 0, 0, 0, 0], formats].concat();
                wire.send(&[
                    (b'P', [b"\0", text.as_bytes(), b"\0\0\0"].concat()),
                    (b'D', b"S\0".to_vec()),
                    (b'B', bind),
                    (b'D', b"P\0".to_vec()),
                    (b'E', vec![0; 5]),
                    (b'S', vec![]),
                ]);
                said.push(rest(wire));
            }
            assert_eq!(said[0], said[1], "left: Goldseam, right: PostgreSQL; {text} {formats:?}");
        }
    }
    assert_eq!(messages(&mut stage.proxy, "SELECT 1").len(), 4);
    stage.same_rows();
}
