//! The words with which a clause of a query begins behind its FROM list (PostgreSQL's `gram.y`, `simple_select` and `select_no_parens`).

use super::Token;

/// All reserved, so that none of them can be a name there.
const CLAUSES: &[&str] =
    &["where", "group", "having", "window", "order", "limit", "offset", "fetch", "for", "union", "intersect", "except"];

/// Whether a clause begins with this token.
pub fn begins_clause(token: Token, text: &str) -> bool {
    CLAUSES.iter().any(|word| token.is(text, word))
}
