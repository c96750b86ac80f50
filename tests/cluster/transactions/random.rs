//! Made-up transactions of many statements, said to Goldseam and to one PostgreSQL alike; and money that many clients move at one time and
//! that must not become more or less.
//!
//! `GOLDSEAM_SEED` and `GOLDSEAM_TRANSACTIONS` vary them; the seed is printed with what differs.

use std::sync::atomic::{AtomicBool, Ordering};

use super::stage::{Stage, prepared};
use crate::own::eventually;
use crate::raw::Wire;

/// SplitMix64: the same transactions on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % sides as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }

    /// One statement of a transaction; what makes no sense where it stands is an error on both sides.
    fn statement(&mut self) -> String {
        let row = self.pick(&["A0", "A1", "A2", "B0", "B1", "B2"]);
        let other = self.pick(&["A0", "A1", "A2", "B0", "B1", "B2"]);
        let name = self.pick(&["s", "t", "u"]);
        match self.roll(30) {
            0..=7 => format!("UPDATE items SET n = n + {} WHERE id = {row} RETURNING n", self.roll(9)),
            8 => format!("DELETE FROM items WHERE id = {row}"),
            9..=10 => format!(
                "INSERT INTO items VALUES ({row}, {}) ON CONFLICT (id) DO UPDATE SET n = items.n * 2",
                self.roll(9)
            ),
            11..=13 => format!("SELECT n, note, current_setting('work_mem') FROM items WHERE id = {row}"),
            14 => format!("SELECT n FROM items WHERE id = {row} FOR UPDATE"),
            15..=17 => format!("SAVEPOINT {name}"),
            18 => format!("RELEASE {name}"),
            19..=20 => format!("ROLLBACK TO {name}"),
            21 => format!("SET {}work_mem = '{}MB'", self.pick(&["", "LOCAL "]), 4 + self.roll(9)),
            22 => format!("UPDATE items SET n = 1 / {} WHERE id = {row}", self.roll(2)),
            23..=25 => format!("UPDATE items SET n = n + {} WHERE id IN ({row}, {other})", self.roll(9)),
            26 => format!("UPDATE items SET n = 1 / (n % 3) WHERE id IN ({row}, {other})"),
            27 => format!("SELECT sum(n), count(*) FROM items WHERE id IN ({row}, {other})"),
            28 => format!("SELECT n, note FROM items WHERE id IN ({row}, {other}) ORDER BY id"),
            _ => "SELECT 1".into(),
        }
    }

    /// A whole transaction.
    fn transaction(&mut self) -> Vec<String> {
        let begin = self.pick(&["BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION"]);
        let mut steps = vec![begin.to_string()];
        for _ in 0..self.roll(14) {
            steps.push(self.statement());
        }
        let end = self.pick(&["COMMIT", "COMMIT", "COMMIT", "ROLLBACK", "COMMIT AND CHAIN"]);
        steps.push(end.into());
        if end == "COMMIT AND CHAIN" {
            steps.extend([self.statement(), self.statement(), "COMMIT".into()]);
        }
        steps
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn transactions_that_nobody_thought_of_are_those_of_one_postgresql() {
    let seed = number("GOLDSEAM_SEED", 3);
    let mut dice = Dice(seed);
    let mut stage = Stage::new();
    for n in 0..number("GOLDSEAM_TRANSACTIONS", 150) {
        let steps = dice.transaction();
        println!("seed {seed}, transaction {n}: {steps:#?}");
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        if dice.roll(3) == 0 {
            stage.same_extended(&steps);
        } else {
            stage.same(&steps);
        }
        stage.same_rows();
        stage.same(&["RESET ALL"]);
    }
}

/// Moves money between rows for a while; how often it succeeded.
fn move_money(mut client: Wire, rows: &[i64], seed: u64, over: &AtomicBool) -> usize {
    let (mut dice, mut moved) = (Dice(seed), 0);
    client.ok("SET lock_timeout = '300ms'");
    while !over.load(Ordering::Relaxed) {
        let (from, to, sum) = (rows[dice.roll(rows.len())], rows[dice.roll(rows.len())], dice.roll(20));
        client.ok("BEGIN");
        // Deadlocks over two shards end by the time limit.
        let moves = [format!("n = n - {sum} WHERE id = {from}"), format!("n = n + {sum} WHERE id = {to}")];
        let done = moves.iter().all(|change| {
            let reply = client.query(&format!("UPDATE items SET {change}"));
            assert!(["", "55P03", "40P01"].contains(&reply.code()), "{reply:?}");
            reply.error.is_none()
        });
        let end = if done && dice.roll(5) > 0 { "COMMIT" } else { "ROLLBACK" };
        assert_eq!(client.ok(end).tags, [end]);
        moved += usize::from(end == "COMMIT");
    }
    moved
}

#[test]
fn money_moved_by_many_clients_stays_the_same() {
    let mut stage = Stage::new();
    let rows: Vec<i64> = stage.keys.iter().flatten().copied().collect();
    let over = AtomicBool::new(false);
    let clients: Vec<Wire> = (0..8).map(|_| Stage::new().proxy).collect();
    let moved: usize = std::thread::scope(|scope| {
        let (rows, over) = (&rows, &over);
        let movers: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(n, client)| scope.spawn(move || move_money(client, rows, n as u64, over)))
            .collect();
        std::thread::sleep(std::time::Duration::from_secs(4));
        over.store(true, Ordering::Relaxed);
        movers.into_iter().map(|mover| mover.join().unwrap()).sum()
    });
    assert!(moved > 20, "only {moved} transfers");
    let numbers = rows.iter().map(|id| stage.ask(&format!("SELECT n FROM items WHERE id = {id}")).value());
    let sum: i64 = numbers.map(|n| n.parse::<i64>().unwrap()).sum();
    assert_eq!(sum, 100 * rows.len() as i64, "after {moved} transfers");
    for shard in [0, 1] {
        // Other tests may be in the middle of a commit.
        eventually("nothing is left prepared", || prepared(&mut stage.own.shard(shard)) == "0");
    }
}
