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
use sqlparser::tokenizer::{Location, Span, Token as Parsed, TokenWithSpan};

use super::lexer::{Limits, Token, TokenKind, position};
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
    Ok(Measure { nesting, depth })
}

fn bump(levels: &mut [Level], limits: &Limits) -> Option<()> {
    let level = levels.last_mut()?;
    level.chain += 1;
    (level.chain + level.child <= limits.max_depth).then_some(())
}

fn is_set_operator(text: &str, token: Token) -> bool {
    ["union", "except", "intersect"].iter().any(|word| token.is(text, word))
}

fn is_word_operator(text: &str, token: Token) -> bool {
    const WORDS: [&str; 16] = [
        "and", "or", "not", "is", "in", "like", "ilike", "between", "similar", "collate", "case", "when", "at",
        "isnull", "notnull", "operator",
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
        Parsed::EOF => Ok(statement),
        token => Err(format!("Expected: end of statement, found: {token}")),
    }
}

/// The byte a span of our own begins at.
pub fn byte_of(span: Span) -> Option<usize> {
    usize::try_from(span.start.column).ok()?.checked_sub(1)
}

fn convert(text: &str, tokens: &[Token]) -> Vec<TokenWithSpan> {
    let mut out: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len() + 4);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let span = Span::new(
            Location { line: 1, column: u64::from(token.start) + 1 },
            Location { line: 1, column: u64::from(token.end) + 1 },
        );
        let mut push = |token: Parsed| out.push(TokenWithSpan::new(token, span));
        at += bridge(text, tokens, at, &mut push).unwrap_or_else(|| {
            push(translate(text, *token));
            1
        });
    }
    out
}

/// Constructs that the grammar lacks and that routing does not care about. Returns how many tokens were taken.
fn bridge(text: &str, tokens: &[Token], at: usize, push: &mut impl FnMut(Parsed)) -> Option<usize> {
    let token = *tokens.get(at)?;
    if token.kind != TokenKind::Word {
        return None;
    }
    let word = |place: usize, word: &str| tokens.get(place).is_some_and(|token| token.is(text, word));
    let before = |words: &[&str]| at > 0 && words.iter().any(|name| word(at - 1, name));
    let after = |kind: TokenKind| at > 0 && tokens.get(at - 1).is_some_and(|token| token.kind == kind);
    let keyword = |word: &str| Parsed::make_word(word, None);
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
        5 if word(at, "table")
            && (at == 0 || after(TokenKind::LeftParen) || before(&["union", "all", "except", "intersect"]))
            && tokens.get(at + 1).is_some_and(|next| {
                matches!(next.kind, TokenKind::Word | TokenKind::QuotedName | TokenKind::UnicodeName)
            }) =>
        {
            push(keyword("SELECT"));
            push(Parsed::Mul);
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

fn translate(text: &str, token: Token) -> Parsed {
    let body = token.text(text);
    // The inside of a quoted token whose prefix has this many bytes. Escapes are left as they are: values are read from the text.
    let inside = |prefix: usize| body.get(prefix..body.len().saturating_sub(1)).unwrap_or("").to_string();
    match token.kind {
        TokenKind::Word => Parsed::make_word(body, None),
        TokenKind::QuotedName => Parsed::make_word(&inside(1).replace("\"\"", "\""), Some('"')),
        // Escapes in names are not decoded: a name that no table has, so it can only be refused.
        TokenKind::UnicodeName => Parsed::make_word(body, Some('"')),
        TokenKind::Integer | TokenKind::Decimal => Parsed::Number(body.to_string(), false),
        TokenKind::String => Parsed::SingleQuotedString(inside(1)),
        TokenKind::EscapeString => Parsed::EscapedStringLiteral(inside(2)),
        TokenKind::DollarString => {
            Parsed::DollarQuotedString(DollarQuotedString { value: body.to_string(), tag: None })
        }
        TokenKind::UnicodeString => Parsed::UnicodeStringLiteral(inside(3)),
        TokenKind::NationalString => Parsed::NationalStringLiteral(inside(2)),
        TokenKind::BitString => Parsed::SingleQuotedByteStringLiteral(inside(2)),
        TokenKind::HexString => Parsed::HexStringLiteral(inside(2)),
        TokenKind::Parameter => Parsed::Placeholder(body.to_string()),
        TokenKind::Operator => operator(body),
        TokenKind::LeftParen => Parsed::LParen,
        TokenKind::RightParen => Parsed::RParen,
        TokenKind::LeftBracket => Parsed::LBracket,
        TokenKind::RightBracket => Parsed::RBracket,
        TokenKind::Comma => Parsed::Comma,
        TokenKind::Semicolon => Parsed::SemiColon,
        TokenKind::Dot => Parsed::Period,
        TokenKind::DotDot => Parsed::CustomBinaryOperator("..".to_string()),
        TokenKind::Colon => Parsed::Colon,
        TokenKind::DoubleColon => Parsed::DoubleColon,
        TokenKind::ColonEquals => Parsed::Assignment,
    }
}

fn operator(body: &str) -> Parsed {
    match body {
        "=" => Parsed::Eq,
        "<>" | "!=" => Parsed::Neq,
        "<" => Parsed::Lt,
        ">" => Parsed::Gt,
        "<=" => Parsed::LtEq,
        ">=" => Parsed::GtEq,
        "+" => Parsed::Plus,
        "-" => Parsed::Minus,
        "*" => Parsed::Mul,
        "/" => Parsed::Div,
        "%" => Parsed::Mod,
        "||" => Parsed::StringConcat,
        "&" => Parsed::Ampersand,
        "|" => Parsed::Pipe,
        "^" => Parsed::Caret,
        "=>" => Parsed::RArrow,
        "#" => Parsed::Sharp,
        "~" => Parsed::Tilde,
        "~*" => Parsed::TildeAsterisk,
        "!~" => Parsed::ExclamationMarkTilde,
        "!~*" => Parsed::ExclamationMarkTildeAsterisk,
        "~~" => Parsed::DoubleTilde,
        "~~*" => Parsed::DoubleTildeAsterisk,
        "!~~" => Parsed::ExclamationMarkDoubleTilde,
        "!~~*" => Parsed::ExclamationMarkDoubleTildeAsterisk,
        "<<" => Parsed::ShiftLeft,
        ">>" => Parsed::ShiftRight,
        "&&" => Parsed::Overlap,
        "!" => Parsed::ExclamationMark,
        "@" => Parsed::AtSign,
        "^@" => Parsed::CaretAt,
        "|/" => Parsed::PGSquareRoot,
        "||/" => Parsed::PGCubeRoot,
        "->" => Parsed::Arrow,
        "->>" => Parsed::LongArrow,
        "#>" => Parsed::HashArrow,
        "#>>" => Parsed::HashLongArrow,
        "@>" => Parsed::AtArrow,
        "<@" => Parsed::ArrowAt,
        "#-" => Parsed::HashMinus,
        "@?" => Parsed::AtQuestion,
        "@@" => Parsed::AtAt,
        "?" => Parsed::Question,
        "?&" => Parsed::QuestionAnd,
        "?|" => Parsed::QuestionPipe,
        other => Parsed::CustomBinaryOperator(other.to_string()),
    }
}
