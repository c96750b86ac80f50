//! `range`: each shard has an interval of keys, lower bound inclusive, upper bound exclusive.
//!
//! The ranges are written in ascending order and together cover every key: each begins where the one before ends, the first
//! has no lower bound and the last no upper one. An overlap would make a row's place ambiguous and a gap would lose it, so
//! both are refused when the file is read. Bounds are read as described in [`family`](mod@crate::vindex::family); a `key_type`
//! narrows that to one type. Text compares byte by byte (`COLLATE "C"`).
//!
//! Because the order is known, a condition such as `day >= x AND day < y` needs the shards of the ranges that it meets only
//! ([`Vindex::cover`]).

use std::cmp::Ordering;

use bigdecimal::BigDecimal;
use serde::Deserialize;

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::family::{self, Family, Written};
use crate::vindex::{Kind, Placement, Shards, SpecError, Step, Vindex, options};

/// The kind's entry in [`KINDS`](crate::vindex::KINDS).
pub const KIND: Kind = Kind {
    name: "range",
    about: "`ranges = [ { to = \"2026-01-01\", shard = \"s0\" }, ..., { shard = \"s2\" } ]` in ascending order: `from` is \
            inclusive and may be left out, `to` is exclusive and only the last range has none. Integers, numeric, date, \
            timestamp(tz), text in C order, uuid, bytea; one column. `key_type` fixes the type the bounds are read as. Statements \
            with BETWEEN, <, <=, > or >= on the key go to the shards of the ranges they meet (of text where its collation is C).",
    build,
    schema: |generator| generator.subschema_for::<Options>(),
};

/// The options of `type = "range"`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "range")]
struct Options {
    /// Ascending, without gaps.
    ranges: Vec<Range>,
    /// The column type the bounds are read as, such as `date` or `bigint`; without it every type that can read them all.
    key_type: Option<String>,
}

/// An interval of keys and its shard.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Range {
    /// Inclusive lower bound; may be left out, and must then equal the `to` before.
    #[schemars(with = "Option<Written>")]
    from: Option<toml::Value>,
    /// Exclusive upper bound; the last range has none.
    #[schemars(with = "Option<Written>")]
    to: Option<toml::Value>,
    /// The shard's name.
    shard: String,
}

/// Ascending upper bounds; the interval `i` is below bound `i` and not below bound `i - 1`.
#[derive(Debug)]
enum Bounds {
    Int(Box<[i64]>),
    Numeric(Box<[BigDecimal]>),
    Uuid(Strings),
    Date(Box<[i32]>),
    Timestamp(Box<[i64]>),
    Bytes(Strings),
    Text(Strings),
}

/// Byte strings with their first eight bytes in one place: most comparisons end there, without following a pointer.
#[derive(Debug)]
struct Strings {
    prefixes: Box<[u64]>,
    whole: Box<[Box<[u8]>]>,
}

impl Strings {
    fn new(whole: Vec<Box<[u8]>>) -> Self {
        Strings { prefixes: whole.iter().map(|bytes| prefix(bytes)).collect(), whole: whole.into() }
    }

    fn interval(&self, key: &[u8]) -> usize {
        let head = prefix(key);
        let first = self.prefixes.partition_point(|bound| *bound < head);
        let equal = self.prefixes[first..].iter().take_while(|bound| **bound == head).count();
        first + self.whole[first..first + equal].partition_point(|bound| bound.as_ref() <= key)
    }
}

/// The first eight bytes as a number that sorts like them.
fn prefix(bytes: &[u8]) -> u64 {
    let mut head = [0; 8];
    let length = bytes.len().min(8);
    head[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(head)
}

fn interval<T: PartialOrd>(bounds: &[T], key: &T) -> usize {
    bounds.partition_point(|bound| bound <= key)
}

impl Bounds {
    fn new(family: Family, keys: &[Key<'static>]) -> Option<Self> {
        macro_rules! all {
            ($variant:ident, $value:ident => $convert:expr) => {
                keys.iter()
                    .map(|key| if let Key::$variant($value) = key { Some($convert) } else { None })
                    .collect::<Option<_>>()
            };
        }
        Some(match family {
            Family::Int => Bounds::Int(all!(Int, value => *value)?),
            Family::Numeric => Bounds::Numeric(all!(Numeric, value => value.clone().into_owned())?),
            Family::Uuid => Bounds::Uuid(Strings::new(all!(Uuid, value => value.to_be_bytes().into())?)),
            Family::Date => Bounds::Date(all!(Date, value => *value)?),
            Family::Timestamp => Bounds::Timestamp(all!(Timestamp, value => *value)?),
            Family::Text => Bounds::Text(Strings::new(all!(Text, value => value.as_bytes().into())?)),
            Family::Bytes => Bounds::Bytes(Strings::new(all!(Bytes, value => value.as_ref().into())?)),
        })
    }

    /// `None` if the key is of another family.
    fn interval(&self, key: &Key<'_>) -> Option<usize> {
        Some(match (self, key) {
            (Bounds::Int(bounds), Key::Int(value)) => interval(bounds, value),
            (Bounds::Numeric(bounds), Key::Numeric(value)) => interval(bounds, value.as_ref()),
            (Bounds::Uuid(bounds), Key::Uuid(value)) => bounds.interval(&value.to_be_bytes()),
            (Bounds::Date(bounds), Key::Date(value)) => interval(bounds, value),
            (Bounds::Timestamp(bounds), Key::Timestamp(value)) => interval(bounds, value),
            (Bounds::Text(bounds), Key::Text(value)) => bounds.interval(value.as_bytes()),
            (Bounds::Bytes(bounds), Key::Bytes(value)) => bounds.interval(value),
            _ => return None,
        })
    }
}

impl Bounds {
    /// Whether a key is the lower bound of that interval, so that nothing in it is less.
    fn begins(&self, interval: usize, key: &Key<'_>) -> bool {
        let Some(bound) = interval.checked_sub(1) else { return false };
        match (self, key) {
            (Bounds::Int(bounds), Key::Int(value)) => bounds[bound] == *value,
            (Bounds::Numeric(bounds), Key::Numeric(value)) => bounds[bound] == **value,
            (Bounds::Uuid(bounds), Key::Uuid(value)) => *bounds.whole[bound] == value.to_be_bytes(),
            (Bounds::Date(bounds), Key::Date(value)) => bounds[bound] == *value,
            // A binary date may be beyond all timestamps; then it was cut to an infinity, from which it differs.
            (Bounds::Timestamp(bounds), Key::Timestamp(value)) => {
                bounds[bound] == *value && *value != i64::MIN && *value != i64::MAX
            }
            (Bounds::Bytes(bounds), Key::Bytes(value)) => *bounds.whole[bound] == **value,
            (Bounds::Text(bounds), Key::Text(value)) => *bounds.whole[bound] == *value.as_bytes(),
            _ => false,
        }
    }
}

/// How two keys of one family compare in PostgreSQL.
fn compare(left: &Key<'_>, right: &Key<'_>) -> Option<Ordering> {
    match (left, right) {
        (Key::Int(left), Key::Int(right)) => Some(left.cmp(right)),
        (Key::Numeric(left), Key::Numeric(right)) => Some(left.cmp(right)),
        (Key::Uuid(left), Key::Uuid(right)) => Some(left.cmp(right)),
        (Key::Date(left), Key::Date(right)) => Some(left.cmp(right)),
        (Key::Timestamp(left), Key::Timestamp(right)) => Some(left.cmp(right)),
        (Key::Text(left), Key::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Key::Bytes(left), Key::Bytes(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

#[derive(Debug)]
struct Ranges {
    shards: Box<[ShardId]>,
    families: Vec<Family>,
    bounds: Vec<Bounds>,
}

impl Ranges {
    fn interval(&self, key: &[Key<'_>]) -> Option<usize> {
        let [key] = key else { return None };
        self.bounds.iter().find_map(|bounds| bounds.interval(key))
    }
}

impl Vindex for Ranges {
    fn place(&self, key: &[Key<'_>]) -> Placement {
        match self.interval(key) {
            Some(interval) => Placement::Shard(self.shards[interval]),
            None => Placement::Nowhere,
        }
    }

    fn cover(&self, lower: Option<(&Key<'_>, bool)>, upper: Option<(&Key<'_>, bool)>) -> Option<Vec<ShardId>> {
        let find = |key: &Key<'_>| self.bounds.iter().find_map(|bounds| Some((bounds, bounds.interval(key)?)));
        let first = match lower {
            None => 0,
            // The next whole number, or day, may be in the next interval. Above the last one there is none.
            Some((Key::Int(value), false)) => match value.checked_add(1) {
                Some(next) => find(&Key::Int(next))?.1,
                None => return Some(Vec::new()),
            },
            Some((Key::Date(day), false)) => find(&Key::Date(day.saturating_add(1)))?.1,
            Some((key, _)) => find(key)?.1,
        };
        let end = match upper {
            None => self.shards.len(),
            Some((key, inclusive)) => {
                let (bounds, interval) = find(key)?;
                if !inclusive && bounds.begins(interval, key) { interval } else { interval + 1 }
            }
        };
        let mut shards: Vec<ShardId> = self.shards.get(first..end).unwrap_or(&[]).to_vec();
        shards.sort();
        shards.dedup();
        Some(shards)
    }

    fn accepts(&self, types: &[KeyType]) -> Result<(), String> {
        family::refuse("range", types, &self.families)
    }

    fn trace(&self, key: &[Key<'_>]) -> String {
        self.interval(key)
            .map_or_else(String::new, |interval| format!("range {} of {}", interval + 1, self.shards.len()))
    }
}

fn build(spec: toml::de::ValueDeserializer<'_>, shards: &Shards<'_>) -> Result<Box<dyn Vindex>, SpecError> {
    let options: Options = options(spec)?;
    let candidates = match options.key_type.as_deref() {
        None => Family::ALL.to_vec(),
        Some(name) => match KeyType::from_name(name) {
            Some(key_type) => vec![Family::of(key_type)],
            None => {
                let error = SpecError::new(format!("\"{name}\" is no key type")).at("key_type");
                return Err(error.nearest(name, KeyType::ALL.iter().map(|key_type| key_type.name())));
            }
        },
    };
    let mut owners = Vec::with_capacity(options.ranges.len());
    for (index, range) in options.ranges.iter().enumerate() {
        let place = |error: SpecError, key: &str| error.at(key).within(index).within_key("ranges");
        owners.push(shards.find(&range.shard).map_err(|error| place(error, "shard"))?);
        let last = index + 1 == options.ranges.len();
        if last && range.to.is_some() {
            let error = SpecError::new("the ranges leave a gap: no range takes the keys from here on");
            return Err(place(error, "to").hint("Leave out the last range's `to`, or add a range without one."));
        }
        if !last && range.to.is_none() {
            let error = SpecError::new("this range has no upper bound, so the ranges after it overlap with it");
            return Err(error.within(index).within_key("ranges").hint("Give it a `to`, or make it the last."));
        }
    }
    if let Some(range) = options.ranges.first()
        && range.from.is_some()
    {
        let error = SpecError::new("the ranges leave a gap: no range takes the keys below this bound");
        return Err(error.at("from").within(0).within_key("ranges").hint("Leave out the first range's `from`."));
    }
    if owners.is_empty() {
        return Err(SpecError::new("there are no ranges").at("ranges").hint("Write at least { shard = \"...\" }."));
    }
    let (mut families, mut bounds, mut problem) = (Vec::new(), Vec::new(), None);
    for family in candidates {
        match uppers(&options.ranges, family) {
            Ok(keys) => {
                if let Some(read) = Bounds::new(family, &keys) {
                    families.push(family);
                    bounds.push(read);
                }
            }
            // The family that read the most bounds is the one that was meant; of equals the first.
            Err((depth, error)) => {
                if problem.as_ref().is_none_or(|(deepest, _)| depth > *deepest) {
                    problem = Some((depth, error));
                }
            }
        }
    }
    match problem {
        Some((_, error)) if families.is_empty() => Err(error),
        _ => Ok(Box::new(Ranges { shards: owners.into(), families, bounds })),
    }
}

/// The upper bounds as keys of one family, or how far one comes and what is wrong there.
fn uppers(ranges: &[Range], family: Family) -> Result<Vec<Key<'static>>, (usize, SpecError)> {
    let mut keys: Vec<Key<'static>> = Vec::with_capacity(ranges.len());
    for (index, range) in ranges.iter().enumerate() {
        let place = |message: String, key: &str| SpecError {
            path: vec![Step::Key("ranges".to_owned()), Step::Index(index), Step::Key(key.to_owned())],
            ..SpecError::new(message)
        };
        let read = |value: &toml::Value, key: &str| {
            let message = || format!("{} cannot be read as a bound of type {}", family::shown(value), family.name());
            family.read(value).ok_or_else(|| (2 * index, place(message(), key)))
        };
        if let (Some(from), Some(before)) = (&range.from, keys.last()) {
            let shown = (family::shown(from), ranges[index - 1].to.as_ref().map(family::shown).unwrap_or_default());
            let (depth, what) = match compare(&read(from, "from")?, before) {
                Some(Ordering::Equal) => (0, None),
                Some(Ordering::Less) => (2 * index + 1, Some("overlap")),
                _ => (2 * index + 1, Some("leave a gap")),
            };
            if let Some(what) = what {
                let message =
                    format!("the ranges {what}: this one begins at {}, the one before ends at {}", shown.0, shown.1);
                return Err((
                    depth,
                    place(message, "from").hint("Leave out `from`: a range begins where the one before ends."),
                ));
            }
        }
        if let Some(to) = &range.to {
            let key = read(to, "to")?;
            if let Some(before) = keys.last()
                && compare(before, &key) != Some(Ordering::Less)
            {
                let message =
                    format!("the ranges overlap: {} does not come after the bound before it", family::shown(to));
                let hint = format!("Write the ranges in ascending order of {} keys.", family.name());
                return Err((2 * index + 1, place(message, "to").hint(hint)));
            }
            keys.push(key);
        }
    }
    Ok(keys)
}
