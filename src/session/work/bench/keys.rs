//! Keys that one input lends another: the distinct values of a column, gathered while its rows come, as an array for `= ANY`.
//!
//! Beyond some number they are not worth it, and are not lent.

use std::collections::HashSet;

use bytes::{BufMut, Bytes, BytesMut};

use super::super::ask::Ask;
use crate::plan::work::bench::{Input, Keys};
use crate::protocol::answer::{self, tag};
use crate::protocol::frame::HEADER;
use crate::protocol::{self, frontend::Format};
use crate::session::scatter::drive::MAX_ROW;

/// Distinct values that are lent at most.
const MOST: usize = 10_000;
/// And their bytes.
const MOST_BYTES: usize = 1 << 20;

/// What the inputs of one statement lend each other.
#[derive(Debug, Default)]
pub(super) struct Lent {
    columns: Vec<Column>,
}

/// A column whose values are gathered.
#[derive(Debug)]
struct Column {
    input: usize,
    column: usize,
    /// None if they have become too many.
    values: Option<HashSet<Vec<u8>>>,
    bytes: usize,
}

impl Lent {
    /// What has to be gathered for these inputs.
    pub fn new(inputs: &[Input]) -> Lent {
        let mut lent = Lent::default();
        for keys in inputs.iter().flat_map(|input| &input.keys) {
            let (input, column) = (usize::from(keys.input), usize::from(keys.column));
            if lent.find(keys).is_none() {
                lent.columns.push(Column { input, column, values: Some(HashSet::new()), bytes: 0 });
            }
        }
        lent
    }

    fn find(&self, keys: &Keys) -> Option<&Column> {
        let (input, column) = (usize::from(keys.input), usize::from(keys.column));
        self.columns.iter().find(|known| known.input == input && known.column == column)
    }

    /// Takes note of the values in the whole DataRow messages at the start of a buffer, an input's.
    pub fn note(&mut self, input: usize, frames: &[u8]) {
        let wanted = |column: &Column| column.input == input && column.values.is_some();
        if !self.columns.iter().any(wanted) {
            return;
        }
        let mut at = 0;
        while let Ok(Some(frame)) = protocol::frame(&frames[at..], MAX_ROW)
            && frame.tag == tag::DATA_ROW
        {
            // What is no row shows where it is used.
            let row = answer::row_values(&frames[at + HEADER..at + frame.len]).unwrap_or_default();
            for column in self.columns.iter_mut().filter(|column| wanted(column)) {
                column.take(row.get(column.column).copied().flatten());
            }
            at += frame.len;
        }
    }

    /// An input's questions with the keys that it is lent; none if it can have no row that matters.
    pub fn lend(&self, input: &Input, mut ask: Ask) -> Option<Ask> {
        let mut sql = String::new();
        let mut filtered = input.filtered;
        for keys in &input.keys {
            let Some(values) = self.find(keys).and_then(|column| column.values.as_ref()) else { continue };
            if values.is_empty() {
                return None;
            }
            ask.values.push((Format::Binary, Some(array(values, keys.type_oid))));
            let (word, number) = (if filtered { "AND" } else { "WHERE" }, ask.values.len());
            sql.push_str(&format!(" {word} {} = ANY (${number}::pg_catalog.{}[])", keys.compared, keys.type_name));
            filtered = true;
        }
        if !sql.is_empty() {
            ask.sql.to_mut().push_str(&sql);
        }
        Some(ask)
    }
}

impl Column {
    /// Takes a value; NULL equals nothing.
    fn take(&mut self, value: Option<&[u8]>) {
        let (Some(value), Some(values)) = (value, &mut self.values) else { return };
        if values.contains(value) {
            return;
        }
        self.bytes += value.len();
        values.insert(value.to_vec());
        if values.len() > MOST || self.bytes > MOST_BYTES {
            self.values = None;
        }
    }
}

/// An array of one dimension in binary form (`array_send`).
fn array(values: &HashSet<Vec<u8>>, type_oid: u32) -> Bytes {
    let mut array = BytesMut::new();
    [1, 0, type_oid, values.len() as u32, 1].into_iter().for_each(|number| array.put_u32(number));
    for value in values {
        array.put_u32(value.len() as u32);
        array.put_slice(value);
    }
    array.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::gather::{Piece, Text};
    use crate::types::ShardId;

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = BytesMut::new();
        body.put_u16(values.len() as u16);
        for value in values {
            body.put_i32(value.map_or(-1, |value| value.len() as i32));
            body.put_slice(value.unwrap_or_default());
        }
        let mut frame = vec![tag::DATA_ROW];
        frame.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    fn borrower(filtered: bool) -> Input {
        let keys = |column| Keys {
            input: 0,
            column,
            compared: format!("\"t\".\"c{column}\""),
            type_name: "int4",
            type_oid: 23,
        };
        let text = Text { pieces: vec![Piece::Words("SELECT".into())] };
        Input { text, filtered, keys: vec![keys(1), keys(0)], ..Input::default() }
    }

    #[test]
    fn distinct_values_are_lent() {
        let input = borrower(true);
        let mut lent = Lent::new(std::slice::from_ref(&input));
        let mut frames = row(&[Some(b"aaaa"), Some(b"bbbb")]);
        frames.extend(row(&[None, Some(b"bbbb")]));
        lent.note(1, &frames);
        assert!(lent.lend(&input, Ask::new(ShardId(0), "SELECT")).is_none(), "no keys, no rows");
        lent.note(0, &frames);
        let ask = lent.lend(&input, Ask::new(ShardId(0), "SELECT")).unwrap();
        assert_eq!(
            ask.sql,
            "SELECT AND \"t\".\"c1\" = ANY ($1::pg_catalog.int4[]) AND \"t\".\"c0\" = ANY ($2::pg_catalog.int4[])"
        );
        let value = ask.values[0].1.clone().unwrap();
        assert_eq!(value.len(), 28, "one value");
        assert!(value.ends_with(b"bbbb"));
    }

    #[test]
    fn too_many_values_are_not_lent() {
        let input = borrower(false);
        let mut lent = Lent::new(std::slice::from_ref(&input));
        for n in 0..=MOST as u32 {
            lent.note(0, &row(&[Some(b"aaaa"), Some(&n.to_be_bytes())]));
        }
        let ask = lent.lend(&input, Ask::new(ShardId(0), "SELECT")).unwrap();
        assert_eq!(ask.sql, "SELECT WHERE \"t\".\"c0\" = ANY ($1::pg_catalog.int4[])");
    }
}
