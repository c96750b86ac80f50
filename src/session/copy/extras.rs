//! Columns that the data has not, and for which the shards must not make values by themselves: numbers of sequences, keys, the time. They are the
//! first columns of what the shards are sent, in front of the row's own fields, so that errors about these stay as they are.

use std::collections::VecDeque;

use super::Copying;
use super::feed::as_stored;
use crate::copy::{Format, Options};
use crate::error::PgError;
use crate::plan::once::Maker;
use crate::plan::work::copy::{CopyIn, CopyKey, ExtraSource};
use crate::session::scatter::Stop;
use crate::session::work::ask::Ask;
use crate::session::{Session, fresh};
use crate::types::key::DecodeContext;
use crate::types::{Key, Match, Oid, Raw, ShardId, oid};

/// How many numbers are drawn at a time, at first and at most: a short COPY should leave no large gap.
const FEW: usize = 16;
const MANY: usize = 4096;

/// What stands in front of a row.
#[derive(Debug, Default)]
pub(super) struct Front {
    pub bytes: Vec<u8>,
    /// It takes the place of so many bytes of the row.
    pub instead: usize,
}

/// The values of all rows.
#[derive(Debug, Default)]
pub(super) struct Extras {
    columns: Vec<Column>,
    options: Options,
    /// How many columns the data has.
    own: usize,
    /// In front of the row that is next, and of a header line.
    pub row: Front,
    pub header: Front,
    /// The values of the row that is next.
    values: Vec<Vec<u8>>,
    drawn: usize,
}

#[derive(Debug)]
struct Column {
    type_oid: Oid,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Numbers(VecDeque<i64>),
    Keys(Maker, u64),
    One(Vec<u8>),
}

impl Session {
    /// Gets ready to give each row what its table's defaults would.
    pub(super) async fn begin_extras(
        &mut self,
        copy: &CopyIn,
        options: &Options,
        first: ShardId,
    ) -> Result<Extras, Stop> {
        let mut extras = Extras { options: options.clone(), own: copy.columns.len(), ..Extras::default() };
        let binary = options.format == Format::Binary;
        for extra in &copy.extras {
            let values = match &extra.source {
                ExtraSource::Next(_) if self.draft.is_some() => return Err(uncommitted().into()),
                ExtraSource::Next(sequence) => {
                    let role = self.login.user.clone();
                    self.shared.sequences.check_privilege(&role, sequence).await?;
                    Values::Numbers(VecDeque::new())
                }
                ExtraSource::Made(maker) => {
                    let node = match maker {
                        Maker::Snowflake => self.shared.sequences.node(self.state.vschema.home()).await?,
                        _ => 0,
                    };
                    Values::Keys(*maker, node)
                }
                ExtraSource::Once(expression) => {
                    let cast = if binary { "" } else { "::text" };
                    let sql = format!("SELECT (({expression})::{}){cast}", extra.type_name);
                    let replies = self.ask_shards(vec![Ask::new(first, sql)]).await?;
                    let rows = replies.first().map(|reply| reply.values()).transpose()?.unwrap_or_default();
                    let value = rows.first().and_then(|row| row.first().copied().flatten());
                    // A default that is NULL is none.
                    let value = value.ok_or_else(|| PgError::unsupported("a default that turns out to be NULL"))?;
                    Values::One(value.to_vec())
                }
            };
            let column = Column { type_oid: extra.type_oid, values };
            if binary && !column.is_binary() {
                return Err(PgError::unsupported(format!("a default for column \"{}\" in a binary COPY", extra.name))
                    .with_hint("Put the column into the data, or use FORMAT csv.")
                    .into());
            }
            extras.columns.push(column);
        }
        let names: Vec<Vec<u8>> = copy.extras.iter().map(|extra| extra.name.clone().into_bytes()).collect();
        if !binary {
            extras.header.bytes = extras.front(&names);
        }
        extras.next();
        Ok(extras)
    }

    /// Draws more numbers for a COPY.
    pub(super) async fn draw_copied_numbers(&mut self, copying: &mut Copying) -> Result<(), Stop> {
        let count = copying.extras.drawn.clamp(FEW, MANY);
        copying.extras.drawn += count;
        for (column, extra) in copying.extras.columns.iter_mut().zip(&copying.copy.extras) {
            if let (Values::Numbers(numbers), ExtraSource::Next(sequence)) = (&mut column.values, &extra.source)
                && numbers.is_empty()
            {
                numbers.extend(self.shared.sequences.draw(sequence, count).await?);
            }
        }
        copying.extras.next();
        Ok(())
    }
}

/// The sequence may be the transaction's own, or have been restarted by it; and its connections are busy with the rows.
fn uncommitted() -> PgError {
    PgError::unsupported("COPY draws no numbers in a transaction that has changed the catalog")
        .with_hint("COMMIT before the COPY, or give the column in its data.")
}

impl Extras {
    /// Whether the next row has all its values.
    pub fn are_ready(&self) -> bool {
        self.values.len() == self.columns.len()
    }

    /// Goes on to the next row, as far as there are values for it.
    pub fn next(&mut self) {
        if self.columns.is_empty() {
            return;
        }
        self.values.clear();
        let empty = |column: &Column| matches!(&column.values, Values::Numbers(numbers) if numbers.is_empty());
        if self.columns.iter().any(empty) {
            return;
        }
        let binary = self.options.format == Format::Binary;
        self.values.extend(self.columns.iter_mut().map(|column| column.value(binary)));
        self.row = match binary {
            false => Front { bytes: self.front(&self.values), instead: 0 },
            true => Front { bytes: self.binary_front(), instead: 2 },
        };
    }

    /// A part of the key of the row that is next.
    pub fn key(&self, at: usize, key: &CopyKey, context: &DecodeContext) -> Result<Option<Key<'_>>, PgError> {
        let Some(bytes) = self.values.get(at) else { return Ok(None) };
        let matched = match self.options.format {
            Format::Binary => as_stored(&Raw::Binary { bytes, oid: 0 }, key, context),
            _ => match std::str::from_utf8(bytes) {
                Ok(text) => as_stored(&Raw::Text { text: text.into(), oid: oid::UNKNOWN }, key, context),
                Err(_) => Match::Nothing,
            },
        };
        match matched {
            Match::Key(key) => Ok(Some(key)),
            Match::Nothing => Ok(None),
            Match::Unclear(why) => Err(PgError::unsupported(format!(
                "default for shard key \"{}\" cannot be read with certainty",
                key.name
            ))
            .with_detail(format!("The column is of type {}: {why}.", key.key_type.name()))),
        }
    }

    /// These values as the first fields of a line.
    fn front(&self, values: &[Vec<u8>]) -> Vec<u8> {
        let (options, mut out) = (&self.options, Vec::new());
        for value in values {
            if options.format == Format::Csv {
                out.push(options.quote);
                for byte in value {
                    if *byte == options.quote || *byte == options.escape {
                        out.push(options.escape);
                    }
                    out.push(*byte);
                }
                out.push(options.quote);
            } else {
                let is_null = *value == options.null;
                for (at, byte) in value.iter().enumerate() {
                    // A value that looks like NULL is written otherwise.
                    if *byte == b'\\' || *byte == options.delimiter || (is_null && at == 0) || *byte < b' ' {
                        out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
                    } else {
                        out.push(*byte);
                    }
                }
            }
            out.push(options.delimiter);
        }
        out
    }

    fn binary_front(&self) -> Vec<u8> {
        let count = self.own + self.values.len();
        let mut out = (count as i16).to_be_bytes().to_vec();
        for value in &self.values {
            out.extend_from_slice(&(value.len() as i32).to_be_bytes());
            out.extend_from_slice(value);
        }
        out
    }
}

impl Column {
    /// Whether its values have a binary form here.
    fn is_binary(&self) -> bool {
        match &self.values {
            Values::One(_) => true,
            Values::Numbers(_) | Values::Keys(Maker::Snowflake, _) => {
                matches!(self.type_oid, oid::INT2 | oid::INT4 | oid::INT8)
            }
            Values::Keys(Maker::Ulid, _) => matches!(self.type_oid, oid::TEXT | oid::VARCHAR),
            Values::Keys(_, _) => matches!(self.type_oid, oid::TEXT | oid::VARCHAR | oid::UUID),
        }
    }

    fn value(&mut self, binary: bool) -> Vec<u8> {
        let text = match &mut self.values {
            Values::One(value) => return value.clone(),
            Values::Numbers(numbers) => return number(numbers.pop_front().unwrap_or(0), self.type_oid, binary),
            Values::Keys(Maker::Snowflake, node) => return number(fresh::snowflake(*node), self.type_oid, binary),
            Values::Keys(Maker::Ulid, _) => fresh::ulid(),
            Values::Keys(Maker::UuidV7, _) => fresh::uuid_v7(),
            Values::Keys(Maker::UuidV4, _) => fresh::uuid_v4(),
        };
        match binary && self.type_oid == oid::UUID {
            true => uuid::Uuid::parse_str(&text).map_or_else(|_| Vec::new(), |uuid| uuid.as_bytes().to_vec()),
            false => text.into_bytes(),
        }
    }
}

/// A number as the column's type has it; one that is too large for it fails on the server.
fn number(number: i64, type_oid: Oid, binary: bool) -> Vec<u8> {
    match (binary, type_oid) {
        (true, oid::INT2) => i16::try_from(number).map_or_else(|_| Vec::new(), |n| n.to_be_bytes().to_vec()),
        (true, oid::INT4) => i32::try_from(number).map_or_else(|_| Vec::new(), |n| n.to_be_bytes().to_vec()),
        (true, _) => number.to_be_bytes().to_vec(),
        (false, _) => number.to_string().into_bytes(),
    }
}
