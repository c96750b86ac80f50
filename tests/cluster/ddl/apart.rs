//! What PostgreSQL does shard by shard because it takes no transaction, and shards that are not there.

use super::get;
use crate::own::Own;

#[test]
fn an_index_is_made_concurrently_shard_by_shard() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("CREATE TABLE a1 (id bigint PRIMARY KEY, n int) /* goldseam: shard_key=id vindex=by_hash */");
    let made = proxy.ok("CREATE INDEX CONCURRENTLY a1_n ON a1 (n)");
    assert_eq!(made.tags, ["CREATE INDEX"], "{made:?}");
    assert_eq!(site.has("a1_n"), [true, true]);
    proxy.ok("REINDEX INDEX CONCURRENTLY a1_n");
    proxy.ok("DROP INDEX CONCURRENTLY a1_n");
    assert_eq!(site.has("a1_n"), [false, false]);
    // One shard has it already: the error names who is done.
    site.own.shard(1).ok("CREATE INDEX a1_m ON a1 (n)");
    let failed = proxy.query("CREATE INDEX CONCURRENTLY a1_m ON a1 (n)");
    assert_eq!(failed.code(), "42P07");
    let said = format!("{failed:?}");
    assert!(said.contains("Done on shards: s0. Not done on: s1."), "{said}");
    proxy.ok("BEGIN");
    assert_eq!(proxy.query("CREATE INDEX CONCURRENTLY a1_x ON a1 (n)").code(), "25001");
    proxy.ok("ROLLBACK");
    proxy.ok("BEGIN");
    proxy.ok("LOCK TABLE a1, facts IN EXCLUSIVE MODE");
    proxy.ok("COMMIT");
    assert_eq!(proxy.query("LOCK TABLE a1").code(), "25P01");
    proxy.ok("DROP TABLE a1");
}

#[test]
fn a_definition_without_one_of_its_shards_is_done_nowhere() {
    let mut own = Own::start();
    let config = own.config("");
    let mut proxy = own.connect(own.proxy_of(&config));
    proxy.ok("ALTER TABLE items ADD COLUMN before int");
    own.cluster.servers[1].stop(goldseam::local::Stop::Immediate);
    let failed = proxy.query("ALTER TABLE items ADD COLUMN after int");
    assert!(failed.code().starts_with("08") || failed.code().starts_with("57"), "{failed:?}");
    let failed = proxy.query("CREATE TABLE a2 (id int) /* goldseam: reference */");
    assert!(failed.code().starts_with("08") || failed.code().starts_with("57"), "{failed:?}");
    let columns =
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname IN ('before', 'after')";
    assert_eq!(own.shard(0).one(columns), "1");
    assert_eq!(own.shard(0).one("SELECT count(*) FROM pg_prepared_xacts"), "0");
    assert!(!std::fs::read_to_string(config.with_file_name("vschema.toml")).unwrap().contains("a2"));
    // What is on the living shard alone goes on.
    proxy.ok("ALTER TABLE lone ADD COLUMN n int");
}
