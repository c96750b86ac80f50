//! DDL over two shards: on all of them or on none, with the answer of one PostgreSQL, and known to everybody at once.

mod apart;
mod migrations;
mod places;

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::own::Own;
use crate::raw::Wire;

/// Servers and a proxy that all tests of this subject share.
pub struct Site {
    pub own: Own,
    pub port: u16,
    pub vschema: PathBuf,
}

pub fn get() -> &'static Site {
    static SITE: OnceLock<Site> = OnceLock::new();
    SITE.get_or_init(|| {
        let own = Own::start();
        let config = own.config("");
        let vschema = config.with_file_name("vschema.toml");
        let port = own.proxy_of(&config);
        Site { own, port, vschema }
    })
}

impl Site {
    /// Through Goldseam.
    pub fn proxy(&self) -> Wire {
        self.own.connect(self.port)
    }

    /// What each shard answers.
    #[track_caller]
    pub fn shards(&self, sql: &str) -> [String; 2] {
        [0, 1].map(|n| self.own.shard(n).one(sql))
    }

    /// Whether each shard has a relation.
    #[track_caller]
    pub fn has(&self, relation: &str) -> [bool; 2] {
        self.shards(&format!("SELECT to_regclass('{relation}') IS NOT NULL")).map(|answer| answer == "t")
    }

    /// The vschema file's text.
    pub fn file(&self) -> String {
        std::fs::read_to_string(&self.vschema).unwrap()
    }
}

#[test]
fn a_table_is_altered_on_every_shard_with_the_answer_of_one_server() {
    let site = get();
    let (mut proxy, mut plain) = (site.proxy(), site.own.plain());
    for sql in [
        "ALTER TABLE items ADD COLUMN d1 int",
        "CREATE INDEX d1_index ON items (d1)",
        "COMMENT ON COLUMN items.d1 IS 'what for'",
        "COMMENT ON INDEX d1_index IS 'quick'",
        "ALTER INDEX d1_index RENAME TO d1_index_2",
        "GRANT SELECT ON items, facts TO clerk",
        "CREATE TYPE d1_mood AS ENUM ('glad', 'sad')",
        "ALTER TYPE d1_mood ADD VALUE 'calm'",
        "CREATE DOMAIN d1_small AS int CHECK (VALUE < 10)",
        "CREATE FUNCTION d1_twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2'",
        "CREATE SCHEMA d1_schema",
        "ALTER TABLE items ADD COLUMN d1_m d1_mood DEFAULT 'calm'",
        "CREATE VIEW d1_view AS SELECT id, d1 FROM items",
        "CREATE SEQUENCE d1_sequence",
        "CREATE ROLE d1_role",
        "GRANT d1_role TO clerk",
        "DROP ROLE d1_role",
        "REINDEX TABLE items",
        "ANALYZE items, facts",
        "ANALYZE",
        "VACUUM",
        "VACUUM (ANALYZE) items",
        "DROP INDEX d1_index_2",
        "DROP INDEX IF EXISTS d1_index_2",
        "DROP VIEW d1_view",
        "ALTER TABLE items DROP COLUMN d1, DROP COLUMN d1_m",
        "DROP TYPE d1_mood",
        "DROP SCHEMA d1_schema",
        "DROP SEQUENCE d1_sequence",
        "DROP FUNCTION d1_twice",
        "DROP DOMAIN d1_small",
        "ALTER TABLE items ADD COLUMN n int",
        "ALTER TABLE missing ADD COLUMN n int",
        "DROP TABLE missing",
        "DROP TABLE IF EXISTS missing",
        "DROP INDEX missing",
    ] {
        let (ours, theirs) = (proxy.query(sql), plain.query(sql));
        assert_eq!(ours.comparable(), theirs.comparable(), "left: Goldseam, right: PostgreSQL; {sql}");
    }
}

#[test]
fn a_definition_that_fails_on_one_shard_is_undone_on_all() {
    let site = get();
    let mut proxy = site.proxy();
    site.own.shard(1).ok("CREATE TABLE d2_name (x int)");
    let failed = proxy.query("CREATE TYPE d2_name AS ENUM ('a')");
    assert_eq!(failed.code(), "42710", "{failed:?}");
    assert_eq!(site.shards("SELECT count(*) FROM pg_type WHERE typname = 'd2_name' AND typtype = 'e'"), ["0", "0"]);
    // In a block it is the block that fails, with all that it had done.
    proxy.ok("BEGIN");
    proxy.ok("CREATE TYPE d2_other AS ENUM ('a')");
    proxy.ok("SAVEPOINT here");
    assert_eq!(proxy.query("CREATE TYPE d2_name AS ENUM ('a')").code(), "42710");
    assert_eq!(proxy.query("SELECT 1").code(), "25P02");
    proxy.ok("ROLLBACK TO here");
    proxy.ok("COMMIT");
    assert_eq!(site.shards("SELECT count(*) FROM pg_type WHERE typname = 'd2_other'"), ["1", "1"]);
    proxy.ok("DROP TYPE d2_other");
    // Nothing is left prepared.
    assert_eq!(site.shards("SELECT count(*) FROM pg_prepared_xacts"), ["0", "0"]);
}

#[test]
fn truncate_and_drop_reach_each_table_where_it_is() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("CREATE TABLE d3_a (id bigint PRIMARY KEY) /* goldseam: shard_key=id vindex=by_hash */");
    proxy.ok("CREATE TABLE d3_b (id bigint) /* goldseam: shard=s1 */");
    proxy.ok("CREATE TABLE d3_c (id bigint) /* goldseam: reference */");
    assert_eq!([site.has("d3_a"), site.has("d3_b"), site.has("d3_c")], [[true, true], [false, true], [true, true]]);
    for n in 0..2 {
        site.own.shard(n).ok("INSERT INTO d3_a VALUES (100), (101); INSERT INTO d3_c VALUES (1)");
    }
    proxy.ok("INSERT INTO d3_b VALUES (1), (2)");
    assert_eq!(proxy.ok("TRUNCATE d3_a, d3_b, d3_c RESTART IDENTITY CASCADE").tags, ["TRUNCATE TABLE"]);
    assert_eq!(site.shards("SELECT count(*) FROM d3_a"), ["0", "0"]);
    assert_eq!(site.own.shard(1).one("SELECT count(*) FROM d3_b"), "0");
    proxy.ok("GRANT SELECT ON d3_a, d3_b TO clerk");
    assert_eq!(proxy.ok("DROP TABLE d3_a, d3_b, d3_c").tags, ["DROP TABLE"]);
    assert_eq!([site.has("d3_a"), site.has("d3_b"), site.has("d3_c")], [[false, false]; 3]);
}
