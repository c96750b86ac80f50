//! A cursor over a message's body that never steps over its end.

use crate::error::PgError;
use crate::sqlstate::SqlState;

/// The error of a body that is shorter or longer than its own fields say (PostgreSQL: `pq_getmsgend`, `pq_copymsgbytes`).
pub(super) fn malformed(what: &str) -> PgError {
    PgError::new(SqlState::PROTOCOL_VIOLATION, what.to_owned())
}

/// Text that must be UTF-8: `22021` with the first offending bytes, as PostgreSQL says it.
pub fn utf8(bytes: &[u8]) -> Result<&str, PgError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let wrong = &bytes[error.valid_up_to()..];
        // As many as the first one announces (`pg_utf_mblen`).
        let announced = match wrong.first() {
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(0xf0..=0xf7) => 4,
            _ => 1,
        };
        let shown: Vec<String> = wrong.iter().take(announced).map(|byte| format!("0x{byte:02x}")).collect();
        PgError::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    })
}

/// What of a body has not been read yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    /// The unread rest.
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Reader { rest: body }
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], PgError> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| malformed("insufficient data left in message"))?;
        self.rest = rest;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, PgError> {
        Ok(self.bytes(1)?[0])
    }

    pub fn i16(&mut self) -> Result<i16, PgError> {
        let bytes = self.bytes(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub fn i32(&mut self) -> Result<i32, PgError> {
        let bytes = self.bytes(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The bytes before the next NUL, which is consumed.
    pub fn c_bytes(&mut self) -> Result<&'a [u8], PgError> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or_else(|| malformed("invalid string in message"))?;
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// A C string that must be UTF-8.
    pub fn c_str(&mut self) -> Result<&'a str, PgError> {
        utf8(self.c_bytes()?)
    }

    /// A count of things that follow: never negative.
    pub fn count(&mut self) -> Result<usize, PgError> {
        // Read as unsigned: PostgreSQL reads the 16 bits as `pq_getmsgint(.., 2)`, so that 65,535 parameters are possible.
        Ok(self.i16()? as u16 as usize)
    }

    pub fn end(&self) -> Result<(), PgError> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed("invalid message format")) }
    }
}
