//! The configuration as a list of settings, for operators to look at. Passwords do not show.

use std::time::Duration;

use super::units::FOREVER;
use super::validate::LEAST_LOADED;
use super::{AuthMethod, Config, LogFormat, PoolMode, Server, SslMode};

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// As the file has it, tables and key with dots between.
    pub key: String,
    /// In force.
    pub value: String,
    /// Where the file says nothing; empty where it has to say something.
    pub default: String,
    /// Whether a reload can change it.
    pub changeable: bool,
}

/// What stands for a secret.
const MASK: &str = "********";
/// What only a restart changes.
const FIXED: &[&str] = &["listen", "http", "workers", "database", "plan_cache", "workbench.concurrency"];
/// The least that a file can say.
const LEAST: &str = "listen = \"127.0.0.1:0\"\nvschema = \"v\"\n[auth]\nmethod = \"trust\"\n[shard.s]\nprimary = \"postgres://a@b/c\"\n";

impl Config {
    /// All settings, in the order of the file's manual.
    pub fn settings(&self) -> Vec<Setting> {
        let no_file = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        let defaults = Config::parse("", LEAST, &no_file, &|_| None).map(|config| config.values()).unwrap_or_default();
        let of_its_own = |key: &str| ["listen", "vschema", "auth.method", "database"].contains(&key);
        let default = |key: &str| match defaults.iter().find(|(known, _)| known == key) {
            Some((_, value)) if !of_its_own(key) => value.clone(),
            _ => String::new(),
        };
        let setting = |(key, value): (String, String)| Setting {
            default: default(&key),
            changeable: !FIXED.contains(&key.as_str()),
            key,
            value,
        };
        self.values().into_iter().map(setting).collect()
    }

    fn values(&self) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        let mut add = |key: &str, value: String| all.push((key.to_owned(), value));
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        add("listen", listen.join(", "));
        add("http", or_none(self.http));
        add("vschema", self.vschema.display().to_string());
        add("data_dir", self.data_dir.display().to_string());
        add("database", self.database.clone());
        add("workers", self.workers.to_string());
        add("plan_cache", self.plan_cache.to_string());
        if let Some(tls) = &self.tls {
            add("tls.cert", tls.cert.display().to_string());
            add("tls.key", tls.key.display().to_string());
            add("tls.required", tls.required.to_string());
        }
        let method = match self.auth.method {
            AuthMethod::Scram => "scram-sha-256",
            AuthMethod::Trust => "trust",
        };
        add("auth.method", method.to_owned());
        for (name, user) in &self.auth.users {
            let mut add = |key: &str, value: String| add(&format!("auth.user.{name}.{key}"), value);
            if user.password.is_some() || user.verifier.is_some() {
                add("password", MASK.to_owned());
            }
            add("operator", user.operator.to_string());
            add("stats", user.stats.to_string());
            if let Some(server_user) = &user.server_user {
                add("server_user", server_user.clone());
            }
            if user.server_password.is_some() {
                add("server_password", MASK.to_owned());
            }
            add("max_connections", or_none(user.max_connections));
        }
        let pool = &self.pool;
        let mode = match pool.mode {
            PoolMode::Transaction => "transaction",
            PoolMode::Session => "session",
        };
        add("pool.mode", mode.to_owned());
        add("pool.size", pool.size.to_string());
        add("pool.max_shard_connections", or_none(pool.max_shard_connections));
        add("pool.max_user_connections", or_none(pool.max_user_connections));
        add("pool.min_idle", pool.min_idle.to_string());
        add("pool.max_client_connections", pool.max_client_connections.to_string());
        add("pool.queue_timeout", span(pool.queue_timeout));
        add("pool.connect_timeout", span(pool.connect_timeout));
        add("pool.idle_timeout", span(pool.idle_timeout));
        add("pool.max_lifetime", span(pool.max_lifetime));
        add("pool.health_check_interval", span(pool.health_check_interval));
        add("pool.prepared_statements", pool.prepared_statements.to_string());
        let limits = &self.limits;
        add("limits.login_timeout", span(limits.login_timeout));
        add("limits.max_frame", limits.max_frame.to_string());
        add("limits.max_login_frame", limits.max_login_frame.to_string());
        add("limits.max_statement_tokens", limits.max_statement_tokens.to_string());
        add("limits.max_nesting", limits.max_nesting.to_string());
        add("limits.max_prepared_per_session", limits.max_prepared_per_session.to_string());
        add("limits.drain_timeout", span(limits.drain_timeout));
        let workbench = &self.workbench;
        add("workbench.server", workbench.server.as_ref().map_or(LEAST_LOADED.to_owned(), url));
        add("workbench.max_rows", workbench.max_rows.to_string());
        add("workbench.max_bytes", workbench.max_bytes.to_string());
        add("workbench.timeout", span(workbench.timeout));
        add("workbench.concurrency", workbench.concurrency.to_string());
        for shard in &self.shards {
            let mut add = |key: &str, value: String| add(&format!("shard.{}.{key}", shard.name), value);
            add("primary", url(&shard.primary));
            let replicas: Vec<String> = shard.replicas.iter().map(url).collect();
            add("replicas", replicas.join(", "));
            add("region", shard.region.clone().unwrap_or_default());
        }
        add("log.level", self.log.level.clone());
        let format = match self.log.format {
            LogFormat::Plain => "plain",
            LogFormat::Json => "json",
        };
        add("log.format", format.to_owned());
        add("log.slow", self.log.slow.map(span).unwrap_or_default());
        all
    }
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn span(time: Duration) -> String {
    match time.as_millis() {
        _ if time >= FOREVER => "0".to_owned(),
        millis if millis.is_multiple_of(1000) => format!("{}s", millis / 1000),
        millis => format!("{millis}ms"),
    }
}

fn url(server: &Server) -> String {
    let sslmode = match server.sslmode {
        SslMode::Disable => "disable",
        SslMode::Allow => "allow",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    };
    let password = server.password.as_ref().map_or(String::new(), |_| format!(":{MASK}"));
    let Server { user, host, port, database, .. } = server;
    format!("postgres://{user}{password}@{host}:{port}/{database}?sslmode={sslmode}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "listen = \"127.0.0.1:1\"\nvschema = \"v\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n[auth.user.app]\npassword = \"hush\"\n\
        server_user = \"a\"\nserver_password = \"hush\"\n[pool]\nqueue_timeout = \"1500ms\"\n[shard.s0]\nprimary = \"postgres://a:hush@h/d\"\n\
        replicas = [\"postgres://a:hush@i/d\"]\n";

    fn config() -> Config {
        Config::parse("f", TEXT, &|_| Ok(String::new()), &|_| None).unwrap()
    }

    #[test]
    fn no_secret_shows() {
        let shown = format!("{:?}", config().settings());
        assert!(!shown.contains("hush") && shown.contains("postgres://a:********@h:5432/d"), "{shown}");
    }

    #[test]
    fn values_stand_beside_their_defaults() {
        let settings = config().settings();
        let of = |key: &str| settings.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!(
            (of("pool.queue_timeout").value.as_str(), of("pool.queue_timeout").default.as_str()),
            ("1500ms", "15s")
        );
        assert_eq!((of("pool.size").value.as_str(), of("pool.size").default.as_str()), ("20", "20"));
        assert!(!of("listen").changeable && of("pool.size").changeable);
    }

    #[test]
    fn every_key_of_the_file_is_there() {
        let settings = config().settings();
        let schema = super::super::json_schema();
        for (table, keys) in [("", &schema["properties"]), ("pool.", &schema["definitions"]["RawPool"]["properties"])]
            .into_iter()
            .chain([
                ("limits.", &schema["definitions"]["RawLimits"]["properties"]),
                ("workbench.", &schema["definitions"]["RawWorkbench"]["properties"]),
                ("log.", &schema["definitions"]["RawLog"]["properties"]),
            ])
        {
            for key in keys.as_object().unwrap().keys() {
                let key = format!("{table}{key}");
                let found =
                    settings.iter().any(|setting| setting.key == key || setting.key.starts_with(&format!("{key}.")));
                assert!(found, "{key}");
            }
        }
    }
}
