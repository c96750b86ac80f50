//! A write whose rows do not stay on the shard where they are found, or that asks of other shards' rows what to do: INSERT of any query,
//! UPDATE and DELETE by rows of other shards, a new shard key, MERGE, writes inside WITH.
//!
//! First the parts of the statement that stand for themselves are run, one after the other, each as a statement of its own (a sub-query that
//! names nothing around it, a query in WITH, a table beside the one that is written to), and their rows are kept. What is left of the statement
//! reads them where it named the part: then each shard can do it for its own rows, or each row finds its shard.

use std::sync::Arc;

use crate::plan::gather::Text;
use crate::plan::once::Sequence;
use crate::types::{KeyType, KeyspaceId, ShardId, VindexId};

/// What is run first, and what is done then.
#[derive(Debug, Clone)]
pub struct Write {
    /// In this order. The text of one may use the rows of those before it.
    pub sources: Vec<Source>,
    /// What is done with their rows.
    pub last: Last,
    /// The shards that have all tables of the statement: one of them can say what its parameters and columns are. Empty where its tables are
    /// apart; nothing where it names no table that has a place.
    pub describers: Option<Vec<ShardId>>,
    /// For people: what happens.
    pub reasons: Vec<String>,
}

/// A part of the statement that stands for itself.
#[derive(Debug, Clone)]
pub struct Source {
    /// For people: the table, or what of the statement it is.
    pub label: String,
    /// The part, as a statement.
    pub text: Text,
    /// What its first columns are called, where the statement gives them names.
    pub names: Vec<String>,
}

/// What is done with the rows.
#[derive(Debug, Clone)]
pub enum Last {
    /// The rest is a statement that is planned anew.
    Anew(Text),
    /// The rest is planned anew, but it is certain that each shard may do it for its own rows of this keyspace.
    Each(Text, KeyspaceId),
    /// The rows of a source are inserted, each where its key leads.
    Rows(Box<Rows>),
    /// Rows are updated, and move where their new key leads.
    Move(Box<Move>),
    /// MERGE: each of the source's rows goes where its key leads.
    Merge(Box<Merge>),
}

/// The table that rows go to.
#[derive(Debug, Clone)]
pub struct Target {
    /// As the vschema calls it, for messages.
    pub table: String,
    /// Schema and name, quoted.
    pub sql: String,
    /// Its keyspace.
    pub keyspace: KeyspaceId,
    /// The vindex that places its rows.
    pub vindex: VindexId,
    /// The key's columns, in the vindex's order.
    pub keys: Vec<Key>,
}

/// A column of the key.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its type.
    pub key_type: KeyType,
    /// Its type as SQL, without a length.
    pub type_name: String,
    /// Which of the rows' columns it is.
    pub column: usize,
}

/// Rows for INSERT.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Whose rows: the source of this number.
    pub source: u16,
    /// Where to.
    pub target: Target,
    /// `INSERT INTO t (...)`, up to the rows.
    pub head: Text,
    /// What comes behind the rows: ON CONFLICT, RETURNING.
    pub tail: Text,
    /// Rows come back.
    pub returning: bool,
    /// Each row gives exactly one: the n-th that comes back is of the n-th.
    pub ordered: bool,
    /// Sequences whose next numbers are columns behind the source's.
    pub numbers: Vec<Arc<Sequence>>,
    /// How many columns the source has, where the columns behind them depend on it.
    pub width: Option<usize>,
}

/// In a [`Piece::Default`](crate::plan::gather::Piece::Default), in place of a column's name: when the transaction began.
pub const MOMENT: &str = "\0now";

/// Rows that get a new key.
#[derive(Debug, Clone)]
pub struct Move {
    /// Where they are, and go to. A key's column is counted among all of the table's.
    pub target: Target,
    /// The table's columns.
    pub columns: Vec<Column>,
    /// The columns that are set, as places in `columns`.
    pub set: Vec<usize>,
    /// `SELECT tableoid, ctid, (all columns), (new values) FROM ... WHERE ... FOR UPDATE OF t`.
    pub find: Text,
    /// A DELETE of the same rows, by which the shards are chosen and the right to write is judged; it is not run.
    pub judge: Text,
    /// `UPDATE t AS x`.
    pub update: Text,
    /// What the table is called in RETURNING, quoted.
    pub alias: String,
    /// RETURNING with its list, in which a bare `*` is the table's own.
    pub returning: Option<Text>,
}

/// A column of a table whose rows move.
#[derive(Debug, Clone)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as SQL, without a length.
    pub type_name: String,
    /// GENERATED ALWAYS AS (...): it is not given.
    pub generated: bool,
}

/// Which shards get which of the rows that are merged.
#[derive(Debug, Clone)]
pub enum To {
    /// Each row goes where its key leads; a key's name is that of the source's column. Without keys every shard of the keyspace gets all.
    Keys(Target),
    /// All go to every shard of the keyspace, which all do the same.
    Copies(KeyspaceId),
    /// All go to this one.
    Shard(ShardId),
}

/// MERGE, shard by shard.
#[derive(Debug, Clone)]
pub struct Merge {
    /// As the vschema calls the table, for messages.
    pub table: String,
    /// Where to.
    pub to: To,
    /// The rows that are merged.
    pub source: u16,
    /// The statement.
    pub text: Text,
}
