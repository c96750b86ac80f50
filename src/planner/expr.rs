//! Expressions: a walk that meets every part once and refuses what it does not know.

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CeilFloorKind, DataType, DateTimeField, Expr, Ident, Interval, OrderByExpr, SetExpr,
    Subscript, Value, WindowFrameBound, WindowSpec,
};

use super::scope;
use super::{Planner, refuse};
use crate::error::PgError;

/// Columns that every table has, and that each server numbers by itself.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "xmax", "cmin", "cmax", "ctid"];

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
                    if matches!(op, BinaryOperator::Eq) {
                        self.note_sought(left, right);
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
            Expr::TypedString(typed) => {
                self.names_object(&typed.data_type);
                Ok(())
            }
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
                self.inner_query(subquery, None).map(drop)
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
            Expr::Cast { expr, data_type, .. } => {
                self.names_object(data_type);
                self.expr(expr)
            }
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
            Expr::Exists { subquery, .. } => {
                // `EXISTS (SELECT * ...)` asks for no column.
                if let SetExpr::Select(select) = &*subquery.body
                    && select.distinct.is_none()
                {
                    self.unread = Some(select.projection.as_ptr());
                }
                self.inner_query(subquery, None).map(drop)
            }
            Expr::Subquery(subquery) => self.inner_query(subquery, None).map(drop),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => self.exprs(sets.iter().flatten()),
            Expr::Tuple(list) => self.exprs(list),
            Expr::Array(array) => self.exprs(&array.elem),
            Expr::Interval(Interval { value, .. }) => self.expr(value),
            // Everything else is no PostgreSQL, or too rare to be sure of.
            _ => Err(refuse::construct("this kind of expression").with_detail(format!("The expression is {expr}."))),
        }
    }

    /// `'settings'::regclass` looks an object up: on the shard whose catalog counts.
    fn names_object(&mut self, data_type: &DataType) {
        let name = match data_type {
            DataType::Regclass => true,
            DataType::Custom(name, _) => {
                scope::parts(name).and_then(|parts| parts.last().map(|last| last.starts_with("reg"))).unwrap_or(false)
            }
            _ => false,
        };
        self.home_unless_placed |= name;
        if name {
            self.spoil("a name of an object, which has another OID on every shard,");
        }
    }

    /// `t.f` may be the call `f(t)`.
    fn name(&mut self, idents: &[Ident]) -> Result<(), PgError> {
        let Some(last) = idents.last() else { return Ok(()) };
        let name = scope::fold(last);
        if self.tree.is_nested() {
            match self.column(idents) {
                Some(found) if found.level == 0 => self.tree.names.0 += 1,
                _ => self.tree.names.1 += 1,
            }
        }
        if SYSTEM_COLUMNS.contains(&name.as_ref()) {
            let what = format!("the system column \"{name}\"");
            self.spoil(&what);
            self.unfit.get_or_insert(what);
        }
        if idents.len() > 1
            && self.context.catalog.functions.get(name.as_ref()).is_some_and(|function| !function.immutable)
            && self.column(idents).is_none()
        {
            let name = name.into_owned();
            return self.user_function(&name);
        }
        Ok(())
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
