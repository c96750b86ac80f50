//! The wire protocol's messages as bytes: framing, borrowed views of what arrives, encoders of what is sent.
//!
//! A proxy forwards far more than it reads. So a message is first of all a *frame*: a tag, a length, a body, and the session
//! passes frames on as the bytes they came in. Only where it has to know something (a statement's text, a portal's
//! name, a bound value) it asks for a *view*, which borrows from the frame, copies nothing, and has checked every length
//! before it exists: a view that was made cannot fail, and a malformed message is PostgreSQL's own `08P01`.
//!
//! - [`frame`](mod@frame): where one message ends and the next begins; the length is checked before anything is allocated.
//! - [`startup`]: the untagged first message of a connection.
//! - [`frontend`]: views of what clients send.
//! - [`answer`]: views of what servers send.
//! - [`encode`]: what Goldseam says to clients.
//! - [`request`]: what Goldseam says to servers.
//!
//! It must not know of sockets, shards, sessions or time; it neither waits nor allocates, but for the buffers that encoders
//! append to. The rules are those of PostgreSQL's documentation, chapter "Frontend/Backend Protocol", section "Message Formats".

pub mod answer;
pub mod encode;
pub mod frame;
pub mod frontend;
pub mod request;
pub mod startup;

mod reader;

pub use answer::{ErrorFields, with_shard};
pub use frame::{Frame, frame, header};
pub use frontend::{BindView, ExecuteView, ParseView, Subject, SubjectKind};
pub use reader::utf8;
pub use startup::{Opening, opening};

/// PostgreSQL's own bound of a message's length field (`PQ_LARGE_MESSAGE_LIMIT`, `src/include/libpq/libpq.h`).
pub const MAX_FRAME: usize = 0x3fff_ffff;
/// The bound before authentication: PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`, enough also for every SASL message.
pub const MAX_FRAME_UNAUTHENTICATED: usize = 10_000;
