//! Goldseam over HTTP: metrics, health, and the console's tables as JSON.
//!
//! | path | |
//! |---|---|
//! | `/metrics` | Prometheus' text format ([`metrics`]) |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 if clients can be served, else 503 with the reasons ([`health`]) |
//! | `/api/<table>` | what `SHOW <table>` answers ([`admin`](crate::admin)), an array of objects |
//!
//! Everything is read-only and nothing secret is shown, but there is no login either: who must not see statements' texts and addresses must
//! not reach the port. HTTP/1.1, GET and HEAD. What a client may cost is bounded: connections, the size of a request's head, the time to send
//! one, and the time to take the answer; a body is not read.

mod health;
mod metrics;
mod serve;

pub use metrics::NAMES;
pub use serve::serve;
