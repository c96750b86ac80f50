//! The text layer as data: tokens, statements, keys, commands.

use super::*;

fn tokens(text: &str) -> String {
    match lex(text, &Limits::default()) {
        Ok(tokens) => {
            tokens.iter().map(|token| format!("{:?}<{}>", token.kind, token.text(text))).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("{} at {}", error.message, error.position.unwrap_or(0)),
    }
}

#[test]
fn tokens_are_postgres_own() {
    for (text, expected) in [
        ("a=-1", "Word<a> Operator<=> Operator<-> Integer<1>"),
        ("a>=-1", "Word<a> Operator<>=> Operator<-> Integer<1>"),
        ("a<>-1", "Word<a> Operator<<>> Operator<-> Integer<1>"),
        ("a@-1", "Word<a> Operator<@-> Integer<1>"),
        ("a*-1", "Word<a> Operator<*> Operator<-> Integer<1>"),
        ("a+--b", "Word<a> Operator<+>"),
        ("a/*/* */ b*/c", "Word<a> Word<c>"),
        ("a-/*x*/1", "Word<a> Operator<-> Integer<1>"),
        ("'it''s'", "String<'it''s'>"),
        (r"E'a\'b'", r"EscapeString<E'a\'b'>"),
        (r"'a\'", r"String<'a\'>"),
        ("'a'\n  'b'", "String<'a'\n  'b'>"),
        ("'a' 'b'", "String<'a'> String<'b'>"),
        ("'a' -- x\n'b'", "String<'a' -- x\n'b'>"),
        ("$$a'b$$", "DollarString<$$a'b$$>"),
        ("$q$a$$b$q$", "DollarString<$q$a$$b$q$>"),
        ("$1+$2", "Parameter<$1> Operator<+> Parameter<$2>"),
        ("a$1", "Word<a$1>"),
        ("1.5e-3 .5 5. 1e5", "Decimal<1.5e-3> Decimal<.5> Decimal<5.> Decimal<1e5>"),
        ("1..2", "Integer<1> DotDot<..> Integer<2>"),
        (
            "x'1F' b'01' n'a' U&'a' U&\"a\"",
            "HexString<x'1F'> BitString<b'01'> NationalString<n'a'> UnicodeString<U&'a'> UnicodeName<U&\"a\">",
        ),
        ("\"a\"\"b\".c", "QuotedName<\"a\"\"b\"> Dot<.> Word<c>"),
        (
            "a::int[1:2]",
            "Word<a> DoubleColon<::> Word<int> LeftBracket<[> Integer<1> Colon<:> Integer<2> RightBracket<]>",
        ),
        ("naïve", "Word<naïve>"),
        ("'a", "unterminated quoted string at 1"),
        ("é 'a", "unterminated quoted string at 3"),
        ("/* a", "unterminated /* comment at 1"),
        ("$a$ b", "unterminated dollar-quoted string at 1"),
        ("\"\"", "zero-length delimited identifier at 1"),
        ("1a", "trailing junk after numeric literal at 1"),
    ] {
        assert_eq!(tokens(text), expected, "{text}");
    }
}

#[test]
fn literals_mean_what_postgres_reads() {
    let value = |text: &str| {
        let mut normalized = Normalized::new(1);
        normalize(text, &Limits::default(), &mut normalized).unwrap();
        match normalized.literals.first().and_then(|literal| literal.raw(text)) {
            Some(crate::types::Raw::Text { text, .. }) => Some(text.into_owned()),
            _ => None,
        }
    };
    for (text, expected) in [
        ("'it''s'", Some("it's")),
        ("''", Some("")),
        ("''''", Some("'")),
        ("'a'\n'b''c'", Some("ab'c")),
        ("'a' -- it's\n 'b'", Some("ab")),
        (r"E'\x41\101\n\u00e9\''", Some("AA\né'")),
        (r"E'\z'", Some("z")),
        (r"E'\0'", None),
        (r"E'\ud83d\ude00'", None),
        ("$x$a'b$x$", Some("a'b")),
        ("$$$$", Some("")),
        ("42", Some("42")),
        ("4.2e1", Some("4.2e1")),
        ("0x2A", None),
        ("1_000", None),
        ("x'00'", None),
        ("U&'a'", None),
    ] {
        assert_eq!(value(text).as_deref(), expected, "{text}");
    }
}

fn key(text: &str) -> u128 {
    let mut normalized = Normalized::new(42);
    normalize(text, &Limits::default(), &mut normalized).unwrap();
    normalized.key
}

#[test]
fn equal_keys() {
    for (one, other) in [
        ("SELECT 1", "select 2"),
        ("SELECT 'a'", "SELECT  'b' -- x"),
        ("SELECT a FROM t", "select A /* x */ from T"),
        ("SELECT 'a' FROM t WHERE x IN (1,2)", "SELECT 'b''c' FROM t WHERE x IN (3, 4)"),
    ] {
        assert_eq!(key(one), key(other), "{one} and {other}");
    }
}

#[test]
fn different_keys() {
    for (one, other) in [
        ("SELECT 1", "SELECT '1'"),
        ("SELECT 1", "SELECT 1.0"),
        ("SELECT 1", "SELECT -1"),
        ("SELECT 1", "SELECT 1, 1"),
        ("SELECT $1", "SELECT $2"),
        ("SELECT a", "SELECT \"a\""),
        ("SELECT \"a\"", "SELECT \"A\""),
        ("SELECT a b", "SELECT ab"),
        ("SELECT a.b", "SELECT a b"),
        ("SELECT nextval('a')", "SELECT nextval('b')"),
        ("SELECT nextval('a'::regclass)", "SELECT nextval('b'::regclass)"),
        ("SELECT 'a'::regclass", "SELECT 'b'::regclass"),
        ("SELECT regclass 'a'", "SELECT regclass 'b'"),
        ("SELECT a + b", "SELECT a - b"),
        ("SELECT (1)", "SELECT 1"),
    ] {
        assert_ne!(key(one), key(other), "{one} and {other}");
    }
}

#[test]
fn a_hint_is_a_leading_comment() {
    let shard = |text: &str| {
        let mut normalized = Normalized::new(1);
        normalize(text, &Limits::default(), &mut normalized).unwrap();
        normalized.hint.and_then(|hint| hint.get(text, "shard").map(str::to_string))
    };
    assert_eq!(shard("/* goldseam: shard=s1 */ SELECT 1").as_deref(), Some("s1"));
    assert_eq!(shard("  /*goldseam: a=b, shard=s1*/ SELECT 1").as_deref(), Some("s1"));
    assert_eq!(shard("SELECT 1 /* goldseam: shard=s1 */"), None);
    assert_eq!(shard("/* other: shard=s1 */ SELECT 1"), None);
}

#[test]
fn statements_are_cut_at_semicolons() {
    for (text, expected) in [
        ("", vec![]),
        (" ; ;; -- x", vec![]),
        ("a", vec!["a"]),
        ("a; b ;", vec!["a", " b"]),
        ("a ';' ; \";\" b; $$;$$", vec!["a ';'", " \";\" b", " $$;$$"]),
        ("a /* ; */ b; c", vec!["a /* ; */ b", " c"]),
        ("create rule r as on x do (a; b); c", vec!["create rule r as on x do (a; b)", " c"]),
        (
            "create function f() begin atomic select case when 1 then 2 end; select 3; end; select 4",
            vec!["create function f() begin atomic select case when 1 then 2 end; select 3; end", " select 4"],
        ),
        ("begin; select 1; end", vec!["begin", " select 1", " end"]),
    ] {
        let found: Vec<&str> = split(text, &Limits::default()).unwrap().into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn commands_are_told_by_their_first_tokens() {
    for (text, expected) in [
        ("", "Empty"),
        (" /* x */ ; ", "Empty"),
        ("SELECT 1", "Query"),
        ("(SELECT 1)", "Query"),
        ("with a as (select 1) select 1", "Query"),
        ("BEGIN", "Begin { read_only: false }"),
        ("START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE;", "Begin { read_only: true }"),
        ("BEGIN WORK READ WRITE", "Begin { read_only: false }"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ", "Begin { read_only: false }"),
        ("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", "Begin { read_only: true }"),
        ("COMMIT AND CHAIN", "Commit { chain: true }"),
        ("END", "Commit { chain: false }"),
        ("ROLLBACK AND NO CHAIN", "Rollback { chain: false }"),
        ("ABORT", "Rollback { chain: false }"),
        ("SAVEPOINT \"A b\"", "Savepoint(\"A b\")"),
        ("RELEASE SAVEPOINT A", "Release(\"a\")"),
        ("RELEASE savepoint", "Release(\"savepoint\")"),
        ("ROLLBACK TO SAVEPOINT a", "RollbackTo(\"a\")"),
        ("ROLLBACK TRANSACTION TO a", "RollbackTo(\"a\")"),
        ("PREPARE TRANSACTION 'x'", "PrepareTransaction"),
        ("COMMIT PREPARED 'x'", "CommitPrepared"),
        ("ROLLBACK PREPARED 'x'", "RollbackPrepared"),
        (
            "SET search_path TO a, \"B\"",
            "Set { name: \"search_path\", value: Text(\"a, \\\"B\\\"\"), local: false, function: false }",
        ),
        ("SET LOCAL a.B = 'x';", "Set { name: \"a.b\", value: Text(\"'x'\"), local: true, function: false }"),
        ("SET SESSION x = DEFAULT", "Set { name: \"x\", value: Default, local: false, function: false }"),
        ("SET TIME ZONE 'UTC'", "Set { name: \"timezone\", value: Text(\"'UTC'\"), local: false, function: false }"),
        ("SET TIME ZONE LOCAL", "Set { name: \"timezone\", value: Default, local: false, function: false }"),
        (
            "SET NAMES 'utf8'",
            "Set { name: \"client_encoding\", value: Text(\"'utf8'\"), local: false, function: false }",
        ),
        ("SET ROLE none", "Set { name: \"role\", value: Text(\"none\"), local: false, function: false }"),
        (
            "SET SESSION AUTHORIZATION bob",
            "Set { name: \"session_authorization\", value: Text(\"bob\"), local: false, function: false }",
        ),
        ("SET TRANSACTION READ ONLY", "SetTransaction { session_characteristics: false }"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SetTransaction { session_characteristics: true }"),
        ("SET CONSTRAINTS ALL DEFERRED", "SetConstraints"),
        (
            "SELECT set_config('A.b', 'x', false)",
            "Set { name: \"a.b\", value: Text(\"x\"), local: false, function: true }",
        ),
        (
            "SELECT pg_catalog.set_config('search_path', '', false)",
            "Set { name: \"search_path\", value: Text(\"\"), local: false, function: true }",
        ),
        ("SELECT set_config('a', 'x', false), 1", "Query"),
        ("SELECT set_config('a', $1, false)", "Query"),
        ("RESET ALL", "ResetAll"),
        ("RESET a.b", "Reset(\"a.b\")"),
        ("RESET SESSION AUTHORIZATION", "Reset(\"session_authorization\")"),
        ("SHOW TIME ZONE", "Show(\"timezone\")"),
        ("SHOW TRANSACTION ISOLATION LEVEL", "Show(\"transaction_isolation\")"),
        ("SHOW pools", "Show(\"pools\")"),
        ("DISCARD ALL", "Discard(All)"),
        ("PREPARE a (int) AS SELECT $1", "Prepare { name: \"a\", types: Some(11..14), body: 19..28 }"),
        ("PREPARE transaction AS SELECT 1", "Prepare { name: \"transaction\", types: None, body: 23..31 }"),
        ("EXECUTE a(1, 'b')", "Execute { name: \"a\", args: Some(10..16) }"),
        ("EXECUTE a", "Execute { name: \"a\", args: None }"),
        ("DEALLOCATE PREPARE a", "Deallocate(Some(\"a\"))"),
        ("DEALLOCATE ALL", "Deallocate(None)"),
        ("DEALLOCATE \"all\"", "Deallocate(Some(\"all\"))"),
        ("LISTEN a", "Listen(\"a\")"),
        ("UNLISTEN *", "Unlisten(None)"),
        ("NOTIFY a, 'x'", "Notify"),
        ("DECLARE c BINARY CURSOR WITHOUT HOLD FOR SELECT 1", "Declare { name: \"c\", hold: false, query: 41..49 }"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "Declare { name: \"c\", hold: true, query: 31..39 }"),
        ("FETCH FORWARD 5 FROM c", "Fetch(\"c\")"),
        ("MOVE c", "Move(\"c\")"),
        ("CLOSE ALL", "ClosePortal(None)"),
        ("COPY t (a, b) FROM STDIN WITH (FORMAT csv)", "Copy { query: None, from: true, client: true }"),
        ("COPY t TO '/tmp/x'", "Copy { query: None, from: false, client: false }"),
        ("COPY (SELECT 1) TO STDOUT", "Copy { query: Some(6..14), from: false, client: true }"),
        ("EXPLAIN (ROUTE) SELECT 1", "Explain { route: true, analyze: false, inner: 16..24 }"),
        ("EXPLAIN (ANALYZE off, VERBOSE) SELECT 1", "Explain { route: false, analyze: false, inner: 31..39 }"),
        ("EXPLAIN ANALYZE VERBOSE SELECT 1", "Explain { route: false, analyze: true, inner: 24..32 }"),
        ("EXPLAIN (SELECT 1)", "Explain { route: false, analyze: false, inner: 8..18 }"),
        ("CREATE TABLE t (a int)", "Ddl"),
        ("ALTER VSCHEMA ADD TABLE t TYPE reference", "AlterVschema"),
        ("LOCK t", "Lock"),
        ("CALL p()", "Call"),
        ("DO $$ $$", "Do"),
        ("LOAD 'x'", "Load"),
        ("VACUUM", "Vacuum"),
        ("frobnicate", "Other"),
        ("SELECT 'abc", "Query"),
        ("'abc", "Other"),
    ] {
        assert_eq!(format!("{:?}", classify(text)), expected, "{text}");
    }
}
