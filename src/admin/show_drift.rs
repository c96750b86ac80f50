//! `SHOW DRIFT`: reads every copy of every reference table, or of the one that is named. Copies are read one shard beside the other, so that a
//! write that is just under way may reach one of them before another: what differs is read again before it is called so.

use std::time::Duration;

use super::{AdminCommand, Argument, Cell, Column, Kind, Request, Table};
use crate::error::PgError;
use crate::session::shared::State;
use crate::sqlstate::SqlState;
use crate::topology::drift::{Fingerprint, fingerprint};
use crate::types::ShardId;
use crate::vschema::{self, TablePlacement};

/// How often copies that differ are read again, and after how long.
const AGAIN: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

pub(super) const COMMAND: AdminCommand = AdminCommand {
    name: "SHOW DRIFT",
    argument: Argument::Optional("reference table"),
    about: "Each shard's copy of the reference tables: rows, and whether it equals the first shard's.",
    run: |request| Box::pin(async move { drift(&request).await }),
};

const COLUMNS: &[Column] = &[
    ("keyspace", Kind::Text),
    ("table", Kind::Text),
    ("shard", Kind::Text),
    ("rows", Kind::Int),
    ("hash", Kind::Text),
    ("state", Kind::Text),
];

type Copy = (ShardId, Result<Fingerprint, PgError>);

async fn drift(request: &Request) -> Result<Table, PgError> {
    let state = request.shared.state.load_full();
    let wanted = |table: &&std::sync::Arc<vschema::Table>| {
        let called = request.argument.as_deref();
        let named = called.is_none_or(|name| name == table.name || name == format!("{}.{}", table.schema, table.name));
        named && matches!(table.placement, TablePlacement::Reference)
    };
    let mut tables: Vec<_> = state.vschema.tables.values().filter(wanted).cloned().collect();
    tables.sort_by(|one, other| (&one.schema, &one.name).cmp(&(&other.schema, &other.name)));
    if let (Some(name), []) = (&request.argument, tables.as_slice()) {
        return Err(PgError::new(SqlState::UNDEFINED_TABLE, format!("there is no reference table \"{name}\"")));
    }
    let mut rows = Vec::new();
    for table in tables {
        let keyspace = state.vschema.keyspace(table.keyspace);
        let mut copies = read(request, &state, &table, &keyspace.shards).await;
        for pause in AGAIN {
            if differing(&copies).is_empty() {
                break;
            }
            tokio::time::sleep(pause).await;
            copies = read(request, &state, &table, &keyspace.shards).await;
        }
        let differing = differing(&copies);
        for (shard, copy) in &copies {
            let (count, hash, said) = match copy {
                Ok(print) if differing.contains(shard) => (Cell::from(print.rows), print.hash.as_str(), "differs"),
                Ok(print) => (Cell::from(print.rows), print.hash.as_str(), "equal"),
                Err(error) => (Cell::Null, "", error.message.as_str()),
            };
            rows.push(vec![
                keyspace.name.as_str().into(),
                table.name.as_str().into(),
                state.vschema.shard_name(*shard).into(),
                count,
                hash.into(),
                said.into(),
            ]);
        }
    }
    Ok(Table { columns: COLUMNS, rows })
}

/// Which copies are not as the first that could be read.
fn differing(copies: &[Copy]) -> Vec<ShardId> {
    let first = copies.iter().find_map(|(_, copy)| copy.as_ref().ok());
    let other = |(shard, copy): &Copy| (copy.as_ref().ok().is_some() && copy.as_ref().ok() != first).then_some(*shard);
    copies.iter().filter_map(other).collect()
}

async fn read(request: &Request, state: &State, table: &vschema::Table, shards: &[ShardId]) -> Vec<Copy> {
    let catalog = state.topology.catalog.load_full();
    let relation = catalog.relations.get(&(table.schema.clone(), table.name.clone()));
    let columns: Vec<String> =
        relation.map_or(Vec::new(), |relation| relation.columns.iter().map(|column| column.name.clone()).collect());
    let mut copies = Vec::with_capacity(shards.len());
    for shard in shards {
        let copy = async {
            let mut lease = request.shared.pools.service(*shard).await?;
            let print = fingerprint(&mut lease, &table.schema, &table.name, &columns).await;
            lease.release();
            print
        };
        copies.push((*shard, copy.await));
    }
    copies
}
