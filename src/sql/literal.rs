//! Literals: where they stand in a text, and what their escapes mean.

use std::borrow::Cow;

use crate::types::{Raw, oid};

/// A literal's place in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Literal {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// How it is written.
    pub kind: LiteralKind,
}

/// How a literal is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum LiteralKind {
    /// `42`.
    Integer = 1,
    /// `4.2`, `1e3`.
    Decimal,
    /// `'...'`, also continued over lines.
    String,
    /// `E'...'`.
    Escape,
    /// `$tag$...$tag$`.
    Dollar,
    /// `U&'...'`, `N'...'`, `b'...'`, `x'...'`, `0x1F`: lifted, but never read as a key.
    Special,
}

impl Literal {
    /// The value as a key may be read from it. `None` if Goldseam does not read this kind of literal.
    pub fn raw<'a>(&self, text: &'a str) -> Option<Raw<'a>> {
        let body = text.get(self.start as usize..self.end as usize)?;
        let (text, oid) = match self.kind {
            // PostgreSQL types a number by its size; `decode` takes NUMERIC for "a number literal".
            LiteralKind::Integer | LiteralKind::Decimal => (number(body)?, oid::NUMERIC),
            LiteralKind::String => (quoted(body)?, oid::UNKNOWN),
            LiteralKind::Escape => (escaped(body.get(1..)?)?, oid::UNKNOWN),
            LiteralKind::Dollar => {
                let tag = body.get(1..)?.find('$')? + 2;
                (Cow::Borrowed(body.get(tag..body.len().checked_sub(tag)?)?), oid::UNKNOWN)
            }
            LiteralKind::Special => return None,
        };
        Some(Raw::Text { text, oid })
    }
}

/// `1_000` is a number from PostgreSQL 16 on and an error before: never a key.
fn number(body: &str) -> Option<Cow<'_, str>> {
    let plain = body.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    plain.then_some(Cow::Borrowed(body))
}

/// The inside of `'...'`, possibly continued: `'a' \n 'b'`.
fn quoted(body: &str) -> Option<Cow<'_, str>> {
    let inside = body.strip_prefix('\'')?.strip_suffix('\'')?;
    if !inside.contains('\'') {
        return Some(Cow::Borrowed(inside));
    }
    let mut out = String::with_capacity(inside.len());
    let mut rest = body;
    while let Some(part) = next_part(&mut rest) {
        out.push_str(&part.replace("''", "'"));
    }
    Some(Cow::Owned(out))
}

/// The raw inside of the next quoted part of a continued string. Only white space and comments stand between the parts.
fn next_part<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let mut text = *rest;
    loop {
        text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0B', '\x0C']);
        if !text.starts_with("--") {
            break;
        }
        text = text.find(['\n', '\r']).map_or("", |end| &text[end..]);
    }
    text = text.strip_prefix('\'')?;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'\'' {
            if bytes.get(at + 1) != Some(&b'\'') {
                *rest = &text[at + 1..];
                return Some(&text[..at]);
            }
            at += 1;
        }
        at += 1;
    }
    None
}

/// The inside of `E'...'`, whose `E` is behind us. `None` for what PostgreSQL refuses, and for continued strings.
fn escaped(body: &str) -> Option<Cow<'_, str>> {
    let inside = body.strip_prefix('\'')?.strip_suffix('\'')?;
    if !inside.contains(['\'', '\\']) {
        return Some(Cow::Borrowed(inside));
    }
    let mut out: Vec<u8> = Vec::with_capacity(inside.len());
    let mut bytes = inside.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' if bytes.next() != Some(b'\'') => return None,
            b'\'' => out.push(b'\''),
            b'\\' => {
                let escape = bytes.next()?;
                match escape {
                    b'b' => out.push(8),
                    b'f' => out.push(12),
                    b'n' => out.push(b'\n'),
                    b'r' => out.push(b'\r'),
                    b't' => out.push(b'\t'),
                    b'v' => out.push(11),
                    b'0'..=b'7' => {
                        let mut value = u32::from(escape - b'0');
                        for _ in 0..2 {
                            let Some(digit) = bytes.next_if(|byte| (b'0'..=b'7').contains(byte)) else { break };
                            value = value * 8 + u32::from(digit - b'0');
                        }
                        out.push((value & 0xFF) as u8);
                    }
                    b'x' | b'u' | b'U' => {
                        let (least, most) = match escape {
                            b'x' => (0, 2),
                            b'u' => (4, 4),
                            _ => (8, 8),
                        };
                        let mut value = 0u32;
                        let mut count = 0;
                        while count < most {
                            let Some(digit) = bytes.next_if(u8::is_ascii_hexdigit) else { break };
                            value = value.checked_mul(16)? + (digit as char).to_digit(16)?;
                            count += 1;
                        }
                        if count < least {
                            return None;
                        }
                        match escape {
                            b'x' if count == 0 => out.push(b'x'),
                            b'x' => out.push(value as u8),
                            // Surrogate pairs are not worth reading: no key.
                            _ => out.extend(char::from_u32(value)?.encode_utf8(&mut [0; 4]).bytes()),
                        }
                    }
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
    }
    if out.contains(&0) {
        return None;
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}
