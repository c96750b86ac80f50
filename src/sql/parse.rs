//! From tokens to the syntax tree.
//!
//! `sqlparser` has the grammar; the tokens are ours. So there is one opinion on where a string ends, and a place in the tree is a
//! place in the client's text: the "column" of every span is simply the token's first byte, counted from 1. Some constructs that
//! the grammar does not know but that change nothing about routing are bridged by editing the tokens, never the text.
//!
//! Stack is the other concern: an overflow aborts the process. [`measure`] bounds nesting and the height of the tree before the
//! parser runs, and [`with_deep_stack`] gives deep but permitted statements a thread with room for parse, walk and drop.

use sqlparser::ast::{DollarQuotedString, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::{Parser, ParserError, ParserOptions};
use sqlparser::tokenizer::{Location, Span, Token as Theirs, TokenWithSpan};

use super::lexer::{Limits, Token, TokenKind, position};
use super::normalize::literal_kind;
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// Levels up to which a statement is planned on the caller's stack. A level costs up to 60 kB in a debug build; a runtime's
/// worker has 2 MB.
const SHALLOW_NESTING: usize = 8;
/// Tree height up to which a statement is planned on the caller's stack.
const SHALLOW_DEPTH: usize = 150;
/// Virtual memory for deep statements; only what is touched becomes real.
const DEEP_STACK: usize = 256 << 20;

/// How deep a statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Parentheses and brackets open at once.
    pub nesting: usize,
    /// An upper bound of the tree's height.
    pub depth: usize,
}

#[derive(Default)]
struct Level {
    /// Operators since the level began or since the last comma: a chain of n is a tree n high.
    chain: usize,
    /// Set operations: commas of a select list do not end their chain.
    sets: usize,
    /// The highest sub-tree in this chain so far.
    child: usize,
    /// The highest finished part of the level.
    done: usize,
}

impl Level {
    fn height(&self) -> usize {
        self.sets + self.done.max(self.chain + self.child) + 1
    }
}

/// Bounds nesting and height, or says why not.
pub fn measure(text: &str, tokens: &[Token], limits: &Limits) -> Result<Measure, PgError> {
    let mut levels = vec![Level::default()];
    let mut nesting = 0;
    let mut statements = 0;
    let too_deep = |token: &Token| {
        PgError::new(SqlState::STATEMENT_TOO_COMPLEX, "statement is nested too deeply")
            .with_detail(format!(
                "Goldseam takes {} levels of parentheses and chains of about {} operators.",
                limits.max_nesting, limits.max_depth
            ))
            .with_hint("Replace long OR chains by IN or = ANY(array), and long UNION chains by VALUES.")
            .at(position(text, token.start as usize))
    };
    for token in tokens {
        match token.kind {
            TokenKind::LeftParen | TokenKind::LeftBracket => {
                if levels.len() > limits.max_nesting {
                    return Err(too_deep(token));
                }
                levels.push(Level::default());
                nesting = nesting.max(levels.len() - 1);
            }
            TokenKind::RightParen | TokenKind::RightBracket if levels.len() > 1 => {
                let height = levels.pop().map_or(0, |level| level.height());
                if let Some(level) = levels.last_mut() {
                    level.child = level.child.max(height);
                    // A call, a subscript: one level of its own.
                    level.chain += 1;
                }
            }
            TokenKind::Comma => {
                if let Some(level) = levels.last_mut() {
                    level.done = level.done.max(level.chain + level.child);
                    level.chain = 0;
                    level.child = 0;
                }
            }
            TokenKind::Operator | TokenKind::DoubleColon => bump(&mut levels, limits).ok_or_else(|| too_deep(token))?,
            TokenKind::Word => match token.text(text).len() {
                2..=9 if is_set_operator(text, *token) => {
                    if let Some(level) = levels.last_mut() {
                        level.sets += 1;
                        if level.sets > limits.max_depth {
                            return Err(too_deep(token));
                        }
                    }
                }
                2..=8 if is_statement_word(text, *token) => {
                    statements += 1;
                    if statements > limits.max_nesting {
                        return Err(too_deep(token));
                    }
                }
                2..=9 if is_word_operator(text, *token) => bump(&mut levels, limits).ok_or_else(|| too_deep(token))?,
                _ => {}
            },
            _ => {}
        }
    }
    let depth = levels.iter().map(Level::height).sum();
    if depth > limits.max_depth {
        return Err(too_deep(tokens.first().unwrap_or(&Token { kind: TokenKind::Word, start: 0, end: 0 })));
    }
    Ok(Measure { nesting: nesting + statements, depth })
}

fn bump(levels: &mut [Level], limits: &Limits) -> Option<()> {
    let level = levels.last_mut()?;
    level.chain += 1;
    (level.chain + level.child <= limits.max_depth).then_some(())
}

fn is_set_operator(text: &str, token: Token) -> bool {
    ["union", "except", "intersect"].iter().any(|word| token.is(text, word))
}

/// Words by which the grammar enters a statement within a statement without a parenthesis (`EXPLAIN EXPLAIN ...`): the most
/// costly recursion of all. PostgreSQL has no such nesting, but the parser would overflow on it.
fn is_statement_word(text: &str, token: Token) -> bool {
    const WORDS: [&str; 12] = [
        "explain", "describe", "desc", "prepare", "insert", "update", "delete", "merge", "if", "while", "begin",
        "declare",
    ];
    WORDS.iter().any(|word| token.is(text, word))
}

fn is_word_operator(text: &str, token: Token) -> bool {
    const WORDS: [&str; 18] = [
        "and", "or", "not", "is", "in", "like", "ilike", "between", "similar", "collate", "case", "when", "at",
        "isnull", "notnull", "operator", "interval", "prior",
    ];
    WORDS.iter().any(|word| token.is(text, word))
}

/// Runs `work` where the stack suffices for a tree of this measure.
pub fn with_deep_stack<R: Send>(measure: Measure, work: impl FnOnce() -> R + Send) -> Result<R, PgError> {
    if measure.nesting <= SHALLOW_NESTING && measure.depth <= SHALLOW_DEPTH {
        return Ok(work());
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("plan-deep".into()).stack_size(DEEP_STACK);
        match thread.spawn_scoped(scope, work) {
            Ok(thread) => thread.join().map_err(|_| PgError::new(SqlState::INTERNAL_ERROR, "the planner failed")),
            Err(error) => Err(PgError::new(
                SqlState::INSUFFICIENT_RESOURCES,
                format!("no thread to plan a deeply nested statement: {error}"),
            )),
        }
    })
}

/// The syntax tree of one statement; the error is `sqlparser`'s words.
pub fn parse(text: &str, tokens: &[Token]) -> Result<Statement, String> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect)
        .with_options(ParserOptions::new().with_unescape(false))
        // `measure` has bounded the recursion already; this is the second lock on the door.
        .with_recursion_limit(2_000)
        .with_tokens_with_locations(convert(text, tokens));
    let words = |error: ParserError| match error {
        ParserError::ParserError(words) | ParserError::TokenizerError(words) => words,
        ParserError::RecursionLimitExceeded => "too deeply nested".to_string(),
    };
    let statement = parser.parse_statement().map_err(words)?;
    let rest = parser.next_token();
    match rest.token {
        Theirs::EOF => Ok(statement),
        token => Err(format!("Expected: end of statement, found: {token}")),
    }
}

/// An UPDATE's tokens without the subscripts of what it sets (`SET a[1] = 2`), which the grammar does not know: the column is `a` either way.
/// None if there are none that are numbers or parameters.
pub fn without_subscripts(text: &str, tokens: &[Token]) -> Option<Vec<Token>> {
    if !tokens.first()?.is(text, "update") {
        return None;
    }
    let mut kept: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let name = matches!(token.kind, TokenKind::Word | TokenKind::QuotedName);
        let target = name && kept.last().is_some_and(|last| last.kind == TokenKind::Comma || last.is(text, "set"));
        kept.push(*token);
        at += 1;
        let mut end = at;
        while tokens.get(end).is_some_and(|token| token.kind == TokenKind::LeftBracket) {
            let inside =
                |token: &&Token| matches!(token.kind, TokenKind::Integer | TokenKind::Parameter | TokenKind::Colon);
            end += 1 + tokens[end + 1..].iter().take_while(inside).count();
            if tokens.get(end)?.kind != TokenKind::RightBracket {
                end = at;
                break;
            }
            end += 1;
        }
        if target && end > at && tokens.get(end).is_some_and(|token| token.text(text) == "=") {
            at = end;
        }
    }
    (kept.len() < tokens.len()).then_some(kept)
}

/// The byte a span of our own begins at.
pub fn byte_of(span: Span) -> Option<usize> {
    usize::try_from(span.start.column).ok()?.checked_sub(1)
}

/// A statement's tree together with the places of its literals.
#[derive(Debug)]
pub struct Parsed {
    /// The tree.
    pub statement: Statement,
    /// First bytes, ascending, of what [`normalize`](super::normalize()) lifts.
    literals: Vec<u32>,
}

impl Parsed {
    /// Which of the lifted literals a value of the tree is.
    pub fn literal_at(&self, span: Span) -> Option<u16> {
        let byte = u32::try_from(byte_of(span)?).ok()?;
        u16::try_from(self.literals.binary_search(&byte).ok()?).ok()
    }
}

/// Why there is no tree.
#[derive(Debug)]
pub enum ParseFailure {
    /// Beyond the limits: the client's error.
    TooComplex(PgError),
    /// No tokens, no single statement, or not in the grammar. PostgreSQL may know it.
    NotUnderstood {
        /// The reason, in the lexer's or in `sqlparser`'s words.
        message: String,
    },
}

/// Parses one statement and does `work` on its tree. The tree is also dropped here: only here is there stack enough for it.
pub fn with_parsed<R: Send>(
    text: &str,
    limits: &Limits,
    work: impl FnOnce(&Parsed) -> R + Send,
) -> Result<R, ParseFailure> {
    let tokens = match super::lexer::lex(text, limits) {
        Ok(tokens) => tokens,
        Err(error) if error.code == SqlState::SYNTAX_ERROR => {
            return Err(ParseFailure::NotUnderstood { message: error.message.to_string() });
        }
        Err(error) => return Err(ParseFailure::TooComplex(error)),
    };
    let measure = measure(text, &tokens, limits).map_err(ParseFailure::TooComplex)?;
    let tree = with_deep_stack(measure, || {
        let statement = parse(text, &tokens).map_err(|message| ParseFailure::NotUnderstood { message })?;
        let literal = |token: &&Token| literal_kind(token.kind, token.text(text).as_bytes()).is_some();
        let literals = tokens.iter().filter(literal).map(|token| token.start).collect();
        Ok(work(&Parsed { statement, literals }))
    });
    tree.map_err(ParseFailure::TooComplex)?
}

fn convert(text: &str, tokens: &[Token]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 4);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let span = Span::new(
            Location { line: 1, column: u64::from(token.start) + 1 },
            Location { line: 1, column: u64::from(token.end) + 1 },
        );
        let mut push = |token: Theirs| out.push(TokenWithSpan::new(token, span));
        at += bridge(text, tokens, at, &mut push).unwrap_or_else(|| {
            push(translate(text, *token));
            1
        });
    }
    out
}

/// Constructs that the grammar lacks and that routing does not care about. Returns how many tokens were taken.
fn bridge(text: &str, tokens: &[Token], at: usize, push: &mut impl FnMut(Theirs)) -> Option<usize> {
    let token = *tokens.get(at)?;
    if token.kind != TokenKind::Word {
        return None;
    }
    let word = |place: usize, word: &str| tokens.get(place).is_some_and(|token| token.is(text, word));
    let before = |words: &[&str]| at > 0 && words.iter().any(|name| word(at - 1, name));
    let after = |kind: TokenKind| at > 0 && tokens.get(at - 1).is_some_and(|token| token.kind == kind);
    let keyword = |word: &str| Theirs::make_word(word, None);
    match token.text(text).len() {
        // A weaker lock is a lock.
        2 if word(at, "no") && before(&["for"]) && word(at + 1, "key") && word(at + 2, "update") => {
            push(keyword("UPDATE"));
            Some(3)
        }
        3 if word(at, "key") && before(&["for"]) && word(at + 1, "share") => {
            push(keyword("SHARE"));
            Some(2)
        }
        // Inheritance children live where their parent does.
        4 if word(at, "only")
            && (before(&["from", "join", "update", "using", "into", "table"]) || after(TokenKind::Comma)) =>
        {
            Some(1)
        }
        // Which of a table's unique indexes is meant: one of these columns, with or without a condition.
        5 if word(at, "where") && after(TokenKind::RightParen) && names_conflict(text, tokens, at) => {
            let mut depth = 0usize;
            let end = (at..tokens.len()).find(|place| {
                match tokens.get(*place).map(|token| token.kind) {
                    Some(TokenKind::LeftParen) => depth += 1,
                    Some(TokenKind::RightParen) => depth = depth.saturating_sub(1),
                    _ => {}
                }
                depth == 0 && word(*place, "do") && (word(place + 1, "update") || word(place + 1, "nothing"))
            })?;
            Some(end - at)
        }
        5 if word(at, "table")
            && (at == 0 || after(TokenKind::LeftParen) || before(&["union", "all", "except", "intersect"]))
            && tokens.get(at + 1).is_some_and(|next| {
                matches!(next.kind, TokenKind::Word | TokenKind::QuotedName | TokenKind::UnicodeName)
            }) =>
        {
            push(keyword("SELECT"));
            push(Theirs::Mul);
            push(keyword("FROM"));
            Some(1)
        }
        6 if word(at, "isnull") && at > 0 && !after(TokenKind::Dot) => {
            push(keyword("IS"));
            push(keyword("NULL"));
            Some(1)
        }
        8 if word(at, "variadic") && (after(TokenKind::LeftParen) || after(TokenKind::Comma)) => Some(1),
        10 if word(at, "overriding") && (word(at + 1, "system") || word(at + 1, "user")) && word(at + 2, "value") => {
            Some(3)
        }
        _ => None,
    }
}

/// Whether a token follows the columns of ON CONFLICT.
fn names_conflict(text: &str, tokens: &[Token], at: usize) -> bool {
    let mut depth = 0usize;
    for place in (0..at).rev() {
        match tokens.get(place).map(|token| token.kind) {
            Some(TokenKind::RightParen) => depth += 1,
            Some(TokenKind::LeftParen) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            let word = |back: usize, word: &str| {
                place.checked_sub(back).and_then(|at| tokens.get(at)).is_some_and(|token| token.is(text, word))
            };
            return word(1, "conflict") && word(2, "on");
        }
    }
    false
}

fn translate(text: &str, token: Token) -> Theirs {
    let body = token.text(text);
    // The inside of a quoted token whose prefix has this many bytes. Escapes are left as they are: values are read from the text.
    let inside = |prefix: usize| body.get(prefix..body.len().saturating_sub(1)).unwrap_or("").to_string();
    match token.kind {
        TokenKind::Word => Theirs::make_word(body, None),
        TokenKind::QuotedName => Theirs::make_word(&inside(1).replace("\"\"", "\""), Some('"')),
        // Escapes in names are not decoded: a name that no table has, so it can only be refused.
        TokenKind::UnicodeName => Theirs::make_word(body, Some('"')),
        TokenKind::Integer | TokenKind::Decimal => Theirs::Number(body.to_string(), false),
        TokenKind::String => Theirs::SingleQuotedString(inside(1)),
        TokenKind::EscapeString => Theirs::EscapedStringLiteral(inside(2)),
        TokenKind::DollarString => {
            Theirs::DollarQuotedString(DollarQuotedString { value: body.to_string(), tag: None })
        }
        TokenKind::UnicodeString => Theirs::UnicodeStringLiteral(inside(3)),
        TokenKind::NationalString => Theirs::NationalStringLiteral(inside(2)),
        TokenKind::BitString => Theirs::SingleQuotedByteStringLiteral(inside(2)),
        TokenKind::HexString => Theirs::HexStringLiteral(inside(2)),
        TokenKind::Parameter => Theirs::Placeholder(body.to_string()),
        TokenKind::Operator => operator(body),
        TokenKind::LeftParen => Theirs::LParen,
        TokenKind::RightParen => Theirs::RParen,
        TokenKind::LeftBracket => Theirs::LBracket,
        TokenKind::RightBracket => Theirs::RBracket,
        TokenKind::Comma => Theirs::Comma,
        TokenKind::Semicolon => Theirs::SemiColon,
        TokenKind::Dot => Theirs::Period,
        TokenKind::DotDot => Theirs::CustomBinaryOperator("..".to_string()),
        TokenKind::Colon => Theirs::Colon,
        TokenKind::DoubleColon => Theirs::DoubleColon,
        TokenKind::ColonEquals => Theirs::Assignment,
    }
}

fn operator(body: &str) -> Theirs {
    match body {
        "=" => Theirs::Eq,
        "<>" | "!=" => Theirs::Neq,
        "<" => Theirs::Lt,
        ">" => Theirs::Gt,
        "<=" => Theirs::LtEq,
        ">=" => Theirs::GtEq,
        "+" => Theirs::Plus,
        "-" => Theirs::Minus,
        "*" => Theirs::Mul,
        "/" => Theirs::Div,
        "%" => Theirs::Mod,
        "||" => Theirs::StringConcat,
        "&" => Theirs::Ampersand,
        "|" => Theirs::Pipe,
        "^" => Theirs::Caret,
        "=>" => Theirs::RArrow,
        "#" => Theirs::Sharp,
        "~" => Theirs::Tilde,
        "~*" => Theirs::TildeAsterisk,
        "!~" => Theirs::ExclamationMarkTilde,
        "!~*" => Theirs::ExclamationMarkTildeAsterisk,
        "~~" => Theirs::DoubleTilde,
        "~~*" => Theirs::DoubleTildeAsterisk,
        "!~~" => Theirs::ExclamationMarkDoubleTilde,
        "!~~*" => Theirs::ExclamationMarkDoubleTildeAsterisk,
        "<<" => Theirs::ShiftLeft,
        ">>" => Theirs::ShiftRight,
        "&&" => Theirs::Overlap,
        "!" => Theirs::ExclamationMark,
        "@" => Theirs::AtSign,
        "^@" => Theirs::CaretAt,
        "|/" => Theirs::PGSquareRoot,
        "||/" => Theirs::PGCubeRoot,
        "->" => Theirs::Arrow,
        "->>" => Theirs::LongArrow,
        "#>" => Theirs::HashArrow,
        "#>>" => Theirs::HashLongArrow,
        "@>" => Theirs::AtArrow,
        "<@" => Theirs::ArrowAt,
        "#-" => Theirs::HashMinus,
        "@?" => Theirs::AtQuestion,
        "@@" => Theirs::AtAt,
        "?" => Theirs::Question,
        "?&" => Theirs::QuestionAnd,
        "?|" => Theirs::QuestionPipe,
        other => Theirs::CustomBinaryOperator(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
