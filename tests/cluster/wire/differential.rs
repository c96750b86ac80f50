//! The same messages to Goldseam and to a plain PostgreSQL must be answered by the same messages.
//!
//! The sequences stand in `cases/*.txt`: a sentence after `##`, then one message a line, and `<` where the client waits.
//! `[one]` in it: for a single shard only; `[four]`: for four only;
//! `[codes]`: the wording of errors may differ. `$C` is a customer of the case's own.
//!
//! | line | message |
//! |---|---|
//! | `Q sql` | Query |
//! | `P name [oid,oid] sql` | Parse; `-` is the empty name |
//! | `B portal statement formats : values : formats` | Bind; values `x` text, `\x01` binary, `NULL`; either part may be empty |
//! | `D S name`, `D P name`, `C S name`, `C P name` | Describe, Close |
//! | `E portal rows` | Execute |
//! | `S`, `H`, `c`, `X` | Sync, Flush, CopyDone, Terminate |
//! | `d text`, `f reason` | CopyData (with a newline at its end), CopyFail |
//! | `raw t 01 02 ...` | any tag with any body |
//! | `< Z 2` | send all, and read up to the second ReadyForQuery |

use std::path::Path;
use std::sync::OnceLock;

use goldseam::cli::demo;
use goldseam::cli::demo::load::{self, DATABASE, Load, PASSWORD, USER};
use goldseam::local::Cluster;

use super::raw::{Message, Raw, message};
use crate::fixture;

struct Case {
    sentence: String,
    shards: Option<usize>,
    /// Errors are compared by severity and SQLSTATE only.
    codes: bool,
    steps: Vec<Step>,
    at: String,
}

enum Step {
    Send(Vec<u8>),
    Await(u8, usize),
}

/// The proxy over one shard, and its server.
fn one_shard() -> u16 {
    static ONE: OnceLock<(Cluster, u16)> = OnceLock::new();
    let start = || {
        let runtime = &fixture::get().runtime;
        let cluster = fixture::start_servers(1);
        let load = vec![("s0".into(), cluster.servers[0].port(), Load::plain())];
        runtime.block_on(load::fill(load, None, std::sync::Arc::new(|_| {}))).unwrap();
        let config = demo::write_files(&cluster, 0, &["s0".into()]).unwrap_or_else(|failure| panic!("{failure:?}"));
        let port = runtime.block_on(fixture::start_proxy(&config));
        (cluster, port)
    };
    ONE.get_or_init(|| std::thread::spawn(start).join().unwrap()).1
}

fn cases(name: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/wire/cases").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut customer = String::new();
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = format!("{name}:{}", number + 1);
        if let Some(sentence) = line.strip_prefix("## ") {
            let marked = |mark: &str, shards: usize| sentence.contains(mark).then_some(shards);
            let shards = marked("[one]", 1).or(marked("[four]", 4));
            customer = fixture::get().fresh_customer().to_string();
            cases.push(Case {
                sentence: sentence.into(),
                shards,
                codes: sentence.contains("[codes]"),
                steps: Vec::new(),
                at,
            });
        } else if !line.is_empty() && !line.starts_with('#') {
            let case = cases.last_mut().unwrap_or_else(|| panic!("{at}: before the first case"));
            let line = line.replace("$C", &customer);
            case.steps.push(step(&line).unwrap_or_else(|| panic!("{at}: {line}")));
        }
    }
    cases
}

fn step(line: &str) -> Option<Step> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let c_str = |text: &str| [if text == "-" { b"" } else { text.as_bytes() }, b"\0"].concat();
    let body = match word {
        "<" => {
            let (tag, count) = rest.split_once(' ').unwrap_or((rest, "1"));
            return Some(Step::Await(tag.bytes().next()?, count.parse().ok()?));
        }
        "Q" => [rest.as_bytes(), b"\0"].concat(),
        "P" => {
            let (name, rest) = rest.split_once(' ')?;
            let (types, sql) = match rest.strip_prefix('[') {
                Some(rest) => rest.split_once("] ")?,
                None => ("", rest),
            };
            let types: Vec<u32> =
                types.split(',').filter(|oid| !oid.is_empty()).map(str::parse).collect::<Result<_, _>>().ok()?;
            let oids: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
            [c_str(name), c_str(sql), (types.len() as u16).to_be_bytes().to_vec(), oids].concat()
        }
        "B" => {
            let mut parts = rest.splitn(3, ' ');
            let (portal, statement, rest) = (parts.next()?, parts.next()?, parts.next().unwrap_or(""));
            let mut parts = rest.split(':').map(str::trim);
            let formats = |part: Option<&str>| {
                let codes: Vec<u16> =
                    part.unwrap_or("").split_whitespace().filter_map(|code| code.parse().ok()).collect();
                let mut out = (codes.len() as u16).to_be_bytes().to_vec();
                out.extend(codes.iter().flat_map(|code| code.to_be_bytes()));
                out
            };
            let mut body = [c_str(portal), c_str(statement), formats(parts.next())].concat();
            let values: Vec<&str> = parts.next().unwrap_or("").split_whitespace().collect();
            body.extend((values.len() as u16).to_be_bytes());
            for value in values {
                if value == "NULL" {
                    body.extend((-1i32).to_be_bytes());
                    continue;
                }
                let bytes = match value.strip_prefix("\\x") {
                    Some(digits) => hex(digits)?,
                    None => value.as_bytes().to_vec(),
                };
                body.extend((bytes.len() as i32).to_be_bytes());
                body.extend(bytes);
            }
            body.extend(formats(parts.next()));
            body
        }
        "D" | "C" => {
            let (kind, name) = rest.split_once(' ')?;
            [kind.as_bytes(), &c_str(name)].concat()
        }
        "E" => {
            let (portal, rows) = rest.split_once(' ').unwrap_or((rest, "0"));
            [c_str(portal), rows.parse::<i32>().ok()?.to_be_bytes().to_vec()].concat()
        }
        "S" | "H" | "c" | "X" => Vec::new(),
        "d" => [rest.replace("\\t", "\t").as_bytes(), b"\n"].concat(),
        "f" => c_str(rest),
        "raw" => {
            let (tag, digits) = rest.split_once(' ').unwrap_or((rest, ""));
            return Some(Step::Send(message(tag.bytes().next()?, &hex(&digits.replace(' ', ""))?)));
        }
        _ => return None,
    };
    Some(Step::Send(message(word.bytes().next()?, &body)))
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

/// Plays a case on a connection of its own, and then asks whether the connection still knows where it is.
fn play(port: u16, case: &Case) -> Vec<String> {
    let mut client = Raw::connect(port, USER, PASSWORD, DATABASE);
    client.stream.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let (mut unsent, mut seen) = (Vec::new(), Vec::new());
    for step in &case.steps {
        match step {
            Step::Send(bytes) => unsent.extend_from_slice(bytes),
            Step::Await(tag, count) => {
                client.send(&std::mem::take(&mut unsent));
                seen.extend(client.until(*tag, *count));
            }
        }
    }
    assert!(unsent.is_empty(), "{}: the case waits for nothing at its end", case.at);
    if seen.last().is_none_or(|last: &Message| last.tag != b'!') {
        seen.extend(client.query("SELECT 'still here'"));
    }
    let shown = |message: &Message| match message.tag {
        b'E' | b'N' if case.codes => format!("{} {} {}", message.tag as char, message.field(b'S'), message.field(b'C')),
        _ => message.shown(),
    };
    seen.iter().map(shown).collect()
}

/// Plays all cases of a file against a proxy and the plain server.
fn same(file: &str, shards: usize) {
    let fixture = fixture::get();
    let port = if shards == 1 { one_shard() } else { fixture.proxy_port };
    let (mut wrong, mut played) = (Vec::new(), 0);
    let only = std::env::var("WIRE_CASE").unwrap_or_default();
    for case in cases(file) {
        if case.shards.is_some_and(|only| only != shards) || !case.sentence.contains(&only) {
            continue;
        }
        played += 1;
        let (found, expected) = (play(port, &case), play(fixture.oracle_port(), &case));
        if found != expected {
            let at = found.iter().zip(&expected).take_while(|(left, right)| left == right).count();
            let list = |all: &[String]| {
                all.iter()
                    .enumerate()
                    .map(|(n, m)| format!("    {}{m}\n", if n == at { ">" } else { " " }))
                    .collect::<String>()
            };
            wrong.push(format!(
                "{} {}\n  Goldseam over {shards}:\n{}  PostgreSQL:\n{}",
                case.at,
                case.sentence,
                list(&found),
                list(&expected)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {played} differ\n{}", wrong.len(), wrong.join("\n"));
}

macro_rules! files {
    ($($name:ident),*) => {$(
        mod $name {
            #[test]
            fn over_four_shards() {
                super::same(concat!(stringify!($name), ".txt"), 4);
            }

            #[test]
            fn over_one_shard() {
                super::same(concat!(stringify!($name), ".txt"), 1);
            }
        }
    )*};
}

files!(simple, extended, transactions, copy, session, scatter);
