//! Which command a statement is, from its first tokens.
//!
//! The session keeps transactions, settings, prepared statements and cursors itself, and half of these statements are beyond the
//! grammar of `sqlparser`. They are few and regular: their tokens are read by hand. Whatever does not look exactly as expected is
//! passed on as what PostgreSQL would call a syntax error, which it then raises itself.

mod reader;
mod set_config;

use std::borrow::Cow;

use super::command::{Command, DiscardTarget, SetValue};
use super::lexer::{Lexer, Token, TokenKind};
use super::literal::{Literal, LiteralKind};
use crate::types::Raw;
use reader::Reader;
pub use set_config::{Given, Setting, set_configs};

/// What the session must know of one statement. Never fails: what it does not know is [`Command::Other`].
pub fn classify(text: &str) -> Command<'_> {
    let mut reader = Reader { text, lexer: Lexer::new(text), ahead: None, broken: false };
    let Some(first) = reader.peek() else {
        return if reader.at_end() { Command::Empty } else { Command::Other };
    };
    if first.kind == TokenKind::LeftParen {
        return Command::Query;
    }
    if first.kind != TokenKind::Word {
        return Command::Other;
    }
    let word = first.text(text);
    // The hot path first: no statement of this kind is looked at any further.
    if ["select", "insert", "update", "delete", "with", "values", "merge", "table"]
        .iter()
        .any(|query| word.eq_ignore_ascii_case(query))
    {
        return if word.eq_ignore_ascii_case("select") {
            reader.set_config().unwrap_or(Command::Query)
        } else {
            Command::Query
        };
    }
    let mut lower = [0u8; 16];
    let Some(lower) = lower.get_mut(..word.len()) else { return Command::Other };
    lower.copy_from_slice(word.as_bytes());
    lower.make_ascii_lowercase();
    reader.advance();
    reader.command(lower).unwrap_or(Command::Other)
}

impl<'a> Reader<'a> {
    fn command(&mut self, word: &[u8]) -> Option<Command<'a>> {
        Some(match word {
            b"begin" => {
                let _ = self.eat("work") || self.eat("transaction");
                self.begin()?
            }
            b"start" => {
                if !self.eat("transaction") {
                    return None;
                }
                self.begin()?
            }
            b"commit" | b"end" => {
                if word == b"commit" && self.eat("prepared") {
                    return Some(Command::CommitPrepared);
                }
                let chain = self.chain()?;
                self.done(Command::Commit { chain })?
            }
            b"rollback" | b"abort" => self.rollback(word == b"rollback")?,
            b"savepoint" => {
                let name = self.name()?;
                self.done(Command::Savepoint(name))?
            }
            b"release" => {
                // `savepoint` is a word like any other and may be the name itself.
                let mut name = self.name()?;
                if name == "savepoint"
                    && let Some(named) = self.name()
                {
                    name = named;
                }
                self.done(Command::Release(name))?
            }
            b"set" => self.set()?,
            b"reset" => self.reset()?,
            b"show" => {
                let words = self.setting_name()?;
                let mut words = if words == "time" && self.eat("zone") { "timezone".into() } else { words };
                if words == "transaction" && self.eat("isolation") && self.eat("level") {
                    words = "transaction_isolation".into();
                }
                if words == "session" && self.eat("authorization") {
                    words = "session_authorization".into();
                }
                while let Some(more) = self.advance() {
                    words = format!("{words} {}", more.text(self.text).to_ascii_lowercase()).into();
                }
                self.done(Command::Show(words))?
            }
            b"discard" => {
                let target = match () {
                    () if self.eat("all") => DiscardTarget::All,
                    () if self.eat("plans") => DiscardTarget::Plans,
                    () if self.eat("temp") || self.eat("temporary") => DiscardTarget::Temp,
                    () if self.eat("sequences") => DiscardTarget::Sequences,
                    () => return None,
                };
                self.done(Command::Discard(target))?
            }
            b"prepare" => {
                let name = self.name()?;
                if name == "transaction" && self.peek().is_some_and(|token| token.kind == TokenKind::String) {
                    return Some(Command::PrepareTransaction);
                }
                let types = self.parenthesized();
                if !self.eat("as") {
                    return None;
                }
                Command::Prepare { name, types, body: self.rest()? }
            }
            b"execute" => {
                let name = self.name()?;
                let args = self.parenthesized();
                self.done(Command::Execute { name, args })?
            }
            b"deallocate" => {
                let mut name = self.name()?;
                if name == "prepare"
                    && let Some(named) = self.name()
                {
                    name = named;
                }
                let quoted = self.text.trim_end().trim_end_matches(';').trim_end().ends_with('"');
                self.done(Command::Deallocate(if name == "all" && !quoted { None } else { Some(name) }))?
            }
            b"listen" => {
                let name = self.name()?;
                self.done(Command::Listen(name))?
            }
            b"unlisten" => {
                if self.peek().is_some_and(|token| token.text(self.text) == "*") {
                    self.advance();
                    return self.done(Command::Unlisten(None));
                }
                let name = self.name()?;
                self.done(Command::Unlisten(Some(name)))?
            }
            b"notify" => Command::Notify,
            b"declare" => self.declare()?,
            b"fetch" => Command::Fetch(self.cursor()?),
            b"move" => Command::Move(self.cursor()?),
            b"close" => {
                let all = self.peek().is_some_and(|token| token.is(self.text, "all"));
                let name = self.name()?;
                self.done(Command::ClosePortal(if all { None } else { Some(name) }))?
            }
            b"copy" => self.copy()?,
            b"explain" => self.explain()?,
            b"alter" if self.peek().is_some_and(|token| token.is(self.text, "vschema")) => Command::AlterVschema,
            b"create" | b"alter" | b"drop" | b"truncate" | b"comment" | b"grant" | b"revoke" | b"reindex"
            | b"cluster" | b"refresh" | b"reassign" | b"security" | b"import" => Command::Ddl,
            b"lock" => Command::Lock,
            b"call" => Command::Call,
            b"do" => Command::Do,
            b"load" => Command::Load,
            b"vacuum" | b"analyze" | b"analyse" | b"checkpoint" => Command::Vacuum,
            _ => return None,
        })
    }

    fn begin(&mut self) -> Option<Command<'a>> {
        let mut read_only = false;
        while let Some(token) = self.advance() {
            if token.is(self.text, "repeatable") {
                // Its `READ` is no access mode.
                let _ = self.eat("read");
            } else if token.is(self.text, "read") {
                // `READ COMMITTED` is an isolation level and leaves the mode alone; of two modes PostgreSQL obeys the last.
                if self.eat("only") {
                    read_only = true;
                } else if self.eat("write") {
                    read_only = false;
                } else if !self.peek().is_some_and(|next| next.kind == TokenKind::Word) {
                    return None;
                }
            } else if !matches!(token.kind, TokenKind::Word | TokenKind::Comma) {
                return None;
            }
        }
        self.done(Command::Begin { read_only })
    }

    /// `[WORK | TRANSACTION] [AND [NO] CHAIN]`.
    fn chain(&mut self) -> Option<bool> {
        let _ = self.eat("work") || self.eat("transaction");
        if !self.eat("and") {
            return Some(false);
        }
        let no = self.eat("no");
        self.eat("chain").then_some(!no)
    }

    fn rollback(&mut self, long: bool) -> Option<Command<'a>> {
        if long && self.eat("prepared") {
            return Some(Command::RollbackPrepared);
        }
        let _ = self.eat("work") || self.eat("transaction");
        if long && self.eat("to") {
            let mut name = self.name()?;
            if name == "savepoint"
                && let Some(named) = self.name()
            {
                name = named;
            }
            return self.done(Command::RollbackTo(name));
        }
        let chain = self.chain()?;
        self.done(Command::Rollback { chain })
    }

    /// `name` or `class.name`, lower case: settings are looked up without regard to case.
    fn setting_name(&mut self) -> Option<Cow<'a, str>> {
        let mut name = self.name()?;
        while self.eat_kind(TokenKind::Dot) {
            name = format!("{name}.{}", self.name()?).into();
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name = name.to_ascii_lowercase().into();
        }
        Some(name)
    }

    fn set(&mut self) -> Option<Command<'a>> {
        let local = self.eat("local");
        let mut session = !local && self.eat("session");
        // `SET SESSION ... ` may also begin a setting of the class `session`.
        if session && self.peek().is_some_and(|token| token.kind == TokenKind::Dot) {
            session = false;
        }
        let set = |name: &'static str, value: SetValue<'a>| Command::Set {
            name: Cow::Borrowed(name),
            value,
            local,
            function: false,
        };
        if session && self.eat("characteristics") {
            return Some(Command::SetTransaction { session_characteristics: true });
        }
        if self.eat("transaction") {
            return Some(Command::SetTransaction { session_characteristics: false });
        }
        if !local && !session && self.eat("constraints") {
            return Some(Command::SetConstraints);
        }
        let mut ahead = Reader { text: self.text, lexer: self.lexer.clone(), ahead: self.ahead, broken: self.broken };
        if ahead.eat("time") && ahead.eat("zone") {
            let value = match ahead.rest_text()? {
                word if word.eq_ignore_ascii_case("default") || word.eq_ignore_ascii_case("local") => SetValue::Default,
                word => SetValue::Text(word.into()),
            };
            return Some(set("timezone", value));
        }
        if session && self.eat("authorization") {
            return Some(set("session_authorization", self.set_value()?));
        }
        let name = self.setting_name()?;
        if self.eat("to") || self.peek().is_some_and(|token| token.text(self.text) == "=") {
            if self.peek().is_some_and(|token| token.text(self.text) == "=") {
                self.advance();
            }
            return Some(Command::Set { name, value: self.set_value()?, local, function: false });
        }
        match &*name {
            "names" if self.at_end() => Some(set("client_encoding", SetValue::Default)),
            "names" => Some(set("client_encoding", self.set_value()?)),
            "role" => Some(set("role", self.set_value()?)),
            "schema" => Some(set("search_path", self.set_value()?)),
            "session" if self.eat("authorization") => Some(set("session_authorization", self.set_value()?)),
            "xml" if self.eat("option") => Some(set("xmloption", self.set_value()?)),
            _ => None,
        }
    }

    fn set_value(&mut self) -> Option<SetValue<'a>> {
        let text = self.rest_text()?;
        Some(if text.eq_ignore_ascii_case("default") { SetValue::Default } else { SetValue::Text(text.into()) })
    }

    fn reset(&mut self) -> Option<Command<'a>> {
        if self.peek().is_some_and(|token| token.is(self.text, "all")) {
            self.advance();
            return self.done(Command::ResetAll);
        }
        let mut name = self.setting_name()?;
        if name == "time" && self.eat("zone") {
            name = "timezone".into();
        } else if name == "session" && self.eat("authorization") {
            name = "session_authorization".into();
        } else if name == "transaction" && self.eat("isolation") && self.eat("level") {
            name = "transaction_isolation".into();
        }
        self.done(Command::Reset(name))
    }

    fn declare(&mut self) -> Option<Command<'a>> {
        let name = self.name()?;
        let mut hold = false;
        let mut without = false;
        loop {
            let token = self.advance()?;
            if token.is(self.text, "for") {
                break;
            }
            hold |= token.is(self.text, "hold") && !without;
            without = token.is(self.text, "without");
        }
        Some(Command::Declare { name, hold, query: self.rest()? })
    }

    /// `FETCH [direction] [FROM | IN] name`: the name is the last token whatever stands before it.
    fn cursor(&mut self) -> Option<Cow<'a, str>> {
        let mut last = None;
        while let Some(token) = self.advance() {
            last = Some(token);
        }
        let name = name_of(self.text, last?)?;
        self.done(name)
    }

    fn copy(&mut self) -> Option<Command<'a>> {
        let query = self.parenthesized();
        let mut from = false;
        if query.is_none() {
            // Up to FROM or TO: the table's name and columns.
            loop {
                let token = self.advance()?;
                from = token.is(self.text, "from");
                if from || token.is(self.text, "to") {
                    break;
                }
            }
        } else if !self.eat("to") {
            return None;
        }
        let client = self.eat("stdin") || self.eat("stdout");
        Some(Command::Copy { query, from, client })
    }

    fn explain(&mut self) -> Option<Command<'a>> {
        let (mut route, mut analyze) = (false, false);
        // `EXPLAIN (SELECT ...)` explains a query in parentheses.
        let mut options = Reader { text: self.text, lexer: self.lexer.clone(), ahead: self.ahead, broken: self.broken };
        if options.eat_kind(TokenKind::LeftParen)
            && !["select", "values", "with", "table"]
                .iter()
                .any(|word| options.peek().is_some_and(|token| token.is(self.text, word)))
            && options.peek().is_some_and(|token| token.kind == TokenKind::Word)
        {
            let inside = self.parenthesized()?;
            for option in self.text.get(inside)?.split(',') {
                let mut words = option.split_ascii_whitespace();
                let name = words.next().unwrap_or("");
                let off = words.next().is_some_and(|value| {
                    let value = value.trim_matches('\'');
                    ["off", "false", "0"].iter().any(|word| value.eq_ignore_ascii_case(word))
                });
                route |= name.eq_ignore_ascii_case("route") && !off;
                analyze |= (name.eq_ignore_ascii_case("analyze") || name.eq_ignore_ascii_case("analyse")) && !off;
            }
        } else {
            while let Some(token) = self.peek() {
                if token.is(self.text, "analyze") || token.is(self.text, "analyse") {
                    analyze = true;
                } else if !token.is(self.text, "verbose") {
                    break;
                }
                self.advance();
            }
        }
        Some(Command::Explain { route, analyze, inner: self.rest()? })
    }

    /// `SELECT [pg_catalog.]set_config('name', 'value', true | false)` and nothing else.
    fn set_config(&mut self) -> Option<Command<'a>> {
        self.advance();
        if self.eat("pg_catalog") && !self.eat_kind(TokenKind::Dot) {
            return None;
        }
        if !self.eat("set_config") || !self.eat_kind(TokenKind::LeftParen) {
            return None;
        }
        let name = self.plain_string()?;
        if !self.eat_kind(TokenKind::Comma) {
            return None;
        }
        let value = self.peek().filter(|token| token.kind == TokenKind::String)?;
        let value = Literal { start: value.start, end: value.end, kind: LiteralKind::String };
        let Some(Raw::Text { text: value, .. }) = value.raw(self.text) else { return None };
        self.advance();
        if !self.eat_kind(TokenKind::Comma) {
            return None;
        }
        let local = self.eat("true");
        if (!local && !self.eat("false")) || !self.eat_kind(TokenKind::RightParen) {
            return None;
        }
        // An alias renames the column of the answer, no more. A bare word may be a keyword that goes on (`LIMIT`), but not as
        // the last word of the statement.
        let named = self.eat("as");
        if self.name().is_none() && named || !self.at_end() {
            return None;
        }
        let name = name.to_ascii_lowercase().into();
        Some(Command::Set { name, value: SetValue::Text(value), local, function: true })
    }

    /// A string without anything special in it.
    fn plain_string(&mut self) -> Option<&'a str> {
        let token = self.peek().filter(|token| token.kind == TokenKind::String)?;
        let inside = token.text(self.text).strip_prefix('\'')?.strip_suffix('\'')?;
        let plain = inside.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
        self.advance();
        plain.then_some(inside)
    }
}

/// An identifier's meaning: folded, or without its quotes.
pub fn name_of(text: &str, token: Token) -> Option<Cow<'_, str>> {
    let body = token.text(text);
    match token.kind {
        TokenKind::Word if body.bytes().any(|byte| byte.is_ascii_uppercase()) => Some(body.to_ascii_lowercase().into()),
        TokenKind::Word => Some(body.into()),
        TokenKind::QuotedName => {
            let inside = body.strip_prefix('"')?.strip_suffix('"')?;
            Some(if inside.contains('"') { inside.replace("\"\"", "\"").into() } else { inside.into() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
