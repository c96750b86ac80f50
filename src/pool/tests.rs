//! Pools over a real PostgreSQL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::backend::testing::{Postgres, login};
use crate::config::{PoolMode, SslMode};
use crate::types::VindexId;
use crate::vschema::{Directory, DirectoryDefault, NamedVindex, Vschema};

fn limits() -> config::Pool {
    config::Pool {
        mode: PoolMode::Transaction,
        size: 2,
        max_shard_connections: None,
        max_user_connections: None,
        min_idle: 0,
        max_client_connections: 100,
        queue_timeout: Duration::from_millis(300),
        connect_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(600),
        max_lifetime: Duration::from_secs(3600),
        health_check_interval: Duration::from_secs(30),
        prepared_statements: 10,
    }
}

fn configuration(servers: &[&Postgres]) -> config::Config {
    let shards = servers.iter().enumerate().map(|(index, postgres)| config::Shard {
        name: format!("s{index}"),
        primary: config::Server { sslmode: SslMode::Disable, ..postgres.server() },
        replicas: Vec::new(),
        region: None,
    });
    config::Config {
        listen: Vec::new(),
        http: None,
        vschema: Default::default(),
        data_dir: Default::default(),
        database: "postgres".into(),
        workers: 1,
        tls: None,
        auth: config::Auth { method: config::AuthMethod::Trust, users: Default::default() },
        pool: limits(),
        limits: config::Limits {
            login_timeout: Duration::from_secs(1),
            max_frame: 1 << 20,
            max_login_frame: 10_000,
            max_statement_tokens: 1,
            max_nesting: 1,
            max_prepared_per_session: 1,
            drain_timeout: Duration::from_secs(1),
        },
        workbench: config::Workbench {
            server: None,
            max_rows: 1,
            max_bytes: 1,
            timeout: Duration::from_secs(1),
            concurrency: 1,
        },
        plan_cache: 1,
        shards: shards.collect(),
        log: config::Log { level: "info".into(), format: config::LogFormat::Plain, slow: None },
    }
}

fn pools(servers: &[&Postgres], limits: config::Pool) -> Arc<Pools> {
    Pools::new(&limits, Topology::new(&configuration(servers)))
}

const S0: ShardId = ShardId(0);
const S1: ShardId = ShardId(1);

fn app() -> Arc<Login> {
    Arc::new(login("app"))
}

fn stat(pools: &Pools, user: &str) -> PoolStats {
    pools.stats().into_iter().find(|row| row.user == user).unwrap()
}

#[tokio::test]
async fn connections_are_made_within_limits_lent_and_used_again() {
    let postgres = Postgres::start();
    let (pools, app) = (pools(&[&postgres], limits()), app());
    assert!(pools.try_checkout(S0, &app).is_none());
    let one = pools.checkout(S0, &app).await.unwrap();
    let two = pools.checkout(S0, &app).await.unwrap();
    let (pid_one, pid_two) = (one.pid, two.pid);

    let begin = Instant::now();
    let error = pools.checkout(S0, &app).await.unwrap_err();
    assert_eq!(error.code, SqlState::TOO_MANY_CONNECTIONS);
    assert!(error.detail.unwrap().contains("pool.size") && begin.elapsed() >= Duration::from_millis(300));

    one.release();
    two.release();
    assert_eq!(pools.try_checkout(S0, &app).unwrap().pid, pid_two, "the last used is used first");
    // That lease was dropped without a release: closed, and its place is free.
    assert_eq!(pools.try_checkout(S0, &app).unwrap().pid, pid_one);
    let stats = stat(&pools, "app");
    assert_eq!((stats.active, stats.idle, stats.connecting, stats.waiting), (0, 0, 0, 0));
}

#[tokio::test]
async fn the_queue_is_first_come_first_served_and_survives_whoever_gives_up() {
    let postgres = Postgres::start();
    let (pools, app) =
        (pools(&[&postgres], config::Pool { size: 1, queue_timeout: Duration::from_secs(10), ..limits() }), app());
    let held = pools.checkout(S0, &app).await.unwrap();
    let pid = held.pid;
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = Vec::new();
    for number in 0..4 {
        let (pools, app, sender) = (pools.clone(), app.clone(), sender.clone());
        tasks.push(tokio::spawn(async move {
            let lease = pools.checkout(S0, &app).await.unwrap();
            sender.send((number, lease.pid)).unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
            lease.release();
        }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stat(&pools, "app").waiting, 4);
    tasks[1].abort();
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(stat(&pools, "app").waiting, 3);
    held.release();
    for expected in [0, 2, 3] {
        assert_eq!(receiver.recv().await.unwrap(), (expected, pid));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stat(&pools, "app").idle, 1);
}

#[tokio::test]
async fn futures_dropped_anywhere_lose_no_place() {
    let postgres = Postgres::start();
    let (pools, app) =
        (pools(&[&postgres], config::Pool { queue_timeout: Duration::from_secs(10), ..limits() }), app());
    let mut tasks = Vec::new();
    for micros in 0..120u64 {
        let (pools, app) = (pools.clone(), app.clone());
        tasks.push(tokio::spawn(async move {
            let work = async {
                let mut lease = pools.checkout(S0, &app).await.unwrap();
                lease.query("select pg_sleep(0.001)").await.unwrap();
                lease.release();
            };
            let _ = tokio::time::timeout(Duration::from_micros(micros * 397 % 20_000), work).await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let stats = stat(&pools, "app");
    assert_eq!((stats.active, stats.connecting, stats.waiting), (0, 0, 0), "{stats:?}");
    let (one, two) = (pools.checkout(S0, &app).await.unwrap(), pools.checkout(S0, &app).await.unwrap());
    assert_ne!(one.pid, two.pid);
}

#[tokio::test]
async fn what_is_not_clean_is_closed_and_what_it_runs_is_cancelled() {
    let postgres = Postgres::start();
    let (pools, app) = (pools(&[&postgres], limits()), app());
    let mut lease = pools.checkout(S0, &app).await.unwrap();
    let pid = lease.pid;
    lease.query("begin").await.unwrap();
    lease.release();
    let mut lease = pools.checkout(S0, &app).await.unwrap();
    assert_ne!(lease.pid, pid);
    let pid = lease.pid;
    assert!(tokio::time::timeout(Duration::from_millis(50), lease.query("select pg_sleep(30)")).await.is_err());
    drop(lease);
    let mut watcher = pools.service(S0).await.unwrap();
    let until = Instant::now() + Duration::from_secs(5);
    let count = format!("select count(*) from pg_stat_activity where pid = {pid}");
    while watcher.query(&count).await.unwrap()[0][0].as_deref() != Some("0") {
        assert!(Instant::now() < until, "the abandoned statement still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn limits_of_a_shard_and_of_a_user_take_idle_connections_from_others() {
    let (postgres, other) = (Postgres::start(), Postgres::start());
    let (app, reader) = (app(), Arc::new(login("postgres")));
    let pools = pools(&[&postgres, &other], config::Pool { max_shard_connections: Some(2), ..limits() });
    pools.checkout(S0, &app).await.unwrap().release();
    let kept = pools.checkout(S0, &app).await.unwrap();
    let one = pools.checkout(S0, &reader).await.unwrap();
    let error = pools.checkout(S0, &reader).await.unwrap_err();
    assert!(error.detail.unwrap().contains("pool.max_shard_connections"));
    kept.release();
    let two = pools.checkout(S0, &reader).await.unwrap();
    drop((one, two));

    // Somebody waits while another login's connection comes back: it makes room.
    let (one, two) = (pools.checkout(S0, &app).await.unwrap(), pools.checkout(S0, &app).await.unwrap());
    let waiting = tokio::spawn({
        let (pools, reader) = (pools.clone(), reader.clone());
        async move { pools.checkout(S0, &reader).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    one.release();
    waiting.await.unwrap().unwrap();
    drop(two);

    pools.reconfigure(&config::Pool { max_user_connections: Some(1), ..limits() }, pools.topology());
    pools.close_all();
    pools.checkout(S0, &app).await.unwrap().release();
    let moved = pools.checkout(S1, &app).await.expect("the idle one on the other shard makes room");
    let error = pools.checkout(S0, &app).await.unwrap_err();
    assert!(error.detail.unwrap().contains("pool.max_user_connections"));
    let waiting = tokio::spawn({
        let (pools, app) = (pools.clone(), app.clone());
        async move { pools.checkout(S0, &app).await.map(drop) }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    moved.release();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_server_fails_fast_and_is_found_again() {
    let mut postgres = Postgres::start();
    let (pools, app) = (pools(&[&postgres], limits()), app());
    pools.checkout(S0, &app).await.unwrap().release();
    postgres.crash();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = pools.checkout(S0, &app).await.unwrap_err();
    assert_eq!(error.code, SqlState::CONNECTION_FAILURE, "the idle one was found dead: {error}");
    let error = pools.checkout(S0, &app).await.unwrap_err();
    assert!(error.detail.as_ref().unwrap().contains("refused") && error.detail.unwrap().contains("next attempt"));
    assert!(!stat(&pools, "app").up);
    postgres.restart();
    let until = Instant::now() + Duration::from_secs(10);
    while pools.checkout(S0, &app).await.map(Lease::release).is_err() {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(stat(&pools, "app").up);
}

#[tokio::test]
async fn old_connections_end_and_warm_ones_are_there_before_they_are_needed() {
    let (postgres, other) = (Postgres::start(), Postgres::start());
    let app = app();
    let warm =
        config::Pool { min_idle: 2, idle_timeout: Duration::ZERO, health_check_interval: Duration::ZERO, ..limits() };
    let pools = pools(&[&postgres, &other], warm.clone());
    pools.register(&app);
    pools.tidy().await;
    assert_eq!(pools.stats().iter().map(|row| row.idle).collect::<Vec<_>>(), [2, 2]);
    pools.tidy().await;
    assert!(pools.try_checkout(S0, &app).is_none(), "it must be tried first");
    let tried = pools.checkout(S0, &app).await.unwrap();
    tried.release();
    assert_eq!(stat(&pools, "app").idle, 2, "warm ones stay however long they are idle");

    pools.reconfigure(&config::Pool { min_idle: 0, ..warm.clone() }, pools.topology());
    pools.tidy().await;
    assert_eq!(stat(&pools, "app").idle, 0);

    pools.reconfigure(&config::Pool { max_lifetime: Duration::ZERO, ..limits() }, pools.topology());
    pools.checkout(S0, &app).await.unwrap().release();
    assert_eq!(stat(&pools, "app").idle, 0);
}

#[tokio::test]
async fn a_reload_keeps_what_stays_and_close_all_spares_nothing() {
    let (postgres, other) = (Postgres::start(), Postgres::start());
    let app = app();
    let pools = pools(&[&postgres], limits());
    let lease = pools.checkout(S0, &app).await.unwrap();
    let pid = lease.pid;
    let topology = pools.topology().renewed(&configuration(&[&postgres, &other]));
    pools.reconfigure(&limits(), topology);
    lease.release();
    assert_eq!(pools.try_checkout(S0, &app).map(|lease| (lease.pid, lease.release())), Some((pid, ())));
    assert_eq!(pools.checkout(S1, &app).await.unwrap().shard, S1);

    let lease = pools.checkout(S0, &app).await.unwrap();
    pools.close_all();
    lease.release();
    assert_ne!(pools.checkout(S0, &app).await.unwrap().pid, pid);

    let lease = pools.checkout(S0, &app).await.unwrap();
    pools.reconfigure(&limits(), pools.topology().renewed(&configuration(&[&other])));
    lease.release();
    assert!(pools.try_checkout(S0, &app).is_none());
    assert_eq!(pools.checkout(ShardId(7), &app).await.unwrap_err().code, SqlState::INTERNAL_ERROR);
}

#[tokio::test]
async fn a_greeting_tells_what_the_login_has() {
    let (mut dead, postgres) = (Postgres::start(), Postgres::start());
    dead.crash();
    postgres.sql("alter role app set search_path = a, public; alter role app set timezone = 'Asia/Tokyo'");
    let pools = pools(&[&dead, &postgres], limits());
    let greeting = pools.greeting(&app()).await.unwrap();
    assert_eq!(greeting.search_path, "a, public");
    assert_eq!(greeting.parameters.get("TimeZone"), Some("Asia/Tokyo"));
    let error = pools.greeting(&Arc::new(login("nobody"))).await.unwrap_err();
    assert_eq!(error.code, SqlState::INVALID_AUTHORIZATION);
}

#[derive(Debug)]
struct Unplaced;

impl crate::vindex::Vindex for Unplaced {
    fn place(&self, _: &[crate::types::Key<'_>]) -> crate::vindex::Placement {
        crate::vindex::Placement::Directory
    }

    fn accepts(&self, _: &[crate::types::KeyType]) -> Result<(), String> {
        Ok(())
    }
}

fn vschema(placement: DirectoryDefault) -> Vschema {
    let directory = Directory { shard: S0, placement, shards: vec![S0, S1], cache: 2 };
    let vindex = NamedVindex {
        name: "vip \"x\"".into(),
        keyspace: crate::types::KeyspaceId(0),
        kind: "directory",
        vindex: Box::new(Unplaced),
        directory: Some(directory),
    };
    Vschema { shards: vec!["s0".into(), "s1".into()], vindexes: vec![vindex], ..Vschema::default() }
}

#[tokio::test]
async fn a_directory_places_each_key_once_for_everybody() {
    let (postgres, other) = (Postgres::start(), Postgres::start());
    let pools = pools(&[&postgres, &other], config::Pool { size: 5, ..limits() });
    let v = VindexId(0);
    let one = Directories::new(&vschema(DirectoryDefault::LeastLoaded), pools.clone());
    assert_eq!(one.lookup(v, "ann").await, Ok(None), "the table was made on the way");
    assert_eq!(one.prepare().await, []);

    let mut counts = [0; 2];
    for key in 0..10 {
        let shard = one.assign(v, &format!("key {key}")).await.unwrap();
        counts[usize::from(shard.0)] += 1;
    }
    assert_eq!(counts, [5, 5]);
    assert!(one.cached(v, "key 9").is_some() && one.cached(v, "key 0").is_none(), "the cache is bounded");

    let two = Directories::new(&vschema(DirectoryDefault::Shard(S1)), pools.clone());
    let (left, right) = tokio::join!(one.assign(v, "it's"), two.assign(v, "it's"));
    assert_eq!(left, right);
    assert_eq!(two.lookup(v, "it's").await.unwrap(), Some(left.unwrap()));

    let by_hand = Directories::new(&vschema(DirectoryDefault::Refuse), pools.clone());
    let error = by_hand.assign(v, "new").await.unwrap_err();
    assert_eq!(error.code, SqlState::CHECK_VIOLATION);
    let table = "goldseam.\"directory_vip \"\"x\"\"\"";
    postgres.sql(&format!("insert into {table} values ('new', 's1'), ('lost', 's9')"));
    assert_eq!(by_hand.assign(v, "new").await, Ok(S1));
    assert_eq!(by_hand.lookup(v, "lost").await.unwrap_err().code.as_str(), "55000");

    postgres.sql(&format!("update {table} set shard = 's0' where key = 'new'"));
    assert_eq!(by_hand.lookup(v, "new").await, Ok(Some(S1)));
    by_hand.forget(v, "new");
    assert_eq!(by_hand.lookup(v, "new").await, Ok(Some(S0)));
}
