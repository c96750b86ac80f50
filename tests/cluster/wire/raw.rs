//! A client that is nothing but a socket: it sends the bytes it is told to, and shows every message that comes back.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

/// Nothing that a test waits for takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Tests that look at memory, and tests that need much of it, run one at a time.
pub fn quiet() -> std::sync::MutexGuard<'static, ()> {
    static QUIET: std::sync::Mutex<()> = std::sync::Mutex::new(());
    QUIET.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One message of the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse or NoticeResponse.
    pub fn field(&self, kind: u8) -> String {
        let field = self.body.split(|&byte| byte == 0).find(|field| field.first() == Some(&kind));
        field.map(|field| String::from_utf8_lossy(&field[1..]).into_owned()).unwrap_or_default()
    }

    /// What of the message must be the same whoever answers: of errors severity, SQLSTATE and message, of row descriptions names, types
    /// and formats, of everything else all.
    pub fn shown(&self) -> String {
        let body = &self.body[..];
        let text =
            |bytes: &[u8]| String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).replace('\0', "=");
        match self.tag {
            b'E' | b'N' => {
                format!("{} {} {} {}", self.tag as char, self.field(b'S'), self.field(b'C'), self.field(b'M'))
            }
            b'T' => format!("T {}", columns(body).join(", ")),
            b't' => {
                let oids = body[2..].chunks(4).map(|oid| u32::from_be_bytes(oid.try_into().unwrap()).to_string());
                format!("t {}", oids.collect::<Vec<_>>().join(", "))
            }
            b'D' => format!("D {}", body[2..].escape_ascii()),
            b'C' | b'S' | b'Z' => format!("{} {}", self.tag as char, text(body)),
            b'K' => "K".into(),
            tag => format!("{} {}", tag as char, body.escape_ascii()),
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

fn columns(mut body: &[u8]) -> Vec<String> {
    let count = u16::from_be_bytes([body[0], body[1]]);
    body = &body[2..];
    let mut columns = Vec::new();
    for _ in 0..count {
        let end = body.iter().position(|&byte| byte == 0).unwrap();
        let name = String::from_utf8_lossy(&body[..end]).into_owned();
        let rest = &body[end + 1..];
        let oid = u32::from_be_bytes(rest[6..10].try_into().unwrap());
        columns.push(format!("{name}:{oid}:{}", rest[17]));
        body = &rest[18..];
    }
    columns
}

/// A connection; `S` is a socket, or TLS over one.
pub struct Raw<S = TcpStream> {
    pub stream: S,
    incoming: Vec<u8>,
    /// The key for CancelRequest: process id and secret.
    pub key: (i32, Vec<u8>),
}

/// A socket that has said nothing.
pub fn socket(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A startup message of protocol 3.`minor`.
pub fn startup(minor: i32, parameters: &[(&str, &str)]) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i32((3 << 16) + minor);
    for (name, value) in parameters {
        out.put_slice(name.as_bytes());
        out.put_u8(0);
        out.put_slice(value.as_bytes());
        out.put_u8(0);
    }
    out.put_u8(0);
    let length = out.len() as i32;
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// One tagged message.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend((body.len() as i32 + 4).to_be_bytes());
    out.extend(body);
    out
}

/// A Query.
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &[sql.as_bytes(), b"\0"].concat())
}

impl Raw<TcpStream> {
    /// A plain connection that is logged in.
    pub fn connect(port: u16, user: &str, password: &str, database: &str) -> Raw {
        let mut raw = Raw::new(socket(port));
        raw.send(&startup(0, &[("user", user), ("database", database)]));
        raw.log_in(password).unwrap_or_else(|error| panic!("port {port}: {error:?}"));
        raw
    }
}

impl<S: Read + Write> Raw<S> {
    pub fn new(stream: S) -> Self {
        Raw { stream, incoming: Vec::new(), key: Default::default() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // The server may have hung up: what it said before is what counts.
        let _ = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
    }

    /// The next message; none at the end of the stream.
    pub fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(header) = self.incoming.first_chunk::<5>() {
                let length = u32::from_be_bytes(header[1..5].try_into().unwrap()) as usize;
                if self.incoming.len() > length {
                    let rest = self.incoming.split_off(length + 1);
                    let whole = std::mem::replace(&mut self.incoming, rest);
                    return Some(Message { tag: whole[0], body: whole[5..].to_vec() });
                }
            }
            let mut buffer = [0; 16384];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(n) => self.incoming.extend_from_slice(&buffer[..n]),
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    return Some(Message { tag: b'!', body: b"nothing more came in time".to_vec() });
                }
                Err(_) => return None,
            }
        }
    }

    /// All messages up to the `count`th with this tag, or to the end.
    pub fn until(&mut self, tag: u8, count: usize) -> Vec<Message> {
        let (mut messages, mut seen) = (Vec::new(), 0);
        while seen < count {
            let Some(message) = self.next() else {
                messages.push(Message { tag: b'!', body: b"the end of the stream".to_vec() });
                break;
            };
            seen += usize::from(message.tag == tag);
            let over = message.tag == b'!';
            messages.push(message);
            if over {
                break;
            }
        }
        messages
    }

    /// Sends a Query and reads to ReadyForQuery.
    pub fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(&query(sql));
        self.until(b'Z', 1)
    }

    /// A query's first column as text.
    pub fn rows(&mut self, sql: &str) -> Vec<String> {
        let messages = self.query(sql);
        assert_eq!(messages.last().unwrap().tag, b'Z', "{sql}: {messages:?}");
        let rows = messages.iter().filter(|message| message.tag == b'D');
        rows.map(|row| String::from_utf8_lossy(row.body.get(6..).unwrap_or_default()).into_owned()).collect()
    }

    /// Answers what the server asks for, up to ReadyForQuery; the messages that came, or the error.
    pub fn log_in(&mut self, password: &str) -> Result<Vec<Message>, Message> {
        self.log_in_bound(password, ChannelBinding::unsupported(), SCRAM_SHA_256)
    }

    pub fn log_in_bound(
        &mut self,
        password: &str,
        binding: ChannelBinding,
        mechanism: &str,
    ) -> Result<Vec<Message>, Message> {
        let mut scram = ScramSha256::new(password.as_bytes(), binding);
        let mut seen = Vec::new();
        loop {
            let next = self.next().unwrap_or(Message { tag: b'!', body: b"the end of the stream".to_vec() });
            match (next.tag, next.body.first_chunk::<4>().map(|code| i32::from_be_bytes(*code))) {
                (b'E' | b'!', _) => return Err(next),
                (b'R', Some(10)) => {
                    let data = scram.message();
                    let length = (data.len() as i32).to_be_bytes();
                    self.send(&message(b'p', &[mechanism.as_bytes(), b"\0", &length, data].concat()));
                }
                (b'R', Some(11)) => {
                    scram.update(&next.body[4..]).unwrap();
                    let data = scram.message().to_vec();
                    self.send(&message(b'p', &data));
                }
                (b'R', Some(12)) => scram.finish(&next.body[4..]).unwrap(),
                (b'K', Some(pid)) => self.key = (pid, next.body[4..].to_vec()),
                _ => {}
            }
            let ready = next.tag == b'Z';
            seen.push(next);
            if ready {
                return Ok(seen);
            }
        }
    }
}
