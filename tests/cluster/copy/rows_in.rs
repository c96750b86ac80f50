//! Rows come in: every format and option, into tables of every kind.

use super::stage::{SHARDS, Stage};

fn items(count: usize) -> Vec<u8> {
    (1..=count).flat_map(|n| format!("{n}\t{}\tnote \\t {n}\\n\n", n * 7).into_bytes()).collect()
}

#[test]
fn rows_go_where_their_keys_lead() {
    let mut stage = Stage::new();
    let heard = stage.copy_in("COPY items FROM STDIN", &items(300), 1000);
    assert_eq!(heard[1..], ["C COPY 300", "Z I"]);
    let counts = stage.same_table("items");
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
    for id in [1, 17, 255, 300] {
        stage.same(&format!("SELECT * FROM items WHERE id = {id}"));
    }
    // Byte by byte.
    let more: Vec<u8> = items(330).into_iter().skip(items(300).len()).collect();
    stage.copy_in("COPY items FROM STDIN", &more, 1);
    stage.same_table("items");
}

#[test]
fn text_with_every_escape() {
    let mut stage = Stage::new();
    let data = b"\\x31\\060\ta\\\\b\t2024-01-01\nten\\\\nant\tx\\\ny\t2024-01-02\n\\N2\t\\N\t2024-01-03\nlast\tno end\t2024-01-04";
    for step in [1, 3, 1000] {
        stage.copy_in("COPY docs (tenant, body, day) FROM STDIN", data, step);
        stage.same_table("docs");
        stage.same("DELETE FROM docs WHERE tenant IN ('10', E'ten\\\\nant', 'N2', 'last')");
    }
    stage.copy_in(
        "COPY docs (tenant, body, day) FROM STDIN",
        b"a\tb\t2024-01-01\r\nc\td\t2024-01-02\r\n\\.\r\nnonsense",
        4,
    );
    stage.copy_in(
        "COPY docs (tenant, body, day) FROM STDIN (DELIMITER '|', NULL 'nil')",
        b"e|nil|2024-01-01\nf|\\|g|2024-01-02\n",
        4,
    );
    stage.copy_in("COPY docs (tenant, body, day) FROM STDIN WITH DELIMITER ';' NULL ''", b"h;;2024-01-01\n", 4);
    stage.copy_in("COPY docs (tenant, day) FROM STDIN (HEADER)", b"whatever\nz\t2024-01-01\n", 4);
    stage.copy_in("COPY docs (tenant, day) FROM STDIN (HEADER match)", b"tenant\tday\ny\t2024-01-01\n", 4);
    stage.same_table("docs");
}

#[test]
fn csv_with_every_option() {
    let mut stage = Stage::new();
    let data = b"tenant,day,body\n\"a,\"\"b\"\"\",2024-01-01,\"line\nline\"\nplain,2024-01-02,\n\"q\"x,2024-01-03,\"\"\n\\.\nignored";
    for step in [1, 5, 1000] {
        stage.copy_in("COPY docs (tenant, day, body) FROM STDIN (FORMAT csv, HEADER)", data, step);
        stage.same_table("docs");
        stage.same("DELETE FROM docs WHERE tenant IN ('a,\"b\"', 'plain', 'qx')");
    }
    let data = b"'it\\'s';2024-01-01;nil\n'x;y';2024-01-02;'nil'\nz;2024-01-03;'a\r\nb'\n";
    stage.copy_in(
        "COPY docs (tenant, day, body) FROM STDIN CSV DELIMITER ';' QUOTE '''' ESCAPE E'\\\\' NULL 'nil' FORCE NULL body",
        data,
        7,
    );
    stage.copy_in(
        "COPY docs (tenant, day, body) FROM STDIN (FORMAT csv, FORCE_NOT_NULL (tenant, body))",
        b",2024-01-01,\n",
        2,
    );
    stage.copy_in("COPY docs (tenant, day, body) FROM STDIN (FORMAT csv, HEADER match)", b"tenant,day,bad\n", 2);
    stage.copy_in("COPY docs (tenant, day, body) FROM STDIN (FORMAT csv)", b"m,2024-01-01,\"a\nb\"\r\n", 3);
    stage.same_table("docs");
}

#[test]
fn binary_rows_are_forwarded() {
    let mut stage = Stage::new();
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    for n in 1..=50u64 {
        data.extend(b"\0\x03\0\0\0\x08");
        data.extend(n.to_be_bytes());
        data.extend(b"\xff\xff\xff\xff\0\0\0\x02hi");
    }
    let mut with_trailer = data.clone();
    with_trailer.extend(b"\xff\xff");
    stage.copy_in("COPY items FROM STDIN (FORMAT binary)", &with_trailer, 11);
    stage.same_table("items");
    for bad in [
        &data[..data.len() - 3],
        &b"PGCOPY\n\xff\r\n\0\0\0\0\x01"[..],
        b"nonsense",
        b"",
        &[&with_trailer[..], b"x"].concat(),
    ] {
        // Twice the same key would be an error too.
        stage.same("DELETE FROM items");
        stage.copy_in("COPY BINARY items FROM STDIN", bad, 1000);
    }
    stage.copy_in("COPY items (id, n) FROM STDIN (FORMAT binary)", &data, 1000);
    stage.same_table("items");
}

#[test]
fn keys_of_other_types_and_of_several_columns() {
    let mut stage = Stage::new();
    let things = b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\t\\\\x00ff\t{1,2}\t2024-01-01 00:00:00+02\n{A0EEBC999C0B4EF8BB6D6BB9BD380A12}\t\\N\t\\N\tnow\n";
    stage.copy_in("COPY things (id, bytes, list, at) FROM STDIN", things, 9);
    stage.same("SELECT id, bytes, list FROM things");
    let pairs: Vec<u8> = (0..60).flat_map(|n| format!("{n},x{},{}\n", n % 3, n % 7).into_bytes()).collect();
    stage.copy_in("COPY pairs FROM STDIN CSV", &pairs, 13);
    stage.same_table("pairs");
    stage.copy_in("COPY listed FROM STDIN", b"a\t1\nb\t2\nc\t3\nc\t\\N\n", 3);
    assert_eq!(stage.same_table("listed"), [2, 0, 2]);
    let placed: Vec<u8> = (0..20).flat_map(|n| format!("k{n}\t{n}\n").into_bytes()).collect();
    stage.copy_in("COPY placed FROM STDIN", &placed, 3);
    stage.same_table("placed");
    stage.same("SELECT n FROM placed WHERE key = 'k7'");
}

#[test]
fn a_condition_is_judged_by_each_shard() {
    let mut stage = Stage::new();
    let heard = stage.copy_in(
        "COPY items FROM STDIN WHERE n % 2 = 0 AND (id > 10 OR note IN ('x')) AND lower(note) <> 'q'",
        &items(100),
        50,
    );
    assert_eq!(heard[1], "C COPY 45");
    stage.same_table("items");
}

#[test]
fn reference_tables_get_all_rows_on_every_shard() {
    let mut stage = Stage::new();
    let heard = stage.copy_in("COPY facts (id, name) FROM STDIN", b"1\tone\n2\ttwo\n", 4);
    assert_eq!(heard[1], "C COPY 2");
    let expected = ["(1,one,plain)", "(2,two,plain)"];
    for n in 0..4 {
        assert_eq!(stage.servers.shard(n).rows("SELECT f::text FROM facts f ORDER BY id"), expected);
    }
    stage.copy_in("COPY facts FROM STDIN CSV", b"3,\"x\ny\",\n3,again,\n", 4);
    assert_eq!(stage.servers.shard(1).rows("SELECT count(*) FROM facts"), ["2"]);
    let refused = stage.copy_here("COPY moods (id) FROM STDIN", b"");
    assert!(refused[0].contains("0A000"), "{refused:?}");
}

#[test]
fn within_a_transaction_it_is_a_part_of_it() {
    let mut stage = Stage::new();
    stage.same("BEGIN");
    stage.copy_in("COPY items FROM STDIN", &items(30), 1000);
    stage.same("SELECT count(*) FROM items");
    stage.same("SAVEPOINT a");
    stage.copy_in("COPY items FROM STDIN", b"5\t1\tx\n", 1000);
    stage.same("SELECT 1");
    stage.same("ROLLBACK TO a");
    stage.same("SELECT count(*) FROM items");
    stage.same("COMMIT");
    stage.same_table("items");
    stage.same("BEGIN");
    stage.copy_in("COPY items FROM STDIN", b"1000\t1\tx\n1001\t1\tx\n1002\t\\N\tx\n", 1000);
    stage.same("ROLLBACK");
    assert_eq!(stage.same_table("items").iter().sum::<usize>(), 30);
    stage.same("SELECT count(*) FROM items");
}

#[test]
fn nothing_at_all_is_no_row() {
    let mut stage = Stage::new();
    for sql in ["COPY items FROM STDIN", "COPY items FROM STDIN CSV HEADER", "COPY facts FROM STDIN"] {
        for data in [&b""[..], b"\\.\n", b"\\.", b"\n"] {
            stage.copy_in(sql, data, 1);
        }
    }
    stage.same_table("items");
}

/// One row each of the shards' answers, sorted.
fn everywhere(stage: &Stage, sql: &str) -> Vec<String> {
    let mut all: Vec<String> = (0..SHARDS).flat_map(|n| stage.servers.shard(n).rows(sql)).collect();
    all.sort();
    all
}

#[test]
fn what_the_data_has_not_is_made_once() {
    let mut stage = Stage::new();
    let data: Vec<u8> = (0..200).flat_map(|n| format!("row {n}\n").into_bytes()).collect();
    for options in
        ["", "(DELIMITER ';', NULL '7')", "(FORMAT csv)", "(FORMAT csv, HEADER, QUOTE '2')", "(HEADER match)"]
    {
        let mut data = data.clone();
        if options.contains("HEADER") {
            data = [&b"v\n"[..], &data].concat();
        }
        if options.contains('\'') {
            data.retain(|byte| !b"12".contains(byte));
        }
        for table in ["counted", "made", "copied"] {
            let heard = stage.copy_in(&format!("COPY {table} (v) FROM STDIN {options}"), &data, 100);
            assert_eq!(heard[1], "C COPY 200", "{table} {options}");
        }
        assert_eq!(everywhere(&stage, "SELECT v FROM counted").len(), 200);
        let (ids, times) = ("SELECT id FROM counted", "SELECT DISTINCT at FROM counted");
        let mut numbers = everywhere(&stage, ids);
        numbers.dedup();
        assert_eq!(numbers.len(), 200, "no number twice");
        let mut moments = everywhere(&stage, times);
        moments.dedup();
        assert_eq!(moments.len(), 1, "one moment");
        let one = numbers[77].clone();
        assert_eq!(stage.proxy.rows(&format!("SELECT count(*) FROM counted WHERE id = {one}")), ["1"]);
        let key = everywhere(&stage, "SELECT id FROM made")[50].clone();
        assert_eq!(stage.proxy.rows(&format!("SELECT count(*) FROM made WHERE id = '{key}'")), ["1"]);
        let copies: Vec<_> =
            (0..SHARDS).map(|n| stage.servers.shard(n).rows("SELECT t::text FROM copied t ORDER BY 1")).collect();
        assert!(copies[0].len() == 200 && copies[1] == copies[0] && copies[2] == copies[0], "{options}");
        for n in 0..=SHARDS {
            stage.servers.shard(n).query("TRUNCATE counted, made, copied");
        }
    }
    // An error is about the client's own fields.
    let heard = stage.copy_here("COPY counted (v) FROM STDIN", b"a\nb\tc\n");
    assert!(heard[1].contains("extra data after last expected column"), "{heard:?}");
    let heard = stage.copy_here("COPY numbered (id) FROM STDIN", b"1\n2\nx\n");
    assert!(heard[1].ends_with("COPY numbered, line 3, column id: \"x\""), "{heard:?}");
    let mut binary = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    (0..5).for_each(|_| binary.extend(b"\0\x01\0\0\0\x01x"));
    let heard = stage.copy_here("COPY counted (v) FROM STDIN (FORMAT binary)", &binary);
    assert_eq!(heard[1], "C COPY 5", "{heard:?}");
    assert_eq!(everywhere(&stage, "SELECT v FROM counted"), ["x"; 5]);
}
