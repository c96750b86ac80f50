//! The context of an error in COPY: `COPY t, line 7, column id: "x"`. A shard counts the lines that it got; the client gets its own.

use bytes::BytesMut;

use crate::copy::lines::Lines;
use crate::error::{PgError, Severity};
use crate::protocol::answer::{self, ErrorFields};
use crate::protocol::frame::HEADER;
use crate::protocol::{self, encode};
use crate::session::scatter::Stop;

/// PostgreSQL's limit for a value in a context (`MAX_COPY_DATA_DISPLAY`).
const SHOWN: usize = 100;

/// A shard's error or notice with the client's line number.
pub(super) fn relocate(message: BytesMut, table: &str, lines: &Lines) -> BytesMut {
    if lines.sent() == 0 {
        return message;
    }
    let fields = ErrorFields::new(message.get(HEADER..).unwrap_or_default());
    let Some(context) = fields.text(b'W') else { return message };
    match moved(&context, table, |line| lines.line(line)) {
        Moved::Same => message,
        Moved::To(context) => answer::with_field(&message, b'W', &context),
        // No line is better than a wrong one.
        Moved::Lost => answer::without_field(&message, b'W'),
    }
}

/// The line that an error is about.
pub(super) fn line_of(message: &[u8], table: &str) -> Option<u64> {
    let context = ErrorFields::new(message.get(HEADER..).unwrap_or_default()).text(b'W')?;
    let found = std::cell::Cell::new(None);
    moved(&context, table, |line| {
        found.set(Some(line));
        Some(line)
    });
    found.get()
}

#[derive(Debug, PartialEq, Eq)]
enum Moved {
    Same,
    To(String),
    Lost,
}

/// The first line of the context that is about this COPY, with another number. Servers translate the words; the number stays the first one
/// behind the table's name.
fn moved(context: &str, table: &str, line: impl Fn(u64) -> Option<u64>) -> Moved {
    let start = format!("COPY {table}, ");
    let Some(at) = context.find(&start).filter(|at| *at == 0 || context.as_bytes()[at - 1] == b'\n') else {
        return Moved::Same;
    };
    let from = at + start.len();
    let end_of_line = context[from..].find('\n').map_or(context.len(), |end| from + end);
    let Some(offset) = context[from..end_of_line].find(|c: char| c.is_ascii_digit()) else { return Moved::Same };
    let digits = from + offset;
    let length = context[digits..].bytes().take_while(u8::is_ascii_digit).count();
    match context[digits..digits + length].parse().ok().and_then(line) {
        Some(line) => Moved::To(format!("{}{line}{}", &context[..digits], &context[digits + length..])),
        None => Moved::Lost,
    }
}

/// A server's error as the client gets it.
pub(super) fn server_error(mut message: BytesMut, shard: &str) -> Stop {
    let fields = ErrorFields::new(message.get(HEADER..).unwrap_or_default());
    // A server that ends this connection does not end the client's.
    if fields.is_fatal() {
        let error = PgError { severity: Severity::Error, ..fields.to_error() };
        message.clear();
        encode::error_response(&mut message, &error);
    }
    // The statement that it got may have a list of columns more.
    message = answer::without_field(&message, b'P');
    Stop::Server(protocol::with_shard(&message, shard).freeze())
}

/// An error of ours at a line of the data.
pub(super) fn at_line(error: &PgError, table: &str, line: u64, column: Option<(&str, &[u8])>) -> Stop {
    let mut context = format!("COPY {table}, line {line}");
    if let Some((column, value)) = column {
        let text = String::from_utf8_lossy(value);
        let shown = text.chars().scan(0, |bytes, c: char| {
            *bytes += c.len_utf8();
            (*bytes <= SHOWN).then_some(c)
        });
        let shown: String = shown.collect();
        let dots = if shown.len() < text.len() { "..." } else { "" };
        context.push_str(&format!(", column {column}: \"{shown}{dots}\""));
    }
    let mut message = BytesMut::new();
    encode::error_response(&mut message, error);
    Stop::Server(answer::with_field(&message, b'W', &context).freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_the_line_changes() {
        let twice = |line: u64| (line < 100).then_some(line * 2);
        let to = |text: &str| Moved::To(text.to_string());
        assert_eq!(moved("COPY t1, line 7, column id: \"9\"", "t1", twice), to("COPY t1, line 14, column id: \"9\""));
        assert_eq!(moved("COPY t1, Zeile 7: \"9\"", "t1", twice), to("COPY t1, Zeile 14: \"9\""));
        assert_eq!(moved("SQL function \"f\"\nCOPY t, line 3", "t", twice), to("SQL function \"f\"\nCOPY t, line 6"));
        assert_eq!(moved("COPY other, line 7", "t", twice), Moved::Same);
        assert_eq!(moved("COPY t, line 700", "t", twice), Moved::Lost);
        assert_eq!(moved("", "t", twice), Moved::Same);
    }
}
