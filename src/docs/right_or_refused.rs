//! # Right or refused
//!
//! A proxy that routes by a shard key has one bad habit within reach: to look for `id = 42` anywhere in the statement and send it there.
//! It is right nearly always, and when it is wrong the answer just lacks rows, and nobody is told. So the question is turned around.
//! Not *where could this go?* but *is it proven that no other shard's rows can change this answer?*
//!
//! # What proves it
//!
//! Every query block is looked at by itself: the statement, each sub-query, each common table expression, each arm of a UNION. In a
//! block every sharded table needs a value for each column of its key, and a comparison gives one if a row that does not satisfy it
//! cannot reach the block's result:
//!
//! - a conjunct of WHERE: `id = 42`, `id IN (42, 43)`, `id = ANY($1)`, `id = 42 OR id = 43` (the same column throughout);
//! - a conjunct of the ON of an inner join, USING, or NATURAL JOIN;
//! - of an outer join, only towards the side that is filled with NULLs: in `a LEFT JOIN b ON a.id = b.id` a key of `a` becomes one of `b`,
//!   and never the other way round, because every row of `a` is kept whatever ON says;
//! - an equality with a column whose key is known, in this block or in the one around it.
//!
//! And it does not count when it stands in a target list, in HAVING, under OR with a condition on something else, under NOT, or in another
//! block; when the column is part of an expression (`id + 1 = 43`); when the other side is volatile (`id = random()`), for then each row
//! has a value of its own.
//!
//! # What is then still missing is the value
//!
//! A plan is made without values; [`Route::resolve`](crate::plan::Route::resolve) puts them in, and several outcomes are possible for each
//! ([`Match`](crate::types::Match)). It is a key: the vindex names a shard. It equals no row that can exist (NULL, `42.5` on an integer
//! column), or PostgreSQL itself will reject it (`'abc'`): any shard gives PostgreSQL's own answer. Or it is unclear how PostgreSQL would read
//! it, since that depends on a setting, on the clock or on the server's version: refused. If all tables' keys lead to one shard, that is where
//! the statement goes. If they lead to several, it is refused.
//!
//! # Two keys must be equal exactly when PostgreSQL says so
//!
//! `42`, `'42'`, `42::smallint` and eight binary bytes are one key, or a row written through one driver is not found through another. Two
//! strings that a column's collation calls equal would need one hash: so only deterministic collations can be keys. A `char(n)` loses its
//! trailing spaces, a numeric its trailing zeros, minus zero its sign ([`types::key`](crate::types::key)).
//!
//! # What a refusal owes
//!
//! An error of class `0A000` that names the construct ("sub-query in the target list reads table orders without its shard key customer_id"),
//! a detail with the reason, and a hint with a way out. And, since refusals are what later versions turn into answers, each one is a line in
//! a file of cases beside the [`planner`](crate::planner), and moves from there to the file of plans.
