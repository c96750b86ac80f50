//! INSERT of rows that have been fetched: each goes to the shard of its key.

use std::collections::HashMap;

use bytes::BytesMut;

use super::super::ask::Reply;
use super::super::outlet::Outlet;
use super::super::{Assignment, Stop};
use super::Course;
use super::kept::Kept;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::write::Rows;
use crate::protocol;
use crate::session::Session;
use crate::session::scatter::drive::MAX_ROW;
use crate::types::ShardId;

impl Session {
    /// Inserts the rows; the command tag.
    pub(super) async fn insert_rows(
        &mut self,
        job: &Assignment,
        rows: &Rows,
        course: &Course,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let source = usize::from(rows.source);
        let Some(kept) = course.kept.get(source) else { return Err(super::changed().into()) };
        let kept = &self.numbered(kept, rows).await?;
        let columns: Vec<usize> = rows.target.keys.iter().map(|key| key.column).collect();
        let mut places = self.places_of(&rows.target, kept, &columns).await?;
        let heaps = Heap::of(kept, &places);
        let shards: Vec<ShardId> = match heaps.is_empty() {
            // Without a row there are still columns, and a trigger of the statement.
            true => vec![self.first_of(rows.target.keyspace)],
            false => heaps.iter().map(|heap| heap.shard).collect(),
        };
        self.enlist_writing(job, rows.target.keyspace, &shards).await?;
        let mut text = course.filled(&rows.head);
        text.pieces.push(Piece::Words("SELECT * FROM".into()));
        text.pieces.push(Piece::Input { input: rows.source, alias: Some("goldseam".into()) });
        text.pieces.extend(course.filled(&rows.tail).pieces);
        let mut staged = course.staged.clone();
        let mut asks = Vec::with_capacity(shards.len());
        for shard in &shards {
            let (frames, count) = match heaps.iter().find(|heap| heap.shard == *shard) {
                Some(heap) => (&heap.frames[..], heap.rows),
                None => (&[][..], 0),
            };
            if let Some(place) = staged.get_mut(source) {
                *place = kept.staged_of(frames, count, &[]);
            }
            asks.push(self.ask_rest(job, &text, &staged, &course.types, *shard, job.formats()?)?);
        }
        let replies = self.ask_shards(asks).await?;
        let total: u64 = replies.iter().map(Reply::count).sum();
        if rows.returning {
            if !rows.ordered {
                places.clear();
            }
            let merged = interleaved(&replies, &places);
            let described = replies.first().and_then(|reply| reply.columns.clone());
            self.put_replies(outlet, described.as_deref(), merged).await?;
        } else {
            self.put_columns(outlet, None);
        }
        Ok(format!("INSERT 0 {total}").into_bytes())
    }
}

/// One shard's part of rows.
pub(super) struct Heap {
    pub shard: ShardId,
    pub frames: BytesMut,
    pub rows: u64,
}

impl Heap {
    /// Rows by their shards, in the order of the rows.
    pub fn of(kept: &Kept, places: &[ShardId]) -> Vec<Heap> {
        let mut heaps: Vec<Heap> = Vec::new();
        for (message, shard) in kept.messages().zip(places) {
            let at = match heaps.iter().position(|heap| heap.shard == *shard) {
                Some(at) => at,
                None => {
                    heaps.push(Heap { shard: *shard, frames: BytesMut::new(), rows: 0 });
                    heaps.len() - 1
                }
            };
            heaps[at].frames.extend_from_slice(message);
            heaps[at].rows += 1;
        }
        heaps
    }
}

/// The shards' rows, the n-th from the n-th of these shards; without them one shard's after the other's.
fn interleaved(replies: &[Reply], places: &[ShardId]) -> BytesMut {
    let mut merged = BytesMut::with_capacity(replies.iter().map(|reply| reply.rows.len()).sum());
    let mut at: HashMap<ShardId, usize> = HashMap::new();
    for shard in places {
        let Some(reply) = replies.iter().find(|reply| reply.shard == *shard) else { continue };
        let start = at.entry(*shard).or_default();
        if let Ok(Some(frame)) = protocol::frame(&reply.rows[*start..], MAX_ROW) {
            merged.extend_from_slice(&reply.rows[*start..*start + frame.len]);
            *start += frame.len;
        }
    }
    for reply in replies {
        let rest = at.get(&reply.shard).copied().unwrap_or(0);
        merged.extend_from_slice(&reply.rows[rest..]);
    }
    merged
}

/// A text over a source that is the only one it names.
pub(super) fn over(words: String, behind: Option<&Text>) -> Text {
    let mut pieces = vec![Piece::Words(words), Piece::Input { input: 0, alias: Some("goldseam".into()) }];
    pieces.extend(behind.iter().flat_map(|text| text.pieces.iter().cloned()));
    Text { pieces }
}
