//! Rows for a statement that takes them as parameters: each column as an array (`array_recv`, `src/backend/utils/adt/arrayfuncs.c`). The hidden
//! columns for a final statement are collected as they come ([`Collect`]); whole rows that have been kept are turned ([`arrays`]).

use bytes::{BufMut, Bytes, BytesMut};

use super::Part;
use super::fault::{Fault, too_much};
use super::row::Spans;
use super::types::Type;
use crate::error::PgError;
use crate::types::Oid;

/// Dimensions, flags, element type, length, lower bound.
const ARRAY_HEADER: usize = 20;

/// The hidden columns of all rows so far.
#[derive(Debug)]
pub(super) struct Collect {
    columns: Vec<Column>,
    spans: Spans,
    rows: usize,
    held: usize,
    limit: usize,
}

#[derive(Debug)]
struct Column {
    index: usize,
    kind: &'static Type,
    nulls: bool,
    /// The array, whose header is written at the end.
    array: BytesMut,
}

impl Collect {
    /// Over these columns, holding at most so many bytes.
    pub fn new(columns: Vec<(usize, &'static Type)>, limit: usize) -> Collect {
        let column = |(index, kind)| Column { index, kind, nulls: false, array: BytesMut::zeroed(ARRAY_HEADER) };
        Collect { columns: columns.into_iter().map(column).collect(), spans: Spans::default(), rows: 0, held: 0, limit }
    }

    /// Adds the rows of a run.
    pub fn add(&mut self, mut run: &[u8]) -> Result<(), Fault> {
        while !run.is_empty() {
            let length = self.spans.find(run)?;
            let (frame, rest) = run.split_at(length);
            for column in &mut self.columns {
                match self.spans.value(frame, column.index) {
                    None => {
                        column.nulls = true;
                        column.array.put_i32(-1);
                        self.held += 4;
                    }
                    Some(value) => {
                        column.array.put_u32(value.len() as u32);
                        column.array.put_slice(value);
                        self.held += 4 + value.len();
                    }
                }
            }
            self.rows += 1;
            if self.held > self.limit {
                return Err(too_much("partial results", self.limit));
            }
            run = rest;
        }
        Ok(())
    }

    /// The arrays. Nothing is left behind.
    pub fn parts(&mut self) -> Vec<Part> {
        let rows = self.rows as u32;
        let finish = |column: &mut Column| {
            let array = headed(std::mem::take(&mut column.array), column.nulls, column.kind.oid, rows);
            Part { name: column.kind.name, array: column.kind.array, value: array }
        };
        self.columns.iter_mut().map(finish).collect()
    }
}

/// The columns of whole DataRow messages as binary arrays, whose elements are of these types; columns beyond them are left out.
///
/// # Errors
/// Messages that are no rows, or have too few columns (08P01).
pub fn arrays(mut frames: &[u8], types: &[Oid]) -> Result<Vec<Bytes>, PgError> {
    let mut spans = Spans::default();
    let mut arrays: Vec<(BytesMut, bool)> = types.iter().map(|_| (BytesMut::zeroed(ARRAY_HEADER), false)).collect();
    let mut rows = 0u32;
    while !frames.is_empty() {
        let length = spans.find(frames).map_err(|_| not_rows())?;
        let (frame, rest) = frames.split_at(length);
        for (index, (array, nulls)) in arrays.iter_mut().enumerate() {
            if index >= spans.count() {
                return Err(not_rows());
            }
            match spans.value(frame, index) {
                None => {
                    *nulls = true;
                    array.put_i32(-1);
                }
                Some(value) => {
                    array.put_u32(value.len() as u32);
                    array.put_slice(value);
                }
            }
        }
        rows += 1;
        frames = rest;
    }
    Ok(arrays.into_iter().zip(types).map(|((array, nulls), oid)| headed(array, nulls, *oid, rows).freeze()).collect())
}

/// An array with its header, for which the first bytes have been left.
fn headed(mut array: BytesMut, nulls: bool, oid: Oid, rows: u32) -> BytesMut {
    let mut header = BytesMut::with_capacity(ARRAY_HEADER);
    header.put_u32(u32::from(rows > 0));
    header.put_u32(nulls.into());
    header.put_u32(oid);
    if rows == 0 {
        // An empty array has no dimension.
        return header;
    }
    header.put_u32(rows);
    header.put_u32(1);
    if let Some(space) = array.get_mut(..ARRAY_HEADER) {
        space.copy_from_slice(&header);
    }
    array
}

fn not_rows() -> PgError {
    PgError::new(crate::sqlstate::SqlState::PROTOCOL_VIOLATION, "a shard's rows are not what it said that they are")
}
