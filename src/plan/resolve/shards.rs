//! A set of shards, which allocates nothing as long as it has one member, as nearly always.

use crate::types::ShardId;

/// A set of shards that remembers the first two, for messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardSet {
    first: Option<ShardId>,
    second: Option<ShardId>,
    /// One bit for each shard, from the second on.
    bits: Vec<u64>,
}

impl ShardSet {
    /// Of these.
    pub fn of(shards: impl IntoIterator<Item = ShardId>) -> ShardSet {
        let mut set = ShardSet::default();
        shards.into_iter().for_each(|shard| set.add(shard));
        set
    }

    /// Adds one.
    pub fn add(&mut self, shard: ShardId) {
        match self.first {
            None => {
                self.first = Some(shard);
                return;
            }
            Some(first) if self.second.is_none() => {
                if first == shard {
                    return;
                }
                self.second = Some(shard);
                self.mark(first);
            }
            Some(_) => {}
        }
        self.mark(shard);
    }

    fn mark(&mut self, ShardId(shard): ShardId) {
        let (word, bit) = (usize::from(shard / 64), shard % 64);
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << bit;
    }

    /// Whether it has this one.
    pub fn contains(&self, shard: ShardId) -> bool {
        if self.second.is_none() {
            return self.first == Some(shard);
        }
        self.bits.get(usize::from(shard.0 / 64)).is_some_and(|word| word & (1 << (shard.0 % 64)) != 0)
    }

    /// The first that was added.
    pub fn first(&self) -> Option<ShardId> {
        self.first
    }

    /// The second.
    pub fn second(&self) -> Option<ShardId> {
        self.second
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = ShardId> {
        let only = self.first.filter(|_| self.second.is_none());
        let bits = self.bits.iter().enumerate().flat_map(|(word, bits)| {
            (0..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| ShardId((word * 64 + bit) as u16))
        });
        only.into_iter().chain(bits)
    }

    /// Those that both have.
    pub fn meet(&self, other: &ShardSet) -> ShardSet {
        ShardSet::of(self.iter().filter(|shard| other.contains(*shard)))
    }

    /// Adds all of the other's.
    pub fn join(&mut self, other: &ShardSet) {
        other.iter().for_each(|shard| self.add(shard));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_two_and_many() {
        let mut set = ShardSet::default();
        assert!(set.is_empty());
        set.add(ShardId(70));
        set.add(ShardId(70));
        assert!(set.contains(ShardId(70)) && !set.contains(ShardId(6)) && set.bits.is_empty());
        set.add(ShardId(6));
        set.add(ShardId(130));
        assert_eq!(set.iter().map(|shard| shard.0).collect::<Vec<_>>(), [6, 70, 130]);
        assert_eq!((set.first(), set.second()), (Some(ShardId(70)), Some(ShardId(6))));
        let meet = set.meet(&ShardSet::of([ShardId(130), ShardId(5)]));
        assert_eq!(meet.iter().collect::<Vec<_>>(), [ShardId(130)]);
        let mut join = meet;
        join.join(&ShardSet::of([ShardId(5)]));
        assert_eq!(join.iter().map(|shard| shard.0).collect::<Vec<_>>(), [5, 130]);
    }
}
