//! SQLSTATE codes that Goldseam itself raises (PostgreSQL, `src/backend/utils/errcodes.txt`).

use std::fmt;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SqlState(pub [u8; 5]);

macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        impl SqlState { $($(#[$doc])* pub const $name: SqlState = SqlState(*$code);)* }
    };
}

states! {
    /// All is well; for notices.
    SUCCESSFUL_COMPLETION = b"00000";
    /// All went well, but there is something to know.
    WARNING = b"01000";
    /// A connection could not be made or was lost.
    CONNECTION_FAILURE = b"08006";
    /// A server could not be reached.
    CANNOT_CONNECT = b"08001";
    /// The connection broke while a COMMIT was under way.
    TRANSACTION_RESOLUTION_UNKNOWN = b"08007";
    /// A message broke the wire protocol.
    PROTOCOL_VIOLATION = b"08P01";
    /// A statement that Goldseam does not answer because it could not answer it rightly.
    FEATURE_NOT_SUPPORTED = b"0A000";
    /// A number beyond its type.
    NUMERIC_VALUE_OUT_OF_RANGE = b"22003";
    /// Bit strings of different lengths.
    STRING_DATA_LENGTH_MISMATCH = b"22026";
    /// Bytes that are not valid in the encoding.
    CHARACTER_NOT_IN_REPERTOIRE = b"22021";
    /// A value that is not of its type.
    INVALID_TEXT_REPRESENTATION = b"22P02";
    /// A binary value that is not of its type.
    INVALID_BINARY_REPRESENTATION = b"22P03";
    /// A parameter value out of its domain.
    INVALID_PARAMETER_VALUE = b"22023";
    /// Data of COPY that is not as its format wants it.
    BAD_COPY_FILE_FORMAT = b"22P04";
    /// NULL where a value is needed, such as a shard key.
    NOT_NULL_VIOLATION = b"23502";
    /// A key that no partition (here: no shard) takes.
    CHECK_VIOLATION = b"23514";
    /// The statement needs a transaction block, or must not be in one.
    ACTIVE_SQL_TRANSACTION = b"25001";
    /// No transaction is in progress.
    NO_ACTIVE_SQL_TRANSACTION = b"25P01";
    /// The transaction has failed; only ROLLBACK helps.
    IN_FAILED_SQL_TRANSACTION = b"25P02";
    /// Other transactions came between: tried again it may succeed.
    SERIALIZATION_FAILURE = b"40001";
    /// The prepared statement does not exist.
    UNDEFINED_PSTATEMENT = b"26000";
    /// The login is not valid.
    INVALID_AUTHORIZATION = b"28000";
    /// Wrong password, or unknown user: the two look alike.
    INVALID_PASSWORD = b"28P01";
    /// The cursor or portal does not exist.
    UNDEFINED_CURSOR = b"34000";
    /// The database does not exist.
    UNDEFINED_DATABASE = b"3D000";
    /// The savepoint does not exist.
    INVALID_SAVEPOINT = b"3B001";
    /// The caller has not the right.
    INSUFFICIENT_PRIVILEGE = b"42501";
    /// The statement is not SQL.
    SYNTAX_ERROR = b"42601";
    /// The column does not exist.
    UNDEFINED_COLUMN = b"42703";
    /// The name stands for several things.
    AMBIGUOUS_COLUMN = b"42702";
    /// The table does not exist, or is in no keyspace.
    UNDEFINED_TABLE = b"42P01";
    /// The setting does not exist.
    UNDEFINED_OBJECT = b"42704";
    /// The number of a parameter is out of range.
    UNDEFINED_PARAMETER = b"42P02";
    /// The object exists already.
    DUPLICATE_OBJECT = b"42710";
    /// A foreign key that cannot be.
    INVALID_FOREIGN_KEY = b"42830";
    /// A table's definition that cannot be.
    INVALID_TABLE_DEFINITION = b"42P16";
    /// Others need the object.
    DEPENDENT_OBJECTS_STILL_EXIST = b"2BP01";
    /// The cursor or portal exists already.
    DUPLICATE_CURSOR = b"42P03";
    /// The prepared statement exists already.
    DUPLICATE_PSTATEMENT = b"42P05";
    /// Out of some resource.
    INSUFFICIENT_RESOURCES = b"53000";
    /// Every server connection is taken, and none came free in time.
    TOO_MANY_CONNECTIONS = b"53300";
    /// The statement is beyond a limit of Goldseam's own.
    PROGRAM_LIMIT_EXCEEDED = b"54000";
    /// The statement nests too deeply.
    STATEMENT_TOO_COMPLEX = b"54001";
    /// The object is not in the state that the statement needs.
    OBJECT_NOT_IN_PREREQUISITE_STATE = b"55000";
    /// The client asked for the statement to be ended.
    QUERY_CANCELED = b"57014";
    /// The proxy is shutting down.
    ADMIN_SHUTDOWN = b"57P01";
    /// The proxy is not ready to serve.
    CANNOT_CONNECT_NOW = b"57P03";
    /// A connection was idle for too long.
    IDLE_SESSION_TIMEOUT = b"57P05";
    /// The configuration is not valid.
    CONFIG_FILE_ERROR = b"F0000";
    /// A defect of Goldseam's own.
    INTERNAL_ERROR = b"XX000";
}

impl SqlState {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
