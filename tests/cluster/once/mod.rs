//! What has to be one value, or the same everywhere: copies of reference tables, numbers of sequences, the time of a transaction.
//!
//! Three shards and one plain PostgreSQL are asked the same; afterwards each copy of a reference table is read past the proxy.

mod moments;
mod reference;
mod sequences;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use goldseam::local::Cluster;
use tokio::runtime::Runtime;

use crate::fixture;
use crate::own::{DATABASE, USER};
use crate::raw::Wire;
use crate::transactions::stage::extended;

const SHARDS: usize = 3;
/// Types are made in another order on the second shard, so that their OIDs differ.
const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'glad');
    CREATE TYPE pair AS (a int, b mood);
    CREATE TABLE facts (id int PRIMARY KEY, name text, n numeric DEFAULT 0);
    CREATE TABLE kinds (id serial PRIMARY KEY, name text UNIQUE, at timestamptz DEFAULT now(), mood mood DEFAULT 'calm',
        moods mood[], tags text[], x uuid DEFAULT gen_random_uuid(), p pair, kind regclass, size int GENERATED ALWAYS AS (length(name)) STORED);
    CREATE TABLE keyless (a int, b float8);
    CREATE TABLE people (id bigserial PRIMARY KEY, name text, at timestamptz DEFAULT now(), day date DEFAULT CURRENT_DATE);
    CREATE TABLE notes (person bigint, id int GENERATED ALWAYS AS IDENTITY, body text, made timestamp NOT NULL DEFAULT timezone('utc', now()),
        kind int REFERENCES kinds, PRIMARY KEY (person, id));
    CREATE TABLE tokens (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), body text);
    CREATE SEQUENCE loose INCREMENT 5 START 100;
    CREATE SEQUENCE down INCREMENT -1 MINVALUE -8;
    CREATE ROLE clerk LOGIN;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO clerk;";
const VSCHEMA: &str = r#"
[keyspace.main]
shards = ["s0", "s1", "s2"]

[keyspace.one]
shards = ["s1"]

[vindex.by_hash]
type = "hash"

[table.people]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"

[table.notes]
keyspace = "main"
shard_key = "person"
vindex = "by_hash"

[table.tokens]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"

[table.facts]
keyspace = "main"
type = "reference"

[table.kinds]
keyspace = "main"
type = "reference"

[table.keyless]
keyspace = "main"
type = "reference"

[table.lone]
keyspace = "one"
type = "unsharded"
"#;

/// Servers of its own, a proxy, and the plain server.
pub struct Scene {
    pub cluster: Cluster,
    pub proxy: Wire,
    pub plain: Wire,
}

impl Scene {
    pub fn new() -> Scene {
        let cluster = fixture::start_servers(SHARDS + 1);
        for (n, server) in cluster.servers.iter().enumerate() {
            let mut server = Wire::open(server.port(), USER, DATABASE, &[]).unwrap();
            if n == 1 {
                server.ok("CREATE TYPE passing AS ENUM ('x'); DROP TYPE passing");
            }
            server.ok(SCHEMA);
            if n == 1 || n == SHARDS {
                server.ok("CREATE TABLE lone (id serial PRIMARY KEY, note text)");
            }
        }
        let plain = open(cluster.servers[SHARDS].port());
        let port = start(&cluster);
        Scene { proxy: open(port), plain, cluster }
    }

    /// The operators' console of another proxy.
    pub fn console(&self) -> Wire {
        Wire::open(start(&self.cluster), USER, "goldseam", &[]).unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// Another proxy before the same servers.
    pub fn another(&self) -> Wire {
        open(start(&self.cluster))
    }

    /// Both are asked the same and answer the same.
    #[track_caller]
    pub fn same(&mut self, statements: &[&str]) {
        for sql in statements {
            let (proxy, plain) = (self.proxy.query(sql), self.plain.query(sql));
            assert_eq!(
                proxy.clone().comparable(),
                plain.comparable(),
                "left: Goldseam, right: PostgreSQL; {sql}\n{proxy:?}"
            );
        }
    }

    /// The same by the extended protocol.
    #[track_caller]
    pub fn same_extended(&mut self, statements: &[&str]) {
        for sql in statements {
            let (proxy, plain) = (extended(&mut self.proxy, sql), extended(&mut self.plain, sql));
            assert_eq!(
                proxy.clone().comparable(),
                plain.comparable(),
                "left: Goldseam, right: PostgreSQL; {sql}\n{proxy:?}"
            );
        }
    }

    pub fn shard(&self, n: usize) -> Wire {
        open(self.cluster.servers[n].port())
    }

    /// A query has one answer on every shard.
    #[track_caller]
    pub fn alike(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let first = self.shard(0).ok(sql).rows;
        for n in 1..SHARDS {
            assert_eq!(self.shard(n).ok(sql).rows, first, "shard {n}: {sql}");
        }
        first
    }

    /// A query has one answer on every shard, and it is the plain server's.
    #[track_caller]
    pub fn alike_and_right(&mut self, sql: &str) {
        let copies = self.alike(sql);
        assert_eq!(copies, self.plain.ok(sql).rows, "left: every shard, right: PostgreSQL; {sql}");
    }
}

pub fn open(port: u16) -> Wire {
    Wire::open(port, USER, DATABASE, &[]).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Writes a configuration.
pub fn config(cluster: &Cluster) -> PathBuf {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let folder = cluster.subfolder(&format!("once{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap();
    fixture::write_config(&folder, VSCHEMA, USER, &fixture::ports(cluster, SHARDS), DATABASE, "[auth.user.clerk]")
}

/// A proxy in this process; its port.
pub fn start(cluster: &Cluster) -> u16 {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME
        .get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());
    let config = config(cluster);
    runtime.block_on(fixture::start_proxy(&config))
}
