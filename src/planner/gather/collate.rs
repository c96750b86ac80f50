//! Collations: where it is certain that text is ordered by its bytes, and where the servers' default order is the one that is meant.
//!
//! An expression's collation comes from its columns, from COLLATE, and for all else it is the database's default. So if every column in it
//! compares bytes, and the default does, and nothing else has a say, the expression does.

use super::clauses::Span;
use super::survey::{Name, Survey};
use crate::catalog::{Column, Relation};
use crate::planner::Planner;
use crate::types::oid;

/// What is known of a collation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collation {
    /// It compares bytes.
    pub bytewise: bool,
    /// It is the type's own: for text the default.
    pub plain: bool,
    /// Different bytes may be equal.
    pub fuzzy: bool,
    /// It is a column of a type that has a collation.
    pub text: bool,
}

impl Planner<'_> {
    /// The collation of an expression.
    pub(super) fn collation(&self, span: &Span, survey: &Survey) -> Collation {
        let tokens = self.places();
        let bare = tokens.bare(span.clone());
        let inside = !survey.calls.is_empty() || survey.subqueries;
        // `x COLLATE "C"`, if that is the last word.
        if !inside && bare.len() > 2 && tokens.is(bare.end - 2, "collate") && bytewise_name(tokens.word(bare.end - 1)) {
            let fuzzy = survey.columns.iter().any(|name| self.column_collation(name).fuzzy);
            return Collation { bytewise: true, plain: false, fuzzy, text: true };
        }
        let mut collation = self.collation_of(&survey.columns, survey.collates);
        if inside {
            collation.bytewise &= self.calm();
            collation.plain &= self.calm();
        }
        let one_column = survey.columns.len() == 1 && survey.columns.iter().all(|name| name.span == bare);
        if !one_column {
            collation.bytewise &= self.context.catalog.bytewise;
            collation.text = false;
        }
        collation
    }

    /// The collation that an aggregate's argument brings.
    pub(super) fn argument_collation(&self, span: &Span, columns: &[Name], collates: bool) -> Collation {
        let survey = Survey { columns: columns.to_vec(), collates, ..Survey::default() };
        self.collation(span, &survey)
    }

    fn collation_of(&self, columns: &[Name], collates: bool) -> Collation {
        let none = Collation { bytewise: !collates, plain: !collates, fuzzy: false, text: false };
        columns.iter().map(|name| self.column_collation(name)).fold(none, |known, one| Collation {
            bytewise: known.bytewise && one.bytewise,
            plain: known.plain && one.plain,
            fuzzy: known.fuzzy || one.fuzzy,
            text: known.text || one.text,
        })
    }

    fn column_collation(&self, name: &Name) -> Collation {
        let found = self.column(&name.idents);
        match found.as_ref().and_then(|found| self.catalog_column(found.instance, &found.column)) {
            Some(column) => of_column(column),
            // A sub-query's column, or one that is not known.
            None => {
                let calm = self.calm();
                Collation { bytewise: calm && self.context.catalog.bytewise, plain: calm, fuzzy: !calm, text: false }
            }
        }
    }

    /// The collation of a column of a use of a table.
    pub(super) fn star_collation(&self, instance: usize, column: &str) -> Collation {
        match self.catalog_column(instance, column) {
            Some(column) => of_column(column),
            None => {
                let calm = self.calm();
                Collation { bytewise: calm && self.context.catalog.bytewise, plain: calm, fuzzy: !calm, text: false }
            }
        }
    }

    /// The column as the catalog has it.
    pub(super) fn catalog_column(&self, instance: usize, name: &str) -> Option<&Column> {
        let (relation, names) = self.relations.get(&instance)?;
        let at = names.iter().position(|known| known == name)?;
        relation.columns.get(at)
    }

    /// Whether no collation but the types' own can be about: no table of the statement has another, and no word of it names one.
    pub(super) fn calm(&self) -> bool {
        let tokens = self.places();
        let plain = |(relation, _): &(std::sync::Arc<Relation>, Vec<String>)| {
            relation.columns.iter().all(|column| column.plain_collation && !column.nondeterministic)
        };
        // A type of a user's may have a collation of its own; which words are types only the tree would say.
        let words = |at: usize| tokens.is(at, "collate") || tokens.is(at, "cast") || tokens.word(at) == "::";
        self.relations.values().all(plain) && !(0..tokens.all.len()).any(words)
    }
}

fn of_column(column: &Column) -> Collation {
    let text = matches!(column.type_oid, oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME);
    Collation { bytewise: column.bytewise, plain: column.plain_collation, fuzzy: column.nondeterministic, text }
}

/// Collations of PostgreSQL's own that compare bytes everywhere.
fn bytewise_name(word: &str) -> bool {
    matches!(word, "\"C\"" | "\"POSIX\"" | "ucs_basic" | "\"ucs_basic\"")
}
