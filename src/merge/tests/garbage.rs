//! Shards and plans that are not to be trusted: an error, never a panic, never a wait for ever.

use super::*;
use crate::plan::gather::{Aggregation, Call, Function, Item};
use crate::types::oid;

fn plans() -> Vec<Arc<Gather>> {
    let window = Window { limit: Some(2), offset: None };
    let call = |function, parts: &[u16]| Call { function, parts: parts.to_vec() };
    let aggregation = |native| Aggregation {
        groups: vec![0],
        calls: vec![
            call(Function::Count, &[1]),
            call(Function::Avg, &[3, 1]),
            call(Function::Max { bytewise: true }, &[3]),
            call(Function::Sum, &[3]),
        ],
        columns: vec![Item::Call(2)],
        order: vec![OrderKey { by: By::Call(1), ..ascending(0) }, ascending(3)],
        native,
        finish: Some(crate::plan::gather::Finish { text: Default::default() }),
    };
    vec![
        gather(Hidden::Last(4), Merge::Concat, window),
        gather(Hidden::Last(0), Merge::Concat, Window::default()),
        gather(Hidden::Last(4), Merge::Ordered(vec![ascending(3), ascending(0)]), window),
        gather(Hidden::Twice(3), Merge::Distinct(vec![]), Window { limit: Some(1), offset: Some(2) }),
        gather(Hidden::Last(0), Merge::Rows, Window::default()),
        gather(Hidden::Last(4), Merge::Aggregate(aggregation(true)), window),
        gather(Hidden::Last(4), Merge::Aggregate(aggregation(false)), window),
    ]
}

/// Visible and twin are text; then three numbers and a numeric.
const COLUMNS: &[Oid] = &[oid::TEXT, oid::TEXT, oid::INT8, oid::INT8, oid::NUMERIC];

fn numeric(digits: &[u16]) -> Value {
    let words = [digits.len() as u16, 0, 0, 0];
    Some(words.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect())
}

fn valid(random: &mut Random) -> Vec<Row> {
    let row = |value: usize| vec![text("x"), text("y"), int8(1), int8(5), numeric(&[value as u16 + 1])];
    (0..random.below(20)).map(row).collect()
}

#[test]
fn damaged_rows_are_errors_and_never_panics() {
    for seed in 0..3_000 {
        let mut random = Random(seed);
        for plan in plans() {
            let setup = Setup { rows: vec![0, 1, 1, 0], ..setup(2) };
            let mut columns = COLUMNS.to_vec();
            if let Hidden::Twice(_) = plan.hidden {
                columns[2] = oid::INT8;
            }
            let mut merger = match described(plan, setup, &columns) {
                Ok(merger) => merger,
                Err(error) => panic!("{error}"),
            };
            let mut out = BytesMut::new();
            for shard in 0..2 {
                let mut bytes = frames(&valid(&mut random));
                for _ in 0..random.below(4) {
                    let at = random.below(bytes.len());
                    match (random.below(3), bytes.len()) {
                        (_, 0) => {}
                        (0, _) => bytes[at] = random.next() as u8,
                        (1, _) => bytes.truncate(at),
                        _ => bytes[at] ^= 1 << random.below(8),
                    }
                }
                let fed = merger.feed(shard, &mut bytes).and_then(|_| merger.pump(&mut out, 3));
                if fed.and_then(|_| merger.complete(shard, b"SELECT 3\0")).is_err() {
                    break;
                }
            }
            for _ in 0..20 {
                let _ = merger.pump(&mut out, u64::MAX);
            }
            let _ = (merger.parts(), merger.tag(1), merger.is_satisfied());
        }
    }
}

#[test]
fn plans_that_do_not_fit_their_columns_are_errors() {
    for count in 0..9_usize {
        for plan in plans() {
            let columns = &COLUMNS.iter().cycle().copied().take(count).collect::<Vec<_>>();
            let mut merger = Merger::new(plan, Setup { rows: vec![0, 7], ..setup(1) });
            let _ = merger.describe(0, Some(&description(columns)));
            let _ = merger.feed(0, &mut frames(&[vec![None; count]]));
            let _ = merger.complete(0, b"SELECT 1\0");
            let _ = merger.pump(&mut BytesMut::new(), 3);
        }
    }
}

#[test]
fn shards_that_describe_the_result_differently_are_named() {
    let mut merger = Merger::new(plans().swap_remove(1), setup(3));
    merger.describe(1, Some(&description(&[23]))).unwrap();
    let error = merger.describe(0, Some(&description(&[20]))).unwrap_err();
    assert_eq!(error.message, "shards \"s1\" and \"s0\" describe the result differently");
    assert_eq!(error.detail.unwrap(), "Column 1 is of type int4 on the first, of type int8 on the second.");
    assert!(merger.describe(2, None).is_err() && merger.describe(3, None).is_err());
    assert!(merger.describe(2, Some(b"\0\x01x")).is_err());
}
