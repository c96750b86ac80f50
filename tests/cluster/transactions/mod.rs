//! Transactions over several shards: what one PostgreSQL would say and keep, shards and proxy say and keep together.
//!
//! - `stage`: two clients, one through Goldseam and one of the plain server, that say the same and must hear the same;
//! - `blocks`: commit, rollback, savepoints, settings, cursors, isolation, statement by statement;
//! - `refusals`: what is not possible over two shards;
//! - `failures`: servers that refuse, die, or come back in the middle of a commit;
//! - `scatter`: statements over both shards at once;
//! - `random`: made-up transactions of many statements, and money that must not change.

mod blocks;
mod failures;
mod random;
mod refusals;
mod scatter;
pub mod stage;
