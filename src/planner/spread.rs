//! Writes over several shards: which can be done shard by shard, and what each shard is sent.
//!
//! * **INSERT of rows.** Each row has its shard, and a shard is sent the statement with its own rows only. A row's values may use anything that
//!   one row alone decides. With RETURNING the n-th row that comes back is of the n-th row of VALUES, as PostgreSQL does it, provided that each
//!   row gives exactly one: ON CONFLICT DO NOTHING, a WHERE behind DO UPDATE and triggers may swallow some; then the rows come as the shards
//!   send them, and each shard's in its order. Two things PostgreSQL judges by all rows together, and a split would hide them: a parameter that
//!   would get two types, and a function that returns a set, which only a single row may call.
//! * **INSERT of a query** that puts out the shard key where the target has its own, and is shard-local: every row stays on the shard where it
//!   comes into being.
//! * **UPDATE and DELETE.** Every row is changed where it is, by a condition and by values that its own shard can judge: the rows that are joined
//!   to it, and those of sub-queries, are on the same shard, or copies. All shards, or those of the keys, are sent the statement as it is.
//! * **What is refused.** A column's default that tells the time would be another moment on each shard, where PostgreSQL has one for all rows; most
//!   such defaults, and `now()` itself, are put into the text before it is sent ([`once`](super::once)), the others are refused. What has to be refused on one shard is refused on several.
//!
//! The transaction that makes all of it one write is the session's work.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{Expr, Insert, OnConflictAction, OnInsert, Parens, SetExpr, Value};

use super::local::{Proven, Rest};
use super::source::unwrap;
use super::{Planner, refuse};
use crate::catalog::{ColumnDefault, Relation};
use crate::error::PgError;
use crate::plan::gather::{Hidden, Merge, Piece, Text, Window};
use crate::plan::{Gather, Requirement};
use crate::sql::{Token, TokenKind};
use crate::types::{Oid, VindexId};
use crate::vschema::Table;

/// A write that may go to several shards.
#[derive(Debug)]
pub(super) enum Spread {
    /// An INSERT whose shards get a part of its rows.
    Rows(Gather),
    /// An UPDATE or DELETE, sent as it is: its part of the tree.
    Whole(usize),
    /// An INSERT of a query, sent as it is.
    Query {
        /// The query's part of the tree.
        part: usize,
        /// The target's vindex.
        vindex: VindexId,
        /// Where the query puts out the target's keys.
        keys: Vec<usize>,
    },
}

impl Planner<'_> {
    /// How an INSERT of several rows is split by them, if it is one; `targets` are the columns that its values are for.
    pub(super) fn split_rows(
        &self,
        insert: &Insert,
        table: &Table,
        relation: &Relation,
        targets: &[String],
    ) -> Option<Spread> {
        let source = insert.source.as_deref()?;
        let SetExpr::Values(values) = &*source.body else { return None };
        let count = values.rows.len();
        if count < 2 || source.with.is_some() {
            return None;
        }
        // A server that gets some of the rows would not see that others are longer.
        if values.rows.iter().any(|row| row.len() != values.rows[0].len()) {
            return None;
        }
        let rows = self.row_tokens(count)?;
        if self.returns_sets(&rows) || self.ambiguous_parameters(&values.rows, &rows, relation, targets) {
            return None;
        }
        let (first, last) = (rows.first()?.start, rows.last()?.end);
        let (from, to) = (u32::try_from(self.body.start).ok()?, u32::try_from(self.body.end).ok()?);
        let mut pieces = vec![Piece::Tokens(from..first), Piece::Rows(rows)];
        if last < to {
            pieces.push(Piece::Tokens(last..to));
        }
        let swallows = match &insert.on {
            None => false,
            Some(OnInsert::OnConflict(conflict)) => match &conflict.action {
                OnConflictAction::DoNothing => true,
                OnConflictAction::DoUpdate(update) => update.selection.is_some(),
            },
            Some(_) => true,
        };
        let ordered = insert.returning.is_some() && !swallows && !super::triggers::may_swallow(relation);
        Some(Spread::Rows(Gather {
            keyspace: table.keyspace,
            text: Some(Text { pieces }),
            hidden: Hidden::Last(0),
            merge: if ordered { Merge::Rows } else { Merge::Concat },
            window: Window::default(),
        }))
    }

    /// Whether a name in the rows may be that of a function that returns a set.
    fn returns_sets(&self, rows: &[Range<u32>]) -> bool {
        self.span(rows).is_none_or(|tokens| self.calls_set(tokens))
    }

    /// Whether a name anywhere may be that of a function that returns a set.
    pub(super) fn body_returns_sets(&self) -> bool {
        self.tokens.get(self.body.clone()).is_none_or(|tokens| self.calls_set(tokens))
    }

    fn calls_set(&self, tokens: &[Token]) -> bool {
        tokens.windows(2).any(|pair| {
            let [name, next] = pair else { return false };
            if next.kind != TokenKind::LeftParen {
                return false;
            }
            let text = name.text(self.text);
            match name.kind {
                TokenKind::Word => self.context.catalog.set_functions.contains(&text.to_ascii_lowercase()),
                TokenKind::QuotedName => self.context.catalog.set_functions.contains(text.trim_matches('"')),
                _ => false,
            }
        })
    }

    /// Whether a parameter stands in several rows, but not each time as a value of its own for columns of one type: then all rows together
    /// decide its type.
    fn ambiguous_parameters(
        &self,
        values: &[Parens<Vec<Expr>>],
        rows: &[Range<u32>],
        relation: &Relation,
        targets: &[String],
    ) -> bool {
        /// What is known of a parameter so far.
        struct Seen {
            row: usize,
            several: bool,
            uses: usize,
        }
        let mut seen: HashMap<&str, Seen> = HashMap::new();
        for (row, range) in rows.iter().enumerate() {
            let Some(tokens) = self.span(std::slice::from_ref(range)) else { return true };
            for token in tokens.iter().filter(|token| token.kind == TokenKind::Parameter) {
                let known = seen.entry(token.text(self.text)).or_insert(Seen { row, several: false, uses: 0 });
                known.several |= known.row != row;
                known.uses += 1;
            }
        }
        if !seen.values().any(|known| known.several) {
            return false;
        }
        let mut plain: HashMap<&str, (Oid, usize)> = HashMap::new();
        for row in values {
            for (value, target) in row.content.iter().zip(targets) {
                let Expr::Value(value) = unwrap(value) else { continue };
                let Value::Placeholder(name) = &value.value else { continue };
                let column = relation.column(target).and_then(|at| relation.columns.get(at));
                let Some(oid) = column.map(|column| column.type_oid) else { return true };
                let known = plain.entry(name).or_insert((oid, 0));
                if known.0 == oid {
                    known.1 += 1;
                }
            }
        }
        let sure = |(name, known): (&&str, &Seen)| {
            !known.several || plain.get(*name).is_some_and(|(_, count)| *count == known.uses)
        };
        !seen.iter().all(sure)
    }

    /// The tokens from the first of these ranges to the last.
    fn span(&self, ranges: &[Range<u32>]) -> Option<&[Token]> {
        self.tokens.get(ranges.first()?.start as usize..ranges.last()?.end as usize)
    }

    /// The tokens of each row of VALUES, from parenthesis to parenthesis: the one place in the statement where so many follow the word.
    fn row_tokens(&self, count: usize) -> Option<Vec<Range<u32>>> {
        let tokens = self.tokens.get(self.body.clone())?;
        let mut depth = 0usize;
        for (at, token) in tokens.iter().enumerate() {
            match token.kind {
                TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                TokenKind::RightParen | TokenKind::RightBracket => depth = depth.saturating_sub(1),
                TokenKind::Word if depth == 0 && token.is(self.text, "values") => {
                    if let Some(rows) = self.rows_from(at + 1).filter(|rows| rows.len() == count) {
                        return Some(rows);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// `(...), (...)` from a token of the body on, up to the statement's end or to what may follow VALUES.
    pub(super) fn rows_from(&self, first: usize) -> Option<Vec<Range<u32>>> {
        let tokens = self.tokens.get(self.body.clone())?;
        let (mut rows, mut at) = (Vec::new(), first);
        loop {
            let start = at;
            if tokens.get(at)?.kind != TokenKind::LeftParen {
                return None;
            }
            let mut depth = 0usize;
            loop {
                match tokens.get(at)?.kind {
                    TokenKind::LeftParen => depth += 1,
                    TokenKind::RightParen => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    break;
                }
            }
            let place = |at: usize| u32::try_from(self.body.start + at).ok();
            rows.push(place(start)?..place(at)?);
            match tokens.get(at) {
                Some(token) if token.kind == TokenKind::Comma => at += 1,
                None => return Some(rows),
                Some(token) if token.is(self.text, "on") || token.is(self.text, "returning") => return Some(rows),
                Some(_) => return None,
            }
        }
    }

    /// Takes note of a column that a write leaves to its default.
    pub(super) fn note_default(&mut self, relation: &Relation, column: &str) {
        if let Some(name) = self.default_reader(relation, column) {
            // Its value would be made of one shard's rows.
            let _ = self.user_function(&name);
        }
        let default = relation.column(column).and_then(|at| relation.columns.get(at)).map(|column| column.default);
        if default == Some(ColumnDefault::Moment) && self.moment.is_none() && !self.is_supplied(column) {
            self.moment = Some(format!("the default of column \"{column}\""));
        }
    }

    /// How a write goes to several shards, or why it needs one; `None` if it is sure to need one only.
    pub(super) fn spread_write(
        &mut self,
        write: Spread,
        found: &[Option<Result<Requirement, PgError>>],
    ) -> Option<Proven> {
        let proven = match write {
            Spread::Rows(gather) => self.stays_apart().map(|()| (Arc::new(gather), None)),
            Spread::Whole(part) => self.spread_read(None, Some(part), found)?,
            Spread::Query { .. } if !self.uses.iter().any(|used| !used.reference && !used.insert) => {
                Err(refuse::carried())
            }
            Spread::Query { part, vindex, keys } => self.proof(Some(part), found)?.and_then(|proof| {
                if proof.rest != Rest::default() || !proof.leads(vindex, &keys) {
                    return Err(refuse::carried());
                }
                let (keyspace, window) = (proof.keyspace, Window::default());
                let gather = Gather { keyspace, text: None, hidden: Hidden::Last(0), merge: Merge::Concat, window };
                Ok((Arc::new(gather), Some(proof.best())))
            }),
        };
        if let Some(clock) = &self.clock {
            return Some(Err(super::triggers::clocked(clock)));
        }
        if (!self.timed || self.template.is_some()) && self.moment.is_none() {
            return Some(proven);
        }
        let what = self.moment.as_deref().unwrap_or("now()");
        Some(Err(PgError::unsupported(format!("{what} in a write over several shards"))
            .with_detail("Each shard would take the time from its own clock, and the rows would differ.")
            .with_hint("Give the time as a parameter or a literal, or send one statement for each shard key.")))
    }

    /// Whether each shard can make its rows of what it has.
    fn stays_apart(&self) -> Result<(), PgError> {
        let mut sharded = self.uses.iter().filter(|used| !used.reference);
        if let (Some(_), Some(other)) = (sharded.next(), sharded.next()) {
            return Err(PgError::unsupported("INSERT over several shards that reads sharded tables")
                .with_detail(format!("Table \"{}\" may have rows for it on other shards.", other.table.name))
                .with_hint("Send one statement for each shard key."));
        }
        if let Some((shard, what)) = &self.fixed {
            return Err(refuse::spoiled(&format!("{what} on shard {}", self.context.vschema.shard_name(*shard))));
        }
        match &self.spoiled {
            Some(what) => Err(refuse::spoiled(what)),
            None if self.attached || self.need_home.is_some() || self.pin.is_some() => {
                Err(refuse::spoiled("state of one connection"))
            }
            None => Ok(()),
        }
    }
}

impl Planner<'_> {
    /// The function, if there is one, by which a column's default may read tables.
    fn default_reader(&self, relation: &Relation, column: &str) -> Option<String> {
        let expression = relation.columns.get(relation.column(column)?)?.supply.expression.as_deref()?;
        let functions = &self.context.catalog.functions;
        let reads = |name: &&str| functions.get(*name).is_some_and(|function| !function.closed);
        called_in(expression).find(reads).map(str::to_owned)
    }
}

/// What stands before the parentheses of an expression as PostgreSQL prints it.
fn called_in(expression: &str) -> impl Iterator<Item = &str> {
    expression.match_indices('(').filter_map(|(at, _)| {
        let before = expression.get(..at)?;
        if let Some(quoted) = before.strip_suffix('"') {
            return quoted.rsplit_once('"').map(|(_, name)| name);
        }
        let name = before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).next()?;
        (!name.is_empty()).then_some(name)
    })
}
