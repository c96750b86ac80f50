//! A client that does nothing with rows but count them: what it measures is the other side.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::Outcome;

/// Longer than any statement here takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// A logged-in connection; the servers here trust the loopback.
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// What came back, and when.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answer {
    pub rows: u64,
    pub bytes: u64,
    pub time: Duration,
}

impl Client {
    pub fn open(port: u16, database: &str) -> Outcome<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream: BufReader::with_capacity(256 * 1024, stream) };
        let mut body = Vec::from(196_608_u32.to_be_bytes()); // protocol 3.0
        body.extend([b"user\0bench\0database\0", database.as_bytes(), b"\0\0"].concat());
        let mut frame = (body.len() as u32 + 4).to_be_bytes().to_vec();
        frame.extend(body);
        client.stream.get_mut().write_all(&frame)?;
        client.collect()?;
        Ok(client)
    }

    /// Sends a query and does not wait.
    pub fn start(&mut self, sql: &str) -> Outcome<()> {
        let mut frame = vec![b'Q'];
        frame.extend((sql.len() as u32 + 5).to_be_bytes());
        frame.extend([sql.as_bytes(), b"\0"].concat());
        Ok(self.stream.get_mut().write_all(&frame)?)
    }

    /// A query, from sending it to the end of its answer.
    pub fn query(&mut self, sql: &str) -> Outcome<Answer> {
        let began = Instant::now();
        self.start(sql)?;
        let answer = self.collect().map_err(|error| format!("{sql}: {error}"))?;
        Ok(Answer { time: began.elapsed(), ..answer })
    }

    /// The first column of a query's rows.
    pub fn lines(&mut self, sql: &str) -> Outcome<Vec<String>> {
        self.start(sql)?;
        let mut lines = Vec::new();
        self.read(|row| {
            // How many columns, the length of the first, and that.
            let length = row.get(2..6).map(|length| u32::from_be_bytes([length[0], length[1], length[2], length[3]]));
            let text = length.and_then(|length| row.get(6..6 + length as usize));
            lines.push(String::from_utf8_lossy(text.unwrap_or_default()).into_owned());
        })?;
        Ok(lines)
    }

    /// Sends the data of a COPY, piece by piece, and its end; the server has been asked for it.
    pub fn send_copy<'d>(&mut self, pieces: impl Iterator<Item = &'d [u8]>) -> Outcome<()> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let mut body = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4];
        self.stream.read_exact(&mut body)?;
        if head[0] != b'G' {
            return Err(String::from_utf8_lossy(&body).replace('\0', " ").into());
        }
        let mut frame = Vec::new();
        for piece in pieces {
            frame.clear();
            frame.push(b'd');
            frame.extend((piece.len() as u32 + 4).to_be_bytes());
            frame.extend(piece);
            self.stream.get_mut().write_all(&frame)?;
        }
        Ok(self.stream.get_mut().write_all(b"c\0\0\0\x04")?)
    }

    /// Reads up to ReadyForQuery.
    pub fn collect(&mut self) -> Outcome<Answer> {
        self.read(|_| {})
    }

    /// The same, with a look at each row.
    fn read(&mut self, mut look: impl FnMut(&[u8])) -> Outcome<Answer> {
        let mut answer = Answer::default();
        let mut body = Vec::new();
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
            answer.bytes += length as u64 + 5;
            match head[0] {
                b'D' => {
                    answer.rows += 1;
                    look(&body);
                }
                b'E' => return Err(String::from_utf8_lossy(&body).replace('\0', " ").into()),
                b'Z' => return Ok(answer),
                _ => {}
            }
        }
    }
}
