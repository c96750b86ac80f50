//! The statement's shape, as far as [`local`](super::local) asks for it: which query is inside which, what is joined how, on which equal
//! columns, and what each block does with its rows.
//!
//! The walk draws it; nothing is judged here. That waits until the walk is over, because a block's WHERE tells which of its columns are
//! equal only after its FROM list and half of its sub-queries have been read.

use std::collections::HashMap;
use std::ops::Range;

use sqlparser::ast::{Expr, Ident, SelectItem, Value};

use super::facts::Node;
use super::source::unwrap;
use super::{Output, Outputs, Planner, scope};
use crate::types::KeyType;

/// Two columns that an equality names.
pub(super) type Pair = (Node, Node);

/// The whole of it: parts that name each other by their places.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub parts: Vec<Part>,
    /// What each use in a FROM list is, where it is not a table.
    pub leaves: HashMap<usize, Leaf>,
    /// The equalities in each join's condition.
    pub joins: Vec<Vec<Pair>>,
    /// Open blocks and queries, the innermost last.
    frames: Vec<Frame>,
    /// The join whose condition is being read.
    join: Option<usize>,
    /// Sub-queries outside of every query: those of an INSERT.
    pub loose: Vec<Inside>,
    /// Names that an argument list has met: columns of the block itself, and others.
    pub names: (usize, usize),
    /// Calls of functions that give another value each time.
    pub volatile: usize,
}

/// A query, or a part of one that puts out rows.
#[derive(Debug)]
pub(super) enum Part {
    /// One SELECT.
    Block(Box<Block>),
    /// UNION, INTERSECT, EXCEPT.
    Set(Set),
    /// A part with WITH, ORDER BY, LIMIT and locks around it.
    Query(Query),
    /// VALUES.
    Values,
    /// INSERT, UPDATE or DELETE in WITH.
    Write,
}

/// Something in a FROM list that is no table.
#[derive(Debug)]
pub(super) struct Leaf {
    /// A sub-query or CTE; none for functions, and for a recursive CTE inside itself.
    pub part: Option<usize>,
    /// The column that each output is here.
    pub columns: Vec<Option<Node>>,
}

/// A query and what stands around its body.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub body: Option<usize>,
    pub limited: bool,
    pub ordered: bool,
    pub locked: bool,
    /// Sub-queries in LIMIT, in VALUES and in a set operation's ORDER BY.
    pub inside: Vec<Inside>,
    /// A function in it gives another value with each call.
    pub volatile: bool,
    /// It is recursive: its own name stands in it.
    pub recursive: bool,
    /// The uses of tables in it.
    pub instances: Range<usize>,
}

/// A chain of set operations, from the left.
#[derive(Debug)]
pub(super) struct Set {
    pub first: Option<usize>,
    pub rest: Vec<(Operation, Option<usize>)>,
    /// The key type that a column has in all arms.
    pub types: Vec<Option<KeyType>>,
}

/// A set operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    UnionAll,
    Union,
    Intersect,
    Except,
}

/// A sub-query in an expression.
#[derive(Debug)]
pub(super) struct Inside {
    pub part: Option<usize>,
    /// For `x IN (SELECT ...)` that rows must pass: the columns that are compared with what it puts out.
    pub tested: Option<Vec<Option<Node>>>,
}

/// One SELECT, or an UPDATE's or DELETE's FROM and WHERE.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub from: Vec<Item>,
    /// The equalities of WHERE.
    pub filter: Vec<Pair>,
    pub inside: Vec<Inside>,
    /// GROUP BY: the columns among its terms. Empty for aggregates without it.
    pub groups: Option<Vec<Node>>,
    /// GROUPING SETS, ROLLUP, CUBE.
    pub grouping_sets: bool,
    /// A term of GROUP BY is a number: which column that is, the literal says.
    pub ordinals: bool,
    pub aggregates: bool,
    pub distinct: Distinct,
    pub windows: Vec<Window>,
    pub named: HashMap<String, Window>,
    /// What is put out, and whether that is all.
    pub outputs: (Vec<Option<Node>>, bool),
    /// DISTINCT, GROUP BY or ORDER BY, and a value that is another each time.
    pub erratic: bool,
    pub instances: Range<usize>,
    /// What its FROM list brought into scope.
    pub scope: scope::Scope,
}

/// DISTINCT.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Distinct {
    #[default]
    No,
    /// By all columns.
    All,
    /// By these; the terms that are no columns are left out.
    On(Vec<Node>),
}

/// A window's PARTITION BY.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    pub base: Option<String>,
    pub partition: Vec<Node>,
}

/// A part of a FROM list.
#[derive(Debug)]
pub(super) enum Item {
    /// A use of a table, sub-query or function.
    Leaf(usize),
    /// A join; its condition is in [`Tree::joins`].
    Join { kind: Kind, on: usize, left: Box<Item>, right: Box<Item> },
}

/// A kind of join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Debug)]
enum Frame {
    Block(Box<Block>),
    Query(Query),
}

impl Tree {
    /// A part is complete.
    pub fn add(&mut self, part: Part) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    /// A query begins, with the n-th use of a table.
    pub fn open_query(&mut self, instance: usize) {
        let query = Query { instances: instance..instance, ..Query::default() };
        self.frames.push(Frame::Query(query));
    }

    /// A query ends.
    pub fn close_query(&mut self, instance: usize) -> Query {
        match self.frames.pop() {
            Some(Frame::Query(mut query)) => {
                query.instances.end = instance;
                query
            }
            _ => Query::default(),
        }
    }

    /// A block begins; its FROM list is known.
    pub fn open_block(&mut self, from: Vec<Item>, scope: scope::Scope, instance: usize) {
        let block = Block { from, scope, instances: instance..instance, ..Block::default() };
        self.frames.push(Frame::Block(Box::new(block)));
    }

    /// A block ends.
    pub fn close_block(&mut self, instance: usize) -> usize {
        let mut block = match self.frames.pop() {
            Some(Frame::Block(block)) => block,
            _ => Box::default(),
        };
        block.instances.end = instance;
        self.add(Part::Block(block))
    }

    /// The block whose clauses are being read.
    pub fn block(&mut self) -> Option<&mut Block> {
        match self.frames.last_mut() {
            Some(Frame::Block(block)) => Some(block),
            _ => None,
        }
    }

    /// Whether there is a block around the innermost one.
    pub fn is_nested(&self) -> bool {
        self.frames.iter().filter(|frame| matches!(frame, Frame::Block(_))).count() > 1
    }

    /// Takes note of a sub-query in an expression.
    pub fn inside(&mut self, part: Option<usize>, tested: Option<Vec<Option<Node>>>) {
        let inside = Inside { part, tested };
        match self.frames.last_mut() {
            Some(Frame::Block(block)) => block.inside.push(inside),
            Some(Frame::Query(query)) => query.inside.push(inside),
            None => self.loose.push(inside),
        }
    }

    /// A place for a join's equalities.
    pub fn new_join(&mut self) -> usize {
        self.joins.push(Vec::new());
        self.joins.len() - 1
    }

    /// From here on equalities are of this join's condition; gives back whose they were.
    pub fn read_join(&mut self, join: Option<usize>) -> Option<usize> {
        std::mem::replace(&mut self.join, join)
    }

    /// An equality that rows must pass: of the join, or of WHERE.
    pub fn equal(&mut self, pair: Pair) {
        match self.join {
            Some(join) => self.joins.get_mut(join).into_iter().for_each(|pairs| pairs.push(pair)),
            None => self.block().into_iter().for_each(|block| block.filter.push(pair)),
        }
    }
}

/// Where a bare name or a number among the terms of a clause is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Names<'s> {
    /// Among the tables' columns only: PARTITION BY.
    Never,
    /// Among the tables' columns, then in the select list: GROUP BY.
    Later(&'s [SelectItem]),
    /// In the select list, then among the tables' columns: DISTINCT ON.
    First(&'s [SelectItem]),
}

impl Planner<'_> {
    /// The columns among the terms of GROUP BY, DISTINCT ON or PARTITION BY. What a term's name or number stands for is looked up in the
    /// select list where PostgreSQL would do so; whether a number did is told.
    pub(super) fn term_nodes(&mut self, terms: &[Expr], list: Names<'_>) -> (Vec<Node>, bool) {
        let (mut nodes, mut ordinals) = (Vec::new(), false);
        for term in terms {
            match (unwrap(term), list) {
                (Expr::Tuple(inner), _) => {
                    let (more, numbers) = self.term_nodes(inner, list);
                    nodes.extend(more);
                    ordinals |= numbers;
                }
                (Expr::Value(value), Names::Later(items) | Names::First(items)) => {
                    let Value::Number(digits, _) = &value.value else { continue };
                    ordinals = true;
                    let item = digits.parse::<usize>().ok().and_then(|at| items.get(at.checked_sub(1)?));
                    // A star before it would move the columns' places.
                    let plain = !items.iter().any(is_star);
                    if let Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) =
                        item.filter(|_| plain)
                    {
                        nodes.extend(self.local_node(expr));
                    }
                }
                (Expr::Identifier(ident), Names::First(items)) => nodes.extend(self.output_first(ident, term, items)),
                (Expr::Identifier(ident), Names::Later(items)) => match self.local_node(term) {
                    Some(node) => nodes.push(node),
                    None => nodes.extend(self.named_output(ident, items)),
                },
                (other, _) => nodes.extend(self.local_node(other)),
            }
        }
        (nodes, ordinals)
    }

    /// A name that means an output, if there is one of that name, and a table's column otherwise.
    fn output_first(&mut self, name: &Ident, term: &Expr, items: &[SelectItem]) -> Option<Node> {
        let name = scope::fold(name).into_owned();
        let mut meant = term;
        for item in items {
            match item {
                SelectItem::ExprWithAlias { expr, alias } if scope::fold(alias) == name => meant = expr,
                SelectItem::UnnamedExpr(expr) => match expr {
                    Expr::Identifier(ident) if scope::fold(ident) == name => meant = expr,
                    Expr::CompoundIdentifier(idents) if idents.last().is_some_and(|last| scope::fold(last) == name) => {
                        meant = expr;
                    }
                    Expr::Identifier(_) | Expr::CompoundIdentifier(_) => {}
                    // PostgreSQL gives it a name of its own, such as a function's.
                    _ => return None,
                },
                _ => {}
            }
        }
        self.local_node(meant)
    }

    /// The innermost block's column that an expression is.
    pub(super) fn local_node(&mut self, expr: &Expr) -> Option<Node> {
        let found = self.column_of(expr).filter(|found| found.level == 0)?;
        self.key_type(&found)?;
        Some(self.facts.node(found.instance, &found.column))
    }

    /// What `AS name` in the select list stands for, if no table of the block surely has or may have a column of that name.
    fn named_output(&mut self, name: &Ident, items: &[SelectItem]) -> Option<Node> {
        let name = scope::fold(name).into_owned();
        let scope = self.scopes.last()?;
        let free = !scope.opaque
            && scope.merged.iter().all(|(merged, _)| *merged != name)
            && scope.instances.iter().all(|at| {
                self.instances
                    .get(*at)
                    .is_some_and(|one| one.complete && one.columns.iter().all(|column| column.name != name))
            });
        let mut hits = items.iter().filter_map(|item| match item {
            SelectItem::ExprWithAlias { expr, alias } if scope::fold(alias) == name => Some(expr),
            _ => None,
        });
        match (free, hits.next(), hits.next()) {
            (true, Some(expr), None) => self.local_node(expr),
            _ => None,
        }
    }

    /// The column that is compared with what a sub-query puts out.
    pub(super) fn tested_node(&mut self, expr: &Expr) -> Option<Node> {
        let found = self.column_of(expr)?;
        self.key_type(&found)?;
        Some(self.facts.node(found.instance, &found.column))
    }
}

/// The columns of all arms of a set operation.
pub(super) fn united(first: Outputs, arms: &[Outputs]) -> (Outputs, Vec<Option<KeyType>>) {
    let common = |at: usize, own: Option<KeyType>| {
        arms.iter().try_fold(own?, |own, arm| {
            let theirs = arm.columns.get(at).filter(|_| arm.complete)?.key_type?;
            super::facts::comparable(own, theirs).then(|| wider(own, theirs))
        })
    };
    let complete = first.complete;
    let columns: Vec<Output> = first
        .columns
        .into_iter()
        .enumerate()
        .map(|(at, output)| Output {
            key_type: common(at, output.key_type.filter(|_| complete)),
            name: output.name,
            ..Output::default()
        })
        .collect();
    let types = columns.iter().map(|column| column.key_type).collect();
    (Outputs { columns, ..first }, types)
}

/// Of two comparable types the one that PostgreSQL gives to a column of both.
pub(super) fn wider(one: KeyType, other: KeyType) -> KeyType {
    let width = |key| match key {
        KeyType::Int2 => 1,
        KeyType::Int4 => 2,
        _ => 3,
    };
    if width(one) >= width(other) { one } else { other }
}

fn is_star(item: &SelectItem) -> bool {
    !matches!(item, SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. })
}
