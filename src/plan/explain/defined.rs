//! A definition in EXPLAIN (ROUTE): which shards, how, and what becomes of the vschema.

use crate::plan::work::Definition;
use crate::plan::work::definition::Manner;
use crate::vschema::Vschema;
use crate::vschema::alter::{Change, Place, PlaceKind};

/// Its lines.
pub(super) fn lines(definition: &Definition, vschema: &Vschema) -> Vec<String> {
    let how = match definition.manner {
        Manner::Together | Manner::Within => "In one transaction",
        Manner::OneByOne => "One after the other",
        Manner::SideBySide => "Each by itself",
    };
    let mut lines = Vec::new();
    for part in &definition.parts {
        let names: Vec<&str> = part.shards.iter().map(|shard| vschema.shard_name(*shard)).collect();
        let what = if part.text.is_some() { ", of which it gets its part" } else { "" };
        let which = if definition.holders.is_some() { " that have it, of " } else { " " };
        lines.push(format!("  {how} on shards{which}{}{what}", names.join(", ")));
    }
    if definition.unchecked {
        lines.push("  The first looks at the body, the others take it as it is".into());
    }
    if definition.empty.is_some() {
        lines.push("  Only if the table is empty".into());
    }
    if definition.fill.is_some() {
        lines.push("  Then its rows, by INSERT of the query".into());
    }
    lines.extend(definition.changes.iter().map(|change| format!("  Vschema: {}", shown(change))));
    lines
}

fn shown(change: &Change) -> String {
    match change {
        Change::Place { table, place } => format!("{} {}", table.key(), place_shown(place)),
        Change::Forget { table, .. } => format!("{} goes", table.key()),
        Change::Rename { from, to } => format!("{} becomes {}", from.key(), to.key()),
        Change::RenameColumn { table, from, to } => format!("{}: column {from} becomes {to}", table.key()),
        Change::CreateVindex { name, kind, .. } => format!("vindex {name} of kind {kind}"),
        Change::DropVindex { name } => format!("vindex {name} goes"),
    }
}

fn place_shown(place: &Place) -> String {
    let keyspace = place.keyspace.as_deref().map(|name| format!(" in {name}")).unwrap_or_default();
    match &place.kind {
        PlaceKind::Sharded { columns, vindex } => format!("by {} with {vindex}{keyspace}", columns.join(", ")),
        PlaceKind::Reference => format!("a copy on every shard{keyspace}"),
        PlaceKind::Unsharded { shard: Some(shard) } => format!("on {shard}{keyspace}"),
        PlaceKind::Unsharded { shard: None } => format!("on the first shard{keyspace}"),
    }
}
