//! Connections to several shards at once.
//!
//! Two sessions that each hold one shard's last connection and wait for the other's would wait for ever. So nobody waits while it
//! holds a connection to a later shard: first all are tried without waiting, and if that fails those taken are given back, and then
//! they are taken one by one in the order of the shards.

use super::Job;
use super::run::Part;
use crate::backend::Parameters;
use crate::config::PoolMode;
use crate::error::PgError;
use crate::pool::Lease;
use crate::session::registry::{CancelTarget, Status};
use crate::session::{Held, Session, Trouble};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// Reported settings that change how values look: rows of servers that differ in them must not be mixed.
const LOOKS: &[&str] = &["TimeZone", "DateStyle", "IntervalStyle", "client_encoding"];

impl Session {
    /// A part for each shard, in their order, with a connection that has the client's settings and nothing outstanding. `block` if a
    /// transaction is open that they have to take part in.
    pub(super) async fn take_parts(&mut self, job: &Job, block: bool) -> Result<Vec<Part>, Trouble> {
        for shard in &job.shards {
            self.admit(*shard, &job.effects)?;
        }
        if !block {
            self.borrow(&job.shards).await?;
        }
        self.enlist_all(&job.shards).await?;
        if block && job.effects.writes {
            // All of them become writers together, so that each has to be admitted beside the others.
            for held in self.held.iter_mut().filter(|held| job.shards.contains(&held.lease.shard)) {
                held.part.iter_mut().for_each(|part| part.wrote = true);
            }
            for shard in &job.shards {
                self.admit(*shard, &job.effects)?;
            }
        }
        let parts: Vec<Part> = job.shards.iter().filter_map(|shard| self.take_held(*shard)).map(Part::new).collect();
        if parts.len() != job.shards.len() {
            parts.into_iter().filter_map(|part| part.held).for_each(|held| self.put_back(held, block));
            return Err(PgError::new(SqlState::INTERNAL_ERROR, "a shard's connection is missing").into());
        }
        if let Err(error) = same_looks(&parts) {
            parts.into_iter().filter_map(|part| part.held).for_each(|held| self.put_back(held, block));
            return Err(error.into());
        }
        self.aim_at(&parts);
        Ok(parts)
    }

    /// Cancel requests are for all of these from now on.
    pub(super) fn aim_at(&self, parts: &[Part]) {
        let target = |held: &Held| CancelTarget {
            shard: held.lease.shard,
            pid: held.lease.pid,
            secret: held.lease.secret.clone(),
        };
        self.handle.aim_at_all(parts.iter().filter_map(|part| part.held.as_ref()).map(target).collect());
        self.handle.set_status(Status::Active);
    }

    /// A held connection of this shard, taken out.
    pub(super) fn take_held(&mut self, shard: ShardId) -> Option<Held> {
        let index = self.held.iter().position(|held| held.lease.shard == shard)?;
        Some(self.held.swap_remove(index))
    }

    /// A connection that is at rest goes back to where it belongs: to the transaction, to the session, or to the pool.
    pub(super) fn put_back(&mut self, held: Held, block: bool) {
        // A cancel request that is on its way may hit the connection's next user, who is therefore given another one.
        let cancelling = self.handle.is_cancelling();
        if block || !held.pins.is_empty() || (self.mode == PoolMode::Session && !cancelling) {
            self.held.push(held);
        } else if !cancelling {
            held.lease.release();
        }
    }

    /// Connections outside of a transaction, into the session's hands, without the client's settings yet.
    pub(in crate::session) async fn borrow(&mut self, shards: &[ShardId]) -> Result<(), Trouble> {
        let mut missing: Vec<ShardId> =
            shards.iter().copied().filter(|shard| !self.held.iter().any(|held| held.lease.shard == *shard)).collect();
        missing.sort();
        let pools = self.shared.pools.clone();
        let mut leases: Vec<Lease> = Vec::with_capacity(missing.len());
        leases.extend(missing.iter().map_while(|shard| pools.try_checkout(*shard, &self.login)));
        while let Some(shard) = missing.get(leases.len()).copied() {
            // What was taken is of earlier shards only: whoever waits for one of them holds none of the later ones.
            match self.wait_for_lease(shard).await {
                Ok(lease) => leases.push(lease),
                Err(trouble) => {
                    leases.into_iter().for_each(Lease::release);
                    return Err(trouble);
                }
            }
        }
        let fresh =
            leases.into_iter().map(|lease| Held { lease, pins: Vec::new(), unnamed: None, wrote: false, part: None });
        self.held.extend(fresh);
        Ok(())
    }
}

/// Values of all shards must look alike.
fn same_looks(parts: &[Part]) -> Result<(), PgError> {
    let leases: Vec<&Lease> = parts.iter().filter_map(|part| Some(&part.held.as_ref()?.lease)).collect();
    let Some((first, others)) = leases.split_first() else { return Ok(()) };
    for other in others {
        let (one, two): (&Parameters, &Parameters) = (&first.parameters, &other.parameters);
        if let Some(name) = LOOKS.iter().find(|name| one.get(name) != two.get(name)) {
            let shown = |parameters: &Parameters| parameters.get(name).unwrap_or_default().to_owned();
            return Err(PgError::new(
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the servers of the shards differ in setting \"{name}\""),
            )
            .with_detail(format!(
                "Shard \"{}\" has \"{}\", shard \"{}\" has \"{}\": their rows would not look alike.",
                first.shard_name,
                shown(one),
                other.shard_name,
                shown(two)
            ))
            .with_hint("Give all servers the same setting, or SET it in the session."));
        }
    }
    Ok(())
}
