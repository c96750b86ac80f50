//! Goldseam between real clients and real servers: one folder, one set of servers ([`fixture`]), one file per subject.

mod analytics;
mod bad_input;
mod clients;
mod console;
mod copy;
mod dashboard;
mod ddl;
mod differential;
mod fixture;
mod generator;
mod lookup;
mod once;
mod operations;
mod own;
mod pool;
mod programs;
mod proof;
mod raw;
mod sample;
mod scatter;
mod session;
mod settings;
mod statements;
mod transactions;
mod wire;
mod workbench;
