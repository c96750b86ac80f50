//! RowDescriptions: the shards' compared, the client's made of them (protocol section "Message Formats").

use bytes::{BufMut, BytesMut};

use crate::error::PgError;
use crate::protocol::answer::tag;
use crate::protocol::encode;
use crate::sqlstate::SqlState;
use crate::types::Oid;

/// Numbers below are the same on all servers (`FirstNormalObjectId`, `src/include/access/transam.h`).
const FIRST_OF_USERS: Oid = 16_384;
/// Table, column, type, length, modifier, format: what follows a column's name.
const AFTER_NAME: usize = 18;

/// A shard's columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Description {
    /// In order.
    pub columns: Vec<Column>,
}

/// A column as it was described.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    name: Vec<u8>,
    rest: [u8; AFTER_NAME],
}

impl Column {
    /// Its type.
    pub fn oid(&self) -> Oid {
        Oid::from_be_bytes([self.rest[6], self.rest[7], self.rest[8], self.rest[9]])
    }
}

impl Description {
    /// Reads a message's body; none if it is not one.
    pub fn read(body: &[u8]) -> Option<Description> {
        let (count, mut rest) = body.split_first_chunk::<2>()?;
        let count = usize::from(u16::from_be_bytes(*count));
        let mut columns = Vec::with_capacity(count.min(rest.len() / (AFTER_NAME + 1)));
        for _ in 0..count {
            let end = rest.iter().position(|byte| *byte == 0)?;
            let (fields, after) = rest[end + 1..].split_first_chunk::<AFTER_NAME>()?;
            columns.push(Column { name: rest[..end].to_vec(), rest: *fields });
            rest = after;
        }
        rest.is_empty().then_some(Description { columns })
    }

    /// The message for the client: the first `visible` columns in the formats that it asked for.
    pub fn message(&self, visible: usize, format: impl Fn(usize) -> i16) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u8(tag::ROW_DESCRIPTION);
        out.put_u32(0);
        out.put_u16(visible as u16);
        for (index, column) in self.columns.iter().take(visible).enumerate() {
            out.put_slice(&column.name);
            out.put_u8(0);
            out.put_slice(&column.rest[..AFTER_NAME - 2]);
            out.put_i16(format(index));
        }
        let length = (out.len() - 1) as u32;
        out[1..5].copy_from_slice(&length.to_be_bytes());
        out
    }
}

/// The types of the columns of a RowDescription's body; none if it is not one.
pub fn column_types(body: &[u8]) -> Option<Vec<Oid>> {
    Description::read(body).map(|description| description.columns.iter().map(Column::oid).collect())
}

/// NoData for the client.
pub(super) fn no_data() -> BytesMut {
    let mut out = BytesMut::new();
    encode::no_data(&mut out);
    out
}

/// What keeps two shards' answers from being one.
pub(super) fn compare(
    first: Option<&Description>,
    first_name: &str,
    other: Option<&Description>,
    other_name: &str,
) -> Result<(), PgError> {
    let difference = match (first, other) {
        (None, None) => return Ok(()),
        (Some(first), Some(other)) => match difference(first, other) {
            None => return Ok(()),
            Some(difference) => difference,
        },
        (Some(_), None) => "The first returns rows, the second does not.".to_owned(),
        (None, Some(_)) => "The second returns rows, the first does not.".to_owned(),
    };
    Err(PgError::new(
        SqlState::INTERNAL_ERROR,
        format!("shards \"{first_name}\" and \"{other_name}\" describe the result differently"),
    )
    .with_detail(difference)
    .with_hint("Give the tables the same columns on all shards: \"goldseam check\" shows where they differ."))
}

fn difference(first: &Description, other: &Description) -> Option<String> {
    if first.columns.len() != other.columns.len() {
        return Some(format!("The first has {} columns, the second {}.", first.columns.len(), other.columns.len()));
    }
    first.columns.iter().zip(&other.columns).enumerate().find_map(|(index, (one, two))| {
        let place = index + 1;
        if one.name != two.name {
            let [one, two] = [one, two].map(|column| String::from_utf8_lossy(&column.name).into_owned());
            return Some(format!("Column {place} is \"{one}\" on the first, \"{two}\" on the second."));
        }
        // Types that users made have numbers of their own on each server.
        let own = one.oid() >= FIRST_OF_USERS && two.oid() >= FIRST_OF_USERS;
        (one.oid() != two.oid() && !own).then(|| {
            let [one, two] = [one, two].map(|column| super::types::name(column.oid()));
            format!("Column {place} is of type {one} on the first, of type {two} on the second.")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(columns: &[(&str, Oid)]) -> BytesMut {
        let mut out = BytesMut::new();
        encode::row_description_typed(&mut out, columns.iter().map(|(name, oid)| (*name, *oid, 0)));
        out.split_off(5)
    }

    #[test]
    fn a_description_without_its_hidden_columns_is_what_was_read() {
        let whole = body(&[("a", 23), ("b", 25), ("h", 20)]);
        let read = Description::read(&whole).unwrap();
        let cut = read.message(2, |_| 0);
        assert_eq!(&cut[5..], &body(&[("a", 23), ("b", 25)])[..]);
        assert_eq!(cut.len(), 1 + u32::from_be_bytes([cut[1], cut[2], cut[3], cut[4]]) as usize);
        let binary = Description::read(&read.message(2, |_| 1)[5..]).unwrap();
        assert_eq!(binary.columns[1].rest[16..], [0, 1]);
    }

    #[test]
    fn differences_are_named() {
        let said = |one: &[(&str, Oid)], two: &[(&str, Oid)]| {
            let [one, two] = [one, two].map(|columns| Description::read(&body(columns)));
            compare(one.as_ref(), "s0", two.as_ref(), "s1").err().and_then(|error| error.detail)
        };
        assert_eq!(said(&[("a", 23)], &[("a", 23)]), None);
        assert_eq!(said(&[("a", 20_000)], &[("a", 30_000)]), None);
        assert_eq!(said(&[], &[("a", 23)]).unwrap(), "The first has 0 columns, the second 1.");
        assert_eq!(said(&[("a", 23)], &[("b", 23)]).unwrap(), "Column 1 is \"a\" on the first, \"b\" on the second.");
        assert_eq!(
            said(&[("a", 23)], &[("a", 20_000)]).unwrap(),
            "Column 1 is of type int4 on the first, of type number 20000 on the second."
        );
        assert!(compare(None, "s0", Description::read(&body(&[])).as_ref(), "s1").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            let _ = Description::read(&body).map(|read| read.message(3, |_| 0));
        }

        #[test]
        fn a_body_that_is_cut_off_is_none(end in 0_usize..43) {
            let whole = body(&[("a", 23), ("bc", 25)]);
            proptest::prop_assert!(Description::read(&whole[..end.min(whole.len() - 1)]).is_none());
        }
    }
}
