//! Whether two expressions are the same, as PostgreSQL's parser would find them: by their tokens, with names resolved.
//!
//! `t.a` and `a` are one column if they resolve to one; apart from that the words must be the same. So what is called different may be the same
//! (`a::int` and `cast(a as int)`), which costs a refusal, and what is called the same is.
//!
//! A plan serves all texts that differ in literals. Where two expressions differ in literals only, the answer depends on them, and
//! the plan is marked to hold for these literals alone.

use super::clauses::{Span, Tokens};
use super::survey::{Survey, unquote};
use crate::planner::Planner;
use crate::sql::TokenKind;
use crate::sql::normalize::literal_kind;

/// A token, or a column's name of several tokens.
#[derive(Debug, Clone)]
pub struct Atom {
    pub what: Sort,
    pub span: Span,
}

/// What an [`Atom`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sort {
    /// A column of the statement's n-th use of a table.
    Column(usize, String),
    /// A literal, as it is written.
    Literal(String),
    /// Anything else: words in lower case.
    Word(String),
}

/// An expression as atoms.
pub type Normal = Vec<Atom>;

impl Planner<'_> {
    /// An expression's atoms, without parentheses around all of it.
    pub(super) fn normal(&self, span: &Span, survey: &Survey) -> Normal {
        let tokens = self.places();
        let span = tokens.bare(span.clone());
        let columns = survey.columns.iter().chain(survey.calls.iter().flat_map(|call| &call.columns));
        let columns: Vec<_> = columns.collect();
        let mut atoms = Vec::new();
        let mut at = span.start;
        while at < span.end {
            let named = columns.iter().find(|name| name.span.start == at && name.span.end <= span.end);
            if let Some(name) = named
                && let Some(found) = self.column(&name.idents).filter(|found| found.level == 0)
            {
                atoms.push(Atom { what: Sort::Column(found.instance, found.column), span: name.span.clone() });
                at = name.span.end;
                continue;
            }
            atoms.push(Atom { what: word(&tokens, at), span: at..at + 1 });
            at += 1;
        }
        atoms
    }

    /// Whether two are the same.
    pub(super) fn same(&mut self, one: &[Atom], other: &[Atom]) -> bool {
        if one.len() != other.len() {
            return false;
        }
        let mut literals = false;
        let mut equal = true;
        for (one, other) in one.iter().zip(other) {
            match (&one.what, &other.what) {
                (Sort::Literal(one), Sort::Literal(other)) => {
                    literals = true;
                    equal &= one == other;
                }
                (one, other) if one == other => {}
                _ => return false,
            }
        }
        self.literal |= literals;
        equal
    }
}

fn word(tokens: &Tokens<'_>, at: usize) -> Sort {
    let Some(token) = tokens.get(at) else { return Sort::Word(String::new()) };
    let text = tokens.word(at);
    if literal_kind(token.kind, text.as_bytes()).is_some() {
        return Sort::Literal(text.to_string());
    }
    Sort::Word(match token.kind {
        TokenKind::Word => text.to_ascii_lowercase(),
        TokenKind::QuotedName => {
            let name = unquote(text);
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            // A quoted keyword is a name, and no keyword.
            if name.bytes().all(plain) && !name.is_empty() { format!("\"{name}\"") } else { text.to_string() }
        }
        _ => text.to_string(),
    })
}
