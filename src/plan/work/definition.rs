//! A change of the catalog (DDL): every shard of a keyspace has the same objects.

/// What is done where.
#[derive(Debug, Clone)]
pub struct Definition {}
