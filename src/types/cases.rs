//! The tests' runner of cases as data: a file of blocks, each a sentence, an input, `----`, and the output.
//!
//! Blocks are separated by empty lines. With `GOLDSEAM_BLESS=1` the outputs are written anew: read the difference before you
//! commit it.

use std::path::Path;

/// Runs every block of a file (relative to the crate's root) through `run` and compares the outputs.
pub(crate) fn check(file: &str, run: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut blessed = Vec::new();
    let mut cases = 0;
    for block in text.trim_end().split("\n\n") {
        let Some((head, _)) = block.split_once("----") else {
            blessed.push(block.to_owned());
            continue;
        };
        cases += 1;
        let input: String = head.lines().filter(|line| !line.starts_with("# ")).flat_map(|line| [line, "\n"]).collect();
        let output = run(&input);
        blessed.push(format!("{head}----\n{}", output.trim_end()));
    }
    assert!(cases > 0, "{file} has no cases");
    let blessed = blessed.join("\n\n") + "\n";
    if std::env::var_os("GOLDSEAM_BLESS").is_some() {
        std::fs::write(&path, blessed).unwrap();
        return;
    }
    for (expected, got) in text.trim_end().split("\n\n").zip(blessed.trim_end().split("\n\n")) {
        assert_eq!(expected.trim_end(), got, "in {file}");
    }
}

/// Reads `type <value> type <value> ...`.
pub(crate) fn typed_values(text: &str) -> Vec<(&str, &str)> {
    let mut values = Vec::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once(" <") {
        let (value, after) = after.split_once('>').unwrap();
        values.push((name.trim(), value));
        rest = after.trim_start();
    }
    values
}
