//! Parts of a statement that are run first, and what stands in their places then.
//!
//! * A sub-query that names nothing around it is run once, as PostgreSQL would run it: whatever it is about (a LIMIT, `random()`, another
//!   keyspace), all shards then use the same rows.
//! * Of one that does name something around it, the tables are run first (`SELECT a, b FROM t`), and stand in it as rows that every shard has.
//! * So do the tables beside the one that is written to, in FROM and USING.
//!
//! The tree says what a part is, the tokens where it begins and ends: a part is found by its parentheses, and taken only if what stands in them
//! is the very same tree.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};

use sqlparser::ast::{Ident, ObjectName, Query, Statement, TableFactor, ValueWithSpan, Visit, Visitor};

use super::names::{Around, columns_of, is_correlated};
use crate::catalog::RelationKind;
use crate::error::PgError;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::write::Source;
use crate::planner::bench::{Edit, quote};
use crate::planner::gather::clauses::Tokens;
use crate::planner::scope::{self, Place};
use crate::planner::{Context, refuse};
use crate::sql::classify::name_of;
use crate::sql::parse::{self, byte_of};
use crate::sql::{Token, TokenKind};
use crate::types::{KeyspaceId, ShardId};

/// A query in WITH that has become a source.
#[derive(Debug, Clone)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The source's number.
    pub source: u16,
}

/// A statement that is taken apart.
pub struct Dissection<'c> {
    pub context: Context<'c>,
    pub text: &'c str,
    /// Of the whole text.
    pub all: &'c [Token],
    /// Those of the statement.
    pub body: Range<usize>,
    /// What has been found so far.
    pub sources: Vec<Source>,
    pub named: Vec<Named>,
}

/// What stays in its place.
#[derive(Debug, Clone, Default)]
pub struct Stays {
    /// The token at which the name of the table begins that is written to.
    pub target: Option<usize>,
    /// Copies of this keyspace's reference tables are everywhere where the statement goes.
    pub keyspace: Option<KeyspaceId>,
    /// The tables of this shard are there.
    pub shard: Option<ShardId>,
}

impl<'c> Dissection<'c> {
    pub fn tokens(&self) -> Tokens<'c> {
        Tokens { text: self.text, all: self.all }
    }

    /// Takes a source; its number.
    pub fn add(&mut self, source: Source) -> Result<u16, PgError> {
        let number = u16::try_from(self.sources.len()).map_err(|_| refuse::construct("so many parts"))?;
        self.sources.push(source);
        Ok(number)
    }

    /// The tokens with the edits in them.
    pub fn text_of(&self, range: Range<usize>, mut edits: Vec<Edit>) -> Result<Text, PgError> {
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let place = |at: usize| u32::try_from(at).map_err(|_| refuse::construct("so long a statement"));
        let mut pieces = Vec::new();
        let mut at = range.start;
        for (edit, instead) in edits {
            if edit.start < at || edit.end > range.end {
                return Err(refuse::construct("this order of clauses"));
            }
            if edit.start > at {
                pieces.push(Piece::Tokens(place(at)?..place(edit.start)?));
            }
            pieces.extend(instead);
            at = edit.end;
        }
        if at < range.end {
            pieces.push(Piece::Tokens(place(at)?..place(range.end)?));
        }
        Ok(Text { pieces })
    }

    /// Edits that put sources in the places of the queries in WITH that this part names.
    pub fn named_only<V: Visit>(&mut self, part: &V) -> Result<Vec<Edit>, PgError> {
        self.edits(part, &Around::default(), &Stays::default(), true)
    }

    /// The same of a part that writes to the table whose name begins at this token, which stays.
    pub fn named_beside<V: Visit>(&mut self, part: &V, target: Option<usize>) -> Result<Vec<Edit>, PgError> {
        self.edits(part, &Around::default(), &Stays { target, ..Stays::default() }, true)
    }

    /// Edits that put sources in the places of all that other shards have.
    pub fn staged<V: Visit>(&mut self, part: &V, around: &Around, stays: &Stays) -> Result<Vec<Edit>, PgError> {
        self.edits(part, around, stays, false)
    }

    fn edits<V: Visit>(&mut self, part: &V, around: &Around, stays: &Stays, named: bool) -> Result<Vec<Edit>, PgError> {
        let mut finder =
            Finder { parts: self, around, stays, named, edits: Vec::new(), skip: 0, shadows: Vec::new(), error: None };
        let _ = part.visit(&mut finder);
        match finder.error {
            Some(error) => Err(error),
            None => Ok(finder.edits),
        }
    }

    /// The tokens of a query that stands in parentheses, without them.
    pub fn query_span(&self, query: &Query) -> Option<Range<usize>> {
        let mut anchor = Anchor { first: None };
        let _ = query.visit(&mut anchor);
        let tokens = self.tokens();
        let inside = tokens.at_byte(anchor.first?)?;
        let mut open = Vec::new();
        for at in self.body.start..=inside {
            match tokens.kind(at)? {
                TokenKind::LeftParen => open.push(at),
                TokenKind::RightParen => drop(open.pop()),
                _ => {}
            }
        }
        while let Some(at) = open.pop() {
            let first = tokens.kind(at + 1)? == TokenKind::LeftParen;
            if !first && !tokens.any(at + 1, &["select", "with", "values", "table", "insert", "update", "delete"]) {
                continue;
            }
            let span = at + 1..tokens.closing(at)?.checked_sub(1)?;
            if self.is_the_query(span.clone(), query) {
                return Some(span);
            }
        }
        None
    }

    fn is_the_query(&self, span: Range<usize>, query: &Query) -> bool {
        let Some(tokens) = self.all.get(span) else { return false };
        match parse::parse(self.text, tokens) {
            Ok(Statement::Query(found)) => *found == *query,
            // A write in WITH.
            Ok(statement) => match &*query.body {
                sqlparser::ast::SetExpr::Insert(own)
                | sqlparser::ast::SetExpr::Update(own)
                | sqlparser::ast::SetExpr::Delete(own)
                | sqlparser::ast::SetExpr::Merge(own) => query.with.is_none() && statement == *own,
                _ => false,
            },
            Err(_) => false,
        }
    }

    /// The tokens of a table's name.
    pub fn name_span(&self, name: &ObjectName) -> Option<Range<usize>> {
        let tokens = self.tokens();
        let start = tokens.at_byte(byte_of(name.0.first()?.as_ident()?.span)?)?;
        for (at, part) in name.0.iter().enumerate() {
            let token = tokens.get(start + 2 * at)?;
            let called = name_of(self.text, token)?;
            if called != scope::fold(part.as_ident()?).as_ref() && called.len() < 64 {
                return None;
            }
            if at > 0 && tokens.kind(start + 2 * at - 1)? != TokenKind::Dot {
                return None;
            }
        }
        Some(start..start + 2 * name.0.len() - 1)
    }

    /// A table as a source: all of its rows, and those of its columns that the statement can mean.
    pub fn table(
        &mut self,
        name: &ObjectName,
        parts: &[String],
        alias: Option<&str>,
        listed: bool,
    ) -> Result<u16, PgError> {
        let span = self.name_span(name).ok_or_else(|| refuse::construct("this table reference"))?;
        let all = columns_of(&self.context, parts);
        let bare = parts.last().cloned().unwrap_or_default();
        let kept = if listed || self.means_all(alias.unwrap_or(&bare)) {
            all
        } else {
            let body = self.all.get(self.body.clone()).unwrap_or(&[]);
            let words: HashSet<_> = body.iter().filter_map(|token| name_of(self.text, *token)).collect();
            let kept: Vec<String> = all.iter().filter(|name| words.contains(name.as_str())).cloned().collect();
            if kept.is_empty() { all.into_iter().take(1).collect() } else { kept }
        };
        let list: Vec<String> = kept.iter().map(|name| quote(name)).collect();
        let list = if list.is_empty() { "*".to_string() } else { list.join(", ") };
        let mut from = span.clone();
        if self.tokens().is(from.start.wrapping_sub(1), "only") {
            from.start -= 1;
        }
        let mut text = self.text_of(from, Vec::new())?;
        text.pieces.insert(0, Piece::Words(format!("SELECT {list} FROM")));
        self.add(Source { label: bare, text, names: Vec::new() })
    }

    /// Whether a star, or the table's own name, may mean all of its columns.
    fn means_all(&self, called: &str) -> bool {
        let tokens = self.tokens();
        let mut named = 0;
        for at in self.body.clone() {
            let Some(token) = tokens.get(at) else { return true };
            if (token.kind == TokenKind::Operator && tokens.word(at).starts_with('*')) || tokens.is(at, "natural") {
                return true;
            }
            let own = name_of(self.text, token).is_some_and(|word| word == called);
            named += usize::from(own && tokens.kind(at + 1) != Some(TokenKind::Dot));
        }
        // Once it is given the name; again, and it may be a value.
        named > 1
    }

    /// Whether a name is that of a view.
    fn is_view(&self, name: &[String]) -> bool {
        let bare = name.last().map(String::as_str).unwrap_or_default();
        let schemas: Vec<&str> = match name {
            [.., schema, _] => vec![schema.as_str()],
            _ => self.context.search_path.iter().map(String::as_str).collect(),
        };
        schemas.iter().any(|schema| {
            let found = self.context.catalog.relations.get(&((*schema).to_string(), bare.to_string()));
            found.is_some_and(|found| matches!(found.kind, RelationKind::View | RelationKind::MaterializedView))
        })
    }
}

/// The first byte of a part.
struct Anchor {
    first: Option<usize>,
}

impl Anchor {
    fn note(&mut self, byte: Option<usize>) {
        self.first = match (self.first, byte) {
            (Some(known), Some(byte)) => Some(known.min(byte)),
            (known, byte) => known.or(byte),
        };
    }
}

impl Visitor for Anchor {
    type Break = ();

    fn pre_visit_ident(&mut self, ident: &Ident) -> ControlFlow<()> {
        self.note(byte_of(ident.span));
        ControlFlow::Continue(())
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        self.note(byte_of(value.span));
        ControlFlow::Continue(())
    }
}

/// Looks for what has to be run first.
struct Finder<'f, 'c> {
    parts: &'f mut Dissection<'c>,
    around: &'f Around,
    stays: &'f Stays,
    /// Only names of queries in WITH.
    named: bool,
    edits: Vec<Edit>,
    /// Queries around that are sources as a whole.
    skip: usize,
    /// Names that inner WITH lists give.
    shadows: Vec<Vec<String>>,
    error: Option<PgError>,
}

impl Visitor for Finder<'_, '_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.skip > 0 {
            self.skip += 1;
            return ControlFlow::Continue(());
        }
        let names = query.with.iter().flat_map(|with| &with.cte_tables);
        self.shadows.push(names.map(|cte| scope::fold(&cte.alias.name).into_owned()).collect());
        if self.named || is_correlated(&self.parts.context, query, self.around) || self.names_shadow(query) {
            return ControlFlow::Continue(());
        }
        match self.stage(query) {
            Ok(edit) => {
                self.edits.push(edit);
                self.skip = 1;
                ControlFlow::Continue(())
            }
            Err(error) => self.stop(error),
        }
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        if self.skip > 1 {
            self.skip -= 1;
            return ControlFlow::Continue(());
        }
        self.skip = 0;
        self.shadows.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if self.skip > 0 {
            return ControlFlow::Continue(());
        }
        let TableFactor::Table { name, alias, args: None, sample, .. } = factor else {
            return ControlFlow::Continue(());
        };
        let Some(parts) = scope::parts(name) else { return ControlFlow::Continue(()) };
        let shadowed = parts.len() == 1 && self.shadows.iter().flatten().any(|shadow| *shadow == parts[0]);
        let Some(span) = self.parts.name_span(name) else {
            return self.stop(refuse::construct("this table reference"));
        };
        if shadowed || self.stays.target == Some(span.start) {
            return ControlFlow::Continue(());
        }
        let own = alias.is_none().then(|| parts.last().cloned().unwrap_or_default());
        let known = self.parts.named.iter().rev().find(|named| parts.len() == 1 && named.name == parts[0]);
        let input = match known.map(|named| named.source) {
            Some(source) => source,
            None if self.named => return ControlFlow::Continue(()),
            None => match self.source(name, &parts, alias.as_ref(), sample.is_some()) {
                Ok(Some(source)) => source,
                Ok(None) => return ControlFlow::Continue(()),
                Err(error) => return self.stop(error),
            },
        };
        let mut range = span;
        if self.parts.tokens().is(range.start.wrapping_sub(1), "only") {
            range.start -= 1;
        }
        self.edits.push((range, vec![Piece::Input { input, alias: own }]));
        ControlFlow::Continue(())
    }
}

impl Finder<'_, '_> {
    fn stop(&mut self, error: PgError) -> ControlFlow<()> {
        self.error.get_or_insert(error);
        ControlFlow::Break(())
    }

    /// Whether a query reads one of an inner WITH list, which cannot be run apart from it.
    fn names_shadow(&self, query: &Query) -> bool {
        let outer = self.shadows.len().saturating_sub(1);
        let names: Vec<&String> = self.shadows.iter().take(outer).flatten().collect();
        if names.is_empty() {
            return false;
        }
        let mut reads = Reads { names: HashSet::new() };
        let _ = query.visit(&mut reads);
        names.iter().any(|name| reads.names.contains(name.as_str()))
    }

    /// A query as a source, and what stands in its place.
    fn stage(&mut self, query: &Query) -> Result<Edit, PgError> {
        let span = self.parts.query_span(query).ok_or_else(|| refuse::construct("this sub-query"))?;
        let inner = self.parts.named_only(query)?;
        let text = self.parts.text_of(span.clone(), inner)?;
        let source = Source { label: "sub-query".into(), text, names: Vec::new() };
        let input = self.parts.add(source)?;
        Ok((span, vec![Piece::Words("SELECT * FROM".into()), Piece::Input { input, alias: Some("goldseam".into()) }]))
    }

    /// A table as a source; none if it may stay.
    fn source(
        &mut self,
        name: &ObjectName,
        parts: &[String],
        alias: Option<&sqlparser::ast::TableAlias>,
        sampled: bool,
    ) -> Result<Option<u16>, PgError> {
        let context = &self.parts.context;
        let stays = match scope::place(context, parts) {
            Ok(Place::Sharded { .. }) => false,
            Ok(Place::Reference { table, .. }) => {
                let copies = |shard: ShardId| context.vschema.keyspace(table.keyspace).shards.contains(&shard);
                self.stays.keyspace == Some(table.keyspace) || self.stays.shard.is_some_and(copies)
            }
            Ok(Place::Single { shard, .. }) => self.stays.shard == Some(shard),
            Ok(Place::System | Place::Temporary | Place::Unknown) => true,
            Err(_) if self.parts.is_view(parts) => false,
            Err(error) => return Err(error),
        };
        if stays {
            return Ok(None);
        }
        if sampled {
            return Err(refuse::construct("TABLESAMPLE in a write over several shards"));
        }
        let called = alias.map(|alias| scope::fold(&alias.name).into_owned());
        let listed = alias.is_some_and(|alias| !alias.columns.is_empty());
        self.parts.table(name, parts, called.as_deref(), listed).map(Some)
    }
}

/// The names of all tables that a part reads.
pub struct Reads {
    pub names: HashSet<String>,
}

impl Visitor for Reads {
    type Break = ();

    fn pre_visit_relation(&mut self, name: &ObjectName) -> ControlFlow<()> {
        self.names.extend(scope::parts(name).and_then(|parts| parts.last().cloned()));
        ControlFlow::Continue(())
    }
}
