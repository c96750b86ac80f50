//! COPY over several shards.
//!
//! The statement's options are not kept: texts of one plan differ in their literals, so whoever runs one reads its own.

use std::sync::Arc;

use crate::catalog::Relation;
use crate::plan::once::{Maker, Sequence};
use crate::types::{KeyType, KeyspaceId, Oid, VindexId};

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
    /// Columns that are left to defaults, for which each row gets a value from here: what the shards would make need not fit together.
    pub extras: Vec<Extra>,
}

/// A column that the data has not.
#[derive(Debug, Clone)]
pub struct Extra {
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_oid: Oid,
    /// Its type as SQL.
    pub type_name: String,
    /// Where its values come from.
    pub source: ExtraSource,
}

/// Where the values of a column come from that the data has not.
#[derive(Debug, Clone)]
pub enum ExtraSource {
    /// Each row gets the next number.
    Next(Arc<Sequence>),
    /// Each row gets a new key.
    Made(Maker),
    /// All rows get the value of this expression.
    Once(String),
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
    /// Its place among the columns that are copied, or among the extra ones.
    pub at: KeyPlace,
    /// Its type.
    pub key_type: KeyType,
    /// Blanks at the end of a value may be cut off (`varchar(n)`).
    pub cuts: bool,
}

/// Where a row has a part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    /// In the data.
    Field(u16),
    /// Among the values that it gets here.
    Extra(u16),
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
