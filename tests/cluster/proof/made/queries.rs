//! Whole queries: rows, groups, totals, distinct values, set operations, WITH; and the tails of them.

use super::tables::{
    Kind::{self, *},
    Source,
};
use super::{Made, Maker};
use crate::proof::tree::{Node, commas, maybe, terms, word};

impl Maker {
    pub(super) fn plain(&mut self) -> Made {
        let (from, sources) = self.from(2, &[]);
        let condition = self.conditions(2, &sources, &[]);
        let count = 1 + self.below(5);
        let mut items: Vec<Node> = (0..count).map(|_| self.item(&sources)).collect();
        if self.chance(10) {
            items.push(self.window(&sources));
        }
        if self.chance(10) {
            items.push(self.scalar(&sources));
        }
        if self.chance(5) {
            items = vec![word("*")];
        }
        let main = Node::Seq(vec![commas("SELECT", items), from, condition]);
        let (order, limit) = self.tail(&sources, |this| this.any_value(&sources));
        Made { main, order, limit }
    }

    pub(super) fn grouped(&mut self) -> Made {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let mut keys: Vec<String> = Vec::new();
        if self.chance(20)
            && let Some(source) = sources.iter().find(|source| source.family > 0)
        {
            keys.extend(source.key.iter().map(|key| format!("{}.{key}", source.alias)));
        }
        for _ in 0..=self.below(2) {
            keys.push(self.group_key(&sources));
        }
        let mut items: Vec<Node> = Vec::new();
        for key in &keys {
            if self.chance(80) {
                items.push(word(key));
            }
        }
        for _ in 0..=self.below(3) {
            items.push(self.aggregate_item(&sources));
        }
        let groups = commas("GROUP BY", keys.iter().map(word).collect());
        let mut having = Vec::new();
        if self.chance(30) {
            let aggregate = self.aggregate(&sources, Some(Int));
            having.push(word(format!("{aggregate} {} {}", self.pick(&[">", "<", "=", "<>"]), self.below(6))));
        }
        if self.chance(8) {
            having.push(word(format!("{} IS NOT NULL", self.pick(&keys))));
        }
        let main = Node::Seq(vec![commas("SELECT", items), from, condition, groups, terms("HAVING", having)]);
        let (order, limit) =
            self.tail_by(
                &keys,
                |this| {
                    if this.chance(50) { this.aggregate(&sources, Some(Int)) } else { this.pick(&keys) }
                },
            );
        Made { main, order, limit }
    }

    pub(super) fn totals(&mut self) -> Made {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let items: Vec<Node> = (0..=self.below(4)).map(|_| self.aggregate_item(&sources)).collect();
        let mut having = Vec::new();
        if self.chance(10) {
            having.push(word(format!("count(*) > {}", self.below(100))));
        }
        let main = Node::Seq(vec![commas("SELECT", items), from, condition, terms("HAVING", having)]);
        let limit = self.chance(10).then(|| word(format!("LIMIT {}", self.below(2))));
        Made { main, order: None, limit }
    }

    pub(super) fn distinct(&mut self) -> Made {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let values: Vec<String> = (0..=self.below(2)).map(|_| self.group_key(&sources)).collect();
        let main = Node::Seq(vec![commas("SELECT DISTINCT", values.iter().map(word).collect()), from, condition]);
        let (order, limit) = self.tail_by(&values.clone(), |this| this.pick(&values));
        Made { main, order, limit }
    }

    pub(super) fn set_operation(&mut self) -> Made {
        let kinds: Vec<Kind> = (0..=self.below(2)).map(|_| self.pick(&[Int, Int, Text, Numeric, Date])).collect();
        let one = self.of_kinds(1, &kinds, &[]);
        let other = self.of_kinds(1, &kinds, &[]);
        let operation = self.pick(&["UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
        let main = Node::Seq(vec![
            one.clone(),
            maybe(Node::Seq(vec![word(operation), other.clone()])),
            if self.chance(15) {
                maybe(Node::Seq(vec![word("UNION ALL"), self.of_kinds(1, &kinds, &[])]))
            } else {
                Node::Seq(Vec::new())
            },
        ]);
        let ordinals: Vec<String> = (1..=kinds.len()).map(|n| n.to_string()).collect();
        let order = self.chance(40).then(|| commas("ORDER BY", ordinals.iter().map(word).collect()));
        let limit = self.chance(25).then(|| word(format!("LIMIT {}", self.below(8))));
        Made { main, order, limit }
    }

    pub(super) fn with(&mut self) -> Made {
        let kinds = [Int, self.pick(&[Int, Text, Numeric]), self.pick(&[Int, Date])];
        let query = self.of_kinds(1, &kinds, &[]);
        let columns: Vec<(String, Kind)> =
            ["x", "y", "z"].iter().zip(kinds).map(|(name, kind)| (name.to_string(), kind)).collect();
        let unique = columns.iter().map(|(name, _)| name.clone()).collect();
        let sources = vec![Source { alias: "w".into(), family: 9, key: vec!["x".into()], unique, columns }];
        let mut from = vec![word("FROM w")];
        let mut all = sources.clone();
        if self.chance(40) {
            let (text, more) = self.source(0, &[]);
            let on = self.meeting(&sources, &more);
            from.push(maybe(Node::Seq(vec![word("JOIN"), text, word("ON"), word(on)])));
            all.push(more);
        }
        let items: Vec<Node> = if self.chance(40) {
            (0..=self.below(2)).map(|_| self.aggregate_item(&all)).collect()
        } else {
            (0..=self.below(2)).map(|_| self.item(&sources)).collect()
        };
        let main = Node::Seq(vec![
            word("WITH w (x, y, z) AS ("),
            query,
            word(")"),
            commas("SELECT", items),
            Node::Seq(from),
            self.conditions(1, &all, &[]),
        ]);
        Made { main, order: None, limit: None }
    }

    /// A query with columns of these kinds; the first is a shard key where it may be.
    pub(super) fn of_kinds(&mut self, depth: usize, kinds: &[Kind], outer: &[Source]) -> Node {
        let (from, sources) = self.from(depth, outer);
        let condition = self.conditions(depth, &sources, outer);
        let items: Vec<Node> = kinds
            .iter()
            .enumerate()
            .map(|(n, kind)| {
                let key = sources
                    .iter()
                    .find(|source| source.family > 0 && source.columns.first().is_some_and(|(_, first)| first == kind));
                match key {
                    Some(source) if n == 0 && self.chance(70) => word(format!("{}.{}", source.alias, source.key[0])),
                    _ => word(self.value(&sources, *kind)),
                }
            })
            .collect();
        let distinct = if self.chance(10) { "SELECT DISTINCT" } else { "SELECT" };
        let list = Node::List { before: distinct, between: ", ", items, fixed: kinds.len(), may_be_empty: false };
        Node::Seq(vec![list, from, condition])
    }

    /// ORDER BY that ends with what makes it total, and LIMIT.
    pub(super) fn tail(
        &mut self,
        sources: &[Source],
        term: impl FnMut(&mut Self) -> String,
    ) -> (Option<Node>, Option<Node>) {
        let unique: Vec<String> = sources
            .iter()
            .flat_map(|source| source.unique.iter().map(move |column| format!("{}.{column}", source.alias)))
            .collect();
        self.tail_by(&unique, term)
    }

    pub(super) fn tail_by(
        &mut self,
        unique: &[String],
        mut term: impl FnMut(&mut Self) -> String,
    ) -> (Option<Node>, Option<Node>) {
        let order = self.chance(60).then(|| {
            let mut items = Vec::new();
            for _ in 0..self.below(3) {
                let value = term(self);
                let direction = self.pick(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST", " ASC"]);
                items.push(word(format!("{value}{direction}")));
            }
            items.extend(unique.iter().map(word));
            Node::List { before: "ORDER BY", between: ", ", items, fixed: unique.len(), may_be_empty: false }
        });
        let limit = self.chance(35).then(|| {
            let limit = self.pick(&["0", "1", "2", "5", "7", "20", "1000", "NULL", "ALL", "1 + 2", "'3'"]);
            let offset = self.pick(&["0", "1", "3", "10", "NULL", "500"]);
            match self.below(6) {
                0 => word(format!("OFFSET {offset}")),
                1 => Node::Seq(vec![word(format!("OFFSET {offset}")), maybe(word("FETCH FIRST 3 ROWS ONLY"))]),
                2 => Node::Seq(vec![word(format!("LIMIT {limit}")), maybe(word(format!("OFFSET {offset}")))]),
                _ => word(format!("LIMIT {limit}")),
            }
        });
        // Any rows of a query without an order would do, but OFFSET and LIMIT together make their number hard to tell apart.
        (order, limit)
    }
}
