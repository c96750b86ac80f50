//! The arrays of `key = ANY(array)`: text form (`{1,2}`) and binary form, element by element.
//!
//! The text rules are those of `array_in` (`src/backend/utils/adt/arrayfuncs.c`). An array that PostgreSQL would refuse
//! matches nothing; one with more than one dimension or explicit bounds is left to it as unclear.

use std::borrow::Cow;

use crate::types::decode::{decode, decode_stored};
use crate::types::key::{DecodeContext, KeyType, Match, Raw};
use crate::types::oid::{self, Oid};

const SHAPE: &str = "only one-dimensional arrays with default bounds are read";
const ELEMENTS: &str = "the array's element type is not one that Goldseam can compare with the key's";

/// Reads the array of `column = ANY(array)`; the error says why it is unclear. NULL elements are [`Match::Nothing`].
pub fn decode_array<'a>(raw: &Raw<'a>, column: KeyType, ctx: &DecodeContext) -> Result<Vec<Match<'a>>, &'static str> {
    decode_array_with(raw, column, ctx, false)
}

/// As [`decode_array`], for values that are stored if `stored` (INSERT from `unnest(array)`).
pub fn decode_array_with<'a>(
    raw: &Raw<'a>,
    column: KeyType,
    ctx: &DecodeContext,
    stored: bool,
) -> Result<Vec<Match<'a>>, &'static str> {
    let element = |raw: Raw<'a>| if stored { decode_stored(&raw, column, ctx) } else { decode(&raw, column, ctx) };
    match raw {
        Raw::Null => Ok(Vec::new()),
        Raw::Text { text: Cow::Borrowed(text), oid } => {
            let oid = element_type(*oid)?;
            let items = split(text)?.unwrap_or_default();
            Ok(items.into_iter().map(|item| element(item.map_or(Raw::Null, |text| Raw::Text { text, oid }))).collect())
        }
        Raw::Text { text, oid } => {
            let borrowed = Raw::Text { text: Cow::Borrowed(text.as_ref()), oid: *oid };
            let matches = decode_array_with(&borrowed, column, ctx, stored)?;
            Ok(matches.into_iter().map(Match::into_owned).collect())
        }
        Raw::Binary { bytes, oid } => {
            element_type(*oid)?;
            Ok(binary(bytes)?.unwrap_or_default().into_iter().map(element).collect())
        }
    }
}

/// The element type of an array type; an untyped array takes the column's.
fn element_type(array: Oid) -> Result<Oid, &'static str> {
    Ok(match array {
        oid::UNSPECIFIED | oid::UNKNOWN => oid::UNKNOWN,
        oid::INT2_ARRAY => oid::INT2,
        oid::INT4_ARRAY => oid::INT4,
        oid::INT8_ARRAY => oid::INT8,
        oid::NUMERIC_ARRAY => oid::NUMERIC,
        oid::TEXT_ARRAY => oid::TEXT,
        oid::VARCHAR_ARRAY => oid::VARCHAR,
        oid::BPCHAR_ARRAY => oid::BPCHAR,
        oid::UUID_ARRAY => oid::UUID,
        oid::DATE_ARRAY => oid::DATE,
        oid::TIMESTAMP_ARRAY => oid::TIMESTAMP,
        oid::TIMESTAMPTZ_ARRAY => oid::TIMESTAMPTZ,
        oid::BYTEA_ARRAY => oid::BYTEA,
        oid::FLOAT4_ARRAY => oid::FLOAT4,
        oid::FLOAT8_ARRAY => oid::FLOAT8,
        _ => return Err(ELEMENTS),
    })
}

/// Elements of a text array, `None` for NULL; `Ok(None)` where PostgreSQL refuses the whole.
type Items<'a> = Option<Vec<Option<Cow<'a, str>>>>;

fn split(text: &str) -> Result<Items<'_>, &'static str> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace());
    if text.starts_with('[') {
        return Err(SHAPE);
    }
    let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else { return Ok(None) };
    let mut items = Vec::new();
    if inner.trim_ascii().is_empty() {
        return Ok(Some(items));
    }
    let mut rest = inner;
    loop {
        rest = rest.trim_ascii_start();
        let (item, after) = match rest.as_bytes().first() {
            Some(b'"') => match quoted(&rest[1..]) {
                Some((item, after)) => (Some(item), after.trim_ascii_start()),
                None => return Ok(None),
            },
            Some(b'{') => return Err(SHAPE),
            _ => {
                let end = unquoted_end(rest);
                let (word, after) = rest.split_at(end);
                let word = word.trim_ascii_end();
                // PostgreSQL refuses these; a backslash outside quotes it reads, but nobody writes.
                if word.is_empty() || word.contains(['"', '{', '}']) {
                    return Ok(None);
                }
                if word.contains('\\') {
                    return Err("a backslash outside quotes in an array");
                }
                (if word.eq_ignore_ascii_case("null") { None } else { Some(Cow::Borrowed(word)) }, after)
            }
        };
        items.push(item);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(Some(items)),
            None => return Ok(None),
        }
    }
}

fn unquoted_end(text: &str) -> usize {
    text.find(',').unwrap_or(text.len())
}

/// The element after an opening quote, and what follows the closing one.
fn quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let stop = text.find(['"', '\\'])?;
    if text.as_bytes()[stop] == b'"' {
        return Some((Cow::Borrowed(&text[..stop]), &text[stop + 1..]));
    }
    let mut item = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((Cow::Owned(item), &text[at + 1..])),
            '\\' => item.push(chars.next()?.1),
            _ => item.push(char),
        }
    }
    None
}

/// Elements of a binary array (`array_send`): dimensions, flags, element type, then length and bytes of each.
fn binary(bytes: &[u8]) -> Result<Option<Vec<Raw<'_>>>, &'static str> {
    let int = |at: usize| bytes.get(at..at + 4).map(|four| i32::from_be_bytes([four[0], four[1], four[2], four[3]]));
    let (Some(dimensions), Some(_flags), Some(element)) = (int(0), int(4), int(8)) else { return Ok(None) };
    match dimensions {
        0 => return Ok(Some(Vec::new())),
        1 => {}
        2.. => return Err(SHAPE),
        _ => return Ok(None),
    }
    let (Some(count), Some(_lower)) = (int(12), int(16)) else { return Ok(None) };
    // Each element has at least its length word: nothing is allocated on the count's word alone.
    if count < 0 || count as usize > (bytes.len() - 20) / 4 {
        return Ok(None);
    }
    let mut items = Vec::with_capacity(count as usize);
    let mut at = 20;
    for _ in 0..count {
        let Some(length) = int(at) else { return Ok(None) };
        at += 4;
        if length < 0 {
            items.push(Raw::Null);
            continue;
        }
        let Some(value) = bytes.get(at..at + length as usize) else { return Ok(None) };
        items.push(Raw::Binary { bytes: value, oid: element as Oid });
        at += length as usize;
    }
    Ok((at == bytes.len()).then_some(items))
}
