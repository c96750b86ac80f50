//! Statements made up from a seed, in the shapes that several shards answer together: orders with hidden keys, groups, aggregates, windows
//! of rows, joins within a family of tables and beyond it, sub-queries in every place, set operations.
//!
//! What is made is free of what depends on chance in PostgreSQL itself: an ORDER BY is total, a LIMIT without one may choose any rows
//! ([`Rule::of`]), no expression fails on some rows only, and floating-point sums are exact.

use super::compare::Rule;
use super::tree::{Node, commas, maybe, terms, word};

/// Enough to come from the largest statement to a small one.
const MAX_TRIES: usize = 600;

/// A statement that can be made smaller.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    main: Node,
    order: Option<Node>,
    limit: Option<Node>,
}

impl Made {
    pub fn sql(&self) -> String {
        let parts = [Some(&self.main), self.order.as_ref(), self.limit.as_ref()];
        Node::Seq(parts.into_iter().flatten().cloned().collect()).text()
    }

    /// A LIMIT of rows in no order.
    pub fn rule(&self) -> Rule {
        let choice = self.limit.is_some() && self.order.is_none();
        Rule { of: choice.then(|| self.main.text()), ..Rule::default() }
    }

    /// The smallest statement found that still fails.
    pub fn shrink(&self, mut fails: impl FnMut(&Made) -> bool) -> Made {
        let (mut best, mut tries) = (self.clone(), 0);
        loop {
            let Some(smaller) = best.smaller().into_iter().find(|smaller| {
                tries += 1;
                tries < MAX_TRIES && fails(smaller)
            }) else {
                return best;
            };
            best = smaller;
        }
    }

    fn smaller(&self) -> Vec<Made> {
        let mut found = Vec::new();
        if self.limit.is_some() {
            found.push(Made { limit: None, ..self.clone() });
        }
        if self.order.is_some() {
            found.push(Made { order: None, ..self.clone() });
        }
        found.extend(self.main.smaller().into_iter().map(|main| Made { main, ..self.clone() }));
        let less = |node: &Option<Node>| node.iter().flat_map(Node::smaller).collect::<Vec<_>>();
        found.extend(less(&self.order).into_iter().map(|order| Made { order: Some(order), ..self.clone() }));
        found.extend(less(&self.limit).into_iter().map(|limit| Made { limit: Some(limit), ..self.clone() }));
        found
    }
}

/// What may be done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Numeric,
    Float,
    Text,
    Date,
    Time,
    Bool,
    Interval,
    /// Has an order, nothing else.
    Sorted,
    /// Has not even equality.
    Opaque,
}

use Kind::*;

/// A table: name, family of co-located tables (0: reference, -1: unsharded), shard key, primary key, columns.
type Table = (&'static str, i8, &'static [&'static str], &'static [&'static str], &'static [(&'static str, Kind)]);

const TABLES: &[Table] = &[
    (
        "buyer",
        1,
        &["id"],
        &["id"],
        &[
            ("id", Int),
            ("name", Text),
            ("nick", Text),
            ("email", Text),
            ("region", Text),
            ("mood", Sorted),
            ("joined", Date),
            ("score", Numeric),
            ("active", Bool),
            ("tags", Sorted),
            ("level", Int),
            ("balance", Float),
            ("share", Numeric),
        ],
    ),
    (
        "sale",
        1,
        &["buyer_id"],
        &["buyer_id", "id"],
        &[
            ("buyer_id", Int),
            ("id", Int),
            ("amount", Numeric),
            ("qty", Int),
            ("placed", Time),
            ("status", Text),
            ("ref", Sorted),
            ("weight", Float),
        ],
    ),
    (
        "item",
        1,
        &["buyer_id"],
        &["buyer_id", "sale_id", "n"],
        &[
            ("buyer_id", Int),
            ("sale_id", Int),
            ("n", Int),
            ("product", Text),
            ("price", Numeric),
            ("discount", Float),
            ("units", Numeric),
        ],
    ),
    (
        "thing",
        2,
        &["id"],
        &["id"],
        &[
            ("id", Int),
            ("grp", Int),
            ("num", Numeric),
            ("dec", Numeric),
            ("f4", Float),
            ("f8", Float),
            ("t", Text),
            ("vc", Text),
            ("ch", Text),
            ("nm", Text),
            ("by", Sorted),
            ("b", Bool),
            ("d", Date),
            ("ti", Sorted),
            ("tz", Sorted),
            ("ts", Time),
            ("tstz", Time),
            ("iv", Interval),
            ("u", Sorted),
            ("j", Opaque),
            ("jb", Sorted),
            ("ia", Sorted),
            ("ta", Sorted),
            ("mood", Sorted),
            ("ip", Sorted),
            ("net", Sorted),
            ("mac", Sorted),
            ("cash", Sorted),
            ("bits", Sorted),
            ("vb", Sorted),
            ("r", Sorted),
            ("nr", Sorted),
            ("p", Opaque),
            ("c", Sorted),
            ("o", Sorted),
        ],
    ),
    ("lone", 2, &["id"], &["id"], &[("id", Int), ("v", Int), ("t", Text)]),
    ("blank", 2, &["id"], &["id"], &[("id", Int), ("v", Int), ("n", Numeric), ("f", Float), ("t", Text), ("b", Bool)]),
    (
        "reading",
        3,
        &["day"],
        &["day", "id"],
        &[("day", Date), ("id", Int), ("sensor", Text), ("value", Float), ("level", Numeric)],
    ),
    (
        "page",
        4,
        &["tenant"],
        &["tenant", "id"],
        &[("tenant", Text), ("id", Int), ("title", Text), ("words", Int), ("made", Time)],
    ),
    ("account", 5, &["name"], &["name"], &[("name", Text), ("owner", Int), ("opened", Date), ("amount", Numeric)]),
    ("office", 6, &["country"], &["country", "id"], &[("country", Text), ("id", Int), ("city", Text), ("staff", Int)]),
    (
        "ledger",
        7,
        &["book", "number"],
        &["book", "number", "line"],
        &[("book", Text), ("number", Int), ("line", Int), ("amount", Numeric), ("memo", Text)],
    ),
    ("parcel", 8, &["id"], &["id"], &[("id", Sorted), ("grams", Int), ("sent", Time), ("note", Text)]),
    ("region", 0, &[], &["code"], &[("code", Text), ("name", Text), ("rank", Int), ("zone", Text)]),
    ("currency", 0, &[], &["code"], &[("code", Text), ("rate", Numeric), ("digits", Int)]),
    ("setting", -1, &[], &["name"], &[("name", Text), ("value", Text), ("n", Int)]),
];

/// Something in FROM.
#[derive(Debug, Clone)]
struct Source {
    alias: String,
    family: i8,
    key: Vec<String>,
    unique: Vec<String>,
    columns: Vec<(String, Kind)>,
}

/// A source of statements.
pub struct Maker {
    state: u64,
    aliases: usize,
}

impl Maker {
    /// The statements of a seed.
    pub fn new(seed: u64) -> Maker {
        Maker { state: seed, aliases: 0 }
    }

    fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len());
        from[at].clone()
    }

    /// The next statement.
    pub fn statement(&mut self) -> Made {
        self.aliases = 0;
        match self.below(20) {
            0..=7 => self.plain(),
            8..=12 => self.grouped(),
            13..=14 => self.totals(),
            15..=16 => self.distinct(),
            17..=18 => self.set_operation(),
            _ => self.with(),
        }
    }

    fn plain(&mut self) -> Made {
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

    fn grouped(&mut self) -> Made {
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

    fn totals(&mut self) -> Made {
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

    fn distinct(&mut self) -> Made {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let values: Vec<String> = (0..=self.below(2)).map(|_| self.group_key(&sources)).collect();
        let main = Node::Seq(vec![commas("SELECT DISTINCT", values.iter().map(word).collect()), from, condition]);
        let (order, limit) = self.tail_by(&values.clone(), |this| this.pick(&values));
        Made { main, order, limit }
    }

    fn set_operation(&mut self) -> Made {
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

    fn with(&mut self) -> Made {
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
    fn of_kinds(&mut self, depth: usize, kinds: &[Kind], outer: &[Source]) -> Node {
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
    fn tail(&mut self, sources: &[Source], term: impl FnMut(&mut Self) -> String) -> (Option<Node>, Option<Node>) {
        let unique: Vec<String> = sources
            .iter()
            .flat_map(|source| source.unique.iter().map(move |column| format!("{}.{column}", source.alias)))
            .collect();
        self.tail_by(&unique, term)
    }

    fn tail_by(
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

    // FROM

    fn from(&mut self, depth: usize, outer: &[Source]) -> (Node, Vec<Source>) {
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

    fn source(&mut self, depth: usize, near: &[Source]) -> (Node, Source) {
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
    fn meeting(&mut self, before: &[Source], source: &Source) -> String {
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

    // Conditions

    fn conditions(&mut self, depth: usize, sources: &[Source], outer: &[Source]) -> Node {
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

    fn condition(&mut self, depth: usize, sources: &[Source], outer: &[Source]) -> Node {
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

    fn either(&mut self, between: &'static str, sources: &[Source]) -> Node {
        let items = (0..2).map(|_| word(self.comparison(sources))).collect();
        Node::Seq(vec![word("("), Node::List { before: "", between, items, fixed: 0, may_be_empty: false }, word(")")])
    }

    fn comparison(&mut self, sources: &[Source]) -> String {
        let kind = self.pick(&[Int, Int, Numeric, Text, Text, Date, Float, Bool]);
        let value = self.value(sources, kind);
        let operator = self.pick(&["=", "<>", "<", ">", "<=", ">=", "IS DISTINCT FROM"]);
        format!("{value} {operator} {}", self.literal(kind))
    }

    /// The shard key and one or more of its values.
    fn key_condition(&mut self, sources: &[Source]) -> String {
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

    fn literal(&mut self, kind: Kind) -> String {
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

    // Values

    fn columns(sources: &[Source], kind: Kind) -> Vec<String> {
        let of = |source: &Source| {
            let alias = source.alias.clone();
            let columns: Vec<String> = source
                .columns
                .iter()
                .filter(|(_, found)| *found == kind)
                .map(|(name, _)| format!("{alias}.{name}"))
                .collect();
            columns
        };
        sources.iter().flat_map(of).collect()
    }

    /// An expression of a kind over the sources; a constant if they have no such column.
    fn value(&mut self, sources: &[Source], kind: Kind) -> String {
        let columns = Self::columns(sources, kind);
        if columns.is_empty() {
            let literal = self.literal(kind);
            return match kind {
                Int => literal,
                Numeric => format!("{literal}::numeric"),
                Float => format!("{literal}::float8"),
                Text => format!("{literal}::text"),
                Date => format!("{literal}::date"),
                Time => format!("{literal}::timestamptz"),
                _ => literal,
            };
        }
        let column = self.pick(&columns);
        if self.chance(70) {
            return column;
        }
        match kind {
            Int => {
                let forms =
                    ["coalesce({}, 0)", "{} % 7", "-({} % 5)", "CASE WHEN {} > 3 THEN {} ELSE 3 END", "abs({} % 9)"];
                self.pick(&forms).replace("{}", &column)
            }
            Numeric => {
                let forms = ["coalesce({}, 0)", "{} * 2", "{} + 0.50", "-{}", "CASE WHEN {} > 3 THEN {} END"];
                self.pick(&forms).replace("{}", &column)
            }
            Float => self.pick(&["coalesce({}, 0)", "{} * 0.5", "-{}"]).replace("{}", &column),
            Text => {
                let forms = ["upper({}::text)", "coalesce({}::text, 'none')", "{} || '!'", "left({}::text, 1)"];
                self.pick(&forms).replace("{}", &column)
            }
            Bool => self.pick(&["NOT {}", "coalesce({}, false)"]).replace("{}", &column),
            _ => column,
        }
    }

    fn any_value(&mut self, sources: &[Source]) -> String {
        let kind =
            self.pick(&[Int, Int, Numeric, Numeric, Float, Text, Text, Date, Time, Bool, Interval, Sorted, Sorted]);
        if Self::columns(sources, kind).is_empty() { self.value(sources, Int) } else { self.value(sources, kind) }
    }

    fn group_key(&mut self, sources: &[Source]) -> String {
        loop {
            let value = self.any_value(sources);
            // Which of two zeros stands for a group depends on the order of rows.
            if Self::columns(sources, Float).iter().any(|column| value.contains(column)) {
                return format!("abs({value})");
            }
            // A constant in GROUP BY would be an ordinal, and groups by whole keys are few.
            if value.contains('.') && !value.starts_with('\'') && value.parse::<f64>().is_err() {
                return value;
            }
            if Self::columns(sources, Int).is_empty() {
                return Self::columns(sources, sources[0].columns[0].1)[0].clone();
            }
        }
    }

    fn item(&mut self, sources: &[Source]) -> Node {
        let opaque = Self::columns(sources, Opaque);
        let value = if !opaque.is_empty() && self.chance(5) { self.pick(&opaque) } else { self.any_value(sources) };
        if self.chance(30) {
            self.aliases += 1;
            return word(format!("{value} AS c{}", self.aliases));
        }
        word(value)
    }

    fn window(&mut self, sources: &[Source]) -> Node {
        let source = self.pick(sources);
        let name = |column: &String| format!("{}.{column}", source.alias);
        let unique: Vec<String> = sources
            .iter()
            .flat_map(|source| source.unique.iter().map(move |column| format!("{}.{column}", source.alias)))
            .collect();
        let partition: Vec<String> = source.key.iter().map(name).collect();
        let partition = if partition.is_empty() || self.chance(15) {
            String::new()
        } else {
            format!("PARTITION BY {} ", partition.join(", "))
        };
        let function = self.pick(&["row_number()", "count(*)", "rank()"]);
        word(format!("{function} OVER ({partition}ORDER BY {})", unique.join(", ")))
    }

    fn scalar(&mut self, sources: &[Source]) -> Node {
        let (from, other) = self.from(0, sources);
        let condition = self.conditions(0, &other, sources);
        let aggregate = self.aggregate(&other, Some(Int));
        Node::Seq(vec![word(format!("(SELECT {aggregate}")), from, condition, word(")")])
    }

    fn aggregate_item(&mut self, sources: &[Source]) -> Node {
        let aggregate = self.aggregate(sources, None);
        let text = match self.below(14) {
            0 => format!("{} + 1", self.aggregate(sources, Some(Int))),
            1 => format!("coalesce({}, 0)", self.aggregate(sources, Some(Numeric))),
            2 => format!("round({}, 3)", self.aggregate(sources, Some(Numeric))),
            3 => format!("{} / nullif(count(*), 0)", self.aggregate(sources, Some(Numeric))),
            4 => format!("{} IS NULL", self.aggregate(sources, None)),
            5 => format!("{aggregate} AS n{}", self.below(100)),
            6 => format!("CASE WHEN count(*) > 3 THEN {} END", self.aggregate(sources, Some(Int))),
            _ => aggregate,
        };
        Node::Either(Box::new(word(text)), vec![word("count(*)")])
    }

    /// An aggregate; with `of`, one whose result is that kind of number.
    fn aggregate(&mut self, sources: &[Source], of: Option<Kind>) -> String {
        let choice = match of {
            Some(Int) => self.below(3),
            Some(_) => 3 + self.below(3),
            None => self.below(24),
        };
        let call = match choice {
            0 => "count(*)".into(),
            1 => format!("count({})", self.any_value(sources)),
            2 => format!("max({})", self.value(sources, Int)),
            3 | 6 => format!("sum({})", self.value(sources, Numeric)),
            4 | 7 => format!("avg({})", self.value(sources, Numeric)),
            5 => format!("min({})", self.value(sources, Numeric)),
            8 | 9 => format!("sum({})", self.value(sources, Int)),
            10 => format!("avg({})", self.value(sources, Int)),
            11 => format!("sum({})", self.value(sources, Float)),
            12 => format!("avg({})", self.value(sources, Float)),
            13 | 14 => format!("{}({})", self.pick(&["min", "max"]), self.value(sources, Text)),
            15 => format!("{}({})", self.pick(&["min", "max"]), self.value(sources, Date)),
            16 => format!("{}({})", self.pick(&["min", "max"]), self.value(sources, Time)),
            17 => format!("{}(abs({}))", self.pick(&["min", "max"]), self.value(sources, Float)),
            18 => format!("{}({})", self.pick(&["bool_and", "bool_or", "every"]), self.comparison(sources)),
            19 => format!("{}({})", self.pick(&["bit_and", "bit_or", "bit_xor"]), self.value(sources, Int)),
            20 => format!("count(DISTINCT {})", self.any_value(sources)),
            21 if !Self::columns(sources, Interval).is_empty() => {
                format!("{}({})", self.pick(&["sum", "avg", "min", "max"]), self.value(sources, Interval))
            }
            22 => format!("sum(DISTINCT {})", self.value(sources, Int)),
            _ => format!("{}({})", self.pick(&["min", "max"]), self.value(sources, Int)),
        };
        if self.chance(15) { format!("{call} FILTER (WHERE {})", self.comparison(sources)) } else { call }
    }
}
