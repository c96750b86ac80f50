//! # Glossary
//!
//! The words of the field, each with one meaning throughout the code.
//!
//! | word | meaning | where |
//! |---|---|---|
//! | backend | one connection to one PostgreSQL server | [`backend`](crate::backend) |
//! | catalog | what the shards say of their tables, columns, types and functions, merged into one picture | [`catalog`](crate::catalog) |
//! | client | who connects to Goldseam | [`session::client`](crate::session::client) |
//! | co-located | tables whose rows with equal shard keys live on one shard | [`vschema`](crate::vschema) |
//! | console | the virtual database `goldseam`, for operators | [`admin`](crate::admin) |
//! | directory | a vindex whose rule is a table, key by key | [`vindex::directory`](crate::vindex::directory) |
//! | effects | what a statement means for the session besides its answer | [`Effects`](crate::plan::Effects) |
//! | frontend | the client's side, as PostgreSQL uses the word | [`frontend`](crate::frontend) |
//! | home | the one shard for statements that no table ties to a shard but that must always meet at one place: NOTIFY, advisory locks | [`Fallback::Home`](crate::plan::Fallback::Home) |
//! | keyspace | a named, ordered set of shards over which tables are spread | [`Keyspace`](crate::vschema::Keyspace) |
//! | lease | a backend on loan from the pool | [`pool::Lease`](crate::pool::Lease) |
//! | login | as whom a backend is logged in: pools are per shard and login | [`backend::Login`](crate::backend::Login) |
//! | pin | the reason why a session keeps its backend beyond its transaction | [`Pin`](crate::plan::Pin) |
//! | plan, route | where a statement goes, as a template that is filled in with values; it names shards, never hosts | [`plan`](crate::plan) |
//! | reference table | a small table with a whole copy on every shard of its keyspace | [`TablePlacement::Reference`](crate::vschema::TablePlacement::Reference) |
//! | refusal | the error of a statement that is not proven to belong to one shard | [`right_or_refused`](crate::docs::right_or_refused) |
//! | session | one client's settings, statements and transaction, on whatever backends | [`session`](crate::session) |
//! | settings | run-time parameters (`SET`): the client's own, which each backend it borrows is made to follow | [`backend::Settings`](crate::backend::Settings) |
//! | shard | one PostgreSQL primary, with its replicas, that holds a part of the rows | [`ShardId`](crate::types::ShardId) |
//! | shard key | the column or columns that decide where a row lives | [`Key`](crate::types::Key) |
//! | unsharded table | a table whose rows are all on one shard | [`TablePlacement::Unsharded`](crate::vschema::TablePlacement::Unsharded) |
//! | vindex | a rule from a shard key to a shard | [`Vindex`](crate::vindex::Vindex) |
//! | vschema | the keyspaces, vindexes and tables that operators write down | [`Vschema`](crate::vschema::Vschema) |
