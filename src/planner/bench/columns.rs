//! Which columns of a use of a table the statement can mean.

use std::collections::HashSet;

use super::Site;
use crate::catalog::{Column, Relation};
use crate::plan::work::bench::InputColumn;
use crate::planner::Planner;
use crate::sql::TokenKind;
use crate::sql::classify::name_of;

impl Planner<'_> {
    /// The positions of the columns to fetch, at least one; `called` is what the statement calls them.
    pub(super) fn kept_columns(&self, site: &Site, relation: &Relation, called: &[String]) -> Vec<usize> {
        let count = relation.columns.len();
        if self.starred.contains(&site.instance) || self.is_whole_row(site) {
            return (0..count).collect();
        }
        let body = self.tokens.get(self.body.clone()).unwrap_or(&[]);
        let names: HashSet<_> = body.iter().filter_map(|token| name_of(self.text, *token)).collect();
        let mut kept: Vec<usize> = called
            .iter()
            .take(count)
            .enumerate()
            // Names behind the alias are given by position.
            .filter(|(at, name)| *at < site.listed || names.contains(name.as_str()))
            .map(|(at, _)| at)
            .collect();
        if kept.is_empty() && count > 0 {
            kept.push(0);
        }
        kept
    }

    /// Whether the use's own name may stand for its row somewhere.
    fn is_whole_row(&self, site: &Site) -> bool {
        let Some(name) = self.instances.get(site.instance).map(|instance| instance.name.as_str()) else { return true };
        self.body.clone().any(|at| {
            let named =
                self.tokens.get(at).and_then(|token| name_of(self.text, *token)).is_some_and(|word| word == name);
            if !named || self.sites.iter().any(|site| site.whole.contains(&at)) {
                return false;
            }
            let kind = |at: usize| self.tokens.get(at).map(|token| token.kind);
            match kind(at + 1) {
                Some(TokenKind::Dot) => self
                    .tokens
                    .get(at + 2)
                    .is_some_and(|token| token.kind == TokenKind::Operator && token.text(self.text).starts_with('*')),
                _ => true,
            }
        })
    }
}

/// A column as the workbench has to make it.
pub(super) fn described(column: &Column) -> InputColumn {
    InputColumn { name: column.name.clone(), type_name: Some(column.type_name.clone()), collation: None }
}
