//! Clients that do not read, leave, or change their mind ten thousand times.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::own::{self, Own, Program, eventually};
use crate::raw::Reply;

/// 800,000 rows in order, some 200 MB.
const MANY: &str = "SELECT i.id, g, repeat('x', 200) AS pad FROM items i, generate_series(1, 20000) g \
                    WHERE i.id <= 40 ORDER BY i.id";
/// Hours of work on every shard.
const LONG: &str = "SELECT count(*) FROM items i, generate_series(1, 30000) a, generate_series(1, 30000) b \
                    WHERE i.id <= 40 AND a + b > 0";

/// A process's resident memory in MB.
fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096 / (1 << 20)
}

/// How many such statements have been at work for a while: a server does not hear a cancel request between two messages.
fn running(own: &Own, shard: usize) -> usize {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%generate_series(1, 30000)%' \
               AND pid <> pg_backend_pid() AND query_start < clock_timestamp() - interval '500 ms'";
    own.shard(shard).one(sql).parse().unwrap()
}

/// A server that is asked for so many connections may not find the time for one more.
fn overloaded(reply: &Reply) -> bool {
    reply.error.as_ref().is_some_and(|error| error.message.starts_with("could not connect to shard"))
}

#[test]
fn a_client_that_does_not_read_makes_the_shards_wait_and_not_the_memory_grow() {
    let own = own::get();
    let program = Program::start(&own.config(""));
    let mut client = program.connect();
    client.ok("SELECT id FROM items WHERE id <= 40 ORDER BY id");
    let before = resident(program.process.id());
    client.start(MANY);
    let mut most = 0;
    for _ in 0..60 {
        std::thread::sleep(Duration::from_millis(100));
        most = most.max(resident(program.process.id()));
    }
    assert!(most < before + 32, "{before} MB before, {most} MB while the client does not read");
    // Another client is served meanwhile.
    assert_eq!(program.connect().ok("SELECT id FROM items WHERE id <= 40 ORDER BY id").rows.len(), 40);
    let (mut rows, mut last) = (0u64, 0);
    let began = Instant::now();
    client.each_row(|row| {
        rows += 1;
        let id: i64 = row[0].as_deref().unwrap().parse().unwrap();
        assert!(id >= last, "rows are in order");
        last = id;
        if rows % 100_000 == 0 {
            most = most.max(resident(program.process.id()));
        }
    });
    assert_eq!(rows, 800_000);
    assert!(most < before + 32, "{before} MB before, {most} MB at most");
    eprintln!("800,000 rows in {:?}; {before} MB before, {most} MB at most", began.elapsed());
    client.ok("SELECT 1");
}

#[test]
fn a_cancel_request_ends_the_statement_on_all_shards() {
    let own = &Own::start();
    let port = own.proxy("");
    let mut client = own.connect(port);
    for block in [false, true] {
        if block {
            client.ok("BEGIN");
        }
        client.start(LONG);
        eventually("both shards are at work", || (0..2).all(|shard| running(own, shard) == 1));
        let began = Instant::now();
        client.cancel(port);
        assert_eq!(client.collect().code(), "57014");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        eventually("both shards are at rest", || (0..2).all(|shard| running(own, shard) == 0));
        if block {
            client.ok("ROLLBACK");
        }
        assert_eq!(client.one("SELECT count(*) FROM items WHERE id <= 40"), "40");
    }
}

#[test]
fn a_client_that_leaves_leaves_no_work_behind() {
    let own = &Own::start();
    let port = own.proxy("");
    for block in [false, true] {
        let mut client = own.connect(port);
        if block {
            client.ok("BEGIN");
        }
        client.start(LONG);
        eventually("both shards are at work", || (0..2).all(|shard| running(own, shard) == 1));
        drop(client);
        eventually("both shards are at rest", || (0..2).all(|shard| running(own, shard) == 0));
    }
    // In the middle of rows, too.
    let mut client = own.connect(port);
    client.start(MANY);
    std::thread::sleep(Duration::from_millis(500));
    drop(client);
    assert_eq!(own.connect(port).ok("SELECT id FROM items WHERE id <= 40 ORDER BY id").rows.len(), 40);
}

#[test]
fn ten_thousand_cancel_requests_leave_nothing_behind() {
    // Its storm would make every other test's cancel requests late.
    let own = &Own::start();
    let program = Program::start(&own.config("[pool]\nsize = 4\nmin_idle = 0\n"));
    let (mut client, mut neighbour) = (program.connect(), program.connect());
    client.ok("SELECT id FROM items WHERE id <= 40 ORDER BY id");
    let key = client.key();
    let stop = AtomicBool::new(false);
    let memory = || resident(program.process.id());
    let mut before = 0;
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            let (mut ended, mut whole) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let reply = client.query("SELECT id FROM items WHERE id <= 40 ORDER BY id");
                match reply.code() {
                    "" => {
                        assert_eq!(reply.rows.len(), 40);
                        whole += 1;
                    }
                    _ if overloaded(&reply) => {}
                    code => {
                        assert_eq!(code, "57014", "{reply:?}");
                        ended += 1;
                    }
                }
                assert_eq!(reply.status, 'I');
            }
            (ended, whole)
        });
        let other = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let reply = neighbour.query("SELECT id FROM items WHERE id <= 40 ORDER BY id");
                if !overloaded(&reply) {
                    assert_eq!((reply.code(), reply.rows.len()), ("", 40), "nobody else is hit: {reply:?}");
                }
            }
        });
        for n in 0..10_000 {
            crate::raw::cancel(program.port, &key);
            if n == 1_000 {
                before = memory();
            }
        }
        stop.store(true, Ordering::Relaxed);
        let (ended, whole) = busy.join().unwrap();
        other.join().unwrap();
        eprintln!("{ended} statements were ended, {whole} were not; {before} MB, {} MB at the end", memory());
    });
    assert!(memory() < before + 16, "{before} MB after a thousand, {} MB after ten thousand", memory());
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'goldseam' AND state <> 'idle'";
    for shard in 0..2 {
        eventually("no connection is left at work", || own.shard(shard).one(sql) == "0");
    }
    assert_eq!(client.ok("SELECT id FROM items WHERE id <= 40 ORDER BY id").rows.len(), 40);
}
