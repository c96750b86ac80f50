//! How a plan looks to people: `EXPLAIN (ROUTE)`.
//!
//! ```text
//! Route to shard s2
//!   -> table orders: customer_id = $1 by customer_hash
//!        customer_id = 42: bucket 17 of 1024, shard s2
//!   -> table countries: a copy on every shard
//! ```
//!
//! Of a route to several shards it also shows what each of them is sent, and what becomes of the answers ([`gathered`]); of a query over
//! fetched inputs, which they are, and what runs over them ([`benched`]).

pub mod benched;
mod defined;
pub mod gathered;

use super::{
    Arithmetic, Edge, KeyColumn, KeySet, KeySource, Origin, Plan, Route, Steps, Target, Values, Verdict, Work,
};
use crate::error::PgError;
use crate::types::key::DecodeContext;
use crate::types::{Raw, ShardId};
use crate::vschema::Vschema;

/// The plan of a statement as a tree, with the reason of each shard.
pub fn explain(
    plan: &Plan,
    statement: &str,
    values: &dyn Values,
    vschema: &Vschema,
    context: &DecodeContext,
) -> Vec<String> {
    let mut lines = Vec::new();
    let route = match &plan.verdict {
        Verdict::Refuse(error) => {
            lines.push(format!("Refused: {}", error.message));
            lines.extend(error.detail.iter().map(|detail| format!("  Detail: {detail}")));
            lines.extend(error.hint.iter().map(|hint| format!("  Hint: {hint}")));
            return lines;
        }
        Verdict::Route(route) => route,
    };
    let missing = unknown(route, values);
    let target = match missing {
        // Without values, as for a statement that is only prepared, the template is all there is to show.
        Some(parameter) => Err(PgError::unsupported(format!("the value of ${parameter} is not known"))),
        None => route.resolve(values, vschema, context),
    };
    lines.push(match &target {
        Ok(target) => format!("Route to {}", destination(target, vschema)),
        Err(error) => format!("Route open: {}", error.message),
    });
    lines.extend(route.reasons.iter().map(|reason| format!("  -> {reason}")));
    lines.extend(traces(route, values, vschema, context));
    match (&route.gather, &target) {
        (Some(gather), Ok(Target::Shards { shards, rows })) => {
            lines.extend(gathered::lines(gather, statement, shards, rows, vschema));
        }
        (Some(gather), Err(_)) if missing.is_some() => {
            lines.extend(gathered::lines(gather, statement, &[], &[], vschema))
        }
        _ => {}
    }
    if let Some(Steps::Bench(bench)) = route.work.as_ref().map(|work| &work.steps)
        && (matches!(target, Ok(Target::Work)) || missing.is_some())
    {
        lines.extend(benched::lines(bench, statement, values, vschema, context));
    }
    if let Some(Work { steps: Steps::Definition(definition), .. }) = route.work.as_deref() {
        lines.extend(defined::lines(definition, vschema));
    } else if plan.literal {
        lines.push("  Holds for these literals only".into());
    }
    let effects = &plan.effects;
    let mut words = Vec::new();
    if effects.writes {
        words.push("writes or locks".to_string());
    }
    if effects.ddl {
        words.push("changes the catalog".to_string());
    }
    if let Some(pin) = effects.pin {
        words.push(format!("pins the session ({pin:?})"));
    }
    if !words.is_empty() {
        lines.push(format!("  Effects: {}", words.join(", ")));
    }
    lines
}

/// The first parameter that leads to a shard and has no value.
fn unknown(route: &Route, values: &dyn Values) -> Option<u32> {
    let mut unknown = None;
    for column in route.keyed.iter().flat_map(|requirement| &requirement.columns) {
        column.values.sources(&mut |source| {
            if let Origin::Parameter(index) = source.origin
                && values.parameter(index).is_none()
            {
                unknown = unknown.or(Some(u32::from(index) + 1));
            }
        });
    }
    unknown
}

/// How each single key led to its shard.
fn traces(route: &Route, values: &dyn Values, vschema: &Vschema, context: &DecodeContext) -> Vec<String> {
    let mut lines = Vec::new();
    for requirement in &route.keyed {
        for (key, shard) in requirement.keys(values, vschema, context) {
            let vindex = vschema.vindex(requirement.vindex);
            let names: Vec<&str> = requirement.columns.iter().map(|column| column.name.as_str()).collect();
            let texts: Vec<String> = key.iter().map(|key| key.to_text()).collect();
            let trace = vindex.vindex.trace(&key);
            let comma = if trace.is_empty() { "" } else { ", " };
            lines.push(format!(
                "       {} = {}: {trace}{comma}{}",
                names.join(", "),
                texts.join(", "),
                shard.map_or("no shard".to_string(), |shard| format!("shard {}", vschema.shard_name(shard)))
            ));
        }
    }
    lines
}

fn destination(target: &Target<'_>, vschema: &Vschema) -> String {
    let names =
        |shards: &[ShardId]| shards.iter().map(|shard| vschema.shard_name(*shard)).collect::<Vec<_>>().join(", ");
    match target {
        Target::Shard(shard) => format!("shard {}", vschema.shard_name(*shard)),
        Target::Shards { shards, .. } => format!("shards {}", names(shards)),
        Target::Work => "no shard as it is: Goldseam does it in steps".into(),
        Target::Any(None) => "any shard".into(),
        Target::Any(Some(shards)) => format!("any shard of {}", names(shards)),
        Target::Home => format!("the home shard {}", vschema.shard_name(vschema.home())),
        Target::Attached => "where the session is, else the home shard".into(),
        Target::Directory { vindex, key, insert, .. } => format!(
            "the shard that directory {} has for {}{}",
            vschema.vindex(*vindex).name,
            key.to_text(),
            if *insert { ", or gives it" } else { "" }
        ),
    }
}

/// A key column and what restricts it, as a template: `customer_id = $1`.
pub fn key_column(column: &KeyColumn) -> String {
    restriction(&column.name, &column.values)
}

fn restriction(name: &str, set: &KeySet) -> String {
    const SHOWN: usize = 5;
    match set {
        KeySet::Values(values) => match values.as_slice() {
            [one] => format!("{name} = {}", source(one)),
            many => {
                let mut shown: Vec<String> = many.iter().take(SHOWN).map(source).collect();
                if many.len() > SHOWN {
                    shown.push(format!("... {} in all", many.len()));
                }
                format!("{name} in ({})", shown.join(", "))
            }
        },
        KeySet::Array(array) => format!("{name} = any({})", source(array)),
        KeySet::Range { lower, upper } => {
            let edge = |edge: &Edge, sign: &str| {
                format!("{name} {sign}{} {}", if edge.inclusive { "=" } else { "" }, source(&edge.at))
            };
            let lower = lower.iter().map(|lower| edge(lower, ">"));
            lower.chain(upper.iter().map(|upper| edge(upper, "<"))).collect::<Vec<_>>().join(" and ")
        }
        KeySet::Any(sets) => {
            let shown: Vec<String> = sets.iter().take(SHOWN).map(|set| restriction(name, set)).collect();
            format!("({})", shown.join(" or "))
        }
        KeySet::All(sets) if sets.is_empty() => format!("any {name}"),
        KeySet::All(sets) => sets.iter().map(|set| restriction(name, set)).collect::<Vec<_>>().join(" and "),
    }
}

fn source(source: &KeySource) -> String {
    let sign = if source.negate { "-" } else { "" };
    let value = match &source.origin {
        Origin::Literal(index) => format!("literal {}", index + 1),
        Origin::Parameter(index) => format!("${}", u32::from(*index) + 1),
        Origin::Constant(Raw::Null) => "NULL".into(),
        Origin::Constant(_) => "a constant".into(),
        Origin::Arithmetic(terms) => {
            let (left, operation, right) = &**terms;
            let sign = match operation {
                Arithmetic::Add => '+',
                Arithmetic::Subtract => '-',
                Arithmetic::Multiply => '*',
            };
            format!("({} {sign} {})", self::source(left), self::source(right))
        }
    };
    let cast = if source.cast.is_some() { " (cast)" } else { "" };
    format!("{sign}{value}{cast}")
}
