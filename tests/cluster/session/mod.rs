//! What a client's session is to one PostgreSQL, it is to all shards together: several statements in one message, prepared statements and
//! cursors of SQL, notifications, temporary tables.
//!
//! Everything is said to Goldseam over two shards and to one plain PostgreSQL, and the answers are compared; where it matters, message by message.

mod catalog;
mod cursors;
mod dump;
mod notify;
mod prepared;
mod several;
mod temporary;

use crate::raw::Wire;
use crate::transactions::stage::Stage;

/// Both are asked the same, and say the same, message by message.
#[track_caller]
pub fn same(stage: &mut Stage, queries: &[&str]) {
    for sql in queries {
        let text = stage.text(sql);
        let (proxy, plain) = (messages(&mut stage.proxy, &text), messages(&mut stage.plain, &text));
        assert_eq!(proxy, plain, "left: Goldseam, right: PostgreSQL; {sql} ({text})");
    }
}

/// All messages that answer a query, up to ReadyForQuery, without what may differ: who says it, in which file and line, and the detail (where
/// Goldseam names the shard); the tables' numbers.
#[track_caller]
pub fn messages(wire: &mut Wire, sql: &str) -> Vec<(char, String)> {
    wire.start(sql);
    rest(wire)
}

/// The messages up to ReadyForQuery.
#[track_caller]
pub fn rest(wire: &mut Wire) -> Vec<(char, String)> {
    let mut all = Vec::new();
    while let Some((tag, mut body)) = wire.message() {
        match tag {
            b'S' => continue,
            b'E' | b'N' => {
                let fields = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
                let told = fields.filter(|field| b"SCMP".contains(&field[0]));
                body = told.collect::<Vec<_>>().join(&b'|');
            }
            b'T' => without_tables(&mut body),
            _ => {}
        }
        all.push((char::from(tag), String::from_utf8_lossy(&body).into_owned()));
        if tag == b'Z' {
            break;
        }
    }
    all
}

/// Clears table and column number of a RowDescription's columns.
fn without_tables(body: &mut [u8]) {
    let mut at = 2;
    while at < body.len() {
        at += body[at..].iter().position(|byte| *byte == 0).unwrap() + 1;
        body[at..at + 6].fill(0);
        at += 18;
    }
}
