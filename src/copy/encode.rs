//! Rows of a query as COPY writes them.
//!
//! COPY TO calls the types' output functions, as a query's answer in text form does, and puts escapes or quotes around what they give
//! (`CopyAttributeOutText`, `CopyAttributeOutCSV`); in binary form a row is a DataRow message's body as it is. So a query that several servers
//! answer is run as a query, and its messages become COPY's on their way to the client: the columns become CopyOutResponse and the header, rows
//! CopyData, the command tag CopyDone and `COPY n`.

use bytes::{Buf, BufMut, BytesMut};

use super::binary::SIGNATURE;
use super::statement::{Format, Options};
use crate::protocol;
use crate::protocol::answer::{self, tag};
use crate::protocol::frame::HEADER;

/// No frame is longer: whoever wrote them has counted.
const MAX: usize = 0x7fff_ffff;

/// Turns the messages of one query's answer into those of a COPY TO STDOUT.
#[derive(Debug)]
pub struct Encoder {
    options: Options,
    /// FORCE_QUOTE of each column.
    quoted: Vec<bool>,
    rows: u64,
    done: bool,
}

impl Encoder {
    /// For a COPY with these options.
    pub fn new(options: Options) -> Encoder {
        Encoder { options, quoted: Vec::new(), rows: 0, done: false }
    }

    /// The statement is over: what comes from now on is passed as it is.
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Takes the whole messages at the start of `from`.
    pub fn pass(&mut self, from: &mut BytesMut, to: &mut BytesMut) {
        while !self.done
            && let Ok(Some(frame)) = protocol::frame(from, MAX)
        {
            let (message, body) = (&from[..frame.len], &from[HEADER..frame.len]);
            match frame.tag {
                tag::ROW_DESCRIPTION => self.begin(&column_names(body), to),
                tag::DATA_ROW => self.row(body, to),
                tag::COMMAND_COMPLETE => self.end(to),
                b'E' => {
                    to.extend_from_slice(message);
                    self.done = true;
                }
                _ => to.extend_from_slice(message),
            }
            from.advance(frame.len);
        }
        if self.done {
            to.extend_from_slice(from);
            from.clear();
        }
    }

    fn begin(&mut self, names: &[&[u8]], to: &mut BytesMut) {
        let binary = self.options.format == Format::Binary;
        let name = |name: &&[u8]| self.options.force_quote.has(&String::from_utf8_lossy(name));
        self.quoted = names.iter().map(name).collect();
        message(to, tag::COPY_OUT, |to| {
            to.put_u8(u8::from(binary));
            to.put_u16(names.len() as u16);
            names.iter().for_each(|_| to.put_u16(u16::from(binary)));
        });
        if binary {
            message(to, tag::COPY_DATA, |to| {
                to.put_slice(SIGNATURE);
                to.put_slice(&[0; 8]);
            });
        } else if self.options.header {
            message(to, tag::COPY_DATA, |to| self.line(names.iter().map(|name| (Some(*name), false)), names.len(), to));
        }
    }

    fn row(&mut self, body: &[u8], to: &mut BytesMut) {
        self.rows += 1;
        message(to, tag::COPY_DATA, |to| {
            if self.options.format == Format::Binary {
                to.put_slice(body);
                return;
            }
            // Whoever put the row together has counted its values.
            let values = answer::row_values(body).unwrap_or_default();
            let count = values.len();
            let quoted = self.quoted.iter().copied().chain(std::iter::repeat(false));
            self.line(values.into_iter().zip(quoted), count, to);
        });
    }

    fn line<'v>(&self, values: impl Iterator<Item = (Option<&'v [u8]>, bool)>, count: usize, to: &mut BytesMut) {
        for (at, (value, quoted)) in values.enumerate() {
            if at > 0 {
                to.put_u8(self.options.delimiter);
            }
            match value {
                None => to.put_slice(&self.options.null),
                Some(value) if self.options.format == Format::Csv => csv(value, quoted, count == 1, &self.options, to),
                Some(value) => text(value, self.options.delimiter, to),
            }
        }
        to.put_u8(b'\n');
    }

    fn end(&mut self, to: &mut BytesMut) {
        if self.options.format == Format::Binary {
            message(to, tag::COPY_DATA, |to| to.put_i16(-1));
        }
        message(to, tag::COPY_DONE, |_| {});
        let words = format!("COPY {}", self.rows);
        message(to, tag::COMMAND_COMPLETE, |to| {
            to.put_slice(words.as_bytes());
            to.put_u8(0);
        });
        self.done = true;
    }
}

fn text(value: &[u8], delimiter: u8, to: &mut BytesMut) {
    let mut start = 0;
    for (at, &byte) in value.iter().enumerate() {
        let letter = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            _ if byte == b'\\' || byte == delimiter => byte,
            _ => continue,
        };
        to.put_slice(&value[start..at]);
        to.put_slice(&[b'\\', letter]);
        start = at + 1;
    }
    to.put_slice(&value[start..]);
}

fn csv(value: &[u8], force: bool, single: bool, options: &Options, to: &mut BytesMut) {
    let special = |byte: &u8| matches!(byte, b'\n' | b'\r') || *byte == options.delimiter || *byte == options.quote;
    // Alone on its line `\.` would be taken for the end of the data.
    let needs_quotes = force || value == options.null || (single && value == b"\\.") || value.iter().any(special);
    if !needs_quotes {
        to.put_slice(value);
        return;
    }
    to.put_u8(options.quote);
    for &byte in value {
        if byte == options.quote || byte == options.escape {
            to.put_u8(options.escape);
        }
        to.put_u8(byte);
    }
    to.put_u8(options.quote);
}

/// The names in a RowDescription.
pub fn column_names(body: &[u8]) -> Vec<&[u8]> {
    let count = body.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    let (mut rest, mut names) = (body.get(2..).unwrap_or_default(), Vec::new());
    for _ in 0..count {
        let Some(end) = memchr::memchr(0, rest) else { break };
        names.push(&rest[..end]);
        // Table, column, type, size, modifier, format.
        rest = rest.get(end + 19..).unwrap_or_default();
    }
    names
}

fn message(to: &mut BytesMut, tag: u8, write: impl FnOnce(&mut BytesMut)) {
    let start = to.len();
    to.put_u8(tag);
    to.put_i32(0);
    write(to);
    let length = (to.len() - start - 1) as i32;
    to[start + 1..start + HEADER].copy_from_slice(&length.to_be_bytes());
}
