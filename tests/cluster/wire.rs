//! The wire protocol, message by message: no driver stands between, so the order of messages, what is skipped after an error and
//! what a hostile stranger sends are seen as they are.

mod cancel;
mod differential;
mod input;
pub mod raw;
mod startup;
