//! A write whose rows do not stay on the shard where they are found: INSERT of any query, UPDATE and DELETE by rows of other shards, a new shard key.

/// What is done where.
#[derive(Debug, Clone)]
pub struct Write {}
