//! Where clients come in: listener, first messages, TLS, login.
//!
//! 1. [`listener`] accepts, bounds the number of those who have not logged in, and drains at the end.
//! 2. [`greeting`] answers SSLRequest, GSSENCRequest and CancelRequest, and reads the startup message.
//! 3. [`auth`] finds out whether the client is who it says.
//! 4. A [`Session`](crate::session::Session), or for the virtual database `goldseam` an [`admin`](crate::admin) console, takes over.
//!
//! Everything here happens before anyone is trusted: each message is at most 10,000 bytes, and all of it together has to be done
//! within `limits.login_timeout`.

pub mod auth;
pub mod greeting;
pub mod listener;
pub mod tls;
