//! A change of the catalog (DDL), or of what is kept of a table (VACUUM, LOCK): every shard of a keyspace has the same objects, and so every
//! shard is sent the same.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::plan::gather::{Piece, Text};
use crate::types::ShardId;
use crate::vschema::alter::{Change, TableName};

/// What is done where.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// Which shards are sent what. The first shard of the first part goes ahead of all others, and its answer is the client's.
    pub parts: Vec<Part>,
    /// How.
    pub manner: Manner,
    /// Objects that the catalog in Goldseam's memory does not have (indexes): only the shards that have them are asked.
    pub holders: Option<Holders>,
    /// What becomes of the vschema with it.
    pub changes: Vec<Change>,
    /// It is only done if these tables, as SQL, have no rows on any shard; otherwise this is the error.
    pub empty: Option<(String, Box<crate::error::PgError>)>,
    /// A name in it is of no table that is known, and may be a temporary table of the session's: the name's tokens.
    pub unknown: Option<Range<u32>>,
    /// The rows of CREATE TABLE AS come by an INSERT of their own.
    pub fill: Option<Fill>,
    /// Shards other than the first take a function's body as it is: it may be about tables that only the first has.
    pub unchecked: bool,
}

/// What some shards are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Them.
    pub shards: Vec<ShardId>,
    /// What; none: the client's own text.
    pub text: Option<Text>,
}

/// A query whose rows a new table gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Fill {
    /// Its tokens.
    pub query: Range<u32>,
    /// The table.
    pub table: TableName,
}

/// How a statement is run on several shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manner {
    /// In one transaction over all of them.
    #[default]
    Together,
    /// Shard by shard, each by itself: PostgreSQL does not allow it in a transaction.
    OneByOne,
    /// By itself on each shard, on all at once: it changes nothing that could be half done.
    SideBySide,
    /// In the client's transaction; without one the first shard says what PostgreSQL says.
    Within,
}

/// Objects that only the shards know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Indexes.
    Index,
    /// Extended statistics.
    Statistics,
}

impl Held {
    /// Whether a shard has the object whose name, as SQL, is the parameter.
    pub fn question(self) -> &'static str {
        match self {
            Held::Index => "SELECT (pg_catalog.to_regclass($1) IS NOT NULL)::text",
            // As `get_statistics_object_oid`: without a schema, the first of the search path.
            Held::Statistics => {
                "SELECT (EXISTS (SELECT FROM pg_catalog.pg_statistic_ext s \
                 JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace, pg_catalog.parse_ident($1) p \
                 WHERE CASE WHEN pg_catalog.cardinality(p) > 1 THEN n.nspname = p[pg_catalog.cardinality(p) - 1] \
                 ELSE pg_catalog.pg_statistics_obj_is_visible(s.oid) END \
                 AND s.stxname = p[pg_catalog.cardinality(p)]))::text"
            }
        }
    }
}

/// A list of names whose shards have to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Holders {
    /// What they are the names of.
    pub kind: Held,
    /// The tokens of the whole list.
    pub list: Range<u32>,
    /// The tokens of each name.
    pub names: Vec<Range<u32>>,
    /// The number of the statement's tokens.
    pub tokens: u32,
}

/// What each shard is sent of a statement with a list of names: those that it has. `homes` are the shards of each name.
pub fn parts(list: &Range<u32>, names: &[Range<u32>], homes: &[Vec<ShardId>], tokens: u32) -> Vec<Part> {
    let mut groups: BTreeMap<Vec<usize>, Vec<ShardId>> = BTreeMap::new();
    let mut shards: Vec<ShardId> = homes.iter().flatten().copied().collect();
    shards.sort_unstable();
    shards.dedup();
    for shard in shards {
        let there = (0..names.len()).filter(|at| homes[*at].contains(&shard)).collect();
        groups.entry(there).or_default().push(shard);
    }
    let text = |there: &[usize]| {
        if there.len() == names.len() {
            return None;
        }
        let mut pieces = vec![Piece::Tokens(0..list.start)];
        for (nth, at) in there.iter().enumerate() {
            if nth > 0 {
                pieces.push(Piece::Words(",".into()));
            }
            pieces.push(Piece::Tokens(names[*at].clone()));
        }
        if list.end < tokens {
            pieces.push(Piece::Tokens(list.end..tokens));
        }
        Some(Text { pieces })
    };
    let mut parts: Vec<Part> = groups.into_iter().map(|(there, shards)| Part { text: text(&there), shards }).collect();
    parts.sort_by_key(|part| part.shards.first().copied());
    parts
}

impl Definition {
    /// All of its shards, the one that goes ahead first.
    pub fn shards(&self) -> Vec<ShardId> {
        self.parts.iter().flat_map(|part| part.shards.iter().copied()).collect()
    }
}
