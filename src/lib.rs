//! Goldseam joins many PostgreSQL servers into one database, as kintsugi joins shards with gold.
//!
//! # Code map
//! A module imports only modules with a strictly lower number. Below 5 there is no runtime, no clock and no I/O: what Goldseam
//! decides, it decides there, and it is tested as data. `tests/layering.rs` reads this table and holds the house to it.
//!
//! | layer | modules | |
//! |---|---|---|
//! | 0 | [`error`] [`sqlstate`] [`types`] | what a client can be told, and the values that decide where a row lives |
//! | 1 | [`config`] [`protocol`] [`sql`] [`vindex`] | a file, a frame, a statement, a rule: each read without knowing the others |
//! | 2 | [`catalog`] [`copy`] [`vschema`] | what the shards say they have, how rows of COPY come, and how the operator spreads them |
//! | 3 | [`plan`] | where a statement goes, as a template that serves every key |
//! | 4 | [`planner`] [`merge`] | from text to plan, or to a refusal with a reason; from several answers to one |
//! | 5 | [`backend`] [`local`] | one connection to one server; servers on this machine for demo and tests |
//! | 6 | [`topology`] | all shards, and their catalogs as one snapshot |
//! | 7 | [`meter`] [`pool`] | what statements cost; server connections, shared and bounded |
//! | 8 | [`session`] | one client's settings, statements, transaction block and dispatch |
//! | 9 | [`admin`] | the operator's console |
//! | 10 | [`dashboard`] [`frontend`] | HTTP: metrics, health, API; listening, startup, authentication, the client's socket |
//! | 11 | `server` | builds everything from a configuration, runs it, drains it |
//! | 12 | [`cli`] [`docs`] `main` | flags, subcommands, exit codes |
#![warn(missing_docs)]
// The essays link into rooms that have no door to the outside.
#![allow(rustdoc::private_intra_doc_links)]

pub mod admin;
pub mod backend;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod copy;
pub mod dashboard;
pub mod docs;
pub mod error;
pub mod frontend;
pub mod local;
pub mod merge;
pub mod meter;
pub mod plan;
pub mod planner;
pub mod pool;
pub mod protocol;
pub mod server;
pub mod session;
pub mod sql;
pub mod sqlstate;
pub mod topology;
pub mod types;
pub mod vindex;
pub mod vschema;
