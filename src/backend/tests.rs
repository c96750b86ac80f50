//! Server connections against a real PostgreSQL, and against servers that misbehave.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::testing::{Postgres, login, options, server};
use super::*;
use crate::config::{Server, SslMode};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

async fn connect(server: Server, login: &Login) -> Result<Backend, PgError> {
    Backend::connect(&Connector::new(ShardId(0), "s0".into(), server), login, &options()).await
}

async fn one(backend: &mut Backend, sql: &str) -> String {
    backend.query(sql).await.unwrap()[0][0].clone().unwrap()
}

#[tokio::test]
async fn every_way_to_log_in() {
    let postgres = Postgres::start();
    let who = "select session_user || ' ' || current_setting('application_name')";

    let mut trusted = connect(postgres.server(), &Login::new("app", None)).await.unwrap();
    assert_eq!(one(&mut trusted, who).await, "app goldseam");
    assert_eq!(trusted.parameters.get("client_encoding"), Some("UTF8"));
    assert!(trusted.pid > 0 && trusted.secret.len() == 4 && trusted.is_clean());

    for user in ["scram", "md5"] {
        let mut backend = connect(postgres.server(), &login(user)).await.unwrap();
        assert_eq!(one(&mut backend, who).await, format!("{user} goldseam"));

        let wrong = Login::new(user, Some(crate::config::Secret::new("wrong")));
        let error = connect(postgres.server(), &wrong).await.unwrap_err();
        assert_eq!(error.code, SqlState::INVALID_PASSWORD, "{error}");
        assert_eq!(error.severity, crate::error::Severity::Error);
        assert!(error.detail.unwrap().contains("\"s0\""));

        let error = connect(postgres.server(), &Login::new(user, None)).await.unwrap_err();
        assert_eq!(error.code, SqlState::CONNECTION_FAILURE, "{error}");
    }
    let error = connect(postgres.server(), &login("clear")).await.unwrap_err();
    assert!(error.detail.unwrap().contains("in clear"));

    let error = connect(Server { database: "nowhere".into(), ..postgres.server() }, &login("app")).await.unwrap_err();
    assert_eq!(error.code, SqlState::UNDEFINED_DATABASE);

    let socket = Server { host: postgres.socket_folder(), sslmode: SslMode::VerifyFull, ..postgres.server() };
    assert_eq!(one(&mut connect(socket, &login("app")).await.unwrap(), who).await, "app goldseam");
}

#[tokio::test]
async fn tls_modes_trust_whom_they_should() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    let (certificate, key) = issue(&authority, "127.0.0.1");
    let postgres = Postgres::start_tls(&[], Some((&certificate, &key)));
    let (other_certificate, other_key) = issue(&authority, "elsewhere.example");
    let elsewhere = Postgres::start_tls(&[], Some((&other_certificate, &other_key)));

    let good = folder.path().join("good.pem");
    std::fs::write(&good, authority.0.pem()).unwrap();
    let stranger = folder.path().join("stranger.pem");
    std::fs::write(&stranger, self::authority().0.pem()).unwrap();

    let plain = Postgres::start();
    use SslMode::*;
    // Who is asked, how, with which authority: whether it succeeds, and over TLS.
    type Case<'a> = (&'a str, &'a Postgres, SslMode, Option<&'a std::path::Path>, Option<bool>);
    let cases: &[Case] = &[
        ("disable is in clear", &postgres, Disable, None, Some(false)),
        ("prefer takes TLS", &postgres, Prefer, None, Some(true)),
        ("prefer does without", &plain, Prefer, None, Some(false)),
        ("require believes anybody", &postgres, Require, None, Some(true)),
        ("require needs TLS", &plain, Require, None, None),
        ("require with an authority checks it", &postgres, Require, Some(&stranger), None),
        ("verify-ca knows the authority", &postgres, VerifyCa, Some(&good), Some(true)),
        ("verify-ca does not look at the name", &elsewhere, VerifyCa, Some(&good), Some(true)),
        ("verify-ca refuses a stranger", &postgres, VerifyCa, Some(&stranger), None),
        ("verify-full looks at the name", &postgres, VerifyFull, Some(&good), Some(true)),
        ("verify-full refuses another name", &elsewhere, VerifyFull, Some(&good), None),
        ("verify-full refuses a stranger", &postgres, VerifyFull, Some(&stranger), None),
        ("verify-full asks the system without a file", &postgres, VerifyFull, None, None),
    ];
    for (case, at, sslmode, root, expected) in cases {
        let server = Server { sslmode: *sslmode, sslrootcert: root.map(Into::into), ..at.server() };
        match (connect(server, &login("scram")).await, expected) {
            (Ok(mut backend), Some(tls)) => {
                assert_eq!(backend.stream.is_tls(), *tls, "{case}");
                let bulk = one(&mut backend, "select repeat('x', 300000)").await;
                assert_eq!(bulk.len(), 300_000, "{case}");
            }
            (Err(error), None) => assert_eq!(error.code, SqlState::CONNECTION_FAILURE, "{case}: {error}"),
            (result, _) => panic!("{case}: {result:?}"),
        }
    }

    // A role that only TLS connections may take: `allow` gets there in its second attempt.
    let allow = Server { sslmode: Allow, ..postgres.server() };
    assert!(connect(allow, &login("scram_tls")).await.unwrap().stream.is_tls());
}

/// An authority and its key.
fn authority() -> (rcgen::Certificate, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    (certificate, rcgen::Issuer::new(params, key))
}

fn issue(authority: &(rcgen::Certificate, rcgen::Issuer<'static, rcgen::KeyPair>), name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new([name.to_string()]).unwrap();
    (params.signed_by(&key, &authority.1).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn servers_that_misbehave_are_08006_in_time() {
    // What the server does with a connection, and what the error says.
    type Reply = &'static [u8];
    let cases: &[(&str, Option<Reply>, &str)] = &[
        ("closes at once", Some(b""), "closed the connection"),
        ("speaks HTTP", Some(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not speak PostgreSQL's protocol"),
        ("claims 4 GB", Some(b"R\xff\xff\xff\xff"), "does not speak PostgreSQL's protocol"),
        ("claims 1 MB before the login", Some(b"R\0\x10\0\0"), "does not speak PostgreSQL's protocol"),
        ("cuts a message", Some(b"R\0\0\0\x08\0\0"), "closed the connection"),
        ("asks for Kerberos", Some(b"R\0\0\0\x08\0\0\0\x02"), "authentication method (2)"),
        ("asks for the password in clear", Some(b"R\0\0\0\x08\0\0\0\x03"), "in clear"),
        ("offers unknown SASL", Some(b"R\0\0\0\x0b\0\0\0\x0aX\0\0"), "no SASL mechanism"),
        ("ends SCRAM before it began", Some(b"R\0\0\0\x0a\0\0\0\x0cv="), "out of order"),
        (
            "skips the end of SCRAM",
            Some(b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0R\0\0\0\x08\0\0\0\0"),
            "before it had finished",
        ),
        ("sends a row during login", Some(b"D\0\0\0\x06\0\0"), "unexpected message"),
        ("says nothing", None, "no answer within"),
    ];
    for (case, reply, expected) in cases {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let reply = *reply;
        let task = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buf = [0; 1024];
            let _ = socket.read(&mut buf).await;
            match reply {
                Some(reply) => {
                    let _ = socket.write_all(reply).await;
                    let _ = socket.shutdown().await;
                    while socket.read(&mut buf).await.is_ok_and(|count| count > 0) {}
                }
                None => std::future::pending().await,
            }
        });
        let connector = Connector::new(ShardId(0), "s0".into(), server("127.0.0.1", port));
        let options = ConnectOptions { timeout: Duration::from_millis(300), ..options() };
        let begin = Instant::now();
        let error = Backend::connect(&connector, &login("app"), &options).await.unwrap_err();
        assert_eq!(error.code, SqlState::CONNECTION_FAILURE, "{case}: {error}");
        let detail = error.detail.unwrap();
        assert!(detail.contains(expected), "{case}: {detail}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{case}");
        task.abort();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = connect(server("127.0.0.1", port), &login("app")).await.unwrap_err();
    assert!(error.detail.unwrap().contains("refused"));
}

#[tokio::test]
async fn our_own_statements() {
    let postgres = Postgres::start();
    let mut backend = postgres.connect("postgres").await;
    let rows = backend.query("select 1, null; create table t (a int, b text); select 'x'").await.unwrap();
    assert_eq!(rows, [[Some("x".to_string())]]);

    assert_eq!(backend.copy_in("copy t from stdin", b"1\ta\n2\tb\n3\t\\N\n").await.unwrap(), "COPY 3");
    let rows = backend
        .query_params("select b from t where a = $1 or b is not distinct from $2 order by a", &[Some("2"), None]);
    assert_eq!(rows.await.unwrap(), [[Some("b".to_string())], [None]]);

    let error = backend.query("select 1; select * from missing").await.unwrap_err();
    assert_eq!((error.code, error.detail.as_deref()), (SqlState::UNDEFINED_TABLE, Some("Shard \"s0\".")));
    let error = backend.query("copy t from stdin").await.unwrap_err();
    assert_eq!(error.code.as_str(), "57014");
    assert!(backend.is_clean() && backend.is_alive());
    backend.ping().await.unwrap();

    backend.query("begin").await.unwrap();
    assert_eq!((backend.transaction, backend.is_clean()), (b'T', false));
    backend.query("oops").await.unwrap_err();
    assert_eq!(backend.transaction, b'E');
    backend.query("rollback").await.unwrap();
    assert!(backend.is_clean());
}

#[tokio::test]
async fn a_running_statement_is_cancelled_and_a_dropped_one_leaves_the_connection_unclean() {
    let postgres = Postgres::start();
    let mut backend = postgres.connect("app").await;
    let (connector, pid, secret) = backend.cancel_key();
    let begin = Instant::now();
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel(&connector, pid, &secret, Duration::from_secs(5)).await
    });
    let error = backend.query("select pg_sleep(20)").await.unwrap_err();
    assert_eq!((error.code, begin.elapsed() < Duration::from_secs(10)), (SqlState::QUERY_CANCELED, true));
    canceller.await.unwrap().unwrap();

    assert!(tokio::time::timeout(Duration::from_millis(50), backend.query("select pg_sleep(1)")).await.is_err());
    assert!(!backend.is_clean());
}

#[tokio::test]
async fn an_idle_connection_knows_when_it_has_died_and_hears_reports() {
    let mut postgres = Postgres::start();
    let mut backend = postgres.connect("app").await;
    postgres.sql("alter system set timezone = 'Asia/Tokyo'");
    postgres.sql("select pg_reload_conf()");
    // Servers report such a change only before their next ReadyForQuery.
    let until = Instant::now() + Duration::from_secs(5);
    while backend.parameters.get("TimeZone") != Some("Asia/Tokyo") && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
        backend.ping().await.unwrap();
    }
    assert_eq!(backend.parameters.get("TimeZone"), Some("Asia/Tokyo"));
    backend.query("listen news").await.unwrap();
    postgres.sql("notify news");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(backend.is_alive() && backend.is_clean());
    postgres.crash();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!backend.is_alive());
    assert_eq!(backend.query("select 1").await.unwrap_err().code, SqlState::CONNECTION_FAILURE);
}

#[tokio::test]
async fn much_can_be_sent_while_much_comes_back() {
    let postgres = Postgres::start();
    let mut backend = postgres.connect("app").await;
    let big = "x".repeat(20_000);
    let mut requests = bytes::BytesMut::new();
    for _ in 0..500 {
        crate::protocol::request::query(&mut requests, &format!("select '{big}'"));
    }
    backend.in_flight = 500;
    backend.send_now(&requests).unwrap();
    assert!(backend.wants_send(), "10 MB do not fit into a socket at once");
    while backend.in_flight > 0 {
        std::future::poll_fn(|cx| {
            if backend.wants_send() {
                let _ = backend.poll_send(cx).map(Result::unwrap);
            }
            backend.poll_fill(cx)
        })
        .await
        .unwrap();
        while backend.peek_frame().unwrap().is_some() {
            backend.next_message().await.unwrap();
        }
    }
    assert!(backend.is_clean());
    backend.shrink();
    assert!(backend.incoming.capacity() <= 8192 && backend.outgoing.capacity() == 0);
}

#[tokio::test]
async fn settings_follow_the_session_and_never_leak() {
    let postgres = Postgres::start();
    postgres.sql("create role boss superuser; grant boss to app; create schema a; create schema b");
    let mut backend = postgres.connect("postgres").await;
    let show =
        "select concat_ws('|', session_user, current_user, current_setting('search_path'), current_setting('TimeZone'),
                current_setting('application_name'), current_setting('my.own', true))";
    let plain = one(&mut backend, show).await;

    let mut some = Settings::default();
    some.set_sql("search_path", "a, b");
    some.set_sql("TimeZone", "INTERVAL '+02:00' HOUR TO MINUTE");
    some.set_plain("application_name", r"it's \ mine");
    some.set_sql("my.own", "'x'");
    some.set_sql("session_authorization", "app");
    some.set_sql("role", "'reader'");
    let some = Arc::new(some);
    backend.sync_settings(&some).await.unwrap();
    assert_eq!(one(&mut backend, show).await, r"app|reader|a, b|<+02>-02|it's \ mine|x");
    assert_eq!(backend.parameters.get("application_name"), Some(r"it's \ mine"));

    let mut other = (*some).clone();
    other.reset("role");
    other.set_plain("search_path", "b, a");
    other.reset("timezone");
    backend.sync_settings(&Arc::new(other)).await.unwrap();
    assert!(one(&mut backend, show).await.starts_with("app|app|b, a|"));

    backend.sync_settings(&Settings::none()).await.unwrap();
    assert_eq!(one(&mut backend, show).await, plain + "|", "a placeholder stays, empty");

    // A setting that fails takes the others back with it.
    let mut bad = Settings::default();
    bad.set_sql("search_path", "a");
    bad.set_sql("work_mem", "'lots'");
    let error = backend.sync_settings(&Arc::new(bad)).await.unwrap_err();
    assert_eq!(error.code.as_str(), "22023");
    assert!(backend.settings.is_empty() && backend.is_clean());
    assert_eq!(one(&mut backend, "show search_path").await, "\"$user\", public");

    // What needed a role's rights is set again under that role.
    let mut app = postgres.connect("app").await;
    let mut with_role = Settings::default();
    with_role.set_sql("role", "boss");
    with_role.set_sql("log_statement", "'all'");
    app.sync_settings(&Arc::new(with_role)).await.unwrap();
    assert_eq!(one(&mut app, "show log_statement").await, "all");
}
