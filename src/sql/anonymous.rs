//! A statement without its literals, for people: what statistics and logs may show, because values are the client's own affair.

use super::lexer::Lexer;
use super::normalize::literal_kind;

/// The text with `?` for each literal, without comments, with one space where there was white space; at most about `most` bytes.
pub fn anonymous(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most) + 4);
    let mut lexer = Lexer::new(text);
    let mut end = 0;
    while let Ok(Some(token)) = lexer.next_token() {
        if token.start > end && end > 0 {
            out.push(' ');
        }
        end = token.end;
        let body = token.text(text);
        out.push_str(if literal_kind(token.kind, body.as_bytes()).is_some() { "?" } else { body });
        if out.len() > most {
            let cut = (0..=most).rev().find(|&at| out.is_char_boundary(at)).unwrap_or(0);
            out.truncate(cut);
            out.push_str("...");
            return out;
        }
    }
    while out.ends_with([';', ' ']) {
        out.pop();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_show() {
        for (text, shown) in [
            ("select  a,b from t\n where x='secret' and y = 42;", "select a,b from t where x=? and y = ?"),
            ("/* traceparent='00' */ SELECT $1, E'\\x', $tag$x$tag$ -- why", "SELECT $1, ?, ?"),
            ("SELECT \"Näme\"/* x */FROM t", "SELECT \"Näme\" FROM t"),
            ("SELECT 'no end", "SELECT"),
            ("", ""),
        ] {
            assert_eq!(anonymous(text, 1000), shown, "{text}");
        }
        assert_eq!(anonymous("SELECT \"äääää\"", 10), "SELECT \"ä...");
    }
}
