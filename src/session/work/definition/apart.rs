//! What PostgreSQL does not allow in a transaction: CREATE INDEX CONCURRENTLY, VACUUM, REINDEX of a database.
//!
//! Nothing undoes it. So after an error the client is told which shards have done it, and what to do about the others.

use std::future::poll_fn;
use std::task::Poll;

use super::{Ask, Assignment, Order, Session, Stop};
use crate::error::{PgError, Severity};
use crate::protocol::answer::ErrorFields;
use crate::protocol::encode;
use crate::protocol::frame::HEADER;
use crate::session::Over;
use crate::sqlstate::SqlState;
use crate::types::ShardId;

impl Session {
    /// Shard by shard, with a notice for each that has done it.
    pub(super) async fn one_by_one(&mut self, job: &Assignment, orders: &[Order]) -> Result<Vec<u8>, Stop> {
        if !self.transaction.is_idle() {
            // The first server says that this is not allowed.
            return self.refused(job, orders).await;
        }
        let mut tag = Vec::new();
        for (done, (shard, text)) in orders.iter().enumerate() {
            self.enlist_for(&job.effects, &[*shard]).await?;
            let ask = Ask { rewritten: false, hush: done > 0, ..Ask::new(*shard, text.clone()) };
            match self.ask_shards(vec![ask]).await {
                Ok(replies) => {
                    if done == 0 {
                        tag = replies.into_iter().next().map(|reply| reply.tag.into_bytes()).unwrap_or_default();
                    }
                }
                Err(stop) => {
                    self.ddl |= done > 0;
                    return Err(self.half_done(stop, orders, done));
                }
            }
            self.ddl = true;
            if orders.len() > 1 {
                self.tell_progress(&tag, *shard, done + 1, orders.len()).await?;
            }
        }
        Ok(tag)
    }

    /// On all shards at once, each by itself.
    pub(super) async fn side_by_side(&mut self, job: &Assignment, orders: &[Order]) -> Result<Vec<u8>, Stop> {
        self.enlist(job, orders).await?;
        let ask = |(at, (shard, text)): (usize, &Order)| Ask {
            rewritten: false,
            hush: at > 0,
            ..Ask::new(*shard, text.clone())
        };
        let replies = self.ask_shards(orders.iter().enumerate().map(ask).collect()).await?;
        Ok(replies.into_iter().next().map(|reply| reply.tag.into_bytes()).unwrap_or_default())
    }

    async fn refused(&mut self, job: &Assignment, orders: &[Order]) -> Result<Vec<u8>, Stop> {
        let ahead = orders.get(..1).unwrap_or(orders);
        self.enlist(job, ahead).await?;
        self.give(ahead, false).await
    }

    /// One shard more has done it; the client sees it at once.
    async fn tell_progress(&mut self, tag: &[u8], shard: ShardId, done: usize, of: usize) -> Result<(), Stop> {
        let (name, tag) = (self.state.vschema.shard_name(shard), String::from_utf8_lossy(tag));
        let notice =
            PgError::new(SqlState::SUCCESSFUL_COMPLETION, format!("{tag}: done on shard \"{name}\" ({done} of {of})"));
        encode::notice(&mut self.client.outgoing, "NOTICE", &notice);
        poll_fn(|cx| match self.client.poll_send(cx) {
            Poll::Ready(Err(_)) => Poll::Ready(Err(Over::Gone.into())),
            // What the client does not take now it takes with the rest.
            _ => Poll::Ready(Ok(())),
        })
        .await
    }

    /// An error after which some shards have done it and others have not.
    fn half_done(&self, stop: Stop, orders: &[Order], done: usize) -> Stop {
        if orders.len() < 2 {
            return stop;
        }
        let mut error = match stop {
            Stop::Own(error) => *error,
            Stop::Server(message) => {
                let error = ErrorFields::new(message.get(HEADER..).unwrap_or_default()).to_error();
                PgError { severity: Severity::Error, ..error }
            }
            other => return other,
        };
        let names = |orders: &[Order]| {
            let names: Vec<&str> = orders.iter().map(|(shard, _)| self.state.vschema.shard_name(*shard)).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        let said = error.detail.take().map(|detail| format!("{detail}\n")).unwrap_or_default();
        let (before, after) = orders.split_at(done);
        error.detail = Some(format!("{said}Done on shards: {}. Not done on: {}.", names(before), names(after)));
        error.hint = Some(
            "Each shard does this by itself, and what is done stays. Remove what the failed shard may have left (an INVALID index: DROP INDEX), \
             and repeat the statement with IF [NOT] EXISTS, or with SET goldseam.shard on the shards where it is not done."
                .into(),
        );
        error.into()
    }
}
