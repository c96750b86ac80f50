//! Promise 1 put to the test: every statement of `statements/*.txt`, and as many made-up ones as one likes, is asked through Goldseam
//! over four shards and of one plain PostgreSQL. The answers must be the same, or Goldseam must refuse.
//!
//! How a file is written is told in [`statements`](crate::statements). Nothing is marked as refused or answered, so a refusal may turn into
//! an answer without an edit here; but what is in a file named `routed_*.txt` must be answered.
//!
//! Statements run by the simple protocol and again by the extended one. Those of a file with `writes` in its name run in a
//! transaction that is rolled back. Statements over several shards have a proof of their own ([`proof`](crate::proof)).
//!
//! `GOLDSEAM_SEED` and `GOLDSEAM_STATEMENTS` vary the made-up statements.

use std::error::Error;
use std::path::Path;

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::fixture;
use crate::generator::Generator;
use crate::statements::{Case, Parameter, Step, parse};

/// What a statement gives: column names (with types, where the protocol's client shows them), rows, the tag's count; or an error.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Rows { columns: Vec<String>, rows: Vec<Vec<Option<Vec<u8>>>>, count: Option<u64> },
    Error { code: String, message: String },
    Broken(String),
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Same,
    Refused(String),
}

/// A value as the server sent it.
struct Bytes(Option<Vec<u8>>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(Some(raw.to_vec())))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Bytes(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn failed(error: tokio_postgres::Error) -> Answer {
    match error.as_db_error() {
        Some(error) => Answer::Error { code: error.code().code().to_string(), message: error.message().to_string() },
        None => Answer::Broken(format!("{error}: {:?}", error.source())),
    }
}

async fn simple(client: &Client, sql: &str) -> Answer {
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => return failed(error),
    };
    let (mut columns, mut rows, mut count) = (Vec::new(), Vec::new(), None);
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(names) => {
                columns.extend(names.iter().map(|column| column.name().to_string()));
            }
            SimpleQueryMessage::Row(row) => {
                rows.push((0..row.len()).map(|n| row.get(n).map(|text| text.as_bytes().to_vec())).collect());
            }
            SimpleQueryMessage::CommandComplete(number) => count = Some(number),
            _ => {}
        }
    }
    Answer::Rows { columns, rows, count }
}

async fn extended(client: &Client, sql: &str, parameters: &[Parameter]) -> Answer {
    let types: Vec<Type> =
        parameters.iter().map(|parameter| parameter.declared.clone().unwrap_or(undeclared())).collect();
    let statement = match client.prepare_typed(sql, &types).await {
        Ok(statement) => statement,
        Err(error) => return failed(error),
    };
    let columns: Vec<String> =
        statement.columns().iter().map(|column| format!("{} {}", column.name(), column.type_())).collect();
    if statement.params().len() != parameters.len() {
        return Answer::Broken(format!("{} parameters", statement.params().len()));
    }
    let parameters: Vec<&(dyn ToSql + Sync)> = parameters.iter().map(|one| one as &(dyn ToSql + Sync)).collect();
    if columns.is_empty() {
        return match client.execute(&statement, &parameters).await {
            Ok(count) => Answer::Rows { columns, rows: Vec::new(), count: Some(count) },
            Err(error) => failed(error),
        };
    }
    match client.query(&statement, &parameters).await {
        Ok(rows) => {
            let row = |row: &tokio_postgres::Row| (0..row.len()).map(|n| row.get::<_, Bytes>(n).0).collect();
            Answer::Rows { columns, rows: rows.iter().map(row).collect(), count: None }
        }
        Err(error) => failed(error),
    }
}

/// The type that leaves it to the server to infer one.
fn undeclared() -> Type {
    Type::new("undeclared".into(), 0, tokio_postgres::types::Kind::Simple, String::new())
}

/// Whether the outermost query has an ORDER BY.
fn is_ordered(sql: &str) -> bool {
    let (mut depth, upper) = (0, sql.to_uppercase());
    upper.char_indices().any(|(at, c)| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0 && upper.get(at..).is_some_and(|rest| rest.starts_with("ORDER BY"))
    })
}

fn is_refusal(code: &str, message: &str) -> bool {
    match code {
        "0A000" => true,
        "42P01" => message.contains("is in no keyspace"),
        "23502" => message.starts_with("null value in column"),
        "23514" => message.starts_with("no shard found"),
        code => code.starts_with("54"),
    }
}

/// The verdict on two answers; the error says how they differ.
fn compare(sql: &str, proxy: Answer, oracle: Answer) -> Result<Verdict, String> {
    let (mut proxy, mut oracle) = (proxy, oracle);
    if !is_ordered(sql) {
        for answer in [&mut proxy, &mut oracle] {
            if let Answer::Rows { rows, .. } = answer {
                rows.sort();
            }
        }
    }
    match (&proxy, &oracle) {
        (Answer::Error { code, .. }, Answer::Error { code: other, .. }) if code == other => Ok(Verdict::Same),
        (Answer::Error { code, message }, _) if is_refusal(code, message) => Ok(Verdict::Refused(message.clone())),
        (Answer::Rows { .. }, Answer::Rows { .. }) if proxy == oracle => Ok(Verdict::Same),
        _ => Err(format!("Goldseam: {}\nPostgreSQL: {}", show(&proxy), show(&oracle))),
    }
}

fn show(answer: &Answer) -> String {
    let Answer::Rows { columns, rows, count } = answer else { return format!("{answer:?}") };
    let value = |value: &Option<Vec<u8>>| match value {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "NULL".into(),
    };
    let rows_shown: Vec<String> =
        rows.iter().take(5).map(|row| row.iter().map(value).collect::<Vec<_>>().join("|")).collect();
    format!("{} rows, count {count:?}, columns {columns:?}: {rows_shown:?}", rows.len())
}

/// Runs the statements of a case on a session of each. Stops where Goldseam refuses.
async fn run(
    (proxy, oracle): (&Client, &Client),
    case: &Case,
    by_extended: bool,
    in_transaction: bool,
) -> Result<Verdict, String> {
    let mut verdict = Verdict::Same;
    if in_transaction {
        for client in [proxy, oracle] {
            client.batch_execute("BEGIN").await.unwrap();
        }
    }
    for Step { parameters, sql, .. } in &case.steps {
        let (found, expected) = if by_extended || !parameters.is_empty() {
            (extended(proxy, sql, parameters).await, extended(oracle, sql, parameters).await)
        } else {
            (simple(proxy, sql).await, simple(oracle, sql).await)
        };
        match compare(sql, found, expected).map_err(|difference| format!("{sql}\n{difference}"))? {
            Verdict::Same => {}
            refused => {
                verdict = refused;
                break;
            }
        }
    }
    for client in [proxy, oracle] {
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    Ok(verdict)
}

#[tokio::test]
async fn every_statement_is_answered_as_by_one_server_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/statements");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let (mut same, mut refused, mut differences) = (0, 0, Vec::new());
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_string();
        let (mut same_here, mut refused_here) = (0, 0);
        let fixture = fixture::get();
        let (mut proxy, mut oracle) = (fixture.proxy().await, fixture.oracle().await);
        for case in parse(&std::fs::read_to_string(&file).unwrap()) {
            let protocols = if case.steps.iter().all(|step| step.parameters.is_empty()) { 2 } else { 1 };
            let mut answered = true;
            for protocol in 0..protocols {
                // A case of one statement leaves nothing behind.
                if case.steps.len() > 1 && !name.contains("writes") {
                    (proxy, oracle) = (fixture.proxy().await, fixture.oracle().await);
                }
                match run((&proxy, &oracle), &case, protocol == 1, name.contains("writes")).await {
                    Ok(Verdict::Same) => {}
                    Ok(Verdict::Refused(message)) => {
                        answered = false;
                        if name.starts_with("routed_") {
                            differences.push(format!("{name}: {} is refused: {message}", case.sentence));
                        }
                    }
                    Err(difference) => {
                        let how = ["simple", "extended"][protocol];
                        differences.push(format!("{name}, by the {how} protocol: {}\n{difference}", case.sentence));
                    }
                }
            }
            *(if answered { &mut same_here } else { &mut refused_here }) += 1;
        }
        println!("{name}: {same_here} the same, {refused_here} refused");
        (same, refused) = (same + same_here, refused + refused_here);
    }
    println!("all: {same} the same, {refused} refused");
    assert!(differences.is_empty(), "{} differences\n\n{}", differences.len(), differences.join("\n\n"));
    assert!(same > refused, "too much is refused for the comparison to show anything");
}

/// What PostgreSQL expects a statement to cost at most, in units of its planner, that is worth comparing; the tables' products have tenfold that.
const MOST_COST: f64 = 100_000.0;

/// Whether PostgreSQL expects to be done with a statement soon, with few rows. One with an error is small.
async fn is_small(oracle: &Client, sql: &str) -> bool {
    let Ok(answer) = oracle.simple_query(&format!("EXPLAIN (FORMAT JSON) {sql}")).await else { return true };
    let text = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan: serde_json::Value = serde_json::from_str(text.unwrap()).unwrap();
    let number = |name: &str| plan[0]["Plan"][name].as_f64().unwrap_or(f64::INFINITY);
    number("Total Cost") <= MOST_COST && number("Plan Rows") <= MOST_COST
}

#[tokio::test]
async fn made_up_statements_are_answered_as_by_one_server_or_refused() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("GOLDSEAM_SEED").unwrap_or(20_260_101);
    let statements = number("GOLDSEAM_STATEMENTS").unwrap_or(400);
    let fixture = fixture::get();
    let (proxy, oracle) = (fixture.proxy().await, fixture.oracle().await);
    let mut generator = Generator::new(seed);
    // Staged rows have no index: what one server looks up for each row of a sub-query takes the workbench a scan.
    proxy.batch_execute("SET statement_timeout = '5s'").await.unwrap();
    let (mut same, mut refused, mut failed, mut large, mut slow, mut differences) = (0, 0, 0, 0, 0, Vec::new());
    for n in 0..statements {
        let sql = generator.statement();
        // A product of whole tables takes one server minutes too, and says nothing that a smaller one does not.
        if !is_small(&oracle, &sql).await {
            large += 1;
            continue;
        }
        let found = if n % 2 == 0 { simple(&proxy, &sql).await } else { extended(&proxy, &sql, &[]).await };
        if let Answer::Error { code, message } = &found
            && is_refusal(code, message)
        {
            refused += 1;
            continue;
        }
        if matches!(&found, Answer::Error { code, .. } if code == "57014") {
            slow += 1;
            println!("too slow: {sql}");
            continue;
        }
        let expected = if n % 2 == 0 { simple(&oracle, &sql).await } else { extended(&oracle, &sql, &[]).await };
        failed += usize::from(matches!(expected, Answer::Error { .. }));
        match compare(&sql, found, expected) {
            Ok(_) => same += 1,
            Err(difference) => differences.push(format!("seed {seed}, statement {n}: {sql}\n{difference}")),
        }
    }
    println!(
        "seed {seed}: {same} the same ({failed} of them errors), {refused} refused, {large} too large, {slow} too slow"
    );
    assert!((large + slow) * 3 < statements, "too much is left out for the comparison to show anything");
    assert!(differences.is_empty(), "{} differences\n\n{}", differences.len(), differences.join("\n\n"));
    assert!(same > 0);
}
