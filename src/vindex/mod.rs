//! Vindexes: rules from a key to a shard. One file per kind, one line per kind in [`KINDS`].
//!
//! A vindex is a pure function. It is built once from the operator's options and then asked for each statement, so it must
//! answer in well under a microsecond, however many shards there are, and without allocating. It knows keys and shard
//! numbers; it must not know tables, statements, files or sockets. What no pure function can know (where a directory's table
//! put a key) it says with [`Placement::Directory`], and the layers that may do I/O look it up.
//!
//! A new kind is one file with a `KIND` and one line in [`KINDS`]; its `about` is its manual entry, its options' type gives
//! both the parser and the JSON Schema.

pub mod canonical;
pub mod consistent_hash;
pub mod directory;
pub mod family;
pub mod hash;
pub mod list;
pub mod lookup;
pub mod postgres;
pub mod range;

use std::ops::Range;

use crate::types::{Key, KeyType, ShardId};
use crate::vindex::directory::Directory;
use crate::vindex::lookup::Lookup;

/// Where a key's rows live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// On this shard.
    Shard(ShardId),
    /// On no shard: the vindex takes no such key. Reads find nothing; an INSERT is refused (23514).
    Nowhere,
    /// Only the directory table knows: a look-up is needed (see `session` and `pool`).
    Directory,
}

/// A rule from a key to a shard: pure, synchronous, and well under a microsecond.
pub trait Vindex: std::fmt::Debug + Send + Sync {
    /// The shard of a key; one value per key column, none of them [`Key::Null`].
    fn place(&self, key: &[Key<'_>]) -> Placement;

    /// The shards of all keys between two, each with whether it belongs to the interval itself, in no order and without repetition;
    /// `None` if the vindex knows no order, or not of such keys. May name more shards than have such keys, never fewer.
    fn cover(&self, _lower: Option<(&Key<'_>, bool)>, _upper: Option<(&Key<'_>, bool)>) -> Option<Vec<ShardId>> {
        None
    }

    /// Whether the vindex can place keys of these column types; the error says which it takes.
    fn accepts(&self, types: &[KeyType]) -> Result<(), String>;

    /// How it came to the placement, for `EXPLAIN (ROUTE)`: `bucket 17 of 65536`. Empty where there is nothing to tell.
    fn trace(&self, _key: &[Key<'_>]) -> String {
        String::new()
    }

    /// For directories: where the table is and how new keys are placed.
    fn directory(&self) -> Option<Directory> {
        None
    }

    /// For lookups: whose values they find.
    fn lookup(&self) -> Option<&Lookup> {
        None
    }
}

/// Builds a vindex from its options for the shards of its keyspace.
pub type Build = fn(toml::de::ValueDeserializer<'_>, &Shards<'_>) -> Result<Box<dyn Vindex>, SpecError>;

/// A kind of vindex: what `type = "..."` may say in a vschema file.
#[derive(Clone, Copy)]
pub struct Kind {
    /// The word after `type =`.
    pub name: &'static str,
    /// Its manual entry.
    pub about: &'static str,
    /// Builds one from the operator's options (the table without `type` and `keyspace`).
    pub build: Build,
    /// The JSON Schema of the options.
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every kind, in alphabetical order. A new kind is one file and one line here.
pub const KINDS: &[Kind] =
    &[consistent_hash::KIND, directory::KIND, hash::KIND, list::KIND, lookup::KIND, lookup::UNIQUE, range::KIND];

/// The kind of that name.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// The shards a vindex may name.
#[derive(Debug, Clone, Copy)]
pub struct Shards<'a> {
    /// The keyspace the vindex belongs to.
    pub keyspace: &'a str,
    /// The shards of that keyspace in its order.
    pub members: &'a [(String, ShardId)],
    /// The first shard of every keyspace, by the keyspace's name: where a directory may keep its table.
    pub stores: &'a [(String, ShardId)],
}

/// One step on the way to the option that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a table.
    Key(String),
    /// Into an array.
    Index(usize),
}

/// Why a vindex cannot be built. The loader turns the path or the span into a line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    /// From the vindex's table to the option that is wrong.
    pub path: Vec<Step>,
    /// The bytes of the file, if the parser knew them.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// What the operator can do.
    pub hint: Option<String>,
}

impl SpecError {
    /// An error about the vindex as a whole, until [`at`](Self::at) says more.
    pub fn new(message: impl Into<String>) -> Self {
        SpecError { path: Vec::new(), span: None, message: message.into(), hint: None }
    }

    /// The option it is about, within what was said so far.
    pub fn at(mut self, key: &str) -> Self {
        self.path.push(Step::Key(key.to_owned()));
        self
    }

    /// Puts an array's element around the path.
    pub fn within(mut self, index: usize) -> Self {
        self.path.insert(0, Step::Index(index));
        self
    }

    /// Puts a table's key around the path.
    pub fn within_key(mut self, key: &str) -> Self {
        self.path.insert(0, Step::Key(key.to_owned()));
        self
    }

    /// What the operator can do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A hint with the name that was probably meant, else with all there are.
    pub fn nearest<'n>(self, wrong: &str, names: impl Iterator<Item = &'n str>) -> Self {
        match crate::types::nearest::hint(wrong, names) {
            Some(hint) => self.hint(hint),
            None => self,
        }
    }
}

impl Shards<'_> {
    /// The keyspace's shard of that name.
    pub fn find(&self, name: &str) -> Result<ShardId, SpecError> {
        match self.members.iter().find(|(member, _)| member == name) {
            Some((_, shard)) => Ok(*shard),
            None => {
                let error = SpecError::new(format!("keyspace \"{}\" has no shard \"{name}\"", self.keyspace));
                Err(error.nearest(name, self.members.iter().map(|(member, _)| member.as_str())))
            }
        }
    }
}

/// Reads a kind's options; unknown keys and wrong types are errors.
pub fn options<T: serde::de::DeserializeOwned>(spec: toml::de::ValueDeserializer<'_>) -> Result<T, SpecError> {
    T::deserialize(spec).map_err(|error| SpecError { span: error.span(), ..SpecError::new(error.message().to_owned()) })
}

#[cfg(test)]
mod tests;
