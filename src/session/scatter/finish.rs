//! The final statement: what the shards returned goes to one of them as arrays, and its answer is the client's.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};

use super::answers::{Heard, Owed};
use super::ask::Value;
use super::drive::{Goal, take_rows};
use super::query::Fetched;
use super::run::{Describe, Run};
use super::{Job, Stop};
use crate::error::PgError;
use crate::plan::gather::Merge;
use crate::plan::render::render;
use crate::protocol::frontend::Format;
use crate::protocol::{encode, request};
use crate::session::io::HIGH_WATER;
use crate::session::{Over, Session};
use crate::sql;
use crate::sqlstate::SqlState;
use crate::types::Oid;

/// Rows of a final statement's answer that may wait for a client that fetches them in parts.
const MOST_KEPT: usize = 64 << 20;

/// An answer that waits to be fetched in parts.
pub(super) struct Kept {
    pub rows: BytesMut,
    pub tag: Bytes,
}

impl Session {
    /// Runs the final statement on the first shard. The command tag, if its rows went to the client at once; else they are kept.
    pub(super) async fn finish(&mut self, job: &Job, run: &mut Run, stream: bool) -> Result<Option<Vec<u8>>, Stop> {
        let Merge::Aggregate(aggregation) = &job.gather.merge else { return Err(no_finish().into()) };
        let Some(finish) = &aggregation.finish else { return Err(no_finish().into()) };
        run.discard = true;
        let rested = self.drive(run, Goal::Rest).await;
        run.discard = false;
        rested?;
        let parts = run.merger.parts()?;
        let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
        let tokens = sql::lex(&job.text, &self.state.sql_limits())?;
        let rendered = render(&finish.text, &job.text, &tokens, None, Some(&names))?;
        let values = job.values()?;
        let used = rendered.parameters.iter().map(|n| usize::from(*n));
        let types: Vec<Oid> = used
            .clone()
            .map(|n| run.types.get(n).copied().unwrap_or(0))
            .chain(parts.iter().map(|part| part.array))
            .collect();
        let given: Vec<Value<'_>> = used
            .map(|n| values.get(n).copied().unwrap_or((Format::Text, None)))
            .chain(parts.iter().map(|part| (Format::Binary, Some(&part.value[..]))))
            .collect();
        let Some(part) = run.parts.first_mut() else { return Err(no_finish().into()) };
        let mut out = BytesMut::with_capacity(rendered.sql.len() + 256);
        request::parse(&mut out, "", &rendered.sql, types.into_iter());
        request::bind_values(&mut out, "", "", given.into_iter(), &job.formats()?);
        request::describe_portal(&mut out, "");
        request::execute(&mut out, "", 0);
        request::sync(&mut out);
        [Owed::Parse(None), Owed::Bind, Owed::Portal, Owed::Execute, Owed::Ready]
            .into_iter()
            .for_each(|owed| part.answers.expect(owed));
        if let Some(held) = &mut part.held {
            held.unnamed = None;
        }
        part.statement = None;
        part.send(&out);
        run.rewritten = true;
        let mut kept = Kept { rows: BytesMut::new(), tag: Bytes::new() };
        poll_fn(|cx| self.poll_finish(run, &mut kept, stream, cx)).await?;
        if stream {
            return Ok(Some(kept.tag.strip_suffix(b"\0").unwrap_or(&kept.tag).to_vec()));
        }
        run.kept = Some(kept);
        Ok(None)
    }

    fn poll_finish(
        &mut self,
        run: &mut Run,
        kept: &mut Kept,
        stream: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Stop>> {
        self.handle.register(cx.waker());
        if let Some(stop) = self.overdue(run, cx) {
            return Poll::Ready(Err(stop));
        }
        loop {
            let heard = match self.poll_heard(run, 0, cx) {
                Poll::Ready(Ok(heard)) => heard,
                Poll::Ready(Err(stop)) => return Poll::Ready(Err(stop)),
                Poll::Pending => break,
            };
            match heard {
                Heard::Row => {
                    let Some(held) = run.parts.first_mut().and_then(|part| part.held.as_mut()) else {
                        return Poll::Ready(Err(no_finish().into()));
                    };
                    let into = if stream { &mut self.client.outgoing } else { &mut kept.rows };
                    take_rows(&mut held.lease.incoming, Some(into));
                    if kept.rows.len() > MOST_KEPT {
                        return Poll::Ready(Err(too_much().into()));
                    }
                    if self.client.outgoing.len() >= HIGH_WATER {
                        match self.client.poll_send(cx) {
                            Poll::Ready(Ok(())) => {}
                            Poll::Ready(Err(_)) => return Poll::Ready(Err(Over::Gone.into())),
                            Poll::Pending => break,
                        }
                    }
                }
                Heard::Described(body) => {
                    let mut message = BytesMut::new();
                    description(body.as_deref(), &mut message);
                    if std::mem::replace(&mut run.describe, Describe::No) != Describe::No {
                        self.client.outgoing.extend_from_slice(&message);
                    }
                    run.finished = Some(message.freeze());
                }
                Heard::Complete(tag) => kept.tag = tag,
                Heard::Ready(_) => return Poll::Ready(Ok(())),
                _ => {}
            }
        }
        self.poll_client(cx)
    }

    /// Kept rows to the client.
    pub(super) async fn fetch_kept(&mut self, run: &mut Run, room: u64) -> Result<Fetched, Stop> {
        let Some(kept) = &mut run.kept else { return Err(no_finish().into()) };
        let mut rows = 0u64;
        while rows < room
            && let Ok(Some(frame)) = crate::protocol::frame(&kept.rows, MOST_KEPT)
        {
            run.into.as_mut().unwrap_or(&mut self.client.outgoing).unsplit(kept.rows.split_to(frame.len));
            rows += 1;
        }
        let tag = (rows < room).then(|| {
            let word: Vec<u8> = kept.tag.iter().copied().take_while(|byte| *byte != b' ' && *byte != 0).collect();
            [&word[..], format!(" {rows}").as_bytes()].concat()
        });
        Ok(Fetched { tag })
    }
}

/// RowDescription, or NoData.
pub(in crate::session) fn description(body: Option<&[u8]>, out: &mut BytesMut) {
    match body {
        None => encode::no_data(out),
        Some(body) => {
            out.put_u8(b'T');
            out.put_i32(body.len() as i32 + 4);
            out.put_slice(body);
        }
    }
}

fn no_finish() -> PgError {
    PgError::new(SqlState::INTERNAL_ERROR, "a statement over several shards has no end")
}

fn too_much() -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "the answer is too large to be fetched in parts")
        .with_detail(format!("It is put together from several shards, and {MOST_KEPT} bytes of it may wait."))
        .with_hint("Fetch all rows at once.")
}
