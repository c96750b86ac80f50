//! Query blocks: WITH, FROM and its joins, set operations. Each block's tables come into scope here, and its conditions become facts.

use std::sync::Arc;

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, LockClause, NamedWindowExpr,
    ObjectName, OrderBy, OrderByKind, Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, SetOperator, SetQuantifier, Statement, TableAlias, TableFactor, TableWithJoins, WildcardAdditionalOptions,
    With,
};

use super::expr::Reach;
use super::scope::{self, Column, Instance, Place, Scope};
use super::{Cte, Output, Outputs, Planner, Use, refuse};
use crate::error::PgError;
use crate::types::KeyType;

/// A join's condition, read once the whole FROM list is known.
struct Pending<'q> {
    constraint: &'q JoinConstraint,
    left: Vec<usize>,
    right: Vec<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

/// A FROM list as it is read.
#[derive(Default)]
pub(super) struct From<'q> {
    pub scope: Scope,
    joins: Vec<Pending<'q>>,
}

impl Planner<'_> {
    /// Plans a query in the current scopes; what it puts out.
    pub(super) fn query(&mut self, query: &Query) -> Result<Outputs, PgError> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if for_clause.is_some() || settings.is_some() || format_clause.is_some() || !pipe_operators.is_empty() {
            return Err(refuse::construct("this clause of a query"));
        }
        let ctes = self.ctes.len();
        if let Some(with) = with {
            self.with(with)?;
        }
        let first_use = self.uses.len();
        let outputs = self.set(body, order_by.as_ref())?;
        if let Some(limit) = limit_clause {
            let LimitClause::LimitOffset { limit, offset, limit_by } = limit else {
                return Err(refuse::construct("LIMIT with a comma"));
            };
            if !limit_by.is_empty() {
                return Err(refuse::construct("LIMIT BY"));
            }
            self.exprs(limit)?;
            self.exprs(offset.as_ref().map(|offset| &offset.value))?;
        }
        if let Some(fetch) = fetch {
            self.exprs(&fetch.quantity)?;
        }
        if !locks.is_empty() {
            self.locks(locks, first_use)?;
        }
        self.ctes.truncate(ctes);
        Ok(outputs)
    }

    /// FOR UPDATE and its kin. A lock on one copy of a reference table excludes nobody who locks another.
    fn locks(&mut self, locks: &[LockClause], first_use: usize) -> Result<(), PgError> {
        self.writes = true;
        self.floating = false;
        for lock in locks {
            let of = lock.of.as_ref().and_then(scope::parts).and_then(|parts| parts.last().cloned());
            for used in self.uses.get(first_use..).unwrap_or(&[]) {
                if used.reference && of.as_ref().is_none_or(|of| *of == used.name) {
                    return Err(PgError::unsupported(format!(
                        "rows of reference table \"{}\" cannot be locked",
                        used.name
                    ))
                    .with_detail("Every shard has a copy, and a lock on one copy excludes nobody who uses another.")
                    .with_hint("Lock a row of a sharded table: FOR UPDATE OF names the tables to lock."));
                }
            }
        }
        Ok(())
    }

    fn with(&mut self, with: &With) -> Result<(), PgError> {
        if with.recursive {
            // All names are visible in all of them; nothing is known of what they will put out.
            for cte in &with.cte_tables {
                let name = scope::fold(&cte.alias.name).into_owned();
                self.ctes.push(Cte { name, outputs: Outputs::unknown() });
            }
        }
        for cte in &with.cte_tables {
            if cte.from.is_some() {
                return Err(refuse::construct("WITH ... FROM"));
            }
            let name = scope::fold(&cte.alias.name).into_owned();
            // A CTE's query sees the blocks around the WITH as any sub-query does.
            let mut outputs = self.query(&cte.query)?;
            outputs.rename(&alias_columns(&cte.alias));
            self.ctes.push(Cte { name, outputs });
        }
        Ok(())
    }

    /// The body of a query. An iterative walk down the left side, where chains of UNION are long.
    fn set(&mut self, body: &SetExpr, order_by: Option<&OrderBy>) -> Result<Outputs, PgError> {
        match body {
            SetExpr::Select(select) => self.select(select, order_by),
            SetExpr::Query(query) => {
                let outputs = self.query(query)?;
                self.set_order(order_by)?;
                Ok(outputs)
            }
            SetExpr::SetOperation { .. } => {
                let mut body = body;
                let mut arms = Vec::new();
                while let SetExpr::SetOperation { left, op, right, set_quantifier } = body {
                    if matches!(op, SetOperator::Minus)
                        || matches!(
                            set_quantifier,
                            SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName
                        )
                    {
                        return Err(refuse::construct("this set operation"));
                    }
                    arms.push(&**right);
                    body = left;
                }
                let outputs = self.set(body, None)?;
                for arm in arms.into_iter().rev() {
                    self.set(arm, None)?;
                }
                self.set_order(order_by)?;
                Ok(outputs.without_facts())
            }
            SetExpr::Values(values) => {
                for row in &values.rows {
                    for value in &row.content {
                        // DEFAULT is a value of an INSERT only, and looked at there.
                        self.expr(value)?;
                    }
                }
                self.set_order(order_by)?;
                let width = values.rows.first().map_or(0, |row| row.content.len());
                let column = |at: usize| Output { name: Some(format!("column{}", at + 1)), ..Output::default() };
                Ok(Outputs { columns: (0..width).map(column).collect(), complete: true })
            }
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                match statement {
                    Statement::Insert(insert) => self.insert(insert)?,
                    Statement::Update(update) => self.update(update)?,
                    Statement::Delete(delete) => self.delete(delete)?,
                    _ => return Err(refuse::construct("this statement inside WITH")),
                }
                Ok(Outputs::unknown())
            }
            SetExpr::Merge(_) => Err(refuse::construct("MERGE inside WITH")),
            SetExpr::Table(_) => Err(refuse::construct("this form of TABLE")),
        }
    }

    /// ORDER BY of a set operation: names of its output, which no table has.
    fn set_order(&mut self, order_by: Option<&OrderBy>) -> Result<(), PgError> {
        self.scopes.push(Scope { opaque: true, ..Scope::default() });
        let result = self.order_by(order_by);
        self.scopes.pop();
        result
    }

    fn order_by(&mut self, order_by: Option<&OrderBy>) -> Result<(), PgError> {
        match order_by {
            None => Ok(()),
            Some(OrderBy { kind: OrderByKind::Expressions(order), interpolate: None }) => self.order(order),
            Some(_) => Err(refuse::construct("this form of ORDER BY")),
        }
    }

    fn select(&mut self, select: &Select, order_by: Option<&OrderBy>) -> Result<Outputs, PgError> {
        let plain = select.select_modifiers.is_none()
            && select.top.is_none()
            && select.exclude.is_none()
            && select.lateral_views.is_empty()
            && select.prewhere.is_none()
            && select.connect_by.is_empty()
            && select.cluster_by.is_empty()
            && select.distribute_by.is_empty()
            && select.sort_by.is_empty()
            && select.qualify.is_none()
            && select.value_table_mode.is_none()
            && select.flavor == SelectFlavor::Standard;
        if !plain {
            return Err(refuse::construct("this clause of SELECT"));
        }
        if select.into.is_some() {
            return Err(refuse::construct("SELECT INTO"));
        }
        let from = self.from(&select.from)?;
        self.scopes.push(from.scope.clone());
        let result = self.block(select, from, order_by);
        self.scopes.pop();
        result
    }

    fn block(&mut self, select: &Select, from: From<'_>, order_by: Option<&OrderBy>) -> Result<Outputs, PgError> {
        self.conditions(from)?;
        if let Some(condition) = &select.selection {
            self.condition(condition, Reach::All)?;
        }
        if let Some(Distinct::On(exprs)) = &select.distinct {
            self.exprs(exprs)?;
        }
        match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => self.exprs(exprs)?,
            _ => return Err(refuse::construct("this form of GROUP BY")),
        }
        self.exprs(&select.having)?;
        for window in &select.named_window {
            if let NamedWindowExpr::WindowSpec(window) = &window.1 {
                self.window(window)?;
            }
        }
        let outputs = self.projection(&select.projection)?;
        self.order_by(order_by)?;
        Ok(outputs)
    }

    /// A select list, also of RETURNING.
    pub(super) fn projection(&mut self, items: &[SelectItem]) -> Result<Outputs, PgError> {
        let mut outputs = Outputs { columns: Vec::new(), complete: true };
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    self.expr(expr)?;
                    let name = match expr {
                        Expr::Identifier(ident) => Some(ident),
                        Expr::CompoundIdentifier(idents) => idents.last(),
                        _ => None,
                    };
                    let name = name.map(|ident| scope::fold(ident).into_owned());
                    outputs.columns.push(self.output(name, expr));
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    self.expr(expr)?;
                    outputs.columns.push(self.output(Some(scope::fold(alias).into_owned()), expr));
                }
                SelectItem::Wildcard(options) if is_plain(options) => {
                    let Some(scope) = self.scopes.last() else { continue };
                    let merged = !scope.merged.is_empty() || scope.opaque;
                    for at in scope.instances.clone() {
                        self.star(at, merged, &mut outputs);
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
                    if is_plain(options) =>
                {
                    let name = scope::parts(name).and_then(|parts| parts.last().cloned());
                    let hit = self.scopes.last().and_then(|scope| {
                        let named = |at: &&usize| self.instances.get(**at).map(|one| &one.name) == name.as_ref();
                        scope.instances.iter().find(named).copied()
                    });
                    match hit {
                        Some(at) => self.star(at, false, &mut outputs),
                        None => outputs.complete = false,
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), options)
                    if is_plain(options) =>
                {
                    self.expr(expr)?;
                    outputs.complete = false;
                }
                _ => return Err(refuse::construct("this form of select list")),
            }
        }
        Ok(outputs)
    }

    fn output(&mut self, name: Option<String>, expr: &Expr) -> Output {
        if let Some(found) = self.column_of(expr).filter(|found| found.level == 0) {
            let key_type = self.key_type(&found);
            let node = self.facts.node(found.instance, &found.column);
            return Output { name, node: Some(node), key_type, source: None };
        }
        Output { name, node: None, key_type: None, source: self.source(expr) }
    }

    fn star(&mut self, at: usize, merged: bool, outputs: &mut Outputs) {
        let Some(instance) = self.instances.get(at).cloned() else { return };
        outputs.complete &= instance.complete && !merged;
        for column in instance.columns {
            let node = self.facts.node(at, &column.name);
            outputs.columns.push(Output {
                name: Some(column.name),
                node: Some(node),
                key_type: column.key_type,
                source: None,
            });
        }
    }

    /// Reads a FROM list. Its conditions wait until all of it is known.
    pub(super) fn from<'q>(&mut self, list: &'q [TableWithJoins]) -> Result<From<'q>, PgError> {
        let mut from = From::default();
        for item in list {
            self.joined(item, &mut from)?;
        }
        Ok(from)
    }

    fn joined<'q>(&mut self, item: &'q TableWithJoins, from: &mut From<'q>) -> Result<(), PgError> {
        let first = from.scope.instances.len();
        self.factor(&item.relation, from)?;
        for Join { relation, global, join_operator } in &item.joins {
            if *global {
                return Err(refuse::construct("GLOBAL JOIN"));
            }
            let (kind, constraint) = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::CrossJoin(constraint) => (Kind::Inner, constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Kind::Left, constraint),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Kind::Right, constraint),
                JoinOperator::FullOuter(constraint) => (Kind::Full, constraint),
                _ => return Err(refuse::construct("this kind of join")),
            };
            let middle = from.scope.instances.len();
            self.factor(relation, from)?;
            let left = from.scope.instances.get(first..middle).unwrap_or(&[]).to_vec();
            let right = from.scope.instances.get(middle..).unwrap_or(&[]).to_vec();
            self.merge(constraint, &left, &right, kind, from);
            from.joins.push(Pending { constraint, left, right, kind });
        }
        Ok(())
    }

    /// USING and NATURAL: the columns that are one from here on.
    fn merge(&mut self, constraint: &JoinConstraint, left: &[usize], right: &[usize], kind: Kind, from: &mut From<'_>) {
        let names = match constraint {
            JoinConstraint::Using(names) => names.iter().filter_map(single).collect(),
            JoinConstraint::Natural => match self.common(left, right) {
                Some(names) => names,
                None => {
                    from.scope.opaque = true;
                    return;
                }
            },
            JoinConstraint::On(_) | JoinConstraint::None => return,
        };
        for name in names {
            let (left, right) = (self.owner(left, &name, &from.scope), self.owner(right, &name, &from.scope));
            // Of an outer join's two columns the merged one is that of the side that is always there.
            let source = match kind {
                Kind::Inner | Kind::Left => left,
                Kind::Right => right,
                Kind::Full => None,
            };
            if let (Some(left), Some(right)) = (left, right) {
                self.using.push((left, right, name.clone()));
            }
            from.scope.merged.retain(|(merged, _)| *merged != name);
            from.scope.merged.push((name, source));
        }
    }

    /// The columns that both sides have; `None` if not all columns are known.
    fn common(&self, left: &[usize], right: &[usize]) -> Option<Vec<String>> {
        let names = |side: &[usize]| {
            let mut names = Vec::new();
            for at in side {
                let instance = self.instances.get(*at).filter(|instance| instance.complete)?;
                names.extend(instance.columns.iter().map(|column| column.name.clone()));
            }
            Some(names)
        };
        let (left, right) = (names(left)?, names(right)?);
        let mut common: Vec<String> = left.into_iter().filter(|name| right.contains(name)).collect();
        common.dedup();
        Some(common)
    }

    /// The one table of a side that has a column, or that already stands for it.
    fn owner(&self, side: &[usize], name: &str, scope: &Scope) -> Option<usize> {
        if let Some((_, source)) = scope.merged.iter().find(|(merged, _)| merged == name)
            && let Some(source) = source
            && side.contains(source)
        {
            return Some(*source);
        }
        let having = |at: &&usize| {
            self.instances.get(**at).is_some_and(|one| one.columns.iter().any(|column| column.name == name))
        };
        let mut hits = side.iter().filter(having);
        match (hits.next(), hits.next()) {
            (Some(hit), None) => Some(*hit),
            _ => None,
        }
    }

    /// Reads the conditions of a FROM list; its scope is on the stack.
    pub(super) fn conditions(&mut self, from: From<'_>) -> Result<(), PgError> {
        let mut using = std::mem::take(&mut self.using);
        for Pending { constraint, left, right, kind } in &from.joins {
            let reach = match kind {
                Kind::Inner => Reach::All,
                Kind::Left => Reach::Only(right),
                Kind::Right => Reach::Only(left),
                Kind::Full => Reach::None,
            };
            match constraint {
                JoinConstraint::None => {}
                JoinConstraint::On(condition) => {
                    // Names in ON stand for this join's tables, or for an outer block's, never for the rest of the list.
                    let mut instances = left.clone();
                    instances.extend(right);
                    let merged = from.scope.merged.clone();
                    self.scopes.push(Scope { instances, merged, opaque: from.scope.opaque });
                    let block = self.scopes.len() - 2;
                    let hidden = self.scopes.remove(block);
                    let reach = match reach {
                        // An inner join below an outer one restricts its own tables only, which is what it names.
                        Reach::All => Reach::All,
                        other => other,
                    };
                    let result = self.condition(condition, reach);
                    self.scopes.insert(block, hidden);
                    self.scopes.pop();
                    result?;
                }
                JoinConstraint::Using(_) | JoinConstraint::Natural => {
                    using.retain(|(one, other, name)| {
                        let here = left.contains(one) && right.contains(other);
                        if here {
                            self.merged_equality(*one, *other, name, reach);
                        }
                        !here
                    });
                }
            }
        }
        self.using = using;
        Ok(())
    }

    fn merged_equality(&mut self, one: usize, other: usize, name: &str, reach: Reach<'_>) {
        let type_of = |at: usize| {
            let instance = self.instances.get(at)?;
            instance.columns.iter().find(|column| column.name == name)?.key_type
        };
        let (Some(left), Some(right)) = (type_of(one), type_of(other)) else { return };
        if !super::facts::comparable(left, right) {
            return;
        }
        let (left, right) = (self.facts.node(one, name), self.facts.node(other, name));
        let into = |at: usize| match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&at),
            Reach::None => false,
        };
        if into(one) {
            self.facts.flow(right, left);
        }
        if into(other) {
            self.facts.flow(left, right);
        }
    }

    fn factor<'q>(&mut self, factor: &'q TableFactor, from: &mut From<'q>) -> Result<(), PgError> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality: _,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if !with_hints.is_empty()
                    || version.is_some()
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return Err(refuse::construct("this form of table reference"));
                }
                if let Some(args) = args {
                    if args.settings.is_some() {
                        return Err(refuse::construct("this form of table function"));
                    }
                    return self.table_function(name, &args.args, alias.as_ref(), from);
                }
                // A sample of one key's rows would be drawn from the shard's whole table.
                if sample.is_some() {
                    return Err(refuse::construct("TABLESAMPLE"));
                }
                let at = self.table(name, alias.as_ref())?;
                from.scope.instances.push(at);
                Ok(())
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if sample.is_some() {
                    return Err(refuse::construct("TABLESAMPLE"));
                }
                let outputs = if *lateral {
                    self.scopes.push(from.scope.clone());
                    let outputs = self.query(subquery);
                    self.scopes.pop();
                    outputs?
                } else {
                    self.query(subquery)?
                };
                let at = self.derived(outputs, alias.as_ref());
                from.scope.instances.push(at);
                Ok(())
            }
            TableFactor::Function { name, args, alias, .. } => self.table_function(name, args, alias.as_ref(), from),
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, .. } => {
                self.scopes.push(from.scope.clone());
                let result = self.exprs(array_exprs);
                self.scopes.pop();
                result?;
                self.opaque_instance(alias.as_ref(), "unnest", from);
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let before = from.scope.instances.len();
                self.joined(table_with_joins, from)?;
                if let Some(alias) = alias {
                    // The alias hides the tables inside: their conditions are read, their names are gone.
                    let inside = from.scope.instances.split_off(before);
                    let hidden =
                        Scope { instances: inside, merged: from.scope.merged.clone(), opaque: from.scope.opaque };
                    let joins = from
                        .joins
                        .iter()
                        .position(|join| join.left.iter().any(|at| hidden.instances.contains(at)))
                        .map_or(Vec::new(), |at| from.joins.split_off(at));
                    self.scopes.push(hidden.clone());
                    let result = self.conditions(From { scope: hidden, joins });
                    self.scopes.pop();
                    result?;
                    from.scope.merged.clear();
                    from.scope.opaque = true;
                    self.opaque_instance(Some(alias), "", from);
                }
                Ok(())
            }
            _ => Err(refuse::construct("this form of table reference")),
        }
    }

    fn table_function<'q>(
        &mut self,
        name: &ObjectName,
        args: &[sqlparser::ast::FunctionArg],
        alias: Option<&TableAlias>,
        from: &mut From<'q>,
    ) -> Result<(), PgError> {
        // Functions in FROM see the tables before them.
        self.scopes.push(from.scope.clone());
        let list = sqlparser::ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: args.to_vec(),
            clauses: Vec::new(),
        };
        let result = self.call(name, &sqlparser::ast::FunctionArguments::List(list));
        self.scopes.pop();
        result?;
        let bare = scope::parts(name).and_then(|parts| parts.last().cloned()).unwrap_or_default();
        self.opaque_instance(alias, &bare, from);
        Ok(())
    }

    fn opaque_instance(&mut self, alias: Option<&TableAlias>, name: &str, from: &mut From<'_>) {
        let name = alias.map_or(name.to_string(), |alias| scope::fold(&alias.name).into_owned());
        from.scope.instances.push(self.instances.len());
        self.instances.push(Instance { name, schema: None, columns: Vec::new(), complete: false });
    }

    /// A sub-query in FROM, or a CTE's use: its columns have the values of what it puts out.
    fn derived(&mut self, outputs: Outputs, alias: Option<&TableAlias>) -> usize {
        let at = self.instances.len();
        let names = alias.map(alias_columns).unwrap_or_default();
        let name = alias.map_or(String::new(), |alias| scope::fold(&alias.name).into_owned());
        let mut outputs = outputs;
        outputs.rename(&names);
        let mut instance = Instance { name, schema: None, columns: Vec::new(), complete: outputs.complete };
        for output in outputs.columns {
            let Some(name) = output.name else {
                instance.complete = false;
                continue;
            };
            if let Some(node) = output.node {
                let own = self.facts.node(at, &name);
                // Of two columns of one name neither can be asked for.
                if !instance.columns.iter().any(|column| column.name == name) {
                    self.facts.flow(node, own);
                }
            }
            instance.columns.push(Column { name, key_type: output.key_type });
        }
        self.instances.push(instance);
        at
    }

    /// A table's use, or a CTE's.
    pub(super) fn table(&mut self, name: &ObjectName, alias: Option<&TableAlias>) -> Result<usize, PgError> {
        let Some(parts) = scope::parts(name) else { return Err(refuse::construct("a computed table name")) };
        if let [bare] = parts.as_slice()
            && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == *bare)
        {
            let outputs = cte.outputs.clone();
            let at = self.derived(outputs, alias);
            if alias.is_none()
                && let Some(instance) = self.instances.get_mut(at)
            {
                instance.name = bare.clone();
            }
            return Ok(at);
        }
        let place = scope::place(&self.context, &parts)?;
        self.used(place, &parts, alias.map(|alias| (&alias.name, alias_columns(alias))))
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
        match place {
            Place::System => {}
            Place::Temporary | Place::Unknown => {
                self.attached = true;
                self.floating = false;
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
                self.uses.push(Use { instance: at, name, reference: true, table, columns: Vec::new(), insert: false });
            }
            Place::Sharded { table, .. } => {
                self.floating = false;
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
                let Some(columns) = columns else {
                    return Err(PgError::unsupported(format!("table \"{bare}\" lacks its shard key column"))
                        .with_detail("The vschema names a column that the table on the shards does not have.")
                        .with_hint("Correct shard_key in the vschema, or add the column."));
                };
                self.uses.push(Use { instance: at, name, reference: false, table, columns, insert: false });
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

fn is_plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn single(name: &ObjectName) -> Option<String> {
    let mut parts = scope::parts(name)?;
    if parts.len() == 1 { parts.pop() } else { None }
}

fn alias_columns(alias: &TableAlias) -> Vec<String> {
    alias.columns.iter().map(|column| scope::fold(&column.name).into_owned()).collect()
}
