//! The last step on a server: the client's own clauses, with each aggregate exchanged for its merged form and each group key for its column.
//!
//! An exchange must not change how the words around it are read. An aggregate's call binds as tightly as anything; of group keys a column, a call and
//! a CASE do, and a cast does if no more of its type can follow. Everything else (`a + b`) is exchanged only where it stands between commas,
//! parentheses or the words of a CASE. A column that stays behind is not made of the group's keys: refused.

use sqlparser::ast::Distinct;

use super::block::{Block, Target, quoted, tokens_piece};
use super::clauses::{Span, Tokens};
use super::grouped::Clauses;
use super::normal::{Atom, Sort};
use super::order::direction;
use super::partial::Grouped;
use super::survey::Survey;
use super::window::{Bounds, words};
use super::{refused, uncertain};
use crate::error::PgError;
use crate::plan::gather::{Function, Piece, Text};
use crate::planner::Planner;
use crate::sql::TokenKind;

/// An expression after the exchange.
#[derive(Debug)]
pub struct Merged {
    pub pieces: Vec<Piece>,
    pub whole: Whole,
}

/// What an expression is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// The n-th aggregate, and nothing else.
    Call(u16),
    /// The group key in this hidden column.
    Group(u16),
    /// Made of group keys and constants.
    Keys,
    /// Made of aggregates and more.
    Mixed,
}

impl Planner<'_> {
    /// Exchanges aggregates and group keys.
    pub(super) fn merged(&mut self, span: &Span, survey: &Survey, grouped: &mut Grouped) -> Result<Merged, PgError> {
        if survey.subqueries || survey.windows {
            return Err(refused(
                "a sub-query or window function beside GROUP BY or aggregates",
                "It is about groups whose rows are on several shards.",
                "Compute it in a statement of its own.",
            ));
        }
        let atoms = self.normal(span, survey);
        for group in &grouped.groups {
            if self.same(&group.normal, &atoms) {
                return Ok(Merged { pieces: vec![column(group.column)], whole: Whole::Group(group.column) });
            }
        }
        let bare = self.places().bare(span.clone());
        if let [call] = survey.calls.as_slice()
            && call.span == bare
        {
            let call = self.aggregate_call(call, survey, grouped)?;
            return Ok(Merged { pieces: vec![merged_call(grouped, call)?], whole: Whole::Call(call) });
        }
        let mut pieces = Vec::new();
        let mut mixed = false;
        // Tokens that stay as they are.
        let mut kept: Option<Span> = None;
        let mut at = 0;
        while let Some(atom) = atoms.get(at) {
            let place = atom.span.start;
            let exchanged = if let Some(call) = survey.calls.iter().find(|call| call.span.start == place) {
                mixed = true;
                let number = self.aggregate_call(call, survey, grouped)?;
                while atoms.get(at).is_some_and(|atom| atom.span.start < call.span.end) {
                    at += 1;
                }
                Some(merged_call(grouped, number)?)
            } else if let Some((group, length)) = self.group_at(&atoms, at, grouped) {
                at += length;
                Some(column(group))
            } else {
                None
            };
            if let Some(exchanged) = exchanged {
                pieces.extend(kept.take().map(|span| tokens_piece(&span)));
                pieces.push(exchanged);
                continue;
            }
            if let Some(name) = survey.columns.iter().find(|name| name.span.start == place) {
                let name = self.places().word(name.span.end - 1);
                return Err(refused(
                    &format!("column {name}, which is neither grouped nor aggregated,"),
                    "It may differ among the rows of a group that are on several shards.",
                    "Add it to GROUP BY as it is written, or take min or max of it.",
                ));
            }
            if let Some((_, name)) = survey.unknown.iter().find(|(token, _)| *token == place) {
                return Err(refused(
                    &format!("function \"{name}\" beside GROUP BY or aggregates"),
                    "It may read tables, or give several rows for a group.",
                    "GROUP BY its result, or compute it in the client.",
                ));
            }
            kept = Some(kept.map_or(atom.span.clone(), |span| span.start..atom.span.end));
            at += 1;
        }
        pieces.extend(kept.map(|span| tokens_piece(&span)));
        Ok(Merged { pieces, whole: if mixed { Whole::Mixed } else { Whole::Keys } })
    }

    /// The group key that begins here, and its length in atoms.
    fn group_at(&mut self, atoms: &[Atom], at: usize, grouped: &Grouped) -> Option<(u16, usize)> {
        let mut best: Option<(u16, usize)> = None;
        for group in &grouped.groups {
            let length = group.normal.len();
            // A constant is itself wherever it stands.
            if !group.normal.iter().any(|atom| matches!(atom.what, Sort::Column(..)))
                || best.is_some_and(|(_, known)| known >= length)
            {
                continue;
            }
            let Some(part) = atoms.get(at..at + length) else { continue };
            let before = at.checked_sub(1).and_then(|before| atoms.get(before));
            if fits(&self.places(), before, &group.normal, atoms.get(at + length)) && self.same(&group.normal, part) {
                best = Some((group.column, length));
            }
        }
        best
    }
}

/// Whether these atoms are read together, whatever stands around them.
fn fits(tokens: &Tokens<'_>, before: Option<&Atom>, group: &[Atom], after: Option<&Atom>) -> bool {
    let word = |atom: Option<&Atom>| match atom.map(|atom| &atom.what) {
        Some(Sort::Word(word)) => word.clone(),
        Some(_) => "x".to_string(),
        None => String::new(),
    };
    let (before, following) = (word(before), word(after));
    let operator = after.is_some_and(|atom| tokens.kind(atom.span.start) == Some(TokenKind::Operator));
    let closed = matches!(following.as_str(), "" | ")" | "," | "]" | "then" | "else" | "end" | "when" | "as");
    let opened = matches!(before.as_str(), "" | "(" | "," | "[" | "when" | "then" | "else" | "case");
    match form(group) {
        Form::Column => !matches!(following.as_str(), "(" | ".") && before != ".",
        Form::Primary => !matches!(following.as_str(), "(" | "." | "over" | "filter" | "within") && before != ".",
        Form::Cast => (closed || operator || matches!(following.as_str(), "::" | "and" | "or")) && before != ".",
        Form::Loose => closed && opened,
    }
}

enum Form {
    Column,
    Primary,
    Cast,
    Loose,
}

fn form(group: &[Atom]) -> Form {
    let word = |at: usize| match group.get(at).map(|atom| &atom.what) {
        Some(Sort::Word(word)) => word.as_str(),
        _ => "",
    };
    if let [Atom { what: Sort::Column(..), .. }] = group {
        return Form::Column;
    }
    // Where the first thing ends: a column, or a call with its parentheses.
    let first = match group.first().map(|atom| &atom.what) {
        Some(Sort::Column(..)) => Some(1),
        Some(Sort::Word(name)) if name == "case" => (word(group.len() - 1) == "end").then_some(group.len()),
        Some(Sort::Word(name)) if is_name(name) => {
            let mut open = 1;
            while word(open) == "." {
                open += 2;
            }
            closing(group, open)
        }
        Some(Sort::Word(open)) if open == "(" => closing(group, 0),
        _ => None,
    };
    match first {
        Some(end) if end == group.len() => Form::Primary,
        Some(end) if word(end) == "::" => {
            // One type's name, and nothing after it.
            let rest = group.get(end + 1..).unwrap_or(&[]);
            let plain = rest.iter().all(|atom| match &atom.what {
                Sort::Word(word) => is_name(word) || matches!(word.as_str(), "::" | "." | "(" | ")" | "[" | "]" | ","),
                Sort::Literal(_) => true,
                Sort::Column(..) => false,
            });
            let zone = rest.iter().any(|atom| atom.what == Sort::Word("at".into()));
            if plain && !zone { Form::Cast } else { Form::Loose }
        }
        _ => Form::Loose,
    }
}

fn is_name(word: &str) -> bool {
    const NOT_CALLS: &[&str] = &[
        "not", "case", "array", "row", "interval", "and", "or", "is", "in", "like", "ilike", "between", "similar",
        "collate", "null", "isnull", "notnull", "then", "else", "when", "end", "distinct", "from", "any", "all",
        "some", "exists",
    ];
    !NOT_CALLS.contains(&word) && word.starts_with(|first: char| first.is_alphabetic() || first == '_' || first == '"')
}

/// One past the parenthesis that closes the one at `open`.
fn closing(group: &[Atom], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, atom) in group.iter().enumerate().skip(open) {
        match &atom.what {
            Sort::Word(word) if word == "(" => depth += 1,
            Sort::Word(word) if word == ")" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn column(number: u16) -> Piece {
    Piece::Words(format!("goldseam.c{number}"))
}

/// An aggregate over the partial results.
fn merged_call(grouped: &Grouped, number: u16) -> Result<Piece, PgError> {
    let unknown = || uncertain("this aggregate");
    let call = &grouped.calls.get(usize::from(number)).ok_or_else(unknown)?.call;
    let part = *call.parts.first().ok_or_else(unknown)?;
    let plain = |name: &str| Piece::Words(format!("pg_catalog.{name}(goldseam.c{part})"));
    Ok(match call.function {
        Function::Count => Piece::Words(format!("(coalesce(pg_catalog.sum(goldseam.c{part}), 0)::bigint)")),
        Function::Sum => Piece::Sum(part),
        Function::Avg => Piece::Avg { sum: part, count: *call.parts.get(1).ok_or_else(unknown)? },
        Function::Min { .. } => plain("min"),
        Function::Max { .. } => plain("max"),
        Function::BoolAnd => plain("bool_and"),
        Function::BoolOr => plain("bool_or"),
        Function::BitAnd => plain("bit_and"),
        Function::BitOr => plain("bit_or"),
        Function::BitXor => plain("bit_xor"),
    })
}

/// The whole of the last step.
pub fn statement(block: &Block<'_>, grouped: &Grouped, clauses: &Clauses, bounds: &Bounds) -> Result<Text, PgError> {
    let distinct = matches!(block.select.distinct, Some(Distinct::Distinct));
    let mut pieces = vec![words(if distinct { "SELECT DISTINCT" } else { "SELECT" })];
    for (at, (item, merged)) in block.items.iter().zip(&clauses.items).enumerate() {
        if at > 0 {
            pieces.push(words(","));
        }
        pieces.extend(merged.pieces.iter().cloned());
        let name = item.name.as_deref().ok_or_else(|| {
            refused(
                "an expression over aggregates without a name",
                "What PostgreSQL would call the column is not certain.",
                "Give the column a name with AS.",
            )
        })?;
        pieces.push(Piece::Words(format!("AS {}", quoted(name))));
    }
    pieces.extend([words("FROM"), Piece::Parts]);
    let groups: Vec<String> = grouped.group_columns().iter().map(|number| format!("goldseam.c{number}")).collect();
    if !groups.is_empty() {
        pieces.push(Piece::Words(format!("GROUP BY {}", groups.join(", "))));
    }
    if let Some(having) = &clauses.having {
        pieces.push(words("HAVING"));
        pieces.extend(having.pieces.iter().cloned());
    }
    for (at, (term, own)) in block.order.iter().zip(&clauses.order).enumerate() {
        pieces.push(words(if at == 0 { "ORDER BY" } else { "," }));
        match (own, term.target) {
            (Some(merged), _) => {
                pieces.push(words("("));
                pieces.extend(merged.pieces.iter().cloned());
                pieces.push(words(")"));
            }
            (None, Target::Item(at)) => pieces.push(Piece::Words((at + 1).to_string())),
            (None, Target::Own) => return Err(uncertain("this ORDER BY")),
        }
        let direction = direction(term);
        if !direction.is_empty() {
            pieces.push(words(direction.trim_start()));
        }
    }
    pieces.extend(bounds.original());
    Ok(Text { pieces })
}
