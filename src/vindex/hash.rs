//! `hash`: the key's hash, modulo a number of buckets; each bucket belongs to a shard.
//!
//! Buckets stand between keys and shards so that data can move in portions: the number of buckets never changes, their
//! owners do. 65,536 by default: at 1,000 shards each still has 65 or 66 of them, so no shard holds more than one per cent
//! more than its share. Owners are contiguous runs of equal length unless `assign` says otherwise, which costs one
//! multiplication and no table.
//!
//! | function | for data that was placed by | bytes hashed |
//! |---|---|---|
//! | `xxh3` (default) | Goldseam | integers as 8 bytes little-endian, strings as they are, see [`canonical`](mod@crate::vindex::canonical) |
//! | `postgres` | PostgreSQL's hash partitioning, PgDog | see [`postgres`](mod@crate::vindex::postgres); buckets default to the number of shards |
//! | `murmur3` | SPQR (murmur3-32, seed 0) | integers as uvarint, padded with zeros to 8 bytes; uuid as text |
//! | `crc32` | `crc32(key) % n` in applications | the key as text |

use serde::Deserialize;

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::canonical;
use crate::vindex::{Kind, Placement, Shards, SpecError, Vindex, options, postgres};

/// See the module's text.
const DEFAULT_BUCKETS: u32 = 65_536;
/// A table of explicit owners takes two bytes for each.
const MAX_BUCKETS: u32 = 1 << 20;

/// The kind's entry in [`KINDS`](crate::vindex::KINDS).
pub const KIND: Kind = Kind {
    name: "hash",
    about: "The key's hash modulo `buckets` (65536; with function = \"postgres\" the number of shards); buckets are assigned \
            to the keyspace's shards in equal runs, or as `assign = [ { buckets = \"0-99\", shard = \"s0\" }, ... ]` says. \
            `function`: xxh3 (default), postgres, murmur3, crc32. Any key type, any number of columns.",
    build,
    schema: |generator| generator.subschema_for::<Options>(),
};

/// The options of `type = "hash"`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "hash")]
struct Options {
    /// The hash function.
    #[serde(default)]
    function: Function,
    /// How many buckets; must not change once there are rows.
    #[schemars(range(min = 1, max = 1_048_576))]
    buckets: Option<u32>,
    /// Which shard has which buckets; without it they are spread in equal runs.
    assign: Option<Vec<Assignment>>,
}

/// A run of buckets and its shard.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Assignment {
    /// `"0-16383"`, or one bucket: `"17"`.
    buckets: String,
    /// The shard's name.
    shard: String,
}

/// The hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Function {
    #[default]
    Xxh3,
    Postgres,
    Murmur3,
    Crc32,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Function::Xxh3 => "xxh3",
            Function::Postgres => "postgres",
            Function::Murmur3 => "murmur3",
            Function::Crc32 => "crc32",
        }
    }

    fn hash(self, key: &[Key<'_>]) -> u64 {
        match self {
            Function::Xxh3 => canonical::xxh3(key),
            Function::Postgres => postgres::partition_hash(key),
            Function::Murmur3 => u64::from(key.iter().fold(0, |seed, column| murmur3(column, seed))),
            Function::Crc32 => u64::from(crc32(key)),
        }
    }
}

/// As SPQR does it; further columns continue with the hash so far as the seed.
fn murmur3(key: &Key<'_>, seed: u32) -> u32 {
    let sum = |mut bytes: &[u8]| murmur3::murmur3_32(&mut bytes, seed).unwrap_or(0); // reading memory cannot fail
    match key {
        Key::Int(value) => {
            // Go's PutUvarint into 8 bytes, or 10 where the value needs more than 56 bits.
            let (mut bytes, mut rest, mut at) = ([0u8; 10], *value as u64, 0);
            while rest >= 0x80 {
                bytes[at] = rest as u8 | 0x80;
                rest >>= 7;
                at += 1;
            }
            bytes[at] = rest as u8;
            sum(if *value as u64 >= 1 << 56 { &bytes } else { &bytes[..8] })
        }
        Key::Text(text) => sum(text.as_bytes()),
        Key::Bytes(bytes) => sum(bytes),
        Key::Uuid(value) => sum(canonical::uuid_text(*value, &mut [0; 36])),
        _ => sum(key.to_text().as_bytes()),
    }
}

fn crc32(key: &[Key<'_>]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for column in key {
        match column {
            Key::Text(text) => hasher.update(text.as_bytes()),
            Key::Bytes(bytes) => hasher.update(bytes),
            Key::Int(value) => hasher.update(canonical::decimal(*value, &mut [0; 20])),
            Key::Uuid(value) => hasher.update(canonical::uuid_text(*value, &mut [0; 36])),
            other => hasher.update(other.to_text().as_bytes()),
        }
    }
    hasher.finalize()
}

/// Which shard has a bucket.
#[derive(Debug)]
enum Owners {
    /// Equal contiguous runs in the shards' order.
    Even(Box<[ShardId]>),
    /// One entry for each bucket.
    Table(Box<[ShardId]>),
}

#[derive(Debug)]
struct Hash {
    function: Function,
    buckets: u32,
    owners: Owners,
}

impl Hash {
    fn bucket(&self, key: &[Key<'_>]) -> u32 {
        // The remainder is below a u32.
        (self.function.hash(key) % u64::from(self.buckets)) as u32
    }
}

impl Vindex for Hash {
    fn place(&self, key: &[Key<'_>]) -> Placement {
        let bucket = self.bucket(key);
        Placement::Shard(match &self.owners {
            Owners::Even(shards) => {
                shards[(u64::from(bucket) * shards.len() as u64 / u64::from(self.buckets)) as usize]
            }
            Owners::Table(owners) => owners[bucket as usize],
        })
    }

    fn accepts(&self, types: &[KeyType]) -> Result<(), String> {
        match types.iter().find(|key_type| self.function == Function::Postgres && !postgres::accepts(**key_type)) {
            Some(key_type) => Err(format!("function = \"postgres\" does not hash {} keys", key_type.name())),
            None => Ok(()),
        }
    }

    fn trace(&self, key: &[Key<'_>]) -> String {
        format!("{} bucket {} of {}", self.function.name(), self.bucket(key), self.buckets)
    }
}

fn build(spec: toml::de::ValueDeserializer<'_>, shards: &Shards<'_>) -> Result<Box<dyn Vindex>, SpecError> {
    let options: Options = options(spec)?;
    let members = shards.members.len() as u32;
    let buckets = options.buckets.unwrap_or(match options.function {
        Function::Postgres => members,
        _ => DEFAULT_BUCKETS,
    });
    if !(1..=MAX_BUCKETS).contains(&buckets) {
        return Err(SpecError::new(format!("{buckets} buckets are not possible"))
            .at("buckets")
            .hint("Use 1 to 1048576."));
    }
    let owners = match options.assign {
        None if buckets < members => {
            let message = format!("{buckets} buckets cannot be spread over {members} shards");
            return Err(SpecError::new(message)
                .at("buckets")
                .hint("Use at least one bucket per shard, better hundreds."));
        }
        None => Owners::Even(shards.members.iter().map(|(_, shard)| *shard).collect()),
        Some(assignments) => Owners::Table(assigned(&assignments, buckets, shards)?),
    };
    Ok(Box::new(Hash { function: options.function, buckets, owners }))
}

fn assigned(assignments: &[Assignment], buckets: u32, shards: &Shards<'_>) -> Result<Box<[ShardId]>, SpecError> {
    let mut owners = vec![None; buckets as usize];
    for (index, assignment) in assignments.iter().enumerate() {
        let wrong = |message: String| SpecError::new(message).at("buckets").within(index).within_key("assign");
        let text = &assignment.buckets;
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) else {
            return Err(wrong(format!("\"{text}\" is no run of buckets")).hint("Write \"0-16383\" or \"17\"."));
        };
        if first > last || last >= buckets {
            return Err(wrong(format!("\"{text}\" is outside the buckets 0 to {}", buckets - 1)));
        }
        let shard =
            shards.find(&assignment.shard).map_err(|error| error.at("shard").within(index).within_key("assign"))?;
        for (bucket, owner) in owners.iter_mut().enumerate().take(last as usize + 1).skip(first as usize) {
            if owner.replace(shard).is_some() {
                return Err(wrong(format!("bucket {bucket} is assigned twice")));
            }
        }
    }
    if let Some(bucket) = owners.iter().position(Option::is_none) {
        let error = SpecError::new(format!("bucket {bucket} has no shard")).at("assign");
        return Err(error.hint(format!("Assign every bucket from 0 to {}.", buckets - 1)));
    }
    Ok(owners.into_iter().flatten().collect())
}
