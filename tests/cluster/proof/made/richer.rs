//! Queries that no shard answers alone: windows over all rows, grouping sets, LATERAL, DISTINCT ON, set operations within set operations,
//! aggregates with an order.

use super::tables::{Kind::*, Source};
use super::{Made, Maker};
use crate::proof::tree::{Node, commas, maybe, word};

impl Maker {
    /// One of them.
    pub(super) fn richer(&mut self) -> Made {
        match self.below(6) {
            0 | 1 => self.windows(),
            2 => self.grouping_sets(),
            3 => self.lateral(),
            4 => self.distinct_on(),
            _ => self.nested_sets(),
        }
    }

    fn unique_of(sources: &[Source]) -> Vec<String> {
        let of = |source: &Source| {
            let alias = source.alias.clone();
            source.unique.iter().map(|column| format!("{alias}.{column}")).collect::<Vec<_>>()
        };
        sources.iter().flat_map(of).collect()
    }

    fn windows(&mut self) -> Made {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let unique = Self::unique_of(&sources);
        let mut items: Vec<Node> = unique.iter().map(word).collect();
        for _ in 0..=self.below(3) {
            let partition =
                if self.chance(60) { format!("PARTITION BY {} ", self.group_key(&sources)) } else { String::new() };
            let first = if self.chance(40) { format!("{}, ", self.group_key(&sources)) } else { String::new() };
            let frame = self.pick(&[
                "",
                "",
                " ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING",
                " ROWS UNBOUNDED PRECEDING",
                " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
                " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE CURRENT ROW",
            ]);
            let function = match self.below(10) {
                0 => "row_number()".into(),
                1 => "rank()".into(),
                2 => "dense_rank()".into(),
                3 => format!("lag({})", self.any_value(&sources)),
                4 => format!("lead({}, 2)", self.value(&sources, Int)),
                5 => format!("first_value({})", self.any_value(&sources)),
                6 => format!("sum({})", self.value(&sources, Numeric)),
                7 => format!("count({})", self.any_value(&sources)),
                8 => format!("max({})", self.value(&sources, Int)),
                _ => "ntile(3)".into(),
            };
            let window = format!("{function} OVER ({partition}ORDER BY {first}{}{frame})", unique.join(", "));
            items.push(Node::Either(Box::new(word(window)), vec![word("1")]));
        }
        let main = Node::Seq(vec![commas("SELECT", items), from, condition]);
        let (order, limit) = self.tail(&sources, |this| this.any_value(&sources));
        Made { main, order, limit }
    }

    fn grouping_sets(&mut self) -> Made {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let keys = [self.group_key(&sources), self.group_key(&sources)];
        let unique = Self::unique_of(&sources).join(", ");
        let mut items: Vec<Node> = keys.iter().map(word).collect();
        items.push(word(format!("grouping({})", keys[0])));
        for _ in 0..=self.below(2) {
            let aggregate = match self.below(6) {
                0 => format!("string_agg({}::text, ',' ORDER BY {unique})", self.any_value(&sources)),
                1 => format!("array_agg({} ORDER BY {unique})", self.value(&sources, Int)),
                2 => format!("count(DISTINCT {})", self.value(&sources, Int)),
                3 => format!("percentile_disc(0.5) WITHIN GROUP (ORDER BY {})", self.value(&sources, Int)),
                _ => self.aggregate(&sources, None),
            };
            items.push(Node::Either(Box::new(word(aggregate)), vec![word("count(*)")]));
        }
        let [one, other] = &keys;
        let sets = match self.below(4) {
            0 => format!("GROUP BY ROLLUP ({one}, {other})"),
            1 => format!("GROUP BY CUBE ({one}, {other})"),
            2 => format!("GROUP BY GROUPING SETS (({one}), ({other}), ())"),
            _ => format!("GROUP BY {one}, ROLLUP ({other})"),
        };
        let groups = Node::Either(Box::new(word(sets)), vec![word(format!("GROUP BY {one}, {other}"))]);
        Made { main: Node::Seq(vec![commas("SELECT", items), from, condition, groups]), order: None, limit: None }
    }

    fn lateral(&mut self) -> Made {
        let (from, sources) = self.from(0, &[]);
        let (inner_from, inner) = self.from(0, &sources);
        let inner_condition = self.conditions(1, &inner, &sources);
        self.aliases += 1;
        let alias = format!("l{}", self.aliases);
        let value = if self.chance(50) {
            vec![word(format!("SELECT {} AS x", self.aggregate(&inner, Some(Int))))]
        } else {
            vec![word(format!("SELECT {} AS x", self.value(&inner, Int)))]
        };
        let many = !value[0].text().contains('(');
        let last = if many && self.chance(50) {
            maybe(word(format!("ORDER BY {} LIMIT 2", Self::unique_of(&inner).join(", "))))
        } else {
            Node::Seq(Vec::new())
        };
        let join = self.pick(&["CROSS JOIN LATERAL (", "LEFT JOIN LATERAL ("]);
        let end = if join.starts_with("LEFT") { format!(") {alias} ON true") } else { format!(") {alias}") };
        let lateral = Node::Seq(vec![word(join), Node::Seq(value), inner_from, inner_condition, last, word(end)]);
        let mut items: Vec<Node> = vec![self.item(&sources), word(format!("{alias}.x"))];
        if self.chance(30) {
            items = vec![word(format!("count({alias}.x), sum({alias}.x)"))];
        }
        let condition = self.conditions(0, &sources, &[]);
        Made { main: Node::Seq(vec![commas("SELECT", items), from, lateral, condition]), order: None, limit: None }
    }

    fn distinct_on(&mut self) -> Made {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let key = self.group_key(&sources);
        let unique = Self::unique_of(&sources).join(", ");
        let mut items: Vec<Node> = vec![word(format!("SELECT DISTINCT ON ({key}) {key}, {unique}"))];
        items.push(from);
        items.push(condition);
        Made { main: Node::Seq(items), order: Some(word(format!("ORDER BY {key}, {unique}"))), limit: None }
    }

    fn nested_sets(&mut self) -> Made {
        let kinds = [Int, self.pick(&[Text, Int, Date])];
        let mut set = |this: &mut Self, depth: usize| {
            let operation = this.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]);
            let (one, other) = (this.of_kinds(depth, &kinds, &[]), this.of_kinds(0, &kinds, &[]));
            Node::Seq(vec![word("("), one, word(operation), other, word(")")])
        };
        let (one, other) = (set(self, 1), set(self, 0));
        let operation = self.pick(&["UNION", "EXCEPT", "INTERSECT", "UNION ALL"]);
        let whole = Node::Either(Box::new(Node::Seq(vec![one.clone(), word(operation), other])), vec![one]);
        if self.chance(50) {
            return Made { main: whole, order: None, limit: None };
        }
        let main = Node::Seq(vec![word("SELECT q.x, count(*) FROM ("), whole, word(") q (x, y) GROUP BY q.x")]);
        Made { main, order: None, limit: None }
    }
}
