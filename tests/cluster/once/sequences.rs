//! Numbers of sequences that several shards have: never twice.

use std::collections::HashSet;

use super::{Scene, config};
use crate::own::Program;
use crate::raw::Wire;

#[test]
fn columns_that_an_insert_leaves_out_are_numbered_as_postgresql_does() {
    let mut scene = Scene::new();
    scene.same(&[
        "INSERT INTO people (name) VALUES ('a') RETURNING id",
        "INSERT INTO people (name) VALUES ('b'), ('c'), ('d') RETURNING id, name",
        "INSERT INTO people VALUES (DEFAULT, 'e'), (DEFAULT, 'f') RETURNING id",
        "INSERT INTO people DEFAULT VALUES RETURNING id, name",
        "SELECT currval('people_id_seq'), lastval()",
        "INSERT INTO people VALUES (1000, 'g') RETURNING id",
        "INSERT INTO people (id, name) VALUES (nextval('people_id_seq'), 'h'), (nextval('public.people_id_seq'::regclass), 'i' || nextval('loose') % 100)",
        "INSERT INTO notes (person, body) VALUES (currval('people_id_seq'), 'x') RETURNING person, id",
        "INSERT INTO notes VALUES (1, DEFAULT, 'y'), (2, DEFAULT, 'z') RETURNING id, body",
        "INSERT INTO notes (person, id) VALUES (1, 5)",
        "INSERT INTO notes (person, id) OVERRIDING SYSTEM VALUE VALUES (1, 500) RETURNING id",
        "INSERT INTO notes (id, person) VALUES (DEFAULT, 4) RETURNING id",
        "INSERT INTO kinds (name, x) VALUES ('k', NULL), ('l', NULL) RETURNING id, name",
        "SELECT nextval('loose'), nextval('loose') + 1 AS more",
        "SELECT currval('loose'), lastval()",
        "SELECT nextval('down'), nextval('down')",
        "SELECT pg_catalog.setval('loose', 1000)",
        "SELECT nextval('loose')",
        "SELECT setval('people_id_seq', 5000, false)",
        "INSERT INTO people (name) VALUES ('late') RETURNING id",
        "SELECT nextval('nowhere')",
        "INSERT INTO people (name) VALUES ('n') ON CONFLICT (id) DO NOTHING RETURNING id",
        "INSERT INTO people (name, at) VALUES ('ö''q', DEFAULT) /* end */ RETURNING id;",
    ]);
    scene.same_extended(&[
        "INSERT INTO people (name) VALUES ('p'), ('q') RETURNING id, name",
        "SELECT nextval('loose')",
    ]);
    // The numbers that Goldseam leaves out are its own; rows and their places are PostgreSQL's.
    scene.same(&["SELECT id, name FROM people ORDER BY id", "SELECT person, id, body FROM notes ORDER BY id"]);
    scene.alike("SELECT id, name, at, x FROM kinds ORDER BY id");
    let mut stranger = scene.another();
    assert_eq!(stranger.query("SELECT currval('loose')").code(), "55000");
    assert_eq!(stranger.query("SELECT lastval()").code(), "55000");
    scene.proxy.ok("DISCARD SEQUENCES");
    assert_eq!(scene.proxy.query("SELECT currval('loose')").code(), "55000");
    scene.same(&["SELECT nextval('down') FROM generate_series(1, 4)", "SELECT nextval('down'), nextval('down')"]);
    scene.same(&["SELECT nextval('down')"]);
}

#[test]
fn rows_of_queries_are_numbered() {
    let mut scene = Scene::new();
    scene.same(&[
        "INSERT INTO people (name) SELECT 'n' || n FROM generate_series(1, 50) n",
        "INSERT INTO people (name) SELECT name || '!' FROM people ORDER BY id RETURNING id, name",
        "INSERT INTO notes (person, body) SELECT id, name FROM people WHERE id % 7 = 0 ORDER BY id RETURNING person, id",
        "SELECT currval('people_id_seq'), lastval()",
        "INSERT INTO people (name) SELECT 'x' WHERE false",
        "INSERT INTO people (name) VALUES ((SELECT max(name) FROM people)) RETURNING id, name",
        "SELECT id, name FROM people ORDER BY id",
        "SELECT person, id, body FROM notes ORDER BY person, id",
        "SELECT min(made) = max(made) FROM notes",
        "INSERT INTO people (name, at) SELECT name, now() FROM people LIMIT 9",
        "SELECT count(*), min(at) = max(at) FROM people WHERE id > 101",
    ]);
}

#[test]
fn values_of_prepared_statements_are_numbered_too() {
    let mut scene = Scene::new();
    let insert = "INSERT INTO people (name) VALUES ($1), ($2 || '!') RETURNING id, name";
    for wire in [&mut scene.proxy, &mut scene.plain] {
        wire.prepare("more", insert);
    }
    for round in ["a", "b", "c"] {
        let (proxy, plain) = (scene.proxy.execute("more", &[round, "x"]), scene.plain.execute("more", &[round, "x"]));
        assert_eq!(proxy.clone().comparable(), plain.comparable(), "{proxy:?}");
    }
    scene.same(&["SELECT id, name FROM people ORDER BY id"]);
}

#[test]
fn no_number_comes_twice_from_two_proxies_or_after_a_crash() {
    let scene = Scene::new();
    // The shards have counted by themselves before.
    scene.shard(1).ok("SELECT setval('people_id_seq', 700)");
    let mut programs = [Program::start(&config(&scene.cluster)), Program::start(&config(&scene.cluster))];
    let mut seen: HashSet<i64> = HashSet::new();
    let mut draw = |wire: &mut Wire, seen: &mut HashSet<i64>| {
        let reply = wire.ok("INSERT INTO people (name) VALUES ('x'), ('y'), ('z') RETURNING id");
        for row in reply.rows {
            let id: i64 = row[0].as_deref().unwrap().parse().unwrap();
            assert!(id > 700 && seen.insert(id), "{id} came twice");
        }
    };
    for round in 0..3 {
        let mut wires = [programs[0].connect(), programs[1].connect()];
        for _ in 0..60 {
            wires.iter_mut().for_each(|wire| draw(wire, &mut seen));
        }
        let at = round % 2;
        programs[at].signal(libc::SIGKILL);
        programs[at].wait();
        programs[at] = Program::start(&config(&scene.cluster));
    }
    assert_eq!(seen.len(), 3 * 60 * 2 * 3);
    let mut all = scene.another();
    assert_eq!(all.one("SELECT count(*) FROM people"), seen.len().to_string());
}

#[test]
fn many_clients_draw_at_once() {
    let scene = Scene::new();
    let ports: Vec<u16> = (0..2).map(|_| super::start(&scene.cluster)).collect();
    let ids: Vec<i64> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|n| {
                let port = ports[n % 2];
                scope.spawn(move || {
                    let mut wire = super::open(port);
                    let mut ids = Vec::new();
                    for _ in 0..40 {
                        wire.ok("BEGIN");
                        ids.push(
                            wire.one("INSERT INTO people (name) VALUES ('x') RETURNING id").parse::<i64>().unwrap(),
                        );
                        ids.push(wire.one("SELECT nextval('people_id_seq')").parse().unwrap());
                        wire.ok("COMMIT");
                    }
                    ids
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
}

#[test]
fn only_who_may_use_a_sequence_draws_from_it() {
    let scene = Scene::new();
    let port = super::start(&scene.cluster);
    let mut clerk = Wire::open(port, "clerk", crate::own::DATABASE, &[]).unwrap();
    let reply = clerk.query("INSERT INTO people (name) VALUES ('x')");
    assert_eq!(reply.code(), "42501", "{reply:?}");
    clerk.ok("INSERT INTO notes (person, body) VALUES (1, 'an identity needs no right of its own')");
    scene.shard(0).ok("GRANT USAGE ON SEQUENCE people_id_seq TO clerk");
    clerk.ok("INSERT INTO people (name) VALUES ('x')");
}
