use std::ops::ControlFlow;

use sqlparser::ast::{Value, ValueWithSpan, Visit, Visitor};

use super::*;
use crate::sql::{Normalized, normalize};

struct Values(Vec<ValueWithSpan>);

impl Visitor for Values {
    type Break = ();
    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        self.0.push(value.clone());
        ControlFlow::Continue(())
    }
}

/// Parses, walks and drops on a stack as small as a runtime worker's.
fn on_small_stack(text: String) -> Result<(), ParseFailure> {
    let work = move || {
        with_parsed(&text, &Limits::default(), |parsed| {
            let _ = parsed.statement.visit(&mut Values(Vec::new()));
        })
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).expect("a thread").join().expect("no panic")
}

#[test]
fn every_value_is_its_literal() {
    let literals = ["1", "4.5", "1e3", "'a'", "'it''s'", "'ä\n💛'", "E'a\\'b'", "$$x$$", "$t$it's$t$", "'a'\n 'b'"];
    let shapes = [
        "SELECT {} FROM t WHERE a = {} AND b IN ({}, {}) OR c BETWEEN {} AND {}",
        "/* 'ü' 1 */ SELECT \"ö 1\", -{} -- 2 '\n, f({}), ARRAY[{}, {}]",
        "INSERT INTO t (a, b) OVERRIDING USER VALUE VALUES ({}, {}), ({}, $1)",
        "UPDATE t SET a = {}, b = b + {} WHERE id>-{} RETURNING CASE WHEN a = {} THEN {} END",
        "DELETE FROM t WHERE a = {}::text AND CAST({} AS text) LIKE {}",
        "WITH x AS (SELECT {} AS a) SELECT * FROM x JOIN t ON t.a = {} WHERE b ->> {} = {} FOR NO KEY UPDATE",
    ];
    let mut seen = 0;
    for shape in shapes {
        for first in 0..literals.len() {
            for step in [1, 3, 7] {
                let (mut text, mut at) = (String::new(), first);
                for piece in shape.split_inclusive("{}") {
                    text += &piece.replace("{}", literals[at % literals.len()]);
                    at += step;
                }
                let mut normalized = Normalized::new(0);
                normalize(&text, &Limits::default(), &mut normalized).expect("tokens");
                let found = with_parsed(&text, &Limits::default(), |parsed| {
                    let mut values = Values(Vec::new());
                    let _ = parsed.statement.visit(&mut values);
                    let place = |value: ValueWithSpan| (parsed.literal_at(value.span), value.value);
                    values.0.into_iter().map(place).collect::<Vec<_>>()
                });
                for (index, value) in found.unwrap_or_else(|error| panic!("{text}: {error:?}")) {
                    let inside = match &value {
                        Value::Number(number, _) => number.to_string(),
                        Value::SingleQuotedString(inside) => format!("'{inside}'"),
                        Value::EscapedStringLiteral(inside) => format!("E'{inside}'"),
                        Value::DollarQuotedString(dollar) => dollar.value.clone(),
                        _ => {
                            assert_eq!(index, None, "{text}");
                            continue;
                        }
                    };
                    let literal = normalized.literals[usize::from(index.expect("a literal"))];
                    assert_eq!(text[literal.start as usize..literal.end as usize], inside, "{text}");
                    seen += 1;
                }
            }
        }
    }
    assert!(seen >= 750, "only {seen} values");
}

#[test]
fn no_statement_overflows_the_stack() {
    let repeat = |head: &str, body: &str, middle: &str, close: &str, times: usize| {
        format!("{head}{}{middle}{}", body.repeat(times), close.repeat(times))
    };
    for times in [7, 60, 140, 190, 1_000, 4_900, 40_000, 100_000] {
        for (head, body, middle, close) in [
            ("SELECT ", "(", "1", ")"),
            ("SELECT a FROM t WHERE a = 1", " OR a = 1", "", ""),
            ("SELECT 1", " UNION SELECT 1", "", ""),
            ("SELECT 1", " UNION ALL (SELECT 1)", "", ""),
            ("SELECT ", "NOT ", "a", ""),
            ("SELECT ", "- ", "1", ""),
            ("SELECT a", "::b", "", ""),
            ("SELECT ", "CASE WHEN a THEN ", "1", " END"),
            ("SELECT ", "CASE ", "a", " WHEN 1 THEN 1 END"),
            ("SELECT ", "ARRAY[", "1", "]"),
            ("SELECT a", "[1]", "", ""),
            ("SELECT * FROM t", " JOIN t ON true", "", ""),
            ("SELECT * FROM ", "(SELECT * FROM ", "t", ") a"),
            ("SELECT * FROM ", "t JOIN (", "t", ") ON true"),
            ("", "WITH a AS (", "SELECT 1", ") SELECT 1"),
            ("SELECT ", "f(", "1", ")"),
            ("SELECT ", "INTERVAL ", "'1'", ""),
            ("SELECT ", "PRIOR ", "a", ""),
            ("", "EXPLAIN ", "SELECT 1", ""),
            ("", "PREPARE a AS ", "SELECT 1", ""),
            ("", "INSERT INTO t ", "SELECT 1", ""),
            ("", "IF a THEN ", "SELECT 1", "; END IF"),
            ("", "WHILE a BEGIN ", "SELECT 1", "; END"),
            ("", "DESC ", "SELECT 1", ""),
            ("SELECT a", " COLLATE b", "", ""),
            ("SELECT a", " IS NULL", "", ""),
            ("SELECT a", ".b", "", ""),
            ("SELECT ", "EXISTS (SELECT ", "1", ")"),
            ("SELECT ", "1 + (", "1", ")"),
        ] {
            match on_small_stack(repeat(head, body, middle, close, times)) {
                Err(ParseFailure::TooComplex(error)) => assert!(
                    error.code == SqlState::STATEMENT_TOO_COMPLEX || error.code == SqlState::PROGRAM_LIMIT_EXCEEDED,
                    "{head}{body} {times}: {error:?}"
                ),
                Err(ParseFailure::NotUnderstood { .. }) | Ok(()) => {}
            }
        }
    }
}

#[test]
fn one_statement_and_no_more() {
    for text in ["SELECT 1; SELECT 2", "SELECT 1 1", "SELECT 'open", "", "SELECT a FROM t WHERE a IN (1,)"] {
        let result = with_parsed(text, &Limits::default(), |_| ());
        assert!(matches!(result, Err(ParseFailure::NotUnderstood { .. })), "{text}: {result:?}");
    }
}

proptest::proptest! {
    #[test]
    fn token_soup_does_not_panic(words in proptest::collection::vec(proptest::sample::select(vec![
        "select", "from", "where", "(", ")", "[", "]", ",", "'a'", "1", "$1", "::", "-", ">-", "and", "or", "not", "in",
        "case", "when", "end", "insert into", "values", "update", "set", "on conflict", "with", "as", "union", "t", "\"Q\"",
        ".", ";", "interval", "create table", "alter", "for no key update", "overriding user value", "only", "table", "é",
        "isnull", "variadic", "=", "*", "E'\\n'", "$$d$$", "/* c */", "like", "between", "over", "lateral", "join",
    ]), 0..30)) {
        let text = words.join(" ");
        let _ = with_parsed(&text, &Limits::default(), |_| ());
        let _ = crate::sql::classify(&text);
    }
}
