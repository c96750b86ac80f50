//! Two analytical workloads over four shards, with rows of our own making: TPC-H and the CH-benCHmark.
//!
//! The tests ask their queries of Goldseam and of one PostgreSQL and compare the answers; `cargo bench --bench analytics` prints the
//! times. Rows come from a seed: the same scale makes the same rows. They follow the distributions on which the queries' conditions
//! depend, and nothing else of the specifications' generators; so figures are not TPC results and must not be called so.
//!
//! * [`tpch`]: orders and their lines by order, parts and who supplies them by part, customers and suppliers by themselves.
//! * [`ch`]: the tables of TPC-C by warehouse, with suppliers, nations and regions everywhere.

// The tests and the bench use parts of it each.
#![allow(dead_code)]

pub mod ch;
pub mod tpch;

use goldseam::types::key::{DecodeContext, KeyType, Match, Raw, decode_stored};
use goldseam::vindex::Placement;
use goldseam::vschema::{TablePlacement, Vschema};

/// Tables, rows and queries.
pub struct Workload {
    /// A word.
    pub name: &'static str,
    /// The keyspace's file; `{shards}` stands for the list of its shards.
    pub vschema: &'static str,
    /// Statements that make the tables.
    pub schema: &'static str,
    /// In an order in which they may be loaded.
    pub tables: Vec<Rows>,
    pub queries: Vec<Query>,
}

/// A table's rows.
pub struct Rows {
    pub table: &'static str,
    /// Where its shard key stands in a line; none if it is everywhere.
    pub key: Option<usize>,
    /// As COPY reads them.
    pub lines: Vec<String>,
}

/// A query with its number in the specification.
pub struct Query {
    pub number: usize,
    pub about: &'static str,
    pub sql: &'static str,
}

impl Workload {
    /// The vschema's text for shards `s0`, `s1` and so on.
    pub fn vschema_toml(&self, shards: usize) -> String {
        let names: Vec<String> = (0..shards).map(|n| format!("\"s{n}\"")).collect();
        self.vschema.replace("{shards}", &format!("[{}]", names.join(", ")))
    }

    /// What each shard's tables are to be given: text for COPY.
    pub fn spread(&self, vschema: &Vschema, shards: usize) -> Vec<Vec<(&'static str, String)>> {
        let mut all: Vec<Vec<(&'static str, String)>> = vec![Vec::new(); shards];
        for rows in &self.tables {
            let mut texts = vec![String::new(); shards];
            let placement = &vschema.table("public", rows.table).expect("the vschema has all tables").placement;
            for line in &rows.lines {
                match (placement, rows.key) {
                    (TablePlacement::Sharded { vindex, .. }, Some(at)) => {
                        let field = line.split('\t').nth(at).expect("a row has its key");
                        let raw = Raw::Text { text: field.to_string().into(), oid: KeyType::Int4.oid() };
                        let context = DecodeContext { utc: true, iso: true };
                        let Match::Key(key) = decode_stored(&raw, KeyType::Int4, &context) else {
                            panic!("{}: {field} is no key", rows.table)
                        };
                        let Placement::Shard(shard) = vschema.vindex(*vindex).vindex.place(&[key]) else {
                            panic!("{}: {field} has no shard", rows.table)
                        };
                        push(&mut texts[usize::from(shard.0)], line);
                    }
                    _ => texts.iter_mut().for_each(|text| push(text, line)),
                }
            }
            all.iter_mut().zip(texts).for_each(|(tables, text)| tables.push((rows.table, text)));
        }
        all
    }

    /// All rows of all tables.
    pub fn plain(&self) -> Vec<(&'static str, String)> {
        let text = |rows: &Rows| {
            let mut text = String::new();
            rows.lines.iter().for_each(|line| push(&mut text, line));
            text
        };
        self.tables.iter().map(|rows| (rows.table, text(rows))).collect()
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// A file of queries: each has a line `-- number: about` before it and a semicolon at its end.
fn queries(text: &'static str) -> Vec<Query> {
    let parse = |part: &'static str| {
        let (head, sql) = part.split_once('\n')?;
        let (number, about) = head.split_once(": ")?;
        Some(Query { number: number.parse().ok()?, about, sql: sql.trim().trim_end_matches(';') })
    };
    text.split("-- ").filter_map(parse).collect()
}

/// Chance that is the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both of them too.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[(self.next() % from.len() as u64) as usize]
    }

    /// An amount of so many cents.
    fn cents(&mut self, low: i64, high: i64) -> String {
        cents(self.between(low, high))
    }

    /// A few words.
    fn words(&mut self, most: i64) -> String {
        const WORDS: [&str; 24] = [
            "quick", "final", "silent", "bold", "ironic", "regular", "even", "pending", "special", "express", "foxes",
            "deposits", "accounts", "packages", "theories", "requests", "ideas", "sleep", "wake", "nag", "haggle",
            "among", "above", "the",
        ];
        let count = self.between(2, most);
        (0..count).map(|_| self.pick(&WORDS)).collect::<Vec<_>>().join(" ")
    }
}

fn cents(amount: i64) -> String {
    format!("{}{}.{:02}", if amount < 0 { "-" } else { "" }, amount.abs() / 100, amount.abs() % 100)
}

/// The date so many days after the first of January 1992.
fn date(days: i64) -> String {
    let (mut year, mut left) = (1992, days);
    let leap = |year: i64| year % 4 == 0;
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + i64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while left >= lengths[month] {
        left -= lengths[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, left + 1)
}

const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];

/// Regions and nations, which both workloads have.
fn world() -> [Rows; 2] {
    let regions = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];
    let region = regions.iter().enumerate().map(|(n, name)| format!("{n}\t{name}\ta region")).collect();
    let nation =
        NATIONS.iter().enumerate().map(|(n, (name, region))| format!("{n}\t{name}\t{region}\ta nation")).collect();
    [Rows { table: "region", key: None, lines: region }, Rows { table: "nation", key: None, lines: nation }]
}
