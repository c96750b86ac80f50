//! A client that shows all there is to compare: descriptions, bytes of rows, tags, errors; in every way of asking.

use std::time::Duration;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use crate::raw::{Wire, refusal};
use crate::statements::{Parameter, Step};

/// The first OID that is not PostgreSQL's own: such ones differ from server to server.
pub const FIRST_OWN: u32 = 16_384;
/// No statement here takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Rows per Execute where a portal is read in portions.
const PORTION: i32 = 2;

/// How a statement is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Query.
    Simple,
    /// Parse, Describe, Bind for binary results, Describe, Execute, Sync in one go.
    Binary,
    /// Parse, Bind for text results, then Execute of two rows at a time.
    Portions,
}

impl How {
    /// All of them.
    pub const ALL: [How; 3] = [How::Simple, How::Binary, How::Portions];
}

/// A column as RowDescription has it; types that are not PostgreSQL's own are 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    pub length: i16,
    pub modifier: i32,
    pub format: i16,
}

/// All that a statement answers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// What ParameterDescription says.
    pub parameters: Vec<u32>,
    /// What RowDescription says; with Describe of statement and portal, twice.
    pub descriptions: Vec<Vec<Column>>,
    pub rows: Vec<Vec<Option<Vec<u8>>>>,
    pub tags: Vec<String>,
    /// SQLSTATE and message.
    pub error: Option<(String, String)>,
    /// Transaction status; 0 if the connection is closed.
    pub status: u8,
}

/// A session.
pub struct Client {
    wire: Wire,
}

impl Client {
    pub fn open(port: u16, user: &str, database: &str) -> Client {
        let mut wire = Wire::open(port, user, database, &[]).unwrap_or_else(|error| panic!("{database}: {error:?}"));
        wire.wait_at_most(PATIENCE);
        Client { wire }
    }

    /// Waits longer, or less, for an answer.
    pub fn wait_at_most(&mut self, patience: Duration) {
        self.wire.wait_at_most(patience);
    }

    /// Runs statements, each of which ends with `;` at a line's end. They must succeed.
    pub fn script(&mut self, sql: &str) {
        for statement in sql.split(";\n").filter(|statement| !statement.trim().is_empty()) {
            self.wire.ok(statement);
        }
    }

    /// The only value that a query answers.
    pub fn one(&mut self, sql: &str) -> String {
        self.wire.one(sql)
    }

    /// A statement that must succeed.
    pub fn run(&mut self, sql: &str) {
        self.wire.ok(sql);
    }

    /// The first column of an answer, sorted.
    pub fn lines(&mut self, sql: &str) -> Vec<String> {
        let rows = self.wire.ok(sql).rows;
        let mut lines: Vec<String> = rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
        lines.sort();
        lines
    }

    /// A table's rows as COPY writes them, one a line.
    pub fn copy_out(&mut self, table: &str) -> Vec<String> {
        self.wire.start(&format!("COPY {table} TO STDOUT"));
        let mut lines = Vec::new();
        loop {
            match self.wire.message() {
                Some((b'd', body)) => lines.push(String::from_utf8(body).unwrap().trim_end_matches('\n').to_string()),
                Some((b'Z', _)) => return lines,
                Some((b'E', body)) => panic!("{table}: {:?}", refusal(&body)),
                Some(_) => {}
                None => panic!("{table}: closed"),
            }
        }
    }

    /// Puts lines of COPY into a table.
    pub fn copy_in(&mut self, table: &str, lines: &str) {
        if lines.is_empty() {
            return;
        }
        self.wire.start(&format!("COPY {table} FROM STDIN"));
        self.wire.send(&[(b'd', lines.as_bytes().to_vec()), (b'c', Vec::new())]);
        let reply = self.wire.collect();
        assert!(reply.error.is_none(), "{table}: {:?}", reply.error);
    }

    /// Asks a statement of a case.
    pub fn ask_step(&mut self, how: How, step: &Step) -> Answer {
        self.exchange(how, &step.sql, &step.parameters, &step.data)
    }

    /// Asks a statement.
    pub fn ask(&mut self, how: How, sql: &str, parameters: &[Parameter]) -> Answer {
        self.exchange(how, sql, parameters, b"")
    }

    fn exchange(&mut self, how: How, sql: &str, parameters: &[Parameter], data: &[u8]) -> Answer {
        let (sync, execute) = ((b'S', Vec::new()), |rows: i32| (b'E', [&[0][..], &rows.to_be_bytes()].concat()));
        let describe = |kind: u8| (b'D', vec![kind, 0]);
        let parse = (b'P', parse_body(sql, parameters));
        match how {
            How::Simple => self.wire.start(sql),
            How::Binary => {
                let bind = (b'B', bind_body(parameters, 1));
                self.wire.send(&[parse, describe(b'S'), bind, describe(b'P'), execute(0), sync]);
            }
            How::Portions => {
                // Flush lets the answer come before Sync, which would end the portal.
                self.wire.send(&[parse, (b'B', bind_body(parameters, 0)), execute(PORTION), (b'H', Vec::new())]);
            }
        }
        if super::variable("GOLDSEAM_TRACE").is_some() {
            eprintln!("{how:?}: {sql}");
        }
        let mut answer = Answer::default();
        let (mut binary_copy, mut copied) = (false, Vec::new());
        loop {
            let (tag, body) = match self.wire.read() {
                Ok(message) => message,
                Err(error) => {
                    answer.error = Some(("lost".into(), format!("no answer: {error}")));
                    return answer;
                }
            };
            match tag {
                b't' => answer.parameters = body[2..].chunks(4).map(|oid| own(u32_at(oid, 0))).collect(),
                b'T' => answer.descriptions.push(description(&body)),
                b'D' => answer.rows.push(row(&body)),
                b'C' => answer.tags.push(String::from_utf8_lossy(&body[..body.len() - 1]).into_owned()),
                b'I' => answer.tags.push(String::new()),
                b'E' => {
                    let error = refusal(&body);
                    answer.error = Some((error.code, error.message));
                }
                b'Z' => {
                    answer.status = body[0];
                    return answer;
                }
                b's' => self.wire.send(&[execute(PORTION), (b'H', Vec::new())]),
                b'G' => {
                    // In pieces that end within lines. A Sync that came before is not heard while COPY reads.
                    let pieces = data.chunks(data.len() / 3 + 1).map(|piece| (b'd', piece.to_vec()));
                    let sync = match how {
                        How::Simple => None,
                        How::Binary => Some((b'S', Vec::new())),
                        How::Portions => Some((b'H', Vec::new())),
                    };
                    self.wire.send(&pieces.chain([(b'c', Vec::new())]).chain(sync).collect::<Vec<_>>());
                }
                b'H' => binary_copy = body[0] == 1,
                b'd' if binary_copy => copied.extend(body),
                b'd' => answer.rows.push(vec![Some(body)]),
                b'c' if binary_copy => answer.rows.extend(tuples(&copied)),
                _ => {}
            }
            if how == How::Portions && matches!(tag, b'C' | b'I' | b'E') {
                self.wire.send(&[(b'S', Vec::new())]);
            }
        }
    }
}

fn parse_body(sql: &str, parameters: &[Parameter]) -> Vec<u8> {
    let mut body = [b"\0", sql.as_bytes(), b"\0"].concat();
    body.extend((parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        body.extend(parameter.declared.as_ref().map_or(0, Type::oid).to_be_bytes());
    }
    body
}

fn bind_body(parameters: &[Parameter], results: u16) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend((parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        body.extend(u16::from(matches!(parameter.format, Format::Binary)).to_be_bytes());
    }
    body.extend((parameters.len() as u16).to_be_bytes());
    for parameter in parameters {
        let mut bytes = BytesMut::new();
        let declared = parameter.declared.clone().unwrap_or(Type::TEXT);
        match parameter.to_sql(&declared, &mut bytes).unwrap() {
            IsNull::Yes => body.extend((-1i32).to_be_bytes()),
            IsNull::No => {
                body.extend((bytes.len() as u32).to_be_bytes());
                body.extend(&bytes[..]);
            }
        }
    }
    body.extend([0, 1]);
    body.extend(results.to_be_bytes());
    body
}

fn own(oid: u32) -> u32 {
    if oid < FIRST_OWN { oid } else { 0 }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn description(body: &[u8]) -> Vec<Column> {
    let (mut at, mut columns) = (2, Vec::new());
    while at < body.len() {
        let end = at + body[at..].iter().position(|byte| *byte == 0).unwrap();
        let name = String::from_utf8_lossy(&body[at..end]).into_owned();
        // The table's OID and the column's number in it are left out: they are a server's own affair.
        at = end + 7;
        columns.push(Column {
            name,
            type_oid: own(u32_at(body, at)),
            length: i16_at(body, at + 4),
            modifier: u32_at(body, at + 6) as i32,
            format: i16_at(body, at + 10),
        });
        at += 12;
    }
    columns
}

/// The rows of a binary COPY, how ever its messages cut them.
fn tuples(bytes: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
    const HEADER: usize = 19;
    let (mut at, mut rows) = (HEADER, Vec::new());
    while at + 2 < bytes.len() {
        let (begin, fields) = (at, i16_at(bytes, at));
        at += 2;
        for _ in 0..fields {
            at += 4 + (u32_at(bytes, at) as i32).max(0) as usize;
        }
        rows.push(row(&bytes[begin..at]));
    }
    rows
}

fn row(body: &[u8]) -> Vec<Option<Vec<u8>>> {
    let (mut at, mut row) = (2, Vec::new());
    while at < body.len() {
        let length = u32_at(body, at) as i32;
        at += 4;
        row.push((length >= 0).then(|| body[at..at + length as usize].to_vec()));
        at += length.max(0) as usize;
    }
    row
}
