//! The time is one for a transaction, whichever shards it goes to; keys are made once.

use super::Scene;

#[test]
fn a_statement_over_all_shards_has_one_time() {
    let mut scene = Scene::new();
    scene.proxy.ok("INSERT INTO people (name) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g'), ('h')");
    scene.plain.ok("INSERT INTO people (name) VALUES ('a'), ('b'), ('c'), ('d'), ('e'), ('f'), ('g'), ('h')");
    let all: &[&str] = &[
        "SELECT min(at) = max(at), min(day) = max(day) FROM people",
        "SELECT count(*) FROM people WHERE at <= now() AND at > now() - interval '1 hour'",
        "UPDATE people SET at = now() + interval '1 day'",
        "SELECT min(at) = max(at), min(at) > now() FROM people",
        "UPDATE people SET at = CURRENT_TIMESTAMP(0), day = CURRENT_DATE - 1",
        "SELECT count(*) FROM people WHERE day < current_date",
        "UPDATE people SET at = DEFAULT",
        "SELECT min(at) = max(at) FROM people WHERE at::timestamp <= localtimestamp",
        "DELETE FROM people WHERE at > now() + interval '1 hour'",
        "SELECT name, at > now() AS later FROM people ORDER BY name",
        "SELECT count(*) FROM people WHERE at > statement_timestamp() - interval '1 hour' AND at < transaction_timestamp() + '1 hour'",
        "INSERT INTO people (id, name, at) VALUES (901, 'x', now()), (902, 'y', now()), (903, 'z', now()) RETURNING name, at = now()",
        "SELECT min(at) = max(at) FROM people WHERE id > 900",
    ];
    scene.same(all);
    scene.same_extended(all.get(..8).unwrap());
    scene.same(&[
        "PREPARE p AS SELECT count(*) FROM people WHERE at <= now() AND id <> $1",
        "EXECUTE p(0)",
        "PREPARE q (text) AS INSERT INTO people (name, at) VALUES ($1, now()), ($1 || '!', now()) RETURNING id, name",
        "EXECUTE q('prep')",
        "EXECUTE q('ared')",
        "SELECT 1; INSERT INTO people (name) VALUES ('several'); SELECT count(*) FROM people WHERE at <= now()",
        "BEGIN",
        "DECLARE c CURSOR FOR SELECT name, at <= now() FROM people ORDER BY id",
        "FETCH 3 FROM c",
        "COMMIT",
        "COPY (SELECT name, at <= now() AS past FROM people ORDER BY id) TO STDOUT",
        "SELECT p.name FROM people p JOIN facts f ON f.id = p.id WHERE p.at < now()",
        "SELECT a.name, now() - a.at < interval '1 hour' FROM people a JOIN people b ON a.name = b.name AND b.at <= now() ORDER BY 1, 2",
        "SELECT name FROM people WHERE at = (SELECT max(at) FROM people WHERE at <= now()) ORDER BY name",
    ]);
    // Columns keep their names.
    for (sql, names) in [
        ("SELECT now(), id FROM people LIMIT 1", vec!["now", "id"]),
        (
            "SELECT id, current_date, now()::date, CAST(now() AS text) FROM people",
            vec!["id", "current_date", "now", "now"],
        ),
        ("UPDATE people SET name = name RETURNING now(), localtimestamp", vec!["now", "localtimestamp"]),
    ] {
        scene.proxy.ok(sql);
        assert_eq!(scene.proxy.columns, names, "{sql}");
    }
}

#[test]
fn a_transaction_has_one_time_on_all_shards() {
    let mut scene = Scene::new();
    let ids: Vec<String> = (0..3)
        .map(|n| {
            for id in 1..200 {
                let sql = format!("INSERT INTO people (id, name) VALUES ({id}, 'p') ON CONFLICT (id) DO NOTHING");
                scene.proxy.ok(&sql);
                if scene.shard(n).one(&format!("SELECT count(*) FROM people WHERE id = {id}")) == "1" {
                    return id.to_string();
                }
            }
            panic!("no row on shard {n}")
        })
        .collect();
    let wire = &mut scene.proxy;
    wire.ok("BEGIN");
    let first = wire.one(&format!("SELECT now() FROM people WHERE id = {}", ids[1]));
    std::thread::sleep(std::time::Duration::from_millis(20));
    for id in &ids {
        assert_eq!(wire.one(&format!("SELECT now() FROM people WHERE id = {id}")), first);
        wire.ok(&format!("INSERT INTO notes (person, body) VALUES ({id}, 'x')"));
    }
    assert_eq!(wire.one("SELECT now()"), first);
    assert_eq!(wire.one("SELECT max(now()) FROM people"), first);
    assert_eq!(wire.one("SELECT min(made) = max(made) FROM notes"), "t");
    assert_eq!(
        wire.one(&format!("SELECT count(*) FROM notes WHERE made = timezone('utc', timestamptz '{first}')")),
        "3"
    );
    wire.ok("COMMIT");
    assert_ne!(wire.one("SELECT max(now()) FROM people"), first);
}

#[test]
fn keys_are_made_where_postgresql_would_make_them() {
    let mut scene = Scene::new();
    let wire = &mut scene.proxy;
    let ulid = wire.ok("SELECT goldseam.ulid()");
    assert_eq!(ulid.rows[0][0].as_deref().map(str::len), Some(26));
    assert_eq!(wire.columns, ["ulid"]);
    assert_eq!(wire.one("SELECT length(goldseam.uuid_v7()::text)"), "36");
    wire.ok("INSERT INTO tokens (id, body) VALUES (goldseam.uuid_v7(), 'a'), (goldseam.uuid_v7(), 'b')");
    // The shard key's own default.
    wire.ok("INSERT INTO tokens (body) VALUES ('c'), ('d'), ('e'), ('f')");
    wire.ok("INSERT INTO tokens VALUES (DEFAULT, 'g')");
    wire.ok("INSERT INTO people (id, name) VALUES (goldseam.snowflake(), 'x'), (goldseam.snowflake(), 'y')");
    assert_eq!(wire.one("SELECT count(*) FROM tokens"), "7");
    for row in wire.ok("SELECT id FROM tokens").rows {
        let found = wire.one(&format!("SELECT count(*) FROM tokens WHERE id = '{}'", row[0].as_deref().unwrap()));
        assert_eq!(found, "1", "a row is not where its key leads");
    }
    let both = wire.ok("SELECT goldseam.snowflake() AS a, goldseam.snowflake() AS b").rows;
    assert_ne!(both[0][0], both[0][1]);
}
