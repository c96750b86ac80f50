//! The top-level block as the builders see it: its select list, GROUP BY and ORDER BY, each term with its tokens and what it stands for.

use sqlparser::ast::{
    Expr, GroupByExpr, Ident, OrderBy, OrderByExpr, OrderByKind, OrderBySort, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, UnaryOperator, Value,
};

use super::clauses::{Clauses, Span, Tokens};
use super::survey::{Survey, unquote};
use super::{names, uncertain};
use crate::error::PgError;
use crate::plan::gather::Piece;
use crate::planner::source::unwrap;
use crate::planner::{Planner, scope};
use crate::sql::TokenKind;

/// A column of the answer.
#[derive(Debug)]
pub struct Item<'q> {
    /// What it is.
    pub what: What<'q>,
    /// What it is called; none if that is not certain.
    pub name: Option<String>,
    /// Its tokens, without the name it is given.
    pub span: Span,
}

/// What a term of the select list is.
#[derive(Debug)]
pub enum What<'q> {
    /// An expression.
    Expr(&'q Expr, Survey),
    /// A column of `*` or `t.*`: the use of a table, and what it is called there.
    Star(usize),
}

/// What stands for all columns of some table.
#[derive(Debug, Clone)]
pub struct Stars {
    /// The select list has `*` or `t.*`.
    pub any: bool,
    /// They were all taken apart: the items are the columns of the answer, one by one.
    pub known: bool,
    /// The names of all their columns are known.
    pub named: bool,
    /// It has `*`: all columns of all tables.
    pub all: bool,
}

/// A term of ORDER BY.
#[derive(Debug)]
pub struct Term<'q> {
    /// The expression.
    pub expr: &'q Expr,
    /// Its tokens, without ASC and the like.
    pub span: Span,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
    /// What it stands for.
    pub target: Target,
}

/// What a term of ORDER BY or GROUP BY stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The n-th item.
    Item(usize),
    /// Itself.
    Own,
}

/// The block.
#[derive(Debug)]
pub struct Block<'q> {
    pub select: &'q Select,
    pub clauses: Clauses,
    pub items: Vec<Item<'q>>,
    pub stars: Stars,
    pub order: Vec<Term<'q>>,
    /// What begins each hidden column's name: no name of the statement begins so.
    pub prefix: String,
}

impl Planner<'_> {
    /// Reads the block. Its scope is on the stack.
    pub(super) fn block_of<'q>(
        &mut self,
        query: &'q Query,
        select: &'q Select,
        clauses: Clauses,
    ) -> Result<Block<'q>, PgError> {
        let (items, stars) = self.select_items(select, &clauses)?;
        let prefix = self.prefix();
        let mut block = Block { select, clauses, items, stars, order: Vec::new(), prefix };
        block.order = self.order_terms(query, &block)?;
        Ok(block)
    }

    fn select_items<'q>(&mut self, select: &'q Select, clauses: &Clauses) -> Result<(Vec<Item<'q>>, Stars), PgError> {
        let tokens = self.places();
        let spans = tokens.terms(&clauses.list);
        if spans.len() != select.projection.len() {
            return Err(uncertain("the select list"));
        }
        let mut stars = Stars { any: false, known: true, named: true, all: false };
        let mut items = Vec::new();
        for (item, span) in select.projection.iter().zip(spans) {
            match item {
                SelectItem::UnnamedExpr(expr) => {
                    let survey = self.survey(expr).ok_or_else(|| uncertain("the select list"))?;
                    items.push(Item { what: What::Expr(expr, survey), name: names::column_name(expr), span });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    let survey = self.survey(expr).ok_or_else(|| uncertain("the select list"))?;
                    let span = without_alias(&tokens, span, alias).ok_or_else(|| uncertain("the select list"))?;
                    let name = Some(scope::fold(alias).into_owned());
                    items.push(Item { what: What::Expr(expr, survey), name, span });
                }
                SelectItem::Wildcard(_) => {
                    stars.any = true;
                    stars.all = true;
                    let scope = self.scopes.last().cloned().unwrap_or_default();
                    stars.known &= scope.merged.is_empty() && !scope.opaque;
                    stars.named &= !scope.opaque;
                    for at in scope.instances {
                        self.star_items(at, &span, &mut items, &mut stars);
                    }
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    stars.any = true;
                    let name = scope::parts(name).and_then(|parts| parts.last().cloned());
                    let hit = self.scopes.last().and_then(|scope| {
                        let named = |at: &&usize| self.instances.get(**at).map(|one| &one.name) == name.as_ref();
                        scope.instances.iter().find(named).copied()
                    });
                    match hit {
                        Some(at) => self.star_items(at, &span, &mut items, &mut stars),
                        None => (stars.known, stars.named) = (false, false),
                    }
                }
                _ => {
                    stars.any = true;
                    (stars.known, stars.named) = (false, false);
                }
            }
        }
        Ok((items, stars))
    }

    fn star_items<'q>(&self, at: usize, span: &Span, items: &mut Vec<Item<'q>>, stars: &mut Stars) {
        let Some(instance) = self.instances.get(at) else { return };
        stars.known &= instance.complete && !instance.name.is_empty();
        stars.named &= instance.complete;
        for column in &instance.columns {
            items.push(Item { what: What::Star(at), name: Some(column.name.clone()), span: span.clone() });
        }
    }

    /// The item as SQL.
    pub(super) fn item_pieces(&self, item: &Item<'_>) -> Piece {
        match &item.what {
            What::Expr(..) => tokens_piece(&item.span),
            What::Star(at) => {
                let table = self.instances.get(*at).map_or("", |instance| instance.name.as_str());
                Piece::Words(format!("{}.{}", quoted(table), quoted(item.name.as_deref().unwrap_or(""))))
            }
        }
    }

    /// A beginning that no name of the statement has.
    pub(super) fn prefix(&self) -> String {
        let tokens = self.places();
        let mut prefix = "goldseam_".to_string();
        let taken = |prefix: &str| {
            let in_text = tokens.all.iter().any(|token| match token.kind {
                TokenKind::Word => token.text(self.text).to_ascii_lowercase().starts_with(prefix),
                TokenKind::QuotedName => unquote(token.text(self.text)).starts_with(prefix),
                _ => false,
            });
            let in_tables = self.instances.iter().flat_map(|one| &one.columns).any(|one| one.name.starts_with(prefix));
            in_text || in_tables
        };
        while taken(&prefix) {
            prefix.push('_');
        }
        prefix
    }

    fn order_terms<'q>(&mut self, query: &'q Query, block: &Block<'q>) -> Result<Vec<Term<'q>>, PgError> {
        let Some(order) = &query.order_by else { return Ok(Vec::new()) };
        let mut terms = Vec::new();
        for (term, span, descending, nulls_first) in order_list(&self.places(), order, &block.clauses.order)? {
            let target = self.order_target(&term.expr, block)?;
            terms.push(Term { expr: &term.expr, span, descending, nulls_first, target });
        }
        Ok(terms)
    }

    /// `findTargetlistEntrySQL92`, for ORDER BY: a number counts columns, a bare name is first of all the name of a column of the answer.
    fn order_target(&mut self, expr: &Expr, block: &Block<'_>) -> Result<Target, PgError> {
        // PostgreSQL's tree has no parentheses: `(2)` is a number too, and so is `-2`.
        match unwrap(expr) {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(unwrap(expr), Expr::Value(_)) => {
                Err(uncertain("a constant in ORDER BY"))
            }
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => self.ordinal(digits, block),
                Value::Placeholder(_) => Ok(Target::Own),
                _ => Err(uncertain("a constant in ORDER BY")),
            },
            Expr::Identifier(name) => {
                let name = scope::fold(name);
                let all_known = block.items.iter().all(|item| item.name.is_some());
                let named = |(_, item): &(usize, &Item<'_>)| item.name.as_deref() == Some(&name);
                let hits: Vec<(usize, &Item<'_>)> = block.items.iter().enumerate().filter(named).collect();
                let of_star = hits.iter().all(|(_, item)| matches!(item.what, What::Star(_)));
                let unclear = || Err(uncertain(&format!("ORDER BY \"{name}\", which may name several columns,")));
                match hits.as_slice() {
                    [] if !all_known => unclear(),
                    // The tables' columns are all that `*` adds, and a bare name finds them too, or finds several as the star does.
                    _ if of_star && (block.stars.all || hits.is_empty() && block.stars.known) => Ok(Target::Own),
                    [(at, _)] if block.stars.named => Ok(Target::Item(*at)),
                    _ if !block.stars.known => unclear(),
                    // `t.*, t.name`: the same column twice is no ambiguity.
                    [(at, one), others @ ..] if others.iter().all(|(_, other)| self.same_item(one, other)) => {
                        Ok(Target::Item(*at))
                    }
                    _ => unclear(),
                }
            }
            _ => Ok(Target::Own),
        }
    }

    /// `ORDER BY 2`: the plan depends on a literal.
    pub(super) fn ordinal(&mut self, digits: &str, block: &Block<'_>) -> Result<Target, PgError> {
        self.literal = true;
        let at = digits.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        match at.filter(|at| *at < block.items.len()) {
            Some(at) if block.stars.known => Ok(Target::Item(at)),
            _ => Err(uncertain("a column number outside of the select list, or beside a star")),
        }
    }

    fn same_item(&self, one: &Item<'_>, other: &Item<'_>) -> bool {
        let column = |item: &Item<'_>| match &item.what {
            What::Star(at) => Some((*at, item.name.clone()?)),
            What::Expr(Expr::Identifier(ident), _) => {
                self.column(std::slice::from_ref(ident)).map(|found| (found.instance, found.column))
            }
            What::Expr(Expr::CompoundIdentifier(idents), _) => {
                self.column(idents).map(|found| (found.instance, found.column))
            }
            What::Expr(..) => None,
        };
        match (column(one), column(other)) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        }
    }
}

/// The terms of an ORDER BY with their tokens, direction, and place of NULLs.
pub fn order_list<'q>(
    tokens: &Tokens<'_>,
    order: &'q OrderBy,
    span: &Span,
) -> Result<Vec<(&'q OrderByExpr, Span, bool, bool)>, PgError> {
    let unclear = || uncertain("this form of ORDER BY");
    let OrderBy { kind: OrderByKind::Expressions(list), interpolate: None } = order else { return Err(unclear()) };
    let spans = tokens.terms(span);
    if spans.len() != list.len() {
        return Err(unclear());
    }
    let mut terms = Vec::new();
    for (term, mut span) in list.iter().zip(spans) {
        if term.options.nulls_first.is_some() {
            if span.len() < 3 || !tokens.is(span.end - 2, "nulls") {
                return Err(unclear());
            }
            span.end -= 2;
        }
        let descending = match &term.options.sort {
            None => false,
            Some(sort) => {
                let (word, descending) = match sort {
                    OrderBySort::Asc => ("asc", false),
                    OrderBySort::Desc => ("desc", true),
                    _ => {
                        return Err(super::refused(
                            "ORDER BY ... USING",
                            "What an operator of a name sorts by, its name does not tell.",
                            "Write ASC or DESC.",
                        ));
                    }
                };
                if span.len() < 2 || !tokens.is(span.end - 1, word) {
                    return Err(unclear());
                }
                span.end -= 1;
                descending
            }
        };
        terms.push((term, span, descending, term.options.nulls_first.unwrap_or(descending)));
    }
    Ok(terms)
}

/// A span as a piece.
pub fn tokens_piece(span: &Span) -> Piece {
    // A text has a million tokens at most.
    Piece::Tokens(u32::try_from(span.start).unwrap_or(u32::MAX)..u32::try_from(span.end).unwrap_or(u32::MAX))
}

/// A name, quoted.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The terms of GROUP BY, if they are of a form that can be merged.
pub fn group_terms(select: &Select) -> Option<&[Expr]> {
    match &select.group_by {
        GroupByExpr::Expressions(terms, modifiers) if modifiers.is_empty() => Some(terms),
        _ => None,
    }
}

fn without_alias(tokens: &Tokens<'_>, span: Span, alias: &Ident) -> Option<Span> {
    let last = span.end.checked_sub(1)?;
    let text = tokens.word(last);
    let same = match tokens.kind(last)? {
        TokenKind::Word => text == alias.value,
        TokenKind::QuotedName => unquote(text) == alias.value,
        _ => false,
    };
    if !same || span.len() < 2 {
        return None;
    }
    let named = span.len() > 2 && tokens.is(last - 1, "as") && tokens.kind(last - 2) != Some(TokenKind::Dot);
    Some(span.start..if named { last - 1 } else { last })
}
