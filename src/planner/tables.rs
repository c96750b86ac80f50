//! Uses of tables: each takes its place in the route, and its columns become nodes.

use std::sync::Arc;

use sqlparser::ast::{Ident, ObjectName, TableAlias};

use super::bench::Origin;
use super::from::alias_columns;
use super::scope::{self, Instance, Place};
use super::{Planner, Use, refuse};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::KeyType;

/// Tables that one statement may name: a text with more is a mistake or an attack, and what is known of each is kept while it is planned.
const MOST_TABLES: usize = 1_000;

impl Planner<'_> {
    /// A table's use, or a CTE's.
    pub(super) fn table(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Result<usize, PgError> {
        let Some(parts) = scope::parts(name) else { return Err(refuse::construct("a computed table name")) };
        self.met += 1;
        if let [bare] = parts.as_slice()
            && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == *bare)
        {
            let outputs = cte.outputs.clone();
            if cte.recursive {
                self.recursions += 1;
                // Another than the one that is being read comes later in the text: what it reads is not known yet.
                if self.reading.last() != Some(bare) {
                    self.spoil("a query in WITH RECURSIVE that another one names before it comes");
                }
            }
            let at = self.derived(outputs, alias);
            if alias.is_none()
                && let Some(instance) = self.instances.get_mut(at)
            {
                instance.name = bare.clone();
            }
            return Ok(at);
        }
        let place = scope::place(&self.context, &parts)?;
        let origin = Origin::of(&place);
        let at = self.used(place, &parts, alias.map(|alias| (&alias.name, alias_columns(alias))))?;
        self.note_site(at, origin, name, alias);
        if self.sites.len() > MOST_TABLES {
            return Err(PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the statement names too many tables")
                .with_detail(format!("At most {MOST_TABLES} are planned."))
                .with_hint("Split the statement."));
        }
        Ok(at)
    }

    /// Takes note of a table's use.
    pub(super) fn used(
        &mut self,
        place: Place,
        parts: &[String],
        alias: Option<(&Ident, Vec<String>)>,
    ) -> Result<usize, PgError> {
        let at = self.instances.len();
        let bare = parts.last().cloned().unwrap_or_default();
        let relation = match &place {
            Place::Sharded { relation, .. } | Place::Reference { relation, .. } => Some(Arc::clone(relation)),
            Place::Single { relation, .. } => relation.clone(),
            Place::System | Place::Temporary | Place::Unknown => None,
        };
        let (name, schema) = match &alias {
            Some((alias, _)) => (scope::fold(alias).into_owned(), None),
            None => {
                let schema = relation.as_ref().map(|relation| relation.schema.clone());
                (bare.clone(), schema.or_else(|| parts.len().checked_sub(2).and_then(|at| parts.get(at).cloned())))
            }
        };
        let mut instance = Instance::of(relation.as_deref(), name.clone(), schema);
        let originals: Vec<String> = instance.columns.iter().map(|column| column.name.clone()).collect();
        if let Some((_, names)) = &alias {
            instance.rename(names);
        }
        let renamed: Vec<String> = instance.columns.iter().map(|column| column.name.clone()).collect();
        self.instances.push(instance);
        if let Some(relation) = relation {
            self.relations.insert(at, (relation, renamed.clone()));
        }
        match place {
            // An object has another OID on every shard, and clients carry OIDs from one catalog query to the next.
            Place::System => {
                refuse::of_connection(&bare)?;
                self.home_unless_placed = true;
                self.objects = true;
                self.spoil("system catalogs");
            }
            Place::Temporary | Place::Unknown => {
                self.attached = true;
                self.floating = false;
                self.spoil(&format!("table \"{bare}\", which is temporary or unknown,"));
            }
            Place::Single { shard, .. } => {
                self.floating = false;
                self.fix(shard, &format!("table {bare}"))?;
            }
            Place::Reference { table, .. } => {
                self.floating = false;
                if !self.keyspaces.contains(&table.keyspace) {
                    self.keyspaces.push(table.keyspace);
                    self.reasons.push(format!("table {bare}: a copy on every shard"));
                }
                self.uses.push(Use {
                    instance: at,
                    name,
                    reference: true,
                    table,
                    columns: Vec::new(),
                    not_null: false,
                    insert: false,
                });
            }
            Place::Sharded { table, relation } => {
                self.floating = false;
                let key = |name: &String| relation.column(name).and_then(|at| relation.columns.get(at));
                let column = |key: &String| {
                    let place = originals.iter().position(|name| name == key)?;
                    renamed.get(place).map(|now| (key.clone(), now.clone()))
                };
                let columns = match &table.placement {
                    crate::vschema::TablePlacement::Sharded { columns, .. } => {
                        columns.iter().map(column).collect::<Option<Vec<_>>>()
                    }
                    _ => Some(Vec::new()),
                };
                let not_null =
                    columns.iter().flatten().all(|(name, _)| key(name).is_some_and(|column| column.not_null));
                let Some(columns) = columns else {
                    return Err(PgError::unsupported(format!("table \"{bare}\" lacks its shard key column"))
                        .with_detail("The vschema names a column that the table on the shards does not have.")
                        .with_hint("Correct shard_key in the vschema, or add the column."));
                };
                self.uses.push(Use { instance: at, name, reference: false, table, columns, not_null, insert: false });
            }
        }
        Ok(at)
    }

    /// The type of a column, where equality is equality of keys.
    pub(super) fn key_type(&self, found: &scope::Found) -> Option<KeyType> {
        let instance = self.instances.get(found.instance)?;
        instance.columns.iter().find(|column| column.name == found.column)?.key_type
    }

    /// Whether a column is a shard key.
    pub(super) fn is_shard_key(&self, found: &scope::Found) -> bool {
        self.uses.iter().any(|used| {
            used.instance == found.instance && used.columns.iter().any(|(_, column)| *column == found.column)
        })
    }

    /// Whether equality of two columns is equality of keys.
    pub(super) fn comparable(&self, left: &scope::Found, right: &scope::Found) -> bool {
        match (self.key_type(left), self.key_type(right)) {
            (Some(left), Some(right)) => super::facts::comparable(left, right),
            _ => false,
        }
    }
}
