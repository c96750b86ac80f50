//! A query's text with something added to each size that it tells.

use std::collections::HashMap;
use std::fmt::Write;

use crate::sql::classify::name_of;
use crate::sql::{self, Token, TokenKind};

/// The functions that tell the size of a relation.
pub const FUNCTIONS: [&str; 4] = ["pg_relation_size", "pg_table_size", "pg_total_relation_size", "pg_indexes_size"];
/// The columns of `pg_class` that estimate it.
const COLUMNS: [&str; 2] = ["reltuples", "relpages"];

/// What the other shards say together: the functions' values, then the columns'.
pub type Facts = [f64; 6];

/// Whether a text may name one of them: a first look without reading it.
pub fn may_tell_sizes(text: &str) -> bool {
    // All of the functions have the first, the columns one of the others.
    ["_size", "_SIZE", "reltuples", "relpages"].iter().any(|word| text.contains(word))
}

/// What is to be exchanged in a query.
#[derive(Debug)]
pub struct Rewrite {
    /// The query with plain functions in the places of the sizes: it leads where the query itself would.
    pub probe: String,
    text: String,
    places: Vec<Place>,
}

/// One size.
#[derive(Debug)]
struct Place {
    /// Which of the facts.
    fact: usize,
    /// The whole of it in the text.
    range: std::ops::Range<usize>,
    /// What says which relation: an expression.
    relation: String,
}

impl Rewrite {
    /// None if a query tells no sizes, or it is not certain whose.
    pub fn of(text: &str, limits: &sql::Limits) -> Option<Rewrite> {
        let tokens = sql::lex(text, limits).ok()?;
        if !tokens.first().is_some_and(|first| ["select", "with"].iter().any(|word| first.is(text, word))) {
            return None;
        }
        let mut places: Vec<Place> = Vec::new();
        for at in 0..tokens.len() {
            // What is inside of an argument stays as it is.
            if places.last().is_some_and(|last| last.range.end > tokens[at].start as usize) {
                continue;
            }
            let Some(name) = name_of(text, tokens[at]) else { continue };
            if let Some(fact) = FUNCTIONS.iter().position(|function| *function == name) {
                places.extend(call(text, &tokens, at, fact));
            } else if let Some(column) = COLUMNS.iter().position(|column| *column == name) {
                places.extend(self::column(text, &tokens, at, FUNCTIONS.len() + column));
            }
        }
        if places.is_empty() {
            return None;
        }
        let plain = |place: &Place| match place.fact < FUNCTIONS.len() {
            true => format!("pg_catalog.int8(pg_catalog.length({}::pg_catalog.text))", place.relation),
            false => text.get(place.range.clone()).unwrap_or_default().to_owned(),
        };
        let probe = exchanged(text, &places, plain);
        Some(Rewrite { probe, text: text.to_owned(), places })
    }

    /// The query, with what the other shards say in it.
    pub fn render(&self, others: &HashMap<(String, String), Facts>) -> String {
        let mut names: Vec<_> = others.iter().collect();
        names.sort_by_key(|(name, _)| (*name).clone());
        exchanged(&self.text, &self.places, |place| {
            let own = self.text.get(place.range.clone()).unwrap_or_default();
            let mut rows = String::new();
            for ((schema, name), facts) in &names {
                let value = facts[place.fact];
                if value > 0.0 {
                    let comma = if rows.is_empty() { "" } else { ", " };
                    let _ = write!(rows, "{comma}({}, {}, {value:.0})", literal(schema), literal(name));
                }
            }
            if rows.is_empty() {
                return own.to_owned();
            }
            let (kind, label) = match place.fact.checked_sub(FUNCTIONS.len()) {
                None => ("pg_catalog.int8", FUNCTIONS[place.fact]),
                Some(0) => ("pg_catalog.float4", COLUMNS[0]),
                Some(_) => ("pg_catalog.int4", COLUMNS[1]),
            };
            // A sub-select's column has the name that the call or the column had.
            format!(
                "(SELECT CASE WHEN goldseam_others.more IS NULL THEN goldseam_own.size \
                 ELSE (GREATEST(goldseam_own.size, 0) + goldseam_others.more)::{kind} END AS {label} \
                 FROM (SELECT {own} AS size, ({})::pg_catalog.regclass::pg_catalog.oid AS relation) AS goldseam_own \
                 LEFT JOIN (SELECT r.oid AS relation, v.more FROM (VALUES {rows}) AS v (schema, name, more) \
                 JOIN pg_catalog.pg_namespace AS s ON s.nspname = v.schema \
                 JOIN pg_catalog.pg_class AS r ON r.relnamespace = s.oid AND r.relname = v.name) AS goldseam_others \
                 ON goldseam_others.relation = goldseam_own.relation)",
                place.relation
            )
        })
    }
}

/// `pg_catalog.pg_table_size(x)`.
fn call(text: &str, tokens: &[Token], at: usize, fact: usize) -> Option<Place> {
    let open = tokens.get(at + 1).filter(|token| token.kind == TokenKind::LeftParen)?;
    let (mut depth, mut close) = (0i32, None);
    for token in &tokens[at + 1..] {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth -= 1,
            // A fork of it: not the whole.
            TokenKind::Comma if depth == 1 => return None,
            _ => {}
        }
        if depth == 0 {
            close = Some(token);
            break;
        }
    }
    let close = close?;
    let first = qualifier(text, tokens, at).unwrap_or(tokens[at]);
    let relation = text.get(open.end as usize..close.start as usize)?.to_owned();
    Some(Place { fact, range: first.start as usize..close.end as usize, relation })
}

/// `c.reltuples`, or `reltuples` where there is one table only.
fn column(text: &str, tokens: &[Token], at: usize, fact: usize) -> Option<Place> {
    let names = |token: &Token, word: &str| name_of(text, *token).is_some_and(|name| name == word);
    // `AS reltuples`, and a name that stands for a column of the query's own.
    if at.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|before| before.is(text, "as")) {
        return None;
    }
    let range = |first: Token| first.start as usize..tokens[at].end as usize;
    match qualifier(text, tokens, at) {
        Some(alias) => {
            // The alias has to be one of `pg_class` itself.
            let of_class = tokens.windows(3).any(|three| {
                names(&three[0], "pg_class")
                    && (names(&three[1], &name_of(text, alias).unwrap_or_default())
                        || (three[1].is(text, "as") && names(&three[2], &name_of(text, alias).unwrap_or_default())))
            }) || names(&alias, "pg_class");
            let alias_text = alias.text(text);
            of_class.then(|| Place { fact, range: range(alias), relation: format!("{alias_text}.oid") })
        }
        None => {
            let from = tokens.iter().filter(|token| token.is(text, "from")).count();
            let alone = from == 1
                && !tokens.iter().any(|token| token.is(text, "join"))
                && tokens.iter().any(|token| names(token, "pg_class"))
                && !listed(text, tokens);
            alone.then(|| Place { fact, range: range(tokens[at]), relation: "oid".into() })
        }
    }
}

/// Whether there is a comma behind FROM.
fn listed(text: &str, tokens: &[Token]) -> bool {
    let behind = tokens.iter().skip_while(|token| !token.is(text, "from"));
    let mut items =
        behind.take_while(|token| !["where", "order", "group", "limit"].iter().any(|word| token.is(text, word)));
    items.any(|token| token.kind == TokenKind::Comma)
}

/// The name before a point before this token.
fn qualifier(text: &str, tokens: &[Token], at: usize) -> Option<Token> {
    let point = tokens.get(at.checked_sub(1)?)?;
    let name = *tokens.get(at.checked_sub(2)?)?;
    (point.kind == TokenKind::Dot && name_of(text, name).is_some()).then_some(name)
}

/// The text with something else in each of the places.
fn exchanged(text: &str, places: &[Place], instead: impl Fn(&Place) -> String) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len() + 256), 0);
    for place in places {
        out.push_str(text.get(at..place.range.start).unwrap_or_default());
        out.push_str(&instead(place));
        at = place.range.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// A name as a string constant of type text.
fn literal(name: &str) -> String {
    let doubled = name.replace('\'', "''");
    let plain =
        if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") };
    format!("{plain}::pg_catalog.text")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<(String, String)> {
        let rewrite = Rewrite::of(text, &sql::Limits::default());
        let places = rewrite.as_ref().map_or(&[][..], |rewrite| &rewrite.places);
        places.iter().map(|place| (text[place.range.clone()].to_owned(), place.relation.clone())).collect()
    }

    fn expected(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(whole, relation)| (whole.to_string(), relation.to_string())).collect()
    }

    #[test]
    fn sizes_are_found_with_what_they_are_of() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("SELECT pg_total_relation_size('t')", &[("pg_total_relation_size('t')", "'t'")]),
            (
                "SELECT c.relname, pg_size_pretty(pg_catalog.pg_table_size(c.oid)) FROM pg_class c",
                &[("pg_catalog.pg_table_size(c.oid)", "c.oid")],
            ),
            ("SELECT reltuples::bigint FROM pg_class WHERE relname = 't'", &[("reltuples", "oid")]),
            (
                "SELECT c.reltuples, n.nspname FROM pg_catalog.pg_class AS c JOIN pg_namespace n ON n.oid = c.relnamespace",
                &[("c.reltuples", "c.oid")],
            ),
            ("SELECT reltuples FROM pg_class c, pg_namespace n", &[]),
            ("SELECT x.reltuples FROM mine x", &[]),
            ("SELECT pg_relation_size('t', 'fsm')", &[]),
            ("SELECT 1 AS reltuples", &[]),
            ("DELETE FROM t WHERE pg_table_size('t') > 1", &[]),
        ];
        for (text, list) in cases {
            assert_eq!(places(text), expected(list), "{text}");
        }
    }

    #[test]
    fn what_the_others_say_is_added_under_the_same_name() {
        let rewrite = Rewrite::of("SELECT pg_table_size('t')", &sql::Limits::default()).unwrap();
        let others = HashMap::from([(("public".to_owned(), "it's".to_owned()), [0.0, 5.0, 0.0, 0.0, 0.0, 0.0])]);
        let text = rewrite.render(&others);
        assert!(text.starts_with("SELECT (SELECT CASE"), "{text}");
        assert!(text.contains("('public'::pg_catalog.text, 'it''s'::pg_catalog.text, 5)"), "{text}");
        assert!(text.contains(" AS pg_table_size "), "{text}");
        assert_eq!(rewrite.render(&HashMap::new()), "SELECT pg_table_size('t')");
    }
}
