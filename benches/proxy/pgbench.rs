//! One run of `pgbench` and what it showed.

use std::fmt;
use std::fs;
use std::process::Command;

use clap::ValueEnum;

use crate::contenders::{Bench, Contender};
use crate::{Outcome, os};

/// How pgbench sends its queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Query messages.
    Simple,
    /// Parse, Bind, Execute for each query.
    Extended,
    /// Parse once, then Bind and Execute.
    Prepared,
}

impl Mode {
    pub const ALL: [Mode; 3] = [Mode::Simple, Mode::Extended, Mode::Prepared];

    pub fn name(self) -> &'static str {
        match self {
            Mode::Simple => "simple",
            Mode::Extended => "extended",
            Mode::Prepared => "prepared",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The built-in select-only script. It is given as a file, because pgbench counts `pgbench_branches` before it runs a built-in one.
pub const SCRIPT: &str = "\\set aid random(1, 100000 * :scale)\n\
                          SELECT abalance FROM pgbench_accounts WHERE aid = :aid;\n";

/// The figures of one run.
#[derive(Debug, Clone)]
pub struct Run {
    pub contender: Contender,
    pub mode: Mode,
    pub clients: u32,
    /// Queries per second, connecting not counted.
    pub tps: f64,
    /// Median latency in milliseconds, of a sample of the queries.
    pub median_ms: f64,
    /// The proxy's user and system time per query, in microseconds; none where there is no proxy.
    pub cpu_us: Option<f64>,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { contender, mode, clients, tps, median_ms, cpu_us } = self;
        write!(f, "{mode:8} {clients:3} clients {contender:11} {tps:8.0} tps {median_ms:7.3} ms")?;
        match cpu_us {
            Some(cpu) => write!(f, " {cpu:6.1} µs CPU per query"),
            None => Ok(()),
        }
    }
}

/// Runs the select-only script for some seconds.
pub fn run(bench: &Bench, contender: Contender, mode: Mode, clients: u32, seconds: u32) -> Outcome<Run> {
    run_script(bench, contender, mode, clients, seconds, "select.sql")
}

/// Runs a script of the folder for some seconds.
pub fn run_script(
    bench: &Bench,
    contender: Contender,
    mode: Mode,
    clients: u32,
    seconds: u32,
    script: &str,
) -> Outcome<Run> {
    let logs = tempfile::tempdir_in(bench.folder())?;
    // Writing down every query would cost pgbench time that the servers need; this leaves thousands to take a median of.
    let sampling = if clients == 1 { "0.1" } else { "0.02" };
    let address = bench.address(contender, mode);
    let mut command = Command::new(bench.binary("pgbench"));
    command
        .args(["--no-vacuum", "--host", "127.0.0.1", "--username", "bench"])
        .args(["--port", &address.port.to_string()])
        .args(["--protocol", mode.name()])
        .args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()])
        .args(["--time", &seconds.to_string()])
        .args(["--define", &format!("scale={}", bench.scale)])
        .arg("--file")
        .arg(bench.folder().join(script))
        .args(["--log", "--sampling-rate", sampling])
        .arg("--log-prefix")
        .arg(logs.path().join("log"))
        .arg(address.database)
        .env("LC_ALL", "C");

    let pid = bench.proxy_pid(contender);
    let before = pid.map(os::cpu_time).transpose()?;
    let output = command.output()?;
    let after = pid.map(os::cpu_time).transpose()?;

    let text = String::from_utf8_lossy(&output.stdout);
    let complaint = || {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("pgbench against {contender} ({mode}, {clients} clients) failed:\n{errors}{text}")
    };
    if !output.status.success() {
        return Err(complaint().into());
    }
    // A client that lost its connection stops, the others go on, and pgbench would report only what they did.
    if figure(&text, "number of failed transactions: ").is_some_and(|failed| failed > 0.0) {
        return Err(complaint().into());
    }
    let queries = figure(&text, "number of transactions actually processed: ").ok_or_else(complaint)?;
    let tps = figure(&text, "tps = ").ok_or_else(complaint)?;
    let cpu_us = before.zip(after).map(|(before, after)| (after - before).as_secs_f64() * 1e6 / queries);
    Ok(Run { contender, mode, clients, tps, median_ms: median_latency(logs.path())?, cpu_us })
}

/// The number that follows a label in pgbench's report.
fn figure(report: &str, label: &str) -> Option<f64> {
    let rest = report.lines().find_map(|line| line.strip_prefix(label))?;
    rest.split([' ', '/']).next()?.parse().ok()
}

/// The third column of pgbench's log is a query's time in microseconds.
fn median_latency(logs: &std::path::Path) -> Outcome<f64> {
    let mut times = Vec::new();
    for entry in fs::read_dir(logs)? {
        for line in fs::read_to_string(entry?.path())?.lines() {
            if let Some(time) = line.split(' ').nth(2).and_then(|field| field.parse::<f64>().ok()) {
                times.push(time);
            }
        }
    }
    Ok(median(&mut times) / 1000.0)
}

/// The middle value; 0 of nothing.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
