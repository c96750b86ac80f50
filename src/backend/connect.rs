//! From an address to a connection that is logged in.
//!
//! The server is not trusted before it has proved itself: its messages are bounded to [`MAX_LOGIN_FRAME`], it gets a password in clear only
//! over TLS, it cannot ask for more than [`MAX_ITERATIONS`] rounds of hashing, and where SCRAM began it must also end. A
//! server's refusal keeps its own SQLSTATE; everything else is `08006`.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramSha256};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::backend::{Backend, Login, Parameters, Prepared, Seen, Settings, Stream, tls};
use crate::config::{Server, SslMode};
use crate::error::{PgError, Severity};
use crate::protocol::answer::{self, Authentication, ErrorFields, tag};
use crate::protocol::frame::HEADER;
use crate::protocol::request;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// The largest message taken from a server before it has let us in; errors with long details fit.
const MAX_LOGIN_FRAME: usize = 64 * 1024;
/// The most rounds of PBKDF2 a server may ask for: a quarter of a second. PostgreSQL's default is 4096.
const MAX_ITERATIONS: u32 = 600_000;
/// A silent peer is asked whether it lives after that, then thrice at the interval: dead after a minute and a half.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Where a server is and how it is reached: address, TLS, the shard it serves.
#[derive(Debug)]
pub struct Connector {
    /// The shard.
    pub shard: ShardId,
    /// Its name.
    pub shard_name: Arc<str>,
    /// Address and TLS mode.
    pub server: Server,
    /// Made when first needed: it may have to read files.
    tls: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Connector {
    /// A way to a server; nothing is opened yet.
    pub fn new(shard: ShardId, shard_name: Arc<str>, server: Server) -> Arc<Self> {
        Arc::new(Connector { shard, shard_name, server, tls: OnceLock::new() })
    }

    /// The error of a server that cannot be reached: `08006`.
    fn unreachable(&self, why: &dyn std::fmt::Display) -> PgError {
        let place = if self.is_unix() {
            format!("socket \"{}\"", self.socket_path())
        } else {
            format!("\"{}\", port {}", self.server.host, self.server.port)
        };
        PgError::new(SqlState::CONNECTION_FAILURE, format!("could not connect to shard \"{}\"", self.shard_name))
            .with_detail(format!("connection to server at {place} failed: {why}."))
    }

    fn is_unix(&self) -> bool {
        self.server.host.starts_with('/')
    }

    fn socket_path(&self) -> String {
        format!("{}/.s.PGSQL.{}", self.server.host.trim_end_matches('/'), self.server.port)
    }
}

/// What a new connection is given.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// For TCP, TLS and login together.
    pub timeout: Duration,
    /// What `pg_stat_activity` shows while nobody has set it.
    pub application_name: String,
    /// The largest message taken from the server, in bytes.
    pub max_frame: usize,
    /// How many prepared statements it may have.
    pub prepared_statements: usize,
}

/// Whether an attempt uses TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UseTls {
    No,
    IfOffered,
    Must,
}

/// Why an attempt failed, as far as another attempt depends on it.
enum Failure {
    /// The server answered with this error.
    Refused(PgError),
    /// TLS was offered and did not come about.
    Handshake(PgError),
    Other(PgError),
}

impl Failure {
    fn into_error(self) -> PgError {
        let (Failure::Refused(error) | Failure::Handshake(error) | Failure::Other(error)) = self;
        error
    }
}

impl From<PgError> for Failure {
    fn from(error: PgError) -> Self {
        Failure::Other(error)
    }
}

impl Backend {
    /// Connects and logs in. Errors: the server's own SQLSTATE where it answered with an error, `08006` otherwise.
    ///
    /// # Cancel safety
    /// A dropped attempt closes its socket; a server that was about to let it in notices.
    pub async fn connect(
        connector: &Arc<Connector>,
        login: &Login,
        options: &ConnectOptions,
    ) -> Result<Backend, PgError> {
        match tokio::time::timeout(options.timeout, connect(connector, login, options)).await {
            Ok(result) => result,
            Err(_) => Err(connector.unreachable(&format!("no answer within {:?}", options.timeout))),
        }
    }
}

/// One or two attempts, as libpq's `sslmode` has it.
async fn connect(connector: &Arc<Connector>, login: &Login, options: &ConnectOptions) -> Result<Backend, PgError> {
    let attempt = |tls| attempt(connector, login, options, tls);
    let result = match connector.server.sslmode {
        _ if connector.is_unix() => attempt(UseTls::No).await,
        SslMode::Disable => attempt(UseTls::No).await,
        SslMode::Allow => match attempt(UseTls::No).await {
            Err(Failure::Refused(error)) if error.code == SqlState::INVALID_AUTHORIZATION => {
                attempt(UseTls::Must).await
            }
            result => result,
        },
        SslMode::Prefer => match attempt(UseTls::IfOffered).await {
            Err(Failure::Handshake(_)) => attempt(UseTls::No).await,
            result => result,
        },
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => attempt(UseTls::Must).await,
    };
    result.map_err(Failure::into_error)
}

async fn attempt(
    connector: &Arc<Connector>,
    login: &Login,
    options: &ConnectOptions,
    tls: UseTls,
) -> Result<Backend, Failure> {
    let stream = open(connector, tls).await?;
    let seen = Seen::new(0, &stream, connector, login);
    let mut backend = Backend {
        shard: connector.shard,
        shard_name: connector.shard_name.clone(),
        pid: 0,
        secret: Arc::from([]),
        stream,
        incoming: BytesMut::new(),
        outgoing: BytesMut::new(),
        parameters: Parameters::default(),
        prepared: Prepared::new(options.prepared_statements),
        settings: Settings::none(),
        transaction: b'I',
        in_flight: 0,
        tainted: false,
        since: Instant::now(),
        seen,
        read_size: Backend::initial_read_size(),
        max_frame: MAX_LOGIN_FRAME,
        connector: connector.clone(),
    };
    let database = login.database.as_deref().unwrap_or(&connector.server.database);
    let mut out = BytesMut::new();
    request::startup(
        &mut out,
        &[
            ("user", &login.user),
            ("database", database),
            ("application_name", &options.application_name),
            // Statements are read as UTF-8 here; a client that wants another encoding sets it, as with any server.
            ("client_encoding", "UTF8"),
            // Goldseam's lexer reads literals as the SQL standard does, whatever the server's own default is.
            ("standard_conforming_strings", "on"),
        ],
    );
    backend.send(&out).await.map_err(|error| login_failed(connector, error))?;
    log_in(&mut backend, login).await?;
    backend.max_frame = options.max_frame;
    backend.seen = Seen::new(backend.pid, &backend.stream, connector, login);
    Ok(backend)
}

/// A socket to the server, with TLS where it is due.
async fn open(connector: &Connector, tls: UseTls) -> Result<Stream, Failure> {
    let fail = |error: std::io::Error| Failure::Other(connector.unreachable(&error));
    if connector.is_unix() {
        return Ok(Stream::Unix(UnixStream::connect(connector.socket_path()).await.map_err(fail)?));
    }
    let server = &connector.server;
    let mut tcp = TcpStream::connect((server.host.as_str(), server.port)).await.map_err(fail)?;
    tcp.set_nodelay(true).map_err(fail)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_INTERVAL);
    // Not every system lets an application choose these times; a connection without is still one.
    let _ = socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive.with_retries(3));
    if tls == UseTls::No {
        return Ok(Stream::Tcp(tcp));
    }
    let mut out = BytesMut::new();
    request::ssl_request(&mut out);
    tcp.write_all(&out).await.map_err(fail)?;
    // One byte and no more: whatever a man in the middle adds in clear must become part of the handshake and break it
    // (CVE-2021-23222).
    match tcp.read_u8().await.map_err(fail)? {
        b'S' => {}
        b'N' if tls == UseTls::IfOffered => return Ok(Stream::Tcp(tcp)),
        b'N' => return Err(connector.unreachable(&"the server does not support TLS, but sslmode requires it").into()),
        _ => return Err(connector.unreachable(&"the server does not speak PostgreSQL's protocol").into()),
    }
    let config = connector.tls.get_or_init(|| tls::client_config(server));
    let config = config.clone().map_err(|error| connector.unreachable(&error))?;
    let name = ServerName::try_from(server.host.clone()).map_err(|error| connector.unreachable(&error))?;
    match TlsConnector::from(config).connect(name, tcp).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => Err(Failure::Handshake(connector.unreachable(&format!("TLS: {error}")))),
    }
}

/// Where the SCRAM conversation stands.
enum Scram {
    NotBegun,
    First(Box<ScramSha256>),
    Proved(Box<ScramSha256>),
    Done,
}

/// Answers whatever the server asks, up to its first ReadyForQuery.
async fn log_in(backend: &mut Backend, login: &Login) -> Result<(), Failure> {
    let connector = backend.connector.clone();
    let mut scram = Scram::NotBegun;
    loop {
        let (tag, message) = backend.next_message().await.map_err(|error| login_failed(&connector, error))?;
        let body = &message[HEADER..];
        match tag {
            tag::AUTHENTICATION => {
                let asked = answer::authentication(body).map_err(|error| login_failed(&connector, error))?;
                let reply = authenticate(backend, login, &mut scram, asked).await;
                if let Some(reply) = reply.map_err(|why| connector.unreachable(&why))? {
                    backend.send(&reply).await.map_err(|error| login_failed(&connector, error))?;
                }
            }
            tag::ERROR => return Err(Failure::Refused(refusal(&connector, body))),
            tag::BACKEND_KEY_DATA => {
                let (pid, secret) = answer::backend_key_data(body).map_err(|error| login_failed(&connector, error))?;
                (backend.pid, backend.secret) = (pid, secret.into());
            }
            tag::READY_FOR_QUERY => return Ok(()),
            // What `next_message` took in already, and what only tells.
            tag::PARAMETER_STATUS | tag::NOTICE | tag::NEGOTIATE_VERSION => {}
            other => {
                let why = format!("unexpected message {:?} during login", other as char);
                return Err(connector.unreachable(&why).into());
            }
        }
    }
}

/// The answer to one step of authentication; the error is a sentence without a full stop.
async fn authenticate(
    backend: &Backend,
    login: &Login,
    scram: &mut Scram,
    asked: Authentication<'_>,
) -> Result<Option<BytesMut>, String> {
    let mut out = BytesMut::new();
    let password = || match &login.password {
        Some(password) => Ok(password.expose().as_bytes()),
        None => Err(format!("the server asks for the password of \"{}\", and none is configured", login.user)),
    };
    match asked {
        Authentication::Ok => {
            // Without its last step the server has not proved that it knows the password too.
            return match scram {
                Scram::NotBegun | Scram::Done => Ok(None),
                _ => Err("the server let us in before it had finished SCRAM".into()),
            };
        }
        Authentication::CleartextPassword if !backend.stream.is_tls() && !matches!(backend.stream, Stream::Unix(_)) => {
            return Err("the server asks for the password in clear over a connection without TLS".into());
        }
        Authentication::CleartextPassword => request::password(&mut out, password()?),
        Authentication::Md5Password(salt) => {
            request::password(&mut out, md5_hash(login.user.as_bytes(), password()?, salt).as_bytes());
        }
        Authentication::Sasl(mechanisms) => {
            let (binding, mechanism) = choose(backend, &mechanisms)?;
            let first = ScramSha256::new(password()?, binding);
            request::sasl_initial(&mut out, mechanism, first.message());
            *scram = Scram::First(Box::new(first));
        }
        Authentication::SaslContinue(data) => {
            let Scram::First(mut state) = std::mem::replace(scram, Scram::NotBegun) else {
                return Err("the server sent a step of SCRAM out of order".into());
            };
            check_iterations(data)?;
            let data = data.to_vec();
            // Thousands of rounds of hashing are milliseconds: not on a thread that serves clients.
            let hashed = tokio::task::spawn_blocking(move || state.update(&data).map(|()| state)).await;
            let state = hashed.map_err(|error| error.to_string())?.map_err(|error| format!("SCRAM: {error}"))?;
            request::sasl_response(&mut out, state.message());
            *scram = Scram::Proved(state);
        }
        Authentication::SaslFinal(data) => {
            let Scram::Proved(mut state) = std::mem::replace(scram, Scram::NotBegun) else {
                return Err("the server sent a step of SCRAM out of order".into());
            };
            state.finish(data).map_err(|error| format!("SCRAM: the server did not prove itself: {error}"))?;
            *scram = Scram::Done;
            return Ok(None);
        }
        Authentication::Other(number) => {
            return Err(format!("the server asks for an authentication method ({number}) that Goldseam has not"));
        }
    }
    Ok(Some(out))
}

/// The SCRAM mechanism: with channel binding wherever there is TLS and the server offers it.
fn choose(backend: &Backend, offered: &[&str]) -> Result<(ChannelBinding, &'static str), String> {
    let binding = match &backend.stream {
        Stream::Tls(stream) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            certificates.first().and_then(|certificate| tls::server_end_point(certificate))
        }
        _ => None,
    };
    match binding {
        Some(binding) if offered.contains(&SCRAM_SHA_256_PLUS) => {
            Ok((ChannelBinding::tls_server_end_point(binding), SCRAM_SHA_256_PLUS))
        }
        // "We could have": a man in the middle who struck PLUS from the list is found out by the server (RFC 5802, 6).
        Some(_) if offered.contains(&SCRAM_SHA_256) => Ok((ChannelBinding::unrequested(), SCRAM_SHA_256)),
        None if offered.contains(&SCRAM_SHA_256) => Ok((ChannelBinding::unsupported(), SCRAM_SHA_256)),
        _ => Err(format!("the server offers no SASL mechanism that Goldseam has: {}", offered.join(", "))),
    }
}

/// Refuses more rounds than [`MAX_ITERATIONS`] (`i=` of the server-first-message, RFC 5802).
fn check_iterations(message: &[u8]) -> Result<(), String> {
    let rounds = message.split(|&byte| byte == b',').find_map(|field| field.strip_prefix(b"i="));
    let rounds = rounds.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    match rounds {
        Some(1..=MAX_ITERATIONS) => Ok(()),
        _ => Err(format!("SCRAM: the server must ask for 1 to {MAX_ITERATIONS} iterations")),
    }
}

/// The server's own refusal, as an error of a statement: the client's connection goes on.
fn refusal(connector: &Connector, body: &[u8]) -> PgError {
    let error = ErrorFields::new(body).to_error();
    let mut detail = error.detail.clone().map(|detail| detail + "\n").unwrap_or_default();
    detail.push_str(&format!("Shard \"{}\" refused the connection.", connector.shard_name));
    PgError { severity: Severity::Error, position: None, ..error }.with_detail(detail)
}

/// A connection that broke, or garbage, before the login was over.
fn login_failed(connector: &Connector, error: PgError) -> Failure {
    let why = if error.code == SqlState::PROTOCOL_VIOLATION {
        "the server does not speak PostgreSQL's protocol".to_string()
    } else {
        error.detail.map_or(error.message, |detail| detail.trim_end_matches('.').to_string())
    };
    Failure::Other(connector.unreachable(&why))
}

/// Asks a server to end the running statement of the connection with this key. There is no answer: the server closes the connection
/// when it has passed the request on.
pub async fn cancel(connector: &Connector, pid: i32, secret: &[u8], timeout: Duration) -> Result<(), PgError> {
    let ask = async {
        let tls = match connector.server.sslmode {
            SslMode::Disable | SslMode::Allow => UseTls::No,
            SslMode::Prefer => UseTls::IfOffered,
            _ => UseTls::Must,
        };
        let mut stream = open(connector, tls).await.map_err(Failure::into_error)?;
        let mut out = BytesMut::new();
        request::cancel_request(&mut out, pid, secret);
        let fail = |error: std::io::Error| connector.unreachable(&error);
        stream.write_all(&out).await.map_err(fail)?;
        stream.flush().await.map_err(fail)?;
        // A reset instead of an end also means that the request was taken.
        let _ = stream.read(&mut [0; 1]).await;
        Ok(())
    };
    tokio::time::timeout(timeout, ask)
        .await
        .unwrap_or_else(|_| Err(connector.unreachable(&"no answer to a cancel request")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_cannot_ask_for_endless_hashing() {
        assert!(check_iterations(b"r=abc,s=c2FsdA==,i=4096").is_ok());
        for bad in ["r=abc,s=c2FsdA==,i=2000000000", "r=a,s=b,i=0", "r=a,s=b,i=-1", "r=a,s=b", "r=a,s=b,i=99999999999"]
        {
            assert!(check_iterations(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
