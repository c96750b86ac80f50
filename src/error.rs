//! The one error a client can see: PostgreSQL's own shape, chosen where the failure is understood.
//!
//! Every module has its own `thiserror` enum for its own reasoning; whatever has to reach a client becomes a [`PgError`]
//! here. An error that a PostgreSQL server sent is never turned into one: it passes through verbatim as a frame.

use std::fmt;

use crate::sqlstate::SqlState;

/// How far an error reaches (protocol section "Error and Notice Message Fields", field `S`/`V`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The statement is over; the connection lives.
    Error,
    /// The connection is over.
    Fatal,
}

impl Severity {
    /// The word on the wire, untranslated.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        }
    }
}

/// An error in PostgreSQL's own terms: SQLSTATE, message, and where possible a detail and a hint with a way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PgError {
    /// How far the error reaches.
    pub severity: Severity,
    /// The five-character code that programs act on.
    pub code: SqlState,
    /// One sentence in PostgreSQL's style: lower case, no full stop.
    pub message: String,
    /// What is behind it, as sentences.
    pub detail: Option<String>,
    /// What the reader can do, as sentences.
    pub hint: Option<String>,
    /// Where in the statement, counted in characters from 1.
    pub position: Option<u32>,
}

impl PgError {
    /// An error that ends the statement.
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        PgError { severity: Severity::Error, code, message: message.into(), detail: None, hint: None, position: None }
    }

    /// An error that ends the connection.
    pub fn fatal(code: SqlState, message: impl Into<String>) -> Self {
        PgError { severity: Severity::Fatal, ..PgError::new(code, message) }
    }

    /// A statement that Goldseam cannot answer rightly, and therefore does not answer (`0A000`).
    pub fn unsupported(message: impl Into<String>) -> Self {
        PgError::new(SqlState::FEATURE_NOT_SUPPORTED, message)
    }

    /// The same error with a detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same error with a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error with a position, in characters from 1.
    pub fn at(mut self, position: u32) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for PgError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.severity.as_str(), self.message, self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "\nDETAIL: {detail}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHINT: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PgError {}
