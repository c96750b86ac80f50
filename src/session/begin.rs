//! Which BEGIN can be put off until the transaction's first statement: only one that no server would refuse.

/// A BEGIN made of nothing but the words that the grammar knows there: it cannot fail.
pub(super) fn is_plain_begin(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "BEGIN",
        "START",
        "WORK",
        "TRANSACTION",
        "ISOLATION",
        "LEVEL",
        "SERIALIZABLE",
        "REPEATABLE",
        "READ",
        "COMMITTED",
        "UNCOMMITTED",
        "WRITE",
        "ONLY",
        "NOT",
        "DEFERRABLE",
    ];
    let text = text.trim().trim_end_matches(';');
    let mut words = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    words.all(|word| WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))) && is_well_formed_begin(text)
}

/// Whether the words stand in an order that the grammar takes: mode after mode.
fn is_well_formed_begin(text: &str) -> bool {
    let words: Vec<String> = text
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .map(str::to_uppercase)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut rest = match &words[..] {
        ["BEGIN", "WORK" | "TRANSACTION", rest @ ..] | ["START", "TRANSACTION", rest @ ..] | ["BEGIN", rest @ ..] => {
            rest
        }
        _ => return false,
    };
    while !rest.is_empty() {
        rest = match rest {
            ["ISOLATION", "LEVEL", "SERIALIZABLE", rest @ ..]
            | ["ISOLATION", "LEVEL", "REPEATABLE", "READ", rest @ ..]
            | ["ISOLATION", "LEVEL", "READ", "COMMITTED" | "UNCOMMITTED", rest @ ..]
            | ["READ", "WRITE" | "ONLY", rest @ ..]
            | ["NOT", "DEFERRABLE", rest @ ..]
            | ["DEFERRABLE", rest @ ..] => rest,
            _ => return false,
        };
    }
    true
}

pub(super) fn begin_tag(text: &str) -> &'static str {
    let start = text.trim_start().get(..5).is_some_and(|word| word.eq_ignore_ascii_case("start"));
    if start { "START TRANSACTION" } else { "BEGIN" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_begin_that_cannot_fail_is_put_off() {
        for text in [
            "BEGIN",
            "begin;",
            "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE",
            "BEGIN WORK READ WRITE",
            "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ] {
            assert!(is_plain_begin(text), "{text}");
        }
        for text in
            ["BEGIN READ", "BEGIN ISOLATION LEVEL bogus", "START", "BEGIN ATOMIC", "BEGIN WORK WORK", "BEGIN /*x*/"]
        {
            assert!(!is_plain_begin(text), "{text}");
        }
    }
}
