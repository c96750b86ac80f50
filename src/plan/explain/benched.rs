//! A query over fetched inputs, line by line.
//!
//! ```text
//!   -> input 1, deal d, from shards s0, s1: SELECT d.id FROM public.deal AS d
//!   -> the rest runs on one of shards s0, s1: SELECT count(*) FROM (input 1) d
//! ```

use super::gathered::shown;
use super::{destination, traces, unknown};
use crate::plan::gather::{Piece, Text};
use crate::plan::render::{quoted, render};
use crate::plan::work::Bench;
use crate::plan::{Route, Target, Values};
use crate::sql::{self, Limits};
use crate::types::ShardId;
use crate::types::key::DecodeContext;
use crate::vschema::Vschema;

/// The lines about a bench, under these values.
pub fn lines(
    bench: &Bench,
    statement: &str,
    values: &dyn Values,
    vschema: &Vschema,
    context: &DecodeContext,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, input) in bench.inputs.iter().enumerate() {
        let from = places(&input.route, values, vschema, context);
        let mut text = rendered(&input.text, statement);
        for (at, keys) in input.keys.iter().enumerate() {
            let word = if input.filtered || at > 0 { "AND" } else { "WHERE" };
            text.push_str(&format!(" {word} {} = ANY (few keys of input {})", keys.compared, keys.input + 1));
        }
        lines.push(format!("  -> input {}, {}, from {from}: {text}", at + 1, input.label));
        lines.extend(traces(&input.route, values, vschema, context));
    }
    let rest = rendered(&bench.rest, statement);
    lines.push(format!("  -> the rest runs on {}: {rest}", workbench(bench, vschema)));
    lines
}

/// Where an input's rows are.
fn places(route: &Route, values: &dyn Values, vschema: &Vschema, context: &DecodeContext) -> String {
    if let Some(parameter) = unknown(route, values) {
        return format!("shards that the value of ${parameter} leads to");
    }
    match route.resolve(values, vschema, context) {
        Ok(target @ Target::Any(_)) => format!("{}, which has none", destination(&target, vschema)),
        Ok(target) => destination(&target, vschema),
        Err(error) => format!("nowhere: {}", error.message),
    }
}

/// Where the rest may run.
pub fn workbench(bench: &Bench, vschema: &Vschema) -> String {
    if let Some(shard) = bench.fixed {
        return format!("shard {}", vschema.shard_name(shard));
    }
    let Some(first) = bench.keyspaces.first() else { return "one of the shards asked".into() };
    let has_all =
        |shard: &&ShardId| bench.keyspaces.iter().all(|space| vschema.keyspace(*space).shards.contains(shard));
    let shards = vschema.keyspace(*first).shards.iter().filter(has_all);
    let names: Vec<&str> = shards.map(|shard| vschema.shard_name(*shard)).collect();
    format!("one of shards {}", names.join(", "))
}

/// A text as a server gets it, with inputs by their numbers.
pub fn rendered(text: &Text, statement: &str) -> String {
    let Ok(tokens) = sql::lex(statement, &Limits::default()) else { return "?".into() };
    let piece = |piece: &Piece| match piece {
        Piece::Input { input, alias } => {
            let alias = alias.as_ref().map(|alias| format!(" AS {}", quoted(alias))).unwrap_or_default();
            Piece::Words(format!("(input {}){alias}", u32::from(*input) + 1))
        }
        other => other.clone(),
    };
    let text = Text { pieces: text.pieces.iter().map(piece).collect() };
    render(&text, statement, &tokens, None, None).map_or_else(|_| "?".into(), |rendered| shown(rendered.sql))
}
