//! Which shard a row belongs to.

use std::collections::HashMap;

use bytes::Bytes;

use super::super::Stop;
use super::super::ask::Ask;
use super::super::bench::Staged;
use super::kept::{Kept, values};
use crate::error::PgError;
use crate::merge;
use crate::plan::render::{Rows, Source};
use crate::plan::work::write::{Key, Target};
use crate::protocol::frontend::Format;
use crate::session::Session;
use crate::sqlstate::SqlState;
use crate::types::decode::decode_stored;
use crate::types::{Key as Value, Match, Oid, Raw, ShardId};
use crate::vindex::Placement;

/// A key's value in a row: its type's number, whether it is text, and its bytes.
pub(super) type Part<'a> = (Oid, bool, Option<&'a [u8]>);

impl Session {
    /// The shard of each row. `part` gives the n-th key column's value of a row; NULL has no place, and is an error.
    pub(super) async fn places_of(
        &mut self,
        target: &Target,
        kept: &Kept,
        columns: &[usize],
    ) -> Result<Vec<ShardId>, Stop> {
        let mut keys: Vec<Option<Vec<Value<'static>>>> = Vec::new();
        for message in kept.messages() {
            let row = values(message)?;
            let mut parts = Vec::with_capacity(columns.len());
            for (key, column) in target.keys.iter().zip(columns) {
                let described = kept.columns.get(*column).ok_or_else(|| no_key(target, key))?;
                let value = row.get(*column).copied().flatten().ok_or_else(|| null_key(target, key))?;
                parts.push(self.read_key(key, (described.oid, described.text, Some(value))));
            }
            keys.push(parts.into_iter().collect());
        }
        if keys.iter().any(Option::is_none) {
            keys = self.cast_keys(target, kept, columns).await?.into_iter().map(Some).collect();
        }
        self.place_keys(target, keys.into_iter().flatten()).await
    }

    /// A key as it will be stored, if that is certain without a server.
    pub(super) fn read_key(&self, key: &Key, (oid, text, value): Part<'_>) -> Option<Value<'static>> {
        let value = value?;
        let raw = match text {
            true => Raw::Text { text: std::str::from_utf8(value).ok()?.into(), oid },
            false => Raw::Binary { bytes: value, oid },
        };
        match decode_stored(&raw, key.key_type, &self.decode) {
            Match::Key(key) => Some(key.into_owned()),
            Match::Nothing | Match::Unclear(_) => None,
        }
    }

    /// The keys as a server makes them of the rows' values.
    async fn cast_keys(
        &mut self,
        target: &Target,
        kept: &Kept,
        columns: &[usize],
    ) -> Result<Vec<Vec<Value<'static>>>, Stop> {
        let shard = self.first_of(target.keyspace);
        self.enlist_reading(&[shard]).await?;
        let arrays = kept.arrays(&kept.frames);
        let (mut sql, mut given) = (String::from("SELECT "), Vec::new());
        let mut items = Vec::new();
        for (at, (key, column)) in target.keys.iter().zip(columns).enumerate() {
            let described = kept.columns.get(*column).ok_or_else(|| no_key(target, key))?;
            let source = described.source(String::new());
            let cast = source.cast.map(|cast| format!("::{cast}")).unwrap_or_default();
            items.push((format!("c{at}{cast}::{}", key.type_name), format!("${}::{}[]", at + 1, source.carried)));
            given.push((Format::Binary, arrays.get(*column).cloned()));
        }
        let (list, from): (Vec<String>, Vec<String>) = items.into_iter().unzip();
        let names: Vec<String> = (0..list.len()).map(|at| format!("c{at}")).collect();
        sql.push_str(&format!(
            "{} FROM unnest({}) AS goldseam ({})",
            list.join(", "),
            from.join(", "),
            names.join(", ")
        ));
        let mut replies = self.ask_shards(vec![Ask { values: given, ..Ask::new(shard, sql) }]).await?;
        let reply = replies.pop().ok_or_else(|| PgError::unsupported("a shard's answer is missing"))?;
        let oids = reply.columns.as_deref().and_then(merge::column_types).unwrap_or_default();
        let mut keys = Vec::new();
        for row in reply.values()? {
            let mut parts = Vec::with_capacity(row.len());
            for ((key, value), oid) in target.keys.iter().zip(row).zip(&oids) {
                let read = self.read_key(key, (*oid, false, value));
                parts.push(read.ok_or_else(|| unclear(target, key))?);
            }
            keys.push(parts);
        }
        Ok(keys)
    }

    /// The shard of each key. A directory places those that it does not know.
    pub(super) async fn place_keys(
        &mut self,
        target: &Target,
        keys: impl Iterator<Item = Vec<Value<'static>>>,
    ) -> Result<Vec<ShardId>, Stop> {
        let state = self.state.clone();
        let vindex = state.vschema.vindex(target.vindex);
        let mut known: HashMap<String, ShardId> = HashMap::new();
        let mut shards = Vec::new();
        for key in keys {
            shards.push(match vindex.vindex.place(&key) {
                Placement::Shard(shard) => shard,
                Placement::Nowhere => return Err(nowhere(target, &vindex.name, &key).into()),
                Placement::Directory => {
                    let text = key.first().map(Value::to_text).unwrap_or_default();
                    match known.get(&text) {
                        Some(shard) => *shard,
                        None => {
                            let shard = state.directories.assign(target.vindex, &text).await?;
                            known.insert(text, shard);
                            shard
                        }
                    }
                }
            });
        }
        Ok(shards)
    }
}

/// Some columns of staged rows, under names of ours.
pub(super) fn some_columns(kept: &Kept, frames: &[u8], rows: u64, columns: &[(usize, String)]) -> Staged {
    let arrays = kept.arrays(frames);
    let described = columns
        .iter()
        .filter_map(|(at, name)| kept.columns.get(*at).map(|column| column.source(name.clone())))
        .collect();
    let chosen: Vec<Bytes> = columns.iter().filter_map(|(at, _)| arrays.get(*at).cloned()).collect();
    let source = Source { columns: described, rows: Rows::Arrays { count: rows } };
    Staged { source, arrays: chosen, rows, bytes: frames.len() as u64 }
}

pub(super) fn null_key(target: &Target, key: &Key) -> PgError {
    PgError::new(
        SqlState::NOT_NULL_VIOLATION,
        format!("null value in column \"{}\" of relation \"{}\" violates not-null constraint", key.name, target.table),
    )
    .with_detail("A row without a shard key belongs to no shard.")
}

fn no_key(target: &Target, key: &Key) -> PgError {
    PgError::unsupported(format!("the rows for table \"{}\" do not give its shard key \"{}\"", target.table, key.name))
        .with_hint(format!("Name \"{}\" in the column list, and give its value.", key.name))
}

fn unclear(target: &Target, key: &Key) -> PgError {
    PgError::unsupported(format!(
        "value for shard key \"{}\" of table \"{}\" cannot be read with certainty",
        key.name, target.table
    ))
}

fn nowhere(target: &Target, vindex: &str, key: &[Value<'_>]) -> PgError {
    let shown: Vec<String> = key.iter().map(Value::to_text).collect();
    PgError::new(SqlState::CHECK_VIOLATION, format!("no shard found for row of table \"{}\"", target.table))
        .with_detail(format!("Vindex \"{vindex}\" takes no key {}.", shown.join(", ")))
        .with_hint("Give the vindex a shard for this key.")
}
