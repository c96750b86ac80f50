//! Hidden columns of a grouped query: group keys and partial results.

use sqlparser::ast::{Expr, UnaryOperator, Value};

use super::block::{Block, Target, What, group_terms, tokens_piece};
use super::clauses::Span;
use super::collate::Collation;
use super::grouped::NO_COLLATION;
use super::normal::{Atom, Normal, Sort};
use super::order::number;
use super::survey::{Aggregate, Survey};
use super::window::words;
use super::{refused, uncertain};
use crate::error::PgError;
use crate::plan::gather::{Call, Function, Piece};
use crate::planner::source::unwrap;
use crate::planner::{Planner, scope};
use crate::types::oid;

/// A term of GROUP BY.
#[derive(Debug)]
pub struct Group {
    /// Its atoms, to find it again in other clauses.
    pub normal: Normal,
    /// The hidden column that has it.
    pub column: u16,
    pub collation: Collation,
}

/// An aggregate that is merged.
#[derive(Debug)]
pub struct Known {
    normal: Normal,
    pub call: Call,
    collation: Collation,
}

/// A hidden column: of an aggregate its function and argument, else a value and its atoms.
#[derive(Debug)]
pub struct Column {
    function: &'static str,
    normal: Normal,
    pieces: Vec<Piece>,
}

/// What a grouped block's shards are asked for.
#[derive(Debug, Default)]
pub struct Grouped {
    pub groups: Vec<Group>,
    pub calls: Vec<Known>,
    pub columns: Vec<Column>,
}

impl Grouped {
    /// The hidden columns of the group keys: the first ones.
    pub fn group_columns(&self) -> Vec<u16> {
        let mut columns: Vec<u16> = self.groups.iter().map(|group| group.column).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Of implicit groups without any aggregate something has to be asked.
    pub fn fill(&mut self) {
        if self.columns.is_empty() {
            let pieces = vec![words("pg_catalog.count(*)")];
            self.columns.push(Column { function: "count", normal: Vec::new(), pieces });
        }
    }

    /// The hidden columns as SQL. `behind`: there is a select list in front.
    pub fn put(&self, prefix: &str, behind: bool, out: &mut Vec<Piece>) {
        for (at, column) in self.columns.iter().enumerate() {
            if behind || at > 0 {
                out.push(words(","));
            }
            out.extend(column.pieces.iter().cloned());
            out.push(Piece::Words(format!("AS {prefix}{}", at + 1)));
        }
    }

    /// Whether a server's default collations are those that are meant.
    pub fn is_plain(&self) -> bool {
        self.groups.iter().all(|group| group.collation.plain) && self.calls.iter().all(|known| known.collation.plain)
    }

    /// The collation of an aggregate's result.
    pub fn call_collation(&self, call: u16) -> Collation {
        self.calls.get(usize::from(call)).map_or(NO_COLLATION, |known| known.collation)
    }

    /// The collation of a group key.
    pub fn group_collation(&self, column: u16) -> Collation {
        self.groups.iter().find(|group| group.column == column).map_or(NO_COLLATION, |group| group.collation)
    }
}

impl Planner<'_> {
    /// The group keys.
    pub(super) fn group_keys(&mut self, block: &Block<'_>) -> Result<Grouped, PgError> {
        let unclear = || uncertain("this form of GROUP BY");
        let mut grouped = Grouped::default();
        let terms = group_terms(block.select).ok_or_else(unclear)?;
        let spans = self.places().terms(&block.clauses.groups);
        if spans.len() != terms.len() {
            return Err(unclear());
        }
        for (term, span) in terms.iter().zip(spans) {
            let own;
            let (expr_span, survey) = match self.group_target(term, block)? {
                Target::Item(at) => match block.items.get(at).map(|item| (&item.span, &item.what)) {
                    Some((span, What::Expr(_, survey))) => (span.clone(), survey),
                    _ => return Err(unclear()),
                },
                Target::Own => {
                    own = self.survey(term).ok_or_else(unclear)?;
                    (span, &own)
                }
            };
            if survey.erratic || survey.subqueries || survey.windows || !survey.calls.is_empty() {
                return Err(refused(
                    "GROUP BY a sub-query, an aggregate or a value that is another each time",
                    "The value that is merged by must be the value that is grouped by.",
                    "Compute it in a sub-query in FROM.",
                ));
            }
            let normal = self.normal(&expr_span, survey);
            let collation = self.collation(&expr_span, survey);
            let pieces = vec![words("("), tokens_piece(&expr_span), words(")")];
            let column = self.partial(&mut grouped, "", normal.clone(), pieces)?;
            grouped.groups.push(Group { normal, column, collation });
        }
        Ok(grouped)
    }

    /// `findTargetlistEntrySQL92`, for GROUP BY: a number counts columns; a bare name is a column of the tables if it can be, else of the answer.
    fn group_target(&mut self, term: &Expr, block: &Block<'_>) -> Result<Target, PgError> {
        match unwrap(term) {
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } if matches!(unwrap(expr), Expr::Value(_)) => {
                Err(uncertain("a constant in GROUP BY"))
            }
            Expr::Value(value) => match &value.value {
                Value::Number(digits, _) => self.ordinal(digits, block),
                _ => Err(uncertain("a constant in GROUP BY")),
            },
            Expr::Identifier(ident) => {
                if self.column(std::slice::from_ref(ident)).is_some() {
                    return Ok(Target::Own);
                }
                let name = scope::fold(ident);
                let hits: Vec<usize> = (0..block.items.len())
                    .filter(|at| block.items.get(*at).is_some_and(|item| item.name.as_deref() == Some(&name)))
                    .collect();
                // It is certain that no table has such a column, or nothing else may be meant.
                let free = self.scopes.last().is_some_and(|scope| {
                    !scope.opaque
                        && scope.merged.iter().all(|(merged, _)| *merged != *name)
                        && scope
                            .instances
                            .iter()
                            .filter_map(|at| self.instances.get(*at))
                            .all(|one| one.complete && one.columns.iter().all(|column| column.name != *name))
                });
                // `SELECT a ... GROUP BY a`: whichever of the two it is, it is the same.
                let itself = |at: &usize| {
                    let item = block.items.get(*at).map(|item| &item.what);
                    matches!(item, Some(What::Expr(own, _)) if matches!(unwrap(own), Expr::Identifier(own) if scope::fold(own) == name))
                };
                match hits.as_slice() {
                    hits if hits.iter().all(itself) => Ok(Target::Own),
                    [at] if free => Ok(Target::Item(*at)),
                    _ => Err(uncertain(&format!("GROUP BY \"{name}\", which may name several columns,"))),
                }
            }
            Expr::Tuple(_) | Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_) => Err(refused(
                "GROUPING SETS, ROLLUP, CUBE or a list in parentheses in GROUP BY",
                "They group several times at once.",
                "Group by plain terms, once for each set.",
            )),
            _ => Ok(Target::Own),
        }
    }

    /// The hidden column for this; made when it is not there yet.
    pub(super) fn partial(
        &mut self,
        grouped: &mut Grouped,
        function: &'static str,
        normal: Normal,
        pieces: Vec<Piece>,
    ) -> Result<u16, PgError> {
        for (at, column) in grouped.columns.iter().enumerate() {
            if column.function == function && self.same(&column.normal, &normal) {
                return number(at);
            }
        }
        grouped.columns.push(Column { function, normal, pieces });
        number(grouped.columns.len() - 1)
    }

    /// The aggregate's number; its partial results become hidden columns.
    pub(super) fn aggregate_call(
        &mut self,
        call: &Aggregate,
        survey: &Survey,
        grouped: &mut Grouped,
    ) -> Result<u16, PgError> {
        let normal = self.normal(&call.span, survey);
        for (at, known) in grouped.calls.iter().enumerate() {
            if self.same(&known.normal, &normal) {
                return number(at);
            }
        }
        // DISTINCT is nothing to those that take the same value twice as once.
        let same_twice =
            matches!(call.name.as_str(), "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or");
        if call.distinct && !same_twice {
            return Err(refused(
                &format!("{}(DISTINCT ...)", call.name),
                "Equal values may be on several shards.",
                "GROUP BY the shard key, or SELECT DISTINCT in a sub-query and count in the client.",
            ));
        }
        let unsupported = || {
            refused(
                &format!("aggregate {}", call.name),
                "Its result over all rows cannot be made of its results on the shards.",
                "GROUP BY the shard key, or restrict the statement to one shard key.",
            )
        };
        if !call.plain || (call.star && call.name != "count") {
            return Err(unsupported());
        }
        let collation = self.argument_collation(&call.arguments, &call.columns, call.collates);
        let plain = |function: Function| (function, NO_COLLATION);
        let (function, collation) = match call.name.as_str() {
            "count" => plain(Function::Count),
            "sum" => plain(Function::Sum),
            "avg" => plain(Function::Avg),
            "min" => (Function::Min { bytewise: collation.bytewise }, collation),
            "max" => (Function::Max { bytewise: collation.bytewise }, collation),
            "bool_and" | "every" => plain(Function::BoolAnd),
            "bool_or" => plain(Function::BoolOr),
            "bit_and" => plain(Function::BitAnd),
            "bit_or" => plain(Function::BitOr),
            "bit_xor" => plain(Function::BitXor),
            _ => return Err(unsupported()),
        };
        if collation.fuzzy {
            return Err(refused(
                &format!("{} of a collation that calls different text equal", call.name),
                "Goldseam compares bytes.",
                "Add COLLATE \"C\" to the argument.",
            ));
        }
        let parts = match function {
            Function::Avg if self.is_float4(&call.arguments, call) => vec![
                self.partial_result(grouped, "sum", Some("float8"), call, survey)?,
                self.partial_result(grouped, "count", None, call, survey)?,
            ],
            Function::Avg => {
                vec![
                    self.partial_result(grouped, "sum", None, call, survey)?,
                    self.partial_result(grouped, "count", None, call, survey)?,
                ]
            }
            Function::Count => vec![self.partial_result(grouped, "count", None, call, survey)?],
            Function::Sum => vec![self.partial_result(grouped, "sum", None, call, survey)?],
            Function::Min { .. } => vec![self.partial_result(grouped, "min", None, call, survey)?],
            Function::Max { .. } => vec![self.partial_result(grouped, "max", None, call, survey)?],
            Function::BoolAnd => vec![self.partial_result(grouped, "bool_and", None, call, survey)?],
            Function::BoolOr => vec![self.partial_result(grouped, "bool_or", None, call, survey)?],
            Function::BitAnd => vec![self.partial_result(grouped, "bit_and", None, call, survey)?],
            Function::BitOr => vec![self.partial_result(grouped, "bit_or", None, call, survey)?],
            Function::BitXor => vec![self.partial_result(grouped, "bit_xor", None, call, survey)?],
        };
        grouped.calls.push(Known { normal, call: Call { function, parts }, collation });
        number(grouped.calls.len() - 1)
    }

    /// A partial result: the client's own argument and FILTER under this function.
    fn partial_result(
        &mut self,
        grouped: &mut Grouped,
        function: &'static str,
        cast: Option<&'static str>,
        call: &Aggregate,
        survey: &Survey,
    ) -> Result<u16, PgError> {
        let mut normal = self.normal(&call.arguments, survey);
        let end = call.arguments.end..call.arguments.end;
        normal.push(Atom { what: Sort::Word(cast.unwrap_or("").to_string()), span: end });
        normal.extend(self.normal(&call.filter, survey));
        let mut pieces = match cast {
            None => vec![Piece::Words(format!("pg_catalog.{function}(")), tokens_piece(&call.arguments), words(")")],
            Some(cast) => vec![
                Piece::Words(format!("pg_catalog.{function}((")),
                tokens_piece(&call.arguments),
                Piece::Words(format!(")::{cast})")),
            ],
        };
        if !call.filter.is_empty() {
            pieces.push(tokens_piece(&call.filter));
        }
        self.partial(grouped, function, normal, pieces)
    }

    /// `avg` of real is a double, computed from doubles: sums that are rounded to real would not do.
    fn is_float4(&self, arguments: &Span, call: &Aggregate) -> bool {
        let bare = self.places().bare(arguments.clone());
        let [name] = call.columns.as_slice() else { return false };
        if name.span != bare {
            return false;
        }
        let found = self.column(&name.idents);
        let column = found.as_ref().and_then(|found| self.catalog_column(found.instance, &found.column));
        column.is_some_and(|column| column.type_oid == oid::FLOAT4)
    }
}
