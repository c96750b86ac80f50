//! What the merge knows of PostgreSQL's types, one line for each. What has no line, or no key in it, is left to a
//! server.
//!
//! Only built-in types are here: the numbers of all others differ from shard to shard, and an enum's order is not that
//! of its labels.

use super::key::{self, Encode};
use crate::types::Oid;

/// A built-in type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    /// Its number.
    pub oid: Oid,
    /// Its name in SQL.
    pub name: &'static str,
    /// The type of its arrays.
    pub array: Oid,
    /// The key of its order and its equality, if the proxy knows both.
    pub encode: Option<Encode>,
    /// Its order is a collation's, and that of the key only if the collation compares bytes.
    pub collates: bool,
}

/// A type with order and equality.
const fn known(oid: Oid, name: &'static str, array: Oid, encode: Encode) -> Type {
    Type { oid, name, array, encode: Some(encode), collates: false }
}

/// A type of text.
const fn text(oid: Oid, name: &'static str, array: Oid, encode: Encode) -> Type {
    Type { oid, name, array, encode: Some(encode), collates: true }
}

/// A type that only passes through.
const fn opaque(oid: Oid, name: &'static str, array: Oid) -> Type {
    Type { oid, name, array, encode: None, collates: false }
}

/// In the order of their numbers (`src/include/catalog/pg_type.dat`).
const TYPES: &[Type] = &[
    known(16, "bool", 1000, key::boolean),
    known(17, "bytea", 1001, key::bytes),
    known(18, "\"char\"", 1002, key::unsigned::<1>),
    text(19, "name", 1003, key::bytes),
    known(20, "int8", 1016, key::signed::<8>),
    known(21, "int2", 1005, key::signed::<2>),
    known(23, "int4", 1007, key::signed::<4>),
    text(25, "text", 1009, key::bytes),
    known(26, "oid", 1028, key::unsigned::<4>),
    opaque(27, "tid", 1010),
    opaque(28, "xid", 1011),
    opaque(29, "cid", 1012),
    opaque(114, "json", 199),
    opaque(142, "xml", 143),
    opaque(600, "point", 1017),
    opaque(601, "lseg", 1018),
    opaque(602, "path", 1019),
    opaque(603, "box", 1020),
    opaque(604, "polygon", 1027),
    opaque(628, "line", 629),
    known(650, "cidr", 651, key::network),
    known(700, "float4", 1021, key::float4),
    known(701, "float8", 1022, key::float8),
    opaque(718, "circle", 719),
    known(774, "macaddr8", 775, key::unsigned::<8>),
    known(790, "money", 791, key::signed::<8>),
    known(829, "macaddr", 1040, key::unsigned::<6>),
    known(869, "inet", 1041, key::network),
    text(1042, "bpchar", 1014, key::blank_padded),
    text(1043, "varchar", 1015, key::bytes),
    known(1082, "date", 1182, key::signed::<4>),
    known(1083, "time", 1183, key::signed::<8>),
    known(1114, "timestamp", 1115, key::signed::<8>),
    known(1184, "timestamptz", 1185, key::signed::<8>),
    known(1186, "interval", 1187, key::interval),
    known(1266, "timetz", 1270, key::time_with_zone),
    known(1560, "\"bit\"", 1561, key::bits),
    known(1562, "varbit", 1563, key::bits),
    known(1700, "numeric", 1231, key::numeric),
    known(2950, "uuid", 2951, key::unsigned::<16>),
    known(3220, "pg_lsn", 3221, key::unsigned::<8>),
    opaque(3614, "tsvector", 3643),
    opaque(3615, "tsquery", 3645),
    opaque(3802, "jsonb", 3807),
    opaque(3904, "int4range", 3905),
    opaque(3906, "numrange", 3907),
    opaque(3908, "tsrange", 3909),
    opaque(3910, "tstzrange", 3911),
    opaque(3912, "daterange", 3913),
    opaque(3926, "int8range", 3927),
    opaque(4072, "jsonpath", 4073),
    opaque(4451, "int4multirange", 6150),
    opaque(4532, "nummultirange", 6151),
    opaque(4533, "tsmultirange", 6152),
    opaque(4534, "tstzmultirange", 6153),
    opaque(4535, "datemultirange", 6155),
    opaque(4536, "int8multirange", 6157),
    known(5069, "xid8", 271, key::unsigned::<8>),
];

/// What is known of a type.
pub(super) fn find(oid: Oid) -> Option<&'static Type> {
    TYPES.binary_search_by_key(&oid, |kind| kind.oid).ok().map(|at| &TYPES[at])
}

/// The name of a built-in type, within `pg_catalog`, and whether it is that of arrays of it that has this number. None: a type that no line
/// is about.
pub fn builtin(oid: Oid) -> Option<(&'static str, bool)> {
    match find(oid) {
        Some(kind) => Some((kind.name, false)),
        None => TYPES.iter().find(|kind| kind.array == oid).map(|kind| (kind.name, true)),
    }
}

/// A type's name in messages.
pub(super) fn name(oid: Oid) -> String {
    find(oid).map_or_else(|| format!("number {oid}"), |kind| kind.name.to_owned())
}

/// The key of a type's equality. Text is equal if its bytes are, under every deterministic collation.
pub(super) fn equality(oid: Oid) -> Option<Encode> {
    find(oid)?.encode
}

/// The key of a type's order; `bytewise`: the collation, if there is one, compares bytes.
pub(super) fn order(oid: Oid, bytewise: bool) -> Option<Encode> {
    find(oid).filter(|kind| bytewise || !kind.collates)?.encode
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_sorted_for_the_search() {
        assert!(TYPES.is_sorted_by_key(|kind| kind.oid));
        assert_eq!(find(1700).map(|kind| kind.name), Some("numeric"));
        assert!(find(16_384).is_none() && order(25, false).is_none() && order(25, true).is_some());
    }
}
