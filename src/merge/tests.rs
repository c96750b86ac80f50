//! The whole machine, driven as a session drives it: bytes in pieces of any size, shards in any order.

mod garbage;
mod groups;
mod streams;

use std::sync::Arc;

use bytes::BytesMut;

use super::*;
use crate::plan::gather::{By, Merge, OrderKey, Window};
use crate::protocol::encode;
use crate::types::KeyspaceId;

/// A file of PostgreSQL's own answers, without its head.
pub(super) fn lines(file: &str) -> Vec<String> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/merge/cases").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// Bytes from hexadecimal digits.
pub(super) fn hex(digits: &str) -> Vec<u8> {
    digits.as_bytes().chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

/// Bytes as hexadecimal digits.
pub(super) fn shown(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A small generator (Steele, Lea, Flood: SplitMix64): a seed is a run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

type Value = Option<Vec<u8>>;
type Row = Vec<Value>;

fn int8(value: i64) -> Value {
    Some(value.to_be_bytes().to_vec())
}

fn text(value: &str) -> Value {
    Some(value.as_bytes().to_vec())
}

/// The body of a RowDescription.
fn description(columns: &[Oid]) -> BytesMut {
    let mut out = BytesMut::new();
    encode::row_description_typed(&mut out, columns.iter().map(|oid| ("c", *oid, 0)));
    out.split_off(5)
}

fn frames(rows: &[Row]) -> BytesMut {
    let mut out = BytesMut::new();
    rows.iter().for_each(|row| super::row::build(row.iter().map(Option::as_deref), &mut out));
    out
}

fn rows(mut out: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    while !out.is_empty() {
        let mut spans = super::row::Spans::default();
        let length = spans.find(out).unwrap();
        let columns = usize::from(u16::from_be_bytes([out[5], out[6]]));
        rows.push((0..columns).map(|column| spans.value(out, column).map(<[u8]>::to_vec)).collect());
        out = &out[length..];
    }
    rows
}

fn gather(hidden: Hidden, merge: Merge, window: Window) -> Arc<Gather> {
    Arc::new(Gather { keyspace: KeyspaceId(0), text: None, hidden, merge, window })
}

fn setup(shards: usize) -> Setup {
    Setup { shards: (0..shards).map(|shard| format!("s{shard}")).collect(), ..Setup::default() }
}

fn ascending(column: u16) -> OrderKey {
    OrderKey { by: By::Hidden(column), descending: false, nulls_first: false, bytewise: true }
}

/// A merge whose shards have all described the same columns.
fn described(gather: Arc<Gather>, setup: Setup, columns: &[Oid]) -> Result<Merger, PgError> {
    let shards = setup.shards.len();
    let mut merger = Merger::new(gather, setup);
    for shard in 0..shards {
        assert_eq!(merger.description(), None);
        merger.describe(shard, Some(&description(columns)))?;
    }
    assert!(merger.description().is_some() != merger.needs_finish());
    Ok(merger)
}

/// Shards as they answer: bytes that arrive in pieces.
struct Shards {
    /// What has not arrived.
    coming: Vec<BytesMut>,
    /// What has arrived and was not taken.
    here: Vec<BytesMut>,
    /// Complete, and told so.
    over: Vec<bool>,
    random: Random,
}

impl Shards {
    fn new(shards: &[Vec<Row>], seed: u64) -> Shards {
        Shards {
            coming: shards.iter().map(|rows| frames(rows)).collect(),
            here: vec![BytesMut::new(); shards.len()],
            over: vec![false; shards.len()],
            random: Random(seed),
        }
    }

    /// Lets a piece of any shard arrive.
    fn turn(&mut self, merger: &mut Merger) -> Result<(), PgError> {
        let shard = self.random.below(self.here.len());
        if self.over[shard] {
            return Ok(());
        }
        let most = if self.random.one_in(3) { usize::MAX } else { self.random.below(100) };
        let piece = self.coming[shard].len().min(most);
        self.here[shard].unsplit(self.coming[shard].split_to(piece));
        let wanted = merger.wants(shard);
        let taken = merger.feed(shard, &mut self.here[shard])?;
        assert!(wanted || !taken);
        if self.coming[shard].is_empty() && self.here[shard].is_empty() {
            self.over[shard] = true;
            merger.complete(shard, b"SELECT 99\0")?;
        }
        Ok(())
    }

    /// Runs the merge to its end, with so much room at a time. The bytes that went out, also before an error.
    fn run(&mut self, merger: &mut Merger, room: Option<u64>) -> (BytesMut, Result<u64, PgError>) {
        let (mut out, mut total, mut left) = (BytesMut::new(), 0, room);
        loop {
            match merger.pump(&mut out, left.unwrap_or(u64::MAX)) {
                Err(error) => return (out, Err(error)),
                Ok(step) => {
                    total += step.rows;
                    left = left.map(|left| left - step.rows);
                    match step.next {
                        Next::Done => return (out, Ok(total)),
                        Next::Finish => return (out, Ok(total)),
                        Next::Room => left = if left == Some(0) { room } else { left },
                        Next::Rows => {}
                    }
                }
            }
            if let Err(error) = self.turn(merger) {
                return (out, Err(error));
            }
        }
    }
}

/// The rows of a merge that succeeds, with and without a portal's row limit.
fn merged(make: impl Fn() -> Merger, shards: &[Vec<Row>], seed: u64) -> Vec<Row> {
    let mut merger = make();
    let (out, total) = Shards::new(shards, seed).run(&mut merger, None);
    let whole = rows(&out);
    assert_eq!(total.unwrap(), whole.len() as u64, "seed {seed}");
    assert_eq!(merger.tag(7), "SELECT 7");
    let room = 1 + seed % 7;
    let (out, total) = Shards::new(shards, seed).run(&mut make(), Some(room));
    assert_eq!(total.unwrap(), whole.len() as u64, "seed {seed}");
    assert_eq!(rows(&out).len(), whole.len());
    whole
}
