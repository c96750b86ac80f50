//! DataRow messages: a length, a count of columns, and each column's length and bytes (protocol section "Message
//! Formats").

use bytes::{BufMut, BytesMut};

use super::fault::Fault;
use crate::protocol::MAX_FRAME;
use crate::protocol::answer::tag;
use crate::protocol::frame::HEADER;

/// Tag, length and count of columns.
const BEFORE_COLUMNS: usize = HEADER + 2;

const NOT_AS_DESCRIBED: Fault = Fault::Garbage("a row that is not as described");

/// The whole rows at the start of a buffer: how many bytes they are. `columns` is what each row has.
pub(super) fn run(buffer: &[u8], columns: usize, most: u64) -> Result<(usize, u64), Fault> {
    let (mut at, mut rows) = (0, 0);
    while rows < most {
        let Some(&[tag::DATA_ROW, a, b, c, d]) = buffer[at..].first_chunk::<HEADER>() else { break };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if !(BEFORE_COLUMNS - 1..=MAX_FRAME).contains(&length) {
            return Err(NOT_AS_DESCRIBED);
        }
        let Some(frame) = buffer[at..].get(..length + 1) else { break };
        if usize::from(u16::from_be_bytes([frame[HEADER], frame[HEADER + 1]])) != columns {
            return Err(NOT_AS_DESCRIBED);
        }
        at += length + 1;
        rows += 1;
    }
    Ok((at, rows))
}

/// Where the columns of a row are. Used again and again, so that rows cost no allocation.
#[derive(Debug, Default, Clone)]
pub(super) struct Spans {
    /// Start and end within the frame; the start is [`NULL`] for NULL.
    spans: Vec<(u32, u32)>,
}

/// No column starts here: the frame's header does.
const NULL: u32 = 0;

impl Spans {
    /// Finds the columns of the row that the buffer begins with: a whole frame, as [`run`] has found it. The frame's
    /// length.
    pub fn find(&mut self, buffer: &[u8]) -> Result<usize, Fault> {
        let Some((&[_, a, b, c, d, n0, n1], _)) = buffer.split_first_chunk::<BEFORE_COLUMNS>() else {
            return Err(NOT_AS_DESCRIBED);
        };
        let total = u32::from_be_bytes([a, b, c, d]) as usize + 1;
        let frame = buffer.get(..total).ok_or(NOT_AS_DESCRIBED)?;
        self.spans.clear();
        let mut at = BEFORE_COLUMNS;
        for _ in 0..u16::from_be_bytes([n0, n1]) {
            let Some(&[a, b, c, d]) = frame.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
                return Err(NOT_AS_DESCRIBED);
            };
            at += 4;
            let length = i32::from_be_bytes([a, b, c, d]);
            if length == -1 {
                self.spans.push((NULL, at as u32));
                continue;
            }
            let Ok(length) = usize::try_from(length) else { return Err(NOT_AS_DESCRIBED) };
            if length > total - at {
                return Err(NOT_AS_DESCRIBED);
            }
            self.spans.push((at as u32, (at + length) as u32));
            at += length;
        }
        if at == total { Ok(total) } else { Err(NOT_AS_DESCRIBED) }
    }

    /// A column's bytes; none for NULL, and for columns that a row does not have, which the plan's check excludes.
    pub fn value<'a>(&self, frame: &'a [u8], column: usize) -> Option<&'a [u8]> {
        let (start, end) = *self.spans.get(column)?;
        if start == NULL { None } else { frame.get(start as usize..end as usize) }
    }

    /// How many columns the row has.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// Where the first `columns` columns end.
    pub fn end(&self, columns: usize) -> usize {
        match columns.checked_sub(1).and_then(|last| self.spans.get(last)) {
            Some((_, end)) => *end as usize,
            None => BEFORE_COLUMNS,
        }
    }
}

/// Puts out a row cut off after so many columns, which end at `end`.
pub(super) fn cut(frame: &[u8], columns: usize, end: usize, out: &mut BytesMut) {
    out.reserve(end);
    out.put_u8(tag::DATA_ROW);
    out.put_u32((end - 1) as u32);
    out.put_u16(columns as u16);
    out.put_slice(frame.get(BEFORE_COLUMNS..end).unwrap_or_default());
}

/// Puts out a row of our own.
pub(super) fn build<'a>(values: impl ExactSizeIterator<Item = Option<&'a [u8]>>, out: &mut BytesMut) {
    let start = out.len();
    out.put_u8(tag::DATA_ROW);
    out.put_u32(0);
    out.put_u16(values.len() as u16);
    for value in values {
        match value {
            None => out.put_i32(-1),
            Some(value) => {
                out.put_u32(value.len() as u32);
                out.put_slice(value);
            }
        }
    }
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&[u8]>]) -> BytesMut {
        let mut out = BytesMut::new();
        build(values.iter().copied(), &mut out);
        out
    }

    #[test]
    fn a_row_cut_off_is_the_row_of_its_first_columns() {
        let frame = row(&[Some(b"a"), None, Some(b""), Some(b"hidden")]);
        let mut spans = Spans::default();
        assert_eq!(spans.find(&frame), Ok(frame.len()));
        assert_eq!(
            (0..5).map(|column| spans.value(&frame, column)).collect::<Vec<_>>(),
            [Some(&b"a"[..]), None, Some(b""), Some(b"hidden"), None]
        );
        for columns in 0..=4 {
            let mut out = BytesMut::new();
            cut(&frame, columns, spans.end(columns), &mut out);
            assert_eq!(out, row(&[Some(&b"a"[..]), None, Some(b""), Some(b"hidden")][..columns]));
        }
    }

    #[test]
    fn a_run_ends_at_a_part_another_message_or_the_bound() {
        let one = row(&[Some(b"x")]);
        let mut buffer = [&one[..], &one, &one].concat();
        assert_eq!(run(&buffer, 1, u64::MAX), Ok((buffer.len(), 3)));
        assert_eq!(run(&buffer, 1, 2), Ok((2 * one.len(), 2)));
        assert!(run(&buffer, 2, 1).is_err());
        buffer.pop();
        assert_eq!(run(&buffer, 1, u64::MAX), Ok((2 * one.len(), 2)));
        let buffer = [&one[..], b"C\0\0\0\x0dSELECT 1\0"].concat();
        assert_eq!(run(&buffer, 1, u64::MAX), Ok((one.len(), 1)));
        assert!(run(b"D\0\0\0\x04", 0, 1).is_err() && run(b"D\0\0\0\x00\0", 0, 1).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, columns in 0_usize..4) {
            let mut frame = row(&[Some(&bytes)]);
            for at in 0..frame.len() {
                let kept = frame[at];
                frame[at] = frame[at].wrapping_add(bytes.len() as u8 + 1);
                let mut spans = Spans::default();
                if let Ok((end, 1..)) = run(&frame, columns, u64::MAX) && spans.find(&frame[..end]).is_ok() {
                    cut(&frame, columns, spans.end(columns), &mut BytesMut::new());
                    let _ = spans.value(&frame, columns);
                }
                frame[at] = kept;
            }
        }
    }
}
