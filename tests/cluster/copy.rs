//! COPY over three shards, compared message by message, and by all rows afterwards, with a COPY on one plain PostgreSQL.

mod errors;
mod random;
mod rows_in;
mod rows_out;
mod stage;
mod trouble;
