//! The places of a query's clauses, read from its tokens.
//!
//! The grammar's tree knows what stands in a statement, but not surely where: its spans leave things out. The tokens do know. All words that
//! begin a clause are reserved in PostgreSQL, so outside of parentheses they can be nothing else, except after AS or a point, where any word is a
//! name, and in `IS DISTINCT FROM` and `WITHIN GROUP`. Whoever uses these places checks that the tree has as many terms.

use std::ops::Range;

use crate::sql::{Token, TokenKind};

/// Tokens, by their numbers in the whole text.
pub type Span = Range<usize>;

/// A query's clauses. What is not there is empty.
#[derive(Debug, Default, Clone)]
pub struct Clauses {
    /// The whole query.
    pub all: Span,
    /// From `SELECT` to the end of the select list.
    pub head: Span,
    /// The select list.
    pub list: Span,
    /// From `FROM` to the end of WHERE.
    pub source: Span,
    /// The terms of GROUP BY.
    pub groups: Span,
    /// The condition of HAVING.
    pub having: Span,
    /// From `WINDOW` on.
    pub windows: Span,
    /// The terms of ORDER BY.
    pub order: Span,
    /// What LIMIT or FETCH FIRST says.
    pub limit: Span,
    /// It is there: `FETCH FIRST ROW ONLY` says nothing, and means 1.
    pub limited: bool,
    /// What OFFSET says.
    pub offset: Span,
    /// LIMIT, OFFSET, FETCH as they stand.
    pub bounds: Span,
    /// `FOR UPDATE` and the like.
    pub locks: Span,
    /// Up to here goes the query without ORDER BY and what follows it.
    pub body: Span,
}

/// The tokens of one text.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'t> {
    pub text: &'t str,
    pub all: &'t [Token],
}

impl<'t> Tokens<'t> {
    pub fn get(&self, at: usize) -> Option<Token> {
        self.all.get(at).copied()
    }

    pub fn kind(&self, at: usize) -> Option<TokenKind> {
        self.get(at).map(|token| token.kind)
    }

    pub fn word(&self, at: usize) -> &'t str {
        self.get(at).map_or("", |token| token.text(self.text))
    }

    pub fn is(&self, at: usize, word: &str) -> bool {
        self.get(at).is_some_and(|token| token.is(self.text, word))
    }

    pub fn any(&self, at: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(at, word))
    }

    /// The token that begins at a byte.
    pub fn at_byte(&self, byte: usize) -> Option<usize> {
        self.all.binary_search_by_key(&byte, |token| token.start as usize).ok()
    }

    /// One past the bracket that closes the one here.
    pub fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0usize;
        for at in open..self.all.len() {
            match self.kind(at)? {
                TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                TokenKind::RightParen | TokenKind::RightBracket => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The places outside of all brackets.
    pub fn outer(&self, span: &Span) -> Vec<usize> {
        let mut depth = 0i64;
        let mut places = Vec::new();
        for at in span.clone() {
            match self.kind(at) {
                Some(TokenKind::LeftParen | TokenKind::LeftBracket) => depth += 1,
                Some(TokenKind::RightParen | TokenKind::RightBracket) => depth -= 1,
                Some(_) if depth == 0 => places.push(at),
                _ => {}
            }
        }
        places
    }

    /// The terms of a list.
    pub fn terms(&self, span: &Span) -> Vec<Span> {
        if span.is_empty() {
            return Vec::new();
        }
        let mut terms = Vec::new();
        let mut start = span.start;
        for at in self.outer(span) {
            if self.kind(at) == Some(TokenKind::Comma) {
                terms.push(start..at);
                start = at + 1;
            }
        }
        terms.push(start..span.end);
        terms
    }

    /// Without parentheses around all of it. `(a, b)` is a row, and `(SELECT 1)` a query: their parentheses are not just around them.
    pub fn bare(&self, mut span: Span) -> Span {
        while span.len() > 2
            && self.kind(span.start) == Some(TokenKind::LeftParen)
            && self.closing(span.start) == Some(span.end)
            && self.terms(&(span.start + 1..span.end - 1)).len() == 1
        {
            let inside = span.start + 1..span.end - 1;
            if self.any(inside.start, &["select", "with", "values", "table"]) {
                break;
            }
            span = inside;
        }
        span
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Clause {
    With,
    Select,
    From,
    Group,
    Having,
    Window,
    Order,
    Limit,
    Offset,
    Fetch,
    For,
}

/// Finds the clauses of the query that these tokens are. `select`: it is one SELECT, and not a set operation.
pub fn clauses(tokens: &Tokens<'_>, all: Span, select: bool) -> Option<Clauses> {
    let marks = marks(tokens, &all, select);
    let mut found = Clauses { all: all.clone(), body: all.clone(), ..Clauses::default() };
    let mut bounds: Option<Span> = None;
    for (index, (clause, at)) in marks.iter().enumerate() {
        let end = marks.get(index + 1).map_or(all.end, |(_, at)| *at);
        let at = *at;
        if *clause >= Clause::Order && found.body.end == all.end {
            found.body.end = at;
        }
        match clause {
            Clause::With => {}
            Clause::Select => {
                let mut list = at + 1;
                if tokens.is(list, "all") {
                    list += 1;
                } else if tokens.is(list, "distinct") {
                    list += 1;
                    if tokens.is(list, "on") {
                        list = tokens.closing(list + 1)?;
                    }
                }
                found.head = at..end;
                found.list = list..end;
            }
            Clause::From => found.source = at..end,
            Clause::Group => found.groups = at + 2..end,
            Clause::Having => found.having = at + 1..end,
            Clause::Window => found.windows = at..end,
            Clause::Order => found.order = at + 2..end,
            Clause::Limit => {
                found.limited = true;
                found.limit = at + 1..end;
            }
            Clause::Fetch => {
                // FETCH { FIRST | NEXT } [ n ] { ROW | ROWS } ONLY
                if found.limited
                    || end < at + 4
                    || !tokens.is(end - 1, "only")
                    || !tokens.any(end - 2, &["row", "rows"])
                {
                    return None;
                }
                found.limited = true;
                found.limit = at + 2..end - 2;
            }
            Clause::Offset => {
                let rows = end > at + 2 && tokens.any(end - 1, &["row", "rows"]);
                found.offset = at + 1..if rows { end - 1 } else { end };
            }
            Clause::For => found.locks = if found.locks.is_empty() { at..end } else { found.locks.start..end },
        }
        if matches!(clause, Clause::Limit | Clause::Offset | Clause::Fetch) {
            match &mut bounds {
                None => bounds = Some(at..end),
                // A lock between them.
                Some(known) if known.end != at => return None,
                Some(known) => known.end = end,
            }
        }
    }
    found.bounds = bounds.unwrap_or(all.end..all.end);
    // WHERE is a part of the source; without FROM it stands alone.
    if select && found.head.is_empty() {
        return None;
    }
    Some(found)
}

/// Where each clause begins.
fn marks(tokens: &Tokens<'_>, all: &Span, select: bool) -> Vec<(Clause, usize)> {
    let mut marks: Vec<(Clause, usize)> = Vec::new();
    // The place of an AS that makes a name of the next word.
    let mut labels: Option<usize> = None;
    for at in tokens.outer(all) {
        if tokens.kind(at) != Some(TokenKind::Word) {
            continue;
        }
        let before = at.checked_sub(1).filter(|before| *before >= all.start);
        let named = before.is_some_and(|before| labels == Some(before) || tokens.kind(before) == Some(TokenKind::Dot));
        if named {
            continue;
        }
        if tokens.is(at, "as") {
            labels = Some(at);
            continue;
        }
        let by = tokens.is(at + 1, "by");
        let last = marks.last().map(|(clause, _)| *clause);
        let clause = match tokens.word(at).to_ascii_lowercase().as_str() {
            "with" if last.is_none() => Clause::With,
            "select" if select && last.is_none_or(|last| last < Clause::Select) => Clause::Select,
            "from" | "where"
                if select
                    && last == Some(Clause::Select)
                    && !before.is_some_and(|before| {
                        tokens.is(before, "distinct") && tokens.any(before - 1, &["is", "not"])
                    }) =>
            {
                Clause::From
            }
            "group" if select && by && last.is_some_and(|last| last < Clause::Group) => Clause::Group,
            "having" if select && last.is_some_and(|last| last < Clause::Having) => Clause::Having,
            "window" if select && last.is_some_and(|last| last < Clause::Window) => Clause::Window,
            "order" if by && last.is_none_or(|last| last < Clause::Order) => Clause::Order,
            "limit" => Clause::Limit,
            "offset" => Clause::Offset,
            "fetch" => Clause::Fetch,
            "for" => Clause::For,
            _ => continue,
        };
        marks.push((clause, at));
    }
    marks
}
