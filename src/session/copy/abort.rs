//! The end of a COPY that has failed: no shard is left in the middle of it.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use super::stream::Stream;
use super::{Copying, context};
use crate::backend;
use crate::protocol::request;
use crate::session::scatter::Stop;
use crate::session::scatter::drive::CANCEL_PATIENCE;
use crate::session::{Over, Session, Trouble};

/// What the others get to take the news in before they are cancelled.
const GRACE: Duration = Duration::from_millis(200);
/// What they get to judge the rows that were read before an error: a few megabytes at most are on their way.
const HINDSIGHT: Duration = Duration::from_secs(5);

impl Session {
    /// Ends a COPY FROM STDIN, and the transaction has failed.
    pub(super) async fn fail_copy(&mut self, mut copying: Box<Copying>, stop: Stop) -> Trouble {
        let stop = match stop {
            Stop::Server(_) => self.first_error(&mut copying, stop).await,
            stop => stop,
        };
        let stop = self.stop_copy(&mut copying.streams, stop).await;
        if let Some(running) = copying.running.take() {
            self.meter_scattered(running, None);
        }
        self.transaction.fail();
        stop.into()
    }

    /// One server would have stopped at the first line that is wrong. So all shards get what was read before the error, and of all that is
    /// wrong there the first line counts. What the others take is undone with the transaction.
    async fn first_error(&mut self, copying: &mut Copying, stop: Stop) -> Stop {
        let Copying { streams, copy, .. } = copying;
        for stream in streams.iter_mut().filter(|stream| !stream.is_over() && !stream.closed) {
            self.send_done(stream);
        }
        let mut errors = Vec::new();
        if let Err(over) = self.rest_of_copy(streams, &copy.table, HINDSIGHT, &mut errors).await {
            return over.into();
        }
        let line = |stop: &Stop| match stop {
            Stop::Server(message) => context::line_of(message, &copy.table).unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        let mut first = stop;
        for error in errors {
            if line(&error) < line(&first) {
                first = error;
            }
        }
        first
    }

    /// Stops all shards, and reads them to their end; connections that do not come to one are closed.
    pub(super) async fn stop_copy(&mut self, streams: &mut [Stream], stop: Stop) -> Stop {
        if matches!(stop, Stop::Over(_)) {
            // The session is over, and its connections with it.
            return stop;
        }
        for stream in streams.iter_mut().filter(|stream| !stream.is_over() && !stream.closed) {
            // One that has not begun yet reads this first of all, and one that cannot begin passes it over.
            stream.piece.clear();
            self.send_last(stream, |out| request::copy_fail(out, "the COPY has failed on another shard"));
        }
        let mut gone = self.rest_of_copy(streams, "", GRACE, &mut Vec::new()).await;
        if gone.is_ok() && streams.iter().any(|stream| !stream.is_over()) {
            for stream in streams.iter().filter(|stream| !stream.is_over()) {
                self.cancel_copy(stream);
            }
            gone = self.rest_of_copy(streams, "", CANCEL_PATIENCE, &mut Vec::new()).await;
        }
        self.handle.aim(None);
        for stream in streams.iter().filter(|stream| stream.lost || !stream.answers.is_idle()) {
            if let Some(index) = self.held.iter().position(|held| held.lease.shard == stream.shard) {
                self.held[index].lease.tainted = true;
                self.lose_participant(index);
            }
        }
        match gone {
            Ok(()) => stop,
            Err(over) => over.into(),
        }
    }

    /// Reads what nobody wants, for so long at most.
    pub(super) async fn rest_of_copy(
        &mut self,
        streams: &mut [Stream],
        table: &str,
        patience: Duration,
        errors: &mut Vec<Stop>,
    ) -> Result<(), Over> {
        let mut until = std::pin::pin!(tokio::time::sleep(patience));
        poll_fn(|cx| {
            self.handle.register(cx.waker());
            for stream in streams.iter_mut() {
                while !stream.is_over() {
                    match self.poll_stream(stream, table, cx) {
                        Ok(true) => self.drop_rows(stream),
                        Ok(false) => break,
                        Err(error) => errors.push(error),
                    }
                }
            }
            if streams.iter().all(|stream| stream.is_over()) || until.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            match self.poll_client::<()>(cx) {
                Poll::Ready(Err(Stop::Over(over))) => Poll::Ready(Err(over)),
                _ => Poll::Pending,
            }
        })
        .await
    }

    fn cancel_copy(&self, stream: &Stream) {
        let Some(held) = self.held.iter().find(|held| held.lease.shard == stream.shard) else { return };
        let (connector, pid, secret) = held.lease.cancel_key();
        tokio::spawn(async move {
            if let Err(error) = backend::cancel(&connector, pid, &secret, CANCEL_PATIENCE).await {
                tracing::debug!(%error, "a shard's part of a failed COPY could not be cancelled");
            }
        });
    }
}
