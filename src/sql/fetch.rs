//! FETCH and MOVE: which rows of a cursor.

use std::borrow::Cow;

use super::classify::name_of;
use super::lexer::{Limits, Token, lex};

/// How a cursor moves (`fetch_args` of PostgreSQL's grammar).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// So many rows on; 0 is the row where it stands. None: all.
    Forward(Option<u64>),
    /// So many rows back; none: all.
    Backward(Option<u64>),
    /// To this row, counted from the first, or, if negative, from the last.
    Absolute(i64),
    /// So many rows from here, of which only the last is wanted.
    Relative(i64),
}

/// One FETCH or MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch<'a> {
    /// MOVE: the rows are not wanted.
    pub moves: bool,
    /// How far.
    pub motion: Motion,
    /// The cursor.
    pub name: Cow<'a, str>,
}

/// Reads a FETCH or MOVE; none if it is no other or not well-formed, which PostgreSQL then says itself.
pub fn fetch(text: &str) -> Option<Fetch<'_>> {
    let limits = Limits { max_tokens: 16, ..Limits::default() };
    let tokens = lex(text, &limits).ok()?;
    let tokens: Vec<Token> =
        tokens.into_iter().filter(|token| token.kind != super::lexer::TokenKind::Semicolon).collect();
    let (first, rest) = tokens.split_first()?;
    let moves = match () {
        () if first.is(text, "fetch") => false,
        () if first.is(text, "move") => true,
        () => return None,
    };
    let (last, mut args) = rest.split_last()?;
    let name = name_of(text, *last)?;
    if let Some((from, before)) = args.split_last()
        && (from.is(text, "from") || from.is(text, "in"))
    {
        args = before;
    }
    let words: Vec<String> = args.iter().map(|token| token.text(text).to_ascii_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let forward = |count: i64| match u64::try_from(count) {
        Ok(count) => Motion::Forward(Some(count)),
        Err(_) => Motion::Backward(Some(count.unsigned_abs())),
    };
    let backward = |count: i64| match u64::try_from(count) {
        Ok(count) => Motion::Backward(Some(count)),
        Err(_) => Motion::Forward(Some(count.unsigned_abs())),
    };
    let motion = match &words[..] {
        [] | ["next"] | ["forward"] => Motion::Forward(Some(1)),
        ["prior"] | ["backward"] => Motion::Backward(Some(1)),
        ["first"] => Motion::Absolute(1),
        ["last"] => Motion::Absolute(-1),
        ["all"] | ["forward", "all"] => Motion::Forward(None),
        ["backward", "all"] => Motion::Backward(None),
        ["absolute", rest @ ..] => Motion::Absolute(signed(rest)?),
        ["relative", rest @ ..] => Motion::Relative(signed(rest)?),
        ["forward", rest @ ..] => forward(signed(rest)?),
        ["backward", rest @ ..] => backward(signed(rest)?),
        rest => forward(signed(rest)?),
    };
    Some(Fetch { moves, motion, name })
}

/// `SignedIconst`.
fn signed(words: &[&str]) -> Option<i64> {
    let number = |digits: &str| digits.parse::<i32>().ok().filter(|_| !digits.starts_with(['+', '-'])).map(i64::from);
    match words {
        [digits] => number(digits),
        ["+", digits] => number(digits),
        ["-", digits] => number(digits).map(|number| -number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_grammar_is_read() {
        let cases = [
            ("FETCH c", Motion::Forward(Some(1))),
            ("fetch from c", Motion::Forward(Some(1))),
            ("FETCH NEXT IN c;", Motion::Forward(Some(1))),
            ("FETCH next", Motion::Forward(Some(1))),
            ("FETCH PRIOR FROM c", Motion::Backward(Some(1))),
            ("FETCH FIRST c", Motion::Absolute(1)),
            ("FETCH LAST FROM c", Motion::Absolute(-1)),
            ("FETCH ABSOLUTE -3 FROM c", Motion::Absolute(-3)),
            ("FETCH RELATIVE +2 FROM c", Motion::Relative(2)),
            ("FETCH 5 c", Motion::Forward(Some(5))),
            ("FETCH -5 FROM c", Motion::Backward(Some(5))),
            ("FETCH ALL FROM c", Motion::Forward(None)),
            ("FETCH FORWARD FROM c", Motion::Forward(Some(1))),
            ("FETCH FORWARD 0 FROM c", Motion::Forward(Some(0))),
            ("FETCH FORWARD ALL c", Motion::Forward(None)),
            ("FETCH BACKWARD c", Motion::Backward(Some(1))),
            ("FETCH BACKWARD 7 c", Motion::Backward(Some(7))),
            ("FETCH BACKWARD -7 c", Motion::Forward(Some(7))),
            ("MOVE BACKWARD ALL IN c", Motion::Backward(None)),
        ];
        for (text, motion) in cases {
            assert_eq!(fetch(text).map(|fetch| fetch.motion), Some(motion), "{text}");
        }
        assert_eq!(fetch("FETCH 2 FROM \"My c\"").unwrap().name, "My c");
        assert!(fetch("MOVE c").unwrap().moves);
        for text in [
            "SELECT 1",
            "FETCH",
            "FETCH 1.5 FROM c",
            "FETCH 99999999999 FROM c",
            "FETCH x y FROM c",
            "FETCH ABSOLUTE c",
        ] {
            assert_eq!(fetch(text), None, "{text}");
        }
    }
}
