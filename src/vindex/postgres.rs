//! PostgreSQL's own partition hash, bit for bit, so that rows which PostgreSQL's hash partitioning (or a tool that copied
//! it) has already spread can stay where they are.
//!
//! The functions follow `src/common/hashfn.c` (Bob Jenkins' lookup3 as PostgreSQL seeds it), `src/backend/access/hash/
//! hashfunc.c` for the types, and `compute_partition_hash_value` in `src/backend/partitioning/partbounds.c` for the
//! combination of columns. The cases in `cases/postgres_hash.txt` were asked of a PostgreSQL 15.

use crate::types::{Key, KeyType};

/// `HASH_PARTITION_SEED` (`src/include/catalog/partition.h`).
const SEED: u64 = 0x7A5B_2236_7996_DCFD;

/// lookup3's golden ratio and the constant PostgreSQL adds to it.
const START: u32 = 0x9e37_79b9_u32.wrapping_add(3_923_095);

/// Three words that are mixed into each other.
struct State(u32, u32, u32);

impl State {
    fn new(length: usize, seed: u64) -> Self {
        let start = START.wrapping_add(length as u32);
        let mut state = State(start, start, start);
        if seed != 0 {
            state.0 = state.0.wrapping_add((seed >> 32) as u32);
            state.1 = state.1.wrapping_add(seed as u32);
            state.mix();
        }
        state
    }

    /// Reversible: no input bit is lost.
    fn mix(&mut self) {
        let State(a, b, c) = self;
        for (turn_a, turn_b, turn_c) in [(4, 6, 8), (16, 19, 4)] {
            *a = a.wrapping_sub(*c) ^ c.rotate_left(turn_a);
            *c = c.wrapping_add(*b);
            *b = b.wrapping_sub(*a) ^ a.rotate_left(turn_b);
            *a = a.wrapping_add(*c);
            *c = c.wrapping_sub(*b) ^ b.rotate_left(turn_c);
            *b = b.wrapping_add(*a);
        }
    }

    /// Every input bit reaches every output bit.
    fn finish(mut self) -> u64 {
        let State(a, b, c) = &mut self;
        *c = (*c ^ *b).wrapping_sub(b.rotate_left(14));
        *a = (*a ^ *c).wrapping_sub(c.rotate_left(11));
        *b = (*b ^ *a).wrapping_sub(a.rotate_left(25));
        *c = (*c ^ *b).wrapping_sub(b.rotate_left(16));
        *a = (*a ^ *c).wrapping_sub(c.rotate_left(4));
        *b = (*b ^ *a).wrapping_sub(a.rotate_left(14));
        *c = (*c ^ *b).wrapping_sub(b.rotate_left(24));
        u64::from(*b) << 32 | u64::from(*c)
    }
}

/// `hash_bytes_extended`.
pub fn hash_bytes(bytes: &[u8], seed: u64) -> u64 {
    let mut state = State::new(bytes.len(), seed);
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        state.0 = state.0.wrapping_add(word(&block[0..4]));
        state.1 = state.1.wrapping_add(word(&block[4..8]));
        state.2 = state.2.wrapping_add(word(&block[8..12]));
        state.mix();
    }
    let rest = blocks.remainder();
    let part = |from: usize, to: usize| word(&rest[from.min(rest.len())..to.min(rest.len())]);
    state.0 = state.0.wrapping_add(part(0, 4));
    state.1 = state.1.wrapping_add(part(4, 8));
    // The lowest byte of the third word belongs to the length.
    state.2 = state.2.wrapping_add(part(8, 12) << 8);
    state.finish()
}

/// Up to four bytes, little-endian.
fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

/// `hash_bytes_uint32_extended`.
fn hash_word(value: u32, seed: u64) -> u64 {
    let mut state = State::new(4, seed);
    state.0 = state.0.wrapping_add(value);
    state.finish()
}

/// `hashint8extended`, and with it the narrower ones: values of the same number hash alike whatever their width.
pub fn hash_int(value: i64, seed: u64) -> u64 {
    let (low, high) = (value as u32, (value >> 32) as u32);
    hash_word(low ^ if value >= 0 { high } else { !high }, seed)
}

/// The hash of one column, `None` for key types that PostgreSQL hashes in a way that is not followed here.
fn hash_key(key: &Key<'_>, seed: u64) -> Option<u64> {
    Some(match key {
        Key::Int(value) => hash_int(*value, seed),
        Key::Text(text) => hash_bytes(text.as_bytes(), seed),
        Key::Uuid(value) => hash_bytes(&value.to_be_bytes(), seed),
        Key::Date(days) => hash_word(*days as u32, seed),
        Key::Timestamp(micros) => hash_int(*micros, seed),
        Key::Bytes(bytes) => hash_bytes(bytes, seed),
        Key::Numeric(_) | Key::Null => return None,
    })
}

/// Whether keys of this type can be hashed as PostgreSQL does.
pub fn accepts(key_type: KeyType) -> bool {
    key_type != KeyType::Numeric
}

/// The hash of a whole partition key: its remainder is the partition.
pub fn partition_hash(key: &[Key<'_>]) -> u64 {
    key.iter().filter_map(|column| hash_key(column, SEED)).fold(0, combine)
}

/// `hash_combine64` (`src/include/common/hashfn.h`).
fn combine(a: u64, b: u64) -> u64 {
    a ^ b.wrapping_add(0x49a0_f4dd_15e5_a8e3).wrapping_add(a << 54).wrapping_add(a >> 7)
}
