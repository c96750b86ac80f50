//! The way of an answer to the client: its columns once, its rows as they come, or kept for a client that fetches them in parts.

use std::future::poll_fn;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};

use super::Stop;
use crate::error::PgError;
use crate::protocol;
use crate::session::io::HIGH_WATER;
use crate::session::scatter::drive::{MAX_ROW, take_rows};
use crate::session::scatter::finish::description;
use crate::session::scatter::portal::set_formats;
use crate::session::{Over, Session};
use crate::sqlstate::SqlState;

/// Bytes of rows that may wait for a client that fetches them in parts.
const MOST_KEPT: usize = 64 << 20;

/// Where the rows go.
#[derive(Debug, Default)]
pub(in crate::session) struct Outlet {
    /// The client waits for the columns.
    pub describe: bool,
    /// It also waits to be told that there are none.
    pub full: bool,
    /// Rows are only counted.
    pub dropped: bool,
    /// Rows are kept here instead of being sent.
    pub kept: Option<BytesMut>,
    /// The formats that the client asked for, by Bind's rule.
    pub formats: Vec<i16>,
    /// Rows that have come so far.
    pub rows: u64,
    /// The RowDescription or NoData as the client gets it, once it is known.
    pub description: Option<Bytes>,
    /// The shard that made the rows, if one did: numbers of users' types are its own.
    pub shard: Option<crate::types::ShardId>,
}

impl Outlet {
    /// The answer's columns, for a client whose buffer this is. The first time counts.
    pub(super) fn take_columns(&mut self, columns: Option<&[u8]>, client: &mut BytesMut) {
        if self.description.is_some() {
            return;
        }
        let mut message = BytesMut::new();
        description(columns, &mut message);
        set_formats(&mut message, &self.formats);
        if std::mem::take(&mut self.describe) && (columns.is_some() || self.full) {
            client.extend_from_slice(&message);
        }
        self.description = Some(message.freeze());
    }

    /// Takes the whole DataRow messages at the start of `rows`, in the client's formats; not now (`false`) if the client has too much to read.
    ///
    /// # Errors
    /// Too much is kept (54000).
    pub(super) fn take_rows(&mut self, rows: &mut BytesMut, client: &mut BytesMut) -> Result<bool, PgError> {
        if self.dropped {
            self.rows += count(rows);
            take_rows(rows, None);
            return Ok(true);
        }
        match &mut self.kept {
            None if client.len() >= HIGH_WATER => return Ok(false),
            None => {
                self.rows += count(rows);
                take_rows(rows, Some(client));
            }
            Some(kept) => {
                self.rows += count(rows);
                take_rows(rows, Some(kept));
                if kept.len() > MOST_KEPT {
                    return Err(too_much());
                }
            }
        }
        Ok(true)
    }
}

impl Session {
    /// The answer's columns (the body of a RowDescription), or that it has none. Has to come before the rows; the first time counts. The
    /// client's formats are put in.
    pub(in crate::session) fn put_columns(&mut self, outlet: &mut Outlet, columns: Option<&[u8]>) {
        outlet.take_columns(columns, &mut self.client.outgoing);
    }

    /// Takes the whole DataRow messages at the start of `rows`, in the client's formats. Waits for a client that does not read.
    ///
    /// # Errors
    /// The client is gone; too much is kept (54000).
    pub(in crate::session) async fn put_rows(&mut self, outlet: &mut Outlet, rows: &mut BytesMut) -> Result<(), Stop> {
        outlet.rows += count(rows);
        match &mut outlet.kept {
            Some(kept) => {
                take_rows(rows, Some(kept));
                if kept.len() > MOST_KEPT {
                    return Err(too_much().into());
                }
                Ok(())
            }
            None => {
                take_rows(rows, Some(&mut self.client.outgoing));
                self.drain_client().await
            }
        }
    }

    /// Waits until the client has taken enough of what it was sent.
    pub(in crate::session) async fn drain_client(&mut self) -> Result<(), Stop> {
        poll_fn(|cx| {
            while self.client.outgoing.len() >= HIGH_WATER {
                match self.client.poll_send(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Over::Gone.into())),
                    Poll::Pending => return self.poll_client(cx),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// The whole DataRow messages at the start of a buffer.
pub(in crate::session) fn count(rows: &[u8]) -> u64 {
    let (mut count, mut at) = (0, 0);
    while let Ok(Some(frame)) = protocol::frame(&rows[at..], MAX_ROW)
        && frame.tag == b'D'
    {
        at += frame.len;
        count += 1;
    }
    count
}

/// Moves at most so many rows; how many they were.
pub(super) fn move_rows(from: &mut BytesMut, to: &mut BytesMut, most: u64) -> u64 {
    let (mut count, mut at) = (0, 0);
    while count < most
        && let Ok(Some(frame)) = protocol::frame(&from[at..], MAX_ROW)
    {
        at += frame.len;
        count += 1;
    }
    to.extend_from_slice(&from[..at]);
    from.advance(at);
    count
}

fn too_much() -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the answer is too large to be fetched in parts")
        .with_detail(format!("It is put together from several shards, and {MOST_KEPT} bytes of it may wait."))
        .with_hint("Fetch all rows at once.")
}
