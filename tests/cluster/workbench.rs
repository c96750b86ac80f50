//! Queries over fetched inputs, between real servers: what they answer, what they cost, and what is left behind when something breaks.

mod answers;
mod apart;
mod full;
mod large;
mod trouble;
pub mod world;
