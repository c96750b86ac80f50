//! PostgreSQL's lexical rules (`src/backend/parser/scan.l`), without allocation.
//!
//! Where a string ends decides what a statement says, so this is PostgreSQL's rule and nobody else's: nested comments, `E''`
//! escapes, `$tag$` quoting, literals continued over a line break, operators that must not end in `+` or `-`. It assumes
//! `standard_conforming_strings = on`; a session that turns that off must not be served (the session module refuses the `SET`).
//! The lexer knows words, not keywords: what a word means is up to the reader.

use crate::error::PgError;
use crate::sqlstate::SqlState;

/// Bounds on a statement, each checked before memory or stack is spent on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tokens in a statement: bounds the memory of a parse (about 150 bytes each).
    pub max_tokens: usize,
    /// Open parentheses and brackets: bounds the stack of a parse.
    pub max_nesting: usize,
    /// Height of the syntax tree, chains of operators included: bounds the stack of a walk and of a drop.
    pub max_depth: usize,
}

impl Default for Limits {
    /// Far beyond what applications send: a bulk INSERT of 100,000 values, a filter of thousands of OR terms.
    fn default() -> Self {
        Limits { max_tokens: 1_000_000, max_nesting: 200, max_depth: 5_000 }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TokenKind {
    /// An unquoted word: name or keyword.
    Word = 1,
    /// `"Name"`.
    QuotedName,
    /// `U&"name"`.
    UnicodeName,
    /// Digits only, or `0x`, `0o`, `0b`.
    Integer,
    /// With a point or an exponent.
    Decimal,
    /// `'...'`.
    String,
    /// `E'...'`.
    EscapeString,
    /// `$tag$...$tag$`.
    DollarString,
    /// `U&'...'`.
    UnicodeString,
    /// `N'...'`.
    NationalString,
    /// `b'...'`.
    BitString,
    /// `x'...'`.
    HexString,
    /// `$1`.
    Parameter,
    /// One operator of any length.
    Operator,
    /// `(`.
    LeftParen,
    /// `)`.
    RightParen,
    /// `[`.
    LeftBracket,
    /// `]`.
    RightBracket,
    /// `,`.
    Comma,
    /// `;`.
    Semicolon,
    /// `.`.
    Dot,
    /// `..`.
    DotDot,
    /// `:`.
    Colon,
    /// `::`.
    DoubleColon,
    /// `:=`.
    ColonEquals,
}

/// A token's place in its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Token {
    /// The token's own text.
    pub fn text(self, text: &str) -> &str {
        text.get(self.start as usize..self.end as usize).unwrap_or("")
    }

    /// Whether this is the unquoted word, given in lower case.
    pub fn is(self, text: &str, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text(text).eq_ignore_ascii_case(word)
    }
}

/// A text that is not made of tokens; becomes PostgreSQL's own syntax error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LexError {
    /// PostgreSQL's words for it.
    pub message: &'static str,
    /// The byte where the token begins.
    pub at: usize,
}

impl LexError {
    /// As a client sees it.
    pub fn into_pg(self, text: &str) -> PgError {
        PgError::new(SqlState::SYNTAX_ERROR, self.message).at(position(text, self.at))
    }
}

/// The position of a byte in characters from 1, as error fields count.
pub fn position(text: &str, byte: usize) -> u32 {
    let before = text.as_bytes().get(..byte).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte & 0xC0 != 0x80).count() as u32 + 1
}

/// Reads a text token by token.
#[derive(Debug, Clone)]
pub struct Lexer<'a> {
    bytes: &'a [u8],
    pos: usize,
}

const SPACE: u8 = 1;
const NAME_START: u8 = 2;
const NAME: u8 = 4;
const OPERATOR: u8 = 8;
const DIGIT: u8 = 16;

/// One look-up instead of a chain of comparisons per byte.
const CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        class[byte] = match b {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0C | 0x0B => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xFF => NAME_START | NAME,
            b'0'..=b'9' => DIGIT | NAME,
            b'$' => NAME,
            b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<'
            | b'>' | b'=' => OPERATOR,
            _ => 0,
        };
        byte += 1;
    }
    class
};

fn class(byte: u8) -> u8 {
    CLASS[byte as usize]
}

impl<'a> Lexer<'a> {
    /// A reader at the start of a text. Texts beyond 4 GiB cannot be frames, so places fit in 32 bits.
    pub fn new(text: &'a str) -> Self {
        Lexer { bytes: text.as_bytes(), pos: 0 }
    }

    /// The byte that is read next.
    pub fn offset(&self) -> usize {
        self.pos
    }

    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.pos + ahead).copied().unwrap_or(0)
    }

    /// White space and comments; the error is an unterminated comment.
    pub fn skip_blanks(&mut self) -> Result<(), LexError> {
        loop {
            let Some(&byte) = self.bytes.get(self.pos) else { return Ok(()) };
            if class(byte) & SPACE != 0 {
                self.pos += 1;
            } else if byte == b'-' && self.peek(1) == b'-' {
                self.skip_line();
            } else if byte == b'/' && self.peek(1) == b'*' {
                self.skip_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    fn skip_line(&mut self) {
        while let Some(&byte) = self.bytes.get(self.pos) {
            if byte == b'\n' || byte == b'\r' {
                return;
            }
            self.pos += 1;
        }
    }

    fn skip_comment(&mut self) -> Result<(), LexError> {
        let at = self.pos;
        let mut depth = 1usize;
        self.pos += 2;
        while let Some(&byte) = self.bytes.get(self.pos) {
            match (byte, self.peek(1)) {
                (b'*', b'/') => {
                    self.pos += 2;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                (b'/', b'*') => {
                    self.pos += 2;
                    depth += 1;
                }
                _ => self.pos += 1,
            }
        }
        Err(LexError { message: "unterminated /* comment", at })
    }

    /// The next token; `None` at the end.
    pub fn next_token(&mut self) -> Result<Option<Token>, LexError> {
        self.skip_blanks()?;
        let start = self.pos;
        let Some(&byte) = self.bytes.get(start) else { return Ok(None) };
        let kind = self.scan(byte)?;
        Ok(Some(Token { kind, start: start as u32, end: self.pos as u32 }))
    }

    fn scan(&mut self, byte: u8) -> Result<TokenKind, LexError> {
        let at = self.pos;
        let kind = class(byte);
        if kind & NAME_START != 0 {
            return self.word(byte);
        }
        if kind & DIGIT != 0 || (byte == b'.' && self.peek(1).is_ascii_digit()) {
            return self.number();
        }
        if kind & OPERATOR != 0 {
            self.operator();
            return Ok(TokenKind::Operator);
        }
        let single = match byte {
            b'\'' => {
                self.pos += 1;
                self.string(at, false)?;
                return Ok(TokenKind::String);
            }
            b'"' => {
                self.pos += 1;
                self.quoted_name(at)?;
                return Ok(TokenKind::QuotedName);
            }
            b'$' => return self.dollar(at),
            b':' if self.peek(1) == b':' => {
                self.pos += 2;
                return Ok(TokenKind::DoubleColon);
            }
            b':' if self.peek(1) == b'=' => {
                self.pos += 2;
                return Ok(TokenKind::ColonEquals);
            }
            b'.' if self.peek(1) == b'.' => {
                self.pos += 2;
                return Ok(TokenKind::DotDot);
            }
            b'(' => TokenKind::LeftParen,
            b')' => TokenKind::RightParen,
            b'[' => TokenKind::LeftBracket,
            b']' => TokenKind::RightBracket,
            b',' => TokenKind::Comma,
            b';' => TokenKind::Semicolon,
            b'.' => TokenKind::Dot,
            b':' => TokenKind::Colon,
            _ => return Err(LexError { message: "syntax error at or near an unknown character", at }),
        };
        self.pos += 1;
        Ok(single)
    }

    fn word(&mut self, first: u8) -> Result<TokenKind, LexError> {
        let at = self.pos;
        if self.peek(1) == b'\'' {
            let (kind, escapes) = match first {
                b'e' | b'E' => (TokenKind::EscapeString, true),
                b'b' | b'B' => (TokenKind::BitString, false),
                b'x' | b'X' => (TokenKind::HexString, false),
                b'n' | b'N' => (TokenKind::NationalString, false),
                _ => (TokenKind::Word, false),
            };
            if kind != TokenKind::Word {
                self.pos += 2;
                self.string(at, escapes)?;
                return Ok(kind);
            }
        }
        if matches!(first, b'u' | b'U') && self.peek(1) == b'&' {
            if self.peek(2) == b'\'' {
                self.pos += 3;
                self.string(at, false)?;
                return Ok(TokenKind::UnicodeString);
            }
            if self.peek(2) == b'"' {
                self.pos += 3;
                self.quoted_name(at)?;
                return Ok(TokenKind::UnicodeName);
            }
        }
        self.pos += 1;
        while class(self.peek(0)) & NAME != 0 {
            self.pos += 1;
        }
        Ok(TokenKind::Word)
    }

    /// The inside of a string whose opening quote is behind us. Strings with white space and a line break between them are one
    /// (scan.l, `quotecontinue`).
    fn string(&mut self, at: usize, escapes: bool) -> Result<(), LexError> {
        loop {
            match self.bytes.get(self.pos) {
                None => return Err(LexError { message: "unterminated quoted string", at }),
                Some(b'\\') if escapes => self.pos += 2,
                Some(b'\'') => {
                    self.pos += 1;
                    if self.peek(0) == b'\'' {
                        self.pos += 1;
                    } else if !self.continues() {
                        return Ok(());
                    }
                }
                Some(_) => self.pos += 1,
            }
        }
    }

    /// After a closing quote: steps over white space with a line break and another opening quote, if that is what follows. A
    /// `--` comment may stand in between.
    fn continues(&mut self) -> bool {
        if class(self.peek(0)) & SPACE == 0 && self.peek(0) != b'-' {
            return false;
        }
        let mut ahead = self.clone();
        let mut newline = false;
        loop {
            match ahead.peek(0) {
                b'\n' | b'\r' => {
                    newline = true;
                    ahead.pos += 1;
                }
                byte if class(byte) & SPACE != 0 => ahead.pos += 1,
                b'-' if ahead.peek(1) == b'-' => ahead.skip_line(),
                b'\'' if newline => {
                    self.pos = ahead.pos + 1;
                    return true;
                }
                _ => return false,
            }
        }
    }

    fn quoted_name(&mut self, at: usize) -> Result<(), LexError> {
        let inside = self.pos;
        loop {
            match self.bytes.get(self.pos) {
                None => return Err(LexError { message: "unterminated quoted identifier", at }),
                Some(b'"') => {
                    self.pos += 1;
                    if self.peek(0) != b'"' {
                        break;
                    }
                    self.pos += 1;
                }
                Some(_) => self.pos += 1,
            }
        }
        if self.pos == inside + 1 {
            return Err(LexError { message: "zero-length delimited identifier", at });
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek(0).is_ascii_digit() || (self.peek(0) == b'_' && self.peek(1).is_ascii_digit()) {
            self.pos += 1;
        }
    }

    fn number(&mut self) -> Result<TokenKind, LexError> {
        let at = self.pos;
        let mut kind = TokenKind::Integer;
        if self.peek(0) == b'0' && matches!(self.peek(1), b'x' | b'X' | b'o' | b'O' | b'b' | b'B') {
            // PostgreSQL 16 reads this as a number, PostgreSQL 15 as `0` with the alias `x1F`: taken as one token and never as a key.
            self.pos += 2;
            while class(self.peek(0)) & NAME != 0 {
                self.pos += 1;
            }
            return Ok(TokenKind::Integer);
        }
        self.digits();
        if self.peek(0) == b'.' && self.peek(1) != b'.' {
            kind = TokenKind::Decimal;
            self.pos += 1;
            self.digits();
        }
        let sign = usize::from(matches!(self.peek(1), b'+' | b'-'));
        if matches!(self.peek(0), b'e' | b'E') && self.peek(1 + sign).is_ascii_digit() {
            kind = TokenKind::Decimal;
            self.pos += 1 + sign;
            self.digits();
        }
        // `1a` is `1 AS a` up to PostgreSQL 14 and an error since: not worth a guess.
        if class(self.peek(0)) & NAME_START != 0 {
            return Err(LexError { message: "trailing junk after numeric literal", at });
        }
        Ok(kind)
    }

    /// An operator: stops before a comment, and does not end in `+` or `-` unless it has a character that no SQL operator has
    /// (scan.l, `operator`).
    fn operator(&mut self) {
        let start = self.pos;
        while class(self.peek(0)) & OPERATOR != 0 {
            let pair = (self.peek(0), self.peek(1));
            if pair == (b'-', b'-') || pair == (b'/', b'*') {
                break;
            }
            self.pos += 1;
        }
        let special = |byte: &u8| matches!(byte, b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%');
        while self.pos > start + 1
            && matches!(self.bytes[self.pos - 1], b'+' | b'-')
            && !self.bytes[start..self.pos - 1].iter().any(special)
        {
            self.pos -= 1;
        }
    }

    fn dollar(&mut self, at: usize) -> Result<TokenKind, LexError> {
        if self.peek(1).is_ascii_digit() {
            self.pos += 1;
            while self.peek(0).is_ascii_digit() {
                self.pos += 1;
            }
            if class(self.peek(0)) & NAME_START != 0 {
                return Err(LexError { message: "trailing junk after parameter", at });
            }
            return Ok(TokenKind::Parameter);
        }
        let mut tag_end = self.pos + 1;
        if self.bytes.get(tag_end).is_some_and(|byte| class(*byte) & NAME_START != 0) {
            while self.bytes.get(tag_end).is_some_and(|byte| class(*byte) & NAME != 0 && *byte != b'$') {
                tag_end += 1;
            }
        }
        if self.bytes.get(tag_end) != Some(&b'$') {
            return Err(LexError { message: "syntax error at or near \"$\"", at });
        }
        let tag = &self.bytes[self.pos..=tag_end];
        let mut from = tag_end + 1;
        // Each `$` is looked at once, so a text of nothing but `$` costs linear time for a short tag.
        while let Some(found) = self.bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'$')) {
            let place = from + found;
            if self.bytes[place..].starts_with(tag) {
                self.pos = place + tag.len();
                return Ok(TokenKind::DollarString);
            }
            from = place + 1;
        }
        Err(LexError { message: "unterminated dollar-quoted string", at })
    }
}

/// All tokens of a text; comments and white space are left out.
pub fn lex(text: &str, limits: &Limits) -> Result<Vec<Token>, PgError> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::with_capacity((text.len() / 5).min(1024));
    while let Some(token) = lexer.next_token().map_err(|error| error.into_pg(text))? {
        if tokens.len() >= limits.max_tokens {
            return Err(PgError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("statement has more than {} tokens", limits.max_tokens),
            )
            .with_hint("Split the statement, or send the rows with COPY."));
        }
        tokens.push(token);
    }
    Ok(tokens)
}
