//! Statements that write, of which it is certain what they write: an UPDATE finds one row to take values from, an INSERT's keys are its own.

use super::tables::{
    Kind::{self, *},
    Source, TABLES, Table,
};
use super::{Made, Maker};
use crate::proof::tree::{Node, commas, maybe, terms, word};

/// Keys of rows that are new begin here.
const NEW: usize = 100_000;

impl Maker {
    /// A statement that writes.
    pub fn write(&mut self) -> Made {
        self.aliases = 0;
        let main = match self.below(10) {
            0..=2 => self.update(),
            3 | 4 => self.update_from(),
            5 | 6 => self.delete(),
            7 | 8 => self.insert_select(),
            _ => self.moved(),
        };
        Made { main, order: None, limit: None }
    }

    fn target(&mut self) -> (Table, Source) {
        // Not those that others refer to, and not the unsharded one too often.
        const NAMES: [&str; 11] =
            ["buyer", "sale", "item", "lone", "blank", "reading", "page", "account", "office", "ledger", "parcel"];
        let name = self.pick(&NAMES);
        let table = *TABLES.iter().find(|table| table.0 == name).expect("it is a table of ours");
        let (name, family, key, unique, columns) = table;
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let columns = columns.iter().map(|(name, kind)| (name.to_string(), *kind)).collect();
        (table, Source { alias: name.into(), family, key: names(key), unique: names(unique), columns })
    }

    /// Columns that neither place a row nor tell it from others, and that take any value of their kind.
    fn free_columns(table: Table) -> Vec<(&'static str, Kind)> {
        let free = |(name, kind): &&(&'static str, Kind)| {
            let taken = table.2.contains(name) || table.3.contains(name);
            let narrow = ["region", "email", "product", "share", "weight", "nick", "digits", "n"].contains(name);
            !taken && !narrow && matches!(kind, Int | Numeric | Text | Bool | Date)
        };
        table.4.iter().filter(free).copied().collect()
    }

    fn assignments(&mut self, table: Table, sources: &[Source]) -> Node {
        let free = Self::free_columns(table);
        let count = 1 + self.below(2);
        let mut items: Vec<Node> = Vec::new();
        let mut named: Vec<&str> = Vec::new();
        for _ in 0..count {
            let (name, kind) = self.pick(&free);
            if named.contains(&name) {
                continue;
            }
            named.push(name);
            let value = match self.below(5) {
                0 if kind == Int => {
                    let (from, other) = self.from(0, &[]);
                    let condition = self.conditions(0, &other, &[]);
                    let aggregate = self.aggregate(&other, Some(Int));
                    let query =
                        Node::Seq(vec![word(format!("(SELECT {aggregate} % 1000")), from, condition, word(")")]);
                    items.push(Node::Seq(vec![word(format!("{name} =")), query]));
                    continue;
                }
                1 => self.literal(kind),
                _ => self.value(sources, kind),
            };
            items.push(Node::Either(Box::new(word(format!("{name} = {value}"))), vec![word(format!("{name} = NULL"))]));
        }
        commas("SET", items)
    }

    fn returning(&mut self, source: &Source) -> Node {
        if self.chance(60) {
            return Node::Seq(Vec::new());
        }
        let names: Vec<Node> = source.unique.iter().map(|name| word(format!("{}.{name}", source.alias))).collect();
        maybe(commas("RETURNING", names))
    }

    fn update(&mut self) -> Node {
        let (table, source) = self.target();
        let set = self.assignments(table, std::slice::from_ref(&source));
        let condition = self.conditions(2, std::slice::from_ref(&source), &[]);
        let returning = self.returning(&source);
        Node::Seq(vec![word(format!("UPDATE {}", table.0)), set, condition, returning])
    }

    /// From a sub-query with one row for each value that it is joined by.
    fn update_from(&mut self) -> Node {
        let (table, source) = self.target();
        let ints = Self::columns(std::slice::from_ref(&source), Int);
        let free: Vec<_> = Self::free_columns(table).into_iter().filter(|(_, kind)| *kind == Int).collect();
        if ints.is_empty() || free.is_empty() {
            return self.update();
        }
        let (from, other) = self.from(1, &[]);
        let condition = self.conditions(1, &other, &[]);
        let key = self.value(&other, Int);
        let query = Node::Seq(vec![
            word(format!("FROM (SELECT {key} AS k, count(*) AS n")),
            from,
            condition,
            word("GROUP BY 1) q"),
        ]);
        // A constant in its place would be an ordinal.
        let query = if key.parse::<i64>().is_ok() {
            word("FROM (SELECT level AS k, count(*) AS n FROM buyer GROUP BY level) q")
        } else {
            query
        };
        let (column, _) = self.pick(&free);
        let on = self.pick(&ints);
        let mut conditions = vec![word(format!("q.k = {on}"))];
        if self.chance(40) {
            conditions.push(self.condition(1, std::slice::from_ref(&source), &[]));
        }
        let list = Node::List { before: "WHERE", between: " AND ", items: conditions, fixed: 1, may_be_empty: false };
        let returning = self.returning(&source);
        Node::Seq(vec![word(format!("UPDATE {} SET {column} = q.n", table.0)), query, list, returning])
    }

    fn delete(&mut self) -> Node {
        let (table, source) = self.target();
        let source = std::slice::from_ref(&source);
        let returning = self.returning(&source[0]);
        if self.chance(40) {
            let (text, other) = self.source(0, source);
            let on = self.meeting(source, &other);
            let mut conditions = vec![word(on)];
            if self.chance(60) {
                conditions.push(self.condition(1, &[source[0].clone(), other.clone()], &[]));
            }
            let list =
                Node::List { before: "WHERE", between: " AND ", items: conditions, fixed: 1, may_be_empty: false };
            // Which of several partners a row is given back with is not certain, but its own columns are.
            return Node::Seq(vec![word(format!("DELETE FROM {} USING", table.0)), text, list, returning]);
        }
        let items = vec![self.condition(2, source, &[]), self.condition(1, source, &[])];
        Node::Seq(vec![word(format!("DELETE FROM {}", table.0)), terms("WHERE", items), returning])
    }

    fn insert_select(&mut self) -> Node {
        let (from, sources) = self.from(1, &[]);
        let condition = self.conditions(1, &sources, &[]);
        let unique: Vec<String> = sources
            .iter()
            .flat_map(|source| source.unique.iter().map(move |column| format!("{}.{column}", source.alias)))
            .collect();
        let number = format!("{NEW} + row_number() OVER (ORDER BY {})", unique.join(", "));
        let (int, text) = (self.value(&sources, Int), self.value(&sources, Text));
        let (into, values) = match self.below(6) {
            0 => ("lone (id, v, t)", vec![number, format!("{int} % 1000"), text]),
            1 => ("blank (id, v, t)", vec![number, format!("{int} % 1000"), text]),
            2 => ("page (tenant, id, title)", vec![text, number, "'made'".into()]),
            3 => ("office (country, id, city)", vec![format!("lower(left({text}, 2))"), number, "'made'".into()]),
            4 => ("ledger (book, number, line)", vec!["'made'".into(), format!("{int} % 100"), number]),
            _ => ("lone (id, v)", vec![self.value(&sources, Int), "1".into()]),
        };
        let conflict = if into.starts_with("lone") && self.chance(40) {
            maybe(word("ON CONFLICT DO NOTHING"))
        } else {
            Node::Seq(Vec::new())
        };
        let list = Node::List {
            before: "SELECT",
            between: ", ",
            fixed: values.len(),
            items: values.into_iter().map(word).collect(),
            may_be_empty: false,
        };
        Node::Seq(vec![word(format!("INSERT INTO {into}")), list, from, condition, conflict])
    }

    /// New keys that no other row has.
    fn moved(&mut self) -> Node {
        let (table, source) = self.target();
        let set = match table.0 {
            "lone" | "blank" => format!("SET id = id + {NEW}"),
            "reading" => "SET day = day + 1000".into(),
            "page" => self
                .pick(&["SET tenant = tenant || 'x'", "SET tenant = title", "SET tenant = 'tenant-' || id % 7"])
                .into(),
            "account" => "SET name = name || 'x'".into(),
            "office" => self.pick(&["SET country = 'fr'", "SET country = left(city, 1) || id"]).into(),
            "ledger" => "SET number = number + 1, book = book || 'y'".into(),
            "parcel" => "SET id = md5(id::text)::uuid".into(),
            _ => return self.update(),
        };
        let condition = self.conditions(1, std::slice::from_ref(&source), &[]);
        let returning = self.returning(&source);
        // Days that do not end are none that can be added to.
        let condition = if table.0 == "reading" { word("WHERE isfinite(day) AND id % 3 = 1") } else { condition };
        Node::Seq(vec![word(format!("UPDATE {} {set}", table.0)), condition, returning])
    }
}
