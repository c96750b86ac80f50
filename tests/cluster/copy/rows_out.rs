//! Rows go out: tables of every kind, and queries, in every format.

use super::stage::{Stage, copy_out};

fn filled() -> Stage {
    let mut stage = Stage::new();
    let rows: Vec<u8> =
        (1..=200).flat_map(|n| format!("{n}\t{}\tit \"is\", {n}\\t\\\\\n", n % 9).into_bytes()).collect();
    stage.copy_in("COPY items FROM STDIN", &rows, 1000);
    stage.copy_in(
        "COPY items FROM STDIN",
        b"1000\t\\N\t\\N\n1001\t0\t\n1002\t0\t\\\\.\n1003\t0\tline\\nline\\r\n",
        1000,
    );
    stage.copy_in("COPY facts FROM STDIN", b"1\tone\t\\N\n2\ttwo\tx\n", 1000);
    stage
}

/// All data of a COPY, row by row; its preamble, or header, and its trailer apart.
fn same(stage: &mut Stage, sql: &str) -> Vec<Vec<u8>> {
    let (proxy, heard) = copy_out(&mut stage.proxy, sql);
    let (plain, expected) = copy_out(&mut stage.plain, sql);
    assert_eq!(heard, expected, "left: Goldseam, right: PostgreSQL; {sql}");
    let binary = sql.to_lowercase().contains("binary");
    let rows = |data: Vec<Vec<u8>>| {
        let mut data = if binary { binary_rows(&data.concat()) } else { data };
        let head = if sql.to_lowercase().contains("header") && !data.is_empty() { 1 } else { 0 };
        if !sql.to_lowercase().contains("order by") {
            data[head..].sort();
        }
        data
    };
    let (proxy, plain) = (rows(proxy), rows(plain));
    assert!(
        proxy == plain,
        "{sql}: {} here, {} there\n{:?}\n{:?}",
        proxy.len(),
        plain.len(),
        proxy.first(),
        plain.first()
    );
    proxy
}

fn binary_rows(data: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(&data[..11], b"PGCOPY\n\xff\r\n\0");
    assert_eq!(&data[data.len() - 2..], b"\xff\xff");
    let (mut at, mut rows) = (19, Vec::new());
    while at < data.len() - 2 {
        let start = at;
        let fields = i16::from_be_bytes(data[at..at + 2].try_into().unwrap());
        at += 2;
        for _ in 0..fields {
            let length = i32::from_be_bytes(data[at..at + 4].try_into().unwrap());
            at += 4 + length.max(0) as usize;
        }
        rows.push(data[start..at].to_vec());
    }
    rows
}

#[test]
fn a_table_is_gathered_from_all_shards() {
    let mut stage = filled();
    for options in [
        "",
        "(FORMAT csv, HEADER)",
        "(FORMAT csv, FORCE_QUOTE *, NULL 'nil', QUOTE '''', ESCAPE E'\\\\', DELIMITER ';')",
        "(FORMAT binary)",
        "(HEADER, DELIMITER '|')",
        "WITH CSV HEADER FORCE QUOTE note",
        "(ENCODING 'latin1')",
    ] {
        for table in ["items", "items (note, id)", "facts", "facts (name)", "docs"] {
            same(&mut stage, &format!("COPY {table} TO STDOUT {options}"));
        }
    }
    assert_eq!(same(&mut stage, "COPY items TO STDOUT (FORMAT csv, HEADER)").len(), 205);
    assert_eq!(same(&mut stage, "COPY items TO STDOUT (FORMAT binary)").len(), 204);
}

#[test]
fn a_query_over_several_shards_is_written_as_copy_does() {
    let mut stage = filled();
    for options in [
        "",
        "(FORMAT csv, HEADER)",
        "(FORMAT csv, FORCE_QUOTE (note), NULL 'nil', QUOTE '''', ESCAPE E'\\\\', DELIMITER ';')",
        "(FORMAT csv, FORCE_QUOTE *, NULL '0')",
        "(FORMAT binary)",
        "(HEADER, DELIMITER 'i', NULL '')",
    ] {
        for query in [
            "SELECT * FROM items",
            "SELECT id, note FROM items ORDER BY id DESC",
            "SELECT note FROM items WHERE n = 0",
            "SELECT count(*), n FROM items GROUP BY n",
            "SELECT * FROM items WHERE id = 7",
            "SELECT i.id, f.name FROM items i JOIN facts f ON f.id = i.n",
            "SELECT * FROM facts",
            "VALUES (1, 'a'), (2, 'b')",
            "UPDATE items SET n = n RETURNING id, note",
            "SELECT sum(n) AS \"the sum\" FROM items",
            "SELECT * FROM items WHERE false",
        ] {
            same(&mut stage, &format!("COPY ({query}) TO STDOUT {options}"));
        }
    }
}

#[test]
fn errors_and_transactions() {
    let mut stage = filled();
    for sql in [
        "COPY (SELECT 1 / (n - n) FROM items) TO STDOUT",
        "COPY (SELECT nope FROM items) TO STDOUT",
        "COPY (DELETE FROM items) TO STDOUT",
        "COPY items (nope) TO STDOUT",
        "COPY items TO STDOUT (FORMAT nope)",
    ] {
        same(&mut stage, sql);
    }
    stage.same("BEGIN");
    stage.same("DELETE FROM items WHERE n = 3");
    same(&mut stage, "COPY items TO STDOUT");
    same(&mut stage, "COPY (SELECT * FROM items WHERE n < 4) TO STDOUT");
    same(&mut stage, "COPY (SELECT 1 / (n - n) FROM items) TO STDOUT");
    same(&mut stage, "COPY items TO STDOUT");
    stage.same("ROLLBACK");
    same(&mut stage, "COPY items TO STDOUT");
}

#[test]
fn what_went_out_comes_in_again() {
    let mut stage = filled();
    for options in ["", "(FORMAT csv, HEADER)", "(FORMAT binary)"] {
        let (data, _) = copy_out(&mut stage.proxy, &format!("COPY items TO STDOUT {options}"));
        stage.same("DELETE FROM items");
        stage.copy_in(&format!("COPY items FROM STDIN {options}"), &data.concat(), 100);
        assert_eq!(stage.same_table("items").iter().sum::<usize>(), 204);
    }
}
