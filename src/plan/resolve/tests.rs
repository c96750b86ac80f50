//! Routes, values, and where they lead: as sentences, and against every key there is.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;

use crate::plan::gather::{Gather, Hidden, Merge, Window};
use crate::plan::{Edge, KeyColumn, KeySet, KeySource, Origin, Requirement, Route, Target, Values};
use crate::types::key::DecodeContext;
use crate::types::{Key, KeyType, KeyspaceId, Raw, ShardId, VindexId, oid};
use crate::vindex::Placement;
use crate::vschema::{self, Vschema};

const LAYOUT: &str = r#"
[keyspace.k]
shards = ["s3", "s0", "s1", "s2"]
[keyspace.other]
shards = ["s0", "s1"]
[vindex.hash]
type = "hash"
[vindex.range]
type = "range"
ranges = [ { to = 10, shard = "s0" }, { to = 20, shard = "s1" }, { to = 30, shard = "s2" }, { shard = "s0" } ]
[vindex.list]
type = "list"
lists = [ { values = [1, 2], shard = "s1" }, { values = [3], shard = "s2" } ]
[vindex.directory]
type = "directory"
default = "least_loaded"
"#;

const UTC: DecodeContext = DecodeContext { utc: true, iso: true };

fn layout() -> Vschema {
    let names: Vec<String> = (0..4).map(|n| format!("s{n}")).collect();
    let tables: String = ["hash", "range", "list", "directory"]
        .iter()
        .map(|name| format!("[table.by_{name}]\nkeyspace = \"k\"\nshard_key = \"id\"\nvindex = \"{name}\"\n"))
        .collect();
    let file = format!("{LAYOUT}\n{tables}[table.copies]\nkeyspace = \"other\"\ntype = \"reference\"\n");
    vschema::load(&[("test.toml".into(), file)], &names).unwrap()
}

/// All values stand in the plan.
struct Nothing;

impl Values for Nothing {
    fn literal(&self, _: u16) -> Option<Raw<'_>> {
        None
    }
    fn parameter(&self, _: u16) -> Option<Raw<'_>> {
        None
    }
}

fn source(text: &str) -> KeySource {
    let raw = match text {
        "NULL" => Raw::Null,
        text => Raw::Text { text: Cow::Owned(text.to_string()), oid: oid::UNKNOWN },
    };
    KeySource { origin: Origin::Constant(raw), negate: false, cast: None, doubtful: false }
}

/// `= 1`, `in 1,2`, `>= 1`, `1..5`, joined by ` and ` within ` or `; `*` is everything.
fn set(text: &str) -> KeySet {
    let alternatives: Vec<&str> = text.split(" or ").collect();
    if alternatives.len() > 1 {
        return KeySet::Any(alternatives.into_iter().map(set).collect());
    }
    let terms: Vec<&str> = text.split(" and ").collect();
    if terms.len() > 1 {
        return KeySet::all(terms.into_iter().map(set));
    }
    let edge = |at: &str, inclusive| Some(Edge { at: source(at), inclusive });
    let (lower, upper) = match text.split_once(' ') {
        None if text == "*" => return KeySet::EVERYTHING,
        None => match text.split_once("..") {
            Some((low, high)) => (edge(low, true), edge(high, true)),
            None => panic!("no set: {text}"),
        },
        Some(("=", value)) => return KeySet::Values(vec![source(value)]),
        Some(("in", values)) => return KeySet::Values(values.split(',').map(source).collect()),
        Some(("any", array)) => return KeySet::Array(source(array)),
        Some((">", value)) => (edge(value, false), None),
        Some((">=", value)) => (edge(value, true), None),
        Some(("<", value)) => (None, edge(value, false)),
        Some(("<=", value)) => (None, edge(value, true)),
        Some(_) => panic!("no set: {text}"),
    };
    KeySet::Range { lower, upper }
}

fn requirement(vschema: &Vschema, vindex: &str, values: KeySet, key_type: KeyType, insert: bool) -> Requirement {
    let at = vschema.vindexes.iter().position(|known| known.name == vindex).unwrap();
    Requirement {
        table: format!("by_{vindex}"),
        keyspace: keyspace(vschema, "k"),
        vindex: VindexId(at as u16),
        columns: vec![KeyColumn { name: "id".into(), key_type, values }],
        insert,
    }
}

fn keyspace(vschema: &Vschema, name: &str) -> KeyspaceId {
    KeyspaceId(vschema.keyspaces.iter().position(|known| known.name == name).unwrap() as u16)
}

fn gather(vschema: &Vschema) -> Arc<Gather> {
    Arc::new(Gather {
        keyspace: keyspace(vschema, "k"),
        text: None,
        hidden: Hidden::Last(0),
        merge: Merge::Concat,
        window: Window::default(),
    })
}

fn shown(target: &Target<'_>, vschema: &Vschema) -> String {
    let names = |shards: &[ShardId]| shards.iter().map(|id| vschema.shard_name(*id)).collect::<Vec<_>>().join(" ");
    match target {
        Target::Shard(shard) => vschema.shard_name(*shard).to_string(),
        Target::Shards { shards, rows } if rows.is_empty() => names(shards),
        Target::Shards { shards, rows } => format!("{} rows {rows:?}", names(shards)),
        Target::Any(Some(shards)) => format!("any of {}", names(shards)),
        Target::Directory { key, insert, .. } => {
            format!("directory {}{}", key.to_text(), if *insert { "!" } else { "" })
        }
        other => format!("{other:?}"),
    }
}

/// Each line: how (`gather`, `alone`, `insert`), what is required of which vindex, `=>`, where it goes.
const CASES: &str = "
# One value leads to one shard, gather or not.
alone | range = 15 => s1
gather | range = 15 => s1
# Several values lead to several shards, in the keyspace's order.
gather | range in 25,15,5 => s0 s1 s2
gather | range any {25,15} => s1 s2
alone | range in 25,15 => 0A000 statement needs rows of several shards
# Values of one shard.
alone | range in 11,12,19 => s1
# Keys that match nothing: any shard says so.
alone | range = NULL => any of s3 s0 s1 s2
gather | range = NULL => any of s3 s0 s1 s2
gather | range in NULL,15 => s1
# Nothing is known: all shards.
gather | range * => s3 s0 s1 s2
gather => s3 s0 s1 s2
alone | range * => 0A000 statement needs rows of several shards
# Ranges.
alone | range 11..19 => s1
alone | range 11..20 => 0A000 statement needs rows of several shards
gather | range 11..20 => s1 s2
gather | range < 10 => s0
gather | range <= 10 => s0 s1
gather | range > 9 and range < 20 => s1
gather | range > 19 => s0 s2
gather | range >= 30 => s0
gather | range > 9223372036854775807 => any of s3 s0 s1 s2
gather | range < NULL => any of s3 s0 s1 s2
gather | range 20..10 => any of s3 s0 s1 s2
# Every requirement restricts the whole: what they have in common.
gather | range in 5,15 | range in 15,25 => s1
gather | range in 5 | range in 25 => any of s3 s0 s1 s2
gather | hash * | range in 5,25 => s0 s2
alone | range = 5 | range = 25 => 0A000 statement needs rows of several shards
# Where only all of them together restrict the whole: any of them.
apart | range in 5,15 | range in 15,25 => s0 s1 s2
apart | range = 5 | range = 6 => s0
apart | range = 5 | range * => s3 s0 s1 s2
apart | range = NULL | range = 5 => s0
apart | directory = 7 | directory = 7 => directory 7
apart | directory = 7 | directory = 8 => s3 s0 s1 s2
apart | directory = 7 | range = 5 => s3 s0 s1 s2
# What holds together for one column is intersected, alternatives are joined.
alone | range in 5,15 and range in 15,25 => s1
gather | range = 5 or range 21..22 => s0 s2
gather | range = 5 and range = 15 or range = 25 => s2
# What cannot be read narrows nothing where all shards are an answer too, and is refused where one must do.
gather | range = 1_000 => s3 s0 s1 s2
alone | range = 1_000 => 0A000 value for shard key \"id\" of table \"by_range\" cannot be read with certainty
gather | range < 1_000 => s3 s0 s1 s2
gather | range < 1_000 and range in 5,15 => s0 s1
alone | range < 1_000 and range = 5 => s0
alone | range < 1_000 and range in 5,15 => 0A000 value for shard key \"id\" of table \"by_range\" cannot be read with certainty
gather | range < 1_000 or range = 5 => s3 s0 s1 s2
gather | range > 10 and range < 1_000 => s0 s1 s2
alone | range >= 30 and range < 1_000 => s0
alone | range > 10 and range < 1_000 => 0A000 value for shard key \"id\" of table \"by_range\" cannot be read with certainty
# A fraction among integers equals none of them, and says nothing of less and more.
gather | range = 5.5 => any of s3 s0 s1 s2
# A vindex without order covers everything.
gather | hash 1..2 => s3 s0 s1 s2
gather | list < 2 => s3 s0 s1 s2
gather | list in 1,2 => s1
gather | list in 1,3,9 => s1 s2
# Directories: one key is looked up, of several every shard may have rows.
alone | directory = 7 => directory 7
gather | directory = 7 => directory 7
gather | directory in 7,7 => directory 7
gather | directory in 7,8 => s3 s0 s1 s2
alone | directory in 7,8 => 0A000 statement needs several keys of a directory
gather | directory in 7,8 | directory = 7 => directory 7
# Rows of INSERT.
insert | range in 5,15,6 => s0 s1 rows [0, 1, 0]
insert | range in 25,5,26,15 => s0 s1 s2 rows [2, 0, 2, 1]
insert | range in 5,6 => s0
insert | range in 5,NULL => 23502 null value in column \"id\" of relation \"by_range\" violates not-null constraint
insert | range in 5,1_000 => 0A000 value for shard key \"id\" of table \"by_range\" cannot be read with certainty
insert | range in 5,x,15 => s0
insert | list in 1,9 => 23514 no shard found for row of table \"by_list\"
insert | directory in 7,7 => directory 7!
insert | directory in 7,8 => 0A000 statement needs several keys of a directory
";

#[test]
fn routes_lead_where_the_sentence_says() {
    let vschema = layout();
    let mut count = 0;
    for line in CASES.lines().filter(|line| line.contains("=>")) {
        let (head, expected) = line.split_once("=>").unwrap();
        let mut parts = head.split(" | ").map(str::trim);
        let how = parts.next().unwrap();
        let keyed = parts
            .map(|part| {
                let vindex = part.split(' ').next().unwrap();
                let values = set(&part.replace(&format!("{vindex} "), ""));
                requirement(&vschema, vindex, values, KeyType::Int8, how == "insert")
            })
            .collect();
        let gather = (how != "alone").then(|| gather(&vschema));
        let route = Route { keyed, gather, apart: how == "apart", ..Route::default() };
        let found = match route.resolve(&Nothing, &vschema, &UTC) {
            Ok(target) => shown(&target, &vschema),
            Err(error) => format!("{} {}", error.code, error.message),
        };
        assert_eq!(found, expected.trim(), "{line}");
        count += 1;
    }
    assert!(count > 55, "{count}");
}

#[test]
fn every_shard_needs_the_copies_that_are_read() {
    let vschema = layout();
    let route = |values: &str| Route {
        keyspaces: vec![keyspace(&vschema, "other")],
        keyed: vec![requirement(&vschema, "range", set(values), KeyType::Int8, false)],
        gather: Some(gather(&vschema)),
        ..Route::default()
    };
    assert!(matches!(route("in 5,15").resolve(&Nothing, &vschema, &UTC), Ok(Target::Shards { .. })));
    let error = route("in 5,25").resolve(&Nothing, &vschema, &UTC).unwrap_err();
    assert_eq!(
        error.detail.unwrap(),
        "by_range leads to shard s2, which has no copy of that keyspace's reference tables."
    );
    assert!(route("*").resolve(&Nothing, &vschema, &UTC).is_err());
}

#[test]
fn why_one_shard_must_do_is_told() {
    let vschema = layout();
    let route = Route {
        keyed: vec![requirement(&vschema, "range", set("in 5,15"), KeyType::Int8, false)],
        alone: Some(Box::new(crate::error::PgError::unsupported("LIMIT inside"))),
        ..Route::default()
    };
    assert_eq!(route.resolve(&Nothing, &vschema, &UTC).unwrap_err().message, "LIMIT inside");
    let beside = Route { fixed: Some(ShardId(0)), gather: Some(gather(&vschema)), ..route };
    assert_eq!(beside.resolve(&Nothing, &vschema, &UTC).unwrap_err().message, "LIMIT inside");
}

/// The n-th value of a type, in the order of the type: as text, and as a key.
fn nth(key_type: KeyType, n: i64) -> (String, Key<'static>) {
    let text = match key_type {
        KeyType::Date => crate::types::civil::date_text(n as i32 * 40),
        KeyType::Timestamp | KeyType::Timestamptz => {
            let text = crate::types::civil::timestamp_text(n * 40_000_000_000 + 1);
            if key_type == KeyType::Timestamptz { text + "+00" } else { text }
        }
        KeyType::Numeric => format!("{n}.5"),
        KeyType::Uuid => format!("{:08x}-0000-0000-0000-000000000000", n + 100),
        _ => n.to_string(),
    };
    let raw = Raw::Text { text: Cow::Borrowed(text.as_str()), oid: oid::UNKNOWN };
    match crate::types::decode::decode(&raw, key_type, &UTC).into_owned() {
        crate::types::Match::Key(key) => (text.clone(), key),
        other => panic!("{text}: {other:?}"),
    }
}

/// A condition as a tree, to be judged with and without a vindex.
#[derive(Debug, Clone)]
enum Term {
    In(Vec<i64>),
    Between(Option<(i64, bool)>, Option<(i64, bool)>),
    Or(Vec<Term>),
    And(Vec<Term>),
}

impl Term {
    fn set(&self, key_type: KeyType) -> KeySet {
        let value = |n: &i64| source(&nth(key_type, *n).0);
        let edge = |end: &Option<(i64, bool)>| end.map(|(n, inclusive)| Edge { at: value(&n), inclusive });
        match self {
            Term::In(values) => KeySet::Values(values.iter().map(value).collect()),
            Term::Between(lower, upper) => KeySet::Range { lower: edge(lower), upper: edge(upper) },
            Term::Or(terms) => KeySet::Any(terms.iter().map(|term| term.set(key_type)).collect()),
            Term::And(terms) => KeySet::all(terms.iter().map(|term| term.set(key_type))),
        }
    }

    fn holds(&self, n: i64) -> bool {
        match self {
            Term::In(values) => values.contains(&n),
            Term::Between(lower, upper) => {
                lower.is_none_or(|(low, inclusive)| n > low || (inclusive && n == low))
                    && upper.is_none_or(|(high, inclusive)| n < high || (inclusive && n == high))
            }
            Term::Or(terms) => terms.iter().any(|term| term.holds(n)),
            Term::And(terms) => terms.iter().all(|term| term.holds(n)),
        }
    }
}

fn term() -> impl Strategy<Value = Term> {
    let end = || proptest::option::of((-25i64..25, any::<bool>()));
    let leaf = prop_oneof![
        proptest::collection::vec(-25i64..25, 1..4).prop_map(Term::In),
        (end(), end()).prop_map(|(lower, upper)| Term::Between(lower, upper)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 1..4);
        prop_oneof![several().prop_map(Term::Or), several().prop_map(Term::And)]
    })
}

fn ranges(key_type: KeyType, bounds: &[i64]) -> Vschema {
    let names: Vec<String> = (0..5).map(|n| format!("s{n}")).collect();
    let mut list = String::new();
    for (at, bound) in bounds.iter().enumerate() {
        list += &format!("{{ to = \"{}\", shard = \"s{}\" }}, ", nth(key_type, *bound).0, at % 5);
    }
    let file = format!(
        "[keyspace.k]\nshards = [\"s0\", \"s1\", \"s2\", \"s3\", \"s4\"]\n[vindex.range]\ntype = \"range\"\nkey_type = \"{}\"\n\
         ranges = [{list}{{ shard = \"s{}\" }}]\n[table.by_range]\nkeyspace = \"k\"\nshard_key = \"id\"\nvindex = \"range\"\n",
        key_type.name(),
        bounds.len() % 5
    );
    vschema::load(&[("test.toml".into(), file)], &names).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the condition, a shard with a key that fulfils it is among the shards; and a list's or range's shards have one.
    #[test]
    fn no_shard_with_a_matching_key_is_left_out(
        bounds in proptest::collection::btree_set(-24i64..24, 0..7),
        term in term(),
        key_type in proptest::sample::select(vec![
            KeyType::Int2, KeyType::Int8, KeyType::Numeric, KeyType::Date, KeyType::Timestamp, KeyType::Timestamptz, KeyType::Uuid,
        ]),
    ) {
        let bounds: Vec<i64> = bounds.into_iter().collect();
        let vschema = ranges(key_type, &bounds);
        let route = Route {
            keyed: vec![requirement(&vschema, "range", term.set(key_type), key_type, false)],
            gather: Some(gather(&vschema)),
            ..Route::default()
        };
        let shards: Vec<ShardId> = match route.resolve(&Nothing, &vschema, &UTC).unwrap() {
            Target::Shard(shard) => vec![shard],
            Target::Shards { shards, .. } => shards,
            Target::Any(_) => Vec::new(),
            other => panic!("{other:?}"),
        };
        let mut needed = std::collections::BTreeSet::new();
        for n in -40..40 {
            if term.holds(n) {
                let Placement::Shard(shard) = vschema.vindexes[0].vindex.place(&[nth(key_type, n).1]) else { panic!() };
                needed.insert(shard);
                prop_assert!(shards.contains(&shard), "{} at {n} is on {shard:?}, not among {shards:?}", key_type.name());
            }
        }
        // A list's keys are all there, and whole numbers leave no room between two of them.
        let exact = match &term {
            Term::In(_) => true,
            Term::Between(Some((low, true)), Some((high, true))) => low <= high && key_type == KeyType::Int8,
            _ => false,
        };
        if exact {
            prop_assert_eq!(needed.len(), shards.len());
        }
    }

    /// Without a gather a range that leads to one shard leads there, and otherwise nowhere.
    #[test]
    fn one_shard_is_the_same_with_and_without_a_gather(bounds in proptest::collection::btree_set(-24i64..24, 0..7), term in term()) {
        let bounds: Vec<i64> = bounds.into_iter().collect();
        let vschema = ranges(KeyType::Int8, &bounds);
        let keyed = vec![requirement(&vschema, "range", term.set(KeyType::Int8), KeyType::Int8, false)];
        let together = Route { keyed, ..Route::default() };
        let spread = Route { gather: Some(gather(&vschema)), ..together.clone() };
        match (together.resolve(&Nothing, &vschema, &UTC), spread.resolve(&Nothing, &vschema, &UTC).unwrap()) {
            (Ok(one), other) => prop_assert_eq!(one, other),
            (Err(_), other) => prop_assert!(matches!(other, Target::Shards { .. }), "{:?}", other),
        }
    }
}

/// The order of text is that of its bytes.
#[test]
fn text_ranges_cover_what_is_between() {
    let names: Vec<String> = (0..3).map(|n| format!("s{n}")).collect();
    let file = "[keyspace.k]\nshards = [\"s0\", \"s1\", \"s2\"]\n[vindex.range]\ntype = \"range\"\nkey_type = \"text\"\n\
        ranges = [{ to = \"Z\", shard = \"s0\" }, { to = \"é\", shard = \"s1\" }, { shard = \"s2\" }]\n\
        [table.by_range]\nkeyspace = \"k\"\nshard_key = \"id\"\nvindex = \"range\"\n";
    let vschema = vschema::load(&[("test.toml".into(), file.into())], &names).unwrap();
    let target = |values: &str| {
        let keyed = vec![requirement(&vschema, "range", set(values), KeyType::Text, false)];
        let route = Route { keyed, gather: Some(gather(&vschema)), ..Route::default() };
        shown(&route.resolve(&Nothing, &vschema, &UTC).unwrap(), &vschema)
    };
    assert_eq!(target("A..Y"), "s0");
    assert_eq!(target("A..Z"), "s0 s1");
    assert_eq!(target("< Z"), "s0");
    assert_eq!(target("> Yz"), "s0 s1 s2");
    assert_eq!(target(">= z"), "s1 s2");
    assert_eq!(target("> é"), "s2");
}
