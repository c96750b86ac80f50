//! # The life of a query
//!
//! A client has connected, and sends
//!
//! ```sql
//! SELECT name FROM customers WHERE id = 42;
//! ```
//!
//! **1. Bytes.** The [`frontend`](crate::frontend) has long done its part: it accepted the socket, answered SSLRequest, read the startup
//! message, and found out by SCRAM who the client is. What remains is a [`Session`](crate::session::Session), one task per client. It
//! reads whatever has come and looks for a whole frame: one byte of tag, four of length. The length is compared with the limit before a
//! single byte is set aside for it ([`protocol`](crate::protocol)). The frame is a Query, so it holds a text; a simple query may hold
//! several statements, which [`split`](crate::sql::split()) finds by PostgreSQL's own lexical rules.
//!
//! **2. The shape of the text.** [`normalize`](crate::sql::normalize()) walks over the tokens once. Comments and white space are dropped,
//! literals are lifted out and remembered by their place, and the rest is hashed to 128 bits with a seed that only this process knows.
//! `WHERE id = 42` and `WHERE id = 43` come to the same number. That number, together with everything else a plan depends on (the vschema,
//! the catalog, the search path, a forced shard: [`session::plan_cache`](crate::session::plan_cache)), finds the plan of the last time.
//!
//! **3. Or a plan is made.** The first time, [`planner::plan`](crate::planner::plan()) has the statement parsed and asks: which tables does
//! each query block read, how is each placed ([`vschema`](crate::vschema)), and which values fix its key? The answer is a
//! [`Plan`](crate::plan::Plan): a [`Route`](crate::plan::Route) or a refusal, and the [`Effects`](crate::plan::Effects) the statement will
//! have on the session. A route is a template. It does not say *shard s2*; it says *the vindex `customer_hash` of the first literal*.
//! The planner is pure: no socket, no clock, no locks, so its tests are a file of statements and plans.
//!
//! **4. A shard.** The route is filled in with this execution's values: the literals just lifted, or the parameters of a Bind, text or
//! binary. [`types::key`](crate::types::key) reads a value exactly as PostgreSQL would or says that it cannot. The
//! [`Vindex`](crate::vindex::Vindex) gives the shard: for a hash a few nanoseconds, for a directory perhaps a look into its table. If all
//! tables of the statement lead to the same shard, it goes there as it is; otherwise see [below](#more-than-one-shard).
//!
//! **5. A server connection.** If the session is inside a transaction it has one already, and the shard must be the same. Otherwise it
//! borrows one from the [`pool`](crate::pool), usually without waiting and without a system call. Another client used it a moment ago, so
//! before the first statement it gets this client's settings (time zone, search path, role) if they differ, and the prepared
//! statement if it lacks it; all in the same write as the statement itself.
//!
//! **6. There and back.** The client's own bytes go to the server; only a prepared statement's name is exchanged, for names belong to
//! clients and connections to everybody. What comes back runs through [`session::relay`](crate::session::relay): it reads the five bytes
//! before each message, lets rows pass unread, removes the answers to what Goldseam added, and waits for ReadyForQuery. An error is passed
//! on as it came, with the shard's name added to the detail.
//!
//! **7. Afterwards.** ReadyForQuery says that no transaction is open. If nothing of this session stays behind on the connection (a temporary
//! table, a held cursor, an advisory lock: the reasons of [`Pin`](crate::plan::Pin)), it goes back to the pool. If the statement changed
//! tables, the [`topology`](crate::topology) reads the catalogs again, and with the new catalog old plans are no longer found.
//!
//! The second query of the same shape takes steps 1, 2, 4, 5 and 6. That is the path that has to be thin.
//!
//! # More than one shard
//!
//! Where it is proven that each shard can answer for its own rows, all are sent the statement (or what [`Gather`](crate::plan::Gather) makes of
//! it) at once, and [`merge`](crate::merge) makes one answer of theirs. Everything else takes steps of its own, which the plan's
//! [`Steps`](crate::plan::Steps) name: a query's inputs are fetched and a server, the workbench, runs the statement itself over them; rows of a
//! write are found first and then go where their keys lead; a reference table is written on every shard; a definition is made on each. What
//! must be one value for all of them is put into the text [first](super::once). The rows of all that come and go in rounds of questions to
//! several servers, which `session/work.rs` describes.
//!
//! # The extended protocol
//!
//! Parse, Bind, Execute and Sync take the same way with two differences. A Parse is planned when it comes but may have no shard yet, since
//! its key may be a parameter: it is answered by the backend that the Bind will choose, or by any backend if a Describe comes
//! first. And a Sync is the client's alone: Goldseam never adds one, because a Sync in the middle of a pipeline would commit the half of it.
//!
//! # Transactions
//!
//! BEGIN goes nowhere at first; Goldseam answers it. The first statement that has a shard takes the BEGIN along. What happens when
//! the next one leads to another shard is told in [`life_of_a_transaction`](super::life_of_a_transaction).
