//! Rows that pass through: in any order, sorted, distinct, in part, in the order of VALUES.

use super::*;
use crate::types::oid;

/// Visible: a number that says where the row is from. Hidden: an int8 and a text as keys, LIMIT and OFFSET.
const COLUMNS: &[Oid] = &[oid::TEXT, oid::INT8, oid::TEXT, oid::INT8, oid::INT8];

fn key(random: &mut Random) -> (Option<i64>, Option<String>) {
    let number = if random.one_in(8) { None } else { Some(random.below(9) as i64 - 4) };
    let word = if random.one_in(8) { None } else { Some(["", "a", "ab", "b", "é", "Z"][random.below(6)].to_owned()) };
    (number, word)
}

/// Compares as PostgreSQL does, without any of the code under test.
fn compare(
    one: &(Option<i64>, Option<String>),
    other: &(Option<i64>, Option<String>),
    keys: &[OrderKey],
) -> std::cmp::Ordering {
    fn nulls<T: Ord>(one: &Option<T>, other: &Option<T>, key: &OrderKey) -> std::cmp::Ordering {
        match (one, other) {
            (Some(one), Some(other)) if key.descending => other.cmp(one),
            (Some(one), Some(other)) => one.cmp(other),
            (one, other) if key.nulls_first => one.is_some().cmp(&other.is_some()),
            (one, other) => other.is_some().cmp(&one.is_some()),
        }
    }
    keys.iter().fold(std::cmp::Ordering::Equal, |order, key| {
        order.then_with(|| match key.by {
            By::Hidden(0) => nulls(&one.0, &other.0, key),
            _ => nulls(&one.1, &other.1, key),
        })
    })
}

#[test]
fn an_ordered_merge_is_a_stable_sort_and_its_window_a_part_of_it() {
    for seed in 0..400 {
        let mut random = Random(seed);
        let shards = 1 + random.below(6);
        let mut keys = vec![ascending(0), ascending(1)];
        for key in &mut keys {
            (key.descending, key.nulls_first) = (random.one_in(2), random.one_in(2));
        }
        keys.truncate(1 + random.below(2));
        let limit = if random.one_in(2) { None } else { Some(random.below(30) as i64) };
        let offset = if random.one_in(2) { None } else { Some(random.below(20) as i64) };
        let mut all = Vec::new();
        let mut sent = Vec::new();
        for shard in 0..shards {
            let count = random.below(30);
            let mut own: Vec<_> = (0..count).map(|row| (key(&mut random), format!("{shard}.{row}"))).collect();
            own.sort_by(|one, other| compare(&one.0, &other.0, &keys));
            let row = |((number, word), name): &((Option<i64>, Option<String>), String)| {
                vec![
                    text(name),
                    number.and_then(int8),
                    word.as_deref().and_then(text),
                    limit.and_then(int8),
                    offset.and_then(int8),
                ]
            };
            sent.push(own.iter().map(row).collect::<Vec<Row>>());
            all.extend(own);
        }
        all.sort_by(|one, other| compare(&one.0, &other.0, &keys));
        let wanted = all.iter().skip(offset.unwrap_or(0) as usize).take(limit.unwrap_or(1_000) as usize);
        let wanted: Vec<Row> = wanted.map(|(_, name)| vec![text(name)]).collect();
        let plan = gather(Hidden::Last(4), Merge::Ordered(keys), Window { limit: Some(2), offset: Some(3) });
        let got = merged(|| described(plan.clone(), setup(shards), COLUMNS).unwrap(), &sent, seed);
        assert_eq!(got, wanted, "seed {seed}");
    }
}

#[test]
fn a_shard_out_of_order_is_found_before_a_row_goes_out_too_late() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut sent: Vec<Vec<i64>> = Vec::new();
        for _ in 0..3 {
            let mut own: Vec<i64> = (0..20).map(|_| random.below(100) as i64).collect();
            own.sort_unstable();
            sent.push(own);
        }
        let (one, two) = (random.below(20), random.below(20));
        sent[1].swap(one, two);
        let sorted = sent[1].is_sorted();
        let plan = gather(Hidden::Last(1), Merge::Ordered(vec![ascending(0)]), Window::default());
        let shards: Vec<Vec<Row>> =
            sent.iter().map(|own| own.iter().map(|value| vec![int8(*value), int8(*value)]).collect()).collect();
        let mut merger = described(plan, setup(3), &[oid::INT8, oid::INT8]).unwrap();
        let (out, result) = Shards::new(&shards, seed).run(&mut merger, None);
        assert!(rows(&out).is_sorted(), "seed {seed}");
        match result {
            Ok(total) => assert!(sorted && total == 60, "seed {seed}"),
            Err(error) => {
                assert!(!sorted, "seed {seed}");
                assert_eq!(error.message, "shard \"s1\" sent rows out of order");
            }
        }
    }
}

#[test]
fn distinct_rows_go_out_once() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let ordered = random.one_in(2);
        let keys = if ordered { vec![ascending(1)] } else { vec![] };
        let mut wanted = std::collections::BTreeSet::new();
        let mut shards: Vec<Vec<Row>> = Vec::new();
        for _ in 0..1 + random.below(5) {
            let mut own: Vec<_> = (0..random.below(20)).map(|_| key(&mut random)).collect();
            own.sort_by(|one, other| compare(one, other, &[ascending(1)]).then(one.cmp(other)));
            own.dedup();
            wanted.extend(own.iter().cloned());
            let row = |(number, word): &(Option<i64>, Option<String>)| {
                let word = word.as_deref().and_then(text);
                vec![number.and_then(|n| text(&n.to_string())), word.clone(), number.and_then(int8), word]
            };
            shards.push(own.iter().map(row).collect());
        }
        let plan = gather(Hidden::Twice(0), Merge::Distinct(keys), Window::default());
        let columns = &[oid::INT8, oid::TEXT, oid::INT8, oid::TEXT];
        let got = merged(|| described(plan.clone(), setup(shards.len()), columns).unwrap(), &shards, seed);
        let mut sorted = got.clone();
        sorted.sort();
        let mut wanted: Vec<Row> = wanted
            .iter()
            .map(|(number, word)| vec![number.and_then(|n| text(&n.to_string())), word.as_deref().and_then(text)])
            .collect();
        wanted.sort();
        assert_eq!(sorted, wanted, "seed {seed}");
        if ordered {
            let key = |row: &Row| (row[1].is_none(), row[1].clone());
            assert!(got.iter().map(key).is_sorted(), "seed {seed}");
        }
    }
}

#[test]
fn bounds_stand_behind_the_twins() {
    let plan = gather(Hidden::Twice(2), Merge::Distinct(vec![]), Window { limit: Some(1), offset: Some(2) });
    let row = |value: i64| vec![text("x"), int8(value), int8(2), int8(1)];
    let shards = [vec![row(1), row(2)], vec![row(2), row(3), row(4)]];
    let columns = &[oid::INT4, oid::INT8, oid::INT8, oid::INT8];
    let make = || described(plan.clone(), setup(2), columns).unwrap();
    assert_eq!(merged(make, &shards, 1).len(), 2);
    let twin = gather(Hidden::Twice(2), Merge::Distinct(vec![]), Window { limit: Some(0), offset: None });
    assert!(described(twin, setup(1), columns).is_err());
}

#[test]
fn what_distinct_holds_is_bounded_and_an_order_bounds_it_by_itself() {
    for (keys, ends) in [(vec![], false), (vec![ascending(0)], true)] {
        let plan = gather(Hidden::Twice(0), Merge::Distinct(keys), Window::default());
        let shards: Vec<Vec<Row>> =
            (0..2).map(|_| (0..1_000).map(|value| vec![text("x"), int8(value)]).collect()).collect();
        let setup = Setup { limits: Limits { held_bytes: 10_000 }, ..setup(2) };
        let mut merger = described(plan, setup, &[oid::INT8, oid::INT8]).unwrap();
        match Shards::new(&shards, 5).run(&mut merger, None).1 {
            Ok(total) => assert!(ends && total == 1_000),
            Err(error) => {
                assert!(!ends && error.hint.is_some());
                assert_eq!(error.code, SqlState::PROGRAM_LIMIT_EXCEEDED);
            }
        }
    }
}

#[test]
fn rows_without_hidden_columns_pass_as_they_are() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let plan = gather(Hidden::Last(0), Merge::Concat, Window::default());
        let row = |random: &mut Random| vec![text(&"x".repeat(random.below(200))), None];
        let shards: Vec<Vec<Row>> = (0..3).map(|_| (0..random.below(40)).map(|_| row(&mut random)).collect()).collect();
        let mut got = merged(|| described(plan.clone(), setup(3), &[25, 23]).unwrap(), &shards, seed);
        let mut wanted = shards.concat();
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "seed {seed}");
    }
}

#[test]
fn a_limit_stops_the_shards_early() {
    let plan = gather(Hidden::Last(1), Merge::Concat, Window { limit: Some(0), offset: None });
    let mut merger = described(plan, setup(2), &[oid::TEXT, oid::INT8]).unwrap();
    let rows_of_shard: Vec<Row> = (0..5).map(|_| vec![text("x"), int8(3)]).collect();
    let (mut incoming, mut out) = (frames(&rows_of_shard), BytesMut::new());
    assert!(merger.wants(0) && merger.wants(1) && !merger.is_satisfied());
    assert!(merger.feed(0, &mut incoming).unwrap() && incoming.is_empty());
    assert_eq!(merger.pump(&mut out, 2).unwrap(), Step { rows: 2, next: Next::Room });
    // PostgreSQL, too, only finds at the next fetch that there is no more.
    assert_eq!(merger.pump(&mut out, 1).unwrap(), Step { rows: 1, next: Next::Room });
    assert!(merger.is_satisfied() && !merger.wants(0) && !merger.wants(1));
    assert_eq!(merger.pump(&mut out, 9).unwrap(), Step { rows: 0, next: Next::Done });
    assert_eq!((rows(&out).len(), merger.tag(3).as_str()), (3, "SELECT 3"));
}

#[test]
fn returned_rows_come_in_the_order_of_values() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let places: Vec<u16> = (0..random.below(50)).map(|_| random.below(3) as u16).collect();
        let mut shards = vec![Vec::new(); 3];
        for (row, shard) in places.iter().enumerate() {
            shards[usize::from(*shard)].push(vec![text(&row.to_string())]);
        }
        let wanted: Vec<Row> = (0..places.len()).map(|row| vec![text(&row.to_string())]).collect();
        let plan = gather(Hidden::Last(0), Merge::Rows, Window::default());
        let setup = || Setup { rows: places.clone(), ..setup(3) };
        let make = || described(plan.clone(), setup(), &[25]).unwrap();
        assert_eq!(merged(make, &shards, seed), wanted, "seed {seed}");

        // A shard that returns another number of rows.
        let shard = random.below(3);
        let than = if shards[shard].is_empty() || random.one_in(2) {
            shards[shard].push(vec![text("more")]);
            "more"
        } else {
            shards[shard].pop();
            "fewer"
        };
        let (_, result) = Shards::new(&shards, seed).run(&mut make(), None);
        let message = format!("shard \"s{shard}\" returned {than} rows than it was given");
        assert_eq!(result.unwrap_err().message, message, "seed {seed}");
    }
}

#[test]
fn commands_without_rows_are_summed() {
    let plan = gather(Hidden::Last(0), Merge::Concat, Window::default());
    let fresh = || {
        let mut merger = Merger::new(plan.clone(), setup(2));
        merger.describe(1, None).unwrap();
        merger.describe(0, None).unwrap();
        assert_eq!(merger.description(), Some(&b"n\0\0\0\x04"[..]));
        merger
    };
    assert!(fresh().feed(0, &mut frames(&[vec![]])).is_err());
    let mut merger = fresh();
    merger.complete(0, b"UPDATE 2\0").unwrap();
    assert_eq!(merger.pump(&mut BytesMut::new(), u64::MAX).unwrap().next, Next::Rows);
    merger.complete(1, b"UPDATE 3\0").unwrap();
    assert_eq!(merger.pump(&mut BytesMut::new(), u64::MAX).unwrap().next, Next::Done);
    assert_eq!(merger.tag(0), "UPDATE 5");
    assert!(merger.complete(1, b"UPDATE 3\0").is_err() && merger.complete(2, b"UPDATE 3\0").is_err());
}

#[test]
fn what_cannot_be_sorted_is_refused_before_any_row() {
    let plan = |bytewise| {
        let key = OrderKey { bytewise, ..ascending(0) };
        gather(Hidden::Last(1), Merge::Ordered(vec![key]), Window::default())
    };
    let refused = |bytewise, oid| described(plan(bytewise), setup(2), &[25, oid]).err();
    assert_eq!(refused(false, oid::INT4), None);
    assert_eq!(refused(true, oid::TEXT), None);
    let error = refused(false, oid::TEXT).unwrap();
    assert_eq!(error.code, SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(error.message, "ORDER BY over values of type text is not supported over several shards");
    assert!(error.hint.unwrap().contains("COLLATE \"C\""));
    assert!(refused(true, 114).is_some() && refused(true, 20_000).is_some());
    let distinct = gather(Hidden::Twice(0), Merge::Distinct(vec![]), Window::default());
    assert!(described(distinct, setup(1), &[1231, 1231]).is_err());
}

#[test]
fn formats_are_the_clients_for_its_columns_and_binary_for_ours() {
    assert_eq!(result_formats(Hidden::Last(2), 4, &[]), Ok(vec![0, 0, 1, 1]));
    assert_eq!(result_formats(Hidden::Last(1), 3, &[1]), Ok(vec![1, 1, 1]));
    assert_eq!(result_formats(Hidden::Twice(1), 5, &[1, 0]), Ok(vec![1, 0, 1, 1, 1]));
    let error = result_formats(Hidden::Last(1), 3, &[1, 0, 1]).unwrap_err();
    assert_eq!(error.message, "bind message has 3 result formats but query has 2 columns");
    assert!(result_formats(Hidden::Last(4), 3, &[]).is_err() && result_formats(Hidden::Twice(0), 3, &[]).is_err());
    let plan = gather(Hidden::Last(1), Merge::Concat, Window::default());
    let merger = described(plan, Setup { formats: vec![0, 1], ..setup(1) }, &[25, 23, 20]).unwrap();
    let told = merger.description().unwrap();
    assert_eq!((told[0], &told[5..7], &told[told.len() - 2..]), (b'T', &[0, 2][..], &[0, 1][..]));
}
