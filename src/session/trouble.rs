//! Why a statement, or the whole session, does not go on.

use crate::error::PgError;

/// Why a statement did not run to its end.
pub(super) enum Trouble {
    /// The client is told, and the transaction fails.
    Refused(Box<PgError>),
    /// The same with a server's own error message, as it came.
    Failed(bytes::Bytes),
    /// An error was reported already: the statement is dropped.
    Skipped,
    /// The session is over.
    Over(Over),
}

impl From<PgError> for Trouble {
    fn from(error: PgError) -> Self {
        Trouble::Refused(Box::new(error))
    }
}

impl From<Over> for Trouble {
    fn from(over: Over) -> Self {
        Trouble::Over(over)
    }
}

/// Why a session ends.
pub(super) enum Over {
    /// The client said Terminate, or hung up.
    Gone,
    /// The client is told why.
    Fatal(Box<PgError>),
}

impl From<PgError> for Over {
    fn from(error: PgError) -> Self {
        Over::Fatal(Box::new(error))
    }
}
