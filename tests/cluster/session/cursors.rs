//! Cursors over several shards, beside those of one PostgreSQL.

use std::time::Duration;

use super::{rest, same};
use crate::own;
use crate::transactions::stage::Stage;

const QUERY: &str = "SELECT id, n, note FROM items WHERE id IN (A0, A1, A2, B0, B1, B2) ORDER BY id";

/// DECLARE with these words around CURSOR, then what is asked, then the end.
#[track_caller]
fn walk(stage: &mut Stage, before: &str, after: &str, asked: &[&str]) {
    let declare = format!("DECLARE c {before} CURSOR {after} FOR {QUERY}");
    let mut all = vec!["BEGIN", &declare];
    all.extend(asked);
    all.push("ROLLBACK");
    same(stage, &all);
}

#[test]
fn a_cursor_goes_forward() {
    let mut stage = Stage::new();
    for (before, after) in
        [("", ""), ("NO SCROLL", ""), ("SCROLL", ""), ("ASENSITIVE", "WITHOUT HOLD"), ("", "WITH HOLD")]
    {
        walk(
            &mut stage,
            before,
            after,
            &[
                "FETCH c",
                "FETCH 2 FROM c",
                "MOVE NEXT IN c",
                "FETCH FORWARD 1 c",
                "FETCH ALL FROM c",
                "FETCH c",
                "FETCH ALL IN c",
                "CLOSE c",
            ],
        );
        walk(&mut stage, before, after, &["MOVE 4 FROM c", "FETCH NEXT c", "MOVE ALL c", "MOVE ALL c", "CLOSE ALL"]);
        walk(
            &mut stage,
            before,
            after,
            &["FETCH RELATIVE 3 FROM c", "FETCH ABSOLUTE 5 FROM c", "FETCH ABSOLUTE 9 FROM c"],
        );
    }
}

#[test]
fn a_scrolling_cursor_goes_everywhere() {
    let mut stage = Stage::new();
    for after in ["", "WITH HOLD"] {
        walk(
            &mut stage,
            "SCROLL",
            after,
            &[
                "FETCH 3 FROM c",
                "FETCH PRIOR FROM c",
                "FETCH BACKWARD 5 FROM c",
                "FETCH BACKWARD c",
                "FETCH LAST FROM c",
                "FETCH NEXT FROM c",
                "FETCH BACKWARD ALL FROM c",
                "FETCH ABSOLUTE 2 FROM c",
                "FETCH 0 FROM c",
                "FETCH RELATIVE -1 FROM c",
                "FETCH ABSOLUTE -2 FROM c",
                "FETCH FIRST FROM c",
                "MOVE FORWARD ALL IN c",
                "MOVE BACKWARD ALL IN c",
                "MOVE ABSOLUTE 3 IN c",
                "MOVE 0 IN c",
                "FETCH FORWARD -2 FROM c",
                "FETCH ABSOLUTE 0 FROM c",
                "FETCH RELATIVE 0 FROM c",
            ],
        );
    }
}

#[test]
fn without_scroll_it_turns_back_only_where_postgresql_would() {
    let mut stage = Stage::new();
    let all = "FROM items WHERE id IN (A0, A1, B0, B1)";
    for (scroll, query) in [
        ("NO SCROLL", format!("SELECT id {all} ORDER BY id")),
        ("", format!("SELECT id {all} ORDER BY n, id")),
        ("", format!("SELECT n, count(*) {all} GROUP BY n ORDER BY n")),
        ("", format!("SELECT DISTINCT n {all} ORDER BY n")),
        ("", format!("SELECT id {all} ORDER BY n, id FOR UPDATE")),
        ("SCROLL", format!("SELECT n, count(*) {all} GROUP BY n ORDER BY n")),
    ] {
        for back in ["FETCH PRIOR FROM c", "FETCH FIRST FROM c", "MOVE BACKWARD ALL c"] {
            let declare = format!("DECLARE c {scroll} CURSOR FOR {query}");
            same(&mut stage, &["BEGIN", &declare, "FETCH 2 FROM c", back, "ROLLBACK"]);
        }
    }
}

#[test]
fn a_cursor_lives_as_long_as_its_transaction_or_its_savepoint() {
    let mut stage = Stage::new();
    let declare = format!("DECLARE c CURSOR FOR {QUERY}");
    let hold = format!("DECLARE h CURSOR WITH HOLD FOR {QUERY}");
    same(
        &mut stage,
        &[
            &declare,
            "BEGIN",
            &declare,
            &declare,
            "ROLLBACK",
            "BEGIN",
            &declare,
            "COMMIT",
            "FETCH c",
            "BEGIN",
            "SAVEPOINT s",
            &declare,
            "FETCH c",
            "ROLLBACK TO s",
            "FETCH c",
            "ROLLBACK",
            "BEGIN",
            "SAVEPOINT s",
            &declare,
            "RELEASE s",
            "SAVEPOINT t",
            "FETCH 2 c",
            "ROLLBACK TO t",
            "FETCH c",
            "COMMIT",
            "BEGIN",
            &hold,
            "FETCH 2 h",
            "UPDATE items SET n = 5 WHERE id = A0",
            "COMMIT",
            "FETCH 2 h",
            "BEGIN",
            "FETCH h",
            "ROLLBACK",
            "FETCH h",
            "CLOSE h",
            "CLOSE h",
            "BEGIN",
            &hold,
            "ROLLBACK",
            "FETCH h",
            &hold,
            "FETCH 3 FROM h",
            &hold,
            "CLOSE ALL",
            "FETCH h",
            &hold,
            "DISCARD ALL",
            "FETCH h",
            "CLOSE nobody",
            "MOVE nobody",
            &format!(
                "DECLARE a CURSOR FOR {QUERY}; FETCH 2 FROM a; CLOSE a; DECLARE a BINARY CURSOR FOR {QUERY}; FETCH a"
            ),
            "FETCH a",
        ],
    );
}

#[test]
fn a_cursor_sees_what_was_there_when_it_was_declared() {
    let mut stage = Stage::new();
    let declare = format!("DECLARE c CURSOR FOR {QUERY}");
    same(
        &mut stage,
        &[
            "BEGIN",
            "UPDATE items SET n = 71 WHERE id IN (A0, B0)",
            &declare,
            "FETCH c",
            "UPDATE items SET n = 72 WHERE id IN (A0, B0, A1, B1, A2, B2)",
            "FETCH 2 c",
            &format!("DECLARE d CURSOR FOR {QUERY}"),
            "FETCH d",
            "FETCH c",
            "FETCH 2 FROM d",
            "FETCH ALL c",
            "FETCH ALL d",
            "SELECT n FROM items WHERE id = A0",
            "COMMIT",
        ],
    );
    stage.same_rows();
}

#[test]
fn parameters_formats_and_portals_of_the_protocol() {
    let mut stage = Stage::new();
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    let ids = stage.text("{A0,B0,A1}");
    for binary in [false, true] {
        let mut said = Vec::new();
        let word = if binary { "BINARY " } else { "" };
        for wire in [&mut stage.proxy, &mut stage.plain] {
            let parse = |sql: &str| (b'P', [b"\0", sql.as_bytes(), b"\0\0\0"].concat());
            let format = if binary { vec![0, 1, 0, 1] } else { vec![0, 0] };
            let mut bind = vec![0, 0, 0, 0, 0, 1];
            bind.extend((ids.len() as u32).to_be_bytes());
            bind.extend(ids.as_bytes());
            bind.extend(&format);
            wire.ok("BEGIN");
            wire.send(&[
                parse(&format!("DECLARE cur {word}CURSOR FOR SELECT id, n FROM items WHERE id = ANY ($1) ORDER BY id")),
                (b'D', text("S")),
                (b'B', bind),
                (b'D', text("P")),
                (b'E', vec![0; 5]),
                (b'S', vec![]),
            ]);
            said.push(rest(wire));
            wire.send(&[(b'D', text("Pcur")), (b'S', vec![])]);
            said.push(rest(wire));
            wire.send(&[
                parse("FETCH 2 FROM cur"),
                (b'D', text("S")),
                (b'B', [vec![0; 6], format].concat()),
                (b'D', text("P")),
                (b'E', vec![0; 5]),
                (b'E', vec![0; 5]),
                (b'S', vec![]),
            ]);
            said.push(rest(wire));
            if !binary {
                wire.send(&[(b'E', [text("cur"), vec![0, 0, 0, 1]].concat()), (b'S', vec![])]);
                said.push(rest(wire));
            }
            wire.send(&[parse("CLOSE cur"), (b'B', vec![0; 8]), (b'E', vec![0; 5]), (b'S', vec![])]);
            said.push(rest(wire));
            wire.send(&[(b'D', text("Pcur")), (b'S', vec![])]);
            said.push(rest(wire));
            wire.ok("ROLLBACK");
        }
        let plain = said.split_off(said.len() / 2);
        assert_eq!(said, plain, "left: Goldseam, right: PostgreSQL; binary {binary}");
    }
}

#[test]
fn rows_of_a_cursor_of_text_may_be_fetched_in_binary_form() {
    let mut stage = Stage::new();
    let query = stage.text(
        "SELECT id, n, note, id * 1.5 AS d, ARRAY[n, NULL] AS a, now() > '2000-01-01' AS b, NULL::date AS e, n::float8 / 3 AS f, \
         '{\"k\": 1}'::jsonb AS j, interval '1 day' AS i, '1,5'::varchar(5) AS v FROM items WHERE id IN (A0, B0, A1) ORDER BY id",
    );
    let mut said = Vec::new();
    for wire in [&mut stage.proxy, &mut stage.plain] {
        wire.ok("BEGIN");
        wire.ok(&format!("DECLARE c CURSOR FOR {query}"));
        for count in [2, 5] {
            wire.send(&[
                (b'P', format!("\0FETCH {count} FROM c\0\0\0").into_bytes()),
                (b'B', vec![0, 0, 0, 0, 0, 0, 0, 1, 0, 1]),
                (b'D', b"P\0".to_vec()),
                (b'E', vec![0; 5]),
                (b'S', vec![]),
            ]);
            said.push(rest(wire));
        }
        wire.ok("ROLLBACK");
    }
    assert_eq!(said[..2], said[2..], "left: Goldseam, right: PostgreSQL");
}

#[test]
fn many_rows_are_fetched_in_parts() {
    let mut stage = Stage::new();
    let many = "SELECT a.id, g FROM items a, generate_series(1, 4000) g WHERE a.id IN (A0, B0) ORDER BY a.id, g";
    same(
        &mut stage,
        &[
            "BEGIN",
            &format!("DECLARE c NO SCROLL CURSOR FOR {many}"),
            "FETCH 10 FROM c",
            "MOVE 3000 FROM c",
            "FETCH 2000 FROM c",
            "SELECT count(*) FROM items WHERE id IN (A0, B0)",
            "FETCH ALL FROM c",
            "COMMIT",
        ],
    );
}

#[test]
fn a_cursor_whose_shard_has_died_is_an_error_and_the_session_lives_on() {
    let own: &own::Own = Box::leak(Box::new(own::Own::start()));
    let mut stage = Stage::on(own, own.proxy(""));
    stage.ask("BEGIN");
    let declare = stage.text(&format!("DECLARE c CURSOR FOR {QUERY}"));
    stage.proxy.ok(&declare);
    stage.proxy.ok("FETCH 2 FROM c");
    let mut shard = own.shard(1);
    shard.ok("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'");
    std::thread::sleep(Duration::from_millis(200));
    let refused = stage.proxy.query("FETCH ALL FROM c");
    assert!(refused.error.is_some() && refused.status == 'E', "{refused:?}");
    assert_eq!(stage.ask("ROLLBACK").status, 'I');
    assert_eq!(stage.ask("FETCH c").code(), "34000");
    assert_eq!(stage.ask("SELECT count(*) FROM items WHERE id IN (A0, B0)").value(), "2");
}

#[test]
fn a_statement_that_fetches_is_prepared_anew_for_each_cursor() {
    let mut stage = Stage::new();
    for _ in 0..3 {
        stage.same_extended(&[
            "BEGIN",
            "DECLARE c CURSOR WITH HOLD FOR SELECT n FROM items WHERE id = A0",
            "FETCH 1 FROM c",
            "COMMIT",
            "CLOSE c",
        ]);
        for wire in [&mut stage.proxy, &mut stage.plain] {
            wire.send(&[
                (b'P', b"\0FETCH 1 FROM c\0\0\0".to_vec()),
                (b'D', b"S\0".to_vec()),
                (b'B', vec![0; 8]),
                (b'D', b"P\0".to_vec()),
                (b'E', vec![0; 5]),
                (b'S', vec![]),
            ]);
            assert!(rest(wire).iter().any(|(tag, said)| *tag == 'E' && said.contains("C34000")));
        }
    }
}
