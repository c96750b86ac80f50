//! LIMIT and OFFSET of the whole, whose values every row of every shard brings along.

use super::fault::{Fault, VALUE};
use super::row::Spans;

/// The bounds of the answer. Until a row has come they are not known, and do not matter.
#[derive(Debug, Default, Clone)]
pub(super) struct Window {
    /// The columns in which the values stand.
    limit: Option<usize>,
    offset: Option<usize>,
    /// The values as all rows must have them.
    seen: Option<Bounds>,
    /// Rows that are still to be passed over.
    skip: u64,
    /// Rows that may still go out.
    left: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bounds {
    limit: Option<u64>,
    offset: u64,
}

impl Window {
    /// With the values in these columns.
    pub fn new(limit: Option<usize>, offset: Option<usize>) -> Window {
        Window { limit, offset, ..Window::default() }
    }

    /// All rows are the answer.
    pub fn is_open(&self) -> bool {
        self.limit.is_none() && self.offset.is_none()
    }

    /// Learns the bounds from a row.
    pub fn learn(&mut self, frame: &[u8], spans: &Spans) -> Result<(), Fault> {
        if self.is_open() {
            return Ok(());
        }
        let read = |column: Option<usize>| -> Result<Option<u64>, Fault> {
            let Some(value) = column.and_then(|column| spans.value(frame, column)) else { return Ok(None) };
            let value = i64::from_be_bytes(value.try_into().map_err(|_| VALUE)?);
            // Below zero the shards have raised PostgreSQL's own error.
            u64::try_from(value).map(Some).map_err(|_| VALUE)
        };
        let bounds = Bounds { limit: read(self.limit)?, offset: read(self.offset)?.unwrap_or(0) };
        match self.seen {
            None => {
                self.seen = Some(bounds);
                self.skip = bounds.offset;
                self.left = bounds.limit;
                Ok(())
            }
            Some(seen) if seen == bounds => Ok(()),
            Some(_) => Err(Fault::Garbage("other values of LIMIT and OFFSET than before")),
        }
    }

    /// Whether the next row of the whole is part of the answer.
    pub fn admits(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.left {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// No row will be part of the answer any more.
    pub fn is_satisfied(&self) -> bool {
        self.left == Some(0)
    }

    /// The part of so many rows that is the answer.
    pub fn range(&self, rows: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rows);
        let most = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        start..start.saturating_add(most).min(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;

    fn learnt(limit: Option<i64>, offset: Option<i64>) -> Result<Window, Fault> {
        let [limit, offset] = [limit, offset].map(|value| value.map(i64::to_be_bytes));
        let mut frame = BytesMut::new();
        super::super::row::build(
            [&limit, &offset].into_iter().map(|value| value.as_ref().map(|value| &value[..])),
            &mut frame,
        );
        let mut spans = Spans::default();
        spans.find(&frame)?;
        let mut window = Window::new(Some(0), Some(1));
        window.learn(&frame, &spans)?;
        window.learn(&frame, &spans)?;
        Ok(window)
    }

    #[test]
    fn rows_are_counted_as_limit_and_offset_say() {
        for (limit, offset) in
            [(None, None), (Some(0), None), (Some(2), Some(3)), (None, Some(4)), (Some(i64::MAX), Some(i64::MAX))]
        {
            let mut window = learnt(limit, offset).unwrap();
            let range = window.range(10);
            let admitted: Vec<usize> = (0..10).filter(|_| window.admits()).collect();
            assert_eq!(admitted, range.collect::<Vec<_>>());
            assert_eq!(admitted.len() as i64, (10 - offset.unwrap_or(0)).max(0).min(limit.unwrap_or(10)));
        }
        assert!(learnt(Some(0), None).unwrap().is_satisfied());
        assert!(learnt(Some(-1), None).is_err());
    }
}
