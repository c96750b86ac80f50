//! From a shard to a backend that is ready for this session's next statement.

use super::effects::After;
use super::registry::{CancelTarget, Status};
use super::relay::Expect;
use super::{Held, Session, Trouble, gate};
use crate::config::PoolMode;
use crate::plan::Pin;
use crate::protocol::request;
use crate::types::ShardId;

/// The portal that never exists: executing it makes a backend's transaction fail.
const NO_PORTAL: &str = "goldseam: the statement was refused";

impl Session {
    /// Makes a backend of this shard the one that the next bytes go to: leased, with the client's settings, and within the client's
    /// transaction.
    pub(super) async fn attach(&mut self, shard: ShardId) -> Result<(), Trouble> {
        if let Some(index) = self.attached {
            if self.held[index].lease.shard == shard {
                return Ok(());
            }
            self.leave_shard(shard).await?;
        }
        self.may_join(shard)?;
        let index = self.hold(shard).await?;
        self.make_ours(index).await?;
        self.attached = Some(index);
        self.handle.set_status(Status::Active);
        let backend = &mut *self.held[index].lease;
        backend.seen.lent_to(self.handle.pid);
        self.handle.activity.set_server(backend.pid);
        self.handle.aim(Some(CancelTarget { shard, pid: backend.pid, secret: backend.secret.clone() }));
        let several = self.state.vschema.shards.len() > 1;
        self.relay.set_label(several.then(|| backend.shard_name.clone()));
        self.catch_up(index);
        Ok(())
    }

    /// The client's settings, on the backend; and what the backend now reports, to the client.
    async fn make_ours(&mut self, index: usize) -> Result<(), Trouble> {
        // A participant has them, or gets them with what it has to catch up with.
        if self.held[index].part.is_some() {
            return Ok(());
        }
        // Within a transaction the replay repeats what has been set in it.
        let wanted = self.transaction.settings_at_begin().unwrap_or(&self.settings).server.clone();
        let held = &mut self.held[index];
        if !std::sync::Arc::ptr_eq(&held.lease.settings, &wanted) && held.lease.settings != wanted {
            held.unnamed = None;
            // No server process is to be cancelled while it only gets its settings: a request is kept until that is done.
            self.handle.set_status(Status::Waiting);
            let synced = held.lease.sync_settings(&wanted).await;
            self.handle.set_status(Status::Active);
            let cancelled = self.handle.take_cancelled().then(gate::cancelled);
            if let Err(error) = synced.and(cancelled.map_or(Ok(()), Err)) {
                // A server's own refusal leaves the connection as it was; anything else taints it, and release closes it.
                if held.pins.is_empty() {
                    self.drop_held(index).lease.release();
                }
                return Err(error.into());
            }
        } else {
            held.lease.settings = wanted.clone();
        }
        // What was set since BEGIN is reported again when it is repeated: in between the client is not told that it was gone.
        if self.transaction.is_idle() || self.settings.server == wanted {
            self.tell_news(index);
        }
        Ok(())
    }

    /// Leaves the attached backend for another shard: for good, if nothing was done there that ties the transaction to it.
    async fn leave_shard(&mut self, to: ShardId) -> Result<(), Trouble> {
        if !self.transaction.is_idle() && !self.transaction.is_floating() {
            // Before anything is waited for: a refusal fails the block where it is.
            self.may_join(to)?;
        }
        self.set_aside().await
    }

    /// Ends the attached backend's part in a block that has done nothing there.
    pub(super) async fn leave_floating(&mut self, index: usize) -> Result<(), Trouble> {
        let backend = &mut *self.held[index].lease;
        request::query(&mut backend.outgoing, "ROLLBACK");
        backend.in_flight += 1;
        self.relay.expect(Expect::Query { pass: false });
        let left = self.transaction.settings_at_begin().map(|settings| settings.server.clone());
        self.leaving = true;
        let drained = self.drain().await;
        self.leaving = false;
        drained?;
        let Some(index) = self.attached else { return Err(Trouble::Skipped) };
        let held = &mut self.held[index];
        held.part = None;
        if let Some(left) = left {
            held.lease.settings = left;
        }
        self.transaction.leave();
        self.detach();
        Ok(())
    }

    /// The transaction is over: backends that nothing pins go back to the pool.
    pub(super) fn detach(&mut self) {
        self.attached = None;
        // From here on a cancel request finds nobody; one that is on its way may hit the connection's next user, who is
        // therefore given another one.
        self.handle.aim(None);
        self.handle.activity.set_server(0);
        let cancelling = self.handle.is_cancelling();
        self.handle.set_status(Status::Idle);
        let idle = self.transaction.is_idle();
        let mut index = 0;
        while index < self.held.len() {
            if idle {
                self.held[index].part = None;
            }
            let kept = self.mode == PoolMode::Session && !cancelling && self.held[index].lease.is_clean();
            if self.held[index].pins.is_empty() && self.held[index].part.is_none() && !kept {
                let held = self.held.swap_remove(index);
                if !cancelling {
                    held.lease.release();
                }
            } else {
                index += 1;
            }
        }
    }

    /// Takes a held backend out.
    pub(super) fn drop_held(&mut self, index: usize) -> Held {
        let held = self.held.swap_remove(index);
        self.attached = match self.attached {
            Some(attached) if attached == index => None,
            Some(attached) if attached == self.held.len() => Some(index),
            other => other,
        };
        self.show_pins();
        held
    }

    /// Makes the attached backend's transaction fail, as an error of its own would, and gives the client `message` in place of the
    /// backend's.
    pub(super) fn provoke_failure(&mut self, index: usize, message: bytes::Bytes) {
        request::execute(&mut self.held[index].lease.outgoing, NO_PORTAL, 0);
        self.relay.expect(Expect::Refusal(message));
        self.meter_provoked();
        self.after.push_back(After::Nothing);
    }

    /// The session keeps the attached backend from now on.
    pub(super) fn pin(&mut self, pin: Pin) {
        let Some(index) = self.attached else { return };
        if !self.held[index].pins.contains(&pin) {
            self.held[index].pins.push(pin);
            self.show_pins();
        }
    }

    pub(super) fn show_pins(&self) {
        let pins = self.held.iter().flat_map(|held| held.pins.iter().map(|pin| (held.lease.shard, *pin))).collect();
        self.handle.set_pins(pins);
    }

    /// Asks pinned backends whether what pinned them is still there.
    pub(super) async fn recheck_pins(&mut self) {
        let Some(index) = self.attached.filter(|_| self.recheck) else { return };
        self.recheck = false;
        let held = &mut self.held[index];
        if held.pins.is_empty() || !held.lease.is_clean() {
            return;
        }
        // A connection that cannot answer stays pinned; its loss will be noticed when it is used.
        let Ok(rows) = held.lease.query(PIN_FACTS).await else { return };
        held.unnamed = None;
        let fact = |column: usize| rows.first().and_then(|row| row.get(column)?.as_deref()) == Some("t");
        held.pins.retain(|pin| match pin {
            Pin::AdvisoryLock => fact(0),
            Pin::HoldCursor => fact(1),
            Pin::Listen => fact(2),
            Pin::TemporaryTable => fact(3),
            Pin::SessionState | Pin::UntrackedSetting => true,
        });
        self.show_pins();
    }
}

/// Whether this connection has session-level advisory locks, holdable cursors, channels listened to, temporary relations.
const PIN_FACTS: &str = "SELECT \
    EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = pg_catalog.pg_backend_pid()), \
    EXISTS (SELECT FROM pg_catalog.pg_cursors WHERE is_holdable), \
    EXISTS (SELECT FROM pg_catalog.pg_listening_channels()), \
    EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = pg_catalog.pg_my_temp_schema())";
