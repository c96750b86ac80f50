//! What a transaction has changed of catalog and vschema, for its own eyes.
//!
//! A table that a transaction has made is there for its next statement: migrations make tables and fill them in one transaction. So after a
//! definition the catalog is read again over the transaction's own connections, and plans are made from it; it has a number of its own, and the
//! cached plans of others are not touched. One shard is read for all that were told the same.
//!
//! The same with a table's place, if it came with its CREATE: the vschema with it is the session's until COMMIT, when it is written into the
//! operator's file ([`layout`](super::layout)) and put in force for all; just before, because a place without a table does no harm.
//!
//! A savepoint that is rolled back takes tables with it. Nothing is noted for that: a change of the vschema counts only if its table is there when
//! the catalog is next read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::plan_cache::PlanContext;
use super::shared::State;
use super::work::ask::Ask;
use super::{Session, Trouble, layout};
use crate::backend::Rows;
use crate::catalog::Catalog;
use crate::plan::Effects;
use crate::protocol::frame::HEADER;
use crate::protocol::frontend::Format;
use crate::protocol::{self, BindView, ParseView};
use crate::session::scatter::Stop;
use crate::sql::{self, Command, SetValue};
use crate::topology::{ShardCatalog, Source, merge};
use crate::types::{ShardId, oid};
use crate::vschema::Vschema;
use crate::vschema::alter::{self, Change};

/// Numbers of catalogs and vschemas that only one session sees: beyond all that are in force.
static PRIVATE: AtomicU64 = AtomicU64::new(1 << 63);

/// The changes of one transaction.
#[derive(Debug)]
pub(super) struct Draft {
    /// Sets of shards of which each has been told the same.
    groups: Vec<Vec<ShardId>>,
    /// What becomes of the vschema.
    pub changes: Vec<Change>,
    /// The vschema before all of them.
    before: Arc<State>,
    /// The catalog with the changes.
    pub catalog: Option<Arc<Catalog>>,
    /// Something has been changed, or undone, since it was read.
    stale: bool,
    /// A savepoint was rolled back: some of the changes may be gone.
    undone: bool,
}

impl Session {
    /// A definition has been done on these shards, each of which was told the same as the others of its group.
    pub(super) fn note_definition(&mut self, groups: Vec<Vec<ShardId>>, changes: &[Change]) {
        self.ddl = true;
        if self.transaction.is_idle() {
            return;
        }
        let draft = self.draft.get_or_insert_with(|| {
            Box::new(Draft {
                groups: Vec::new(),
                changes: Vec::new(),
                before: self.state.clone(),
                catalog: None,
                stale: true,
                undone: false,
            })
        });
        for group in groups {
            if !draft.groups.contains(&group) {
                draft.groups.push(group);
            }
        }
        draft.changes.extend(changes.iter().cloned());
        draft.stale = true;
    }

    /// The transaction has ended: what is committed all see from now on, what is not nobody.
    pub(super) async fn settle_definitions(&mut self) {
        if std::mem::take(&mut self.ddl) {
            // The client must not be told that its table exists before the planner knows it.
            self.state.topology.refresh().await;
            self.shared.sequences.forget_all();
        }
        self.draft = None;
    }

    /// A savepoint was rolled back.
    pub(super) fn undo_definitions(&mut self) {
        if let Some(draft) = &mut self.draft {
            (draft.stale, draft.undone) = (true, true);
        }
    }

    /// Whether a message needs the catalog as it is now, and it is not known.
    pub(super) fn needs_draft(&self, tag: u8, frame: &[u8]) -> bool {
        if !self.draft.as_ref().is_some_and(|draft| draft.stale) || self.transaction.is_failed() {
            return false;
        }
        let body = frame.get(HEADER..).unwrap_or_default();
        let asks = |text: &str| !super::route::is_command(&sql::classify(text));
        match tag {
            b'Q' => protocol::frontend::query(body).is_ok_and(|text| text.contains(';') || asks(text)),
            b'P' => ParseView::new(body).is_ok_and(|view| asks(view.sql)),
            b'B' => BindView::names(body).is_ok_and(|(_, name)| {
                let statement = if name.is_empty() { self.unnamed.as_ref() } else { self.names.get(name) };
                statement.is_some_and(|statement| !statement.is_command)
            }),
            _ => false,
        }
    }

    /// Reads the catalog as the transaction sees it, if it has changed it; plans are made from it from now on.
    pub(super) async fn renew_draft(&mut self) -> Result<(), Trouble> {
        if !self.draft.as_ref().is_some_and(|draft| draft.stale) {
            return Ok(());
        }
        self.set_aside().await?;
        let Some(mut draft) = self.draft.take() else { return Ok(()) };
        let read = self.read_groups(&draft).await;
        let parts = match read {
            Ok(parts) => parts,
            Err(stop) => {
                self.draft = Some(draft);
                return Err(stop.into());
            }
        };
        let catalog = Arc::new(merge(PRIVATE.fetch_add(1, Ordering::Relaxed), &parts));
        if draft.undone {
            draft.changes.retain(|change| holds(change, &catalog));
            draft.undone = false;
        }
        let state = match draft.changes.is_empty() {
            true => draft.before.clone(),
            false => {
                let vschema = Arc::new(changed(&draft.before.vschema, &draft.changes)?);
                Arc::new(State { vschema, ..State::clone(&draft.before) })
            }
        };
        self.state = state;
        (draft.catalog, draft.stale) = (Some(catalog), false);
        self.draft = Some(draft);
        self.renew_context();
        Ok(())
    }

    /// The catalogs of all shards, with what the transaction has changed.
    async fn read_groups(&mut self, draft: &Draft) -> Result<Vec<Option<Arc<ShardCatalog>>>, Stop> {
        let known = self.state.topology.shard_catalogs();
        let mut parts = known.clone();
        for group in &draft.groups {
            // One that no smaller group has a part in: what only some have been told is not for all.
            let groups = |shard: &ShardId| draft.groups.iter().filter(|other| other.contains(shard)).count();
            let Some(first) = group.iter().copied().min_by_key(groups) else { continue };
            self.enlist_for(&Effects::default(), &[first]).await?;
            let read = ShardCatalog::read(&mut Own { session: self, shard: first, settings: Vec::new() }).await?;
            let old = known.get(usize::from(first.0)).cloned().flatten();
            for shard in group {
                let at = usize::from(shard.0);
                let own = parts.get(at).cloned().flatten();
                let new = match (&old, own) {
                    (Some(old), Some(own)) if *shard != first => own.changed_alike(old, &read),
                    _ => read.clone(),
                };
                if let Some(part) = parts.get_mut(at) {
                    *part = Some(Arc::new(new));
                }
            }
        }
        Ok(parts)
    }

    /// The vschema's changes come into force, just before what they are about is committed; how to take them back.
    pub(super) async fn publish_changes(&mut self) -> Result<Option<layout::Before>, Trouble> {
        let pending = |session: &Session| session.draft.as_ref().is_some_and(|draft| !draft.changes.is_empty());
        if !pending(self) {
            return Ok(None);
        }
        if self.draft.as_ref().is_some_and(|draft| draft.undone) {
            self.renew_draft().await?;
        }
        let Some(draft) = self.draft.as_ref().filter(|draft| !draft.changes.is_empty()) else { return Ok(None) };
        Ok(Some(layout::change(&self.shared, &draft.changes).await?))
    }

    /// Whether the transaction's end is also that of changes of the vschema.
    pub(super) fn changes_layout(&self) -> bool {
        self.draft.as_ref().is_some_and(|draft| !draft.changes.is_empty())
    }
}

/// A vschema with changes that only one session sees.
fn changed(vschema: &Vschema, changes: &[Change]) -> Result<Vschema, crate::error::PgError> {
    let sources = [("vschema".to_owned(), vschema.to_toml())];
    let sources = alter::apply(&sources, changes)?;
    let mut changed = crate::vschema::load(&sources, &vschema.shards).map_err(|error| layout::invalid(&error))?;
    changed.version = PRIVATE.fetch_add(1, Ordering::Relaxed);
    Ok(changed)
}

/// Whether what a change is about is there.
fn holds(change: &Change, catalog: &Catalog) -> bool {
    let has = |table: &alter::TableName| catalog.relations.contains_key(&(table.schema.clone(), table.name.clone()));
    match change {
        Change::Place { table, .. } => has(table),
        Change::Rename { from, to } => has(to) && !has(from),
        Change::RenameColumn { table, to, .. } => {
            let relation = catalog.relations.get(&(table.schema.clone(), table.name.clone()));
            relation.is_some_and(|relation| relation.column(to).is_some())
        }
        _ => true,
    }
}

/// The catalog as it is seen over the transaction's own connection.
struct Own<'s> {
    session: &'s mut Session,
    shard: ShardId,
    /// The client's settings, by their names, while others are in force.
    settings: Vec<(String, String)>,
}

impl Own<'_> {
    async fn rows(&mut self, ask: Ask) -> Result<Rows, Stop> {
        let ask = Ask { formats: Vec::new(), hush: true, ..ask };
        let replies = self.session.ask_shards(vec![ask]).await?;
        let mut rows = Rows::new();
        for reply in &replies {
            for row in reply.values()? {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                rows.push(row.into_iter().map(|value| value.map(text)).collect());
            }
        }
        Ok(rows)
    }

    /// Changes a setting of the transaction; what it was.
    async fn set(&mut self, name: &str, value: String) -> Result<Option<String>, Stop> {
        let sql = "SELECT pg_catalog.current_setting($1), pg_catalog.set_config($1, $2, true)";
        let values = [name.to_owned(), value].map(|text| (Format::Text, Some(Bytes::from(text)))).to_vec();
        let rows = self.rows(Ask { types: vec![oid::TEXT; 2], values, ..Ask::new(self.shard, sql) }).await?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }
}

impl Source for Own<'_> {
    type Error = Stop;

    async fn query(&mut self, sql: &str) -> Result<Rows, Stop> {
        // A reader with a connection to itself has a transaction of its own; here it is the client's, and is left as it was.
        match sql::classify(sql) {
            Command::Begin { .. } => Ok(Rows::new()),
            Command::Set { name, value: SetValue::Text(value), .. } => {
                let before = self.set(&name, value.into_owned()).await?;
                self.settings.extend(before.map(|before| (name.to_string(), before)));
                Ok(Rows::new())
            }
            Command::Commit { .. } => {
                for (name, value) in std::mem::take(&mut self.settings) {
                    self.set(&name, value).await?;
                }
                Ok(Rows::new())
            }
            _ => self.rows(Ask::new(self.shard, sql.to_owned())).await,
        }
    }

    fn shard_name(&self) -> String {
        self.session.state.vschema.shard_name(self.shard).to_owned()
    }
}

impl Session {
    /// A context of plans, of what the transaction sees.
    pub(super) fn plan_context(&mut self) -> PlanContext {
        let base = self.state.topology.catalog.load_full();
        let own = self.draft.as_ref().and_then(|draft| draft.catalog.clone());
        let path = self.settings.search_path(&self.greeting.search_path, &self.user);
        let (catalog, path) = self.with_temporary(own.as_ref().unwrap_or(&base), path);
        let vschema = self.state.vschema.clone();
        let mut context = PlanContext::new(vschema, catalog, path, self.settings.shard, self.shared.seed);
        context.base = base;
        context
    }
}
