//! The sample data: every row is where the vindexes say, none twice, and through the proxy all is as on one server.

use crate::fixture::{self, SHARDS, answer};

const TABLES: [(&str, &str); 5] = [
    ("customers", "id"),
    ("orders", "customer_id, id"),
    ("order_items", "customer_id, order_id, line"),
    ("events", "day, id"),
    ("documents", "tenant, id"),
];

#[tokio::test]
async fn the_shards_together_hold_what_the_oracle_holds() {
    let fixture = fixture::get();
    for (table, key) in TABLES {
        let sql = format!("SELECT {key} FROM {table} ORDER BY {key}");
        let mut sharded = Vec::new();
        for shard in 0..SHARDS {
            let rows = answer(&fixture.shard(shard).await, &sql).await.unwrap();
            assert!(!rows.is_empty(), "{table} has rows on every shard");
            sharded.extend(rows);
        }
        let mut plain = answer(&fixture.oracle().await, &sql).await.unwrap();
        sharded.sort();
        plain.sort();
        assert_eq!(sharded.len(), plain.len(), "{table}");
        assert!(sharded == plain, "{table}: the same keys");
    }
}

#[tokio::test]
async fn reference_tables_are_whole_on_every_shard_and_unsharded_ones_on_one() {
    let fixture = fixture::get();
    let countries = answer(&fixture.oracle().await, "SELECT * FROM countries").await;
    let mut settings = 0;
    for shard in 0..SHARDS {
        let shard = fixture.shard(shard).await;
        assert_eq!(answer(&shard, "SELECT * FROM countries").await, countries);
        settings += usize::from(answer(&shard, "SELECT * FROM settings").await.is_ok());
    }
    assert_eq!(settings, 1);
}

#[tokio::test]
async fn every_kind_of_table_is_found_through_the_proxy() {
    let fixture = fixture::get();
    for sql in [
        "SELECT * FROM customers WHERE id = 42",
        "SELECT * FROM customers WHERE id = -1",
        "SELECT c.name, o.id, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE c.id = 42 ORDER BY o.id",
        "SELECT sum(quantity * price) FROM order_items WHERE customer_id = 4711",
        "SELECT count(*) FROM events WHERE day = '2025-08-01'",
        "SELECT count(*) FROM events WHERE day = '2026-03-08'",
        "SELECT title FROM documents WHERE tenant = 'tenant-007' ORDER BY id LIMIT 5",
        "SELECT * FROM vip_accounts WHERE account = 'vip-007'",
        "SELECT * FROM vip_accounts WHERE account = 'nobody'",
        "SELECT c.name, k.name FROM customers c JOIN countries k ON k.code = c.country WHERE c.id = 7",
        "SELECT * FROM countries",
        "SELECT * FROM settings",
        "SELECT 1",
        "SELECT * FROM missing WHERE id = 1",
    ] {
        fixture.same(sql).await;
    }
}

#[tokio::test]
async fn a_sample_of_every_sharded_table_is_found_by_its_keys() {
    let fixture = fixture::get();
    for id in (1..5_000).step_by(487) {
        fixture.same(&format!("SELECT * FROM customers WHERE id = {id}")).await;
        fixture.same(&format!("SELECT * FROM orders WHERE customer_id = {id}")).await;
    }
    for n in (1..200).step_by(23) {
        fixture.same(&format!("SELECT count(*), min(id), max(id) FROM documents WHERE tenant = 'tenant-{n:03}'")).await;
    }
    for n in (1..100).step_by(17) {
        fixture.same(&format!("SELECT * FROM vip_accounts WHERE account = 'vip-{n:03}'")).await;
    }
}

#[test]
fn psql_describes_a_table_as_on_one_server() {
    // Each backslash command is several catalog queries that carry OIDs along, and those differ from shard to shard.
    let fixture = fixture::get();
    let Some(psql) = goldseam::local::find_for_tests().unwrap().psql() else { return };
    let oracle = format!("postgres://app:gold@127.0.0.1:{}/commerce", fixture.oracle_port());
    for command in ["\\d orders", "\\d+ customers", "\\dt", "\\di", "\\d events"] {
        let run = |url: &str| {
            let output = std::process::Command::new(&psql).args(["-X", "-c", command, url]).output().unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        // Several times, because another connection may start at another shard.
        for _ in 0..4 {
            assert_eq!(run(&fixture.url()), run(&oracle), "{command}");
        }
    }
}

#[test]
fn pg_dump_takes_the_table_that_it_is_asked_for_and_all_of_them() {
    let fixture = fixture::get();
    let program = goldseam::local::find_for_tests().unwrap().tool("pg_dump");
    let dump = |more: &[&str]| {
        let output = std::process::Command::new(&program).args(more).args(["-d", &fixture.url()]).output().unwrap();
        assert!(output.status.success(), "{more:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    // Its first question has an operator beyond the grammar, and its transaction may have begun anywhere.
    for _ in 0..4 {
        let rows = dump(&["--data-only", "--inserts", "-t", "vip_accounts"]);
        let found = rows.lines().filter(|line| line.starts_with("INSERT INTO public.vip_accounts ")).count();
        assert_eq!(found, rows.lines().filter(|line| line.starts_with("INSERT ")).count());
        assert!(found > 0);
    }
    // Goldseam's own tables are there too, as the home shard has them.
    let all = dump(&[]);
    for (table, _) in TABLES {
        assert!(all.contains(&format!("COPY public.{table} (")), "{table}");
    }
    assert!(all.contains("COPY goldseam."));
}

#[tokio::test]
async fn only_an_operator_may_name_a_shard() {
    let fixture = fixture::get();
    let (operator, guest) = (fixture.proxy().await, fixture.proxy_as_guest().await);
    let hinted = "/* goldseam: shard=s2 */ SELECT count(*) > 0 FROM customers";
    operator.simple_query(hinted).await.unwrap();
    for refused in [hinted, "SET goldseam.shard = 's2'"] {
        let error = guest.simple_query(refused).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{refused}");
    }
    guest.simple_query("SELECT name FROM customers WHERE id = 42").await.unwrap();
}
