//! The client's data on its way to the shards.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::extras::Front;
use super::stream::Stream;
use super::{Copying, LONGEST_ROW, MOST_UNSENT, context};
use crate::copy::fields::{Field, field};
use crate::copy::{Fault, Format, Found, Kind};
use crate::error::PgError;
use crate::plan::work::copy::{CopyKey, KeyPlace};
use crate::protocol::frame::HEADER;
use crate::protocol::request;
use crate::session::gate::killed;
use crate::session::scatter::Stop;
use crate::session::{Over, Session, Trouble};
use crate::sqlstate::SqlState;
use crate::types::key::{DecodeContext, decode, decode_stored};
use crate::types::{Key, KeyType, Match, Raw, ShardId, VindexId, oid};
use crate::vindex::Placement;

/// Why a run over rows ends.
enum Turn {
    /// All whole rows are done.
    Dry,
    /// A shard does not read.
    Full,
    /// Only a directory's table knows where this key goes.
    Directory(VindexId, String),
    /// A sequence's numbers are used up.
    Numbers,
}

/// Where a row goes.
enum Way {
    To(ShardId),
    /// Every shard has a copy.
    All,
    /// Any shard will refuse it.
    Foreign,
    Directory(VindexId, String),
}

impl Session {
    /// A message of the client's during its COPY.
    pub(in crate::session) async fn copy_message(&mut self, tag: u8, frame: &[u8]) -> Result<(), Trouble> {
        let Some(mut copying) = self.copying.take() else { return Ok(()) };
        let outcome = match copying.failure.take() {
            Some(stop) => Err(stop),
            None => match tag {
                b'd' => self.copy_data(&mut copying, frame.get(HEADER..).unwrap_or_default(), false).await,
                b'c' => return self.end_copy(copying).await,
                b'f' => Err(self.given_up(&copying, frame.get(HEADER..).unwrap_or_default())),
                // Ignored, as by a server.
                b'H' | b'S' => Ok(()),
                b'X' => return Err(Over::Gone.into()),
                _ => return Err(self.out_of_step(tag)),
            },
        };
        match outcome {
            Ok(()) => {
                self.copying = Some(copying);
                Ok(())
            }
            Err(stop) => Err(self.fail_copy(copying, stop).await),
        }
    }

    /// Spreads a piece of data over the shards. `last`: nothing more will come.
    pub(super) async fn copy_data(&mut self, copying: &mut Copying, data: &[u8], last: bool) -> Result<(), Stop> {
        if copying.copy.spread.is_none() && copying.copy.extras.is_empty() {
            return self.copy_to_all(copying, data).await;
        }
        let mut pending = std::mem::take(&mut copying.pending);
        if !pending.is_empty() {
            pending.extend_from_slice(data);
        }
        let bytes: &[u8] = if pending.is_empty() { data } else { &pending };
        let mut at = 0;
        loop {
            match self.hand_rows_on(copying, bytes, &mut at, last)? {
                Turn::Dry => break,
                Turn::Full => self.until_sent(copying).await?,
                Turn::Numbers => self.draw_copied_numbers(copying).await?,
                Turn::Directory(vindex, key) => {
                    // From now on the cache has it.
                    self.state.directories.clone().assign(vindex, &key).await?;
                }
            }
        }
        let rest = bytes.len() - at;
        if rest > LONGEST_ROW {
            return Err(context::at_line(&too_long(), &copying.copy.table, copying.rows.line(), None));
        }
        if pending.is_empty() {
            pending.extend_from_slice(&data[at..]);
        } else {
            bytes::Buf::advance(&mut pending, at);
        }
        copying.pending = pending;
        Ok(())
    }

    /// A reference table's rows need not be told apart.
    async fn copy_to_all(&mut self, copying: &mut Copying, data: &[u8]) -> Result<(), Stop> {
        let mut full = false;
        for stream in &mut copying.streams {
            if stream.put(data) {
                full |= self.send_piece(stream) > MOST_UNSENT;
            }
        }
        if full { self.until_sent(copying).await } else { Ok(()) }
    }

    /// Waits until no shard has too much before it.
    async fn until_sent(&mut self, copying: &mut Copying) -> Result<(), Stop> {
        let Copying { streams, copy, .. } = copying;
        poll_fn(|cx| {
            self.handle.register(cx.waker());
            for stream in streams.iter_mut().filter(|stream| !stream.is_over()) {
                if let Err(stop) = self.poll_stream(stream, &copy.table, cx) {
                    return Poll::Ready(Err(stop));
                }
            }
            let unsent = self.held.iter().map(|held| held.lease.outgoing.len()).max().unwrap_or(0);
            if unsent <= MOST_UNSENT / 2 {
                return Poll::Ready(Ok(()));
            }
            if self.handle.activity.is_killed() {
                return Poll::Ready(Err(killed().into()));
            }
            self.poll_client(cx)
        })
        .await
    }

    /// A shard of the COPY may have something to say, and may take more, while the client says nothing; whether there is something to act on.
    pub(in crate::session) fn poll_copying(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(mut copying) = self.copying.take() else { return false };
        for stream in copying.streams.iter_mut().filter(|stream| !stream.is_over()) {
            if copying.failure.is_none()
                && let Err(stop) = self.poll_stream(stream, &copying.copy.table, cx)
            {
                copying.failure = Some(stop);
            }
        }
        let failed = copying.failure.is_some();
        self.copying = Some(copying);
        failed
    }

    /// Acts on what a shard of the COPY has said in between.
    pub(in crate::session) async fn mind_copy(&mut self) -> Result<(), Over> {
        let Some(stop) = self.copying.as_mut().and_then(|copying| copying.failure.take()) else { return Ok(()) };
        let Some(copying) = self.copying.take() else { return Ok(()) };
        let simple = copying.simple;
        let trouble = self.fail_copy(copying, stop).await;
        self.tell_copy(Err(trouble), simple).await
    }

    /// Tells the client of an error in its COPY, which is the end of the query that it came with.
    pub(in crate::session) async fn tell_copy(
        &mut self,
        outcome: Result<(), Trouble>,
        simple: bool,
    ) -> Result<(), Over> {
        match outcome {
            Err(Trouble::Over(over)) => Err(over),
            Err(trouble) if self.sequence.is_some() => self.give_up_sequence(trouble).await,
            outcome => self.tell(outcome, if simple { b'S' } else { b'd' }, &[]).await,
        }
    }

    /// Whether a COPY is under way, and if so, whether it came as a simple query.
    pub(in crate::session) fn is_copying(&self) -> Option<bool> {
        self.copying.as_ref().map(|copying| copying.simple)
    }

    /// Hands whole rows on.
    fn hand_rows_on(&mut self, copying: &mut Copying, data: &[u8], at: &mut usize, last: bool) -> Result<Turn, Stop> {
        loop {
            let rest = data.get(*at..).unwrap_or_default();
            let found = match copying.found.take() {
                Some(found) => found,
                None => match copying.rows.next(rest, last).map_err(|fault| faulty(&fault, &copying.copy.table))? {
                    Some(found) => found,
                    None => return Ok(Turn::Dry),
                },
            };
            let bytes = rest.get(..found.len).unwrap_or_default();
            let full = match found.kind {
                Kind::Header => self.copy_header(copying, &found, bytes),
                Kind::End if copying.options.format == Format::Binary => self.copy_header(copying, &found, bytes),
                Kind::End => false,
                Kind::Foreign => self.copy_foreign(copying, &found, bytes),
                Kind::Row if !copying.extras.are_ready() => {
                    copying.found = Some(found);
                    return Ok(Turn::Numbers);
                }
                Kind::Row => match way(self, copying, &found, bytes)? {
                    Way::All => self.copy_header(copying, &found, bytes),
                    Way::To(shard) => {
                        let place = copying.places.get(usize::from(shard.0)).copied().unwrap_or(u16::MAX);
                        let Some(stream) = copying.streams.get_mut(usize::from(place)) else {
                            return Err(
                                PgError::new(SqlState::INTERNAL_ERROR, "a key leads out of its keyspace").into()
                            );
                        };
                        stream.count_lines(&copying.rows, &found, bytes);
                        stream.put_row(&copying.extras.row, bytes) && self.send_piece(stream) > MOST_UNSENT
                    }
                    Way::Foreign => self.copy_foreign(copying, &found, bytes),
                    Way::Directory(vindex, key) => {
                        copying.found = Some(found);
                        return Ok(Turn::Directory(vindex, key));
                    }
                },
            };
            if found.kind == Kind::Row {
                copying.extras.next();
            }
            *at += found.len;
            if full {
                return Ok(Turn::Full);
            }
        }
    }

    /// What every shard gets.
    fn copy_header(&mut self, copying: &mut Copying, found: &Found, bytes: &[u8]) -> bool {
        let mut full = false;
        for stream in &mut copying.streams {
            if found.lines > 0 {
                stream.lines.add(found.line, found.lines, found.len);
            }
            let front = match found.kind {
                Kind::Row => &copying.extras.row,
                Kind::Header => &copying.extras.header,
                _ => &Front::default(),
            };
            full |= stream.put_row(front, bytes) && self.send_piece(stream) > MOST_UNSENT;
        }
        full
    }

    /// What some shard gets, so that it says what is wrong.
    fn copy_foreign(&mut self, copying: &mut Copying, found: &Found, bytes: &[u8]) -> bool {
        copying.foreign = true;
        let Some(stream) = copying.streams.first_mut() else { return false };
        stream.count_lines(&copying.rows, found, bytes);
        let front = if found.kind == Kind::Row { &copying.extras.row } else { &Front::default() };
        stream.put_row(front, bytes) && self.send_piece(stream) > MOST_UNSENT
    }

    /// CopyFail, as a server reports it (`CopyGetData`).
    fn given_up(&self, copying: &Copying, body: &[u8]) -> Stop {
        let reason = body.split(|byte| *byte == 0).next().unwrap_or_default();
        let message = format!("COPY from stdin failed: {}", String::from_utf8_lossy(reason));
        let error = PgError::new(SqlState::QUERY_CANCELED, message);
        context::at_line(&error, &copying.copy.table, copying.rows.line(), None)
    }

    /// Nobody knows any more which statement the next messages belong to (`CopyGetData`).
    fn out_of_step(&mut self, tag: u8) -> Trouble {
        let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
        let error = PgError::new(SqlState::PROTOCOL_VIOLATION, message);
        crate::protocol::encode::error_response(&mut self.client.outgoing, &error);
        PgError::fatal(SqlState::PROTOCOL_VIOLATION, "terminating connection because protocol synchronization was lost")
            .into()
    }

    /// Ends the data for a shard.
    pub(super) fn send_done(&mut self, stream: &mut Stream) {
        self.send_piece(stream);
        self.send_last(stream, request::copy_done);
    }
}

/// Where a row goes.
fn way(session: &Session, copying: &Copying, found: &Found, bytes: &[u8]) -> Result<Way, Stop> {
    let Some(spread) = &copying.copy.spread else { return Ok(Way::All) };
    let row = bytes.get(..found.content).unwrap_or_default();
    if let ([key], [Some(wanted)]) = (spread.keys.as_slice(), copying.wanted.as_slice()) {
        let raw = field(row, &copying.options, wanted);
        return match read(session, copying, key, &raw, found)? {
            Some(key) => place(session, copying, spread.vindex, std::slice::from_ref(&key), found),
            None => Ok(Way::Foreign),
        };
    }
    let fields: Vec<Option<Field<'_>>> = copying
        .wanted
        .iter()
        .map(|wanted| wanted.as_ref().map(|wanted| field(row, &copying.options, wanted)))
        .collect();
    let mut keys = Vec::with_capacity(fields.len());
    for (key, raw) in spread.keys.iter().zip(&fields) {
        let found = match (raw, key.at) {
            (Some(raw), _) => read(session, copying, key, raw, found)?,
            (None, KeyPlace::Extra(at)) => copying.extras.key(usize::from(at), key, &session.decode)?,
            (None, KeyPlace::Field(_)) => None,
        };
        match found {
            Some(key) => keys.push(key),
            None => return Ok(Way::Foreign),
        }
    }
    place(session, copying, spread.vindex, &keys, found)
}

/// A field as a key; none if any shard refuses it.
fn read<'r>(
    session: &Session,
    copying: &Copying,
    key: &CopyKey,
    field: &'r Field<'r>,
    found: &Found,
) -> Result<Option<Key<'r>>, Stop> {
    let table = &copying.copy.table;
    let bytes = match field {
        Field::Value(bytes) => bytes.as_ref(),
        Field::Missing => return Ok(None),
        Field::Null => {
            let relation = &copying.copy.relation;
            let column = relation.column(&key.name).and_then(|index| relation.columns.get(index));
            if column.is_some_and(|column| column.not_null) {
                return Ok(None);
            }
            return Err(context::at_line(&no_key(key, table), table, found.line, None));
        }
    };
    let matched = if copying.options.format == Format::Binary {
        as_stored(&Raw::Binary { bytes, oid: 0 }, key, &session.decode)
    } else {
        match std::str::from_utf8(bytes) {
            Ok(text) if copying.utf8 || text.is_ascii() => {
                as_stored(&Raw::Text { text: text.into(), oid: oid::UNKNOWN }, key, &session.decode)
            }
            Err(_) if copying.utf8 => return Ok(None),
            _ => Match::Unclear("characters beyond ASCII are read in UTF8 only"),
        }
    };
    match matched {
        Match::Key(key) => Ok(Some(key)),
        Match::Nothing => Ok(None),
        Match::Unclear(why) => {
            let error = PgError::unsupported(format!(
                "value for shard key \"{}\" of table \"{table}\" cannot be read with certainty",
                key.name
            ))
            .with_detail(format!("The column is of type {}: {why}.", key.key_type.name()));
            Err(context::at_line(&error, table, found.line, Some((&key.name, bytes))))
        }
    }
}

/// As the column's input function reads it. Only a length cuts blanks off.
pub(super) fn as_stored<'r>(raw: &Raw<'r>, key: &CopyKey, context: &DecodeContext) -> Match<'r> {
    match key.key_type {
        KeyType::Text if !key.cuts => decode(raw, key.key_type, context),
        _ => decode_stored(raw, key.key_type, context),
    }
}

fn place(session: &Session, copying: &Copying, vindex: VindexId, key: &[Key<'_>], found: &Found) -> Result<Way, Stop> {
    let named = session.state.vschema.vindex(vindex);
    match (named.vindex.place(key), key) {
        (Placement::Shard(shard), _) => Ok(Way::To(shard)),
        (Placement::Directory, [one]) => {
            let text = one.to_text();
            Ok(match session.state.directories.cached(vindex, &text) {
                Some(shard) => Way::To(shard),
                None => Way::Directory(vindex, text),
            })
        }
        (Placement::Directory, _) => Err(PgError::unsupported("directory vindexes take one column").into()),
        (Placement::Nowhere, _) => {
            let table = &copying.copy.table;
            let keys: Vec<String> = key.iter().map(Key::to_text).collect();
            let error = PgError::new(SqlState::CHECK_VIOLATION, format!("no shard found for row of table \"{table}\""))
                .with_detail(format!("Vindex \"{}\" takes no key {}.", named.name, keys.join(", ")))
                .with_hint("Give the vindex a shard for this key.");
            Err(context::at_line(&error, table, found.line, None))
        }
    }
}

fn no_key(key: &CopyKey, table: &str) -> PgError {
    PgError::new(
        SqlState::NOT_NULL_VIOLATION,
        format!("null value in column \"{}\" of relation \"{table}\" violates not-null constraint", key.name),
    )
    .with_detail("The column is the shard key: without it no shard can be chosen.")
}

fn faulty(fault: &Fault, table: &str) -> Stop {
    let error = PgError::new(SqlState::BAD_COPY_FILE_FORMAT, fault.message);
    let error = match fault.hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    };
    context::at_line(&error, table, fault.line, None)
}

fn too_long() -> PgError {
    PgError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "a row of the COPY is too long")
        .with_detail(format!("A row has to be whole before its shard is known, and {LONGEST_ROW} bytes may be held."))
        .with_hint("If it is CSV, a quote may be missing.")
}
