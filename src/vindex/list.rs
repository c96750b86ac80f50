//! `list`: the operator names the keys of each shard.
//!
//! For few and meaningful keys: countries, tenants, product lines. A key that no list names goes to `default`, and where
//! there is none it has no place: reading it finds nothing, inserting it is refused.

use std::collections::HashMap;
use std::hash::Hash;

use bigdecimal::BigDecimal;
use serde::Deserialize;

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::family::{self, Family, Written};
use crate::vindex::{Kind, Placement, Shards, SpecError, Vindex, options};

/// The kind's entry in [`KINDS`](crate::vindex::KINDS).
pub const KIND: Kind = Kind {
    name: "list",
    about: "`lists = [ { values = [\"de\", \"at\"], shard = \"s0\" }, ... ]`, and `default = \"s1\"` for all other keys; without a \
            default these have no place. The key types of `range`; one column. `key_type` fixes the type the values are read as.",
    build,
    schema: |generator| generator.subschema_for::<Options>(),
};

/// The options of `type = "list"`.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "list")]
struct Options {
    /// Keys and their shards.
    lists: Vec<List>,
    /// The shard of all other keys.
    default: Option<String>,
    /// The column type the values are read as; without it every type that can read them all.
    key_type: Option<String>,
}

/// Some keys and their shard.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct List {
    /// The keys.
    #[schemars(with = "Vec<Written>")]
    values: Vec<toml::Value>,
    /// The shard's name.
    shard: String,
}

/// The keys of one family.
#[derive(Debug)]
enum Places {
    Int(HashMap<i64, ShardId>),
    Numeric(HashMap<BigDecimal, ShardId>),
    Uuid(HashMap<u128, ShardId>),
    Date(HashMap<i32, ShardId>),
    Timestamp(HashMap<i64, ShardId>),
    Text(HashMap<Box<str>, ShardId>),
    Bytes(HashMap<Box<[u8]>, ShardId>),
}

impl Places {
    fn new(family: Family) -> Self {
        match family {
            Family::Int => Places::Int(HashMap::new()),
            Family::Numeric => Places::Numeric(HashMap::new()),
            Family::Uuid => Places::Uuid(HashMap::new()),
            Family::Date => Places::Date(HashMap::new()),
            Family::Timestamp => Places::Timestamp(HashMap::new()),
            Family::Text => Places::Text(HashMap::new()),
            Family::Bytes => Places::Bytes(HashMap::new()),
        }
    }

    /// Whether the key is new.
    fn insert(&mut self, key: Key<'static>, shard: ShardId) -> bool {
        fn new<K: Hash + Eq>(map: &mut HashMap<K, ShardId>, key: K, shard: ShardId) -> bool {
            map.insert(key, shard).is_none()
        }
        match (self, key) {
            (Places::Int(map), Key::Int(key)) => new(map, key, shard),
            (Places::Numeric(map), Key::Numeric(key)) => new(map, key.into_owned(), shard),
            (Places::Uuid(map), Key::Uuid(key)) => new(map, key, shard),
            (Places::Date(map), Key::Date(key)) => new(map, key, shard),
            (Places::Timestamp(map), Key::Timestamp(key)) => new(map, key, shard),
            (Places::Text(map), Key::Text(key)) => new(map, key.into_owned().into(), shard),
            (Places::Bytes(map), Key::Bytes(key)) => new(map, key.into_owned().into(), shard),
            // The family read the value, so the key is of the family.
            _ => false,
        }
    }

    /// `None` if the key is of another family.
    fn get(&self, key: &Key<'_>) -> Option<Option<ShardId>> {
        Some(match (self, key) {
            (Places::Int(map), Key::Int(key)) => map.get(key).copied(),
            (Places::Numeric(map), Key::Numeric(key)) => map.get(key.as_ref()).copied(),
            (Places::Uuid(map), Key::Uuid(key)) => map.get(key).copied(),
            (Places::Date(map), Key::Date(key)) => map.get(key).copied(),
            (Places::Timestamp(map), Key::Timestamp(key)) => map.get(key).copied(),
            (Places::Text(map), Key::Text(key)) => map.get(key.as_ref()).copied(),
            (Places::Bytes(map), Key::Bytes(key)) => map.get(key.as_ref()).copied(),
            _ => return None,
        })
    }
}

#[derive(Debug)]
struct Lists {
    families: Vec<Family>,
    places: Vec<Places>,
    default: Option<ShardId>,
}

impl Vindex for Lists {
    fn place(&self, key: &[Key<'_>]) -> Placement {
        let [key] = key else { return Placement::Nowhere };
        // A key of a family that cannot read the lists is on none of them; `accepts` keeps such columns away.
        let listed = self.places.iter().find_map(|places| places.get(key)).flatten();
        listed.or(self.default).map_or(Placement::Nowhere, Placement::Shard)
    }

    fn accepts(&self, types: &[KeyType]) -> Result<(), String> {
        family::refuse("list", types, &self.families)
    }

    fn trace(&self, key: &[Key<'_>]) -> String {
        let listed = key.first().and_then(|key| self.places.iter().find_map(|places| places.get(key))).flatten();
        if listed.is_some() { "listed".to_owned() } else { "not listed".to_owned() }
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
    let mut owners = Vec::with_capacity(options.lists.len());
    for (index, list) in options.lists.iter().enumerate() {
        let place = |error: SpecError| error.at("shard").within(index).within_key("lists");
        owners.push(shards.find(&list.shard).map_err(place)?);
    }
    let default = match &options.default {
        Some(name) => Some(shards.find(name).map_err(|error| error.at("default"))?),
        None => None,
    };
    let (mut families, mut places, mut problem) = (Vec::new(), Vec::new(), None);
    for family in candidates {
        match read(&options.lists, &owners, family) {
            Ok(read) => {
                families.push(family);
                places.push(read);
            }
            Err((depth, error)) => {
                if problem.as_ref().is_none_or(|(deepest, _)| depth > *deepest) {
                    problem = Some((depth, error));
                }
            }
        }
    }
    match problem {
        Some((_, error)) if families.is_empty() => Err(error),
        _ => Ok(Box::new(Lists { families, places, default })),
    }
}

/// All lists as keys of one family, or how far one comes and what is wrong there.
fn read(lists: &[List], owners: &[ShardId], family: Family) -> Result<Places, (usize, SpecError)> {
    let (mut places, mut depth) = (Places::new(family), 0);
    for (index, (list, shard)) in lists.iter().zip(owners).enumerate() {
        for (at, value) in list.values.iter().enumerate() {
            let place = |message: String| {
                SpecError::new(message).within(at).within_key("values").within(index).within_key("lists")
            };
            let Some(key) = family.read(value) else {
                let message = format!("{} cannot be read as a key of type {}", family::shown(value), family.name());
                return Err((depth, place(message)));
            };
            if !places.insert(key, *shard) {
                let message = format!("{} is listed twice", family::shown(value));
                return Err((depth + 1, place(message).hint("A key has one shard: remove one of the two.")));
            }
            depth += 2;
        }
    }
    Ok(places)
}
