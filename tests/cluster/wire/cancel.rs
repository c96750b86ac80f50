//! CancelRequest: the right statement, and no other.

use std::io::{Read, Write};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use goldseam::cli::demo::load::{DATABASE, PASSWORD, USER};

use super::raw::{Message, Raw, query, socket};
use super::startup::proxy;

/// A proxy that has one server connection for each shard.
fn narrow() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| proxy("wire_narrow", ("", ""), "[pool]\nsize = 1\nmax_shard_connections = 1\nmin_idle = 0\n"))
}

fn client() -> Raw {
    Raw::connect(narrow(), USER, PASSWORD, DATABASE)
}

/// Asks for the end of whatever runs under this key; the only answer is the end of the stream.
fn cancel(pid: i32, secret: &[u8]) {
    let mut stream = socket(narrow());
    let mut request = (12 + secret.len() as i32).to_be_bytes().to_vec();
    request.extend(80_877_102i32.to_be_bytes());
    request.extend(pid.to_be_bytes());
    request.extend(secret);
    stream.write_all(&request).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "a cancel request is not answered");
}

fn codes(messages: &[Message]) -> Vec<String> {
    messages.iter().filter(|message| message.tag == b'E').map(|message| message.field(b'C')).collect()
}

/// The tests share the one connection, so they must not be each other's noise.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[test]
fn the_running_statement_ends() {
    let _alone = alone();
    let mut client = client();
    let (pid, secret) = client.key.clone();
    let begin = Instant::now();
    client.send(&query("SELECT pg_sleep(30) FROM customers WHERE id = 42"));
    std::thread::sleep(Duration::from_millis(400));
    cancel(pid, &secret);
    assert_eq!(codes(&client.until(b'Z', 1)), ["57014"]);
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert_eq!(client.rows("SELECT id FROM customers WHERE id = 42"), ["42"], "the session lives on");
    // In a transaction the error fails it, and only it.
    client.query("BEGIN");
    client.send(&query("SELECT pg_sleep(30) FROM customers WHERE id = 42"));
    std::thread::sleep(Duration::from_millis(400));
    cancel(pid, &secret);
    let seen = client.until(b'Z', 1);
    assert_eq!((codes(&seen), seen.last().unwrap().body.as_slice()), (vec!["57014".to_string()], &b"E"[..]));
    client.query("ROLLBACK");
    assert_eq!(client.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
}

#[test]
fn a_wrong_key_does_nothing() {
    let _alone = alone();
    let mut client = client();
    let (pid, secret) = client.key.clone();
    client.send(&query("SELECT pg_sleep(2) FROM customers WHERE id = 42"));
    std::thread::sleep(Duration::from_millis(300));
    let mut other = secret.clone();
    other[0] ^= 1;
    for (pid, secret) in
        [(pid, other.as_slice()), (pid, &secret[..3]), (pid + 1, &secret), (0, &[0; 4]), (-1, &[0xff; 4])]
    {
        // Fewer than four bytes are not even a cancel request.
        if secret.len() >= 4 {
            cancel(pid, secret);
        }
    }
    cancel(pid, &[secret.as_slice(), b"more"].concat());
    assert_eq!(codes(&client.until(b'Z', 1)), Vec::<String>::new());
}

#[test]
fn a_cancel_that_comes_late_hurts_nobody_else() {
    let _alone = alone();
    let (mut first, mut second) = (client(), client());
    assert_eq!(first.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
    let (pid, secret) = first.key.clone();
    // The one connection is the second client's now.
    second.send(&query("SELECT pg_sleep(1) FROM customers WHERE id = 42"));
    std::thread::sleep(Duration::from_millis(300));
    cancel(pid, &secret);
    assert_eq!(codes(&second.until(b'Z', 1)), Vec::<String>::new());
    assert_eq!(first.rows("SELECT id FROM customers WHERE id = 42"), ["42"], "nor is it kept for later");
    first.query("BEGIN");
    cancel(pid, &secret);
    assert_eq!(first.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
    cancel(pid, &secret);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(
        first.rows("SELECT id FROM customers WHERE id = 42"),
        ["42"],
        "an idle transaction has nothing to cancel"
    );
    first.query("COMMIT");
}

#[test]
fn a_storm_of_cancels_hits_only_whom_it_is_meant_for() {
    let _alone = alone();
    let (mut first, mut second) = (client(), client());
    let (pid, secret) = first.key.clone();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                cancel(pid, &secret);
            }
        });
        let busy = scope.spawn(|| {
            for _ in 0..150 {
                let seen = first.query("SELECT id FROM customers WHERE id = 42");
                assert!(codes(&seen).iter().all(|code| code == "57014"), "{seen:?}");
                assert_eq!(seen.last().unwrap().shown(), "Z I");
            }
        });
        for n in 0..150 {
            let seen = second.query("SELECT id, pg_sleep(0.001) FROM customers WHERE id = 42");
            assert_eq!(codes(&seen), Vec::<String>::new(), "{n}: {seen:?}");
        }
        let outcome = busy.join();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        storm.join().unwrap();
        outcome.unwrap();
    });
}

#[test]
fn a_statement_that_waits_for_a_connection_can_be_cancelled() {
    let _alone = alone();
    let (mut holder, mut waiting) = (client(), client());
    holder.query("BEGIN");
    assert_eq!(holder.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
    let (pid, secret) = waiting.key.clone();
    waiting.send(&query("SELECT id FROM customers WHERE id = 42"));
    std::thread::sleep(Duration::from_millis(300));
    cancel(pid, &secret);
    assert_eq!(codes(&waiting.until(b'Z', 1)), ["57014"]);
    assert_eq!(holder.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
    holder.query("COMMIT");
    assert_eq!(waiting.rows("SELECT id FROM customers WHERE id = 42"), ["42"]);
}
