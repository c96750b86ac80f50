//! What a look-up costs: every kind and function, from 4 to 10,000 shards, in nanoseconds per key.
//!
//! `cargo bench --bench vindex` prints the table and fails if a look-up takes 100 ns or more; `-- --smoke` only shows that it
//! runs. A look-up is what happens for each statement once the plan is known, so it must not grow with the cluster: the last
//! column has 10,000 shards. Keys are drawn at random before the clock starts, as many as do not fit into the first cache.

use std::hint::black_box;
use std::time::Instant;

use goldseam::types::key::decode;
use goldseam::types::{DecodeContext, Key, KeyType, Raw, ShardId, oid};
use goldseam::vindex::{self, Shards, Vindex};

/// The promise, for all but a directory's miss.
const LIMIT: f64 = 100.0;
const SHARDS: [usize; 4] = [4, 100, 1_000, 10_000];

/// A small generator (Steele, Lea, Flood: SplitMix64): the same keys in every run.
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

fn build(kind: &str, options: &str, shards: usize) -> Box<dyn Vindex> {
    let members: Vec<_> = (0..shards).map(|shard| (format!("s{shard}"), ShardId(shard as u16))).collect();
    let stores = [("commerce".to_owned(), ShardId(0))];
    let shards = Shards { keyspace: "commerce", members: &members, stores: &stores };
    let kind = vindex::kind(kind).expect("a kind's name");
    let options = toml::de::ValueDeserializer::parse(options).expect("valid TOML");
    (kind.build)(options, &shards).expect("valid options")
}

/// `n` ranges or lists, one for each shard.
fn per_shard(key: &str, shards: usize, entry: impl Fn(usize) -> String, rest: &str) -> String {
    let entries: Vec<String> = (0..shards).map(entry).collect();
    format!("{{ {key} = [{}]{rest} }}", entries.join(", "))
}

fn range(shards: usize, bound: impl Fn(u64) -> String) -> String {
    let step = u64::MAX / shards as u64;
    let entry = |shard: usize| {
        if shard + 1 == shards {
            format!("{{ shard = 's{shard}' }}")
        } else {
            format!("{{ to = {}, shard = 's{shard}' }}", bound((shard as u64 + 1) * step))
        }
    };
    per_shard("ranges", shards, entry, "")
}

/// A 64-bit number as a signed one in the same order.
fn signed(value: u64) -> i64 {
    (value ^ 1 << 63) as i64
}

fn written(texts: &[String], oid: u32) -> Vec<Raw<'_>> {
    texts.iter().map(|text| Raw::Text { text: text.as_str().into(), oid }).collect()
}

fn nanoseconds(vindex: &dyn Vindex, keys: &[Key<'_>], rounds: usize) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        for key in keys {
            black_box(vindex.place(black_box(std::slice::from_ref(key))));
        }
        best = best.min(start.elapsed().as_nanos() as f64 / keys.len() as f64);
    }
    best
}

fn main() {
    let smoke = std::env::args().any(|argument| argument == "--smoke");
    let (count, rounds) = if smoke { (500, 1) } else { (50_000, 15) };
    let mut random = Random(7);
    let numbers: Vec<u64> = (0..count).map(|_| random.next()).collect();
    let ints: Vec<Key<'_>> = numbers.iter().map(|value| Key::Int(signed(*value))).collect();
    let texts: Vec<Key<'_>> = numbers.iter().map(|value| Key::Text(format!("{value:016x}").into())).collect();
    let uuids: Vec<Key<'_>> = numbers.iter().map(|value| Key::Uuid(u128::from(*value) << 64)).collect();
    let few: Vec<Key<'_>> = numbers.iter().map(|value| Key::Int((value % 10_000) as i64)).collect();

    println!("ns per look-up, best of {rounds} rounds of {count} random keys");
    println!("{:<28} {:>5} {:>8} {:>8} {:>8} {:>8}", "shards", "", SHARDS[0], SHARDS[1], SHARDS[2], SHARDS[3]);
    let mut worst: f64 = 0.0;
    let mut row = |name: &str, key: &str, keys: &[Key<'_>], make: &dyn Fn(usize) -> Box<dyn Vindex>| {
        print!("{name:<28} {key:>5}");
        for shards in SHARDS {
            let cost = nanoseconds(make(shards).as_ref(), keys, rounds);
            worst = worst.max(cost);
            print!(" {cost:>8.1}");
        }
        println!();
    };
    for function in ["xxh3", "postgres", "murmur3", "crc32"] {
        let options = format!("{{ function = '{function}' }}");
        for (key, keys) in [("int8", &ints), ("text", &texts), ("uuid", &uuids)] {
            row(&format!("hash {function}"), key, keys, &|shards| build("hash", &options, shards));
        }
    }
    let assigned = |shards: usize| {
        let entry = |shard: usize| format!("{{ buckets = '{shard}', shard = 's{shard}' }}");
        build("hash", &per_shard("assign", shards, entry, &format!(", buckets = {shards}")), shards)
    };
    row("hash, buckets assigned", "int8", &ints, &assigned);
    for (key, keys) in [("int8", &ints), ("text", &texts), ("uuid", &uuids)] {
        row("consistent_hash", key, keys, &|shards| build("consistent_hash", "{}", shards));
    }
    let int_range = |shards| build("range", &range(shards, |bound| signed(bound).to_string()), shards);
    let text_range = |shards| build("range", &range(shards, |bound| format!("'{bound:016x}'")), shards);
    let uuid_range = |shards| {
        let bound = |bound: u64| format!("'{:032x}'", u128::from(bound) << 64);
        build("range", &range(shards, bound), shards)
    };
    row("range", "int8", &ints, &int_range);
    row("range", "text", &texts, &text_range);
    row("range", "uuid", &uuids, &uuid_range);
    let list = |shards: usize| {
        let entry = |shard: usize| format!("{{ values = [{shard}], shard = 's{shard}' }}");
        build("list", &per_shard("lists", shards, entry, ", default = 's0'"), shards)
    };
    row("list", "int8", &few, &list);
    row("directory (asks its table)", "int8", &ints, &|shards| build("directory", "{}", shards));

    println!("\nns to read a key from what the client sent");
    let context = DecodeContext { utc: true, iso: true };
    let read = |name: &str, column: KeyType, raw: Vec<Raw<'_>>| {
        let mut best = f64::INFINITY;
        for _ in 0..rounds {
            let start = Instant::now();
            for raw in &raw {
                black_box(decode(black_box(raw), column, &context));
            }
            best = best.min(start.elapsed().as_nanos() as f64 / raw.len() as f64);
        }
        println!("{name:<28} {:>14.1}", best);
    };
    let digits: Vec<String> = numbers.iter().map(|value| signed(*value).to_string()).collect();
    let hex: Vec<String> =
        numbers.iter().map(|value| uuid::Uuid::from_u128(u128::from(*value) << 64).to_string()).collect();
    let days: Vec<String> =
        numbers.iter().map(|value| format!("20{:02}-0{}-1{}", value % 90, 1 + value % 9, value % 7)).collect();
    let bytes: Vec<[u8; 8]> = numbers.iter().map(|value| value.to_be_bytes()).collect();
    read("number literal, int8", KeyType::Int8, written(&digits, oid::NUMERIC));
    read("quoted literal, int8", KeyType::Int8, written(&digits, oid::UNKNOWN));
    read("binary parameter, int8", KeyType::Int8, bytes.iter().map(|bytes| Raw::Binary { bytes, oid: 0 }).collect());
    read("quoted literal, text", KeyType::Text, written(&digits, oid::UNKNOWN));
    read("quoted literal, uuid", KeyType::Uuid, written(&hex, oid::UNKNOWN));
    read("quoted literal, date", KeyType::Date, written(&days, oid::UNKNOWN));

    println!("\nworst look-up: {worst:.1} ns");
    if !smoke && worst >= LIMIT {
        eprintln!("a look-up takes {worst:.1} ns, {LIMIT} are allowed");
        std::process::exit(1);
    }
}
