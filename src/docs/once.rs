//! What is one for the whole: the time, numbers, keys, and the copies of reference tables.
//!
//! One PostgreSQL has one clock, one counter in each sequence, and one copy of each row. Where a statement goes to several servers, each of them has its
//! own. Two devices keep that from showing.
//!
//! # Values are put in before the statement goes anywhere
//!
//! `now()` and its kin, the next numbers of sequences, and new keys become values in the statement's own text ([`plan::once`](crate::plan::once)); what
//! comes out is planned and run like any other statement, so that nothing behind it has to know of them. Columns that an INSERT leaves to such
//! a default are treated as if it named them.
//!
//! * **The time.** In a transaction it is its first participant's `now()`; outside of one, the moment when Goldseam sends the statement.
//! * **Sequences.** The sequence of a spread table exists on every shard. The one on the first of them counts, for all nodes of Goldseam, a block at a
//!   time ([`pool::Sequences`](crate::pool::Sequences)): numbers are left out by a crash as by a rollback, and none comes twice. `currval` and `lastval`
//!   are remembered by the session. After a `setval` another node may still give out what it has kept back, for a minute at most.
//! * **Keys that spread writes.** `goldseam.ulid()` (text), `goldseam.uuid_v7()` (uuid) and `goldseam.snowflake()` (bigint) are made by Goldseam itself in
//!   a row of VALUES, in a SELECT of one row, and as the default of a column: also of the shard key.
//!
//! Where a key has to be made for each row of a query, or as a column's default on the servers, the function has to be there:
//!
//! ```sql
//! CREATE SCHEMA IF NOT EXISTS goldseam;
//! CREATE OR REPLACE FUNCTION goldseam.uuid_v7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
//!   SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
//!          substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid $$;
//! CREATE OR REPLACE FUNCTION goldseam.ulid() RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
//!   SELECT string_agg(substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', 1 + substr(bits, 5 * n + 1, 5)::bit(5)::int, 1), '' ORDER BY n)
//!   FROM (SELECT '00' || (extract(epoch FROM clock_timestamp()) * 1000)::bigint::bit(48)::text
//!         || right(('x' || encode(uuid_send(gen_random_uuid()), 'hex'))::bit(128)::text, 80) AS bits) AS made,
//!        generate_series(0, 25) AS n $$;
//! ```
//!
//! # Copies are written alike
//!
//! A write to a reference table runs on the first shard of its keyspace, and then on all the others ([`planner::reference`](crate::planner)). If it does
//! the same with equal rows they are sent the same text; if it may not (`random()`, LIMIT, a join in UPDATE ... FROM), they get the rows that it made,
//! by their primary key. Each must have changed as many rows as the first, or nothing is kept (40001). Whoever changes a copy behind Goldseam's back is
//! found out by `SHOW DRIFT` on the console, and by `goldseam check`.
