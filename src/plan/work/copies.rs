//! A write to a reference table: every shard of its keyspace has a copy, and all copies stay equal.
//!
//! The first shard of the keyspace decides: it runs the statement before the others, so that writers of the same rows meet there and go on in one
//! order everywhere, and its answer is the client's.

use crate::plan::gather::Text;
use crate::types::KeyspaceId;

/// What is done where.
#[derive(Debug, Clone)]
pub struct Copies {
    /// Whose shards have the copies.
    pub keyspace: KeyspaceId,
    /// For people: the table.
    pub table: String,
    /// How the other copies come to be equal.
    pub way: Way,
}

/// How the other copies come to be equal.
#[derive(Debug, Clone)]
pub enum Way {
    /// The statement does the same with equal rows: every shard is sent it as it is.
    Same,
    /// What it does may differ from one time to the next: the others get the rows that the first shard has made of it.
    Rows(Box<Rows>),
}

/// The rows that a statement changes, taken from one copy to the others.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Why the statement cannot be sent to all, for people.
    pub why: String,
    /// What the first shard is sent: the statement, which also puts out the hidden columns, last.
    pub text: Text,
    /// The client wants rows too.
    pub returning: bool,
    /// What is done with the rows.
    pub change: Change,
    /// The table, with its schema, as quoted SQL.
    pub target: String,
    /// The hidden columns.
    pub columns: Vec<RowColumn>,
}

/// A column of the rows.
#[derive(Debug, Clone)]
pub struct RowColumn {
    /// As quoted SQL.
    pub name: String,
    /// It travels as text, because its binary form has an OID in it.
    pub text: bool,
    /// It belongs to the primary key, by which a row is found.
    pub key: bool,
    /// It may be set by an UPDATE.
    pub settable: bool,
}

/// What is done with rows on the other copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are new.
    Insert,
    /// They are new, or changed.
    Upsert,
    /// They are changed.
    Update,
    /// They go.
    Delete,
}
