//! What the workbench costs: how fast rows of all shards are put together, and what a statement over a few of them takes longer than the shards.

use crate::client::Client;
use crate::contenders::{Bench, Contender};
use crate::pgbench::median;
use crate::scatter::{Line, line, timed, together};
use crate::{Options, Outcome};

/// How often a large statement is run; the median counts.
const TIMES: usize = 5;

pub fn measure(bench: &Bench, options: &Options, lines: &mut Vec<Line>) -> Outcome<()> {
    let mut through = Client::open(bench.port(Contender::Goldseam4), "bench")?;
    let mut shards = Vec::new();
    for &port in bench.shards() {
        shards.push(Client::open(port, "bench")?);
    }
    let times = if options.smoke { 1 } else { TIMES };
    for (what, sql) in [
        ("2 columns", "SELECT id, rank() OVER (ORDER BY amount) FROM numbers"),
        (
            "3 columns",
            "SELECT a.id, a.amount FROM numbers a JOIN numbers b ON b.grp = a.id AND b.amount = 1 AND a.grp > 0",
        ),
    ] {
        let mut rates = Vec::new();
        let mut rows = 0.0;
        for _ in 0..times {
            let report = through.lines(&format!("EXPLAIN (ROUTE, ANALYZE) {sql}"))?;
            // `Inputs: all there after 12.3 ms`, and `Input 1, numbers: 10 rows, ...`.
            let spent: f64 = number_behind(&report, "all there after ").ok_or("no time of inputs")?;
            let first = report.iter().find(|line| line.trim_start().starts_with("Input ")).ok_or("no input")?;
            rows = number_behind(std::slice::from_ref(first), ": ").ok_or("no rows of an input")?;
            rates.push(rows / spent / 1e3);
        }
        let figures = format!("**{:.2} million rows/s**", median(&mut rates));
        lines.push(line(format!("staging {rows:.0} rows, {what}"), figures));
    }
    let times = if options.smoke { 10 } else { 200 };
    let few = "FROM numbers WHERE grp IN (1, 2, 3)";
    let rows = through.query(&format!("SELECT id, amount {few}"))?.rows;
    let bare = together(&mut shards, &format!("SELECT id, amount {few}"), times)?;
    let ours = timed(&mut through, &format!("SELECT id, amount, rank() OVER (ORDER BY amount) {few}"), times)?;
    let figures =
        format!("{ours:.2} ms; the shards asked at once without a proxy {bare:.2} ms: **{:.2} ms** more", ours - bare);
    lines.push(line(format!("a window over {rows} rows of four shards"), figures));
    let sql = "SELECT a.id, b.grp FROM numbers a JOIN numbers b ON b.id = a.amount WHERE a.grp = 1";
    let rows = through.query(sql)?.rows;
    let figures = format!("{:.2} ms", timed(&mut through, sql, times)?);
    lines.push(line(format!("a join with rows of other shards, {rows} of {} rows", options.rows), figures));
    Ok(())
}

/// The number behind some words.
fn number_behind(lines: &[String], words: &str) -> Option<f64> {
    let rest = lines.iter().find_map(|line| line.split_once(words))?.1;
    rest.split(' ').next()?.parse().ok()
}
