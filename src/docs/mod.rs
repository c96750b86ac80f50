//! Essays: what no single module can tell. They are compiled, so a link that breaks fails the documentation build.
//!
//! - [`life_of_a_query`]: from the socket to the shard and back, with a link at every step.
//! - [`life_of_a_transaction`]: how several shards' transactions are one, and what happens when one of them fails.
//! - [`once`]: the time, numbers, keys and copies, which one PostgreSQL has once.
//! - [`right_or_refused`]: why a comparison counts as a key or does not, and what is done with the rest.
//! - [`glossary`]: the words, one meaning each.

pub mod glossary;
pub mod life_of_a_query;
pub mod life_of_a_transaction;
pub mod once;
pub mod right_or_refused;
