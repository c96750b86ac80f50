//! # The life of a transaction
//!
//! ```sql
//! BEGIN;
//! UPDATE accounts SET balance = balance - 100 WHERE id = 42;
//! SAVEPOINT booked;
//! UPDATE accounts SET balance = balance + 100 WHERE id = 99;
//! COMMIT;
//! ```
//!
//! **1. BEGIN is answered, and sent nowhere.** It names no shard. The block is *virtual*
//! ([`session::transaction`](crate::session::transaction)), and one that ends like this has cost no server anything.
//!
//! **2. The first shard joins.** The first UPDATE leads to shard `s1`. A connection is borrowed, and BEGIN goes along with the statement in one
//! write. From now on `s1` is a *participant*: its server has a transaction of its own that is a part of the client's. A transaction
//! that stays here is entirely this server's, COMMIT included. (One that has only asked things that every shard would answer alike
//! may still leave as if it had never come.)
//!
//! **3. What is done to the block is written down.** SAVEPOINT goes to `s1`, and into the *prelude*, a numbered list of everything that has to
//! hold wherever the block goes: savepoints, SET, SET LOCAL, SET CONSTRAINTS. Each participant has a number: how far it has got.
//!
//! **4. The second shard joins.** The second UPDATE leads to `s3`. The answers of `s1` are waited for, then its connection is set aside, in the middle
//! of its transaction, and `s3` gets BEGIN, the prelude (so that it has the savepoint too) and the statement, again in one write. Back on `s1` later,
//! whatever is new in the prelude goes first. A statement over several shards at once works with all of them in this way.
//!
//! **5. Savepoints and errors reach everybody.** An error on one shard fails the client's block: the others know nothing of it, but every statement
//! is answered with `25P02`, as PostgreSQL would. ROLLBACK TO SAVEPOINT is run by all participants that have the savepoint; those that joined earlier and
//! have not got so far have done nothing since, and need not be told. Then the block is as well as before. A connection that is lost is another matter:
//! what was written there is gone, no savepoint brings it back, and the client is told so with its next statement, even if that is COMMIT.
//!
//! **6. COMMIT.** All participants are asked at once whether they have written anything. If one has, its COMMIT is everybody's. If several
//! have, they PREPARE, which is the moment for deferred constraints to object; when all have succeeded the transaction is committed, and
//! COMMIT PREPARED carries it out. If any fails, all that was prepared is rolled back. The table of everything that can go wrong in between, and what the
//! client then hears, stands above the code, in `src/session/commit.rs`; the names of prepared transactions in
//! [`session::in_doubt`](crate::session::in_doubt).
//!
//! # What is not promised
//!
//! *One moment.* Each shard has a snapshot of its own. A reader may see a transfer on one shard and not yet on the other, for the instant between two COMMIT
//! PREPAREDs; and REPEATABLE READ means repeatable on each shard. SERIALIZABLE would promise more than that, and is refused as soon as a second shard joins.
//! The time is one, though: `now()` is the beginning of the transaction on its first shard, and is put into what the others are sent
//! ([`once`](crate::docs::once)).
//!
//! *Deadlocks.* Two transactions that wait for each other on two different shards are not found out: each server sees one of them waiting.
//! `lock_timeout` ends it.
//!
//! *A crash between PREPARE and COMMIT PREPARED.* Nothing is lost and nothing is half: the prepared parts wait, with their locks, for
//! somebody to end them. Until the decision itself is written down durably that is the operator, whom Goldseam tells in its log.
