//! Lookup vindexes: made online, kept in step whatever writes the rows, asked by `WHERE column = value`, and unique over all shards as one
//! PostgreSQL with a unique index is.

use std::sync::{Mutex, MutexGuard, OnceLock};

use goldseam::local::Cluster;
use tokio::runtime::Runtime;

use crate::fixture;
use crate::wire::raw::{Message, Raw, message, query};

const SHARDS: usize = 3;
const USER: &str = "postgres";
const SCHEMA: &str = "
    CREATE ROLE clerk LOGIN;
    CREATE TABLE people (id int PRIMARY KEY, email text, code int, note text);
    GRANT ALL ON people TO clerk;";
const VSCHEMA: &str = r#"# Kept by hand.
[keyspace.main]
shards = ["s0", "s1", "s2"]
[vindex.by_hash]
type = "hash"
[table.people]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"
"#;

struct Servers {
    cluster: Cluster,
    port: u16,
    vschema: std::path::PathBuf,
    _runtime: Runtime,
}

fn start() -> Servers {
    let cluster = fixture::start_servers(SHARDS + 1);
    for (n, server) in cluster.servers.iter().enumerate() {
        let mut raw = Raw::connect(server.port(), USER, "", USER);
        raw.query(SCHEMA);
        if n == SHARDS {
            raw.query("CREATE UNIQUE INDEX email_lookup ON people (email)");
        }
    }
    let folder = cluster.subfolder("proxy").unwrap();
    let vschema = folder.join("vschema.toml");
    let config =
        fixture::write_config(&folder, VSCHEMA, USER, &fixture::ports(&cluster, SHARDS), USER, "[auth.user.clerk]");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let port = runtime.block_on(fixture::start_proxy(&config));
    Servers { cluster, port, vschema, _runtime: runtime }
}

struct Stage {
    servers: &'static Servers,
    proxy: Raw,
    plain: Raw,
    _alone: MutexGuard<'static, ()>,
}

fn shown(messages: &[Message]) -> Vec<String> {
    // The row and the statement's count may come before the error, as they do from a deferred constraint.
    let failed = messages.iter().any(|message| message.tag == b'E');
    messages.iter().filter(|message| !failed || message.tag != b'C').map(Message::shown).collect()
}

impl Stage {
    /// Empty tables, and no lookup but those that are asked for.
    fn new(lookups: &[&str]) -> Stage {
        static SERVERS: OnceLock<Servers> = OnceLock::new();
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let servers = SERVERS.get_or_init(start);
        let connect = |port| Raw::connect(port, USER, "", USER);
        let mut stage = Stage {
            servers,
            proxy: connect(servers.port),
            plain: connect(servers.cluster.servers[SHARDS].port()),
            _alone: alone,
        };
        for name in ["email_lookup", "code_lookup"] {
            stage.proxy.query(&format!("ALTER VSCHEMA ON people DROP VINDEX {name}"));
        }
        for n in 0..=SHARDS {
            stage.server(n).query("TRUNCATE people");
        }
        for lookup in lookups {
            let said = stage.proxy.query(lookup);
            assert!(said.iter().all(|message| message.tag != b'E'), "{lookup}: {said:?}");
        }
        stage
    }

    fn server(&self, n: usize) -> Raw {
        Raw::connect(self.servers.cluster.servers[n].port(), USER, "", USER)
    }

    #[track_caller]
    fn same(&mut self, sql: &str) -> Vec<String> {
        let (proxy, plain) = (shown(&self.proxy.query(sql)), shown(&self.plain.query(sql)));
        assert_eq!(proxy, plain, "left: Goldseam, right: PostgreSQL; {sql}");
        proxy
    }

    /// What the lookup has is what the rows have, and no note is left.
    #[track_caller]
    fn in_step(&mut self) {
        let mut rows: Vec<String> = Vec::new();
        for n in 0..SHARDS {
            let mut shard = self.server(n);
            let sql = format!("SELECT email || ' s{n}' FROM people WHERE email IS NOT NULL");
            rows.extend(shard.rows(&sql));
            assert_eq!(shard.rows("SELECT count(*) FROM goldseam.lookup_changes"), ["0"], "shard {n}");
        }
        let mut known = self.server(0).rows("SELECT email || ' ' || goldseam_shard FROM goldseam.lookup_email_lookup");
        rows.sort();
        known.sort();
        assert_eq!(known, rows, "left: the lookup, right: the rows");
        self.same("SELECT id, email FROM people ORDER BY id");
    }
}

const EMAIL: &str = "ALTER VSCHEMA ON people ADD VINDEX email_lookup (email) USING lookup_unique";

fn extended(sql: &str) -> Vec<u8> {
    let parse = [b"\0", sql.as_bytes(), b"\0\0\0"].concat();
    [message(b'P', &parse), message(b'B', &[0; 8]), message(b'D', b"P\0"), message(b'E', &[0; 5]), message(b'S', &[])]
        .concat()
}

#[test]
fn it_is_made_filled_and_taken_away() {
    let mut stage = Stage::new(&[]);
    for id in 1..=30 {
        stage.same(&format!("INSERT INTO people VALUES ({id}, 'p{id}@x', {id}, '')"));
    }
    stage.same("INSERT INTO people VALUES (31, NULL, 0, ''), (32, NULL, 0, '')");
    stage.proxy.query(EMAIL);
    stage.in_step();
    let file = std::fs::read_to_string(&stage.servers.vschema).unwrap();
    assert!(file.starts_with("# Kept by hand.") && file.contains("lookup_unique"), "{file}");
    let plan = stage.proxy.rows("EXPLAIN (ROUTE) SELECT * FROM people WHERE email = 'p7@x'");
    assert!(plan[0].contains("email_lookup"), "{plan:?}");
    for email in ["p7@x", "p30@x", "nobody", "it''s \"odd\" \\ {}"] {
        stage.same(&format!("SELECT * FROM people WHERE email = '{email}'"));
    }
    stage.proxy.query("ALTER VSCHEMA ON people DROP VINDEX email_lookup");
    stage.same("SELECT * FROM people WHERE email = 'p7@x'");
    for n in 0..SHARDS {
        let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'goldseam%'";
        assert_eq!(stage.server(n).rows(left), ["0"]);
    }
    // Two rows with one value: nothing is made.
    for n in 0..SHARDS {
        stage.server(n).query("UPDATE people SET email = 'twice' WHERE id IN (1, 2, 3, 4, 5, 6)");
    }
    let said = stage.proxy.query(EMAIL);
    assert!(said[0].shown().contains("23505"), "{said:?}");
    assert!(!std::fs::read_to_string(&stage.servers.vschema).unwrap().contains("lookup_unique"));
    assert_eq!(stage.server(1).rows("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'goldseam%'"), ["0"]);
}

#[test]
fn whatever_writes_the_rows_it_follows() {
    let mut stage = Stage::new(&[EMAIL]);
    for sql in [
        "INSERT INTO people VALUES (1, 'a', 1, '')",
        "INSERT INTO people VALUES (2, 'b', 2, ''), (3, 'c', 3, ''), (4, 'd', 4, ''), (5, NULL, 5, '')",
        "UPDATE people SET email = 'A' WHERE id = 1",
        "UPDATE people SET email = email || '+' WHERE id > 1",
        "UPDATE people SET note = 'same' WHERE email = 'A'",
        "SELECT * FROM people WHERE email = 'b+'",
        "UPDATE people SET email = NULL WHERE email = 'b+'",
        "DELETE FROM people WHERE email = 'c+'",
        "INSERT INTO people VALUES (6, 'c+', 6, '') RETURNING email",
        "INSERT INTO people VALUES (6, 'zz', 6, '') ON CONFLICT (id) DO UPDATE SET email = excluded.email",
        "DELETE FROM people WHERE id = 1",
    ] {
        stage.same(sql);
        stage.in_step();
    }
    let copy = query("COPY people FROM STDIN CSV");
    for raw in [&mut stage.proxy, &mut stage.plain] {
        raw.send(&copy);
        raw.until(b'G', 1);
        raw.send(&[message(b'd', b"20,u,1,\n21,v,1,\n22,w,1,\n23,,1,\n"), message(b'c', &[])].concat());
        raw.until(b'Z', 1);
    }
    stage.in_step();
    for sql in ["INSERT INTO people VALUES (40, 'ext', 1, '')", "UPDATE people SET email = 'ext2' WHERE email = 'ext'"]
    {
        for raw in [&mut stage.proxy, &mut stage.plain] {
            raw.send(&extended(sql));
            let said = raw.until(b'Z', 1);
            assert!(said.iter().all(|message| message.tag != b'E'), "{sql}: {said:?}");
        }
        stage.in_step();
    }
    stage.same("SELECT id FROM people WHERE email = 'ext2'");
}

#[test]
fn a_value_is_there_once_over_all_shards() {
    let mut stage = Stage::new(&[EMAIL]);
    for id in 1..=20 {
        stage.same(&format!("INSERT INTO people VALUES ({id}, 'p{id}', {id}, '')"));
    }
    for sql in [
        "INSERT INTO people VALUES (30, 'p1', 0, '')",
        "INSERT INTO people VALUES (31, 'new', 0, ''), (32, 'new', 0, '')",
        "UPDATE people SET email = 'p2' WHERE id = 3",
        "UPDATE people SET email = 'all' WHERE id < 10",
    ] {
        let heard = stage.same(sql);
        assert!(heard[0].contains("23505"), "{heard:?}");
        stage.in_step();
        let mut heard = Vec::new();
        for raw in [&mut stage.proxy, &mut stage.plain] {
            raw.send(&extended(sql));
            heard.push(shown(&raw.until(b'Z', 1)).pop());
        }
        assert_eq!(heard[0], heard[1]);
        stage.in_step();
    }
    // Within a block it is told at once, and only the rest of the block is lost.
    for sql in [
        "BEGIN",
        "INSERT INTO people VALUES (50, 'mine', 0, '')",
        "SELECT id FROM people WHERE email = 'mine'",
        "SAVEPOINT a",
        "INSERT INTO people VALUES (51, 'mine', 0, '')",
        "SELECT 1",
        "ROLLBACK TO a",
        "INSERT INTO people VALUES (51, 'other', 0, '')",
        "DELETE FROM people WHERE email = 'p5'",
        "INSERT INTO people VALUES (52, 'p5', 0, '')",
        "COMMIT",
    ] {
        stage.same(sql);
    }
    stage.in_step();
    for sql in [
        "BEGIN",
        "INSERT INTO people VALUES (60, 'gone', 0, '')",
        "UPDATE people SET email = 'x' WHERE id = 6",
        "ROLLBACK",
    ] {
        stage.same(sql);
    }
    stage.in_step();
}

#[test]
fn two_at_one_time_wait_for_one_another() {
    let mut stage = Stage::new(&[EMAIL]);
    stage.proxy.query("BEGIN");
    stage.proxy.query("INSERT INTO people VALUES (1, 'race', 0, '')");
    let port = stage.servers.port;
    let other = std::thread::spawn(move || {
        let mut raw = Raw::connect(port, "clerk", "", USER);
        shown(&raw.query("INSERT INTO people VALUES (2, 'race', 0, '')"))
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    stage.proxy.query("COMMIT");
    let heard = other.join().unwrap();
    assert!(heard[0].contains("23505"), "{heard:?}");
    stage.plain.query("INSERT INTO people VALUES (1, 'race', 0, '')");
    stage.in_step();
}

#[test]
fn what_was_written_past_goldseam_follows_later() {
    let mut stage = Stage::new(&[EMAIL]);
    for id in 1..=12 {
        stage.same(&format!("INSERT INTO people VALUES ({id}, 'p{id}', {id}, '')"));
    }
    let mut shard = stage.server(0);
    let ids = shard.rows("SELECT id FROM people ORDER BY id");
    shard.query(&format!("UPDATE people SET email = 'past' WHERE id = {}", ids[0]));
    stage.plain.query(&format!("UPDATE people SET email = 'past' WHERE id = {}", ids[0]));
    stage.same("SELECT id FROM people WHERE email = 'past'");
    stage.in_step();
    shard.query(&format!("UPDATE people SET email = 'past it' WHERE id = {}", ids[0]));
    stage.plain.query(&format!("UPDATE people SET email = 'past it' WHERE id = {}", ids[0]));
    stage.same(&format!("UPDATE people SET email = 'next' WHERE id = {}", ids[1]));
    stage.in_step();
    stage.same("SELECT id FROM people WHERE email = 'past it'");
}

#[test]
fn one_that_is_not_unique_and_what_cannot_be() {
    let mut stage = Stage::new(&["ALTER VSCHEMA ON people ADD VINDEX code_lookup (code) USING lookup"]);
    stage.same("INSERT INTO people VALUES (1, 'a', 7, ''), (2, 'b', 7, ''), (3, 'c', 8, ''), (4, 'd', 7, '')");
    stage.same("DELETE FROM people WHERE id = 2");
    stage.same("SELECT id FROM people WHERE code = 7 ORDER BY id");
    let known = stage.server(0).rows("SELECT sum(goldseam_rows) FROM goldseam.lookup_code_lookup WHERE code = '7'");
    assert_eq!(known, ["2"]);
    for (sql, code) in [
        ("ALTER VSCHEMA ON people ADD VINDEX code_lookup (code) USING lookup", "42710"),
        ("ALTER VSCHEMA ON people ADD VINDEX x (nope) USING lookup_unique", "42703"),
        ("ALTER VSCHEMA ON nobody ADD VINDEX x (nope) USING lookup_unique", "42P01"),
        ("ALTER VSCHEMA ON people ADD VINDEX x (code, note) USING lookup_unique", "0A000"),
    ] {
        let said = stage.proxy.query(sql);
        assert!(said[0].shown().contains(code), "{sql}: {said:?}");
    }
}
