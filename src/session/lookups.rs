//! Lookups ([`crate::vindex::lookup`]): kept in step, asked, made and taken away.
//!
//! # How they are kept in step
//! A trigger on the table notes each change of the column in `goldseam.lookup_changes`, on the row's own shard and in the row's own transaction:
//! so whatever changes rows is seen, a cascade of a foreign key as well as a COPY. After each statement that may have changed such a table
//! ([`Effects::noted`]) its notes are taken from all shards of the transaction and applied to the lookup's table ([`Session::settle_lookups`]),
//! which is on the first shard of the keyspace and takes part in the transaction. All of it is committed, or undone, together.
//!
//! A value that a unique lookup has already is refused there by the primary key of its table: `23505`, as from a unique index. Two transactions
//! that bring the same value wait for one another as they would on one server.
//!
//! What is written past Goldseam, or by a session that still has the layout of before, leaves notes too. They are taken by the next transaction that
//! writes the table on that shard, and before a value is said to be nowhere; what of them a unique lookup cannot take is left out.
//!
//! Roles have no right to the tables: functions with the rights of their owner read and write them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::scatter::Stop;
use super::work::ask::Ask;
use super::{Session, Trouble};
use crate::error::PgError;
use crate::plan::Effects;
use crate::protocol::answer;
use crate::protocol::frontend::Format;
use crate::sqlstate::SqlState;
use crate::types::{ShardId, VindexId, oid};
use crate::vschema::Lookup;

/// Takes the notes of this transaction, and those that others have left.
const TAKE: &str = "SELECT vindex, value, change, own FROM goldseam.take_lookup_changes()";

/// What is done to a lookup's table in one go.
#[derive(Default)]
struct Batch {
    gone: Vec<(String, ShardId)>,
    come: Vec<(String, ShardId)>,
    /// From notes of others.
    found: Vec<(String, ShardId)>,
}

impl Session {
    /// Applies what has been noted in this transaction to the lookups.
    ///
    /// # Errors
    /// `23505`: a unique lookup has a value already.
    pub(super) async fn settle_lookups(&mut self) -> Result<(), Trouble> {
        self.noted = false;
        self.come_to_rest().await?;
        self.set_aside().await?;
        let vschema = self.state.vschema.clone();
        let spread: Vec<ShardId> = vschema.all_lookups().flat_map(|(_, lookup)| lookup.shards.clone()).collect();
        let mut shards: Vec<ShardId> = self.participants().map(|index| self.held[index].lease.shard).collect();
        shards.retain(|shard| spread.contains(shard));
        let order = |shard: &ShardId| spread.iter().position(|known| known == shard);
        shards.sort_by_key(order);
        if shards.is_empty() {
            return Ok(());
        }
        let asks = shards.iter().map(|shard| Ask { formats: vec![0], ..Ask::new(*shard, TAKE) }).collect();
        let replies = self.ask_shards(asks).await.map_err(unmade)?;
        let mut batches: BTreeMap<String, Batch> = BTreeMap::new();
        for reply in &replies {
            for row in reply.values()? {
                let text = |at: usize| {
                    let value = row.get(at).copied().flatten().unwrap_or_default();
                    String::from_utf8_lossy(value).into_owned()
                };
                let batch = batches.entry(text(0)).or_default();
                let entry = (text(1), reply.shard);
                match (text(2).as_str(), text(3).as_str()) {
                    ("-1", _) => batch.gone.push(entry),
                    (_, "t") => batch.come.push(entry),
                    _ => batch.found.push(entry),
                }
            }
        }
        for (name, mut batch) in batches {
            let known = vschema.all_lookups().find(|(id, _)| vschema.vindex(*id).name == name);
            // One that is no more has nothing to be kept in step.
            let Some((_, lookup)) = known else { continue };
            batch.settle();
            self.apply(&name, lookup.store, batch).await?;
        }
        Ok(())
    }

    async fn apply(&mut self, name: &str, store: ShardId, batch: Batch) -> Result<(), Trouble> {
        if batch.gone.is_empty() && batch.come.is_empty() && batch.found.is_empty() {
            return Ok(());
        }
        let effects = Effects { writes: true, ..Effects::default() };
        self.enlist_for(&effects, &[store]).await?;
        let mut values = Vec::new();
        for list in [&batch.gone, &batch.come, &batch.found] {
            values.push(array(list.iter().map(|(value, _)| value.as_str())));
            values.push(array(list.iter().map(|(_, shard)| self.state.vschema.shard_name(*shard))));
        }
        let sql = format!("SELECT goldseam.{}($1, $2, $3, $4, $5, $6)", quoted(&format!("lookup_apply_{name}")));
        let values = values.into_iter().map(|value| (Format::Text, Some(Bytes::from(value)))).collect();
        let ask = Ask { types: vec![oid::TEXT_ARRAY; 6], values, ..Ask::new(store, sql) };
        match self.ask_shards(vec![ask]).await {
            Ok(_) => Ok(()),
            // The context is a function that nobody knows of.
            Err(Stop::Server(message)) => Err(Trouble::Failed(answer::without_field(&message, b'W').freeze())),
            Err(stop) => Err(stop.into()),
        }
    }

    /// The shard whose row has a value; none if no row has it.
    pub(super) async fn find_by_lookup(&mut self, vindex: VindexId, value: &str) -> Result<Option<ShardId>, Trouble> {
        let vschema = self.state.vschema.clone();
        let named = vschema.vindex(vindex);
        let Some(lookup) = named.vindex.lookup() else { return Ok(None) };
        self.check_lookup(&named.name, lookup).await?;
        let sql = format!("SELECT goldseam.{}($1)", quoted(&format!("lookup_find_{}", named.name)));
        let found = if self.transaction.is_idle() {
            match self.ask_lookup(lookup, &sql, value).await? {
                None if self.attached.is_none() && self.has_leftovers(lookup).await? => {
                    self.take_leftovers(lookup).await?;
                    self.ask_lookup(lookup, &sql, value).await?
                }
                found => found,
            }
        } else {
            // What the transaction itself has written is seen by its own connection only.
            if self.noted {
                self.settle_lookups().await?;
            }
            self.set_aside().await?;
            self.enlist_for(&Effects::default(), &[lookup.store]).await?;
            let values = vec![(Format::Text, Some(Bytes::copy_from_slice(value.as_bytes())))];
            let ask = Ask { types: vec![oid::TEXT], values, formats: vec![0], ..Ask::new(lookup.store, sql) };
            let replies = self.ask_shards(vec![ask]).await?;
            let rows = replies.first().map(|reply| reply.values()).transpose()?.unwrap_or_default();
            let first = rows.first().and_then(|row| row.first().copied().flatten());
            first.map(|name| String::from_utf8_lossy(name).into_owned())
        };
        let Some(name) = found else { return Ok(None) };
        vschema.shard(&name).map(Some).ok_or_else(|| {
            let message = format!("lookup \"{}\" names shard \"{name}\", which is not configured", named.name);
            PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message).into()
        })
    }

    async fn ask_lookup(&self, lookup: &Lookup, sql: &str, value: &str) -> Result<Option<String>, PgError> {
        let mut lease = self.shared.pools.service(lookup.store).await?;
        let rows = lease.query_params(sql, &[Some(value)]).await?;
        lease.release();
        Ok(rows.into_iter().flatten().flatten().next())
    }

    /// Whether somebody who knows nothing of the lookup (a session with the layout of before, another program) has left notes. Before a value is
    /// said to be nowhere they have to be taken.
    async fn has_leftovers(&self, lookup: &Lookup) -> Result<bool, PgError> {
        for shard in &lookup.shards {
            let mut lease = self.shared.pools.service(*shard).await?;
            let rows = lease.query("SELECT EXISTS (SELECT FROM goldseam.lookup_changes)").await?;
            lease.release();
            if rows.into_iter().flatten().flatten().next().as_deref() == Some("t") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn take_leftovers(&mut self, lookup: &Lookup) -> Result<(), Trouble> {
        self.begin_implicit();
        let effects = Effects { writes: true, ..Effects::default() };
        let taken = self.enlist_for(&effects, &lookup.shards).await;
        // Its end takes the notes of all shards that take part.
        self.noted = taken.is_ok();
        let ended = Box::pin(self.end_implicit(taken.is_ok())).await;
        taken.and(ended)
    }

    /// A lookup that somebody wrote into a file knows nothing before it has been made.
    async fn check_lookup(&self, name: &str, lookup: &Lookup) -> Result<(), PgError> {
        if self.shared.lookups.lock().contains(name) {
            return Ok(());
        }
        for shard in &lookup.shards {
            let mut lease = self.shared.pools.service(*shard).await?;
            let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgname = $1)";
            let rows = lease.query_params(sql, &[Some(&format!("goldseam_lookup_{name}"))]).await?;
            lease.release();
            if rows.into_iter().flatten().flatten().next().as_deref() != Some("t") {
                let message = format!("lookup vindex \"{name}\" has not been made");
                return Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                    .with_detail("Its table is not there, or a shard does not note what changes.")
                    .with_hint(format!(
                        "Take it out of the vschema, and ALTER VSCHEMA ON {} ADD VINDEX {name} ({}) USING {}.",
                        lookup.table,
                        lookup.column,
                        if lookup.unique { "lookup_unique" } else { "lookup" }
                    )));
            }
        }
        self.shared.lookups.lock().insert(name.to_owned());
        Ok(())
    }

    /// Makes a lookup and fills it; it is in force when the vschema says so.
    pub(super) async fn make_lookup(&mut self, name: &str, lookup: &Lookup) -> Result<(), Trouble> {
        let store = lookup.store;
        let mut lease = self.shared.pools.service(store).await?;
        lease.query(&store_sql(name, lookup)).await?;
        lease.release();
        for shard in &lookup.shards {
            let mut lease = self.shared.pools.service(*shard).await?;
            lease.query(&notes_sql(name, lookup)).await?;
            lease.release();
        }
        self.begin_implicit();
        let filled = self.fill_lookup(name, lookup).await;
        let ended = Box::pin(self.end_implicit(filled.is_ok())).await;
        filled.and(ended)
    }

    /// From now on all changes are noted: what is there already, and what has been noted, are taken together.
    async fn fill_lookup(&mut self, name: &str, lookup: &Lookup) -> Result<(), Trouble> {
        let effects = Effects { writes: true, ..Effects::default() };
        self.enlist_for(&effects, &lookup.shards).await?;
        let (table, column) = (table_of(lookup), quoted(&lookup.column));
        // What changes between the two is seen by both at worst, and taken once.
        let pass = format!("SELECT goldseam.pass_lookup_changes({})", literal(name));
        self.ask_shards(lookup.shards.iter().map(|shard| Ask::new(*shard, pass.clone())).collect()).await?;
        let sql = format!("SELECT {column}::text FROM {table} WHERE {column} IS NOT NULL");
        let asks = lookup.shards.iter().map(|shard| Ask { formats: vec![0], ..Ask::new(*shard, sql.clone()) });
        let replies = self.ask_shards(asks.collect()).await?;
        let mut batch = Batch::default();
        for reply in &replies {
            for row in reply.values()? {
                let value = row.first().copied().flatten().unwrap_or_default();
                batch.come.push((String::from_utf8_lossy(value).into_owned(), reply.shard));
            }
        }
        let count = batch.come.len();
        self.apply(name, lookup.store, batch).await?;
        tracing::info!(lookup = name, values = count, "a lookup has been filled");
        Ok(())
    }

    /// Takes away what [`Session::make_lookup`] made.
    pub(super) async fn drop_lookup(&mut self, name: &str, lookup: &Lookup) -> Result<(), PgError> {
        self.shared.lookups.lock().remove(name);
        let own = |prefix: &str| format!("goldseam.{}", quoted(&format!("{prefix}{name}")));
        let drop = format!(
            "DROP TRIGGER IF EXISTS {} ON {table}; DROP TRIGGER IF EXISTS {} ON {table}; DROP FUNCTION IF EXISTS {}()",
            quoted(&format!("goldseam_lookup_{name}")),
            quoted(&format!("goldseam_lookup_all_{name}")),
            own("lookup_note_"),
            table = table_of(lookup),
        );
        for shard in &lookup.shards {
            let mut lease = self.shared.pools.service(*shard).await?;
            lease.query(&drop).await?;
            lease.release();
        }
        let drop = format!(
            "DROP FUNCTION IF EXISTS {}(text[], text[], text[], text[], text[], text[]); \
             DROP FUNCTION IF EXISTS {}(text); DROP TABLE IF EXISTS {}",
            own("lookup_apply_"),
            own("lookup_find_"),
            own("lookup_")
        );
        let mut lease = self.shared.pools.service(lookup.store).await?;
        lease.query(&drop).await?;
        lease.release();
        Ok(())
    }
}

impl Batch {
    /// What has gone and come again on one shard has not changed.
    fn settle(&mut self) {
        let mut counts: BTreeMap<(String, ShardId), i64> = BTreeMap::new();
        for entry in std::mem::take(&mut self.gone) {
            *counts.entry(entry).or_default() -= 1;
        }
        for entry in std::mem::take(&mut self.come) {
            *counts.entry(entry).or_default() += 1;
        }
        for (entry, count) in counts {
            let list = if count < 0 { &mut self.gone } else { &mut self.come };
            (0..count.abs()).for_each(|_| list.push(entry.clone()));
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn table_of(lookup: &Lookup) -> String {
    format!("{}.{}", quoted(&lookup.schema), quoted(&lookup.table))
}

/// A `text[]` as text.
fn array<'t>(values: impl Iterator<Item = &'t str>) -> String {
    let each = values.map(|value| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", each.collect::<Vec<_>>().join(","))
}

/// The notes' table is missing where a lookup was only written into a file.
fn unmade(stop: Stop) -> Stop {
    match stop {
        Stop::Server(message) => {
            let code = answer::ErrorFields::new(message.get(5..).unwrap_or_default()).code();
            match code == SqlState::UNDEFINED_TABLE || code.as_str() == "42883" || code.as_str() == "3F000" {
                true => PgError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "a lookup vindex of the vschema has not been made",
                )
                .with_hint("Take it out of the vschema, and let ALTER VSCHEMA ON table ADD VINDEX make it.")
                .into(),
                false => Stop::Server(message),
            }
        }
        stop => stop,
    }
}

/// What makes the lookup's own table. Its key is called as the vindex, so that PostgreSQL's words for a duplicate are those of a unique index
/// of that name on that column.
fn store_sql(name: &str, lookup: &Lookup) -> String {
    let own = |prefix: &str| format!("goldseam.{}", quoted(&format!("{prefix}{name}")));
    let (table, column) = (own("lookup_"), quoted(&lookup.column));
    let (key, come) = match lookup.unique {
        true => (
            format!("CONSTRAINT {} PRIMARY KEY ({column})", quoted(name)),
            format!(
                "INSERT INTO {table} SELECT c.v, c.s, 1 FROM unnest(come, come_to) AS c(v, s); \
                 INSERT INTO {table} SELECT c.v, c.s, 1 FROM unnest(seen, seen_on) AS c(v, s) ON CONFLICT DO NOTHING;"
            ),
        ),
        false => (
            format!("CONSTRAINT {} PRIMARY KEY ({column}, goldseam_shard)", quoted(name)),
            format!(
                "INSERT INTO {table} AS l SELECT c.v, c.s, count(*) FROM unnest(come || seen, come_to || seen_on) AS c(v, s) \
                 GROUP BY 1, 2 ON CONFLICT ({column}, goldseam_shard) DO UPDATE SET goldseam_rows = l.goldseam_rows + excluded.goldseam_rows;"
            ),
        ),
    };
    let gone = match lookup.unique {
        true => format!(
            "DELETE FROM {table} l USING unnest(gone, gone_from) AS g(v, s) WHERE l.{column} = g.v AND l.goldseam_shard = g.s;"
        ),
        false => format!(
            "UPDATE {table} l SET goldseam_rows = l.goldseam_rows - g.n FROM (SELECT v, s, count(*) AS n FROM unnest(gone, gone_from) AS u(v, s) \
             GROUP BY 1, 2) g WHERE l.{column} = g.v AND l.goldseam_shard = g.s; DELETE FROM {table} WHERE goldseam_rows <= 0;"
        ),
    };
    format!(
        "CREATE SCHEMA IF NOT EXISTS goldseam; GRANT USAGE ON SCHEMA goldseam TO PUBLIC; \
         DROP TABLE IF EXISTS {table}; \
         CREATE TABLE {table} ({column} text COLLATE \"C\" NOT NULL, goldseam_shard text NOT NULL, goldseam_rows bigint NOT NULL, {key}); \
         CREATE OR REPLACE FUNCTION {}(gone text[], gone_from text[], come text[], come_to text[], seen text[], seen_on text[]) \
         RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $goldseam$ BEGIN {gone} {come} END $goldseam$; \
         CREATE OR REPLACE FUNCTION {}(wanted text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog \
         AS $goldseam$ SELECT goldseam_shard FROM {table} WHERE {column} = wanted $goldseam$",
        own("lookup_apply_"),
        own("lookup_find_"),
    )
}

/// What makes a shard note the changes of the column.
fn notes_sql(name: &str, lookup: &Lookup) -> String {
    let (table, column, vindex) = (table_of(lookup), quoted(&lookup.column), literal(name));
    let (note, trigger) =
        (format!("goldseam.{}", quoted(&format!("lookup_note_{name}"))), quoted(&format!("goldseam_lookup_{name}")));
    format!(
        "CREATE SCHEMA IF NOT EXISTS goldseam; GRANT USAGE ON SCHEMA goldseam TO PUBLIC; \
         CREATE TABLE IF NOT EXISTS goldseam.lookup_changes (vindex text NOT NULL, value text NOT NULL, change int NOT NULL, \
         xact bigint NOT NULL DEFAULT txid_current()); \
         CREATE OR REPLACE FUNCTION goldseam.take_lookup_changes(OUT vindex text, OUT value text, OUT change int, OUT own boolean) \
         RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $goldseam$ \
         DELETE FROM goldseam.lookup_changes l RETURNING l.vindex, l.value, l.change, l.xact = txid_current() $goldseam$; \
         CREATE OR REPLACE FUNCTION goldseam.pass_lookup_changes(gone text) RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER \
         SET search_path = pg_catalog AS $goldseam$ DELETE FROM goldseam.lookup_changes WHERE vindex = gone $goldseam$; \
         CREATE OR REPLACE FUNCTION {note}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $goldseam$ \
         DECLARE before text; after text; BEGIN \
         IF TG_OP = 'TRUNCATE' THEN \
           INSERT INTO goldseam.lookup_changes SELECT {vindex}, t.{column}::text, -1 FROM {table} t WHERE t.{column} IS NOT NULL; RETURN NULL; \
         END IF; \
         IF TG_OP <> 'INSERT' THEN before := OLD.{column}::text; END IF; \
         IF TG_OP <> 'DELETE' THEN after := NEW.{column}::text; END IF; \
         IF before IS DISTINCT FROM after THEN \
           IF before IS NOT NULL THEN INSERT INTO goldseam.lookup_changes VALUES ({vindex}, before, -1); END IF; \
           IF after IS NOT NULL THEN INSERT INTO goldseam.lookup_changes VALUES ({vindex}, after, 1); END IF; \
         END IF; RETURN NULL; END $goldseam$; \
         DROP TRIGGER IF EXISTS {trigger} ON {table}; \
         CREATE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {note}(); \
         DROP TRIGGER IF EXISTS {all} ON {table}; \
         CREATE TRIGGER {all} BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {note}()",
        all = quoted(&format!("goldseam_lookup_all_{name}")),
    )
}
