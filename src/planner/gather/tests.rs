//! Merges as data: `cases/*.txt` hold a sentence, a statement, and what the shards are sent, how their answers are merged, and how a server
//! finishes. `GOLDSEAM_BLESS=1 cargo test gather` writes what the planner says now; read the difference before you commit it.
//!
//! In [`real`] the tables are real: PostgreSQL must understand every text that is sent, and the merge must be its own answer.

use std::sync::Arc;

use sqlparser::ast::{SetExpr, Statement};

use super::Covered;
use crate::catalog::{Catalog, Column, ColumnDefault, Function, Relation, RelationKind};
use crate::error::PgError;
use crate::plan::Gather;
use crate::plan::gather::{By, Item, Merge, OrderKey, Text};
use crate::plan::render::render;
use crate::planner::scope::Scope;
use crate::planner::tests::case_files;
use crate::planner::{Context, Planner};
use crate::sql::{self, Limits, parse};
use crate::types::{KeyspaceId, ShardId, oid};
use crate::vschema::{self, Vschema};

mod real;

const LAYOUT: &str = r#"
[keyspace.commerce]
shards = ["s0", "s1", "s2"]
[vindex.by_customer]
type = "hash"
[table.orders]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.items]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.words]
keyspace = "commerce"
shard_key = "id"
vindex = "by_customer"
"#;

/// `~`: of another collation than the default, which does not compare bytes; `^`: COLLATE "C"; `!`: calls different text equal.
const TABLES: &[(&str, &str)] = &[
    (
        "orders",
        "id int8, customer_id int8, status text, total numeric, placed timestamptz, weight float4, rate float8, qty int4, paid bool, wait interval",
    ),
    ("items", "id int8, customer_id int8, order_id int8, product text, qty int4, price numeric"),
    ("words", "id int8, here text, there text~, plain text^, fuzzy text!"),
];

fn catalog(bytewise: bool) -> Catalog {
    let mut catalog = Catalog { bytewise, ..Catalog::default() };
    for (name, columns) in TABLES {
        let column = |column: &str| {
            let (name, type_name) = column.split_once(' ').unwrap();
            let type_oid = match type_name.trim_end_matches(['~', '^', '!']) {
                "int4" => oid::INT4,
                "int8" => oid::INT8,
                "numeric" => oid::NUMERIC,
                "text" => oid::TEXT,
                "timestamptz" => oid::TIMESTAMPTZ,
                "float4" => oid::FLOAT4,
                "float8" => oid::FLOAT8,
                "bool" => oid::BOOL,
                "interval" => 1186,
                other => panic!("no type {other}"),
            };
            let mark = type_name.as_bytes().last();
            let text = type_oid == oid::TEXT;
            Column {
                name: name.into(),
                type_oid,
                type_name: type_name.into(),
                not_null: false,
                default: ColumnDefault::None,
                nondeterministic: mark == Some(&b'!'),
                bytewise: !text || mark == Some(&b'^') || (bytewise && mark == Some(&b't')),
                plain_collation: !matches!(mark, Some(b'~' | b'^' | b'!')),
                domain: false,
                collation: None,
                supply: Default::default(),
            }
        };
        let relation = Relation {
            schema: "public".into(),
            name: (*name).into(),
            kind: RelationKind::Table,
            shards: (0..3).map(ShardId).collect(),
            columns: columns.split(", ").map(column).collect(),
            unique_keys: Vec::new(),
            primary_key: Vec::new(),
            row_security: false,
            cascades: false,
            definition: None,
            has_triggers: false,
            triggers: Vec::new(),
        };
        catalog.relations.insert(("public".into(), (*name).into()), Arc::new(relation));
    }
    for (name, immutable) in [("slugify", true), ("lookup", false)] {
        catalog.functions.insert(name.into(), Function { immutable, closed: immutable });
    }
    catalog.aggregates.insert("hll".into());
    catalog
}

fn layout() -> Vschema {
    let names: Vec<String> = (0..3).map(|n| format!("s{n}")).collect();
    vschema::load(&[("test.toml".into(), LAYOUT.into())], &names).unwrap()
}

/// The merge of a statement, and whether it looked at literals.
fn gather(text: &str, bytewise: bool, covered: Covered) -> (Result<Gather, PgError>, bool) {
    let (vschema, catalog, path) = (layout(), catalog(bytewise), vec!["public".to_string()]);
    let context = Context {
        vschema: &vschema,
        catalog: &catalog,
        search_path: &path,
        forced: None,
        limits: Limits::default(),
        triggers: 0,
    };
    let mut tokens = sql::lex(text, &Limits::default()).unwrap();
    while tokens.last().is_some_and(|token| token.kind == sql::TokenKind::Semicolon) {
        tokens.pop();
    }
    let statement = parse::parse(text, &tokens).unwrap();
    let Statement::Query(query) = &statement else { panic!("no query: {text}") };
    let mut planner = Planner::new(&context, text, &tokens);
    let scope = match &*query.body {
        SetExpr::Select(select) => planner.from(&select.from).map(|from| from.scope),
        body => {
            planner.query(query).unwrap();
            let _ = body;
            Ok(Scope::default())
        }
    };
    let gather = scope.and_then(|scope| planner.gather(query, &scope, KeyspaceId(0), covered));
    (gather, planner.literal)
}

fn rendered(text: &Text, statement: &str, parts: usize) -> String {
    let tokens = sql::lex(statement, &Limits::default()).unwrap();
    let names = vec!["numeric"; parts];
    let rendered = render(text, statement, &tokens, None, Some(&names)).unwrap();
    let plain: Vec<u16> = (0..).take(rendered.parameters.len()).collect();
    let shown = rendered.parameters.iter().map(|number| format!("${}", number + 1)).collect::<Vec<_>>().join(", ");
    let with = if plain == rendered.parameters { String::new() } else { format!("   [with {shown}]") };
    let mut sql = rendered.sql;
    if let Some(start) = sql.find("unnest(") {
        let end = sql[start..].find(" AS goldseam (").unwrap() + start;
        let end = sql[end..].find(')').unwrap() + end + 1;
        sql.replace_range(start..end, "PARTS");
    }
    format!("{sql}{with}")
}

fn order(keys: &[OrderKey]) -> String {
    let key = |key: &OrderKey| {
        let by = match key.by {
            By::Hidden(number) => format!("h{number}"),
            By::Call(number) => format!("call {number}"),
        };
        let flags = [(key.descending, " desc"), (key.nulls_first, " nulls first"), (!key.bytewise, " (no text)")];
        flags.iter().filter(|(set, _)| *set).fold(by, |text, (_, word)| text + word)
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

fn show(gather: &Gather, statement: &str) -> Vec<String> {
    let mut lines = Vec::new();
    match &gather.text {
        None => lines.push("as it is".to_string()),
        Some(text) => lines.push(format!("send: {}", rendered(text, statement, 0))),
    }
    let merge = match &gather.merge {
        Merge::Concat => "one after the other".to_string(),
        Merge::Ordered(keys) => format!("by {}", order(keys)),
        Merge::Distinct(keys) if keys.is_empty() => "distinct".to_string(),
        Merge::Distinct(keys) => format!("distinct, by {}", order(keys)),
        Merge::Rows => "rows".to_string(),
        Merge::Aggregate(aggregation) => {
            let mut words = Vec::new();
            if !aggregation.groups.is_empty() {
                let groups: Vec<String> = aggregation.groups.iter().map(|group| format!("h{group}")).collect();
                words.push(format!("groups {}", groups.join(", ")));
            }
            for call in &aggregation.calls {
                let parts: Vec<String> = call.parts.iter().map(|part| format!("h{part}")).collect();
                words.push(format!("{:?}({})", call.function, parts.join(", ")));
            }
            if aggregation.native {
                let column = |item: &Item| match item {
                    Item::First => "first".to_string(),
                    Item::Call(call) => format!("call {call}"),
                };
                let columns: Vec<String> = aggregation.columns.iter().map(column).collect();
                words.push(format!("columns [{}]", columns.join(", ")));
                if !aggregation.order.is_empty() {
                    words.push(format!("by {}", order(&aggregation.order)));
                }
            }
            words.join("; ")
        }
    };
    let mut window = String::new();
    if let Some(limit) = gather.window.limit {
        window += &format!("; limit h{limit}");
    }
    if let Some(offset) = gather.window.offset {
        window += &format!("; offset h{offset}");
    }
    lines.push(format!("merge: {merge}{window}; hidden: {:?}", gather.hidden));
    if let Merge::Aggregate(aggregation) = &gather.merge {
        lines.push(match &aggregation.finish {
            Some(finish) => format!("finish: {}", rendered(&finish.text, statement, 20)),
            None => "finish: none".into(),
        });
    }
    lines
}

/// A case's question.
struct Case {
    text: String,
    /// The database's default collation compares bytes.
    bytewise: bool,
    covered: Covered,
    /// The parameters' values.
    values: Vec<String>,
}

/// `no C` before a statement: the database's default collation does not compare bytes; `covered`: the shard key is in groups, DISTINCT, windows;
/// `with: 1, a`: the parameters' values.
fn read(head: &str) -> Case {
    let mut case = Case { text: String::new(), bytewise: true, covered: Covered::default(), values: Vec::new() };
    let mut text = Vec::new();
    for line in head.lines().filter(|line| !line.starts_with('#')) {
        match line {
            "no C" => case.bytewise = false,
            "covered" => case.covered = Covered { groups: true, distinct: true, windows: true },
            line => match line.strip_prefix("with: ") {
                Some(values) => case.values = values.split(", ").map(str::to_string).collect(),
                None => text.push(line),
            },
        }
    }
    case.text = text.join("\n");
    case
}

/// The questions of one file.
fn cases(file: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(format!("{}/{file}", folder())).unwrap();
    let heads = text.split("\n\n").filter_map(|block| block.split_once("\n----")).map(|(head, _)| head);
    heads.map(read).collect()
}

fn run(head: &str) -> String {
    let Case { text, bytewise, covered, .. } = read(head);
    let (gather, literal) = gather(&text, bytewise, covered);
    let mut lines = match &gather {
        Ok(gather) => show(gather, &text),
        Err(error) => {
            let mut lines = vec![format!("{} {}", error.code, error.message)];
            lines.extend(error.detail.iter().chain(&error.hint).map(|line| format!("  {line}")));
            lines
        }
    };
    if literal {
        lines.push("for these literals only".into());
    }
    lines.join("\n")
}

fn folder() -> String {
    format!("{}/src/planner/gather/cases", env!("CARGO_MANIFEST_DIR"))
}

fn files() -> Vec<String> {
    case_files::names(&folder())
}

#[test]
fn every_statement_has_its_merge() {
    let count: usize = files().iter().map(|file| case_files::check(&folder(), file, &run)).sum();
    assert!(count >= 100, "only {count} cases");
}

/// Plans are shared by texts that differ in literals: unless the plan says otherwise, it must not depend on them.
#[test]
fn other_literals_have_the_same_merge() {
    for Case { text, bytewise, covered, .. } in files().iter().flat_map(|file| cases(file)) {
        let (merge, literal) = gather(&text, bytewise, covered);
        if literal {
            continue;
        }
        let (mut other, mut copied) = (String::new(), 0);
        for token in sql::lex(&text, &Limits::default()).unwrap() {
            let replaced = match sql::normalize::literal_kind(token.kind, token.text(&text).as_bytes()) {
                Some(sql::LiteralKind::Integer) => "7",
                Some(sql::LiteralKind::String) => "'other'",
                _ => continue,
            };
            other += &text[copied..token.start as usize];
            other += replaced;
            copied = token.end as usize;
        }
        other += &text[copied..];
        let (second, literal) = gather(&other, bytewise, covered);
        assert!(!literal, "{other}");
        assert_eq!(merge.as_ref().ok(), second.as_ref().ok(), "{text}\n{other}");
    }
}
