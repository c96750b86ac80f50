//! FORMAT csv: a row ends at an end of line outside of quotes; alone on its line, `\.` ends the data (up to PostgreSQL 17).

use memchr::{memchr3, memchr3_iter};

use super::rows::{Eol, Fault, Found, Kind, Look, at_cr, at_mark, at_nl};

/// Finds the ends of rows in CSV.
#[derive(Debug)]
pub struct Csv {
    quote: u8,
    /// None if it is the quote.
    escape: Option<u8>,
    marks: bool,
    header: bool,
    eol: Eol,
    ended: bool,
    seen: usize,
    in_quote: bool,
    /// The byte before this one, within quotes, is an escape that counts.
    escaped: bool,
    /// Line ends within the row's quotes so far.
    inner: u64,
    pub(super) line: u64,
}

impl Csv {
    /// `marks`: `\.` ends the data.
    pub fn new(quote: u8, escape: u8, header: bool, marks: bool) -> Csv {
        let escape = (escape != quote).then_some(escape);
        Csv {
            quote,
            escape,
            marks,
            header,
            eol: Eol::Unknown,
            ended: false,
            seen: 0,
            in_quote: false,
            escaped: false,
            inner: 0,
            line: 0,
        }
    }

    pub(super) fn next(&mut self, data: &[u8], last: bool) -> Result<Option<Found>, Fault> {
        if self.ended {
            let (len, line) = (data.len(), self.line);
            return Ok((len > 0).then_some(Found { kind: Kind::End, len, content: 0, line, lines: 0 }));
        }
        if self.marks && self.seen == 0 && data.first() == Some(&b'\\') {
            match self.first_backslash(data, last) {
                Look::More => return Ok(None),
                Look::Mark(_, len) => {
                    self.ended = true;
                    return Ok(Some(Found { kind: Kind::End, len, content: 0, line: self.line + 1, lines: 1 }));
                }
                Look::Fault(message, hint) => return Err(Fault { message, hint, line: self.line + 1 }),
                // The backslash may be an escape, but outside of quotes that says nothing.
                Look::Line(..) | Look::On(_) => self.seen = 1,
            }
        }
        loop {
            if self.in_quote {
                self.quoted(data);
            }
            let rest = data.get(self.seen..).unwrap_or_default();
            let found = if self.in_quote { None } else { memchr3(b'\n', b'\r', self.quote, rest) };
            let Some(offset) = found else {
                self.seen = data.len();
                return Ok(if last && !data.is_empty() { Some(self.found(data.len(), data.len())) } else { None });
            };
            let at = self.seen + offset;
            let look = match data[at] {
                byte if byte == self.quote => {
                    (self.in_quote, self.escaped) = (true, false);
                    Look::On(at + 1)
                }
                b'\n' => at_nl(at, &mut self.eol, true),
                _ => at_cr(data, at, last, &mut self.eol, true),
            };
            match look {
                Look::On(next) => self.seen = next,
                Look::Line(content, len) => return Ok(Some(self.found(content, len))),
                Look::Fault(message, hint) => {
                    return Err(Fault { message, hint, line: self.line + 1 + self.inner });
                }
                Look::More | Look::Mark(..) => {
                    self.seen = at;
                    return Ok(None);
                }
            }
        }
    }

    /// How many lines a row takes by the count of a server to which it is the first one: within its quotes such a server looks for the ends of
    /// lines of a style that it does not know yet.
    pub(super) fn lines_as_first(&self, row: &[u8]) -> u64 {
        let mut alone = Csv::new(self.quote, self.escape.unwrap_or(self.quote), false, false);
        match alone.next(row, true) {
            Ok(Some(found)) => found.lines,
            _ => 1,
        }
    }

    /// A backslash at the start of a row.
    fn first_backslash(&self, data: &[u8], last: bool) -> Look {
        match data.get(1) {
            None if last => Look::On(1),
            None => Look::More,
            Some(b'.') => at_mark(data, 0, last, self.eol, true),
            Some(_) => Look::On(1),
        }
    }

    /// Goes on within quotes up to behind the closing one, or to the end of what is there.
    fn quoted(&mut self, data: &[u8]) {
        let start = self.seen;
        let end_of_line = if self.eol == Eol::Nl { b'\n' } else { b'\r' };
        let escape = self.escape.unwrap_or(self.quote);
        // Of an escape only the very next byte knows.
        let mut escape_at = if self.escaped { start.checked_sub(1) } else { None };
        let rest = data.get(start..).unwrap_or_default();
        for offset in memchr3_iter(self.quote, escape, end_of_line, rest) {
            let at = start + offset;
            let escaped = escape_at.is_some_and(|before| before + 1 == at);
            let byte = data[at];
            if byte == self.quote {
                if !escaped {
                    (self.in_quote, self.escaped, self.seen) = (false, false, at + 1);
                    return;
                }
                escape_at = None;
            } else if Some(byte) == self.escape {
                escape_at = if escaped { None } else { Some(at) };
            } else {
                self.inner += 1;
                escape_at = None;
            }
        }
        self.escaped = escape_at.is_some_and(|at| at + 1 == data.len());
        self.seen = data.len().max(start);
    }

    fn found(&mut self, content: usize, len: usize) -> Found {
        let lines = 1 + std::mem::take(&mut self.inner);
        (self.seen, self.in_quote, self.escaped) = (0, false, false);
        self.line += lines;
        let kind = if std::mem::take(&mut self.header) { Kind::Header } else { Kind::Row };
        Found { kind, len, content, line: self.line, lines }
    }
}
