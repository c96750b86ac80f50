//! UPDATE of the shard key: rows are locked and computed where they are, and those whose new key leads elsewhere move there.
//!
//! 1. Each shard locks its rows and computes their new values (`SELECT ... FOR UPDATE`); of a row that is joined several times the first counts.
//! 2. Rows that leave are deleted everywhere before anything is updated or inserted, so that rows may take one another's keys.
//! 3. Rows that stay are updated in place, by their ctid; then those that leave are inserted where they go.
//!
//! A foreign key that refers to the table stays with its shard. A row that leaves must have no row that refers to it, or PostgreSQL itself
//! must have refused the update: otherwise it is refused, because the referring row would have to move too.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use super::super::ask::{Ask, Reply};
use super::super::outlet::Outlet;
use super::super::{Assignment, Stop};
use super::Course;
use super::errand::Done;
use super::kept::{Kept, values};
use super::place::{null_key, some_columns};
use super::rows::over;
use crate::error::PgError;
use crate::plan::gather::{Piece, Text};
use crate::plan::render::quoted;
use crate::plan::work::write::Move;
use crate::protocol::frontend::Format;
use crate::session::Session;
use crate::session::route::Destination;
use crate::types::ShardId;

/// Where in the rows that are found the table's columns begin: behind tableoid and ctid.
const FIRST: usize = 2;

/// The rows of one shard.
struct Found {
    shard: ShardId,
    kept: Kept,
    /// The shard of each row's new key.
    places: Vec<ShardId>,
}

impl Session {
    /// Updates and moves; the command tag.
    pub(super) async fn move_rows_of(
        &mut self,
        job: &Assignment,
        moved: &Move,
        course: &Course,
        outlet: &mut Outlet,
    ) -> Result<Vec<u8>, Stop> {
        let shards = self.shards_of_move(job, moved, course)?;
        self.enlist_writing(job, moved.target.keyspace, &shards).await?;
        let mut found = Vec::new();
        for (shard, kept) in self.find_rows(job, moved, course, &shards).await? {
            let kept = first_of_each(kept)?;
            let places = self.new_places(moved, &kept).await?;
            found.push(Found { shard, kept, places });
        }
        let mut all: Vec<ShardId> = found.iter().flat_map(|found| found.places.iter().copied()).collect();
        all.extend(&shards);
        self.enlist_writing(job, moved.target.keyspace, &all).await?;
        let mut replies = Vec::new();
        if found.iter().any(|found| found.places.iter().any(|place| *place != found.shard)) {
            self.check_referring(moved, &found).await?;
            self.delete_leaving(moved, &found).await?;
        }
        replies.extend(self.update_staying(job, moved, course, &found).await?);
        replies.extend(self.insert_leaving(job, moved, course, &found).await?);
        let total: u64 = found.iter().map(|found| found.kept.rows).sum();
        let done: u64 = replies.iter().map(Reply::count).sum();
        if done != total {
            return Err(super::changed().into());
        }
        match (&moved.returning, replies.iter().find_map(|reply| reply.columns.clone())) {
            (Some(_), Some(columns)) => {
                let mut rows = BytesMut::new();
                replies.iter().for_each(|reply| rows.extend_from_slice(&reply.rows));
                self.put_replies(outlet, Some(&columns), rows).await?;
            }
            (Some(_), None) => {
                let columns = course.columns.clone().flatten();
                self.put_columns(outlet, columns.as_deref());
            }
            (None, _) => self.put_columns(outlet, None),
        }
        Ok(format!("UPDATE {total}").into_bytes())
    }

    /// Where such rows may be, as a DELETE of them is planned; and whether it may be done.
    fn shards_of_move(&mut self, job: &Assignment, moved: &Move, course: &Course) -> Result<Vec<ShardId>, Stop> {
        let errand = self.errand(job, &moved.judge, course, Vec::new())?;
        let every = &self.state.vschema.keyspace(moved.target.keyspace).shards;
        let (_, _, _, destination) = self.judge_errand(&errand)?;
        Ok(match destination {
            Destination::Shard(shard) => vec![shard],
            Destination::Shards { shards, .. } => shards,
            Destination::Any(_) => every.iter().take(1).copied().collect(),
            _ => every.clone(),
        })
    }

    /// Locks the rows, and computes what they are to be.
    async fn find_rows(
        &mut self,
        job: &Assignment,
        moved: &Move,
        course: &Course,
        shards: &[ShardId],
    ) -> Result<Vec<(ShardId, Kept)>, Stop> {
        let text = course.filled(&moved.find);
        let mut formats = vec![1];
        loop {
            let mut asks = Vec::with_capacity(shards.len());
            for shard in shards {
                asks.push(self.ask_rest(job, &text, &course.staged, &course.types, *shard, formats.clone())?);
            }
            let mut found = Vec::new();
            let mut wrong = None;
            for reply in self.ask_shards(asks).await? {
                let shard = reply.shard;
                let done =
                    Done { columns: reply.columns, rows: reply.rows, tag: reply.tag.into_bytes(), shard: Some(shard) };
                let kept = self.keep(done, &formats).await?;
                if kept.rows > 0 {
                    wrong = wrong.or_else(|| kept.wrong_form());
                }
                found.push((shard, kept));
            }
            match wrong {
                // The rows are locked by now: they are the same.
                Some(right) if right != formats => formats = right,
                _ => return Ok(found),
            }
        }
    }

    /// The shard of each row's new key.
    async fn new_places(&mut self, moved: &Move, kept: &Kept) -> Result<Vec<ShardId>, Stop> {
        if kept.rows == 0 {
            return Ok(Vec::new());
        }
        let mut columns = Vec::new();
        for key in &moved.target.keys {
            columns.push(moved.column(key.column));
        }
        for message in kept.messages() {
            let row = values(message)?;
            for (key, at) in moved.target.keys.iter().zip(&columns) {
                if row.get(*at).copied().flatten().is_none() {
                    return Err(null_key(&moved.target, key).into());
                }
            }
        }
        self.places_of(&moved.target, kept, &columns).await
    }

    async fn delete_leaving(&mut self, moved: &Move, found: &[Found]) -> Result<(), Stop> {
        let (mut asks, mut wanted) = (Vec::new(), Vec::new());
        for found in found {
            let (frames, rows) = found.part(|place| place != found.shard);
            if rows == 0 {
                continue;
            }
            let staged = some_columns(&found.kept, &frames, rows, &[(0, "o".into()), (1, "c".into())]);
            let sql = format!(
                "DELETE FROM {} AS goldseam_t USING unnest($1::pg_catalog.oid[], $2::pg_catalog.tid[]) AS goldseam (o, c) \
                 WHERE goldseam_t.tableoid = goldseam.o AND goldseam_t.ctid = goldseam.c",
                moved.target.sql
            );
            let values = staged.arrays.into_iter().map(|array| (Format::Binary, Some(array))).collect();
            asks.push(Ask { values, ..Ask::new(found.shard, sql) });
            wanted.push(rows);
        }
        let replies = self.ask_shards(asks).await?;
        if replies.iter().zip(&wanted).any(|(reply, wanted)| reply.count() != *wanted) {
            return Err(super::changed().into());
        }
        Ok(())
    }

    async fn update_staying(
        &mut self,
        job: &Assignment,
        moved: &Move,
        course: &Course,
        found: &[Found],
    ) -> Result<Vec<Reply>, Stop> {
        let mut asks = Vec::new();
        for found in found {
            let (frames, rows) = found.part(|place| place == found.shard);
            if rows == 0 {
                continue;
            }
            let mut columns = vec![(0, "goldseam_o".to_string()), (1, "goldseam_c".to_string())];
            let mut set = Vec::new();
            for (n, at) in moved.set.iter().enumerate() {
                columns.push((moved.new_column(n), format!("goldseam_{n}")));
                let name = moved.columns.get(*at).map(|column| quoted(&column.name)).unwrap_or_default();
                set.push(format!("{name} = goldseam.goldseam_{n}"));
            }
            let mut text = moved.update.clone();
            text.pieces.extend(over(format!("SET {} FROM", set.join(", ")), None).pieces);
            text.pieces.push(Piece::Words(format!(
                "WHERE {alias}.tableoid = goldseam.goldseam_o AND {alias}.ctid = goldseam.goldseam_c",
                alias = moved.alias
            )));
            text.pieces.extend(moved.returning.iter().flat_map(|text| text.pieces.iter().cloned()));
            let staged = vec![some_columns(&found.kept, &frames, rows, &columns)];
            asks.push(self.ask_rest(job, &text, &staged, &course.types, found.shard, job.formats()?)?);
        }
        self.ask_shards(asks).await
    }

    async fn insert_leaving(
        &mut self,
        job: &Assignment,
        moved: &Move,
        course: &Course,
        found: &[Found],
    ) -> Result<Vec<Reply>, Stop> {
        let given: Vec<usize> = (0..moved.columns.len()).filter(|at| !moved.columns[*at].generated).collect();
        let names: Vec<String> = given.iter().map(|at| quoted(&moved.columns[*at].name)).collect();
        let columns: Vec<(usize, String)> =
            given.iter().enumerate().map(|(n, at)| (moved.column(*at), format!("goldseam_{n}"))).collect();
        let mut goes: Vec<ShardId> = Vec::new();
        for found in found {
            goes.extend(found.places.iter().copied().filter(|place| *place != found.shard));
        }
        goes.sort();
        goes.dedup();
        let words = format!(
            "INSERT INTO {} AS {} ({}) OVERRIDING SYSTEM VALUE SELECT * FROM",
            moved.target.sql,
            moved.alias,
            names.join(", ")
        );
        let text: Text = over(words, moved.returning.as_ref());
        let mut replies = Vec::new();
        // One source shard's rows at a time: their columns may have come with other numbers of types.
        for from in found {
            let mut asks = Vec::new();
            for shard in goes.iter().filter(|shard| **shard != from.shard) {
                let (frames, rows) = from.part(|place| place == *shard);
                if rows == 0 {
                    continue;
                }
                let staged = vec![some_columns(&from.kept, &frames, rows, &columns)];
                asks.push(self.ask_rest(job, &text, &staged, &course.types, *shard, job.formats()?)?);
            }
            if !asks.is_empty() {
                replies.extend(self.ask_shards(asks).await?);
            }
        }
        Ok(replies)
    }

    /// Rows that refer to those that leave.
    async fn check_referring(&mut self, moved: &Move, found: &[Found]) -> Result<(), Stop> {
        const QUESTION: &str = "\
            SELECT c.conname, c.conrelid::pg_catalog.regclass::pg_catalog.text, c.confupdtype::pg_catalog.text, \
                   c.confdeltype::pg_catalog.text, \
                   (SELECT pg_catalog.string_agg('goldseam_r.' || pg_catalog.quote_ident(r.attname) || ' = goldseam_t.' \
                           || pg_catalog.quote_ident(t.attname), ' AND ') \
                    FROM ROWS FROM (pg_catalog.unnest(c.conkey), pg_catalog.unnest(c.confkey)) AS k (r, t) \
                    JOIN pg_catalog.pg_attribute r ON r.attrelid = c.conrelid AND r.attnum = k.r \
                    JOIN pg_catalog.pg_attribute t ON t.attrelid = c.confrelid AND t.attnum = k.t), \
                   (SELECT pg_catalog.string_agg(t.attname, ',') FROM pg_catalog.pg_attribute t \
                    WHERE t.attrelid = c.confrelid AND t.attnum = ANY (c.confkey)) \
            FROM pg_catalog.pg_constraint c \
            WHERE c.contype = 'f' AND c.confrelid = $1::pg_catalog.text::pg_catalog.regclass";
        let Some(shard) = found.first().map(|found| found.shard) else { return Ok(()) };
        let values = vec![(Format::Text, Some(Bytes::from(moved.target.sql.clone())))];
        let ask = Ask { values, formats: vec![0], ..Ask::new(shard, QUESTION) };
        let mut keys: Vec<Vec<String>> = Vec::new();
        for reply in self.ask_shards(vec![ask]).await? {
            for row in reply.values()? {
                let text = |value: &Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
                keys.push(row.iter().map(text).collect());
            }
        }
        for key in &keys {
            let [name, table, updated, deleted, condition, referred] = key.as_slice() else { continue };
            let changes = moved.set.iter().any(|at| {
                moved.columns.get(*at).is_some_and(|column| referred.split(',').any(|name| name == column.name))
            });
            let refuses = |action: &str| action == "a" || action == "r";
            // The DELETE says then what the UPDATE would have said.
            if changes && refuses(updated) && refuses(deleted) {
                continue;
            }
            let mut asks = Vec::new();
            for found in found {
                let (frames, rows) = found.part(|place| place != found.shard);
                if rows == 0 {
                    continue;
                }
                let staged = some_columns(&found.kept, &frames, rows, &[(0, "o".into()), (1, "c".into())]);
                let sql = format!(
                    "SELECT 1 FROM {} AS goldseam_t \
                     JOIN unnest($1::pg_catalog.oid[], $2::pg_catalog.tid[]) AS goldseam (o, c) \
                     ON goldseam_t.tableoid = goldseam.o AND goldseam_t.ctid = goldseam.c \
                     JOIN {table} AS goldseam_r ON {condition} LIMIT 1",
                    moved.target.sql
                );
                let values = staged.arrays.into_iter().map(|array| (Format::Binary, Some(array))).collect();
                asks.push(Ask { values, ..Ask::new(found.shard, sql) });
            }
            if self.ask_shards(asks).await?.iter().any(|reply| reply.count() > 0) {
                return Err(PgError::unsupported(format!(
                    "rows of table \"{}\" cannot move while rows of \"{table}\" refer to them",
                    moved.target.table
                ))
                .with_detail(format!("Foreign key \"{name}\" holds within one shard, and the referring rows would stay behind."))
                .with_hint("Move the referring rows first, or insert the row anew, change those that refer to it, and delete it.")
                .into());
            }
        }
        Ok(())
    }
}

impl Move {
    /// Where in the rows that are found the n-th new value stands.
    fn new_column(&self, n: usize) -> usize {
        FIRST + self.columns.len() + n
    }

    /// Where the value stands that one of the table's columns is to have.
    fn column(&self, at: usize) -> usize {
        match self.set.iter().position(|set| *set == at) {
            Some(n) => self.new_column(n),
            None => FIRST + at,
        }
    }
}

impl Found {
    /// Those rows whose new key leads to such a shard.
    fn part(&self, wanted: impl Fn(ShardId) -> bool) -> (BytesMut, u64) {
        let (mut frames, mut rows) = (BytesMut::new(), 0);
        for (message, place) in self.kept.messages().zip(&self.places) {
            if wanted(*place) {
                frames.extend_from_slice(message);
                rows += 1;
            }
        }
        (frames, rows)
    }
}

/// A row that is joined several times is updated once.
fn first_of_each(kept: Kept) -> Result<Kept, PgError> {
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let (mut frames, mut rows) = (BytesMut::new(), 0);
    for message in kept.messages() {
        let row = values(message)?;
        let mut place = Vec::with_capacity(10);
        for at in 0..FIRST {
            place.extend_from_slice(row.get(at).copied().flatten().unwrap_or_default());
        }
        if seen.insert(place) {
            frames.extend_from_slice(message);
            rows += 1;
        }
    }
    Ok(Kept { columns: kept.columns, frames, rows })
}
