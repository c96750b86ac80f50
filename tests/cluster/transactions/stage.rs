//! Two clients that say the same: one through Goldseam over two shards, one to the plain server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::own::{self, Own};
use crate::raw::{Reply, Wire};

/// How many rows a stage has on each shard.
const ROWS: usize = 3;

pub struct Stage {
    pub own: &'static Own,
    pub proxy: Wire,
    pub plain: Wire,
    /// Keys of rows on the first and on the second shard, which no other test has.
    pub keys: [Vec<i64>; 2],
}

/// One proxy for all tests that break nothing.
fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| own::get().proxy("[pool]\nsize = 40\n"))
}

/// Rows of their own on each of two shards, through a proxy; the same rows on the plain server.
pub fn rows(own: &Own, proxy: &mut Wire, plain: &mut Wire, each: usize) -> [Vec<i64>; 2] {
    static NEXT: AtomicI64 = AtomicI64::new(1_000_000);
    let mut keys = [Vec::new(), Vec::new()];
    let mut shards = [own.shard(0), own.shard(1)];
    while keys.iter().any(|keys| keys.len() < each) {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let insert = format!("INSERT INTO items VALUES ({id}, 100, 'first')");
        proxy.ok(&insert);
        plain.ok(&insert);
        for (shard, keys) in shards.iter_mut().zip(&mut keys) {
            if shard.one(&format!("SELECT count(*) FROM items WHERE id = {id}")) == "1" {
                keys.push(id);
            }
        }
    }
    keys
}

impl Stage {
    pub fn new() -> Stage {
        Stage::through(port())
    }

    /// The same through another proxy before the same servers.
    pub fn through(port: u16) -> Stage {
        Stage::on(own::get(), port)
    }

    /// The same before servers of its own.
    pub fn on(own: &'static Own, port: u16) -> Stage {
        let (mut proxy, mut plain) = (own.connect(port), own.plain());
        let keys = rows(own, &mut proxy, &mut plain, ROWS);
        Stage { own, proxy, plain, keys }
    }

    /// A statement with the keys in: `A0`, `A1` ... are rows of the first shard, `B0`, `B1` ... of the second.
    pub fn text(&self, sql: &str) -> String {
        let mut text = sql.to_string();
        for (letter, keys) in ["A", "B"].iter().zip(&self.keys) {
            for (n, key) in keys.iter().enumerate() {
                text = text.replace(&format!("{letter}{n}"), &key.to_string());
            }
        }
        text
    }

    /// Both are asked the same, one statement after the other, and answer the same: rows, tags, notices, SQLSTATE, status.
    #[track_caller]
    pub fn same(&mut self, statements: &[&str]) {
        for sql in statements {
            let text = self.text(sql);
            let (proxy, plain) = (self.proxy.query(&text), self.plain.query(&text));
            assert_eq!(
                proxy.clone().comparable(),
                plain.comparable(),
                "left: Goldseam, right: PostgreSQL; {sql} ({text})\n{proxy:?}"
            );
        }
        assert_eq!(self.proxy.notifications.len(), self.plain.notifications.len());
    }

    /// The same by the extended protocol.
    #[track_caller]
    pub fn same_extended(&mut self, statements: &[&str]) {
        for sql in statements {
            let text = self.text(sql);
            let proxy = extended(&mut self.proxy, &text);
            let plain = extended(&mut self.plain, &text);
            assert_eq!(
                proxy.clone().comparable(),
                plain.comparable(),
                "left: Goldseam, right: PostgreSQL; {sql} ({text})\n{proxy:?}"
            );
        }
    }

    /// Asks Goldseam only.
    #[track_caller]
    pub fn ask(&mut self, sql: &str) -> Reply {
        let text = self.text(sql);
        self.proxy.query(&text)
    }

    /// All rows are the same everywhere, seen by others; and nothing is left prepared.
    #[track_caller]
    pub fn same_rows(&mut self) {
        let keys: Vec<i64> = self.keys.iter().flatten().copied().collect();
        let mut other = self.own.connect(port());
        for key in keys {
            let sql = format!("SELECT id, n, note FROM items WHERE id = {key}");
            assert_eq!(other.query(&sql), self.plain.query(&sql), "left: Goldseam, right: PostgreSQL; row {key}");
        }
    }
}

/// Parse, Bind, Execute and Sync of one text.
pub fn extended(wire: &mut Wire, sql: &str) -> Reply {
    wire.send(&one(sql));
    wire.send(&[(b'S', vec![])]);
    wire.collect()
}

/// Parse, Bind and Execute of one text, for a pipeline.
pub fn one(sql: &str) -> [(u8, Vec<u8>); 3] {
    [(b'P', [b"\0", sql.as_bytes(), b"\0\0\0"].concat()), (b'B', vec![0; 8]), (b'E', vec![0; 5])]
}

/// How many transactions are prepared on a server.
pub fn prepared(server: &mut Wire) -> String {
    server.one("SELECT count(*) FROM pg_prepared_xacts")
}
