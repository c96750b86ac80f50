//! The proof's databases: one plain PostgreSQL with all rows, and the same rows spread over one, three and four shards.
//!
//! The servers are the fixture's; every layout has a database of its own on each, and a proxy of its own in this process. Most databases
//! compare text byte by byte (`C`), one layout compares it as people do (ICU), where Goldseam must either leave the order to a server or
//! refuse. Shards make types and tables after a few others that are dropped again, so that OIDs differ from server to server.

use std::sync::{Mutex, OnceLock};

use goldseam::types::key::{DecodeContext, KeyType, Match, Raw, decode_stored};
use goldseam::types::{Key, ShardId};
use goldseam::vindex::Placement;
use goldseam::vschema::{self, TablePlacement, Vschema};

use super::client::Client;
use crate::fixture::{self, Fixture, SHARDS};

/// The role that everybody logs in as.
pub const USER: &str = "postgres";
const TABLES_SQL: &str = include_str!("tables.sql");
const VSCHEMA: &str = include_str!("vschema.toml");
/// The schema `backup`: copies of all tables, and the procedure that brings them back.
const BACKUP: &str = include_str!("backup.sql");
/// A line for each thing, and each part of it, whose name or whose schema's name begins with `{prefix}`.
const DEFINITIONS: &str = include_str!("definitions.sql");
/// Drops all things whose names begin with `{prefix}`.
const DROP_ALL: &str = include_str!("drop.sql");
/// Clients run one after the other.
const POOL: &str = "[pool]\nsize = 6\nmin_idle = 0\n";

/// The tables in an order that foreign keys allow, and the positions and types of their shard keys.
pub const TABLES: &[(&str, &[(usize, KeyType)])] = &[
    ("region", &[]),
    ("currency", &[]),
    ("setting", &[]),
    ("buyer", &[(0, KeyType::Int8)]),
    ("sale", &[(0, KeyType::Int8)]),
    ("item", &[(0, KeyType::Int8)]),
    ("thing", &[(0, KeyType::Int4)]),
    ("lone", &[(0, KeyType::Int8)]),
    ("blank", &[(0, KeyType::Int8)]),
    ("reading", &[(0, KeyType::Date)]),
    ("page", &[(0, KeyType::Text)]),
    ("account", &[(0, KeyType::Text)]),
    ("office", &[(0, KeyType::Text)]),
    ("ledger", &[(0, KeyType::Text), (1, KeyType::Int4)]),
    ("parcel", &[(0, KeyType::Uuid)]),
    ("odd", &[(0, KeyType::Int4)]),
    ("link", &[(0, KeyType::Int4)]),
    ("touched", &[(0, KeyType::Int8)]),
];

/// A number of shards, and what is peculiar to it.
struct Plan {
    name: &'static str,
    shards: usize,
    /// How many shards the keyspace `shop` has, from the first.
    shop: usize,
    /// The shard of the unsharded table.
    main: &'static str,
    days: &'static str,
    countries: &'static str,
    icu: bool,
}

const PLANS: &[Plan] = &[
    Plan {
        name: "one",
        shards: 2,
        shop: 1,
        main: "s1",
        days: r#"[ { shard = "s0" } ]"#,
        countries: r#"lists = []
default = "s0""#,
        icu: false,
    },
    Plan {
        name: "three",
        shards: 4,
        shop: 3,
        main: "s3",
        days: r#"[ { to = "2026-01-01", shard = "s2" }, { to = "2026-02-01", shard = "s0" }, { shard = "s1" } ]"#,
        countries: r#"lists = [ { values = ["de", "at"], shard = "s0" }, { values = ["fr"], shard = "s1" } ]
default = "s1""#,
        icu: false,
    },
    Plan {
        name: "four",
        shards: 4,
        shop: 4,
        main: "s0",
        days: r#"[ { to = "2025-12-01", shard = "s3" }, { to = "2026-01-20", shard = "s2" }, { to = "2026-01-22", shard = "s1" }, { to = "2027-01-01", shard = "s0" }, { shard = "s3" } ]"#,
        countries: r#"lists = [ { values = ["de"], shard = "s1" }, { values = ["fr", "it"], shard = "s3" } ]
default = "s0""#,
        icu: false,
    },
    Plan {
        name: "people",
        shards: 4,
        shop: 3,
        main: "s2",
        days: r#"[ { to = "2026-01-10", shard = "s1" }, { to = "2026-02-20", shard = "s2" }, { shard = "s0" } ]"#,
        countries: r#"lists = [ { values = ["de", "at"], shard = "s2" } ]
default = "s0""#,
        icu: true,
    },
];

/// A sharded database behind a proxy, and the plain one that it must not be told from.
pub struct Layout {
    /// `one`, `three`, `four`, `people`.
    pub name: &'static str,
    /// Text is not ordered by its bytes, so some orders may be refused here that are answered elsewhere.
    pub icu: bool,
    vschema: Vschema,
    /// Sessions past the proxy: the shards', and last the plain server's.
    servers: Mutex<Vec<Client>>,
    database: String,
    oracle: (u16, String),
    proxy: u16,
}

/// All layouts, made by the first who asks.
pub fn all() -> &'static [Layout] {
    static LAYOUTS: OnceLock<Vec<Layout>> = OnceLock::new();
    LAYOUTS.get_or_init(|| start(fixture::get()))
}

fn start(fixture: &Fixture) -> Vec<Layout> {
    for (icu, name) in [(false, "plain"), (true, "plain_people")] {
        let mut plain = create(fixture.oracle_port(), name, icu, 0);
        plain.script(TABLES_SQL);
        // Before the layouts, of which several have it in common.
        plain.run(&backup());
    }
    std::thread::scope(|scope| {
        let started: Vec<_> = PLANS.iter().map(|plan| scope.spawn(|| layout(fixture, plan))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn layout(fixture: &Fixture, plan: &Plan) -> Layout {
    let names: Vec<String> = (0..plan.shards).map(|n| format!("s{n}")).collect();
    let all: Vec<String> = names[..plan.shop].iter().map(|name| format!("\"{name}\"")).collect();
    let text = VSCHEMA
        .replace("{all}", &format!("[{}]", all.join(", ")))
        .replace("{main}", plan.main)
        .replace("{days}", plan.days)
        .replace("{countries}", plan.countries);
    let vschema = vschema::load(&[("proof.toml".into(), text.clone())], &names).unwrap_or_else(|e| panic!("{e}"));
    let ports: Vec<u16> = fixture.cluster.servers[..plan.shards.min(SHARDS)].iter().map(|s| s.port()).collect();
    let database = format!("proof_{}", plan.name);
    let plain = if plan.icu { "plain_people" } else { "plain" };
    let oracle = (fixture.oracle_port(), plain.to_string());
    fill(plan, &vschema, &ports, &database, &oracle);

    let folder = fixture.cluster.subfolder(&database).unwrap();
    let config = fixture::write_config(&folder, &text, USER, &ports, &database, POOL);
    let proxy = fixture.runtime.block_on(fixture::start_proxy(&config));
    let mut servers: Vec<Client> = ports.iter().map(|port| Client::open(*port, USER, &database)).collect();
    servers.push(Client::open(oracle.0, USER, &oracle.1));
    Layout { name: plan.name, icu: plan.icu, vschema, servers: Mutex::new(servers), database, oracle, proxy }
}

/// A new database in which `before` types were made before.
fn create(port: u16, name: &str, icu: bool, before: usize) -> Client {
    let how = if icu { "LOCALE_PROVIDER icu ICU_LOCALE 'und'" } else { "LOCALE 'C'" };
    Client::open(port, USER, "postgres")
        .script(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {how};\n"));
    let mut client = Client::open(port, USER, name);
    for n in 0..before {
        client.script(&format!("CREATE TYPE before{n} AS ENUM ('x');\nDROP TYPE before{n};\n"));
    }
    client
}

/// Makes the tables on the shards, copies the rows there, and keeps a second copy of all for [`Layout::restore`].
fn fill(plan: &Plan, vschema: &Vschema, ports: &[u16], database: &str, oracle: &(u16, String)) {
    let (schema, _) = TABLES_SQL.split_once("INSERT INTO").unwrap();
    let mut shards: Vec<Client> = (0..plan.shards).map(|n| create(ports[n], database, plan.icu, n)).collect();
    shards.iter_mut().for_each(|shard| shard.script(schema));
    // Rows come as they are: what triggers did to them is done.
    shards.iter_mut().for_each(|shard| shard.run("SET session_replication_role = replica"));
    let mut plain = Client::open(oracle.0, USER, &oracle.1);
    let mut directory = String::new();
    for (table, _) in TABLES {
        let mut lines = vec![String::new(); shards.len()];
        for line in plain.copy_out(table) {
            for shard in place(vschema, table, &line, &mut directory) {
                lines[usize::from(shard.0)] += &line;
                lines[usize::from(shard.0)].push('\n');
            }
        }
        shards.iter_mut().zip(&lines).for_each(|(shard, lines)| shard.copy_in(table, lines));
    }
    // An unsharded table is on no other shard; a keyspace's tables are on its own shards only.
    for (n, shard) in shards.iter_mut().enumerate() {
        if format!("s{n}") != plan.main {
            shard.script("DROP TABLE setting;\n");
        }
    }
    shards[0].script("CREATE SCHEMA goldseam;\nCREATE TABLE goldseam.directory_placed (key text PRIMARY KEY, shard text NOT NULL);\n");
    shards[0].copy_in("goldseam.directory_placed", &directory);
    shards.iter_mut().for_each(|shard| shard.run(&backup()));
}

/// Copies of all tables in a schema of their own, and what brings them back: without triggers, so that rows come back as they were.
fn backup() -> String {
    let names: Vec<String> = TABLES.iter().map(|(table, _)| format!("'{table}'")).collect();
    BACKUP.replace("{tables}", &names.join(", "))
}

/// Where a row of a table, as COPY writes it, belongs.
fn place(vschema: &Vschema, table: &str, line: &str, directory: &mut String) -> Vec<ShardId> {
    let layout = vschema.table("public", table).unwrap();
    let vindex = match &layout.placement {
        TablePlacement::Reference => return vschema.keyspace(layout.keyspace).shards.clone(),
        TablePlacement::Unsharded { shard } => return vec![*shard],
        TablePlacement::Sharded { vindex, .. } => vschema.vindex(*vindex),
    };
    let fields: Vec<&str> = line.split('\t').collect();
    let (_, keys) = TABLES.iter().find(|(name, _)| *name == table).unwrap();
    let key: Vec<Key<'static>> = keys.iter().map(|(at, key_type)| key_of(fields[*at], *key_type)).collect();
    match vindex.vindex.place(&key) {
        Placement::Shard(shard) => vec![shard],
        Placement::Directory => {
            let shards = &vschema.keyspace(layout.keyspace).shards;
            let known = directory.lines().position(|line| line.split('\t').next() == Some(fields[0]));
            // Two of three go to the first shard.
            let n = known.unwrap_or(directory.lines().count());
            let shard = shards[if n % 3 == 2 { (n / 3) % shards.len() } else { 0 }];
            if known.is_none() {
                *directory += &format!("{}\t{}\n", fields[0], vschema.shard_name(shard));
            }
            vec![shard]
        }
        other => panic!("{table}: {line} is placed {other:?}"),
    }
}

fn key_of(text: &str, key_type: KeyType) -> Key<'static> {
    let raw = Raw::Text { text: text.to_string().into(), oid: key_type.oid() };
    match decode_stored(&raw, key_type, &DecodeContext { utc: true, iso: true }) {
        Match::Key(key) => key.into_owned(),
        other => panic!("{text}: {other:?}"),
    }
}

impl Layout {
    /// A session through Goldseam.
    pub fn proxy(&self) -> Client {
        Client::open(self.proxy, USER, &self.database)
    }

    /// A session with the plain server.
    pub fn oracle(&self) -> Client {
        Client::open(self.oracle.0, USER, &self.oracle.1)
    }

    /// How the shards' rows of a table differ from those of the plain server, or from where they belong.
    pub fn difference(&self, table: &str) -> Option<String> {
        let homes = place_of(&self.vschema, table);
        let mut servers = self.servers.lock().unwrap();
        let mut plain = servers.last_mut().unwrap().copy_out(table);
        plain.sort();
        let reference = self.vschema.table("public", table).unwrap().placement == TablePlacement::Reference;
        let mut together = Vec::new();
        for shard in homes {
            let mut rows = servers[usize::from(shard.0)].copy_out(table);
            if reference {
                rows.sort();
                if rows != plain {
                    return Some(format!("{table} on {} differs", self.vschema.shard_name(shard)));
                }
                continue;
            }
            // Who is in a directory is where the proxy put them.
            let wrong =
                |row: &&String| table != "account" && place(&self.vschema, table, row, &mut String::new()) != [shard];
            if let Some(row) = rows.iter().find(wrong) {
                return Some(format!("{table}: {row} is on {}", self.vschema.shard_name(shard)));
            }
            together.extend(rows);
        }
        together.sort();
        let other = |one: &[String], other: &[String]| {
            one.iter().filter(|row| other.binary_search(row).is_err()).take(3).cloned().collect::<Vec<_>>()
        };
        (!reference && together != plain).then(|| {
            let (more, less) = (other(&together, &plain), other(&plain, &together));
            format!(
                "{table}: {} rows instead of {}; only on shards: {more:?}, only on one server: {less:?}",
                together.len(),
                plain.len()
            )
        })
    }

    /// How any table differs ([`Layout::difference`]), or the directory from where its rows are.
    pub fn differences(&self) -> Option<String> {
        TABLES.iter().find_map(|(table, _)| self.difference(table)).or_else(|| self.lost())
    }

    /// A row that is not where the directory says.
    fn lost(&self) -> Option<String> {
        let homes = place_of(&self.vschema, "account");
        // One shard needs no directory.
        if homes.len() == 1 {
            return None;
        }
        let mut servers = self.servers.lock().unwrap();
        let directory = servers[0].copy_out("goldseam.directory_placed");
        for shard in homes {
            let name = self.vschema.shard_name(shard);
            for row in servers[usize::from(shard.0)].copy_out("account") {
                let key = row.split('\t').next().unwrap_or_default();
                if !directory.contains(&format!("{key}\t{name}")) {
                    return Some(format!("account: {row} is on {name}, and the directory does not say so"));
                }
            }
        }
        None
    }

    /// How things whose names begin like this differ between the plain server and any shard of the keyspace.
    pub fn definitions_differ(&self, prefix: &str) -> Option<String> {
        let sql = DEFINITIONS.replace("{prefix}", prefix);
        let shop = self.vschema.keyspaces.iter().find(|keyspace| keyspace.name.as_str() == "shop").unwrap();
        let mut servers = self.servers.lock().unwrap();
        let plain = servers.last_mut().unwrap().lines(&sql);
        for shard in &shop.shards {
            let found = servers[usize::from(shard.0)].lines(&sql);
            let odd = |one: &[String], other: &[String]| {
                one.iter().filter(|line| !other.contains(line)).take(4).cloned().collect::<Vec<_>>()
            };
            if found != plain {
                let name = self.vschema.shard_name(*shard);
                let (more, less) = (odd(&found, &plain), odd(&plain, &found));
                return Some(format!("definitions on {name}: it has {more:?} more, {less:?} not"));
            }
        }
        None
    }

    /// Drops what a case made, past the proxy.
    pub fn drop_all(&self, prefix: &str) {
        let sql = DROP_ALL.replace("{prefix}", prefix);
        self.servers.lock().unwrap().iter_mut().for_each(|server| server.run(&sql));
    }

    /// How many prepared transactions are left on the shards.
    pub fn prepared(&self) -> usize {
        let sql = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()";
        let mut servers = self.servers.lock().unwrap();
        servers.iter_mut().map(|server| server.one(sql).parse::<usize>().unwrap()).sum()
    }

    /// All tables on all servers as they were at first.
    pub fn restore(&self) {
        self.servers.lock().unwrap().iter_mut().for_each(|server| server.run("CALL backup.restore()"));
    }
}

fn place_of(vschema: &Vschema, table: &str) -> Vec<ShardId> {
    let layout = vschema.table("public", table).unwrap();
    match &layout.placement {
        TablePlacement::Unsharded { shard } => vec![*shard],
        _ => vschema.keyspace(layout.keyspace).shards.clone(),
    }
}
