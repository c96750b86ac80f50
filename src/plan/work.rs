//! Statements that a session answers in steps of its own, because neither one shard nor a merge of several answers gives what PostgreSQL
//! would: what to fetch, what to run then, and where.
//!
//! Like all of a plan this is a template: texts are made of token numbers, keys of literals and parameters.

pub mod bench;
pub mod copies;
pub mod copy;
pub mod definition;
pub mod write;

pub use bench::Bench;
pub use copies::Copies;
pub use copy::Copy;
pub use definition::Definition;
pub use write::Write;

/// What a session does in steps.
#[derive(Debug, Clone)]
pub struct Work {
    /// Whatever the values, no single shard has all that is needed.
    pub always: bool,
    /// The steps.
    pub steps: Steps,
}

/// The ways to an answer in steps.
#[derive(Debug, Clone)]
pub enum Steps {
    /// A query over fetched inputs.
    Bench(Bench),
    /// A write whose rows come from other shards than they go to.
    Write(Write),
    /// A write to reference tables: the same on every shard.
    Copies(Copies),
    /// COPY.
    Copy(Copy),
    /// A change of the catalog, on every shard.
    Definition(Definition),
    /// EXPLAIN of a statement for which several shards have to be asked.
    Explain,
}
