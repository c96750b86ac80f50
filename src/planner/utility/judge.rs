//! Whether the shards, each by itself, can keep what a table's keys promise.
//!
//! A unique key holds over all rows only if equal keys are on one shard, and so it has to contain the shard key. A foreign key holds only if the row that
//! it leads to is on the same shard: of a table whose rows go where these go, or of one with a copy there.

use super::super::Context;
use super::homes::{self, Named};
use super::shape::{Foreign, Shape, Unique};
use crate::error::PgError;
use crate::sql::lexer::position;
use crate::types::{KeyspaceId, ShardId};
use crate::vschema::TablePlacement;
use crate::vschema::alter::TableName;

/// A table's place, whether it is there or only about to be.
#[derive(Debug, Clone)]
pub struct Site {
    /// The table.
    pub name: TableName,
    /// Its keyspace, if it has one.
    pub keyspace: Option<KeyspaceId>,
    /// How its rows are spread.
    pub placement: TablePlacement,
    /// Over these shards.
    pub shards: Vec<ShardId>,
}

impl Site {
    /// The place of a relation that is there.
    pub fn of(named: &Named, context: &Context<'_>) -> Option<Site> {
        let name = named.name.clone();
        if let Some(table) = &named.table {
            let (keyspace, placement) = (Some(table.keyspace), table.placement.clone());
            return Some(Site { name, keyspace, placement, shards: homes::placed(context, table) });
        }
        let shards = named.relation.as_ref()?.shards.clone();
        let placement = match shards[..] {
            [shard] => TablePlacement::Unsharded { shard },
            _ => TablePlacement::Reference,
        };
        Some(Site { name, keyspace: None, placement, shards })
    }

    fn key(&self) -> &[String] {
        match &self.placement {
            TablePlacement::Sharded { columns, .. } if self.shards.len() > 1 => columns,
            _ => &[],
        }
    }
}

/// Judges all keys of a definition.
pub fn shape(context: &Context<'_>, text: &str, site: &Site, shape: &Shape) -> Result<(), PgError> {
    for unique in &shape.uniques {
        self::unique(text, site, unique)?;
    }
    shape.foreigns.iter().try_for_each(|foreign| self::foreign(context, text, site, foreign, shape))
}

/// A unique key of a sharded table contains the shard key.
pub fn unique(text: &str, site: &Site, unique: &Unique) -> Result<(), PgError> {
    let has = |column: &String| unique.columns.iter().flatten().any(|own| own == column);
    let Some(missing) = site.key().iter().find(|column| !has(column)) else { return Ok(()) };
    let named: Vec<&str> = unique.columns.iter().flatten().map(String::as_str).collect();
    let whole: Vec<&str> = site.key().iter().map(String::as_str).chain(named.iter().copied()).collect();
    let name = &site.name.name;
    Err(PgError::unsupported(format!("{} on sharded table \"{name}\" must contain the shard key", unique.what))
        .with_detail(format!(
            "Column \"{missing}\" is missing from ({}): each shard sees its own rows only, and equal ones could be on another.",
            named.join(", ")
        ))
        .with_hint(match named.len() == unique.columns.len() && !unique.what.starts_with("excl") {
            true => format!(
                "Make it ({}). Or leave it out and let a lookup vindex keep the values unique: \
                 ALTER VSCHEMA ON {name} ADD VINDEX {name}_{} ({}) USING lookup_unique.",
                whole.join(", "),
                named.join("_"),
                named.join(", ")
            ),
            false => format!("Let it contain {}, as a column of its own.", site.key().join(", ")),
        })
        .at(position(text, unique.at as usize)))
}

/// A foreign key leads to rows of the same shard.
fn foreign(context: &Context<'_>, text: &str, site: &Site, foreign: &Foreign, shape: &Shape) -> Result<(), PgError> {
    let named = homes::relation(context, &foreign.parent);
    let itself = named.name == site.name;
    let parent = if itself { Some(site.clone()) } else { Site::of(&named, context) };
    // A table that is not known is for PostgreSQL to complain about.
    let Some(parent) = parent else { return Ok(()) };
    let refuse = |detail: String, hint: String| {
        let (child, parent) = (&site.name.name, &parent.name.name);
        let message = format!("foreign key from \"{child}\" to \"{parent}\" would lead to rows on other shards");
        Err(PgError::unsupported(message).with_detail(detail).with_hint(hint).at(position(text, foreign.at as usize)))
    };
    let copies = format!(
        "Make \"{}\" a reference table ({}), or give both tables the same shard key and vindex.",
        parent.name.name, "a copy on every shard"
    );
    if parent.key().is_empty() {
        // It is whole wherever it is.
        if site.shards.iter().all(|shard| parent.shards.contains(shard)) {
            return Ok(());
        }
        let there: Vec<&str> = parent.shards.iter().map(|shard| context.vschema.shard_name(*shard)).collect();
        return refuse(format!("\"{}\" is on shard {} only.", parent.name.name, there.join(", ")), copies);
    }
    if parent.shards == site.shards && site.shards.len() == 1 {
        return Ok(());
    }
    let own = site.key();
    if own.is_empty() {
        return refuse(
            format!(
                "The rows of \"{}\" are spread by {}, those of \"{}\" are not.",
                parent.name.name,
                parent.key().join(", "),
                site.name.name
            ),
            copies,
        );
    }
    let vindex = |site: &Site| match site.placement {
        TablePlacement::Sharded { vindex, .. } => Some(vindex),
        _ => None,
    };
    if vindex(&parent) != vindex(site) || parent.keyspace != site.keyspace {
        return refuse("The tables' shard keys are read by different vindexes.".into(), copies);
    }
    let parent_columns = if !foreign.parent_columns.is_empty() {
        foreign.parent_columns.clone()
    } else if itself {
        let primary = shape.uniques.iter().find(|unique| unique.what == "primary key");
        primary.map(|unique| unique.columns.iter().flatten().cloned().collect()).unwrap_or_default()
    } else {
        let key = named.relation.as_ref().map(|relation| {
            let name = |at: &usize| relation.columns.get(*at).map(|column| column.name.clone());
            relation.primary_key.iter().filter_map(name).collect()
        });
        key.unwrap_or_default()
    };
    let leads = |own: &String, theirs: &String| {
        foreign.columns.iter().zip(&parent_columns).any(|(one, other)| one == own && other == theirs)
    };
    if own.iter().zip(parent.key()).all(|(own, theirs)| leads(own, theirs)) {
        return Ok(());
    }
    refuse(
        format!(
            "The rows of \"{}\" go where {} leads, and the foreign key does not say that they are equal.",
            parent.name.name,
            parent.key().join(", ")
        ),
        format!(
            "Let it contain both shard keys: FOREIGN KEY ({}, ...) REFERENCES {} ({}, ...).",
            own.join(", "),
            parent.name.name,
            parent.key().join(", ")
        ),
    )
}
