//! What migrations do: tables are made, altered and filled in one transaction, and all of it is undone if it fails.

use super::get;

#[test]
fn a_transaction_sees_the_tables_that_it_makes() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("BEGIN");
    proxy.ok("CREATE TABLE m1 (id bigint PRIMARY KEY, n int) /* goldseam: shard_key=id vindex=by_hash */");
    for id in 0..20 {
        proxy.ok(&format!("INSERT INTO m1 VALUES ({id}, {id})"));
    }
    proxy.ok("ALTER TABLE m1 ADD COLUMN note text");
    proxy.ok("UPDATE m1 SET note = 'x' WHERE n > 9");
    assert_eq!(proxy.one("SELECT count(*) FROM m1 WHERE note = 'x'"), "10");
    proxy.ok("SAVEPOINT here");
    proxy.ok("CREATE TABLE m1_more (id bigint) /* goldseam: reference */");
    assert_eq!(proxy.one("SELECT count(*) FROM m1_more"), "0");
    proxy.ok("ROLLBACK TO here");
    assert_eq!(proxy.query("SELECT count(*) FROM m1_more").code(), "42P01");
    proxy.ok("ROLLBACK TO here");
    // Nobody else sees anything of it, and the file does not know it yet.
    assert_eq!(site.proxy().query("SELECT count(*) FROM m1").code(), "42P01");
    assert!(!site.file().contains("[table.m1]"));
    proxy.ok("COMMIT");
    assert_eq!(site.proxy().one("SELECT sum(n) FROM m1"), "190");
    let file = site.file();
    assert!(file.contains("[table.m1]") && !file.contains("m1_more"), "{file}");
    proxy.ok("DROP TABLE m1");
}

#[test]
fn what_is_rolled_back_never_was() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("BEGIN");
    proxy.ok("CREATE TABLE m2 (id bigint PRIMARY KEY) /* goldseam: shard_key=id vindex=by_hash */");
    proxy.ok("INSERT INTO m2 VALUES (1)");
    proxy.ok("ROLLBACK");
    assert_eq!(site.has("m2"), [false, false]);
    assert_eq!(proxy.query("SELECT * FROM m2").code(), "42P01");
    assert!(!site.file().contains("[table.m2]"));
    // The same name again, otherwise.
    proxy.ok("BEGIN");
    proxy.ok("CREATE TABLE m2 (id bigint PRIMARY KEY) /* goldseam: reference */");
    proxy.ok("COMMIT");
    assert_eq!(site.has("m2"), [true, true]);
    proxy.ok("DROP TABLE m2");
}

#[test]
fn the_extended_protocol_defines_too() {
    let site = get();
    let mut proxy = site.proxy();
    let made = proxy.prepare("", "CREATE TABLE m3 (id bigint PRIMARY KEY) /* goldseam: shard_key=id vindex=by_hash */");
    assert_eq!(made.code(), "", "{made:?}");
    let done = proxy.execute("", &[]);
    assert_eq!(done.tags, ["CREATE TABLE"], "{done:?}");
    assert_eq!(site.has("m3"), [true, true]);
    proxy.prepare("ins", "INSERT INTO m3 VALUES ($1)");
    for id in 0..10 {
        assert_eq!(proxy.execute("ins", &[&id.to_string()]).code(), "");
    }
    assert_eq!(proxy.one("SELECT count(*) FROM m3"), "10");
    // A failing one leaves nothing.
    proxy.prepare("again", "CREATE TABLE m3 (id bigint)");
    assert_eq!(proxy.execute("again", &[]).code(), "42P07");
    proxy.ok("DROP TABLE m3");
}

#[test]
fn a_temporary_table_is_altered_where_it_is() {
    let mut proxy = get().proxy();
    proxy.ok("CREATE TEMP TABLE m4 (id int)");
    proxy.ok("ALTER TABLE m4 ADD COLUMN n int");
    proxy.ok("CREATE INDEX ON m4 (n)");
    proxy.ok("INSERT INTO m4 VALUES (1, 2)");
    assert_eq!(proxy.one("SELECT n FROM m4"), "2");
    proxy.ok("TRUNCATE m4");
    proxy.ok("DROP TABLE m4");
}
