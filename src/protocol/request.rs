//! What Goldseam says to servers: each function appends one whole message to the buffer.

use bytes::{BufMut, BytesMut};

use crate::protocol::encode::{c_str, message};
use crate::protocol::frontend::tag;
use crate::protocol::startup::{CANCEL_REQUEST, SSL_REQUEST, VERSION_3_0};
use crate::types::Oid;

/// StartupMessage of protocol 3.0.
pub fn startup(out: &mut BytesMut, parameters: &[(&str, &str)]) {
    let start = out.len();
    out.put_i32(0);
    out.put_i32(VERSION_3_0);
    for (name, value) in parameters {
        c_str(out, name);
        c_str(out, value);
    }
    out.put_u8(0);
    let length = (out.len() - start) as i32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// SSLRequest.
pub fn ssl_request(out: &mut BytesMut) {
    out.put_i32(8);
    out.put_i32(SSL_REQUEST);
}

/// CancelRequest with the key of the connection whose statement is to end.
pub fn cancel_request(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    out.put_i32(12 + secret.len() as i32);
    out.put_i32(CANCEL_REQUEST);
    out.put_i32(pid);
    out.put_slice(secret);
}

/// Query.
pub fn query(out: &mut BytesMut, sql: &str) {
    message(out, tag::QUERY, |out| c_str(out, sql));
}

/// Parse.
pub fn parse(out: &mut BytesMut, name: &str, sql: &str, types: impl ExactSizeIterator<Item = Oid>) {
    message(out, tag::PARSE, |out| {
        c_str(out, name);
        c_str(out, sql);
        out.put_u16(types.len() as u16);
        types.for_each(|oid| out.put_u32(oid));
    });
}

/// Bind of the unnamed portal with values in text form, results in text form.
pub fn bind(out: &mut BytesMut, statement: &str, values: &[Option<&str>]) {
    message(out, tag::BIND, |out| {
        out.put_u8(0);
        c_str(out, statement);
        out.put_u16(0);
        out.put_u16(values.len() as u16);
        for value in values {
            match value {
                None => out.put_i32(-1),
                Some(text) => {
                    out.put_i32(text.len() as i32);
                    out.put_slice(text.as_bytes());
                }
            }
        }
        out.put_u16(0);
    });
}

/// Bind with values in any form, and the forms asked for the results: none (all text), one (for all) or one per column.
pub fn bind_values<'a>(
    out: &mut BytesMut,
    portal: &str,
    statement: &str,
    values: impl ExactSizeIterator<Item = (super::frontend::Format, Option<&'a [u8]>)> + Clone,
    results: &[i16],
) {
    message(out, tag::BIND, |out| {
        c_str(out, portal);
        c_str(out, statement);
        out.put_u16(values.len() as u16);
        values.clone().for_each(|(format, _)| out.put_u16(u16::from(format == super::frontend::Format::Binary)));
        out.put_u16(values.len() as u16);
        for (_, value) in values {
            match value {
                None => out.put_i32(-1),
                Some(bytes) => {
                    out.put_i32(bytes.len() as i32);
                    out.put_slice(bytes);
                }
            }
        }
        out.put_u16(results.len() as u16);
        results.iter().for_each(|format| out.put_i16(*format));
    });
}

/// A client's whole Bind message again, under other names of portal and statement.
pub fn bind_renamed(out: &mut BytesMut, original: &[u8], view: &super::BindView<'_>, portal: &str, statement: &str) {
    message(out, tag::BIND, |out| {
        c_str(out, portal);
        c_str(out, statement);
        out.put_slice(original.get(view.statement_range().end + 1..).unwrap_or_default());
    });
}

/// Describe of a statement.
pub fn describe_statement(out: &mut BytesMut, name: &str) {
    subject(out, tag::DESCRIBE, b'S', name);
}

/// Describe of a portal.
pub fn describe_portal(out: &mut BytesMut, name: &str) {
    subject(out, tag::DESCRIBE, b'P', name);
}

/// Close of a statement.
pub fn close_statement(out: &mut BytesMut, name: &str) {
    subject(out, tag::CLOSE, b'S', name);
}

/// Close of a portal.
pub fn close_portal(out: &mut BytesMut, name: &str) {
    subject(out, tag::CLOSE, b'P', name);
}

fn subject(out: &mut BytesMut, tag: u8, kind: u8, name: &str) {
    message(out, tag, |out| {
        out.put_u8(kind);
        c_str(out, name);
    });
}

/// Execute of a portal; `max_rows` 0: all rows.
pub fn execute(out: &mut BytesMut, portal: &str, max_rows: i32) {
    message(out, tag::EXECUTE, |out| {
        c_str(out, portal);
        out.put_i32(max_rows);
    });
}

/// Sync.
pub fn sync(out: &mut BytesMut) {
    out.put_slice(&[tag::SYNC, 0, 0, 0, 4]);
}

/// Flush.
pub fn flush(out: &mut BytesMut) {
    out.put_slice(&[tag::FLUSH, 0, 0, 0, 4]);
}

/// Terminate.
pub fn terminate(out: &mut BytesMut) {
    out.put_slice(&[tag::TERMINATE, 0, 0, 0, 4]);
}

/// CopyData.
pub fn copy_data(out: &mut BytesMut, data: &[u8]) {
    message(out, tag::COPY_DATA, |out| out.put_slice(data));
}

/// CopyDone.
pub fn copy_done(out: &mut BytesMut) {
    out.put_slice(&[tag::COPY_DONE, 0, 0, 0, 4]);
}

/// CopyFail.
pub fn copy_fail(out: &mut BytesMut, reason: &str) {
    message(out, tag::COPY_FAIL, |out| c_str(out, reason));
}

/// PasswordMessage: a password, in clear or hashed.
pub fn password(out: &mut BytesMut, password: &[u8]) {
    message(out, tag::PASSWORD, |out| {
        out.put_slice(password);
        out.put_u8(0);
    });
}

/// SASLInitialResponse.
pub fn sasl_initial(out: &mut BytesMut, mechanism: &str, data: &[u8]) {
    message(out, tag::PASSWORD, |out| {
        c_str(out, mechanism);
        out.put_i32(data.len() as i32);
        out.put_slice(data);
    });
}

/// SASLResponse.
pub fn sasl_response(out: &mut BytesMut, data: &[u8]) {
    message(out, tag::PASSWORD, |out| out.put_slice(data));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frontend::{BindView, Format, ParseView, Subject, SubjectKind};
    use crate::protocol::startup::{Opening, opening};

    #[test]
    fn what_is_asked_is_read_back() {
        let mut out = BytesMut::new();
        parse(&mut out, "n", "select $1", [23].into_iter());
        let view = ParseView::new(&out[5..]).unwrap();
        assert_eq!((view.name, view.sql, view.types().collect::<Vec<_>>()), ("n", "select $1", vec![23]));

        out.clear();
        close_statement(&mut out, "n");
        assert_eq!(Subject::new(&out[5..]).unwrap(), Subject { kind: SubjectKind::Statement, name: "n" });

        out.clear();
        startup(&mut out, &[("user", "ann")]);
        let (seen, _) = opening(&out).unwrap().unwrap();
        assert_eq!(seen, Opening::Startup { minor: 0, parameters: vec![("user", "ann")] });

        out.clear();
        cancel_request(&mut out, 9, b"1234");
        assert_eq!(opening(&out).unwrap().unwrap().0, Opening::Cancel { pid: 9, secret: b"1234" });
    }

    #[test]
    fn a_bind_keeps_its_values_under_another_name() {
        let mut original = BytesMut::new();
        bind(&mut original, "client_name", &[Some("42"), None]);
        let view = BindView::new(&original[5..]).unwrap();
        let mut renamed = BytesMut::new();
        bind_renamed(&mut renamed, &original, &view, "p", "gs_1");
        let seen = BindView::new(&renamed[5..]).unwrap();
        assert_eq!((seen.portal, seen.statement), ("p", "gs_1"));
        assert_eq!(seen.parameter(0), Some((Format::Text, Some(&b"42"[..]))));
        assert_eq!(seen.parameter(1), Some((Format::Text, None)));
    }
}
