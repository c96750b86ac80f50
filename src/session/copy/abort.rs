//! The end of a COPY that has failed: no shard is left in the middle of it.

use std::future::{Future, poll_fn};
use std::task::Poll;
use std::time::Duration;

use super::Copying;
use super::stream::Stream;
use crate::backend;
use crate::protocol::request;
use crate::session::scatter::Stop;
use crate::session::scatter::drive::CANCEL_PATIENCE;
use crate::session::{Over, Session, Trouble};

/// What the others get to take the news in before they are cancelled.
const GRACE: Duration = Duration::from_millis(200);

impl Session {
    /// Ends a COPY FROM STDIN, and the transaction has failed.
    pub(super) async fn fail_copy(&mut self, mut copying: Box<Copying>, stop: Stop) -> Trouble {
        let stop = self.stop_copy(&mut copying.streams, stop).await;
        if let Some(running) = copying.running.take() {
            self.meter_scattered(running, None);
        }
        self.transaction.fail();
        stop.into()
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
        let mut gone = self.rest_of_copy(streams, GRACE).await;
        if gone.is_ok() && streams.iter().any(|stream| !stream.is_over()) {
            for stream in streams.iter().filter(|stream| !stream.is_over()) {
                self.cancel_copy(stream);
            }
            gone = self.rest_of_copy(streams, CANCEL_PATIENCE).await;
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
    async fn rest_of_copy(&mut self, streams: &mut [Stream], patience: Duration) -> Result<(), Over> {
        let mut until = std::pin::pin!(tokio::time::sleep(patience));
        poll_fn(|cx| {
            self.handle.register(cx.waker());
            for stream in streams.iter_mut() {
                while !stream.is_over() {
                    match self.poll_stream(stream, "", cx) {
                        Ok(true) => self.drop_rows(stream),
                        Ok(false) => break,
                        // Its error is not the first one.
                        Err(_) => {}
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
