//! INSERT, UPDATE, DELETE: where rows are made and changed, more can go wrong than where they are read.

mod conflict;
mod merge;
mod moments;
mod moved;
mod names;
mod rows;
mod seen;
mod staged;
mod steps;
mod types;

pub(super) use steps::plan_in_steps;

use conflict::check_conflict;

use sqlparser::ast::{
    Assignment, AssignmentTarget, Delete, Expr, FromTable, Insert, ObjectName, OnConflictAction, OnInsert, Query,
    SetExpr, TableFactor, TableObject, TableWithJoins, Update, UpdateTableFromKind,
};

use super::condition::Reach;
use super::from::From;
use super::scope::{self, Instance, Place, Scope};
use super::spread::Spread;
use super::tree::Item;
use super::{Outputs, Planner, refuse};
use crate::catalog::{ColumnDefault, Relation};
use crate::error::PgError;
use crate::plan::{KeySet, KeySource};
use crate::types::KeyType;
use crate::vschema::Table;

impl Planner<'_> {
    pub(super) fn insert(&mut self, insert: &Insert) -> Result<(), PgError> {
        let plain = insert.or.is_none()
            && !insert.ignore
            && !insert.overwrite
            && insert.assignments.is_empty()
            && insert.partitioned.is_none()
            && insert.after_columns.is_empty()
            && !insert.has_table_keyword
            && insert.output.is_none()
            && !insert.replace_into
            && insert.priority.is_none()
            && insert.insert_alias.is_none()
            && insert.settings.is_none()
            && insert.format_clause.is_none()
            && insert.multi_table_insert_type.is_none()
            && insert.multi_table_into_clauses.is_empty()
            && insert.multi_table_when_clauses.is_empty()
            && insert.multi_table_else_clause.is_none();
        if !plain {
            return Err(refuse::construct("this form of INSERT"));
        }
        let TableObject::TableName(name) = &insert.table else {
            return Err(refuse::construct("INSERT into this"));
        };
        let Some(parts) = scope::parts(name) else { return Err(refuse::construct("a computed table name")) };
        self.writes = true;
        self.floating = false;
        let place = scope::place(&self.context, &parts)?;
        super::triggers::check(&self.context, &place)?;
        self.clock = self.clock.take().or_else(|| super::triggers::clock(&self.context, &place, insert.on.is_none()));
        let alias = insert.table_alias.as_ref().map(|alias| (&alias.alias, Vec::new()));
        let at = self.used(place.clone(), &parts, alias)?;
        let columns: Option<Vec<String>> = insert.columns.iter().map(column_name).collect();
        if self.supply(insert, &place) {
            return Ok(());
        }
        if let Place::Reference { table, relation } = &place {
            self.copy_insert(at, table, relation, insert);
        }
        match &place {
            Place::Sharded { table, relation } => {
                let Some(columns) = columns else { return Err(refuse::construct("INSERT into part of a column")) };
                if let Some(used) = self.uses.iter_mut().rev().find(|used| used.instance == at) {
                    used.insert = true;
                }
                let targets: Vec<String> = if columns.is_empty() {
                    relation.columns.iter().map(|column| column.name.clone()).collect()
                } else {
                    columns.clone()
                };
                let carried = self.insert_rows(at, table, relation, &columns, &targets, insert.source.as_deref())?;
                self.spread = carried.or_else(|| self.split_rows(insert, table, relation, &targets));
            }
            _ => {
                if let Some(source) = &insert.source {
                    self.insert_source(source)?;
                }
                self.spread = None;
            }
        }
        if let Some(on) = &insert.on {
            let OnInsert::OnConflict(conflict) = on else { return Err(refuse::construct("ON DUPLICATE KEY")) };
            if let Place::Sharded { table, relation } = &place {
                check_conflict(table, relation, conflict.conflict_target.as_ref(), &conflict.action)?;
            }
            if let OnConflictAction::DoUpdate(update) = &conflict.action {
                if let Place::Sharded { relation, .. } = &place {
                    for assignment in update.assignments.iter().filter(|one| is_default(&one.value)) {
                        assigned(assignment).iter().flatten().for_each(|target| self.note_default(relation, target));
                    }
                }
                // `excluded` is the row that was not inserted.
                let excluded = self.instances.len();
                let mut instance = self.instances.get(at).cloned().unwrap_or_else(|| Instance {
                    name: String::new(),
                    schema: None,
                    columns: Vec::new(),
                    complete: false,
                });
                instance.name = "excluded".into();
                instance.schema = None;
                self.instances.push(instance);
                self.scopes.push(Scope { instances: vec![at, excluded], ..Scope::default() });
                let values = self.exprs(update.assignments.iter().map(|assignment| &assignment.value));
                let result = values.and_then(|()| self.exprs(&update.selection));
                self.scopes.pop();
                result?;
            }
        }
        self.returning(at, insert.returning.as_deref(), &[])
    }

    /// The source of an INSERT whose rows need no place: DEFAULT is fine in it.
    fn insert_source(&mut self, source: &Query) -> Result<(), PgError> {
        match (&*source.body, &source.with) {
            (SetExpr::Values(values), None) if source.order_by.is_none() && source.limit_clause.is_none() => {
                values.rows.iter().try_for_each(|row| self.row(&row.content))
            }
            _ => self.query(source).map(drop),
        }
    }

    /// A row of VALUES in an INSERT: each of its values is evaluated once.
    fn row(&mut self, row: &[Expr]) -> Result<(), PgError> {
        let given = || row.iter().filter(|value| !is_default(value));
        let once = std::mem::replace(&mut self.found.once, self.scopes.is_empty() && self.reading.is_empty());
        self.note_row(given());
        let walked = self.exprs(given());
        self.found.once = once;
        walked
    }

    fn insert_rows(
        &mut self,
        at: usize,
        table: &Table,
        relation: &Relation,
        named: &[String],
        targets: &[String],
        source: Option<&Query>,
    ) -> Result<Option<Spread>, PgError> {
        let keys: Vec<String> = self
            .uses
            .iter()
            .rev()
            .find(|used| used.instance == at)
            .map_or(Vec::new(), |used| used.columns.iter().map(|(_, column)| column.clone()).collect());
        let Some(source) = source else {
            return Err(defaulted(table, relation, keys.first().map_or("", |key| key)));
        };
        match (&*source.body, &source.with) {
            (SetExpr::Values(_), None)
                if source.limit_clause.is_some()
                    || source.order_by.is_some()
                    || source.fetch.is_some()
                    || !source.locks.is_empty() =>
            {
                Err(refuse::construct("INSERT of VALUES with LIMIT, ORDER BY or FOR UPDATE"))
            }
            (SetExpr::Values(values), None) => {
                let width = values.rows.first().map_or(0, |row| row.content.len());
                self.check_defaults(table, relation, targets.get(..width.min(targets.len())).unwrap_or(&[]), &keys)?;
                for row in &values.rows {
                    for (target, value) in targets.iter().zip(&row.content) {
                        if is_default(value) && !self.is_supplied_default(value) {
                            if default_of(relation, target) == Some(ColumnDefault::Sequence) {
                                return Err(refuse::sequence_default(&table.name, target));
                            }
                            self.note_default(relation, target);
                        }
                    }
                    self.row(&row.content)?;
                }
                for key in &keys {
                    let place = targets.iter().position(|target| target == key);
                    let mut sources: Vec<KeySource> = Vec::with_capacity(values.rows.len());
                    for row in &values.rows {
                        let value = place.and_then(|place| row.content.get(place));
                        match value {
                            None => return Err(defaulted(table, relation, key)),
                            Some(value) if is_default(value) => return Err(defaulted(table, relation, key)),
                            Some(value) => match self.source(value) {
                                Some(source) => sources.push(source),
                                None => return Err(computed(table, key)),
                            },
                        }
                    }
                    let node = self.facts.node(at, key);
                    let key_type = key_type_of(relation, key);
                    let set = KeySet::Values(sources);
                    self.note_types(&set, key_type);
                    self.facts.restrict(node, set);
                }
                Ok(None)
            }
            _ => {
                let outputs = self.query(source)?;
                let width = if outputs.complete { outputs.columns.len() } else { targets.len() };
                if !outputs.complete && named.is_empty() {
                    return Err(refuse::construct("INSERT of a query whose columns are not known"));
                }
                self.check_defaults(table, relation, targets.get(..width.min(targets.len())).unwrap_or(&[]), &keys)?;
                for key in &keys {
                    let place = targets.iter().position(|target| target == key);
                    let output = place.filter(|_| outputs.complete).and_then(|place| outputs.columns.get(place));
                    let Some(output) = output else { return Err(computed(table, key)) };
                    let node = self.facts.node(at, key);
                    let own = key_type_of(relation, key);
                    match (&output.source, output.node, output.key_type, own) {
                        (Some(source), ..) => self.facts.restrict(node, KeySet::Values(vec![source.clone()])),
                        // Another type would be converted on the way in.
                        (None, Some(from), Some(theirs), Some(own)) if super::facts::comparable(theirs, own) => {
                            self.facts.flow(from, node);
                        }
                        _ => return Err(computed(table, key)),
                    }
                }
                self.selected_insert |= keys.len() > 1;
                Ok(self.carried(table, relation, targets, &keys, &outputs))
            }
        }
    }

    /// An INSERT of a query that puts out columns where the target has its shard key: no row may have to leave its shard.
    fn carried(
        &self,
        table: &Table,
        relation: &Relation,
        targets: &[String],
        keys: &[String],
        outputs: &Outputs,
    ) -> Option<Spread> {
        let crate::vschema::TablePlacement::Sharded { vindex, .. } = table.placement else { return None };
        let place = |key: &String| {
            let column = relation.columns.get(relation.column(key)?)?;
            let exact = match key_type_of(relation, key)? {
                KeyType::Bpchar => false,
                // A length would cut off blanks.
                KeyType::Text => !column.type_name.contains('('),
                _ => true,
            };
            let at = targets.iter().position(|target| target == key)?;
            (exact && outputs.columns.get(at)?.node.is_some()).then_some(at)
        };
        let keys = keys.iter().map(place).collect::<Option<_>>()?;
        Some(Spread::Query { part: outputs.part?, vindex, keys })
    }

    /// Columns that the statement leaves to their defaults.
    fn check_defaults(
        &mut self,
        table: &Table,
        relation: &Relation,
        given: &[String],
        keys: &[String],
    ) -> Result<(), PgError> {
        for column in &relation.columns {
            if given.contains(&column.name) {
                continue;
            }
            if keys.contains(&column.name) {
                return Err(defaulted(table, relation, &column.name));
            }
            if column.default == ColumnDefault::Sequence {
                return Err(refuse::sequence_default(&table.name, &column.name));
            }
            self.note_default(relation, &column.name);
        }
        Ok(())
    }

    pub(super) fn update(&mut self, update: &Update) -> Result<(), PgError> {
        if update.output.is_some() || update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
            return Err(refuse::construct("this form of UPDATE"));
        }
        let mut list: &[TableWithJoins] = &[];
        match &update.from {
            None => {}
            Some(UpdateTableFromKind::AfterSet(tables)) => list = tables,
            Some(UpdateTableFromKind::BeforeSet(_)) => return Err(refuse::construct("this form of UPDATE")),
        }
        let first = self.instances.len();
        let (at, place) = self.target(&update.table)?;
        if let Place::Reference { table, relation } = &place {
            self.copy_update(at, table, relation, update);
        }
        let mut from = self.from(list)?;
        from.scope.instances.insert(0, at);
        let own: Vec<(String, String)> =
            self.uses.iter().find(|used| used.instance == at).map_or(Vec::new(), |used| used.columns.clone());
        for assignment in &update.assignments {
            for target in assigned(assignment).ok_or_else(|| refuse::construct("UPDATE of part of a column"))? {
                // Names in SET are the table's own, whatever an alias calls them.
                if own.iter().any(|(original, _)| *original == target) {
                    return Err(refuse::key_update(&target));
                }
                if let Place::Sharded { table, relation } = &place
                    && is_default(&assignment.value)
                    && !self.meet_default(relation, &target, &assignment.value)
                {
                    if default_of(relation, &target) == Some(ColumnDefault::Sequence) {
                        return Err(refuse::sequence_default(&table.name, &target));
                    }
                    self.note_default(relation, &target);
                }
                if let Place::Reference { relation, .. } = &place
                    && is_default(&assignment.value)
                {
                    self.meet_default(relation, &target, &assignment.value);
                }
            }
        }
        self.open_write(at, first, &mut from);
        let result = self.conditions(from).and_then(|()| {
            let values =
                update.assignments.iter().map(|assignment| &assignment.value).filter(|value| !is_default(value));
            self.exprs(values)?;
            match &update.selection {
                Some(condition) => self.condition(condition, Reach::All),
                None => Ok(()),
            }
        });
        let result = result.and_then(|()| self.returning_here(update.returning.as_deref()));
        self.close_write(&place);
        result
    }

    pub(super) fn delete(&mut self, delete: &Delete) -> Result<(), PgError> {
        if !delete.tables.is_empty() || delete.output.is_some() || !delete.order_by.is_empty() || delete.limit.is_some()
        {
            return Err(refuse::construct("this form of DELETE"));
        }
        let FromTable::WithFromKeyword(targets) = &delete.from else {
            return Err(refuse::construct("this form of DELETE"));
        };
        let [target] = targets.as_slice() else { return Err(refuse::construct("DELETE from several tables")) };
        let first = self.instances.len();
        let (at, place) = self.target(target)?;
        if let Place::Reference { table, relation } = &place {
            self.copy_delete(at, table, relation, delete);
        }
        let mut from = self.from(delete.using.as_deref().unwrap_or(&[]))?;
        from.scope.instances.insert(0, at);
        self.open_write(at, first, &mut from);
        let result = self.conditions(from).and_then(|()| match &delete.selection {
            Some(condition) => self.condition(condition, Reach::All),
            None => Ok(()),
        });
        let result = result.and_then(|()| self.returning_here(delete.returning.as_deref()));
        self.close_write(&place);
        result
    }

    /// From here on names are those of the table `at` and of the list, which is joined to it.
    fn open_write(&mut self, at: usize, first: usize, from: &mut From<'_>) {
        let mut items = vec![Item::Leaf(at)];
        items.append(&mut from.items);
        self.tree.open_block(items, from.scope.clone(), first);
        self.scopes.push(from.scope.clone());
    }

    fn close_write(&mut self, place: &Place) {
        self.scopes.pop();
        let part = self.tree.close_block(self.instances.len());
        self.spread = matches!(place, Place::Sharded { .. }).then_some(Spread::Whole(part));
    }

    /// The table that an UPDATE or DELETE changes. A CTE's name does not hide it.
    fn target(&mut self, target: &TableWithJoins) -> Result<(usize, Place), PgError> {
        let TableWithJoins { relation: TableFactor::Table { name, alias, args: None, sample: None, .. }, joins } =
            target
        else {
            return Err(refuse::construct("a change of this"));
        };
        if !joins.is_empty() {
            return Err(refuse::construct("a change of joined tables"));
        }
        self.writes = true;
        self.floating = false;
        let Some(parts) = scope::parts(name) else { return Err(refuse::construct("a computed table name")) };
        let place = scope::place(&self.context, &parts)?;
        super::triggers::check(&self.context, &place)?;
        self.clock = self.clock.take().or_else(|| super::triggers::clock(&self.context, &place, false));
        // An update of the view is a SET.
        let settings = matches!(place, Place::System) && parts.last().is_some_and(|name| name == "pg_settings");
        if settings && !self.context.vschema.single_shard() {
            return Err(refuse::setting());
        }
        let names = |alias: &sqlparser::ast::TableAlias| {
            alias.columns.iter().map(|column| scope::fold(&column.name).into_owned()).collect()
        };
        let at = self.used(place.clone(), &parts, alias.as_ref().map(|alias| (&alias.name, names(alias))))?;
        Ok((at, place))
    }

    fn returning(
        &mut self,
        at: usize,
        items: Option<&[sqlparser::ast::SelectItem]>,
        more: &[usize],
    ) -> Result<(), PgError> {
        let mut instances = vec![at];
        instances.extend(more);
        self.scopes.push(Scope { instances, ..Scope::default() });
        let result = self.returning_here(items);
        self.scopes.pop();
        result
    }

    fn returning_here(&mut self, items: Option<&[sqlparser::ast::SelectItem]>) -> Result<(), PgError> {
        match items {
            Some(items) => self.projection(items).map(drop),
            None => Ok(()),
        }
    }
}

/// The columns that an assignment sets, or sets a part of: `a.b` is a field of column `a`.
pub(super) fn assigned(assignment: &Assignment) -> Option<Vec<String>> {
    let column = |name: &ObjectName| scope::parts(name)?.first().cloned();
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => Some(vec![column(name)?]),
        AssignmentTarget::Tuple(names) => names.iter().map(column).collect(),
    }
}

/// Whether an assignment sets whole columns.
pub(super) fn sets_whole(assignment: &Assignment) -> bool {
    match &assignment.target {
        AssignmentTarget::ColumnName(name) => name.0.len() == 1,
        AssignmentTarget::Tuple(names) => names.iter().all(|name| name.0.len() == 1),
    }
}

pub(super) fn column_name(name: &ObjectName) -> Option<String> {
    match scope::parts(name)?.as_slice() {
        [name] => Some(name.clone()),
        _ => None,
    }
}

/// DEFAULT is no expression, but the grammar reads it as a name.
pub(super) fn is_default(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

fn default_of(relation: &Relation, column: &str) -> Option<ColumnDefault> {
    relation.columns.get(relation.column(column)?).map(|column| column.default)
}

fn key_type_of(relation: &Relation, column: &str) -> Option<KeyType> {
    let column = relation.columns.get(relation.column(column)?)?;
    KeyType::from_column(column.type_oid, &column.type_name)
}

fn defaulted(table: &Table, relation: &Relation, key: &str) -> PgError {
    match default_of(relation, key) {
        Some(ColumnDefault::Sequence) => refuse::sequence_default(&table.name, key),
        _ => PgError::unsupported(format!(
            "INSERT into \"{}\" does not give a value for its shard key \"{key}\"",
            table.name
        ))
        .with_detail("Without it no shard can be chosen; a default would only be known once a shard has computed it.")
        .with_hint(format!("Name \"{key}\" in the column list and give its value as a literal or parameter.")),
    }
}

fn computed(table: &Table, key: &str) -> PgError {
    PgError::unsupported(format!("the value of shard key \"{key}\" of table \"{}\" is computed", table.name))
        .with_detail("It is only known once a shard has computed it, and the shard depends on it.")
        .with_hint("Give it as a literal or a parameter.")
}
