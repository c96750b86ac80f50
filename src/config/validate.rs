//! From the raw file to a [`Config`] that makes sense as a whole: every rule that needs more than one key, or more than a
//! type, is here. Each refusal names the key it is about; the document knows the line.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::document::{Document, FileError};
use crate::config::raw::{OneOrMany, RawConfig, RawLogFormat, RawMethod, RawPoolMode, RawShard, RawUser};
use crate::config::units::{FOREVER, Size, Span};
use crate::config::{
    Auth, AuthMethod, Config, Limits, Log, LogFormat, Pool, PoolMode, Secret, Server, Shard, Tls, User, Workbench, url,
    verifier,
};

/// What the file says for a workbench on one of the shards.
pub(super) const LEAST_LOADED: &str = "shard:<least loaded>";
/// [`ShardId`](crate::types::ShardId) has 16 bits, and a proxy has not the sockets for more.
const MAX_SHARDS: usize = 10_000;

/// What the checks need besides the raw values.
pub(super) struct Validator<'a> {
    pub document: &'a Document<'a>,
    pub read: &'a dyn Fn(&str) -> io::Result<String>,
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl Validator<'_> {
    /// Checks everything.
    pub fn config(&self, raw: RawConfig) -> Result<Config, FileError> {
        let listen = self.listen(&raw.listen)?;
        let http = raw.http.as_deref().map(|text| self.address(&["http"], text)).transpose()?;
        let method = match raw.auth.method {
            RawMethod::Scram => AuthMethod::Scram,
            RawMethod::Trust => AuthMethod::Trust,
        };
        if method == AuthMethod::Trust
            && let Some(open) = listen.iter().find(|address| !address.ip().is_loopback())
        {
            let message = format!("trust lets anyone in, and {open} can be reached from other machines");
            let error = self.document.error(&["auth", "method"], message);
            return Err(error.hint("Use \"scram-sha-256\", or listen on 127.0.0.1 or [::1] only."));
        }
        let shards = self.shards(&raw.shard)?;
        let users = self.users(&raw.auth.user, method, &shards)?;
        let tls =
            raw.tls.map(|tls| Tls { cert: self.path(&tls.cert), key: self.path(&tls.key), required: tls.required });
        // Every shard has a URL, every URL a database, and there is a first shard.
        let first_database = shards.first().map(|shard| shard.primary.database.clone()).unwrap_or_default();
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Config {
            listen,
            http,
            vschema: self.path(&raw.vschema),
            data_dir: self.path(raw.data_dir.as_deref().unwrap_or("data")),
            database: raw.database.unwrap_or(first_database),
            workers: raw
                .workers
                .map(|count| self.within(&["workers"], count, 1, 1024))
                .transpose()?
                .unwrap_or_else(|| cores().div_ceil(2)),
            tls,
            auth: Auth { method, users },
            pool: self.pool(&raw.pool)?,
            limits: self.limits(&raw.limits)?,
            workbench: self.workbench(&raw.workbench, &shards)?,
            plan_cache: self.within(&["plan_cache"], raw.plan_cache.unwrap_or(10_000), 1, 10_000_000)?,
            shards,
            log: Log {
                level: raw.log.level.unwrap_or_else(|| "info".to_owned()),
                format: match raw.log.format {
                    RawLogFormat::Plain => LogFormat::Plain,
                    RawLogFormat::Json => LogFormat::Json,
                },
                slow: raw.log.slow.map(|span| span.0),
            },
        })
    }

    /// Paths are relative to the file that names them.
    fn path(&self, path: &str) -> PathBuf {
        Path::new(self.document.file()).parent().map_or_else(|| PathBuf::from(path), |folder| folder.join(path))
    }

    fn listen(&self, raw: &OneOrMany) -> Result<Vec<SocketAddr>, FileError> {
        let texts = match raw {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) => texts,
        };
        if texts.is_empty() {
            return Err(self.document.error(&["listen"], "there is no address").hint("Write \"127.0.0.1:6432\"."));
        }
        texts.iter().map(|text| self.address(&["listen"], text)).collect()
    }

    fn address(&self, path: &[&str], text: &str) -> Result<SocketAddr, FileError> {
        let numeric = match text.split_once(':') {
            Some(("localhost", port)) => format!("127.0.0.1:{port}"),
            Some(("*" | "", port)) => format!("0.0.0.0:{port}"),
            _ => text.to_owned(),
        };
        numeric.parse().map_err(|_| {
            let error = self.document.error(path, format!("\"{text}\" is no address with a port"));
            error.hint("Write an address and a port: \"127.0.0.1:6432\", \"[::1]:6432\" or \"*:6432\".")
        })
    }

    fn within(&self, path: &[&str], value: usize, least: usize, most: usize) -> Result<usize, FileError> {
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(self.document.error(path, format!("{value} is not possible here")).hint(format!("Use {least} to {most}.")))
    }

    fn pool(&self, raw: &crate::config::raw::RawPool) -> Result<Pool, FileError> {
        let count = |key: &str, value: Option<usize>, default: usize, least: usize| {
            self.within(&["pool", key], value.unwrap_or(default), least, 1_000_000)
        };
        let limit = |key: &str, value: Option<usize>| value.map(|value| count(key, Some(value), 1, 1)).transpose();
        let time = |key: &str, value: Option<Span>, default: u64| match value {
            Some(Span(Duration::ZERO)) => {
                let error = self.document.error(&["pool", key], "no time at all is not possible here");
                Err(error.hint("Use a duration such as \"15s\"."))
            }
            Some(Span(time)) => Ok(time),
            None => Ok(Duration::from_secs(default)),
        };
        let or_never = |value: Option<Span>, default: u64| match value {
            Some(Span(Duration::ZERO)) => FOREVER,
            Some(Span(time)) => time,
            None => Duration::from_secs(default),
        };
        let size = count("size", raw.size, 20, 1)?;
        let min_idle = count("min_idle", raw.min_idle, 1.min(size), 0)?;
        if min_idle > size {
            let error =
                self.document.error(&["pool", "min_idle"], format!("{min_idle} is more than the pool's size, {size}"));
            return Err(error.hint("Lower `min_idle` or raise `size`."));
        }
        Ok(Pool {
            mode: match raw.mode {
                RawPoolMode::Transaction => PoolMode::Transaction,
                RawPoolMode::Session => PoolMode::Session,
            },
            size,
            max_shard_connections: limit("max_shard_connections", raw.max_shard_connections)?,
            max_user_connections: limit("max_user_connections", raw.max_user_connections)?,
            min_idle,
            max_client_connections: count("max_client_connections", raw.max_client_connections, 10_000, 1)?,
            queue_timeout: time("queue_timeout", raw.queue_timeout, 15)?,
            connect_timeout: time("connect_timeout", raw.connect_timeout, 5)?,
            idle_timeout: or_never(raw.idle_timeout, 600),
            max_lifetime: or_never(raw.max_lifetime, 3600),
            health_check_interval: or_never(raw.health_check_interval, 30),
            prepared_statements: count("prepared_statements", raw.prepared_statements, 500, 1)?,
        })
    }

    fn limits(&self, raw: &crate::config::raw::RawLimits) -> Result<Limits, FileError> {
        let size = |key: &str, value: Option<Size>, default: usize, least: usize, most: usize| {
            self.within(&["limits", key], value.map_or(default, |size| size.0), least, most)
        };
        let count = |key: &str, value: Option<usize>, default: usize, most: usize| {
            self.within(&["limits", key], value.unwrap_or(default), 1, most)
        };
        let time = |value: Option<Span>, default: u64| value.map_or(Duration::from_secs(default), |span| span.0);
        let login_timeout = time(raw.login_timeout, 60);
        if login_timeout.is_zero() {
            return Err(self.document.error(&["limits", "login_timeout"], "nobody can log in within no time"));
        }
        Ok(Limits {
            login_timeout,
            // PostgreSQL's own limit (MaxAllocSize), less the length word.
            max_frame: size("max_frame", raw.max_frame, 0x3fff_ffff, 1 << 10, 0x3fff_ffff)?,
            // PostgreSQL's MAX_STARTUP_PACKET_LENGTH.
            max_login_frame: size("max_login_frame", raw.max_login_frame, 10_000, 1_000, 1 << 20)?,
            max_statement_tokens: count("max_statement_tokens", raw.max_statement_tokens, 200_000, 10_000_000)?,
            max_nesting: count("max_nesting", raw.max_nesting, 100, 1_000)?,
            max_prepared_per_session: count(
                "max_prepared_per_session",
                raw.max_prepared_per_session,
                10_000,
                1_000_000,
            )?,
            drain_timeout: time(raw.drain_timeout, 30),
        })
    }

    fn bench_server(&self, text: &str, shards: &[Shard]) -> Result<Server, FileError> {
        let path = ["workbench", "server"];
        let wrong = |(message, hint): (String, Option<String>)| {
            let form = format!("Write postgres://user:password@host:port/database, or \"{LEAST_LOADED}\".");
            FileError { hint: hint.or(Some(form)), ..self.document.error(&path, message) }
        };
        let mut server = url::parse(text).map_err(wrong)?;
        server.sslrootcert = server.sslrootcert.map(|path| self.path(&path.to_string_lossy()));
        let place = |server: &Server| (server.host.clone(), server.port, server.database.clone());
        let taken = shards.iter().find(|shard| {
            std::iter::once(&shard.primary).chain(&shard.replicas).any(|other| place(other) == place(&server))
        });
        match taken {
            Some(shard) => {
                let message = format!("this is a database of shard \"{}\"", shard.name);
                Err(self.document.error(&path, message).hint("A workbench of its own is a database without tables."))
            }
            None => Ok(server),
        }
    }

    fn workbench(&self, raw: &crate::config::raw::RawWorkbench, shards: &[Shard]) -> Result<Workbench, FileError> {
        let most = usize::MAX / 2;
        Ok(Workbench {
            server: match raw.server.as_deref() {
                None | Some(LEAST_LOADED) => None,
                Some(text) => Some(self.bench_server(text, shards)?),
            },
            max_rows: self.within(&["workbench", "max_rows"], raw.max_rows.unwrap_or(50_000_000), 1, most)?,
            max_bytes: self.within(
                &["workbench", "max_bytes"],
                raw.max_bytes.map_or(8 << 30, |size| size.0),
                1 << 10,
                most,
            )?,
            timeout: match raw.timeout {
                Some(Span(Duration::ZERO)) => FOREVER,
                Some(Span(time)) => time,
                None => Duration::from_secs(600),
            },
            concurrency: self.within(&["workbench", "concurrency"], raw.concurrency.unwrap_or(8), 1, 10_000)?,
        })
    }

    /// A secret that may be written in one of three ways.
    fn secret(
        &self,
        table: &[&str],
        key: &str,
        plain: Option<&str>,
        env: Option<&str>,
        file: Option<&str>,
    ) -> Result<Option<Secret>, FileError> {
        let (env_key, file_key) = (format!("{key}_env"), format!("{key}_file"));
        let error = |key: &str, message: String| {
            let mut path = table.to_vec();
            path.push(key);
            self.document.error(&path, message)
        };
        let given = [plain.map(|_| key), env.map(|_| env_key.as_str()), file.map(|_| file_key.as_str())];
        let given: Vec<&str> = given.into_iter().flatten().collect();
        if let [first, second, ..] = given[..] {
            let message = format!("both `{first}` and `{second}` give the password");
            return Err(error(second, message).hint("Keep one of them."));
        }
        let secret = if let Some(plain) = plain {
            plain.to_owned()
        } else if let Some(name) = env {
            (self.env)(name).ok_or_else(|| {
                let message = format!("the environment variable {name} is not set");
                error(&env_key, message).hint(format!("Set {name} where Goldseam is started."))
            })?
        } else if let Some(name) = file {
            let path = self.path(name);
            let text = (self.read)(&path.to_string_lossy()).map_err(|problem| {
                let message = format!("{} cannot be read: {problem}", path.display());
                error(&file_key, message)
                    .hint("The path is relative to this file; it must be readable for Goldseam's user.")
            })?;
            // Editors end a file with a line break, passwords do not.
            text.trim_end_matches(['\n', '\r']).to_owned()
        } else {
            return Ok(None);
        };
        if secret.is_empty() {
            return Err(error(given[0], "the password is empty".to_owned()).hint("PostgreSQL refuses empty passwords."));
        }
        Ok(Some(Secret::new(secret)))
    }

    fn users(
        &self,
        raw: &BTreeMap<String, RawUser>,
        method: AuthMethod,
        shards: &[Shard],
    ) -> Result<BTreeMap<String, User>, FileError> {
        if raw.is_empty() && method == AuthMethod::Scram {
            let error = self.document.error(&["auth"], "there is no user, so nobody could log in");
            return Err(error.hint("Add [auth.user.app] with password = \"...\"."));
        }
        let mut users = BTreeMap::new();
        for (name, raw) in raw {
            users.insert(name.clone(), self.user(name, raw, method, shards)?);
        }
        Ok(users)
    }

    fn user(&self, name: &str, raw: &RawUser, method: AuthMethod, shards: &[Shard]) -> Result<User, FileError> {
        let table = ["auth", "user", name];
        let at = |key: &str, message: String| self.document.error(&["auth", "user", name, key], message);
        let given = self.secret(
            &table,
            "password",
            raw.password.as_deref(),
            raw.password_env.as_deref(),
            raw.password_file.as_deref(),
        )?;
        let server_password = self.secret(
            &table,
            "server_password",
            raw.server_password.as_deref(),
            raw.server_password_env.as_deref(),
            raw.server_password_file.as_deref(),
        )?;
        if given.is_some() && raw.verifier.is_some() {
            let error = at("verifier", "there is a password already".to_owned());
            return Err(error.hint("Keep either the password or the verifier."));
        }
        // PostgreSQL itself tells the two apart by their beginning (get_password_type).
        let (password, written) = match given {
            Some(secret) if secret.expose().starts_with(verifier::PREFIX) => (None, Some(secret.expose().to_owned())),
            password => (password, raw.verifier.clone()),
        };
        let verifier = match written {
            None => None,
            Some(text) => Some(verifier::parse(&text).ok_or_else(|| {
                let key = if raw.verifier.is_some() { "verifier" } else { "password" };
                let error = at(key, "this is no SCRAM verifier".to_owned());
                error.hint("Copy rolpassword from pg_authid: SCRAM-SHA-256$<iterations>:<salt>$<stored>:<server>.")
            })?),
        };
        if method == AuthMethod::Scram && password.is_none() && verifier.is_none() {
            let error = self.document.error(&table, "the user has no password");
            return Err(error.hint("Add password, password_env, password_file or verifier."));
        }
        let server_name = raw.server_user.as_deref().unwrap_or(name);
        let service = shards.iter().all(|shard| shard.primary.user == server_name);
        if verifier.is_some() && server_password.is_none() && !service {
            let message = "a verifier cannot log in to the servers: only the password itself can";
            let error = self.document.error(&table, message);
            return Err(error.hint("Add server_password, or write the password instead of the verifier."));
        }
        if raw.server_user.is_some() && server_password.is_none() && !service && method == AuthMethod::Scram {
            let error = at("server_user", "the server user has no password".to_owned());
            return Err(error.hint("Add server_password, server_password_env or server_password_file."));
        }
        let max_connections = raw.max_connections;
        if max_connections == Some(0) {
            return Err(at("max_connections", "0 would lock the user out".to_owned()).hint("Remove the user instead."));
        }
        let (operator, stats, server_user) = (raw.operator, raw.stats, raw.server_user.clone());
        Ok(User { password, verifier, operator, stats, server_user, server_password, max_connections })
    }

    fn shards(&self, raw: &BTreeMap<String, RawShard>) -> Result<Vec<Shard>, FileError> {
        if raw.is_empty() {
            let error = self.document.error(&[], "there is no shard");
            return Err(error.hint("Add [shard.s0] with primary = \"postgres://user:password@host:port/database\"."));
        }
        if raw.len() > MAX_SHARDS {
            return Err(self.document.error(&["shard"], format!("there are more than {MAX_SHARDS} shards")));
        }
        let mut roles: HashMap<(String, u16, String), String> = HashMap::new();
        let mut shards = Vec::with_capacity(raw.len());
        // Numbers are given in the file's order, which a map does not keep.
        for name in self.document.keys(&["shard"]) {
            let Some(raw) = raw.get(&name) else { continue };
            if name.is_empty() || name.len() > 63 || !name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
            {
                let error = self.document.error(&["shard", &name], format!("\"{name}\" cannot be a shard's name"));
                return Err(error.hint("Use 1 to 63 letters, digits, hyphens and underscores."));
            }
            let secret = self.secret(
                &["shard", &name],
                "password",
                None,
                raw.password_env.as_deref(),
                raw.password_file.as_deref(),
            )?;
            let mut server = |path: &[&str], text: &str, role: String| {
                let mut server = url::parse(text).map_err(|(message, hint)| {
                    let error = self.document.error(path, message);
                    FileError { hint, ..error }
                })?;
                server.password = server.password.or_else(|| secret.clone());
                server.sslrootcert = server.sslrootcert.map(|path| self.path(&path.to_string_lossy()));
                let address = (server.host.clone(), server.port, server.database.clone());
                if let Some(other) = roles.insert(address, role.clone()) {
                    let message = format!(
                        "{}:{}/{} is both the {other} and the {role}",
                        server.host, server.port, server.database
                    );
                    let error = self.document.error(path, message);
                    return Err(error.hint("A database is the primary or a replica of one shard."));
                }
                Ok::<Server, FileError>(server)
            };
            let primary = server(&["shard", &name, "primary"], &raw.primary, format!("primary of {name}"))?;
            let replicas = raw
                .replicas
                .iter()
                .enumerate()
                .map(|(index, text)| {
                    let path = ["shard", &name, "replicas", &index.to_string()];
                    server(&path, text, format!("replica of {name}"))
                })
                .collect::<Result<Vec<_>, _>>()?;
            shards.push(Shard { name, primary, replicas, region: raw.region.clone() });
        }
        Ok(shards)
    }
}
