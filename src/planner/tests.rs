//! Plans as data: `cases/*.txt` holds a sentence, a statement and the plan that EXPLAIN (ROUTE) shows.
//!
//! `GOLDSEAM_BLESS=1 cargo test planner` writes what the planner says now; read the difference before you commit it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Context, plan};
use crate::catalog::{Catalog, Column, ColumnDefault, Function, Relation, RelationKind};
use crate::plan::{Values, Verdict, explain};
use crate::sql::{Limits, Normalized, normalize};
use crate::types::key::DecodeContext;
use crate::types::{Oid, Raw, ShardId, oid};
use crate::vschema::{self, Vschema};

const LAYOUT: &str = r#"
[keyspace.commerce]
shards = ["s0", "s1", "s2", "s3"]
[keyspace.main]
shards = ["s4"]
[keyspace.side]
shards = ["s1"]
[vindex.by_customer]
type = "hash"
[vindex.by_text]
type = "hash"
[vindex.by_day]
type = "range"
ranges = [ { to = "2026-01-01", shard = "s0" }, { shard = "s1" } ]
[vindex.by_word]
type = "range"
key_type = "text"
ranges = [ { to = "m", shard = "s2" }, { shard = "s3" } ]
[vindex.by_region]
type = "list"
lists = [ { values = ["eu"], shard = "s0" }, { values = ["us"], shard = "s2" } ]
[vindex.placed]
type = "directory"
default = "least_loaded"
[vindex.by_two]
type = "hash"
[table.customers]
keyspace = "commerce"
shard_key = "id"
vindex = "by_customer"
[table.orders]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.items]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.events]
keyspace = "commerce"
shard_key = "day"
vindex = "by_day"
[table.words]
keyspace = "commerce"
shard_key = "word"
vindex = "by_word"
[table.local_words]
keyspace = "commerce"
shard_key = "word"
vindex = "by_word"
[table.padded]
keyspace = "commerce"
shard_key = "word"
vindex = "by_word"
[table.regions]
keyspace = "commerce"
shard_key = "region"
vindex = "by_region"
[table.accounts]
keyspace = "commerce"
shard_key = "account"
vindex = "placed"
[table.tags]
keyspace = "commerce"
shard_key = "tag"
vindex = "by_text"
[table.codes]
keyspace = "commerce"
shard_key = "code"
vindex = "by_text"
[table.pairs]
keyspace = "commerce"
shard_key = ["a", "b"]
vindex = "by_two"
[table.audited]
keyspace = "commerce"
shard_key = "customer_id"
vindex = "by_customer"
[table.fuzzy]
keyspace = "commerce"
shard_key = "word"
vindex = "by_text"
[table."sales.orders"]
keyspace = "commerce"
shard_key = "id"
vindex = "by_customer"
[table.ghosts]
keyspace = "commerce"
shard_key = "id"
vindex = "by_customer"
[table.countries]
keyspace = "commerce"
type = "reference"
[table.settings]
keyspace = "main"
[table.logs]
keyspace = "side"
[functions]
shard_local = ["order_total"]
"#;

/// `name type[*][!][=][@][#]`: `#` is NOT NULL, `*` from a sequence, `!` of a collation that calls different bytes equal, `=` with a default, `@` with one that
/// tells the time.
const TABLES: &[(&str, &str, &[&str], &str)] = &[
    ("public.customers", "id int8#, name text, region text", &["id", "region,id"], "s0 s1 s2 s3"),
    (
        "public.orders",
        "id int8*, customer_id int8#, total numeric, placed timestamptz@",
        &["customer_id,id"],
        "s0 s1 s2 s3",
    ),
    (
        "public.items",
        "customer_id int4#, order_id int8, product text, qty int4=",
        &["customer_id,order_id,product", "product"],
        "s0 s1 s2 s3",
    ),
    ("public.events", "day date, kind text, at timestamptz=", &[], "s0 s1 s2 s3"),
    ("public.words", "word text, uses int8", &["word"], "s0 s1 s2 s3"),
    ("public.local_words", "word text~, uses int8", &["word"], "s0 s1 s2 s3"),
    ("public.padded", "word bpchar, uses int8", &["word"], "s0 s1 s2 s3"),
    ("public.regions", "region text, name text", &["region"], "s0 s1 s2 s3"),
    ("public.accounts", "account int8, balance numeric", &["account"], "s0 s1 s2 s3"),
    ("public.tags", "tag text#, uses int8", &["tag"], "s0 s1 s2 s3"),
    ("public.codes", "code bpchar, meaning text", &["code"], "s0 s1 s2 s3"),
    ("public.pairs", "a int8#, b text#, c int4", &["a,b"], "s0 s1 s2 s3"),
    ("public.audited", "customer_id int8, note text", &[], "s0 s1 s2 s3"),
    ("public.fuzzy", "word text!, n int4", &[], "s0 s1 s2 s3"),
    ("sales.orders", "id int8, amount numeric", &["id"], "s0 s1 s2 s3"),
    ("public.countries", "code text, name text", &["code"], "s0 s1 s2 s3"),
    ("public.settings", "name text, value text, id int8*", &["name"], "s4"),
    ("public.logs", "id int8*, line text", &["id"], "s1"),
    ("public.forgotten", "id int8, x text", &["id"], "s0 s2"),
];

fn shards(names: &str) -> Vec<ShardId> {
    names.split(' ').map(|name| ShardId(name[1..].parse().unwrap())).collect()
}

fn type_oid(name: &str) -> Oid {
    match name {
        "int4" => oid::INT4,
        "int8" => oid::INT8,
        "text" => oid::TEXT,
        "bpchar" => oid::BPCHAR,
        "numeric" => oid::NUMERIC,
        "date" => oid::DATE,
        "timestamptz" => oid::TIMESTAMPTZ,
        other => panic!("no type {other}"),
    }
}

fn relation(name: &str, columns: &str, keys: &[&str], places: &str, kind: RelationKind) -> Relation {
    let (schema, name) = name.split_once('.').unwrap();
    let columns: Vec<Column> = columns
        .split(", ")
        .filter(|column| !column.is_empty())
        .map(|column| {
            let (name, word) = column.split_once(' ').unwrap();
            let type_name = word.trim_end_matches(['*', '!', '~', '=', '@', '#']);
            Column {
                name: name.into(),
                type_oid: type_oid(type_name),
                type_name: type_name.into(),
                not_null: word.ends_with('#'),
                default: match word.as_bytes().last() {
                    Some(b'*') => ColumnDefault::Sequence,
                    Some(b'=') => ColumnDefault::Expression,
                    Some(b'@') => ColumnDefault::Moment,
                    _ => ColumnDefault::None,
                },
                nondeterministic: word.ends_with('!'),
                bytewise: !word.ends_with(['!', '~']),
                plain_collation: !word.ends_with(['!', '~']),
            }
        })
        .collect();
    let place = |key: &str| columns.iter().position(|column| column.name == key).unwrap();
    let unique_keys = keys.iter().map(|key| key.split(',').map(place).collect()).collect();
    Relation {
        schema: schema.into(),
        name: name.into(),
        kind,
        shards: shards(places),
        columns,
        unique_keys,
        has_triggers: name == "audited",
    }
}

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    let mut add = |relation: Relation| {
        catalog.relations.insert((relation.schema.clone(), relation.name.clone()), Arc::new(relation));
    };
    for (name, columns, keys, places) in TABLES {
        add(relation(name, columns, keys, places, RelationKind::Table));
    }
    add(relation("public.recent_orders", "id int8, customer_id int8", &[], "s0 s1 s2 s3", RelationKind::View));
    add(relation(
        "public.totals",
        "customer_id int8, total numeric",
        &[],
        "s0 s1 s2 s3",
        RelationKind::MaterializedView,
    ));
    add(relation("public.orders_id_seq", "", &[], "s0 s1 s2 s3", RelationKind::Sequence));
    add(relation("public.settings_id_seq", "", &[], "s4", RelationKind::Sequence));
    for (name, immutable) in [("slugify", true), ("archive_orders", false), ("order_total", false), ("first_of", true)]
    {
        catalog.functions.insert(name.into(), Function { immutable });
    }
    catalog.aggregates.insert("first_of".into());
    for name in ["generate_series", "unnest"] {
        catalog.set_functions.insert(name.into());
    }
    for name in ["pg_class", "pg_namespace", "pg_attribute", "pg_type", "pg_stat_activity"] {
        catalog.system_relations.insert(name.into());
    }
    catalog
}

fn layout() -> Vschema {
    let names: Vec<String> = (0..5).map(|n| format!("s{n}")).collect();
    vschema::load(&[("test.toml".into(), LAYOUT.into())], &names).unwrap()
}

struct CaseValues<'a> {
    text: &'a str,
    literals: &'a [crate::sql::Literal],
    parameters: &'a [String],
}

impl Values for CaseValues<'_> {
    fn literal(&self, index: u16) -> Option<Raw<'_>> {
        self.literals.get(usize::from(index))?.raw(self.text)
    }

    fn parameter(&self, index: u16) -> Option<Raw<'_>> {
        let text = self.parameters.get(usize::from(index))?;
        let (text, oid) = match text.split_once(" as ") {
            Some((text, name)) => (text, type_oid(name)),
            None => (text.as_str(), 0),
        };
        Some(if text == "NULL" { Raw::Null } else { Raw::Text { text: Cow::Borrowed(text), oid } })
    }
}

struct Bench {
    vschema: Vschema,
    catalog: Catalog,
    path: Vec<String>,
}

impl Bench {
    fn new() -> Bench {
        Bench { vschema: layout(), catalog: catalog(), path: vec!["public".into()] }
    }

    fn context(&self) -> Context<'_> {
        Context {
            vschema: &self.vschema,
            catalog: &self.catalog,
            search_path: &self.path,
            forced: None,
            limits: Limits::default(),
        }
    }

    fn explain(&self, text: &str, path: &[String], forced: Option<ShardId>, parameters: &[String]) -> Vec<String> {
        let context = Context { search_path: path, forced, ..self.context() };
        let plan = plan(text, &context);
        let mut normalized = Normalized::new(7);
        if let Err(error) = normalize(text, &context.limits, &mut normalized) {
            return vec![format!("{} {}", error.code, error.message)];
        }
        let values = CaseValues { text, literals: &normalized.literals, parameters };
        let decode = DecodeContext { utc: true, iso: true };
        let mut lines = explain(&plan, text, &values, &self.vschema, &decode);
        if let Verdict::Refuse(error) = &plan.verdict {
            lines = vec![format!("{} {}", error.code, error.message)];
            lines.extend(error.detail.iter().chain(&error.hint).map(|line| format!("  {line}")));
        } else if let Verdict::Route(route) = &plan.verdict
            && let Err(error) = route.resolve(&values, &self.vschema, &decode)
        {
            lines[0] = format!("{} {}", error.code, error.message);
            lines.insert(1, format!("  {}", error.detail.unwrap_or_default()));
        }
        if plan.effects.floating {
            lines.push("  Effects: none (floating)".into());
        }
        lines
    }
}

/// `with: 1, NULL` gives parameters, `path: sales, public` the search path, `shard: s2` is goldseam.shard.
fn run(bench: &Bench, input: &[&str]) -> String {
    let (mut parameters, mut path, mut forced) = (Vec::new(), bench.path.clone(), None);
    let mut text = Vec::new();
    for line in input {
        let list = |rest: &str| rest.split(", ").map(str::to_string).collect();
        if let Some(rest) = line.strip_prefix("with: ") {
            parameters = list(rest);
        } else if let Some(rest) = line.strip_prefix("path: ") {
            path = list(rest);
        } else if let Some(rest) = line.strip_prefix("shard: ") {
            forced = bench.vschema.shard(rest);
        } else {
            text.push(*line);
        }
    }
    bench.explain(&text.join("\n"), &path, forced, &parameters).join("\n")
}

/// The cases of one file: blocks parted by empty lines, each `# sentence`, statement, `----`, plan.
fn check(file: &str) -> usize {
    let path = format!("{}/src/planner/cases/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let bench = Bench::new();
    let bless = std::env::var_os("GOLDSEAM_BLESS").is_some();
    let (mut out, mut wrong, mut count) = (Vec::new(), Vec::new(), 0);
    for block in text.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let (head, expected) = block.split_once("\n----").unwrap_or((block, ""));
        let input: Vec<&str> = head.lines().filter(|line| !line.starts_with('#')).collect();
        if input.is_empty() {
            out.push(block.to_string());
            continue;
        }
        count += 1;
        let found = run(&bench, &input);
        if found.trim() != expected.trim() {
            wrong.push(format!("{head}\n---- expected{expected}\n---- found\n{found}"));
        }
        out.push(format!("{head}\n----\n{found}"));
    }
    if bless {
        std::fs::write(&path, out.join("\n\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{file}: {} of {count} differ\n\n{}", wrong.len(), wrong.join("\n\n"));
    }
    count
}

#[test]
fn every_case_has_its_plan() {
    let folder = format!("{}/src/planner/cases", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in names.iter().filter(|name| name.ends_with(".txt")) {
        count += check(name);
    }
    assert!(count >= 250, "only {count} cases");
}

/// A plan must not depend on what is lifted: texts with one key have one plan.
#[test]
fn texts_with_one_key_have_one_plan() {
    let bench = Bench::new();
    let folder = format!("{}/src/planner/cases", env!("CARGO_MANIFEST_DIR"));
    let mut plans: HashMap<u128, (String, String)> = HashMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for block in text.split("\n\n") {
            let head = block.split("\n----").next().unwrap_or("");
            let statement: Vec<&str> = head
                .lines()
                .filter(|line| !["#", "with: ", "path: ", "shard: "].iter().any(|start| line.starts_with(start)))
                .collect();
            let statement = statement.join("\n");
            let mut normalized = Normalized::new(7);
            if normalize(&statement, &Limits::default(), &mut normalized).is_err() {
                continue;
            }
            let plan = plan(&statement, &bench.context());
            if plan.literal {
                continue;
            }
            let shape = match &plan.verdict {
                Verdict::Refuse(error) => format!("{} {}", error.code, error.message),
                Verdict::Route(route) => format!("{:?} {:?} {:?}", route.fixed, route.keyed, route.fallback),
            };
            let known = plans.entry(normalized.key).or_insert_with(|| (statement.clone(), shape.clone()));
            assert_eq!(known.1, shape, "{} and {statement}", known.0);
        }
    }
}

fn verdict_code(text: &str) -> Option<String> {
    match plan(text, &Bench::new().context()).verdict {
        Verdict::Refuse(error) => Some(error.code.to_string()),
        Verdict::Route(_) => None,
    }
}

#[test]
fn what_is_too_deep_is_refused_and_the_stack_survives() {
    let nested = |n: usize| format!("SELECT {}1{} FROM orders WHERE customer_id = 1", "(".repeat(n), ")".repeat(n));
    assert_eq!(verdict_code(&nested(100_000)).as_deref(), Some("54001"));
    assert_eq!(verdict_code(&nested(150)), None);
    let terms = |n: usize| format!("SELECT 1 FROM orders WHERE customer_id = 1 AND (id = 1{})", " OR id = 2".repeat(n));
    assert_eq!(verdict_code(&terms(40_000)).as_deref(), Some("54001"));
    assert_eq!(verdict_code(&terms(1_500)), None);
    let arms = |n: usize| format!("SELECT a, 1{}", " UNION ALL SELECT b, 2".repeat(n));
    assert_eq!(verdict_code(&arms(20_000)).as_deref(), Some("54001"));
    assert_eq!(verdict_code(&arms(1_000)), None);
    assert_eq!(verdict_code(&format!("SELECT {}1", "NOT ".repeat(50_000))).as_deref(), Some("54001"));
    assert_eq!(verdict_code(&format!("SELECT {}1", "- ".repeat(50_000))).as_deref(), Some("54001"));
    assert_eq!(
        verdict_code(&format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(30_000), " END".repeat(30_000))).as_deref(),
        Some("54001")
    );
    assert_eq!(verdict_code(&format!("SELECT 1{}", "::int".repeat(30_000))).as_deref(), Some("54001"));
    let subqueries = |n: usize| {
        format!("SELECT * FROM {}orders{} WHERE customer_id = 1", "(SELECT * FROM ".repeat(n), ") x".repeat(n))
    };
    assert_eq!(verdict_code(&subqueries(180)), None);
    assert_eq!(verdict_code(&subqueries(1_800)).as_deref(), Some("54001"));
    let many = format!("SELECT * FROM orders WHERE customer_id IN (1{})", ", 1".repeat(50_000));
    assert_eq!(verdict_code(&many), None);
}

/// What fits within the limits fits on a thread of the runtime, too: to plan it, to look it up, and to drop it.
#[test]
fn long_statements_need_no_deep_stack() {
    let keyed = "SELECT id FROM customers WHERE";
    let texts = [
        format!("{keyed} id = 1{}", " OR id = 1".repeat(1_500)),
        format!("{keyed} id = 1 AND (id = 1{})", " OR id = 1".repeat(1_500)),
        format!("{keyed} {}id = 1{}", "(id = 1 OR (id = 2 AND ".repeat(90), "))".repeat(90)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(1_500)),
        format!("{}SELECT 1{}", "SELECT * FROM (".repeat(180), ") x".repeat(180)),
        format!("SELECT 1 FROM customers{}", " CROSS JOIN customers".repeat(3_000)),
        format!("SELECT 1 FROM customers c0{}", " JOIN customers USING (id)".repeat(100)),
        format!(
            "SELECT 1 FROM customers c0{}",
            (1..600).map(|n| format!(" JOIN customers c{n} USING (id)")).collect::<String>()
        ),
    ];
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let bench = Bench::new();
        for text in texts {
            let _ = bench.explain(&text, &bench.path, None, &[]);
        }
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn what_is_no_sql_is_an_error_of_postgres_own_kind() {
    for text in
        ["SELECT 'abc", "SELECT \"abc", "SELECT /* abc", "SELECT $a$ abc", "SELECT 1a", "SELECT \\", "SELECT \"\""]
    {
        assert_eq!(verdict_code(text).as_deref(), Some("42601"), "{text}");
    }
}

#[test]
fn more_tokens_than_the_limit_are_refused() {
    let bench = Bench::new();
    let context = Context { limits: Limits { max_tokens: 10, ..Limits::default() }, ..bench.context() };
    let Verdict::Refuse(error) = plan("SELECT 1, 2, 3, 4, 5, 6, 7", &context).verdict else { panic!("not refused") };
    assert_eq!(error.code.to_string(), "54000");
}

const WORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "orders",
    "customers",
    "customer_id",
    "id",
    "=",
    "1",
    "'x'",
    "$1",
    "AND",
    "OR",
    "NOT",
    "IN",
    "(",
    ")",
    ",",
    "JOIN",
    "LEFT",
    "FULL",
    "ON",
    "USING",
    "INSERT",
    "INTO",
    "VALUES",
    "UPDATE",
    "SET",
    "DELETE",
    "UNION",
    "ALL",
    "WITH",
    "AS",
    "RECURSIVE",
    "LATERAL",
    "GROUP BY",
    "HAVING",
    "ORDER BY",
    "LIMIT",
    "::",
    "int",
    "[",
    "]",
    "ARRAY",
    "ANY",
    "CASE",
    "WHEN",
    "THEN",
    "END",
    "NULL",
    "*",
    ".",
    "o",
    "EXISTS",
    "FOR UPDATE",
    "RETURNING",
    "countries",
    "settings",
    "nextval",
    "count",
    "EXPLAIN",
    "COPY",
    "TO",
    "STDIN",
    "CREATE",
    "TABLE",
    "TEMP",
    "DROP",
    "DECLARE",
    "CURSOR",
    "FOR",
    "DEFAULT",
    "ON CONFLICT",
    "DO NOTHING",
    "NATURAL",
    "-",
    "+",
    "||",
    ";",
    "\"orders\"",
    "E'\\''",
    "$$a$$",
    "BETWEEN",
    "IS",
    "DISTINCT",
    "ONLY",
    "OVER",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_on_arbitrary_text(text in "\\PC{0,80}|[ -~\\n]{0,120}") {
        let bench = Bench::new();
        let _ = crate::sql::split(&text, &Limits::default());
        let _ = crate::sql::classify(&text);
        let mut normalized = Normalized::new(1);
        let _ = normalize(&text, &Limits::default(), &mut normalized);
        for literal in &normalized.literals {
            let _ = literal.raw(&text);
        }
        let _ = plan(&text, &bench.context());
    }

    #[test]
    fn nothing_panics_on_words_of_sql(words in proptest::collection::vec(proptest::sample::select(WORDS), 1..30)) {
        let text = words.join(" ");
        let bench = Bench::new();
        let _ = bench.explain(&text, &bench.path, None, &["1".to_string()]);
    }

    #[test]
    fn other_literals_have_the_same_key(a in 0u32..100_000, b in 0u32..100_000, x in "[a-z ]{0,9}", y in "[a-z ]{0,9}") {
        let text = |n: u32, s: &str| format!("SELECT * FROM t WHERE a = {n} AND b = '{s}' -- {s}\n AND c IN ({n}, {n})");
        let (mut one, mut other) = (Normalized::new(9), Normalized::new(9));
        normalize(&text(a, &x), &Limits::default(), &mut one).unwrap();
        normalize(&text(b, &y), &Limits::default(), &mut other).unwrap();
        prop_assert_eq!(one.key, other.key);
        prop_assert_eq!(one.literals.len(), 4);
    }
}
