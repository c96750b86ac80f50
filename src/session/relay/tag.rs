//! Command tags, as far as the session reads them.

/// The beginning of a command tag: enough to know the command, without an allocation for each statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    bytes: [u8; Tag::KEPT],
    len: u8,
}

impl Tag {
    /// PostgreSQL's tags have at most 64 bytes, and the ones that matter here far fewer.
    const KEPT: usize = 24;

    /// From a message's type and body: an empty query has an empty one.
    pub(super) fn new(kind: u8, body: &[u8]) -> Tag {
        let body = if kind == b'I' { b"" } else { body.strip_suffix(b"\0").unwrap_or(body) };
        let mut kept = Tag { bytes: [0; Tag::KEPT], len: body.len().min(Tag::KEPT) as u8 };
        kept.bytes[..usize::from(kept.len)].copy_from_slice(&body[..usize::from(kept.len)]);
        kept
    }

    /// The tag's first bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.as_bytes()))
    }
}
