//! FORMAT text: a row ends at an end of line that no backslash hides, and `\.` ends the data.

use memchr::memchr3;

use super::rows::{Eol, Fault, Found, Kind, Look, at_cr, at_mark, at_nl};

/// Finds the ends of rows in text.
#[derive(Debug, Default)]
pub struct Text {
    eol: Eol,
    /// A header line is still to come.
    header: bool,
    /// The mark of the end has been found.
    ended: bool,
    /// What has been looked at of the row in question.
    seen: usize,
    /// Lines that are done.
    pub(super) line: u64,
}

impl Text {
    /// Data with or without a header line.
    pub fn new(header: bool) -> Text {
        Text { header, ..Text::default() }
    }

    pub(super) fn next(&mut self, data: &[u8], last: bool) -> Result<Option<Found>, Fault> {
        if self.ended {
            // Whatever follows the mark is passed over.
            return Ok((!data.is_empty()).then_some(Found {
                kind: Kind::End,
                len: data.len(),
                content: 0,
                line: self.line,
                lines: 0,
            }));
        }
        loop {
            let rest = data.get(self.seen..).unwrap_or_default();
            let Some(offset) = memchr3(b'\n', b'\r', b'\\', rest) else {
                self.seen = data.len();
                return Ok(if last && !data.is_empty() { Some(self.found(data.len(), data.len())) } else { None });
            };
            let at = self.seen + offset;
            let look = match data[at] {
                b'\n' => at_nl(at, &mut self.eol, false),
                b'\r' => at_cr(data, at, last, &mut self.eol, false),
                _ => match data.get(at + 1) {
                    None if last => Look::Line(data.len(), data.len()),
                    None => Look::More,
                    Some(b'.') => at_mark(data, at, last, self.eol, false),
                    Some(_) => Look::On(at + 2),
                },
            };
            match look {
                Look::On(next) => self.seen = next,
                Look::More => {
                    self.seen = at;
                    return Ok(None);
                }
                Look::Line(content, len) => return Ok(Some(self.found(content, len))),
                Look::Mark(content, len) => {
                    self.ended = true;
                    if content > 0 {
                        return Ok(Some(self.found(content, len)));
                    }
                    return Ok(Some(Found { kind: Kind::End, len, content: 0, line: self.line + 1, lines: 1 }));
                }
                Look::Fault(message, hint) => return Err(Fault { message, hint, line: self.line + 1 }),
            }
        }
    }

    fn found(&mut self, content: usize, len: usize) -> Found {
        self.seen = 0;
        self.line += 1;
        let kind = if std::mem::take(&mut self.header) { Kind::Header } else { Kind::Row };
        Found { kind, len, content, line: self.line, lines: 1 }
    }
}
