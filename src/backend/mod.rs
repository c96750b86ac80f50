//! One connection to one PostgreSQL server: made, logged in, and kept honest about its own state.
//!
//! A [`Backend`] is raw frames with a memory. The session that holds it forwards bytes in both directions and interprets
//! them itself; what a backend remembers is only what outlives a session: which prepared statements the server has
//! ([`Prepared`]), which settings our SETs left there ([`Settings`]), what the server last reported ([`Parameters`]), the
//! state of its transaction, and how many answers are still due. With that the pool can tell a clean connection from one
//! that must be closed.
//!
//! - [`Connector`]: where a server is and how it is reached; TLS up to `verify-full`.
//! - [`Login`]: as whom.
//! - [`Backend`]: reading and writing with few system calls ([`Backend::poll_fill`], [`Backend::send`]).
//! - [`Backend::query`]: statements of Goldseam's own.
//!
//! It must not know of clients, plans, vschemas or pools.

mod connect;
mod exchange;
mod io;
mod login;
mod parameters;
mod prepared;
mod seen;
mod settings;
mod stream;
mod tls;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use connect::{ConnectOptions, Connector, cancel};
pub use exchange::Rows;
pub use io::Backend;
pub use login::Login;
pub use parameters::Parameters;
pub use prepared::Prepared;
pub use seen::Seen;
pub use settings::{Settings, Value};
pub use stream::Stream;
