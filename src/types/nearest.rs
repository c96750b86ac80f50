//! "Did you mean": the known name that a wrong one was probably meant to be.

/// A name further away than this was not meant.
const MAX_EDITS: usize = 3;
/// More names than this in a hint help nobody.
const MAX_LISTED: usize = 12;

/// A hint with the nearest of the names, or with all of them if they are few; `None` if there is nothing to say.
pub fn hint<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    let near = names.iter().map(|name| (edits(wrong, name), *name)).min();
    match near {
        Some((distance, name)) if distance <= MAX_EDITS && distance < wrong.chars().count() => {
            Some(format!("Did you mean `{name}`?"))
        }
        _ if names.is_empty() || names.len() > MAX_LISTED => None,
        _ => Some(format!("There are: {}.", names.join(", "))),
    }
}

/// Levenshtein's distance.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (index, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[index + 1];
            row[index + 1] = replaced.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}
