//! pgbench's tables over four shards: every row goes where Goldseam's own vindex says, and Goldseam must then find it.

use goldseam::types::{Key, ShardId};
use goldseam::vindex::Placement;
use goldseam::vschema::{self, TablePlacement};

use crate::Outcome;
use crate::contenders::{Bench, Contender};

/// The shards' names, in the order of the configuration.
pub const SHARDS: [&str; 4] = ["s0", "s1", "s2", "s3"];

/// The layout of one shard: no table is named, everything passes.
pub const ONE_SHARD: &str = "[keyspace.bench]\nshards = [\"s0\"]\n";

/// The layout of four shards.
pub const FOUR_SHARDS: &str = r#"
[keyspace.bench]
shards = ["s0", "s1", "s2", "s3"]

[vindex.by_hash]
type = "hash"

[table.pgbench_accounts]
keyspace = "bench"
shard_key = "aid"
vindex = "by_hash"

[table.pgbench_branches]
keyspace = "bench"
shard_key = "bid"
vindex = "by_hash"

[table.pgbench_tellers]
keyspace = "bench"
shard_key = "tid"
vindex = "by_hash"

[table.pgbench_history]
keyspace = "bench"
shard_key = "aid"
vindex = "by_hash"

[table.numbers]
keyspace = "bench"
shard_key = "id"
vindex = "by_hash"

[vindex.by_range]
type = "range"
ranges = [ { to = 1000000, shard = "s0" }, { to = 2000000, shard = "s1" }, { to = 3000000, shard = "s2" }, { shard = "s3" } ]

[table.purse]
keyspace = "bench"
shard_key = "id"
vindex = "by_range"
"#;

/// Loads the accounts, each on its shard, with its own number as the balance, so that [`check`] can tell rows apart.
pub fn load(bench: &Bench, shards: &[u16]) -> Outcome<()> {
    let copy = "COPY pgbench_accounts (aid, bid, abalance, filler) FROM stdin;\n";
    let batches = spread("pgbench_accounts", copy, 1..=i64::from(bench.scale) * 100_000, |account| {
        format!("{account}\t{}\t{account}\t\n", (account - 1) / 100_000 + 1)
    })?;
    for (&port, batch) in shards.iter().zip(&batches) {
        bench.psql(port, "bench", "bench", &format!("{batch}\\.\nVACUUM ANALYZE pgbench_accounts;\n"))?;
    }
    Ok(())
}

/// The lines of numbered rows for each shard, after the COPY that takes them.
pub fn spread(
    table: &str,
    copy: &str,
    numbers: impl Iterator<Item = i64>,
    line: impl Fn(i64) -> String,
) -> Outcome<Vec<String>> {
    let names = SHARDS.map(String::from);
    let vschema = vschema::load(&[("bench.toml".into(), FOUR_SHARDS.into())], &names)?;
    let table = vschema.table("public", table).ok_or("the layout has no such table")?;
    let TablePlacement::Sharded { vindex, .. } = &table.placement else { return Err("it is not sharded".into()) };
    let vindex = &vschema.vindex(*vindex).vindex;
    let mut batches = vec![String::from(copy); SHARDS.len()];
    for number in numbers {
        let Placement::Shard(ShardId(shard)) = vindex.place(&[Key::Int(number)]) else {
            return Err("the vindex places every number".into());
        };
        batches[usize::from(shard)] += &line(number);
    }
    Ok(batches)
}

/// Reads some accounts through Goldseam. Figures of a proxy that looks on the wrong shard, and finds nothing quickly, would be
/// worthless, and pgbench does not look at what it gets.
pub fn check(bench: &Bench) -> Outcome<()> {
    let accounts: Vec<i64> = (0..50).map(|step| 1 + step * 1_999 * i64::from(bench.scale)).collect();
    let queries: String = accounts
        .iter()
        .map(|account| format!("SELECT abalance FROM pgbench_accounts WHERE aid = {account};\n"))
        .collect();
    let found = bench.psql(bench.port(Contender::Goldseam4), "bench", "bench", &queries)?;
    let expected: String = accounts.iter().map(|account| format!("{account}\n")).collect();
    if found != expected {
        return Err(format!("Goldseam over four shards does not find the accounts it should:\n{found}").into());
    }
    Ok(())
}
