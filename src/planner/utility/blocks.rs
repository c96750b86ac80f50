//! DO: code that runs on one server. It is let through where that can be no less than the whole.
//!
//! - Its statements are definitions, among conditions on PostgreSQL's own catalogs and handlers of errors: what migrations send to make a type
//!   that may be there. Each is planned as if it came alone, and if all belong on the same shards the block is run on these.
//! - All tables that it names are on one shard that has no part of a table that is spread: then what it can reach is all there is.
//!
//! Everything else has to be told where to run (`/* goldseam: shard=s1 */`), or is refused with the statement that is in the way.

use std::ops::Range;

use super::super::{Context, functions, is_plain_shard};
use super::homes::{self, Home};
use super::objects;
use super::reader::Reader;
use crate::error::PgError;
use crate::plan::work::definition::{Definition, Manner};
use crate::plan::{Route, Steps};
use crate::sql::classify::name_of;
use crate::sql::{self, Command, Token, TokenKind, lex};
use crate::types::ShardId;
use crate::vschema::alter::Change;

/// What the statements of a block have in common.
#[derive(Default)]
struct Common {
    shards: Option<Vec<ShardId>>,
    changes: Vec<Change>,
}

/// DO.
pub fn plan(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let language = tokens.windows(2).find(|pair| pair[0].is(text, "language")).and_then(|pair| name_of(text, pair[1]));
    let code = tokens.iter().find_map(|token| body(text, *token));
    let (Some(code), true) = (code, language.is_none_or(|name| name == "plpgsql")) else {
        return Err(refuse("its language is not read"));
    };
    let tokens = lex(&code, &context.limits)?;
    if let Some(shard) = plain(context, &code, &tokens) {
        let reasons = vec![format!("all of its tables are on {}", context.vschema.shard_name(shard))];
        return Ok(Route { fixed: Some(shard), reasons, ..Route::default() });
    }
    let mut common = Common::default();
    common.read(context, Reader::new(&code, &tokens))?;
    let shards = common.shards.unwrap_or_else(|| homes::everywhere(context));
    let definition = Definition { changes: common.changes, ..homes::same(shards) };
    Ok(homes::route(definition, "a block of definitions"))
}

fn refuse(why: &str) -> PgError {
    PgError::unsupported("Goldseam does not run this DO block on several shards")
        .with_detail(format!("Its code would run on each server by itself, for that server's rows: {why}."))
        .with_hint(
            "Send its statements by themselves, or say where it runs: /* goldseam: shard=s1 */ DO ..., for operators.",
        )
}

/// The text of a string.
fn body(text: &str, token: Token) -> Option<String> {
    let inside = token.text(text);
    match token.kind {
        TokenKind::DollarString => {
            let tag = inside.get(1..)?.find('$')? + 2;
            Some(inside.get(tag..inside.len().checked_sub(tag)?)?.to_owned())
        }
        TokenKind::String => Some(inside.strip_prefix('\'')?.strip_suffix('\'')?.replace("''", "'")),
        _ => None,
    }
}

/// The one shard that all its tables are on, if nothing that is spread is there.
fn plain(context: &Context<'_>, code: &str, tokens: &[Token]) -> Option<ShardId> {
    let named = homes::mentioned(context, &Reader::new(code, tokens), 0..tokens.len());
    let mut shards = named.iter().map(|named| match &named.home {
        Home::Shards(shards) if shards.len() == 1 => shards.first().copied(),
        _ => None,
    });
    let first = shards.next()??;
    (is_plain_shard(context, first) && shards.all(|shard| shard == Some(first))).then_some(first)
}

impl Common {
    /// Reads statements up to the end of the code.
    fn read(&mut self, context: &Context<'_>, mut reader: Reader<'_>) -> Result<(), PgError> {
        while !reader.is_over() {
            if reader.eat_any(&["begin", "exception", "else", "loop"]).is_some()
                || reader.eat_kind(TokenKind::Semicolon)
            {
                continue;
            }
            if reader.eat("end") {
                let _ = reader.eat_any(&["if", "loop"]);
                continue;
            }
            if reader.eat("when") {
                // Names of errors.
                let _ = reader.skip_to(&["then"]);
                continue;
            }
            if reader.eat("if") || reader.eat("elsif") || reader.eat("elseif") {
                let from = reader.at;
                if !reader.skip_to(&["then"]) {
                    return Err(refuse("an IF without THEN"));
                }
                condition(context, &reader, from..reader.at - 1)?;
                continue;
            }
            let from = reader.at;
            let mut to = reader.tokens.len();
            while let Some(token) = reader.peek() {
                reader.at += 1;
                if token.kind == TokenKind::Semicolon {
                    to = reader.at - 1;
                    break;
                }
            }
            self.statement(context, &reader, from..to)?;
        }
        Ok(())
    }

    fn statement(&mut self, context: &Context<'_>, reader: &Reader<'_>, range: Range<usize>) -> Result<(), PgError> {
        let tokens = reader.tokens.get(range).unwrap_or(&[]);
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Ok(()) };
        if tokens.len() == 1 && first.is(reader.text, "null") || first.is(reader.text, "raise") {
            return Ok(());
        }
        let mut text = reader.text.get(first.start as usize..last.end as usize).unwrap_or("").to_owned();
        if let ([execute, string], true) = (tokens, first.is(reader.text, "execute"))
            && let Some(inside) = body(reader.text, *string)
            && execute.kind == TokenKind::Word
        {
            text = inside;
        }
        let tokens = lex(&text, &context.limits)?;
        let temporary = tokens.iter().take(4).any(|token| token.is(&text, "temp") || token.is(&text, "temporary"));
        if !matches!(sql::classify(&text), Command::Ddl) || temporary {
            let shown: String = text.chars().take(60).collect();
            return Err(refuse(&format!(
                "\"{}\" is no definition",
                shown.split_whitespace().collect::<Vec<_>>().join(" ")
            )));
        }
        let route = objects::plan(context, &text, &tokens)?;
        let Some(Steps::Definition(definition)) = route.work.as_deref().map(|work| &work.steps) else {
            return Err(refuse("a statement of it goes its own way"));
        };
        let [part] = &definition.parts[..] else { return Err(refuse("a statement of it is another on each shard")) };
        if definition.manner != Manner::Together
            || definition.holders.is_some()
            || definition.fill.is_some()
            || definition.empty.is_some()
            || part.text.is_some()
        {
            return Err(refuse("a statement of it has to be done in steps"));
        }
        let mut shards = part.shards.clone();
        shards.sort_unstable();
        if self.shards.as_ref().is_some_and(|known| *known != shards) {
            return Err(refuse("its statements belong on different shards"));
        }
        self.shards = Some(shards);
        self.changes.extend(definition.changes.iter().cloned());
        Ok(())
    }
}

/// A condition has the same answer on all shards: it reads PostgreSQL's own catalogs at most.
fn condition(context: &Context<'_>, reader: &Reader<'_>, range: Range<usize>) -> Result<(), PgError> {
    if let Some(named) = homes::mentioned(context, reader, range.clone()).first() {
        return Err(refuse(&format!("a condition in it may read table \"{}\"", named.name.name)));
    }
    let tokens = reader.tokens.get(range).unwrap_or(&[]);
    for pair in tokens.windows(2).filter(|pair| pair[1].kind == TokenKind::LeftParen) {
        let Some(name) = name_of(reader.text, pair[0]) else { continue };
        let reads = match context.catalog.functions.get(name.as_ref()) {
            Some(function) => !function.immutable,
            None => functions::class(&name) == functions::Class::ReadsTables,
        };
        if reads {
            return Err(refuse(&format!("function \"{name}\" may read any table")));
        }
    }
    Ok(())
}
