//! Where in the statement tables are named.

use std::ops::Range;

use sqlparser::ast::{ObjectName, TableAlias};

use crate::planner::Planner;
use crate::planner::scope::Place;
use crate::sql::TokenKind;
use crate::sql::parse::byte_of;
use crate::types::{KeyspaceId, ShardId};

/// A place in a FROM list that names a table.
#[derive(Debug, Clone)]
pub(in crate::planner) struct Site {
    /// The use.
    pub instance: usize,
    /// Where its rows are.
    pub origin: Origin,
    /// The tokens of the table's name; empty if they are not where the tree says.
    pub name: Range<usize>,
    /// A word in front of the name that the grammar's tree does not have: ONLY, or TABLE as a query of its own.
    pub front: Front,
    /// From the name to the end of the alias.
    pub whole: Range<usize>,
    /// TABLESAMPLE, if it has one.
    pub sample: Range<usize>,
    /// An alias follows.
    pub aliased: bool,
    /// So many names of columns follow the alias.
    pub listed: usize,
}

/// What stands in front of a table's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::planner) enum Front {
    Nothing,
    /// `ONLY`: without the rows of children.
    Only,
    /// `TABLE`: all of it.
    Table,
}

/// Where a table's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::planner) enum Origin {
    /// Spread over the keyspace's shards.
    Sharded(KeyspaceId),
    /// On each of them.
    Reference(KeyspaceId),
    /// On one shard.
    Single(ShardId),
    /// A system table, or the session's own.
    Elsewhere,
}

impl Origin {
    pub fn of(place: &Place) -> Origin {
        match place {
            Place::Sharded { table, .. } => Origin::Sharded(table.keyspace),
            Place::Reference { table, .. } => Origin::Reference(table.keyspace),
            Place::Single { shard, .. } => Origin::Single(*shard),
            Place::System | Place::Temporary | Place::Unknown => Origin::Elsewhere,
        }
    }
}

impl Planner<'_> {
    /// Takes note of a table's name in a FROM list. False if its tokens are not found.
    pub(in crate::planner) fn note_site(
        &mut self,
        instance: usize,
        origin: Origin,
        name: &ObjectName,
        alias: Option<&TableAlias>,
    ) {
        let found =
            self.name_tokens(name).and_then(|tokens| Some((tokens.clone(), self.alias_end(tokens.end, alias)?)));
        let (name, whole) = match found {
            Some((name, end)) => (name.clone(), name.start..end),
            None => (0..0, 0..0),
        };
        let before = |word: &str| {
            let before = name.start.checked_sub(1).and_then(|at| self.tokens.get(at));
            before.is_some_and(|token| token.is(self.text, word))
        };
        let front = match () {
            () if before("only") => Front::Only,
            () if before("table") => Front::Table,
            () => Front::Nothing,
        };
        let sample = self.sample_tokens(whole.end).unwrap_or(0..0);
        let (aliased, listed) = (alias.is_some(), alias.map_or(0, |alias| alias.columns.len()));
        self.sites.push(Site { instance, origin, name, front, whole, sample, aliased, listed });
    }

    fn name_tokens(&self, name: &ObjectName) -> Option<Range<usize>> {
        let byte = byte_of(name.0.first()?.as_ident()?.span)?;
        let start = self.tokens.binary_search_by_key(&u32::try_from(byte).ok()?, |token| token.start).ok()?;
        for (at, part) in name.0.iter().enumerate() {
            let token = self.tokens.get(start + 2 * at)?;
            let same = match token.kind {
                TokenKind::Word => token.text(self.text) == part.as_ident()?.value,
                TokenKind::QuotedName => part.as_ident()?.quote_style.is_some(),
                _ => false,
            };
            if !same || (at > 0 && self.tokens.get(start + 2 * at - 1)?.kind != TokenKind::Dot) {
                return None;
            }
        }
        Some(start..start + 2 * name.0.len() - 1)
    }

    /// `TABLESAMPLE method (...) [REPEATABLE (...)]`.
    fn sample_tokens(&self, start: usize) -> Option<Range<usize>> {
        if !self.tokens.get(start)?.is(self.text, "tablesample") {
            return None;
        }
        let mut at = start + 1;
        while self.tokens.get(at)?.kind != TokenKind::LeftParen {
            at += 1;
        }
        at = self.places().closing(at)?;
        if self.tokens.get(at).is_some_and(|token| token.is(self.text, "repeatable")) {
            at = self.places().closing(at + 1)?;
        }
        Some(start..at)
    }

    /// One past the alias that begins at a token, if there is one.
    fn alias_end(&self, start: usize, alias: Option<&TableAlias>) -> Option<usize> {
        let Some(alias) = alias else { return Some(start) };
        let mut at = start;
        if self.tokens.get(at)?.is(self.text, "as") {
            at += 1;
        }
        if self.tokens.get(at)?.start != u32::try_from(byte_of(alias.name.span)?).ok()? {
            return None;
        }
        at += 1;
        if alias.columns.is_empty() {
            return Some(at);
        }
        self.places().closing(at)
    }
}
