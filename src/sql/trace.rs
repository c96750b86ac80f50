//! The trace that a statement belongs to: W3C's `traceparent` in a comment, as sqlcommenter writes it (`/*traceparent='00-...'*/`, at the
//! end or at the start of the statement, values percent-encoded and in quotes).

/// `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

/// A `traceparent` of version 00, checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceParent([u8; LENGTH]);

impl TraceParent {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Checks one (W3C Trace Context, section 3.2.2): lower-case hex digits, and no identifier of zeroes only.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; LENGTH] = text.as_bytes().try_into().ok()?;
        let hex = |range: std::ops::Range<usize>| {
            bytes[range].iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
        };
        let some = |range: std::ops::Range<usize>| bytes[range].iter().any(|byte| *byte != b'0');
        let dashes = [2, 35, 52].iter().all(|at| bytes[*at] == b'-');
        let valid = &bytes[..2] == b"00" && dashes && hex(3..35) && hex(36..52) && hex(53..55);
        (valid && some(3..35) && some(36..52)).then_some(TraceParent(bytes))
    }
}

impl std::fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The trace that a statement's first or last comment names. Costs two comparisons where there is no comment.
pub fn traceparent(text: &str) -> Option<TraceParent> {
    let text = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == ';');
    let last = || text.strip_suffix("*/").and_then(|rest| Some(&rest[rest.rfind("/*")? + 2..]));
    let first = || text.strip_prefix("/*").and_then(|rest| Some(&rest[..rest.find("*/")?]));
    last().and_then(in_comment).or_else(|| first().and_then(in_comment))
}

/// `key='value',key='value'` with our key.
fn in_comment(comment: &str) -> Option<TraceParent> {
    let pairs = comment.split(',').filter_map(|pair| pair.split_once('='));
    let ours = pairs.filter(|(key, _)| key.trim() == "traceparent");
    ours.filter_map(|(_, value)| TraceParent::parse(value.trim().trim_matches('\''))).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_is_found_at_either_end() {
        for text in [
            format!("SELECT 1 /*traceparent='{TRACE}'*/"),
            format!("SELECT 1 /*application='x',traceparent='{TRACE}',tracestate='a%3Db'*/;\n"),
            format!("/* traceparent='{TRACE}' */ SELECT 1"),
            format!("/* traceparent={TRACE} */ SELECT 1 /* other */"),
        ] {
            assert_eq!(traceparent(&text).unwrap().as_str(), TRACE, "{text}");
        }
    }

    #[test]
    fn what_is_no_trace_is_ignored() {
        for text in [
            "",
            "/*",
            "*/",
            "/*/",
            "SELECT 1",
            "SELECT 1 /* traceparent */",
            "SELECT 1 /*traceparent='01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/",
            "SELECT 1 /*traceparent='00-00000000000000000000000000000000-00f067aa0ba902b7-01'*/",
            "SELECT 1 /*traceparent='00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01'*/",
            "SELECT 1 /*traceparent='00-ä'*/",
        ] {
            assert_eq!(traceparent(text), None, "{text}");
        }
    }
}
