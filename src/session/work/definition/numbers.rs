//! Numbers of sequences in a transaction that has changed the catalog.
//!
//! Blocks of numbers come over connections of their own ([`Sequences`](crate::pool::Sequences)). Those do not see a sequence that the transaction has
//! made, and wait for one that it has restarted, which would be for ever. So such a transaction draws over its own connections, and keeps nothing back.

use super::{Ask, Session};
use crate::plan::Effects;
use crate::plan::once::Sequence;
use crate::pool::sequences::step;
use crate::session::Trouble;
use crate::session::scatter::Stop;
use crate::types::ShardId;

impl Session {
    /// The next numbers of a sequence that several shards have.
    pub(in crate::session) async fn numbers_of(
        &mut self,
        sequence: &Sequence,
        count: usize,
    ) -> Result<Vec<i64>, Trouble> {
        if self.draft.is_none() {
            let role = self.login.user.clone();
            self.shared.sequences.check_privilege(&role, sequence).await?;
            return Ok(self.shared.sequences.draw(sequence, count).await?);
        }
        self.set_aside().await?;
        Ok(self.draw_within(sequence, count).await?)
    }

    async fn draw_within(&mut self, sequence: &Sequence, count: usize) -> Result<Vec<i64>, Stop> {
        let (name, home) = (sequence.quoted(), sequence.home);
        let mut shards = sequence.others.clone();
        shards.push(home);
        shards.sort_unstable();
        self.enlist_for(&Effects { writes: true, ..Effects::default() }, &shards).await?;
        let reached = format!("SELECT last_value::text FROM {name} WHERE is_called");
        let reached = self.numbers(&sequence.others, reached).await?;
        if let (Some(least), Some(most)) = (reached.iter().min(), reached.iter().max()) {
            let step = step(&name, *least, *most);
            self.ask_shards(vec![Ask { hush: true, ..Ask::new(home, step) }]).await?;
        }
        let text = name.replace('\'', "''");
        let next = format!("SELECT pg_catalog.nextval('{text}')::text FROM pg_catalog.generate_series(1, {count})");
        self.numbers(&[home], next).await
    }

    /// The numbers that shards answer as text, in one column.
    async fn numbers(&mut self, shards: &[ShardId], sql: String) -> Result<Vec<i64>, Stop> {
        let asks = shards.iter().map(|shard| Ask { hush: true, ..Ask::new(*shard, sql.clone()) }).collect();
        let mut numbers = Vec::new();
        for reply in self.ask_shards(asks).await? {
            let rows = reply.values()?;
            let values = rows.iter().filter_map(|row| row.first().copied().flatten());
            numbers.extend(values.filter_map(|value| std::str::from_utf8(value).ok()?.parse::<i64>().ok()));
        }
        Ok(numbers)
    }
}
