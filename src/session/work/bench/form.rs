//! What an input's rows are to become: the types of its columns, how they are asked for, and the table that they may need.

use super::kinds::{Kind, Way};
use crate::error::PgError;
use crate::plan::render::{SourceColumn, quoted};
use crate::plan::work::bench::{Input, InputColumn};
use crate::sqlstate::SqlState;
use crate::types::{Oid, oid};

/// What an input's rows are to become.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// How the statement sees the columns.
    pub columns: Vec<SourceColumn>,
    /// Which columns come as text.
    pub text: Vec<bool>,
    /// The types as the shards say them, and of the elements of arrays.
    pub oids: Vec<Oid>,
    pub elements: Vec<Oid>,
    /// Parameters will not do.
    pub table: bool,
    /// The columns of a key that the table needs: then the statement sees the table itself.
    pub key: Vec<u16>,
    /// The columns by which the statement looks rows up.
    sought: Vec<u16>,
}

impl Form {
    /// `lossless`: text does not depend on settings that lose something.
    pub fn new(input: &Input, kinds: &[(Oid, Kind)], lossless: bool) -> Result<Form, PgError> {
        if kinds.len() != input.columns.len() {
            return Err(unlike());
        }
        let text: Vec<bool> =
            kinds.iter().map(|(_, kind)| kind.way == Way::Text || (kind.way == Way::Nested && lossless)).collect();
        let columns = input.columns.iter().zip(kinds).zip(&text);
        Ok(Form {
            columns: columns.map(|((column, (_, kind)), text)| source_column(column, &kind.name, *text)).collect(),
            oids: kinds.iter().map(|(oid, _)| *oid).collect(),
            elements: kinds.iter().zip(&text).map(|((oid, _), text)| if *text { oid::TEXT } else { *oid }).collect(),
            table: !input.key.is_empty() || kinds.iter().any(|(_, kind)| kind.way == Way::Nested && !lossless),
            text,
            key: input.key.clone(),
            sought: input.sought.clone(),
        })
    }

    /// The formats in which the columns are asked for, by Bind's rule.
    pub fn formats(&self) -> Vec<i16> {
        match self.text.contains(&true) {
            true => self.text.iter().map(|text| i16::from(!text)).collect(),
            false => vec![1],
        }
    }

    /// The statement sees the staged table itself.
    pub fn is_whole(&self) -> bool {
        !self.key.is_empty() && !self.text.contains(&true)
    }

    /// What makes the table.
    pub fn create(&self, table: &str) -> String {
        let column = |(at, column): (usize, &SourceColumn)| {
            let name = if self.is_whole() { quoted(&column.name) } else { format!("c{at}") };
            let collation = match (&column.collation, &column.cast) {
                (Some(collation), None) => format!(" COLLATE {collation}"),
                _ => String::new(),
            };
            format!("{name} {}{collation}", column.carried)
        };
        let columns: Vec<String> = self.columns.iter().enumerate().map(column).collect();
        format!("CREATE TEMPORARY TABLE {table} ({}) ON COMMIT DROP", columns.join(", "))
    }

    /// The indexes that the table gets, once it is full.
    pub fn indexes(&self, table: &str) -> Vec<String> {
        let index = |at: &u16| {
            let at = usize::from(*at);
            // A B-tree has no place for long values.
            let method = match *self.oids.get(at)? {
                oid::BYTEA | oid::TEXT | oid::VARCHAR | oid::NUMERIC => "hash",
                oid::BOOL => return None,
                _ => "btree",
            };
            let name = if self.is_whole() { quoted(&self.columns.get(at)?.name) } else { format!("c{at}") };
            (!self.text.get(at)?).then(|| format!("CREATE INDEX ON {table} USING {method} ({name})"))
        };
        self.sought.iter().filter_map(index).collect()
    }

    /// The key that the table gets, once it is full.
    pub fn key(&self, table: &str) -> Option<String> {
        let names = self.key.iter().filter_map(|at| Some(quoted(&self.columns.get(usize::from(*at))?.name)));
        let names: Vec<String> = names.collect();
        self.is_whole().then(|| format!("ALTER TABLE {table} ADD PRIMARY KEY ({})", names.join(", ")))
    }
}

/// How the rest sees a column whose type is called so, and whose values have come as text or in binary form.
fn source_column(column: &InputColumn, type_name: &str, text: bool) -> SourceColumn {
    let seen = column.type_name.clone().unwrap_or_else(|| type_name.to_owned());
    let (carried, cast) = if text { ("pg_catalog.text".to_owned(), Some(seen)) } else { (seen, None) };
    SourceColumn { name: column.name.clone(), carried, cast, collation: column.collation.clone() }
}

fn unlike() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "the columns of the statement's inputs are not those that were planned")
}
