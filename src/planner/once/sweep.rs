//! The time in statements whose walk did not come to its end, because they are done in steps: it is looked for everywhere.

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{Expr, SelectItem, Statement, Visit, Visitor};

use super::sites::{Kind, Site};
use super::{Found, is_own_name, name_byte};
use crate::plan::Verdict;
use crate::planner::Planner;

impl Planner<'_> {
    /// A plan in steps, made although the walk did not come to its end: the time in it is looked for everywhere.
    pub(in crate::planner) fn complete(&mut self, statement: &Statement, verdict: &mut Verdict) {
        let Verdict::Route(route) = verdict else { return };
        if route.work.is_none() || route.once.is_some() || !self.found.has_times() {
            return;
        }
        let mut sweep = Sweep { found: &self.found, met: Vec::new(), named: 0 };
        // It never stops by itself.
        let _ = statement.visit(&mut sweep);
        let Sweep { met, mut named, .. } = sweep;
        let returning = match statement {
            Statement::Insert(insert) => insert.returning.as_deref(),
            Statement::Update(update) => update.returning.as_deref(),
            Statement::Delete(delete) => delete.returning.as_deref(),
            _ => None,
        };
        named += returning.unwrap_or_default().iter().filter(|item| self.found.is_named_time(item)).count();
        if met.is_empty() {
            return;
        }
        (self.found.met, self.found.named, self.found.timed) = (met, named, true);
        (self.found.supply, self.found.always) = (None, false);
        self.found.defaults.clear();
        self.found.resets.clear();
        self.take_template(statement);
        route.once = self.template.take().map(Arc::new);
    }
}

/// All calls that tell the time, wherever they stand.
struct Sweep<'f> {
    found: &'f Found,
    met: Vec<u32>,
    named: usize,
}

impl Visitor for Sweep<'_> {
    type Break = ();

    fn pre_visit_select(&mut self, select: &sqlparser::ast::Select) -> ControlFlow<()> {
        self.named += select.projection.iter().filter(|item| self.found.is_named_time(item)).count();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && let Some(byte) = name_byte(&function.name)
            && matches!(self.found.sites.get(&byte), Some(Site { kind: Kind::Time { .. }, .. }))
        {
            self.met.push(byte);
        }
        ControlFlow::Continue(())
    }
}

impl Found {
    fn has_times(&self) -> bool {
        self.sites.values().any(|site| matches!(site.kind, Kind::Time { .. }))
    }

    /// Whether a column takes its name from a call that tells the time.
    fn is_named_time(&self, item: &SelectItem) -> bool {
        let SelectItem::UnnamedExpr(expr) = item else { return false };
        let mut sweep = Sweep { found: self, met: Vec::new(), named: 0 };
        let _ = expr.visit(&mut sweep);
        !sweep.met.is_empty() && is_own_name(expr)
    }
}
