//! COPY: which of its rows come from where, or go where.
//!
//! Rows of a table that is spread are split by their shard key, or gathered from all shards; those of a reference table go to every copy. Of a
//! table on one shard, that shard does it all, and so it does for a query that one shard can answer.

use super::{Context, Planner, functions, plan_query, refuse, scope, triggers};
use crate::catalog::{Column, ColumnDefault, Relation, RelationKind};
use crate::copy::Statement;
use crate::error::PgError;
use crate::plan::once::{Part, Source};
use crate::plan::work::copy::{CopyIn, CopyKey, CopyOut, CopySpread, Extra, ExtraSource, KeyPlace};
use crate::plan::{Effects, Fallback, Plan, Route, Steps, Verdict, Work, work};
use crate::sql::classify::name_of;
use crate::sql::{Token, TokenKind};
use crate::sqlstate::SqlState;
use crate::types::KeyType;
use crate::vschema::{Table, TablePlacement};
use scope::Place;

/// Plans a COPY.
pub(super) fn plan(context: &Context<'_>, text: &str, tokens: &[Token], mut effects: Effects) -> Plan {
    let read = Statement::read(text, tokens);
    if let Ok(Statement { query: Some(range), client, .. }) = &read {
        return query(context, text, tokens.get(range.clone()).unwrap_or_default(), *client);
    }
    let route = read.and_then(|statement| {
        effects.writes = statement.from;
        table(context, text, tokens, &statement, &mut effects)
    });
    let verdict = match route {
        Ok(route) => Verdict::Route(route),
        Err(error) => Verdict::Refuse(Box::new(error)),
    };
    Plan { verdict, effects, literal: false }
}

/// `COPY (query) TO`: one shard does it all, or the query is answered by itself.
fn query(context: &Context<'_>, text: &str, inside: &[Token], client: bool) -> Plan {
    let mut plan = plan_query(context, text, inside, false);
    if !client {
        return plan;
    }
    match &mut plan.verdict {
        Verdict::Route(route) => {
            route.work = Some(Work { always: false, steps: Steps::Copy(work::Copy::Query) }.into());
            plan
        }
        Verdict::Refuse(error) if error.code == SqlState::FEATURE_NOT_SUPPORTED => {
            let (Some(first), Some(last)) = (inside.first(), inside.last()) else { return plan };
            let own = text.get(first.start as usize..last.end as usize).unwrap_or_default();
            let mut plan = super::plan(own, context);
            if let Verdict::Route(route) = &mut plan.verdict {
                let reasons = std::mem::take(&mut route.reasons);
                let work = Work { always: true, steps: Steps::Copy(work::Copy::Query) };
                *route = Route { work: Some(work.into()), reasons, ..Route::default() };
            }
            plan
        }
        Verdict::Refuse(_) => plan,
    }
}

fn table(
    context: &Context<'_>,
    text: &str,
    tokens: &[Token],
    statement: &Statement,
    effects: &mut Effects,
) -> Result<Route, PgError> {
    let name = statement.table.last().cloned().unwrap_or_default();
    let done = |route: Route, why: String| Ok(Route { reasons: vec![why], ..route });
    let place = scope::place(context, &statement.table)?;
    if statement.from && (statement.client || matches!(place, Place::Single { .. })) {
        triggers::check(context, &place)?;
        if let Some(clock) = triggers::clock(context, &place, true) {
            return Err(triggers::clocked(&clock));
        }
    }
    match place {
        Place::Sharded { table, relation } => {
            check_client(statement, &name)?;
            effects.timed = false;
            let steps = match statement.from {
                true => {
                    check_condition(context, text, tokens, statement)?;
                    work::Copy::In(copy_in(context, statement, &table, relation)?)
                }
                false => work::Copy::Out(copy_out(statement, &table, &relation)),
            };
            let route =
                Route { work: Some(Work { always: true, steps: Steps::Copy(steps) }.into()), ..Route::default() };
            let how = if statement.from { "rows go where their keys lead" } else { "rows come from every shard" };
            done(route, format!("table {name}: {how}"))
        }
        Place::Reference { table, .. } if !statement.from => {
            effects.timed = false;
            done(
                Route { keyspaces: vec![table.keyspace], ..Route::default() },
                format!("table {name}: a copy on every shard"),
            )
        }
        Place::Reference { table, relation } => {
            check_client(statement, &name)?;
            effects.timed = false;
            check_condition(context, text, tokens, statement)?;
            let steps = work::Copy::In(copy_in(context, statement, &table, relation)?);
            let route =
                Route { work: Some(Work { always: true, steps: Steps::Copy(steps) }.into()), ..Route::default() };
            done(route, format!("table {name}: every copy gets all rows"))
        }
        Place::Single { shard, .. } => {
            let why = format!("table {name}: unsharded, on {}", context.vschema.shard_name(shard));
            done(Route { fixed: Some(shard), ..Route::default() }, why)
        }
        Place::System => {
            let why = format!("table {name}: of the system, whose home shard is asked");
            done(Route { fallback: Fallback::Home, ..Route::default() }, why)
        }
        Place::Temporary | Place::Unknown => {
            let why = format!("table {name}: temporary or unknown");
            done(Route { fallback: Fallback::Attached, ..Route::default() }, why)
        }
    }
}

/// Files and programs are on a server: which one is not said.
fn check_client(statement: &Statement, name: &str) -> Result<(), PgError> {
    if statement.client {
        return Ok(());
    }
    let (from, way) = if statement.from { ("FROM", "STDIN") } else { ("TO", "STDOUT") };
    Err(PgError::unsupported(format!(
        "COPY {from} a file or program of the server is not supported for table \"{name}\""
    ))
    .with_detail("Its rows are on several servers, and each of them would read or write a file of its own.")
    .with_hint(format!("Use COPY {from} {way}, or psql's \\copy, which does.")))
}

/// Words that may stand before a parenthesis and are no functions of a table.
const GRAMMAR: &[&str] = &[
    "all",
    "and",
    "any",
    "between",
    "bit",
    "by",
    "case",
    "cast",
    "char",
    "character",
    "coalesce",
    "decimal",
    "else",
    "extract",
    "greatest",
    "ilike",
    "in",
    "interval",
    "is",
    "least",
    "like",
    "not",
    "nullif",
    "numeric",
    "or",
    "overlay",
    "position",
    "row",
    "similar",
    "some",
    "substring",
    "then",
    "time",
    "timestamp",
    "to",
    "trim",
    "varchar",
    "varying",
    "when",
];

/// The condition is judged on each shard, for its own rows: it must say the same everywhere.
fn check_condition(context: &Context<'_>, text: &str, tokens: &[Token], statement: &Statement) -> Result<(), PgError> {
    let Some(range) = &statement.condition else { return Ok(()) };
    let condition = tokens.get(range.clone()).unwrap_or_default();
    for (at, token) in condition.iter().enumerate() {
        let Some(name) = name_of(text, *token) else { continue };
        let called = condition.get(at + 1).is_some_and(|next| next.kind == TokenKind::LeftParen)
            && !GRAMMAR.contains(&name.as_ref());
        let plain = ["current_timestamp", "current_date", "current_time", "localtime", "localtimestamp"];
        let same = match context.catalog.functions.get(name.as_ref()) {
            Some(function) if called => function.immutable || context.vschema.local_functions.contains(name.as_ref()),
            None if called => functions::spread(&name) == functions::Spread::Alike,
            _ => !plain.contains(&name.as_ref()),
        };
        if !same {
            return Err(PgError::unsupported(format!("{name} in the condition of a COPY over several shards"))
                .with_detail("Each shard judges its own rows, and it may be something else on each.")
                .with_hint("Send the value itself."));
        }
    }
    Ok(())
}

/// The columns that a COPY without a list of them has.
fn all_columns(relation: &Relation) -> Vec<String> {
    let plain = relation.columns.iter().filter(|column| column.default != ColumnDefault::Generated);
    plain.map(|column| column.name.clone()).collect()
}

fn columns_of(statement: &Statement, relation: &Relation) -> (Vec<String>, Option<u32>) {
    match &statement.columns {
        Some(columns) => (columns.clone(), None),
        // The shards' own orders of columns may differ: all are told.
        None => (all_columns(relation), Some(statement.behind_name as u32)),
    }
}

fn copy_out(statement: &Statement, table: &Table, relation: &Relation) -> CopyOut {
    let (columns, list_at) = columns_of(statement, relation);
    CopyOut { keyspace: table.keyspace, columns, list_at }
}

fn copy_in(
    context: &Context<'_>,
    statement: &Statement,
    table: &Table,
    relation: std::sync::Arc<Relation>,
) -> Result<CopyIn, PgError> {
    if relation.kind != RelationKind::Table {
        return Err(refuse::view(&relation.name));
    }
    if let Some(option) = statement.options.unknown.first() {
        return Err(PgError::unsupported(format!("COPY option \"{option}\" is not supported over several shards"))
            .with_detail("What it means for rows that go to several shards is not known."));
    }
    let (columns, list_at) = columns_of(statement, &relation);
    let keys: &[String] = match &table.placement {
        TablePlacement::Sharded { columns, .. } => columns,
        _ => &[],
    };
    let planner = Planner::new(context, "", &[]);
    let (mut defaults, mut extras) = (Vec::new(), Vec::new());
    for column in relation.columns.iter().filter(|column| !columns.contains(&column.name)) {
        // Copies have to be equal, and a key has to be known.
        let exact = keys.is_empty() || keys.contains(&column.name);
        let value = planner.default_value(column, exact).and_then(|(parts, _)| source(&parts, column));
        match (column.default, value) {
            (ColumnDefault::None | ColumnDefault::Generated, _) => {}
            (ColumnDefault::Expression, _) if !exact => {}
            (ColumnDefault::Expression, Some(ExtraSource::Once(_))) if keys.is_empty() => {}
            (_, Some(source)) => {
                let (type_oid, type_name) = (column.type_oid, column.type_name.clone());
                extras.push(Extra { name: column.name.clone(), type_oid, type_name, source });
            }
            (ColumnDefault::Sequence, None) => return Err(refuse::sequence_default(&table.name, &column.name)),
            (ColumnDefault::Moment, None) => return Err(moment(&table.name, &column.name)),
            (ColumnDefault::Expression, None) => defaults.push(column.name.clone()),
        }
    }
    let spread = match &table.placement {
        TablePlacement::Sharded { columns: keys, vindex } => {
            defaults.clear();
            let keys = keys.iter().map(|key| copy_key(&relation, &columns, &extras, key)).collect::<Result<_, _>>()?;
            Some(CopySpread { vindex: *vindex, keys })
        }
        _ => None,
    };
    let (table, keyspace) = (table.name.clone(), table.keyspace);
    Ok(CopyIn { table, keyspace, relation, columns, spread, list_at, defaults, extras })
}

/// Where the values of a column come from whose default has been taken apart.
fn source(parts: &[Part], column: &Column) -> Option<ExtraSource> {
    match parts {
        [Part::Value { source: Source::Next(sequence), .. }] => Some(ExtraSource::Next(sequence.clone())),
        [Part::Value { source: Source::Made(maker), .. }] => Some(ExtraSource::Made(*maker)),
        parts => {
            // The time of the transaction is the same for all rows.
            let fixed = |part: &Part| match part {
                Part::Words(_) | Part::Value { source: Source::Transaction | Source::Statement, .. } => true,
                Part::Tokens(_) | Part::Value { .. } => false,
            };
            let expression = column.supply.expression.clone();
            expression.filter(|_| parts.iter().all(fixed)).map(ExtraSource::Once)
        }
    }
}

fn copy_key(relation: &Relation, columns: &[String], extras: &[Extra], key: &str) -> Result<CopyKey, PgError> {
    let field = columns.iter().position(|column| column == key).map(|at| KeyPlace::Field(at as u16));
    let extra = || extras.iter().position(|extra| extra.name == key).map(|at| KeyPlace::Extra(at as u16));
    let Some(at) = field.or_else(extra) else {
        return Err(PgError::unsupported(format!("COPY does not give shard key column \"{key}\" a value"))
            .with_detail("The row's shard is not known without it.")
            .with_hint("Put the column into the data."));
    };
    let column = relation.column(key).and_then(|index| relation.columns.get(index));
    let column = column.ok_or_else(|| {
        PgError::new(
            SqlState::UNDEFINED_COLUMN,
            format!("column \"{key}\" of relation \"{}\" does not exist", relation.name),
        )
    })?;
    let key_type = KeyType::from_column(column.type_oid, &column.type_name).filter(|_| !column.nondeterministic);
    let Some(key_type) = key_type else {
        return Err(PgError::unsupported(format!(
            "column \"{key}\" of type {} cannot be a shard key",
            column.type_name
        )));
    };
    Ok(CopyKey { name: key.to_owned(), at, key_type, cuts: column.type_name.contains('(') })
}

fn moment(table: &str, column: &str) -> PgError {
    PgError::unsupported(format!("default of column \"{column}\" of table \"{table}\" tells the time or the moment"))
        .with_detail("Each shard would evaluate it by itself, and the rows of one COPY would differ.")
        .with_hint("Put the column into the data.")
}
