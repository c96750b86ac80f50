//! ALTER VSCHEMA as data: what a file becomes, or why not.

use super::{apply, parse};
use crate::types::cases::check;

const BEFORE: &str = include_str!("../cases/alter_before.toml");

/// Statements, one a line; the lines of the file that are new (`+`) or gone (`-`).
fn case(input: &str) -> String {
    let shards: Vec<String> = (0..4).map(|shard| format!("s{shard}")).collect();
    let mut files = vec![("commerce.toml".to_owned(), BEFORE.to_owned())];
    for statement in input.lines() {
        let vschema = crate::vschema::load(&files, &shards).unwrap();
        let changed = parse::parse(statement)
            .and_then(|statement| statement.changes(&vschema))
            .and_then(|changes| apply(&files, &changes));
        files = match changed {
            Ok(files) => files,
            Err(error) => return error.to_string(),
        };
        if let Err(error) = crate::vschema::load(&files, &shards) {
            return format!("invalid: {error}");
        }
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (BEFORE.lines().collect(), files[0].1.lines().collect());
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| format!("- {line}"));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| format!("+ {line}"));
    let lines: Vec<String> = gone.chain(come).collect();
    if lines.is_empty() { "nothing changes".to_owned() } else { lines.join("\n") }
}

#[test]
fn statements_change_the_file_as_their_cases_say() {
    check("src/vschema/cases/alter.txt", case);
}

#[test]
fn what_is_not_changed_stays_byte_for_byte() {
    let files = [("a.toml".to_owned(), BEFORE.to_owned())];
    assert_eq!(apply(&files, &[]).unwrap()[0].1, BEFORE);
}
