//! The report: Markdown, ready for the README.

use std::process::Command;

use crate::contenders::{Bench, Contender};
use crate::idle::Growth;
use crate::pgbench::{Mode, Run, median};
use crate::{Options, os};

/// The medians of a combination over all rounds.
struct Figures {
    tps: f64,
    median_ms: f64,
    cpu_us: Option<f64>,
}

impl Figures {
    fn of(runs: &[Run], contender: Contender, mode: Mode, clients: u32) -> Option<Figures> {
        let matching: Vec<&Run> = runs
            .iter()
            .filter(|run| run.contender == contender && run.mode == mode && run.clients == clients)
            .collect();
        if matching.is_empty() {
            return None;
        }
        let middle = |values: Vec<f64>| median(&mut values.clone());
        let cpu: Vec<f64> = matching.iter().filter_map(|run| run.cpu_us).collect();
        Some(Figures {
            tps: middle(matching.iter().map(|run| run.tps).collect()),
            median_ms: middle(matching.iter().map(|run| run.median_ms).collect()),
            cpu_us: if cpu.is_empty() { None } else { Some(middle(cpu)) },
        })
    }
}

/// Prints everything to standard output.
pub fn print(bench: &Bench, options: &Options, runs: &[Run], idle: &[Growth]) {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let command = match arguments.is_empty() {
        true => String::from("cargo bench --bench proxy"),
        false => format!("cargo bench --bench proxy -- {}", arguments.join(" ")),
    };
    let postgres = version(bench.binary("postgres"));
    let pgbouncer = version("/usr/sbin/pgbouncer");
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
    println!("`{command}` on {date}, {}, {postgres}, {pgbouncer}.", os::machine());
    println!(
        "pgbench select-only, scale {}; medians of {} interleaved rounds of {} s; servers, proxies and pgbench share the cores.",
        options.scale, options.rounds, options.seconds
    );
    if options.smoke {
        println!("**A smoke run: too short to be quoted.**");
    }
    println!();
    if runs.is_empty() {
        return;
    }
    println!(
        "| mode | clients | through | queries/s | of direct | median latency | proxy CPU per query | of PgBouncer |"
    );
    println!("|---|--:|---|--:|--:|--:|--:|--:|");
    for &mode in &options.modes {
        for &clients in &options.clients {
            let direct = Figures::of(runs, Contender::Direct, mode, clients);
            let pgbouncer = Figures::of(runs, Contender::Pgbouncer, mode, clients);
            for &contender in &options.only {
                let Some(figures) = Figures::of(runs, contender, mode, clients) else { continue };
                let of_direct = ratio(Some(figures.tps), direct.as_ref().map(|direct| direct.tps));
                let of_pgbouncer = ratio(figures.cpu_us, pgbouncer.as_ref().and_then(|pgbouncer| pgbouncer.cpu_us));
                let cpu = figures.cpu_us.map_or(String::from("–"), |cpu| format!("{cpu:.1} µs"));
                let note =
                    if contender == Contender::Pgbouncer && mode == Mode::Prepared { " (session mode)" } else { "" };
                println!(
                    "| {mode} | {clients} | {contender}{note} | {:.0} | {of_direct} | {:.3} ms | {cpu} | {of_pgbouncer} |",
                    figures.tps, figures.median_ms
                );
            }
        }
    }
    if idle.is_empty() {
        return;
    }
    println!();
    println!("| idle clients, one query each | through | resident memory | growth | per client |");
    println!("|--:|---|--:|--:|--:|");
    for growth in idle {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let grown = growth.after.saturating_sub(growth.before);
        println!(
            "| {} | {} | {} | {} | {:.1} kB |",
            growth.clients,
            growth.contender,
            megabytes(growth.after),
            megabytes(grown),
            growth.each() as f64 / 1e3
        );
    }
}

fn ratio(figure: Option<f64>, reference: Option<f64>) -> String {
    match (figure, reference) {
        (Some(figure), Some(reference)) if reference > 0.0 => format!("{:.2}", figure / reference),
        _ => String::from("–"),
    }
}

/// The first line of `--version`.
fn version(program: impl AsRef<std::ffi::OsStr>) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("an unknown version").to_owned()
}
