//! The merges on a real server: three schemas are the shards, a fourth has all rows. What the shards answer is merged in SQL, as the plan says, and
//! must be what the fourth answers.

use super::*;
use crate::backend::testing::{Postgres, options};
use crate::backend::{Backend, Connector, Login, Rows};
use crate::plan::gather::{Aggregation, Function, Hidden};

const SHARDS: usize = 3;

const SETUP: &str = "
create collation blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create collation en (provider = icu, locale = 'en');
create function slugify(text) returns text language sql immutable as 'select $1';
create function lookup(text) returns text language sql stable as 'select $1'";

const ROWS: &str = "
insert into orders select n, n % 17, (array['a', 'B', 'ä', '', null, 'b'])[n % 6 + 1], case when n % 11 > 0 then n * 1.25 end,
    timestamptz '2026-01-01' + n * interval '7 hours', n % 9 * 1.5, n % 7, n % 5, n % 3 = 0, n % 4 * interval '1 day 2 hours'
    from generate_series(1, 300) n;
insert into items select n, n % 17, n % 300 + 1, 'p' || n % 8, n % 6, n * 0.75 from generate_series(1, 400) n;
insert into words select n, 'w' || n % 5, 'W' || n % 4, chr(65 + n % 6), case n % 4 when 0 then 'x' when 1 then 'X' when 2 then 'y' end
    from generate_series(1, 60) n";

struct Server {
    backend: Backend,
    _postgres: Postgres,
}

impl Server {
    async fn start() -> Server {
        let postgres = Postgres::start();
        let connector = Connector::new(ShardId(0), "s0".into(), postgres.server());
        let backend = Backend::connect(&connector, &Login::new("postgres", None), &options()).await.unwrap();
        let mut server = Server { backend, _postgres: postgres };
        server.run("set timezone = 'UTC'").await;
        server.run(SETUP).await;
        for schema in ["whole", "s0", "s1", "s2"] {
            server.run(&format!("create schema {schema}; set search_path = {schema}, public")).await;
            for (name, columns) in TABLES {
                let columns =
                    columns.replace('~', " collate en").replace('^', " collate \"C\"").replace('!', " collate blind");
                server.run(&format!("create table {name} ({columns})")).await;
            }
            match schema.strip_prefix('s') {
                None => {
                    server.run(ROWS).await;
                }
                Some(number) => {
                    for (table, key) in [("orders", "customer_id"), ("items", "customer_id"), ("words", "id")] {
                        let copy = format!(
                            "insert into {table} select * from whole.{table} where {key} % {SHARDS} = {number}"
                        );
                        server.run(&copy).await;
                    }
                }
            }
        }
        server
    }

    async fn run(&mut self, sql: &str) -> Rows {
        self.backend.query(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    /// What all rows give.
    async fn whole(&mut self, statement: &str, values: &str) -> Rows {
        self.run("set search_path = whole, public").await;
        self.run(&format!("prepare want as {statement}")).await;
        let rows = self.run(&format!("execute want {values}")).await;
        self.run("deallocate want").await;
        rows
    }

    /// What the shards give, as a table `parts` of columns c0 ...; how many columns it has.
    async fn parts(&mut self, statement: &str, values: &str) -> usize {
        self.run("drop table if exists parts").await;
        let mut width = 0;
        for shard in 0..SHARDS {
            self.run(&format!("set search_path = s{shard}, public")).await;
            self.run(&format!("prepare part as {statement}")).await;
            let rows = self.run(&format!("execute part {values}")).await;
            width = width.max(rows.first().map_or(0, Vec::len));
            let columns: Vec<String> = (0..width).map(|at| format!("c{at}")).collect();
            let name = if shard == 0 { "parts" } else { "more" };
            if width > 0 {
                self.run(&format!("create temp table {name} ({}) as execute part {values}", columns.join(", "))).await;
                if shard > 0 {
                    self.run("insert into parts select * from more; drop table more").await;
                }
            }
            self.run("deallocate part").await;
        }
        width
    }

    async fn types(&mut self) -> Vec<String> {
        let sql = "select case t.typname when 'bpchar' then 'text' else t.typname end from pg_attribute a join pg_type t on t.oid = a.atttypid
                   where attrelid = 'parts'::regclass and attnum > 0 order by attnum";
        self.run(sql).await.into_iter().map(|mut row| row.remove(0).unwrap()).collect()
    }
}

fn sorted(mut rows: Rows) -> Rows {
    rows.sort();
    rows
}

fn window(gather: &Gather, hidden: usize) -> String {
    let bound = |word: &str, column: Option<u16>| {
        column.map_or(String::new(), |column| {
            format!(" {word} (select max(c{}) from parts)", hidden + usize::from(column))
        })
    };
    bound("limit", gather.window.limit) + &bound("offset", gather.window.offset)
}

fn sort(keys: &[OrderKey], column: impl Fn(By) -> String) -> String {
    let key = |key: &OrderKey| {
        let nulls = if key.nulls_first { "first" } else { "last" };
        format!("{} {} nulls {nulls}", column(key.by), if key.descending { "desc" } else { "asc" })
    };
    let keys: Vec<String> = keys.iter().map(key).collect();
    if keys.is_empty() { String::new() } else { format!(" order by {}", keys.join(", ")) }
}

/// The merge of plain rows.
fn plain(gather: &Gather, keys: &[OrderKey], width: usize, distinct: bool) -> String {
    let visible = match gather.hidden {
        Hidden::Last(count) => width - usize::from(count),
        Hidden::Twice(count) => (width - usize::from(count)) / 2,
    };
    let columns: Vec<String> = (0..visible).map(|at| format!("c{at}")).collect();
    let all = if distinct {
        let twins: Vec<String> = (0..2 * visible).map(|at| format!("c{at}")).collect();
        format!("(select distinct {} from parts) parts_", twins.join(", "))
    } else {
        "parts".into()
    };
    let order = sort(keys, |by| match by {
        By::Hidden(number) => format!("c{}", visible + usize::from(number)),
        By::Call(_) => unreachable!("no calls"),
    });
    format!("select {} from {all}{order}{}", columns.join(", "), window(gather, visible))
}

/// The merge of groups as the proxy does it.
fn native(gather: &Gather, aggregation: &Aggregation, width: usize, types: &[String]) -> String {
    let Hidden::Last(count) = gather.hidden else { panic!("groups have no twins") };
    let visible = width - usize::from(count);
    let hidden = |number: u16| visible + usize::from(number);
    let call = |number: u16| {
        let call = &aggregation.calls[usize::from(number)];
        let part = hidden(call.parts[0]);
        let merge = |name: &str| format!("{name}(c{part})");
        match call.function {
            Function::Count => format!("coalesce(sum(c{part}), 0)::int8"),
            Function::Sum => format!("sum(c{part})::{}", types[part]),
            Function::Avg => format!("sum(c{part}) / nullif(sum(c{}), 0)", hidden(call.parts[1])),
            Function::Min { .. } => merge("min"),
            Function::Max { .. } => merge("max"),
            Function::BoolAnd => merge("bool_and"),
            Function::BoolOr => merge("bool_or"),
            Function::BitAnd => merge("bit_and"),
            Function::BitOr => merge("bit_or"),
            Function::BitXor => merge("bit_xor"),
        }
    };
    let columns: Vec<String> = aggregation
        .columns
        .iter()
        .enumerate()
        .map(|(at, item)| match item {
            Item::First => format!("(array_agg(c{at}))[1]"),
            Item::Call(number) => call(*number),
        })
        .collect();
    let groups: Vec<String> = aggregation.groups.iter().map(|number| format!("c{}", hidden(*number))).collect();
    let groups = if groups.is_empty() { String::new() } else { format!(" group by {}", groups.join(", ")) };
    let order = sort(&aggregation.order, |by| match by {
        By::Hidden(number) => format!("(array_agg(c{}))[1]", hidden(number)),
        By::Call(number) => call(number),
    });
    format!("select {} from parts{groups}{order}{}", columns.join(", "), window(gather, visible))
}

#[tokio::test]
async fn the_merge_is_what_all_rows_together_give() {
    let mut server = Server::start().await;
    let (mut compared, mut finished, mut wrong) = (0, 0, Vec::new());
    for case in files().iter().flat_map(|file| cases(file)) {
        let tokens = sql::lex(&case.text, &Limits::default()).unwrap();
        let (Ok(gather), _) = gather(&case.text, case.bytewise, case.covered) else { continue };
        // Text that the proxy refuses when it sees its type, and what differs with each call or has no columns.
        let skip = ["random()", "en-x-icu", "lower(there)", "SELECT FROM", "id;", "(qty, id)", "(qty, status) AS r"];
        let parameters = tokens.iter().any(|token| token.kind == sql::TokenKind::Parameter);
        if skip.iter().any(|word| case.text.contains(word)) || (parameters && case.values.is_empty()) {
            continue;
        }
        let values = |numbers: &[u16]| {
            let values: Vec<String> =
                numbers.iter().map(|number| format!("'{}'", case.values[usize::from(*number)])).collect();
            if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) }
        };
        let all: Vec<u16> = (0..).take(case.values.len()).collect();
        let want = server.whole(&format!("{}\n", case.text), &values(&all)).await;
        let (text, used) = match &gather.text {
            None => (format!("{}\n", case.text), all.clone()),
            Some(text) => {
                let rendered = render(text, &case.text, &tokens, None, None).unwrap();
                (rendered.sql, rendered.parameters)
            }
        };
        let width = server.parts(&text, &values(&used)).await;
        if width == 0 {
            assert!(want.is_empty(), "{}", case.text);
            continue;
        }
        let types = server.types().await;
        let ways: Vec<String> = match &gather.merge {
            Merge::Concat => vec![plain(&gather, &[], width, false)],
            Merge::Ordered(keys) => vec![plain(&gather, keys, width, false)],
            Merge::Distinct(keys) => vec![plain(&gather, keys, width, true)],
            Merge::Rows => unreachable!("no INSERT"),
            Merge::Aggregate(aggregation) => {
                let mut ways = Vec::new();
                if aggregation.native {
                    ways.push(native(&gather, aggregation, width, &types));
                }
                if let Some(finish) = &aggregation.finish {
                    let hidden = match gather.hidden {
                        Hidden::Last(count) | Hidden::Twice(count) => width - usize::from(count),
                    };
                    let names: Vec<&str> = types[hidden..].iter().map(String::as_str).collect();
                    let rendered = render(&finish.text, &case.text, &tokens, None, Some(&names)).unwrap();
                    let mut sql = rendered.sql;
                    // The arrays are the parameters behind the client's.
                    for (at, column) in (hidden..width).enumerate().rev() {
                        let parameter = format!("${}::{}[]", rendered.parameters.len() + at + 1, types[column]);
                        sql = sql.replace(&parameter, &format!("(select array_agg(c{column}) from parts)"));
                    }
                    ways.push(format!("prepare ending as {sql}; execute ending {}", values(&rendered.parameters)));
                    finished += 1;
                }
                ways
            }
        };
        for way in ways {
            let found = server.run(&way).await;
            if way.starts_with("prepare") {
                server.run("deallocate ending").await;
            }
            compared += 1;
            if matches!(gather.merge, Merge::Concat) && gather.window.limit.or(gather.window.offset).is_some()
                || (matches!(&gather.merge, Merge::Distinct(keys) if keys.is_empty()) && gather.window.limit.is_some())
            {
                // Which rows they are is not said.
                assert_eq!(found.len(), want.len(), "{}\n{way}", case.text);
            } else {
                let (found, want) = (sorted(found), sorted(want.clone()));
                if found != want {
                    wrong.push(format!("{}\n{text}\n{way}\n{found:?}\n{want:?}", case.text));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(compared > 100 && finished > 30, "{compared} merges, {finished} of them finished by a server");
}
