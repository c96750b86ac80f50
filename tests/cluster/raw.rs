//! The wire protocol by hand: a client that shows what drivers hide, such as ParameterStatus, transaction status and message order.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// No answer takes so long but one that never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that waits for each answer.
pub struct Wire {
    stream: TcpStream,
    /// What ParameterStatus said last.
    pub parameters: BTreeMap<String, String>,
    /// Channels and payloads of notifications.
    pub notifications: Vec<(String, String)>,
    /// Process id and secret for a cancel request.
    key: Vec<u8>,
    /// The column names of the last row description.
    pub columns: Vec<String>,
}

/// What an ErrorResponse says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub detail: String,
}

/// All that answers one request, up to ReadyForQuery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    pub rows: Vec<Vec<Option<String>>>,
    pub tags: Vec<String>,
    pub error: Option<Refusal>,
    pub notices: Vec<String>,
    /// `I`, `T`, `E`; 0 if the connection was closed instead.
    pub status: char,
}

impl Reply {
    /// The only value of the only row.
    #[track_caller]
    pub fn value(&self) -> String {
        assert!(self.error.is_none(), "{self:?}");
        self.rows.first().and_then(|row| row.first().cloned().flatten()).unwrap_or_else(|| panic!("no value: {self:?}"))
    }

    /// The SQLSTATE, empty where all went well.
    pub fn code(&self) -> &str {
        self.error.as_ref().map_or("", |error| error.code.as_str())
    }

    /// What may be compared with PostgreSQL: all but the detail, where Goldseam names the shard.
    pub fn comparable(mut self) -> Self {
        self.error.iter_mut().for_each(|error| error.detail.clear());
        self
    }
}

impl Wire {
    /// Logs in without a password, as tests' servers and proxies allow.
    pub fn open(port: u16, user: &str, database: &str, startup: &[(&str, &str)]) -> Result<Wire, Refusal> {
        let lost = |what: String| Refusal { code: "lost".into(), message: what, detail: String::new() };
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| lost(error.to_string()))?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut wire = Wire {
            stream,
            parameters: BTreeMap::new(),
            notifications: Vec::new(),
            key: Vec::new(),
            columns: Vec::new(),
        };
        let mut body = 196_608u32.to_be_bytes().to_vec();
        for (name, value) in [("user", user), ("database", database)].iter().chain(startup) {
            body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        let mut frame = (body.len() as u32 + 4).to_be_bytes().to_vec();
        frame.extend(body);
        wire.stream.write_all(&frame).map_err(|error| lost(error.to_string()))?;
        let reply = wire.collect();
        match reply.error {
            Some(error) => Err(error),
            None if reply.status == '\0' => Err(lost("closed at login".into())),
            None => Ok(wire),
        }
    }

    /// Sends raw messages.
    pub fn send(&mut self, messages: &[(u8, Vec<u8>)]) {
        let mut bytes = Vec::new();
        for (tag, body) in messages {
            bytes.push(*tag);
            bytes.extend((body.len() as u32 + 4).to_be_bytes());
            bytes.extend(body);
        }
        // A connection that was closed shows when its answer is read.
        let _ = self.stream.write_all(&bytes);
    }

    /// Sends a simple query and does not wait.
    pub fn start(&mut self, sql: &str) {
        self.send(&[(b'Q', text(sql))]);
    }

    /// A simple query and its answer.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Reply {
        self.start(sql);
        self.collect()
    }

    /// The only value that a query answers.
    #[track_caller]
    pub fn one(&mut self, sql: &str) -> String {
        let reply = self.query(sql);
        assert!(reply.error.is_none(), "{sql}: {reply:?}");
        reply.value()
    }

    /// A query that must succeed.
    #[track_caller]
    pub fn ok(&mut self, sql: &str) -> Reply {
        let reply = self.query(sql);
        assert!(reply.error.is_none() && reply.status != '\0', "{sql}: {reply:?}");
        reply
    }

    /// Each row of a query's answer as values by column name; NULL is empty.
    #[track_caller]
    pub fn table(&mut self, sql: &str) -> Vec<BTreeMap<String, String>> {
        let reply = self.ok(sql);
        let named = |row: Vec<Option<String>>| {
            self.columns.iter().cloned().zip(row.into_iter().map(Option::unwrap_or_default)).collect()
        };
        reply.rows.into_iter().map(named).collect()
    }

    /// Parse and Sync.
    pub fn prepare(&mut self, name: &str, sql: &str) -> Reply {
        self.send(&[(b'P', [text(name), text(sql), vec![0, 0]].concat()), (b'S', vec![])]);
        self.collect()
    }

    /// Describe of a statement and Sync: the parameters' types, and name and type of each column; numbers of users' types are left out.
    pub fn describe(&mut self, name: &str) -> (Vec<u32>, Vec<(String, u32)>) {
        let builtin = |oid: u32| if oid < 16_384 { oid } else { 0 };
        let number = |bytes: &[u8]| builtin(u32::from_be_bytes(bytes.try_into().unwrap()));
        self.send(&[(b'D', [vec![b'S'], text(name)].concat()), (b'S', vec![])]);
        let (mut types, mut described) = (Vec::new(), Vec::new());
        while let Some((tag, body)) = self.message() {
            match tag {
                b't' => types = body[2..].chunks(4).map(number).collect(),
                b'T' => {
                    let mut rest = &body[2..];
                    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
                        described.push((utf8(&rest[..end]), number(&rest[end + 7..end + 11])));
                        rest = &rest[end + 1 + 18..];
                    }
                }
                b'Z' => break,
                _ => {}
            }
        }
        (types, described)
    }

    /// Bind in text format, Execute and Sync.
    #[track_caller]
    pub fn execute(&mut self, name: &str, values: &[&str]) -> Reply {
        let mut bind = [text(""), text(name), vec![0, 0]].concat();
        bind.extend((values.len() as u16).to_be_bytes());
        for value in values {
            bind.extend((value.len() as u32).to_be_bytes());
            bind.extend(value.as_bytes());
        }
        bind.extend([0, 0]);
        self.send(&[(b'B', bind), (b'E', [text(""), vec![0; 4]].concat()), (b'S', vec![])]);
        self.collect()
    }

    /// Reads up to ReadyForQuery or the end of the stream.
    #[track_caller]
    pub fn collect(&mut self) -> Reply {
        let mut reply = Reply { status: '\0', ..Reply::default() };
        while let Some((tag, body)) = self.message() {
            match tag {
                b'S' => {
                    let mut parts = body.split(|byte| *byte == 0).map(utf8);
                    self.parameters.insert(parts.next().unwrap(), parts.next().unwrap());
                }
                b'T' => self.columns = columns(&body),
                b'D' => reply.rows.push(row(&body)),
                b'C' => reply.tags.push(utf8(&body[..body.len() - 1])),
                b'E' => reply.error = Some(refusal(&body)),
                b'N' => reply.notices.push(refusal(&body).message),
                b'A' => {
                    let mut parts = body[4..].split(|byte| *byte == 0).map(utf8);
                    self.notifications.push((parts.next().unwrap(), parts.next().unwrap()));
                }
                b'K' => self.key = body,
                b'Z' => {
                    reply.status = char::from(body[0]);
                    return reply;
                }
                _ => {}
            }
        }
        reply
    }

    /// Reads up to ReadyForQuery; rows are seen one by one, and nothing may go wrong.
    #[track_caller]
    pub fn each_row(&mut self, mut see: impl FnMut(Vec<Option<String>>)) {
        loop {
            match self.message() {
                Some((b'D', body)) => see(row(&body)),
                Some((b'E', body)) => panic!("{:?}", refusal(&body)),
                Some((b'Z', _)) => return,
                Some(_) => {}
                None => panic!("the end of the stream"),
            }
        }
    }

    /// What a cancel request for this connection has to show.
    pub fn key(&self) -> Vec<u8> {
        self.key.clone()
    }

    /// Asks the proxy to end what this connection runs.
    pub fn cancel(&self, port: u16) {
        cancel(port, &self.key);
    }

    /// The next message; none if the connection is closed.
    #[track_caller]
    pub fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        match self.read() {
            Ok(message) => Some(message),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("no answer within {PATIENCE:?}"),
            Err(_) => None,
        }
    }

    /// The next message, or why there is none; `WouldBlock` if it takes too long.
    pub fn read(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }

    /// How long to wait for a message.
    pub fn wait_at_most(&mut self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }
}

/// A cancel request; the only answer is the end of the stream.
pub fn cancel(port: u16, key: &[u8]) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut request = (8 + key.len() as u32).to_be_bytes().to_vec();
    request.extend(80_877_102u32.to_be_bytes());
    request.extend(key);
    stream.write_all(&request).unwrap();
    let _ = stream.read(&mut [0; 1]);
}

fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

fn utf8(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The names in a row description.
fn columns(body: &[u8]) -> Vec<String> {
    let (mut rest, mut names) = (&body[2..], Vec::new());
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(utf8(&rest[..end]));
        // Table, column, type, size, modifier, format.
        rest = &rest[end + 1 + 18..];
    }
    names
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let (mut at, mut row) = (2, Vec::new());
    while at < body.len() {
        let length = i32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        at += 4;
        if length < 0 {
            row.push(None);
        } else {
            row.push(Some(utf8(&body[at..at + length as usize])));
            at += length as usize;
        }
    }
    row
}

/// What an ErrorResponse says.
pub fn refusal(body: &[u8]) -> Refusal {
    let fields: BTreeMap<u8, String> = body
        .split(|byte| *byte == 0)
        .filter(|field| !field.is_empty())
        .map(|field| (field[0], utf8(&field[1..])))
        .collect();
    let field = |tag: u8| fields.get(&tag).cloned().unwrap_or_default();
    Refusal { code: field(b'C'), message: field(b'M'), detail: field(b'D') }
}
