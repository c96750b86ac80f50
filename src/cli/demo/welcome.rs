//! What the demo says when it is ready: one line to paste, and a few queries with what they will show.

use std::path::Path;

use super::load::{DATABASE, PASSWORD, Spread, USER};
use crate::cli::style::Paint;
use crate::server::Server;

/// More columns than this do not fit a terminal.
const WIDEST: usize = 8;

/// How many rows of each table each shard holds.
pub fn table(spread: &[Spread], names: &[String]) -> String {
    let shown = names.len().min(WIDEST);
    let mut text = format!("\n  {:14}{:>9}", "table", "rows");
    names[..shown].iter().for_each(|name| text += &format!("{name:>8}"));
    text += if shown < names.len() { "  ...\n" } else { "\n" };
    for Spread { table, rows, copies } in spread {
        let total = if *copies { rows.iter().max().copied().unwrap_or(0) } else { rows.iter().sum() };
        text += &format!("  {table:14}{total:>9}");
        rows[..shown].iter().for_each(|n| text += &format!("{n:>8}"));
        text += if *copies { "  a copy on each\n" } else { "\n" };
    }
    text
}

/// What to do next.
pub fn text(serving: &Server, config: &Path, psql: bool, shards: usize, paint: Paint) -> String {
    let port = serving.port();
    let url = format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}");
    let how = match psql {
        true => format!("Connect from another terminal:\n\n    {}\n", paint.bold(format!("psql \"{url}\""))),
        false => format!(
            "There is no psql on this machine; any other client will do, with this URL:\n\n    {}\n",
            paint.bold(&url)
        ),
    };
    let queries = [
        ("SELECT * FROM customers WHERE id = 42;", "one customer, from the one shard that has it"),
        ("EXPLAIN (ROUTE) SELECT * FROM customers WHERE id = 42;", "which shard that is, and why"),
        (
            "SELECT c.name, o.id, o.total FROM customers c\n      JOIN orders o ON o.customer_id = c.id WHERE c.id = 42;",
            "a join: customers and orders are co-located",
        ),
        ("SELECT count(*) FROM events WHERE day = '2026-03-08';", "events are placed by ranges of days"),
        ("SELECT * FROM vip_accounts WHERE account = 'vip-007';", "found through the directory"),
        ("SELECT * FROM countries;", "a reference table: any shard will do"),
        ("SELECT count(*) FROM customers;", "over all shards: refused for now, with a reason"),
    ];
    let shown = if shards == 1 { &queries[..queries.len() - 1] } else { &queries[..] };
    let mut text = format!(
        "\nGoldseam serves {shards} PostgreSQL {} as one database on 127.0.0.1:{port}.\n",
        if shards == 1 { "server" } else { "servers" }
    );
    text += &format!("{how}\nTry:\n");
    for (sql, what) in shown {
        text += &format!("\n    {}\n    {sql}\n", paint.dim(format!("-- {what}")));
    }
    if let Some(http) = serving.http() {
        text += &format!("\nMetrics and the API: http://{http}/; the console: database \"goldseam\", SHOW HELP.");
    }
    text += &format!("\nIts files: {} and vschema/ beside it. Ctrl-C stops everything.\n", config.display());
    text
}
