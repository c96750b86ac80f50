//! When two answers are the same.
//!
//! Names, types and modifiers of columns, parameters' types, the tag, the transaction status and the rows must be; of errors the SQLSTATE,
//! and not what came before them. Without ORDER BY at the end of the statement its rows are a bag. With it they are a sequence: a
//! statement whose order leaves ties that can be told apart has to say so ([`Rule::by`]), as has one whose LIMIT leaves a choice
//! ([`Rule::of`]).

use super::client::{Answer, Column, FIRST_OWN};

/// How a statement's rows are compared, where its text does not say all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    /// The rows are in order by these columns, counted from 0, and otherwise a bag.
    pub by: Option<Vec<usize>>,
    /// Any rows of this query's answer will do.
    pub of: Option<String>,
    /// Floating-point numbers may differ in the last digits: PostgreSQL's own depend on the order of rows.
    pub about: bool,
    /// Only that both succeed, and what the columns are: the values are a server's own affair.
    pub shape: bool,
}

/// What a comparison shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Same,
    /// With Goldseam's message.
    Refused(String),
    /// In words.
    Different(String),
}

/// `all` is the answer to [`Rule::of`].
pub fn compare(sql: &str, rule: &Rule, found: &Answer, expected: &Answer, all: Option<&Answer>) -> Verdict {
    if let Some((code, message)) = &found.error {
        return match &expected.error {
            Some((other, _)) if other == code && found.status == expected.status => Verdict::Same,
            _ if is_refusal(code, message) => Verdict::Refused(message.clone()),
            _ => different(found, expected),
        };
    }
    let (mut one, mut other) = (found.clone(), expected.clone());
    forgive_modifiers(&mut one, &other);
    if rule.shape {
        one.rows.clear();
        other.rows.clear();
    }
    for answer in [&mut one, &mut other] {
        hide_own_types(answer);
        if rule.about {
            round(answer);
        }
    }
    let bags_match = match (all, &rule.by) {
        (Some(all), _) => {
            let mut all = all.clone();
            hide_own_types(&mut all);
            let matches = one.rows.len() == other.rows.len() && is_part(&one.rows, &all.rows);
            one.rows.clear();
            other.rows.clear();
            matches
        }
        (None, Some(columns)) => {
            let project = |answer: &Answer| -> Vec<Vec<Option<Vec<u8>>>> {
                answer.rows.iter().map(|row| columns.iter().map(|at| row[*at].clone()).collect()).collect()
            };
            let matches = project(&one) == project(&other);
            one.rows.sort();
            other.rows.sort();
            matches
        }
        (None, None) => {
            if !is_ordered(sql) {
                one.rows.sort();
                other.rows.sort();
            }
            true
        }
    };
    if bags_match && one == other { Verdict::Same } else { different(found, expected) }
}

/// A final statement on a server makes `char(3)` a `char` without a length that is known: its values are the same.
fn forgive_modifiers(found: &mut Answer, whole: &Answer) {
    let columns =
        |answer: &Answer| answer.descriptions.iter().flatten().map(|column| column.modifier).collect::<Vec<_>>();
    let expected = columns(whole);
    for (column, modifier) in found.descriptions.iter_mut().flatten().zip(expected) {
        if column.modifier == -1 {
            column.modifier = modifier;
        }
    }
    forgive_row_types(found, whole);
}

/// A whole row of a table that is put together elsewhere is a record without the table's name: a known difference, of the type alone.
fn forgive_row_types(found: &mut Answer, expected: &Answer) {
    const RECORD: u32 = 2249;
    let expected: Vec<u32> = expected.descriptions.iter().flatten().map(|column| column.type_oid).collect();
    for (column, expected) in found.descriptions.iter_mut().flatten().zip(expected) {
        if column.type_oid == RECORD && expected == 0 {
            column.type_oid = 0;
        }
    }
}

/// In binary form names of things (`regclass`) are OIDs, and arrays, records and ranges of types that are not PostgreSQL's own begin with one.
fn hide_own_types(answer: &mut Answer) {
    const RECORD: u32 = 2249;
    const NAMES: [u32; 5] = [24, 26, 2205, 2206, 4096];
    let Some(columns) = answer.descriptions.last() else { return };
    let hidden: Vec<usize> = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.format == 1 && column.length < 0 && matches!(column.type_oid, 0 | RECORD))
        .map(|(at, _)| at)
        .collect();
    let named: Vec<usize> = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| column.format == 1 && NAMES.contains(&column.type_oid))
        .map(|(at, _)| at)
        .collect();
    for row in &mut answer.rows {
        for at in &named {
            let own = |bytes: &Vec<u8>| u32::from_be_bytes(bytes.as_slice().try_into().unwrap()) >= FIRST_OWN;
            row[*at] = row[*at].take().filter(|bytes| !own(bytes));
        }
        for at in &hidden {
            // Enumerations are words in binary form too, and these have no OID before them.
            row[*at] = row[*at].take().filter(|bytes| !bytes.contains(&0));
        }
    }
}

fn round(answer: &mut Answer) {
    const DIGITS: usize = 9;
    let columns: Vec<Column> = answer.descriptions.last().cloned().unwrap_or_default();
    let shorten = |value: &mut Vec<u8>, column: &Column| {
        let number = match (column.type_oid, column.format) {
            (701, 0) | (700, 0) => std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok()),
            (701, 1) => value.as_slice().try_into().ok().map(f64::from_be_bytes),
            (700, 1) => value.as_slice().try_into().ok().map(|bytes| f64::from(f32::from_be_bytes(bytes))),
            _ => None,
        };
        if let Some(number) = number {
            let digits = if column.type_oid == 700 { DIGITS - 4 } else { DIGITS };
            *value = format!("{number:.digits$e}").into_bytes();
        }
    };
    // Without a description any number with a point is taken for one.
    if columns.is_empty() {
        for value in answer.rows.iter_mut().flatten().flatten().filter(|value| value.contains(&b'.')) {
            if let Some(number) = std::str::from_utf8(value).ok().and_then(|text| text.parse::<f64>().ok()) {
                *value = format!("{number:.DIGITS$e}").into_bytes();
            }
        }
    }
    for row in &mut answer.rows {
        for (value, column) in row.iter_mut().zip(&columns) {
            value.iter_mut().for_each(|value| shorten(value, column));
        }
    }
}

fn is_part(part: &[Vec<Option<Vec<u8>>>], all: &[Vec<Option<Vec<u8>>>]) -> bool {
    let mut left: Vec<&Vec<Option<Vec<u8>>>> = all.iter().collect();
    part.iter().all(|row| {
        let at = left.iter().position(|other| *other == row);
        at.map(|at| left.swap_remove(at)).is_some()
    })
}

/// Whether the outermost query has an ORDER BY, or the one that is copied.
pub fn is_ordered(sql: &str) -> bool {
    let (mut depth, upper) = (0, sql.to_uppercase());
    if upper.starts_with("COPY (") {
        return upper.contains("ORDER BY");
    }
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
        _ => false,
    }
}

fn different(found: &Answer, expected: &Answer) -> Verdict {
    Verdict::Different(format!("Goldseam:   {}\nPostgreSQL: {}", show(found, expected), show(expected, found)))
}

/// An answer in a few lines, and the first rows that the other one has not.
fn show(answer: &Answer, other: &Answer) -> String {
    if let Some(error) = &answer.error {
        return format!("{error:?}, status {}", char::from(answer.status));
    }
    let shown = |rows: &mut dyn Iterator<Item = &Vec<Option<Vec<u8>>>>| {
        let rows: Vec<String> = rows.take(6).map(|row| row.iter().map(value).collect::<Vec<_>>().join("|")).collect();
        rows.join("\n      ")
    };
    let columns = |answer: &Answer| format!("{:?}", answer.descriptions);
    let mut text =
        format!("{} rows, {:?}, status {}", answer.rows.len(), answer.tags.join(" "), char::from(answer.status));
    if columns(answer) != columns(other) {
        text += &format!("\n   columns {}", columns(answer));
    }
    if answer.parameters != other.parameters {
        text += &format!("\n   parameters {:?}", answer.parameters);
    }
    let odd = shown(&mut answer.rows.iter().filter(|row| !other.rows.contains(row)));
    text += &format!("\n   first: {}\n   rows that only this has: {odd}", shown(&mut answer.rows.iter()));
    text
}

fn value(value: &Option<Vec<u8>>) -> String {
    let Some(bytes) = value else { return "NULL".into() };
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.chars().take(120).collect(),
        _ => bytes.iter().take(40).map(|byte| format!("{byte:02x}")).collect(),
    }
}
