//! Whether a part of a statement stands for itself: whether it names anything around it.
//!
//! PostgreSQL looks a name up from the innermost block outwards. So what can be run alone means the same inside the statement; what is taken for
//! such by mistake is an error of PostgreSQL's ("missing FROM-clause entry"), never another answer.

use std::collections::HashSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, SelectItem, TableFactor, Visit, Visitor};

use crate::planner::Context;
use crate::planner::scope::{self, Place};

/// The tables around a part.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// The names of their columns.
    pub columns: HashSet<String>,
}

impl Around {
    /// Adds a table's columns.
    pub fn add(&mut self, context: &Context<'_>, name: &[String]) {
        self.columns.extend(columns_of(context, name));
    }
}

/// The columns of a table, as far as they are known.
pub fn columns_of(context: &Context<'_>, name: &[String]) -> Vec<String> {
    let relation = match scope::place(context, name) {
        Ok(Place::Sharded { relation, .. } | Place::Reference { relation, .. }) => Some(relation),
        Ok(Place::Single { relation, .. }) => relation,
        _ => None,
    };
    relation.map_or(Vec::new(), |relation| relation.columns.iter().map(|column| column.name.clone()).collect())
}

/// Whether a query names something that is around it.
pub fn is_correlated(context: &Context<'_>, query: &Query, around: &Around) -> bool {
    let mut names = Names { context, qualifiers: HashSet::new(), columns: HashSet::new(), used: Vec::new() };
    let _ = query.visit(&mut names);
    names.used.iter().any(|(qualifier, name)| match qualifier {
        Some(qualifier) => !names.qualifiers.contains(qualifier),
        None => !names.columns.contains(name) && around.columns.contains(name),
    })
}

struct Names<'n> {
    context: &'n Context<'n>,
    /// What tables are called inside.
    qualifiers: HashSet<String>,
    /// What columns are called inside.
    columns: HashSet<String>,
    /// Each name of a column, with its table's.
    used: Vec<(Option<String>, String)>,
}

impl Visitor for Names<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.qualifiers.insert(scope::fold(&cte.alias.name).into_owned());
            self.columns.extend(cte.alias.columns.iter().map(|column| scope::fold(&column.name).into_owned()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &sqlparser::ast::Select) -> ControlFlow<()> {
        for item in &select.projection {
            if let SelectItem::ExprWithAlias { alias, .. } = item {
                self.columns.insert(scope::fold(alias).into_owned());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let alias = match factor {
            TableFactor::Table { name, alias, args, .. } => {
                if let Some(parts) = scope::parts(name) {
                    if args.is_none() {
                        self.columns.extend(columns_of(self.context, &parts));
                    }
                    if alias.is_none() {
                        self.qualifiers.extend(parts.last().cloned());
                        self.columns.extend(parts.last().cloned());
                    }
                }
                alias
            }
            TableFactor::Derived { alias, .. }
            | TableFactor::Function { alias, .. }
            | TableFactor::UNNEST { alias, .. }
            | TableFactor::NestedJoin { alias, .. } => alias,
            _ => return ControlFlow::Continue(()),
        };
        if let Some(alias) = alias {
            let name = scope::fold(&alias.name).into_owned();
            self.columns.insert(name.clone());
            self.qualifiers.insert(name);
            self.columns.extend(alias.columns.iter().map(|column| scope::fold(&column.name).into_owned()));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) => self.used.push((None, scope::fold(ident).into_owned())),
            Expr::CompoundIdentifier(idents) if idents.len() > 1 => {
                let qualifier = scope::fold(&idents[idents.len() - 2]).into_owned();
                let name = scope::fold(&idents[idents.len() - 1]).into_owned();
                self.used.push((Some(qualifier), name));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
