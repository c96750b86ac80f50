//! The CH-benCHmark: TPC-C's tables, and TPC-H's questions about them.

use super::{Chance, Rows, Workload, cents, date, queries, world};

const DISTRICTS: i64 = 4;
const SUPPLIERS: i64 = 100;
const ITEMS: i64 = 200;
/// Days from 1992-01-01 to 2007-01-01, when the first order comes in.
const FIRST_ORDER: i64 = 5479;
const SYLLABLES: [&str; 10] = ["BAR", "OUGHT", "ABLE", "PRI", "PRES", "ESE", "ANTI", "CALLY", "ATION", "EING"];
const DATA: [&str; 10] = ["pr", "co", "zz", "qu", "xx", "ab", "bb", "ca", "cb", "cc"];

/// The tables for so many warehouses with so many customers in each district.
pub fn workload(warehouses: i64, customers: i64) -> Workload {
    let mut chance = Chance(20_070_102);
    let mut tables = Vec::from(world());
    let supplier = (0..SUPPLIERS).map(|key| {
        let nation = chance.between(0, 24);
        let comment = if chance.between(1, 10) == 1 { "a bad one".into() } else { chance.words(6) };
        let balance = chance.cents(-99_999, 999_999);
        format!("{key}\tSupplier#{key:09}\t{}\t{nation}\t{}-555\t{balance}\t{comment}", chance.words(4), nation + 10)
    });
    tables.push(Rows { table: "supplier", key: None, lines: supplier.collect() });
    let item = (1..=ITEMS).map(|key| {
        let data = format!("{}{}{}", chance.pick(&DATA), chance.words(3), chance.pick(&DATA));
        format!("{key}\t{}\titem {key}\t{}\t{data}", chance.between(1, 10_000), chance.cents(100, 10_000))
    });
    tables.push(Rows { table: "item", key: None, lines: item.collect() });

    let names = ["warehouse", "district", "customer", "orders", "neworder", "orderline", "stock"];
    let mut all: [Vec<String>; 7] = Default::default();
    for w in 1..=warehouses {
        all[0].push(format!("{w}\tware {w}\tAB\t0.{:04}\t300000.00", chance.between(0, 2000)));
        for i in 1..=ITEMS {
            let (quantity, orders) = (chance.between(10, 100), chance.between(0, 50));
            all[6].push(format!("{i}\t{w}\t{quantity}\t{}\t{orders}\t0\t{}", orders * 5, chance.words(4)));
        }
        for d in 1..=DISTRICTS {
            all[1].push(format!("{d}\t{w}\tdist {d}\t0.{:04}\t30000.00\t{}", chance.between(0, 2000), customers + 1));
            district(w, d, customers, &mut chance, &mut all);
        }
    }
    // Where the warehouse's number stands in each.
    let keys = [0, 1, 2, 2, 2, 2, 1];
    let rows = names.into_iter().zip(keys).zip(all).map(|((table, key), lines)| Rows { table, key: Some(key), lines });
    tables.extend(rows);
    Workload {
        name: "ch",
        vschema: include_str!("ch_vschema.toml"),
        schema: include_str!("ch_schema.sql"),
        tables,
        queries: queries(include_str!("ch_queries.sql")),
    }
}

fn district(w: i64, d: i64, customers: i64, chance: &mut Chance, all: &mut [Vec<String>; 7]) {
    for c in 1..=customers {
        let last: String = (0..3).map(|_| chance.pick(&SYLLABLES)).collect();
        let state = format!(
            "{}{}",
            char::from(b'A' + chance.between(0, 24) as u8),
            char::from(b'A' + chance.between(0, 25) as u8)
        );
        let balance = chance.cents(-1000, 100_000);
        all[2].push(format!(
            "{c}\t{d}\t{w}\tfirst {c}\t{last}\t{}\t{state}\t{}{c:03}\t{} 00:00:00\tGC\t0.{:04}\t{balance}",
            chance.words(2),
            chance.between(1, 9),
            date(FIRST_ORDER),
            chance.between(0, 5000)
        ));
    }
    for o in 1..=customers {
        // Some order twice, and so some not at all.
        let customer = chance.between(1, customers);
        let (day, lines) = (FIRST_ORDER + chance.between(0, 1800), chance.between(3, 8));
        // The last third waits to be delivered.
        let delivered = o * 3 <= customers * 2;
        let carrier = if delivered { chance.between(1, 10).to_string() } else { "\\N".into() };
        all[3].push(format!("{o}\t{d}\t{w}\t{customer}\t{} 10:{:02}:00\t{carrier}\t{lines}\t1", date(day), o % 60));
        if !delivered {
            all[4].push(format!("{o}\t{d}\t{w}"));
        }
        for line in 1..=lines {
            let when =
                if delivered { format!("{} 12:00:0{line}", date(day + chance.between(0, 20))) } else { "\\N".into() };
            all[5].push(format!(
                "{o}\t{d}\t{w}\t{line}\t{}\t{w}\t{when}\t{}\t{}",
                chance.between(1, ITEMS),
                chance.between(1, 10),
                cents(chance.between(1, 999_999))
            ));
        }
    }
}
