//! Reference tables are written on every shard with equal rows.

use super::Scene;

#[test]
fn every_copy_has_what_postgresql_would_have() {
    let mut scene = Scene::new();
    scene.same(&[
        "INSERT INTO facts VALUES (1, 'one', 1.5), (2, 'two', DEFAULT), (3, NULL, NULL)",
        "INSERT INTO facts (id, name) VALUES (4, 'four') RETURNING id, n, name || '!'",
        "INSERT INTO facts VALUES (1, 'again')",
        "INSERT INTO facts VALUES (1, 'again'), (5, 'five') ON CONFLICT DO NOTHING RETURNING *",
        "INSERT INTO facts VALUES (2, 'zwei') ON CONFLICT (id) DO UPDATE SET name = excluded.name || facts.name RETURNING facts.*",
        "UPDATE facts SET n = n + 1 WHERE id < 4",
        "UPDATE facts AS f SET name = upper(name) WHERE n > 1 RETURNING f.id, name",
        "DELETE FROM facts WHERE name IS NULL RETURNING id",
        "UPDATE facts SET id = id + 10 WHERE id = 5",
        "INSERT INTO facts SELECT id + 100, name, n FROM facts WHERE id < 3",
        "UPDATE facts SET name = k.name FROM kinds k WHERE k.id = facts.id",
        "DELETE FROM facts USING kinds WHERE kinds.id = facts.id",
        "DELETE FROM facts WHERE id IN (SELECT id + 100 FROM facts)",
        "UPDATE facts SET n = (SELECT count(*) FROM facts) WHERE id = 4",
        "UPDATE facts SET n = 1 / (id - 4)",
        "SELECT * FROM facts ORDER BY id",
    ]);
    scene.alike_and_right("SELECT * FROM facts ORDER BY id");
    scene.same(&[
        "BEGIN",
        "INSERT INTO facts VALUES (20, 'in a block')",
        "SELECT name FROM facts WHERE id = 20",
        "SAVEPOINT s",
        "DELETE FROM facts",
        "ROLLBACK TO s",
        "UPDATE facts SET n = 5 WHERE id = 20 RETURNING *",
        "COMMIT",
        "BEGIN",
        "DELETE FROM facts",
        "INSERT INTO facts VALUES (1, 'x'), (1, 'y')",
        "ROLLBACK",
        "WITH gone AS (DELETE FROM facts WHERE id > 100 RETURNING id) SELECT count(*) FROM gone",
        "WITH x AS (SELECT id FROM facts WHERE id < 3) INSERT INTO facts SELECT id + 200 FROM x RETURNING id",
        "TABLE facts",
    ]);
    scene.same_extended(&[
        "UPDATE facts SET name = 'later' WHERE id = 20 RETURNING id, name",
        "DELETE FROM facts WHERE id = 1",
    ]);
    scene.alike_and_right("SELECT * FROM facts ORDER BY id");
}

#[test]
fn what_is_computed_anew_each_time_is_computed_once() {
    let mut scene = Scene::new();
    let all = "SELECT id, name, at, mood, moods, tags, x, p, kind, size FROM kinds ORDER BY id";
    for sql in [
        "INSERT INTO kinds (name, tags, moods, p, kind) VALUES ('a', '{x,NULL}', '{glad}', '(1,glad)', 'people')",
        "INSERT INTO kinds (name, x) VALUES ('b', gen_random_uuid()), ('c', DEFAULT), (md5(random()::text), NULL) RETURNING *",
        "INSERT INTO kinds (id, name, at) VALUES (77, 'd', now() - interval '1 day') RETURNING name, at, size",
        "UPDATE kinds SET x = gen_random_uuid(), tags = ARRAY[random()::text]",
        "UPDATE kinds SET at = now(), mood = 'glad' WHERE name < 'c'",
        "UPDATE kinds SET at = DEFAULT WHERE id = 77",
        "UPDATE kinds SET tags = array_append(tags, f.name) FROM facts f",
        "DELETE FROM kinds WHERE id IN (SELECT id FROM kinds ORDER BY random() LIMIT 1)",
        "INSERT INTO kinds (name) SELECT 'n' || n FROM generate_series(1, 5) n",
        "INSERT INTO kinds (id, name) VALUES (77, 'e') ON CONFLICT (id) DO UPDATE SET x = gen_random_uuid(), at = clock_timestamp()",
        "INSERT INTO keyless VALUES (1, random()), (2, random())",
        "DELETE FROM kinds WHERE random() < 0.3",
        "DELETE FROM kinds WHERE id = (SELECT id FROM kinds ORDER BY id LIMIT 1) RETURNING id, name, at > '2000-01-01'",
    ] {
        let reply = scene.proxy.query(sql);
        assert_eq!(reply.code(), "", "{sql}: {reply:?}");
        scene.alike(all);
    }
    assert!(scene.alike(all).len() >= 2);
    scene.alike("SELECT * FROM keyless ORDER BY a");
    for (sql, code) in [
        // Without a primary key rows cannot be found again.
        ("UPDATE keyless SET b = random()", "0A000"),
        ("UPDATE kinds SET id = (random() * 1000000)::int", "0A000"),
    ] {
        assert_eq!(scene.proxy.query(sql).code(), code, "{sql}");
    }
}

#[test]
fn rows_of_other_tables_reach_every_copy() {
    let mut scene = Scene::new();
    scene.same(&[
        "INSERT INTO people (name) VALUES ('a'), ('b'), ('c'), ('d'), ('e')",
        "INSERT INTO lone (note) VALUES ('x')",
        "INSERT INTO facts SELECT id, name, count(*) OVER () FROM people",
        "INSERT INTO facts (id, name) SELECT 50 + id, note FROM lone RETURNING id",
        "UPDATE facts SET name = p.name || '!' FROM people p WHERE p.id = facts.id AND p.id > 2",
        "DELETE FROM facts WHERE id IN (SELECT id FROM people WHERE name < 'c')",
        "INSERT INTO kinds (name, x) SELECT name, NULL FROM people ORDER BY name RETURNING id, name",
        "SELECT * FROM facts ORDER BY id",
    ]);
    scene.alike_and_right("SELECT * FROM facts ORDER BY id");
    scene.alike("SELECT * FROM kinds ORDER BY id");
}

#[test]
fn copies_that_differ_are_noticed_and_nothing_is_kept() {
    let mut scene = Scene::new();
    scene.proxy.ok("INSERT INTO facts VALUES (1, 'one'), (2, 'two')");
    scene.shard(2).ok("DELETE FROM facts WHERE id = 2");
    let reply = scene.proxy.query("UPDATE facts SET n = 9");
    assert_eq!(reply.code(), "40001", "{reply:?}");
    assert_eq!(scene.shard(0).one("SELECT count(*) FROM facts WHERE n = 9"), "0");
    scene.proxy.ok("INSERT INTO facts VALUES (3, 'three')");
    scene.shard(1).ok("INSERT INTO facts VALUES (4, 'four')");
    assert_eq!(scene.proxy.query("INSERT INTO facts VALUES (4, 'four')").code(), "23505");
    let states = |table: &str| -> Vec<String> {
        let rows = scene.console().table(&format!("SHOW DRIFT {table}"));
        rows.iter().map(|row| format!("{} {} {}", row["shard"], row["rows"], row["state"])).collect()
    };
    assert_eq!(states("facts"), ["s0 3 equal", "s1 4 differs", "s2 2 differs"]);
    assert_eq!(states("kinds"), ["s0 0 equal", "s1 0 equal", "s2 0 equal"]);
    assert_eq!(scene.shard(0).one("SELECT count(*) FROM facts WHERE id = 4"), "0");
}

#[test]
fn rows_of_reference_tables_are_locked_on_the_first_shard() {
    let mut scene = Scene::new();
    scene.same(&["INSERT INTO facts VALUES (1, 'one')", "BEGIN", "SELECT name FROM facts WHERE id = 1 FOR UPDATE"]);
    let mut other = scene.another();
    assert_eq!(other.query("SELECT 1 FROM facts WHERE id = 1 FOR UPDATE NOWAIT").code(), "55P03");
    other.ok("SET lock_timeout = '200ms'");
    assert_eq!(other.query("UPDATE facts SET n = 1").code(), "55P03");
    scene.same(&["UPDATE facts SET n = 2 WHERE id = 1", "COMMIT"]);
    other.ok("UPDATE facts SET n = n + 1");
    scene.alike("SELECT id, n FROM facts");
    assert_eq!(scene.proxy.one("SELECT n FROM facts"), "3");
}
