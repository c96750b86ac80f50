//! Rows of a cursor in another form than it was declared with: a driver that fetches in binary form from a cursor of SQL.
//!
//! The shards have said their values in text form, and what that is in binary form only a server knows. So one is asked: the columns go to it as
//! arrays of text, and come back as their types in the client's formats. A type's text is read back as it was written, because both are done
//! under the same settings.

use bytes::{BufMut, Bytes, BytesMut};

use super::declared::Declared;
use crate::error::PgError;
use crate::plan::Effects;
use crate::protocol::answer;
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::session::work::ask::Ask;
use crate::session::{Session, Trouble};
use crate::types::oid;

/// Rows that are converted at a time.
pub(super) const BATCH: usize = 1000;

impl Session {
    /// These rows, which are in text form, in the client's formats.
    pub(super) async fn convert(
        &mut self,
        cursor: &mut Declared,
        rows: &[Bytes],
        formats: &[i16],
    ) -> Result<BytesMut, Trouble> {
        let shard = self.any_shard(None);
        self.enlist_for(&Effects::default(), &[shard]).await?;
        let oids = column_types(&cursor.description);
        if oids.is_empty() || rows.is_empty() {
            return Ok(rows.iter().flat_map(|row| row.iter().copied()).collect());
        }
        if cursor.types.is_none() {
            let names: Vec<String> =
                oids.iter().map(|(oid, modifier)| format!("pg_catalog.format_type({oid}, {modifier})")).collect();
            let ask = Ask { formats: vec![0], ..Ask::new(shard, format!("SELECT {}", names.join(", "))) };
            let replies = self.ask_shards(vec![ask]).await?;
            let named = match replies.first() {
                Some(reply) => reply.values()?.into_iter().next().unwrap_or_default(),
                None => Vec::new(),
            };
            let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
            cursor.types = Some(named.into_iter().map(text).collect());
        }
        let types = cursor.types.as_deref().unwrap_or_default();
        let numbered = |word: &str| (0..oids.len()).map(|n| format!("{word}{n}")).collect::<Vec<_>>();
        let casts: Vec<String> = types.iter().enumerate().map(|(n, name)| format!("v{n}::{name}")).collect();
        let arrays: Vec<String> = (1..=oids.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT {} FROM unnest({}) WITH ORDINALITY AS rows ({}, place) ORDER BY place",
            casts.join(", "),
            arrays.join(", "),
            numbered("v").join(", ")
        );
        let values = columns(rows, oids.len())?.into_iter().map(|array| (Format::Binary, Some(array))).collect();
        let ask =
            Ask { types: vec![oid::TEXT_ARRAY; oids.len()], values, formats: formats.to_vec(), ..Ask::new(shard, sql) };
        let reply = self.ask_shards(vec![ask]).await?.pop();
        Ok(reply.map(|reply| reply.rows).unwrap_or_default())
    }
}

/// Type and modifier of each column of a whole RowDescription.
fn column_types(description: &[u8]) -> Vec<(u32, i32)> {
    let mut types = Vec::new();
    let mut at = HEADER + 2;
    while let Some(end) = description.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) {
        // Table and column come first, then type, size, modifier and format.
        let facts = at + end + 1 + 6;
        let Some(&[a, b, c, d, _, _, e, f, g, h]) = description.get(facts..).and_then(|rest| rest.first_chunk::<10>())
        else {
            break;
        };
        types.push((u32::from_be_bytes([a, b, c, d]), i32::from_be_bytes([e, f, g, h])));
        at = facts + 12;
    }
    types
}

/// The values of each column as an array of text in binary form.
fn columns(rows: &[Bytes], count: usize) -> Result<Vec<Bytes>, PgError> {
    let mut arrays: Vec<BytesMut> = (0..count)
        .map(|_| {
            let mut array = BytesMut::new();
            array.put_i32(1);
            array.put_i32(1);
            array.put_u32(oid::TEXT);
            array.put_i32(rows.len() as i32);
            array.put_i32(1);
            array
        })
        .collect();
    for row in rows {
        let values = answer::row_values(row.get(HEADER..).unwrap_or_default())?;
        for (array, value) in arrays.iter_mut().zip(values) {
            match value {
                None => array.put_i32(-1),
                Some(value) => {
                    array.put_i32(value.len() as i32);
                    array.put_slice(value);
                }
            }
        }
    }
    Ok(arrays.into_iter().map(BytesMut::freeze).collect())
}
