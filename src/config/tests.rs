//! The configuration as data: what is refused and in which words, and what a file becomes.

use super::*;
use crate::types::cases::check;

fn parse(text: &str) -> Result<Config, FileError> {
    let read = |path: &str| match path {
        "/etc/goldseam/secrets/app" => Ok("from-file\n".to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "No such file or directory")),
    };
    let env = |name: &str| (name == "APP_PASSWORD").then(|| "from-env".to_owned());
    Config::parse("/etc/goldseam/goldseam.toml", text, &read, &env)
}

#[test]
fn mistakes_are_refused_with_line_key_and_hint() {
    check("src/config/cases/refusals.txt", |text| match parse(text) {
        Ok(config) => format!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    });
}

#[test]
fn the_example_is_valid_and_its_secrets_stay_out_of_debug_prints() {
    let config = parse(include_str!("../../examples/goldseam.toml")).unwrap();
    assert_eq!(config.shard_names(), ["s0", "s1", "s2", "s3"]);
    assert_eq!((config.database.as_str(), config.pool.size), ("app", 20));
    assert_eq!(config.shards[1].primary.sslmode, SslMode::Prefer);
    assert_eq!(config.vschema, std::path::Path::new("/etc/goldseam/../vschema/commerce.toml"));
    assert!(!format!("{config:?}").contains("\"secret\""));
}

#[test]
fn shards_keep_the_order_of_the_file() {
    let config = parse(
        "listen = 'localhost:1'\nvschema = 'v'\nauth.method = 'trust'\n\
         [shard.z]\nprimary = 'postgres://u@h/a'\n[shard.a]\nprimary = 'postgres://u@h/b'\n[shard.m]\nprimary = 'postgres://u@h/c'",
    );
    assert_eq!(config.unwrap().shard_names(), ["z", "a", "m"]);
}

#[test]
fn server_logins_follow_the_file_then_the_url_then_the_user() {
    let config = parse(
        "listen = '[::1]:1'\nvschema = 'v'\n\
         [auth.user.own]\npassword = 'p1'\n[auth.user.svc]\npassword = 'p2'\n\
         [auth.user.map]\npassword = 'p3'\nserver_user = 'other'\nserver_password_env = 'APP_PASSWORD'\n\
         [auth.user.file]\npassword_file = 'secrets/app'\n\
         [shard.s]\nprimary = 'postgresql://svc:p%40ss@[::1]:5555/db?sslmode=verify-full&sslrootcert=ca.pem'",
    )
    .unwrap();
    let server = &config.shards[0].primary;
    let login = |user: &str| {
        let (name, password) = config.server_login(user, server);
        (name, password.map(|secret| secret.expose().to_owned()))
    };
    assert_eq!(login("own"), ("own".into(), Some("p1".into())));
    assert_eq!(login("svc"), ("svc".into(), Some("p@ss".into())));
    assert_eq!(login("map"), ("other".into(), Some("from-env".into())));
    assert_eq!(login("file"), ("file".into(), Some("from-file".into())));
    assert_eq!(login("stranger"), ("stranger".into(), None));
    assert_eq!((server.host.as_str(), server.port, server.sslmode), ("::1", 5555, SslMode::VerifyFull));
    assert_eq!(server.sslrootcert.as_deref(), Some(std::path::Path::new("/etc/goldseam/ca.pem")));
}

#[test]
fn a_unix_socket_is_named_by_its_folder() {
    let config = parse(
        "listen = '127.0.0.1:1'\nvschema = 'v'\nauth.method = 'trust'\n[shard.s]\nprimary = 'postgres://u@%2Frun%2Fpg:6000/db'",
    );
    assert_eq!(config.unwrap().shards[0].primary.host, "/run/pg");
}

#[test]
fn the_schema_knows_every_key() {
    let schema = json_schema().to_string();
    for key in ["listen", "password_env", "queue_timeout", "replicas", "scram-sha-256", "max_nesting"] {
        assert!(schema.contains(key), "{key}");
    }
    assert_eq!(json_schema()["additionalProperties"], false);
}
