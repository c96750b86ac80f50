//! Benches as data: `cases/*.txt` holds a sentence, a statement, what is fetched and what is run over it.
//!
//! `GOLDSEAM_BLESS=1 cargo test bench` writes what the planner says now; read the difference before you commit it.

use crate::plan::explain::key_column;
use crate::plan::gather::Text;
use crate::plan::once::Part;
use crate::plan::render::{Rows, Source, SourceColumn, render_over};
use crate::plan::{Steps, Verdict};
use crate::planner::plan;
use crate::planner::tests::{Bench as House, case_files};
use crate::sql::{self, Limits};

fn rendered(text: &Text, statement: &str, sources: &[Source]) -> String {
    let tokens = sql::lex(statement, &Limits::default()).unwrap();
    let rendered = render_over(text, statement, &tokens, None, None, sources).unwrap();
    let plain: Vec<u16> = (0..).take(rendered.parameters.len()).collect();
    let shown = rendered.parameters.iter().map(|number| format!("${}", number + 1)).collect::<Vec<_>>().join(", ");
    let with = if plain == rendered.parameters { String::new() } else { format!("   [with {shown}]") };
    format!("{}{with}", rendered.sql)
}

fn show(text: &str) -> String {
    let house = House::new();
    let plan = plan(text, &house.context());
    let route = match &plan.verdict {
        Verdict::Refuse(error) => {
            let mut lines = vec![format!("{} {}", error.code, error.message)];
            lines.extend(error.detail.iter().chain(&error.hint).map(|line| format!("  {line}")));
            return lines.join("\n");
        }
        Verdict::Route(route) => route,
    };
    if let Some(once) = &route.once {
        let tokens = sql::lex(text, &Limits::default()).unwrap();
        let part = |part: &Part| match part {
            Part::Tokens(range) => {
                let (first, last) = (tokens[range.start as usize], tokens[range.end as usize - 1]);
                text[first.start as usize..last.end as usize].to_owned()
            }
            Part::Words(words) => words.clone(),
            Part::Value { .. } => "?".to_owned(),
        };
        let parts: Vec<String> = once.parts.iter().map(part).collect();
        return format!("first it becomes:\n  {}", parts.join(" "));
    }
    let Some(work) = &route.work else {
        return if route.gather.is_some() { "several shards".into() } else { "one shard".into() };
    };
    let Steps::Bench(bench) = &work.steps else { return "other steps".into() };
    let mut lines = Vec::new();
    if !work.always {
        lines.push("if it is not one shard".to_string());
    }
    for (at, input) in bench.inputs.iter().enumerate() {
        let place = match (&input.route.fixed, &input.route.gather) {
            (Some(shard), _) => house.vschema.shard_name(*shard).to_string(),
            (None, Some(_)) if input.route.keyed.is_empty() => "all shards".to_string(),
            (None, Some(_)) => {
                let columns = input.route.keyed.iter().flat_map(|requirement| &requirement.columns);
                columns.map(key_column).collect::<Vec<_>>().join(" and ")
            }
            (None, None) => "one copy".to_string(),
        };
        let names: Vec<&str> = input.columns.iter().map(|column| column.name.as_str()).collect();
        lines.push(format!("input {at} ({}: {}): {place}", input.label, names.join(", ")));
        lines.push(format!("  {}", rendered(&input.text, text, &[])));
        for keys in &input.keys {
            lines.push(format!(
                "  {} = ANY ({}[] of input {}, column {})",
                keys.compared, keys.type_name, keys.input, keys.column
            ));
        }
        if !input.sought.is_empty() {
            lines.push(format!("  sought by {:?}", input.sought));
        }
        if !input.key.is_empty() {
            lines.push(format!("  key {:?}", input.key));
        }
    }
    let source = |at: usize| {
        let columns: Vec<SourceColumn> = Vec::new();
        Source { columns, rows: Rows::Whole(format!("input_{at}")) }
    };
    let sources: Vec<Source> = (0..bench.inputs.len()).map(source).collect();
    let mut place = String::new();
    if let Some(shard) = bench.fixed {
        place = format!(" on {}", house.vschema.shard_name(shard));
    } else if !bench.keyspaces.is_empty() {
        place = " where copies are".to_string();
    }
    lines.push(format!("rest{place}:"));
    lines.push(format!("  {}", rendered(&bench.rest, text, &sources)));
    lines.join("\n")
}

#[test]
fn every_case_has_its_bench() {
    let folder = format!("{}/src/planner/bench/cases", env!("CARGO_MANIFEST_DIR"));
    let run = |head: &str| {
        let lines: Vec<&str> = head.lines().filter(|line| !line.starts_with('#')).collect();
        show(&lines.join("\n"))
    };
    let count: usize = case_files::names(&folder).iter().map(|file| case_files::check(&folder, file, &run)).sum();
    assert!(count >= 50, "only {count} cases");
}
