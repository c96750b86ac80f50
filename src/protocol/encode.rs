//! What Goldseam says to clients: each function appends one whole message to the buffer.

use bytes::{BufMut, BytesMut};

use crate::error::PgError;
use crate::protocol::answer::tag;
use crate::types::{Oid, oid};

/// Appends a message whose body `fill` writes; the length field is filled in afterwards.
pub(super) fn message(out: &mut BytesMut, tag: u8, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u8(tag);
    out.put_i32(0);
    fill(out);
    let length = (out.len() - start - 1) as i32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

/// Appends a C string. A NUL inside would end it early and shift all that follows, so it ends the text.
pub(super) fn c_str(out: &mut BytesMut, text: &str) {
    let end = text.bytes().position(|byte| byte == 0).unwrap_or(text.len());
    out.put_slice(&text.as_bytes()[..end]);
    out.put_u8(0);
}

fn fields(out: &mut BytesMut, severity: &str, error: &PgError) {
    let mut field = |code: u8, text: &str| {
        out.put_u8(code);
        c_str(out, text);
    };
    field(b'S', severity);
    field(b'V', severity);
    field(b'C', error.code.as_str());
    field(b'M', &error.message);
    for (code, text) in [(b'D', &error.detail), (b'H', &error.hint)] {
        if let Some(text) = text {
            field(code, text);
        }
    }
    if let Some(position) = error.position {
        field(b'P', &position.to_string());
    }
    out.put_u8(0);
}

/// ErrorResponse.
pub fn error_response(out: &mut BytesMut, error: &PgError) {
    message(out, tag::ERROR, |out| fields(out, error.severity.as_str(), error));
}

/// NoticeResponse; `severity` is `NOTICE`, `WARNING` or the like, the error's own is not used.
pub fn notice(out: &mut BytesMut, severity: &str, error: &PgError) {
    message(out, tag::NOTICE, |out| fields(out, severity, error));
}

/// ReadyForQuery with the state `I`, `T` or `E`.
pub fn ready_for_query(out: &mut BytesMut, state: u8) {
    out.put_slice(&[tag::READY_FOR_QUERY, 0, 0, 0, 5, state]);
}

/// CommandComplete.
pub fn command_complete(out: &mut BytesMut, text: &str) {
    message(out, tag::COMMAND_COMPLETE, |out| c_str(out, text));
}

/// ParameterStatus.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, tag::PARAMETER_STATUS, |out| {
        c_str(out, name);
        c_str(out, value);
    });
}

fn empty(out: &mut BytesMut, tag: u8) {
    out.put_slice(&[tag, 0, 0, 0, 4]);
}

/// ParseComplete.
pub fn parse_complete(out: &mut BytesMut) {
    empty(out, tag::PARSE_COMPLETE);
}

/// BindComplete.
pub fn bind_complete(out: &mut BytesMut) {
    empty(out, tag::BIND_COMPLETE);
}

/// CloseComplete.
pub fn close_complete(out: &mut BytesMut) {
    empty(out, tag::CLOSE_COMPLETE);
}

/// NoData.
pub fn no_data(out: &mut BytesMut) {
    empty(out, tag::NO_DATA);
}

/// EmptyQueryResponse.
pub fn empty_query(out: &mut BytesMut) {
    empty(out, tag::EMPTY_QUERY);
}

/// PortalSuspended.
pub fn portal_suspended(out: &mut BytesMut) {
    empty(out, tag::PORTAL_SUSPENDED);
}

/// ParameterDescription.
pub fn parameter_description(out: &mut BytesMut, types: &[Oid]) {
    message(out, tag::PARAMETER_DESCRIPTION, |out| {
        out.put_u16(types.len() as u16);
        types.iter().for_each(|&oid| out.put_u32(oid));
    });
}

/// RowDescription of columns of type `text`, in text form.
pub fn row_description(out: &mut BytesMut, columns: &[&str]) {
    row_description_typed(out, columns.iter().map(|&name| (name, oid::TEXT, -1)));
}

/// RowDescription of any columns in text form: name, type and the type's size (-1: it varies).
pub fn row_description_typed<'a>(out: &mut BytesMut, columns: impl ExactSizeIterator<Item = (&'a str, Oid, i16)>) {
    message(out, tag::ROW_DESCRIPTION, |out| {
        out.put_u16(columns.len() as u16);
        for (name, oid, size) in columns {
            c_str(out, name);
            out.put_u32(0); // of no table
            out.put_u16(0); // and no column of it
            out.put_u32(oid);
            out.put_i16(size);
            out.put_i32(-1); // no type modifier
            out.put_u16(0); // text
        }
    });
}

/// DataRow; `None` is NULL.
pub fn data_row<'a, V: AsRef<[u8]> + 'a>(out: &mut BytesMut, values: impl ExactSizeIterator<Item = Option<V>>) {
    message(out, tag::DATA_ROW, |out| {
        out.put_u16(values.len() as u16);
        for value in values {
            match &value {
                None => out.put_i32(-1),
                Some(value) => {
                    out.put_i32(value.as_ref().len() as i32);
                    out.put_slice(value.as_ref());
                }
            }
        }
    });
}

/// BackendKeyData: what a cancel request has to show.
pub fn backend_key_data(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    message(out, tag::BACKEND_KEY_DATA, |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// NotificationResponse.
pub fn notification(out: &mut BytesMut, pid: i32, channel: &str, payload: &str) {
    message(out, tag::NOTIFICATION, |out| {
        out.put_i32(pid);
        c_str(out, channel);
        c_str(out, payload);
    });
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut BytesMut) {
    message(out, tag::AUTHENTICATION, |out| out.put_i32(0));
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut BytesMut) {
    message(out, tag::AUTHENTICATION, |out| out.put_i32(3));
}

/// AuthenticationSASL with the mechanisms in order of preference.
pub fn authentication_sasl(out: &mut BytesMut, mechanisms: &[&str]) {
    message(out, tag::AUTHENTICATION, |out| {
        out.put_i32(10);
        mechanisms.iter().for_each(|mechanism| c_str(out, mechanism));
        out.put_u8(0);
    });
}

/// AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut BytesMut, data: &[u8]) {
    message(out, tag::AUTHENTICATION, |out| {
        out.put_i32(11);
        out.put_slice(data);
    });
}

/// AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut BytesMut, data: &[u8]) {
    message(out, tag::AUTHENTICATION, |out| {
        out.put_i32(12);
        out.put_slice(data);
    });
}

/// NegotiateProtocolVersion: the newest version (as the whole number of the startup message) that is spoken here, and the options not known.
pub fn negotiate_protocol_version(out: &mut BytesMut, version: i32, unknown: &[&str]) {
    message(out, tag::NEGOTIATE_VERSION, |out| {
        out.put_i32(version);
        out.put_i32(unknown.len() as i32);
        unknown.iter().for_each(|option| c_str(out, option));
    });
}

/// CopyInResponse, CopyOutResponse: `tag` is one of [`tag::COPY_IN`] and [`tag::COPY_OUT`], all columns in text form.
pub fn copy_response(out: &mut BytesMut, tag: u8, columns: u16) {
    message(out, tag, |out| {
        out.put_u8(0);
        out.put_u16(columns);
        (0..columns).for_each(|_| out.put_u16(0));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::answer;
    use crate::protocol::frame::frame;
    use crate::sqlstate::SqlState;

    #[test]
    fn what_is_encoded_is_read_back() {
        let mut out = BytesMut::new();
        let error = PgError::new(SqlState::UNDEFINED_TABLE, "m").with_detail("d").with_hint("h").at(7);
        error_response(&mut out, &error);
        assert_eq!(answer::ErrorFields::new(&out[5..]).to_error(), error);

        out.clear();
        data_row(&mut out, [Some("a"), None].into_iter());
        assert_eq!(answer::row_values(&out[5..]).unwrap(), [Some(&b"a"[..]), None]);

        out.clear();
        authentication_sasl(&mut out, &["SCRAM-SHA-256"]);
        assert_eq!(answer::authentication(&out[5..]).unwrap(), answer::Authentication::Sasl(vec!["SCRAM-SHA-256"]));
    }

    #[test]
    fn messages_in_one_buffer_keep_their_lengths() {
        let mut out = BytesMut::new();
        row_description(&mut out, &["a", "b"]);
        command_complete(&mut out, "SELECT 0");
        ready_for_query(&mut out, b'I');
        let mut rest = &out[..];
        let mut tags = Vec::new();
        while let Some(frame) = frame(rest, 1000).unwrap() {
            tags.push(frame.tag);
            rest = &rest[frame.len..];
        }
        assert_eq!((tags.as_slice(), rest.len()), (&b"TCZ"[..], 0));
    }

    #[test]
    fn a_nul_cannot_smuggle_a_field() {
        let mut out = BytesMut::new();
        error_response(&mut out, &PgError::new(SqlState::SYNTAX_ERROR, "a\0C00000"));
        assert_eq!(answer::ErrorFields::new(&out[5..]).code(), SqlState::SYNTAX_ERROR);
    }
}
