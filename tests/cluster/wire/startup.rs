//! Before a session: what strangers may say, and what becomes of them when they say something else.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use goldseam::cli::demo::load::{DATABASE, PASSWORD, USER};
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, SCRAM_SHA_256_PLUS};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::raw::{Message, Raw, message, query, socket, startup};
use crate::fixture;

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// A proxy of its own over the fixture's shards: the same configuration with some of it replaced, and more at its end.
pub fn proxy(name: &str, replace: (&str, &str), more: &str) -> u16 {
    let fixture = fixture::get();
    let text = std::fs::read_to_string(&fixture.config).unwrap();
    let folder = fixture.config.parent().unwrap();
    std::fs::create_dir_all(folder.join(name)).unwrap();
    let text = text.replace("data_dir = \"data\"", &format!("data_dir = \"{name}\"")).replace(replace.0, replace.1);
    let config = folder.join(format!("{name}.toml"));
    std::fs::write(&config, format!("{text}\n{more}\n")).unwrap();
    std::thread::spawn(move || fixture.runtime.block_on(fixture::start_proxy(&config))).join().unwrap()
}

/// A proxy that insists on TLS, and its certificate.
fn tls_proxy() -> (u16, CertificateDer<'static>) {
    static PROXY: OnceLock<(u16, CertificateDer<'static>)> = OnceLock::new();
    let start = || {
        let folder = fixture::get().config.parent().unwrap();
        let certificate = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        std::fs::write(folder.join("wire.crt"), certificate.cert.pem()).unwrap();
        std::fs::write(folder.join("wire.key"), certificate.signing_key.serialize_pem()).unwrap();
        let more = "[tls]\ncert = \"wire.crt\"\nkey = \"wire.key\"\nrequired = true\n";
        let der = CertificateDer::from_pem_slice(certificate.cert.pem().as_bytes()).unwrap();
        (proxy("wire_tls", ("", ""), more), der)
    };
    PROXY.get_or_init(start).clone()
}

/// A TLS connection on which nothing has been said.
fn over_tls() -> (Raw<StreamOwned<ClientConnection, TcpStream>>, CertificateDer<'static>) {
    let (port, certificate) = tls_proxy();
    let mut stream = socket(port);
    stream.write_all(&SSL_REQUEST).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"S");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    (Raw::new(StreamOwned::new(connection, stream)), certificate)
}

fn hello() -> Vec<u8> {
    startup(0, &[("user", USER), ("database", DATABASE)]).to_vec()
}

fn binding(certificate: &CertificateDer<'_>) -> ChannelBinding {
    let hash = ring::digest::digest(&ring::digest::SHA256, certificate);
    ChannelBinding::tls_server_end_point(hash.as_ref().to_vec())
}

/// The proxy serves others as before.
fn lives(port: u16) {
    let mut client = Raw::connect(port, USER, PASSWORD, DATABASE);
    assert_eq!(client.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
}

/// What a stranger gets for these bytes, up to the end of the stream, which must come.
fn farewell(port: u16, bytes: &[u8]) -> Vec<Message> {
    let mut raw = Raw::new(socket(port));
    raw.send(bytes);
    let mut seen = raw.until(b'\0', 1);
    let last = seen.pop().unwrap();
    assert_eq!(last.body, b"the end of the stream", "the connection stays open after {seen:?}");
    seen
}

fn refused(port: u16, bytes: &[u8], code: &str) -> Message {
    let seen = farewell(port, bytes);
    let error = seen.last().unwrap_or_else(|| panic!("no word before the end")).clone();
    assert_eq!((error.tag, error.field(b'S').as_str(), error.field(b'C').as_str()), (b'E', "FATAL", code), "{seen:?}");
    error
}

#[test]
fn newer_protocols_and_unknown_options_are_negotiated_as_postgresql_does() {
    let fixture = fixture::get();
    let sent: [(i32, &[(&str, &str)]); 4] = [
        (2, &[]),
        (9, &[]),
        (0, &[("_pq_.sparkle", "on")]),
        (2, &[("_pq_.sparkle", "on"), ("_pq_.shine", "1"), ("application_name", "wire")]),
    ];
    for (minor, more) in sent {
        let parameters = [&[("user", USER), ("database", DATABASE)], more].concat();
        let [ours, theirs] = [fixture.proxy_port, fixture.oracle_port()].map(|port| {
            let mut raw = Raw::new(socket(port));
            raw.send(&startup(minor, &parameters));
            let seen = raw.log_in(PASSWORD).unwrap();
            assert_eq!(raw.rows("SELECT 1"), ["1"]);
            seen
        });
        assert_eq!(ours[0].tag, b'v', "{ours:?}");
        assert_eq!(ours[0].shown(), theirs[0].shown(), "3.{minor} {more:?}");
    }
    let mut plain = Raw::new(socket(fixture.proxy_port));
    plain.send(&hello());
    assert!(plain.log_in(PASSWORD).unwrap().iter().all(|message| message.tag != b'v'), "3.0 needs no negotiation");
}

#[test]
fn a_login_reports_what_postgresql_reports() {
    let fixture = fixture::get();
    let [ours, theirs] = [fixture.proxy_port, fixture.oracle_port()].map(|port| {
        let mut raw = Raw::new(socket(port));
        let parameters =
            [("user", USER), ("database", DATABASE), ("application_name", "wire"), ("DateStyle", "German")];
        raw.send(&startup(0, &parameters));
        let seen = raw.log_in(PASSWORD).unwrap();
        let mut reported: Vec<String> = seen.iter().filter(|m| m.tag == b'S').map(Message::shown).collect();
        reported.sort();
        let rest: Vec<u8> = seen.iter().map(|m| m.tag).filter(|tag| !b"RS".contains(tag)).collect();
        (reported, rest)
    });
    assert_eq!(ours, theirs);
}

#[test]
fn requests_for_encryption_that_is_not_offered_are_declined_and_the_login_goes_on() {
    let port = fixture::get().proxy_port;
    let mut raw = Raw::new(socket(port));
    for request in [GSSENC_REQUEST, SSL_REQUEST] {
        raw.send(&request);
        let mut answer = [0];
        raw.stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"N");
    }
    raw.send(&hello());
    raw.log_in(PASSWORD).unwrap();
    assert_eq!(raw.rows("SELECT 1"), ["1"]);
}

#[test]
fn whatever_comes_along_with_a_request_for_encryption_is_refused() {
    let (tls, _) = tls_proxy();
    for port in [tls, fixture::get().proxy_port] {
        for request in [SSL_REQUEST, GSSENC_REQUEST] {
            refused(port, &[&request[..], &hello()].concat(), "08P01");
            refused(port, &[&request[..], b"x"].concat(), "08P01");
        }
    }
}

#[test]
fn tls_with_and_without_channel_binding() {
    for bound in [false, true] {
        let (mut raw, certificate) = over_tls();
        raw.send(&hello());
        let seen = match bound {
            true => raw.log_in_bound(PASSWORD, binding(&certificate), SCRAM_SHA_256_PLUS),
            false => raw.log_in_bound(PASSWORD, ChannelBinding::unsupported(), SCRAM_SHA_256),
        };
        let seen = seen.unwrap();
        assert_eq!(seen[0].body[4..], *b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", "offered");
        assert_eq!(raw.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
    }
}

#[test]
fn a_binding_to_another_channel_and_a_downgrade_are_refused() {
    let (mut raw, _) = over_tls();
    raw.send(&hello());
    let other = CertificateDer::from(b"another certificate".to_vec());
    let error = raw.log_in_bound(PASSWORD, binding(&other), SCRAM_SHA_256_PLUS).unwrap_err();
    assert_eq!(error.tag, b'E', "{error:?}");
    // "I could bind, but you cannot": someone in between took the offer away.
    let (mut raw, _) = over_tls();
    raw.send(&hello());
    let error = raw.log_in_bound(PASSWORD, ChannelBinding::unrequested(), SCRAM_SHA_256).unwrap_err();
    assert_eq!(error.tag, b'E', "{error:?}");
}

#[test]
fn a_plain_login_is_refused_where_tls_is_required() {
    refused(tls_proxy().0, &hello(), "28000");
    let (mut raw, _) = over_tls();
    raw.send(&SSL_REQUEST);
    let mut answer = [0];
    raw.stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, *b"N", "no TLS within TLS");
}

/// All that a stranger can see of a login that fails, with the name taken out.
fn failed_login(user: &str, password: &str) -> (Vec<String>, Vec<u8>) {
    let mut raw = Raw::new(socket(fixture::get().proxy_port));
    raw.send(&startup(0, &[("user", user), ("database", DATABASE)]));
    let mut seen = Vec::new();
    let mut scram =
        postgres_protocol::authentication::sasl::ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    seen.push(raw.next().unwrap().shown());
    let data = scram.message();
    let length = (data.len() as i32).to_be_bytes();
    raw.send(&message(b'p', &[b"SCRAM-SHA-256\0", &length[..], data].concat()));
    let challenge = raw.next().unwrap();
    let text = String::from_utf8_lossy(&challenge.body[4..]).into_owned();
    let part = |name: &str| text.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
    let (salt, nonce) = (part("s="), part("r="));
    seen.push(format!("{} salt of {} nonce of {}, {}", challenge.tag as char, salt.len(), nonce.len(), part("i=")));
    scram.update(&challenge.body[4..]).unwrap();
    let answer = scram.message().to_vec();
    raw.send(&message(b'p', &answer));
    seen.extend(raw.until(b'E', 1).iter().map(|message| message.shown().replace(user, "?")));
    assert!(raw.next().is_none());
    (seen, salt.into_bytes())
}

#[test]
fn a_wrong_password_and_an_unknown_user_look_alike() {
    let (wrong, salt) = failed_login(USER, "wrong");
    let (unknown, other) = failed_login("nobody", "wrong");
    assert_eq!(wrong, unknown);
    assert!(wrong.last().unwrap().contains("28P01"), "{wrong:?}");
    assert_eq!(failed_login(USER, "wrong").1, salt, "a known user's salt is always the same");
    assert_eq!(failed_login("nobody", PASSWORD).1, other, "and so is an unknown one's");
    assert_ne!(salt, other);
}

#[test]
fn a_second_startup_message_in_the_middle_of_a_login_is_refused() {
    let port = fixture::get().proxy_port;
    let mut raw = Raw::new(socket(port));
    raw.send(&hello());
    assert_eq!(raw.next().unwrap().tag, b'R');
    raw.send(&hello());
    let end = raw.until(b'\0', 1);
    assert_eq!((end[0].tag, end[0].field(b'C').as_str()), (b'E', "08P01"), "{end:?}");
    assert_eq!(end.len(), 2, "{end:?}");
    // Together with the first one, too.
    refused(port, &[hello(), hello()].concat(), "08P01");
    // And nothing else is heard before the login is done.
    for early in
        [query("SELECT 1"), message(b'X', b""), message(b'S', b""), message(b'p', b""), message(b'p', b"X\0\0\0\0\0")]
    {
        let mut raw = Raw::new(socket(port));
        raw.send(&hello());
        assert_eq!(raw.next().unwrap().tag, b'R');
        raw.send(&early);
        let end = raw.until(b'\0', 1);
        assert_eq!((end[0].tag, end[0].field(b'C').as_str()), (b'E', "08P01"), "{early:?} {end:?}");
        assert_eq!(end.len(), 2, "{end:?}");
    }
    lives(port);
}

#[test]
fn startup_messages_that_cannot_be_served_are_refused_with_their_reason() {
    let port = fixture::get().proxy_port;
    let with = |more: &[(&str, &str)]| startup(0, &[&[("user", USER), ("database", DATABASE)], more].concat()).to_vec();
    for value in ["true", "database", "on", "1", "yes"] {
        refused(port, &with(&[("replication", value)]), "0A000");
    }
    refused(port, &startup(0, &[]), "28000");
    refused(port, &startup(0, &[("user", "")]), "28000");
    refused(port, &with(&[("options", "-c")]), "42601");
    let mut raw = Raw::new(socket(port));
    raw.send(&startup(0, &[("user", USER), ("database", "elsewhere")]));
    assert_eq!(raw.log_in(PASSWORD).unwrap_err().field(b'C'), "3D000");
    let mut raw = Raw::new(socket(port));
    raw.send(&with(&[("no_such_setting", "1")]));
    assert_eq!(raw.log_in(PASSWORD).unwrap_err().field(b'C'), "42704");
    let mut raw = Raw::new(socket(port));
    raw.send(&with(&[("work_mem", "a lot")]));
    assert_eq!(raw.log_in(PASSWORD).unwrap_err().field(b'C'), "22023");
    lives(port);
}

#[test]
fn who_does_not_log_in_in_time_is_dropped() {
    // Long enough for an honest login beside all the other tests.
    let port = proxy("wire_hasty", ("", ""), "[limits]\nlogin_timeout = \"3s\"\n");
    let hello = hello();
    for said in [&b""[..], &hello[..3], &hello[..20], &hello] {
        let begin = Instant::now();
        let mut raw = Raw::new(socket(port));
        raw.send(said);
        while raw.next().is_some_and(|message| message.tag != b'!') {}
        let waited = begin.elapsed();
        assert!(waited > Duration::from_millis(2_700) && waited < Duration::from_secs(8), "{said:?}: {waited:?}");
    }
    // One byte now and then is no excuse.
    let mut slow = socket(port);
    let begin = Instant::now();
    while slow.write_all(&hello[..1]).is_ok() && begin.elapsed() < Duration::from_secs(8) {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(begin.elapsed() < Duration::from_secs(8));
    // Who has logged in is not hurried.
    let mut client = Raw::connect(port, USER, PASSWORD, DATABASE);
    std::thread::sleep(Duration::from_millis(3_500));
    assert_eq!(client.rows("SELECT 1"), ["1"]);
}

#[test]
fn strangers_of_other_protocols_are_turned_away() {
    let port = fixture::get().proxy_port;
    refused(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "08P01");
    refused(port, b"SSH-2.0-OpenSSH_9.2\r\n", "08P01");
    refused(port, &[0xff; 64], "08P01");
    refused(port, &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0], "08P01");
    refused(port, &[0, 0, 0, 8, 0, 2, 0, 0], "0A000");
    refused(port, &[0, 0, 0, 8, 0, 4, 0, 0], "0A000");
    refused(port, &[0, 0, 0, 4, 0, 3, 0, 0], "08P01");
    // A TLS handshake without asking for it.
    refused(port, &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3], "08P01");
    lives(port);
}

/// This process's memory, in which the proxy runs.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Other tests of this process run beside, though not those of large input.
const NOISE: u64 = 100 << 20;

#[test]
fn a_frame_of_4_gb_costs_nothing() {
    let port = fixture::get().proxy_port;
    let _quiet = super::raw::quiet();
    let before = resident();
    for tag in [b'Q', b'P', b'B', b'd', b'S', b'p'] {
        for length in [[0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 3], [0; 4]] {
            let mut client = Raw::connect(port, USER, PASSWORD, DATABASE);
            client.send(&[&[tag][..], &length, b"SELECT 1\0"].concat());
            let end = client.until(b'\0', 1);
            assert_eq!((end[0].tag, end[0].field(b'C').as_str()), (b'E', "08P01"), "{tag} {length:?} {end:?}");
        }
    }
    // A gigabyte announced, and not sent.
    let waiting: Vec<Raw> = (0..8)
        .map(|_| {
            let mut client = Raw::connect(port, USER, PASSWORD, DATABASE);
            client.send(&[b'Q', 0x3f, 0xff, 0xff, 0xff, b'S']);
            client
        })
        .collect();
    lives(port);
    let grown = resident().saturating_sub(before);
    assert!(grown < NOISE, "{} MB more", grown >> 20);
    drop(waiting);
}

/// A small generator, the same in every run (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}

/// A session that is well formed and only reads.
fn session() -> Vec<Vec<u8>> {
    let parse = |name: &str, sql: &str| message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes());
    let bind = |name: &str, value: &str| {
        let head = format!("\0{name}\0\0\0\0\x01\0\0\0{}{value}\0\0", value.len() as u8 as char);
        message(b'B', head.as_bytes())
    };
    let execute = || message(b'E', b"\0\0\0\0\0");
    vec![
        query("SELECT id FROM customers WHERE id = 42"),
        parse("s", "SELECT id, name FROM customers WHERE id = $1"),
        message(b'D', b"Ss\0"),
        message(b'H', b""),
        bind("s", "42"),
        message(b'D', b"P\0"),
        execute(),
        message(b'S', b""),
        query("BEGIN"),
        query("SET LOCAL work_mem = '1MB'; SELECT 1"),
        parse("", "SELECT count(*) FROM orders WHERE customer_id = $1"),
        bind("", "7"),
        message(b'E', b"\0\0\0\0\x01"),
        message(b'C', b"P\0"),
        message(b'S', b""),
        query("COPY (SELECT 1) TO STDOUT"),
        query("COMMIT"),
        message(b'C', b"Ss\0"),
        message(b'S', b""),
    ]
}

fn mutated(dice: &mut Dice, mut messages: Vec<Vec<u8>>) -> Vec<u8> {
    for _ in 0..dice.below(3) {
        if messages.len() < 2 {
            break;
        }
        let (a, b) = (dice.below(messages.len()), dice.below(messages.len()));
        match dice.below(3) {
            0 => messages.swap(a, b),
            1 => drop(messages.remove(a)),
            _ => messages.insert(a, messages[b].clone()),
        }
    }
    let mut bytes = messages.concat();
    for _ in 0..1 + dice.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = dice.below(bytes.len());
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.below(256) as u8,
            2 => drop(bytes.drain(at..(at + 1 + dice.below(8)).min(bytes.len()))),
            3 => bytes.insert(at, dice.below(256) as u8),
            4 => bytes[at] = [0, 0x7f, 0x80, 0xff][dice.below(4)],
            _ => bytes.truncate(at + 1),
        }
    }
    bytes
}

#[test]
fn hundreds_of_damaged_sessions_leave_the_proxy_as_it_was() {
    let port = proxy("wire_trusting", ("\"scram-sha-256\"", "\"trust\""), "");
    lives(port);
    let _quiet = super::raw::quiet();
    let before = resident();
    let mut dice = Dice(0x601d_5ea3);
    for round in 0..500 {
        let mut bytes = hello();
        let login = round % 5 == 0;
        if login {
            // The damage is in the login itself.
            bytes = mutated(&mut dice, vec![bytes]);
        }
        bytes_to(port, login, &bytes, &mutated(&mut dice, session()), round);
        if round % 100 == 0 {
            lives(port);
        }
    }
    lives(port);
    let grown = resident().saturating_sub(before);
    assert!(grown < NOISE, "{} MB more", grown >> 20);
}

/// Says hello and then the rest, hangs up, and reads to the end, which must come.
fn bytes_to(port: u16, damaged: bool, hello: &[u8], rest: &[u8], round: usize) {
    let mut raw = Raw::new(socket(port));
    raw.send(hello);
    if !damaged {
        let seen = raw.until(b'Z', 1);
        assert_eq!(seen.last().unwrap().tag, b'Z', "{round}: {seen:?}");
        raw.send(rest);
    }
    let _ = raw.stream.shutdown(Shutdown::Write); // it may have hung up
    let mut buffer = [0; 4096];
    loop {
        match raw.stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("round {round}: the proxy does not hang up; {}", rest.escape_ascii())
            }
            Err(_) => break,
        }
    }
}
