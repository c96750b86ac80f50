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

#[test]
fn several_definitions_in_one_query_are_one_transaction() {
    let site = get();
    let mut proxy = site.proxy();
    let made = proxy.ok("CREATE TABLE m5 (id bigint PRIMARY KEY, n int) /* goldseam: shard_key=id vindex=by_hash */; \
         CREATE INDEX m5_n ON m5 (n); \
         INSERT INTO m5 VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, 5); \
         ALTER TABLE m5 ADD COLUMN note text; \
         UPDATE m5 SET note = 'x'; \
         SELECT count(*) FROM m5 WHERE note = 'x'");
    assert_eq!(made.tags, ["CREATE TABLE", "CREATE INDEX", "INSERT 0 5", "ALTER TABLE", "UPDATE 5", "SELECT 1"]);
    assert_eq!(made.value(), "5");
    assert_eq!(site.has("m5_n"), [true, true]);
    let failed = proxy.query("ALTER TABLE m5 ADD COLUMN more int; CREATE INDEX m5_more ON m5 (more); SELECT 1 / 0");
    assert_eq!((failed.code(), failed.tags.len()), ("22012", 2), "{failed:?}");
    assert_eq!(site.has("m5_more"), [false, false]);
    assert_eq!(proxy.query("SELECT more FROM m5").code(), "42703");
    // The block's end in the middle of it.
    proxy.ok("BEGIN; ALTER TABLE m5 ADD COLUMN a int; COMMIT; UPDATE m5 SET a = 1; DROP TABLE m5");
    assert_eq!(site.has("m5"), [false, false]);
}

#[test]
fn a_search_path_is_left_as_it_was() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("BEGIN");
    proxy.ok("SET LOCAL search_path TO other, public");
    proxy.ok("CREATE TABLE public.m6 (id bigint PRIMARY KEY) /* goldseam: shard_key=id vindex=by_hash */");
    proxy.ok("INSERT INTO m6 VALUES (1), (2), (3)");
    assert_eq!(proxy.one("SHOW search_path"), "other, public");
    proxy.ok("COMMIT");
    assert_eq!(proxy.one("SELECT count(*) FROM m6"), "3");
    proxy.ok("DROP TABLE m6");
}

#[test]
fn create_table_as_takes_rows_from_all_shards() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("CREATE TABLE m7 (id bigint PRIMARY KEY, n int) /* goldseam: shard_key=id vindex=by_hash */");
    proxy.ok("INSERT INTO m7 SELECT g, g % 3 FROM generate_series(1, 30) g");
    let made = proxy.ok("CREATE TABLE m7_copy AS SELECT id + 1000 AS id, n FROM m7 WHERE n > 0 /* goldseam: shard_key=id vindex=by_hash */");
    assert_eq!(made.tags, ["SELECT 20"]);
    assert_eq!(proxy.one("SELECT sum(n) FROM m7_copy"), "30");
    assert_eq!(proxy.one("SELECT n FROM m7_copy WHERE id = 1001"), "1");
    proxy.ok("CREATE TABLE m7_few AS SELECT n, count(*) AS many FROM m7 GROUP BY n /* goldseam: shard=s1 */");
    assert_eq!(proxy.one("SELECT sum(many) FROM m7_few"), "30");
    proxy.ok("DROP TABLE m7, m7_copy, m7_few");
}

#[test]
fn sequences_of_new_tables_count_for_all_shards_in_their_own_transaction() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("BEGIN");
    proxy.ok("CREATE TABLE m8 (id bigserial, owner bigint, PRIMARY KEY (owner, id)) /* goldseam: shard_key=owner vindex=by_hash */");
    for owner in 0..10 {
        proxy.ok(&format!("INSERT INTO m8 (owner) VALUES ({owner})"));
    }
    assert_eq!(proxy.one("SELECT count(DISTINCT id) FROM m8"), "10");
    proxy.ok("COMMIT");
    for owner in 0..10 {
        proxy.ok(&format!("INSERT INTO m8 (owner) VALUES ({owner})"));
    }
    assert_eq!(proxy.one("SELECT count(DISTINCT id) FROM m8"), "20");
    // As tests clean up between two of them: nobody waits for himself.
    proxy.ok("BEGIN");
    proxy.ok("TRUNCATE m8 RESTART IDENTITY");
    proxy.ok("INSERT INTO m8 (owner) VALUES (1), (2), (3)");
    assert_eq!(proxy.one("SELECT max(id) FROM m8"), "3");
    proxy.ok("COMMIT");
    proxy.ok("INSERT INTO m8 (owner) VALUES (4)");
    assert_eq!(proxy.one("SELECT id FROM m8 WHERE owner = 4"), "4");
    proxy.ok("DROP TABLE m8");
}

#[test]
fn blocks_of_definitions_run_on_every_shard() {
    let site = get();
    let mut proxy = site.proxy();
    let block = "DO $$ BEGIN CREATE TYPE m9 AS ENUM ('a', 'b'); EXCEPTION WHEN duplicate_object THEN null; END $$";
    for _ in 0..2 {
        assert_eq!(proxy.ok(block).tags, ["DO"]);
    }
    assert_eq!(site.shards("SELECT count(*) FROM pg_type WHERE typname = 'm9'"), ["1", "1"]);
    assert_eq!(proxy.query("DO $$ BEGIN UPDATE items SET n = 1; END $$").code(), "0A000");
    proxy.ok("/* goldseam: shard=s1 */ DO $$ BEGIN UPDATE items SET n = n; END $$");
    proxy.ok("DROP TYPE m9");
    // A procedure is told where it runs, or refused with the reason.
    proxy.ok("CREATE PROCEDURE m9_run() LANGUAGE sql AS 'UPDATE items SET n = n'");
    assert_eq!(proxy.query("CALL m9_run()").code(), "0A000");
    proxy.ok("/* goldseam: shard=s1 */ CALL m9_run()");
    proxy.ok("DROP PROCEDURE m9_run");
}
