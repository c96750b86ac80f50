//! Statements without a syntax tree, token by token.

use std::ops::Range;

use crate::sql::classify::name_of;
use crate::sql::{Token, TokenKind};

/// A place in the tokens of a statement.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'t> {
    /// The whole text.
    pub text: &'t str,
    /// All tokens of the statement.
    pub tokens: &'t [Token],
    /// The number of the next one.
    pub at: usize,
}

impl<'t> Reader<'t> {
    /// At the statement's first token.
    pub fn new(text: &'t str, tokens: &'t [Token]) -> Reader<'t> {
        Reader { text, tokens, at: 0 }
    }

    /// Over some of the tokens, from the first of these on.
    pub fn within(&self, range: Range<usize>) -> Reader<'t> {
        let tokens = self.tokens.get(..range.end).unwrap_or(self.tokens);
        Reader { text: self.text, tokens, at: range.start }
    }

    /// The next token.
    pub fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    /// Nothing is left.
    pub fn is_over(&self) -> bool {
        self.at >= self.tokens.len()
    }

    /// Whether this unquoted word comes next.
    pub fn sees(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is(self.text, word))
    }

    /// Takes this word, if it comes next.
    pub fn eat(&mut self, word: &str) -> bool {
        let found = self.sees(word);
        self.at += usize::from(found);
        found
    }

    /// Takes these words, if all of them come next.
    pub fn eat_all(&mut self, words: &[&str]) -> bool {
        let found = words
            .iter()
            .enumerate()
            .all(|(n, word)| self.tokens.get(self.at + n).is_some_and(|token| token.is(self.text, word)));
        self.at += if found { words.len() } else { 0 };
        found
    }

    /// Takes one of these words; which.
    pub fn eat_any<'w>(&mut self, words: &[&'w str]) -> Option<&'w str> {
        let found = words.iter().find(|word| self.sees(word)).copied();
        self.at += usize::from(found.is_some());
        found
    }

    /// Takes a token of this kind, if one comes next.
    pub fn eat_kind(&mut self, kind: TokenKind) -> bool {
        let found = self.peek().is_some_and(|token| token.kind == kind);
        self.at += usize::from(found);
        found
    }

    /// `IF EXISTS` or `IF NOT EXISTS`.
    pub fn eat_exists(&mut self) -> bool {
        self.eat_all(&["if", "exists"]) || self.eat_all(&["if", "not", "exists"])
    }

    /// One folded name.
    pub fn name(&mut self) -> Option<String> {
        let name = name_of(self.text, self.peek()?)?.into_owned();
        self.at += 1;
        Some(name)
    }

    /// `a`, `a.b` ...: the folded parts, and their tokens.
    pub fn qualified(&mut self) -> Option<(Vec<String>, Range<usize>)> {
        let from = self.at;
        let mut parts = vec![self.name()?];
        while self.peek().is_some_and(|token| token.kind == TokenKind::Dot) {
            self.at += 1;
            parts.push(self.name()?);
        }
        Some((parts, from..self.at))
    }

    /// From the `(` that comes next to its `)`: what is between them. The reader is behind it.
    pub fn parenthesized(&mut self) -> Option<Range<usize>> {
        if self.peek()?.kind != TokenKind::LeftParen {
            return None;
        }
        let from = self.at + 1;
        let mut depth = 0usize;
        while let Some(token) = self.peek() {
            self.at += 1;
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen if depth == 1 => return Some(from..self.at - 1),
                TokenKind::RightParen => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        None
    }

    /// Cuts a range at its commas outside of parentheses.
    pub fn list(&self, range: Range<usize>) -> Vec<Range<usize>> {
        let (mut parts, mut from, mut depth) = (Vec::new(), range.start, 0usize);
        for at in range.clone() {
            match self.tokens.get(at).map(|token| token.kind) {
                Some(TokenKind::LeftParen | TokenKind::LeftBracket) => depth += 1,
                Some(TokenKind::RightParen | TokenKind::RightBracket) => depth = depth.saturating_sub(1),
                Some(TokenKind::Comma) if depth == 0 => {
                    parts.push(from..at);
                    from = at + 1;
                }
                _ => {}
            }
        }
        if from < range.end {
            parts.push(from..range.end);
        }
        parts
    }

    /// Moves behind the next of these words outside of parentheses; whether there is one.
    pub fn skip_to(&mut self, words: &[&str]) -> bool {
        let mut depth = 0usize;
        while let Some(token) = self.peek() {
            self.at += 1;
            match token.kind {
                TokenKind::LeftParen => depth += 1,
                TokenKind::RightParen => depth = depth.saturating_sub(1),
                TokenKind::Word if depth == 0 && words.iter().any(|word| token.is(self.text, word)) => return true,
                _ => {}
            }
        }
        false
    }

    /// The names in a list in parentheses.
    pub fn names(&self, range: Range<usize>) -> Vec<String> {
        self.list(range).into_iter().filter_map(|one| self.within(one).name()).collect()
    }
}
