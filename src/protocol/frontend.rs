//! Views of what clients send once they are logged in. Each is made from a frame's body and borrows from it.

use std::ops::Range;

use crate::error::PgError;
use crate::protocol::frame::HEADER;
use crate::protocol::reader::{Reader, malformed};
use crate::types::Oid;

/// The tags of what clients send.
pub mod tag {
    /// Bind.
    pub const BIND: u8 = b'B';
    /// Close a statement or portal.
    pub const CLOSE: u8 = b'C';
    /// Describe a statement or portal.
    pub const DESCRIBE: u8 = b'D';
    /// Execute a portal.
    pub const EXECUTE: u8 = b'E';
    /// A function call by oid, long deprecated.
    pub const FUNCTION_CALL: u8 = b'F';
    /// Flush: send what there is.
    pub const FLUSH: u8 = b'H';
    /// Parse.
    pub const PARSE: u8 = b'P';
    /// A password, or a step of SASL.
    pub const PASSWORD: u8 = b'p';
    /// A simple query.
    pub const QUERY: u8 = b'Q';
    /// Sync: the end of a pipeline's step.
    pub const SYNC: u8 = b'S';
    /// The end of the connection.
    pub const TERMINATE: u8 = b'X';
    /// A piece of COPY data.
    pub const COPY_DATA: u8 = b'd';
    /// The end of COPY data.
    pub const COPY_DONE: u8 = b'c';
    /// COPY given up by the client.
    pub const COPY_FAIL: u8 = b'f';
}

/// The text of a simple query.
pub fn query(body: &[u8]) -> Result<&str, PgError> {
    let mut reader = Reader::new(body);
    let text = reader.c_str()?;
    reader.end()?;
    Ok(text)
}

/// What Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

/// The body of Describe and of Close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Of which kind it is.
    pub kind: SubjectKind,
    /// Its name; empty for the unnamed one.
    pub name: &'a str,
}

impl<'a> Subject<'a> {
    /// Reads the body of Describe or Close.
    pub fn new(body: &'a [u8]) -> Result<Self, PgError> {
        let mut reader = Reader::new(body);
        let kind = match reader.u8()? {
            b'S' => SubjectKind::Statement,
            b'P' => SubjectKind::Portal,
            other => return Err(malformed(&format!("invalid message subtype {other}"))),
        };
        let name = reader.c_str()?;
        reader.end()?;
        Ok(Subject { kind, name })
    }
}

/// The body of Execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecuteView<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a str,
    /// How many rows at most; 0 or less: all.
    pub max_rows: i32,
}

impl<'a> ExecuteView<'a> {
    /// Reads the body of Execute.
    pub fn new(body: &'a [u8]) -> Result<Self, PgError> {
        let mut reader = Reader::new(body);
        let view = ExecuteView { portal: reader.c_str()?, max_rows: reader.i32()? };
        reader.end()?;
        Ok(view)
    }
}

/// The body of Parse.
#[derive(Debug, Clone, Copy)]
pub struct ParseView<'a> {
    /// The statement's name; empty for the unnamed one.
    pub name: &'a str,
    /// The statement's text.
    pub sql: &'a str,
    /// The declared types, four bytes each.
    types: &'a [u8],
}

impl<'a> ParseView<'a> {
    /// Reads the body of Parse.
    pub fn new(body: &'a [u8]) -> Result<Self, PgError> {
        let mut reader = Reader::new(body);
        let (name, sql) = (reader.c_str()?, reader.c_str()?);
        let count = reader.count()?;
        let types = reader.bytes(count * 4)?;
        reader.end()?;
        Ok(ParseView { name, sql, types })
    }

    /// How many parameter types are declared: fewer than there are parameters, perhaps.
    pub fn n_types(&self) -> usize {
        self.types.len() / 4
    }

    /// The declared parameter types; 0 where PostgreSQL is to infer it.
    pub fn types(&self) -> impl ExactSizeIterator<Item = Oid> + 'a {
        self.types.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]))
    }
}

/// The form of a value on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As the type's output function prints it.
    Text,
    /// As the type's send function packs it.
    Binary,
}

/// The body of Bind.
#[derive(Debug, Clone, Copy)]
pub struct BindView<'a> {
    /// The portal's name; empty for the unnamed one.
    pub portal: &'a str,
    /// The statement's name; empty for the unnamed one.
    pub statement: &'a str,
    /// Two bytes each: none (all are text), one (for all) or one per parameter.
    formats: &'a [u8],
    parameter_count: usize,
    /// Length and bytes of each value, checked.
    values: &'a [u8],
    /// Two bytes each.
    result_formats: &'a [u8],
}

impl<'a> BindView<'a> {
    /// Reads the body of Bind and checks every length in it.
    pub fn new(body: &'a [u8]) -> Result<Self, PgError> {
        let mut reader = Reader::new(body);
        let (portal, statement) = (reader.c_str()?, reader.c_str()?);
        let format_count = reader.count()?;
        let formats = reader.bytes(format_count * 2)?;
        check_formats(formats)?;
        let parameter_count = reader.count()?;
        if format_count > 1 && format_count != parameter_count {
            return Err(PgError::new(
                crate::sqlstate::SqlState::PROTOCOL_VIOLATION,
                format!("bind message has {format_count} parameter formats but {parameter_count} parameters"),
            ));
        }
        let values = reader.rest;
        for _ in 0..parameter_count {
            value(&mut reader)?;
        }
        let values = &values[..values.len() - reader.rest.len()];
        let result_count = reader.count()?;
        let result_formats = reader.bytes(result_count * 2)?;
        // Result formats are judged when there is a result, by the server.
        reader.end()?;
        Ok(BindView { portal, statement, formats, parameter_count, values, result_formats })
    }

    /// The names of portal and statement alone, whatever follows them.
    pub fn names(body: &'a [u8]) -> Result<(&'a str, &'a str), PgError> {
        let mut reader = Reader::new(body);
        Ok((reader.c_str()?, reader.c_str()?))
    }

    /// How many values are bound.
    pub fn parameter_count(&self) -> usize {
        self.parameter_count
    }

    /// The form of the n-th value, counted from 0.
    pub fn format(&self, n: usize) -> Format {
        let code = if self.formats.len() <= 2 { self.formats.get(1) } else { self.formats.get(2 * n + 1) };
        if code == Some(&1) { Format::Binary } else { Format::Text }
    }

    /// The n-th value, counted from 0, and its form; the value `None` is NULL. Walks over the values before it.
    pub fn parameter(&self, n: usize) -> Option<(Format, Option<&'a [u8]>)> {
        Some((self.format(n), self.parameters().nth(n)?))
    }

    /// All values in order; `None` is NULL.
    pub fn parameters(&self) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        let mut reader = Reader::new(self.values);
        (0..self.parameter_count).map_while(move |_| value(&mut reader).ok())
    }

    /// The form codes asked for the results: none (all text), one (for all) or one per column.
    pub fn result_formats(&self) -> impl ExactSizeIterator<Item = Format> + 'a {
        self.result_formats.chunks_exact(2).map(|code| if code[1] == 1 { Format::Binary } else { Format::Text })
    }

    /// Where the portal's name is in the whole message (header included), its closing NUL left out.
    pub fn portal_range(&self) -> Range<usize> {
        HEADER..HEADER + self.portal.len()
    }

    /// Where the statement's name is in the whole message (header included), its closing NUL left out: to put another there.
    pub fn statement_range(&self) -> Range<usize> {
        let start = HEADER + self.portal.len() + 1;
        start..start + self.statement.len()
    }
}

fn check_formats(codes: &[u8]) -> Result<(), PgError> {
    match codes.chunks_exact(2).find(|code| code[0] != 0 || code[1] > 1) {
        None => Ok(()),
        Some(code) => Err(PgError::new(
            crate::sqlstate::SqlState::INVALID_PARAMETER_VALUE,
            format!("unsupported format code: {}", i16::from_be_bytes([code[0], code[1]])),
        )),
    }
}

fn value<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, PgError> {
    match reader.i32()? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| malformed("negative length of a parameter"))?;
            Ok(Some(reader.bytes(length)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlstate::SqlState;
    use bytes::{BufMut, BytesMut};

    fn bind_body() -> BytesMut {
        let mut body = BytesMut::new();
        body.put_slice(b"portal\0stmt\0");
        body.put_slice(&[0, 2, 0, 0, 0, 1]); // text, binary
        body.put_slice(&[0, 2, 0, 0, 0, 2, b'4', b'2', 0xff, 0xff, 0xff, 0xff]); // '42', NULL
        body.put_slice(&[0, 1, 0, 1]);
        body
    }

    #[test]
    fn bind_gives_its_values_and_the_places_of_its_names() {
        let body = bind_body();
        let view = BindView::new(&body).unwrap();
        assert_eq!((view.portal, view.statement, view.parameter_count()), ("portal", "stmt", 2));
        assert_eq!(view.parameter(0), Some((Format::Text, Some(&b"42"[..]))));
        assert_eq!(view.parameter(1), Some((Format::Binary, None)));
        assert_eq!(view.parameter(2), None);
        assert_eq!(view.result_formats().collect::<Vec<_>>(), [Format::Binary]);
        let mut message = BytesMut::from(&b"B\0\0\0\0"[..]);
        message.put_slice(&body);
        assert_eq!(&message[view.statement_range()], b"stmt");
        assert_eq!(&message[view.portal_range()], b"portal");
    }

    #[test]
    fn one_format_code_counts_for_all_values() {
        let body = b"\0\0\0\x01\0\x01\0\x02\0\0\0\x01a\0\0\0\x01b\0\0";
        let view = BindView::new(body).unwrap();
        assert_eq!(view.parameter(1), Some((Format::Binary, Some(&b"b"[..]))));
    }

    #[test]
    fn bind_that_is_cut_anywhere_is_malformed_and_never_a_panic() {
        let body = bind_body();
        for end in 0..body.len() {
            assert!(BindView::new(&body[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn every_malformed_message_has_its_sqlstate() {
        let p = SqlState::PROTOCOL_VIOLATION;
        type Case<'a> = (&'a str, Result<(), PgError>, SqlState);
        let cases: Vec<Case> = vec![
            ("query without its NUL", query(b"select 1").map(drop), p),
            ("query with bytes after its NUL", query(b"select 1\0 ").map(drop), p),
            ("query that is empty of even a NUL", query(b"").map(drop), p),
            ("query not in UTF-8", query(b"select '\xff'\0").map(drop), SqlState::CHARACTER_NOT_IN_REPERTOIRE),
            ("parse cut in its types", ParseView::new(b"\0select 1\0\0\x02\0\0\0\x17").map(drop), p),
            ("parse with 65535 types and none there", ParseView::new(b"\0select 1\0\xff\xff").map(drop), p),
            ("parse with too much", ParseView::new(b"\0select 1\0\0\0x").map(drop), p),
            ("describe of a table", Subject::new(b"Tx\0").map(drop), p),
            ("describe of nothing", Subject::new(b"").map(drop), p),
            ("close without a NUL", Subject::new(b"Sx").map(drop), p),
            ("execute without its limit", ExecuteView::new(b"\0\0\0").map(drop), p),
            ("execute with too much", ExecuteView::new(b"\0\0\0\0\0\0").map(drop), p),
            ("bind, a value of -2 bytes", BindView::new(b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0").map(drop), p),
            ("bind, a value of 2 GB", BindView::new(b"\0\0\0\0\0\x01\x7f\xff\xff\xff\0\0").map(drop), p),
            ("bind, 65535 values", BindView::new(b"\0\0\0\0\xff\xff\0\0").map(drop), p),
            ("bind, 2 formats for 1", BindView::new(b"\0\0\0\x02\0\0\0\0\0\x01\xff\xff\xff\xff\0\0").map(drop), p),
            ("bind, format 7", BindView::new(b"\0\0\0\x01\0\x07\0\0\0\0").map(drop), SqlState::INVALID_PARAMETER_VALUE),
            ("bind, too much", BindView::new(b"\0\0\0\0\0\0\0\0x").map(drop), p),
        ];
        for (case, result, code) in cases {
            assert_eq!(result.expect_err(case).code, code, "{case}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_a_view_panic(body: Vec<u8>) {
            let _ = query(&body);
            let _ = ParseView::new(&body).map(|view| view.types().count());
            let _ = Subject::new(&body);
            let _ = ExecuteView::new(&body);
            if let Ok(view) = BindView::new(&body) {
                for n in 0..=view.parameter_count() {
                    view.parameter(n);
                }
            }
        }
    }
}
