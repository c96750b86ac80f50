//! Calls whose value can be put in their place, found by their tokens.

use std::ops::Range;

use crate::plan::once::{Maker, Part, Source};
use crate::planner::functions::{self, Class};
use crate::sql::{self, Token, TokenKind};

/// A call that can be replaced.
#[derive(Debug, Clone)]
pub(in crate::planner) struct Site {
    /// Its tokens.
    pub tokens: Range<u32>,
    /// What it is.
    pub kind: Kind,
}

/// What a call that can be replaced is.
#[derive(Debug, Clone)]
pub(in crate::planner) enum Kind {
    /// The time, and the type that it becomes.
    Time { source: Source, cast: Option<String> },
    /// A sequence's next or current number; its name is in the text.
    Next,
    /// The same, of `currval`.
    Current,
    /// `lastval()`.
    Last,
    /// A new key.
    Made(Maker),
}

/// The call whose function's name is the n-th token.
pub(super) fn site(text: &str, tokens: &[Token], at: usize) -> Option<(u32, Site)> {
    let token = tokens.get(at)?;
    if token.kind != TokenKind::Word {
        return None;
    }
    let kind = |n: usize| tokens.get(n).map(|token| token.kind);
    let before = |n: usize| at.checked_sub(n).and_then(|at| tokens.get(at));
    let word = token.text(text).to_ascii_lowercase();
    let place = |from: usize, to: usize| Some(u32::try_from(from).ok()?..u32::try_from(to).ok()?);
    let time = |cast: Option<String>| Kind::Time { source: Source::Transaction, cast };
    let dotted = before(1).is_some_and(|token| token.kind == TokenKind::Dot);
    let in_schema = |schema: &str| dotted && before(2).is_some_and(|token| token.is(text, schema));
    let alias = before(1).is_some_and(|token| token.is(text, "as"));
    if let "current_timestamp" | "current_date" | "current_time" | "localtime" | "localtimestamp" = word.as_str() {
        if dotted || alias {
            return None;
        }
        let precise = kind(at + 1) == Some(TokenKind::LeftParen)
            && kind(at + 2) == Some(TokenKind::Integer)
            && kind(at + 3) == Some(TokenKind::RightParen);
        let precision = if precise { format!("({})", tokens.get(at + 2)?.text(text)) } else { String::new() };
        let cast = match word.as_str() {
            "current_timestamp" if !precise => None,
            "current_timestamp" => Some(format!("timestamptz{precision}")),
            "current_date" => Some("date".to_owned()),
            "current_time" => Some(format!("timetz{precision}")),
            "localtime" => Some(format!("time{precision}")),
            _ => Some(format!("timestamp{precision}")),
        };
        let to = if precise { at + 4 } else { at + 1 };
        return Some((token.start, Site { tokens: place(at, to)?, kind: time(cast) }));
    }
    if kind(at + 1) != Some(TokenKind::LeftParen) {
        return None;
    }
    let empty = kind(at + 2) == Some(TokenKind::RightParen);
    let system = in_schema("pg_catalog");
    let from = if dotted { at - 2 } else { at };
    let found = |kind: Kind, to: usize| Some((token.start, Site { tokens: place(from, to)?, kind }));
    if dotted && !system {
        let maker = match word.as_str() {
            _ if !empty || !in_schema("goldseam") => return None,
            "ulid" => Maker::Ulid,
            "uuid_v7" => Maker::UuidV7,
            "snowflake" => Maker::Snowflake,
            _ => return None,
        };
        return found(Kind::Made(maker), at + 3);
    }
    match word.as_str() {
        "now" | "transaction_timestamp" if empty => found(time(None), at + 3),
        "statement_timestamp" if empty => found(Kind::Time { source: Source::Statement, cast: None }, at + 3),
        "lastval" if empty => found(Kind::Last, at + 3),
        "nextval" | "currval" if kind(at + 2) == Some(TokenKind::String) => {
            let mut to = at + 3;
            if kind(to) == Some(TokenKind::DoubleColon)
                && tokens.get(to + 1).is_some_and(|token| token.is(text, "regclass"))
            {
                to += 2;
            }
            if kind(to) != Some(TokenKind::RightParen) {
                return None;
            }
            found(if word == "nextval" { Kind::Next } else { Kind::Current }, to + 1)
        }
        _ => None,
    }
}

/// A default's expression with the time, or a new key, in its place. `key`: nothing else may remain that has to be computed.
pub(super) fn replaced(expression: &str, key: bool) -> Option<Vec<Part>> {
    let tokens = sql::lex(expression, &sql::Limits::default()).ok()?;
    let mut parts = Vec::new();
    let (mut copied, mut at) = (0usize, 0);
    let words = |from: usize, to: usize, parts: &mut Vec<Part>| {
        if let Some(text) = expression.get(from..to).filter(|text| !text.trim().is_empty()) {
            parts.push(Part::Words(text.to_owned()));
        }
    };
    while at < tokens.len() {
        // The name's first token may be the schema's.
        let schema = tokens.get(at + 1).is_some_and(|token| token.kind == TokenKind::Dot);
        let name = if schema { at + 2 } else { at };
        if let Some((_, site)) = site(expression, &tokens, name)
            && site.tokens.start as usize == at
        {
            let (from, to) = (tokens[at].start as usize, tokens.get(site.tokens.end as usize - 1)?.end as usize);
            words(copied, from, &mut parts);
            copied = to;
            match site.kind {
                Kind::Time { source, cast: None } => parts.push(Part::Value { source, bare: false }),
                Kind::Time { source, cast: Some(cast) } => {
                    parts.push(Part::Words("CAST(".into()));
                    parts.push(Part::Value { source, bare: false });
                    parts.push(Part::Words(format!("AS {cast})")));
                }
                Kind::Made(maker) => parts.push(Part::Value { source: Source::Made(maker), bare: tokens.len() == 5 }),
                _ => return None,
            }
            at = site.tokens.end as usize;
            continue;
        }
        let token = tokens[at];
        let call = tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::LeftParen);
        let bare = token.text(expression).trim_matches('"').to_ascii_lowercase();
        if call && bare == "gen_random_uuid" && tokens.len() == 3 {
            return Some(vec![Part::Value { source: Source::Made(Maker::UuidV4), bare: true }]);
        }
        if call && matches!(token.kind, TokenKind::Word | TokenKind::QuotedName) {
            let even = functions::class(&bare) == Class::Plain
                && functions::spread(&bare) == functions::Spread::Alike
                && !functions::is_erratic(&bare);
            if key || !even {
                return None;
            }
        }
        at += 1;
    }
    words(copied, expression.len(), &mut parts);
    Some(parts)
}
