//! The server's configuration: from the operator's `goldseam.toml` to a value that needs no further checking.
//!
//! A raw file passes through three hands: `toml` says whether it is TOML, the raw types of [`raw`] say whether every key
//! is known and has the right type, and `validate` says whether it makes sense as a whole. What comes out is a [`Config`],
//! and no later layer has to ask again. What is refused is refused whole with a [`FileError`]: file, line, key, and a hint.
//!
//! No I/O here: whoever calls [`Config::parse`] hands in how to read a password file and an environment variable, so that
//! every rule can be tested as data.

pub mod document;
pub mod raw;
mod settings;
pub mod units;
pub mod url;
mod validate;
pub mod verifier;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use document::{Document, FileError};
pub use settings::Setting;

/// A password: kept out of logs and debug prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(secret: impl Into<String>) -> Self {
        Secret(secret.into())
    }

    /// The password itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The whole server, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where clients connect; never empty.
    pub listen: Vec<SocketAddr>,
    /// Console, metrics, health.
    pub http: Option<SocketAddr>,
    /// A vschema file, or a folder of them; relative to the configuration file's folder.
    pub vschema: PathBuf,
    /// What Goldseam itself keeps.
    pub data_dir: PathBuf,
    /// The one database clients connect to by name.
    pub database: String,
    /// Runtime threads.
    pub workers: usize,
    /// TLS towards clients.
    pub tls: Option<Tls>,
    /// Who may log in.
    pub auth: Auth,
    /// Server connections.
    pub pool: Pool,
    /// What a client may cost.
    pub limits: Limits,
    /// Queries over rows of several shards.
    pub workbench: Workbench,
    /// How many plans the cache holds.
    pub plan_cache: usize,
    /// In the order of the file; [`ShardId`](crate::types::ShardId) is the index.
    pub shards: Vec<Shard>,
    /// Logs.
    pub log: Log,
}

/// TLS towards clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Clients without TLS are refused.
    pub required: bool,
}

/// Who may log in, and how they prove it.
#[derive(Debug, Clone, PartialEq)]
pub struct Auth {
    /// The one method for all users.
    pub method: AuthMethod,
    /// By name. With [`AuthMethod::Trust`] users who are not here are let in too, without the operator right.
    pub users: BTreeMap<String, User>,
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// SCRAM-SHA-256, with channel binding where there is TLS.
    Scram,
    /// Not at all: only where every listener is loopback.
    Trust,
}

/// A client user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct User {
    /// In plain text, read from wherever the file said.
    pub password: Option<Secret>,
    /// Instead of a password.
    pub verifier: Option<ScramVerifier>,
    /// May run admin commands and ALTER VSCHEMA.
    pub operator: bool,
    /// May look at the console.
    pub stats: bool,
    /// The name this user has on the servers, if another.
    pub server_user: Option<String>,
    /// The password this user has on the servers, if another.
    pub server_password: Option<Secret>,
    /// How many clients may be logged in as this user.
    pub max_connections: Option<usize>,
}

/// What PostgreSQL keeps instead of a SCRAM password (`pg_authid.rolpassword`, RFC 5803).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    /// Rounds of PBKDF2.
    pub iterations: u32,
    /// Decoded.
    pub salt: Vec<u8>,
    /// Decoded, 32 bytes.
    pub stored_key: Vec<u8>,
    /// Decoded, 32 bytes.
    pub server_key: Vec<u8>,
}

impl fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramVerifier({} iterations)", self.iterations)
    }
}

/// When a client gives its server connection back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// After each transaction.
    Transaction,
    /// When it disconnects.
    Session,
}

/// Server connections and the waiting for them.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// When connections are given back.
    pub mode: PoolMode,
    /// Server connections per shard and user.
    pub size: usize,
    /// Server connections per shard, all users together.
    pub max_shard_connections: Option<usize>,
    /// Server connections per user, all shards together.
    pub max_user_connections: Option<usize>,
    /// Kept warm per shard for each user seen.
    pub min_idle: usize,
    /// Clients logged in at one time.
    pub max_client_connections: usize,
    /// How long a client waits for a server connection; then 53300.
    pub queue_timeout: Duration,
    /// TCP, TLS and login to a server together.
    pub connect_timeout: Duration,
    /// An unused server connection is closed after that.
    pub idle_timeout: Duration,
    /// Any server connection is closed after that, once it is idle.
    pub max_lifetime: Duration,
    /// A server connection idle for longer is tried before it is used.
    pub health_check_interval: Duration,
    /// Prepared statements kept per server connection.
    pub prepared_statements: usize,
}

/// What a client may cost.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// From accept to a finished login.
    pub login_timeout: Duration,
    /// The largest message, in bytes.
    pub max_frame: usize,
    /// The largest message before the login is finished, in bytes.
    pub max_login_frame: usize,
    /// Tokens of one statement that has to be parsed.
    pub max_statement_tokens: usize,
    /// Nested parentheses and sub-queries of one statement that has to be parsed.
    pub max_nesting: usize,
    /// Prepared statements and portals of one session.
    pub max_prepared_per_session: usize,
    /// How long transactions may go on after SIGTERM.
    pub drain_timeout: Duration,
}

/// Queries for which rows of several shards are put together on one server.
#[derive(Debug, Clone, PartialEq)]
pub struct Workbench {
    /// A server for nothing else; without one it is a shard's.
    pub server: Option<Server>,
    /// Rows that one query may put together.
    pub max_rows: usize,
    /// Their bytes.
    pub max_bytes: usize,
    /// How long one query may take.
    pub timeout: Duration,
    /// Queries that may keep many rows on a server at the same time.
    pub concurrency: usize,
}

/// One PostgreSQL primary with its replicas.
#[derive(Debug, Clone, PartialEq)]
pub struct Shard {
    /// As vschemas call it.
    pub name: String,
    /// Where writes go.
    pub primary: Server,
    /// Its copies.
    pub replicas: Vec<Server>,
    /// Where it stands.
    pub region: Option<String>,
}

/// A server's address and Goldseam's own service login there.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// A name, an address, or the folder of a unix socket (starts with `/`).
    pub host: String,
    /// TCP port, or the number in the socket's name.
    pub port: u16,
    /// The database on that server.
    pub database: String,
    /// Goldseam's own login.
    pub user: String,
    /// Its password; none where the server trusts.
    pub password: Option<Secret>,
    /// As libpq's `sslmode`.
    pub sslmode: SslMode,
    /// The authorities to believe instead of the system's, PEM.
    pub sslrootcert: Option<PathBuf>,
}

/// libpq's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never.
    Disable,
    /// Only if the server insists.
    Allow,
    /// If the server can.
    Prefer,
    /// Always, without checking whom one talks to.
    Require,
    /// Always, and the certificate must come from a known authority.
    VerifyCa,
    /// Always, and the certificate must name the host.
    VerifyFull,
}

/// Logs.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// A `tracing` filter, such as `info` or `goldseam=debug`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
    /// Statements that take as long are logged.
    pub slow: Option<Duration>,
}

/// For people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines, coloured on a terminal.
    Plain,
    /// One JSON object per line.
    Json,
}

impl Config {
    /// Reads and validates a configuration. `read` gives the text of a `*_file`, `env` the value of a `*_env`. Paths in the
    /// result are relative to the folder of `file_name`, as the operator means them.
    pub fn parse(
        file_name: &str,
        text: &str,
        read: &dyn Fn(&str) -> io::Result<String>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, FileError> {
        let document = Document::parse(file_name, text)?;
        let raw = document.read()?;
        validate::Validator { document: &document, read, env }.config(raw)
    }

    /// The shards' names, in order: what [`vschema::load`](fn@crate::vschema::load) wants.
    pub fn shard_names(&self) -> Vec<String> {
        self.shards.iter().map(|shard| shard.name.clone()).collect()
    }

    /// The user and password with which a client's statements run on a server: what the file gives the user for the servers,
    /// else the URL's password if the URL is of the same user, else the user's own.
    pub fn server_login(&self, user: &str, server: &Server) -> (String, Option<Secret>) {
        let known = self.auth.users.get(user);
        let name = known.and_then(|known| known.server_user.as_deref()).unwrap_or(user);
        let given = known.and_then(|known| known.server_password.clone());
        let of_url = || if name == server.user { server.password.clone() } else { None };
        let own = || if name == user { known.and_then(|known| known.password.clone()) } else { None };
        (name.to_owned(), given.or_else(of_url).or_else(own))
    }
}

/// The JSON Schema of `goldseam.toml`.
pub fn json_schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft07().into_generator().into_root_schema_for::<raw::RawConfig>().to_value()
}

#[cfg(test)]
mod tests;
