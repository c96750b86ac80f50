//! Query blocks: WITH, set operations, SELECT and its clauses. Each block's tables come into scope here, and what it puts out is told.

use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, LimitClause, LockClause, NamedWindowExpr, OrderBy, OrderByKind, Query, Select,
    SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, Statement,
    WildcardAdditionalOptions, With,
};

use super::condition::Reach;
use super::from::{From, alias_columns};
use super::scope::{self, Scope};
use super::tree::{self, Operation, Part};
use super::{Cte, Output, Outputs, Planner, refuse};
use crate::error::PgError;

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
        let (ctes, volatile, first) = (self.ctes.len(), self.tree.volatile, self.instances.len());
        self.tree.open_query(self.instances.len());
        if let Some(with) = with {
            self.with(with)?;
        }
        let first_use = self.uses.len();
        let mut outputs = self.set(body, order_by.as_ref())?;
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
        let mut part = self.tree.close_query(self.instances.len());
        part.body = outputs.part;
        part.limited = limit_clause.is_some() || fetch.is_some();
        part.ordered = order_by.is_some();
        part.volatile = self.tree.volatile > volatile;
        part.locked = !locks.is_empty();
        outputs.part = Some(self.tree.add(Part::Query(part)));
        self.ctes.truncate(ctes);
        self.note_whole(query, &outputs, first);
        Ok(outputs)
    }

    /// A sub-query in an expression; `tested` are the columns that are compared with what it puts out, where rows must pass.
    pub(super) fn inner_query(
        &mut self,
        query: &Query,
        tested: Option<Vec<Option<super::facts::Node>>>,
    ) -> Result<Outputs, PgError> {
        let join = self.tree.read_join(None);
        let once = std::mem::take(&mut self.found.once);
        let outputs = self.query(query);
        self.found.once = once;
        self.tree.read_join(join);
        let outputs = outputs?;
        self.tree.inside(outputs.part, tested);
        Ok(outputs)
    }

    /// FOR UPDATE and its kin. A lock on one copy of a reference table excludes nobody who locks another.
    fn locks(&mut self, locks: &[LockClause], first_use: usize) -> Result<(), PgError> {
        self.writes = true;
        self.locks += locks.len();
        self.floating = false;
        for lock in locks {
            let of = lock.of.as_ref().and_then(scope::parts).and_then(|parts| parts.last().cloned());
            for used in self.uses.get(first_use..).unwrap_or(&[]) {
                if used.reference && of.as_ref().is_none_or(|of| *of == used.name) {
                    self.locked_copy.get_or_insert_with(|| (used.table.keyspace, used.name.clone()));
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
                self.ctes.push(Cte { name, outputs: Outputs::unknown(), recursive: true });
            }
        }
        for cte in &with.cte_tables {
            if cte.from.is_some() {
                return Err(refuse::construct("WITH ... FROM"));
            }
            let name = scope::fold(&cte.alias.name).into_owned();
            // A CTE's query sees the blocks around the WITH as any sub-query does.
            let recursions = self.recursions;
            self.reading.push(name.clone());
            let outputs = self.query(&cte.query);
            self.reading.pop();
            let mut outputs = outputs?;
            if let Some(Part::Query(query)) = outputs.part.and_then(|part| self.tree.parts.get_mut(part)) {
                query.recursive = self.recursions > recursions;
                if query.body.and_then(|body| self.tree.parts.get(body)).is_some_and(|body| matches!(body, Part::Write))
                {
                    self.spoil(super::reference::WRITE_IN_WITH);
                }
            }
            outputs.rename(&alias_columns(&cte.alias));
            self.ctes.push(Cte { name, outputs, recursive: false });
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
                    let all = matches!(set_quantifier, SetQuantifier::All);
                    let operation = match op {
                        SetOperator::Union if all => Operation::UnionAll,
                        SetOperator::Union => Operation::Union,
                        SetOperator::Intersect => Operation::Intersect,
                        _ => Operation::Except,
                    };
                    arms.push((operation, &**right));
                    body = left;
                }
                let first = self.set(body, None)?;
                let (mut rest, mut others) = (Vec::new(), Vec::new());
                for (operation, arm) in arms.into_iter().rev() {
                    let outputs = self.set(arm, None)?;
                    rest.push((operation, outputs.part));
                    others.push(outputs);
                }
                self.set_order(order_by)?;
                let part = first.part;
                let (mut outputs, types) = tree::united(first, &others);
                outputs.part = Some(self.tree.add(Part::Set(tree::Set { first: part, rest, types })));
                Ok(outputs)
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
                let part = Some(self.tree.add(Part::Values));
                Ok(Outputs { columns: (0..width).map(column).collect(), complete: true, part })
            }
            SetExpr::Insert(statement) | SetExpr::Update(statement) | SetExpr::Delete(statement) => {
                match statement {
                    Statement::Insert(insert) => self.insert(insert)?,
                    Statement::Update(update) => self.update(update)?,
                    Statement::Delete(delete) => self.delete(delete)?,
                    _ => return Err(refuse::construct("this statement inside WITH")),
                }
                Ok(Outputs { part: Some(self.tree.add(Part::Write)), ..Outputs::unknown() })
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
            return Err(refuse::select_into());
        }
        let first = self.instances.len();
        let mut from = self.from(&select.from)?;
        self.tree.open_block(std::mem::take(&mut from.items), from.scope.clone(), first);
        self.scopes.push(from.scope.clone());
        let result = self.block(select, from, order_by);
        self.scopes.pop();
        let part = self.tree.close_block(self.instances.len());
        Ok(Outputs { part: Some(part), ..result? })
    }

    fn block(&mut self, select: &Select, from: From<'_>, order_by: Option<&OrderBy>) -> Result<Outputs, PgError> {
        self.conditions(from)?;
        if let Some(condition) = &select.selection {
            self.condition(condition, Reach::All)?;
        }
        let volatile = self.tree.volatile;
        if let Some(Distinct::On(exprs)) = &select.distinct {
            self.exprs(exprs)?;
            let (nodes, ordinals) = self.term_nodes(exprs, tree::Names::First(&select.projection));
            if let Some(block) = self.tree.block() {
                block.distinct = tree::Distinct::On(nodes);
                block.ordinals |= ordinals;
            }
        }
        let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else {
            return Err(refuse::construct("this form of GROUP BY"));
        };
        if !modifiers.is_empty() {
            return Err(refuse::construct("this form of GROUP BY"));
        }
        self.exprs(groups)?;
        self.note_grouping(select, groups);
        let (nodes, ordinals) = self.term_nodes(groups, tree::Names::Later(&select.projection));
        if let Some(block) = self.tree.block() {
            block.ordinals |= ordinals;
            block.groups = (!groups.is_empty() || select.having.is_some()).then_some(nodes);
            block.grouping_sets =
                groups.iter().any(|term| matches!(term, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)));
            if matches!(select.distinct, Some(Distinct::Distinct)) {
                block.distinct = tree::Distinct::All;
            }
        }
        self.exprs(&select.having)?;
        for window in &select.named_window {
            let name = scope::fold(&window.0).into_owned();
            let known = match &window.1 {
                NamedWindowExpr::WindowSpec(window) => {
                    self.window(window)?;
                    self.window_part(window)
                }
                NamedWindowExpr::NamedWindow(base) => {
                    tree::Window { base: Some(scope::fold(base).into_owned()), partition: Vec::new() }
                }
            };
            self.tree.block().into_iter().for_each(|block| drop(block.named.insert(name.clone(), known.clone())));
        }
        let outputs = self.projection(&select.projection)?;
        self.order_by(order_by)?;
        self.note_partials(select);
        let volatile = self.tree.volatile > volatile;
        if let Some(block) = self.tree.block() {
            let chosen = block.distinct != tree::Distinct::No || block.groups.is_some() || order_by.is_some();
            block.erratic = volatile && chosen;
            block.outputs = (outputs.columns.iter().map(|column| column.node).collect(), outputs.complete);
        }
        Ok(outputs)
    }

    /// What a window's rows have in common.
    pub(super) fn window_part(&mut self, window: &sqlparser::ast::WindowSpec) -> tree::Window {
        let base = window.window_name.as_ref().map(|name| scope::fold(name).into_owned());
        let (partition, _) = self.term_nodes(&window.partition_by, tree::Names::Never);
        tree::Window { base, partition }
    }

    /// A select list, also of RETURNING.
    pub(super) fn projection(&mut self, items: &[SelectItem]) -> Result<Outputs, PgError> {
        let mut outputs = Outputs { columns: Vec::new(), complete: true, part: None };
        for item in items {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let met = self.met();
                    self.expr(expr)?;
                    self.note_named(expr, met);
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
                SelectItem::Wildcard(options) if is_plain(options) && self.unread == Some(items.as_ptr()) => {
                    outputs.complete = false;
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
        self.starred.insert(at);
        outputs.complete &= instance.complete && !merged;
        for column in &instance.columns {
            // Of two columns of one name nothing can be said: the facts go by names.
            if instance.columns.iter().filter(|other| other.name == column.name).count() > 1 {
                outputs.columns.push(Output { name: Some(column.name.clone()), ..Output::default() });
                continue;
            }
            let column = column.clone();
            let node = self.facts.node(at, &column.name);
            outputs.columns.push(Output {
                name: Some(column.name),
                node: Some(node),
                key_type: column.key_type,
                source: None,
            });
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
