//! The bytes of some columns of a row, with their escapes and quotes taken off.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::binary::int32;
use super::statement::{Format, Options};

/// What a row has in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field<'r> {
    /// NULL.
    Null,
    /// A value, in text or binary form as the format is.
    Value(Cow<'r, [u8]>),
    /// The row ends before it, or is not well formed: a server says so.
    Missing,
}

/// A column that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its place among the columns that are copied.
    pub at: usize,
    /// FORCE_NOT_NULL holds for it.
    pub force_not_null: bool,
    /// FORCE_NULL holds for it.
    pub force_null: bool,
}

/// One column of a row, which is given without the end of its line.
pub fn field<'r>(row: &'r [u8], options: &Options, wanted: &Wanted) -> Field<'r> {
    match options.format {
        Format::Text => text(row, options, wanted.at),
        Format::Csv => csv(row, options, wanted),
        Format::Binary => binary(row, wanted.at),
    }
}

fn text<'r>(row: &'r [u8], options: &Options, wanted: usize) -> Field<'r> {
    let (mut start, mut at, mut number, mut escapes) = (0, 0, 0, false);
    loop {
        let rest = row.get(at..).unwrap_or_default();
        let (end, found) = match memchr2(options.delimiter, b'\\', rest) {
            // A delimiter that is a backslash is refused by every server.
            Some(offset) if rest[offset] == b'\\' => {
                escapes = true;
                // What follows it is no delimiter.
                at = (at + offset + 2).min(row.len());
                continue;
            }
            Some(offset) => (at + offset, true),
            None => (row.len(), false),
        };
        if number == wanted {
            let raw = &row[start..end];
            if raw == options.null {
                return Field::Null;
            }
            return Field::Value(if escapes { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) });
        }
        if !found {
            return Field::Missing;
        }
        (start, at, number, escapes) = (end + 1, end + 1, number + 1, false);
    }
}

/// As `CopyReadAttributesText` reads escapes.
fn unescape(raw: &[u8]) -> Vec<u8> {
    let octal = |byte: &u8| (b'0'..=b'7').contains(byte);
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(offset) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..offset]);
        // A backslash at the very end is dropped.
        let Some((&byte, tail)) = rest[offset + 1..].split_first() else { return out };
        rest = tail;
        out.push(match byte {
            b'0'..=b'7' => {
                let mut value = u32::from(byte - b'0');
                for _ in 0..2 {
                    let Some((next, tail)) = rest.split_first().filter(|(next, _)| octal(next)) else { break };
                    value = (value << 3) + u32::from(next - b'0');
                    rest = tail;
                }
                (value & 0xff) as u8
            }
            b'x' => {
                let digit = |rest: &[u8]| rest.first().and_then(|byte| char::from(*byte).to_digit(16));
                match digit(rest) {
                    None => b'x',
                    Some(mut value) => {
                        rest = &rest[1..];
                        if let Some(next) = digit(rest) {
                            value = (value << 4) + next;
                            rest = &rest[1..];
                        }
                        (value & 0xff) as u8
                    }
                }
            }
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        });
    }
    out.extend_from_slice(rest);
    out
}

fn csv<'r>(row: &'r [u8], options: &Options, wanted: &Wanted) -> Field<'r> {
    let (quote, escape, delimiter) = (options.quote, options.escape, options.delimiter);
    let (mut at, mut number) = (0, 0);
    loop {
        let (start, mut saw_quote) = (at, false);
        let mut out: Option<Vec<u8>> = None;
        let ours = number == wanted.at;
        let (end, more) = loop {
            let rest = row.get(at..).unwrap_or_default();
            let (stop, found) = match memchr2(delimiter, quote, rest) {
                Some(offset) => (at + offset, Some(rest[offset])),
                None => (row.len(), None),
            };
            if let Some(out) = &mut out {
                out.extend_from_slice(&row[at..stop]);
            }
            match found {
                None => break (row.len(), false),
                Some(byte) if byte == delimiter => {
                    at = stop + 1;
                    break (stop, true);
                }
                Some(_) => {}
            }
            saw_quote = true;
            if ours && out.is_none() {
                out = Some(row[start..stop].to_vec());
            }
            at = stop + 1;
            // Within quotes.
            loop {
                let rest = row.get(at..).unwrap_or_default();
                let Some(offset) = memchr2(quote, escape, rest) else { return Field::Missing };
                if let Some(out) = &mut out {
                    out.extend_from_slice(&rest[..offset]);
                }
                let (byte, next) = (rest[offset], rest.get(offset + 1));
                at += offset + 1;
                if byte == escape
                    && let Some(&next) = next
                    && (next == escape || next == quote)
                {
                    if let Some(out) = &mut out {
                        out.push(next);
                    }
                    at += 1;
                    continue;
                }
                if byte == quote {
                    break;
                }
                if let Some(out) = &mut out {
                    out.push(byte);
                }
            }
        };
        if ours {
            let value = match out {
                Some(value) => Cow::Owned(value),
                None => Cow::Borrowed(&row[start..end]),
            };
            let is_null = *value == *options.null;
            return match (saw_quote, is_null) {
                (false, true) if !wanted.force_not_null => Field::Null,
                (true, true) if wanted.force_null => Field::Null,
                _ => Field::Value(value),
            };
        }
        if !more {
            return Field::Missing;
        }
        number += 1;
    }
}

fn binary(row: &[u8], wanted: usize) -> Field<'_> {
    let mut at = 2;
    for number in 0.. {
        let Some(length) = int32(row, at) else { return Field::Missing };
        let length = usize::try_from(length).ok();
        if number == wanted {
            return match length {
                None => Field::Null,
                Some(length) => match row.get(at + 4..at + 4 + length) {
                    Some(bytes) => Field::Value(Cow::Borrowed(bytes)),
                    None => Field::Missing,
                },
            };
        }
        at += 4 + length.unwrap_or(0);
    }
    Field::Missing
}
