//! What a command answers: rows of typed cells, shown by the console as text and by the API as JSON.

use std::time::SystemTime;

use crate::types::{Oid, oid};

/// A column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Int,
    /// A number.
    Real,
}

impl Kind {
    /// As PostgreSQL knows it: its number, and the size of its values.
    pub fn oid(self) -> (Oid, i16) {
        match self {
            Kind::Text => (oid::TEXT, -1),
            Kind::Int => (oid::INT8, 8),
            Kind::Real => (oid::FLOAT8, 8),
        }
    }
}

/// A column's name and type.
pub type Column = (&'static str, Kind);

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// Text.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A number.
    Real(f64),
}

impl Cell {
    /// As the console shows it.
    pub fn text(&self) -> Option<String> {
        match self {
            Cell::Null => None,
            Cell::Text(text) => Some(text.clone()),
            Cell::Int(n) => Some(n.to_string()),
            Cell::Real(n) => Some(format!("{n:.3}")),
        }
    }

    /// As the API shows it.
    pub fn json(&self) -> serde_json::Value {
        match self {
            Cell::Null => serde_json::Value::Null,
            Cell::Text(text) => text.as_str().into(),
            Cell::Int(n) => (*n).into(),
            Cell::Real(n) => (*n).into(),
        }
    }

    /// A moment, in UTC.
    pub fn time(time: SystemTime) -> Cell {
        match jiff::Timestamp::try_from(time) {
            Ok(time) => Cell::Text(time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
            Err(_) => Cell::Null,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Cell::Real(number)
    }
}

macro_rules! whole {
    ($($number:ty),*) => {
        $(impl From<$number> for Cell {
            fn from(number: $number) -> Self {
                i64::try_from(number).map_or(Cell::Int(i64::MAX), Cell::Int)
            }
        })*
    };
}

whole!(u64, i64, usize, u32, i32, u16);

impl From<bool> for Cell {
    fn from(yes: bool) -> Self {
        Cell::Int(i64::from(yes))
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Cell::Null, Into::into)
    }
}

/// What a command answers.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    /// Names and types; none if the command returns no rows.
    pub columns: &'static [Column],
    /// One cell per column.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An array of one object per row.
    pub fn json(&self) -> serde_json::Value {
        let object = |row: &Vec<Cell>| {
            let pairs = self.columns.iter().zip(row).map(|((name, _), cell)| ((*name).to_owned(), cell.json()));
            serde_json::Value::Object(pairs.collect())
        };
        self.rows.iter().map(object).collect()
    }
}
