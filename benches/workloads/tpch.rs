//! TPC-H.

use super::{Chance, Rows, Workload, cents, date, queries, world};

/// Days from 1992-01-01 to the specification's current date, 1995-06-17.
const TODAY: i64 = 1263;
/// Days from 1992-01-01 to the last order, 1998-08-02.
const LAST_ORDER: i64 = 2405;

const COLORS: [&str; 24] = [
    "almond",
    "azure",
    "beige",
    "blue",
    "chocolate",
    "coral",
    "cream",
    "cyan",
    "forest",
    "ghost",
    "green",
    "indian",
    "ivory",
    "khaki",
    "lemon",
    "linen",
    "magenta",
    "navy",
    "olive",
    "plum",
    "rose",
    "salmon",
    "snow",
    "tomato",
];
const TYPES: [&[&str]; 3] = [
    &["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    &["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
    &["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"],
];
const CONTAINERS: [&[&str]; 2] =
    [&["SM", "LG", "MED", "JUMBO", "WRAP"], &["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"]];
const SEGMENTS: [&str; 5] = ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];
const PRIORITIES: [&str; 5] = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];
const MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];
const INSTRUCTIONS: [&str; 4] = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];

/// The tables at a scale; at 1 there would be 1.5 million orders.
pub fn workload(scale: f64) -> Workload {
    let count = |at_one: f64| (at_one * scale).max(10.0) as i64;
    let (parts, suppliers, customers, orders) =
        (count(200_000.0), count(10_000.0).max(24), count(150_000.0), count(1_500_000.0));
    let mut chance = Chance(19_920_101);
    let supplier = (1..=suppliers).map(|key| supplier(key, &mut chance)).collect();
    let part: Vec<String> = (1..=parts).map(|key| part(key, &mut chance)).collect();
    let partsupp = (1..=parts)
        .flat_map(|key| (0..4).map(move |n| (key, n)))
        .map(|(key, n)| {
            let (available, cost) = (chance.between(1, 9999), chance.cents(100, 100_000));
            format!("{key}\t{}\t{available}\t{cost}\t{}", supplier_of(key, n, suppliers), chance.words(12))
        })
        .collect();
    let customer = (1..=customers).map(|key| customer(key, &mut chance)).collect();
    let (mut order_lines, mut items) = (Vec::new(), Vec::new());
    for n in 0..orders {
        // As in the specification, keys have gaps, and a third of the customers never ordered.
        let key = n / 8 * 32 + n % 8 + 1;
        let customer = loop {
            let customer = chance.between(1, customers);
            if customer % 3 != 0 {
                break customer;
            }
        };
        let ordered = chance.between(0, LAST_ORDER);
        let (mut total, mut open) = (0, 0);
        // A few orders are so large that they are asked for.
        let large = n % 400 == 7;
        let lines = if large { 7 } else { chance.between(1, 7) };
        for line in 1..=lines {
            let (part, quantity) = (chance.between(1, parts), chance.between(if large { 43 } else { 1 }, 50));
            let supplier = supplier_of(part, chance.between(0, 3), suppliers);
            let (price, discount, tax) = (quantity * retail_price(part), chance.between(0, 10), chance.between(0, 8));
            let shipped = ordered + chance.between(1, 121);
            let (committed, received) = (ordered + chance.between(30, 90), shipped + chance.between(1, 30));
            let returned = if received <= TODAY { chance.pick(&["R", "A"]) } else { "N" };
            let status = if shipped > TODAY { "O" } else { "F" };
            open += i64::from(status == "O");
            total += price * (100 - discount) / 100 * (100 + tax) / 100;
            items.push(format!(
                "{key}\t{part}\t{supplier}\t{line}\t{quantity}\t{}\t0.{discount:02}\t0.{tax:02}\t{returned}\t{status}\t{}\t{}\t{}\t{}\t{}\t{}",
                cents(price),
                date(shipped),
                date(committed),
                date(received),
                chance.pick(&INSTRUCTIONS),
                chance.pick(&MODES),
                chance.words(5)
            ));
        }
        let status = if open == lines {
            "O"
        } else if open == 0 {
            "F"
        } else {
            "P"
        };
        order_lines.push(format!(
            "{key}\t{customer}\t{status}\t{}\t{}\t{}\tClerk#{:09}\t0\t{}",
            cents(total),
            date(ordered),
            chance.pick(&PRIORITIES),
            chance.between(1, (orders / 1500).max(2)),
            chance.words(8)
        ));
    }
    let [region, nation] = world();
    let rows = |table, lines| Rows { table, key: Some(0), lines };
    let tables = vec![
        region,
        nation,
        rows("part", part),
        rows("supplier", supplier),
        rows("partsupp", partsupp),
        rows("customer", customer),
        rows("orders", order_lines),
        rows("lineitem", items),
    ];
    Workload {
        name: "tpch",
        vschema: include_str!("tpch_vschema.toml"),
        schema: include_str!("tpch_schema.sql"),
        tables,
        queries: queries(include_str!("tpch_queries.sql")),
    }
}

fn phone(nation: i64, chance: &mut Chance) -> String {
    format!("{}-{}-{}-{}", nation + 10, chance.between(100, 999), chance.between(100, 999), chance.between(1000, 9999))
}

fn supplier(key: i64, chance: &mut Chance) -> String {
    let nation = chance.between(0, 24);
    let comment = if chance.between(1, 40) == 1 { "Customer slow Complaints".into() } else { chance.words(8) };
    let (phone, balance) = (phone(nation, chance), chance.cents(-99_999, 999_999));
    format!("{key}\tSupplier#{key:09}\t{}\t{nation}\t{phone}\t{balance}\t{comment}", chance.words(4))
}

fn part(key: i64, chance: &mut Chance) -> String {
    let name: Vec<&str> = (0..5).map(|_| chance.pick(&COLORS)).collect();
    let (maker, brand) = (chance.between(1, 5), chance.between(1, 5));
    let kind: Vec<&str> = TYPES.iter().map(|words| chance.pick(words)).collect();
    let container: Vec<&str> = CONTAINERS.iter().map(|words| chance.pick(words)).collect();
    format!(
        "{key}\t{}\tManufacturer#{maker}\tBrand#{maker}{brand}\t{}\t{}\t{}\t{}\tpart",
        name.join(" "),
        kind.join(" "),
        chance.between(1, 50),
        container.join(" "),
        cents(retail_price(key))
    )
}

fn customer(key: i64, chance: &mut Chance) -> String {
    let nation = chance.between(0, 24);
    let (phone, balance) = (phone(nation, chance), chance.cents(-99_999, 999_999));
    format!(
        "{key}\tCustomer#{key:09}\t{}\t{nation}\t{phone}\t{balance}\t{}\t{}",
        chance.words(4),
        chance.pick(&SEGMENTS),
        chance.words(10)
    )
}

/// In cents.
fn retail_price(part: i64) -> i64 {
    90_000 + part / 10 % 20_001 + 100 * (part % 1000)
}

/// One of the four who supply a part: four different ones also where suppliers are few.
fn supplier_of(part: i64, n: i64, suppliers: i64) -> i64 {
    (part + n * (suppliers / 4 + (part - 1) / suppliers % (suppliers / 12))) % suppliers + 1
}
