//! Views of what servers send. Rows are never among them on the single-shard path; errors, parameters and states are.

use bytes::{BufMut, BytesMut};

use crate::error::{PgError, Severity};
use crate::protocol::frame::HEADER;
use crate::protocol::reader::{Reader, malformed};
use crate::sqlstate::SqlState;

/// The tags of what servers send.
pub mod tag {
    /// A step of authentication.
    pub const AUTHENTICATION: u8 = b'R';
    /// Process id and secret for cancel requests.
    pub const BACKEND_KEY_DATA: u8 = b'K';
    /// Bind is done.
    pub const BIND_COMPLETE: u8 = b'2';
    /// Close is done.
    pub const CLOSE_COMPLETE: u8 = b'3';
    /// A statement is done.
    pub const COMMAND_COMPLETE: u8 = b'C';
    /// COPY data.
    pub const COPY_DATA: u8 = b'd';
    /// COPY data is over.
    pub const COPY_DONE: u8 = b'c';
    /// Send COPY data now.
    pub const COPY_IN: u8 = b'G';
    /// COPY data follows.
    pub const COPY_OUT: u8 = b'H';
    /// COPY in both directions (replication).
    pub const COPY_BOTH: u8 = b'W';
    /// A row.
    pub const DATA_ROW: u8 = b'D';
    /// The statement was empty.
    pub const EMPTY_QUERY: u8 = b'I';
    /// An error.
    pub const ERROR: u8 = b'E';
    /// The result of a function call.
    pub const FUNCTION_CALL: u8 = b'V';
    /// An older protocol version, or unknown options.
    pub const NEGOTIATE_VERSION: u8 = b'v';
    /// The statement returns no rows.
    pub const NO_DATA: u8 = b'n';
    /// A warning or the like.
    pub const NOTICE: u8 = b'N';
    /// A NOTIFY of some session.
    pub const NOTIFICATION: u8 = b'A';
    /// The types of a statement's parameters.
    pub const PARAMETER_DESCRIPTION: u8 = b't';
    /// A setting's new value.
    pub const PARAMETER_STATUS: u8 = b'S';
    /// Parse is done.
    pub const PARSE_COMPLETE: u8 = b'1';
    /// Execute stopped at its row limit.
    pub const PORTAL_SUSPENDED: u8 = b's';
    /// Ready for the next statement, and the transaction's state.
    pub const READY_FOR_QUERY: u8 = b'Z';
    /// The columns that follow.
    pub const ROW_DESCRIPTION: u8 = b'T';
}

/// The fields of an ErrorResponse or NoticeResponse, in the order they came.
#[derive(Debug, Clone, Copy)]
pub struct ErrorFields<'a> {
    body: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    /// Over a message's body. Whatever is malformed in it ends the fields early.
    pub fn new(body: &'a [u8]) -> Self {
        ErrorFields { body }
    }

    /// Codes and values (protocol section "Error and Notice Message Fields").
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + 'a {
        let mut reader = Reader::new(self.body);
        std::iter::from_fn(move || {
            let code = reader.u8().ok().filter(|&code| code != 0)?;
            Some((code, reader.c_bytes().ok()?))
        })
    }

    /// One field's value, such as `C` (SQLSTATE), `M` (message), `D` (detail), `H` (hint), `V` (severity, untranslated).
    pub fn field(&self, code: u8) -> Option<&'a [u8]> {
        self.fields().find(|&(found, _)| found == code).map(|(_, value)| value)
    }

    /// A field as text, with a replacement character for whatever is not UTF-8.
    pub fn text(&self, code: u8) -> Option<String> {
        self.field(code).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The SQLSTATE.
    pub fn code(&self) -> SqlState {
        self.field(b'C').and_then(|code| <[u8; 5]>::try_from(code).ok()).map_or(SqlState::INTERNAL_ERROR, SqlState)
    }

    /// Whether the server ends the connection with it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.field(b'V').or_else(|| self.field(b'S')), Some(b"FATAL" | b"PANIC"))
    }

    /// The same as an error of ours, where the message itself cannot be forwarded (a failed login, a query of our own).
    pub fn to_error(&self) -> PgError {
        PgError {
            severity: if self.is_fatal() { Severity::Fatal } else { Severity::Error },
            code: self.code(),
            message: self.text(b'M').unwrap_or_default(),
            detail: self.text(b'D'),
            hint: self.text(b'H'),
            position: self.text(b'P').and_then(|position| position.parse().ok()),
        }
    }
}

/// A whole ErrorResponse or NoticeResponse again, with the shard's name in its detail and all else verbatim: `Shard "s1".` after the
/// server's own detail, or as the detail if there was none.
pub fn with_shard(message: &[u8], shard: &str) -> BytesMut {
    let body = message.get(HEADER..).unwrap_or_default();
    let mut out = BytesMut::with_capacity(message.len() + shard.len() + 16);
    out.put_u8(message.first().copied().unwrap_or(tag::ERROR));
    out.put_i32(0);
    let mut named = false;
    for (code, value) in ErrorFields::new(body).fields() {
        out.put_u8(code);
        out.put_slice(value);
        if code == b'D' {
            named = true;
            out.put_slice(format!("\nShard \"{shard}\".").as_bytes());
        }
        out.put_u8(0);
    }
    if !named {
        out.put_slice(format!("DShard \"{shard}\".\0").as_bytes());
    }
    out.put_u8(0);
    let length = (out.len() - 1) as i32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out
}

/// A whole ErrorResponse or NoticeResponse again, with its place in the statement's text so many characters further on.
pub fn moved(message: &[u8], by: u32) -> BytesMut {
    let body = message.get(HEADER..).unwrap_or_default();
    let place = ErrorFields::new(body).text(b'P').and_then(|place| place.parse::<u32>().ok());
    let Some(place) = place.filter(|_| by > 0) else { return BytesMut::from(message) };
    let mut out = without_field(message, b'P');
    // In front of the byte that ends the fields.
    out.truncate(out.len() - 1);
    out.put_slice(format!("P{}\0\0", place.saturating_add(by)).as_bytes());
    let length = (out.len() - 1) as i32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out
}

/// A whole ErrorResponse or NoticeResponse again, without one of its fields.
pub fn without_field(message: &[u8], field: u8) -> BytesMut {
    let body = message.get(HEADER..).unwrap_or_default();
    let mut out = BytesMut::with_capacity(message.len());
    out.put_u8(message.first().copied().unwrap_or(tag::ERROR));
    out.put_i32(0);
    for (code, value) in ErrorFields::new(body).fields().filter(|(code, _)| *code != field) {
        out.put_u8(code);
        out.put_slice(value);
        out.put_u8(0);
    }
    out.put_u8(0);
    let length = (out.len() - 1) as i32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out
}

/// A whole ErrorResponse or NoticeResponse again, with another value for one of its fields.
pub fn with_field(message: &[u8], field: u8, value: &str) -> BytesMut {
    let mut out = without_field(message, field);
    // Before the byte that ends the fields.
    out.truncate(out.len().saturating_sub(1));
    out.put_u8(field);
    out.extend(value.bytes().filter(|byte| *byte != 0));
    out.put_slice(&[0, 0]);
    let length = (out.len() - 1) as i32;
    out[1..5].copy_from_slice(&length.to_be_bytes());
    out
}

/// The name and the new value of a ParameterStatus.
pub fn parameter_status(body: &[u8]) -> Result<(&str, &str), PgError> {
    let mut reader = Reader::new(body);
    Ok((reader.c_str()?, reader.c_str()?))
}

/// The process id and the secret of BackendKeyData.
pub fn backend_key_data(body: &[u8]) -> Result<(i32, &[u8]), PgError> {
    let mut reader = Reader::new(body);
    Ok((reader.i32()?, reader.rest))
}

/// The state in a ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one.
pub fn ready_state(body: &[u8]) -> Result<u8, PgError> {
    match body {
        [state @ (b'I' | b'T' | b'E')] => Ok(*state),
        _ => Err(malformed("invalid state in ReadyForQuery")),
    }
}

/// The tag of a CommandComplete, such as `INSERT 0 1`.
pub fn command_tag(body: &[u8]) -> Result<&str, PgError> {
    Reader::new(body).c_str()
}

/// The process id, the channel and the payload of a NotificationResponse.
pub fn notification(body: &[u8]) -> Result<(i32, &str, &str), PgError> {
    let mut reader = Reader::new(body);
    Ok((reader.i32()?, reader.c_str()?, reader.c_str()?))
}

/// The parameter types of a ParameterDescription.
pub fn parameter_types(body: &[u8]) -> Result<Vec<u32>, PgError> {
    let mut reader = Reader::new(body);
    let count = reader.count()?;
    let types = reader.bytes(count * 4)?;
    Ok(types.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]])).collect())
}

/// The values of a DataRow; `None` is NULL.
pub fn row_values(body: &[u8]) -> Result<Vec<Option<&[u8]>>, PgError> {
    let mut reader = Reader::new(body);
    let count = reader.count()?;
    // Each value takes four bytes at least: a claimed count reserves no more than the message could hold.
    let mut values = Vec::with_capacity(count.min(reader.rest.len() / 4));
    for _ in 0..count {
        values.push(match reader.i32()? {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| malformed("negative length of a value"))?;
                Some(reader.bytes(length)?)
            }
        });
    }
    Ok(values)
}

/// A step of authentication as the server asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authentication<'a> {
    /// Done.
    Ok,
    /// Send the password as it is.
    CleartextPassword,
    /// Send the password hashed with this salt.
    Md5Password([u8; 4]),
    /// Choose one of these mechanisms.
    Sasl(Vec<&'a str>),
    /// A step of the mechanism.
    SaslContinue(&'a [u8]),
    /// The mechanism's last step.
    SaslFinal(&'a [u8]),
    /// Something Goldseam does not do (Kerberos, GSSAPI, SSPI), by its number.
    Other(i32),
}

/// The body of an Authentication message.
pub fn authentication(body: &[u8]) -> Result<Authentication<'_>, PgError> {
    let mut reader = Reader::new(body);
    Ok(match reader.i32()? {
        0 => Authentication::Ok,
        3 => Authentication::CleartextPassword,
        5 => {
            let salt = reader.bytes(4)?;
            Authentication::Md5Password([salt[0], salt[1], salt[2], salt[3]])
        }
        10 => {
            let mut mechanisms = Vec::new();
            loop {
                let mechanism = reader.c_str()?;
                if mechanism.is_empty() {
                    break Authentication::Sasl(mechanisms);
                }
                mechanisms.push(mechanism);
            }
        }
        11 => Authentication::SaslContinue(reader.rest),
        12 => Authentication::SaslFinal(reader.rest),
        other => Authentication::Other(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::encode;

    #[test]
    fn the_shard_joins_the_detail_and_all_else_stays() {
        let mut message = BytesMut::new();
        encode::error_response(&mut message, &PgError::new(SqlState(*b"23505"), "duplicate key").with_hint("h"));
        let named = with_shard(&message, "s1");
        let fields = ErrorFields::new(&named[5..]);
        assert_eq!(fields.text(b'D').unwrap(), "Shard \"s1\".");
        assert_eq!((fields.text(b'M').unwrap().as_str(), fields.code()), ("duplicate key", SqlState(*b"23505")));
        assert_eq!(fields.text(b'H').unwrap(), "h");
        assert_eq!(i32::from_be_bytes(named[1..5].try_into().unwrap()) as usize + 1, named.len());

        let bare = without_field(&named, b'H');
        let fields = ErrorFields::new(&bare[5..]);
        assert_eq!((fields.field(b'H'), fields.text(b'M').as_deref()), (None, Some("duplicate key")));

        let again = with_shard(&named, "s2");
        assert_eq!(ErrorFields::new(&again[5..]).text(b'D').unwrap(), "Shard \"s1\".\nShard \"s2\".");
    }

    #[test]
    fn malformed_answers_are_errors_and_never_panics() {
        assert!(authentication(b"\0\0").is_err());
        assert!(authentication(b"\0\0\0\x05abc").is_err());
        assert!(authentication(b"\0\0\0\x0aSCRAM-SHA-256").is_err());
        assert!(row_values(b"\xff\xff").is_err());
        assert!(row_values(b"\0\x01\xff\xff\xff\xfe").is_err());
        assert!(ready_state(b"").is_err());
        assert!(ready_state(b"X").is_err());
        assert!(parameter_status(b"a\0b").is_err());
        assert!(backend_key_data(b"\0").is_err());
        assert!(parameter_types(b"\0\x02\0\0\0\x17").is_err());
        assert_eq!(ErrorFields::new(b"Mno end").field(b'M'), None);
        assert_eq!(with_shard(b"E\0\0", "s").first(), Some(&b'E'));
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_a_view_panic(body: Vec<u8>) {
            let _ = (authentication(&body), row_values(&body), parameter_status(&body), parameter_types(&body));
            let _ = (notification(&body), command_tag(&body), ErrorFields::new(&body).to_error(), with_shard(&body, "s"));
        }
    }
}
