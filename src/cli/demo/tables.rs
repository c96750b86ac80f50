//! The demo's schema and rows: a small shop, the same on every machine and in every run.
//!
//! Rows come from a counter-based generator with fixed seeds, so that tests can load the very same rows into one plain
//! PostgreSQL and compare its answers with Goldseam's. What a table is called and which column is its shard key must agree
//! with `vschema/commerce.toml`; where a row goes is not decided here but by the vindexes (see [`super::load`]).

use std::fmt::Write;

use crate::types::Key;

/// How many customers there are; all other counts follow from it. About 100,000 rows in all.
pub const CUSTOMERS: i64 = 5_000;
const EVENTS: i64 = 20_000;
const DOCUMENTS: i64 = 5_000;
const TENANTS: u64 = 200;
const VIPS: i64 = 100;

/// One table of the shop.
#[derive(Debug)]
pub struct TableData {
    /// In the schema `public`.
    pub name: &'static str,
    /// What creates it.
    pub ddl: &'static str,
    /// In the order of the rows' values.
    pub columns: &'static [&'static str],
    /// All rows, in the same order every time.
    pub rows: fn() -> Vec<Row>,
}

/// The values of one row.
pub type Row = Vec<Value>;

/// A value, typed as its column is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer width.
    Int(i64),
    /// Text, and everything that PostgreSQL reads from text (numeric, jsonb, char).
    Text(String),
    /// Days since 2000-01-01.
    Date(i32),
    /// Seconds since 2000-01-01 UTC.
    Time(i64),
}

impl Value {
    /// The value as a shard key.
    pub fn key(&self) -> Key<'_> {
        match self {
            Value::Int(number) => Key::Int(*number),
            Value::Text(text) => Key::Text(text.as_str().into()),
            Value::Date(days) => Key::Date(*days),
            Value::Time(seconds) => Key::Timestamp(seconds * 1_000_000),
        }
    }

    /// Appends the value as COPY's text format wants it.
    fn write(&self, line: &mut String) {
        // Writing to a String cannot fail.
        let _ = match self {
            Value::Int(number) => write!(line, "{number}"),
            Value::Date(days) => {
                let (year, month, day) = civil(*days);
                write!(line, "{year:04}-{month:02}-{day:02}")
            }
            Value::Time(seconds) => {
                let (year, month, day) = civil(seconds.div_euclid(86_400) as i32);
                let second = seconds.rem_euclid(86_400);
                let (h, m, s) = (second / 3_600, second / 60 % 60, second % 60);
                write!(line, "{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}+00")
            }
            Value::Text(text) => {
                for c in text.chars() {
                    match c {
                        '\\' => line.push_str("\\\\"),
                        '\n' => line.push_str("\\n"),
                        '\t' => line.push_str("\\t"),
                        c => line.push(c),
                    }
                }
                Ok(())
            }
        };
    }
}

/// Appends a row as one line of COPY's text format.
pub fn copy_line(row: &[Value], line: &mut String) {
    for (n, value) in row.iter().enumerate() {
        if n > 0 {
            line.push('\t');
        }
        value.write(line);
    }
    line.push('\n');
}

/// In the order in which foreign keys allow them to be filled.
pub const TABLES: &[TableData] = &[
    TableData {
        name: "countries",
        ddl: "CREATE TABLE countries (code char(2) PRIMARY KEY, name text NOT NULL)",
        columns: &["code", "name"],
        rows: countries,
    },
    TableData {
        name: "settings",
        ddl: "CREATE TABLE settings (name text PRIMARY KEY, value text NOT NULL)",
        columns: &["name", "value"],
        rows: settings,
    },
    TableData {
        name: "customers",
        ddl: "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, email text NOT NULL, \
              country char(2) NOT NULL REFERENCES countries, created_at timestamptz NOT NULL DEFAULT now())",
        columns: &["id", "name", "email", "country", "created_at"],
        rows: customers,
    },
    TableData {
        name: "orders",
        ddl: "CREATE TABLE orders (customer_id bigint NOT NULL REFERENCES customers, id bigint NOT NULL, \
              status text NOT NULL DEFAULT 'new', total numeric(10,2) NOT NULL, placed_at timestamptz NOT NULL DEFAULT now(), \
              PRIMARY KEY (customer_id, id))",
        columns: &["customer_id", "id", "status", "total", "placed_at"],
        rows: orders,
    },
    TableData {
        name: "order_items",
        ddl: "CREATE TABLE order_items (customer_id bigint NOT NULL, order_id bigint NOT NULL, line int NOT NULL, \
              product text NOT NULL, quantity int NOT NULL, price numeric(8,2) NOT NULL, \
              PRIMARY KEY (customer_id, order_id, line), FOREIGN KEY (customer_id, order_id) REFERENCES orders)",
        columns: &["customer_id", "order_id", "line", "product", "quantity", "price"],
        rows: order_items,
    },
    TableData {
        name: "events",
        ddl: "CREATE TABLE events (day date NOT NULL, id bigint NOT NULL, customer_id bigint NOT NULL, kind text NOT NULL, \
              detail jsonb NOT NULL DEFAULT '{}', PRIMARY KEY (day, id))",
        columns: &["day", "id", "customer_id", "kind", "detail"],
        rows: events,
    },
    TableData {
        name: "documents",
        ddl: "CREATE TABLE documents (tenant text NOT NULL, id bigint NOT NULL, title text NOT NULL, body text NOT NULL, \
              PRIMARY KEY (tenant, id))",
        columns: &["tenant", "id", "title", "body"],
        rows: documents,
    },
    TableData {
        name: "vip_accounts",
        ddl: "CREATE TABLE vip_accounts (account text PRIMARY KEY, customer_id bigint NOT NULL, level text NOT NULL, \
              since date NOT NULL)",
        columns: &["account", "customer_id", "level", "since"],
        rows: vip_accounts,
    },
];

/// 2026-01-01 in days since 2000-01-01.
const NEW_YEAR: i64 = 9_497;
const DAY: i64 = 86_400;

const COUNTRIES: &[(&str, &str)] = &[
    ("AR", "Argentina"),
    ("AT", "Austria"),
    ("AU", "Australia"),
    ("BE", "Belgium"),
    ("BR", "Brazil"),
    ("CA", "Canada"),
    ("CH", "Switzerland"),
    ("CL", "Chile"),
    ("CZ", "Czechia"),
    ("DE", "Germany"),
    ("DK", "Denmark"),
    ("ES", "Spain"),
    ("FI", "Finland"),
    ("FR", "France"),
    ("GB", "United Kingdom"),
    ("GR", "Greece"),
    ("IE", "Ireland"),
    ("IN", "India"),
    ("IT", "Italy"),
    ("JP", "Japan"),
    ("KE", "Kenya"),
    ("KR", "Korea"),
    ("MX", "Mexico"),
    ("NL", "Netherlands"),
    ("NO", "Norway"),
    ("NZ", "New Zealand"),
    ("PL", "Poland"),
    ("PT", "Portugal"),
    ("SE", "Sweden"),
    ("US", "United States"),
];
const FIRST: &[&str] = &[
    "Ada", "Aiko", "Amara", "Bruno", "Chen", "Dara", "Elif", "Emil", "Farah", "Hana", "Ines", "Ivo", "Jonas", "Kofi",
    "Lena", "Mads", "Mei", "Nils", "Noor", "Olga", "Paulo", "Rosa", "Sven", "Tariq", "Uma", "Vera", "Yuki", "Zoe",
];
const LAST: &[&str] = &[
    "Almeida",
    "Bauer",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "García",
    "Haddad",
    "Ito",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "O'Brien",
    "Papadakis",
    "Quispe",
    "Rossi",
    "Silva",
    "Tanaka",
    "Usman",
    "Virtanen",
    "Wang",
    "Yilmaz",
];
const PRODUCTS: &[&str] =
    &["bowl", "cup", "dish", "jar", "lamp", "mug", "plate", "pot", "saucer", "teapot", "tile", "tray", "urn", "vase"];
const GLAZES: &[&str] = &["amber", "ash", "celadon", "cobalt", "crimson", "ivory", "jade", "ochre", "slate", "white"];

fn countries() -> Vec<Row> {
    COUNTRIES.iter().map(|(code, name)| vec![text(code), text(name)]).collect()
}

fn settings() -> Vec<Row> {
    let all = [
        ("currency", "EUR"),
        ("free_shipping_from", "50"),
        ("maintenance", "off"),
        ("shop_name", "Gold & Seam"),
        ("vat", "19"),
    ];
    all.iter().map(|(name, value)| vec![text(name), text(value)]).collect()
}

fn customers() -> Vec<Row> {
    (1..=CUSTOMERS)
        .map(|id| {
            let mut dice = Dice::new(1, id);
            let (first, last) = (dice.pick(FIRST), dice.pick(LAST));
            let email = format!("{}{id}@example.com", first.to_lowercase());
            let created = (NEW_YEAR - 400 + dice.below(700)) * DAY + dice.below(DAY);
            vec![
                Value::Int(id),
                Value::Text(format!("{first} {last}")),
                Value::Text(email),
                text(dice.pick(COUNTRIES).0),
                Value::Time(created),
            ]
        })
        .collect()
}

/// The orders of a customer: (id, items), every id its own across all customers.
fn orders_of(customer: i64) -> impl Iterator<Item = i64> {
    (0..1 + Dice::new(2, customer).below(7)).map(move |n| customer * 10 + n)
}

/// The items of an order: (product, quantity, price in cents).
fn items_of(order: i64) -> Vec<(String, i64, i64)> {
    let mut dice = Dice::new(3, order);
    let count = 1 + dice.below(4);
    let item =
        |_| (format!("{} {}", dice.pick(GLAZES), dice.pick(PRODUCTS)), 1 + dice.below(5), 290 + dice.below(9_700));
    (0..count).map(item).collect()
}

fn orders() -> Vec<Row> {
    let order = |customer: i64, id: i64| {
        let mut dice = Dice::new(4, id);
        let status = dice.pick(&["new", "paid", "shipped", "shipped", "shipped", "returned"]);
        let total = items_of(id).iter().map(|(_, quantity, price)| quantity * price).sum();
        let placed = (NEW_YEAR + dice.below(300)) * DAY + dice.below(DAY);
        vec![Value::Int(customer), Value::Int(id), text(status), money(total), Value::Time(placed)]
    };
    (1..=CUSTOMERS).flat_map(|customer| orders_of(customer).map(move |id| order(customer, id))).collect()
}

fn order_items() -> Vec<Row> {
    let mut rows = Vec::new();
    for customer in 1..=CUSTOMERS {
        for order in orders_of(customer) {
            for (line, (product, quantity, price)) in items_of(order).into_iter().enumerate() {
                let ids = [customer, order, line as i64 + 1].map(Value::Int);
                rows.push(ids.into_iter().chain([Value::Text(product), Value::Int(quantity), money(price)]).collect());
            }
        }
    }
    rows
}

fn events() -> Vec<Row> {
    (1..=EVENTS)
        .map(|id| {
            let mut dice = Dice::new(5, id);
            // Spread over 2025-07 to 2026-12, so that every range of the sample vschema gets its share.
            let day = NEW_YEAR - 184 + dice.below(549);
            let kind = dice.pick(&["visit", "visit", "search", "login", "basket"]);
            let detail = format!("{{\"ms\": {}, \"page\": \"{}\"}}", dice.below(900), dice.pick(PRODUCTS));
            vec![
                Value::Date(day as i32),
                Value::Int(id),
                Value::Int(1 + dice.below(CUSTOMERS)),
                text(kind),
                Value::Text(detail),
            ]
        })
        .collect()
}

fn documents() -> Vec<Row> {
    (1..=DOCUMENTS)
        .map(|id| {
            let mut dice = Dice::new(6, id);
            let tenant = format!("tenant-{:03}", 1 + dice.next() % TENANTS);
            let title = format!("How to mend a {} {}", dice.pick(GLAZES), dice.pick(PRODUCTS));
            let body =
                format!("Clean the pieces.\nMix lacquer, {} parts.\tJoin, wait, polish with gold.", 1 + dice.below(9));
            vec![Value::Text(tenant), Value::Int(id), Value::Text(title), Value::Text(body)]
        })
        .collect()
}

fn vip_accounts() -> Vec<Row> {
    (1..=VIPS)
        .map(|n| {
            let mut dice = Dice::new(7, n);
            let level = dice.pick(&["silver", "gold", "gold", "platinum"]);
            let since = Value::Date((NEW_YEAR - dice.below(900)) as i32);
            vec![Value::Text(format!("vip-{n:03}")), Value::Int(n * 37), text(level), since]
        })
        .collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_string())
}

fn money(cents: i64) -> Value {
    Value::Text(format!("{}.{:02}", cents / 100, cents % 100))
}

/// The calendar date of a day number (Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
fn civil(days_since_2000: i32) -> (i32, i32, i32) {
    let z = days_since_2000 + 10_957 + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i32::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// A counter-based generator (splitmix64, Steele et al. 2014): each row's dice depend on its table and number alone.
struct Dice(u64);

impl Dice {
    fn new(stream: u64, row: i64) -> Dice {
        Dice((stream << 48) ^ row as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: i64) -> i64 {
        (self.next() % limit as u64) as i64
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[(self.next() % from.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn there_are_about_a_hundred_thousand_rows_as_wide_as_their_tables() {
        let mut total = 0;
        for table in TABLES {
            let rows = (table.rows)();
            assert!(rows.iter().all(|row| row.len() == table.columns.len()), "{}", table.name);
            assert_eq!(rows, (table.rows)(), "{} is the same every time", table.name);
            total += rows.len();
        }
        assert!((90_000..=110_000).contains(&total), "{total}");
    }

    #[test]
    fn primary_keys_are_unique() {
        for (table, width) in [("customers", 1), ("orders", 2), ("order_items", 3), ("events", 2), ("documents", 2)] {
            let data = TABLES.iter().find(|data| data.name == table).unwrap();
            let rows = (data.rows)();
            let keys: HashSet<String> = rows.iter().map(|row| format!("{:?}", &row[..width])).collect();
            assert_eq!(keys.len(), rows.len(), "{table}");
        }
    }

    #[test]
    fn values_are_written_as_copy_reads_them() {
        let row = vec![Value::Int(-1), text("a\tb\\c\nd"), Value::Date(0), Value::Date(9_497), Value::Time(-1)];
        let mut line = String::new();
        copy_line(&row, &mut line);
        assert_eq!(line, "-1\ta\\tb\\\\c\\nd\t2000-01-01\t2026-01-01\t1999-12-31 23:59:59+00\n");
        assert_eq!((civil(59), civil(60)), ((2000, 2, 29), (2000, 3, 1)));
    }
}
