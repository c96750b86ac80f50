//! The end of a transaction over several shards.

use super::ask::Question;
use super::local::Answer;
use super::{Session, Trouble};
use crate::error::PgError;

/// What all participants have to do at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Everywhere {
    /// RELEASE of this savepoint.
    Release(String),
    /// ROLLBACK TO it.
    RollbackTo(String),
    /// CLOSE ALL.
    CloseAll,
}

impl Session {
    /// A block of the session's own begins, for one statement that several shards have to do or none: participants that are enlisted get a
    /// BEGIN. The client sees nothing of it.
    pub(super) fn begin_implicit(&mut self) {
        self.transaction.begin("BEGIN".into(), &self.settings);
        self.implicit = true;
    }

    /// The block of [`Session::begin_implicit`] ends.
    ///
    /// # Errors
    /// It could not be committed, and is rolled back on all shards; or what became of it is not known.
    pub(super) async fn end_implicit(&mut self, commit: bool) -> Result<(), Trouble> {
        self.implicit = false;
        self.end_block(commit, false).await.map(drop)
    }

    /// The block ends on all participants.
    pub(super) async fn end_block(&mut self, commit: bool, chain: bool) -> Result<Answer, Trouble> {
        self.come_to_rest().await?;
        let _ = (commit, chain);
        Err(PgError::unsupported("the end of a transaction over several shards").into())
    }

    /// Something that all participants have to do.
    pub(super) async fn everywhere(&mut self, what: Everywhere) -> Result<Answer, Trouble> {
        self.come_to_rest().await?;
        let questions: Vec<Question> = Vec::new();
        let _ = (what, self.ask(questions, None).await);
        Err(PgError::unsupported("savepoints of a transaction over several shards").into())
    }
}
