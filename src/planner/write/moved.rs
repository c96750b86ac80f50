//! UPDATE of a shard key: which rows, what their new values are, and what their table needs to take them elsewhere.
//!
//! All new values are computed once, on the shard where the row is, by the query that locks it; what is done then (UPDATE in place, DELETE here and
//! INSERT there) only brings them.

use std::ops::Range;

use sqlparser::ast::{Expr, SelectItem, Update};

use super::staged::Dissection;
use super::steps::{Missing, table_name, update_list};
use super::types::without_length;
use super::{assigned, is_default, key_type_of};
use crate::catalog::ColumnDefault;
use crate::error::PgError;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::write::{Column, Key, MOMENT, Move, Target};
use crate::planner::bench::{Edit, quote};
use crate::planner::refuse;
use crate::planner::scope::{self, Place};
use crate::sql::TokenKind;
use crate::vschema::TablePlacement;

/// Where the clauses of an UPDATE stand.
struct Clauses {
    /// `[ONLY] t [*] [AS x]`.
    target: Range<usize>,
    set: Range<usize>,
    /// The list behind FROM.
    from: Range<usize>,
    /// With the word WHERE.
    condition: Range<usize>,
    /// The list behind RETURNING.
    returning: Range<usize>,
}

/// The tokens of a column's new value, none for DEFAULT, and the column.
type Assigned = (Option<Range<usize>>, String);

impl Dissection<'_> {
    /// The steps of an UPDATE that sets a column of the shard key; none if it does not.
    pub fn moved(&mut self, update: &Update, rest: Range<usize>) -> Result<Option<Move>, Missing> {
        let name = table_name(&update.table.relation).ok_or(Missing::Nothing)?;
        let parts = scope::parts(name).ok_or(Missing::Nothing)?;
        let Place::Sharded { table, relation } = scope::place(&self.context, &parts)? else { return Ok(None) };
        let TablePlacement::Sharded { columns: keys, vindex } = &table.placement else { return Ok(None) };
        let mut names = Vec::new();
        for assignment in &update.assignments {
            names.extend(assigned(assignment).ok_or_else(|| refuse::construct("UPDATE of part of a column"))?);
        }
        if !keys.iter().any(|key| names.contains(key)) {
            return Ok(None);
        }
        if !update.assignments.iter().all(super::sets_whole) {
            return Err(refuse::construct("UPDATE of part of a column beside the shard key").into());
        }
        let declared = self.context.vschema.local_functions.contains(&table.name);
        if relation.has_triggers && !declared {
            return Err(refuse::moved_triggers(&table.name).into());
        }
        let clauses = self.clauses(update, rest).ok_or_else(|| refuse::construct("this form of UPDATE"))?;
        let alias = match &update.table.relation {
            sqlparser::ast::TableFactor::Table { alias: Some(alias), .. } => scope::fold(&alias.name).into_owned(),
            _ => parts.last().cloned().unwrap_or_default(),
        };
        let alias = quote(&alias);
        let (around, stays) = self.beside(&update.table, update_list(update))?;
        let mut edits = self.staged(&update.assignments, &around, &stays)?;
        edits.extend(self.staged(&update.from, &around, &stays)?);
        edits.extend(self.staged(&update.selection, &around, &stays)?);
        self.no_moments(clauses.returning.clone())?;
        for range in [&clauses.set, &clauses.from, &clauses.condition] {
            let moments = self.moments(range.clone(), &edits)?;
            edits.extend(moments);
        }
        let within = |range: &Range<usize>| -> Vec<Edit> {
            edits.iter().filter(|(at, _)| range.start <= at.start && at.end <= range.end).cloned().collect()
        };
        let column = |name: &String| relation.column(name).ok_or_else(|| refuse::construct("this column of UPDATE"));
        let set = names.iter().map(column).collect::<Result<Vec<_>, PgError>>()?;
        let columns: Vec<Column> = relation
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.clone(),
                type_name: without_length(&column.type_name),
                generated: column.default == ColumnDefault::Generated,
            })
            .collect();
        // What the rows are, and what they are to be.
        let mut values: Vec<Piece> = Vec::new();
        for (term, assignment) in self.tokens().terms(&clauses.set).into_iter().zip(&update.assignments) {
            for (value, target) in self.values_of(term, &assignment.value, &assigned(assignment).unwrap_or_default())? {
                let at = column(&target)?;
                values.push(Piece::Words(", (".into()));
                match value {
                    Some(range) => values.extend(self.text_of(range.clone(), within(&range))?.pieces),
                    None => match columns.get(at) {
                        Some(column) if !column.generated => values.push(Piece::Default(target.clone())),
                        _ => return Err(refuse::construct("DEFAULT for a generated column in such an UPDATE").into()),
                    },
                }
                let type_name = columns.get(at).map_or("pg_catalog.text", |column| column.type_name.as_str());
                values.push(Piece::Words(format!(")::{type_name}")));
            }
        }
        let target = |text: &mut Text| -> Result<(), PgError> {
            text.pieces.extend(self.text_of(clauses.target.clone(), Vec::new())?.pieces);
            Ok(())
        };
        let from = self.text_of(clauses.from.clone(), within(&clauses.from))?.pieces;
        let condition = self.text_of(clauses.condition.clone(), within(&clauses.condition))?.pieces;
        let all: Vec<String> = columns.iter().map(|column| format!(", {alias}.{}", quote(&column.name))).collect();
        let mut find =
            Text { pieces: vec![Piece::Words(format!("SELECT {alias}.tableoid, {alias}.ctid{}", all.concat()))] };
        find.pieces.extend(values.iter().cloned());
        find.pieces.push(Piece::Words("FROM".into()));
        target(&mut find)?;
        if !from.is_empty() {
            find.pieces.push(Piece::Words(",".into()));
            find.pieces.extend(from.iter().cloned());
        }
        find.pieces.extend(condition.iter().cloned());
        find.pieces.push(Piece::Words(format!("FOR UPDATE OF {alias}")));
        let returned = self.returned(update, &clauses, &alias)?;
        // The DELETE that is judged computes and returns the same.
        let mut judge = Text { pieces: vec![Piece::Words("DELETE FROM".into())] };
        target(&mut judge)?;
        if !from.is_empty() {
            judge.pieces.push(Piece::Words("USING".into()));
            judge.pieces.extend(from);
        }
        judge.pieces.extend(condition);
        judge.pieces.push(Piece::Words("RETURNING 1".into()));
        let null = |piece| {
            if matches!(&piece, Piece::Default(name) if name != MOMENT) { Piece::Words("NULL".into()) } else { piece }
        };
        judge.pieces.extend(values.into_iter().map(null));
        let mut head = Text { pieces: vec![Piece::Words("UPDATE".into())] };
        target(&mut head)?;
        let key = |name: &String| {
            let at = relation.column(name).zip(key_type_of(&relation, name));
            let (column, key_type) = at.ok_or_else(|| refuse::key_update(name))?;
            let type_name = columns.get(column).map_or_else(String::new, |column| column.type_name.clone());
            Ok(Key { name: name.clone(), key_type, type_name, column })
        };
        let keys = keys.iter().map(key).collect::<Result<Vec<_>, PgError>>()?;
        let sql = format!("{}.{}", quote(&relation.schema), quote(&relation.name));
        let target = Target { table: table.name.clone(), sql, keyspace: table.keyspace, vindex: *vindex, keys };
        Ok(Some(Move { target, columns, set, find, judge, update: head, alias, returning: returned }))
    }

    fn clauses(&self, update: &Update, rest: Range<usize>) -> Option<Clauses> {
        let set = self.find(rest.clone(), "set")?;
        let from = self.find(set..rest.end, "from");
        let condition = self.find(from.unwrap_or(set)..rest.end, "where");
        let returning = self.find(condition.or(from).unwrap_or(set)..rest.end, "returning");
        let end = rest.end;
        let after_set = from.or(condition).or(returning).unwrap_or(end);
        let after_from = condition.or(returning).unwrap_or(end);
        let after_condition = returning.unwrap_or(end);
        let found = Clauses {
            target: rest.start + 1..set,
            set: set + 1..after_set,
            from: from.map_or(end..end, |from| from + 1..after_from),
            condition: condition.map_or(end..end, |condition| condition..after_condition),
            returning: returning.map_or(end..end, |returning| returning + 1..end),
        };
        let current = self.tokens().is(found.condition.start + 1, "current");
        let agrees = update.from.is_some() == from.is_some()
            && update.selection.is_some() == condition.is_some()
            && update.returning.is_some() == returning.is_some()
            && self.tokens().terms(&found.set).len() == update.assignments.len()
            && !current;
        agrees.then_some(found)
    }

    /// Of one assignment the value of each column: its tokens, none for DEFAULT.
    fn values_of(&self, term: Range<usize>, value: &Expr, targets: &[String]) -> Result<Vec<Assigned>, PgError> {
        let uncertain = || refuse::construct("this form of SET");
        let tokens = self.tokens();
        let equals = tokens.outer(&term).into_iter().find(|at| tokens.word(*at) == "=").ok_or_else(uncertain)?;
        let own = equals + 1..term.end;
        if own.is_empty() {
            return Err(uncertain());
        }
        if let ([target], true) = (targets, tokens.kind(term.start) != Some(TokenKind::LeftParen)) {
            return Ok(vec![((!is_default(value)).then_some(own), target.clone())]);
        }
        let open = if tokens.is(own.start, "row") { own.start + 1 } else { own.start };
        let inside = open + 1..own.end.saturating_sub(1);
        if tokens.kind(open) != Some(TokenKind::LeftParen)
            || tokens.closing(open) != Some(own.end)
            || tokens.any(inside.start, &["select", "with", "values"])
        {
            return Err(refuse::construct("SET of several columns by a sub-query, one of which is the shard key"));
        }
        let terms = tokens.terms(&inside);
        if terms.len() != targets.len() {
            return Err(uncertain());
        }
        let given = |term: Range<usize>| (!(term.len() == 1 && tokens.is(term.start, "default"))).then_some(term);
        Ok(terms.into_iter().map(given).zip(targets.iter().cloned()).collect())
    }

    /// RETURNING, in which a star is the table's own.
    fn returned(&self, update: &Update, clauses: &Clauses, alias: &str) -> Result<Option<Text>, PgError> {
        let Some(items) = &update.returning else { return Ok(None) };
        if update.from.is_some() {
            return Err(refuse::construct("RETURNING of an UPDATE with FROM that changes the shard key"));
        }
        let terms = self.tokens().terms(&clauses.returning);
        if terms.len() != items.len() {
            return Err(refuse::construct("this form of RETURNING"));
        }
        let mut edits: Vec<Edit> = Vec::new();
        for (term, item) in terms.into_iter().zip(items) {
            if matches!(item, SelectItem::Wildcard(_)) {
                edits.push((term, vec![Piece::Words(format!("{alias}.*"))]));
            }
        }
        let mut text = self.text_of(clauses.returning.clone(), edits)?;
        text.pieces.insert(0, Piece::Words("RETURNING".into()));
        Ok(Some(text))
    }
}
