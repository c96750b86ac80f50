//! New tables and the vschema: where they go, what is written down, and what the shards could not keep.

use super::get;

#[test]
fn a_comment_places_a_table_and_the_file_says_so() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("/* goldseam: shard_key=owner vindex=by_hash */ CREATE TABLE p1 (id bigint, owner bigint, PRIMARY KEY (owner, id))");
    assert_eq!(site.has("p1"), [true, true]);
    let file = site.file();
    assert!(file.contains("[table.p1]") && file.contains("shard_key = \"owner\""), "{file}");
    for owner in 0..20 {
        proxy.ok(&format!("INSERT INTO p1 VALUES (1, {owner})"));
    }
    assert_eq!(proxy.one("SELECT count(*) FROM p1"), "20");
    let counts = site.shards("SELECT count(*) FROM p1");
    assert!(!counts.contains(&"0".to_owned()), "{counts:?}");
    // Others know it at once.
    assert_eq!(site.proxy().one("SELECT id FROM p1 WHERE owner = 7"), "1");
    // A new name is followed, a dropped table is forgotten by the shards only.
    proxy.ok("ALTER TABLE p1 RENAME TO p1_new");
    assert_eq!(proxy.one("SELECT count(*) FROM p1_new"), "20");
    proxy.ok("ALTER TABLE p1_new RENAME COLUMN owner TO holder");
    assert_eq!(proxy.one("SELECT id FROM p1_new WHERE holder = 7"), "1");
    let file = site.file();
    assert!(
        file.contains("[table.p1_new]") && file.contains("shard_key = \"holder\"") && !file.contains("[table.p1]"),
        "{file}"
    );
    proxy.ok("DROP TABLE p1_new");
}

#[test]
fn a_table_without_a_place_is_refused_with_the_ways_to_one() {
    let mut proxy = get().proxy();
    assert_eq!(proxy.query("CREATE TABLE p2 (id int)").code(), "0A000");
    for (sql, code) in [
        ("CREATE TABLE p2 (id int) /* goldseam: shard_key=id vindex=nothing */", "22023"),
        ("CREATE TABLE p2 (id int) /* goldseam: shard_key=key vindex=by_hash */", "42703"),
        ("CREATE TABLE p2 (id int) /* goldseam: shard=s9 */", "22023"),
        ("CREATE TABLE p2 (id int) /* goldseam: color=red reference */", "22023"),
    ] {
        assert_eq!(proxy.query(sql).code(), code, "{sql}");
    }
    assert_eq!(get().has("p2"), [false, false]);
}

#[test]
fn keys_that_no_shard_can_keep_alone_are_refused() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("CREATE TABLE p3 (id bigint, owner bigint NOT NULL, UNIQUE (owner, id)) /* goldseam: shard_key=owner vindex=by_hash */");
    proxy.ok("CREATE TABLE p3_ref (id bigint PRIMARY KEY) /* goldseam: reference */");
    for sql in [
        "CREATE TABLE p3_a (id bigint PRIMARY KEY, owner bigint) /* goldseam: shard_key=owner vindex=by_hash */",
        "CREATE TABLE p3_a (id bigint, owner bigint, UNIQUE (id)) /* goldseam: shard_key=owner vindex=by_hash */",
        "ALTER TABLE p3 ADD CONSTRAINT p3_key UNIQUE (id)",
        "ALTER TABLE p3 ADD COLUMN code text UNIQUE",
        "CREATE UNIQUE INDEX ON p3 (id)",
        "CREATE UNIQUE INDEX CONCURRENTLY p3_i ON p3 (lower(id::text))",
        "ALTER TABLE p3 ALTER COLUMN owner TYPE text",
        "ALTER TABLE p3 DROP COLUMN owner",
        "ALTER TABLE p3 ADD FOREIGN KEY (id) REFERENCES items (id)",
        "ALTER TABLE p3_ref ADD FOREIGN KEY (id) REFERENCES items (id)",
        "ALTER TABLE p3 ADD COLUMN lone_id int REFERENCES lone",
        "CREATE MATERIALIZED VIEW p3_m AS SELECT count(*) FROM p3",
        "CREATE DATABASE p3",
    ] {
        let refused = proxy.query(sql);
        assert_eq!(refused.code(), "0A000", "{sql}: {refused:?}");
    }
    for sql in [
        "ALTER TABLE p3 ADD FOREIGN KEY (owner) REFERENCES items",
        "ALTER TABLE p3 ADD COLUMN ref bigint REFERENCES p3_ref (id)",
        "ALTER TABLE p3 ADD FOREIGN KEY (owner, ref) REFERENCES p3 (owner, id)",
        "CREATE UNIQUE INDEX ON p3 (lower(id::text), owner)",
        "DROP TABLE p3, p3_ref",
    ] {
        proxy.ok(sql);
    }
}

#[test]
fn a_column_is_not_filled_with_what_differs_from_shard_to_shard() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("CREATE TABLE p4 (id bigint PRIMARY KEY) /* goldseam: shard_key=id vindex=by_hash */");
    // Without rows there is nothing to fill.
    proxy.ok("ALTER TABLE p4 ADD COLUMN made timestamptz NOT NULL DEFAULT now()");
    for id in 0..20 {
        proxy.ok(&format!("INSERT INTO p4 VALUES ({id}, '2026-01-01')"));
    }
    assert_eq!(proxy.query("ALTER TABLE p4 ADD COLUMN number serial").code(), "0A000");
    assert_eq!(proxy.query("ALTER TABLE p4 ADD COLUMN at timestamptz DEFAULT now()").code(), "0A000");
    proxy.ok("ALTER TABLE p4 ADD COLUMN note text DEFAULT 'x'");
    proxy.ok("DROP TABLE p4");
}

#[test]
fn operators_change_the_vschema_by_sql() {
    let site = get();
    let (mut proxy, mut other) = (site.proxy(), site.proxy());
    assert_eq!(proxy.query("CREATE TABLE v1 (id bigint PRIMARY KEY)").code(), "0A000");
    let marked = site.file().replace("[vindex.book]", "# Do not touch the book.\n[vindex.book]");
    std::fs::write(&site.vschema, marked).unwrap();
    // Either the new file is in force by now, or it is refused until it is: comments are no difference.
    proxy.ok("ALTER VSCHEMA ON v1 ADD VINDEX v1_hash (id) USING hash WITH (buckets = 64)");
    other.ok("CREATE TABLE v1 (id bigint PRIMARY KEY, n int)");
    for id in 0..20 {
        proxy.ok(&format!("INSERT INTO v1 VALUES ({id}, 0)"));
    }
    assert_eq!(other.one("SELECT count(*) FROM v1"), "20");
    proxy.ok("ALTER VSCHEMA ADD TABLE v2 TYPE reference");
    other.ok("CREATE TABLE v2 (id int)");
    assert_eq!(site.has("v2"), [true, true]);
    let lines: Vec<String> = other.ok("SHOW VSCHEMA").rows.into_iter().filter_map(|row| row[0].clone()).collect();
    assert!(lines.contains(&"[table.v1]".to_owned()) && lines.contains(&"[vindex.v1_hash]".to_owned()), "{lines:?}");
    assert!(site.file().contains("# Do not touch the book.\n[vindex.book]"));
    for (sql, code) in [
        ("ALTER VSCHEMA ON v1 ADD VINDEX by_hash (n)", "0A000"),
        ("ALTER VSCHEMA ON v2 ADD VINDEX nothing (id)", "42704"),
        ("ALTER VSCHEMA DROP VINDEX v1_hash", "2BP01"),
        ("ALTER VSCHEMA DROP TABLE nothing", "42P01"),
        ("ALTER VSCHEMA ADD", "42601"),
        ("ALTER VSCHEMA ADD TABLE x IN KEYSPACE nowhere", "22023"),
    ] {
        assert_eq!(proxy.query(sql).code(), code, "{sql}");
    }
    proxy.ok("BEGIN");
    assert_eq!(proxy.query("ALTER VSCHEMA DROP TABLE v1").code(), "25001");
    proxy.ok("ROLLBACK");
    proxy.ok("DROP TABLE v1, v2");
    proxy.ok("ALTER VSCHEMA ON v1 DROP VINDEX v1_hash");
    proxy.ok("ALTER VSCHEMA DROP VINDEX v1_hash");
    proxy.ok("ALTER VSCHEMA DROP TABLE v2");
    assert!(!site.file().contains("v1_hash"));
}

#[test]
fn a_file_that_says_something_else_is_not_written_over() {
    let own = &site_of_its_own();
    let (file, mut proxy) = (&own.vschema, own.proxy());
    let good = own.file();
    std::fs::write(file, format!("{good}\n[table.half")).unwrap();
    assert_eq!(proxy.query("ALTER VSCHEMA ADD TABLE w1 TYPE reference").code(), "55000");
    assert_eq!(proxy.query("CREATE TABLE w2 (id int) /* goldseam: reference */").code(), "55000");
    assert_eq!(own.has("w2"), [false, false]);
    assert!(own.file().ends_with("[table.half"));
    std::fs::write(file, good).unwrap();
    proxy.ok("CREATE TABLE w2 (id int) /* goldseam: reference */");
    assert_eq!(own.has("w2"), [true, true]);
}

/// Servers of its own: the file of the others is not broken.
fn site_of_its_own() -> super::Site {
    let own = crate::own::Own::start();
    let config = own.config("");
    let vschema = config.with_file_name("vschema.toml");
    let port = own.proxy_of(&config);
    super::Site { own, port, vschema }
}

#[test]
fn a_sequence_is_given_to_a_table_and_taken_away() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("CREATE TABLE q1 (id bigint, owner bigint, PRIMARY KEY (owner, id)) /* goldseam: shard_key=owner vindex=by_hash */");
    proxy.ok("INSERT INTO q1 VALUES (40, 1), (41, 2), (42, 3)");
    proxy.ok("ALTER VSCHEMA ON q1 ADD SEQUENCE (id)");
    assert_eq!(proxy.ok("INSERT INTO q1 (owner) VALUES (4), (5), (6), (7)").tags, ["INSERT 0 4"]);
    assert_eq!(proxy.one("SELECT count(DISTINCT id) FROM q1 WHERE id > 42"), "4");
    proxy.ok("ALTER VSCHEMA ON q1 DROP SEQUENCE (id)");
    assert_eq!(proxy.query("INSERT INTO q1 (owner) VALUES (8)").code(), "23502");
    assert_eq!(site.has("q1_id_seq"), [false, false]);
    proxy.ok("ALTER VSCHEMA ADD SEQUENCE q1_numbers");
    assert_eq!(site.has("q1_numbers"), [true, true]);
    proxy.ok("ALTER VSCHEMA ON q1 ADD SEQUENCE q1_numbers (id)");
    proxy.ok("INSERT INTO q1 (owner) VALUES (9)");
    proxy.ok("DROP TABLE q1");
    proxy.ok("ALTER VSCHEMA DROP SEQUENCE q1_numbers");
}

#[test]
fn a_table_with_a_lookup_keeps_its_names_until_the_lookup_is_gone() {
    let site = get();
    let mut proxy = site.proxy();
    proxy.ok("CREATE TABLE l1 (id bigint PRIMARY KEY, email text) /* goldseam: shard_key=id vindex=by_hash */");
    proxy.ok("ALTER VSCHEMA ON l1 ADD VINDEX l1_email (email) USING lookup_unique");
    proxy.ok("INSERT INTO l1 VALUES (1, 'a'), (2, 'b')");
    for sql in [
        "DROP TABLE l1",
        "ALTER TABLE l1 RENAME TO l2",
        "ALTER TABLE l1 RENAME email TO mail",
        "ALTER TABLE l1 DROP email",
    ] {
        assert_eq!(proxy.query(sql).code(), "2BP01", "{sql}");
    }
    proxy.ok("TRUNCATE l1");
    proxy.ok("INSERT INTO l1 VALUES (3, 'a')");
    assert_eq!(proxy.query("INSERT INTO l1 VALUES (4, 'a')").code(), "23505");
    proxy.ok("ALTER VSCHEMA ON l1 DROP VINDEX l1_email");
    proxy.ok("DROP TABLE l1");
}
