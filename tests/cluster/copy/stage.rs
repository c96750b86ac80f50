//! Three shards, a plain server, and a client of each that say and hear the same.

use std::sync::{Mutex, MutexGuard, OnceLock};

use goldseam::local::Cluster;
use tokio::runtime::Runtime;

use crate::fixture;
use crate::wire::raw::{Message, Raw, message, query};

pub const SHARDS: usize = 3;
const USER: &str = "postgres";
const SCHEMA: &str = "
    CREATE TABLE items (id bigint PRIMARY KEY, n int, note text);
    CREATE TABLE docs (day date, tenant text, body text, PRIMARY KEY (tenant, day));
    CREATE TABLE loose (v text, k int);
    CREATE TABLE pairs (v int, b text, a int, CHECK (v < 1000));
    CREATE TABLE pairs_text (k text NOT NULL, v text);
    CREATE TABLE listed (code varchar(4), n int);
    CREATE TABLE placed (key text PRIMARY KEY, n int);
    CREATE TABLE things (id uuid PRIMARY KEY, bytes bytea, list int[], at timestamptz);
    CREATE TABLE stamped (id int PRIMARY KEY, at timestamptz DEFAULT now(), c char(3) DEFAULT 'abc');
    CREATE TABLE numbered (id int PRIMARY KEY, n serial);
    CREATE TABLE facts (id int PRIMARY KEY, name text, kind text DEFAULT 'plain');
    CREATE TABLE moods (id int PRIMARY KEY, at float DEFAULT random());
    CREATE TABLE counted (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, at timestamptz DEFAULT now());
    CREATE TABLE made (v text, id uuid DEFAULT gen_random_uuid() PRIMARY KEY);
    CREATE TABLE copied (id serial PRIMARY KEY, v text, at timestamptz DEFAULT now());";
const VSCHEMA: &str = r#"
[keyspace.main]
shards = ["s0", "s1", "s2"]
[vindex.by_hash]
type = "hash"
[vindex.by_pair]
type = "hash"
[vindex.by_code]
type = "list"
lists = [ { values = ["a", "b"], shard = "s0" }, { values = ["c"], shard = "s2" } ]
[vindex.book]
type = "directory"
default = "least_loaded"
[table.items]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"
[table.docs]
keyspace = "main"
shard_key = "tenant"
vindex = "by_hash"
[table.loose]
keyspace = "main"
shard_key = "k"
vindex = "by_hash"
[table.pairs]
keyspace = "main"
shard_key = ["a", "b"]
vindex = "by_pair"
[table.pairs_text]
keyspace = "main"
shard_key = "k"
vindex = "by_hash"
[table.listed]
keyspace = "main"
shard_key = "code"
vindex = "by_code"
[table.placed]
keyspace = "main"
shard_key = "key"
vindex = "book"
[table.things]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"
[table.stamped]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"
[table.numbered]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"
[table.facts]
keyspace = "main"
type = "reference"
[table.counted]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"
[table.made]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"
[table.copied]
keyspace = "main"
type = "reference"
[table.moods]
keyspace = "main"
type = "reference"
"#;

pub struct Servers {
    pub cluster: Cluster,
    pub port: u16,
    _runtime: Runtime,
}

/// Servers of one's own.
pub fn start() -> Servers {
    let cluster = fixture::start_servers(SHARDS + 1);
    for server in &cluster.servers {
        let mut raw = Raw::connect(server.port(), USER, "", USER);
        let said = raw.query(SCHEMA);
        assert!(said.iter().all(|message| message.tag != b'E'), "{said:?}");
    }
    let folder = cluster.subfolder("proxy").unwrap();
    let config = fixture::write_config(&folder, VSCHEMA, USER, &fixture::ports(&cluster, SHARDS), USER, "");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let port = runtime.block_on(fixture::start_proxy(&config));
    Servers { cluster, port, _runtime: runtime }
}

impl Servers {
    pub fn proxy(&self) -> Raw {
        Raw::connect(self.port, USER, "", USER)
    }

    pub fn plain(&self) -> Raw {
        self.shard(SHARDS)
    }

    pub fn shard(&self, n: usize) -> Raw {
        Raw::connect(self.cluster.servers[n].port(), USER, "", USER)
    }
}

fn servers() -> &'static Servers {
    static SERVERS: OnceLock<Servers> = OnceLock::new();
    SERVERS.get_or_init(start)
}

/// Both clients, with empty tables; one test at a time.
pub struct Stage {
    pub servers: &'static Servers,
    pub proxy: Raw,
    pub plain: Raw,
    _alone: MutexGuard<'static, ()>,
}

/// What one COPY came to: all messages in a form that can be compared.
pub type Heard = Vec<String>;

impl Stage {
    pub fn new() -> Stage {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let servers = servers();
        let clear = "TRUNCATE pairs_text, items, docs, loose, pairs, listed, placed, things, stamped, numbered, facts, moods, counted, made, copied";
        for n in 0..=SHARDS {
            servers.shard(n).query(clear);
        }
        Stage { servers, proxy: servers.proxy(), plain: servers.plain(), _alone: alone }
    }

    /// The same COPY FROM STDIN on both, in pieces of so many bytes; all that is heard is the same, and so are the tables.
    #[track_caller]
    pub fn copy_in(&mut self, sql: &str, data: &[u8], step: usize) -> Heard {
        let proxy = copy_in(&mut self.proxy, sql, data, step);
        let plain = copy_in(&mut self.plain, sql, data, step);
        assert_eq!(proxy, plain, "left: Goldseam, right: PostgreSQL; {sql} {:?}", data.escape_ascii().to_string());
        proxy
    }

    /// Goldseam alone; the messages.
    pub fn copy_here(&mut self, sql: &str, data: &[u8]) -> Heard {
        copy_in(&mut self.proxy, sql, data, usize::MAX)
    }

    /// The same query on both.
    #[track_caller]
    pub fn same(&mut self, sql: &str) -> Heard {
        let (proxy, plain) = (sorted(shown(&self.proxy.query(sql))), sorted(shown(&self.plain.query(sql))));
        assert_eq!(proxy, plain, "left: Goldseam, right: PostgreSQL; {sql}");
        proxy
    }

    /// A table's rows, however they are spread, and how many each shard has.
    #[track_caller]
    pub fn same_table(&mut self, table: &str) -> [usize; SHARDS] {
        let sql = format!("SELECT t::text FROM {table} t ORDER BY 1");
        let plain = self.plain.rows(&sql);
        let mut all = Vec::new();
        let counts = [0, 1, 2].map(|n| {
            let rows = self.servers.shard(n).rows(&sql);
            let count = rows.len();
            all.extend(rows);
            count
        });
        all.sort();
        let mut sorted = plain;
        sorted.sort();
        assert!(all == sorted, "{table}: {} rows here, {} there", all.len(), sorted.len());
        counts
    }
}

pub fn shown(messages: &[Message]) -> Heard {
    let each = |message: &Message| match message.tag {
        b'E' => format!("{} | {}", message.shown(), message.field(b'W')),
        _ => message.shown(),
    };
    messages.iter().map(each).collect()
}

fn sorted(mut heard: Heard) -> Heard {
    heard.sort();
    heard
}

/// A COPY FROM STDIN by a simple query; the messages.
pub fn copy_in(raw: &mut Raw, sql: &str, data: &[u8], step: usize) -> Heard {
    raw.send(&query(sql));
    let mut heard = Vec::new();
    loop {
        let next = raw.next().expect("the connection stays");
        let tag = next.tag;
        heard.extend(shown(&[next]));
        match tag {
            b'G' => break,
            b'Z' | b'!' => return heard,
            _ => {}
        }
    }
    let mut out = Vec::new();
    for piece in data.chunks(step.min(data.len()).max(1)) {
        out.extend(message(b'd', piece));
    }
    out.extend(message(b'c', &[]));
    raw.send(&out);
    heard.extend(shown(&raw.until(b'Z', 1)));
    heard
}

/// The data of a COPY TO STDOUT, message by message, and all other messages.
pub fn copy_out(raw: &mut Raw, sql: &str) -> (Vec<Vec<u8>>, Heard) {
    raw.send(&query(sql));
    let (data, other): (Vec<_>, Vec<_>) = raw.until(b'Z', 1).into_iter().partition(|message| message.tag == b'd');
    (data.into_iter().map(|message| message.body).collect(), shown(&other))
}
