//! The pool in front of real servers: its limits and its queue, what pins a connection, and what clients that vanish leave behind.

use std::time::Duration;

use crate::own::{self, CLERK, DATABASE, Own, USER, eventually};
use crate::raw::Wire;

fn pool(extra: &str) -> String {
    format!("[pool]\nmin_idle = 0\n{extra}\n")
}

/// What a shard says of the connections of one proxy, which has a name of its own.
fn backends(own: &Own, shard: usize, name: &str, state: &str) -> usize {
    let sql =
        format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}' AND state LIKE '{state}%'");
    own.shard(shard).one(&sql).parse().unwrap()
}

fn named(port: u16, user: &str, name: &str) -> Wire {
    Wire::open(port, user, DATABASE, &[("application_name", name)]).unwrap()
}

fn on(own: &Own, shard: usize) -> String {
    format!("SELECT n FROM items WHERE id = {}", own.keys[shard])
}

#[test]
fn a_full_pool_makes_clients_wait_and_gives_up_in_time() {
    let own = own::get();
    let port = own.proxy(&pool("size = 1\nqueue_timeout = \"1s\""));
    let (mut first, mut second) = (own.connect(port), own.connect(port));
    first.ok("BEGIN");
    first.ok(&on(own, 0));
    let refused = second.query(&on(own, 0));
    assert_eq!(refused.code(), "53300", "{refused:?}");
    assert_eq!(refused.status, 'I');
    // Another shard's connections are others.
    second.ok(&on(own, 1));
    second.start(&on(own, 0));
    own::eventually("the second client waits", || {
        let pools = own.console(port).table("SHOW POOLS");
        pools.iter().any(|pool| pool["shard"] == "s0" && pool["cl_waiting"] == "1")
    });
    first.ok("COMMIT");
    assert_eq!(second.collect().code(), "");
}

#[test]
fn a_transaction_that_cannot_begin_fails_as_a_whole() {
    let own = own::get();
    let port = own.proxy(&pool("size = 1\nqueue_timeout = \"1s\""));
    let (mut first, mut second) = (own.connect(port), own.connect(port));
    first.ok("BEGIN");
    first.ok(&on(own, 0));
    second.ok("BEGIN");
    assert_eq!(second.query(&on(own, 0)).code(), "53300");
    assert_eq!(second.query(&on(own, 1)).code(), "25P02");
    assert_eq!(second.ok("COMMIT").tags, ["ROLLBACK"]);
    first.ok("ROLLBACK");
    second.ok(&on(own, 0));
}

#[test]
fn limits_hold_per_shard_and_per_user() {
    let own = own::get();
    for (limit, other_user_served, other_shard_served) in
        [("max_shard_connections = 1", false, true), ("max_user_connections = 1", true, false)]
    {
        let port = own.proxy(&pool(&format!("size = 5\nqueue_timeout = \"1s\"\n{limit}")));
        let [mut first, mut second] = [0, 1].map(|_| own.connect(port));
        let mut other = Wire::open(port, CLERK, DATABASE, &[]).unwrap();
        first.ok("BEGIN");
        first.ok(&on(own, 0));
        assert_eq!(second.query(&on(own, 0)).code(), "53300", "{limit}");
        assert_eq!(other.query(&on(own, 0)).code().is_empty(), other_user_served, "{limit}");
        assert_eq!(second.query(&on(own, 1)).code().is_empty(), other_shard_served, "{limit}");
        first.ok("COMMIT");
        second.ok(&on(own, 0));
        second.ok(&on(own, 1));
        second.ok(&on(own, 0));
    }
}

#[test]
fn clients_are_limited_in_all_and_for_each_user() {
    let own = own::get();
    let port = own.proxy(&format!("{}[auth.user.clerk]\nmax_connections = 1\n", pool("max_client_connections = 3")));
    let _first = own.connect(port);
    let clerk = Wire::open(port, CLERK, DATABASE, &[]).unwrap();
    assert_eq!(Wire::open(port, CLERK, DATABASE, &[]).err().unwrap().code, "53300");
    let _third = own.connect(port);
    assert_eq!(Wire::open(port, USER, DATABASE, &[]).err().unwrap().code, "53300");
    drop(clerk);
    eventually("a place comes free", || Wire::open(port, CLERK, DATABASE, &[]).is_ok());
}

#[test]
fn session_mode_keeps_one_connection_for_each_client_and_shard() {
    let own = own::get();
    let port = own.proxy(&pool("mode = \"session\"\nsize = 2"));
    let (mut first, mut second) = (own.connect(port), own.connect(port));
    let pid = format!("SELECT pg_backend_pid() FROM items WHERE id = {}", own.keys[0]);
    let (mine, theirs) = (first.one(&pid), second.one(&pid));
    assert_ne!(mine, theirs);
    for _ in 0..5 {
        assert_eq!((first.one(&pid), second.one(&pid)), (mine.clone(), theirs.clone()));
        first.ok(&on(own, 1));
    }
    drop(first);
    let mut third = own.connect(port);
    third.ok(&pid);
    assert_eq!(second.one(&pid), theirs);
}

#[test]
fn pins_are_shown_with_their_reason_and_end_with_it() {
    let own = own::get();
    let port = own.proxy(&pool("size = 3"));
    let mut console = own.console(port);
    let cases = [
        ("CREATE TEMP TABLE t (a int)", "DROP TABLE t", "TemporaryTable"),
        ("CREATE TEMP TABLE t (a int)", "DISCARD TEMP", "TemporaryTable"),
        ("SELECT pg_advisory_lock(42)", "SELECT pg_advisory_unlock(42)", "AdvisoryLock"),
        ("SELECT pg_advisory_lock(42)", "SELECT pg_advisory_unlock_all()", "AdvisoryLock"),
        ("LISTEN news", "UNLISTEN *", "Listen"),
        ("LISTEN news", "UNLISTEN news", "Listen"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE c", "HoldCursor"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "CLOSE ALL", "HoldCursor"),
        ("SELECT setseed(0.5)", "DISCARD ALL", "SessionState"),
        ("LOAD 'plpgsql'", "DISCARD ALL", "UntrackedSetting"),
        ("CREATE TEMP TABLE t (a int)", "DISCARD ALL", "TemporaryTable"),
        ("LISTEN news", "DISCARD ALL", "Listen"),
    ];
    for (n, (make, end, reason)) in cases.into_iter().enumerate() {
        // The last one's session may be there still.
        let name = format!("case {n}");
        let mut client = named(port, USER, &name);
        let mut pins = || {
            let rows = console.table("SHOW CLIENTS");
            rows.into_iter().find(|row| row["application_name"] == name).unwrap()["pins"].clone()
        };
        assert_eq!(pins(), "");
        client.ok(make);
        let shown = pins();
        assert!(shown.ends_with(&format!(": {reason}")), "{make}: {shown}");
        client.ok(end);
        // What was pinned is asked for once the answer is on its way.
        client.ok("SELECT 1");
        assert_eq!(pins(), "", "{make}; {end}");
    }
}

#[test]
fn a_pinned_client_goes_on_working_on_all_shards() {
    let own = own::get();
    let port = own.proxy(&pool("size = 2"));
    let (mut client, mut other) = (own.connect(port), own.connect(port));
    client.ok("CREATE TEMP TABLE mine (a int)");
    client.ok("INSERT INTO mine VALUES (1)");
    for shard in [0, 1, 0] {
        client.ok(&on(own, shard));
        assert_eq!(client.one("SELECT count(*) FROM mine"), "1");
        assert_eq!(other.query("SELECT count(*) FROM mine").code(), "42P01");
    }
    client.ok("LISTEN news");
    other.ok("NOTIFY news, 'hello'");
    client.ok("SELECT 1");
    eventually("the notification comes", || {
        client.ok("SELECT 1");
        client.notifications.contains(&("news".into(), "hello".into()))
    });
    assert!(other.notifications.is_empty());
    drop(client);
    // Its temporary table is nobody's.
    for _ in 0..4 {
        assert_eq!(own.connect(port).query("SELECT count(*) FROM mine").code(), "42P01");
    }
}

#[test]
fn followed_settings_pin_nothing() {
    let own = own::get();
    let port = own.proxy(&pool("size = 1\nqueue_timeout = \"2s\""));
    let (mut one, mut two) = (own.connect(port), own.connect(port));
    for _ in 0..3 {
        one.ok("SELECT set_config('work_mem', '9MB', false)");
        two.ok("SELECT set_config('work_mem', '10MB', true)");
        for shard in [0, 1] {
            let sql = format!("SELECT current_setting('work_mem') FROM items WHERE id = {}", own.keys[shard]);
            assert_eq!((one.one(&sql), two.one(&sql)), ("9MB".into(), "4MB".into()));
        }
        one.ok("RESET work_mem");
        assert_eq!(one.one("SHOW work_mem"), "4MB");
    }
}

#[test]
fn a_client_that_dies_in_a_transaction_leaves_nothing_open() {
    let own = own::get();
    let port = own.proxy(&pool("size = 3"));
    for round in 0..4 {
        let name = format!("dying{round}");
        for shard in [0, 1] {
            let key = own.keys[shard];
            let mut client = named(port, USER, &name);
            client.ok("BEGIN");
            client.ok(&format!("UPDATE items SET note = 'lost' WHERE id = {key}"));
            assert_eq!(backends(own, shard, &name, "idle in transaction"), 1);
            match round {
                0 => {}
                1 => client.start(&format!("SELECT pg_sleep(30) FROM items WHERE id = {key}")),
                2 => _ = client.query("SELECT 1/0"),
                _ => client.start("COPY items (id, note) FROM STDIN"),
            }
            drop(client);
            eventually("no transaction is open", || {
                backends(own, shard, &name, "idle in transaction") + backends(own, shard, &name, "active") == 0
            });
            assert_eq!(own.connect(port).one(&format!("SELECT note FROM items WHERE id = {key}")), "first");
        }
    }
}

#[test]
fn three_hundred_clients_share_five_connections() {
    let own = own::get();
    let port = own.proxy(&pool("size = 5\nqueue_timeout = \"60s\""));
    let clients: Vec<_> = (0..300)
        .map(|n| {
            let (sql, key) = (on(own, n % 2), own.keys[n % 2]);
            std::thread::spawn(move || {
                let mut client = named(port, USER, "crowd");
                for _ in 0..5 {
                    assert_eq!(client.query(&sql).code(), "");
                    client.ok("BEGIN");
                    client.ok(&format!("SELECT note FROM items WHERE id = {key}"));
                    client.ok("COMMIT");
                }
                client
            })
        })
        .collect();
    let clients: Vec<Wire> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert_eq!(clients.len(), 300);
    for shard in [0, 1] {
        assert!(backends(own, shard, "crowd", "") <= 5);
    }
    let pools = own.console(port).table("SHOW POOLS");
    assert!(pools.iter().all(|pool| pool["cl_waiting"] == "0" && pool["sv_active"] == "0"), "{pools:?}");
}

#[test]
fn idle_clients_cost_little_memory() {
    let own = own::get();
    let program = own::Program::start(&own.config(&pool("size = 5")));
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.process.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS"))?.to_string();
        line.split_whitespace().nth(1)?.parse::<i64>().ok()
    };
    program.connect().ok(&on(own, 0));
    // Only Linux says how much memory a process has.
    let Some(before) = resident() else { return };
    let clients: Vec<Wire> = (0..300)
        .map(|_| {
            let mut client = program.connect();
            client.ok(&on(own, 0));
            client
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    let each = (resident().unwrap() - before) / clients.len() as i64;
    assert!(each < 64, "{each} kB for an idle client");
}
