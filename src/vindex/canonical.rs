//! The bytes of a key that Goldseam's own hash reads: one form for all keys that PostgreSQL calls equal.
//!
//! These forms are a promise: to change one is to lose every row that was placed by it.
//!
//! | key | bytes |
//! |---|---|
//! | integers, and numerics that are integers of 64 bits | 8, little-endian, two's complement |
//! | other numerics | plain decimal text without trailing zeros |
//! | text, varchar | UTF-8; `char(n)` without its trailing spaces |
//! | uuid | 16, big-endian |
//! | date | 4, little-endian days since 2000-01-01 |
//! | timestamp, timestamptz | 8, little-endian microseconds since 2000-01-01 |
//! | bytea | as they are |

use bigdecimal::ToPrimitive;
use twox_hash::XxHash3_64;

use crate::types::Key;

/// Calls back with the canonical bytes, which live on the stack or in the key.
pub trait Canonical {
    /// Hands the bytes to `read`.
    fn canonical<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T;
}

impl Canonical for Key<'_> {
    fn canonical<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Key::Null => read(&[]),
            Key::Int(value) => read(&value.to_le_bytes()),
            Key::Numeric(value) => match value.is_integer().then(|| value.to_i64()).flatten() {
                Some(value) => read(&value.to_le_bytes()),
                None => read(value.to_plain_string().as_bytes()),
            },
            Key::Text(text) => read(text.as_bytes()),
            Key::Uuid(value) => read(&value.to_be_bytes()),
            Key::Date(days) => read(&days.to_le_bytes()),
            Key::Timestamp(micros) => read(&micros.to_le_bytes()),
            Key::Bytes(bytes) => read(bytes),
        }
    }
}

/// xxh3-64 of the canonical bytes; each further column is hashed with the hash so far as its seed.
pub fn xxh3(key: &[Key<'_>]) -> u64 {
    key.iter().fold(0, |seed, column| column.canonical(|bytes| XxHash3_64::oneshot_with_seed(seed, bytes)))
}

/// Decimal digits without an allocation.
pub fn decimal(value: i64, buffer: &mut [u8; 20]) -> &[u8] {
    let (mut at, mut rest) = (buffer.len(), value.unsigned_abs());
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}
