//! SQL's own prepared statements: PREPARE, EXECUTE, DEALLOCATE. Their names are those of the protocol's, and the statements are the
//! process's shared ones.

use super::Session;
use super::command::{Action, floating};
use super::effects::After;
use super::local::Answer;
use super::route::Destination;
use super::sql_execute::{Execution, arguments_of};
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
            // What is done in steps may name tables of several shards; the home shard knows all of them.
            crate::plan::Verdict::Route(route) if route.work.is_some() && route.gather.is_none() => Destination::Home,
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
        let texts = arguments_of(arguments, &limits)?;
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
        let destination = match self.resolve(&plan, &values) {
            Ok(Destination::Shards { .. } | Destination::Work) => None,
            Ok(destination) if self.waits_for_values(&plan, &destination) => None,
            Ok(destination) => Some(destination),
            // Values that only a server can tell may decide where it goes.
            Err(_) if raws.iter().any(Option::is_none) => None,
            Err(error) => return Err(error),
        };
        let after = match plan.effects.sets {
            true => self.after_function(&statement.text, &values)?,
            false => After::Nothing,
        };
        let Some(destination) = destination else {
            return Ok(Action::Execute(Box::new(Execution { statement, arguments: texts })));
        };
        let arguments = arguments.map(|text| format!("({text})")).unwrap_or_default();
        Ok(Action::Forward {
            destination,
            effects: plan.effects.clone(),
            after,
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
pub(super) fn split_arguments<'a>(text: &'a str, limits: &sql::Limits) -> Result<Vec<&'a str>, PgError> {
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
pub(super) fn argument<'a>(text: &'a str, limits: &sql::Limits) -> Option<Raw<'a>> {
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

/// Names of types, as PREPARE takes them.
pub(super) mod declared_types {
    use crate::types::Oid;

    /// Each type of PostgreSQL's own that statements are prepared with: its names, its number, and that of its array.
    const KNOWN: &[(&[&str], Oid, Oid)] = &[
        (&["bigint", "int8"], 20, 1016),
        (&["bit"], 1560, 1561),
        (&["bit varying", "varbit"], 1562, 1563),
        (&["boolean", "bool"], 16, 1000),
        (&["bytea"], 17, 1001),
        (&["char", "character", "bpchar"], 1042, 1014),
        (&["cidr"], 650, 651),
        (&["date"], 1082, 1182),
        (&["double precision", "float8", "float"], 701, 1022),
        (&["inet"], 869, 1041),
        (&["integer", "int", "int4"], 23, 1007),
        (&["interval"], 1186, 1187),
        (&["json"], 114, 199),
        (&["jsonb"], 3802, 3807),
        (&["macaddr"], 829, 1040),
        (&["money"], 790, 791),
        (&["name"], 19, 1003),
        (&["numeric", "decimal", "dec"], 1700, 1231),
        (&["oid"], 26, 1028),
        (&["real", "float4"], 700, 1021),
        (&["smallint", "int2"], 21, 1005),
        (&["text"], 25, 1009),
        (&["time", "time without time zone"], 1083, 1183),
        (&["time with time zone", "timetz"], 1266, 1270),
        (&["timestamp", "timestamp without time zone"], 1114, 1115),
        (&["timestamp with time zone", "timestamptz"], 1184, 1185),
        (&["uuid"], 2950, 2951),
        (&["varchar", "character varying"], 1043, 1015),
        (&["xml"], 142, 143),
    ];

    /// The number of a type; 0 for one that each server has a number of its own for: then it is inferred.
    pub fn number(name: &str) -> Oid {
        // A modifier does not matter to a parameter's type.
        let mut plain = String::with_capacity(name.len());
        let mut depth = 0;
        for c in name.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                c if depth == 0 => plain.push(c.to_ascii_lowercase()),
                _ => {}
            }
        }
        let words: Vec<&str> = plain.split_whitespace().collect();
        let joined = words.join(" ");
        let (element, array) = match joined.split_once('[') {
            Some((element, _)) => (element.trim_end(), true),
            None => (joined.as_str(), false),
        };
        let element = element.strip_prefix("pg_catalog.").unwrap_or(element);
        let known = KNOWN.iter().find(|(names, ..)| names.contains(&element));
        known.map_or(0, |(_, single, several)| if array { *several } else { *single })
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
    fn names_of_types_have_numbers() {
        let cases = [("int", 23), (" BIGINT ", 20), ("varchar(10)", 1043), ("numeric(10, 2)[]", 1231), ("mood", 0)];
        for (name, number) in cases {
            assert_eq!(declared_types::number(name), number, "{name}");
        }
        assert_eq!(declared_types::number("timestamp(3) with time zone"), 1184);
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
