//! Durations and sizes as operators write them: `15s`, `500ms`, `1 GiB`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Longer is as good as never, and far from every overflow of a clock.
pub const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A duration: a string with a unit, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A size in bytes: a string with a unit, or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

/// Splits `15s` into the number and the unit.
fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" | "" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        "d" => number * 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok()
}

fn size(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1_u64,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = number * factor as f64;
    (bytes < 9e15).then_some(bytes as usize)
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as \"15s\", \"500ms\" or \"5m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        match duration(text) {
            Some(duration) if duration <= FOREVER => Ok(Span(duration)),
            _ => Err(E::custom(format!("\"{text}\" is no duration such as \"15s\", \"500ms\" or \"5m\""))),
        }
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
        self.visit_str(&seconds.to_string())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"64MB\" or \"1GB\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        match size(text) {
            Some(bytes) => Ok(Size(bytes)),
            None => Err(E::custom(format!("\"{text}\" is no size such as \"64MB\" or \"1GB\""))),
        }
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<Size, E> {
        self.visit_str(&bytes.to_string())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl schemars::JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A duration with a unit (ms, s, m, h, d), or a number of seconds.",
            "anyOf": [{ "type": "string", "pattern": "^[0-9.]+ *(ms|s|m|min|h|d)?$" }, { "type": "integer", "minimum": 0 }]
        })
    }
}

impl schemars::JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A size with a unit (kB, MB, GB; powers of 1024), or a number of bytes.",
            "anyOf": [{ "type": "string", "pattern": "^[0-9.]+ *[kKmMgG]?i?[bB]?$" }, { "type": "integer", "minimum": 0 }]
        })
    }
}
