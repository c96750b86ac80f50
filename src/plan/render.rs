//! A plan's [`Text`] as SQL: the client's tokens and our words, put together for one statement's text.
//!
//! Ranges of tokens come with all that is between them, comments too, and end with their last token: so a `--` comment inside ends at
//! its own line's end, and one behind a range is not taken. Pieces stand apart by a space, which joins no tokens and parts none.
//!
//! A text may use fewer parameters than the client's (a LIMIT that the shards do not get). A server wants those that it is given to be used, so
//! the rest are numbered anew.

use std::fmt::Write;
use std::ops::Range;

use super::gather::{Piece, Text};
use crate::error::PgError;
use crate::sql::{Token, TokenKind};
use crate::sqlstate::SqlState;

/// A text for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The statement.
    pub sql: String,
    /// Which of the client's parameters it uses, counted from 0: the n-th of these is its `$n+1`. The arrays of [`Piece::Parts`] follow them.
    pub parameters: Vec<u16>,
    /// Which inputs ([`Piece::Input`]) it has that come as arrays: their columns' arrays, input by input in this order, follow the parameters.
    pub inputs: Vec<u16>,
}

/// What stands in the place of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its columns, in their order.
    pub columns: Vec<SourceColumn>,
    /// Where the rows are.
    pub rows: Rows,
}

/// A column of an input, as it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// As the statement calls it: unquoted.
    pub name: String,
    /// The type in which the values are brought, as SQL.
    pub carried: String,
    /// The type that the statement has to see, if it is another.
    pub cast: Option<String>,
    /// Its collation as quoted SQL, where it is not the type's own.
    pub collation: Option<String>,
}

/// Where an input's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// In parameters, one array for each column.
    Arrays {
        /// How many rows there are.
        count: u64,
    },
    /// In a table, whose columns are called `c0`, `c1` ...
    Table(String),
    /// In a table whose columns are what the statement has to see: as it is.
    Whole(String),
}

/// Puts a text together. `tokens` are those of the whole statement; `rows` says which rows of [`Piece::Rows`] are wanted, none: all; `parts`
/// are the element types of the hidden columns, for [`Piece::Parts`].
///
/// # Errors
/// Tokens that the statement does not have (XX000), types that a merge cannot do exactly (0A000).
pub fn render(
    text: &Text,
    statement: &str,
    tokens: &[Token],
    rows: Option<&[bool]>,
    parts: Option<&[&str]>,
) -> Result<Rendered, PgError> {
    render_over(text, statement, tokens, rows, parts, &[])
}

/// The same for the rest of a statement, over these inputs.
///
/// # Errors
/// Tokens or inputs that there are not (XX000).
pub fn render_over(
    text: &Text,
    statement: &str,
    tokens: &[Token],
    rows: Option<&[bool]>,
    parts: Option<&[&str]>,
    sources: &[Source],
) -> Result<Rendered, PgError> {
    let chosen = |list: &[Range<u32>]| -> Vec<Range<u32>> {
        let wanted = |at: usize| rows.is_none_or(|rows| rows.get(at).copied().unwrap_or(false));
        list.iter().enumerate().filter(|(at, _)| wanted(*at)).map(|(_, row)| row.clone()).collect()
    };
    let mut parameters = Vec::new();
    let mut inputs: Vec<u16> = Vec::new();
    for piece in &text.pieces {
        match piece {
            Piece::Input { input, .. } => {
                let source = sources.get(usize::from(*input)).ok_or_else(unknown)?;
                if matches!(source.rows, Rows::Arrays { .. }) && !inputs.contains(input) {
                    inputs.push(*input);
                }
            }
            Piece::Tokens(range) => used(range, statement, tokens, &mut parameters)?,
            Piece::Rows(list) => {
                for row in chosen(list) {
                    used(&row, statement, tokens, &mut parameters)?;
                }
            }
            _ => {}
        }
    }
    parameters.sort_unstable();
    parameters.dedup();
    let mut out = Out { sql: String::with_capacity(statement.len() + 64), statement, tokens, parameters: &parameters };
    for (at, piece) in text.pieces.iter().enumerate() {
        if at > 0 {
            out.sql.push(' ');
        }
        match piece {
            Piece::Tokens(range) => out.tokens(range)?,
            Piece::Words(words) => out.sql.push_str(words),
            Piece::Rows(list) => {
                for (at, row) in chosen(list).iter().enumerate() {
                    if at > 0 {
                        out.sql.push_str(", ");
                    }
                    out.tokens(row)?;
                }
            }
            Piece::Default(_) => return Err(unknown()),
            Piece::Input { input, alias } => {
                let before = inputs.iter().take_while(|known| *known != input);
                let before =
                    before.filter_map(|known| sources.get(usize::from(*known))).map(|source| source.columns.len());
                let first = parameters.len() + before.sum::<usize>() + 1;
                out.source(sources.get(usize::from(*input)).ok_or_else(unknown)?, first);
                if let Some(alias) = alias {
                    let _ = write!(out.sql, " AS {}", quoted(alias));
                }
            }
            Piece::Parts => out.parts(parts.ok_or_else(unknown)?),
            Piece::Sum(column) => out.sum(*column, parts)?,
            Piece::Avg { sum, count } => out.average(*sum, *count, parts)?,
        }
    }
    Ok(Rendered { sql: out.sql, parameters, inputs })
}

/// An identifier, as SQL writes it.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn unknown() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a plan does not fit its statement")
}

fn within<'t>(range: &Range<u32>, tokens: &'t [Token]) -> Result<&'t [Token], PgError> {
    tokens.get(range.start as usize..range.end as usize).ok_or_else(unknown)
}

/// `$n` as n - 1.
fn parameter(token: Token, statement: &str) -> Option<u16> {
    if token.kind != TokenKind::Parameter {
        return None;
    }
    let number: u32 = token.text(statement).strip_prefix('$')?.parse().ok()?;
    u16::try_from(number.checked_sub(1)?).ok()
}

fn used(range: &Range<u32>, statement: &str, tokens: &[Token], parameters: &mut Vec<u16>) -> Result<(), PgError> {
    parameters.extend(within(range, tokens)?.iter().filter_map(|token| parameter(*token, statement)));
    Ok(())
}

struct Out<'a> {
    sql: String,
    statement: &'a str,
    tokens: &'a [Token],
    parameters: &'a [u16],
}

impl Out<'_> {
    fn tokens(&mut self, range: &Range<u32>) -> Result<(), PgError> {
        let tokens = within(range, self.tokens)?;
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { return Ok(()) };
        let text = |from: u32, to: u32| self.statement.get(from as usize..to as usize).ok_or_else(unknown);
        let mut copied = first.start;
        for token in tokens {
            if let Some(number) = parameter(*token, self.statement)
                && let Ok(place) = self.parameters.binary_search(&number)
                && place != usize::from(number)
            {
                self.sql.push_str(text(copied, token.start)?);
                // Writing to a string cannot fail.
                let _ = write!(self.sql, "${}", place + 1);
                copied = token.end;
            }
        }
        self.sql.push_str(text(copied, last.end)?);
        Ok(())
    }

    /// An item of a FROM list, without its alias. Writing to a string cannot fail.
    fn source(&mut self, source: &Source, first: usize) {
        if let Rows::Whole(table) = &source.rows {
            self.sql.push_str(table);
            return;
        }
        self.sql.push_str("(SELECT");
        for (at, column) in source.columns.iter().enumerate() {
            let _ = write!(self.sql, "{} c{at}", if at > 0 { "," } else { "" });
            if let Some(cast) = &column.cast {
                let _ = write!(self.sql, "::{cast}");
            }
            if let Some(collation) = &column.collation {
                let _ = write!(self.sql, " COLLATE {collation}");
            }
            let _ = write!(self.sql, " AS {}", quoted(&column.name));
        }
        match &source.rows {
            Rows::Table(table) | Rows::Whole(table) => {
                let _ = write!(self.sql, " FROM {table})");
            }
            Rows::Arrays { count } if source.columns.is_empty() => {
                let _ = write!(self.sql, " FROM pg_catalog.generate_series(1, {count}))");
            }
            Rows::Arrays { .. } => {
                // Several arrays are taken side by side under this bare name only. The planner reads it again where a write goes on.
                self.sql.push_str(" FROM unnest(");
                for (at, column) in source.columns.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    let _ = write!(self.sql, "{comma}${}::{}[]", first + at, column.carried);
                }
                self.sql.push_str(") AS goldseam (");
                for at in 0..source.columns.len() {
                    let _ = write!(self.sql, "{}c{at}", if at > 0 { ", " } else { "" });
                }
                self.sql.push_str("))");
            }
        }
    }

    fn parts(&mut self, parts: &[&str]) {
        // Several arrays are taken side by side under this bare name only.
        self.sql.push_str("unnest(");
        for (at, name) in parts.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let _ = write!(self.sql, "{comma}${}::{name}[]", self.parameters.len() + at + 1);
        }
        self.sql.push_str(") AS goldseam (");
        for at in 0..parts.len() {
            let comma = if at > 0 { ", " } else { "" };
            let _ = write!(self.sql, "{comma}c{at}");
        }
        self.sql.push(')');
    }

    fn sum(&mut self, column: u16, parts: Option<&[&str]>) -> Result<(), PgError> {
        let name = parts.and_then(|parts| parts.get(usize::from(column))).ok_or_else(unknown)?;
        // The sum of int4 is bigint, and the sum of that would be numeric.
        let cast = if *name == "int8" { "::bigint" } else { "" };
        let _ = write!(self.sql, "(pg_catalog.sum(goldseam.c{column}){cast})");
        Ok(())
    }

    fn average(&mut self, sum: u16, count: u16, parts: Option<&[&str]>) -> Result<(), PgError> {
        let name = parts.and_then(|parts| parts.get(usize::from(sum))).ok_or_else(unknown)?;
        if *name == "float4" {
            return Err(PgError::unsupported("avg(real) of an expression over several shards is not supported")
                .with_detail("Sums of real are rounded to real, and the average of all is not.")
                .with_hint("Write avg((...)::float8)."));
        }
        // PostgreSQL's sum for an average begins with zero: minus zero alone does not stay one.
        let sum = match *name {
            "float8" => format!("(pg_catalog.sum(goldseam.c{sum}) + 0)"),
            _ => format!("pg_catalog.sum(goldseam.c{sum})"),
        };
        let _ = write!(self.sql, "({sum} / nullif(pg_catalog.sum(goldseam.c{count}), 0))");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Limits, lex};

    const STATEMENT: &str =
        "/* a */ select $2, f -- rest\n (x) /* b */ , $$ $1 $$ -- end\n from t where a = $3 and b = $2 -- last";

    fn at(word: &str, nth: usize) -> u32 {
        let tokens = lex(STATEMENT, &Limits::default()).unwrap();
        let mut hits = tokens.iter().enumerate().filter(|(_, token)| token.text(STATEMENT) == word);
        hits.nth(nth).unwrap().0 as u32
    }

    fn check(pieces: Vec<Piece>, rows: Option<&[bool]>, parts: Option<&[&str]>) -> (String, Vec<u16>) {
        let tokens = lex(STATEMENT, &Limits::default()).unwrap();
        let rendered = render(&Text { pieces }, STATEMENT, &tokens, rows, parts).unwrap();
        (rendered.sql, rendered.parameters)
    }

    #[test]
    fn ranges_keep_what_is_between_and_drop_what_is_behind() {
        let words = |words: &str| Piece::Words(words.into());
        let text = check(
            vec![Piece::Tokens(0..at("from", 0)), words(", 1"), Piece::Tokens(at("from", 0)..at("t", 0) + 1)],
            None,
            None,
        );
        assert_eq!(text.0, "select $1, f -- rest\n (x) /* b */ , $$ $1 $$ , 1 from t");
        assert_eq!(text.1, [1]);
        let whole = check(vec![Piece::Tokens(0..at("$2", 1) + 1)], None, None);
        assert!(whole.0.ends_with("where a = $2 and b = $1"), "{}", whole.0);
        assert_eq!(whole.1, [1, 2]);
    }

    #[test]
    fn rows_are_chosen_and_parts_follow_the_parameters() {
        let (first, second) = (at("$2", 0), at("$3", 0));
        let rows = vec![first..first + 1, second..second + 1];
        assert_eq!(check(vec![Piece::Rows(rows.clone())], None, None), ("$1, $2".into(), vec![1, 2]));
        assert_eq!(check(vec![Piece::Rows(rows.clone())], Some(&[false, true]), None), ("$1".into(), vec![2]));
        let parts = ["int8", "numeric", "int8"];
        let text = check(
            vec![Piece::Sum(0), Piece::Sum(1), Piece::Avg { sum: 1, count: 2 }, Piece::Parts, Piece::Rows(rows)],
            Some(&[true, false]),
            Some(&parts),
        );
        assert_eq!(
            text.0,
            "(pg_catalog.sum(goldseam.c0)::bigint) (pg_catalog.sum(goldseam.c1)) \
             (pg_catalog.sum(goldseam.c1) / nullif(pg_catalog.sum(goldseam.c2), 0)) \
             unnest($2::int8[], $3::numeric[], $4::int8[]) AS goldseam (c0, c1, c2) $1"
        );
        let avg = Text { pieces: vec![Piece::Avg { sum: 0, count: 1 }] };
        assert!(render(&avg, "", &[], None, Some(&["float4", "int8"])).is_err());
    }

    #[test]
    fn inputs_stand_where_their_tables_were() {
        let column = |name: &str, carried: &str, cast: Option<&str>, collation: Option<&str>| SourceColumn {
            name: name.into(),
            carried: carried.into(),
            cast: cast.map(str::to_owned),
            collation: collation.map(str::to_owned),
        };
        let sources = [
            Source { columns: Vec::new(), rows: Rows::Arrays { count: 7 } },
            Source {
                columns: vec![
                    column("i", "pg_catalog.int8", None, None),
                    column("T", "pg_catalog.text", Some("public.word"), Some("\"C\"")),
                ],
                rows: Rows::Arrays { count: 1 },
            },
            Source { columns: vec![column("i", "int4", None, None)], rows: Rows::Table("pg_temp.g".into()) },
            Source { columns: vec![column("i", "int4", None, None)], rows: Rows::Whole("pg_temp.h".into()) },
        ];
        let input = |input: u16, alias: Option<&str>| Piece::Input { input, alias: alias.map(str::to_owned) };
        let tokens = lex(STATEMENT, &Limits::default()).unwrap();
        let over = |pieces| render_over(&Text { pieces }, STATEMENT, &tokens, None, None, &sources).unwrap();
        let second = at("$2", 0);
        let rest = over(vec![
            Piece::Tokens(second..second + 1),
            input(0, Some("a\"b")),
            input(1, None),
            input(2, Some("x")),
            input(1, Some("again")),
            input(3, Some("y")),
        ]);
        let arrays = "(SELECT c0 AS \"i\", c1::public.word COLLATE \"C\" AS \"T\" FROM \
             unnest($2::pg_catalog.int8[], $3::pg_catalog.text[]) AS goldseam (c0, c1))";
        assert_eq!(
            rest.sql,
            format!(
                "$1 (SELECT FROM pg_catalog.generate_series(1, 7)) AS \"a\"\"b\" {arrays} \
                 (SELECT c0 AS \"i\" FROM pg_temp.g) AS \"x\" {arrays} AS \"again\" pg_temp.h AS \"y\""
            )
        );
        assert_eq!((rest.parameters, rest.inputs), (vec![1], vec![0, 1]));
        assert!(render_over(&Text { pieces: vec![input(4, None)] }, STATEMENT, &tokens, None, None, &sources).is_err());
    }

    #[test]
    fn a_plan_of_another_statement_is_an_error() {
        let text = Text { pieces: vec![Piece::Tokens(0..5)] };
        assert_eq!(render(&text, "select", &[], None, None).unwrap_err().code, SqlState::INTERNAL_ERROR);
    }
}
