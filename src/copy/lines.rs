//! Which of the client's lines is which of a shard's.
//!
//! A shard counts the lines that it gets, and the client counts those that it sends. A server that stops at a line has read no further than what
//! can be under way to it, so only the last rows have to be remembered: those that fit into all buffers between here and there.

use std::collections::VecDeque;

/// Bytes of rows that can be on their way to a server at once: our buffer (1 MiB at most), the kernel's two socket buffers (each grows to 6 MiB
/// by default), the server's own and its batch of rows (1,000 rows or 64 KiB), with room to spare.
const UNDER_WAY: u64 = 32 << 20;

/// How many rows one stretch has.
const STRETCH: u32 = 4096;

/// The map of one shard.
#[derive(Debug, Default)]
pub struct Lines {
    stretches: VecDeque<Stretch>,
    /// The last lines, here and there.
    client: u64,
    shard: u64,
    /// Bytes of all rows so far.
    bytes: u64,
}

/// Some rows in a row.
#[derive(Debug)]
struct Stretch {
    /// The lines before its first row, here and there, and the bytes.
    client: u64,
    shard: u64,
    bytes: u64,
    rows: u32,
    /// Of each row how far the lines go on: one byte if the row has one line there, and less than 255 more here.
    steps: Vec<u8>,
}

impl Lines {
    /// A row of so many bytes and lines goes to the shard; `line` is its last line here.
    pub fn add(&mut self, line: u64, lines: u64, bytes: usize) {
        if self.stretches.back().is_none_or(|last| last.rows >= STRETCH) {
            let steps = Vec::with_capacity(STRETCH as usize);
            let (client, shard, bytes) = (self.client, self.shard, self.bytes);
            self.stretches.push_back(Stretch { client, shard, bytes, rows: 0, steps });
            while self.stretches.get(1).is_some_and(|second| second.bytes + UNDER_WAY < self.bytes) {
                self.stretches.pop_front();
            }
        }
        let step = line.saturating_sub(self.client);
        if let Some(last) = self.stretches.back_mut() {
            last.rows += 1;
            match u8::try_from(step) {
                Ok(step) if step < 255 && lines == 1 => last.steps.push(step),
                _ => {
                    last.steps.push(255);
                    last.steps.extend_from_slice(&step.to_le_bytes());
                    last.steps.extend_from_slice(&lines.to_le_bytes());
                }
            }
        }
        self.client = line;
        self.shard += lines;
        self.bytes += bytes as u64;
    }

    /// The client's line for a shard's; none if that is too far back, or has not been sent.
    pub fn line(&self, wanted: u64) -> Option<u64> {
        let index = self.stretches.partition_point(|stretch| stretch.shard < wanted).checked_sub(1)?;
        let stretch = self.stretches.get(index)?;
        let (mut client, mut shard, mut steps) = (stretch.client, stretch.shard, stretch.steps.as_slice());
        while let Some((&first, rest)) = steps.split_first() {
            let (step, lines, behind) = match first {
                255 => {
                    let number = |at: usize| rest.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
                    (number(0)?, number(8)?, rest.get(16..)?)
                }
                first => (u64::from(first), 1, rest),
            };
            steps = behind;
            client += step;
            shard += lines;
            if shard >= wanted {
                // Within a row of several lines the distance to its last one is the same here and there.
                return Some(client.saturating_sub(shard - wanted));
            }
        }
        None
    }

    /// How many lines the shard has been sent.
    pub fn sent(&self) -> u64 {
        self.shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_again() {
        let (mut lines, mut expected, mut line, mut there) = (Lines::default(), Vec::new(), 0, 0);
        for n in 0..20_000u64 {
            let height = if n % 7 == 0 { 3 } else { 1 };
            line += height + n % 5 * if n % 100 == 0 { 1000 } else { 1 };
            there += height;
            lines.add(line, height, 10);
            expected.push((there, line));
        }
        for (there, line) in expected {
            assert_eq!(lines.line(there), Some(line));
        }
        assert_eq!((lines.line(there + 1), lines.line(1), lines.line(2)), (None, Some(1), Some(2)));
    }

    #[test]
    fn only_the_last_rows_are_kept() {
        let mut lines = Lines::default();
        for n in 1..=2_000_000u64 {
            lines.add(n * 2, 1, 100);
        }
        assert_eq!(lines.line(2_000_000), Some(4_000_000));
        assert_eq!(lines.line(1_900_000), Some(3_800_000));
        assert_eq!(lines.line(5), None);
        assert!(lines.stretches.len() < 100, "{}", lines.stretches.len());
    }
}
