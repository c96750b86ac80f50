//! What statements are made of: tables and sub-queries in FROM, and what joins them.

use super::Maker;
use super::tables::{
    Kind::{self, *},
    Source, TABLES, Table,
};
use crate::proof::tree::{Node, maybe, word};

impl Maker {
    pub(super) fn from(&mut self, depth: usize, outer: &[Source]) -> (Node, Vec<Source>) {
        let (first, source) = self.source(depth, &[]);
        let mut parts = vec![word("FROM"), first];
        let mut sources = vec![source];
        let more = [0, 0, 0, 1, 1, 2][self.below(6)];
        for _ in 0..more.min(depth + 1) {
            let near = sources.clone();
            let (text, source) = self.source(depth.saturating_sub(1), &near);
            let kind = self.pick(&["JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]);
            let kind = if kind == "CROSS JOIN" && self.chance(70) { "JOIN" } else { kind };
            let mut join = vec![word(kind), text];
            if kind != "CROSS JOIN" {
                let mut on = vec![word(self.meeting(&sources, &source))];
                if self.chance(25) {
                    let both: Vec<Source> = sources.iter().chain([&source]).cloned().collect();
                    on.push(self.condition(0, &both, outer));
                }
                join.push(Node::List { before: "ON", between: " AND ", items: on, fixed: 1, may_be_empty: false });
            }
            parts.push(maybe(Node::Seq(join)));
            sources.push(source);
        }
        (Node::Seq(parts), sources)
    }

    pub(super) fn source(&mut self, depth: usize, near: &[Source]) -> (Node, Source) {
        self.aliases += 1;
        let alias = format!("t{}", self.aliases);
        if depth > 0 && self.chance(15) {
            let kinds = [Int, self.pick(&[Int, Text, Numeric, Date])];
            let query = self.of_kinds(depth - 1, &kinds, &[]);
            let columns: Vec<(String, Kind)> =
                ["x", "y"].iter().zip(kinds).map(|(name, kind)| (name.to_string(), kind)).collect();
            let unique = vec!["x".into(), "y".into()];
            let source = Source { alias: alias.clone(), family: 9, key: vec!["x".into()], unique, columns };
            return (Node::Seq(vec![word("("), query, word(format!(") {alias} (x, y)"))]), source);
        }
        let family = near.iter().map(|source| source.family).find(|family| *family > 0);
        let candidates: Vec<Table> = TABLES
            .iter()
            .filter(|table| family.is_none_or(|family| table.1 == family || table.1 == 0 || family == 9))
            .copied()
            .collect();
        let candidates = if self.chance(8) { TABLES.to_vec() } else { candidates };
        let mut table = self.pick(&candidates);
        // The tables of families are of more interest than those that stand alone.
        if near.is_empty() && self.chance(40) {
            table = TABLES[self.below(4)];
        }
        if table.1 == -1 && self.chance(70) {
            table = TABLES[0];
        }
        let (name, family, key, unique, columns) = table;
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let columns = columns.iter().map(|(name, kind)| (name.to_string(), *kind)).collect();
        let source = Source { alias: alias.clone(), family, key: names(key), unique: names(unique), columns };
        (word(format!("{name} {alias}")), source)
    }

    /// An equality that joins: of shard keys mostly.
    pub(super) fn meeting(&mut self, before: &[Source], source: &Source) -> String {
        let near: Vec<&Source> =
            before.iter().filter(|near| near.family == source.family && !near.key.is_empty()).collect();
        if !near.is_empty() && self.chance(85) {
            let near = self.pick(&near);
            let pairs: Vec<String> = near
                .key
                .iter()
                .zip(&source.key)
                .map(|(one, other)| format!("{}.{one} = {}.{other}", near.alias, source.alias))
                .collect();
            return pairs.join(" AND ");
        }
        let near = self.pick(before);
        let kind = self.pick(&[Int, Text]);
        let find =
            |source: &Source| source.columns.iter().find(|(_, found)| *found == kind).map(|(name, _)| name.clone());
        match (find(&near), find(source)) {
            (Some(one), Some(other)) => format!("{}.{one} = {}.{other}", near.alias, source.alias),
            _ => "true".into(),
        }
    }
}
