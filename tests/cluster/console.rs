//! The operators' console: PgBouncer's columns, and what its commands do to clients at work.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::own::{self, CLERK, DATABASE, Own, Program, USER, eventually};
use crate::raw::Wire;

/// PgBouncer's columns in its order: 1.24's, and `load_balance_hosts` of SHOW POOLS (`src/admin.c`, `src/stats.c`).
const PGBOUNCER: &[(&str, &str)] = &[
    (
        "SHOW CLIENTS",
        "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed \
         ptr link remote_pid tls application_name prepared_statements id",
    ),
    (
        "SHOW SERVERS",
        "type user database replication state addr port local_addr local_port connect_time request_time wait wait_us close_needed \
         ptr link remote_pid tls application_name prepared_statements id",
    ),
    (
        "SHOW POOLS",
        "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active sv_active_cancel \
         sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode load_balance_hosts",
    ),
    (
        "SHOW DATABASES",
        "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime pool_mode \
         load_balance_hosts max_connections current_connections max_client_connections current_client_connections paused disabled",
    ),
    (
        "SHOW STATS",
        "database total_server_assignment_count total_xact_count total_query_count total_received total_sent total_xact_time \
         total_query_time total_wait_time total_client_parse_count total_server_parse_count total_bind_count \
         avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time avg_query_time avg_wait_time \
         avg_client_parse_count avg_server_parse_count avg_bind_count",
    ),
    (
        "SHOW STATS_TOTALS",
        "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time \
         client_parse_count server_parse_count bind_count",
    ),
    (
        "SHOW STATS_AVERAGES",
        "database server_assignment_count xact_count query_count bytes_received bytes_sent xact_time query_time wait_time \
         client_parse_count server_parse_count bind_count",
    ),
    ("SHOW TOTALS", "name value"),
    ("SHOW CONFIG", "key value default changeable"),
    ("SHOW LISTS", "list items"),
    ("SHOW STATE", "key value"),
    (
        "SHOW USERS",
        "name pool_size reserve_pool_size pool_mode max_user_connections current_connections max_user_client_connections \
         current_client_connections",
    ),
    ("SHOW VERSION", "version"),
];

/// Goldseam's own columns, behind PgBouncer's.
const OURS: &[(&str, &str)] = &[
    ("SHOW CLIENTS", "pins"),
    ("SHOW SERVERS", "shard"),
    ("SHOW POOLS", "shard pool_size assignments service"),
    ("SHOW DATABASES", "shards"),
    ("SHOW STATS", "total_plan_hits total_plan_misses total_errors total_refused total_slow"),
    ("SHOW USERS", "rights"),
    ("SHOW QUERIES", "query route shards calls rows errors total_ms mean_ms max_ms"),
    ("SHOW REFUSALS", "sqlstate message query count last_seen hint"),
    ("SHOW DRIFT", "keyspace table shard rows hash state"),
    ("SHOW SHARDS", "shard host port database state last_error"),
    ("SHOW VSCHEMA", "vschema"),
    ("SHOW HELP", "command about"),
];

fn on(own: &Own, shard: usize) -> String {
    format!("SELECT note FROM items WHERE id = {}", own.keys[shard])
}

/// The row in whose column this stands.
fn row<'a>(table: &'a [BTreeMap<String, String>], column: &str, value: &str) -> &'a BTreeMap<String, String> {
    table
        .iter()
        .find(|row| row[column] == value)
        .unwrap_or_else(|| panic!("no row with {column} = {value}: {table:#?}"))
}

#[test]
fn each_table_has_pgbouncers_columns_first() {
    let own = own::get();
    let mut console = own.console(own.proxy(""));
    let of = |list: &[(&str, &str)], command: &str| -> Vec<String> {
        let found = list.iter().find(|(name, _)| *name == command).map_or("", |(_, columns)| columns);
        found.split_whitespace().map(str::to_owned).collect()
    };
    let commands: Vec<String> = console.table("SHOW HELP").iter().map(|row| row["command"].clone()).collect();
    for command in commands.iter().filter(|command| command.starts_with("SHOW ")) {
        // What may follow is no part of it.
        let command = command.split(" [").next().unwrap_or(command);
        console.ok(command);
        let expected = [of(PGBOUNCER, command), of(OURS, command)].concat();
        assert_eq!(console.columns, expected, "{command}");
    }
}

#[test]
fn pause_lets_transactions_end_and_new_ones_wait_for_resume() {
    let own = own::get();
    let port = own.proxy("");
    let [mut open, mut idle, mut prepared] = [0; 3].map(|_| own.connect(port));
    assert_eq!(prepared.prepare("q", "SELECT note FROM items WHERE id = $1").code(), "");
    open.ok("BEGIN");
    open.ok(&on(own, 0));
    let (mut console, mut other) = (own.console(port), own.console(port));
    console.start(&format!("PAUSE {DATABASE};"));
    eventually("it is paused", || row(&other.table("SHOW STATE"), "key", "paused")["value"] == "yes");
    // The open transaction goes on.
    assert_eq!(open.one(&on(own, 0)), "first");
    idle.start(&on(own, 1));
    eventually("a new statement waits", || {
        other.table("SHOW CLIENTS").iter().any(|client| client["state"] == "waiting")
    });
    assert_eq!(row(&other.table("SHOW DATABASES"), "name", DATABASE)["paused"], "1");
    open.ok("COMMIT");
    let reply = console.collect();
    assert_eq!((reply.code(), &reply.tags[..]), ("", &["PAUSE".to_owned()][..]));
    assert!(other.table("SHOW SERVERS").is_empty(), "all server connections are closed");
    assert_eq!(console.query("PAUSE").code(), "55000");
    open.start("BEGIN");
    prepared.send(&[(b'B', [b"\0q\0\0\0\0\x01\0\0\0\x011\0\0".to_vec()].concat()), (b'E', vec![0; 5]), (b'S', vec![])]);
    std::thread::sleep(Duration::from_millis(200));
    assert!(other.table("SHOW SERVERS").is_empty(), "and none is made");
    // New clients wait too, a console does not.
    let late =
        std::thread::spawn(move || Wire::open(port, USER, DATABASE, &[]).map(|mut client| client.one("SELECT 1")));
    std::thread::sleep(Duration::from_millis(100));
    assert!(!late.is_finished());
    console.ok("RESUME");
    assert_eq!(idle.collect().value(), "first");
    assert_eq!(open.collect().tags, ["BEGIN"]);
    assert_eq!(open.one(&on(own, 1)), "first");
    open.ok("ROLLBACK");
    assert_eq!(prepared.collect().value(), "first");
    assert_eq!(late.join().unwrap().unwrap(), "1");
    assert_eq!(console.query("RESUME").code(), "55000");
}

#[test]
fn an_operator_who_leaves_while_pausing_leaves_nobody_waiting() {
    let own = own::get();
    let port = own.proxy("");
    let (mut open, mut idle) = (own.connect(port), own.connect(port));
    open.ok("BEGIN");
    open.ok(&on(own, 0));
    let mut console = own.console(port);
    console.start("PAUSE");
    eventually("it is paused", || row(&own.console(port).table("SHOW STATE"), "key", "paused")["value"] == "yes");
    idle.start(&on(own, 1));
    drop(console);
    assert_eq!(idle.collect().value(), "first");
    open.ok("COMMIT");
}

#[test]
fn commands_name_the_database_or_an_error() {
    let own = own::get();
    let mut console = own.console(own.proxy(""));
    for command in ["PAUSE", "RESUME", "RECONNECT", "KILL", "DISABLE", "ENABLE", "WAIT_CLOSE"] {
        assert_eq!(console.query(&format!("{command} nowhere")).code(), "3D000", "{command}");
    }
    for (command, code) in [
        ("KILL 1", "42704"),
        ("KILL_CLIENT x", "42601"),
        ("DISABLE", "42601"),
        ("SHUTDOWN SOON", "42601"),
        ("RELOAD now", "42601"),
        ("SELECT 1", "42601"),
        ("SHOW POOLS; SHOW STATS", "42601"),
    ] {
        assert_eq!(console.query(command).code(), code, "{command}");
    }
    assert!(console.query("SHOW").error.unwrap().message.contains("use SHOW HELP;"));
    assert_eq!(console.ok(" ; ").rows.len(), 0);
}

#[test]
fn a_killed_client_ends_in_mid_statement_and_so_does_its_statement() {
    let own = own::get();
    let port = own.proxy("");
    let mut console = own.console(port);
    let busy_on_server = || {
        own.shard(1)
            .one("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(61)%' AND state = 'active'")
    };
    for how in ["KILL_CLIENT", "KILL"] {
        let mut victim = Wire::open(port, USER, DATABASE, &[("application_name", "victim")]).unwrap();
        let mut bystander = own.connect(port);
        victim.start(&format!("SELECT pg_sleep(61) FROM items WHERE id = {}", own.keys[1]));
        eventually("it runs", || busy_on_server() == "1");
        let clients = console.table("SHOW CLIENTS");
        let victim_row = row(&clients, "application_name", "victim");
        assert_eq!(victim_row["state"], "active");
        let servers = console.table("SHOW SERVERS");
        let server = row(&servers, "link", &victim_row["id"]);
        assert_eq!((&server["shard"], &server["ptr"]), (&"s1".to_owned(), &victim_row["link"]));
        console.ok(&format!("{how} {}", victim_row["id"]));
        let reply = victim.collect();
        assert_eq!((reply.code(), reply.status), ("57P01", '\0'));
        eventually("the statement ends", || busy_on_server() == "0");
        assert_eq!(bystander.one(&on(own, 1)), "first");
    }
}

#[test]
fn kill_ends_all_and_resume_lets_new_ones_in() {
    let own = own::get();
    let port = own.proxy("");
    let [mut open, mut pinned, mut idle] = [0; 3].map(|_| own.connect(port));
    open.ok("BEGIN");
    open.ok(&format!("UPDATE items SET n = 99 WHERE id = {}", own.keys[0]));
    pinned.ok("LISTEN news");
    idle.ok("SELECT 1");
    let mut console = own.console(port);
    console.ok("KILL");
    for mut victim in [open, pinned, idle] {
        let reply = victim.collect();
        assert_eq!((reply.code(), reply.status), ("57P01", '\0'));
    }
    eventually("no server connection is left", || console.table("SHOW SERVERS").is_empty());
    assert!(console.table("SHOW CLIENTS").iter().all(|client| client["database"] == "goldseam"));
    let late =
        std::thread::spawn(move || Wire::open(port, USER, DATABASE, &[]).map(|mut client| client.one("SELECT 1")));
    std::thread::sleep(Duration::from_millis(100));
    assert!(!late.is_finished());
    console.ok("RESUME");
    assert_eq!(late.join().unwrap().unwrap(), "1");
    assert_eq!(own.shard(0).one(&format!("SELECT n FROM items WHERE id = {}", own.keys[0])), "0");
}

#[test]
fn reconnect_closes_connections_after_their_use() {
    let own = own::get();
    let port = own.proxy("");
    let (mut open, mut idle) = (own.connect(port), own.connect(port));
    let pid = |client: &mut Wire, shard: usize| {
        client.one(&format!("SELECT pg_backend_pid() FROM items WHERE id = {}", own.keys[shard]))
    };
    let before = pid(&mut idle, 1);
    open.ok("BEGIN");
    let held = pid(&mut open, 0);
    let mut console = own.console(port);
    console.ok("RECONNECT");
    assert_eq!(row(&console.table("SHOW SERVERS"), "remote_pid", &held)["close_needed"], "1");
    assert_eq!(pid(&mut open, 0), held, "a transaction keeps its connection");
    assert_ne!(pid(&mut idle, 1), before);
    let mut waiting = own.console(port);
    waiting.start("WAIT_CLOSE");
    open.ok("COMMIT");
    assert_eq!(waiting.collect().tags, ["WAIT_CLOSE"]);
    assert_ne!(pid(&mut open, 0), held);
}

#[test]
fn a_disabled_database_lets_nobody_new_in() {
    let own = own::get();
    let port = own.proxy("");
    let (mut client, mut console) = (own.connect(port), own.console(port));
    console.ok(&format!("DISABLE {DATABASE}"));
    assert_eq!(Wire::open(port, USER, DATABASE, &[]).err().unwrap().code, "57P03");
    client.ok("SELECT 1");
    console.ok(&format!("ENABLE {DATABASE}"));
    own.connect(port).ok("SELECT 1");
}

#[test]
fn who_may_look_may_only_look() {
    let own = own::get();
    let port = own.proxy("[auth.user.clerk]\nstats = true\n");
    let mut viewer = Wire::open(port, CLERK, "pgbouncer", &[]).unwrap();
    for row in viewer.table("SHOW HELP") {
        let reply = viewer.query(row["command"].split(' ').take(2).collect::<Vec<_>>().join(" ").as_str());
        match row["command"].starts_with("SHOW ") {
            true => assert_eq!(reply.code(), "", "{row:?}"),
            false => assert!(["42501", "42601"].contains(&reply.code()), "{row:?}: {reply:?}"),
        }
    }
    for command in ["PAUSE", "KILL", "RELOAD", "SHUTDOWN", "RECONNECT", &format!("DISABLE {DATABASE}")] {
        assert_eq!(viewer.query(command).code(), "42501", "{command}");
    }
}

#[test]
fn statements_are_counted_by_their_normal_form() {
    let own = own::get();
    let port = own.proxy("");
    let (mut client, mut console) = (own.connect(port), own.console(port));
    for _ in 0..3 {
        client.ok(&on(own, 0));
    }
    client.ok(&on(own, 1));
    assert_eq!(client.prepare("q", "SELECT id FROM items WHERE id = $1").code(), "");
    for key in own.keys {
        client.execute("q", &[&key.to_string()]);
    }
    client.ok("SELECT 1");
    client.ok("BEGIN");
    client.ok("COMMIT");
    let one = own.keys[0];
    assert_eq!(client.query(&format!("SELECT note, 1/0 FROM items WHERE id = {one} AND 1/n > 0")).code(), "22012");
    let refused = format!("SELECT ctid FROM items WHERE n <> {one} AND note <> 'hush'");
    for _ in 0..2 {
        assert_eq!(client.query(&refused).code(), "0A000");
    }
    let queries = console.table("SHOW QUERIES");
    let plain = row(&queries, "query", "SELECT note FROM items WHERE id = ?");
    assert_eq!((plain["route"].as_str(), plain["shards"].as_str()), ("single", "s0,s1"));
    assert_eq!((plain["calls"].as_str(), plain["rows"].as_str(), plain["errors"].as_str()), ("4", "4", "0"));
    let time = |name: &str| plain[name].parse::<f64>().unwrap();
    assert!(
        time("mean_ms") > 0.0 && time("max_ms") >= time("mean_ms") && time("total_ms") >= time("max_ms"),
        "{plain:?}"
    );
    let bound = row(&queries, "query", "SELECT id FROM items WHERE id = $1");
    assert_eq!((bound["calls"].as_str(), bound["rows"].as_str()), ("2", "2"));
    assert_eq!(row(&queries, "query", "SELECT ?")["route"], "any");
    assert_eq!(row(&queries, "query", "BEGIN")["route"], "local");
    let failed = queries.iter().find(|row| row["query"].contains("?/?")).unwrap();
    assert_eq!((failed["calls"].as_str(), failed["errors"].as_str()), ("1", "1"));
    let wrong = row(&queries, "query", "SELECT ctid FROM items WHERE n <> ? AND note <> ?");
    assert_eq!((wrong["route"].as_str(), wrong["calls"].as_str()), ("refused", "2"));

    let refusals = console.table("SHOW REFUSALS");
    let refusal = row(&refusals, "query", "SELECT ctid FROM items WHERE n <> ? AND note <> ?");
    assert_eq!((refusal["sqlstate"].as_str(), refusal["count"].as_str()), ("0A000", "2"));
    assert!(!refusal["message"].is_empty() && refusal["last_seen"].ends_with(" UTC"));
    assert!(!format!("{queries:?}{refusals:?}").contains("hush"), "no value shows");

    let stats = &console.table("SHOW STATS")[0];
    let number = |name: &str| stats[name].parse::<u64>().unwrap();
    assert_eq!(number("total_query_count"), 4 + 2 + 1 + 2 + 1 + 2);
    assert_eq!((number("total_bind_count"), number("total_client_parse_count")), (2, 1));
    assert!(number("total_plan_hits") >= 3 && number("total_refused") == 2 && number("total_errors") == 3, "{stats:?}");
    for name in ["total_xact_count", "total_received", "total_sent", "total_query_time", "total_xact_time"] {
        assert!(number(name) > 0, "{name}: {stats:?}");
    }
}

#[test]
fn statements_over_several_shards_are_counted_once() {
    let own = own::get();
    let port = own.proxy("");
    let (mut client, mut console) = (own.connect(port), own.console(port));
    assert_eq!(client.ok("SELECT id FROM items ORDER BY id LIMIT 5").rows.len(), 5);
    assert_eq!(client.prepare("q", "SELECT id FROM items ORDER BY id LIMIT $1").code(), "");
    assert_eq!(client.execute("q", &["3"]).rows.len(), 3);
    client.ok("BEGIN");
    for key in own.keys {
        client.ok(&format!("SELECT note FROM items WHERE id = {key}"));
    }
    client.ok("COMMIT");
    let queries = console.table("SHOW QUERIES");
    for (query, rows) in
        [("SELECT id FROM items ORDER BY id LIMIT ?", "5"), ("SELECT id FROM items ORDER BY id LIMIT $1", "3")]
    {
        let counted = row(&queries, "query", query);
        assert_eq!((counted["route"].as_str(), counted["shards"].as_str()), ("scatter", "s0,s1"), "{counted:?}");
        assert_eq!((counted["calls"].as_str(), counted["rows"].as_str(), counted["errors"].as_str()), ("1", rows, "0"));
    }
    let stats = &console.table("SHOW STATS")[0];
    assert_eq!((stats["total_query_count"].as_str(), stats["total_xact_count"].as_str()), ("6", "3"), "{stats:?}");
}

#[test]
fn a_pipeline_counts_each_of_its_statements_and_an_error_ends_it() {
    let own = own::get();
    let port = own.proxy("");
    let (mut client, mut console) = (own.connect(port), own.console(port));
    let key = own.keys[0];
    client.ok(&format!("SELECT 1, note FROM items WHERE id = {key}; SELECT 2, note FROM items WHERE id = {key}"));
    let text = |text: &str| [text.as_bytes(), b"\0"].concat();
    let parse = |sql: &str| (b'P', [text(""), text(sql), vec![0, 0]].concat());
    let (bind, execute, sync) = ((b'B', vec![0; 8]), (b'E', vec![0; 5]), (b'S', vec![]));
    let good = format!("SELECT n FROM items WHERE id = {key}");
    let bad = format!("SELECT n/0 FROM items WHERE id = {key}");
    let mut batch = Vec::new();
    for sql in [&good, &good, &bad, &good] {
        batch.extend([parse(sql), bind.clone(), execute.clone()]);
    }
    batch.push(sync);
    client.send(&batch);
    assert_eq!(client.collect().code(), "22012");
    client.ok(&good);
    let queries = console.table("SHOW QUERIES");
    assert_eq!(row(&queries, "query", "SELECT n FROM items WHERE id = ?")["calls"], "3");
    let bad = row(&queries, "query", "SELECT n/? FROM items WHERE id = ?");
    assert_eq!((bad["calls"].as_str(), bad["errors"].as_str()), ("1", "1"));
}

#[test]
fn the_configuration_shows_without_its_secrets() {
    let own = own::get();
    let port = own.proxy("[auth.user.app]\npassword = \"hush\"\n[pool]\nsize = 7\n");
    let settings = own.console(port).table("SHOW CONFIG");
    assert!(!format!("{settings:?}").contains("hush"));
    let size = row(&settings, "key", "pool.size");
    assert_eq!((size["value"].as_str(), size["default"].as_str(), size["changeable"].as_str()), ("7", "20", "yes"));
    assert_eq!(row(&settings, "key", "listen")["changeable"], "no");
}

#[test]
fn shutdown_is_as_gentle_as_it_is_told_to_be() {
    let own = own::get();
    for how in ["", " WAIT_FOR_SERVERS", " WAIT_FOR_CLIENTS"] {
        let mut program = Program::start(&own.config(""));
        let mut open = program.connect();
        open.ok("BEGIN");
        open.ok(&on(own, 0));
        let mut console = own.console(program.port);
        assert_eq!(console.ok(&format!("SHUTDOWN{how}")).tags, ["SHUTDOWN"]);
        if !how.is_empty() {
            eventually("nobody new is let in", || Wire::open(program.port, USER, DATABASE, &[]).is_err());
            assert_eq!(open.one(&on(own, 0)), "first");
            open.ok("COMMIT");
        }
        if how == " WAIT_FOR_CLIENTS" {
            open.ok(&on(own, 1));
            assert!(program.process.try_wait().unwrap().is_none(), "a client is there");
            drop(open);
        }
        assert_eq!(program.wait(), Some(0), "{how}");
    }
}
