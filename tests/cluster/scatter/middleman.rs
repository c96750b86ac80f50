//! Somebody between the proxy and a shard, who passes everything on faithfully until told to do otherwise.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of the server's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mischief {
    /// Nothing.
    None,
    /// After so many rows nothing comes any more.
    Hang(usize),
    /// After so many rows the connection is closed.
    Die(usize),
    /// After so many rows comes what is not of the protocol.
    Garbage(usize),
    /// The first column has another name.
    Rename,
    /// The first two rows change places.
    Disorder,
    /// A row has one byte less than its length says it has columns for.
    Crooked,
}

pub struct Middleman {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    mischief: Mutex<Mischief>,
}

impl Middleman {
    pub fn start(server: u16) -> Middleman {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { mischief: Mutex::new(Mischief::None) });
        let kept = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || upstream(&mut from, &mut to));
                let shared = kept.clone();
                std::thread::spawn(move || downstream(server, client, &shared));
            }
        });
        Middleman { port, shared }
    }

    pub fn set(&self, mischief: Mischief) {
        *self.shared.mischief.lock().unwrap() = mischief;
    }
}

fn upstream(from: &mut TcpStream, to: &mut TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn downstream(mut server: TcpStream, mut client: TcpStream, shared: &Shared) {
    let (mut incoming, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let (mut rows, mut held): (usize, Option<Vec<u8>>) = (0, None);
    let mut greeted = false;
    while let Ok(n @ 1..) = server.read(&mut buffer) {
        // The answer to an SSLRequest is a byte and no message.
        if !greeted && n == 1 {
            let _ = client.write_all(&buffer[..n]);
            continue;
        }
        greeted = true;
        incoming.extend_from_slice(&buffer[..n]);
        let mut out = Vec::new();
        while let Some(header) = incoming.first_chunk::<5>() {
            let length = u32::from_be_bytes(header[1..5].try_into().unwrap()) as usize + 1;
            if incoming.len() < length {
                break;
            }
            let rest = incoming.split_off(length);
            let mut frame = std::mem::replace(&mut incoming, rest);
            let mischief = *shared.mischief.lock().unwrap();
            match frame[0] {
                b'Z' => rows = 0,
                b'D' => rows += 1,
                _ => {}
            }
            let after = |most: usize| matches!(frame[0], b'D' | b'C') && (rows > most || frame[0] == b'C');
            match mischief {
                Mischief::Hang(most) if after(most) => {
                    let _ = client.write_all(&std::mem::take(&mut out));
                    while *shared.mischief.lock().unwrap() == mischief {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                }
                Mischief::Die(most) if after(most) => {
                    let _ = client.write_all(&out);
                    let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
                    return;
                }
                Mischief::Garbage(most) if after(most) => out.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n"),
                Mischief::Rename if frame[0] == b'T' => frame[7] = b'?',
                Mischief::Crooked if frame[0] == b'D' => frame[6] -= 1,
                Mischief::Disorder if frame[0] == b'D' && rows == 1 => {
                    held = Some(std::mem::take(&mut frame));
                }
                _ => {}
            }
            out.extend_from_slice(&frame);
            if !frame.is_empty()
                && let Some(late) = held.take()
            {
                out.extend_from_slice(&late);
            }
        }
        if client.write_all(&out).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}
