//! `goldseam.toml` as it is written: every key, its type and its manual text. Both the parser and the JSON Schema come from
//! here. Whether the values make sense together is for [`validate`](crate::config::validate).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::units::{Size, Span};

/// The server: listeners, users, pools, shards.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "goldseam.toml")]
pub struct RawConfig {
    /// Where clients connect: `"127.0.0.1:6432"`, or several in an array.
    pub listen: OneOrMany,
    /// Console, metrics and health checks over HTTP.
    pub http: Option<String>,
    /// The logical layout: a file, or a folder of `*.toml` files; relative to this file.
    pub vschema: String,
    /// What Goldseam itself keeps; relative to this file. Default: `data`.
    pub data_dir: Option<String>,
    /// The database clients connect to. Default: that of the first shard's URL.
    pub database: Option<String>,
    /// Runtime threads. Default: one for every two processors, for the kernel needs as much again for the sockets.
    pub workers: Option<usize>,
    /// Plans kept in the cache. Default: 10000.
    pub plan_cache: Option<usize>,
    /// TLS towards clients.
    pub tls: Option<RawTls>,
    /// Who may log in.
    #[serde(default)]
    pub auth: RawAuth,
    /// Server connections.
    #[serde(default)]
    pub pool: RawPool,
    /// What a client may cost.
    #[serde(default)]
    pub limits: RawLimits,
    /// Queries for which rows of several shards are put together on one server.
    #[serde(default)]
    pub workbench: RawWorkbench,
    /// The shards by name.
    #[serde(default)]
    pub shard: BTreeMap<String, RawShard>,
    /// Logs.
    #[serde(default)]
    pub log: RawLog,
}

/// One string or an array of strings.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(untagged, expecting = "an address such as \"127.0.0.1:6432\", or an array of them")]
pub enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// TLS towards clients.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTls {
    /// The certificate chain, a PEM file.
    pub cert: String,
    /// Its private key, a PEM file.
    pub key: String,
    /// Refuse clients without TLS.
    #[serde(default)]
    pub required: bool,
}

/// Who may log in.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAuth {
    /// How clients prove who they are.
    #[serde(default)]
    pub method: RawMethod,
    /// The users by name.
    #[serde(default)]
    pub user: BTreeMap<String, RawUser>,
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum RawMethod {
    /// A password that is never sent.
    #[default]
    #[serde(rename = "scram-sha-256")]
    Scram,
    /// Not at all; for loopback listeners only.
    #[serde(rename = "trust")]
    Trust,
}

/// A client user.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawUser {
    /// In plain text, or a SCRAM verifier.
    pub password: Option<String>,
    /// An environment variable with the password.
    pub password_env: Option<String>,
    /// A file with the password.
    pub password_file: Option<String>,
    /// `SCRAM-SHA-256$...`, as PostgreSQL keeps it in pg_authid.
    pub verifier: Option<String>,
    /// May run admin commands and ALTER VSCHEMA.
    #[serde(default)]
    pub operator: bool,
    /// May look at the console, and change nothing there; operators may anyway.
    #[serde(default)]
    pub stats: bool,
    /// The name this user has on the servers, if another.
    pub server_user: Option<String>,
    /// The password this user has on the servers, if another.
    pub server_password: Option<String>,
    /// An environment variable with it.
    pub server_password_env: Option<String>,
    /// A file with it.
    pub server_password_file: Option<String>,
    /// How many clients may be logged in as this user.
    pub max_connections: Option<usize>,
}

/// When a client gives its server connection back.
#[derive(Debug, Clone, Copy, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawPoolMode {
    /// After each transaction.
    #[default]
    Transaction,
    /// When it disconnects.
    Session,
}

/// Server connections and the waiting for them.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawPool {
    /// When a client gives its server connection back.
    #[serde(default)]
    pub mode: RawPoolMode,
    /// Server connections per shard and user. Default: 20.
    pub size: Option<usize>,
    /// Server connections per shard, all users together. Default: no limit.
    pub max_shard_connections: Option<usize>,
    /// Server connections per user, all shards together. Default: no limit.
    pub max_user_connections: Option<usize>,
    /// Connections kept warm per shard for each user seen. Default: 1.
    pub min_idle: Option<usize>,
    /// Clients logged in at one time. Default: 10000.
    pub max_client_connections: Option<usize>,
    /// How long a client waits for a server connection. Default: 15s.
    pub queue_timeout: Option<Span>,
    /// TCP, TLS and login to a server together. Default: 5s.
    pub connect_timeout: Option<Span>,
    /// An unused server connection is closed after that; 0 is never. Default: 10m.
    pub idle_timeout: Option<Span>,
    /// Any server connection is closed after that, once it is idle; 0 is never. Default: 1h.
    pub max_lifetime: Option<Span>,
    /// A server connection idle for longer is tried before it is used; 0 is never. Default: 30s.
    pub health_check_interval: Option<Span>,
    /// Prepared statements kept per server connection. Default: 500.
    pub prepared_statements: Option<usize>,
}

/// What a client may cost.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    /// From accept to a finished login. Default: 60s.
    pub login_timeout: Option<Span>,
    /// The largest message. Default: 1GB, as in PostgreSQL.
    pub max_frame: Option<Size>,
    /// The largest message before the login is finished. Default: 10000.
    pub max_login_frame: Option<Size>,
    /// Tokens of one statement that has to be parsed. Default: 200000.
    pub max_statement_tokens: Option<usize>,
    /// Nested parentheses and sub-queries of one statement that has to be parsed. Default: 100.
    pub max_nesting: Option<usize>,
    /// Prepared statements and portals of one session. Default: 10000.
    pub max_prepared_per_session: Option<usize>,
    /// How long transactions may go on after SIGTERM. Default: 30s.
    pub drain_timeout: Option<Span>,
}

/// Queries for which rows of several shards are put together on one server.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawWorkbench {
    /// Where many rows are put together: `"shard:<least loaded>"`, or the URL of a PostgreSQL server for nothing else, of the shards' version,
    /// encoding and collation, with the clients' roles and without functions of its own. Default: `"shard:<least loaded>"`.
    pub server: Option<String>,
    /// Rows that one query may put together. Default: 50000000.
    pub max_rows: Option<usize>,
    /// What they may be together. Default: 8GB.
    pub max_bytes: Option<Size>,
    /// How long one query may take; 0 is for ever. Default: 10m.
    pub timeout: Option<Span>,
    /// Queries that may keep many rows on a server at the same time; others wait for them. Default: 8.
    pub concurrency: Option<usize>,
}

/// One PostgreSQL primary with its replicas.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawShard {
    /// `postgres://user:password@host:port/database?sslmode=...`; the user is Goldseam's own login.
    pub primary: String,
    /// Its copies, in the same form.
    #[serde(default)]
    pub replicas: Vec<String>,
    /// An environment variable with the password, for URLs without one.
    pub password_env: Option<String>,
    /// A file with the password, for URLs without one.
    pub password_file: Option<String>,
    /// Where it stands.
    pub region: Option<String>,
}

/// For people or for machines.
#[derive(Debug, Clone, Copy, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawLogFormat {
    /// Lines, coloured on a terminal.
    #[default]
    Plain,
    /// One JSON object per line.
    Json,
}

/// Logs.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `goldseam::pool=debug`. Default: info.
    pub level: Option<String>,
    /// For people or for machines.
    #[serde(default)]
    pub format: RawLogFormat,
    /// Statements that take as long, or longer, are logged as warnings, without their values; 0 logs all. Default: none is.
    pub slow: Option<Span>,
}
