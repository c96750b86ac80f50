//! A connection's first messages, up to the startup message.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::tls::Tls;
use crate::error::PgError;
use crate::protocol::{self, Opening, encode};
use crate::session::client::{Client, ClientStream};
use crate::sqlstate::SqlState;

/// The newest minor version of protocol 3 that is spoken here: 3.0.
const NEWEST_MINOR: u16 = 0;

/// What a connection turned out to be.
pub enum Greeted {
    /// A login that may go on.
    Login(Box<Login>),
    /// A request to end a running statement.
    Cancel {
        /// The process id of BackendKeyData.
        pid: i32,
        /// Its secret.
        secret: Vec<u8>,
        /// Who asks: it waits for the end of the stream as the only answer.
        client: Client,
    },
    /// It went away.
    Gone,
}

/// A startup message.
pub struct Login {
    /// The connection, encrypted by now if it is going to be.
    pub client: Client,
    /// Who.
    pub user: String,
    /// Which database; the user's name if the message names none.
    pub database: String,
    /// The other parameters, `options` taken apart.
    pub parameters: Vec<(String, String)>,
    /// The certificate that the connection's TLS showed.
    pub certificate: Option<Arc<Vec<u8>>>,
}

/// Answers requests for encryption until the startup message is there.
///
/// # Errors
/// The error, and the client to tell it to.
pub async fn greet(stream: TcpStream, tls: Option<Tls>) -> Result<Greeted, (Client, PgError)> {
    let mut client = Client::new(ClientStream::Plain(stream));
    let mut certificate = None;
    loop {
        let outcome = match protocol::opening(&client.incoming) {
            Ok(None) => match client.fill().await {
                Ok(0) | Err(_) => return Ok(Greeted::Gone),
                Ok(_) => continue,
            },
            Ok(Some((opening, length))) => owned(opening).map(|opening| (opening, length)),
            Err(error) => Err(error),
        };
        let (opening, length) = match outcome {
            Ok(found) => found,
            Err(error) => return Err((client, error)),
        };
        match opening {
            OwnedOpening::Ssl | OwnedOpening::Gss if client.incoming.len() > length => {
                // Whatever came along was not encrypted, and would be taken for what comes after the handshake (CVE-2021-23214).
                let error = PgError::fatal(
                    SqlState::PROTOCOL_VIOLATION,
                    "received unencrypted data after SSL or GSSAPI encryption request",
                )
                .with_detail(
                    "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.",
                );
                return Err((client, error));
            }
            OwnedOpening::Gss => {
                client.incoming.clear();
                client.outgoing.extend_from_slice(b"N");
                if client.send().await.is_err() {
                    return Ok(Greeted::Gone);
                }
            }
            OwnedOpening::Ssl => {
                client.incoming.clear();
                let offered = tls.as_ref().filter(|_| matches!(client.stream, ClientStream::Plain(_)));
                client.outgoing.extend_from_slice(if offered.is_some() { b"S" } else { b"N" });
                if client.send().await.is_err() {
                    return Ok(Greeted::Gone);
                }
                if let Some(tls) = offered {
                    let ClientStream::Plain(stream) = client.stream else { return Ok(Greeted::Gone) };
                    match tls.acceptor.accept(stream).await {
                        Ok(stream) => {
                            client = Client::new(ClientStream::Tls(Box::new(stream)));
                            certificate = Some(tls.certificate.clone());
                        }
                        Err(error) => {
                            tracing::info!(%error, "TLS handshake failed");
                            return Ok(Greeted::Gone);
                        }
                    }
                }
            }
            OwnedOpening::Cancel { pid, secret } => return Ok(Greeted::Cancel { pid, secret, client }),
            OwnedOpening::Startup { minor, parameters } => {
                bytes::Buf::advance(&mut client.incoming, length);
                // A second startup message, or statements before the login is done, would be acted on as if they came later.
                if !client.incoming.is_empty() {
                    let error = PgError::fatal(SqlState::PROTOCOL_VIOLATION, "data after the startup message");
                    return Err((client, error));
                }
                if tls.as_ref().is_some_and(|tls| tls.required) && certificate.is_none() {
                    let error =
                        PgError::fatal(SqlState::INVALID_AUTHORIZATION, "this server takes encrypted connections only")
                            .with_hint("Connect with sslmode=require or stronger.");
                    return Err((client, error));
                }
                return match login(client, minor, parameters, certificate) {
                    Ok(login) => Ok(Greeted::Login(Box::new(login))),
                    Err(failed) => Err(*failed),
                };
            }
        }
    }
}

enum OwnedOpening {
    Ssl,
    Gss,
    Cancel { pid: i32, secret: Vec<u8> },
    Startup { minor: u16, parameters: Vec<(String, String)> },
}

fn owned(opening: Opening<'_>) -> Result<OwnedOpening, PgError> {
    Ok(match opening {
        Opening::Ssl => OwnedOpening::Ssl,
        Opening::Gss => OwnedOpening::Gss,
        Opening::Cancel { pid, secret } => OwnedOpening::Cancel { pid, secret: secret.to_vec() },
        Opening::Startup { minor, parameters } => OwnedOpening::Startup {
            minor,
            parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        },
    })
}

fn login(
    mut client: Client,
    minor: u16,
    parameters: Vec<(String, String)>,
    certificate: Option<Arc<Vec<u8>>>,
) -> Result<Login, Box<(Client, PgError)>> {
    let unknown: Vec<&str> =
        parameters.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("_pq_.")).collect();
    if minor > NEWEST_MINOR || !unknown.is_empty() {
        let newest = i32::from(NEWEST_MINOR) | protocol::startup::VERSION_3_0;
        encode::negotiate_protocol_version(&mut client.outgoing, newest, &unknown);
    }
    let (mut user, mut database, mut rest) = (String::new(), String::new(), Vec::new());
    for (name, value) in parameters {
        match name.as_str() {
            "user" => user = value,
            "database" => database = value,
            "replication" if !matches!(value.as_str(), "false" | "off" | "no" | "0") => {
                let error =
                    PgError::fatal(SqlState::FEATURE_NOT_SUPPORTED, "replication connections are not supported")
                        .with_hint("Connect to a shard's own server for replication.");
                return Err(Box::new((client, error)));
            }
            "replication" => {}
            "options" => match options(&value) {
                Ok(options) => rest.extend(options),
                Err(error) => return Err(Box::new((client, error))),
            },
            name if name.starts_with("_pq_.") => {}
            _ => rest.push((name, value)),
        }
    }
    if user.is_empty() {
        let error =
            PgError::fatal(SqlState::INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet");
        return Err(Box::new((client, error)));
    }
    if database.is_empty() {
        database.clone_from(&user);
    }
    Ok(Login { client, user, database, parameters: rest, certificate })
}

/// The settings in a startup message's `options`: `-c name=value`, `--name=value`, with backslash escapes
/// (`pg_split_opts`, `process_postgres_switches`).
fn options(text: &str) -> Result<Vec<(String, String)>, PgError> {
    let (mut words, mut word, mut letters) = (Vec::new(), String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => word.extend(letters.next()),
            c if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let invalid = |word: &str| {
        PgError::fatal(SqlState::SYNTAX_ERROR, format!("invalid command-line argument for server process: {word}"))
            .with_hint("Goldseam takes -c name=value and --name=value.")
    };
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => setting.to_owned(),
            None => match word.strip_prefix("-c") {
                Some("") => words.next().ok_or_else(|| invalid(&word))?,
                Some(setting) => setting.to_owned(),
                None => return Err(invalid(&word)),
            },
        };
        let (name, value) = setting.split_once('=').ok_or_else(|| invalid(&word))?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_apart_as_postgresql_does() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            options(r"-c search_path=a\ b --work-mem=1MB -cgeqo=off").unwrap(),
            [pair("search_path", "a b"), pair("work_mem", "1MB"), pair("geqo", "off")]
        );
        assert_eq!(options("").unwrap(), []);
        for text in ["-c", "-c x", "--x", "-d 5", "x=1"] {
            assert!(options(text).is_err(), "{text}");
        }
    }
}
