//! COPY: what its statement says, where in its data one row ends and the next begins, and which bytes of a row are its key.
//!
//! A proxy that spreads a COPY over shards must agree with PostgreSQL on two things only: where a row ends, and what the key column holds. All
//! else (how many columns a row has, whether a number is one, what an escape means in a column that is no key) a shard judges, because it gets
//! the row's bytes as they came. So nothing here decodes a row. Where PostgreSQL would stop with an error that any server gives by itself, the
//! bytes are called *foreign* and go to some shard, which gives it.
//!
//! * [`statement`] reads the statement and its options, old syntax and new;
//! * [`text`], [`csv`] and [`binary`] find the ends of rows, each with PostgreSQL's own rule (`src/backend/commands/copyfromparse.c`:
//!   `CopyReadLineText`, `NextCopyFrom`); [`rows`] is their common side;
//! * [`fields`] finds the key's bytes in a row (`CopyReadAttributesText`, `CopyReadAttributesCSV`);
//! * [`lines`] remembers which of the client's lines is which of a shard's, for the context of errors;
//! * [`encode`] writes rows of a query in COPY's formats (`src/backend/commands/copyto.c`).
//!
//! It knows no shards and no sockets, and takes its data in pieces of any size.

pub mod binary;
pub mod csv;
pub mod encode;
pub mod fields;
pub mod lines;
pub mod rows;
pub mod statement;
#[cfg(test)]
mod tests;
pub mod text;

pub use rows::{Fault, Found, Kind, Rows};
pub use statement::{Columns, Format, Options, Statement};
