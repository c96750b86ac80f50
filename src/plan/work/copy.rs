//! COPY over several shards.
//!
//! The statement's options are not kept: texts of one plan differ in their literals, so whoever runs one reads its own.

use std::sync::Arc;

use crate::catalog::Relation;
use crate::types::{KeyType, KeyspaceId, VindexId};

/// What is copied where.
#[derive(Debug, Clone)]
pub enum Copy {
    /// Rows come in.
    In(CopyIn),
    /// A table's rows go out.
    Out(CopyOut),
    /// A query's rows go out. The query is answered like any other, and its rows are written as COPY does.
    Query,
}

/// `COPY t FROM STDIN`.
#[derive(Debug, Clone)]
pub struct CopyIn {
    /// The table, as PostgreSQL calls it in the context of an error.
    pub table: String,
    /// Its keyspace.
    pub keyspace: KeyspaceId,
    /// The table as the catalog has it.
    pub relation: Arc<Relation>,
    /// The columns that are copied, in their order.
    pub columns: Vec<String>,
    /// How its rows are spread; none: every shard gets all of them.
    pub spread: Option<CopySpread>,
    /// The number of the token before which the list of columns is put, where the statement has none.
    pub list_at: Option<u32>,
    /// Columns that are left to defaults, of which every copy has to get the same.
    pub defaults: Vec<String>,
}

/// Where rows go.
#[derive(Debug, Clone)]
pub struct CopySpread {
    /// The rule.
    pub vindex: VindexId,
    /// The shard key.
    pub keys: Vec<CopyKey>,
}

/// A column of the shard key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyKey {
    /// Its name.
    pub name: String,
    /// Its place among the columns that are copied.
    pub at: u16,
    /// Its type.
    pub key_type: KeyType,
    /// Blanks at the end of a value may be cut off (`varchar(n)`).
    pub cuts: bool,
}

/// `COPY t TO STDOUT`.
#[derive(Debug, Clone)]
pub struct CopyOut {
    /// The table's keyspace.
    pub keyspace: KeyspaceId,
    /// The columns that are copied, in their order.
    pub columns: Vec<String>,
    /// As in [`CopyIn`].
    pub list_at: Option<u32>,
}
