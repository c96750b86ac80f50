//! A server's address as libpq writes it: `postgres://user:password@host:port/database?sslmode=verify-full`.
//!
//! A unix socket is named by its folder, percent-encoded as the host (`%2Fvar%2Frun%2Fpostgresql`) or as `?host=`.

use std::path::PathBuf;

use crate::config::{Secret, Server, SslMode};

/// What is wrong and what would be right. The password never appears in either.
pub type Wrong = (String, Option<String>);

const FORM: &str = "Write postgres://user:password@host:port/database.";

/// Reads an address.
pub fn parse(text: &str) -> Result<Server, Wrong> {
    let wrong = |message: &str| (message.to_owned(), Some(FORM.to_owned()));
    let parsed = url::Url::parse(text).map_err(|error| (format!("this is no URL: {error}"), Some(FORM.to_owned())))?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err((format!("a server's URL does not begin with {}://", parsed.scheme()), Some(FORM.to_owned())));
    }
    let decode = |text: &str| percent_decode(text).ok_or_else(|| wrong("the URL has a broken %-escape"));
    let mut server = Server {
        host: decode(parsed.host_str().unwrap_or_default())?,
        port: parsed.port().unwrap_or(5432),
        database: decode(parsed.path().trim_start_matches('/'))?,
        user: decode(parsed.username())?,
        password: parsed.password().map(decode).transpose()?.map(Secret::new),
        sslmode: SslMode::Prefer,
        sslrootcert: None,
    };
    if let Some(address) = server.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        server.host = address.to_owned();
    }
    for (name, value) in parsed.query_pairs() {
        match name.as_ref() {
            "host" => server.host = value.into_owned(),
            "sslmode" => server.sslmode = sslmode(&value)?,
            "sslrootcert" => server.sslrootcert = Some(PathBuf::from(value.into_owned())),
            other => {
                let known = ["host", "sslmode", "sslrootcert"].into_iter();
                let hint = crate::types::nearest::hint(other, known);
                return Err((format!("the URL's parameter `{other}` is not known"), hint));
            }
        }
    }
    if server.user.is_empty() {
        return Err(wrong("the URL has no user"));
    }
    if server.host.is_empty() {
        return Err(wrong("the URL has no host"));
    }
    if server.port == 0 {
        return Err(wrong("port 0 cannot be connected to"));
    }
    if server.database.is_empty() {
        // As libpq: the database of the user's name.
        server.database = server.user.clone();
    }
    Ok(server)
}

fn sslmode(text: &str) -> Result<SslMode, Wrong> {
    const MODES: [(&str, SslMode); 6] = [
        ("disable", SslMode::Disable),
        ("allow", SslMode::Allow),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ];
    match MODES.iter().find(|(name, _)| *name == text) {
        Some((_, mode)) => Ok(*mode),
        None => Err((
            format!("sslmode `{text}` is not known"),
            crate::types::nearest::hint(text, MODES.iter().map(|(name, _)| *name)),
        )),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = if first == b'%' {
            let [high, low, tail @ ..] = tail else { return None };
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            bytes.push((digit(high)? * 16 + digit(low)?) as u8);
            tail
        } else {
            bytes.push(first);
            tail
        };
    }
    String::from_utf8(bytes).ok()
}
