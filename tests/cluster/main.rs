//! Goldseam between real clients and real servers: one folder, one set of servers ([`fixture`]), one file per subject.

mod clients;
mod differential;
mod fixture;
mod own;
mod pool;
mod raw;
mod generator;
mod sample;
mod settings;
mod wire;
