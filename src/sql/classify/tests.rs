use std::ops::Range;

use super::*;

fn set(name: &'static str, value: &'static str, local: bool) -> Command<'static> {
    Command::Set { name: name.into(), value: SetValue::Text(value.into()), local, function: false }
}

fn set_default(name: &'static str) -> Command<'static> {
    Command::Set { name: name.into(), value: SetValue::Default, local: false, function: false }
}

fn config(name: &'static str, value: &'static str, local: bool) -> Command<'static> {
    Command::Set { name: name.into(), value: SetValue::Text(value.into()), local, function: true }
}

#[test]
fn each_command_by_its_tokens() {
    use Command::{Other, Query};
    let table: &[(&str, Command<'_>)] = &[
        ("", Command::Empty),
        (" /* a /* b */ */ -- c\n ;", Command::Empty),
        ("select 1", Query),
        ("/* c */ SELECT 1", Query),
        ("((SELECT 1))", Query),
        ("WITH a AS (SELECT 1) SELECT 1", Query),
        ("table t", Query),
        ("merge into t using s on true when matched then delete", Query),
        ("BEGIN", Command::Begin { read_only: false }),
        ("begin work;", Command::Begin { read_only: false }),
        ("START TRANSACTION READ ONLY", Command::Begin { read_only: true }),
        ("BEGIN READ ONLY, ISOLATION LEVEL READ COMMITTED", Command::Begin { read_only: true }),
        ("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY", Command::Begin { read_only: true }),
        ("BEGIN READ ONLY READ WRITE", Command::Begin { read_only: false }),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE", Command::Begin { read_only: true }),
        ("START", Other),
        ("COMMIT AND CHAIN", Command::Commit { chain: true }),
        ("END TRANSACTION AND NO CHAIN", Command::Commit { chain: false }),
        ("COMMIT PREPARED 'x'", Command::CommitPrepared),
        ("COMMIT nonsense", Other),
        ("ROLLBACK", Command::Rollback { chain: false }),
        ("ABORT WORK AND CHAIN", Command::Rollback { chain: true }),
        ("ROLLBACK PREPARED 'x'", Command::RollbackPrepared),
        ("ROLLBACK TO a", Command::RollbackTo("a".into())),
        ("ROLLBACK WORK TO SAVEPOINT \"A\"\"b\"", Command::RollbackTo("A\"b".into())),
        ("SAVEPOINT Ab", Command::Savepoint("ab".into())),
        ("RELEASE SAVEPOINT a", Command::Release("a".into())),
        ("RELEASE a", Command::Release("a".into())),
        ("PREPARE TRANSACTION 'x'", Command::PrepareTransaction),
        ("SET a TO b, 'c' ;", set("a", "b, 'c'", false)),
        ("SET SESSION A.b = 'It''s'", set("a.b", "'It''s'", false)),
        ("SET LOCAL statement_timeout = 10", set("statement_timeout", "10", true)),
        ("SET a TO DEFAULT", set_default("a")),
        ("SET TIME ZONE 'UTC'", set("timezone", "'UTC'", false)),
        ("SET LOCAL TIME ZONE 'UTC'", set("timezone", "'UTC'", true)),
        ("SET TIME ZONE LOCAL", set_default("timezone")),
        ("SET NAMES 'UTF8'", set("client_encoding", "'UTF8'", false)),
        ("SET ROLE bob", set("role", "bob", false)),
        ("SET SESSION AUTHORIZATION bob", set("session_authorization", "bob", false)),
        ("SET SESSION AUTHORIZATION DEFAULT", set_default("session_authorization")),
        ("SET SCHEMA 's'", set("search_path", "'s'", false)),
        ("SET a", Other),
        ("SET a =", Other),
        ("SET a b", Other),
        ("SET TRANSACTION READ ONLY", Command::SetTransaction { session_characteristics: false }),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            Command::SetTransaction { session_characteristics: true },
        ),
        ("SET CONSTRAINTS ALL DEFERRED", Command::SetConstraints),
        ("SELECT set_config('A', 'it''s', false)", config("a", "it's", false)),
        ("SELECT pg_catalog.set_config('a', '', true);", config("a", "", true)),
        ("SELECT set_config('a', 'b', false) AS c", config("a", "b", false)),
        ("SELECT set_config('a', 'b', false) c", config("a", "b", false)),
        ("SELECT set_config('a', 'b', false) AS", Query),
        ("SELECT set_config('a', 'b', false) FROM t", Query),
        ("SELECT set_config('a', 'b', false), 1", Query),
        ("SELECT set_config('a', 'b' || 'c', false)", Query),
        ("SELECT set_config('a', E'b', false)", Query),
        ("SELECT mine.set_config('a', 'b', false)", Query),
        ("RESET a", Command::Reset("a".into())),
        ("RESET ROLE", Command::Reset("role".into())),
        ("RESET TIME ZONE", Command::Reset("timezone".into())),
        ("RESET SESSION AUTHORIZATION", Command::Reset("session_authorization".into())),
        ("RESET ALL", Command::ResetAll),
        ("SHOW TimeZone", Command::Show("timezone".into())),
        ("SHOW TIME ZONE", Command::Show("timezone".into())),
        ("SHOW TRANSACTION ISOLATION LEVEL", Command::Show("transaction_isolation".into())),
        ("SHOW SESSION AUTHORIZATION", Command::Show("session_authorization".into())),
        ("SHOW ALL", Command::Show("all".into())),
        ("SHOW vschema Tables", Command::Show("vschema tables".into())),
        ("DISCARD ALL", Command::Discard(DiscardTarget::All)),
        ("DISCARD TEMPORARY", Command::Discard(DiscardTarget::Temp)),
        ("DEALLOCATE PREPARE p", Command::Deallocate(Some("p".into()))),
        ("DEALLOCATE ALL", Command::Deallocate(None)),
        ("DEALLOCATE \"all\"", Command::Deallocate(Some("all".into()))),
        ("EXECUTE p", Command::Execute { name: "p".into(), args: None }),
        ("EXECUTE p (1, (2))", Command::Execute { name: "p".into(), args: Some(11..17) }),
        ("LISTEN c", Command::Listen("c".into())),
        ("UNLISTEN *", Command::Unlisten(None)),
        ("NOTIFY c, 'x'", Command::Notify),
        ("FETCH c", Command::Fetch("c".into())),
        ("FETCH 10 FROM C;", Command::Fetch("c".into())),
        ("FETCH NEXT IN c", Command::Fetch("c".into())),
        ("MOVE BACKWARD 1 FROM \"C\"", Command::Move("C".into())),
        ("CLOSE ALL", Command::ClosePortal(None)),
        ("CLOSE \"all\"", Command::ClosePortal(Some("all".into()))),
        ("COPY t (a) FROM STDIN", Command::Copy { query: None, from: true, client: true }),
        ("COPY t TO '/tmp/f'", Command::Copy { query: None, from: false, client: false }),
        ("COPY t FROM PROGRAM 'x'", Command::Copy { query: None, from: true, client: false }),
        ("COPY (SELECT 1) TO STDOUT", Command::Copy { query: Some(6..14), from: false, client: true }),
        ("LOCK TABLE t", Command::Lock),
        ("CALL p()", Command::Call),
        ("DO $$x$$", Command::Do),
        ("LOAD 'x'", Command::Load),
        ("VACUUM t", Command::Vacuum),
        ("ALTER VSCHEMA x", Command::AlterVschema),
        ("ALTER TABLE t ADD a int", Command::Ddl),
        ("SECURITY LABEL ON TABLE t IS 'x'", Command::Ddl),
        ("IMPORT FOREIGN SCHEMA s FROM SERVER x INTO y", Command::Ddl),
        ("REASSIGN OWNED BY a TO b", Command::Ddl),
        ("nonsense", Other),
        ("a_word_longer_than_any_command", Other),
        ("'x'", Other),
        ("SELECT 'open", Query),
        ("/* open", Other),
        ("COMMIT /* open", Other),
        ("SET a TO 'open", Other),
        ("SHOW a /* open", Other),
        ("FETCH c /* open", Other),
    ];
    for (text, expected) in table {
        assert_eq!(&classify(text), expected, "{text}");
    }
}

/// `what` as it stands in the text, so that the table below needs no counting.
fn place(text: &str, what: &str) -> Range<usize> {
    let start = text.rfind(what).expect("the test's own text");
    start..start + what.len()
}

#[test]
fn inner_statements_are_found() {
    for (text, route, analyze, inner) in [
        ("EXPLAIN SELECT 1 ;", false, false, "SELECT 1"),
        ("EXPLAIN ANALYZE VERBOSE SELECT 1", false, true, "SELECT 1"),
        ("EXPLAIN (ROUTE) SELECT 1", true, false, "SELECT 1"),
        ("EXPLAIN (COSTS off, ANALYZE) SELECT 1", false, true, "SELECT 1"),
        ("EXPLAIN (ANALYZE false, ROUTE on) SELECT 1", true, false, "SELECT 1"),
        ("EXPLAIN (SELECT 1)", false, false, "(SELECT 1)"),
    ] {
        assert_eq!(classify(text), Command::Explain { route, analyze, inner: place(text, inner) }, "{text}");
    }
    for (text, types) in [("PREPARE P (int, numeric(3,1)) AS SELECT 1", true), ("PREPARE p AS SELECT 1", false)] {
        let types = types.then(|| place(text, "int, numeric(3,1)"));
        let expected = Command::Prepare { name: "p".into(), types, body: place(text, "SELECT 1") };
        assert_eq!(classify(text), expected, "{text}");
    }
    for (text, hold) in [
        ("DECLARE c CURSOR FOR SELECT 1", false),
        ("DECLARE c NO SCROLL CURSOR WITH HOLD FOR SELECT 1", true),
        ("DECLARE c BINARY CURSOR WITHOUT HOLD FOR SELECT 1", false),
    ] {
        let expected = Command::Declare { name: "c".into(), hold, query: place(text, "SELECT 1") };
        assert_eq!(classify(text), expected, "{text}");
    }
}

#[test]
fn settings_are_borrowed() {
    // What is returned borrows or is empty; the rest is the reader, which lives on the stack.
    assert!(matches!(classify("SET a TO b"), Command::Set { name: Cow::Borrowed(_), .. }));
    assert!(matches!(
        classify("SELECT set_config('A', 'b', false)"),
        Command::Set { value: SetValue::Text(Cow::Borrowed(_)), .. }
    ));
}
