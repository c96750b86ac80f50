//! What goes wrong within the merge, before it is known whose row it was.

use crate::error::PgError;
use crate::sqlstate::SqlState;

/// A row that cannot be used, or a result that cannot be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fault {
    /// The shard broke the protocol; says what it sent.
    Garbage(&'static str),
    /// Already in a client's terms.
    Error(Box<PgError>),
}

impl From<PgError> for Fault {
    fn from(error: PgError) -> Self {
        Fault::Error(Box::new(error))
    }
}

impl Fault {
    /// The error for the client, now that the shard is known.
    pub fn of(self, shard: &str) -> PgError {
        match self {
            Fault::Garbage(what) => {
                PgError::new(SqlState::PROTOCOL_VIOLATION, format!("shard \"{shard}\" sent {what}"))
            }
            Fault::Error(error) => *error,
        }
    }

    /// The error where no shard has to do with it.
    pub fn own(self) -> PgError {
        match self {
            Fault::Garbage(what) => PgError::new(SqlState::INTERNAL_ERROR, format!("the merge came upon {what}")),
            Fault::Error(error) => *error,
        }
    }
}

/// A value whose bytes are not those of its type.
pub(super) const VALUE: Fault = Fault::Garbage("a value that is not of its type");

/// `22003`, in PostgreSQL's words for the type.
pub(super) fn out_of_range(message: &str) -> Fault {
    PgError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, message).into()
}

/// The fault for more rows, groups or values than may be held.
pub(super) fn too_much(what: &str, limit: usize) -> Fault {
    let bound = if limit >= 1 << 20 { format!("{} MB", limit >> 20) } else { format!("{limit} bytes") };
    PgError::new(
        SqlState::PROGRAM_LIMIT_EXCEEDED,
        format!("{what} of several shards take more than {bound} in the proxy"),
    )
    .with_detail("What cannot be merged as a stream is held in memory, up to this bound.")
    .with_hint(
        "Restrict the statement to fewer rows or to one shard, or include the shard key in DISTINCT or GROUP BY.",
    )
    .into()
}
