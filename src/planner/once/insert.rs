//! Columns that an INSERT of rows leaves to their defaults, and DEFAULT in the rows: values for all shards are put in their places.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{Expr, Insert, SetExpr};

use super::ident_byte;
use super::sites::replaced;
use crate::catalog::{Column, ColumnDefault, Relation};
use crate::plan::once::{Part, Source};
use crate::planner::Planner;
use crate::planner::reference::quoted;
use crate::planner::scope::Place;
use crate::planner::write::{column_name, is_default};
use crate::sql::TokenKind;
use crate::vschema::TablePlacement;

/// Columns that an INSERT of rows does not name.
#[derive(Debug)]
pub(super) struct Supply {
    /// All columns of the new list, if the statement has none.
    list: Option<String>,
    /// Names to be added, and what each row gets for them.
    columns: Vec<(String, Vec<Part>)>,
    /// An identity column is among them that takes no values unless told so.
    overriding: bool,
}

impl Planner<'_> {
    /// What stands for a column's default where a value has to be known before a shard is: none if the shard may see to it, or nobody can.
    pub(in crate::planner) fn default_value(&self, column: &Column, key: bool) -> Option<(Vec<Part>, bool)> {
        let expression = column.supply.expression.as_deref();
        match column.default {
            ColumnDefault::Sequence => {
                let (schema, name) = column.supply.sequence.as_ref()?;
                let identity = expression.is_none();
                let sequence = self.spread_sequence(schema, name, identity)?;
                let source = Source::Next(Arc::new(sequence));
                Some((vec![Part::Value { source, bare: true }], true))
            }
            ColumnDefault::Moment => Some((replaced(expression?, key)?, key)),
            ColumnDefault::Expression if key => Some((replaced(expression?, true)?, true)),
            _ => None,
        }
    }

    /// Finds values for the columns that an INSERT of rows leaves to their defaults, where these have to be one for all shards.
    /// Whether the statement cannot go on without them.
    pub(in crate::planner) fn supply(&mut self, insert: &Insert, place: &Place) -> bool {
        if !self.scopes.is_empty() || !self.reading.is_empty() {
            return false;
        }
        match place {
            Place::Reference { relation, .. } => self.supply_columns(insert, relation, &[]),
            Place::Sharded { table, relation } => {
                if let TablePlacement::Sharded { columns, .. } = &table.placement {
                    self.supply_columns(insert, relation, columns);
                }
            }
            _ => {}
        }
        self.found.always
    }

    fn supply_columns(&mut self, insert: &Insert, relation: &Relation, keys: &[String]) {
        let Some(words) = self.insert_words(insert) else { return };
        let named: Vec<String> = insert.columns.iter().filter_map(column_name).collect();
        if named.len() != insert.columns.len() {
            return;
        }
        let all: Vec<String> = relation.columns.iter().map(|column| column.name.clone()).collect();
        let targets = if named.is_empty() { &all } else { &named };
        let rows = match insert.source.as_deref().map(|source| &*source.body) {
            None => &[][..],
            Some(SetExpr::Values(values)) => &values.rows[..],
            Some(_) => return,
        };
        let width = rows.first().map_or(0, |row| row.content.len()).min(targets.len());
        let given = if words.default_values { &[][..] } else { &targets[..width] };
        let (mut columns, mut always, mut overriding) = (Vec::new(), false, false);
        for column in &relation.columns {
            let key = keys.contains(&column.name);
            let Some((parts, must)) = self.default_value(column, key) else { continue };
            let place = given.iter().position(|name| *name == column.name);
            let Some(place) = place else {
                always |= must;
                overriding |= column.supply.always;
                columns.push((quoted(&column.name), parts));
                continue;
            };
            for row in rows {
                let Some(value) = row.content.get(place) else { continue };
                if is_default(value)
                    && let Some(byte) = ident_byte(value)
                {
                    always |= must;
                    overriding |= column.supply.always;
                    self.found.defaults.push((byte, parts.clone()));
                }
            }
        }
        if columns.is_empty() && self.found.defaults.is_empty() {
            return;
        }
        // What PostgreSQL says of a value for a column that is always generated is its to say.
        let refused = relation.columns.iter().filter(|column| column.supply.always).any(|column| {
            given.iter().position(|name| *name == column.name).is_some_and(|place| {
                rows.iter().any(|row| row.content.get(place).is_some_and(|value| !is_default(value)))
            })
        });
        if overriding && (refused || words.overriding == Some(false)) {
            self.found.defaults.clear();
            return;
        }
        let list = named.is_empty().then(|| given.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "));
        self.found.always |= always;
        self.found.supply = Some(Supply { list, columns, overriding: overriding && words.overriding.is_none() });
    }

    /// Whether a column gets a value by [`Planner::supply`].
    pub(in crate::planner) fn is_supplied(&self, column: &str) -> bool {
        let name = quoted(column);
        self.found.supply.as_ref().is_some_and(|supply| supply.columns.iter().any(|(known, _)| *known == name))
    }

    /// Whether a DEFAULT gets a value by [`Planner::supply`].
    pub(in crate::planner) fn is_supplied_default(&self, value: &Expr) -> bool {
        ident_byte(value).is_some_and(|byte| self.found.defaults.iter().any(|(known, _)| *known == byte))
    }

    pub(super) fn insert_edits(&self, supply: &Supply, edits: &mut Vec<(Range<u32>, Vec<Part>)>) -> Option<()> {
        let words = self.words_of_insert()?;
        let place = |at: usize| u32::try_from(self.body.start + at).ok();
        let names: Vec<&str> = supply.columns.iter().map(|(name, _)| name.as_str()).collect();
        let at = place(words.list_end)?;
        if !names.is_empty() {
            let text = match &supply.list {
                Some(list) if list.is_empty() => format!("({})", names.join(", ")),
                Some(list) => format!("({list}, {})", names.join(", ")),
                None => format!(", {}", names.join(", ")),
            };
            edits.push((at..at, vec![Part::Words(text)]));
        }
        let source = place(words.source)?;
        if supply.overriding {
            edits.push((source..source, vec![Part::Words("OVERRIDING SYSTEM VALUE".into())]));
        }
        let values = |first: bool| {
            let mut parts = Vec::new();
            for (n, (_, value)) in supply.columns.iter().enumerate() {
                if n > 0 || !first {
                    parts.push(Part::Words(",".into()));
                }
                parts.extend(value.iter().cloned());
            }
            parts
        };
        if words.default_values {
            let mut parts = vec![Part::Words("VALUES (".into())];
            parts.extend(values(true));
            parts.push(Part::Words(")".into()));
            edits.push((source..source + 2, parts));
            return Some(());
        }
        if names.is_empty() {
            return Some(());
        }
        for row in self.rows_from(words.source + 1)? {
            edits.push((row.end - 1..row.end - 1, values(false)));
        }
        Some(())
    }

    fn insert_words(&self, insert: &Insert) -> Option<Words> {
        let words = self.words_of_insert()?;
        (words.has_list != insert.columns.is_empty()).then_some(words)
    }

    /// Where the parts of an INSERT begin that is the statement itself; numbers count from the body's start.
    fn words_of_insert(&self) -> Option<Words> {
        let tokens = self.tokens.get(self.body.clone())?;
        let is = |at: usize, word: &str| tokens.get(at).is_some_and(|token| token.is(self.text, word));
        let kind = |at: usize| tokens.get(at).map(|token| token.kind);
        if !is(0, "insert") || !is(1, "into") {
            return None;
        }
        let mut at = 3;
        while kind(at) == Some(TokenKind::Dot) {
            at += 2;
        }
        if is(at, "as") {
            at += 2;
        }
        let mut list_end = at;
        let has_list = kind(at) == Some(TokenKind::LeftParen);
        if has_list {
            let mut depth = 0usize;
            loop {
                match kind(at)? {
                    TokenKind::LeftParen => depth += 1,
                    TokenKind::RightParen => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                at += 1;
            }
            list_end = at;
            at += 1;
        }
        let mut overriding = None;
        if is(at, "overriding") {
            overriding = Some(is(at + 1, "system"));
            at += 3;
        }
        let default_values = is(at, "default") && is(at + 1, "values");
        if !default_values && !is(at, "values") {
            return None;
        }
        Some(Words { has_list, list_end, overriding, source: at, default_values })
    }
}

/// The parts of an INSERT.
struct Words {
    has_list: bool,
    /// The list's closing parenthesis; without a list where one would begin.
    list_end: usize,
    /// OVERRIDING SYSTEM VALUE, or USER VALUE.
    overriding: Option<bool>,
    /// VALUES, or DEFAULT VALUES.
    source: usize,
    default_values: bool,
}
