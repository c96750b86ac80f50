//! Servers that refuse, die, or come back in the middle of a transaction over two shards.
//!
//! A commit is held open between its phases by a deferred foreign key on one shard, whose other end somebody has locked, while the other
//! shard is already prepared.

use std::time::{Duration, Instant};

use goldseam::local::Stop;

use super::stage::{Stage, prepared, rows};
use crate::own::{CLERK, DATABASE, Own, Program, eventually};
use crate::raw::Wire;

const PARENTS: &str = "CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1); \
    ALTER TABLE items ADD COLUMN parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED";

/// Servers of its own with the foreign key, a proxy as a process, and a row on each shard.
struct Scene {
    own: Own,
    program: Program,
    keys: [i64; 2],
}

impl Scene {
    fn new() -> Scene {
        let own = Own::start();
        for shard in [0, 1] {
            own.shard(shard).ok(PARENTS);
        }
        let program = Program::start(&own.config("[pool]\nconnect_timeout = \"2s\"\n"));
        let keys = own.keys;
        Scene { own, program, keys }
    }

    /// Who holds up the second shard's end of a transaction, until dropped.
    fn gate(&self) -> Wire {
        let mut gate = self.own.shard(1);
        gate.ok("BEGIN");
        gate.ok("SELECT FROM parents FOR UPDATE");
        gate
    }

    fn on_second(&self) -> String {
        format!("UPDATE items SET n = n + 1, parent = 1 WHERE id = {}", self.keys[1])
    }

    /// The client has written to both shards and sends COMMIT; now the first is prepared, and the second waits for the gate.
    fn between_phases(&self, client: &mut Wire) -> Wire {
        let gate = self.gate();
        client.ok("BEGIN");
        client.ok(&format!("UPDATE items SET n = n + 1 WHERE id = {}", self.keys[0]));
        client.ok(&self.on_second());
        client.start("COMMIT");
        eventually("one shard is prepared", || prepared(&mut self.own.shard(0)) == "1");
        eventually("the other one waits", || {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION%' AND wait_event_type = 'Lock'";
            self.own.shard(1).one(waits) == "1"
        });
        gate
    }

    /// Ends the server processes of the proxy that match.
    fn terminate(&self, shard: usize, query: &str) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND query LIKE '{query}'"
        );
        assert!(!self.own.shard(shard).ok(&sql).rows.is_empty(), "{query}");
    }

    fn numbers(&self) -> [String; 2] {
        [0, 1].map(|n| self.own.shard(n).one(&format!("SELECT n FROM items WHERE id = {}", self.keys[n])))
    }

    fn nothing_is_prepared(&self) {
        eventually("nothing is left prepared", || [0, 1].iter().all(|n| prepared(&mut self.own.shard(*n)) == "0"));
    }
}

fn lost(code: &str) -> bool {
    ["08006", "57P01", "57P02", "57P03"].contains(&code)
}

#[test]
fn a_server_process_that_dies_between_the_phases_loses_nothing() {
    let scene = Scene::new();
    let mut client = scene.program.connect();
    let gate = scene.between_phases(&mut client);
    scene.terminate(0, "PREPARE TRANSACTION%");
    drop(gate);
    let reply = client.collect();
    assert_eq!((reply.tags.as_slice(), reply.status), (&["COMMIT".to_string()][..], 'I'), "{reply:?}");
    assert_eq!(scene.numbers(), ["1", "1"]);
    scene.nothing_is_prepared();
    client.ok(&format!("UPDATE items SET n = n + 1 WHERE id = {}", scene.keys[0]));
}

#[test]
fn a_shard_that_stops_between_the_phases_does_its_part_when_it_is_back() {
    let mut scene = Scene::new();
    let mut client = scene.program.connect();
    let gate = scene.between_phases(&mut client);
    scene.own.cluster.servers[0].stop(Stop::Immediate);
    drop(gate);
    std::thread::sleep(Duration::from_secs(3));
    scene.own.cluster.servers[0].start().unwrap();
    let reply = client.collect();
    assert_eq!((reply.tags.as_slice(), reply.status), (&["COMMIT".to_string()][..], 'I'), "{reply:?}");
    assert!(reply.notices.iter().all(|notice| notice.contains("shutdown")), "{reply:?}");
    assert_eq!(scene.numbers(), ["1", "1"]);
    scene.nothing_is_prepared();
}

#[test]
fn a_shard_that_stays_away_is_told_later_and_the_client_is_told_so() {
    let mut scene = Scene::new();
    let mut client = scene.program.connect();
    let gate = scene.between_phases(&mut client);
    let began = Instant::now();
    scene.own.cluster.servers[0].stop(Stop::Immediate);
    drop(gate);
    let reply = client.collect();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert_eq!((reply.tags.as_slice(), reply.status), (&["COMMIT".to_string()][..], 'I'), "{reply:?}");
    assert!(reply.notices.iter().any(|notice| notice.contains("is committed, but shard \"s0\"")), "{reply:?}");
    scene.own.cluster.servers[0].start().unwrap();
    scene.nothing_is_prepared();
    assert_eq!(scene.numbers(), ["1", "1"]);
}

#[test]
fn a_server_process_that_dies_while_it_prepares_undoes_all() {
    let scene = Scene::new();
    let mut client = scene.program.connect();
    let gate = scene.between_phases(&mut client);
    scene.terminate(1, "PREPARE TRANSACTION%");
    let reply = client.collect();
    assert!(lost(reply.code()) && reply.status == 'I', "{reply:?}");
    assert_eq!(scene.numbers(), ["0", "0"]);
    scene.nothing_is_prepared();
    // The same transaction again succeeds.
    drop(gate);
    drop(scene.between_phases(&mut client));
    assert_eq!(client.collect().tags, ["COMMIT"]);
    assert_eq!(scene.numbers(), ["1", "1"]);
}

#[test]
fn a_shard_that_stops_while_it_prepares_undoes_all() {
    let mut scene = Scene::new();
    let mut client = scene.program.connect();
    let _gate = scene.between_phases(&mut client);
    scene.own.cluster.servers[1].stop(Stop::Immediate);
    let reply = client.collect();
    assert!(lost(reply.code()) && reply.status == 'I', "{reply:?}");
    scene.own.cluster.servers[1].start().unwrap();
    scene.nothing_is_prepared();
    assert_eq!(scene.numbers(), ["0", "0"]);
}

#[test]
fn a_cancelled_commit_undoes_all() {
    let scene = Scene::new();
    let mut client = scene.program.connect();
    let _gate = scene.between_phases(&mut client);
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION%'";
    assert!(!scene.own.shard(1).ok(cancel).rows.is_empty());
    let reply = client.collect();
    assert_eq!((reply.code(), reply.status), ("57014", 'I'), "{reply:?}");
    assert_eq!(scene.numbers(), ["0", "0"]);
    scene.nothing_is_prepared();
}

#[test]
fn a_crash_of_the_proxy_leaves_transactions_that_its_next_start_names() {
    let mut scene = Scene::new();
    let mut client = scene.program.connect();
    let gate = scene.between_phases(&mut client);
    scene.program.signal(libc::SIGKILL);
    scene.program.wait();
    drop(gate);
    let mut server = scene.own.shard(0);
    let gid = server.one("SELECT gid FROM pg_prepared_xacts");
    assert!(gid.starts_with("goldseam:") && gid.ends_with(":s0"), "{gid}");
    let again = Program::start(&scene.own.config(""));
    eventually("the log names it", || again.said().contains(&gid));
    server.ok(&format!("ROLLBACK PREPARED '{gid}'"));
    eventually("the other shard has let go", || {
        scene.own.shard(1).one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'PREPARE TRANSACTION%'") == "0"
    });
    for gid in scene.own.shard(1).ok("SELECT gid FROM pg_prepared_xacts").rows {
        scene.own.shard(1).ok(&format!("ROLLBACK PREPARED '{}'", gid[0].as_deref().unwrap()));
    }
    assert_eq!(scene.numbers(), ["0", "0"]);
}

#[test]
fn a_participant_that_is_lost_between_statements_is_never_forgotten() {
    let scene = Scene::new();
    let update = |n: usize| format!("UPDATE items SET n = n + 1 WHERE id = {}", scene.keys[n]);
    let kill = |shard: usize| {
        scene.terminate(shard, "UPDATE items SET n%");
        // Until the proxy has had the time to notice, and in every order with what the client sends next.
        std::thread::sleep(Duration::from_millis(300));
    };
    for (dead, next) in [(0, "COMMIT"), (1, "COMMIT"), (0, "SELECT 1"), (1, "SELECT 1"), (0, "ROLLBACK TO s")] {
        let mut client = scene.program.connect();
        client.ok("BEGIN");
        client.ok("SAVEPOINT s");
        client.ok(&update(0));
        client.ok(&update(1));
        kill(dead);
        let reply = client.query(next);
        assert!(lost(reply.code()), "{dead} {next} {reply:?}");
        if next != "COMMIT" {
            assert_eq!(reply.status, 'E');
            assert_eq!(client.query(&update(1)).code(), "25P02");
            assert_ne!(client.query("ROLLBACK TO s").code(), "");
            assert_eq!(client.query("COMMIT").tags, ["ROLLBACK"]);
        }
        client.ok("SELECT 1");
        assert_eq!(scene.numbers(), ["0", "0"], "{dead} {next}");
    }
    scene.nothing_is_prepared();
}

#[test]
fn the_only_writer_that_is_lost_in_its_commit_is_asked_again() {
    let scene = Scene::new();
    let mut client = scene.program.connect();
    client.ok("BEGIN");
    client.ok(&format!("SELECT n FROM items WHERE id = {}", scene.keys[0]));
    let _gate = scene.gate();
    client.ok(&scene.on_second());
    client.start("COMMIT");
    eventually("the commit waits", || {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE query = 'COMMIT' AND wait_event_type = 'Lock'";
        scene.own.shard(1).one(waits) == "1"
    });
    scene.terminate(1, "COMMIT");
    let reply = client.collect();
    assert!(lost(reply.code()) && reply.status == 'I', "{reply:?}");
    assert_eq!(scene.numbers(), ["0", "0"]);
}

#[test]
fn a_second_writer_is_refused_where_nothing_can_be_prepared() {
    let mut own = Own::start();
    own.shard(1).ok("ALTER SYSTEM SET max_prepared_transactions = 0");
    own.cluster.servers[1].stop(Stop::Fast);
    own.cluster.servers[1].start().unwrap();
    let mut client = own.connect(own.proxy(""));
    let update = |n: usize| format!("UPDATE items SET n = n + 1 WHERE id = {}", own.keys[n]);
    let read = |n: usize| format!("SELECT n FROM items WHERE id = {}", own.keys[n]);
    for (first, second) in [(0, 1), (1, 0)] {
        client.ok("BEGIN");
        client.ok(&update(first));
        client.ok(&read(second));
        let refused = client.query(&update(second));
        assert_eq!((refused.code(), refused.status), ("55000", 'E'), "{refused:?}");
        assert!(refused.error.unwrap().message.contains("shard \"s1\""));
        assert_eq!(client.query("COMMIT").tags, ["ROLLBACK"]);
        // One writer and a reader need nothing prepared.
        client.ok("BEGIN");
        client.ok(&read(second));
        client.ok(&update(first));
        client.ok(&read(second));
        assert_eq!(client.query("COMMIT").tags, ["COMMIT"]);
    }
    assert_eq!(own.shard(0).one(&read(0)), "1");
    assert_eq!(own.shard(1).one(&read(1)), "1");
}

#[test]
fn a_part_that_cannot_be_prepared_commits_last_and_decides() {
    let mut stage = Stage::new();
    for what in ["NOTIFY news", "LISTEN news", "CREATE TEMP TABLE mine (a int)"] {
        for end in ["ROLLBACK", "COMMIT"] {
            stage.same(&[
                "BEGIN",
                "UPDATE items SET n = n + 1 WHERE id = A0",
                "UPDATE items SET n = n + 1 WHERE id = B0",
                what,
                end,
            ]);
            stage.same_rows();
        }
    }
    // On one shard all of it works.
    stage.ask("BEGIN");
    stage.ask("SELECT n FROM items WHERE id = B0");
    stage.ask("UPDATE items SET n = 1 WHERE id = A0");
    stage.ask("NOTIFY news");
    assert_eq!(stage.ask("COMMIT").tags, ["COMMIT"]);
}

#[test]
fn a_role_taken_on_in_the_transaction_can_end_it() {
    let own = Own::start();
    for n in 0..3 {
        let mut server = own.connect(own.cluster.servers[n].port());
        server.ok("CREATE ROLE helper; GRANT helper TO clerk; GRANT ALL ON ALL TABLES IN SCHEMA public TO helper");
    }
    let port = own.proxy(&format!("[auth.user.{CLERK}]\n"));
    let mut plain = own.plain();
    let mut client = Wire::open(port, CLERK, DATABASE, &[]).unwrap();
    let keys = rows(&own, &mut client, &mut plain, 1);
    for role in ["SET ROLE helper", "SET LOCAL ROLE helper"] {
        client.ok("BEGIN");
        client.ok(role);
        client.ok(&format!("UPDATE items SET n = n + 1, note = current_user WHERE id = {}", keys[0][0]));
        client.ok(&format!("UPDATE items SET n = n + 1, note = current_user WHERE id = {}", keys[1][0]));
        let reply = client.query("COMMIT");
        assert!(reply.tags == ["COMMIT"] && reply.notices.is_empty(), "{role} {reply:?}");
        for (shard, keys) in keys.iter().enumerate() {
            assert_eq!(own.shard(shard).one(&format!("SELECT note FROM items WHERE id = {}", keys[0])), "helper");
            assert_eq!(prepared(&mut own.shard(shard)), "0");
        }
        client.ok("RESET ROLE");
    }
}

#[test]
fn a_client_that_leaves_takes_its_transaction_with_it() {
    let mut stage = Stage::new();
    stage.ask("BEGIN");
    stage.ask("UPDATE items SET n = 1 WHERE id = A0");
    stage.ask("UPDATE items SET n = 1 WHERE id = B0");
    let text = stage.text("UPDATE items SET n = 100 WHERE id = A0");
    let other = Stage::new();
    stage.proxy = other.proxy;
    // Its locks are gone.
    assert_eq!(stage.proxy.query(&text).code(), "");
    stage.same_rows();
}
