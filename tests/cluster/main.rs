//! Goldseam between real clients and real servers: one folder, one set of servers ([`fixture`]), one file per subject.

mod clients;
mod fixture;
mod own;
mod pool;
mod raw;
mod sample;
mod settings;
mod wire;
