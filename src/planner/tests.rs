//! Plans as data: `cases/*.txt` holds a sentence, a statement and the plan that EXPLAIN (ROUTE) shows.
//!
//! `GOLDSEAM_BLESS=1 cargo test planner` writes what the planner says now; read the difference before you commit it.

use std::borrow::Cow;
use std::collections::HashMap;

use proptest::prelude::*;

use super::{Context, plan};
use crate::catalog::Catalog;
use crate::plan::{Values, Verdict, explain};
use crate::sql::{Limits, Normalized, normalize};
use crate::types::key::DecodeContext;
use crate::types::{Raw, ShardId};
use crate::vschema::Vschema;
use layout::{catalog, layout, type_oid};

pub mod case_files;
mod layout;

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

/// The layout that the cases are about.
pub struct Bench {
    pub vschema: Vschema,
    catalog: Catalog,
    path: Vec<String>,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { vschema: layout(), catalog: catalog(), path: vec!["public".into()] }
    }

    pub fn context(&self) -> Context<'_> {
        Context {
            vschema: &self.vschema,
            catalog: &self.catalog,
            search_path: &self.path,
            forced: None,
            limits: Limits::default(),
            triggers: 0,
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

#[test]
fn every_case_has_its_plan() {
    let (folder, bench) = (format!("{}/src/planner/cases", env!("CARGO_MANIFEST_DIR")), Bench::new());
    let run = |head: &str| {
        let input: Vec<&str> = head.lines().filter(|line| !line.starts_with('#')).collect();
        run(&bench, &input)
    };
    let count: usize = case_files::names(&folder).iter().map(|file| case_files::check(&folder, file, &run)).sum();
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
