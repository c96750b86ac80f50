//! `SELECT set_config(...), set_config(...)`: settings in the guise of a query, which the session has to follow, because its next statement may
//! go to another server. They can be followed if every argument is a constant or a parameter.

use std::borrow::Cow;

use super::reader::Reader;
use crate::sql::lexer::{Lexer, TokenKind};
use crate::sql::literal::Literal;
use crate::sql::normalize::literal_kind;
use crate::types::Raw;

/// One call of `set_config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<'a> {
    /// The setting's name, as given.
    pub name: Given<'a>,
    /// Its value.
    pub value: Given<'a>,
    /// Whether it holds until the transaction's end: a boolean as PostgreSQL reads it.
    pub local: Given<'a>,
}

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given<'a> {
    /// A constant, in text form.
    Text(Cow<'a, str>),
    /// The n-th parameter, counted from 0.
    Parameter(u16),
}

/// The settings of a statement that does nothing but set some, and ask for some (`current_setting`); none if it is no such statement, or if what it sets is computed.
pub fn set_configs(text: &str) -> Vec<Setting<'_>> {
    let mut reader = Reader { text, lexer: Lexer::new(text), ahead: None, broken: false };
    reader.settings().unwrap_or_default()
}

impl<'a> Reader<'a> {
    fn settings(&mut self) -> Option<Vec<Setting<'a>>> {
        if !self.eat("select") {
            return None;
        }
        let mut found = Vec::new();
        loop {
            if self.eat("pg_catalog") && !self.eat_kind(TokenKind::Dot) {
                return None;
            }
            // What a setting was is often asked in the same breath.
            let asks = self.eat("current_setting");
            if !asks && !self.eat("set_config") || !self.eat_kind(TokenKind::LeftParen) {
                return None;
            }
            if !asks && found.is_empty() && self.eat("name") {
                return self.setting_if_there();
            }
            let name = self.given()?;
            if asks {
                if self.eat_kind(TokenKind::Comma) {
                    self.given()?;
                }
            } else {
                let value = self.eat_kind(TokenKind::Comma).then(|| self.given())??;
                let local = self.eat_kind(TokenKind::Comma).then(|| self.given())??;
                found.push(Setting { name, value, local });
            }
            if !self.eat_kind(TokenKind::RightParen) {
                return None;
            }
            // An alias renames the column of the answer, no more. What is no alias does not end the statement.
            let named = self.eat("as");
            if self.name().is_none() && named {
                return None;
            }
            if !self.eat_kind(TokenKind::Comma) {
                return self.at_end().then_some(found);
            }
        }
    }

    /// The rest of `SELECT set_config(name, value, local) FROM pg_settings WHERE name = 'name'`, by which pg_dump sets what its server may not
    /// have: then there is no row, and nothing is set.
    fn setting_if_there(&mut self) -> Option<Vec<Setting<'a>>> {
        let value = self.eat_kind(TokenKind::Comma).then(|| self.given())??;
        let local = self.eat_kind(TokenKind::Comma).then(|| self.given())??;
        if !self.eat_kind(TokenKind::RightParen) || !self.eat("from") {
            return None;
        }
        if self.eat("pg_catalog") && !self.eat_kind(TokenKind::Dot) {
            return None;
        }
        if !(self.eat("pg_settings") && self.eat("where") && self.eat("name")) {
            return None;
        }
        let equals = self.advance()?;
        if equals.text(self.text) != "=" {
            return None;
        }
        let name = self.given()?;
        self.at_end().then(|| vec![Setting { name, value, local }])
    }

    /// A constant or a parameter, perhaps with a cast that does not change its text.
    fn given(&mut self) -> Option<Given<'a>> {
        let token = self.advance()?;
        let body = token.text(self.text);
        let mut must_cast = false;
        let given = match token.kind {
            TokenKind::Parameter => Given::Parameter(body.strip_prefix('$')?.parse::<u16>().ok()?.checked_sub(1)?),
            TokenKind::Word if ["true", "false"].iter().any(|word| body.eq_ignore_ascii_case(word)) => {
                Given::Text(body.into())
            }
            _ => {
                let kind = literal_kind(token.kind, body.as_bytes())?;
                must_cast = token.kind == TokenKind::Integer;
                let literal = Literal { start: token.start, end: token.end, kind };
                match literal.raw(self.text)? {
                    Raw::Text { text, .. } => Given::Text(text),
                    _ => return None,
                }
            }
        };
        while self.eat_kind(TokenKind::DoubleColon) {
            must_cast = false;
            if !["text", "varchar", "bool", "boolean"].iter().any(|name| self.eat(name)) {
                return None;
            }
        }
        (!must_cast).then_some(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_of_constants_and_parameters_are_read() {
        let text = |text: &'static str| Given::Text(text.into());
        let one = |name, value, local| Setting { name, value, local };
        for (sql, expected) in [
            ("SELECT set_config('a.b', 'it''s', false);", vec![one(text("a.b"), text("it's"), text("false"))]),
            (
                "select set_config($1, $2::text, TRUE), pg_catalog.set_config('x', 5::text, $3) AS \"Y\"",
                vec![
                    one(Given::Parameter(0), Given::Parameter(1), text("TRUE")),
                    one(text("x"), text("5"), Given::Parameter(2)),
                ],
            ),
            ("SELECT set_config('a', 'b', true) c", vec![one(text("a"), text("b"), text("true"))]),
            (
                "SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new",
                vec![one(text("jit"), text("off"), text("false"))],
            ),
            (
                "SELECT set_config(name, 'b, c', false) FROM pg_settings WHERE name = 'a'",
                vec![one(text("a"), text("b, c"), text("false"))],
            ),
            ("SELECT set_config(name, 'b', false) FROM pg_settings", vec![]),
            ("SELECT set_config(name, 'b', false) FROM pg_settings WHERE name <> 'a'", vec![]),
            ("SELECT set_config(name, 'b', false) FROM mine WHERE name = 'a'", vec![]),
            ("SELECT current_setting('a', true)", vec![]),
            ("SELECT current_setting('a', set_config('a', 'b', true))", vec![]),
            ("SELECT set_config('a', 'b' || 'c', true)", vec![]),
            ("SELECT set_config('a', 'b', true) FROM t", vec![]),
            ("SELECT set_config('a', 'b', true), 1", vec![]),
            ("SELECT set_config('a', 5, true)", vec![]),
            ("SELECT set_config('a', '5'::int::text, true)", vec![]),
            ("SELECT set_config('a', NULL, true)", vec![]),
            ("SELECT set_config('a', 'b', true) AS", vec![]),
            ("SELECT set_config('a', 'b', true) AS, set_config('a', 'c', true)", vec![]),
            ("SELECT mine.set_config('a', 'b', true)", vec![]),
            ("SELECT set_config('a', 'b'", vec![]),
            ("EXPLAIN ANALYZE SELECT set_config('a', 'b', true)", vec![]),
            ("SELECT 1", vec![]),
        ] {
            assert_eq!(set_configs(sql), expected, "{sql}");
        }
    }
}
