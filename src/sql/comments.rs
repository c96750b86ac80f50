//! What a statement says to Goldseam in comments of the form `/* goldseam: name=value word ... */`.
//!
//! A shard is named in the first comment of a text only, because that has to be found fast ([`Normalized::hint`](super::Normalized)); the
//! place of a new table is looked for in all of them, because tools can put a comment in one place only, and that is not always the first.

use super::lexer::Token;

/// The words of all such comments between the tokens of a statement, in order: `name=value` with its value, or a word alone.
pub fn words<'t>(text: &'t str, tokens: &[Token]) -> Vec<(&'t str, Option<&'t str>)> {
    let mut words = Vec::new();
    let mut end = 0;
    let starts = tokens.iter().map(|token| (token.start as usize, token.end as usize));
    for (start, next) in starts.chain([(text.len(), text.len())]) {
        said(text.get(end..start).unwrap_or(""), &mut words);
        end = next;
    }
    words
}

fn said<'t>(between: &'t str, words: &mut Vec<(&'t str, Option<&'t str>)>) {
    let mut rest = between;
    while let Some((_, after)) = rest.split_once("goldseam:") {
        let (inside, after) = match after.split_once("*/") {
            Some(parts) => parts,
            // A comment of the other kind ends with its line.
            None => after.split_once('\n').unwrap_or((after, "")),
        };
        for word in inside.split_whitespace().map(|word| word.trim_end_matches(',')).filter(|word| !word.is_empty()) {
            words.push(match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            });
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, lex};

    #[test]
    fn words_are_found_wherever_the_comment_stands() {
        let words = |text: &str| {
            let tokens = lex(text, &Limits::default()).unwrap();
            let words = super::words(text, &tokens);
            words.iter().map(|(name, value)| format!("{name}={}", value.unwrap_or("-"))).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("/* goldseam: shard_key=a,b vindex=v */ CREATE TABLE t ()"), "shard_key=a,b vindex=v");
        assert_eq!(words("CREATE TABLE t () /* goldseam: reference */"), "reference=-");
        assert_eq!(words("CREATE TABLE t () -- goldseam: shard=s1"), "shard=s1");
        assert_eq!(words("CREATE /* goldseam: a=1, b=2 */ TABLE t (x text DEFAULT 'goldseam: c=3')"), "a=1 b=2");
    }
}
