//! The route that a finished walk has found, or why there is none.

use std::sync::Arc;

use sqlparser::ast::Query;

use super::{Planner, Use, is_plain_shard, refuse};
use crate::error::PgError;
use crate::plan::{Fallback, KeyColumn, KeySet, Requirement, Route};
use crate::vschema::{TablePlacement, Vschema};

impl Planner<'_> {
    /// What restricts each use of a sharded table, or why nothing does; none for a reference table.
    pub(super) fn requirements(&self) -> Vec<Option<Result<Requirement, PgError>>> {
        self.uses.iter().map(|used| (!used.reference).then(|| self.requirement(used))).collect()
    }

    /// The route that the walk has found, or why there is none. `read`: the query, and its part of the tree.
    pub(super) fn route(&mut self, read: Option<(&Query, Option<usize>)>) -> Result<Route, PgError> {
        if let Some(error) = self.torn.take() {
            return Err(error);
        }
        self.settle_copies()?;
        let mut found = self.requirements();
        self.look_up(&mut found);
        let (mut gather, mut alone, mut sure, mut apart) = (None, None, None, false);
        let spread = match (read, self.spread.take()) {
            (Some((query, part)), _) => self.spread_read(Some(query), part, &found),
            (None, Some(write)) => self.spread_write(write, &found),
            (None, None) => None,
        };
        match spread {
            Some(Ok((how, keys))) => (gather, sure) = (Some(how), keys),
            Some(Err(error)) => alone = Some(Box::new(error)),
            None => {}
        }
        let mut keyed: Vec<Requirement> = Vec::new();
        let complete = !found.iter().any(|found| matches!(found, Some(Err(_))));
        for (used, requirement) in self.uses.iter().zip(found) {
            let requirement = match requirement {
                None => continue,
                Some(Ok(requirement)) => requirement,
                Some(Err(_)) if gather.is_some() => {
                    self.reasons.push(format!("table {}: all shards", used.shown()));
                    // What nothing restricts may have rows anywhere.
                    sure = sure.or(Some(Vec::new()));
                    continue;
                }
                Some(Err(error)) => {
                    return Err(match alone {
                        Some(alone) => refuse::or_one_key(*alone, &error, self.near.as_deref()),
                        None => error,
                    });
                }
            };
            self.reasons.push(reason(self.context.vschema, used, &requirement));
            let same = |known: &Requirement| {
                known.vindex == requirement.vindex
                    && known.keyspace == requirement.keyspace
                    && known.insert == requirement.insert
                    && known.columns.len() == requirement.columns.len()
                    && known
                        .columns
                        .iter()
                        .zip(&requirement.columns)
                        .all(|(one, other)| one.key_type == other.key_type && one.values == other.values)
            };
            // Co-located tables with one key need one look-up.
            if !keyed.iter().any(same) {
                keyed.push(requirement);
            }
        }
        if let Some(sure) = sure {
            // Nothing restricts the whole by itself; but where no table has a row that matters there is nothing to give.
            keyed.retain(|requirement| !requirement.insert);
            apart = sure.is_empty() && complete && !keyed.is_empty();
            keyed = if apart { keyed } else { sure };
        }
        let fixed = self.fixed.as_ref().map(|(shard, _)| *shard);
        let spread = gather.is_some() || !keyed.is_empty() || !self.keyspaces.is_empty();
        if let Some(name) = &self.reader {
            // On a shard that has no part of a spread table, all it can read is all there is.
            if spread || !fixed.is_some_and(|shard| is_plain_shard(&self.context, shard)) {
                return Err(refuse::function(name));
            }
        }
        if self.objects && !keyed.is_empty() {
            return Err(PgError::unsupported(
                "system catalogs and names of objects together with rows of sharded tables",
            )
            .with_detail("Each shard has a catalog of its own, with other OIDs and without the tables of other shards.")
            .with_hint("Ask the catalog in a statement of its own."));
        }
        if let Some(name) = &self.need_home
            && (spread || fixed.is_some_and(|shard| shard != self.context.vschema.home()))
        {
            return Err(PgError::unsupported(format!("function \"{name}\" together with tables"))
                .with_detail("Its effect must be the same for all sessions, so it runs on the home shard only.")
                .with_hint("Call it in a statement of its own."));
        }
        let fallback = if self.need_home.is_some() || self.home_unless_placed {
            Fallback::Home
        } else if self.attached {
            Fallback::Attached
        } else {
            Fallback::Any
        };
        if self.reasons.is_empty() {
            self.reasons.push(
                match fallback {
                    Fallback::Any => "no table: the same answer on every shard",
                    Fallback::Home => "the home shard: catalogs, OIDs and some functions are its own",
                    Fallback::Attached => "a table that no shard is known to have, or state of the session",
                }
                .into(),
            );
        }
        if self.template.as_ref().is_some_and(|once| once.timed) && (gather.is_some() || self.work.is_some()) {
            self.reasons.push("the time is one for all shards: it is put into the text".into());
        }
        // A temporary table, or a session's own state, is on the session's connection, wherever that is; it says so itself.
        Ok(Route {
            keyspaces: std::mem::take(&mut self.keyspaces),
            fixed,
            keyed,
            apart,
            fallback,
            gather,
            work: self.work.take().map(Arc::new),
            once: self.template.take().map(Arc::new),
            alone,
            reasons: std::mem::take(&mut self.reasons),
        })
    }

    fn requirement(&self, used: &Use) -> Result<Requirement, PgError> {
        let TablePlacement::Sharded { vindex, .. } = used.table.placement else {
            return Err(refuse::construct("this table"));
        };
        let mut columns = Vec::with_capacity(used.columns.len());
        for (name, called) in &used.columns {
            let known = self
                .instances
                .get(used.instance)
                .and_then(|instance| instance.columns.iter().find(|column| column.name == *called));
            let Some(key_type) = known.and_then(|column| column.key_type) else {
                return Err(PgError::unsupported(format!(
                    "column \"{name}\" of table \"{}\" cannot be a shard key",
                    used.table.name
                ))
                .with_detail("Its type, scale or collation makes values equal that are written differently.")
                .with_hint("Choose a shard key of an integer, text, uuid, date or timestamp type."));
            };
            let ordered =
                used.columns.len() == 1 && self.context.vschema.vindex(vindex).vindex.cover(None, None).is_some();
            let node = self.facts.node_of(used.instance, called);
            let Some(mut values) = node.and_then(|node| self.facts.solve(node, used.columns.len() == 1, ordered))
            else {
                let vschema = self.context.vschema;
                return Err(refuse::no_key(vschema, &used.table, &used.name, called, self.near.as_deref()));
            };
            self.judge_types(&mut values, key_type);
            if used.insert && self.selected_insert && weight_of(&values) != Some(1) {
                return Err(refuse::construct(
                    "INSERT of a query with several values for a shard key of several columns",
                ));
            }
            columns.push(KeyColumn { name: name.clone(), key_type, values });
        }
        Ok(Requirement {
            table: used.table.name.clone(),
            keyspace: used.table.keyspace,
            vindex,
            columns,
            insert: used.insert,
        })
    }
}

fn weight_of(values: &KeySet) -> Option<usize> {
    match values {
        KeySet::Values(values) => Some(values.len()),
        KeySet::Array(_) | KeySet::Range { .. } | KeySet::Any(_) | KeySet::All(_) => None,
    }
}

fn reason(vschema: &Vschema, used: &Use, requirement: &Requirement) -> String {
    let columns: Vec<String> = requirement.columns.iter().map(crate::plan::explain::key_column).collect();
    let name = used.shown();
    format!("table {name}: {} by {}", columns.join(" and "), vschema.vindex(requirement.vindex).name)
}
