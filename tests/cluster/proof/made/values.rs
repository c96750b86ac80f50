//! Values: expressions over columns, windows, aggregates.

use super::Maker;
use super::tables::{
    Kind::{self, *},
    Source,
};
use crate::proof::tree::{Node, word};

impl Maker {
    pub(super) fn columns(sources: &[Source], kind: Kind) -> Vec<String> {
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
    pub(super) fn value(&mut self, sources: &[Source], kind: Kind) -> String {
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

    pub(super) fn any_value(&mut self, sources: &[Source]) -> String {
        let kind =
            self.pick(&[Int, Int, Numeric, Numeric, Float, Text, Text, Date, Time, Bool, Interval, Sorted, Sorted]);
        if Self::columns(sources, kind).is_empty() { self.value(sources, Int) } else { self.value(sources, kind) }
    }

    pub(super) fn group_key(&mut self, sources: &[Source]) -> String {
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

    pub(super) fn item(&mut self, sources: &[Source]) -> Node {
        let opaque = Self::columns(sources, Opaque);
        let value = if !opaque.is_empty() && self.chance(5) { self.pick(&opaque) } else { self.any_value(sources) };
        if self.chance(30) {
            self.aliases += 1;
            return word(format!("{value} AS c{}", self.aliases));
        }
        word(value)
    }

    pub(super) fn window(&mut self, sources: &[Source]) -> Node {
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

    pub(super) fn scalar(&mut self, sources: &[Source]) -> Node {
        let (from, other) = self.from(0, sources);
        let condition = self.conditions(0, &other, sources);
        let aggregate = self.aggregate(&other, Some(Int));
        Node::Seq(vec![word(format!("(SELECT {aggregate}")), from, condition, word(")")])
    }

    pub(super) fn aggregate_item(&mut self, sources: &[Source]) -> Node {
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
    pub(super) fn aggregate(&mut self, sources: &[Source], of: Option<Kind>) -> String {
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
