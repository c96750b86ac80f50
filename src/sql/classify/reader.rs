//! A statement's tokens, read one after the other.

use std::borrow::Cow;
use std::ops::Range;

use super::name_of;
use crate::sql::lexer::{Lexer, Token, TokenKind};

/// Reads the tokens of one statement.
pub(super) struct Reader<'a> {
    pub text: &'a str,
    pub lexer: Lexer<'a>,
    pub ahead: Option<Token>,
    /// A token could not be read. The lexer may stand at the end of the text then, which is no end of a statement.
    pub broken: bool,
}

impl<'a> Reader<'a> {
    pub fn peek(&mut self) -> Option<Token> {
        if self.ahead.is_none() {
            match self.lexer.next_token() {
                Ok(token) => self.ahead = token,
                Err(_) => self.broken = true,
            }
        }
        self.ahead.filter(|token| token.kind != TokenKind::Semicolon)
    }

    /// Nothing but blanks and semicolons is left.
    pub fn at_end(&mut self) -> bool {
        let mut lexer = self.lexer.clone();
        if self.broken || self.ahead.is_some_and(|token| token.kind != TokenKind::Semicolon) {
            return false;
        }
        loop {
            match lexer.next_token() {
                Ok(None) => return true,
                Ok(Some(token)) if token.kind == TokenKind::Semicolon => {}
                _ => return false,
            }
        }
    }

    pub fn advance(&mut self) -> Option<Token> {
        let token = self.peek()?;
        self.ahead = None;
        Some(token)
    }

    pub fn eat(&mut self, word: &str) -> bool {
        let text = self.text;
        let found = self.peek().is_some_and(|token| token.is(text, word));
        if found {
            self.ahead = None;
        }
        found
    }

    pub fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == kind);
        if found {
            self.ahead = None;
        }
        found
    }

    pub fn name(&mut self) -> Option<Cow<'a, str>> {
        let token = self.peek()?;
        let name = name_of(self.text, token)?;
        self.ahead = None;
        Some(name)
    }

    pub fn done<T>(&mut self, value: T) -> Option<T> {
        self.at_end().then_some(value)
    }

    /// Where the rest of the statement begins and ends.
    pub fn rest(&mut self) -> Option<Range<usize>> {
        let start = self.peek()?.start as usize;
        let mut end = start;
        while let Some(token) = self.advance() {
            end = token.end as usize;
        }
        self.at_end().then_some(start..end)
    }

    pub fn rest_text(&mut self) -> Option<&'a str> {
        let range = self.rest()?;
        self.text.get(range)
    }

    /// `( ... )`: the place of the inside.
    pub fn parenthesized(&mut self) -> Option<Range<usize>> {
        if !self.eat_kind(TokenKind::LeftParen) {
            return None;
        }
        let start = self.lexer.offset();
        let mut depth = 1usize;
        while let Some(token) = self.advance() {
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(start..token.start as usize);
                    }
                }
                _ => {}
            }
        }
        None
    }
}
