//! SQL as text: tokens, statements, literals, commands, and the syntax tree.
//!
//! Goldseam never prints SQL, it only reads it: a client's bytes go to a shard as they came. So everything here works on places in
//! the text. One lexer with PostgreSQL's own rules ([`lexer`]) feeds all the rest: [`mod@split`] cuts a simple query into statements,
//! [`mod@normalize`] makes the plan-cache key on the hot path, [`mod@classify`] tells the session what kind of command it sees, and
//! [`mod@parse`] hands the very same tokens to the grammar of `sqlparser`, so that there are never two opinions on where a string ends.
//!
//! Nothing here knows tables, keys or shards.

pub mod anonymous;
pub mod classify;
pub mod clauses;
pub mod command;
pub mod comments;
pub mod fetch;
pub mod lexer;
pub mod literal;
pub mod normalize;
pub mod parse;
pub mod split;
#[cfg(test)]
mod tests;
pub mod trace;

pub use anonymous::anonymous;
pub use classify::{Given, Setting, classify, set_configs};
pub use clauses::begins_clause;
pub use command::{Command, DiscardTarget, SetValue};
pub use lexer::{Limits, Token, TokenKind, lex};
pub use literal::{Literal, LiteralKind};
pub use normalize::{Hint, Normalized, normalize};
pub use split::split;
pub use trace::{TraceParent, traceparent};
