use super::fields::{Field, Wanted, field};
use super::*;

fn options(format: Format) -> Options {
    let csv = format == Format::Csv;
    let null = if csv { Vec::new() } else { b"\\N".to_vec() };
    Options { format, delimiter: if csv { b',' } else { b'\t' }, null, ..Options::default() }
}

/// All rows, whatever the pieces; a fault as its message.
fn split(options: &Options, columns: usize, data: &[u8], step: usize) -> Result<Vec<(Kind, Vec<u8>, u64)>, Fault> {
    let (mut rows, mut pending, mut out) = (Rows::new(options, columns, true), Vec::new(), Vec::new());
    let mut pieces: Vec<(&[u8], bool)> = data.chunks(step.max(1)).map(|piece| (piece, false)).collect();
    pieces.push((b"", true));
    for (piece, last) in pieces {
        pending.extend_from_slice(piece);
        let mut at = 0;
        while let Some(found) = rows.next(&pending[at..], last)? {
            if found.kind != Kind::End {
                out.push((found.kind, pending[at..at + found.content].to_vec(), found.line));
            }
            at += found.len;
        }
        pending.drain(..at);
    }
    Ok(out)
}

/// The same in pieces of every size.
fn all(options: &Options, columns: usize, data: &[u8]) -> Result<Vec<(Kind, Vec<u8>, u64)>, Fault> {
    let whole = split(options, columns, data, data.len());
    for step in 1..data.len() {
        let cut = split(options, columns, data, step);
        match (&whole, &cut) {
            // Where it is foreign nothing is understood any more, and pieces come as they are cut.
            (Ok(rows), Ok(_)) if rows.iter().any(|row| row.0 == Kind::Foreign) => {}
            _ => assert_eq!(cut, whole, "{step}"),
        }
    }
    whole
}

fn rows(options: &Options, data: &[u8]) -> Vec<(String, u64)> {
    let rows = all(options, 2, data).unwrap();
    rows.into_iter().map(|(_, row, line)| (String::from_utf8(row).unwrap(), line)).collect()
}

fn named(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter().map(|(row, line)| (row.to_string(), *line)).collect()
}

#[test]
fn text_rows_end_where_no_backslash_hides_it() {
    let text = options(Format::Text);
    assert_eq!(
        rows(&text, b"a\tb\nc\\\nd\n\\\\.x\nlast"),
        named(&[("a\tb", 1), ("c\\\nd", 2), ("\\\\.x", 3), ("last", 4)])
    );
    assert_eq!(rows(&text, b"a\r\nb\r\n\\.\r\nignored\n"), named(&[("a", 1), ("b", 2)]));
    assert_eq!(rows(&text, b"a\rb\r"), named(&[("a", 1), ("b", 2)]));
    assert_eq!(rows(&text, b"a\\.\nignored"), named(&[("a", 1)]));
    assert_eq!(rows(&text, b""), []);
    assert_eq!(rows(&text, b"\n"), named(&[("", 1)]));
    assert_eq!(rows(&text, b"end\\"), named(&[("end\\", 1)]));
}

#[test]
fn mixed_line_ends_are_errors() {
    let (text, csv) = (options(Format::Text), options(Format::Csv));
    for (options, data, message, line) in [
        (&text, &b"a\nb\r\n"[..], "literal carriage return found in data", 2),
        (&text, b"a\r\nb\n", "literal newline found in data", 2),
        (&csv, b"a\r\nb\n", "unquoted newline found in data", 2),
        (&csv, b"a\n\"x\ny\"\r\n", "unquoted carriage return found in data", 3),
        (&text, b"a\n\\.x\n", "end-of-copy marker corrupt", 2),
        (&text, b"a\r\n\\.\n", "end-of-copy marker does not match previous newline style", 2),
    ] {
        let fault = all(options, 2, data).unwrap_err();
        assert_eq!((fault.message, fault.line), (message, line));
    }
}

#[test]
fn csv_rows_end_outside_of_quotes() {
    let csv = options(Format::Csv);
    assert_eq!(rows(&csv, b"a,\"b\nc\"\n\"x\"\"y\",z\n\\.\nignored"), named(&[("a,\"b\nc\"", 1), ("\"x\"\"y\",z", 2)]));
    let with_escape = Options { escape: b'\\', header: true, ..csv };
    assert_eq!(
        rows(&with_escape, b"k,v\n\"a\\\"\n\",\\\n\"\\\\\"\n"),
        named(&[("k,v", 1), ("\"a\\\"\n\",\\", 3), ("\"\\\\\"", 4)])
    );
    let found = all(&with_escape, 2, b"k,v\n1,2\n").unwrap();
    assert_eq!((found[0].0, found[1].0), (Kind::Header, Kind::Row));
}

#[test]
fn binary_rows_are_counted_out() {
    let binary = options(Format::Binary);
    let mut data = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x02xy".to_vec();
    let row = b"\0\x02\0\0\0\x01a\xff\xff\xff\xff";
    data.extend_from_slice(row);
    data.extend_from_slice(row);
    data.extend_from_slice(b"\xff\xff");
    let found = all(&binary, 2, &data).unwrap();
    let kinds: Vec<Kind> = found.iter().map(|row| row.0).collect();
    assert_eq!(kinds, [Kind::Header, Kind::Row, Kind::Row]);
    assert_eq!(found[1].1, row);
    for bad in [&b"PGCOPX"[..], b"PGCOPY\n\xff\r\n\0\0\0\0\0\xff\xff\xff\xff", &data[..data.len() - 4]] {
        assert_eq!(all(&binary, 2, bad).unwrap().last().unwrap().0, Kind::Foreign, "{bad:?}");
    }
    assert_eq!(all(&binary, 3, &data).unwrap()[1].0, Kind::Foreign);
}

fn text_of(format: &Options, row: &[u8], at: usize) -> Option<String> {
    match field(row, format, &Wanted { at, force_not_null: false, force_null: false }) {
        Field::Value(value) => Some(String::from_utf8(value.into_owned()).unwrap()),
        Field::Null => None,
        Field::Missing => Some("missing".into()),
    }
}

#[test]
fn a_field_loses_its_escapes_and_quotes() {
    let text = options(Format::Text);
    let row = b"a\\tb\t\\N\t\\\\N\tx\\\ty\t\\101\\x42\\x\\q\\";
    let found: Vec<_> = (0..6).map(|at| text_of(&text, row, at)).collect();
    let some = |text: &str| Some(text.to_string());
    assert_eq!(found, [some("a\tb"), None, some("\\N"), some("x\ty"), some("ABxq"), some("missing")]);
    let csv = options(Format::Csv);
    let row = b"1,,\"\",\"a,\"\"b\"c,x";
    let found: Vec<_> = (0..5).map(|at| text_of(&csv, row, at)).collect();
    assert_eq!(found, [some("1"), None, some(""), some("a,\"bc"), some("x")]);
    assert_eq!(text_of(&csv, b"\"open", 0), some("missing"));
    let forced = Wanted { at: 0, force_not_null: true, force_null: false };
    assert_eq!(field(b",1", &csv, &forced), Field::Value(b"".to_vec().into()));
    let forced = Wanted { at: 0, force_not_null: false, force_null: true };
    assert_eq!(field(b"\"\",1", &csv, &forced), Field::Null);
    assert_eq!(text_of(&options(Format::Binary), b"\0\x02\xff\xff\xff\xff\0\0\0\x01a", 1), some("a"));
}

proptest::proptest! {
    #[test]
    fn no_data_makes_it_panic_and_pieces_do_not_matter(
        data in proptest::collection::vec(proptest::sample::select(b"ab,\t\"\\.\n\r\x02\x00".to_vec()), 0..40),
        format in 0..3,
        step in 1..9usize,
    ) {
        let format = [Format::Text, Format::Csv, Format::Binary][format as usize];
        let options = Options { escape: b'\\', ..options(format) };
        let whole = split(&options, 2, &data, data.len());
        if format != Format::Binary {
            proptest::prop_assert_eq!(&split(&options, 2, &data, step), &whole);
        }
        for (_, row, _) in whole.unwrap_or_default() {
            for at in 0..3 {
                let _ = field(&row, &options, &Wanted { at, force_not_null: false, force_null: false });
            }
        }
    }
}
