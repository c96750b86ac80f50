//! Conditions that an input's rows can be asked for already: terms of WHERE and ON that are about one use of a table only.
//!
//! The rest keeps every condition, so that a filter only has to be *safe*: a row that it drops must not matter to what the rest makes of the
//! others. Let the term be one of the AND of WHERE or of an inner join's ON, or of an outer join's ON and about the side that may be missing.
//! * A use that no outer join of the block may leave out: a row for which the term is not true makes no row that passes.
//! * A use that an outer join may leave out: without the row, the join puts out NULLs in its place. If the term is not true of NULLs either
//!   ([`Truth::rejects`]), those rows pass as little as the ones that they replace.
//!
//! The term may use only what gives the same value on every server, and its tokens are found, parsed again and compared with the tree before they
//! are sent.

use std::ops::{ControlFlow, Range};

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArguments, SetExpr, Statement, UnaryOperator, Visit, Visitor,
};

use crate::planner::condition::Reach;
use crate::planner::source::unwrap;
use crate::planner::{Planner, functions, scope};
use crate::sql::parse::{byte_of, parse};
use crate::sql::{self, TokenKind};

/// A term that restricts the rows of one use of a table.
#[derive(Debug)]
pub(in crate::planner) struct Filter {
    /// The use.
    pub instance: usize,
    /// It is not true where all columns of the use are NULL.
    rejects: bool,
    /// The first and the last of its tokens that the tree knows.
    known: (usize, usize),
    term: Expr,
}

impl Filter {
    /// What it says.
    pub(super) fn term(&self) -> &Expr {
        &self.term
    }
}

/// What a term is where all columns of the use are NULL.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    /// NULL.
    null: bool,
    /// Not true.
    rejects: bool,
}

impl Truth {
    const ANYTHING: Truth = Truth { null: false, rejects: false };
    const NULL: Truth = Truth { null: true, rejects: true };

    /// Of a strict function's result.
    fn strict(parts: impl IntoIterator<Item = Truth>) -> Truth {
        if parts.into_iter().any(|part| part.null) { Truth::NULL } else { Truth::ANYTHING }
    }
}

impl Planner<'_> {
    /// Takes note of a term that is about one use only.
    pub(in crate::planner) fn note_filter(&mut self, term: &Expr, reach: Reach<'_>) {
        let Some(instance) = self.only_instance(term) else { return };
        let counts = match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&instance),
            Reach::None => false,
        };
        if !counts || !self.relations.contains_key(&instance) {
            return;
        }
        let Some(truth) = self.truth(term) else { return };
        let Some(known) = self.known_tokens(term) else { return };
        self.filters.push(Filter { instance, rejects: truth.rejects, known, term: term.clone() });
    }

    /// The terms that may be sent with an input.
    pub(super) fn safe_filters(&self, instance: usize) -> impl Iterator<Item = &Filter> {
        let missing = self.nullable.contains(&instance);
        self.filters.iter().filter(move |filter| filter.instance == instance && (filter.rejects || !missing))
    }

    /// The same as tokens.
    pub(super) fn filters_of(&self, instance: usize) -> Vec<Range<usize>> {
        self.safe_filters(instance).filter_map(|filter| self.filter_tokens(filter)).collect()
    }

    /// The one use whose columns the term has, all of the block itself.
    fn only_instance(&self, term: &Expr) -> Option<usize> {
        struct Columns<'p, 'c> {
            planner: &'p Planner<'c>,
            found: Option<usize>,
        }
        impl Visitor for Columns<'_, '_> {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                let idents = match expr {
                    Expr::Identifier(ident) => std::slice::from_ref(ident),
                    Expr::CompoundIdentifier(idents) => idents,
                    Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => return ControlFlow::Break(()),
                    _ => return ControlFlow::Continue(()),
                };
                match self.planner.column(idents) {
                    Some(found) if found.level == 0 && self.found.is_none_or(|known| known == found.instance) => {
                        self.found = Some(found.instance);
                        ControlFlow::Continue(())
                    }
                    _ => ControlFlow::Break(()),
                }
            }
        }
        let mut columns = Columns { planner: self, found: None };
        match term.visit(&mut columns) {
            ControlFlow::Continue(()) => columns.found,
            ControlFlow::Break(()) => None,
        }
    }

    /// What a term is of a row of NULLs; `None` if it may be another value on another server, or is not known to be the same.
    fn truth(&self, expr: &Expr) -> Option<Truth> {
        let all = |list: &[&Expr]| list.iter().map(|expr| self.truth(expr)).collect::<Option<Vec<Truth>>>();
        Some(match unwrap(expr) {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Truth::NULL,
            Expr::Value(_) => Truth::ANYTHING,
            Expr::TypedString(typed) => plain_type(&typed.data_type).then_some(Truth::ANYTHING)?,
            Expr::Interval(interval) => self.truth(&interval.value)?,
            Expr::Cast { expr, data_type, format: None, .. } if plain_type(data_type) => self.truth(expr)?,
            Expr::UnaryOp { op: UnaryOperator::Not | UnaryOperator::Minus | UnaryOperator::Plus, expr } => {
                Truth::strict([self.truth(expr)?])
            }
            Expr::BinaryOp { left, op, right } => {
                let (left, right) = (self.truth(left)?, self.truth(right)?);
                match op {
                    BinaryOperator::And => {
                        Truth { null: left.null && right.null, rejects: left.rejects || right.rejects }
                    }
                    BinaryOperator::Or => {
                        Truth { null: left.null && right.null, rejects: left.rejects && right.rejects }
                    }
                    op if plain_operator(op) => Truth::strict([left, right]),
                    _ => return None,
                }
            }
            Expr::IsNull(inner) => {
                self.truth(inner)?;
                Truth::ANYTHING
            }
            Expr::IsNotNull(inner) => Truth { null: false, rejects: self.truth(inner)?.null },
            Expr::IsTrue(inner) | Expr::IsFalse(inner) => Truth { null: false, rejects: self.truth(inner)?.null },
            Expr::IsNotTrue(inner) | Expr::IsNotFalse(inner) | Expr::IsUnknown(inner) => {
                self.truth(inner)?;
                Truth::ANYTHING
            }
            Expr::IsNotUnknown(inner) => Truth { null: false, rejects: self.truth(inner)?.null },
            Expr::IsDistinctFrom(left, right) | Expr::IsNotDistinctFrom(left, right) => {
                all(&[left, right])?;
                Truth::ANYTHING
            }
            Expr::InList { expr, list, .. } => {
                let truth = self.truth(expr)?;
                all(&list.iter().collect::<Vec<_>>())?;
                Truth::strict([truth])
            }
            Expr::Between { expr, low, high, .. } => {
                let truth = self.truth(expr)?;
                all(&[low, high])?;
                // `NULL BETWEEN 2 AND 1` is false rather than NULL, and not true either way.
                Truth { null: false, rejects: truth.null }
            }
            Expr::Like { any: false, expr, pattern, .. } | Expr::ILike { any: false, expr, pattern, .. } => {
                Truth::strict(all(&[expr, pattern])?)
            }
            Expr::AnyOp { left, compare_op, right, .. } if plain_operator(compare_op) => {
                let truth = self.truth(left)?;
                self.truth(right)?;
                // Of no elements it is false.
                Truth { null: false, rejects: truth.null }
            }
            Expr::Array(array) => {
                all(&array.elem.iter().collect::<Vec<_>>())?;
                Truth::ANYTHING
            }
            Expr::Extract { expr, .. } => Truth::strict([self.truth(expr)?]),
            Expr::Function(function) => self.function_truth(function)?,
            _ => return None,
        })
    }

    fn function_truth(&self, function: &Function) -> Option<Truth> {
        let [part] = function.name.0.as_slice() else { return None };
        let name = scope::fold(part.as_ident()?).into_owned();
        let FunctionArguments::List(list) = &function.args else { return None };
        if function.over.is_some()
            || function.filter.is_some()
            || !function.within_group.is_empty()
            || list.duplicate_treatment.is_some()
            || !list.clauses.is_empty()
            || self.context.catalog.functions.contains_key(&name)
        {
            return None;
        }
        let mut parts = Vec::new();
        for argument in &list.args {
            let sqlparser::ast::FunctionArg::Unnamed(sqlparser::ast::FunctionArgExpr::Expr(expr)) = argument else {
                return None;
            };
            parts.push(self.truth(expr)?);
        }
        if STRICT.contains(&name.as_str()) {
            return Some(Truth::strict(parts));
        }
        (name == "coalesce" || functions::is_pure(&name)).then_some(Truth::ANYTHING)
    }

    /// The first and the last token of which the tree knows the place.
    pub(super) fn known_tokens(&self, term: &Expr) -> Option<(usize, usize)> {
        struct Leaves(Option<(u32, u32)>, bool);
        impl Leaves {
            fn meet(&mut self, byte: Option<usize>) {
                let Some(byte) = byte.and_then(|byte| u32::try_from(byte).ok()) else {
                    self.1 = true;
                    return;
                };
                self.0 = Some(self.0.map_or((byte, byte), |(first, last)| (first.min(byte), last.max(byte))));
            }
        }
        impl Visitor for Leaves {
            type Break = ();
            fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
                match expr {
                    Expr::Identifier(ident) => self.meet(byte_of(ident.span)),
                    Expr::CompoundIdentifier(idents) => {
                        for ident in idents {
                            self.meet(byte_of(ident.span));
                        }
                    }
                    Expr::Value(value) => self.meet(byte_of(value.span)),
                    Expr::TypedString(typed) => self.meet(byte_of(typed.value.span)),
                    Expr::Function(function) => {
                        for part in &function.name.0 {
                            self.meet(part.as_ident().and_then(|ident| byte_of(ident.span)));
                        }
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            }
        }
        let mut leaves = Leaves(None, false);
        let _ = term.visit(&mut leaves);
        let (first, last) = leaves.0.filter(|_| !leaves.1)?;
        let at = |byte: u32| self.tokens.binary_search_by_key(&byte, |token| token.start).ok();
        Some((at(first)?, at(last)?))
    }

    /// All tokens of a term: from the WHERE, ON or AND before it to what ends it.
    fn filter_tokens(&self, filter: &Filter) -> Option<Range<usize>> {
        let (first, last) = filter.known;
        let word = |at: usize, list: &[&str]| {
            self.tokens
                .get(at)
                .is_some_and(|token| token.kind == TokenKind::Word && list.iter().any(|word| token.is(self.text, word)))
        };
        let kind = |at: usize| self.tokens.get(at).map(|token| token.kind);
        let mut start = first;
        while start > self.body.start && !word(start - 1, &["where", "on", "and"]) {
            start -= 1;
        }
        let depth_of = |range: Range<usize>| -> Option<usize> {
            let mut depth = 0usize;
            for at in range {
                match kind(at)? {
                    TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                    TokenKind::RightParen | TokenKind::RightBracket => depth = depth.checked_sub(1)?,
                    _ => {}
                }
            }
            Some(depth)
        };
        let mut depth = depth_of(start..last + 1)?;
        let mut end = last + 1;
        while end < self.body.end && !word(end, ENDS) && !self.begins_clause(end) {
            match kind(end)? {
                TokenKind::LeftParen | TokenKind::LeftBracket => depth += 1,
                TokenKind::RightParen | TokenKind::RightBracket if depth == 0 => break,
                TokenKind::RightParen | TokenKind::RightBracket => depth -= 1,
                TokenKind::Comma | TokenKind::Semicolon => break,
                _ => {}
            }
            end += 1;
        }
        while depth > 0 && kind(start) == Some(TokenKind::LeftParen) {
            start += 1;
            depth -= 1;
        }
        if depth > 0 || depth_of(start..end)? > 0 {
            return None;
        }
        self.says(start..end, &filter.term).then_some(start..end)
    }

    /// Whether these tokens, by themselves, are this expression.
    fn says(&self, range: Range<usize>, term: &Expr) -> bool {
        let bytes = self.tokens.get(range.clone()).and_then(|tokens| Some(tokens.first()?.start..tokens.last()?.end));
        let Some(words) = bytes.and_then(|bytes| self.text.get(bytes.start as usize..bytes.end as usize)) else {
            return false;
        };
        let text = format!("SELECT 1 WHERE {words}");
        let Ok(tokens) = sql::lex(&text, &self.context.limits) else { return false };
        let Ok(Statement::Query(query)) = parse(&text, &tokens) else { return false };
        let SetExpr::Select(select) = &*query.body else { return false };
        let alone = query.order_by.is_none() && query.limit_clause.is_none() && query.locks.is_empty();
        let same = |found: &Expr| unwrap(found).to_string() == unwrap(term).to_string();
        alone && select.selection.as_ref().is_some_and(same)
    }
}

/// Words that follow a condition, beside those that begin a clause.
const ENDS: &[&str] =
    &["and", "join", "inner", "cross", "natural", "full", "left", "right", "on", "using", "returning", "when", "set"];

/// Functions that are NULL where an argument is, and the same on all servers.
const STRICT: &[&str] = &[
    "abs",
    "btrim",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "date_part",
    "date_trunc",
    "extract",
    "floor",
    "left",
    "length",
    "lower",
    "lpad",
    "ltrim",
    "mod",
    "octet_length",
    "position",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "sign",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "to_char",
    "to_date",
    "to_number",
    "to_timestamp",
    "trim",
    "trunc",
    "upper",
];

/// Types of PostgreSQL's own, whose values do not name objects.
fn plain_type(data_type: &DataType) -> bool {
    match data_type {
        DataType::Custom(..) => super::super::source::type_oid(data_type).is_some(),
        DataType::Array(sqlparser::ast::ArrayElemTypeDef::SquareBracket(inner, _)) => plain_type(inner),
        DataType::Array(_) | DataType::Regclass => false,
        _ => true,
    }
}

/// Operators of PostgreSQL's own that are strict and immutable, whatever types they are for.
fn plain_operator(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::StringConcat
            | BinaryOperator::PGRegexMatch
            | BinaryOperator::PGRegexIMatch
            | BinaryOperator::PGRegexNotMatch
            | BinaryOperator::PGRegexNotIMatch
            | BinaryOperator::PGLikeMatch
            | BinaryOperator::PGILikeMatch
            | BinaryOperator::PGNotLikeMatch
            | BinaryOperator::PGNotILikeMatch
            | BinaryOperator::PGOverlap
            | BinaryOperator::AtArrow
            | BinaryOperator::ArrowAt
            | BinaryOperator::Arrow
            | BinaryOperator::LongArrow
            | BinaryOperator::HashArrow
            | BinaryOperator::HashLongArrow
    )
}
