//! TPC-H's and the CH-benCHmark's questions over four shards: every answer is the plain server's.
//!
//! The rows, and how they are placed, are the bench's (`benches/workloads`), at a small scale. `GOLDSEAM_VERBOSE` prints the times.

#[path = "../../benches/workloads/mod.rs"]
mod workloads;

use std::time::{Duration, Instant};

use self::workloads::Workload;
use crate::fixture::{self, SHARDS};
use crate::proof::client::{Answer, Client, How};
use crate::proof::compare::{Rule, Verdict, compare};

const USER: &str = "postgres";
/// A question takes no longer, or something hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn tpc_h_is_answered_as_by_one_server() {
    answered(&workloads::tpch::workload(0.004));
}

#[test]
fn the_ch_benchmark_is_answered_as_by_one_server() {
    answered(&workloads::ch::workload(8, 30));
}

fn answered(workload: &Workload) {
    let (mut proxy, mut oracle) = start(workload);
    let mut faults = Vec::new();
    for query in &workload.queries {
        for how in [How::Simple, How::Binary] {
            let (ours, found) = timed(&mut proxy, how, query.sql);
            let (theirs, expected) = timed(&mut oracle, how, query.sql);
            if expected.rows.is_empty() {
                faults.push(format!("{}: asks for nothing", query.number));
            }
            let verdict = compare(query.sql, &Rule::default(), &found, &expected, None);
            if std::env::var("GOLDSEAM_VERBOSE").is_ok() {
                let rows = expected.rows.len();
                println!("{} {:2} {how:?}: {ours:?}, one server {theirs:?}, {rows} rows", workload.name, query.number);
            }
            match verdict {
                Verdict::Same => {}
                Verdict::Refused(message) => {
                    faults.push(format!("{} ({}): refused: {message}", query.number, query.about))
                }
                Verdict::Different(difference) => {
                    faults.push(format!("{} ({}), {how:?}: {difference}", query.number, query.about));
                }
            }
            if found.status == 0 {
                panic!("{} ({}): {:?}", query.number, query.about, found.error);
            }
        }
    }
    let held = "SELECT count(*) FROM pg_class WHERE relpersistence = 't'";
    assert_eq!(proxy.one(held), "0", "temporary tables are left");
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}

fn timed(client: &mut Client, how: How, sql: &str) -> (Duration, Answer) {
    let began = Instant::now();
    let answer = client.ask(how, sql, &[]);
    (began.elapsed(), answer)
}

/// Makes the databases, fills them, and starts a proxy; sessions with it and with the plain server.
fn start(workload: &Workload) -> (Client, Client) {
    let fixture = fixture::get();
    let names: Vec<String> = (0..SHARDS).map(|n| format!("s{n}")).collect();
    let text = workload.vschema_toml(SHARDS);
    let vschema = goldseam::vschema::load(&[("workload.toml".into(), text.clone())], &names).unwrap();
    let database = format!("work_{}", workload.name);
    let ports: Vec<u16> = fixture.cluster.servers.iter().map(|server| server.port()).collect();
    let mut loads = workload.spread(&vschema, SHARDS);
    loads.push(workload.plain());
    std::thread::scope(|scope| {
        for (port, load) in ports.iter().zip(&loads) {
            let database = &database;
            scope.spawn(move || {
                Client::open(*port, USER, "postgres")
                    .run(&format!("CREATE DATABASE {database} TEMPLATE template0 LOCALE 'C' ENCODING 'UTF8'"));
                let mut client = Client::open(*port, USER, database);
                client.script(workload.schema);
                load.iter().for_each(|(table, lines)| client.copy_in(table, lines));
                client.run("ANALYZE");
            });
        }
    });
    let folder = fixture.cluster.subfolder(&database).unwrap();
    let pool = "[pool]\nsize = 6\nmin_idle = 0";
    let config = fixture::write_config(&folder, &text, USER, &ports[..SHARDS], &database, pool);
    let proxy = fixture.runtime.block_on(fixture::start_proxy(&config));
    let mut clients = (Client::open(proxy, USER, &database), Client::open(ports[SHARDS], USER, &database));
    clients.0.wait_at_most(PATIENCE);
    clients.1.wait_at_most(PATIENCE);
    clients
}
