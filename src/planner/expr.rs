//! Expressions: a walk that meets every part once and refuses what it does not know, and the reading of conditions.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentClause, FunctionArguments, Ident, Interval, ObjectName, OrderByExpr, Subscript, Value,
    WindowFrameBound, WindowSpec, WindowType,
};

use super::functions::{self, Class};
use super::scope::{self, Found};
use super::source::{chain, unwrap};
use super::{Planner, refuse};
use crate::error::PgError;
use crate::plan::{KeySet, Pin};

/// Which rows an equality in a condition restricts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach<'s> {
    /// WHERE, and ON of an inner join: all tables of the block.
    All,
    /// ON of an outer join: the tables of the side that may be missing only.
    Only(&'s [usize]),
    /// ON of a full join: none.
    None,
}

impl Planner<'_> {
    /// Walks every expression of a list.
    pub(super) fn exprs<'e>(&mut self, list: impl IntoIterator<Item = &'e Expr>) -> Result<(), PgError> {
        list.into_iter().try_for_each(|expr| self.expr(expr))
    }

    /// Walks an expression: sub-queries are planned, functions are looked at, what is not known is refused.
    pub(super) fn expr(&mut self, expr: &Expr) -> Result<(), PgError> {
        // Long chains lean left: go down that spine in a loop.
        let mut expr = expr;
        loop {
            match expr {
                Expr::BinaryOp { left, op, right } => {
                    if !matches!(op, BinaryOperator::And) {
                        self.note_near(left, op, right);
                    }
                    self.expr(right)?;
                    expr = left;
                }
                Expr::Nested(inner) => expr = inner,
                other => return self.part(other),
            }
        }
    }

    fn part(&mut self, expr: &Expr) -> Result<(), PgError> {
        match expr {
            Expr::Identifier(ident) => self.name(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(idents) => self.name(idents),
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) if !name.starts_with('$') => Err(refuse::construct("this kind of parameter")),
                _ => Ok(()),
            },
            Expr::TypedString(_) => Ok(()),
            Expr::CompoundFieldAccess { root, access_chain } => {
                self.expr(root)?;
                for access in access_chain {
                    match access {
                        AccessExpr::Dot(field) => match field {
                            Expr::Identifier(_) | Expr::Wildcard(_) => {}
                            other => self.expr(other)?,
                        },
                        AccessExpr::Subscript(Subscript::Index { index }) => self.expr(index)?,
                        AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride }) => {
                            self.exprs([lower_bound, upper_bound, stride].into_iter().flatten())?;
                        }
                    }
                }
                Ok(())
            }
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner) => self.expr(inner),
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                self.expr(left)?;
                self.expr(right)
            }
            Expr::IsJson { expr, .. } | Expr::IsNormalized { expr, .. } => self.expr(expr),
            Expr::InList { expr, list, .. } => {
                self.expr(expr)?;
                self.exprs(list)
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.expr(expr)?;
                self.query(subquery).map(drop)
            }
            Expr::Between { expr, low, high, .. } => self.exprs([&**expr, &**low, &**high]),
            Expr::BinaryOp { .. } | Expr::Nested(_) => self.expr(expr),
            Expr::Like { any: false, expr, pattern, escape_char, .. }
            | Expr::ILike { any: false, expr, pattern, escape_char, .. }
            | Expr::SimilarTo { expr, pattern, escape_char, .. } => {
                self.exprs([&**expr, &**pattern])?;
                self.exprs(escape_char.as_deref())
            }
            Expr::Like { pattern, expr, escape_char, .. } | Expr::ILike { pattern, expr, escape_char, .. } => {
                self.exprs([&**expr, &**pattern])?;
                self.exprs(escape_char.as_deref())
            }
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => self.exprs([&**left, &**right]),
            Expr::UnaryOp { expr, .. } => self.expr(expr),
            Expr::Cast { expr, .. } => self.expr(expr),
            Expr::AtTimeZone { timestamp, time_zone } => self.exprs([&**timestamp, &**time_zone]),
            Expr::Extract { expr, .. } => self.expr(expr),
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) }
            | Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => self.expr(expr),
            Expr::Position { expr, r#in } => self.exprs([&**expr, &**r#in]),
            Expr::Substring { expr, substring_from, substring_for, .. } => {
                self.expr(expr)?;
                self.exprs(substring_from.as_deref())?;
                self.exprs(substring_for.as_deref())
            }
            Expr::Trim { expr, trim_what, trim_characters, .. } => {
                self.expr(expr)?;
                self.exprs(trim_what.as_deref())?;
                self.exprs(trim_characters.iter().flatten())
            }
            Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                self.exprs([&**expr, &**overlay_what, &**overlay_from])?;
                self.exprs(overlay_for.as_deref())
            }
            Expr::Collate { expr, .. } => self.expr(expr),
            Expr::Function(function) => self.function(function),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.exprs(operand.as_deref())?;
                for when in conditions {
                    self.exprs([&when.condition, &when.result])?;
                }
                self.exprs(else_result.as_deref())
            }
            Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => self.query(subquery).map(drop),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => self.exprs(sets.iter().flatten()),
            Expr::Tuple(list) => self.exprs(list),
            Expr::Array(array) => self.exprs(&array.elem),
            Expr::Interval(Interval { value, .. }) => self.expr(value),
            // Everything else is no PostgreSQL, or too rare to be sure of.
            _ => Err(refuse::construct("this kind of expression").with_detail(format!("The expression is {expr}."))),
        }
    }

    /// `t.f` may be the call `f(t)`.
    fn name(&mut self, idents: &[Ident]) -> Result<(), PgError> {
        let Some(last) = idents.last() else { return Ok(()) };
        let name = scope::fold(last);
        if idents.len() > 1
            && self.context.catalog.functions.get(name.as_ref()).is_some_and(|function| !function.immutable)
            && self.column(idents).is_none()
        {
            let name = name.into_owned();
            return self.user_function(&name);
        }
        Ok(())
    }

    /// The column that a name stands for.
    pub(super) fn column(&self, idents: &[Ident]) -> Option<Found> {
        scope::column(&self.instances, &self.scopes, idents)
    }

    /// The column that an expression is, if it is nothing else.
    pub(super) fn column_of(&self, expr: &Expr) -> Option<Found> {
        match unwrap(expr) {
            Expr::Identifier(ident) => self.column(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(idents) => self.column(idents),
            _ => None,
        }
    }

    /// A comparison with a shard key that does not count, for the refusal's words.
    fn note_near(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr) {
        if self.near.is_some() || !matches!(op, BinaryOperator::Eq | BinaryOperator::Or) {
            return;
        }
        if *op == BinaryOperator::Eq {
            for (side, other) in [(left, right), (right, left)] {
                if let Some(found) = self.column_of(side)
                    && self.is_shard_key(&found)
                    && self.source(other).is_some()
                {
                    self.near = Some(format!(
                        "A comparison with \"{}\" stands where it does not restrict the whole query: under OR or NOT, in an expression, in HAVING or the ON of an outer join.",
                        found.column
                    ));
                    return;
                }
            }
        }
    }

    /// Reads a condition: its equalities become facts, and every part is walked.
    pub(super) fn condition(&mut self, condition: &Expr, reach: Reach<'_>) -> Result<(), PgError> {
        for term in chain(condition, &BinaryOperator::And) {
            if !self.term(unwrap(term), reach)? {
                self.expr(term)?;
            }
        }
        Ok(())
    }

    /// One term of a conjunction; whether all of it has been walked.
    fn term(&mut self, term: &Expr, reach: Reach<'_>) -> Result<bool, PgError> {
        match term {
            Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
                if let (Expr::Tuple(left), Expr::Tuple(right)) = (unwrap(left), unwrap(right)) {
                    if left.len() == right.len() {
                        for (left, right) in left.iter().zip(right) {
                            self.equality(left, right, reach);
                        }
                    }
                    return Ok(false);
                }
                if self.equality(left, right, reach) {
                    // Nothing in a name or value is left to walk.
                    return Ok(true);
                }
                if let Some(column) = self.column_of(left)
                    && let Expr::Subquery(subquery) = unwrap(right)
                {
                    let outputs = self.query(subquery)?;
                    self.from_outputs(&column, outputs, reach);
                    return Ok(true);
                }
                Ok(false)
            }
            Expr::InList { expr, list, negated: false } => {
                if let Expr::Tuple(columns) = unwrap(expr) {
                    self.tuple_list(columns, list, reach);
                } else if let Some(column) = self.column_of(expr)
                    && let Some(set) = self.list_source(list)
                {
                    self.restrict(&column, set, reach);
                }
                Ok(false)
            }
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
                if let Some(column) = self.column_of(left)
                    && let Some(set) = self.array_source(right)
                {
                    self.restrict(&column, set, reach);
                }
                Ok(false)
            }
            Expr::InSubquery { expr, subquery, negated: false } => {
                let Some(column) = self.column_of(expr) else { return Ok(false) };
                let outputs = self.query(subquery)?;
                self.from_outputs(&column, outputs, reach);
                Ok(true)
            }
            Expr::BinaryOp { op: BinaryOperator::Or, .. } => {
                if let Some((column, set)) = self.alternatives(term) {
                    self.restrict(&column, set, reach);
                }
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// `column = value` or `column = column`; whether both sides were such.
    fn equality(&mut self, left: &Expr, right: &Expr, reach: Reach<'_>) -> bool {
        match (self.column_of(left), self.column_of(right)) {
            (Some(left), Some(right)) => {
                self.equate(&left, &right, reach);
                true
            }
            (Some(column), None) => self.value(&column, right, reach),
            (None, Some(column)) => self.value(&column, left, reach),
            (None, None) => false,
        }
    }

    fn value(&mut self, column: &Found, value: &Expr, reach: Reach<'_>) -> bool {
        let Some(source) = self.source(value) else { return false };
        if reach == Reach::None && self.is_shard_key(column) && self.near.is_none() {
            self.near =
                Some(format!("The comparison with \"{}\" in a FULL JOIN restricts neither table.", column.column));
        }
        self.restrict(column, KeySet::Values(vec![source]), reach);
        true
    }

    /// `(a, b) IN ((1, 2), (3, 4))`: each column is restricted to its part of the rows.
    fn tuple_list(&mut self, columns: &[Expr], list: &[Expr], reach: Reach<'_>) {
        for (at, column) in columns.iter().enumerate() {
            let Some(column) = self.column_of(column) else { continue };
            let part = |row: &Expr| match unwrap(row) {
                Expr::Tuple(values) if values.len() == columns.len() => self.source(values.get(at)?),
                _ => None,
            };
            if let Some(values) = list.iter().map(part).collect() {
                self.restrict(&column, KeySet::Values(values), reach);
            }
        }
    }

    /// `k = 1 OR k = 2 OR k IN (3, 4)`: one column, nothing else.
    fn alternatives(&self, expr: &Expr) -> Option<(Found, KeySet)> {
        let mut all = Vec::new();
        let mut one: Option<Found> = None;
        for term in chain(expr, &BinaryOperator::Or) {
            let (column, values) = match unwrap(term) {
                Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => match self.column_of(left) {
                    Some(column) => (column, vec![self.source(right)?]),
                    None => (self.column_of(right)?, vec![self.source(left)?]),
                },
                Expr::InList { expr, list, negated: false } => match self.list_source(list)? {
                    KeySet::Values(values) => (self.column_of(expr)?, values),
                    KeySet::Array(_) => return None,
                },
                _ => return None,
            };
            if one.as_ref().is_some_and(|one| *one != column) {
                return None;
            }
            one = Some(column);
            all.extend(values);
        }
        Some((one?, KeySet::Values(all)))
    }

    fn restrict(&mut self, column: &Found, set: KeySet, reach: Reach<'_>) {
        // A condition of an inner block on an outer block's column restricts the outer one not at all.
        let counts = match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&column.instance),
            Reach::None => false,
        };
        if column.level == 0 && counts {
            let node = self.facts.node(column.instance, &column.column);
            self.facts.restrict(node, set);
        } else if column.level == 0 && self.near.is_none() && self.is_shard_key(column) {
            self.near = Some(format!(
                "The comparison with \"{}\" stands in the ON of an outer join, where it only decides which rows are joined.",
                column.column
            ));
        }
    }

    fn equate(&mut self, left: &Found, right: &Found, reach: Reach<'_>) {
        if !self.comparable(left, right) {
            return;
        }
        let one = self.facts.node(left.instance, &left.column);
        let other = self.facts.node(right.instance, &right.column);
        let into = |column: &Found| {
            column.level == 0
                && match reach {
                    Reach::All => true,
                    Reach::Only(side) => side.contains(&column.instance),
                    Reach::None => false,
                }
        };
        if into(left) {
            self.facts.flow(other, one);
        }
        if into(right) {
            self.facts.flow(one, other);
        }
    }

    /// `column IN (sub-query)`: the column has values that the sub-query's only column has.
    fn from_outputs(&mut self, column: &Found, outputs: super::Outputs, reach: Reach<'_>) {
        let [output] = outputs.columns.as_slice() else { return };
        if !outputs.complete {
            return;
        }
        let (Some(key_type), Some(node)) = (output.key_type, output.node) else {
            if let Some(source) = &output.source {
                self.restrict(column, KeySet::Values(vec![source.clone()]), reach);
            }
            return;
        };
        let counts = match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&column.instance),
            Reach::None => false,
        };
        if column.level == 0
            && counts
            && self.key_type(column).is_some_and(|known| super::facts::comparable(known, key_type))
        {
            let to = self.facts.node(column.instance, &column.column);
            self.facts.flow(node, to);
        }
    }

    /// A function call: its arguments, and what it does beyond them.
    pub(super) fn function(&mut self, function: &Function) -> Result<(), PgError> {
        if function.uses_odbc_syntax || !matches!(function.parameters, FunctionArguments::None) {
            return Err(refuse::construct("this form of function call"));
        }
        self.call(&function.name, &function.args)?;
        self.exprs(function.filter.as_deref())?;
        self.order(&function.within_group)?;
        match &function.over {
            None | Some(WindowType::NamedWindow(_)) => Ok(()),
            Some(WindowType::WindowSpec(window)) => self.window(window),
        }
    }

    /// A call's name and arguments.
    pub(super) fn call(&mut self, name: &ObjectName, arguments: &FunctionArguments) -> Result<(), PgError> {
        let first = match arguments {
            FunctionArguments::None => None,
            FunctionArguments::Subquery(query) => {
                self.query(query)?;
                None
            }
            FunctionArguments::List(list) => {
                self.arguments(&list.args)?;
                for clause in &list.clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(order) => self.order(order)?,
                        FunctionArgumentClause::JsonNullClause(_)
                        | FunctionArgumentClause::JsonReturningClause(_)
                        | FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
                        _ => return Err(refuse::construct("this clause of a function call")),
                    }
                }
                list.args.first()
            }
        };
        self.called(name, first, arguments)
    }

    /// A list of arguments.
    pub(super) fn arguments(&mut self, arguments: &[FunctionArg]) -> Result<(), PgError> {
        for argument in arguments {
            let value = match argument {
                FunctionArg::Named { arg, .. } | FunctionArg::Unnamed(arg) => arg,
                FunctionArg::ExprNamed { name, arg, .. } => {
                    self.expr(name)?;
                    arg
                }
            };
            match value {
                FunctionArgExpr::Expr(expr) => self.expr(expr)?,
                FunctionArgExpr::QualifiedWildcard(_) | FunctionArgExpr::Wildcard => {}
                FunctionArgExpr::WildcardWithOptions(_) => return Err(refuse::construct("* with options")),
            }
        }
        Ok(())
    }

    fn called(
        &mut self,
        name: &ObjectName,
        first: Option<&FunctionArg>,
        arguments: &FunctionArguments,
    ) -> Result<(), PgError> {
        let Some(parts) = scope::parts(name) else { return Err(refuse::construct("a computed function name")) };
        let Some(bare) = parts.last().cloned() else { return Ok(()) };
        let system = parts.len() == 2 && parts.first().is_some_and(|schema| schema == "pg_catalog");
        if !system && let Some(known) = self.context.catalog.functions.get(&bare) {
            if known.immutable || self.context.vschema.local_functions.contains(&bare) {
                self.floating = false;
                self.writes |= !known.immutable;
                self.home_unless_placed |= !known.immutable;
                return Ok(());
            }
            return self.user_function(&bare);
        }
        match functions::class(&bare) {
            Class::Plain => {}
            Class::Moment => {
                self.floating = false;
                self.timed = true;
            }
            Class::Home => self.at_home(&bare),
            Class::SessionLock => {
                self.at_home(&bare);
                self.pin = self.pin.or(Some(Pin::AdvisoryLock));
            }
            Class::SessionState => {
                self.attached = true;
                self.floating = false;
                self.pin = Some(Pin::SessionState);
            }
            Class::SetConfig => {
                self.attached = true;
                self.floating = false;
                let local = match arguments {
                    FunctionArguments::List(list) => matches!(
                        list.args.get(2),
                        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))))
                            if value.value == Value::Boolean(true)
                    ),
                    _ => false,
                };
                if !local {
                    self.pin = Some(Pin::UntrackedSetting);
                }
            }
            Class::Sequence => self.sequence(&bare, name, first)?,
            Class::ReadsTables if self.context.vschema.local_functions.contains(&bare) => {
                self.home_unless_placed = true
            }
            Class::ReadsTables => self.reader = self.reader.take().or(Some(bare)),
            Class::Foreign => {
                self.floating = false;
                self.writes = true;
                self.home_unless_placed = true;
            }
        }
        Ok(())
    }

    /// A user's function that is not immutable may read any table.
    fn user_function(&mut self, name: &str) -> Result<(), PgError> {
        if self.context.vschema.local_functions.contains(name) {
            self.home_unless_placed = true;
        } else {
            self.reader = self.reader.take().or(Some(name.to_string()));
        }
        self.floating = false;
        self.writes = true;
        Ok(())
    }

    fn at_home(&mut self, name: &str) {
        self.floating = false;
        self.writes = true;
        self.need_home = self.need_home.take().or_else(|| Some(name.to_string()));
    }

    /// `nextval('name')`: the sequence must be on one shard.
    fn sequence(&mut self, function: &str, name: &ObjectName, first: Option<&FunctionArg>) -> Result<(), PgError> {
        self.floating = false;
        self.writes = true;
        if function == "currval" {
            self.pin = Some(Pin::SessionState);
        }
        // The normaliser keeps exactly these literals in the plan's key: an unquoted function name, and the literal right after
        // the parenthesis.
        let plain = name.0.last().is_some_and(|part| part.as_ident().is_some_and(|ident| ident.quote_style.is_none()));
        let literal = match first {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => match expr {
                Expr::Value(value) => Some(&value.value),
                Expr::Cast { expr, .. } if matches!(**expr, Expr::Value(_)) => match &**expr {
                    Expr::Value(value) => Some(&value.value),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        // `CAST('s' AS regclass)` does not put the literal right after the call's parenthesis.
        let direct = matches!(
            first,
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(
                Expr::Value(_) | Expr::Cast { kind: sqlparser::ast::CastKind::DoubleColon, .. }
            )))
        );
        let Some(Value::SingleQuotedString(text)) = literal.filter(|_| plain && direct) else {
            return Err(refuse::construct(&format!("{function} of a computed sequence name")));
        };
        let parts: Option<Vec<String>> = text
            .split('.')
            .map(|part| match part.strip_prefix('"') {
                Some(part) => part.strip_suffix('"').map(str::to_string),
                None => Some(part.trim().to_ascii_lowercase()),
            })
            .collect();
        let Some(parts) = parts.filter(|parts| parts.iter().all(|part| !part.is_empty() && !part.contains('"'))) else {
            return Err(refuse::construct(&format!("{function} of this sequence name")));
        };
        match scope::place(&self.context, &parts)? {
            scope::Place::Single { shard, .. } => self.fix(shard, &format!("sequence {text}")),
            scope::Place::Unknown | scope::Place::Temporary => {
                self.attached = true;
                Ok(())
            }
            _ => Err(refuse::sequence(text)),
        }
    }

    /// ORDER BY, here and in aggregates.
    pub(super) fn order(&mut self, order: &[OrderByExpr]) -> Result<(), PgError> {
        for item in order {
            if item.with_fill.is_some() {
                return Err(refuse::construct("WITH FILL"));
            }
            self.expr(&item.expr)?;
        }
        Ok(())
    }

    /// A window's definition.
    pub(super) fn window(&mut self, window: &WindowSpec) -> Result<(), PgError> {
        self.exprs(&window.partition_by)?;
        self.order(&window.order_by)?;
        let Some(frame) = &window.window_frame else { return Ok(()) };
        for bound in [Some(&frame.start_bound), frame.end_bound.as_ref()].into_iter().flatten() {
            if let WindowFrameBound::Preceding(Some(expr)) | WindowFrameBound::Following(Some(expr)) = bound {
                self.expr(expr)?;
            }
        }
        Ok(())
    }
}
