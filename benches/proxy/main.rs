//! What a proxy costs: the same `pgbench` read against PostgreSQL itself, PgBouncer, and Goldseam over one and four shards.
//!
//! ```text
//! cargo bench --bench proxy                    # the table in the README
//! cargo bench --bench proxy -- --smoke         # everything once, one second each: does it still run?
//! cargo bench --bench proxy -- --only-scatter  # statements over several shards, and nothing else
//! cargo bench --bench proxy -- --only-analytics  # TPC-H and the CH-benCHmark, and nothing else
//! ```
//!
//! Everything runs on this machine: five PostgreSQL servers (one for the contenders with a single server, four shards), the
//! proxies and `pgbench` share its cores, so *throughput* is what is left after everyone took a share. The figure that is the
//! proxy's alone is its **CPU time per query**, which the operating system keeps ([`os`]). Runs are interleaved in rounds over all
//! contenders, because a shared machine is faster in some minutes than in others, and the median of the rounds is printed.
//!
//! * [`contenders`] starts the servers and says how each is reached.
//! * [`placement`] loads the four shards, each row where the vindex says, and checks that Goldseam finds it there.
//! * [`pgbench`] is one run and its figures.
//! * [`idle`] is the memory of a thousand clients that do nothing.
//! * [`scatter`] is about statements over several shards; [`client`] counts the rows that they answer.
//! * [`staging`] is about rows that are put together in a workbench.
//! * [`copy`] is about rows that a client copies in.
//! * [`analytics`] asks TPC-H's and the CH-benCHmark's questions ([`workloads`]) of four shards and of one server.
//! * [`report`] prints Markdown.

mod analytics;
mod client;
mod contenders;
mod copy;
mod idle;
mod os;
mod pgbench;
mod placement;
mod report;
mod scatter;
mod staging;
#[path = "../workloads/mod.rs"]
mod workloads;

use clap::Parser;
use contenders::{Bench, Contender};
use pgbench::{Mode, Run};

/// Errors end the comparison; their text is all that is wanted of them.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Compares Goldseam with PgBouncer and with no proxy at all.
#[derive(Debug, Parser)]
struct Options {
    /// Run everything, one second each and one round: a test of the comparison, not a measurement.
    #[arg(long)]
    smoke: bool,
    /// Seconds per run.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// How often every combination is run; medians are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64])]
    clients: Vec<u32>,
    /// pgbench's query modes.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Mode::ALL)]
    modes: Vec<Mode>,
    /// The servers to compare.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = Contender::ALL)]
    only: Vec<Contender>,
    /// pgbench's scale factor: 100,000 accounts each.
    #[arg(long, default_value_t = 1)]
    scale: u32,
    /// How many idle clients to connect (0: skip that part).
    #[arg(long, default_value_t = 1000)]
    idle: u32,
    /// Goldseam's worker threads; its own default otherwise.
    #[arg(long)]
    workers: Option<u32>,
    /// Rows of the table that is read over all shards (0: skip that part).
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// Only what is asked of several shards.
    #[arg(long)]
    only_scatter: bool,
    /// Only TPC-H's and the CH-benCHmark's queries.
    #[arg(long)]
    only_analytics: bool,
    /// The folder of `initdb`, `postgres` and `pgbench`, if they are not found.
    #[arg(long)]
    pg_bin: Option<std::path::PathBuf>,
    /// What `cargo bench` adds to every command line.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> std::process::ExitCode {
    match compare(Options::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("proxy comparison: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn compare(mut options: Options) -> Outcome<()> {
    if options.smoke {
        options.seconds = 1;
        options.rounds = 1;
        options.idle = options.idle.min(100);
        options.clients.retain(|&clients| clients <= 16);
        options.rows = options.rows.min(40_000);
    }
    if options.only_scatter || options.only_analytics {
        options.only = vec![Contender::Goldseam4];
        options.idle = 0;
    }
    os::allow_many_files();
    eprintln!("starting servers and loading {} accounts", 100_000 * options.scale);
    let bench = Bench::start(&options)?;
    if options.only.contains(&Contender::Goldseam4) {
        placement::check(&bench)?;
    }

    // One unmeasured run each: caches fill, pools connect, plans are made.
    for &contender in &options.only {
        pgbench::run(&bench, contender, Mode::Simple, 4, 1)?;
    }

    let mut runs: Vec<Run> = Vec::new();
    let rounds = if options.only_scatter || options.only_analytics { 0 } else { options.rounds };
    for round in 0..rounds {
        for &mode in &options.modes {
            for &clients in &options.clients {
                for turn in 0..options.only.len() {
                    // Each round begins with another contender, so that none always follows the same neighbour.
                    let contender = options.only[(turn + round) % options.only.len()];
                    let run = pgbench::run(&bench, contender, mode, clients, options.seconds)?;
                    eprintln!("round {} of {}: {run}", round + 1, options.rounds);
                    runs.push(run);
                }
            }
        }
    }

    let mut idle = Vec::new();
    for &contender in options.only.iter().filter(|contender| contender.is_proxy() && options.idle > 0) {
        let growth = idle::measure(&bench, contender, options.idle)?;
        eprintln!("{growth}");
        idle.push(growth);
    }
    report::print(&bench, &options, &runs, &idle);
    if options.rows > 0 && !options.only_analytics && options.only.contains(&Contender::Goldseam4) {
        scatter::print(&scatter::measure(&bench, &options)?);
    }
    if !options.only_scatter && options.only.contains(&Contender::Goldseam4) {
        analytics::print(&analytics::measure(&bench, &options)?);
    }
    Ok(())
}
