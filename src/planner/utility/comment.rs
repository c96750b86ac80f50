//! The place of a new table as its CREATE says in a comment: `/* goldseam: shard_key=customer_id vindex=customer_hash */`,
//! `/* goldseam: reference */`, `/* goldseam: shard=s1 */`, each with `keyspace=...` where that does not go without saying.

use super::super::Context;
use crate::error::PgError;
use crate::sql::{Token, comments};
use crate::sqlstate::SqlState;
use crate::vschema::Vschema;
use crate::vschema::alter::{Place, PlaceKind};

/// The place that the comments of a statement name; none if they say nothing of that.
pub fn place(context: &Context<'_>, text: &str, tokens: &[Token]) -> Result<Option<Place>, PgError> {
    let words = comments::words(text, tokens);
    let value = |name: &str| words.iter().find(|(word, _)| *word == name).and_then(|(_, value)| *value);
    let says =
        |kind: &str| words.iter().any(|(word, value)| *word == kind && value.is_none()) || value("type") == Some(kind);
    let known =
        ["shard_key", "vindex", "keyspace", "shard", "type", "reference", "unsharded", "sharded", "consistency"];
    if let Some((word, _)) = words.iter().find(|(word, _)| !known.contains(word)) {
        return Err(wrong(format!("comment of Goldseam's says \"{word}\", which is not known"), USAGE));
    }
    let vschema = context.vschema;
    let keyspace = value("keyspace").map(str::to_owned);
    if let Some(name) = &keyspace
        && !vschema.keyspaces.iter().any(|known| known.name == *name)
    {
        let names: Vec<&str> = vschema.keyspaces.iter().map(|keyspace| keyspace.name.as_str()).collect();
        return Err(wrong(format!("keyspace \"{name}\" does not exist"), &format!("There are: {}.", names.join(", "))));
    }
    let kind = match (value("shard_key"), value("vindex"), value("shard")) {
        (Some(_), _, Some(_)) => return Err(wrong("a table has a shard key or is on one shard".into(), USAGE)),
        (Some(key), vindex, None) => {
            let columns: Vec<String> = key.trim_matches(['(', ')', '"']).split(',').map(str::to_owned).collect();
            PlaceKind::Sharded { columns, vindex: vindex_of(vschema, vindex)? }
        }
        (None, Some(_), _) => return Err(wrong("a vindex needs a shard key".into(), USAGE)),
        (None, None, Some(shard)) => {
            if vschema.shard(shard).is_none() {
                let hint = format!("The shards are: {}.", vschema.shards.join(", "));
                return Err(wrong(format!("shard \"{shard}\" does not exist"), &hint));
            }
            PlaceKind::Unsharded { shard: Some(shard.to_owned()) }
        }
        (None, None, None) if says("reference") => PlaceKind::Reference,
        (None, None, None) if says("unsharded") => PlaceKind::Unsharded { shard: None },
        (None, None, None) if says("sharded") => return Err(wrong("a sharded table needs a shard key".into(), USAGE)),
        (None, None, None) => return Ok(None),
    };
    let keyspace = match keyspace {
        Some(keyspace) => keyspace,
        None => keyspace_of(vschema, &kind)?,
    };
    Ok(Some(Place { keyspace: Some(keyspace), kind }))
}

const USAGE: &str =
    "Write shard_key=column vindex=name, or reference, or shard=name; and keyspace=name if there are several.";

fn wrong(message: String, hint: &str) -> PgError {
    PgError::new(SqlState::INVALID_PARAMETER_VALUE, message).with_hint(hint)
}

fn vindex_of(vschema: &Vschema, named: Option<&str>) -> Result<String, PgError> {
    let names = || vschema.vindexes.iter().map(|vindex| vindex.name.as_str()).collect::<Vec<_>>().join(", ");
    match named {
        Some(name) if vschema.vindexes.iter().any(|known| known.name == name) => Ok(name.to_owned()),
        Some(name) => Err(wrong(
            format!("vindex \"{name}\" does not exist"),
            &format!("There are: {}. ALTER VSCHEMA CREATE VINDEX {name} USING hash makes one.", names()),
        )),
        None => match &vschema.vindexes[..] {
            [only] => Ok(only.name.clone()),
            _ => Err(wrong("a sharded table needs a vindex".into(), &format!("Add vindex=name, one of: {}.", names()))),
        },
    }
}

/// The keyspace that goes without saying.
fn keyspace_of(vschema: &Vschema, kind: &PlaceKind) -> Result<String, PgError> {
    let name = |at: usize| vschema.keyspaces.get(at).map(|keyspace| keyspace.name.clone());
    let found = match kind {
        PlaceKind::Sharded { vindex, .. } => {
            let known = vschema.vindexes.iter().find(|known| known.name == *vindex);
            known.map(|known| vschema.keyspace(known.keyspace).name.clone())
        }
        PlaceKind::Unsharded { shard: Some(shard) } => {
            let id = vschema.shard(shard);
            let has = |only: bool| {
                vschema.keyspaces.iter().find(|keyspace| {
                    id.is_some_and(|id| keyspace.shards.contains(&id)) && (!only || keyspace.shards.len() == 1)
                })
            };
            let found = has(true).or_else(|| has(false));
            return found.map(|keyspace| keyspace.name.clone()).ok_or_else(|| {
                wrong(format!("shard \"{shard}\" is in no keyspace"), "Add it to a keyspace of the vschema first.")
            });
        }
        _ => None,
    };
    let all = 0..vschema.keyspaces.len();
    let spread: Vec<usize> = all.clone().filter(|at| vschema.keyspaces[*at].shards.len() > 1).collect();
    // One that was made to be spread has vindexes, however many shards it has now.
    let keyed = all.filter(|at| vschema.vindexes.iter().any(|vindex| usize::from(vindex.keyspace.0) == *at));
    let keyed: Vec<usize> = keyed.collect();
    let only = match (&spread[..], &keyed[..], vschema.keyspaces.len()) {
        ([only], ..) | ([], [only], _) => name(*only),
        (.., 1) => name(0),
        _ => None,
    };
    found.or(only).ok_or_else(|| {
        let names: Vec<&str> = vschema.keyspaces.iter().map(|keyspace| keyspace.name.as_str()).collect();
        wrong(
            "the new table's keyspace is not clear".into(),
            &format!("Add keyspace=name, one of: {}.", names.join(", ")),
        )
    })
}
