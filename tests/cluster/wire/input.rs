//! Input that no sane client sends: each gets an error with its SQLSTATE, and the connection lives on.

use goldseam::cli::demo::load::{DATABASE, PASSWORD, USER};

use super::raw::{Message, Raw, message, query};
use crate::fixture;

fn client() -> Raw {
    let client = Raw::connect(fixture::get().proxy_port, USER, PASSWORD, DATABASE);
    client.stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    client
}

fn parse(sql: &str) -> Vec<u8> {
    [message(b'P', format!("\0{sql}\0\0\0").as_bytes()), message(b'S', b"")].concat()
}

fn error(messages: &[Message]) -> String {
    messages.iter().find(|message| message.tag == b'E').map(|message| message.field(b'C')).unwrap_or_default()
}

#[test]
fn statements_that_would_exhaust_the_stack_are_refused() {
    let keyed = "SELECT id FROM customers WHERE";
    let texts: Vec<(&str, String)> = vec![
        ("100,000 parentheses", format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000))),
        ("100,000 open parentheses", format!("SELECT {}", "(".repeat(100_000))),
        ("100,000 parentheses around a key", format!("{keyed} id = {}1{}", "(".repeat(100_000), ")".repeat(100_000))),
        ("40,000 OR terms", format!("{keyed} id = 1{}", " OR id = 1".repeat(40_000))),
        ("40,000 OR terms with AND", format!("{keyed} id = 1 AND (id = 1{})", " OR id = 1".repeat(40_000))),
        ("40,000 terms of a sum", format!("{keyed} id = 1{}", " + 1".repeat(40_000))),
        ("100,000 NOT", format!("{keyed} {} true", "NOT ".repeat(100_000))),
        ("100,000 minus signs", format!("{keyed} id = {}1", "- ".repeat(100_000))),
        ("20,000 UNION arms", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(20_000))),
        ("50,000 brackets", format!("SELECT {}1{}", "ARRAY[".repeat(50_000), "]".repeat(50_000))),
        ("50,000 nested CASE", format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(50_000), " END".repeat(50_000))),
        ("20,000 sub-queries", format!("{}SELECT 1{}", "SELECT * FROM (".repeat(20_000), ") x".repeat(20_000))),
        ("100,000 casts", format!("SELECT 1{}", "::int".repeat(100_000))),
        ("50,000 joins", format!("SELECT 1 FROM customers{}", " CROSS JOIN customers".repeat(50_000))),
        ("100,000 opened comments", format!("SELECT 1 {}", "/*".repeat(100_000))),
    ];
    let _quiet = super::raw::quiet();
    let mut client = client();
    for (what, text) in texts {
        for bytes in [query(&text), parse(&text)] {
            client.send(&bytes);
            let seen = client.until(b'Z', 1);
            let code = error(&seen);
            // Too complex, or refused for what it is: never an answer of some rows, and never a broken connection.
            assert_eq!(seen.last().unwrap().tag, b'Z', "{what}: {:?}", seen.last());
            let known = ["54000", "54001", "54023", "0A000", "42601", "42712"].contains(&code.as_str());
            assert!(known || (code.is_empty() && seen.len() < 5), "{what}: {code} {:?}", seen.first());
        }
        assert_eq!(client.rows("SELECT id FROM customers WHERE id = 42"), ["42"], "{what}");
    }
}

#[test]
fn many_keys_and_long_texts_are_answered() {
    let _quiet = super::raw::quiet();
    let mut client = client();
    let list = vec!["42"; 20_000].join(", ");
    assert_eq!(client.rows(&format!("SELECT id FROM customers WHERE id IN ({list})")), ["42"]);
    let text = "x".repeat(20 << 20);
    assert_eq!(client.rows(&format!("SELECT length('{text}') FROM customers WHERE id = 42")), [(20 << 20).to_string()]);
    assert_eq!(client.rows("SELECT 1"), ["1"]);
}

/// Every Bind that is cut short, has one byte changed, or one too many, is judged as PostgreSQL judges it, in kind.
#[test]
fn damaged_binds_are_judged_as_postgresql_judges_them() {
    let fixture = fixture::get();
    let mut ours = client();
    let mut theirs = Raw::connect(fixture.oracle_port(), USER, PASSWORD, DATABASE);
    let statement = message(b'P', b"s\0SELECT id, name FROM customers WHERE id = $1 AND name <> $2\0\0\0");
    for client in [&mut ours, &mut theirs] {
        client.send(&[statement.clone(), message(b'S', b"")].concat());
        client.until(b'Z', 1);
    }
    let valid = b"\0s\0\0\x02\0\0\0\0\0\x02\0\0\0\x0242\0\0\0\x03abc\0\x01\0\0".to_vec();
    let mut bodies = vec![valid.clone(), [valid.as_slice(), b"\0"].concat(), [valid.as_slice(), &[0; 100]].concat()];
    bodies.extend((0..valid.len()).map(|end| valid[..end].to_vec()));
    for at in 0..valid.len() {
        for byte in [0, 1, 2, 0x7f, 0xff] {
            let mut body = valid.clone();
            body[at] = byte;
            bodies.push(body);
        }
    }
    let mut wrong = Vec::new();
    for body in &bodies {
        let batch = [message(b'B', body), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
        let [found, expected] = [&mut ours, &mut theirs].map(|client| {
            client.send(&batch);
            let seen = client.until(b'Z', 1);
            seen.iter()
                .map(|m| format!("{}{}", m.tag as char, if m.tag == b'E' { m.field(b'C') } else { String::new() }))
                .collect::<Vec<_>>()
        });
        // PostgreSQL converts values as it reads them, so that it may find a wrong one before it finds the message too short.
        let sooner = expected[0] == "E22P02" && found[0] == "E08P01";
        if found != expected && !sooner {
            wrong.push(format!("{}: {found:?}, PostgreSQL {expected:?}", body.escape_ascii()));
        }
        assert_eq!(found.last().unwrap(), "Z", "{}", body.escape_ascii());
    }
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), bodies.len(), wrong.join("\n"));
}

/// A pipeline that comes in two parts, the second while the first waits for a shard to be left: nothing more is sent afterwards that could
/// remind the session of what it already has.
#[test]
fn what_arrives_while_a_shard_is_left_is_acted_on() {
    let step = |id: u32, columns: &str| {
        let sql = format!("\0SELECT {columns} FROM customers WHERE id = {id}\0\0\0");
        let parts = [(b'P', sql.into_bytes()), (b'B', b"\0\0\0\0\0\0\0\0".to_vec()), (b'E', b"\0\0\0\0\0".to_vec())];
        parts.map(|(tag, body)| message(tag, &body)).concat()
    };
    let mut client = client();
    let first: Vec<u8> = [
        step(1, "id, (SELECT count(*) FROM generate_series(1, 4000000))"),
        (2..10).flat_map(|id| step(id, "id")).collect(),
    ]
    .concat();
    client.send(&first);
    std::thread::sleep(std::time::Duration::from_millis(100));
    client.send(&[step(10, "id"), message(b'S', b"")].concat());
    let seen = client.until(b'Z', 1);
    assert_eq!(seen.last().unwrap().tag, b'Z', "{seen:?}");
    assert_eq!(seen.iter().filter(|message| message.tag == b'D').count(), 10, "{seen:?}");
}
