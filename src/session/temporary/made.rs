//! Temporary tables made of a query that leads to several shards: CREATE TEMP TABLE AS and SELECT INTO TEMP.
//!
//! The table is made without rows first, where the session keeps its temporary tables, by the client's own words: that shard knows the query's
//! tables, and so the columns' names and types. Then the rows are inserted, as by an INSERT of the query, in the same transaction.

use super::super::route::Destination;
use super::super::work::Assignment;
use super::super::work::ask::Ask;
use super::super::work::outlet::Outlet;
use super::super::{Session, Trouble};
use crate::error::PgError;
use crate::plan::{Effects, Pin};
use crate::sql::{self, Token, TokenKind};

/// Such a statement.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::session) struct Made {
    /// Makes the table, without rows.
    create: String,
    /// Puts the rows in.
    insert: String,
    pub query: String,
}

impl Session {
    /// The temporary table that a statement makes of a query over several shards; none if it is none, or one shard can do it.
    pub(in crate::session) fn made_of_many(&self, text: &str) -> Result<Option<Made>, PgError> {
        if !may_make(text) {
            return Ok(None);
        }
        let tokens = sql::lex(text, &self.state.sql_limits())?;
        let Some(made) = Made::read(text, &tokens) else { return Ok(None) };
        let (_, destination) = self.decide(&made.query)?;
        let several = matches!(destination, Destination::Shards { .. } | Destination::Work);
        Ok(several.then_some(made))
    }

    /// Makes it; how many rows it has.
    pub(in crate::session) async fn make_temporary(&mut self, made: Made) -> Result<u64, Trouble> {
        self.set_aside().await?;
        let implicit = self.transaction.is_idle();
        if implicit {
            self.begin_implicit();
        }
        let outcome = self.make_within(made).await;
        if outcome.is_err() {
            self.transaction.fail();
        }
        // In a batch of the extended protocol the transaction lasts up to the Sync.
        if implicit && !self.batch.open {
            let ended = self.end_implicit(outcome.is_ok()).await;
            if outcome.is_ok() {
                ended?;
            }
        }
        outcome
    }

    async fn make_within(&mut self, made: Made) -> Result<u64, Trouble> {
        let shard = self.temporary_shard().unwrap_or_else(|| self.state.vschema.home());
        let effects = Effects { writes: true, pin: Some(Pin::TemporaryTable), ..Effects::default() };
        self.enlist_for(&effects, &[shard]).await?;
        self.ask_shards(vec![Ask::new(shard, made.create)]).await?;
        self.note_temporary(&effects);
        if let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == shard)
            && !held.pins.contains(&Pin::TemporaryTable)
        {
            held.pins.push(Pin::TemporaryTable);
        }
        self.show_pins();
        self.renew_temporary().await?;
        let (plan, destination) = self.decide(&made.insert)?;
        let tag = match destination {
            Destination::Work => {
                let job = Assignment::new(&plan, &made.insert)?;
                self.carry_out(&job, &mut Outlet { kept: Some(Default::default()), ..Outlet::default() }).await?
            }
            _ => return Err(PgError::unsupported("a temporary table of such a query").into()),
        };
        let count = tag.rsplit(|byte| *byte == b' ').next().and_then(|digits| std::str::from_utf8(digits).ok());
        Ok(count.and_then(|digits| digits.parse().ok()).unwrap_or(0))
    }
}

/// Whether a closer look is worth it.
fn may_make(text: &str) -> bool {
    text.as_bytes().windows(4).any(|word| word.eq_ignore_ascii_case(b"temp"))
}

impl Made {
    fn read(text: &str, tokens: &[Token]) -> Option<Made> {
        let (first, _) = tokens.split_first()?;
        if first.is(text, "create") { Made::created(text, tokens) } else { Made::selected(text, tokens) }
    }

    /// `CREATE TEMP TABLE name ... AS query [WITH DATA]`.
    fn created(text: &str, tokens: &[Token]) -> Option<Made> {
        let table = tokens.iter().take(4).position(|token| token.is(text, "table"))?;
        let temporary = |token: &Token| token.is(text, "temp") || token.is(text, "temporary");
        if !tokens.get(1..table)?.iter().any(temporary) || tokens.get(table + 1)?.is(text, "if") {
            return None;
        }
        let name = name_at(text, tokens, table + 1)?;
        let at = at_top(text, tokens, "as", table)?;
        let mut end = tokens.len();
        if tokens.get(end - 1)?.is(text, "data") {
            end -= if tokens.get(end - 2)?.is(text, "no") { return None } else { 2 };
            if !tokens.get(end)?.is(text, "with") {
                return None;
            }
        }
        let query = text.get(tokens.get(at + 1)?.start as usize..tokens.get(end - 1)?.end as usize)?;
        if tokens.get(at + 1)?.is(text, "execute") {
            return None;
        }
        let head = text.get(..tokens.get(at)?.end as usize)?;
        Some(Made::of(head, text.get(name)?, query))
    }

    /// `SELECT ... INTO TEMP name FROM ...`.
    fn selected(text: &str, tokens: &[Token]) -> Option<Made> {
        let into = at_top(text, tokens, "into", 0)?;
        let temporary = tokens.get(into + 1)?;
        if !(temporary.is(text, "temp") || temporary.is(text, "temporary")) {
            return None;
        }
        let at = if tokens.get(into + 2)?.is(text, "table") { into + 3 } else { into + 2 };
        let name = name_at(text, tokens, at)?;
        let (before, after) = (text.get(..tokens.get(into)?.start as usize)?, text.get(name.end..)?);
        let query = format!("{before} {after}");
        let head = format!("CREATE TEMPORARY TABLE {} AS", text.get(name.clone())?);
        Some(Made::of(&head, text.get(name)?, &query))
    }

    fn of(head: &str, name: &str, query: &str) -> Made {
        Made {
            create: format!("{head} {query} WITH NO DATA"),
            insert: format!("INSERT INTO {name} {query}"),
            query: query.to_owned(),
        }
    }
}

/// The place of a name, which may have a schema.
fn name_at(text: &str, tokens: &[Token], at: usize) -> Option<std::ops::Range<usize>> {
    let first = tokens.get(at)?;
    sql::classify::name_of(text, *first)?;
    let mut last = first;
    let mut next = at + 1;
    while tokens.get(next).is_some_and(|token| token.kind == TokenKind::Dot) {
        last = tokens.get(next + 1)?;
        next += 2;
    }
    Some(first.start as usize..last.end as usize)
}

/// The first such word outside of parentheses, behind a place.
fn at_top(text: &str, tokens: &[Token], word: &str, behind: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (at, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::LeftParen => depth += 1,
            TokenKind::RightParen => depth -= 1,
            _ if depth == 0 && at > behind && token.is(text, word) => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_its_rows_are_told_apart() {
        let read = |text: &str| Made::read(text, &sql::lex(text, &sql::Limits::default()).unwrap());
        let made = read("CREATE TEMP TABLE t (a, b) ON COMMIT DROP AS SELECT x AS y, (SELECT 1 AS z) FROM u").unwrap();
        assert_eq!(made.insert, "INSERT INTO t SELECT x AS y, (SELECT 1 AS z) FROM u");
        assert!(made.create.ends_with("FROM u WITH NO DATA"));
        let made = read("CREATE TEMPORARY TABLE pg_temp.\"T\" AS TABLE u WITH DATA").unwrap();
        assert_eq!(made.create, "CREATE TEMPORARY TABLE pg_temp.\"T\" AS TABLE u WITH NO DATA");
        assert_eq!(made.insert, "INSERT INTO pg_temp.\"T\" TABLE u");
        let made = read("SELECT a, b INTO TEMP t FROM u WHERE a > 1").unwrap();
        assert_eq!(made.query.split_whitespace().collect::<Vec<_>>().join(" "), "SELECT a, b FROM u WHERE a > 1");
        assert!(made.create.starts_with("CREATE TEMPORARY TABLE t AS SELECT a, b"));
        for text in [
            "CREATE TABLE t AS SELECT 1",
            "CREATE TEMP TABLE t (a int)",
            "CREATE TEMP TABLE t AS SELECT 1 WITH NO DATA",
            "CREATE TEMP TABLE IF NOT EXISTS t AS SELECT 1",
            "SELECT a INTO t FROM u",
            "SELECT temp FROM u",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
