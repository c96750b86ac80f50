//! Goldseam between real clients and real servers: one folder, one set of servers ([`fixture`]), one file per subject.

mod clients;
mod fixture;
mod operations;
mod own;
mod pool;
mod programs;
mod sample;
mod settings;
mod wire;
