//! CREATE TEMP TABLE: on one connection, which the session keeps from then on.

use super::super::{Context, plan_query};
use super::named;
use crate::error::PgError;
use crate::plan::{Fallback, Route, Verdict};
use crate::sql::{Token, TokenKind};

/// `CREATE TEMP TABLE`: on the connection that the session keeps from then on.
pub fn create(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Route, PgError> {
    let query = tokens.windows(2).position(|pair| {
        pair[0].is(text, "as")
            && (pair[1].kind == TokenKind::LeftParen
                || ["select", "with", "values", "table"].iter().any(|word| pair[1].is(text, word)))
    });
    if let Some(at) = query {
        let tokens = tokens.get(at + 1..).unwrap_or(&[]);
        let tokens = match tokens.iter().rposition(|token| token.is(text, "with")) {
            // `WITH [NO] DATA` at the end.
            Some(with)
                if tokens.get(with + 1..).is_some_and(|rest| rest.last().is_some_and(|last| last.is(text, "data"))) =>
            {
                tokens.get(..with).unwrap_or(&[])
            }
            _ => tokens,
        };
        return match plan_query(context, text, tokens, false).verdict {
            Verdict::Refuse(error) => Err(*error),
            Verdict::Route(mut route) => {
                if route.fallback == Fallback::Any {
                    route.fallback = Fallback::Attached;
                }
                Ok(route)
            }
        };
    }
    if tokens.iter().any(|token| token.is(text, "like") || token.is(text, "inherits") || token.is(text, "execute")) {
        let route = named(context, text, tokens);
        // LIKE takes the shape, which every shard has; only the rows of INHERITS would be partial.
        return match route {
            Err(error) if tokens.iter().any(|token| token.is(text, "inherits") || token.is(text, "execute")) => {
                Err(error)
            }
            Err(_) => Ok(Route { fallback: Fallback::Attached, ..Route::default() }),
            route => route,
        };
    }
    Ok(Route {
        fallback: Fallback::Attached,
        reasons: vec!["a temporary table stays with the session".into()],
        ..Route::default()
    })
}
