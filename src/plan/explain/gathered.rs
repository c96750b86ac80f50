//! What several shards are sent, and what becomes of their answers, line by line.
//!
//! ```text
//!   -> each shard is sent: SELECT name , total FROM orders ORDER BY total LIMIT ...
//!   -> rows are merged in the order of h1, h2 desc nulls first
//!   -> limit h3, offset h4
//! ```
//!
//! `h1` is the first hidden column: one behind the client's, which the merge reads and the client does not get.

use crate::plan::gather::{By, Call, Function, Gather, Hidden, Item, Merge, OrderKey, Piece, Text};
use crate::plan::render::render;
use crate::sql::{self, Limits};
use crate::types::ShardId;
use crate::vschema::Vschema;

/// So many shards' own texts are shown.
const SHOWN_SHARDS: usize = 8;
/// So many characters of a text.
const SHOWN_TEXT: usize = 2_000;

/// The lines about a gather over these shards.
pub fn lines(gather: &Gather, statement: &str, shards: &[ShardId], rows: &[u16], vschema: &Vschema) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(format!("  -> {line}"));
    match &gather.text {
        None => say("each shard is sent the statement as it is".into()),
        Some(text) if rows.is_empty() => say(format!("each shard is sent: {}", rendered(text, statement, None))),
        Some(text) => {
            for (at, shard) in shards.iter().enumerate().take(SHOWN_SHARDS) {
                let own: Vec<bool> = rows.iter().map(|row| usize::from(*row) == at).collect();
                let text = rendered(text, statement, Some(&own));
                say(format!("shard {} is sent: {text}", vschema.shard_name(*shard)));
            }
            if shards.len() > SHOWN_SHARDS {
                say(format!("... {} shards in all", shards.len()));
            }
        }
    }
    match &gather.merge {
        Merge::Concat => say("rows come as the shards send them".into()),
        Merge::Rows => say("rows come in the order of VALUES".into()),
        Merge::Ordered(order) => say(format!("rows are merged in the order of {}", keys(order))),
        Merge::Distinct(order) if order.is_empty() => say("of equal rows one is kept".into()),
        Merge::Distinct(order) => say(format!("of equal rows one is kept, in the order of {}", keys(order))),
        Merge::Aggregate(aggregation) => {
            let groups: Vec<String> = aggregation.groups.iter().map(|column| hidden(*column)).collect();
            say(match groups.as_slice() {
                [] => "all rows are one group".into(),
                groups => format!("rows are grouped by {}", groups.join(", ")),
            });
            if !aggregation.calls.is_empty() {
                let calls: Vec<String> = aggregation.calls.iter().map(call).collect();
                say(format!("put together: {}", calls.join(", ")));
            }
            if aggregation.native && !aggregation.columns.is_empty() {
                let columns: Vec<String> = aggregation.columns.iter().map(item).collect();
                say(format!("columns: {}", columns.join(", ")));
            }
            if !aggregation.order.is_empty() {
                say(format!("groups are sorted by {}", keys(&aggregation.order)));
            }
            if let Some(finish) = &aggregation.finish {
                let when = if aggregation.native { "where the types are beyond the merge, one" } else { "one" };
                say(format!("{when} shard finishes: {}", rendered(&finish.text, statement, None)));
            }
        }
    }
    let window = gather.window;
    let bounds = [("limit", window.limit), ("offset", window.offset)];
    let bounds: Vec<String> =
        bounds.iter().filter_map(|(word, column)| Some(format!("{word} {}", hidden((*column)?)))).collect();
    if !bounds.is_empty() {
        say(bounds.join(", "));
    }
    match gather.hidden {
        Hidden::Last(0) => {}
        Hidden::Last(count) => say(format!("hidden columns: the last {count}")),
        Hidden::Twice(0) => say("hidden columns: the second half".into()),
        Hidden::Twice(more) => say(format!("hidden columns: the second half, and {more} more")),
    }
    lines
}

/// A text as a shard gets it. Types that only the shards' answers tell stand as `?`.
fn rendered(text: &Text, statement: &str, rows: Option<&[bool]>) -> String {
    let Ok(tokens) = sql::lex(statement, &Limits::default()) else { return "?".into() };
    let of_answer = |piece: &Piece| matches!(piece, Piece::Parts | Piece::Sum(_) | Piece::Avg { .. });
    let shown = match text.pieces.iter().any(of_answer) {
        false => render(text, statement, &tokens, rows, None).map(|rendered| rendered.sql),
        true => {
            let piece = |piece: &Piece| match piece {
                Piece::Parts => Piece::Words("(hidden columns of all shards)".into()),
                Piece::Sum(column) => Piece::Words(format!("sum({})", hidden(*column))),
                Piece::Avg { sum, count } => Piece::Words(format!("avg({}, {})", hidden(*sum), hidden(*count))),
                other => other.clone(),
            };
            let text = Text { pieces: text.pieces.iter().map(piece).collect() };
            render(&text, statement, &tokens, rows, None).map(|rendered| rendered.sql)
        }
    };
    shown.map_or_else(|_| "?".into(), self::shown)
}

/// As much of a text as a line shows.
pub(super) fn shown(mut shown: String) -> String {
    if let Some((end, _)) = shown.char_indices().nth(SHOWN_TEXT) {
        shown.truncate(end);
        shown.push_str("...");
    }
    // One line of EXPLAIN is one line.
    shown.replace(['\n', '\r'], " ")
}

fn hidden(column: u16) -> String {
    format!("h{}", u32::from(column) + 1)
}

fn keys(order: &[OrderKey]) -> String {
    let key = |key: &OrderKey| {
        let by = match key.by {
            By::Hidden(column) => hidden(column),
            By::Call(call) => format!("call {}", u32::from(call) + 1),
        };
        let direction = if key.descending { " desc" } else { "" };
        // Said only where it is not what the direction brings with it.
        let nulls = match (key.descending, key.nulls_first) {
            (false, true) => " nulls first",
            (true, false) => " nulls last",
            _ => "",
        };
        format!("{by}{direction}{nulls}{}", unless_text(key.bytewise))
    };
    order.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// What is not sure to compare byte by byte is not compared here if it turns out to be text.
fn unless_text(bytewise: bool) -> &'static str {
    if bytewise { "" } else { " (unless it is text)" }
}

fn call(call: &Call) -> String {
    let text = match call.function {
        Function::Min { bytewise } | Function::Max { bytewise } => unless_text(bytewise),
        _ => "",
    };
    let name = call.function.name();
    let parts: Vec<String> = call.parts.iter().map(|column| hidden(*column)).collect();
    format!("{name}({}){text}", parts.join(", "))
}

fn item(item: &Item) -> String {
    match item {
        Item::First => "of the group".into(),
        Item::Call(call) => format!("call {}", u32::from(*call) + 1),
    }
}
