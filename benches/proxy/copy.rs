//! COPY in: rows that are split over four shards, against the same rows copied straight to one server.
//!
//! A transaction over four shards ends with a two-phase commit, and all servers share this machine's cores with the proxy; the one server has them
//! for itself. Both get the rows as psql's `\copy` sends them, many to a message.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::client::Client;
use crate::contenders::{Bench, Contender};
use crate::pgbench::median;

/// How often each is done, in turns; the median counts.
const TIMES: usize = 5;
/// What clients send at once.
const PIECE: usize = 8192;

/// Rows per second over four shards, and straight to one server, with a word about both.
pub fn measure(bench: &Bench, rows: i64) -> Outcome<String> {
    eprintln!("copying {rows} rows in, {TIMES} times each way");
    let data: Vec<u8> = (1..=rows).flat_map(|id| format!("{id}\t{}\t{}\n", id % 1000, id % 7).into_bytes()).collect();
    for &port in bench.shards().iter().chain([&bench.port(Contender::Direct)]) {
        bench.psql(
            port,
            "bench",
            "bench",
            "CREATE TABLE IF NOT EXISTS numbers (id bigint PRIMARY KEY, grp int, amount int)",
        )?;
    }
    bench.psql(bench.port(Contender::Goldseam4), "bench", "goldseam", "RELOAD")?;
    let mut times: [Vec<f64>; 2] = Default::default();
    for _ in 0..TIMES {
        for (contender, times) in [Contender::Goldseam4, Contender::Direct].into_iter().zip(&mut times) {
            for &port in bench.shards().iter().chain([&bench.port(Contender::Direct)]) {
                bench.psql(port, "bench", "bench", "TRUNCATE numbers")?;
            }
            let mut client = Client::open(bench.port(contender), "bench")?;
            times.push(copy(&mut client, &data)?.as_secs_f64());
        }
    }
    let [spread, direct] = times.map(|mut times| rows as f64 / median(&mut times));
    Ok(format!(
        "{:.2} million rows per second over 4 shards, {:.2} million straight to one server: **{:.2} ×**",
        spread / 1e6,
        direct / 1e6,
        spread / direct
    ))
}

fn copy(client: &mut Client, data: &[u8]) -> Outcome<Duration> {
    let began = Instant::now();
    client.start("COPY numbers FROM STDIN")?;
    client.send_copy(data.chunks(PIECE))?;
    client.collect()?;
    Ok(began.elapsed())
}
