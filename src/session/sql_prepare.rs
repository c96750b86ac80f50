//! SQL's own prepared statements: PREPARE, EXECUTE, DEALLOCATE. Their names are those of the protocol's, and the statements are the
//! process's shared ones.

use super::Session;
use super::command::{Action, floating};
use super::effects::After;
use super::local::Answer;
use super::route::Destination;
use super::values::ExecuteValues;
use crate::error::PgError;
use crate::sql::{self, TokenKind};
use crate::sqlstate::SqlState;
use crate::types::{Raw, oid};

impl Session {
    pub(super) fn sql_prepare(&mut self, name: &str, types: Option<String>, body: &str) -> Result<Action, PgError> {
        if self.names.contains_key(name) {
            return Err(PgError::new(
                SqlState::DUPLICATE_PSTATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let statement = self.statement(body, &[], Some(types))?;
        let plan = self.plan_for(&statement);
        if let crate::plan::Verdict::Refuse(error) = &plan.verdict {
            return Err((**error).clone());
        }
        if statement.validated.load(std::sync::atomic::Ordering::Relaxed) {
            self.remember_name(name, statement)?;
            return Ok(Action::Answer(Answer::tag("PREPARE")));
        }
        self.check_room()?;
        // A server has to accept the text first; it keeps the statement.
        let destination = match &plan.verdict {
            crate::plan::Verdict::Route(route) => Destination::Any(route.describable(&self.state.vschema)),
            crate::plan::Verdict::Refuse(error) => return Err((**error).clone()),
        };
        let destination = if self.attached.is_some() { Destination::Attached } else { destination };
        Ok(Action::Forward {
            destination,
            effects: floating(),
            text: Some(statement.sql_prepare(&statement.server_name)),
            after: After::Prepare { name: name.to_owned(), statement },
            needs: None,
            then: Vec::new(),
        })
    }

    pub(super) fn sql_execute(&mut self, name: &str, arguments: Option<&str>) -> Result<Action, PgError> {
        let Some(statement) = self.names.get(name).cloned() else { return Err(no_statement(name)) };
        let plan = self.plan_for(&statement);
        let limits = self.state.sql_limits();
        let texts = arguments.map(|text| split_arguments(text, &limits)).transpose()?.unwrap_or_default();
        let declared = statement.sql_types.as_ref().and_then(Option::as_deref);
        let declared = declared.map(|list| split_arguments(list, &limits)).transpose()?.unwrap_or_default();
        let expected = statement.parameters.max(declared.len());
        if texts.len() != expected {
            return Err(PgError::new(
                SqlState::SYNTAX_ERROR,
                format!("wrong number of parameters for prepared statement \"{name}\""),
            )
            .with_detail(format!("Expected {expected} parameters but got {}.", texts.len())));
        }
        let mut raws: Vec<Option<Raw<'_>>> = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let declared = declared.get(at).map(|name| name.trim());
            raws.push(argument(text, &limits).and_then(|raw| converted(raw, declared)));
        }
        let values = ExecuteValues { text: &statement.text, literals: &statement.literals, arguments: &raws };
        let destination = self.resolve(&plan, &values)?;
        let arguments = arguments.map(|text| format!("({text})")).unwrap_or_default();
        Ok(Action::Forward {
            destination,
            effects: plan.effects.clone(),
            after: After::Nothing,
            text: Some(format!("EXECUTE \"{}\"{arguments}", statement.server_name)),
            needs: Some(statement),
            then: Vec::new(),
        })
    }

    pub(super) fn deallocate(&mut self, name: Option<&str>) -> Result<Action, PgError> {
        match name {
            None => {
                self.names.clear();
                Ok(Action::Answer(Answer::tag("DEALLOCATE ALL")))
            }
            Some(name) if self.names.remove(name).is_some() => Ok(Action::Answer(Answer::tag("DEALLOCATE"))),
            Some(name) => Err(no_statement(name)),
        }
    }
}

/// The arguments of EXECUTE: cut at commas outside of parentheses and brackets, by the lexer's own tokens.
fn split_arguments<'a>(text: &'a str, limits: &sql::Limits) -> Result<Vec<&'a str>, PgError> {
    let (mut pieces, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for token in sql::lex(text, limits)? {
        match token.kind {
            TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
            TokenKind::RightParen | TokenKind::RightBracket => depth = depth.saturating_sub(1),
            TokenKind::Comma if depth == 0 => {
                pieces.push(&text[start..token.start as usize]);
                start = token.end as usize;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    Ok(pieces)
}

/// One argument of EXECUTE, if it is a plain literal: whole, with a sign perhaps.
fn argument<'a>(text: &'a str, limits: &sql::Limits) -> Option<Raw<'a>> {
    if text.trim().eq_ignore_ascii_case("null") {
        return Some(Raw::Null);
    }
    let mut normalized = sql::Normalized::default();
    sql::normalize(text, limits, &mut normalized).ok()?;
    let [literal] = normalized.literals[..] else { return None };
    let (before, after) = (text.get(..literal.start as usize)?, text.get(literal.end as usize..)?);
    if !after.trim().is_empty() {
        return None;
    }
    match (before.trim(), literal.raw(text)?) {
        ("", raw) => Some(raw),
        ("-", Raw::Text { text, oid }) => Some(Raw::Text { text: format!("-{text}").into(), oid }),
        _ => None,
    }
}

/// An argument as its parameter has it. EXECUTE assigns: a fraction is rounded, and a string is read as the declared type.
fn converted<'a>(raw: Raw<'a>, declared: Option<&str>) -> Option<Raw<'a>> {
    let Raw::Text { text, oid } = raw else { return Some(raw) };
    match oid {
        oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC if text.parse::<i64>().is_ok() => {
            Some(Raw::Text { text, oid })
        }
        oid::UNKNOWN | oid::UNSPECIFIED => {
            let oid = match declared.map(str::to_ascii_lowercase).as_deref() {
                None | Some("unknown") => oid,
                Some("smallint" | "int2") => oid::INT2,
                Some("int" | "integer" | "int4") => oid::INT4,
                Some("bigint" | "int8") => oid::INT8,
                Some("text") => oid::TEXT,
                Some("uuid") => oid::UUID,
                Some("date") => oid::DATE,
                Some(_) => return None,
            };
            Some(Raw::Text { text, oid })
        }
        _ => None,
    }
}

pub(super) fn no_statement(name: &str) -> PgError {
    if name.is_empty() {
        return PgError::new(SqlState::UNDEFINED_PSTATEMENT, "unnamed prepared statement does not exist");
    }
    PgError::new(SqlState::UNDEFINED_PSTATEMENT, format!("prepared statement \"{name}\" does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_cut_where_the_lexer_says() {
        let limits = sql::Limits::default();
        let cases: &[(&str, &[&str])] = &[
            ("1, 'a, b'", &["1", "'a, b'"]),
            (r"E'x\',1,', 2", &[r"E'x\',1,'", "2"]),
            ("f(1, 2), ARRAY[3, 4], $$a,b$$", &["f(1, 2)", "ARRAY[3, 4]", "$$a,b$$"]),
        ];
        for (text, pieces) in cases {
            let found: Vec<&str> = split_arguments(text, &limits).unwrap().iter().map(|piece| piece.trim()).collect();
            assert_eq!(found, *pieces, "{text}");
        }
    }

    #[test]
    fn arguments_of_execute_are_keys_only_if_they_are_plain_literals() {
        let limits = sql::Limits::default();
        assert!(matches!(argument(" 42 ", &limits), Some(Raw::Text { text, .. }) if text == "42"));
        assert!(matches!(argument("-7", &limits), Some(Raw::Text { text, .. }) if text == "-7"));
        assert!(matches!(argument("'it''s'", &limits), Some(Raw::Text { text, .. }) if text == "it's"));
        assert_eq!(argument("NULL", &limits), Some(Raw::Null));
        for text in ["1 + 1", "f(1)", "'a' || 'b'", "x", "", "1::int"] {
            assert_eq!(argument(text, &limits), None, "{text}");
        }
    }
}
