//! Tables for many rows, on a connection outside of the client's transaction.
//!
//! That connection has a transaction of its own, in which the tables are made, filled and read, and which is rolled back in the end: so nothing
//! stays there, and a server whose client is gone does the same by itself. It has the client's settings and role.
//!
//! Rows are copied as they come: a DataRow whose tag is made that of CopyData is a tuple of COPY BINARY. What the workbench does not take stays
//! with the shards.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::sync::Semaphore;

use super::super::Stop;
use super::super::ask::Ask;
use super::super::round::server_error;
use super::Workbench;
use super::apart::Probe;
use super::form::Form;
use crate::backend::{Login, Settings};
use crate::error::PgError;
use crate::pool::{Lease, Pools};
use crate::protocol::answer::tag;
use crate::protocol::frame::HEADER;
use crate::protocol::{self, request};
use crate::session::Session;
use crate::session::scatter::drive::MAX_ROW;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// Bytes for a workbench that does not take them; then the shards are not read either.
const HIGH_WATER: usize = 256 << 10;
/// What the end of a statement waits for the workbench's ROLLBACK.
const PATIENCE: Duration = Duration::from_secs(5);
/// The signature of COPY BINARY, no flags, no extension (`src/backend/commands/copyto.c`).
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Its end: no tuple has so many columns.
const COPY_TRAILER: &[u8] = b"\xff\xff";

/// What it takes to connect to the workbench.
pub(super) struct Opener {
    pools: Arc<Pools>,
    login: Arc<Login>,
    shard: ShardId,
    settings: Arc<Settings>,
    /// What has been set for the client's transaction.
    local: Vec<String>,
    /// The client has not said whether its statements are compiled.
    uncompiled: bool,
    permits: Arc<Semaphore>,
    /// What the server that is no shard has to parse.
    apart: Option<Probe>,
}

impl Opener {
    /// Connects, and begins the transaction. Whoever gets a permit holds all other connections that it needs.
    ///
    /// # Cancel safety
    /// Dropped half-way nothing is left.
    pub async fn open(self) -> Result<Workbench, PgError> {
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| PgError::new(SqlState::ADMIN_SHUTDOWN, "the workbench is closed"))?;
        if let Some(probe) = &self.apart
            && let Some(lease) = self.open_apart(probe).await
        {
            return Ok(Workbench { lease, apart: true, _permit: permit });
        }
        let mut lease = self.pools.extra(self.shard, &self.login).await?;
        self.begin(&mut lease).await?;
        Ok(Workbench { lease, apart: false, _permit: permit })
    }

    async fn begin(&self, lease: &mut Lease) -> Result<(), PgError> {
        lease.sync_settings(&self.settings).await?;
        lease.query("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
        if self.uncompiled {
            // Compiling takes longer than most statements over staged rows.
            lease.query("SET LOCAL jit TO off").await?;
        }
        for text in &self.local {
            lease.query(text).await?;
        }
        Ok(())
    }

    /// The same on the server that is no shard, if it is there, is like the shards and knows all that the rest names.
    async fn open_apart(&self, probe: &Probe) -> Option<Lease> {
        let mut lease = match self.pools.workbench(&self.login).await {
            Ok(lease) => lease,
            Err(error) => {
                tracing::debug!(%error, "a shard is the workbench");
                return None;
            }
        };
        let begun = match self.begin(&mut lease).await {
            Ok(()) => lease.parse(&probe.sql, &probe.types).await,
            Err(error) => Err(error),
        };
        let Err(error) = begun else { return Some(lease) };
        tracing::debug!(%error, "a shard is the workbench");
        // Fit for the next one, if its own transaction is all that has failed.
        if lease.query("ROLLBACK").await.is_ok() {
            lease.release();
        }
        None
    }
}

/// A table that is being filled.
pub(super) struct Copy {
    /// The end of the statement has not come yet.
    open: bool,
    /// All rows have been sent.
    ended: bool,
}

impl Copy {
    /// Makes the table. An error shows when the answer is read.
    pub fn begin(lease: &mut Lease, form: &Form, table: &str) -> Copy {
        let mut out = BytesMut::new();
        request::query(&mut out, &format!("{}; COPY {table} FROM STDIN (FORMAT binary, FREEZE)", form.create(table)));
        request::copy_data(&mut out, COPY_HEADER);
        lease.in_flight += 1;
        let _ = lease.send_now(&out);
        Copy { open: true, ended: false }
    }

    /// Too much waits to be sent already.
    pub fn is_full(&self, lease: &Lease) -> bool {
        lease.outgoing.len() >= HIGH_WATER
    }

    /// Sends the whole DataRow messages at the start of a buffer; how many rows and bytes they were.
    pub fn send(&mut self, lease: &mut Lease, rows: &mut BytesMut) -> Result<(u64, u64), PgError> {
        let (mut at, mut count) = (0, 0);
        while let Ok(Some(frame)) = protocol::frame(&rows[at..], MAX_ROW)
            && frame.tag == tag::DATA_ROW
        {
            rows[at] = tag::COPY_DATA;
            at += frame.len;
            count += 1;
        }
        if let Err(error) = lease.send_now(&rows[..at]) {
            return Err(lease.lost(&error.to_string()));
        }
        rows.advance(at);
        Ok((count, at as u64))
    }

    /// All rows have been sent.
    pub fn end(&mut self, lease: &mut Lease) {
        let mut out = BytesMut::new();
        request::copy_data(&mut out, COPY_TRAILER);
        request::copy_done(&mut out);
        let _ = lease.send_now(&out);
        self.ended = true;
    }

    /// Sends what waits, and reads what the server says; whether there is room that was not there before.
    pub fn poll(&mut self, lease: &mut Lease, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let was_full = self.is_full(lease);
        if lease.wants_send()
            && let Poll::Ready(Err(error)) = lease.poll_send(cx)
        {
            return Err(lease.lost(&error.to_string()).into());
        }
        loop {
            while let Some(frame) = lease.peek_frame()? {
                let message = lease.incoming.split_to(frame.len);
                match frame.tag {
                    tag::ERROR => {
                        let name = lease.shard_name.clone();
                        lease.tainted = true;
                        return Err(server_error(message, &name, true));
                    }
                    tag::READY_FOR_QUERY => {
                        lease.observe(frame.tag, &message[HEADER..])?;
                        self.open = false;
                    }
                    _ => lease.observe(frame.tag, &message[HEADER..])?,
                }
            }
            match lease.poll_fill(cx) {
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(Ok(_)) => return Err(lease.lost("The server closed the connection").into()),
                Poll::Ready(Err(error)) => return Err(lease.lost(&error.to_string()).into()),
                Poll::Pending => break,
            }
        }
        Ok(was_full && !self.is_full(lease))
    }

    /// The table is full.
    pub fn is_over(&self) -> bool {
        self.ended && !self.open
    }
}

impl Session {
    /// What connects to the workbench, for a statement of this text.
    pub(super) fn opener(&self, shard: ShardId, text: &str, apart: Option<Probe>) -> Opener {
        let (_, prelude) = self.transaction.opening();
        let local = prelude.iter().filter(|replay| replay.savepoint.is_none() && !replay.characteristic);
        let sets = |text: &&str| text.trim_start().get(..3).is_some_and(|word| word.eq_ignore_ascii_case("set"));
        let local = if self.transaction.is_idle() {
            Vec::new()
        } else {
            local.map(|replay| replay.text.as_str()).filter(sets).map(str::to_owned).collect()
        };
        // Who asks for the setting gets it as it is.
        let speaks_of_it = text.to_ascii_lowercase().contains("jit");
        Opener {
            uncompiled: self.settings.server.get("jit").is_none() && !speaks_of_it,
            pools: self.shared.pools.clone(),
            login: self.login.clone(),
            shard,
            settings: self.settings.server.clone(),
            local,
            permits: self.shared.workbenches.clone(),
            apart,
        }
    }

    /// Runs what makes the tables ready, on a connection to the workbench that is opened if need be.
    pub(super) async fn finish_tables(
        &mut self,
        shard: ShardId,
        text: &str,
        texts: impl Iterator<Item = String>,
    ) -> Result<(), Stop> {
        if self.workbench.is_none() {
            self.workbench = Some(self.opener(shard, text, None).open().await?);
        }
        // Nothing but the client's own statement follows, which only reads.
        let texts = texts.chain(["SET TRANSACTION READ ONLY".to_owned()]);
        let asks = texts.map(|text| Ask { bench: true, ..Ask::new(shard, text) });
        self.ask_shards(asks.collect()).await.map(drop)
    }

    /// Whether the rest has to run on the connection to the workbench.
    pub(in crate::session) fn has_workbench(&self) -> bool {
        self.workbench.is_some()
    }

    /// Ends the workbench's transaction, and gives its connection back if it is fit for that.
    pub(in crate::session) async fn close_bench(&mut self) {
        let Some(bench) = self.workbench.take() else { return };
        let mut lease = bench.lease;
        let quiet = lease.in_flight == 0 && !lease.tainted && lease.incoming.is_empty() && lease.outgoing.is_empty();
        // A cancel request that is on its way may hit the connection's next user.
        if !quiet || self.handle.is_cancelling() {
            return;
        }
        if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, lease.query("ROLLBACK")).await {
            lease.release();
        }
    }
}
