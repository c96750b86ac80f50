//! Rows, one at a time, out of data that comes in pieces of any size.
//!
//! A caller keeps the bytes that are not used up, and shows them again together with what has come since; what has been looked at is not looked
//! at twice.

use super::binary::Binary;
use super::csv::Csv;
use super::statement::{Format, Options};
use super::text::Text;

/// What was found at the start of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// The bytes that it takes.
    pub len: usize,
    /// Of these, the row itself: without the end of its line.
    pub content: usize,
    /// The number of its last line, counted from 1 as PostgreSQL counts: in binary data the number of the row.
    pub line: u64,
    /// How many lines it takes by that count.
    pub lines: u64,
}

/// What there can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What every reader of a part of the rows needs first: a header line, the binary format's preamble.
    Header,
    /// A row.
    Row,
    /// The mark of the data's end. In binary data every reader gets it.
    End,
    /// Not as the format wants it: any server says what is wrong.
    Foreign,
}

/// An error that PostgreSQL gives while it looks for the end of a row (`22P04`), and that no shard would give, because it depends on rows of
/// others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// PostgreSQL's message.
    pub message: &'static str,
    /// Its hint.
    pub hint: Option<&'static str>,
    /// The line.
    pub line: u64,
}

/// How lines end: as the first one did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eol {
    /// No line has ended yet.
    #[default]
    Unknown,
    /// `\n`.
    Nl,
    /// `\r`.
    Cr,
    /// `\r\n`.
    CrNl,
}

/// What a reader of lines needs to know at a place: more bytes, or this.
pub(super) enum Look {
    /// More bytes are needed.
    More,
    /// A line's end: the content's length and the length with the line's end.
    Line(usize, usize),
    /// The mark of the end stands here: what is before it in its line, and the length with all of the mark.
    Mark(usize, usize),
    /// Nothing special after all: go on from here.
    On(usize),
    /// An error.
    Fault(&'static str, Option<&'static str>),
}

/// Finds the rows of one COPY.
#[derive(Debug)]
pub enum Rows {
    /// FORMAT text.
    Text(Text),
    /// FORMAT csv.
    Csv(Csv),
    /// FORMAT binary.
    Binary(Binary),
}

impl Rows {
    /// For a COPY with these options and so many columns. `marks`: `\.` alone on a line ends CSV data (PostgreSQL up to 17).
    pub fn new(options: &Options, columns: usize, marks: bool) -> Rows {
        match options.format {
            Format::Text => Rows::Text(Text::new(options.header)),
            Format::Csv => Rows::Csv(Csv::new(options.quote, options.escape, options.header, marks)),
            Format::Binary => Rows::Binary(Binary::new(columns)),
        }
    }

    /// What is at the start of the data, which is all that is not used up yet; none if more has to come. `last`: nothing more will come.
    ///
    /// # Errors
    /// Data that PostgreSQL refuses as a whole.
    pub fn next(&mut self, data: &[u8], last: bool) -> Result<Option<Found>, Fault> {
        match self {
            Rows::Text(text) => text.next(data, last),
            Rows::Csv(csv) => csv.next(data, last),
            Rows::Binary(binary) => Ok(binary.next(data, last)),
        }
    }

    /// How many lines what was found takes by the count of a server that gets it as its first.
    pub fn lines_as_first(&self, found: &Found, bytes: &[u8]) -> u64 {
        match self {
            Rows::Csv(csv) => csv.lines_as_first(bytes),
            _ => found.lines,
        }
    }

    /// The line that PostgreSQL would be reading now.
    pub fn line(&self) -> u64 {
        match self {
            Rows::Text(text) => text.line + 1,
            Rows::Csv(csv) => csv.line + 1,
            Rows::Binary(binary) => binary.row + 1,
        }
    }
}

/// A byte, or 0 at the end of all data; none if it has not come yet.
pub(super) fn peek(data: &[u8], at: usize, last: bool) -> Option<u8> {
    match data.get(at) {
        Some(byte) => Some(*byte),
        None => last.then_some(0),
    }
}

/// A carriage return outside of quotes.
pub(super) fn at_cr(data: &[u8], at: usize, last: bool, eol: &mut Eol, csv: bool) -> Look {
    let fault = || match csv {
        false => {
            Look::Fault("literal carriage return found in data", Some("Use \"\\r\" to represent carriage return."))
        }
        true => Look::Fault(
            "unquoted carriage return found in data",
            Some("Use quoted CSV field to represent carriage return."),
        ),
    };
    match *eol {
        Eol::Nl => fault(),
        Eol::Cr => Look::Line(at, at + 1),
        Eol::Unknown | Eol::CrNl => match peek(data, at + 1, last) {
            None => Look::More,
            Some(b'\n') => {
                *eol = Eol::CrNl;
                Look::Line(at, at + 2)
            }
            Some(_) if *eol == Eol::CrNl => fault(),
            Some(_) => {
                *eol = Eol::Cr;
                Look::Line(at, at + 1)
            }
        },
    }
}

/// A newline outside of quotes.
pub(super) fn at_nl(at: usize, eol: &mut Eol, csv: bool) -> Look {
    if matches!(*eol, Eol::Cr | Eol::CrNl) {
        return match csv {
            false => Look::Fault("literal newline found in data", Some("Use \"\\n\" to represent newline.")),
            true => Look::Fault("unquoted newline found in data", Some("Use quoted CSV field to represent newline.")),
        };
    }
    *eol = Eol::Nl;
    Look::Line(at, at + 1)
}

/// `\.`, of which the backslash is at `at`.
pub(super) fn at_mark(data: &[u8], at: usize, last: bool, eol: Eol, csv: bool) -> Look {
    const CORRUPT: Look = Look::Fault("end-of-copy marker corrupt", None);
    const STYLE: Look = Look::Fault("end-of-copy marker does not match previous newline style", None);
    let mut next = at + 2;
    if eol == Eol::CrNl {
        match peek(data, next, last) {
            None => return Look::More,
            Some(b'\r') => next += 1,
            Some(_) if csv => return Look::On(at + 1),
            Some(b'\n') => return STYLE,
            Some(_) => return CORRUPT,
        }
    }
    let Some(end) = peek(data, next, last) else { return Look::More };
    next += 1;
    match (end, eol) {
        (b'\n', Eol::Unknown | Eol::Nl | Eol::CrNl) | (b'\r', Eol::Unknown | Eol::Cr) => {
            // After `\.\r` an unknown style may be `\r\n`; all that follows is passed over in any case.
            Look::Mark(at, next.min(data.len()))
        }
        (b'\n' | b'\r', _) => STYLE,
        _ if csv => Look::On(at + 1),
        _ => CORRUPT,
    }
}
