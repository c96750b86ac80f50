//! Groups: the shards' partial results against the same aggregates over all rows at once.

use std::collections::BTreeMap;

use super::*;
use crate::plan::gather::{Aggregation, Call, Finish, Function, Item};
use crate::types::oid;

fn call(function: Function, parts: &[u16]) -> Call {
    Call { function, parts: parts.to_vec() }
}

fn aggregate(aggregation: Aggregation, hidden: u16, window: Window) -> Arc<Gather> {
    gather(Hidden::Last(hidden), Merge::Aggregate(aggregation), window)
}

/// A plan over one group: the visible columns are the calls, in order.
fn of_all(calls: Vec<Call>, hidden: u16, finish: bool) -> Arc<Gather> {
    let columns = (0..calls.len()).map(|call| Item::Call(call as u16)).collect();
    let finish = finish.then(|| Finish { text: Default::default() });
    let aggregation = Aggregation { groups: vec![], calls, columns, order: vec![], native: true, finish };
    aggregate(aggregation, hidden, Window::default())
}

/// The numeric of a text, by way of the sum.
fn numeric(value: i64) -> Value {
    let mut sum = super::super::numeric::Sum::default();
    sum.add_integer(value);
    Some(sum.total().write().unwrap())
}

fn printed(row: &Row) -> Vec<String> {
    let shown = |value: &Value| match value {
        None => "NULL".to_owned(),
        Some(value) => String::from_utf8_lossy(value).into_owned(),
    };
    row.iter().map(shown).collect()
}

#[derive(Default, Clone, Copy)]
struct Facts {
    rows: i64,
    count: i64,
    sum: i64,
    min: Option<i64>,
    max: Option<i64>,
    or: i64,
}

impl Facts {
    fn add(&mut self, value: Option<i64>) {
        self.rows += 1;
        let Some(value) = value else { return };
        self.count += 1;
        self.sum += value;
        self.min = Some(self.min.map_or(value, |min| min.min(value)));
        self.max = Some(self.max.map_or(value, |max| max.max(value)));
        self.or |= value;
    }

    fn visible(&self, key: Option<i64>) -> Vec<String> {
        let or_null = |value: Option<i64>| value.map_or("NULL".to_owned(), |value| value.to_string());
        vec![
            or_null(key),
            self.rows.to_string(),
            or_null((self.count > 0).then_some(self.sum)),
            or_null(self.min),
            or_null(self.max),
            or_null((self.count > 0).then_some(self.or)),
        ]
    }

    /// As a shard answers: its own visible columns, then key, counts, sum, least, greatest, bits, LIMIT and OFFSET.
    fn sent(&self, key: Option<i64>, limit: Option<i64>) -> Row {
        let some = |value: i64| if self.count > 0 { int8(value) } else { None };
        let mut row: Row = self.visible(key).iter().map(|value| text(value).filter(|_| value != "NULL")).collect();
        row.extend([key.and_then(int8), int8(self.rows), some(self.sum), self.min.and_then(int8)]);
        row.extend([self.max.and_then(int8), some(self.or), limit.and_then(int8), int8(1)]);
        row
    }
}

#[test]
fn groups_are_those_of_all_rows_at_once() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let limit = if random.one_in(2) { None } else { Some(random.below(12) as i64) };
        let mut all: BTreeMap<(bool, Option<i64>), Facts> = BTreeMap::new();
        let mut shards = Vec::new();
        for _ in 0..1 + random.below(5) {
            let mut own: BTreeMap<Option<i64>, Facts> = BTreeMap::new();
            for _ in 0..random.below(60) {
                let key = if random.one_in(9) { None } else { Some(random.below(12) as i64 - 6) };
                let value = if random.one_in(4) { None } else { Some(random.below(2_000) as i64 - 1_000) };
                own.entry(key).or_default().add(value);
                all.entry((key.is_none(), key)).or_default().add(value);
            }
            shards.push(own.iter().map(|(key, facts)| facts.sent(*key, limit)).collect::<Vec<Row>>());
        }
        let bytewise = true;
        let calls = vec![
            call(Function::Count, &[1]),
            call(Function::Sum, &[2]),
            call(Function::Min { bytewise }, &[3]),
            call(Function::Max { bytewise }, &[4]),
            call(Function::BitOr, &[5]),
        ];
        let columns = [Item::First].into_iter().chain((0..5).map(Item::Call)).collect();
        // By the sum, the greatest, and then the key, NULLs last.
        let by_sum = random.one_in(2);
        let mut order = vec![ascending(0)];
        if by_sum {
            order.insert(0, OrderKey { by: By::Call(3), ..ascending(0) });
            order.insert(0, OrderKey { by: By::Call(1), descending: true, ..ascending(0) });
        }
        let aggregation = Aggregation { groups: vec![0], calls, columns, order, native: true, finish: None };
        let plan = aggregate(aggregation, 8, Window { limit: Some(6), offset: Some(7) });
        let got = merged(|| described(plan.clone(), setup(shards.len()), &[oid::INT8; 14]).unwrap(), &shards, seed);

        let mut wanted: Vec<_> = all.into_iter().collect();
        if by_sum {
            wanted.sort_by_key(|(_, facts)| {
                let null = facts.count == 0;
                (null, -facts.sum, facts.max)
            });
        }
        let wanted = wanted.iter().skip(1).take(limit.unwrap_or(100) as usize);
        let wanted: Vec<_> = wanted.map(|((_, key), facts)| facts.visible(*key)).collect();
        assert_eq!(got.iter().map(printed).collect::<Vec<_>>(), wanted, "seed {seed}");
    }
}

#[test]
fn aggregates_over_nothing_are_those_of_an_empty_table() {
    let calls = vec![
        call(Function::Count, &[0]),
        call(Function::Sum, &[1]),
        call(Function::Avg, &[1, 0]),
        call(Function::BoolAnd, &[2]),
        call(Function::Max { bytewise: false }, &[1]),
    ];
    let columns = &[oid::INT8, oid::NUMERIC, oid::NUMERIC, oid::BOOL, 25, oid::INT8, oid::NUMERIC, oid::BOOL];
    let plan = of_all(calls, 3, false);
    let make = || described(plan.clone(), setup(2), columns).unwrap();
    let empty = || vec![text("0"), None, None, None, None, int8(0), None, None];
    assert_eq!(printed(&merged(make, &[vec![empty()], vec![empty()]], 1)[0]), ["0", "NULL", "NULL", "NULL", "NULL"]);
    let some = vec![text("2"), text("6"), text("3.0"), text("t"), text("max"), int8(2), numeric(7), Some(vec![1])];
    let got = printed(&merged(make, &[vec![empty()], vec![some.clone()]], 2)[0]);
    assert_eq!(got, ["2", "7", "3.5000000000000000", "t", "max"]);
    // Groups without rows do not exist, and a shard that sends none adds none.
    assert_eq!(merged(make, &[vec![], vec![]], 3).len(), 0);
    assert_eq!(merged(make, &[vec![], vec![some]], 4).len(), 1);
}

#[test]
fn results_come_in_the_clients_formats() {
    let calls = || vec![call(Function::Sum, &[0]), call(Function::Avg, &[0, 1]), call(Function::BitXor, &[2])];
    let columns = &[oid::FLOAT8, oid::FLOAT8, 1560, oid::FLOAT8, oid::INT8, 1560];
    let row = |value: f64, count, bits: u8| {
        vec![None, None, None, Some(value.to_be_bytes().to_vec()), int8(count), Some(vec![0, 0, 0, 3, bits])]
    };
    let shards = [vec![row(0.1, 1, 0b1010_0000)], vec![row(0.2, 2, 0b0110_0000)]];
    let got = |formats: &[i16]| {
        let setup = || Setup { formats: formats.to_vec(), ..setup(2) };
        merged(|| described(of_all(calls(), 3, false), setup(), columns).unwrap(), &shards, 9).remove(0)
    };
    assert_eq!(printed(&got(&[])), ["0.30000000000000004", "0.10000000000000002", "110"]);
    let binary = vec![
        Some(0.300_000_000_000_000_04_f64.to_be_bytes().to_vec()),
        Some(0.100_000_000_000_000_02_f64.to_be_bytes().to_vec()),
        Some(vec![0, 0, 0, 3, 0b1100_0000]),
    ];
    assert_eq!(got(&[1]), binary);
    assert_eq!(got(&[1, 1, 0])[2], text("110"));

    // Rounded texts of floats are a server's to make; without one there is no answer.
    let rounded = || Setup { rounded_floats: true, ..setup(2) };
    assert!(described(of_all(calls(), 3, true), rounded(), columns).unwrap().needs_finish());
    let error = described(of_all(calls(), 3, false), rounded(), columns).unwrap_err();
    assert_eq!(error.code, SqlState::FEATURE_NOT_SUPPORTED);
    let binary = Setup { formats: vec![1], ..rounded() };
    assert!(!described(of_all(calls(), 3, true), binary, columns).unwrap().needs_finish());
}

#[test]
fn results_beyond_their_type_are_postgresqls_errors() {
    let failed = |function, oid, values: [Vec<u8>; 2]| {
        let plan = of_all(vec![call(function, &[0])], 1, false);
        let shards = values.map(|value| vec![vec![None, Some(value)]]);
        let mut merger = described(plan, setup(2), &[oid, oid]).unwrap();
        let error = Shards::new(&shards, 3).run(&mut merger, None).1.unwrap_err();
        format!("{} {}", error.code, error.message)
    };
    let most = i64::MAX.to_be_bytes().to_vec();
    assert_eq!(failed(Function::Sum, oid::INT8, [most.clone(), most.clone()]), "22003 bigint out of range");
    assert_eq!(failed(Function::Count, oid::INT8, [most.clone(), most]), "22003 bigint out of range");
    let most = f64::MAX.to_be_bytes().to_vec();
    assert_eq!(failed(Function::Sum, oid::FLOAT8, [most.clone(), most]), "22003 value out of range: overflow");
    let bits = [vec![0, 0, 0, 3, 0], vec![0, 0, 0, 4, 0]];
    assert_eq!(failed(Function::BitAnd, 1560, bits), "22026 cannot AND bit strings of different sizes");
    let garbage = failed(Function::BoolOr, oid::BOOL, [vec![1, 1], vec![1, 1]]);
    assert!(garbage.contains("sent a value that is not of its type"), "{garbage}");
}

#[test]
fn what_groups_hold_is_bounded() {
    let aggregation = Aggregation {
        groups: vec![0],
        calls: vec![],
        columns: vec![Item::First],
        order: vec![],
        native: true,
        finish: None,
    };
    let plan = aggregate(aggregation, 1, Window::default());
    let setup = Setup { limits: Limits { held_bytes: 1 << 20 }, ..setup(1) };
    let mut merger = described(plan, setup, &[oid::TEXT, oid::INT8]).unwrap();
    let shards = [(0..20_000).map(|value| vec![text("some visible text"), int8(value)]).collect()];
    let error = Shards::new(&shards, 3).run(&mut merger, None).1.unwrap_err();
    assert_eq!(error.code, SqlState::PROGRAM_LIMIT_EXCEEDED);
    assert_eq!(error.message, "groups of several shards take more than 1 MB in the proxy");
}

#[test]
fn many_groups_go_out_in_pieces() {
    let columns = vec![Item::First];
    let aggregation =
        Aggregation { groups: vec![0], calls: vec![], columns, order: vec![ascending(0)], native: true, finish: None };
    let plan = aggregate(aggregation, 1, Window::default());
    let mut merger = described(plan, setup(1), &[oid::TEXT, oid::INT8]).unwrap();
    let sent: Vec<Row> = (0..5_000).rev().map(|value| vec![text(&"x".repeat(100)), int8(value)]).collect();
    merger.feed(0, &mut frames(&sent)).unwrap();
    merger.complete(0, b"SELECT 5000\0").unwrap();
    let (mut total, mut pieces) = (0, 0);
    loop {
        let mut out = BytesMut::new();
        let step = merger.pump(&mut out, u64::MAX).unwrap();
        assert!(out.len() < 300_000);
        (total, pieces) = (total + step.rows, pieces + 1);
        if step.next == Next::Done {
            break;
        }
    }
    assert!(total == 5_000 && pieces > 2);
}

#[test]
fn a_final_statement_gets_the_hidden_columns_as_arrays() {
    let aggregation = Aggregation {
        groups: vec![0],
        calls: vec![],
        columns: vec![],
        order: vec![],
        native: false,
        finish: Some(Finish { text: Default::default() }),
    };
    let plan = aggregate(aggregation, 2, Window::default());
    let sent = [vec![vec![int8(7), text("a")]], vec![vec![None, text("bc")], vec![int8(8), text("")]]];
    let mut merger = described(plan.clone(), setup(2), &[oid::INT8, oid::TEXT]).unwrap();
    assert!(merger.needs_finish());
    for (shard, rows) in sent.iter().enumerate() {
        merger.feed(shard, &mut frames(rows)).unwrap();
        assert_eq!(merger.pump(&mut BytesMut::new(), u64::MAX).unwrap().next, Next::Rows);
        merger.complete(shard, b"SELECT 1\0").unwrap();
    }
    assert_eq!(merger.pump(&mut BytesMut::new(), u64::MAX).unwrap().next, Next::Finish);
    let parts = merger.parts().unwrap();
    let seen: Vec<_> = parts.iter().map(|part| (part.name, part.array, shown(&part.value))).collect();
    let int8s = "000000010000000100000014".to_owned()
        + "0000000300000001"
        + "000000080000000000000007"
        + "ffffffff"
        + "000000080000000000000008";
    let texts = "000000010000000000000019".to_owned() + "0000000300000001" + "0000000161" + "000000026263" + "00000000";
    assert_eq!(seen, [("int8", 1016, int8s), ("text", 1009, texts)]);

    let mut empty = described(plan.clone(), setup(1), &[oid::INT8, oid::TEXT]).unwrap();
    empty.complete(0, b"SELECT 0\0").unwrap();
    assert_eq!(shown(&empty.parts().unwrap()[0].value), "000000000000000000000014");
    // An array of arrays is no column.
    assert!(described(plan.clone(), setup(1), &[oid::INT8, oid::TEXT_ARRAY]).is_err());
    let setup = Setup { limits: Limits { held_bytes: 20 }, ..setup(1) };
    let mut merger = described(plan, setup, &[oid::INT8, oid::TEXT]).unwrap();
    assert_eq!(merger.feed(0, &mut frames(&sent[1])).unwrap_err().code, SqlState::PROGRAM_LIMIT_EXCEEDED);
}

#[test]
fn averages_of_real_are_nobodys_to_make() {
    let plan = of_all(vec![call(Function::Avg, &[0, 1])], 2, true);
    let error = described(plan, setup(1), &[oid::FLOAT8, oid::FLOAT4, oid::INT8]).unwrap_err();
    assert_eq!(error.hint.unwrap(), "Write avg(x::float8).");
}

#[test]
fn types_without_a_key_go_to_the_final_statement() {
    let by = |finish: bool, oid: Oid| {
        let finish = finish.then(|| Finish { text: Default::default() });
        let columns = vec![Item::First];
        let aggregation = Aggregation { groups: vec![0], calls: vec![], columns, order: vec![], native: true, finish };
        described(aggregate(aggregation, 1, Window::default()), setup(2), &[25, oid])
            .map(|merger| merger.needs_finish())
    };
    assert_eq!((by(true, 3802), by(true, oid::UUID)), (Ok(true), Ok(false)));
    assert_eq!(by(false, 3802).unwrap_err().code, SqlState::FEATURE_NOT_SUPPORTED);
    assert_eq!(by(true, 20_000).unwrap_err().code, SqlState::FEATURE_NOT_SUPPORTED);
}
