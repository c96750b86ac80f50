//! The proof's tables as the maker of statements knows them.

/// What may be done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Numeric,
    Float,
    Text,
    Date,
    Time,
    Bool,
    Interval,
    /// Has an order, nothing else.
    Sorted,
    /// Has not even equality.
    Opaque,
}

use Kind::*;

/// A table: name, family of co-located tables (0: reference, -1: unsharded), shard key, primary key, columns.
pub type Table = (&'static str, i8, &'static [&'static str], &'static [&'static str], &'static [(&'static str, Kind)]);

pub const TABLES: &[Table] = &[
    (
        "buyer",
        1,
        &["id"],
        &["id"],
        &[
            ("id", Int),
            ("name", Text),
            ("nick", Text),
            ("email", Text),
            ("region", Text),
            ("mood", Sorted),
            ("joined", Date),
            ("score", Numeric),
            ("active", Bool),
            ("tags", Sorted),
            ("level", Int),
            ("balance", Float),
            ("share", Numeric),
        ],
    ),
    (
        "sale",
        1,
        &["buyer_id"],
        &["buyer_id", "id"],
        &[
            ("buyer_id", Int),
            ("id", Int),
            ("amount", Numeric),
            ("qty", Int),
            ("placed", Time),
            ("status", Text),
            ("ref", Sorted),
            ("weight", Float),
        ],
    ),
    (
        "item",
        1,
        &["buyer_id"],
        &["buyer_id", "sale_id", "n"],
        &[
            ("buyer_id", Int),
            ("sale_id", Int),
            ("n", Int),
            ("product", Text),
            ("price", Numeric),
            ("discount", Float),
            ("units", Numeric),
        ],
    ),
    (
        "thing",
        2,
        &["id"],
        &["id"],
        &[
            ("id", Int),
            ("grp", Int),
            ("num", Numeric),
            ("dec", Numeric),
            ("f4", Float),
            ("f8", Float),
            ("t", Text),
            ("vc", Text),
            ("ch", Text),
            ("nm", Text),
            ("by", Sorted),
            ("b", Bool),
            ("d", Date),
            ("ti", Sorted),
            ("tz", Sorted),
            ("ts", Time),
            ("tstz", Time),
            // Not `iv`: of equal intervals that are written differently (1 mon, 30 days) any may stand for the group.
            ("u", Sorted),
            ("j", Opaque),
            ("jb", Sorted),
            ("ia", Sorted),
            ("ta", Sorted),
            ("mood", Sorted),
            ("ip", Sorted),
            ("net", Sorted),
            ("mac", Sorted),
            ("cash", Sorted),
            ("bits", Sorted),
            ("vb", Sorted),
            ("r", Sorted),
            ("nr", Sorted),
            ("p", Opaque),
            ("c", Sorted),
            ("o", Sorted),
        ],
    ),
    ("lone", 2, &["id"], &["id"], &[("id", Int), ("v", Int), ("t", Text)]),
    ("blank", 2, &["id"], &["id"], &[("id", Int), ("v", Int), ("n", Numeric), ("f", Float), ("t", Text), ("b", Bool)]),
    (
        "reading",
        3,
        &["day"],
        &["day", "id"],
        &[("day", Date), ("id", Int), ("sensor", Text), ("value", Float), ("level", Numeric)],
    ),
    (
        "page",
        4,
        &["tenant"],
        &["tenant", "id"],
        &[("tenant", Text), ("id", Int), ("title", Text), ("words", Int), ("made", Time)],
    ),
    ("account", 5, &["name"], &["name"], &[("name", Text), ("owner", Int), ("opened", Date), ("amount", Numeric)]),
    ("office", 6, &["country"], &["country", "id"], &[("country", Text), ("id", Int), ("city", Text), ("staff", Int)]),
    (
        "ledger",
        7,
        &["book", "number"],
        &["book", "number", "line"],
        &[("book", Text), ("number", Int), ("line", Int), ("amount", Numeric), ("memo", Text)],
    ),
    ("parcel", 8, &["id"], &["id"], &[("id", Sorted), ("grams", Int), ("sent", Time), ("note", Text)]),
    ("region", 0, &[], &["code"], &[("code", Text), ("name", Text), ("rank", Int), ("zone", Text)]),
    ("currency", 0, &[], &["code"], &[("code", Text), ("rate", Numeric), ("digits", Int)]),
    ("setting", -1, &[], &["name"], &[("name", Text), ("value", Text), ("n", Int)]),
];

/// Something in FROM.
#[derive(Debug, Clone)]
pub struct Source {
    pub alias: String,
    pub family: i8,
    pub key: Vec<String>,
    pub unique: Vec<String>,
    pub columns: Vec<(String, Kind)>,
}
