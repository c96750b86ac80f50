//! Function calls: their arguments, and what a function does beside giving a value.

use sqlparser::ast::{
    CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, ObjectName,
    Value, WindowType,
};

use super::functions::{self, Class};
use super::{Planner, once, refuse, scope, tree};
use crate::error::PgError;
use crate::plan::Pin;
use crate::sql;

impl Planner<'_> {
    /// A function call: its arguments, and what it does beyond them.
    pub(super) fn function(&mut self, function: &Function) -> Result<(), PgError> {
        if function.uses_odbc_syntax || !matches!(function.parameters, FunctionArguments::None) {
            return Err(refuse::construct("this form of function call"));
        }
        let before = self.tree.names;
        self.call(&function.name, &function.args)?;
        self.exprs(function.filter.as_deref())?;
        self.order(&function.within_group)?;
        let names = (self.tree.names.0 - before.0, self.tree.names.1 - before.1);
        let window = match &function.over {
            None => {
                if self.is_aggregate(function) {
                    self.aggregate(names);
                }
                return Ok(());
            }
            Some(WindowType::NamedWindow(name)) => {
                tree::Window { base: Some(scope::fold(name).into_owned()), partition: Vec::new() }
            }
            Some(WindowType::WindowSpec(window)) => {
                self.window(window)?;
                self.window_part(window)
            }
        };
        self.tree.block().into_iter().for_each(|block| block.windows.push(window.clone()));
        Ok(())
    }

    fn is_aggregate(&self, function: &Function) -> bool {
        let Some(name) = scope::parts(&function.name).and_then(|parts| parts.last().cloned()) else { return true };
        let list = match &function.args {
            FunctionArguments::List(list) => list.duplicate_treatment.is_some() || !list.clauses.is_empty(),
            _ => false,
        };
        list || function.filter.is_some()
            || !function.within_group.is_empty()
            || functions::is_aggregate(&name)
            || self.context.catalog.aggregates.contains(&name)
    }

    /// An aggregate makes one row of many, or of each group. If its arguments are columns of blocks further out only, it is theirs.
    fn aggregate(&mut self, (own, others): (usize, usize)) {
        if own == 0 && others > 0 {
            self.spoil("an aggregate that may be an outer query's");
        }
        self.tree.block().into_iter().for_each(|block| block.aggregates = true);
    }

    /// A call's name and arguments.
    pub(super) fn call(&mut self, name: &ObjectName, arguments: &FunctionArguments) -> Result<(), PgError> {
        let first = match arguments {
            FunctionArguments::None => None,
            FunctionArguments::Subquery(query) => {
                self.inner_query(query, None)?;
                None
            }
            FunctionArguments::List(list) => {
                self.arguments(&list.args)?;
                for clause in &list.clauses {
                    match clause {
                        FunctionArgumentClause::OrderBy(order) => self.order(order)?,
                        FunctionArgumentClause::JsonNullClause(_)
                        | FunctionArgumentClause::JsonReturningClause(_)
                        | FunctionArgumentClause::IgnoreOrRespectNulls(_) => {}
                        _ => return Err(refuse::construct("this clause of a function call")),
                    }
                }
                list.args.first()
            }
        };
        self.called(name, first, arguments)
    }

    /// A list of arguments.
    pub(super) fn arguments(&mut self, arguments: &[FunctionArg]) -> Result<(), PgError> {
        for argument in arguments {
            let value = match argument {
                FunctionArg::Named { arg, .. } | FunctionArg::Unnamed(arg) => arg,
                FunctionArg::ExprNamed { name, arg, .. } => {
                    self.expr(name)?;
                    arg
                }
            };
            match value {
                FunctionArgExpr::Expr(expr) => self.expr(expr)?,
                FunctionArgExpr::QualifiedWildcard(_) => self.tree.names.1 += usize::from(self.tree.is_nested()),
                FunctionArgExpr::Wildcard => {}
                FunctionArgExpr::WildcardWithOptions(_) => return Err(refuse::construct("* with options")),
            }
        }
        Ok(())
    }

    fn called(
        &mut self,
        name: &ObjectName,
        first: Option<&FunctionArg>,
        arguments: &FunctionArguments,
    ) -> Result<(), PgError> {
        let Some(parts) = scope::parts(name) else { return Err(refuse::construct("a computed function name")) };
        let Some(bare) = parts.last().cloned() else { return Ok(()) };
        let byte = once::name_byte(name);
        if matches!(&parts[..], [schema, _] if schema == "goldseam") && once::is_maker(&bare) {
            self.floating = false;
            self.tree.volatile += usize::from(!self.meet_maker(byte));
            return Ok(());
        }
        let system = parts.len() == 2 && parts.first().is_some_and(|schema| schema == "pg_catalog");
        if !system && let Some(known) = self.context.catalog.functions.get(&bare) {
            if known.closed && !known.immutable {
                // It computes, but not surely the same with each call.
                self.floating = false;
                self.tree.volatile += 1;
                return Ok(());
            }
            if known.immutable || self.context.vschema.local_functions.contains(&bare) {
                if !known.immutable {
                    self.unfit.get_or_insert_with(|| format!("function \"{bare}\", which reads its shard's tables,"));
                }
                self.floating = false;
                self.writes |= !known.immutable;
                self.home_unless_placed |= !known.immutable;
                self.tree.volatile += usize::from(!known.immutable);
                return Ok(());
            }
            return self.user_function(&bare);
        }
        refuse::of_connection(&bare)?;
        refuse::large_object(&bare, self.context.vschema)?;
        self.home_unless_placed |= functions::speaks_of_oids(&bare);
        self.objects |= functions::speaks_of_oids(&bare);
        self.tree.volatile += usize::from(functions::is_erratic(&bare));
        match functions::spread(&bare) {
            functions::Spread::Alike => {}
            functions::Spread::Time if self.meet_time(byte) => {}
            functions::Spread::Time => {
                self.spoil(&format!("{bare}(), which each server would answer by its own clock,"))
            }
            functions::Spread::Apart => self.spoil(&format!("function \"{bare}\"")),
        }
        match functions::class(&bare) {
            Class::Plain => self.attached |= functions::reads_catalog(&bare),
            Class::Moment => {
                self.floating = false;
                // How long it sleeps says nothing of the time.
                self.timed |= !matches!(bare.as_str(), "pg_sleep" | "pg_sleep_for");
            }
            Class::Home => self.at_home(&bare),
            Class::SessionLock => {
                self.at_home(&bare);
                self.pin = self.pin.or(Some(Pin::AdvisoryLock));
            }
            Class::SessionState => {
                if bare == "lastval" {
                    self.meet_last(byte);
                }
                self.attached = true;
                self.floating = false;
                self.pin = Some(Pin::SessionState);
            }
            Class::SetConfig => {
                if !self.context.vschema.single_shard() && sql::set_configs(self.text).is_empty() {
                    return Err(refuse::setting());
                }
                self.attached = true;
                self.floating = false;
                let local = match arguments {
                    FunctionArguments::List(list) => matches!(
                        list.args.get(2),
                        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))))
                            if value.value == Value::Boolean(true)
                    ),
                    _ => false,
                };
                if !local {
                    self.pin = Some(Pin::UntrackedSetting);
                }
            }
            Class::Sequence => self.sequence(&bare, name, first)?,
            Class::ReadsTables if self.context.vschema.local_functions.contains(&bare) => {
                self.unfit.get_or_insert_with(|| format!("function \"{bare}\", which reads its shard's tables,"));
                self.home_unless_placed = true
            }
            Class::ReadsTables => self.reader = self.reader.take().or(Some(bare)),
            Class::Foreign => {
                self.floating = false;
                self.writes = true;
                self.home_unless_placed = true;
            }
        }
        Ok(())
    }

    /// A user's function that is not immutable may read any table.
    pub(super) fn user_function(&mut self, name: &str) -> Result<(), PgError> {
        if self.context.vschema.local_functions.contains(name) {
            self.unfit.get_or_insert_with(|| format!("function \"{name}\", which reads its shard's tables,"));
            self.home_unless_placed = true;
            self.tree.volatile += 1;
        } else {
            self.reader = self.reader.take().or(Some(name.to_string()));
        }
        self.floating = false;
        self.writes = true;
        Ok(())
    }

    fn at_home(&mut self, name: &str) {
        self.floating = false;
        self.writes = true;
        self.need_home = self.need_home.take().or_else(|| Some(name.to_string()));
    }

    /// `nextval('name')`: the sequence must be on one shard.
    fn sequence(&mut self, function: &str, name: &ObjectName, first: Option<&FunctionArg>) -> Result<(), PgError> {
        self.floating = false;
        // The normaliser keeps exactly these literals in the plan's key: an unquoted function name, and the literal right after
        // the parenthesis.
        let plain = name.0.last().is_some_and(|part| part.as_ident().is_some_and(|ident| ident.quote_style.is_none()));
        let literal = match first {
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) => match expr {
                Expr::Value(value) => Some(&value.value),
                Expr::Cast { expr, .. } if matches!(**expr, Expr::Value(_)) => match &**expr {
                    Expr::Value(value) => Some(&value.value),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        // `CAST('s' AS regclass)` does not put the literal right after the call's parenthesis.
        let direct = matches!(
            first,
            Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(
                Expr::Value(_) | Expr::Cast { kind: CastKind::DoubleColon, .. }
            )))
        );
        let Some(Value::SingleQuotedString(text)) = literal.filter(|_| plain && direct) else {
            return Err(refuse::construct(&format!("{function} of a computed sequence name")));
        };
        let Some(parts) = once::sequence_parts(text) else {
            return Err(refuse::construct(&format!("{function} of this sequence name")));
        };
        if let Some(sequence) = self.named_sequence(&parts) {
            if self.meet_sequence(once::name_byte(name), &sequence) {
                return Ok(());
            }
            // Its home gives out every number once, whoever asks.
            self.writes = true;
            self.tree.volatile += 1;
            return match function {
                "currval" => Err(refuse::construct("currval in this place")),
                _ => self.fix(sequence.home, &format!("sequence {text}")),
            };
        }
        self.writes = true;
        if function == "currval" {
            self.pin = Some(Pin::SessionState);
        }
        match scope::place(&self.context, &parts)? {
            scope::Place::Single { shard, .. } => {
                self.sequences = true;
                self.fix(shard, &format!("sequence {text}"))
            }
            scope::Place::Unknown | scope::Place::Temporary => {
                self.attached = true;
                Ok(())
            }
            _ => Err(refuse::sequence(text)),
        }
    }
}
