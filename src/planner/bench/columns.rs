//! Which columns of a use of a table the statement can mean.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Site;
use crate::catalog::{Column, Relation};
use crate::plan::work::bench::InputColumn;
use crate::planner::Planner;
use crate::sql::TokenKind;
use crate::sql::classify::name_of;

/// The statement's words, read once for all of its tables.
#[derive(Debug, Default)]
pub(super) struct Words<'t> {
    /// All that may be names.
    names: HashSet<Cow<'t, str>>,
    /// Those that may stand for a whole row: outside of the places where tables are named, and not in front of a point, unless `.*` follows.
    rows: HashSet<Cow<'t, str>>,
}

impl<'c> Planner<'c> {
    /// Reads the statement's words.
    pub(super) fn words(&self) -> Words<'c> {
        let mut words = Words::default();
        let mut naming = vec![false; self.tokens.len()];
        for site in &self.sites {
            naming.get_mut(site.whole.clone()).into_iter().for_each(|tokens| tokens.fill(true));
        }
        for at in self.body.clone() {
            let token = |at: usize| self.tokens.get(at).copied();
            let Some(name) = token(at).and_then(|token| name_of(self.text, token)) else { continue };
            if naming.get(at) == Some(&false) {
                let qualifies = token(at + 1).is_some_and(|next| next.kind == TokenKind::Dot);
                let star = token(at + 2)
                    .is_some_and(|next| next.kind == TokenKind::Operator && next.text(self.text).starts_with('*'));
                if !qualifies || star {
                    words.rows.insert(name.clone());
                }
            }
            words.names.insert(name);
        }
        words
    }

    /// The positions of the columns to fetch, at least one; `called` is what the statement calls them.
    pub(super) fn kept_columns(
        &self,
        site: &Site,
        relation: &Relation,
        called: &[String],
        words: &Words<'_>,
    ) -> Vec<usize> {
        let count = relation.columns.len();
        let named = self.instances.get(site.instance).map_or("", |instance| instance.name.as_str());
        if self.starred.contains(&site.instance) || words.rows.contains(named) {
            return (0..count).collect();
        }
        let mut kept: Vec<usize> = called
            .iter()
            .take(count)
            .enumerate()
            // Names behind the alias are given by position.
            .filter(|(at, name)| *at < site.listed || words.names.contains(name.as_str()))
            .map(|(at, _)| at)
            .collect();
        if kept.is_empty() && count > 0 {
            kept.push(0);
        }
        kept
    }
}

/// A column as the workbench has to make it.
pub(super) fn described(column: &Column) -> InputColumn {
    let type_name = Some(column.type_name.clone());
    InputColumn { name: column.name.clone(), type_name, collation: column.collation.clone() }
}
