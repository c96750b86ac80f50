//! The plan-cache key of a statement, in one pass and without allocation once warm.
//!
//! Every query pays for this, so it is the shortest way from bytes to a key: the tokens are written, one byte of kind before each,
//! into a buffer that is reused, and hashed at once at the end. Literals are lifted, so that `id = 1` and `id = 2` share a plan;
//! the planner therefore never looks at a literal's value, with one exception: where a literal names an object (`nextval('s')`,
//! `'t'::regclass`) it stays in the key.

use twox_hash::XxHash3_128;

use super::lexer::{Lexer, Limits, Token, TokenKind};
use super::literal::{Literal, LiteralKind};
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// A statement with its literals lifted out; reused from statement to statement.
#[derive(Debug, Default)]
pub struct Normalized {
    /// Equal for statements that differ in literals, comments, white space and the case of unquoted words only.
    pub key: u128,
    /// The lifted literals in the order of the text; [`Origin::Literal`](crate::plan::Origin::Literal) counts them.
    pub literals: Vec<Literal>,
    /// A leading `/* goldseam: ... */`. Not a part of the key: whoever obeys it keys by it.
    pub hint: Option<Hint>,
    seed: u64,
    bytes: Vec<u8>,
}

/// The place of a hint's words, after `goldseam:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Hint {
    /// The value of `name=value` in the hint.
    pub fn get<'a>(&self, text: &'a str, name: &str) -> Option<&'a str> {
        let words = text.get(self.start as usize..self.end as usize)?;
        words.split([',', ' ', '\t', '\n', '\r']).find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Normalized {
    /// An empty one. The seed should be random for each process, so that nobody can prepare two texts with equal keys.
    pub fn new(seed: u64) -> Self {
        Normalized { seed, ..Normalized::default() }
    }

    /// The seed it was made with.
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// Functions whose first argument names an object, so that the plan depends on it.
const NAMING: &[&[u8]] = &[b"nextval", b"currval", b"setval", b"set_config"];

/// Reads one statement and fills `scratch`.
pub fn normalize(text: &str, limits: &Limits, scratch: &mut Normalized) -> Result<(), PgError> {
    scratch.literals.clear();
    scratch.bytes.clear();
    scratch.hint = if text.as_bytes().first().is_some_and(|byte| *byte <= b'/') { hint(text) } else { None };
    let mut lexer = Lexer::new(text);
    let mut count = 0usize;
    // The start, in the buffer, of the last word, while only `(` has followed it.
    let mut naming: Option<usize> = None;
    // Where the last token ended, of a CREATE: its comments may say where the new table's rows go, and so belong to the key.
    let mut create: Option<u32> = None;
    // The last literal, if it was the last token: `'t'::regclass` puts it back into the key.
    let mut casting: Option<Token> = None;
    while let Some(token) = lexer.next_token().map_err(|error| error.into_pg(text))? {
        count += 1;
        if count > limits.max_tokens {
            return Err(PgError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("statement has more than {} tokens", limits.max_tokens),
            )
            .with_hint("Split the statement, or send the rows with COPY."));
        }
        let body = token.text(text).as_bytes();
        let out = &mut scratch.bytes;
        if count == 1 && token.is(text, "create") {
            out.extend(said(text, 0, token.start));
            create = Some(token.end);
        } else if let Some(end) = &mut create {
            out.extend(said(text, *end, token.start));
            *end = token.end;
        }
        let Some(kind) = literal_kind(token.kind, body) else {
            match token.kind {
                TokenKind::Word => {
                    out.push(TokenKind::Word as u8);
                    let start = out.len();
                    out.extend_from_slice(body);
                    out[start..].make_ascii_lowercase();
                    if let Some(literal) = casting.take()
                        && out[start..].starts_with(b"reg")
                    {
                        let body = literal.text(text).as_bytes();
                        out.extend_from_slice(body);
                    }
                    naming = Some(start);
                }
                TokenKind::LeftParen => {
                    out.push(TokenKind::LeftParen as u8);
                    casting = None;
                }
                TokenKind::DoubleColon => {
                    out.push(TokenKind::DoubleColon as u8);
                    naming = None;
                }
                kind => {
                    out.push(kind as u8);
                    // Fixed spellings need no text; the rest carry theirs.
                    if matches!(
                        kind,
                        TokenKind::Operator | TokenKind::Parameter | TokenKind::QuotedName | TokenKind::UnicodeName
                    ) {
                        out.extend_from_slice(body);
                    }
                    naming = None;
                    casting = None;
                }
            }
            continue;
        };
        out.push(0x80 | kind as u8);
        if let Some(start) = naming.take()
            && names_object(&out[start..])
        {
            out.extend_from_slice(body);
        }
        casting = Some(token);
        scratch.literals.push(Literal { start: token.start, end: token.end, kind });
    }
    if let Some(end) = create {
        scratch.bytes.extend(said(text, end, text.len() as u32));
    }
    scratch.key = XxHash3_128::oneshot_with_seed(scratch.seed, &scratch.bytes);
    Ok(())
}

/// What stands between two tokens, if it speaks to Goldseam.
fn said(text: &str, from: u32, to: u32) -> &[u8] {
    let between = text.get(from as usize..to as usize).unwrap_or("");
    if between.contains("goldseam:") { between.as_bytes() } else { &[] }
}

/// The buffer's tail `nextval(` + literal marker, or `regclass` + literal marker (`regclass 't'`).
fn names_object(tail: &[u8]) -> bool {
    let Some((_, call)) = tail.split_last() else { return false };
    match call.split_last() {
        Some((&last, name)) if last == TokenKind::LeftParen as u8 => NAMING.contains(&name),
        _ => call.starts_with(b"reg"),
    }
}

/// The kind of literal a token is; `None` if it is none. The planner counts literals by the same rule.
pub fn literal_kind(kind: TokenKind, body: &[u8]) -> Option<LiteralKind> {
    Some(match kind {
        TokenKind::Integer if body.len() > 1 && !body.iter().all(u8::is_ascii_digit) => LiteralKind::Special,
        TokenKind::Integer => LiteralKind::Integer,
        TokenKind::Decimal => LiteralKind::Decimal,
        TokenKind::String => LiteralKind::String,
        TokenKind::EscapeString => LiteralKind::Escape,
        TokenKind::DollarString => LiteralKind::Dollar,
        TokenKind::UnicodeString | TokenKind::NationalString | TokenKind::BitString | TokenKind::HexString => {
            LiteralKind::Special
        }
        _ => return None,
    })
}

/// A hint in the first comment of the text.
fn hint(text: &str) -> Option<Hint> {
    let trimmed = text.trim_start_matches([' ', '\t', '\n', '\r']);
    let inside = trimmed.strip_prefix("/*")?;
    let words = inside.trim_start_matches([' ', '\t']).strip_prefix("goldseam:")?;
    let length = words.find("*/")?;
    let start = text.len() - words.len();
    Some(Hint { start: start as u32, end: (start + length) as u32 })
}
