//! Goldseam joins many PostgreSQL servers into one database, as kintsugi joins shards with gold.
#![warn(missing_docs)]
#![allow(missing_docs)] // lifted at the end of the first build

pub mod admin;
pub mod backend;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod error;
pub mod frontend;
pub mod server;
pub mod local;
pub mod plan;
pub mod planner;
pub mod pool;
pub mod protocol;
pub mod session;
pub mod sql;
pub mod sqlstate;
pub mod topology;
pub mod types;
pub mod vindex;
pub mod vschema;
