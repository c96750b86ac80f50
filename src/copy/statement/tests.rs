use super::*;
use crate::sql::{Limits, lex};

fn read(text: &str) -> Result<Statement, PgError> {
    Statement::read(text, &lex(text, &Limits::default()).unwrap())
}

#[test]
fn both_syntaxes_say_the_same() {
    let new = read(
        "COPY t FROM STDIN (FORMAT csv, HEADER, DELIMITER ';', NULL 'x', QUOTE '''', ESCAPE E'\\\\', FORCE_NULL (a, \"B\"))",
    );
    let old = read(
        "copy t from stdin with csv header delimiter as ';' null 'x' quote as '''' escape '\\' force null a, \"B\"",
    );
    assert_eq!(new.as_ref().unwrap().options, old.unwrap().options);
    let options = new.unwrap().options;
    assert_eq!((options.format, options.header, options.delimiter), (Format::Csv, true, b';'));
    assert_eq!((options.quote, options.escape), (b'\'', b'\\'));
    assert!(options.force_null.has("B") && !options.force_null.has("b"));
}

#[test]
fn names_columns_and_conditions() {
    let statement = read("COPY s.\"T\" (a, B) FROM STDIN WHERE a > 1 AND (b)").unwrap();
    assert_eq!(statement.table, ["s", "T"]);
    assert_eq!(statement.columns.as_deref(), Some(&["a".to_string(), "b".to_string()][..]));
    assert_eq!((statement.from, statement.client, statement.condition), (true, true, Some(12..19)));
    let query = read("COPY (SELECT (1)) TO STDOUT WITH (FORMAT binary)").unwrap();
    assert_eq!((query.query, query.options.format), (Some(2..6), Format::Binary));
    assert_eq!(read("COPY BINARY t TO STDOUT").unwrap().options.format, Format::Binary);
    assert_eq!(read("COPY binary TO STDOUT").unwrap().table, ["binary"]);
    let plain = read("COPY t FROM STDIN").unwrap().options;
    assert_eq!((plain.delimiter, plain.null), (b'\t', b"\\N".to_vec()));
    assert!(!read("COPY t FROM '/f'").unwrap().client);
    assert_eq!(read("COPY t FROM STDIN (ON_ERROR ignore, HEADER false)").unwrap().options.unknown, ["on_error"]);
}

#[test]
fn what_is_no_copy_is_an_error() {
    for text in [
        "COPY",
        "COPY t",
        "COPY t FROM",
        "COPY t FROM STDIN (",
        "COPY t FROM STDIN (FORMAT csv",
        "COPY (SELECT",
        "COPY t FROM STDIN garbage",
    ] {
        assert_eq!(read(text).unwrap_err().code, SqlState::SYNTAX_ERROR, "{text}");
    }
}
