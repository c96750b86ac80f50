//! The memory that clients cost who are connected and do nothing: most of the clients of most poolers, most of the time.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::contenders::{Bench, Contender};
use crate::{Outcome, os};

/// How a proxy's resident memory grew.
#[derive(Debug, Clone)]
pub struct Growth {
    pub contender: Contender,
    pub clients: u32,
    /// Resident memory with one client, in bytes.
    pub before: u64,
    /// Resident memory with all of them.
    pub after: u64,
}

impl Growth {
    /// Bytes per client.
    pub fn each(&self) -> u64 {
        self.after.saturating_sub(self.before) / u64::from(self.clients.max(1))
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Growth { contender, clients, before, after } = self;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let grown = megabytes(after.saturating_sub(*before));
        write!(f, "{clients} idle clients at {contender}: {:.1} MB, {grown:.1} MB more than one", megabytes(*after))
    }
}

/// Connects clients that each run one query and then fall silent, to a proxy started afresh: one that has worked before would
/// give them memory that it already holds.
pub fn measure(bench: &Bench, contender: Contender, clients: u32) -> Outcome<Growth> {
    let proxy = bench.start_proxy(contender)?;
    let first = connect(proxy.port)?;
    std::thread::sleep(Duration::from_millis(500));
    let before = os::resident(proxy.pid())?;
    let mut connections = vec![first];
    for _ in 1..clients {
        connections.push(connect(proxy.port)?);
    }
    std::thread::sleep(Duration::from_secs(1));
    let after = os::resident(proxy.pid())?;
    drop(connections);
    Ok(Growth { contender, clients, before, after })
}

/// Logs in (the servers here trust the loopback) and runs one query.
fn connect(port: u16) -> Outcome<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut startup = Vec::from(196_608_u32.to_be_bytes()); // protocol 3.0
    startup.extend_from_slice(b"user\0bench\0database\0bench\0\0");
    stream.write_all(&(startup.len() as u32 + 4).to_be_bytes())?;
    stream.write_all(&startup)?;
    until_ready(&mut stream)?;
    let query = b"SELECT 1\0";
    stream.write_all(b"Q")?;
    stream.write_all(&(query.len() as u32 + 4).to_be_bytes())?;
    stream.write_all(query)?;
    until_ready(&mut stream)?;
    Ok(stream)
}

/// Reads messages up to ReadyForQuery.
fn until_ready(stream: &mut TcpStream) -> Outcome<()> {
    loop {
        let mut header = [0_u8; 5];
        stream.read_exact(&mut header)?;
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]).saturating_sub(4);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        match header[0] {
            b'Z' => return Ok(()),
            b'E' => return Err(String::from_utf8_lossy(&body).replace('\0', " ").into()),
            _ => {}
        }
    }
}
