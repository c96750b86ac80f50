//! The catalog: one answer, and sizes and estimates of the whole.

use crate::raw::Wire;
use crate::transactions::stage::{Stage, extended};

/// The sum of what the shards say.
fn whole(stage: &Stage, sql: &str) -> i64 {
    (0..2).map(|n| stage.own.shard(n).one(sql).parse::<i64>().unwrap()).sum()
}

#[test]
fn sizes_of_a_spread_table_are_those_of_all_its_parts() {
    let mut stage = Stage::new();
    for function in ["pg_relation_size", "pg_table_size", "pg_total_relation_size", "pg_indexes_size"] {
        for argument in ["'items'", "'items'::regclass", "'public.items'::regclass::oid"] {
            let sql = format!("SELECT {function}({argument})");
            // Tables grow meanwhile, by other tests.
            let (before, said) = (whole(&stage, &sql), stage.proxy.one(&sql).parse::<i64>().unwrap());
            assert!(said >= before && said <= whole(&stage, &sql), "{sql}: {before} {said}");
            assert_eq!(stage.proxy.columns, [function]);
            let said: i64 = extended(&mut stage.proxy, &sql).value().parse().unwrap();
            assert!(said >= before && said <= whole(&stage, &sql), "{sql}: {before} {said}");
        }
    }
    let home = "SELECT pg_total_relation_size('lone')";
    assert_eq!(stage.proxy.one(home), stage.own.shard(0).one(home));
    assert_eq!(stage.ask("SELECT pg_table_size('nothing')").code(), "42P01");
    assert_eq!(stage.proxy.query("SELECT pg_table_size(NULL)").rows, [vec![None]]);
    for n in 0..2 {
        stage.own.shard(n).ok("ANALYZE items");
    }
    let sql = "SELECT reltuples::bigint FROM pg_class WHERE relname = 'items'";
    assert_eq!(stage.proxy.one(sql).parse::<i64>().unwrap(), whole(&stage, sql));
    let sql = "SELECT c.relpages FROM pg_catalog.pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'items'";
    assert_eq!(stage.proxy.one(sql).parse::<i64>().unwrap(), whole(&stage, sql));
    stage.proxy.ok("BEGIN");
    stage.proxy.ok("SELECT pg_size_pretty(pg_total_relation_size('items'))");
    stage.proxy.ok("COMMIT");
}

/// What psql sends for its backslash commands, as far as it reads sizes.
#[test]
fn psql_lists_tables_with_their_sizes() {
    let mut stage = Stage::new();
    let tables = "SELECT n.nspname as \"Schema\", c.relname as \"Name\", \
        pg_catalog.pg_get_userbyid(c.relowner) as \"Owner\", \
        pg_catalog.pg_size_pretty(pg_catalog.pg_table_size(c.oid)) as \"Size\" \
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relkind IN ('r','p','') AND n.nspname <> 'pg_catalog' AND n.nspname !~ '^pg_toast' AND n.nspname <> 'information_schema' \
        AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 1,2";
    let names = |wire: &mut Wire| -> Vec<Option<String>> {
        wire.ok(tables).rows.into_iter().map(|mut row| row.remove(1)).collect()
    };
    let (proxy, plain) = (names(&mut stage.proxy), names(&mut stage.plain));
    for table in plain {
        assert!(proxy.contains(&table), "{table:?} {proxy:?}");
    }
}

/// A query beyond the grammar is the home shard's too, wherever its transaction is: the next one would take its OIDs there.
#[test]
fn what_a_catalog_is_asked_in_any_words_one_shard_answers() {
    let mut stage = Stage::new();
    let home = stage.own.shard(0).one("SHOW port");
    for _ in 0..12 {
        stage.proxy.ok("BEGIN");
        stage.proxy.ok("RESET search_path");
        let sql = "SELECT current_setting('port') FROM pg_catalog.pg_class c \
                   WHERE c.relname OPERATOR(pg_catalog.=) ANY (array['items']) AND pg_catalog.pg_table_is_visible(c.oid)";
        assert_eq!(stage.proxy.one(sql), home);
        stage.proxy.ok("COMMIT");
    }
}
