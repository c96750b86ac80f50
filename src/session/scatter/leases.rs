//! Connections to several shards at once.
//!
//! Two sessions that each hold one shard's last connection and wait for the other's would wait for ever. So nobody waits while it
//! holds a connection to a later shard: first all are tried without waiting, and if that fails those taken are given back, and then
//! they are taken one by one in the order of the shards.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use super::run::Part;
use crate::backend::Parameters;
use crate::config::PoolMode;
use crate::error::PgError;
use crate::pool::Lease;
use crate::protocol::encode;
use crate::session::registry::{CancelTarget, Status};
use crate::session::{Held, Session, Trouble, settings};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// Reported settings that change how values look: rows of servers that differ in them must not be mixed.
const LOOKS: &[&str] = &["TimeZone", "DateStyle", "IntervalStyle", "client_encoding"];

impl Session {
    /// A part for each shard, in their order, with a connection that has the client's settings and nothing outstanding. `block` if a
    /// transaction is open that they have to take part in.
    pub(super) async fn take_parts(&mut self, shards: &[ShardId], block: bool) -> Result<Vec<Part>, Trouble> {
        if block {
            for shard in shards {
                self.enlist(*shard).await?;
            }
        } else {
            self.borrow(shards).await?;
        }
        let parts: Vec<Part> = shards.iter().filter_map(|shard| self.take_held(*shard)).map(Part::new).collect();
        if parts.len() != shards.len() {
            parts.into_iter().filter_map(|part| part.held).for_each(|held| self.put_back(held, block));
            return Err(PgError::new(SqlState::INTERNAL_ERROR, "a shard's connection is missing").into());
        }
        if let Err(error) = same_looks(&parts) {
            parts.into_iter().filter_map(|part| part.held).for_each(|held| self.put_back(held, block));
            return Err(error.into());
        }
        self.report(&parts);
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

    /// Connections outside of a transaction, into the session's hands.
    async fn borrow(&mut self, shards: &[ShardId]) -> Result<(), Trouble> {
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
        let fresh = leases.into_iter().map(|lease| Held { lease, pins: Vec::new(), unnamed: None, wrote: false });
        self.held.extend(fresh);
        self.make_all_ours(shards).await
    }

    /// The client's settings on all of them, side by side.
    async fn make_all_ours(&mut self, shards: &[ShardId]) -> Result<(), Trouble> {
        let wanted = self.settings.server.clone();
        let chosen = self.held.iter_mut().filter(|held| shards.contains(&held.lease.shard));
        let mut changes = Vec::new();
        for held in chosen {
            if std::sync::Arc::ptr_eq(&held.lease.settings, &wanted) || held.lease.settings == wanted {
                held.lease.settings = wanted.clone();
                continue;
            }
            held.unnamed = None;
            let wanted = wanted.clone();
            changes.push(async move { held.lease.sync_settings(&wanted).await });
        }
        let errors: Vec<PgError> = join_all(changes).await.into_iter().filter_map(Result::err).collect();
        let Some(error) = errors.into_iter().next() else { return Ok(()) };
        for shard in shards {
            if let Some(held) = self.take_held(*shard) {
                self.put_back(held, false);
            }
        }
        Err(error.into())
    }

    /// What the servers report now, if it is news to the client.
    fn report(&mut self, parts: &[Part]) {
        let Some(first) = parts.first().and_then(|part| part.held.as_ref()) else { return };
        if first.lease.parameters == self.reported {
            return;
        }
        for (name, value) in first.lease.parameters.news_for(&self.reported) {
            encode::parameter_status(&mut self.client.outgoing, name, value);
        }
        self.reported = first.lease.parameters.clone();
        self.decode = settings::decode_context(&self.reported);
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

/// All of several futures, side by side.
///
/// # Cancel safety
/// As that of the futures.
async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<(Pin<Box<F>>, Option<F::Output>)> =
        futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut waits = false;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => waits = true,
                }
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
