//! A server connection and how bytes go in and out of it.
//!
//! Most of a proxy's cost is system calls, so there are as few as can be: one read per wake-up, into a buffer that grows when the
//! reads fill it; a write at once, without waiting for readiness first; nothing is copied that went out at once.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::backend::{Parameters, Prepared, Settings, Stream};
use crate::error::PgError;
use crate::protocol::answer::{self, tag};
use crate::protocol::{self, Frame, request};
use crate::sqlstate::SqlState;
use crate::types::ShardId;

/// What a read asks for at first: most answers of a transactional load fit, and an idle connection costs no more.
const READ_SMALL: usize = 8 * 1024;
/// What a read asks for once reads come back full: bulk results.
const READ_LARGE: usize = 64 * 1024;

/// A connection to a server, logged in.
#[derive(Debug)]
pub struct Backend {
    /// The shard it leads to.
    pub shard: ShardId,
    /// Its name, for messages.
    pub shard_name: Arc<str>,
    /// The server process's id.
    pub pid: i32,
    /// What a cancel request has to show.
    pub secret: Arc<[u8]>,
    /// The transport; use [`Backend::poll_fill`] and [`Backend::send`] instead where you can.
    pub stream: Stream,
    /// Bytes that came and are not consumed yet.
    pub incoming: BytesMut,
    /// Bytes that are to go and did not fit into the socket yet.
    pub outgoing: BytesMut,
    /// What the server last reported.
    pub parameters: Parameters,
    /// Which prepared statements the server has here.
    pub prepared: Prepared,
    /// What SETs of ours left here.
    pub settings: Arc<Settings>,
    /// `I` idle, `T` in a transaction, `E` in a failed one: the last ReadyForQuery's word.
    pub transaction: u8,
    /// How many ReadyForQuery are still due: whoever sends a Query or a Sync adds one, [`Backend::observe`] takes it back.
    pub in_flight: u32,
    /// State of a session may be left that nobody can undo (temporary tables, unread answers): never to be used by another.
    pub tainted: bool,
    /// When it was made.
    pub since: Instant,
    /// What others may see of it.
    pub seen: Arc<super::Seen>,
    /// What reads ask for.
    pub(super) read_size: usize,
    /// The bound of a message's length.
    pub(super) max_frame: usize,
    /// Where it leads, for cancel requests.
    pub(super) connector: Arc<super::Connector>,
}

impl Backend {
    /// Reads once what the socket has into `incoming`; the number of bytes, 0 at the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.incoming.capacity() - self.incoming.len() < self.read_size / 2 {
            self.incoming.reserve(self.read_size);
        }
        let asked = self.incoming.capacity() - self.incoming.len();
        let filled = ready!(pin!(self.stream.read_buf(&mut self.incoming)).poll(cx))?;
        if filled == asked {
            self.read_size = READ_LARGE;
        }
        Poll::Ready(Ok(filled))
    }

    /// Reads once what the socket has into `incoming`; an end of the stream is an error here.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was read is in `incoming`.
    pub async fn fill(&mut self) -> Result<usize, PgError> {
        match poll_fn(|cx| self.poll_fill(cx)).await {
            Ok(0) => Err(self.lost("server closed the connection unexpectedly")),
            Ok(count) => Ok(count),
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    /// Writes at once what the socket takes and keeps the rest in `outgoing`, for [`Backend::poll_send`]. Never waits.
    pub fn send_now(&mut self, mut data: &[u8]) -> io::Result<()> {
        let mut cx = Context::from_waker(Waker::noop());
        while self.outgoing.is_empty() && !data.is_empty() {
            match Pin::new(&mut self.stream).poll_write(&mut cx, data) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => data = &data[written..],
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        self.outgoing.extend_from_slice(data);
        // rustls keeps records that the socket did not take; they go with the next `poll_send`.
        match &mut self.stream {
            Stream::Tls(stream) => match Pin::new(&mut **stream).poll_flush(&mut cx) {
                Poll::Ready(Err(error)) => Err(error),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Whether [`Backend::poll_send`] has anything to do.
    pub fn wants_send(&self) -> bool {
        !self.outgoing.is_empty() || matches!(&self.stream, Stream::Tls(stream) if stream.get_ref().1.wants_write())
    }

    /// Writes what is in `outgoing`; ready when all of it is on its way.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.outgoing) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.outgoing.advance(written),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends all of `data`, at once if the socket takes it. A server that answers without reading would never let this end, so a
    /// caller with much to send uses [`Backend::send_now`] and polls [`Backend::poll_send`] beside [`Backend::poll_fill`].
    ///
    /// # Cancel safety
    /// Nothing is lost: what did not go out is in `outgoing` and goes first the next time.
    pub async fn send(&mut self, data: &[u8]) -> Result<(), PgError> {
        if let Err(error) = self.send_now(data) {
            return Err(self.lost(&error.to_string()));
        }
        if self.wants_send() {
            let sent = poll_fn(|cx| self.poll_send(cx)).await;
            return sent.map_err(|error| self.lost(&error.to_string()));
        }
        Ok(())
    }

    /// The outline of the first message in `incoming` if all of it is there.
    pub fn peek_frame(&self) -> Result<Option<Frame>, PgError> {
        protocol::frame(&self.incoming, self.max_frame)
    }

    /// Takes the next whole message, having let [`Backend::observe`] see it.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn next_message(&mut self) -> Result<(u8, BytesMut), PgError> {
        loop {
            if let Some(frame) = self.peek_frame()? {
                let message = self.incoming.split_to(frame.len);
                self.observe(frame.tag, &message[protocol::frame::HEADER..])?;
                return Ok((frame.tag, message));
            }
            self.fill().await?;
        }
    }

    /// Lets the connection remember what a message says of it: to be called for every ReadyForQuery and ParameterStatus.
    pub fn observe(&mut self, tag: u8, body: &[u8]) -> Result<(), PgError> {
        match tag {
            tag::READY_FOR_QUERY => {
                self.transaction = answer::ready_state(body)?;
                self.in_flight = self.in_flight.saturating_sub(1);
            }
            tag::PARAMETER_STATUS => {
                let (name, value) = answer::parameter_status(body)?;
                self.parameters.set(name, value);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether another session may have it: no transaction, nothing due, nothing unread, nothing unsent.
    pub fn is_clean(&self) -> bool {
        self.transaction == b'I'
            && self.in_flight == 0
            && !self.tainted
            && self.incoming.is_empty()
            && self.outgoing.is_empty()
    }

    /// Whether an idle connection still stands. Costs no system call while the server has sent nothing: tokio knows from the last
    /// event whether the socket has anything to read. Reports and notices that came in the meantime are taken in.
    pub fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            match self.poll_fill(&mut cx) {
                Poll::Pending => return self.incoming.is_empty(),
                Poll::Ready(Ok(0) | Err(_)) => return false,
                Poll::Ready(Ok(_)) => {
                    while let Ok(Some(frame)) = self.peek_frame() {
                        let message = self.incoming.split_to(frame.len);
                        let harmless = matches!(frame.tag, tag::PARAMETER_STATUS | tag::NOTICE | tag::NOTIFICATION);
                        if !harmless || self.observe(frame.tag, &message[protocol::frame::HEADER..]).is_err() {
                            return false;
                        }
                    }
                }
            }
        }
    }

    /// Gives big buffers back to the allocator; for a connection that goes idle.
    pub fn shrink(&mut self) {
        // The capacity that is left says nothing of an allocation whose front was consumed; that reads came back full does.
        let was_busy = self.read_size > READ_SMALL || self.incoming.capacity() > READ_SMALL;
        if self.incoming.is_empty() && was_busy {
            self.incoming = BytesMut::new();
        }
        self.read_size = READ_SMALL;
        if self.outgoing.is_empty() && self.outgoing.capacity() > 0 {
            self.outgoing = BytesMut::new();
        }
    }

    /// What a cancel request for this connection needs: where to send it, process id and secret.
    pub fn cancel_key(&self) -> (Arc<super::Connector>, i32, Arc<[u8]>) {
        (self.connector.clone(), self.pid, self.secret.clone())
    }

    /// The error of a connection that broke: `08006`, with the shard's name.
    pub fn lost(&mut self, why: &str) -> PgError {
        self.tainted = true;
        PgError::new(SqlState::CONNECTION_FAILURE, format!("connection to shard \"{}\" was lost", self.shard_name))
            .with_detail(format!("{why}."))
    }

    /// Says goodbye and closes. The server rolls back what was open.
    pub fn close(mut self) {
        let mut goodbye = BytesMut::new();
        request::terminate(&mut goodbye);
        // Whoever does not hear it sees the socket close.
        let _ = self.send_now(&goodbye);
    }

    pub(super) fn initial_read_size() -> usize {
        READ_SMALL
    }
}
