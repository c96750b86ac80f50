//! FORMAT binary: a preamble, rows of counted fields, and a trailer (PostgreSQL's documentation of COPY, "Binary Format").

use super::rows::{Found, Kind};

/// What every file begins with.
pub const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
/// Signature, flags, length of the extension.
const PREAMBLE: usize = SIGNATURE.len() + 8;

/// Finds the rows of binary data.
#[derive(Debug)]
pub struct Binary {
    columns: usize,
    stage: Stage,
    /// What has been looked at of the row in question, and the fields that are in it.
    seen: usize,
    fields: usize,
    pub(super) row: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preamble,
    Rows,
    /// Behind the trailer, or behind what is not as it should be: nothing is understood any more.
    Over,
}

impl Binary {
    /// Rows of so many columns.
    pub fn new(columns: usize) -> Binary {
        Binary { columns, stage: Stage::Preamble, seen: 0, fields: 0, row: 0 }
    }

    pub(super) fn next(&mut self, data: &[u8], last: bool) -> Option<Found> {
        match self.stage {
            Stage::Preamble => self.preamble(data, last),
            Stage::Rows => self.fields(data, last),
            Stage::Over if data.is_empty() => None,
            Stage::Over => Some(self.foreign(data)),
        }
    }

    fn preamble(&mut self, data: &[u8], last: bool) -> Option<Found> {
        let known = data.len().min(SIGNATURE.len());
        if data[..known] != SIGNATURE[..known] {
            return Some(self.foreign(data));
        }
        let length = int32(data, SIGNATURE.len() + 4).map(usize::try_from);
        let whole = match length {
            Some(Ok(length)) => PREAMBLE + length,
            Some(Err(_)) => return Some(self.foreign(data)),
            None => usize::MAX,
        };
        if data.len() < whole {
            return if last && !data.is_empty() { Some(self.foreign(data)) } else { None };
        }
        self.stage = Stage::Rows;
        Some(Found { kind: Kind::Header, len: whole, content: whole, line: 0, lines: 0 })
    }

    fn fields(&mut self, data: &[u8], last: bool) -> Option<Found> {
        if self.seen == 0 {
            match int16(data, 0) {
                None => return if last && !data.is_empty() { Some(self.foreign(data)) } else { None },
                Some(-1) => {
                    self.stage = Stage::Over;
                    return Some(Found { kind: Kind::End, len: 2, content: 2, line: self.row + 1, lines: 0 });
                }
                Some(count) if usize::try_from(count) != Ok(self.columns) => return Some(self.foreign(data)),
                Some(_) => (self.seen, self.fields) = (2, 0),
            }
        }
        while self.fields < self.columns {
            let next = match int32(data, self.seen) {
                None => usize::MAX,
                Some(-1) => self.seen + 4,
                Some(length) => match usize::try_from(length) {
                    Ok(length) => self.seen + 4 + length,
                    Err(_) => return Some(self.foreign(data)),
                },
            };
            if next > data.len() {
                return last.then(|| self.foreign(data));
            }
            self.seen = next;
            self.fields += 1;
        }
        self.row += 1;
        let len = std::mem::take(&mut self.seen);
        Some(Found { kind: Kind::Row, len, content: len, line: self.row, lines: 1 })
    }

    fn foreign(&mut self, data: &[u8]) -> Found {
        self.stage = Stage::Over;
        Found { kind: Kind::Foreign, len: data.len(), content: data.len(), line: self.row + 1, lines: 1 }
    }
}

fn int16(data: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(*data.get(at..)?.first_chunk()?))
}

/// Four bytes of a length.
pub(super) fn int32(data: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(*data.get(at..)?.first_chunk()?))
}
