//! Where one message ends and the next begins.
//!
//! A length field is a claim of the other side's. It is checked against a bound as soon as its four bytes are there, and
//! nobody reserves memory for a body before: a claim of 4 GB costs nothing but an error.

use crate::error::PgError;
use crate::sqlstate::SqlState;

/// A tag byte and a length that counts itself.
pub const HEADER: usize = 5;

/// A message's outline: the whole message is `buf[..len]`, its body `buf[HEADER..len]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// What kind of message it is.
    pub tag: u8,
    /// All of it in bytes, tag and length field included: at least [`HEADER`].
    pub len: usize,
}

impl Frame {
    /// The message's body within the buffer that it begins.
    pub fn body(self, buf: &[u8]) -> &[u8] {
        buf.get(HEADER..self.len).unwrap_or_default()
    }
}

/// The outline of the message that `buf` begins with, as soon as its header is there, even if its body is not.
/// `max` bounds the length field. Error: `08P01`, FATAL, because the stream cannot be followed any further.
pub fn header(buf: &[u8], max: usize) -> Result<Option<Frame>, PgError> {
    let Some(&[tag, a, b, c, d]) = buf.first_chunk::<HEADER>() else { return Ok(None) };
    let claimed = i32::from_be_bytes([a, b, c, d]);
    match usize::try_from(claimed) {
        Ok(length) if (4..=max).contains(&length) => Ok(Some(Frame { tag, len: length + 1 })),
        _ => Err(PgError::fatal(SqlState::PROTOCOL_VIOLATION, "invalid message length").with_detail(format!(
            "A message of type {:?} claims {} bytes; between 4 and {max} are allowed here.",
            tag as char, claimed as u32
        ))),
    }
}

/// The outline of the message that `buf` begins with if all of it is there.
pub fn frame(buf: &[u8], max: usize) -> Result<Option<Frame>, PgError> {
    Ok(header(buf, max)?.filter(|frame| frame.len <= buf.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_seen_when_its_last_byte_is_there() {
        let message = b"Q\0\0\0\x06a\0X";
        for end in 0..7 {
            assert_eq!(frame(&message[..end], 100).unwrap(), None, "{end}");
        }
        let seen = frame(message, 100).unwrap().unwrap();
        assert_eq!((seen, seen.body(message)), (Frame { tag: b'Q', len: 7 }, &b"a\0"[..]));
    }

    #[test]
    fn the_header_is_known_before_the_body() {
        assert_eq!(header(b"d\0\0\x10\0", 1 << 20).unwrap(), Some(Frame { tag: b'd', len: 4097 }));
    }

    #[test]
    fn lengths_beyond_the_bound_or_below_their_own_size_are_refused_at_once() {
        for bad in [[0xff, 0xff, 0xff, 0xff], [0, 0, 0, 3], [0x80, 0, 0, 0], [0, 0, 0, 101], [0, 0, 0, 0]] {
            let mut message = vec![b'Q'];
            message.extend_from_slice(&bad);
            let error = frame(&message, 100).unwrap_err();
            assert_eq!(error.code, SqlState::PROTOCOL_VIOLATION, "{bad:?}");
        }
        assert!(frame(b"Q\0\0\0\x64", 100).is_ok());
    }
}
