//! What a session must know of a statement: which command it is, and the parts it acts on itself.

use std::borrow::Cow;
use std::ops::Range;

/// One statement, as far as its first tokens tell. Ranges are byte places in the text given to [`classify`](super::classify()).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// Nothing but white space and comments.
    Empty,
    /// `BEGIN`, `START TRANSACTION`.
    Begin {
        /// `READ ONLY` is among the modes.
        read_only: bool,
    },
    /// `COMMIT`, `END`.
    Commit {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `ROLLBACK`, `ABORT`.
    Rollback {
        /// `AND CHAIN`.
        chain: bool,
    },
    /// `SAVEPOINT name`.
    Savepoint(Cow<'a, str>),
    /// `RELEASE [SAVEPOINT] name`.
    Release(Cow<'a, str>),
    /// `ROLLBACK TO [SAVEPOINT] name`.
    RollbackTo(Cow<'a, str>),
    /// `PREPARE TRANSACTION`.
    PrepareTransaction,
    /// `COMMIT PREPARED`.
    CommitPrepared,
    /// `ROLLBACK PREPARED`.
    RollbackPrepared,
    /// `SET [LOCAL] name = value` and its relatives (`TIME ZONE`, `NAMES`, `ROLE`, `SESSION AUTHORIZATION`, `SCHEMA`), and a
    /// `SELECT set_config('name', 'value', local)` that does nothing else.
    Set {
        /// The setting's name, lower case.
        name: Cow<'a, str>,
        /// What it is set to.
        value: SetValue<'a>,
        /// Until the end of the transaction.
        local: bool,
        /// It came as `SELECT set_config(...)`: the client expects a row.
        function: bool,
    },
    /// `SET TRANSACTION ...`, `SET SESSION CHARACTERISTICS AS TRANSACTION ...`.
    SetTransaction {
        /// For the whole session.
        session_characteristics: bool,
    },
    /// `SET CONSTRAINTS ...`.
    SetConstraints,
    /// `RESET name`.
    Reset(Cow<'a, str>),
    /// `RESET ALL`.
    ResetAll,
    /// `SHOW name`; `all` for `SHOW ALL`. Goldseam's own consoles have more words: they are joined by one space.
    Show(Cow<'a, str>),
    /// `DISCARD ...`.
    Discard(DiscardTarget),
    /// `PREPARE name [(types)] AS body`.
    Prepare {
        /// The statement's name.
        name: Cow<'a, str>,
        /// The text between the parentheses, if there are any.
        types: Option<Range<usize>>,
        /// The statement itself.
        body: Range<usize>,
    },
    /// `EXECUTE name [(arguments)]`.
    Execute {
        /// The statement's name.
        name: Cow<'a, str>,
        /// The text between the parentheses, if there are any.
        args: Option<Range<usize>>,
    },
    /// `DEALLOCATE [PREPARE] name`; `None` for `ALL`.
    Deallocate(Option<Cow<'a, str>>),
    /// `LISTEN channel`.
    Listen(Cow<'a, str>),
    /// `UNLISTEN channel`; `None` for `*`.
    Unlisten(Option<Cow<'a, str>>),
    /// `NOTIFY ...`.
    Notify,
    /// `DECLARE name ... CURSOR ... FOR query`.
    Declare {
        /// The cursor's name.
        name: Cow<'a, str>,
        /// `WITH HOLD`.
        hold: bool,
        /// The query after `FOR`.
        query: Range<usize>,
    },
    /// `FETCH ... cursor`.
    Fetch(Cow<'a, str>),
    /// `MOVE ... cursor`.
    Move(Cow<'a, str>),
    /// `CLOSE name`; `None` for `ALL`.
    ClosePortal(Option<Cow<'a, str>>),
    /// `COPY ...`.
    Copy {
        /// The query in `COPY (query) TO`.
        query: Option<Range<usize>>,
        /// `FROM`: rows go in.
        from: bool,
        /// `STDIN` or `STDOUT`, so the client's connection carries the rows.
        client: bool,
    },
    /// `EXPLAIN ...`.
    Explain {
        /// `EXPLAIN (ROUTE)`: Goldseam's own.
        route: bool,
        /// `ANALYZE`: the statement runs.
        analyze: bool,
        /// The statement explained.
        inner: Range<usize>,
    },
    /// `SELECT`, `INSERT`, `UPDATE`, `DELETE`, `MERGE`, `VALUES`, `WITH`, `TABLE`.
    Query,
    /// `CREATE`, `ALTER`, `DROP`, `TRUNCATE`, `COMMENT`, `GRANT`, `REVOKE`, `REINDEX`, `CLUSTER`, `REFRESH` and the like.
    Ddl,
    /// `LOCK TABLE`.
    Lock,
    /// `CALL procedure(...)`.
    Call,
    /// `DO $$...$$`.
    Do,
    /// `LOAD 'library'`.
    Load,
    /// `VACUUM`, `ANALYZE`, `CHECKPOINT`.
    Vacuum,
    /// `ALTER VSCHEMA ...`: Goldseam's own.
    AlterVschema,
    /// Anything else; PostgreSQL may not know it either.
    Other,
}

/// The right side of a `SET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue<'a> {
    /// `DEFAULT`.
    Default,
    /// The text exactly as it stands after `TO` or `=`.
    Text(Cow<'a, str>),
}

/// What `DISCARD` throws away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscardTarget {
    /// Everything.
    All,
    /// Cached plans.
    Plans,
    /// Temporary tables.
    Temp,
    /// Sequence values.
    Sequences,
}
