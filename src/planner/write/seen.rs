//! What the parts of a statement with writes in WITH see: all of them the rows that were there before it, whatever the others do.
//!
//! Over several shards the parts are done in turn. So what one of them writes and another reads is fetched before all; and what cannot be had that
//! way is refused: rows that foreign keys or triggers change elsewhere, and rows that make way for others of the same table.

use std::collections::HashSet;

use sqlparser::ast::{Statement, Visit, With};

use super::staged::{Dissection, Named, Reads};
use super::steps::{main_of, target_name, written_and_used};
use crate::error::PgError;
use crate::planner::{refuse, scope, triggers};
use crate::sql::TokenKind;

impl Dissection<'_> {
    /// Tables that one part writes to and others read become sources before everything else: all parts see what was there before the statement.
    pub fn seen_before(&mut self, with: &With, statement: &Statement, main: Option<&Statement>) -> Result<(), PgError> {
        let rest = match (main, statement) {
            (Some(main), _) => reads_of(main),
            (None, Statement::Query(query)) => {
                let mut rest = Reads { names: HashSet::new() };
                let _ = query.order_by.visit(&mut rest);
                let _ = query.limit_clause.visit(&mut rest);
                let _ = query.body.visit(&mut rest);
                rest.names
            }
            _ => return Ok(()),
        };
        let mut parts: Vec<(Option<&Statement>, HashSet<String>)> = Vec::new();
        for cte in &with.cte_tables {
            let reads = match (main_of(&cte.query), &cte.query.with) {
                (Some(write), None) => reads_of(write),
                _ => {
                    let mut reads = Reads { names: HashSet::new() };
                    let _ = cte.query.visit(&mut reads);
                    reads.names
                }
            };
            parts.push((main_of(&cte.query), reads));
        }
        parts.push((main, rest));
        // PostgreSQL would carry the change on at the statement's end, unseen by the other parts.
        let own = |name: &String| with.cte_tables.iter().any(|cte| scope::fold(&cte.alias.name) == name.as_str());
        for (at, (write, _)) in parts.iter().enumerate().take(with.cte_tables.len()) {
            let Some((write, names)) = write.and_then(|write| Some((write, scope::parts(target_name(write)?)?))) else {
                continue;
            };
            let inserts = matches!(write, Statement::Insert(insert) if insert.on.is_none());
            let relation = scope::relation_of(&self.context, &names);
            let reads = |(other, (_, reads)): (usize, &(_, HashSet<String>))| other != at && !reads.iter().all(own);
            if relation.is_some_and(|relation| triggers::reach_further(relation, inserts))
                && parts.iter().enumerate().any(reads)
            {
                return Err(refuse::carried_on(&names.join(".")));
            }
        }
        // Whether a row is out of the way before another comes is a matter of who asks for which first.
        let adds = |write: &Statement| matches!(write, Statement::Insert(_));
        let bare =
            |write: &Statement| target_name(write).and_then(scope::parts).and_then(|names| names.last().cloned());
        let writes = || parts.iter().filter_map(|(write, _)| *write);
        for name in writes().filter(|write| !adds(write)).filter_map(bare) {
            if writes().any(|write| adds(write) && bare(write).as_ref() == Some(&name)) {
                return Err(written_and_used(&name));
            }
        }
        for (at, (write, _)) in parts.iter().enumerate().take(with.cte_tables.len()) {
            let Some(name) = write.and_then(target_name) else { continue };
            let Some(names) = scope::parts(name) else { continue };
            let bare = names.last().cloned().unwrap_or_default();
            let hidden = with.cte_tables.iter().any(|cte| scope::fold(&cte.alias.name) == bare.as_str());
            let known = self.named.iter().any(|named| named.name == bare);
            // A part that changes rows of the same table would see the rows as they are by now.
            let changes = |write: &Option<&Statement>| {
                let adds = |write: &&Statement| matches!(write, Statement::Insert(insert) if insert.on.is_none());
                let changed = write.filter(|write| !adds(write)).and_then(target_name);
                changed.and_then(scope::parts).is_some_and(|names| names.last() == Some(&bare))
            };
            let mut others = parts.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, part)| part);
            if hidden || known || others.clone().any(|(write, _)| changes(write)) {
                continue;
            }
            // The name alone is exchanged for the rows.
            if !others.any(|(_, reads)| reads.contains(&bare)) || self.is_named_by_schema(&bare) {
                continue;
            }
            let source = self.table(name, &names, None, true)?;
            self.named.push(Named { name: bare, source });
        }
        Ok(())
    }

    /// Whether a table's name stands somewhere behind a dot.
    fn is_named_by_schema(&self, bare: &str) -> bool {
        let tokens = self.tokens();
        self.body.clone().any(|at| {
            let named = tokens.get(at).and_then(|token| crate::sql::classify::name_of(self.text, token));
            at > 0 && tokens.kind(at - 1) == Some(TokenKind::Dot) && named.is_some_and(|named| named == bare)
        })
    }
}

/// The names of the tables that a write reads: that which an INSERT adds rows to is none of them, unless rows of it may be in the way.
pub fn reads_of(statement: &Statement) -> HashSet<String> {
    let mut reads = Reads { names: HashSet::new() };
    let _ = match statement {
        Statement::Insert(insert) if insert.on.is_none() => {
            let _ = insert.returning.visit(&mut reads);
            insert.source.visit(&mut reads)
        }
        statement => statement.visit(&mut reads),
    };
    reads.names
}
