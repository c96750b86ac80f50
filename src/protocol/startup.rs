//! The untagged first message of a connection: a login, or a request for TLS, GSSAPI or the end of a running statement.
//!
//! It comes from anyone at all, so its length is bounded by [`MAX_FRAME_UNAUTHENTICATED`] before it is read.

use crate::error::PgError;
use crate::protocol::MAX_FRAME_UNAUTHENTICATED;
use crate::protocol::reader::Reader;
use crate::sqlstate::SqlState;

/// Protocol 3.0, as every client since 2003 speaks it.
pub const VERSION_3_0: i32 = 3 << 16;
/// The code of a request to end a running statement.
pub const CANCEL_REQUEST: i32 = 80_877_102;
/// The code of a request for TLS.
pub const SSL_REQUEST: i32 = 80_877_103;
/// The code of a request for GSSAPI encryption.
pub const GSSENC_REQUEST: i32 = 80_877_104;

/// What a connection's first message asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening<'a> {
    /// TLS, please: answered with one byte.
    Ssl,
    /// GSSAPI encryption, please: answered with one byte.
    Gss,
    /// End the statement of the connection that was given this key.
    Cancel {
        /// The process id of BackendKeyData.
        pid: i32,
        /// The secret of BackendKeyData: 4 bytes in protocol 3.0, up to 256 in 3.2.
        secret: &'a [u8],
    },
    /// A login.
    Startup {
        /// The minor version of protocol 3 that is asked for.
        minor: u16,
        /// Names and values as they came, `user` and `database` among them, `_pq_.` options too.
        parameters: Vec<(&'a str, &'a str)>,
    },
}

/// Reads a connection's first message. `Ok(None)`: not all of it is there yet. On success also says how many bytes it took: whatever
/// follows a request for TLS in the same buffer must be refused, for it came unencrypted (CVE-2021-23214).
pub fn opening(buf: &[u8]) -> Result<Option<(Opening<'_>, usize)>, PgError> {
    let Some(&length) = buf.first_chunk::<4>() else { return Ok(None) };
    let length = match usize::try_from(i32::from_be_bytes(length)) {
        Ok(length) if (8..=MAX_FRAME_UNAUTHENTICATED).contains(&length) => length,
        _ => return Err(PgError::fatal(SqlState::PROTOCOL_VIOLATION, "invalid length of startup packet")),
    };
    let Some(body) = buf.get(4..length) else { return Ok(None) };
    let mut reader = Reader::new(body);
    let code = reader.i32()?;
    let opening = match code {
        SSL_REQUEST if length == 8 => Opening::Ssl,
        GSSENC_REQUEST if length == 8 => Opening::Gss,
        CANCEL_REQUEST if (13..=12 + 256).contains(&length) || length == 16 => {
            Opening::Cancel { pid: reader.i32()?, secret: reader.rest }
        }
        _ if code >> 16 == 3 => Opening::Startup { minor: code as u16, parameters: parameters(reader)? },
        _ => {
            return Err(PgError::fatal(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("unsupported frontend protocol {}.{}: server supports 3.0 to 3.2", code >> 16, code & 0xffff),
            ));
        }
    };
    Ok(Some((opening, length)))
}

/// Name and value pairs up to an empty name, which must be the last byte.
fn parameters(mut reader: Reader<'_>) -> Result<Vec<(&str, &str)>, PgError> {
    let fatal = |_| {
        PgError::fatal(SqlState::PROTOCOL_VIOLATION, "invalid startup packet layout: expected terminator as last byte")
    };
    let mut parameters = Vec::new();
    loop {
        let name = reader.c_str().map_err(fatal)?;
        if name.is_empty() {
            reader.end().map_err(fatal)?;
            return Ok(parameters);
        }
        parameters.push((name, reader.c_str().map_err(fatal)?));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(code: i32, body: &[u8]) -> Vec<u8> {
        let mut packet = (8 + body.len() as i32).to_be_bytes().to_vec();
        packet.extend_from_slice(&code.to_be_bytes());
        packet.extend_from_slice(body);
        packet
    }

    #[test]
    fn a_login_is_read_in_order() {
        let packet = packet(VERSION_3_0 + 2, b"user\0ann\0database\0shop\0\0");
        let (seen, length) = opening(&packet).unwrap().unwrap();
        assert_eq!(length, packet.len());
        assert_eq!(seen, Opening::Startup { minor: 2, parameters: vec![("user", "ann"), ("database", "shop")] });
        for end in 0..packet.len() {
            assert_eq!(opening(&packet[..end]).unwrap(), None);
        }
    }

    #[test]
    fn requests_of_one_kind_each_are_told_apart() {
        assert_eq!(opening(&packet(SSL_REQUEST, b"")).unwrap().unwrap(), (Opening::Ssl, 8));
        assert_eq!(opening(&packet(GSSENC_REQUEST, b"")).unwrap().unwrap(), (Opening::Gss, 8));
        let cancel = packet(CANCEL_REQUEST, b"\0\0\0\x07abcd");
        assert_eq!(opening(&cancel).unwrap().unwrap().0, Opening::Cancel { pid: 7, secret: b"abcd" });
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        let cases: &[(&str, Vec<u8>)] = &[
            ("a length of 4 GB", vec![0xff; 8]),
            ("a length below its own", vec![0, 0, 0, 4, 0, 3, 0, 0]),
            ("an HTTP request", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            ("protocol 2", packet(2 << 16, b"user\0a\0\0")),
            ("no terminator", packet(VERSION_3_0, b"user\0a\0")),
            ("a name without a value", packet(VERSION_3_0, b"user\0\0")),
            ("bytes after the terminator", packet(VERSION_3_0, b"user\0a\0\0more")),
            ("not UTF-8", packet(VERSION_3_0, b"user\0\xff\0\0")),
            ("a cancel request without a secret", packet(CANCEL_REQUEST, b"\0\0\0\x07")),
            ("a request for TLS with a body", packet(SSL_REQUEST, b"x")),
        ];
        for (case, bytes) in cases {
            assert!(opening(bytes).is_err(), "{case}");
        }
    }
}
