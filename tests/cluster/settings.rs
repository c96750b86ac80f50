//! Settings, transactions and prepared statements follow the client and nobody else: two clients share one connection per shard, and each
//! sees what it would see on a PostgreSQL of its own.

use crate::own::{self, CLERK, DATABASE, Own, USER};
use crate::raw::Wire;

const TINY: &str = "[pool]\nsize = 1\nmin_idle = 0\nqueue_timeout = \"10s\"";

/// Two clients of a proxy with one connection per shard, and two of a plain PostgreSQL that do and say the same.
struct Pairs {
    proxy: Vec<Wire>,
    plain: Vec<Wire>,
    log: Vec<String>,
}

impl Pairs {
    fn new(own: &Own, startup: [&[(&str, &str)]; 2]) -> Pairs {
        let ports = [own.proxy(TINY), own.cluster.servers[2].port()];
        // A connection of Goldseam's is called so until its client gives it a name; here the plain server's are, too.
        let named = startup.map(|options| [&[("application_name", "goldseam")], options].concat());
        let [proxy, plain] = [(ports[0], startup.map(<[_]>::to_vec)), (ports[1], named)].map(|(port, startup)| {
            startup.iter().map(|options| Wire::open(port, USER, DATABASE, options).unwrap()).collect()
        });
        let pairs = Pairs { proxy, plain, log: Vec::new() };
        (0..2).for_each(|who| pairs.same_parameters(who));
        pairs
    }

    /// One client's statement on both sides; the transaction's state afterwards.
    #[track_caller]
    fn run(&mut self, who: usize, sql: &str) -> char {
        let status = self.answers(who, sql);
        self.same_parameters(who);
        status
    }

    /// As [`Self::run`]; what servers report of settings may come with the next statement only.
    #[track_caller]
    fn answers(&mut self, who: usize, sql: &str) -> char {
        self.log.push(format!("{who}: {sql}"));
        let (proxy, plain) = (self.proxy[who].query(sql).comparable(), self.plain[who].query(sql).comparable());
        assert_eq!(proxy, plain, "left: Goldseam, right: PostgreSQL, after\n{}", self.story());
        proxy.status
    }

    #[track_caller]
    fn same_parameters(&self, who: usize) {
        let (proxy, plain) = (&self.proxy[who].parameters, &self.plain[who].parameters);
        assert_eq!(proxy, plain, "ParameterStatus; left: Goldseam, right: PostgreSQL, after\n{}", self.story());
    }

    fn story(&self) -> String {
        self.log[self.log.len().saturating_sub(40)..].join("\n")
    }
}

/// What both clients look at after each change, on any shard and on each by its key.
fn looks(own: &Own) -> Vec<String> {
    // A custom setting that was once known to a connection is empty there and no longer NULL, as after PostgreSQL's own RESET.
    let facts = "current_setting('search_path'), current_setting('TimeZone'), current_setting('DateStyle'), \
        current_setting('application_name'), current_setting('default_transaction_read_only'), current_setting('work_mem'), \
        current_setting('statement_timeout'), current_user, session_user, coalesce(nullif(current_setting('custom.word', true), ''), 'none')";
    let keyed = own.keys.map(|key| format!("SELECT {facts} FROM public.items WHERE id = {key}"));
    let mut looks = vec!["SHOW search_path".to_string(), "SHOW TimeZone".into(), "SHOW application_name".into()];
    looks.push("SELECT timestamptz '2026-01-01 00:00:00+00'::text, date '2026-02-03'::text".into());
    looks.extend(keyed);
    looks
}

#[test]
fn what_one_client_sets_no_other_sees() {
    let own = own::get();
    let mut pairs = Pairs::new(own, [&[], &[]]);
    let looks = looks(own);
    for sql in [
        "SET work_mem = '7MB'",
        "SET search_path = other, public",
        "SET search_path TO 'other'",
        "SET search_path = \"$user\", public",
        "SET TIME ZONE 'Asia/Tokyo'",
        "SET TimeZone = 'UTC'",
        "SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE",
        "SET TIME ZONE LOCAL",
        "SET TIME ZONE -7",
        "SET DateStyle = 'SQL, DMY'",
        "SET DateStyle TO German",
        "SET application_name = 'first ''quoted'' name'",
        "SET application_name TO DEFAULT",
        "SET default_transaction_read_only = on",
        "RESET default_transaction_read_only",
        "SET SESSION statement_timeout = 60000",
        "SET custom.word = 'hello'",
        "SELECT set_config('work_mem', '9MB', false)",
        "SELECT set_config('work_mem', '10MB', true)",
        "SELECT pg_catalog.set_config('TimeZone', 'Europe/Paris', false)",
        "SET ROLE clerk",
        "RESET ROLE",
        "SET ROLE NONE",
        "SET SESSION AUTHORIZATION clerk",
        "RESET SESSION AUTHORIZATION",
        "SET LOCAL work_mem = '11MB'",
        "BEGIN; SET LOCAL TimeZone = 'Asia/Tokyo'; SHOW TimeZone; COMMIT",
        "BEGIN; SET work_mem = '12MB'; ROLLBACK",
        "BEGIN; SET work_mem = '13MB'; SAVEPOINT a; SET work_mem = '14MB'; ROLLBACK TO a; SHOW work_mem; COMMIT",
        "SET work_mem = '15MB'; SELECT 1/0; SET TimeZone = 'UTC'",
        "SET work_mem = 'nonsense'",
        "SET nonsense = 1",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SET client_encoding = 'UTF8'",
        "RESET client_encoding",
        "SET NAMES 'UTF8'",
        "SET standard_conforming_strings = on",
        "SET extra_float_digits = 0",
        "SET IntervalStyle = 'iso_8601'",
        "RESET ALL",
        "SET work_mem = '16MB'",
        "DISCARD ALL",
    ] {
        pairs.run(0, sql);
        for look in &looks {
            pairs.run(1, look);
            pairs.run(0, look);
        }
        pairs.run(1, "SET work_mem = '3MB'");
        pairs.run(0, "SHOW work_mem");
        pairs.run(1, "RESET work_mem");
    }
}

#[test]
fn a_clients_startup_settings_are_what_reset_goes_back_to() {
    let own = own::get();
    let options: &[(&str, &str)] = &[
        ("options", "-c work_mem=5MB -c TimeZone=Asia/Tokyo --search_path=other,public -c custom.word=a\\ b"),
        ("application_name", "starter"),
        ("DateStyle", "German"),
    ];
    let mut pairs = Pairs::new(own, [options, &[]]);
    let looks = looks(own);
    for sql in [
        "SELECT 1",
        "SET work_mem = '6MB'",
        "SET work_mem TO DEFAULT",
        "SET TimeZone = 'UTC'",
        "RESET TimeZone",
        "SET search_path = public",
        "RESET ALL",
        "SET application_name = 'x'",
        "SELECT pg_advisory_unlock_all(); CLOSE ALL; UNLISTEN *; RESET ALL",
        "SET work_mem = '8MB'",
        "BEGIN",
        "RESET ALL",
        "SET work_mem = '9MB'",
        "SAVEPOINT a",
        "SET TimeZone = 'UTC'",
        "RESET TimeZone",
        "SET LOCAL TimeZone TO DEFAULT",
        "ROLLBACK TO a",
        "ROLLBACK",
        "BEGIN",
        "SET application_name = 'y'",
        "SET application_name TO DEFAULT",
        "COMMIT",
        "DISCARD ALL",
    ] {
        let status = pairs.answers(0, sql);
        if status == 'T' {
            // The transaction has a shard from here on, and the pool's only connection to it.
            pairs.run(0, &looks[4]);
            continue;
        }
        for look in &looks {
            pairs.run(0, look);
            pairs.run(1, look);
        }
    }
}

/// A small generator (Knuth's MMIX constants): the same statements on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    fn pick<'a>(&mut self, all: &'a [&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

#[test]
fn any_mixture_of_settings_and_transactions_is_as_on_a_postgresql_of_ones_own() {
    const STATEMENTS: &[&str] = &[
        "SET work_mem = '7MB'",
        "SET LOCAL work_mem = '8MB'",
        "RESET work_mem",
        "SET TimeZone = 'Asia/Tokyo'",
        "SET LOCAL TimeZone = 'Europe/Paris'",
        "SET TIME ZONE DEFAULT",
        "SET DateStyle = 'SQL, DMY'",
        "SET search_path = other, public",
        "SET LOCAL search_path = public",
        "RESET search_path",
        "SET application_name = 'one'",
        "SET LOCAL application_name = 'two'",
        "RESET ALL",
        "SET ROLE clerk",
        "SET LOCAL ROLE clerk",
        "RESET ROLE",
        "SET SESSION AUTHORIZATION clerk",
        "RESET SESSION AUTHORIZATION",
        "SELECT set_config('work_mem', '9MB', false)",
        "SELECT set_config('TimeZone', 'UTC', true)",
        "SET work_mem = 'wrong'",
        "SELECT 1/0",
        "SHOW work_mem",
        "SHOW TimeZone",
        "SHOW search_path",
        "SELECT current_user, session_user, current_setting('work_mem')",
        "SET work_mem = '17MB'; SHOW work_mem; SELECT 1/0",
        "SET work_mem = '18MB'; SHOW TimeZone; SET TimeZone = 'Asia/Delhi'",
        "SET work_mem = '19MB'; SET DateStyle = 'ISO, YMD'",
    ];
    const BLOCK: &[&str] = &[
        "SAVEPOINT a",
        "SAVEPOINT b",
        "ROLLBACK TO a",
        "ROLLBACK TO b",
        "RELEASE a",
        "RELEASE b",
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
    ];
    let own = own::get();
    for seed in 1..=12 {
        let (mut dice, mut pairs) = (Dice(seed), Pairs::new(own, [&[("options", "-c work_mem=5MB")], &[]]));
        let (mut who, mut status, mut key, mut moves) = (0, 'I', own.keys[0], false);
        for _ in 0..150 {
            let facts = "current_setting('work_mem'), current_setting('TimeZone'), current_setting('search_path'), current_user";
            let look = format!("SELECT {facts} FROM public.items WHERE id = {key}");
            let sql = match (dice.below(10), status) {
                (0..=1, 'I') => "BEGIN".to_string(),
                (0..=4, 'T' | 'E') => dice.pick(BLOCK).to_string(),
                (5..=6, _) => look.clone(),
                (7, 'I') => "DISCARD ALL".into(),
                _ => dice.pick(STATEMENTS).to_string(),
            };
            // Until its first row a transaction of nothing but settings may still move to any shard; other statements tie it.
            if moves && status != 'I' && (sql.contains(';') || sql.starts_with("SELECT") && sql != look) {
                continue;
            }
            status = pairs.run(who, &sql);
            if status == 'I' {
                (who, key, moves) = (dice.below(2), own.keys[dice.below(2)], false);
            } else if sql == "BEGIN" && !moves {
                // One shard for each transaction: transactions over several are another issue's.
                moves = dice.below(2) == 0;
                if !moves {
                    status = pairs.run(who, &format!("SELECT note FROM public.items WHERE id = {key}"));
                }
            }
        }
    }
}

#[test]
fn prepared_statements_are_each_clients_own_and_run_on_every_shard() {
    let own = own::get();
    let mut pairs = Pairs::new(own, [&[], &[]]);
    let both = |pairs: &mut Pairs, who: usize, what: &str, act: &mut dyn FnMut(&mut Wire) -> crate::raw::Reply| {
        let (proxy, plain) = (act(&mut pairs.proxy[who]).comparable(), act(&mut pairs.plain[who]).comparable());
        assert_eq!(proxy, plain, "client {who}: {what}");
    };
    for (who, name, sql) in [
        (0, "q", "SELECT id, note FROM items WHERE id = $1"),
        (1, "q", "SELECT n FROM items WHERE id = $1"),
        (0, "q", "SELECT 1"),
        (0, "bad", "SELECT nothing FROM items WHERE id = $1"),
        (1, "only_second", "SELECT $1::text || 'x'"),
        (0, "", "SELECT note FROM items WHERE id = $1"),
    ] {
        both(&mut pairs, who, sql, &mut |wire| wire.prepare(name, sql));
    }
    for round in 0..3 {
        for id in 1..12 {
            for who in 0..2 {
                for name in ["q", "", "bad", "only_second"] {
                    both(&mut pairs, who, &format!("{name} {id} in round {round}"), &mut |wire| {
                        wire.execute(name, &[&id.to_string()])
                    });
                }
            }
        }
    }
    for (who, sql) in [
        (0, "PREPARE p (bigint) AS SELECT id FROM items WHERE id = $1"),
        (1, "EXECUTE p (3)"),
        (0, "EXECUTE p (3)"),
        (0, "EXECUTE p (4)"),
        (0, "EXECUTE q (5)"),
        (1, "DEALLOCATE p"),
        (0, "DEALLOCATE p"),
        (0, "EXECUTE p (3)"),
        (0, "BEGIN"),
        (0, "PREPARE r AS SELECT 1"),
        (0, "ROLLBACK"),
        (0, "EXECUTE r"),
        (0, "DEALLOCATE ALL"),
        (0, "EXECUTE r"),
        (1, "EXECUTE q (1)"),
    ] {
        pairs.run(who, sql);
    }
    both(&mut pairs, 0, "after DEALLOCATE ALL", &mut |wire| wire.execute("q", &["1"]));
    both(&mut pairs, 1, "the other's is untouched", &mut |wire| wire.execute("q", &["1"]));
}

#[test]
fn prepared_statements_survive_the_loss_of_their_connection() {
    let own = own::get();
    let mut client = own.connect(own.proxy(TINY));
    let [key, _] = own.keys;
    assert_eq!(client.prepare("q", "SELECT pg_backend_pid() FROM items WHERE id = $1").code(), "");
    let pid = client.execute("q", &[&key.to_string()]).value();
    let ended = own.shard(0).one(&format!("SELECT pg_terminate_backend({pid})"));
    assert_eq!(ended, "t");
    // The loss may be noticed before the statement is sent, or by it: then the client is told.
    let again = client.execute("q", &[&key.to_string()]);
    assert!(["", "57P01", "08006"].contains(&again.code()), "{again:?}");
    assert_ne!(client.execute("q", &[&key.to_string()]).value(), pid);
}

#[test]
fn a_changed_table_gives_new_clients_new_columns() {
    let own = own::get();
    let tables = ["CREATE TABLE shape (id bigint PRIMARY KEY, a int)", "INSERT INTO shape VALUES (1, 1)"];
    let layout =
        format!("{}\n[table.shape]\nkeyspace = \"main\"\nshard_key = \"id\"\nvindex = \"by_hash\"\n", own::VSCHEMA);
    for server in 0..2 {
        tables.iter().for_each(|sql| _ = own.shard(server).ok(sql));
    }
    let config = own.config(TINY);
    std::fs::write(config.with_file_name("vschema.toml"), layout).unwrap();
    let program = own::Program::start(&config);
    let text = "SELECT * FROM shape WHERE id = $1";
    for name in ["q", "other"] {
        let mut client = program.connect();
        client.prepare(name, text);
        assert_eq!(client.execute(name, &["1"]).rows.len(), 1);
    }
    for server in 0..2 {
        own.shard(server).ok("ALTER TABLE shape ADD COLUMN b int DEFAULT 5");
    }
    // Whoever comes first may meet the server's stale plan; after that nobody does.
    let mut client = program.connect();
    client.prepare("q", text);
    client.execute("q", &["1"]);
    for _ in 0..3 {
        let mut client = program.connect();
        client.prepare("q", text);
        let reply = client.execute("q", &["1"]);
        assert_eq!(reply.rows, [["1", "1", "5"].map(|value| Some(value.to_string())).to_vec()], "{reply:?}");
    }
    for server in 0..2 {
        own.shard(server).ok("DROP TABLE shape");
    }
}

#[test]
fn a_client_may_not_become_what_it_is_not() {
    let own = own::get();
    let port = own.proxy(TINY);
    let mut clerk = Wire::open(port, CLERK, DATABASE, &[]).unwrap();
    let mut chief = own.connect(port);
    chief.ok("SET ROLE clerk");
    chief.ok("RESET ROLE");
    for sql in ["SET ROLE postgres", "SET SESSION AUTHORIZATION postgres", "SET session_replication_role = replica"] {
        assert_eq!(clerk.query(sql).code(), "42501", "{sql}");
        assert_eq!(clerk.one("SELECT current_user"), CLERK);
        assert_eq!(chief.one("SELECT current_user"), USER);
    }
    assert_eq!(clerk.query("SET goldseam.shard = 's0'").code(), "42501");
}
