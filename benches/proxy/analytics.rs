//! TPC-H's and the CH-benCHmark's queries over four shards against one PostgreSQL with the same rows.
//!
//! All servers share this machine's cores, so four shards are no faster than one server here; what the table shows is what it costs that
//! the rows are apart. Before times are taken, both sides must answer the same number of rows and bytes.

use std::fmt::Write;

use crate::client::Client;
use crate::contenders::Bench;
use crate::pgbench::median;
use crate::workloads::{Workload, ch, tpch};
use crate::{Options, Outcome, placement};

const TIMES: usize = 5;

/// A query's times in milliseconds.
pub struct Time {
    workload: &'static str,
    number: usize,
    about: &'static str,
    rows: u64,
    ours: f64,
    single: f64,
}

pub fn measure(bench: &Bench, options: &Options) -> Outcome<Vec<Time>> {
    let (scale, warehouses, customers) = if options.smoke { (0.004, 4, 30) } else { (0.02, 16, 100) };
    let mut times = Vec::new();
    for workload in [tpch::workload(scale), ch::workload(warehouses, customers)] {
        eprintln!(
            "loading {}: {} rows",
            workload.name,
            workload.tables.iter().map(|rows| rows.lines.len()).sum::<usize>()
        );
        run(bench, &workload, if options.smoke { 1 } else { TIMES }, &mut times)?;
    }
    Ok(times)
}

fn run(bench: &Bench, workload: &Workload, rounds: usize, times: &mut Vec<Time>) -> Outcome<()> {
    let shards = placement::SHARDS.len();
    let names: Vec<String> = (0..shards).map(|n| format!("s{n}")).collect();
    let text = workload.vschema_toml(shards);
    let vschema = goldseam::vschema::load(&[("workload.toml".into(), text.clone())], &names)?;
    let database = format!("work_{}", workload.name);
    let mut loads = workload.spread(&vschema, shards);
    loads.push(workload.plain());
    let ports: Vec<u16> = bench.shards().iter().copied().chain([bench.single()]).collect();
    for (port, tables) in ports.iter().zip(loads) {
        bench.psql(
            *port,
            "postgres",
            "postgres",
            &format!("CREATE DATABASE {database} OWNER bench TEMPLATE template0 LOCALE 'C'"),
        )?;
        let mut sql = String::from(workload.schema);
        for (table, lines) in tables {
            write!(sql, "COPY {table} FROM STDIN;\n{lines}\\.\n")?;
        }
        sql += "VACUUM ANALYZE;\n";
        bench.psql(*port, "bench", &database, &sql)?;
    }
    let databases: Vec<(u16, String)> = bench.shards().iter().map(|port| (*port, database.clone())).collect();
    let proxy = bench.start_goldseam(&databases, &text)?;
    let (mut ours, mut single) = (Client::open(proxy.port, &database)?, Client::open(bench.single(), &database)?);
    for query in &workload.queries {
        let (found, expected) = (ours.query(query.sql)?, single.query(query.sql)?);
        if found.rows != expected.rows {
            return Err(format!(
                "{} {}: {} rows instead of {}",
                workload.name, query.number, found.rows, expected.rows
            )
            .into());
        }
        let timed = |client: &mut Client| -> Outcome<f64> {
            let mut values = Vec::new();
            for _ in 0..rounds {
                values.push(client.query(query.sql)?.time.as_secs_f64() * 1e3);
            }
            Ok(median(&mut values))
        };
        let time = Time {
            workload: workload.name,
            number: query.number,
            about: query.about,
            rows: found.rows,
            ours: timed(&mut ours)?,
            single: timed(&mut single)?,
        };
        eprintln!("{} {}: {:.1} ms, one server {:.1} ms", time.workload, time.number, time.ours, time.single);
        times.push(time);
    }
    Ok(())
}

/// As Markdown.
pub fn print(times: &[Time]) {
    println!("\n| query | about | rows | four shards, ms | one server, ms |\n|---|---|---:|---:|---:|");
    for time in times {
        let Time { workload, number, about, rows, ours, single } = time;
        println!("| {workload} {number} | {about} | {rows} | {ours:.1} | {single:.1} |");
    }
    for workload in ["tpch", "ch"] {
        let all = times.iter().filter(|time| time.workload == workload);
        let (ours, single) = all.fold((0.0, 0.0), |(ours, single), time| (ours + time.ours, single + time.single));
        println!("| {workload}, all | | | {ours:.1} | {single:.1} |");
    }
}
