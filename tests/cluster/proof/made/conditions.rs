//! Conditions: comparisons, keys, sub-queries.

use super::Maker;
use super::tables::{
    Kind::{self, *},
    Source,
};
use crate::proof::tree::{Node, terms, word};

impl Maker {
    pub(super) fn conditions(&mut self, depth: usize, sources: &[Source], outer: &[Source]) -> Node {
        let mut items = Vec::new();
        let chance = [60, 35, 20];
        for percent in chance {
            if self.chance(percent) {
                items.push(self.condition(depth, sources, outer));
            }
        }
        if !outer.is_empty() {
            let source = self.pick(sources);
            items.push(word(self.meeting(outer, &source)));
        }
        terms("WHERE", items)
    }

    pub(super) fn condition(&mut self, depth: usize, sources: &[Source], outer: &[Source]) -> Node {
        let inner: Vec<Source> = sources.iter().chain(outer).cloned().collect();
        match self.below(if depth > 0 { 16 } else { 11 }) {
            0..=4 => word(self.comparison(sources)),
            5 => self.either(" OR ", sources),
            6 => Node::Either(
                Box::new(Node::Seq(vec![word("NOT ("), word(self.comparison(sources)), word(")")])),
                vec![word("true")],
            ),
            7..=9 => word(self.key_condition(sources)),
            10 => word(format!("{} IS {}NULL", self.any_value(sources), self.pick(&["", "NOT "]))),
            11 | 12 => {
                let not = self.pick(&["", "", "NOT "]);
                let query = self.of_kinds(depth - 1, &[Int], &inner);
                Node::Seq(vec![word(format!("{not}EXISTS (")), query, word(")")])
            }
            13 | 14 => {
                let not = self.pick(&["", "", "NOT "]);
                let value = self.value(sources, Int);
                let outer = if self.chance(30) { inner } else { Vec::new() };
                let query = self.of_kinds(depth - 1, &[Int], &outer);
                Node::Seq(vec![word(format!("{value} {not}IN (")), query, word(")")])
            }
            _ => {
                let (from, other) = self.from(0, &inner);
                let value = self.value(sources, Int);
                let aggregate = self.pick(&["max", "min", "count"]);
                let argument = self.value(&other, Int);
                let seen = if self.chance(70) { inner } else { Vec::new() };
                let condition = self.conditions(0, &other, &seen);
                Node::Seq(vec![word(format!("{value} <= (SELECT {aggregate}({argument})")), from, condition, word(")")])
            }
        }
    }

    pub(super) fn either(&mut self, between: &'static str, sources: &[Source]) -> Node {
        let items = (0..2).map(|_| word(self.comparison(sources))).collect();
        Node::Seq(vec![word("("), Node::List { before: "", between, items, fixed: 0, may_be_empty: false }, word(")")])
    }

    pub(super) fn comparison(&mut self, sources: &[Source]) -> String {
        let kind = self.pick(&[Int, Int, Numeric, Text, Text, Date, Float, Bool]);
        let value = self.value(sources, kind);
        let operator = self.pick(&["=", "<>", "<", ">", "<=", ">=", "IS DISTINCT FROM"]);
        format!("{value} {operator} {}", self.literal(kind))
    }

    /// The shard key and one or more of its values.
    pub(super) fn key_condition(&mut self, sources: &[Source]) -> String {
        let source = self.pick(sources);
        let Some(key) = source.key.first() else { return self.comparison(sources) };
        let key = format!("{}.{key}", source.alias);
        let kind =
            source.columns.iter().find(|(name, _)| key.ends_with(&format!(".{name}"))).map_or(Int, |(_, kind)| *kind);
        let mut value = || match kind {
            Text => match source.family {
                4 => format!("'tenant-{}'", self.below(14)),
                5 => format!("'acc-{}'", self.below(26)),
                6 => format!("'{}'", self.pick(&["de", "at", "fr", "it", "jp", "xx"])),
                _ => format!("'book{}'", self.below(4)),
            },
            Date => format!("'2026-0{}-{:02}'", 1 + self.below(4), 1 + self.below(28)),
            Sorted => format!("'00000000-0000-4000-8000-{:012x}'", 104_729 * (1 + self.below(26))),
            _ => (1 + self.below(62)).to_string(),
        };
        let (one, two, three) = (value(), value(), value());
        match self.below(7) {
            0 => format!("{key} = {one}"),
            1 | 2 => format!("{key} IN ({one}, {two}, {three})"),
            3 => format!("({key} = {one} OR {key} = {two})"),
            4 => format!("{key} BETWEEN {one} AND {two}"),
            5 => format!("{key} {} {one}", self.pick(&["<", ">", "<=", ">="])),
            _ => format!("{key} IN ({one}, NULL, {two})"),
        }
    }

    pub(super) fn literal(&mut self, kind: Kind) -> String {
        match kind {
            Int => self.below(50).to_string(),
            Numeric => self.pick(&["1.1", "10", "-3.5", "'NaN'", "50.00", "0"]).into(),
            Float => self.pick(&["0.5", "'NaN'", "2", "-1.25", "'Infinity'"]).into(),
            Text => self.pick(&["'Ada'", "'a'", "'paid'", "'Bo'", "'DE'", "''", "'ä'", "'x '"]).into(),
            Date => self.pick(&["'2026-01-15'", "'2025-12-31'", "'2026-03-01'", "'infinity'"]).into(),
            Time => self.pick(&["'2026-01-15 12:00'", "'2026-02-01'", "'-infinity'"]).into(),
            Bool => self.pick(&["true", "false"]).into(),
            Interval => self.pick(&["'1 day'", "'30 days'", "'1 mon'"]).into(),
            Sorted | Opaque => "NULL".into(),
        }
    }
}
