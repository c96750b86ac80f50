//! Findings as data, and the questions against a real server.

use std::collections::HashMap;
use std::sync::Arc;

use super::facts::{self, ColumnFacts, Facts, ForeignKey, TableFacts, Unique};
use super::judge::{Finding, Level, judge};
use crate::cli::demo::load::{self, DATABASE, Load, PASSWORD, USER};
use crate::local::{Account, Cluster, Folder, Spec, find_for_tests};
use crate::types::{Key, KeyType, KeyspaceId, ShardId, VindexId, oid};
use crate::vindex::{Placement, Vindex};
use crate::vschema::{Keyspace, NamedVindex, Table, TablePlacement, Vschema};

/// Takes integers only.
#[derive(Debug)]
struct Integers;

impl Vindex for Integers {
    fn place(&self, _: &[Key<'_>]) -> Placement {
        Placement::Shard(ShardId(0))
    }

    fn accepts(&self, types: &[KeyType]) -> Result<(), String> {
        if types.iter().all(|t| matches!(t, KeyType::Int4 | KeyType::Int8)) {
            Ok(())
        } else {
            Err("takes integers only".into())
        }
    }
}

/// Two shards; customers and orders by the same vindex, visits by another, countries everywhere, settings on s0.
fn layout() -> Vschema {
    let vindex = |name: &str| NamedVindex {
        name: name.into(),
        keyspace: KeyspaceId(0),
        kind: "hash",
        vindex: Box::new(Integers),
        directory: None,
    };
    let sharded =
        |column: &str, vindex| TablePlacement::Sharded { columns: vec![column.into()], vindex: VindexId(vindex) };
    let tables = [
        ("customers", sharded("id", 0)),
        ("orders", sharded("customer_id", 0)),
        ("visits", sharded("customer_id", 1)),
        ("countries", TablePlacement::Reference),
        ("settings", TablePlacement::Unsharded { shard: ShardId(0) }),
    ];
    let table = |(name, placement): (&str, TablePlacement)| {
        let table = Table { schema: "public".into(), name: name.into(), keyspace: KeyspaceId(0), placement };
        (("public".to_string(), name.to_string()), Arc::new(table))
    };
    Vschema {
        shards: vec!["s0".into(), "s1".into()],
        keyspaces: vec![Keyspace { name: "shop".into(), shards: vec![ShardId(0), ShardId(1)] }],
        vindexes: vec![vindex("by_customer"), vindex("by_visitor")],
        tables: HashMap::from_iter(tables.map(table)),
        ..Vschema::default()
    }
}

fn table(columns: &[(&str, &str, u32)]) -> TableFacts {
    let column = |(name, type_name, type_oid): &(&str, &str, u32)| ColumnFacts {
        name: name.to_string(),
        type_name: type_name.to_string(),
        type_oid: *type_oid,
    };
    TableFacts { columns: columns.iter().map(column).collect(), ..TableFacts::default() }
}

fn name(name: &str) -> (String, String) {
    ("public".into(), name.into())
}

/// Two servers that fit the layout.
fn servers() -> Vec<Option<Facts>> {
    let shard = |n: usize| {
        let mut tables = std::collections::BTreeMap::from([
            (name("customers"), table(&[("id", "bigint", oid::INT8), ("email", "text", oid::TEXT)])),
            (name("orders"), table(&[("customer_id", "bigint", oid::INT8), ("id", "bigint", oid::INT8)])),
            (name("visits"), table(&[("customer_id", "integer", oid::INT4)])),
            (name("countries"), table(&[("code", "text", oid::TEXT)])),
        ]);
        if n == 0 {
            tables.insert(name("settings"), table(&[("name", "text", oid::TEXT)]));
        }
        Some(Facts { max_prepared: 64, identity: n.to_string(), tables, ..Facts::default() })
    };
    (0..2).map(shard).collect()
}

fn findings(change: impl Fn(&mut Vec<Option<Facts>>)) -> Vec<Finding> {
    let mut servers = servers();
    change(&mut servers);
    judge(&layout(), &servers)
}

fn on<'a>(servers: &'a mut [Option<Facts>], shard: usize, table: &str) -> &'a mut TableFacts {
    servers[shard].as_mut().unwrap().tables.get_mut(&name(table)).unwrap()
}

#[test]
fn servers_that_fit_the_layout_give_no_finding() {
    assert_eq!(findings(|_| {}), []);
}

#[test]
fn every_misfit_is_named() {
    type Case = (fn(&mut Vec<Option<Facts>>), Level, &'static str, &'static str);
    let cases: &[Case] = &[
        (|s| s[1].as_mut().unwrap().max_prepared = 0, Level::Error, "shard s1", "max_prepared_transactions is 0"),
        (|s| s[1].as_mut().unwrap().identity = "0".into(), Level::Error, "shard s1", "same database as that of s0"),
        (|s| s[0].as_mut().unwrap().standby = true, Level::Error, "shard s0", "standby"),
        (
            |s| drop(s[1].as_mut().unwrap().tables.remove(&name("orders"))),
            Level::Error,
            "table orders",
            "missing on s1",
        ),
        (
            |s| s.iter_mut().for_each(|f| drop(f.as_mut().unwrap().tables.remove(&name("orders")))),
            Level::Error,
            "table orders",
            "none of its shards has it",
        ),
        (
            |s| on(s, 1, "customers").columns[1].type_name = "character varying(80)".into(),
            Level::Error,
            "table customers",
            "column \"email\" is text on s0 but character varying(80) on s1",
        ),
        (
            |s| drop(on(s, 0, "customers").columns.pop()),
            Level::Error,
            "table customers",
            "\"email\" is on s1 but not on s0",
        ),
        (|s| on(s, 1, "customers").columns.reverse(), Level::Error, "table customers", "another order on s1"),
        (
            |s| (0..2).for_each(|n| on(s, n, "visits").columns[0].type_oid = oid::TEXT),
            Level::Error,
            "table visits",
            "shard key (customer_id): takes integers only",
        ),
        (
            |s| (0..2).for_each(|n| on(s, n, "visits").columns[0].type_oid = 600),
            Level::Error,
            "table visits",
            "cannot be a shard key",
        ),
        (
            |s| (0..2).for_each(|n| on(s, n, "visits").columns[0].name = "who".into()),
            Level::Error,
            "table visits",
            "no column \"customer_id\"",
        ),
        (
            |s| on(s, 0, "customers").uniques.push(Unique { name: "u".into(), columns: vec!["email".into()] }),
            Level::Warning,
            "table customers",
            "\"u\" is unique on each shard only",
        ),
        (
            |s| drop(s[1].as_mut().unwrap().tables.insert(name("extra"), TableFacts::default())),
            Level::Warning,
            "table extra",
            "in no keyspace, but on s1",
        ),
    ];
    for (change, level, subject, message) in cases {
        let found = findings(change);
        assert_eq!(found.len(), 1, "{message}: {found:?}");
        assert_eq!((found[0].level, found[0].subject.as_str()), (*level, *subject), "{message}");
        assert!(found[0].message.contains(message), "{message}: {found:?}");
    }
}

#[test]
fn foreign_keys_are_warned_of_where_the_shards_cannot_hold_them() {
    for (from, columns, to, target_columns, expected) in [
        ("orders", vec!["customer_id"], "customers", vec!["id"], None),
        ("orders", vec!["id"], "customers", vec!["id"], Some("it does not lead from shard key to shard key")),
        ("visits", vec!["customer_id"], "customers", vec!["id"], Some("they are not co-located")),
        ("customers", vec!["email"], "countries", vec!["code"], None),
        ("countries", vec!["code"], "customers", vec!["id"], Some("may be on another shard")),
        ("customers", vec!["email"], "settings", vec!["name"], Some("may be on another shard")),
        ("settings", vec!["name"], "countries", vec!["code"], None),
        ("settings", vec!["name"], "customers", vec!["id"], Some("may be on another shard")),
    ] {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let found = findings(|servers| {
            on(servers, 0, from).foreign_keys.push(ForeignKey {
                name: "fk".into(),
                columns: owned(&columns),
                target: name(to),
                target_columns: owned(&target_columns),
            })
        });
        match expected {
            None => assert_eq!(found, [], "{from} to {to}"),
            Some(why) => {
                assert_eq!(found.len(), 1, "{from} to {to}: {found:?}");
                assert!(
                    found[0].level == Level::Warning && found[0].message.contains(why),
                    "{from} to {to}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn a_shard_that_could_not_be_asked_hides_nothing_of_the_others() {
    let found = findings(|servers| {
        servers[0] = None;
        on(servers, 1, "customers").columns[0].type_oid = oid::TEXT;
    });
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_real_servers_catalog_is_read() {
    let binaries = find_for_tests().unwrap();
    let folder = Folder::temporary(Account::for_servers().unwrap()).unwrap();
    let cluster = Cluster::start(folder, &Spec::new(binaries, 1)).unwrap();
    let port = cluster.servers[0].port();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let facts = runtime.block_on(async {
        load::fill(vec![("s0".into(), port, Load::plain())], None, Arc::new(|_| {})).await.unwrap();
        let mut backend = load::connect("s0", load::server(port, DATABASE, USER, Some(PASSWORD))).await.unwrap();
        let sql = "CREATE DOMAIN email AS text; CREATE DOMAIN work_email AS email; CREATE TABLE odd (); \
                   CREATE TABLE \"Strange, name\" (\"a,b\" work_email UNIQUE, c int)";
        backend.query(sql).await.unwrap();
        facts::read(&mut backend).await.unwrap()
    });
    assert_eq!((facts.max_prepared, facts.max_connections, facts.standby), (64, 200, false));
    assert_eq!(facts.tables.len(), 10);
    assert!(facts.tables[&name("odd")].columns.is_empty());
    let items = &facts.tables[&name("order_items")];
    assert_eq!(
        items.columns[5],
        ColumnFacts { name: "price".into(), type_name: "numeric(8,2)".into(), type_oid: oid::NUMERIC }
    );
    assert_eq!(items.uniques[0].columns, ["customer_id", "order_id", "line"]);
    assert_eq!(items.foreign_keys[0].target, name("orders"));
    assert_eq!(items.foreign_keys[0].columns, ["customer_id", "order_id"]);
    assert_eq!(items.foreign_keys[0].target_columns, ["customer_id", "id"]);
    let strange = &facts.tables[&name("Strange, name")];
    assert_eq!(strange.columns[0].type_oid, oid::TEXT, "domains are followed to their base");
    assert_eq!(strange.columns[0].type_name, "work_email");
    assert_eq!(strange.uniques[0].columns, ["a,b"]);
}
