//! What stands in an expression, and where: its columns, its aggregates, and what makes it unfit to be computed elsewhere or twice.
//!
//! The tree says what a word is, the tokens say where it ends. A place that the two do not agree on makes the whole unknown.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, Query, Visit, Visitor,
};

use super::clauses::{Span, Tokens};
use super::names::type_name;
use crate::planner::functions::{self, Class};
use crate::planner::{Planner, scope};
use crate::sql::TokenKind;
use crate::sql::parse::byte_of;

/// An expression, looked through; what is inside sub-queries is not listed.
#[derive(Debug, Default)]
pub struct Survey {
    /// Names of columns.
    pub columns: Vec<Name>,
    /// Aggregates of the block itself.
    pub calls: Vec<Aggregate>,
    /// A function with OVER.
    pub windows: bool,
    /// A sub-query.
    pub subqueries: bool,
    /// An aggregate in a sub-query, which may be about this block's rows.
    pub inner_aggregates: Vec<Vec<Ident>>,
    /// Another value each time.
    pub erratic: bool,
    /// Functions of a user's or an extension's, or that give several rows, outside of aggregates: their tokens and names.
    pub unknown: Vec<(usize, String)>,
    /// COLLATE, or a type that may have a collation of its own.
    pub collates: bool,
    /// The tree and the tokens do not agree.
    pub lost: bool,
}

/// A name and its tokens.
#[derive(Debug, Clone)]
pub struct Name {
    /// Its tokens.
    pub span: Span,
    /// Its parts.
    pub idents: Vec<Ident>,
}

/// An aggregate call.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// Which, without its schema.
    pub name: String,
    /// From its name to the end of FILTER.
    pub span: Span,
    /// Inside the parentheses.
    pub arguments: Span,
    /// `FILTER (...)`.
    pub filter: Span,
    /// `*`.
    pub star: bool,
    /// DISTINCT.
    pub distinct: bool,
    /// Has one plain argument or `*`, and no clause of its own but FILTER.
    pub plain: bool,
    /// The columns in its arguments.
    pub columns: Vec<Name>,
    /// COLLATE, or a type that may have a collation of its own, in its arguments.
    pub collates: bool,
}

impl Planner<'_> {
    /// Looks an expression through.
    pub(in crate::planner) fn survey(&self, expr: &Expr) -> Option<Survey> {
        let mut walk = Walk { planner: self, tokens: self.places(), depth: 0, inside: 0, found: Survey::default() };
        let _ = expr.visit(&mut walk);
        let found = walk.found;
        // An aggregate in an aggregate's argument: PostgreSQL refuses it, or it is a window's.
        let nested = found.calls.iter().enumerate().any(|(at, call)| {
            found.calls.iter().enumerate().any(|(other, around)| {
                at != other && around.span.start <= call.span.start && call.span.end <= around.span.end
            })
        });
        if found.lost || nested { None } else { Some(found) }
    }

    /// The text's tokens.
    pub(in crate::planner) fn places(&self) -> Tokens<'_> {
        Tokens { text: self.text, all: &self.tokens }
    }

    /// Whether a function makes one value of many rows.
    pub(super) fn names_aggregate(&self, name: &str) -> bool {
        functions::is_aggregate(name) || self.context.catalog.aggregates.contains(name)
    }
}

struct Walk<'w> {
    planner: &'w Planner<'w>,
    tokens: Tokens<'w>,
    /// Sub-queries around.
    depth: usize,
    /// Aggregates of the block around.
    inside: usize,
    found: Survey,
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        self.found.subqueries |= self.inside == 0;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(ident) if self.depth == 0 => self.name(std::slice::from_ref(ident)),
            Expr::CompoundIdentifier(idents) if self.depth == 0 => self.name(idents),
            Expr::Function(function) => {
                self.function(function);
                self.inside += usize::from(self.is_call(function));
            }
            Expr::Collate { .. } => self.found.collates = true,
            Expr::Cast { data_type, .. } => self.cast(data_type),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr {
            self.inside -= usize::from(self.is_call(function));
        }
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    /// An aggregate of the block itself.
    fn is_call(&self, function: &Function) -> bool {
        let bare = function.name.0.last().and_then(|part| part.as_ident()).map(scope::fold);
        self.depth == 0 && function.over.is_none() && bare.is_some_and(|bare| self.planner.names_aggregate(&bare))
    }

    fn name(&mut self, idents: &[Ident]) {
        match name_span(&self.tokens, idents) {
            Some(span) => self.found.columns.push(Name { span, idents: idents.to_vec() }),
            None => self.found.lost = true,
        }
    }

    fn cast(&mut self, data_type: &DataType) {
        let mut data_type = data_type;
        while let DataType::Array(sqlparser::ast::ArrayElemTypeDef::SquareBracket(inner, _)) = data_type {
            data_type = inner;
        }
        self.found.collates |= type_name(data_type).is_none();
    }

    fn function(&mut self, function: &Function) {
        let idents: Option<Vec<Ident>> = function
            .name
            .0
            .iter()
            .map(|part| match part {
                ObjectNamePart::Identifier(ident) => Some(ident.clone()),
                ObjectNamePart::Function(_) => None,
            })
            .collect();
        let Some(idents) = idents else {
            self.found.lost = true;
            return;
        };
        let names: Vec<String> = idents.iter().map(|ident| scope::fold(ident).into_owned()).collect();
        let Some(bare) = names.last().cloned() else { return };
        let system = names.len() == 2 && names.first().is_some_and(|schema| schema == "pg_catalog");
        let users = !system && (names.len() > 1 || self.planner.context.catalog.functions.contains_key(&bare));
        // What an aggregate is given is computed once, whatever it is.
        if self.inside == 0 {
            self.found.erratic |= if users { !self.immutable(&bare) } else { is_erratic(&bare) };
        }
        if self.depth > 0 {
            if function.over.is_none() && self.planner.names_aggregate(&bare) {
                self.found.inner_aggregates.push(argument_names(function));
            }
            return;
        }
        if function.over.is_some() {
            self.found.windows = true;
            return;
        }
        if self.planner.names_aggregate(&bare) {
            match aggregate(&self.tokens, function, &idents, bare, users) {
                Some(call) => {
                    let mut walk = Walk {
                        planner: self.planner,
                        tokens: self.tokens,
                        depth: 0,
                        inside: 0,
                        found: Survey::default(),
                    };
                    let _ = function.args.visit(&mut walk);
                    let Survey { columns, collates, .. } = walk.found;
                    self.found.calls.push(Aggregate { columns, collates, ..call });
                }
                None => self.found.lost = true,
            }
            return;
        }
        let known =
            !users && matches!(functions::class(&bare), Class::Plain | Class::Moment) && !SETS.contains(&bare.as_str());
        if !known && self.inside == 0 {
            match name_span(&self.tokens, &idents) {
                Some(span) => self.found.unknown.push((span.start, bare)),
                None => self.found.lost = true,
            }
        }
    }

    fn immutable(&self, name: &str) -> bool {
        self.planner.context.catalog.functions.get(name).is_some_and(|function| function.immutable)
    }
}

/// The columns in a call's arguments, as they are written.
fn argument_names(function: &Function) -> Vec<Ident> {
    struct Names(Vec<Ident>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(ident) => self.0.push(ident.clone()),
                // What tells a table from another is the first part.
                Expr::CompoundIdentifier(idents) => self.0.extend(idents.first().cloned()),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(Vec::new());
    let _ = function.args.visit(&mut names);
    let _ = function.filter.visit(&mut names);
    names.0
}

/// The tokens of `a.b.c`, if they are there.
fn name_span(tokens: &Tokens<'_>, idents: &[Ident]) -> Option<Span> {
    let start = tokens.at_byte(byte_of(idents.first()?.span)?)?;
    for (at, ident) in idents.iter().enumerate() {
        let place = start + 2 * at;
        let token = tokens.get(place)?;
        let text = tokens.word(place);
        let same = match token.kind {
            TokenKind::Word => ident.quote_style.is_none() && text == ident.value,
            TokenKind::QuotedName => ident.quote_style.is_some() && unquote(text) == ident.value,
            _ => false,
        };
        if !same || (at > 0 && tokens.kind(place - 1) != Some(TokenKind::Dot)) {
            return None;
        }
    }
    Some(start..start + 2 * idents.len() - 1)
}

/// What `"a""b"` says.
pub fn unquote(text: &str) -> String {
    text.get(1..text.len().saturating_sub(1)).unwrap_or("").replace("\"\"", "\"")
}

fn aggregate(
    tokens: &Tokens<'_>,
    function: &Function,
    idents: &[Ident],
    name: String,
    users: bool,
) -> Option<Aggregate> {
    let named = name_span(tokens, idents)?;
    if tokens.kind(named.end) != Some(TokenKind::LeftParen) {
        return None;
    }
    let close = tokens.closing(named.end)?;
    let mut arguments = named.end + 1..close - 1;
    let mut plain = !users && function.within_group.is_empty() && function.null_treatment.is_none();
    let (mut star, mut distinct) = (false, false);
    match &function.args {
        FunctionArguments::List(list) => {
            match list.duplicate_treatment {
                Some(DuplicateTreatment::All) if tokens.is(arguments.start, "all") => arguments.start += 1,
                Some(DuplicateTreatment::All) => return None,
                Some(DuplicateTreatment::Distinct) => distinct = true,
                None => {}
            }
            plain &= list.clauses.is_empty();
            match list.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => star = true,
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(_))] => {}
                _ => plain = false,
            }
        }
        _ => plain = false,
    }
    let mut filter = close..close;
    if function.filter.is_some() {
        if !tokens.is(close, "filter") || tokens.kind(close + 1) != Some(TokenKind::LeftParen) {
            // WITHIN GROUP comes before it.
            if plain {
                return None;
            }
        } else {
            filter = close..tokens.closing(close + 1)?;
        }
    }
    Some(Aggregate {
        name,
        span: named.start..filter.end,
        arguments,
        filter,
        star,
        distinct,
        plain,
        columns: Vec::new(),
        collates: false,
    })
}

/// Whether a function may give another value for each row, or do something: more than what is erratic by itself, because here it would run once on
/// each shard.
fn is_erratic(name: &str) -> bool {
    functions::ERRATIC.contains(&name) || !matches!(functions::class(name), Class::Plain | Class::Moment)
}

/// PostgreSQL's functions that give several rows where a value is expected.
const SETS: &[&str] = &[
    "aclexplode",
    "generate_series",
    "generate_subscripts",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
    "json_populate_recordset",
    "json_to_recordset",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_path_query_tz",
    "jsonb_populate_recordset",
    "jsonb_to_recordset",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_table",
    "ts_debug",
    "ts_parse",
    "ts_stat",
    "ts_token_type",
    "txid_snapshot_xip",
    "pg_snapshot_xip",
    "unnest",
];
