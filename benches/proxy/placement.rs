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
"#;

/// Loads the accounts, each on its shard, with its own number as the balance, so that [`check`] can tell rows apart.
pub fn load(bench: &Bench, shards: &[u16]) -> Outcome<()> {
    let names = SHARDS.map(String::from);
    let vschema = vschema::load(&[("bench.toml".into(), FOUR_SHARDS.into())], &names)?;
    let accounts = vschema.table("public", "pgbench_accounts").ok_or("the layout has no pgbench_accounts")?;
    let TablePlacement::Sharded { vindex, .. } = &accounts.placement else { return Err("it is not sharded".into()) };
    let vindex = &vschema.vindex(*vindex).vindex;

    let mut batches =
        vec![String::from("COPY pgbench_accounts (aid, bid, abalance, filler) FROM stdin;\n"); shards.len()];
    for account in 1..=i64::from(bench.scale) * 100_000 {
        let branch = (account - 1) / 100_000 + 1;
        let Placement::Shard(ShardId(shard)) = vindex.place(&[Key::Int(account)]) else {
            return Err("a hash places every number".into());
        };
        batches[usize::from(shard)] += &format!("{account}\t{branch}\t{account}\t\n");
    }
    for (&port, batch) in shards.iter().zip(&batches) {
        bench.psql(port, "bench", "bench", &format!("{batch}\\.\nVACUUM ANALYZE pgbench_accounts;\n"))?;
    }
    Ok(())
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
