//! A write to a reference table: every shard of its keyspace has a copy, and all copies stay equal.

/// What is done where.
#[derive(Debug, Clone)]
pub struct Copies {}
