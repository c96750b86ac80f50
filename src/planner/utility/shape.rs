//! What of a table's definition decides whether its shards can keep what it promises: unique keys, foreign keys.

use std::ops::Range;

use super::reader::Reader;
use crate::sql::TokenKind;

/// A table's columns and keys, as far as they are written.
#[derive(Debug, Default)]
pub struct Shape {
    /// Each column, and the tokens of its definition behind its name.
    pub columns: Vec<(String, Range<usize>)>,
    /// Its unique keys.
    pub uniques: Vec<Unique>,
    /// Its foreign keys.
    pub foreigns: Vec<Foreign>,
}

/// PRIMARY KEY, UNIQUE, EXCLUDE or a unique index.
#[derive(Debug)]
pub struct Unique {
    /// As PostgreSQL calls it.
    pub what: &'static str,
    /// Its columns; none for an expression, or one that is not compared by `=`.
    pub columns: Vec<Option<String>>,
    /// Its first byte in the text.
    pub at: u32,
}

/// A foreign key.
#[derive(Debug)]
pub struct Foreign {
    /// Its columns.
    pub columns: Vec<String>,
    /// The table that they lead to.
    pub parent: Vec<String>,
    /// The columns there; empty: its primary key.
    pub parent_columns: Vec<String>,
    /// Its first byte in the text.
    pub at: u32,
}

impl Shape {
    /// Reads what stands in the parentheses of CREATE TABLE.
    pub fn read(reader: &Reader<'_>, range: Range<usize>) -> Shape {
        let mut shape = Shape::default();
        for element in reader.list(range) {
            shape.element(reader.within(element));
        }
        shape
    }

    /// Whether a table's constraint comes next, rather than a column.
    pub fn is_constraint(reader: &Reader<'_>) -> bool {
        let words = ["constraint", "primary", "unique", "exclude", "foreign", "check", "like"];
        let Some(word) = words.iter().find(|word| reader.sees(word)) else { return false };
        // All of them but these two are reserved; a column `exclude integer` has no method and no list behind its name.
        let mut behind = *reader;
        behind.at += 1;
        match *word {
            "exclude" => behind.sees("using") || behind.peek().is_some_and(|token| token.kind == TokenKind::LeftParen),
            "like" => true,
            _ => true,
        }
    }

    /// One column or constraint: all that is left of the reader.
    pub fn element(&mut self, mut reader: Reader<'_>) {
        if Shape::is_constraint(&reader) {
            return self.constraint(reader);
        }
        let Some(name) = reader.name() else { return };
        self.columns.push((name.clone(), reader.at..reader.tokens.len()));
        self.column(&name, reader);
    }

    fn constraint(&mut self, mut reader: Reader<'_>) {
        if reader.eat("constraint") {
            let _ = reader.name();
        }
        let at = reader.peek().map_or(0, |token| token.start);
        if reader.eat_all(&["primary", "key"]) {
            self.unique("primary key", &mut reader, at);
        } else if reader.eat("unique") {
            let _ = reader.eat_all(&["nulls", "not", "distinct"]) || reader.eat_all(&["nulls", "distinct"]);
            self.unique("unique constraint", &mut reader, at);
        } else if reader.eat("exclude") {
            if reader.eat("using") {
                let _ = reader.name();
            }
            if let Some(list) = reader.parenthesized() {
                let columns = reader.list(list).into_iter().map(|one| excluded(&reader.within(one))).collect();
                self.uniques.push(Unique { what: "exclusion constraint", columns, at });
            }
        } else if reader.eat_all(&["foreign", "key"])
            && let Some(list) = reader.parenthesized()
        {
            let columns = reader.names(list);
            if reader.eat("references") {
                self.references(columns, &mut reader, at);
            }
        }
    }

    fn unique(&mut self, what: &'static str, reader: &mut Reader<'_>, at: u32) {
        // Without a list it is USING INDEX, and that index has been judged when it was made.
        if let Some(list) = reader.parenthesized() {
            let columns = reader.list(list).into_iter().map(|one| plain(&reader.within(one))).collect();
            self.uniques.push(Unique { what, columns, at });
        }
    }

    fn references(&mut self, columns: Vec<String>, reader: &mut Reader<'_>, at: u32) {
        let Some((parent, _)) = reader.qualified() else { return };
        let parent_columns = reader.parenthesized().map(|list| reader.names(list)).unwrap_or_default();
        self.foreigns.push(Foreign { columns, parent, parent_columns, at });
    }

    fn column(&mut self, name: &str, mut reader: Reader<'_>) {
        while let Some(token) = reader.peek() {
            if token.kind == TokenKind::LeftParen {
                if reader.parenthesized().is_none() {
                    return;
                }
                continue;
            }
            let at = token.start;
            if reader.eat_all(&["primary", "key"]) {
                self.uniques.push(Unique { what: "primary key", columns: vec![Some(name.to_owned())], at });
            } else if reader.eat("unique") {
                self.uniques.push(Unique { what: "unique constraint", columns: vec![Some(name.to_owned())], at });
            } else if reader.eat("references") {
                self.references(vec![name.to_owned()], &mut reader, at);
            } else {
                reader.at += 1;
            }
        }
    }
}

/// The column that an element of an index is; none for an expression.
pub fn plain(reader: &Reader<'_>) -> Option<String> {
    let mut inner = *reader;
    let name = inner.name()?;
    let call = inner.peek().is_some_and(|token| matches!(token.kind, TokenKind::LeftParen | TokenKind::Dot));
    (!call).then_some(name)
}

/// `column WITH =`.
fn excluded(reader: &Reader<'_>) -> Option<String> {
    let column = plain(reader)?;
    let mut inner = *reader;
    if !inner.skip_to(&["with"]) {
        return None;
    }
    inner.peek().is_some_and(|token| token.text(inner.text) == "=").then_some(column)
}
