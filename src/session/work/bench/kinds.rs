//! What the columns of inputs are: how their types are called on every server, and in which form their values travel.
//!
//! Numbers of types are each server's own, but for those of PostgreSQL itself; the binary form of a value names none (enums are labels), or
//! names of which the receiver believes only built-in ones (`array_recv`, `record_recv`). So values travel in binary form and types by
//! name. Exceptions: what the binary form of `reg*` types says is a number of the server's, so they travel as text; and as there are no arrays
//! of arrays, and `unnest` makes several columns of a composite value, these travel as text too where they are to be elements of an array.

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;

use super::super::Stop;
use super::super::ask::{Ask, What};
use super::fetch::{Types, no_columns};
use crate::error::PgError;
use crate::merge;
use crate::plan::Work;
use crate::plan::render::Rendered;
use crate::plan::work::bench::Input;
use crate::protocol::frontend::Format;
use crate::session::Session;
use crate::sqlstate::SqlState;
use crate::types::{Oid, ShardId};

/// From here on numbers are given out by the server itself (`FirstNormalObjectId`).
pub(super) const FIRST_OWN: Oid = 16_384;
/// Types of which the process remembers the names.
const TYPES: usize = 10_000;

/// `regproc` and its like, and their arrays (`src/include/catalog/pg_type.dat`).
const REG: &[(Oid, &str, Oid)] = &[
    (24, "regproc", 1008),
    (2202, "regprocedure", 2207),
    (2203, "regoper", 2208),
    (2204, "regoperator", 2209),
    (2205, "regclass", 2210),
    (2206, "regtype", 2211),
    (3734, "regconfig", 3735),
    (3769, "regdictionary", 3770),
    (4089, "regnamespace", 4090),
    (4096, "regrole", 4097),
    (4191, "regcollation", 4192),
];

/// How a type's values travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Way {
    /// In binary form.
    Binary,
    /// As text, and are cast at their end.
    Text,
    /// In binary form into a table, as text within an array: arrays and composite values.
    Nested,
    /// Not at all.
    Never,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::session) struct Kind {
    /// As SQL that every server reads the same way.
    pub name: Arc<str>,
    pub way: Way,
}

impl Kind {
    /// Within an array its values are text.
    pub fn is_text(&self) -> bool {
        matches!(self.way, Way::Text | Way::Nested)
    }
}

/// What is known of inputs.
pub struct Known {
    /// Types by shard, number and reading of the catalog.
    kinds: Mutex<LruCache<(ShardId, Oid, u64), Kind>>,
    /// What a plan's inputs are like, by their address. The plan's part is kept, so that no other takes their place.
    shapes: Mutex<LruCache<usize, (Arc<Work>, Shapes)>>,
    /// Of plans that have a merge too, by the address of their steps, whether the merge can answer: with floats in full, and rounded.
    merges: Mutex<LruCache<usize, (Arc<Work>, [Option<bool>; 2])>>,
    /// The columns of prepared statements by number and reading of the catalog: bodies of RowDescriptions.
    described: Mutex<LruCache<(u64, u64), Option<Bytes>>>,
}

/// Of each input and of each of its columns, the type: its number on the shard that has described it, and what it is.
pub(super) type Shapes = Arc<[Vec<(Oid, Kind)>]>;

impl Known {
    /// Remembers about so many plans.
    pub fn new(capacity: usize) -> Known {
        let some = |capacity| NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Known {
            kinds: Mutex::new(LruCache::new(some(TYPES))),
            shapes: Mutex::new(LruCache::new(some(capacity))),
            merges: Mutex::new(LruCache::new(some(capacity))),
            described: Mutex::new(LruCache::new(some(capacity))),
        }
    }

    fn shapes(&self, inputs: &[Input]) -> Option<Shapes> {
        self.shapes.lock().get(&(inputs.as_ptr() as usize)).map(|(_, shapes)| shapes.clone())
    }

    pub(super) fn forget_shapes(&self, inputs: &[Input]) {
        self.shapes.lock().pop(&(inputs.as_ptr() as usize));
    }

    /// Whether a plan's merge can answer, if that is known.
    pub(in crate::session) fn merges(&self, work: &Arc<Work>, rounded: bool) -> Option<bool> {
        self.merges.lock().get(&(Arc::as_ptr(work) as usize)).and_then(|(_, known)| known[usize::from(rounded)])
    }

    pub(in crate::session) fn learn_merges(&self, work: &Arc<Work>, rounded: bool, fits: bool) {
        let mut merges = self.merges.lock();
        let (_, known) = merges.get_or_insert_mut(Arc::as_ptr(work) as usize, || (work.clone(), [None; 2]));
        known[usize::from(rounded)] = Some(fits);
    }

    /// A prepared statement's columns, as far as they are known.
    pub(super) fn described(&self, statement: u64, version: u64) -> Option<Option<Bytes>> {
        self.described.lock().get(&(statement, version)).cloned()
    }

    pub(super) fn learn_described(&self, statement: u64, version: u64, columns: Option<Bytes>) {
        self.described.lock().put((statement, version), columns);
    }

    /// A type, as far as it is known.
    fn kind(&self, shard: ShardId, oid: Oid, version: u64) -> Option<Kind> {
        if let Some((name, of_arrays)) = merge::builtin(oid) {
            let (name, way) = match of_arrays {
                false => (format!("pg_catalog.{name}"), Way::Binary),
                true => (format!("pg_catalog.{name}[]"), Way::Nested),
            };
            return Some(Kind { name: name.into(), way });
        }
        if let Some((own, name, _)) = REG.iter().find(|(own, _, array)| *own == oid || *array == oid) {
            let brackets = if *own == oid { "" } else { "[]" };
            return Some(Kind { name: format!("pg_catalog.{name}{brackets}").into(), way: Way::Text });
        }
        self.kinds.lock().get(&(shard, oid, version)).cloned()
    }

    fn learn(&self, shard: ShardId, version: u64, kinds: Vec<(Oid, Kind)>) {
        let mut known = self.kinds.lock();
        for (oid, kind) in kinds {
            known.put((shard, oid, version), kind);
        }
    }
}

/// Types by number: name, and how their values travel (`b`, `t`, `a`, `n`). `$1` are the numbers.
const QUESTION: &str = "\
SELECT t.oid::text, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname),
       CASE WHEN t.typtype = 'p' THEN 'n'
            WHEN t.typsend = 0 THEN 't'
            WHEN EXISTS (
                WITH RECURSIVE part (oid) AS (
                    SELECT t.oid
                    UNION
                    SELECT inner_.oid FROM part JOIN pg_catalog.pg_type outer_ ON outer_.oid = part.oid
                    CROSS JOIN LATERAL (
                        SELECT outer_.typelem AS oid UNION ALL SELECT outer_.typbasetype
                        UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid = outer_.typrelid AND a.attnum > 0 AND NOT a.attisdropped) inner_
                    WHERE inner_.oid <> 0)
                SELECT FROM part WHERE part.oid IN (24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191))
            THEN 't'
            WHEN t.typcategory = 'A' OR t.typtype = 'c' THEN 'a'
            ELSE 'b' END
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.oid = ANY ($1::pg_catalog.oid[])";

/// The numbers as `$1`.
fn numbers(oids: &[Oid]) -> String {
    let listed: Vec<String> = oids.iter().map(Oid::to_string).collect();
    format!("{{{}}}", listed.join(","))
}

/// A row of the answer.
fn read(oid: &str, name: &str, way: &str) -> Option<(Oid, Kind)> {
    let way = match way {
        "b" => Way::Binary,
        "t" => Way::Text,
        "a" => Way::Nested,
        _ => Way::Never,
    };
    Some((oid.parse().ok()?, Kind { name: name.into(), way }))
}

impl Session {
    /// What inputs are like, which is asked once for each plan: the first shard of each describes it.
    pub(super) async fn shapes_of(
        &mut self,
        work: &Arc<Work>,
        inputs: &[Input],
        texts: &[Rendered],
        places: &[Vec<ShardId>],
        types: &Types,
    ) -> Result<Shapes, Stop> {
        if let Some(known) = self.shared.benches.shapes(inputs)
            && known.len() == texts.len()
        {
            return Ok(known);
        }
        let asks = texts.iter().zip(places).filter_map(|(text, shards)| {
            let shard = *shards.first()?;
            let types = text.parameters.iter().map(|n| types.on(shard, *n)).collect();
            Some(Ask { what: What::Describe, types, ..Ask::new(shard, text.sql.clone()) })
        });
        let replies = self.ask_shards(asks.collect()).await?;
        let mut shapes = Vec::with_capacity(replies.len());
        for reply in &replies {
            let oids = reply.columns.as_deref().and_then(merge::column_types).ok_or_else(no_columns)?;
            self.learn_kinds(reply.shard, &oids).await?;
            let kinds = oids.iter().map(|oid| Ok((*oid, self.kind_of(reply.shard, *oid)?)));
            shapes.push(kinds.collect::<Result<Vec<_>, PgError>>()?);
        }
        let shapes = Shapes::from(shapes);
        self.shared.benches.shapes.lock().put(inputs.as_ptr() as usize, (work.clone(), shapes.clone()));
        Ok(shapes)
    }

    /// Learns the types of these numbers on a shard that is enlisted, as far as they are not known yet.
    pub(in crate::session) async fn learn_kinds(&mut self, shard: ShardId, oids: &[Oid]) -> Result<(), Stop> {
        let version = self.context.catalog.version;
        let known = &self.shared.benches;
        let mut missing: Vec<Oid> =
            oids.iter().copied().filter(|oid| known.kind(shard, *oid, version).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_unstable();
        missing.dedup();
        let values = vec![(Format::Text, Some(Bytes::from(numbers(&missing))))];
        let ask = Ask { values, formats: Vec::new(), ..Ask::new(shard, QUESTION) };
        let replies = self.ask_shards(vec![ask]).await?;
        let mut kinds = Vec::new();
        for reply in &replies {
            for row in reply.values()? {
                let text = |at: usize| row.get(at).copied().flatten().and_then(|bytes| std::str::from_utf8(bytes).ok());
                if let (Some(oid), Some(name), Some(way)) = (text(0), text(1), text(2)) {
                    kinds.extend(read(oid, name, way));
                }
            }
        }
        self.shared.benches.learn(shard, version, kinds);
        Ok(())
    }

    /// A type that is known by now.
    pub(in crate::session) fn kind_of(&self, shard: ShardId, oid: Oid) -> Result<Kind, PgError> {
        let kind = self.shared.benches.kind(shard, oid, self.context.catalog.version);
        let kind = kind
            .ok_or_else(|| PgError::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} does not exist")))?;
        match kind.way {
            Way::Never => Err(never(&kind.name)),
            _ => Ok(kind),
        }
    }
}

fn never(name: &str) -> PgError {
    PgError::unsupported(format!("values of type {name} cannot be brought from one server to another"))
        .with_hint("Cast the expression to a type of its own, such as text.")
}
