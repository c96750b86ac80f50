//! What PostgreSQL refuses is refused alike: its SQLSTATE, its words, and the client's own line number. Nothing stays anywhere.

use super::stage::Stage;

fn lines(count: usize, broken: usize, instead: &str) -> Vec<u8> {
    (1..=count)
        .flat_map(|n| if n == broken { instead.to_string() } else { format!("{n}\t{n}\tx\n") }.into_bytes())
        .collect()
}

#[test]
fn a_broken_line_is_named_by_its_number() {
    let mut stage = Stage::new();
    for broken in [1, 2, 7, 99, 100] {
        for instead in [
            "500\tabc\tx\n",
            "501\t1\n",
            "502\t1\tx\textra\n",
            "notanumber\t1\tx\n",
            "\t1\tx\n",
            "\\N\t1\tx\n",
            "99999999999999999999\t1\tx\n",
            "503\t99999999999\tx\n",
            "504\t1\t\\377\\376\n",
            "3\t1\tduplicate, if not line 3\n",
            "\n",
            "600",
            "505\t1\tx\r\n",
        ] {
            if instead == "600" && broken < 100 || broken == 1 {
                continue;
            }
            let data = lines(100, broken, instead);
            let heard = stage.copy_in("COPY items FROM STDIN", &data, 64);
            if broken > 3 {
                assert!(heard.iter().any(|said| said.starts_with('E')), "{instead:?}: {heard:?}");
            }
            assert_eq!(stage.same_table("items"), [0; 3], "{instead:?}");
        }
    }
}

#[test]
fn lines_within_quotes_count() {
    let mut stage = Stage::new();
    for bad in ["x,1,\"a\"\n", "40,1,\"never ends\n\n", "41,zz,\"a\nb\"\n", "42,1\n", "3,3,\n", "43,1,a\rb\n"] {
        let mut data = String::from("id,n,note\n");
        for n in 1..30 {
            data += &format!("{n},{n},\"a\n\nb{n}\"\n");
        }
        data += bad;
        data += "90,1,x\n";
        let heard = stage.copy_in("COPY items FROM STDIN (FORMAT csv, HEADER)", data.as_bytes(), 100);
        assert!(heard.iter().any(|said| said.starts_with('E')), "{bad:?}: {heard:?}");
        assert_eq!(stage.same_table("items"), [0; 3]);
    }
}

#[test]
fn statements_that_cannot_be_are_refused_by_the_servers() {
    let mut stage = Stage::new();
    for sql in [
        "COPY items (id, nope) FROM STDIN",
        "COPY items (id, id) FROM STDIN",
        "COPY items FROM STDIN (DELIMITER 'ab')",
        "COPY items FROM STDIN (FORMAT nonsense)",
        "COPY items FROM STDIN (FORMAT binary, DELIMITER ';')",
        "COPY items FROM STDIN (QUOTE 'x')",
        "COPY items FROM STDIN CSV QUOTE ','",
        "COPY items FROM STDIN (ENCODING 'nope')",
        "COPY items FROM STDIN WHERE nope > 1",
        "COPY items FROM STDIN WHERE id",
        "COPY items FROM STDIN (FORMAT csv, FORCE_NULL (nope))",
        "COPY items FROM STDIN garbage",
        "COPY missing FROM STDIN",
        "COPY missing TO STDOUT",
        "COPY items TO STDOUT WHERE id > 1",
    ] {
        let heard = stage.copy_in(sql, b"", 1);
        assert!(heard[0].starts_with('E'), "{sql}: {heard:?}");
    }
}

#[test]
fn keys_that_lead_nowhere_are_refused() {
    let mut stage = Stage::new();
    for (sql, data, code, context) in [
        ("COPY loose FROM STDIN", &b"a\t1\nb\t\\N\n"[..], "23502", "COPY loose, line 2"),
        ("COPY listed FROM STDIN", b"a\t1\nzz\t1\n", "23514", "COPY listed, line 2"),
        ("COPY items (n) FROM STDIN", b"", "0A000", ""),
        ("COPY items FROM '/tmp/file'", b"", "0A000", ""),
        ("COPY items FROM PROGRAM 'true'", b"", "0A000", ""),
        ("COPY items TO '/tmp/file'", b"", "0A000", ""),
        ("COPY items FROM STDIN WHERE n > extract(year from now())", b"", "0A000", ""),
    ] {
        let heard = stage.copy_here(sql, data);
        let error = heard.iter().find(|said| said.starts_with('E')).unwrap_or_else(|| panic!("{sql}: {heard:?}"));
        assert!(error.contains(code) && error.ends_with(context), "{sql}: {error}");
        assert_eq!(heard.last().unwrap(), "Z I");
    }
    assert_eq!(stage.same_table("loose"), [0; 3]);
    assert_eq!(stage.same_table("listed"), [0; 3]);
}

#[test]
fn a_million_rows_with_a_broken_last_line() {
    let mut stage = Stage::new();
    let data = lines(1_000_000, 1_000_000, "1000000\tbroken\tx\n");
    let heard = stage.copy_in("COPY items FROM STDIN", &data, 8192);
    assert!(heard[1].ends_with("COPY items, line 1000000, column n: \"broken\""), "{heard:?}");
    assert_eq!(stage.same_table("items"), [0; 3]);
}
