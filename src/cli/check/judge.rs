//! What is wrong with a layout over these servers: pure, from facts to findings.
//!
//! An error is what makes statements fail or answers wrong; a warning is what PostgreSQL will not enforce across shards although the
//! schema looks as if it did.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::facts::{Facts, ForeignKey, TableFacts, TableName};
use crate::types::{KeyType, ShardId};
use crate::vschema::{Table, TablePlacement, Vschema};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Statements will fail.
    Error,
    /// Something is not enforced that looks enforced.
    Warning,
}

/// One thing to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// `shard s1`, `table orders`, `user app on s1`.
    pub subject: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// Statements will fail.
    pub fn error(subject: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding { level: Level::Error, subject: subject.into(), message: message.into(), hint: None }
    }

    /// Something is not enforced that looks enforced.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding { level: Level::Warning, ..Finding::error(subject, message) }
    }

    /// The same finding with a way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }
}

/// Everything that can be said; `shards` in the order of the configuration, `None` for one that could not be asked.
pub fn judge(vschema: &Vschema, shards: &[Option<Facts>]) -> Vec<Finding> {
    let judge = Judge { vschema, shards };
    let mut findings = judge.servers();
    let mut tables: Vec<&Table> = vschema.tables.values().map(|table| &**table).collect();
    tables.sort_by_key(|table| (&table.schema, &table.name));
    for table in tables {
        findings.extend(judge.table(table));
    }
    findings.extend(judge.undeclared());
    findings
}

struct Judge<'a> {
    vschema: &'a Vschema,
    shards: &'a [Option<Facts>],
}

impl Judge<'_> {
    fn servers(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, facts) in self.vschema.shards.iter().zip(self.shards) {
            let Some(facts) = facts else { continue };
            let subject = format!("shard {name}");
            if let Some(twin) = known.insert(&facts.identity, name) {
                let message = format!("its URL leads to the same database as that of {twin}");
                findings.push(Finding::error(&subject, message).hint("every shard needs a database of its own"));
            }
            if facts.standby {
                let finding = Finding::error(&subject, "its primary is a standby: it takes no writes");
                findings.push(finding.hint("name the primary, and this one under replicas"));
            }
            if self.vschema.single_shard() {
                continue; // no transaction of one shard needs a second phase
            }
            let hint = "set max_prepared_transactions to max_connections in postgresql.conf and restart the server";
            if facts.max_prepared == 0 {
                let message = "max_prepared_transactions is 0: no transaction that spans shards can commit here";
                findings.push(Finding::error(&subject, message).hint(hint));
            }
        }
        findings
    }

    fn table(&self, table: &Table) -> Vec<Finding> {
        let subject = format!("table {}", shown(&table.schema, &table.name));
        let key = (table.schema.clone(), table.name.clone());
        let homes: Vec<ShardId> = match &table.placement {
            TablePlacement::Unsharded { shard } => vec![*shard],
            _ => self.vschema.keyspace(table.keyspace).shards.clone(),
        };
        let asked: Vec<(&str, Option<&TableFacts>)> = homes
            .iter()
            .filter_map(|shard| {
                let facts = self.shards.get(usize::from(shard.0))?.as_ref()?;
                Some((self.vschema.shard_name(*shard), facts.tables.get(&key)))
            })
            .collect();
        let missing: Vec<&str> = asked.iter().filter(|(_, facts)| facts.is_none()).map(|(shard, _)| *shard).collect();
        let mut findings = Vec::new();
        if !missing.is_empty() {
            let every = if missing.len() == asked.len() { "none of its shards has it" } else { "" };
            let message =
                if every.is_empty() { format!("missing on {}", missing.join(", ")) } else { every.to_string() };
            findings.push(Finding::error(&subject, message).hint("create it there, or correct its keyspace"));
        }
        let mut present = asked.iter().filter_map(|(shard, facts)| Some((*shard, (*facts)?)));
        let Some((first_shard, first)) = present.next() else { return findings };
        for (shard, facts) in present {
            findings
                .extend(difference(first_shard, first, shard, facts).map(|message| Finding::error(&subject, message)));
        }
        if let TablePlacement::Sharded { columns, vindex } = &table.placement {
            let vindex = self.vschema.vindex(*vindex);
            match key_types(first, columns) {
                Err(message) => findings.push(Finding::error(&subject, message)),
                Ok(types) => {
                    if let Err(why) = vindex.vindex.accepts(&types) {
                        findings.push(Finding::error(&subject, format!("shard key ({}): {why}", columns.join(", "))));
                    }
                }
            }
            // Where all rows are on one shard, that shard enforces everything.
            if homes.len() > 1 {
                findings.extend(uniques_without_key(&subject, first, columns));
            }
        }
        findings.extend(first.foreign_keys.iter().filter_map(|key| self.foreign_key(&subject, table, key)));
        findings
    }

    /// Why a foreign key cannot hold for all rows, if it cannot.
    fn foreign_key(&self, subject: &str, table: &Table, key: &ForeignKey) -> Option<Finding> {
        let Some(target) = self.vschema.table(&key.target.0, &key.target.1) else {
            return None; // undeclared: that is a finding of its own
        };
        let shards = |table: &Table| -> BTreeSet<ShardId> {
            match &table.placement {
                TablePlacement::Unsharded { shard } => BTreeSet::from([*shard]),
                _ => self.vschema.keyspace(table.keyspace).shards.iter().copied().collect(),
            }
        };
        let why = match (&table.placement, &target.placement) {
            // A copy, or the only shard, wherever a referencing row may be.
            (_, TablePlacement::Reference | TablePlacement::Unsharded { .. })
                if shards(table).is_subset(&shards(target)) =>
            {
                None
            }
            (
                TablePlacement::Sharded { columns, vindex },
                TablePlacement::Sharded { columns: wanted, vindex: other },
            ) => {
                let leads_to = |column: &String| {
                    let position = key.columns.iter().position(|name| name == column)?;
                    key.target_columns.get(position)
                };
                let same_key =
                    columns.len() == wanted.len() && columns.iter().zip(wanted).all(|(c, w)| leads_to(c) == Some(w));
                match () {
                    () if table.keyspace == target.keyspace && vindex == other && same_key => None,
                    () if vindex != other || table.keyspace != target.keyspace => Some("they are not co-located"),
                    () => Some("it does not lead from shard key to shard key"),
                }
            }
            _ => Some("the row it refers to may be on another shard"),
        }?;
        let name = shown(&key.target.0, &key.target.1);
        let finding = Finding::warning(subject, format!("foreign key \"{}\" to {name}: {why}", key.name));
        Some(finding.hint("drop the constraint, make the other a reference table, or shard both by the same key"))
    }

    /// Tables that no file names, in a layout where that makes a statement fail.
    fn undeclared(&self) -> Vec<Finding> {
        if self.vschema.undeclared.is_some() {
            return Vec::new();
        }
        let mut found: BTreeMap<&TableName, Vec<&str>> = BTreeMap::new();
        for (name, facts) in self.vschema.shards.iter().zip(self.shards) {
            for table in facts.iter().flat_map(|facts| facts.tables.keys()) {
                if self.vschema.table(&table.0, &table.1).is_none() {
                    found.entry(table).or_default().push(name);
                }
            }
        }
        let finding = |(table, shards): (&TableName, Vec<&str>)| {
            let name = shown(&table.0, &table.1);
            let quoted = if name.contains('.') { format!("{name:?}") } else { name.clone() };
            let message = format!("in no keyspace, but on {}: statements that name it are refused", shards.join(", "));
            let hint = format!("add [table.{quoted}] with its keyspace and shard_key or type to the vschema");
            Finding::warning(format!("table {name}"), message).hint(hint)
        };
        found.into_iter().map(finding).collect()
    }
}

fn key_types(table: &TableFacts, columns: &[String]) -> Result<Vec<KeyType>, String> {
    let type_of = |name: &String| {
        let column = table.columns.iter().find(|column| column.name == *name);
        let column = column.ok_or_else(|| format!("it has no column \"{name}\", which is its shard key"))?;
        let unfit = || format!("a column of type {} cannot be a shard key (\"{name}\")", column.type_name);
        KeyType::from_oid(column.type_oid).ok_or_else(unfit)
    };
    columns.iter().map(type_of).collect()
}

fn uniques_without_key(subject: &str, table: &TableFacts, key: &[String]) -> Vec<Finding> {
    let lacking = table.uniques.iter().filter(|unique| !key.iter().all(|column| unique.columns.contains(column)));
    let finding = |name: &str| {
        let message =
            format!("\"{name}\" is unique on each shard only: it does not contain the shard key ({})", key.join(", "));
        Finding::warning(subject, message)
            .hint("make the shard key a part of it, or be sure that values are unique by themselves")
    };
    lacking.map(|unique| finding(&unique.name)).collect()
}

/// The first difference between two shards' ideas of a table.
fn difference(one: &str, a: &TableFacts, other: &str, b: &TableFacts) -> Option<String> {
    let lacks = |x: &TableFacts, y: &TableFacts| {
        x.columns.iter().find(|c| !y.columns.iter().any(|d| d.name == c.name)).map(|c| c.name.clone())
    };
    if let Some(name) = lacks(a, b) {
        return Some(format!("column \"{name}\" is on {one} but not on {other}"));
    }
    if let Some(name) = lacks(b, a) {
        return Some(format!("column \"{name}\" is on {other} but not on {one}"));
    }
    for column in &a.columns {
        let twin = b.columns.iter().find(|twin| twin.name == column.name)?;
        if twin.type_name != column.type_name {
            let (name, here, there) = (&column.name, &column.type_name, &twin.type_name);
            return Some(format!("column \"{name}\" is {here} on {one} but {there} on {other}"));
        }
    }
    let order = |table: &TableFacts| table.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
    (order(a) != order(b)).then(|| format!("its columns stand in another order on {other} than on {one}"))
}

fn shown(schema: &str, name: &str) -> String {
    if schema == "public" { name.to_string() } else { format!("{schema}.{name}") }
}
