//! A COPY statement by its tokens (`CopyStmt` in `src/backend/parser/gram.y`), in the syntax of today and of before PostgreSQL 9.0.
//!
//! A server judges the options before it takes data, so this reader only has to understand those that are right. What it does not know it says.

use std::ops::Range;

use crate::error::PgError;
use crate::sql::classify::name_of;
use crate::sql::{Literal, LiteralKind, Token, TokenKind};
use crate::sqlstate::SqlState;
use crate::types::Raw;

/// What the data looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Tabs and backslashes.
    #[default]
    Text,
    /// Commas and quotes.
    Csv,
    /// As the types' send functions write.
    Binary,
}

/// Columns that an option is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Columns {
    /// None.
    #[default]
    None,
    /// `*`.
    All,
    /// These.
    Named(Vec<String>),
}

impl Columns {
    /// Whether a column is one of them.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Columns::None => false,
            Columns::All => true,
            Columns::Named(names) => names.iter().any(|known| known == name),
        }
    }
}

/// The options, with PostgreSQL's defaults where nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// FORMAT.
    pub format: Format,
    /// HEADER; `match` is one too.
    pub header: bool,
    /// DELIMITER.
    pub delimiter: u8,
    /// NULL.
    pub null: Vec<u8>,
    /// QUOTE.
    pub quote: u8,
    /// ESCAPE.
    pub escape: u8,
    /// FORCE_NOT_NULL.
    pub force_not_null: Columns,
    /// FORCE_NULL.
    pub force_null: Columns,
    /// FORCE_QUOTE.
    pub force_quote: Columns,
    /// ENCODING.
    pub encoding: Option<String>,
    /// FREEZE.
    pub freeze: bool,
    /// Options that are not known here, by name.
    pub unknown: Vec<String>,
}

/// A COPY statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The table's name, part by part; empty for a query.
    pub table: Vec<String>,
    /// The number of the token behind the table's name.
    pub behind_name: usize,
    /// The columns that are named.
    pub columns: Option<Vec<String>>,
    /// The tokens of the query between its parentheses.
    pub query: Option<Range<usize>>,
    /// FROM.
    pub from: bool,
    /// STDIN or STDOUT: the client's connection carries the data.
    pub client: bool,
    /// The options.
    pub options: Options,
    /// The tokens of the condition behind WHERE.
    pub condition: Option<Range<usize>>,
}

/// What has been said of the options so far.
#[derive(Default)]
struct Said {
    format: Format,
    header: bool,
    delimiter: Option<u8>,
    null: Option<Vec<u8>>,
    quote: Option<u8>,
    escape: Option<u8>,
    force_not_null: Columns,
    force_null: Columns,
    force_quote: Columns,
    encoding: Option<String>,
    freeze: bool,
    unknown: Vec<String>,
}

impl Said {
    fn finish(self) -> Options {
        let csv = self.format == Format::Csv;
        let quote = self.quote.unwrap_or(b'"');
        Options {
            format: self.format,
            header: self.header,
            delimiter: self.delimiter.unwrap_or(if csv { b',' } else { b'\t' }),
            null: self.null.unwrap_or_else(|| if csv { Vec::new() } else { b"\\N".to_vec() }),
            quote,
            escape: self.escape.unwrap_or(quote),
            force_not_null: self.force_not_null,
            force_null: self.force_null,
            force_quote: self.force_quote,
            encoding: self.encoding,
            freeze: self.freeze,
            unknown: self.unknown,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Said::default().finish()
    }
}

impl Statement {
    /// Reads a statement by its tokens, without a semicolon at the end.
    ///
    /// # Errors
    /// `42601`: PostgreSQL would not take it either, as far as can be told.
    pub fn read(text: &str, tokens: &[Token]) -> Result<Statement, PgError> {
        let mut reader = Reader { text, tokens, at: 0 };
        reader.statement()
    }
}

struct Reader<'t> {
    text: &'t str,
    tokens: &'t [Token],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn is(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.kind == TokenKind::Word && token.is(self.text, word))
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.is(word);
        self.at += usize::from(found);
        found
    }

    fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == kind);
        self.at += usize::from(found);
        found
    }

    fn wrong(&self) -> PgError {
        match self.peek() {
            Some(token) => {
                let position = crate::sql::lexer::position(self.text, token.start as usize);
                let near = token.text(self.text);
                PgError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{near}\"")).at(position)
            }
            None => PgError::new(SqlState::SYNTAX_ERROR, "syntax error at end of input"),
        }
    }

    fn expect(&mut self, kind: TokenKind) -> Result<(), PgError> {
        if self.eat_kind(kind) { Ok(()) } else { Err(self.wrong()) }
    }

    fn name(&mut self) -> Result<String, PgError> {
        let name = self.peek().and_then(|token| name_of(self.text, token)).map(|name| name.into_owned());
        match name {
            Some(name) => {
                self.at += 1;
                Ok(name)
            }
            None => Err(self.wrong()),
        }
    }

    /// A string's value.
    fn string(&mut self) -> Result<String, PgError> {
        let token = self.peek().ok_or_else(|| self.wrong())?;
        let kind = match token.kind {
            TokenKind::String => LiteralKind::String,
            TokenKind::EscapeString => LiteralKind::Escape,
            TokenKind::DollarString => LiteralKind::Dollar,
            _ => return Err(self.wrong()),
        };
        let literal = Literal { start: token.start, end: token.end, kind };
        let value = match literal.raw(self.text) {
            Some(Raw::Text { text, .. }) => text.into_owned(),
            _ => return Err(self.wrong()),
        };
        self.at += 1;
        Ok(value)
    }

    fn names(&mut self) -> Result<Vec<String>, PgError> {
        let mut names = vec![self.name()?];
        while self.eat_kind(TokenKind::Comma) {
            names.push(self.name()?);
        }
        Ok(names)
    }

    /// From behind a `(` to its `)`, which is passed over.
    fn inside(&mut self) -> Result<Range<usize>, PgError> {
        let (first, mut depth) = (self.at, 1);
        while let Some(token) = self.peek() {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(first..self.at - 1);
            }
        }
        Err(self.wrong())
    }

    fn statement(&mut self) -> Result<Statement, PgError> {
        if !self.eat("copy") {
            return Err(self.wrong());
        }
        let mut said = Said::default();
        let mut statement = Statement {
            table: Vec::new(),
            behind_name: 0,
            columns: None,
            query: None,
            from: false,
            client: false,
            options: Options::default(),
            condition: None,
        };
        if self.eat_kind(TokenKind::LeftParen) {
            statement.query = Some(self.inside()?);
        } else {
            let next = self.tokens.get(self.at + 1);
            let named_binary = next.is_none_or(|next| {
                next.is(self.text, "from")
                    || next.is(self.text, "to")
                    || matches!(next.kind, TokenKind::Dot | TokenKind::LeftParen)
            });
            if self.is("binary") && !named_binary {
                self.at += 1;
                said.format = Format::Binary;
            }
            statement.table.push(self.name()?);
            while self.eat_kind(TokenKind::Dot) {
                let part = self.name()?;
                statement.table.push(part);
            }
            statement.behind_name = self.at;
            if self.eat_kind(TokenKind::LeftParen) {
                statement.columns = Some(self.names()?);
                self.expect(TokenKind::RightParen)?;
            }
        }
        statement.from = self.eat("from");
        if !statement.from && !self.eat("to") {
            return Err(self.wrong());
        }
        if self.eat("program") {
            self.string()?;
        } else if self.eat("stdin") || self.eat("stdout") {
            statement.client = true;
        } else {
            self.string()?;
        }
        if self.eat("using") || self.is("delimiters") {
            if !self.eat("delimiters") {
                return Err(self.wrong());
            }
            said.delimiter = byte(&self.string()?);
        }
        let with = self.eat("with");
        if self.eat_kind(TokenKind::LeftParen) {
            self.options(&mut said)?;
        } else {
            let before = self.at;
            self.old_options(&mut said)?;
            if with && self.at == before && self.peek().is_some() {
                return Err(self.wrong());
            }
        }
        if self.eat("where") {
            statement.condition = Some(self.at..self.tokens.len());
            self.at = self.tokens.len();
        }
        if self.peek().is_some() {
            return Err(self.wrong());
        }
        statement.options = said.finish();
        Ok(statement)
    }

    /// `(FORMAT csv, HEADER, ...)`.
    fn options(&mut self, said: &mut Said) -> Result<(), PgError> {
        loop {
            let name = self.name()?;
            match name.as_str() {
                "format" => {
                    said.format = match self.word()?.as_str() {
                        "csv" => Format::Csv,
                        "binary" => Format::Binary,
                        _ => Format::Text,
                    }
                }
                "freeze" => said.freeze = self.flag()?,
                "header" => said.header = self.flag()?,
                "delimiter" => said.delimiter = byte(&self.word()?),
                "null" => said.null = Some(self.word()?.into_bytes()),
                "quote" => said.quote = byte(&self.word()?),
                "escape" => said.escape = byte(&self.word()?),
                "encoding" => said.encoding = Some(self.word()?),
                "force_quote" => said.force_quote = self.columns()?,
                "force_not_null" => said.force_not_null = self.columns()?,
                "force_null" => said.force_null = self.columns()?,
                _ => {
                    said.unknown.push(name);
                    self.skip_value()?;
                }
            }
            if self.eat_kind(TokenKind::Comma) {
                continue;
            }
            return self.expect(TokenKind::RightParen);
        }
    }

    /// An option's value as text: a string, a word or a number.
    fn word(&mut self) -> Result<String, PgError> {
        if let Some(token) = self.peek()
            && matches!(token.kind, TokenKind::Integer | TokenKind::Decimal)
        {
            self.at += 1;
            return Ok(token.text(self.text).to_owned());
        }
        if self.peek().is_some_and(|token| matches!(token.kind, TokenKind::Word | TokenKind::QuotedName)) {
            return self.name();
        }
        self.string()
    }

    /// A value that may be left out. What is no word for `false` counts as `true`: a server says whether it is one.
    fn flag(&mut self) -> Result<bool, PgError> {
        if self.peek().is_none_or(|token| matches!(token.kind, TokenKind::Comma | TokenKind::RightParen)) {
            return Ok(true);
        }
        let word = self.word()?;
        Ok(!["false", "off", "0"].iter().any(|off| word.eq_ignore_ascii_case(off)))
    }

    /// `*` or `(a, b)`.
    fn columns(&mut self) -> Result<Columns, PgError> {
        if self.peek().is_some_and(|token| token.text(self.text) == "*") {
            self.at += 1;
            return Ok(Columns::All);
        }
        self.expect(TokenKind::LeftParen)?;
        let names = self.names()?;
        self.expect(TokenKind::RightParen)?;
        Ok(Columns::Named(names))
    }

    fn skip_value(&mut self) -> Result<(), PgError> {
        if self.eat_kind(TokenKind::LeftParen) {
            return self.inside().map(drop);
        }
        while self.peek().is_some_and(|token| !matches!(token.kind, TokenKind::Comma | TokenKind::RightParen)) {
            self.at += 1;
        }
        Ok(())
    }

    /// `CSV HEADER DELIMITER AS ';' ...`.
    fn old_options(&mut self, said: &mut Said) -> Result<(), PgError> {
        loop {
            if self.eat("binary") {
                said.format = Format::Binary;
            } else if self.eat("csv") {
                said.format = Format::Csv;
            } else if self.eat("freeze") {
                said.freeze = true;
            } else if self.eat("header") {
                said.header = true;
            } else if self.eat("delimiter") {
                said.delimiter = byte(&self.old_value()?);
            } else if self.eat("null") {
                said.null = Some(self.old_value()?.into_bytes());
            } else if self.eat("quote") {
                said.quote = byte(&self.old_value()?);
            } else if self.eat("escape") {
                said.escape = byte(&self.old_value()?);
            } else if self.eat("encoding") {
                said.encoding = Some(self.string()?);
            } else if self.eat("force") {
                if self.eat("quote") {
                    said.force_quote = self.old_columns()?;
                } else if self.eat("not") && self.eat("null") {
                    said.force_not_null = self.old_columns()?;
                } else if self.eat("null") {
                    said.force_null = self.old_columns()?;
                } else {
                    return Err(self.wrong());
                }
            } else {
                return Ok(());
            }
        }
    }

    fn old_value(&mut self) -> Result<String, PgError> {
        self.eat("as");
        self.string()
    }

    fn old_columns(&mut self) -> Result<Columns, PgError> {
        if self.peek().is_some_and(|token| token.text(self.text) == "*") {
            self.at += 1;
            return Ok(Columns::All);
        }
        self.names().map(Columns::Named)
    }
}

/// A delimiter is one byte; a server refuses any other.
fn byte(value: &str) -> Option<u8> {
    value.bytes().next()
}

#[cfg(test)]
mod tests;
