//! The catalog as a real PostgreSQL tells it.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::backend::testing::{Postgres, options};
use crate::catalog::{ColumnDefault, RelationKind};
use crate::types::oid;

fn topology(servers: &[&Postgres]) -> Arc<Topology> {
    let shard = |(index, postgres): (usize, &&Postgres)| {
        let (id, name) = (ShardId(index as u16), Arc::<str>::from(format!("s{index}")));
        Arc::new(ShardInfo {
            id,
            primary: Connector::new(id, name.clone(), postgres.server()),
            name,
            replicas: Vec::new(),
            service: Arc::new(Login::service(&postgres.server())),
            health: Arc::default(),
        })
    };
    Topology::of(servers.iter().enumerate().map(shard).collect(), None, options())
}

#[tokio::test]
async fn every_fact_is_read() {
    let postgres = Postgres::start_with(&["shared_preload_libraries = ''"]);
    postgres.sql(
        "create schema sales; create domain positive as int8 check (value > 0) default 7; create domain more as positive not null;
         create sequence counter; create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create function pure(int) returns int language sql immutable as 'select 1';
         create function mixed(int) returns int language sql immutable as 'select 1';
         create function mixed(text) returns int language sql as 'select 1';
         create table t (id int8 primary key, dropped int, a serial, b int generated always as identity, c text default 'x',
             d int generated always as (1) stored, e more, f varchar(10) collate blind, g int default nextval('counter'::text),
             h numeric(10, 2) not null, i int unique, j text collate \"C\", k name, l timestamptz default now(),
             m date default current_date, n int default mixed('x'), o uuid default gen_random_uuid(), unique (h, i) include (c));
         alter table t drop column dropped;
         create unique index on t (lower(c), h); create index on t (c);
         alter table t add exclude using btree (e with =);
         create table sales.parts (id int, at date) partition by range (at); create table sales.parts_1 partition of sales.parts default;
         create view v as select id from t; create materialized view m as select 1 as one;
         create aggregate total (int8) (sfunc = int8pl, stype = int8);
         create function fire() returns trigger language plpgsql as 'begin return new; end';
         create table watched (id int); create trigger w before insert on watched execute function fire();
         create table ruled (id int); create rule r as on insert to ruled do nothing;
         create table child (id int8 references t);
         create schema goldseam; create table goldseam.hidden (id int); create temp table passing (id int)",
    );
    let topology = topology(&[&postgres]);
    assert_eq!(topology.refresh().await, []);
    let catalog = topology.catalog.load_full();
    assert_eq!(catalog.version, 1);
    let get = |schema: &str, name: &str| catalog.relations.get(&(schema.to_string(), name.to_string()));

    let t = get("public", "t").unwrap();
    assert_eq!((t.kind, t.shards.as_slice(), t.has_triggers), (RelationKind::Table, &[ShardId(0)][..], false));
    let columns: Vec<_> =
        t.columns.iter().map(|c| (c.name.as_str(), c.type_oid, c.type_name.as_str(), c.not_null, c.default)).collect();
    let sequence = |n: usize| t.columns[n].supply.sequence.as_ref().map(|(schema, name)| format!("{schema}.{name}"));
    assert!(
        t.columns
            .iter()
            .enumerate()
            .all(|(n, column)| (column.default == ColumnDefault::Sequence) >= sequence(n).is_some())
    );
    assert_eq!(t.primary_key, [0]);
    use ColumnDefault::*;
    assert_eq!(
        columns,
        [
            ("id", oid::INT8, "bigint", true, None),
            ("a", oid::INT4, "integer", true, Sequence),
            ("b", oid::INT4, "integer", true, Sequence),
            ("c", oid::TEXT, "text", false, Expression),
            ("d", oid::INT4, "integer", false, Generated),
            ("e", oid::INT8, "public.more", true, Expression),
            ("f", oid::VARCHAR, "character varying(10)", false, None),
            ("g", oid::INT4, "integer", false, Sequence),
            ("h", oid::NUMERIC, "numeric(10,2)", true, None),
            ("i", oid::INT4, "integer", false, None),
            ("j", oid::TEXT, "text", false, None),
            ("k", oid::NAME, "name", false, None),
            ("l", oid::TIMESTAMPTZ, "timestamp with time zone", false, Moment),
            ("m", oid::DATE, "date", false, Moment),
            ("n", oid::INT4, "integer", false, Moment),
            ("o", oid::UUID, "uuid", false, Expression),
        ]
    );
    let blind: Vec<_> = t.columns.iter().filter(|c| c.nondeterministic).map(|c| c.name.as_str()).collect();
    assert_eq!(blind, ["f"]);
    let bytewise: String = t.columns.iter().filter(|c| !c.bytewise).map(|c| c.name.as_str()).collect();
    let special: String = t.columns.iter().filter(|c| !c.plain_collation).map(|c| c.name.as_str()).collect();
    assert_eq!((catalog.bytewise, bytewise.as_str(), special.as_str()), (true, "f", "fj"));
    let mut keys = t.unique_keys.clone();
    keys.sort();
    assert_eq!(keys, [vec![0], vec![5], vec![8], vec![8, 9], vec![9]]);

    assert_eq!(get("sales", "parts").unwrap().kind, RelationKind::Table);
    assert_eq!(get("public", "v").unwrap().kind, RelationKind::View);
    assert_eq!(get("public", "v").unwrap().columns.len(), 1);
    assert_eq!(get("public", "m").unwrap().kind, RelationKind::MaterializedView);
    assert_eq!(get("public", "counter").unwrap().kind, RelationKind::Sequence);
    assert!(get("public", "watched").unwrap().has_triggers && get("public", "ruled").unwrap().has_triggers);
    assert!(!get("public", "child").unwrap().has_triggers && !get("public", "v").unwrap().has_triggers);
    assert!(get("goldseam", "hidden").is_none() && get("pg_catalog", "pg_class").is_none());

    assert!(catalog.set_functions.contains("generate_series") && !catalog.set_functions.contains("lower"));
    assert!(catalog.aggregates.contains("total") && !catalog.aggregates.contains("pure"));
    assert!(catalog.functions["pure"].immutable && !catalog.functions["mixed"].immutable);
    assert!(!catalog.functions.contains_key("lower"));
    assert!(catalog.system_relations.contains("pg_class") && catalog.system_relations.contains("pg_stat_activity"));
    let facts = topology.shard_catalogs()[0].clone().unwrap();
    assert!(facts.max_prepared_transactions == 7 && !facts.in_recovery && facts.server_version >= 120_000);

    topology.refresh().await;
    assert_eq!(topology.catalog.load().version, 1, "what has not changed costs no plan");
    postgres.sql("create table later (id int)");
    topology.refresh_shard(ShardId(0)).await.unwrap();
    assert_eq!(topology.catalog.load().version, 2);
}

#[tokio::test]
async fn shards_that_differ_are_taken_with_caution_and_a_dead_one_is_asked_again() {
    let one = Postgres::start();
    let mut other = Postgres::start();
    one.sql("create table t (id int primary key, a int, b int); create table only_here (id int)");
    other.sql("create table t (b serial, id int not null, a int unique)");
    other.crash();
    let topology = topology(&[&one, &other]);
    let errors = topology.refresh().await;
    assert_eq!(errors.iter().map(|(id, error)| (id.0, error.code.as_str())).collect::<Vec<_>>(), [(1, "08006")]);
    let name = ("public".to_string(), "t".to_string());
    assert_eq!(topology.catalog.load().relations[&name].shards, [ShardId(0), ShardId(1)]);

    other.restart();
    let fresh = tokio::spawn(topology.clone().keep_fresh(Duration::from_secs(3600)));
    let until = Instant::now() + Duration::from_secs(20);
    while topology.catalog.load().version < 2 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    fresh.abort();
    let catalog = topology.catalog.load_full();
    let t = &catalog.relations[&name];
    assert_eq!(t.shards, [ShardId(0), ShardId(1)]);
    assert_eq!(t.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["id", "a", "b"]);
    assert_eq!(t.columns[2].default, ColumnDefault::Sequence);
    assert_eq!(t.unique_keys, [vec![0], vec![1]]);
    assert_eq!(catalog.relations[&("public".into(), "only_here".into())].shards, [ShardId(0)]);
}
