//! The session's temporary tables, as plans see them.
//!
//! A temporary table is on one connection, which the session keeps from its making on. To the planner it is a table of that connection's shard
//! in a schema `pg_temp`, which is searched first, in a catalog of the session's own. So a statement over it alone goes where it is; one that joins
//! it with tables of other shards fetches these and runs its rest on the very connection that has it; and where the rest runs elsewhere, its own
//! rows are fetched like others.
//!
//! What it looks like the connection is asked, after each statement that may have made, changed or dropped one. A function that makes one is
//! not noticed: such a table can be used alone, and PostgreSQL says that it does not exist where it is joined with others.

mod made;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use made::Made;

use super::work::ask::Ask;
use super::{Session, Trouble};
use crate::catalog::{Catalog, Column, ColumnDefault, Relation, RelationKind, Supply, TEMPORARY};
use crate::plan::{Effects, Pin};
use crate::types::ShardId;

/// Numbers of catalogs with temporary tables: beyond those in force, and apart from those of transactions.
static PRIVATE: AtomicU64 = AtomicU64::new(1 << 62);

/// What is known of a session's temporary tables.
#[derive(Debug, Default)]
pub(super) struct Temporaries {
    relations: Vec<Arc<Relation>>,
    /// Something has been made, changed or undone since they were read.
    pub stale: bool,
    /// The open transaction has made, changed or dropped some: its end, or going back to a savepoint, may undo that (and ON COMMIT DROP does).
    touched: bool,
    /// The catalog with them, and the one that it was made of.
    merged: Option<(Arc<Catalog>, Arc<Catalog>)>,
}

/// Name, kind, column, base type, type, not null, whether the collation is nondeterministic, compares bytes, is the type's own, the other collation,
/// whether the column is of the primary key, whether the type is a domain.
const QUESTION: &str = "\
SELECT c.relname, c.relkind, a.attname, COALESCE(NULLIF(t.typbasetype, 0), t.oid), pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
       COALESCE(NOT l.collisdeterministic, false),
       COALESCE(CASE WHEN l.collprovider = 'd' THEN (SELECT d.datcollate IN ('C', 'POSIX') FROM pg_catalog.pg_database d
                     WHERE d.datname = pg_catalog.current_database())
                     ELSE l.collprovider = 'c' AND l.collcollate IN ('C', 'POSIX') END, l.oid IS NULL),
       a.attcollation = t.typcollation,
       (SELECT pg_catalog.quote_ident(m.nspname) || '.' || pg_catalog.quote_ident(l.collname)
        FROM pg_catalog.pg_namespace m WHERE m.oid = l.collnamespace AND a.attcollation <> t.typcollation),
       EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey)),
       t.typtype = 'd'
FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relkind IN ('r', 'p', 'v', 'S')
ORDER BY c.oid, a.attnum";

impl Session {
    /// A statement may have made, changed or dropped a temporary table.
    pub(super) fn note_temporary(&mut self, effects: &Effects) {
        let makes = effects.pin == Some(Pin::TemporaryTable);
        if makes || (effects.ddl && self.temporary_shard().is_some()) {
            (self.temporary.stale, self.temporary.touched) = (true, true);
        }
    }

    /// A transaction, or the part of one behind a savepoint, has ended.
    pub(super) fn temporary_may_be_undone(&mut self) {
        self.temporary.stale |= self.temporary.touched;
        self.temporary.touched &= !self.transaction.is_idle();
    }

    /// The shard on whose connection the session's temporary tables are.
    pub(super) fn temporary_shard(&self) -> Option<ShardId> {
        let mut held = self.held.iter();
        held.find(|held| held.pins.contains(&Pin::TemporaryTable)).map(|held| held.lease.shard)
    }

    /// Looks at the temporary tables again, if anything may have changed.
    pub(super) async fn renew_temporary(&mut self) -> Result<(), Trouble> {
        if !self.temporary.stale || self.transaction.is_failed() {
            return Ok(());
        }
        Box::pin(self.read_temporary()).await
    }

    async fn read_temporary(&mut self) -> Result<(), Trouble> {
        self.set_aside().await?;
        self.temporary.stale = false;
        let shards: Vec<ShardId> = self
            .held
            .iter()
            .filter(|held| held.pins.contains(&Pin::TemporaryTable))
            .map(|held| held.lease.shard)
            .collect();
        let mut relations = Vec::new();
        if !shards.is_empty() {
            self.enlist_for(&Effects::default(), &shards).await?;
            let ask = |shard: &ShardId| Ask { formats: vec![0], ..Ask::new(*shard, QUESTION) };
            for reply in self.ask_shards(shards.iter().map(ask).collect()).await? {
                relations.extend(read(&reply.values()?, reply.shard).into_iter().map(Arc::new));
            }
        }
        if relations.is_empty() && self.temporary.relations.is_empty() {
            return Ok(());
        }
        (self.temporary.relations, self.temporary.merged) = (relations, None);
        self.renew_context();
        Ok(())
    }

    /// A catalog with the session's temporary tables, and a search path that finds them first.
    pub(super) fn with_temporary(
        &mut self,
        catalog: &Arc<Catalog>,
        path: Arc<[String]>,
    ) -> (Arc<Catalog>, Arc<[String]>) {
        if self.temporary.relations.is_empty() {
            return (catalog.clone(), path);
        }
        let path = match path.iter().any(|schema| schema == TEMPORARY) {
            true => path,
            false => std::iter::once(TEMPORARY.to_owned()).chain(path.iter().cloned()).collect(),
        };
        if let Some((of, merged)) = &self.temporary.merged
            && Arc::ptr_eq(of, catalog)
        {
            return (merged.clone(), path);
        }
        let mut merged = Catalog::clone(catalog);
        merged.version = PRIVATE.fetch_add(1, Ordering::Relaxed);
        for relation in &self.temporary.relations {
            merged.relations.insert((TEMPORARY.into(), relation.name.clone()), relation.clone());
        }
        let merged = Arc::new(merged);
        self.temporary.merged = Some((catalog.clone(), merged.clone()));
        (merged, path)
    }

    /// DISCARD: there are none.
    pub(super) fn forget_temporary(&mut self) {
        self.temporary = Temporaries::default();
    }
}

/// The relations that the rows tell of, one row for each column.
fn read(rows: &[Vec<Option<&[u8]>>], shard: ShardId) -> Vec<Relation> {
    let mut relations: Vec<Relation> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in rows {
        let text = |n: usize| row.get(n).copied().flatten().map(|value| String::from_utf8_lossy(value).into_owned());
        let flag = |n: usize| text(n).as_deref() == Some("t");
        let Some(name) = text(0) else { continue };
        let at = *places.entry(name.clone()).or_insert_with(|| {
            let kind = if text(1).as_deref() == Some("S") { RelationKind::Sequence } else { RelationKind::Table };
            relations.push(Relation {
                schema: TEMPORARY.into(),
                name,
                kind,
                shards: vec![shard],
                columns: Vec::new(),
                unique_keys: Vec::new(),
                primary_key: Vec::new(),
                has_triggers: false,
                triggers: Vec::new(),
                row_security: false,
                cascades: false,
                definition: None,
            });
            relations.len() - 1
        });
        let (Some(relation), Some(column)) = (relations.get_mut(at), text(2)) else { continue };
        if flag(10) {
            relation.primary_key.push(relation.columns.len());
        }
        relation.columns.push(Column {
            name: column,
            type_oid: text(3).and_then(|oid| oid.parse().ok()).unwrap_or(0),
            type_name: text(4).unwrap_or_default(),
            domain: flag(11),
            not_null: flag(5),
            // Only INSERTs that are split by row ask, and none into a table of one shard is.
            default: ColumnDefault::None,
            nondeterministic: flag(6),
            bytewise: flag(7),
            plain_collation: flag(8),
            collation: text(9),
            supply: Supply::default(),
        });
    }
    for relation in &mut relations {
        if !relation.primary_key.is_empty() {
            relation.unique_keys.push(relation.primary_key.clone());
        }
    }
    relations
}
