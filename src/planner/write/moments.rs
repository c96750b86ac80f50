//! `now()` and its kin in what several shards are sent: the moment at which the transaction began is put in their places.

use std::ops::Range;

use super::staged::Dissection;
use crate::error::PgError;
use crate::plan::gather::Piece;
use crate::plan::work::write::MOMENT;
use crate::planner::bench::Edit;
use crate::planner::refuse;
use crate::sql::TokenKind;

/// Functions and words that tell it, and the type that they give it.
const TIMES: &[(&str, bool, &str)] = &[
    ("now", true, ""),
    ("transaction_timestamp", true, ""),
    ("statement_timestamp", true, ""),
    ("current_timestamp", false, ""),
    ("localtimestamp", false, "::pg_catalog.timestamp"),
    ("current_date", false, "::pg_catalog.date"),
    ("current_time", false, "::pg_catalog.timetz"),
    ("localtime", false, "::pg_catalog.time"),
];

impl Dissection<'_> {
    /// Edits for these tokens, but for those that are edited already.
    pub fn moments(&self, range: Range<usize>, others: &[Edit]) -> Result<Vec<Edit>, PgError> {
        let mut edits = Vec::new();
        for (span, cast) in self.times(range) {
            if others.iter().any(|(other, _)| other.start <= span.start && span.end <= other.end) {
                continue;
            }
            if self.tokens().kind(span.end) == Some(TokenKind::LeftParen) {
                return Err(refuse::construct("a time with a precision in such a write"));
            }
            edits.push((span, vec![Piece::Default(MOMENT.into()), Piece::Words(cast.into())]));
        }
        Ok(edits)
    }

    /// No such word is among these tokens.
    pub fn no_moments(&self, range: Range<usize>) -> Result<(), PgError> {
        match self.times(range).is_empty() {
            true => Ok(()),
            false => Err(refuse::construct("the time in RETURNING of such a write")),
        }
    }

    fn times(&self, range: Range<usize>) -> Vec<(Range<usize>, &'static str)> {
        let tokens = self.tokens();
        let mut found = Vec::new();
        for at in range {
            if tokens.kind(at) != Some(TokenKind::Word) || tokens.is(at.wrapping_sub(1), "as") {
                continue;
            }
            let known = TIMES.iter().find(|(name, ..)| tokens.is(at, name));
            let Some((_, call, cast)) = known else { continue };
            let called =
                tokens.kind(at + 1) == Some(TokenKind::LeftParen) && tokens.kind(at + 2) == Some(TokenKind::RightParen);
            if *call && !called {
                continue;
            }
            let qualified = at > 0 && tokens.kind(at - 1) == Some(TokenKind::Dot);
            let start = if qualified { at.saturating_sub(2) } else { at };
            found.push((start..if *call { at + 3 } else { at + 1 }, *cast));
        }
        found
    }
}
