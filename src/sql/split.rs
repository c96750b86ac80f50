//! Cuts the text of a simple query into its statements, as PostgreSQL's grammar does: at semicolons outside of quotes, and outside
//! of the `BEGIN ATOMIC ... END` of an SQL function's body.
//! A comment behind a statement is not a part of it, unless it speaks to Goldseam.

use std::ops::Range;

use super::lexer::{Lexer, Limits, TokenKind};
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// The statements of a simple query, without their semicolons; statements of nothing but white space and comments are left out.
/// Leading comments belong to the statement, because a hint may stand there.
pub fn split(text: &str, limits: &Limits) -> Result<Vec<Range<usize>>, PgError> {
    let mut lexer = Lexer::new(text);
    let mut statements = Vec::with_capacity(1);
    let (mut start, mut end, mut tokens) = (0usize, None, 0usize);
    let mut parens = 0usize;
    // In `BEGIN ATOMIC`, `CASE` opens a block that `END` closes too.
    let mut atomic = 0usize;
    let mut after_begin = false;
    let mut creating = false;
    while let Some(token) = lexer.next_token().map_err(|error| error.into_pg(text))? {
        tokens += 1;
        if tokens > limits.max_tokens {
            return Err(PgError::new(
                SqlState::PROGRAM_LIMIT_EXCEEDED,
                format!("query has more than {} tokens", limits.max_tokens),
            ));
        }
        match token.kind {
            TokenKind::Semicolon if atomic == 0 && parens == 0 => {
                if let Some(end) = end.take() {
                    statements.push(start..with_comment(text, end, token.start as usize));
                }
                start = token.end as usize;
                creating = false;
                after_begin = false;
                continue;
            }
            TokenKind::LeftParen => parens += 1,
            TokenKind::RightParen => parens = parens.saturating_sub(1),
            TokenKind::Word => {
                if end.is_none() {
                    creating = token.is(text, "create");
                }
                if creating {
                    if atomic == 0 && after_begin && token.is(text, "atomic") {
                        atomic = 1;
                    } else if atomic > 0 && token.is(text, "case") {
                        atomic += 1;
                    } else if atomic > 0 && token.is(text, "end") {
                        atomic -= 1;
                    }
                }
            }
            _ => {}
        }
        after_begin = creating && token.is(text, "begin");
        end = Some(token.end as usize);
    }
    if let Some(end) = end {
        statements.push(start..with_comment(text, end, text.len()));
    }
    Ok(statements)
}

/// The end of a statement whose last token ends here, with what is said to Goldseam behind it.
fn with_comment(text: &str, end: usize, next: usize) -> usize {
    match text.get(end..next) {
        Some(between) if between.contains("goldseam:") => end + between.trim_end().len(),
        _ => end,
    }
}
