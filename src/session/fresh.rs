//! Values that nobody else has: keys in the order of time, and the time itself.
//!
//! Keys that only grow go to the end of an index, and a hash vindex spreads them over the shards all the same. Of keys made within one
//! millisecond on one node the order is not promised, and two nodes' clocks differ; that no two are equal is.
//!
//! * ULID: 48 bits of milliseconds and 80 random bits, as 26 digits of base 32 (github.com/ulid/spec).
//! * UUID version 7: the same 48 bits in front, 74 random bits (RFC 9562, section 5.7).
//! * Snowflake: 41 bits of milliseconds since 2020, 10 bits of the node, 12 bits that count within a millisecond. The node's number is the
//!   next of a sequence of the cluster's, when the process first needs it: unlike those of the 1,023 processes before it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Crockford's digits: without I, L, O and U.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 2020-01-01T00:00:00Z, in milliseconds: a snowflake's year zero.
const YEAR_ZERO: u64 = 1_577_836_800_000;
/// Bits of a snowflake that tell nodes apart.
const NODE_BITS: u32 = 10;
/// Bits of a snowflake that count within a millisecond.
const COUNT_BITS: u32 = 12;

fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Random bytes. Without a source of the system's, what the clock and a counter give: unique within this process.
fn random<const N: usize>() -> [u8; N] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        let count = COUNTER.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, from) in bytes.iter_mut().rev().zip(count.iter().rev()) {
            *byte = *from;
        }
    }
    bytes
}

/// A new ULID.
pub fn ulid() -> String {
    let mut number = u128::from(milliseconds() & 0xFFFF_FFFF_FFFF) << 80;
    let tail: [u8; 10] = random();
    for byte in tail.iter().rev().enumerate() {
        number |= u128::from(*byte.1) << (8 * byte.0);
    }
    (0..26).rev().map(|digit| char::from(DIGITS[(number >> (5 * digit)) as usize & 31])).collect()
}

fn uuid(mut bytes: [u8; 16], version: u8) -> String {
    bytes[6] = (bytes[6] & 0x0F) | (version << 4);
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    uuid::Uuid::from_bytes(bytes).hyphenated().to_string()
}

/// A new UUID of version 7.
pub fn uuid_v7() -> String {
    let mut bytes: [u8; 16] = random();
    bytes[..6].copy_from_slice(&milliseconds().to_be_bytes()[2..]);
    uuid(bytes, 7)
}

/// A new UUID of version 4.
pub fn uuid_v4() -> String {
    uuid(random(), 4)
}

/// A new snowflake of this node: positive, and greater than all that this process made before.
pub fn snowflake(node: u64) -> i64 {
    /// Milliseconds and the count within the last one, as one number that only grows.
    static LAST: AtomicU64 = AtomicU64::new(0);
    let node = node & ((1 << NODE_BITS) - 1);
    let now = milliseconds().saturating_sub(YEAR_ZERO) << COUNT_BITS;
    let mut last = LAST.load(Ordering::Relaxed);
    let next = loop {
        // More than 4,096 in one millisecond, or a clock that went back: the next millisecond's are taken in advance.
        let next = now.max(last + 1);
        match LAST.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => break next,
            Err(other) => last = other,
        }
    };
    let (time, count) = (next >> COUNT_BITS, next & ((1 << COUNT_BITS) - 1));
    // 41 bits of milliseconds last until 2089.
    i64::try_from((time << (NODE_BITS + COUNT_BITS) | node << COUNT_BITS | count) & (i64::MAX as u64))
        .unwrap_or(i64::MAX)
}

/// The time now, in UTC, as a text that PostgreSQL reads as `timestamptz` whatever its DateStyle.
pub fn moment() -> String {
    let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    now.strftime("%Y-%m-%d %H:%M:%S.%6f+00").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_snowflakes_only_grow() {
        let ulids: std::collections::HashSet<String> = (0..10_000).map(|_| ulid()).collect();
        assert_eq!(ulids.len(), 10_000);
        assert!(ulids.iter().all(|key| key.len() == 26 && key.bytes().all(|byte| DIGITS.contains(&byte))));
        let flakes: Vec<i64> = (0..10_000).map(|_| snowflake(7)).collect();
        assert!(flakes.windows(2).all(|pair| pair[0] < pair[1]) && flakes[0] > 0);
    }

    #[test]
    fn uuids_say_their_version() {
        for (key, version) in [(uuid_v7(), 7), (uuid_v4(), 4)] {
            let parsed = uuid::Uuid::parse_str(&key).unwrap();
            assert_eq!((parsed.get_version_num(), parsed.get_variant()), (version, uuid::Variant::RFC4122));
        }
        let (one, other) = (uuid_v7(), uuid_v7());
        assert!(one[..13] <= other[..13], "{one} {other}");
    }

    #[test]
    fn the_time_has_six_digits_of_its_second() {
        let moment = moment();
        assert_eq!((moment.len(), &moment[26..]), (29, "+00"), "{moment}");
    }
}
