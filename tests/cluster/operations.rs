//! A proxy's life: servers that die and come back, files that change, signals. The proxy is the real program.

use std::path::Path;
use std::time::{Duration, Instant};

use goldseam::local::Stop;

use crate::own::{self, CLERK, DATABASE, Own, Program, USER, VSCHEMA, eventually};
use crate::raw::Wire;

fn on(own: &Own, shard: usize) -> String {
    format!("SELECT note FROM items WHERE id = {}", own.keys[shard])
}

fn lost(code: &str) -> bool {
    ["08006", "57P03", "57P01", "57P02"].contains(&code)
}

/// Writes a file as editors do: a new one takes the old one's place.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

#[test]
fn a_dead_shard_at_the_start_takes_nothing_else_with_it() {
    let mut own = Own::start();
    own.cluster.servers[1].stop(Stop::Fast);
    let program = Program::start(&own.config("[pool]\nconnect_timeout = \"2s\"\n"));
    let mut client = program.connect();
    client.ok(&on(&own, 0));
    let began = Instant::now();
    for _ in 0..5 {
        let refused = client.query(&on(&own, 1));
        assert!(lost(refused.code()) && refused.status == 'I', "{refused:?}");
        client.ok(&on(&own, 0));
        client.ok("SELECT 1");
    }
    assert!(began.elapsed() < Duration::from_secs(15), "errors come quickly");
    let shards = own.console(program.port).ok("SHOW SHARDS").rows;
    let states: Vec<_> = shards.iter().map(|row| row[4].clone().unwrap()).collect();
    assert_eq!(states, ["up", "down"]);
    assert!(!shards[1][5].as_deref().unwrap().is_empty(), "the reason is shown");
    own.cluster.servers[1].start().unwrap();
    eventually("the shard serves again", || client.query(&on(&own, 1)).code().is_empty());
    eventually("the shard is shown as up", || {
        own.console(program.port).ok("SHOW SHARDS").rows.iter().all(|row| row[4].as_deref() == Some("up"))
    });
}

#[test]
fn all_shards_dead_at_the_start_is_an_error_and_not_the_end() {
    let mut own = Own::start();
    own.cluster.servers[0].stop(Stop::Fast);
    own.cluster.servers[1].stop(Stop::Fast);
    let program = Program::start(&own.config("[pool]\nconnect_timeout = \"2s\"\n"));
    let refused = Wire::open(program.port, USER, DATABASE, &[]).err().unwrap();
    assert!(lost(&refused.code), "{refused:?}");
    own.console(program.port).ok("SHOW SHARDS");
    own.cluster.servers[0].start().unwrap();
    own.cluster.servers[1].start().unwrap();
    eventually("clients are served", || {
        let client = Wire::open(program.port, USER, DATABASE, &[]);
        client.is_ok_and(|mut client| {
            client.query(&on(&own, 0)).code().is_empty() && client.query(&on(&own, 1)).code().is_empty()
        })
    });
}

#[test]
fn a_shard_that_dies_in_mid_statement_costs_that_statement() {
    let mut own = Own::start();
    let program = Program::start(&own.config("[pool]\nconnect_timeout = \"2s\"\n"));
    for how in [Stop::Immediate, Stop::Fast] {
        let [mut busy, mut block, mut idle, mut far, mut pinned] = [0; 5].map(|_| program.connect());
        let sleeps = format!("SELECT pg_sleep(60) FROM items WHERE id = {}", own.keys[1]);
        assert_eq!(busy.prepare("q", "SELECT note FROM items WHERE id = $1").code(), "");
        busy.ok("SET work_mem = '7MB'");
        block.ok("BEGIN");
        block.ok(&format!("UPDATE items SET note = 'lost' WHERE id = {}", own.keys[1]));
        idle.ok(&on(&own, 1));
        far.ok("BEGIN");
        far.ok(&on(&own, 0));
        pinned.ok("BEGIN");
        pinned.ok(&format!("DECLARE mine CURSOR WITH HOLD FOR SELECT note FROM items WHERE id = {}", own.keys[1]));
        pinned.ok("COMMIT");
        busy.start(&sleeps);
        eventually("the statement runs", || {
            own.shard(1)
                .one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'")
                == "1"
        });
        own.cluster.servers[1].stop(how);
        let cut = busy.collect();
        assert!(lost(cut.code()) && cut.status == 'I', "{cut:?}");
        // It lost its connection between two statements: the next one is told, by a warning and by its own failure.
        let cut = block.query("SELECT 1");
        assert!(
            lost(cut.code()) && cut.status == 'E' && cut.notices.iter().any(|notice| notice.contains("was lost")),
            "{cut:?}"
        );
        assert_eq!(block.query("COMMIT").tags, ["ROLLBACK"]);
        assert!(lost(idle.query(&on(&own, 1)).code()));
        far.ok(&on(&own, 0));
        far.ok("COMMIT");
        own.cluster.servers[1].start().unwrap();
        for client in [&mut busy, &mut block, &mut idle, &mut far] {
            eventually("the shard serves again", || client.query(&on(&own, 1)).code().is_empty());
            assert_eq!(client.one(&on(&own, 1)), "first");
        }
        assert_eq!(busy.execute("q", &[&own.keys[1].to_string()]).value(), "first");
        assert_eq!(busy.one("SHOW work_mem"), "7MB");
        // What only the lost connection had is gone, and said to be.
        eventually("the session goes on", || pinned.query("SELECT 1").code().is_empty());
        assert_eq!(pinned.query("FETCH ALL FROM mine").code(), "34000");
    }
}

#[test]
fn sigterm_lets_transactions_finish_and_nobody_else() {
    let own = own::get();
    let mut program = Program::start(&own.config(""));
    let [mut open, mut idle, mut pinned] = [0; 3].map(|_| program.connect());
    open.ok("BEGIN");
    open.ok(&on(own, 0));
    idle.ok(&on(own, 1));
    pinned.ok("LISTEN news");
    let mut console = own.console(program.port);
    program.signal(libc::SIGTERM);
    eventually("nobody new is let in", || Wire::open(program.port, USER, DATABASE, &[]).is_err());
    let refused = idle.query("SELECT 1");
    assert_eq!(refused.code(), "57P01", "{refused:?}");
    assert_eq!(refused.status, '\0', "the connection ends");
    assert_eq!(pinned.query("SELECT 1").code(), "57P01");
    assert_eq!(console.query("SHOW VERSION").status, '\0');
    assert!(program.process.try_wait().unwrap().is_none(), "a transaction is open");
    assert_eq!(open.one(&on(own, 0)), "first");
    assert_eq!(open.ok("COMMIT").tags, ["COMMIT"]);
    assert_eq!(open.query("SELECT 1").code(), "57P01");
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn a_second_sigterm_stops_at_once_and_so_does_the_drains_end() {
    let own = own::get();
    for (extra, signals) in [("", 2), ("[limits]\ndrain_timeout = \"1s\"\n", 1)] {
        let mut program = Program::start(&own.config(extra));
        let mut open = program.connect();
        open.ok("BEGIN");
        open.ok(&format!("UPDATE items SET n = 77 WHERE id = {}", own.keys[0]));
        program.signal(libc::SIGTERM);
        eventually("it drains", || program.said().contains("draining"));
        if signals == 2 {
            program.signal(libc::SIGTERM);
        }
        program.wait();
        assert_eq!(open.query("COMMIT").status, '\0');
        assert_eq!(own.shard(0).one(&format!("SELECT n FROM items WHERE id = {}", own.keys[0])), "0");
    }
}

#[test]
fn sigterm_during_a_pipeline_answers_it() {
    let own = own::get();
    let mut program = Program::start(&own.config(""));
    let mut busy = program.connect();
    busy.start(&format!("SELECT pg_sleep(1), note FROM items WHERE id = {}", own.keys[0]));
    eventually("it runs", || {
        own.shard(0)
            .one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(1)%' AND state = 'active'")
            == "1"
    });
    program.signal(libc::SIGTERM);
    let reply = busy.collect();
    assert_eq!(reply.code(), "", "a statement that runs is a transaction");
    assert_eq!(program.wait(), Some(0));
}

/// Three ways to say that files have changed.
fn say(how: &str, program: &Program, own: &Own) {
    match how {
        "SIGHUP" => program.signal(libc::SIGHUP),
        "RELOAD" => _ = own.console(program.port).query("RELOAD"),
        _ => {}
    }
}

#[test]
fn new_files_come_into_force_without_dropping_anybody_and_bad_ones_do_not() {
    let own = own::get();
    for (n, how) in ["SIGHUP", "RELOAD", "the file's change"].into_iter().enumerate() {
        let table = format!("late{n}");
        for shard in [0, 1] {
            own.shard(shard)
                .ok(&format!("CREATE TABLE {table} (id bigint PRIMARY KEY); GRANT ALL ON {table} TO clerk"));
        }
        let config = own.config("");
        let layout = config.with_file_name("vschema.toml");
        let program = Program::start(&config);
        let mut client = program.connect();
        client.ok("SET work_mem = '7MB'");
        assert_eq!(client.prepare("q", "SELECT note FROM items WHERE id = $1").code(), "");
        client.ok("BEGIN");
        client.ok(&on(own, 0));
        let sql = format!("SELECT count(*) FROM {table} WHERE id = 1");
        assert_ne!(program.connect().query(&sql).code(), "", "no keyspace has it");

        // A mistake in either file: the old ones stay, and the log says where it is.
        replace(&layout, &format!("{VSCHEMA}\n[table.broken]\nkeyspace = \"nowhere\"\ntype = \"reference\"\n"));
        say(how, &program, own);
        eventually("the mistake is logged", || program.said().contains("nowhere"));
        let said = program.said();
        let line = VSCHEMA.lines().count() + 3;
        assert!(said.contains(&format!("vschema.toml:{line}:")) && said.contains("the old one stays"), "{said}");
        client.ok(&on(own, 0));
        replace(&layout, VSCHEMA);
        replace(&config, &(own.config_text("") + "\n[pool]\nsize = \"many\"\n"));
        say(how, &program, own);
        eventually("the mistake is logged", || program.said().contains("goldseam.toml:"));
        let refused = own.console(program.port).query("RELOAD");
        assert_eq!(refused.code(), "F0000");
        assert!(refused.error.unwrap().detail.contains("goldseam.toml:"));

        let text = own.config_text("[auth.user.fresh]\noperator = true\n[pool]\nsize = 3\n");
        replace(
            &layout,
            &format!("{VSCHEMA}\n[table.{table}]\nkeyspace = \"main\"\nshard_key = \"id\"\nvindex = \"by_hash\"\n"),
        );
        replace(&config, &text);
        say(how, &program, own);
        eventually("the new table is served", || program.connect().query(&sql).code().is_empty());
        own.shard(0).query("CREATE ROLE fresh LOGIN");
        own.shard(1).query("CREATE ROLE fresh LOGIN");
        eventually("the new operator is let in", || Wire::open(program.port, "fresh", "goldseam", &[]).is_ok());
        let pools = own.console(program.port).table("SHOW POOLS");
        assert!(pools.iter().all(|pool| pool["pool_size"] == "3"), "{pools:?}");
        client.ok(&on(own, 0));
        client.ok("COMMIT");
        client.ok(&sql);
        assert_eq!(client.one("SHOW work_mem"), "7MB");
        assert_eq!(client.execute("q", &[&own.keys[1].to_string()]).value(), "first");
        for shard in [0, 1] {
            own.shard(shard).ok(&format!("DROP TABLE {table}"));
        }
    }
}

#[test]
fn what_cannot_change_while_clients_are_connected_is_said() {
    let own = own::get();
    let config = own.config("");
    let program = Program::start(&config);
    let good = own.config_text("");
    for (from, to, word) in [
        ("127.0.0.1:0", "127.0.0.1:1", "listen"),
        ("[auth]", "workers = 3\n[auth]", "workers"),
        ("[auth]", "database = \"other\"\n[auth]", "database"),
    ] {
        replace(&config, &good.replacen(from, to, 1));
        let refused = own.console(program.port).query("RELOAD");
        assert_eq!(refused.code(), "F0000", "{word}");
        assert!(refused.error.unwrap().detail.contains(word));
        program.connect().ok(&on(own, 0));
    }
    std::fs::remove_file(&config).unwrap();
    assert_eq!(own.console(program.port).query("RELOAD").code(), "F0000");
    replace(&config, &good);
    own.console(program.port).ok("RELOAD");
}

#[test]
fn the_console_is_for_operators() {
    let own = own::get();
    let program = Program::start(&own.config("[auth.user.clerk]\n"));
    for database in ["goldseam", "pgbouncer"] {
        assert_eq!(Wire::open(program.port, CLERK, database, &[]).err().unwrap().code, "42501");
    }
    let mut clerk = Wire::open(program.port, CLERK, DATABASE, &[]).unwrap();
    for sql in ["RELOAD", "SHOW CLIENTS", "SHOW POOLS"] {
        assert_ne!(clerk.query(sql).code(), "", "{sql}");
    }
    let mut console = own.console(program.port);
    for row in console.table("SHOW HELP").iter().filter(|row| row["command"].starts_with("SHOW ")) {
        console.ok(row["command"].split(" [").next().unwrap());
    }
    console.ok("  show   clients ; ");
    assert_eq!(console.query("DROP EVERYTHING").code(), "42601");
    assert_eq!(console.prepare("", "SHOW CLIENTS").status, 'I');
}

#[test]
fn a_certificate_is_replaced_without_a_restart() {
    let own = own::get();
    let config = own.config("[tls]\ncert = \"server.crt\"\nkey = \"server.key\"\n");
    let folder = config.parent().unwrap();
    let fresh = || rcgen::generate_simple_self_signed(["localhost".to_string(), "127.0.0.1".into()]).unwrap();
    let [first, second] = [fresh(), fresh()];
    for (name, pair) in [("first.crt", &first), ("second.crt", &second)] {
        std::fs::write(folder.join(name), pair.cert.pem()).unwrap();
    }
    let install = |pair: &rcgen::CertifiedKey<rcgen::KeyPair>| {
        replace(&folder.join("server.key"), &pair.signing_key.serialize_pem());
        replace(&folder.join("server.crt"), &pair.cert.pem());
    };
    install(&first);
    let program = Program::start(&config);
    let psql = goldseam::local::find_for_tests().unwrap().psql().unwrap();
    let trusts = |root: &str| {
        let root = folder.join(root).display().to_string();
        let url = format!(
            "host=localhost hostaddr=127.0.0.1 port={} user={USER} dbname={DATABASE} sslmode=verify-full sslrootcert={root}",
            program.port
        );
        std::process::Command::new(&psql).args(["-X", "-c", "SELECT 1", &url]).output().unwrap().status.success()
    };
    assert!(trusts("first.crt") && !trusts("second.crt"));
    let mut client = program.connect();
    install(&second);
    eventually("the new certificate is shown", || trusts("second.crt"));
    assert!(!trusts("first.crt"));
    // A key that does not belong to it is refused, and the certificate stays.
    replace(&folder.join("server.key"), &first.signing_key.serialize_pem());
    assert_eq!(own.console(program.port).query("RELOAD").code(), "F0000");
    assert!(trusts("second.crt"));
    client.ok(&on(own, 0));
}

#[test]
fn twenty_clients_place_a_new_key_on_one_shard() {
    let own = own::get();
    let port = own.proxy("");
    for round in 0..5 {
        let key = format!("contended{round}");
        let clients: Vec<_> = (0..20)
            .map(|n| {
                let sql = format!("INSERT INTO placed VALUES ('{key}', {n}) ON CONFLICT (key) DO NOTHING");
                std::thread::spawn(move || {
                    let mut client = own.connect(port);
                    client.ok(&sql);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let count = |shard| own.shard(shard).one(&format!("SELECT count(*) FROM placed WHERE key = '{key}'"));
        let mut counts = [count(0), count(1)];
        counts.sort();
        assert_eq!(counts, ["0", "1"]);
        // Another proxy, with an empty cache, finds it in the table.
        let other = own.connect(own.proxy("")).query(&format!("SELECT count(*) FROM placed WHERE key = '{key}'"));
        assert_eq!(other.value(), "1");
    }
}

#[test]
fn a_directory_spreads_new_keys_and_knows_unknown_ones() {
    let own = Own::start();
    let port = own.proxy("");
    let mut client = own.connect(port);
    for n in 0..20 {
        client.ok(&format!("INSERT INTO placed VALUES ('spread{n}', {n})"));
    }
    let counts = [0, 1].map(|shard| own.shard(shard).one("SELECT count(*) FROM placed"));
    assert_eq!(counts, ["10", "10"], "least_loaded");
    assert_eq!(client.prepare("q", "SELECT n FROM placed WHERE key = $1").code(), "");
    for n in 0..20 {
        assert_eq!(client.one(&format!("SELECT n FROM placed WHERE key = 'spread{n}'")), n.to_string());
        assert_eq!(client.execute("q", &[&format!("spread{n}")]).value(), n.to_string());
    }
    for sql in [
        "SELECT n FROM placed WHERE key = 'unknown'",
        "UPDATE placed SET n = 1 WHERE key = 'unknown'",
        "DELETE FROM placed WHERE key = 'unknown'",
    ] {
        let reply = client.ok(sql);
        assert!(reply.rows.is_empty() && reply.tags[0].ends_with(" 0"), "{reply:?}");
    }
    // Reading places nothing.
    let directory = "SELECT count(*) FROM goldseam.directory_book WHERE key = 'unknown'";
    assert!([0, 1].iter().all(
        |shard| matches!(own.shard(*shard).query(directory), reply if reply.error.is_some() || reply.value() == "0")
    ));
    // An INSERT that fails leaves a place and no row; the next finds the place.
    assert_eq!(client.query("INSERT INTO placed VALUES ('failing', 1/0)").code(), "22012");
    client.ok("INSERT INTO placed VALUES ('failing', 1)");
    assert_eq!(client.one("SELECT n FROM placed WHERE key = 'failing'"), "1");
}

#[test]
fn new_tables_are_known_at_once() {
    let own = Own::start();
    let one = "[keyspace.one]\nshards = [\"s0\"]\n[table.listed]\nkeyspace = \"one\"\ntype = \"unsharded\"\n";
    let config = own.config("");
    std::fs::write(config.with_file_name("vschema.toml"), one).unwrap();
    let program = Program::start(&config);
    let (mut client, mut other) = (program.connect(), program.connect());
    // Through the proxy, in a keyspace of one shard and as an unsharded table.
    for table in ["made", "listed"] {
        assert_eq!(other.query(&format!("SELECT * FROM {table}")).code(), "42P01");
        client.ok(&format!("CREATE TABLE {table} (id int PRIMARY KEY, a int)"));
        client.ok(&format!("INSERT INTO {table} VALUES (1, 2)"));
        assert_eq!(other.one(&format!("SELECT a FROM {table} WHERE id = 1")), "2");
        client.ok(&format!("ALTER TABLE {table} ADD COLUMN b int DEFAULT 3"));
        assert_eq!(other.one(&format!("SELECT b FROM {table} WHERE id = 1")), "3");
    }
    // In a transaction: known within it, and to others when it commits.
    client.ok("BEGIN");
    client.ok("CREATE TABLE inside (id int)");
    client.ok("INSERT INTO inside VALUES (1)");
    assert_eq!(client.one("SELECT count(*) FROM inside"), "1");
    client.ok("ROLLBACK");
    assert_eq!(client.query("SELECT * FROM inside").code(), "42P01");
    // Behind the proxy's back.
    own.shard(0).ok("CREATE TABLE behind (id int); INSERT INTO behind VALUES (7)");
    assert_eq!(other.one("SELECT id FROM behind"), "7");
    client.ok("DROP TABLE made");
    assert_eq!(other.query("SELECT * FROM made").code(), "42P01");
}

#[test]
fn an_unsharded_table_among_several_shards_is_made_and_known_at_once() {
    let own = Own::start();
    let layout = format!(
        "{VSCHEMA}\n[table.fresh]\nkeyspace = \"one\"\ntype = \"unsharded\"\n[table.behind]\nkeyspace = \"main\"\nshard_key = \"id\"\nvindex = \"by_hash\"\n"
    );
    let config = own.config("");
    std::fs::write(config.with_file_name("vschema.toml"), layout).unwrap();
    let program = Program::start(&config);
    let (mut client, mut other) = (program.connect(), program.connect());
    client.ok("CREATE TABLE fresh (id int PRIMARY KEY, a int)");
    client.ok("INSERT INTO fresh VALUES (1, 2)");
    assert_eq!(other.one("SELECT a FROM fresh WHERE id = 1"), "2");
    assert_eq!(own.shard(1).query("SELECT * FROM fresh").code(), "42P01");
    // A sharded table made behind the proxy's back, after it was asked for in vain: RELOAD reads the catalogs, as the hint says.
    assert_ne!(other.query("SELECT * FROM behind WHERE id = 1").code(), "");
    for shard in [0, 1] {
        own.shard(shard).ok("CREATE TABLE behind (id bigint PRIMARY KEY)");
    }
    own.console(program.port).ok("RELOAD");
    other.ok("SELECT * FROM behind WHERE id = 1");
    client.ok("INSERT INTO behind VALUES (1)");
}
