//! Three shards and one plain PostgreSQL with the same rows of every type, whose user types have other numbers on each server.

use std::path::PathBuf;
use std::sync::OnceLock;

use goldseam::local::Cluster;
use tokio::runtime::Runtime;

use crate::fixture;
use crate::own::{DATABASE, USER};
use crate::raw::{Reply, Wire};

pub const SHARDS: usize = 3;

/// Rows of the table `many`.
pub const MANY: usize = 12_000;

const VSCHEMA: &str = r#"
[keyspace.main]
shards = ["s0", "s1", "s2"]

[keyspace.one]
shards = ["s1"]

[vindex.by_hash]
type = "hash"

[table.buyer]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"

[table.deal]
keyspace = "main"
shard_key = "buyer"
vindex = "by_hash"

[table.thing]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"

[table.many]
keyspace = "main"
shard_key = "id"
vindex = "by_hash"

[table.land]
keyspace = "main"
type = "reference"

[keyspace.other]
shards = ["s2"]

[table.lone]
keyspace = "one"
type = "unsharded"

[table.far]
keyspace = "other"
type = "unsharded"
"#;

const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TYPE spot AS (x int, y numeric(6,2), m mood);
    CREATE DOMAIN posint AS int CHECK (VALUE > 0);
    CREATE TYPE floatrange AS RANGE (subtype = float8, subtype_diff = float8mi);
    CREATE TABLE land (code char(2) PRIMARY KEY, name text NOT NULL);
    CREATE TABLE buyer (id bigint PRIMARY KEY, name text NOT NULL, land char(2), mood mood, friend bigint);
    CREATE TABLE deal (id bigint, buyer bigint, item int NOT NULL, price numeric(10,2), at timestamptz, PRIMARY KEY (buyer, id));
    CREATE TABLE thing (id bigint PRIMARY KEY, m mood, s spot, d posint, r floatrange, ir int4range, a int[], am mood[], aa text[],
        sp spot[], n numeric(12,3), f float8, f4 float4, t text COLLATE \"C\", v varchar(12), c char(5), b bytea, bo bool, u uuid, j jsonb,
        js json, ts timestamp, tz timestamptz, da date, ti time, iv interval, ip inet, bi bit(5), vb varbit, ch \"char\", rc regclass,
        rt regtype[], na name, mo money, x xml, tv tsvector, pt point, e text);
    CREATE TABLE many (id bigint PRIMARY KEY, n int, note text);
    INSERT INTO land VALUES ('de', 'Germany'), ('fr', 'France'), ('pl', 'Poland');";

/// All that a test needs.
pub struct World {
    /// The shards, and the plain server last.
    pub cluster: Cluster,
    pub port: u16,
    runtime: Runtime,
}

/// Shared by all tests that break nothing.
pub fn get() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::start(""))
}

impl World {
    /// Fresh servers, and a proxy with this at the end of its configuration.
    pub fn start(extra: &str) -> World {
        let cluster = fixture::start_servers(SHARDS + 1);
        for (n, server) in cluster.servers.iter().enumerate() {
            let mut server = Wire::open(server.port(), USER, DATABASE, &[]).unwrap();
            for spare in 0..n {
                server.ok(&format!("CREATE TYPE spare{spare} AS ENUM ('x')"));
            }
            server.ok(SCHEMA);
            if n == 1 || n == SHARDS {
                server.ok("CREATE TABLE lone (id int PRIMARY KEY, note text); \
                           INSERT INTO lone SELECT i, 'lone ' || i FROM generate_series(1, 9) i");
            }
            if n == 2 || n == SHARDS {
                server.ok("CREATE TABLE far (id int PRIMARY KEY, note text); \
                           INSERT INTO far SELECT i, 'far ' || i FROM generate_series(1, 9) i");
            }
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut world = World { cluster, port: 0, runtime };
        world.port = world.proxy(extra);
        let (mut proxy, mut plain) = (world.connect(), world.plain());
        for sql in rows() {
            proxy.ok(&sql);
            plain.ok(&sql);
        }
        world
    }

    /// Another proxy over the same servers.
    pub fn proxy(&self, extra: &str) -> u16 {
        let config = self.config(extra);
        self.runtime.block_on(fixture::start_proxy(&config))
    }

    pub fn config(&self, extra: &str) -> PathBuf {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let name = format!("bench{}", NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let folder = self.cluster.subfolder(&name).unwrap();
        fixture::write_config(&folder, VSCHEMA, USER, &fixture::ports(&self.cluster, SHARDS), DATABASE, extra)
    }

    pub fn connect(&self) -> Wire {
        self.connect_to(self.port)
    }

    pub fn connect_to(&self, port: u16) -> Wire {
        Wire::open(port, USER, DATABASE, &[]).unwrap_or_else(|error| panic!("{error:?}"))
    }

    pub fn plain(&self) -> Wire {
        self.connect_to(self.cluster.servers[SHARDS].port())
    }

    /// Past the proxy.
    pub fn shard(&self, n: usize) -> Wire {
        self.connect_to(self.cluster.servers[n].port())
    }
}

/// Two sessions answer the same.
#[track_caller]
pub fn same(proxy: &mut Wire, plain: &mut Wire, sql: &str) -> Reply {
    let sorted = |mut reply: Reply| {
        if !sql.to_uppercase().contains("ORDER BY") {
            reply.rows.sort();
        }
        reply.comparable()
    };
    let (ours, theirs) = (sorted(proxy.query(sql)), sorted(plain.query(sql)));
    assert_eq!(ours, theirs, "left: Goldseam, right: PostgreSQL; {sql}");
    ours
}

/// What fills the tables, row by row.
fn rows() -> Vec<String> {
    let mut rows = Vec::new();
    for id in 1..=30 {
        let land = ["'de'", "'fr'", "'pl'", "NULL"][id % 4];
        let mood = ["'sad'", "'ok'", "'happy'", "NULL"][id / 2 % 4];
        let friend = if id % 5 == 0 { "NULL".to_string() } else { (id * 7 % 33).to_string() };
        rows.push(format!("INSERT INTO buyer VALUES ({id}, 'buyer {id}', {land}, {mood}, {friend})"));
    }
    for id in 1..=60 {
        let (buyer, item) = (id * 3 % 31, id % 7);
        let price = if id % 9 == 0 { "NULL".to_string() } else { format!("{}.{:02}", id * 5, id) };
        rows.push(format!(
            "INSERT INTO deal VALUES ({id}, {buyer}, {item}, {price}, '2026-01-01 10:00:00+00'::timestamptz + {id} * interval '5 hours')"
        ));
    }
    for id in 1..=12i64 {
        let mood = ["sad", "ok", "happy"][id as usize % 3];
        rows.push(match id % 4 {
            0 => format!("INSERT INTO thing (id) VALUES ({id})"),
            _ => format!(
                "INSERT INTO thing VALUES ({id}, '{mood}', ROW({id}, {id}.5, '{mood}')::spot, {id}, floatrange({id}.1, {id}.7), '[{id},99)',
                 ARRAY[{id}, NULL, 3], ARRAY['{mood}', 'ok']::mood[], ARRAY[['a,', '\"{id}'], ['NULL', '']],
                 ARRAY[ROW(1, 2.25, 'sad')::spot, NULL], {id}.125, {id} / 7.0::float8, {id} / 3.0::float4, 'Text {id}', 'v{id}', 'c{id}',
                 '\\x00ff{id:02}', {}, '00000000-0000-0000-0000-0000000000{id:02}', '{{\"k\": [{id}, null]}}', '{{\"k\" : {id}}}',
                 '2026-02-03 04:05:06.{id:03}', '2026-02-03 04:05:06.5+0{}', '0044-03-15 BC', '23:59:59.{id}', '1 mon {id} days 00:00:0{}',
                 '10.0.{id}.0/24', B'0101{}', B'1{:b}', 'q', 'pg_class', ARRAY['int4', 'mood']::regtype[], 'name{id}', '{id}.50',
                 '<a>{id}</a>', 'fat cat {id}', '({id},2)', 'ä{id}')",
                id % 2 == 0,
                id % 4,
                id % 9,
                id % 2,
                id
            ),
        });
    }
    for from in (0..MANY).step_by(1_000) {
        let row = |id| format!("({id}, {}, 'row {id}')", id % 1_000);
        let values: Vec<String> = (from..from + 1_000).map(row).collect();
        rows.push(format!("INSERT INTO many VALUES {}", values.join(", ")));
    }
    rows
}
