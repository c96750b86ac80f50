//! Statements over several shards: what a small one costs the proxy, what a large one costs it in memory, and how much longer than its
//! slowest shard it takes.
//!
//! All servers share this machine's cores. Four shards that count at the same time on two cores take twice as long as one alone, whatever
//! stands before them; so beside the time through the proxy stands that of the same statements asked of all shards at once without it.
//! For the same reason latency by number of shards is measured twice: with statements that take a server no time to speak of, and with some
//! that take it 5 milliseconds in which it needs no processor, as a server of its own would.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client};
use crate::contenders::{Bench, Contender};
use crate::pgbench::{Mode, Run, median, run_script};
use crate::{Options, Outcome, copy, os, placement, staging};

/// Rows of a group on each shard, on average.
const GROUP: i64 = 10;
/// How often a statement is timed; the median counts.
const TIMES: usize = 15;
/// Numbers of shards that latency is measured over.
const WIDTHS: [usize; 5] = [2, 4, 8, 16, 32];
/// Rows of the table for two-phase commits, on each shard.
const PURSES: i64 = 1000;

/// A line of the report.
#[derive(Debug)]
pub struct Line {
    what: String,
    figures: String,
}

pub fn line(what: impl Into<String>, figures: String) -> Line {
    let line = Line { what: what.into(), figures };
    eprintln!("{}: {}", line.what, line.figures);
    line
}

/// Prints Markdown.
pub fn print(lines: &[Line]) {
    println!("\n| over several shards | |\n|---|---|");
    for Line { what, figures } in lines {
        println!("| {what} | {figures} |");
    }
}

/// Loads the tables and measures everything.
pub fn measure(bench: &Bench, options: &Options) -> Outcome<Vec<Line>> {
    load(bench, i64::from(options.rows))?;
    let mut lines = Vec::new();
    small(bench, options, &mut lines)?;
    large(bench, options, &mut lines)?;
    staging::measure(bench, options, &mut lines)?;
    two_phase(bench, options, &mut lines)?;
    wide(bench, options, &mut lines)?;
    lines.push(line("COPY in", copy::measure(bench, i64::from(options.rows))?));
    Ok(lines)
}

fn load(bench: &Bench, rows: i64) -> Outcome<()> {
    eprintln!("loading {rows} rows over four shards");
    let groups = (rows / (GROUP * placement::SHARDS.len() as i64)).max(1);
    let numbers = placement::spread("numbers", "COPY numbers FROM stdin;\n", 1..=rows, |id| {
        format!("{id}\t{}\t{}\n", id % groups, id % 1000)
    })?;
    let ids = (0..placement::SHARDS.len() as i64).flat_map(|shard| (1..=PURSES).map(move |id| shard * 1_000_000 + id));
    let purses = placement::spread("purse", "COPY purse FROM stdin;\n", ids, |id| format!("{id}\t0\n"))?;
    for ((&port, numbers), purses) in bench.shards().iter().zip(&numbers).zip(&purses) {
        let sql = format!(
            "CREATE TABLE numbers (id bigint PRIMARY KEY, grp int, amount int);\n{numbers}\\.\n\
             CREATE INDEX ON numbers (grp);\n\
             CREATE TABLE purse (id bigint PRIMARY KEY, amount bigint);\n{purses}\\.\n\
             VACUUM ANALYZE numbers;\nVACUUM ANALYZE purse;\n"
        );
        bench.psql(port, "bench", "bench", &sql)?;
    }
    // The tables were made behind the proxy's back.
    bench.psql(bench.port(Contender::Goldseam4), "bench", "goldseam", "RELOAD")?;
    let script = |name: &str, text: String| std::fs::write(bench.folder().join(name), text);
    script(
        "small.sql",
        format!("\\set grp random(0, {})\nSELECT id, amount FROM numbers WHERE grp = :grp;\n", groups - 1),
    )?;
    script(
        "ordered.sql",
        format!(
            "\\set grp random(0, {})\nSELECT amount FROM numbers WHERE grp = :grp ORDER BY id LIMIT 10;\n",
            groups - 1
        ),
    )?;
    script(
        "count.sql",
        format!("\\set grp random(0, {})\nSELECT count(*) FROM numbers WHERE grp = :grp;\n", groups - 1),
    )?;
    // The second purse is the first one's neighbour, or on the next shard.
    let purse =
        format!("\\set shard random(0, 2)\n\\set id random(1, {})\n\\set a :shard * 1000000 + :id\n", PURSES - 1);
    let pay = "BEGIN;\nUPDATE purse SET amount = amount - 1 WHERE id = :a;\nUPDATE purse SET amount = amount + 1 WHERE id = :b;\nCOMMIT;\n";
    script("one_shard.sql", format!("{purse}\\set b :a + 1\n{pay}"))?;
    script("two_shards.sql", format!("{purse}\\set b :a + 1000000\n{pay}"))?;
    Ok(())
}

fn described(run: &Run) -> String {
    let cpu = run.cpu_us.map_or(String::from("–"), |cpu| format!("{cpu:.0} µs"));
    format!("{:.0} per second, median {:.2} ms, **{cpu} of proxy CPU each**", run.tps, run.median_ms)
}

/// Ten rows from each of four shards.
fn small(bench: &Bench, options: &Options, lines: &mut Vec<Line>) -> Outcome<()> {
    let kinds = [
        ("small.sql", "10 rows from each of 4 shards"),
        ("ordered.sql", "the first 10 in an order"),
        ("count.sql", "a count of them"),
    ];
    for (script, what) in kinds {
        for mode in [Mode::Simple, Mode::Prepared] {
            for clients in [1, 16] {
                run_script(bench, Contender::Goldseam4, mode, clients, 1, script)?;
                let run = run_script(bench, Contender::Goldseam4, mode, clients, options.seconds, script)?;
                let who = if clients == 1 { "client" } else { "clients" };
                lines.push(line(format!("{what}, {mode}, {clients} {who}"), described(&run)));
            }
        }
    }
    Ok(())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn timed(client: &mut Client, sql: &str, times: usize) -> Outcome<f64> {
    client.query(sql)?;
    let mut values = Vec::new();
    for _ in 0..times {
        values.push(milliseconds(client.query(sql)?.time));
    }
    Ok(median(&mut values))
}

/// The slowest of all servers, asked at the same time and without a proxy; the median.
pub fn together(clients: &mut [Client], sql: &str, times: usize) -> Outcome<f64> {
    let mut values = Vec::new();
    for round in 0..=times {
        let began = Instant::now();
        for client in clients.iter_mut() {
            client.start(sql)?;
        }
        for client in clients.iter_mut() {
            client.collect()?;
        }
        // The first round is to warm up.
        if round > 0 {
            values.push(milliseconds(began.elapsed()));
        }
    }
    Ok(median(&mut values))
}

/// Counts, groups, and the whole table in order.
fn large(bench: &Bench, options: &Options, lines: &mut Vec<Line>) -> Outcome<()> {
    let times = if options.smoke { 3 } else { TIMES };
    // A proxy started afresh: its peak is that of these statements.
    let proxy = bench.start_proxy(Contender::Goldseam4)?;
    let mut through = Client::open(proxy.port, "bench")?;
    let mut shards = Vec::new();
    for &port in bench.shards() {
        shards.push(Client::open(port, "bench")?);
    }
    for (what, sql) in [
        ("count(*)", "SELECT count(*) FROM numbers"),
        ("sum and avg", "SELECT sum(amount), avg(amount), min(id), max(id) FROM numbers"),
        ("GROUP BY of 1,000 groups", "SELECT amount, count(*), sum(id) FROM numbers GROUP BY amount"),
        ("ORDER BY ... LIMIT 100", "SELECT * FROM numbers ORDER BY amount DESC, id LIMIT 100"),
    ] {
        let mut alone = 0.0;
        for shard in &mut shards {
            alone = f64::max(alone, timed(shard, sql, times.min(5))?);
        }
        let at_once = together(&mut shards, sql, times)?;
        let ours = timed(&mut through, sql, times)?;
        let figures = format!(
            "{ours:.2} ms; the slowest of the shards asked at once without a proxy {at_once:.2} ms (**{:.2} x**), alone {alone:.2} ms",
            ours / at_once
        );
        lines.push(line(format!("{what} over {} rows", options.rows), figures));
    }
    for (what, sql) in [
        ("all rows in order", "SELECT id, amount FROM numbers ORDER BY id"),
        ("all rows in an order that is not selected", "SELECT amount FROM numbers ORDER BY grp, id"),
        ("all rows in no order", "SELECT id, amount FROM numbers"),
    ] {
        through.query(sql)?;
        let before = os::resident(proxy.pid())?;
        let cpu = os::cpu_time(proxy.pid())?;
        let answer: Answer = through.query(sql)?;
        let cpu = os::cpu_time(proxy.pid())? - cpu;
        if answer.rows != u64::from(options.rows) {
            return Err(format!("{sql}: {} rows", answer.rows).into());
        }
        let rate = |time: Duration| answer.rows as f64 / time.as_secs_f64().max(1e-9) / 1e6;
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let figures = format!(
            "**{:.2} million rows/s**, {:.2} million per second of proxy CPU; proxy memory {:.0} MB before, {:.0} MB at its peak",
            rate(answer.time),
            rate(cpu),
            megabytes(before),
            megabytes(os::peak(proxy.pid())?)
        );
        lines.push(line(format!("{what}, {} rows", answer.rows), figures));
    }
    Ok(())
}

/// Transactions of two updates, on one shard and on two.
fn two_phase(bench: &Bench, options: &Options, lines: &mut Vec<Line>) -> Outcome<()> {
    for clients in [1, 16] {
        for (script, what) in [("one_shard.sql", "on one shard"), ("two_shards.sql", "on two shards, two-phase commit")]
        {
            let run = run_script(bench, Contender::Goldseam4, Mode::Prepared, clients, options.seconds, script)?;
            let who = if clients == 1 { "client" } else { "clients" };
            lines.push(line(format!("two updates {what}, {clients} {who}"), described(&run)));
        }
    }
    // Money neither comes into being nor goes away.
    let mut through = Client::open(bench.port(Contender::Goldseam4), "bench")?;
    if through.query("SELECT 1 FROM purse HAVING sum(amount) = 0")?.rows != 1 {
        return Err("the purses do not add up".into());
    }
    Ok(())
}

/// One small statement over 2 to 32 shards, which are databases of one server.
fn wide(bench: &Bench, options: &Options, lines: &mut Vec<Line>) -> Outcome<()> {
    let port = bench.single();
    let most = WIDTHS[WIDTHS.len() - 1];
    for n in 0..most {
        bench.psql(port, "postgres", "postgres", &format!("CREATE DATABASE wide{n} OWNER bench"))?;
        let sql = "CREATE TABLE bit (id bigint PRIMARY KEY, n int);\nINSERT INTO bit SELECT g, g FROM generate_series(1, 10) g;\n";
        bench.psql(port, "bench", &format!("wide{n}"), sql)?;
    }
    let times = if options.smoke { 10 } else { 200 };
    let kinds = [
        ("10 rows each", "SELECT id, n FROM bit"),
        ("10 rows each after 5 ms", "SELECT id, n, pg_sleep(0.0005) FROM bit"),
        ("a window over 10 rows each", "SELECT id, rank() OVER (ORDER BY n, id) FROM bit"),
    ];
    for (what, sql) in kinds {
        let mut figures = String::new();
        let (mut first, mut first_bare, mut last, mut last_bare) = (0.0, 0.0, 0.0, 0.0);
        for width in WIDTHS {
            let names: Vec<String> = (0..width).map(|n| format!("\"s{n}\"")).collect();
            let vschema = format!(
                "[keyspace.bench]\nshards = [{}]\n[vindex.by_hash]\ntype = \"hash\"\n\
                 [table.bit]\nkeyspace = \"bench\"\nshard_key = \"id\"\nvindex = \"by_hash\"\n",
                names.join(", ")
            );
            let databases: Vec<(u16, String)> = (0..width).map(|n| (port, format!("wide{n}"))).collect();
            let proxy = bench.start_goldseam(&databases, &vschema)?;
            let mut through = Client::open(proxy.port, "wide0")?;
            let ours = timed(&mut through, sql, times)?;
            let mut shards = Vec::new();
            for (port, database) in &databases {
                shards.push(Client::open(*port, database)?);
            }
            let bare = together(&mut shards, sql, times)?;
            if width == WIDTHS[0] {
                (first, first_bare) = (ours, bare);
            }
            (last, last_bare) = (ours, bare);
            write!(figures, "{width}: {ours:.2} ms ({bare:.2}); ")?;
        }
        write!(figures, "**{:.2} x** ({:.2} x)", last / first, last_bare / first_bare)?;
        lines.push(line(format!("latency by number of shards, {what} (without a proxy)"), figures));
    }
    Ok(())
}
