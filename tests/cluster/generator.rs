//! Makes statements up: joins of every kind, sub-queries in every place and trees of conditions over sharded tables, with keys from so
//! few values that many of them meet on one shard and many do not.
//!
//! Most of what it makes is PostgreSQL's; some of it names a column that is not there or compares what cannot be compared, and then the
//! errors must be the same. The same seed makes the same statements.

/// Customer numbers: few, so that keys meet.
const KEYS: [&str; 9] = ["42", "'42'", "42::int", "43", "7", "NULL", "42.0", "40+2", "44"];
const JOINS: [&str; 7] =
    ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN", "NATURAL JOIN", "NATURAL LEFT JOIN"];

/// A source of statements.
pub struct Generator {
    state: u64,
    aliases: usize,
}

/// A table in scope: its alias and its integer columns, the key first.
#[derive(Clone)]
struct Item {
    alias: String,
    columns: Vec<String>,
}

impl Generator {
    /// The statements of a seed.
    pub fn new(seed: u64) -> Generator {
        Generator { state: seed, aliases: 0 }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let at = self.below(from.len());
        from[at].clone()
    }

    /// The next statement.
    pub fn statement(&mut self) -> String {
        self.aliases = 0;
        let depth = 2;
        if self.chance(15) {
            let (name, query, columns) = ("w", self.query(depth, &[], 2), ["x", "y"].map(String::from).to_vec());
            let outer = self.select(1, &[], Some(Item { alias: name.into(), columns }), 0);
            return format!("WITH {name} (x, y) AS ({query}) {outer}");
        }
        let outer = self.select(depth, &[], None, 0);
        if self.chance(8) {
            let other = self.query(1, &[], 1);
            let one = self.query(1, &[], 1);
            let op = self.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
            return format!("{one} {op} {other}");
        }
        outer
    }

    /// A query of so many integer columns.
    fn query(&mut self, depth: usize, outer: &[Item], width: usize) -> String {
        self.select(depth, outer, None, width)
    }

    fn select(&mut self, depth: usize, outer: &[Item], given: Option<Item>, width: usize) -> String {
        let mut items: Vec<Item> = Vec::new();
        let mut from = String::new();
        let count = 1 + self.below(3).min(depth + 1);
        for n in 0..count {
            if n > 0 && self.chance(20) {
                from += ", ";
                let (text, mut more) = self.factor(depth, outer, &items);
                from += &text;
                items.append(&mut more);
                continue;
            }
            let join = self.pick(&JOINS);
            // NATURAL joins by every common column: only now and then is that of interest.
            let join = if join.starts_with("NATURAL") && self.chance(60) { "JOIN" } else { join };
            let (text, more) = match (n, &given) {
                (0, Some(item)) => (item.alias.clone(), vec![item.clone()]),
                _ => self.factor(depth, outer, &items),
            };
            if n == 0 {
                from += &text;
                items.extend(more);
                continue;
            }
            let before = items.clone();
            items.extend(more.clone());
            from += &format!(" {join} {text}");
            if join == "CROSS JOIN" || join.starts_with("NATURAL") {
                continue;
            }
            let common: Vec<String> = before
                .iter()
                .flat_map(|item| item.columns.clone())
                .filter(|column| more.iter().any(|item| item.columns.contains(column)))
                .collect();
            if !common.is_empty() && self.chance(15) {
                from += &format!(" USING ({})", self.pick(&common));
            } else {
                let sides: Vec<Item> = before.iter().chain(&more).cloned().collect();
                let mut on = self.equality(&before, &more);
                if self.chance(40) {
                    on = format!("{on} AND {}", self.condition(depth.min(1), &sides, outer));
                }
                from += &format!(" ON {on}");
            }
        }
        let mut condition = self.key_condition(&items);
        for item in &items.clone() {
            if self.chance(25) {
                condition += &format!(" AND {}", self.key_condition(std::slice::from_ref(item)));
            }
        }
        if self.chance(60) {
            condition += &format!(" AND {}", self.condition(depth, &items, outer));
        }
        if !outer.is_empty() && self.chance(50) {
            condition = format!("{} AND {condition}", self.equality(&items, outer));
            if self.chance(40) {
                condition = self.equality(&items, outer);
            }
        }
        let condition = if self.chance(92) { format!(" WHERE {condition}") } else { String::new() };
        if width > 0 {
            let columns: Vec<String> = (0..width).map(|_| self.value_column(&items)).collect();
            let distinct = if self.chance(10) { "DISTINCT " } else { "" };
            let limit = if self.chance(5) { " LIMIT 0" } else { "" };
            return format!("SELECT {distinct}{} FROM {from}{condition}{limit}", columns.join(", "));
        }
        match self.below(8) {
            0 => format!("SELECT count(*) FROM {from}{condition}"),
            1 => {
                let column = self.column(&items);
                format!("SELECT {column}, count(*) FROM {from}{condition} GROUP BY {column}")
            }
            2 => {
                let column = self.column(&items);
                format!("SELECT min({column}), max({column}), count(DISTINCT {column}) FROM {from}{condition}")
            }
            3 => {
                let column = self.column(&items);
                format!("SELECT {column}, rank() OVER (ORDER BY {column}) FROM {from}{condition}")
            }
            4 if depth > 0 => {
                let inner = self.query(depth - 1, &items, 1);
                let column = self.column(&items);
                format!("SELECT {column}, (SELECT count(*) FROM ({inner}) q) FROM {from}{condition}")
            }
            _ => {
                let columns: Vec<String> = (0..3).map(|_| self.column(&items)).collect();
                format!("SELECT {} FROM {from}{condition}", columns.join(", "))
            }
        }
    }

    /// Something to select from, and what it is called.
    fn factor(&mut self, depth: usize, outer: &[Item], before: &[Item]) -> (String, Vec<Item>) {
        self.aliases += 1;
        let alias = format!("t{}", self.aliases);
        let item = |alias: &str, columns: &[&str]| {
            vec![Item { alias: alias.into(), columns: columns.iter().map(|name| name.to_string()).collect() }]
        };
        match self.below(if depth > 0 { 13 } else { 10 }) {
            0..=2 => (format!("customers {alias}"), item(&alias, &["id"])),
            3..=5 => (format!("orders {alias}"), item(&alias, &["customer_id", "id"])),
            6 => (format!("order_items {alias}"), item(&alias, &["customer_id", "order_id", "line"])),
            7 => (format!("orders {alias} (id, x)"), item(&alias, &["id", "x"])),
            8 => (format!("orders {alias} (x, customer_id)"), item(&alias, &["customer_id", "x"])),
            9 => (format!("(SELECT length(name) AS id, code FROM countries) {alias}"), item(&alias, &["id"])),
            10 => {
                let query = self.query(depth - 1, outer, 2);
                let (one, two) = self.pick(&[("id", "x"), ("x", "id"), ("customer_id", "id"), ("y", "customer_id")]);
                (format!("({query}) {alias} ({one}, {two})"), item(&alias, &[one, two]))
            }
            11 => {
                let star = self.select_star(depth - 1);
                (format!("({star}) {alias} (x, id)"), item(&alias, &["x", "id"]))
            }
            _ => {
                let mut seen: Vec<Item> = outer.to_vec();
                seen.extend(before.iter().cloned());
                let query = self.query(depth - 1, &seen, 1);
                (format!("LATERAL ({query}) {alias} (id)"), item(&alias, &["id"]))
            }
        }
    }

    fn select_star(&mut self, depth: usize) -> String {
        let inner = self.query(depth, &[], 2);
        let (one, two) = self.pick(&[("id", "id"), ("id", "x"), ("x", "id")]);
        format!("SELECT * FROM ({inner}) s ({one}, {two})")
    }

    fn column(&mut self, items: &[Item]) -> String {
        let item = self.pick(items);
        let column = self.pick(&item.columns);
        if self.chance(6) { column } else { format!("{}.{column}", item.alias) }
    }

    fn value_column(&mut self, items: &[Item]) -> String {
        match self.below(20) {
            0 => "42".into(),
            1 => format!("{} + 0", self.column(items)),
            2 => format!("CASE WHEN true THEN {} END", self.column(items)),
            _ => self.column(items),
        }
    }

    fn first(&mut self, items: &[Item]) -> String {
        let item = self.pick(items);
        format!("{}.{}", item.alias, item.columns[0])
    }

    fn equality(&mut self, one: &[Item], other: &[Item]) -> String {
        let (left, right) =
            if self.chance(85) { (self.first(one), self.first(other)) } else { (self.column(one), self.column(other)) };
        if self.chance(50) { format!("{left} = {right}") } else { format!("{right} = {left}") }
    }

    fn key(&mut self) -> String {
        if self.chance(75) { "42".into() } else { self.pick(&KEYS).into() }
    }

    fn key_condition(&mut self, items: &[Item]) -> String {
        let column = self.first(items);
        let (one, other) = (self.key(), self.key());
        match self.below(12) {
            0 => format!("{column} IN ({one}, {other})"),
            1 => format!("({column} = {one} OR {column} = {other})"),
            2 => format!("{column} = ANY (ARRAY[{one}, {other}])"),
            3 => format!("{one} = {column}"),
            4 => format!("({column}, 1) = ({one}, 1)"),
            _ => format!("{column} = {one}"),
        }
    }

    /// A tree of conditions.
    fn condition(&mut self, depth: usize, items: &[Item], outer: &[Item]) -> String {
        let inner: Vec<Item> = items.iter().chain(outer).cloned().collect();
        let leaf = |this: &mut Self| match this.below(9) {
            0 => format!("{} IS NULL", this.column(items)),
            1 => format!("{} IS NOT NULL", this.column(items)),
            2 => format!("{} > {}", this.column(items), this.below(60)),
            3 => format!("{} <> 42", this.column(items)),
            4 => format!("NOT ({})", this.key_condition(items)),
            5 => format!("{} IS NOT DISTINCT FROM 42", this.column(items)),
            6 => this.equality(items, items),
            7 => "true".into(),
            _ => this.key_condition(items),
        };
        match self.below(if depth > 0 { 14 } else { 7 }) {
            0..=2 => leaf(self),
            3 => format!("({} OR {})", leaf(self), leaf(self)),
            4 => format!("({} AND {})", leaf(self), leaf(self)),
            5 => format!("CASE WHEN {} THEN {} ELSE {} END", leaf(self), leaf(self), leaf(self)),
            6 => format!("COALESCE({}, false)", leaf(self)),
            7 | 8 => {
                let not = if self.chance(40) { "NOT " } else { "" };
                format!("{not}EXISTS ({})", self.query(depth - 1, &inner, 1))
            }
            9 | 10 => {
                let not = if self.chance(30) { "NOT " } else { "" };
                let column = self.first(items);
                format!("{column} {not}IN ({})", self.query(depth - 1, &inner, 1))
            }
            11 => {
                let column = self.first(items);
                format!("{column} = (SELECT max(q.a) FROM ({}) q (a))", self.query(depth - 1, &inner, 1))
            }
            12 => {
                let column = self.first(items);
                format!("{column} = ({} LIMIT 0)", self.query(0, &inner, 1).replace(" LIMIT 0", ""))
            }
            _ => format!("({} OR {})", self.condition(depth - 1, items, outer), leaf(self)),
        }
    }
}
