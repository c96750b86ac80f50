//! What a merge costs: rows per second through the pure machine, over 4 shards whose rows are there in buffers of 64
//! KB.
//!
//! `cargo bench --bench merge` prints the table and fails if the ordered merge does less than a million rows per
//! second; `-- --smoke` only shows that it runs. The rows are made before the clock starts.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use goldseam::merge::{Merger, Next, Setup};
use goldseam::plan::Gather;
use goldseam::plan::gather::{Aggregation, By, Call, Function, Hidden, Item, Merge, OrderKey, Window};
use goldseam::protocol::encode;
use goldseam::types::{KeyspaceId, Oid, oid};

/// The promise, in rows per second.
const LIMIT: f64 = 1_000_000.0;
const SHARDS: usize = 4;
/// What one read from a socket gives at most.
const BUFFER: usize = 64 << 10;

/// A small generator (Steele, Lea, Flood: SplitMix64): the same rows in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }
}

/// A bench: a plan, the columns, and one row of a number.
struct Case {
    name: &'static str,
    gather: Arc<Gather>,
    columns: Vec<Oid>,
    row: fn(i64) -> Vec<Vec<u8>>,
    sorted: bool,
}

fn int8(value: i64) -> Vec<u8> {
    value.to_be_bytes().to_vec()
}

/// A whole numeric below 10,000, with two decimals shown.
fn numeric(value: i64) -> Vec<u8> {
    [1_u16, 0, 0, 2, (value.unsigned_abs() % 9_999 + 1) as u16].iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn key(column: u16) -> OrderKey {
    OrderKey { by: By::Hidden(column), descending: false, nulls_first: false, bytewise: true }
}

fn cases() -> Vec<Case> {
    let gather = |hidden, merge| {
        Arc::new(Gather { keyspace: KeyspaceId(0), text: None, hidden, merge, window: Window::default() })
    };
    let call = |function, parts: &[u16]| Call { function, parts: parts.to_vec() };
    let calls = vec![
        call(Function::Count, &[1]),
        call(Function::Sum, &[2]),
        call(Function::Avg, &[2, 1]),
        call(Function::Max { bytewise: true }, &[1]),
    ];
    let aggregation = Aggregation {
        groups: vec![0],
        calls,
        columns: vec![Item::First, Item::Call(0), Item::Call(1), Item::Call(2), Item::Call(3)],
        order: vec![key(0)],
        native: true,
        finish: None,
    };
    vec![
        Case {
            name: "concat, no hidden columns",
            gather: gather(Hidden::Last(0), Merge::Concat),
            columns: vec![oid::INT8, oid::TEXT],
            row: |value| vec![value.to_string().into_bytes(), b"a name of some length".to_vec()],
            sorted: false,
        },
        Case {
            name: "ordered by int8",
            gather: gather(Hidden::Last(1), Merge::Ordered(vec![key(0)])),
            columns: vec![oid::INT8, oid::TEXT, oid::INT8],
            row: |value| vec![value.to_string().into_bytes(), b"a name of some length".to_vec(), int8(value)],
            sorted: true,
        },
        Case {
            name: "ordered by int8, text",
            gather: gather(Hidden::Last(2), Merge::Ordered(vec![key(0), key(1)])),
            columns: vec![oid::INT8, oid::TEXT, oid::INT8, oid::TEXT],
            row: |value| {
                vec![
                    value.to_string().into_bytes(),
                    b"a name of some length".to_vec(),
                    int8(value),
                    b"a name of some length".to_vec(),
                ]
            },
            sorted: true,
        },
        Case {
            name: "distinct, ordered by int8",
            gather: gather(Hidden::Twice(0), Merge::Distinct(vec![key(0)])),
            columns: vec![oid::INT8, oid::INT8],
            row: |value| vec![(value / 4).to_string().into_bytes(), int8(value / 4)],
            sorted: true,
        },
        Case {
            name: "4 aggregates, 1,000 groups",
            gather: gather(Hidden::Last(3), Merge::Aggregate(aggregation)),
            columns: vec![
                oid::INT8,
                oid::INT8,
                oid::NUMERIC,
                oid::NUMERIC,
                oid::INT8,
                oid::INT8,
                oid::INT8,
                oid::NUMERIC,
            ],
            row: |value| {
                let visible = value.to_string().into_bytes();
                vec![
                    visible.clone(),
                    visible.clone(),
                    visible.clone(),
                    visible.clone(),
                    visible,
                    int8(value % 1_000),
                    int8(1),
                    numeric(value),
                ]
            },
            sorted: false,
        },
    ]
}

/// The shards' answers, cut into what single reads would bring.
fn answers(case: &Case, rows: usize) -> Vec<Vec<BytesMut>> {
    let mut random = Random(42);
    let mut shards = Vec::new();
    for _ in 0..SHARDS {
        let mut values: Vec<i64> = (0..rows / SHARDS).map(|_| (random.next() % rows as u64) as i64).collect();
        if case.sorted {
            values.sort_unstable();
        }
        let (mut reads, mut read) = (Vec::new(), BytesMut::with_capacity(BUFFER));
        for value in values {
            if read.len() + 512 > BUFFER {
                reads.push(std::mem::replace(&mut read, BytesMut::with_capacity(BUFFER)));
            }
            encode::data_row(&mut read, (case.row)(value).iter().map(Some));
        }
        reads.push(read);
        reads.reverse();
        shards.push(reads);
    }
    shards
}

fn rows_per_second(case: &Case, rows: usize) -> f64 {
    let mut best: f64 = 0.0;
    for _ in 0..3 {
        let mut shards = answers(case, rows);
        let setup = Setup { shards: (0..SHARDS).map(|shard| format!("s{shard}")).collect(), ..Setup::default() };
        let mut merger = Merger::new(case.gather.clone(), setup);
        let mut description = BytesMut::new();
        encode::row_description_typed(&mut description, case.columns.iter().map(|oid| ("c", *oid, 0)));
        for shard in 0..SHARDS {
            merger.describe(shard, Some(&description[5..])).expect("types that it knows");
        }
        let mut out = BytesMut::with_capacity(4 * BUFFER);
        let mut greatest = 0;
        let start = Instant::now();
        loop {
            for (shard, reads) in shards.iter_mut().enumerate() {
                if !merger.wants(shard) {
                    continue;
                }
                match reads.pop() {
                    Some(mut read) => drop(merger.feed(shard, &mut read).expect("valid rows")),
                    None => merger.complete(shard, b"SELECT 1\0").expect("a valid tag"),
                }
            }
            let step = merger.pump(&mut out, u64::MAX).expect("a merge");
            greatest = greatest.max(out.len());
            out.clear();
            if step.next == Next::Done {
                break;
            }
        }
        best = best.max(rows as f64 / start.elapsed().as_secs_f64());
        assert!(greatest <= 8 * BUFFER, "{}: {greatest} bytes went out at once", case.name);
    }
    best
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let rows = if smoke { 10_000 } else { 1_000_000 };
    println!("{:<30} {:>16}", format!("{rows} rows, {SHARDS} shards"), "rows/s");
    let mut slow = Vec::new();
    for case in cases() {
        let rate = rows_per_second(&case, rows);
        println!("{:<30} {:>16.0}", case.name, rate);
        if rate < LIMIT {
            slow.push(case.name);
        }
    }
    assert!(smoke || slow.is_empty(), "below {LIMIT} rows per second: {slow:?}");
}
