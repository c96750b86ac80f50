//! COPY TO STDOUT of a table whose rows are on several shards: all of them send, side by side.

use std::future::poll_fn;
use std::task::Poll;

use bytes::{Buf, BufMut, BytesMut};

use super::start::with_list;
use super::stream::Stream;
use crate::copy::{Format, Options, Statement};
use crate::plan::work::copy::CopyOut;
use crate::protocol;
use crate::protocol::answer::tag;
use crate::protocol::frame::HEADER;
use crate::session::Session;
use crate::session::gate::killed;
use crate::session::io::HIGH_WATER;
use crate::session::scatter::Stop;
use crate::session::scatter::drive::MAX_ROW;
use crate::session::work::Assignment;
use crate::sql;
use crate::types::ShardId;

/// The trailer of binary data.
const TRAILER: [u8; 2] = [0xff, 0xff];
/// The preamble of binary data, as PostgreSQL writes it.
const PREAMBLE: usize = 19;

impl Session {
    /// Gathers a table's rows from all shards; the command tag.
    pub(in crate::session) async fn perform_copy_out(
        &mut self,
        job: &Assignment,
        copy: &CopyOut,
    ) -> Result<Vec<u8>, Stop> {
        let shards = self.state.vschema.keyspace(copy.keyspace).shards.clone();
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let text = with_list(&job.text, &tokens, copy.list_at, &copy.columns);
        self.copy_from_shards(job, &shards, &text).await
    }

    /// Sends these shards a COPY TO STDOUT, and their rows to the client.
    pub(super) async fn copy_from_shards(
        &mut self,
        job: &Assignment,
        shards: &[ShardId],
        text: &str,
    ) -> Result<Vec<u8>, Stop> {
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let tokens: Vec<_> = tokens.into_iter().filter(|token| token.kind != sql::TokenKind::Semicolon).collect();
        let options = Statement::read(&job.text, &tokens)?.options;
        self.enlist_for(&job.effects, shards).await?;
        let mut streams: Vec<Stream> =
            shards.iter().map(|shard| Stream { closed: true, ..Stream::new(*shard) }).collect();
        self.send_copy(&mut streams, text, false)?;
        match self.copy_rows_out(&mut streams, &options).await {
            Ok(()) => {
                self.handle.aim(None);
                streams.iter().for_each(|stream| self.meter_part(stream.shard));
                let count: u64 = streams.iter().map(|stream| stream.count()).sum();
                Ok(format!("COPY {count}").into_bytes())
            }
            Err(stop) => Err(self.stop_copy(&mut streams, stop).await),
        }
    }

    async fn copy_rows_out(&mut self, streams: &mut [Stream], options: &Options) -> Result<(), Stop> {
        let cancels = self.handle.cancels();
        self.until(streams, "", cancels, |streams| streams.iter().all(|stream| stream.response.is_some())).await?;
        let response = streams.first().and_then(|stream| stream.response.clone()).unwrap_or_default();
        put(&mut self.client.outgoing, tag::COPY_OUT, &response);
        let mut headed = false;
        poll_fn(|cx| {
            self.handle.register(cx.waker());
            loop {
                let mut moved = false;
                for stream in streams.iter_mut() {
                    while !stream.is_over() && self.client.outgoing.len() < HIGH_WATER {
                        match self.poll_stream(stream, "", cx) {
                            Err(stop) => return Poll::Ready(Err(stop)),
                            Ok(false) => break,
                            Ok(true) => {
                                if !self.take_data(stream, options, &mut headed) {
                                    break;
                                }
                                moved = true;
                            }
                        }
                    }
                }
                if streams.iter().all(|stream| stream.is_over()) {
                    if options.format == Format::Binary {
                        put(&mut self.client.outgoing, tag::COPY_DATA, &TRAILER);
                    }
                    put(&mut self.client.outgoing, tag::COPY_DONE, &[]);
                    return Poll::Ready(Ok(()));
                }
                if self.client.outgoing.len() >= HIGH_WATER {
                    match self.client.poll_send(cx) {
                        Poll::Ready(Ok(())) => moved = true,
                        Poll::Ready(Err(_)) => return Poll::Ready(Err(crate::session::Over::Gone.into())),
                        Poll::Pending => moved = false,
                    }
                }
                if !moved {
                    break;
                }
            }
            if self.handle.activity.is_killed() {
                return Poll::Ready(Err(killed().into()));
            }
            self.poll_client(cx)
        })
        .await
    }

    /// Moves the whole CopyData messages that a shard has sent to the client. What stands before or behind all rows goes out once.
    fn take_data(&mut self, stream: &mut Stream, options: &Options, headed: &mut bool) -> bool {
        let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == stream.shard) else { return false };
        let (incoming, outgoing) = (&mut held.lease.incoming, &mut self.client.outgoing);
        let binary = options.format == Format::Binary;
        if !stream.begun && (binary || options.header) {
            let Ok(Some(frame)) = protocol::frame(incoming, MAX_ROW) else { return false };
            stream.begun = true;
            let first = incoming.split_to(frame.len);
            let body = &first[HEADER..];
            // The first message has the preamble, and the first row or the trailer.
            let (head, rest) = body.split_at(if binary { PREAMBLE.min(body.len()) } else { body.len() });
            if !std::mem::replace(headed, true) {
                put(outgoing, tag::COPY_DATA, head);
            }
            if !rest.is_empty() && rest != TRAILER {
                put(outgoing, tag::COPY_DATA, rest);
            }
            return true;
        }
        let mut end = 0;
        while let Ok(Some(frame)) = protocol::frame(&incoming[end..], MAX_ROW)
            && frame.tag == tag::COPY_DATA
        {
            if binary && incoming[end + HEADER..end + frame.len] == TRAILER {
                outgoing.extend_from_slice(&incoming[..end]);
                incoming.advance(end + frame.len);
                return true;
            }
            end += frame.len;
        }
        outgoing.extend_from_slice(&incoming[..end]);
        incoming.advance(end);
        end > 0
    }

    /// Forgets the whole CopyData messages that a shard has sent.
    pub(super) fn drop_rows(&mut self, stream: &Stream) {
        let Some(held) = self.held.iter_mut().find(|held| held.lease.shard == stream.shard) else { return };
        while let Ok(Some(frame)) = protocol::frame(&held.lease.incoming, MAX_ROW)
            && frame.tag == tag::COPY_DATA
        {
            held.lease.incoming.advance(frame.len);
        }
    }
}

/// The statement without white space around it.
pub(super) fn trimmed(text: &str) -> String {
    text.trim().to_owned()
}

fn put(out: &mut BytesMut, tag: u8, body: &[u8]) {
    out.put_u8(tag);
    out.put_i32(body.len() as i32 + 4);
    out.put_slice(body);
}
