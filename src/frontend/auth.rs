//! Is the client who it says? SCRAM-SHA-256 (RFC 5802, RFC 7677), bound to the TLS channel where there is one (RFC 5929,
//! `tls-server-end-point`), or trust on loopback.
//!
//! An unknown user goes through the same exchange with a verifier made up from its name, so that it cannot be told from a
//! wrong password (PostgreSQL's `mock_scram_secret`).

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramSecret, ScramServerAuth, gen_salted_password};
use twox_hash::XxHash3_128;

use crate::config::{Auth, AuthMethod, User};
use crate::error::PgError;
use crate::protocol::{self, MAX_FRAME_UNAUTHENTICATED, encode};
use crate::session::client::{Client, ClientStream};
use crate::sqlstate::SqlState;

const MECHANISM: &str = "SCRAM-SHA-256";
const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// What it takes to check a password, made once per user and configuration: deriving it costs milliseconds.
#[derive(Debug)]
pub struct Verifiers {
    /// Makes up what unknown users are checked against; and a seed of salts.
    secret: [u8; 16],
    known: Mutex<HashMap<String, Arc<Parts>>>,
}

/// A verifier's parts; [`ScramSecret`] itself cannot be cloned.
#[derive(Debug)]
struct Parts {
    iterations: usize,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Parts {
    fn secret(&self) -> ScramSecret {
        ScramSecret::Verifier {
            salt: self.salt.clone(),
            iterations: self.iterations,
            stored_key: self.stored_key.clone(),
            server_key: self.server_key.clone(),
        }
    }

    fn of_password(password: &str, salt: Vec<u8>) -> Self {
        let salted = gen_salted_password(password, &salt, SCRAM_ITERATIONS);
        match ScramSecret::verifier_from_salted_password(salt, salted, SCRAM_ITERATIONS) {
            ScramSecret::Verifier { salt, iterations, stored_key, server_key } => {
                Parts { iterations, salt, stored_key, server_key }
            }
            // The function returns no other variant; an empty key lets nobody in.
            ScramSecret::SaltedPassword { salt, .. } => {
                Parts { iterations: SCRAM_ITERATIONS, salt, stored_key: vec![0; 32], server_key: vec![0; 32] }
            }
        }
    }
}

impl Verifiers {
    /// Nothing is derived before it is needed.
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut secret = [0u8; 16];
        getrandom::fill(&mut secret)?;
        Ok(Verifiers { secret, known: Mutex::default() })
    }

    /// A configuration is in force whose passwords may differ.
    pub fn forget(&self) {
        self.known.lock().clear();
    }

    /// A salt that is always the same for the same name, and says nothing to who does not know the secret.
    fn salt(&self, name: &str) -> Vec<u8> {
        let mut input = self.secret.to_vec();
        input.extend(name.as_bytes());
        XxHash3_128::oneshot_with_seed(u64::from_le_bytes(self.secret[..8].try_into().unwrap_or_default()), &input)
            .to_le_bytes()
            .to_vec()
    }

    fn of(&self, name: &str, user: Option<&User>) -> Arc<Parts> {
        if let Some(verifier) = user.and_then(|user| user.verifier.as_ref()) {
            return Arc::new(Parts {
                iterations: verifier.iterations as usize,
                salt: verifier.salt.clone(),
                stored_key: verifier.stored_key.clone(),
                server_key: verifier.server_key.clone(),
            });
        }
        let Some(password) = user.and_then(|user| user.password.as_ref()) else {
            // A stored key that no proof leads to.
            return Arc::new(Parts {
                iterations: SCRAM_ITERATIONS,
                salt: self.salt(name),
                stored_key: vec![0; 32],
                server_key: vec![0; 32],
            });
        };
        if let Some(parts) = self.known.lock().get(name) {
            return parts.clone();
        }
        let parts = Arc::new(Parts::of_password(password.expose(), self.salt(name)));
        self.known.lock().insert(name.to_owned(), parts.clone());
        parts
    }
}

/// Lets the client in, or says why not. `certificate` is the PEM of this connection's TLS.
pub async fn authenticate(
    client: &mut Client,
    name: &str,
    auth: &Auth,
    verifiers: &Verifiers,
    certificate: Option<&[u8]>,
) -> Result<(), PgError> {
    match auth.method {
        AuthMethod::Trust => Ok(()),
        AuthMethod::Scram => scram(client, name, auth.users.get(name), verifiers, certificate).await,
    }
}

async fn scram(
    client: &mut Client,
    name: &str,
    user: Option<&User>,
    verifiers: &Verifiers,
    certificate: Option<&[u8]>,
) -> Result<(), PgError> {
    let refused =
        || PgError::fatal(SqlState::INVALID_PASSWORD, format!("password authentication failed for user \"{name}\""));
    let mut server = ScramServerAuth::new();
    // A certificate whose signature has no hash of its own (Ed25519) cannot be bound to: plain SCRAM is offered then.
    let binds = matches!(client.stream, ClientStream::Tls(_))
        && certificate.is_some_and(|pem| server.configure_certificate(pem).is_ok());
    let mechanisms: &[&str] = if binds { &[MECHANISM_PLUS, MECHANISM] } else { &[MECHANISM] };
    encode::authentication_sasl(&mut client.outgoing, mechanisms);

    let first = password_message(client).await?;
    let (mechanism, data) = initial_response(&first)?;
    match mechanism {
        MECHANISM_PLUS if binds => {}
        MECHANISM if !data.starts_with(b"p=") => {}
        _ => {
            return Err(PgError::fatal(
                SqlState::PROTOCOL_VIOLATION,
                "client selected an invalid SASL authentication mechanism",
            ));
        }
    }
    let parts = verifiers.of(name, user);
    let (answer, waiting) = server
        .on_client_first_message_with_secret(data, parts.secret())
        .map_err(|error| malformed(&error.to_string()))?;
    encode::authentication_sasl_continue(&mut client.outgoing, answer.as_bytes());

    let last = password_message(client).await?;
    match waiting.on_client_final_message(&last) {
        Ok(signature) if user.is_some() => {
            encode::authentication_sasl_final(&mut client.outgoing, signature.as_bytes());
            Ok(())
        }
        Ok(_) => Err(refused()),
        Err(error) => {
            tracing::debug!(user = name, %error, "login refused");
            Err(refused())
        }
    }
}

fn malformed(detail: &str) -> PgError {
    PgError::fatal(SqlState::PROTOCOL_VIOLATION, "malformed SCRAM message").with_detail(detail.to_owned())
}

/// The body of the next message, which must be a SASL response.
async fn password_message(client: &mut Client) -> Result<Vec<u8>, PgError> {
    let lost = |error: std::io::Error| PgError::fatal(SqlState::CONNECTION_FAILURE, error.to_string());
    client.send().await.map_err(lost)?;
    loop {
        // Known by its first byte: a second startup message must not be waited for as if it were a long frame.
        if let Some(&tag) = client.incoming.first()
            && tag != b'p'
        {
            return Err(PgError::fatal(
                SqlState::PROTOCOL_VIOLATION,
                format!("expected SASL response, got message type {tag}"),
            ));
        }
        if let Some(frame) = protocol::frame(&client.incoming, MAX_FRAME_UNAUTHENTICATED)? {
            let message = client.incoming.split_to(frame.len);
            return Ok(message[protocol::frame::HEADER..].to_vec());
        }
        if client.fill().await.map_err(lost)? == 0 {
            return Err(PgError::fatal(SqlState::CONNECTION_FAILURE, "the client hung up during the login"));
        }
    }
}

/// SASLInitialResponse: mechanism, length, data.
fn initial_response(body: &[u8]) -> Result<(&str, &[u8]), PgError> {
    let invalid = || malformed("SASLInitialResponse is not well formed.");
    let end = body.iter().position(|&byte| byte == 0).ok_or_else(invalid)?;
    let mechanism = std::str::from_utf8(&body[..end]).map_err(|_| invalid())?;
    let (length, data) = body[end + 1..].split_first_chunk::<4>().ok_or_else(invalid)?;
    if usize::try_from(i32::from_be_bytes(*length)).ok() != Some(data.len()) {
        return Err(invalid());
    }
    Ok((mechanism, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_users_salt_is_always_the_same_and_its_own() {
        let verifiers = Verifiers::new().unwrap();
        assert_eq!(verifiers.of("a", None).salt, verifiers.of("a", None).salt);
        assert_ne!(verifiers.of("a", None).salt, verifiers.of("b", None).salt);
    }

    #[test]
    fn malformed_first_responses_are_refused() {
        assert_eq!(initial_response(b"X\0\0\0\0\x01a").unwrap(), ("X", &b"a"[..]));
        for body in [&b"X"[..], b"X\0", b"X\0\0\0\0\x02a", b"X\0\xff\xff\xff\xff", b"\xff\0\0\0\0\0"] {
            assert!(initial_response(body).is_err(), "{body:?}");
        }
    }
}
