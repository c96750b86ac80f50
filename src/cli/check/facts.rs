//! What one server says of itself and its tables: the questions, and the answers as plain data.

use std::collections::BTreeMap;

use crate::backend::Backend;
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::Oid;

/// A table's name with its schema.
pub type TableName = (String, String);

/// One shard, as seen over the service login.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// `server_version`.
    pub version: String,
    /// `max_prepared_transactions`.
    pub max_prepared: u32,
    /// `max_connections`.
    pub max_connections: u32,
    /// It is a standby: no writes.
    pub standby: bool,
    /// Tells one database from another: the server's start and address, and the database's identifier.
    pub identity: String,
    /// Every table outside the system schemas and Goldseam's own.
    pub tables: BTreeMap<TableName, TableFacts>,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// In the order of the table.
    pub columns: Vec<ColumnFacts>,
    /// Unique constraints and indexes, primary keys and exclusion constraints.
    pub uniques: Vec<Unique>,
    /// Foreign keys to other tables.
    pub foreign_keys: Vec<ForeignKey>,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// As `format_type` prints it.
    pub type_name: String,
    /// Domains followed to their base.
    pub type_oid: Oid,
}

/// A unique constraint or index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<String>,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// The referencing columns.
    pub columns: Vec<String>,
    /// The table referred to.
    pub target: TableName,
    /// The columns referred to, in step with `columns`.
    pub target_columns: Vec<String>,
}

const SERVER: &str = "SELECT current_setting('server_version'), current_setting('max_prepared_transactions'), \
    current_setting('max_connections'), pg_is_in_recovery(), concat_ws(' ', pg_postmaster_start_time(), inet_server_addr(), \
    inet_server_port(), d.oid) FROM pg_database d WHERE d.datname = current_database()";

const COLUMNS: &str = "WITH RECURSIVE base(oid, root, step) AS (\
      SELECT oid, CASE typtype WHEN 'd' THEN typbasetype ELSE oid END, typtype FROM pg_type \
      UNION ALL SELECT b.oid, t.typbasetype, t.typtype FROM base b JOIN pg_type t ON t.oid = b.root WHERE t.typtype = 'd') \
    SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), \
      (SELECT b.root FROM base b JOIN pg_type t ON t.oid = b.root WHERE b.oid = a.atttypid AND t.typtype <> 'd' LIMIT 1) \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
      LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
    WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\\_%' \
      AND n.nspname NOT IN ('information_schema', 'goldseam') \
    ORDER BY n.nspname, c.relname, a.attnum";

const UNIQUES: &str = "SELECT n.nspname, c.relname, i.relname, \
      to_json(ARRAY(SELECT a.attname FROM unnest(x.indkey::int2[]) WITH ORDINALITY k(num, pos) \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num WHERE k.pos <= x.indnkeyatts ORDER BY k.pos))::text \
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid \
      JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE (x.indisunique OR x.indisexclusion) AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
      AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'goldseam') ORDER BY 1, 2, 3";

const FOREIGN_KEYS: &str = "SELECT n.nspname, c.relname, f.conname, fn.nspname, fc.relname, \
      to_json(ARRAY(SELECT a.attname FROM unnest(f.conkey) WITH ORDINALITY k(num, pos) \
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num ORDER BY k.pos))::text, \
      to_json(ARRAY(SELECT a.attname FROM unnest(f.confkey) WITH ORDINALITY k(num, pos) \
        JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num ORDER BY k.pos))::text \
    FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
      JOIN pg_class fc ON fc.oid = f.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace \
    WHERE f.contype = 'f' AND f.conparentid = 0 AND n.nspname NOT IN ('information_schema', 'goldseam') ORDER BY 1, 2, 3";

/// Asks a server. Reads only the system catalogs, which every login may read.
pub async fn read(backend: &mut Backend) -> Result<Facts, PgError> {
    let mut facts = Facts::default();
    for row in backend.query(SERVER).await? {
        let mut row = Row::new(&row);
        facts.version = row.text()?;
        facts.max_prepared = row.number()?;
        facts.max_connections = row.number()?;
        facts.standby = row.text()? == "t";
        facts.identity = row.text()?;
    }
    for row in backend.query(COLUMNS).await? {
        let columnless = row.get(2).is_some_and(Option::is_none);
        let mut row = Row::new(&row);
        let table = facts.tables.entry((row.text()?, row.text()?)).or_default();
        if !columnless {
            table.columns.push(ColumnFacts { name: row.text()?, type_name: row.text()?, type_oid: row.number()? });
        }
    }
    for row in backend.query(UNIQUES).await? {
        let mut row = Row::new(&row);
        let table = facts.tables.entry((row.text()?, row.text()?)).or_default();
        table.uniques.push(Unique { name: row.text()?, columns: row.list()? });
    }
    for row in backend.query(FOREIGN_KEYS).await? {
        let mut row = Row::new(&row);
        let table = facts.tables.entry((row.text()?, row.text()?)).or_default();
        let name = row.text()?;
        let target = (row.text()?, row.text()?);
        table.foreign_keys.push(ForeignKey { name, target, columns: row.list()?, target_columns: row.list()? });
    }
    Ok(facts)
}

/// Reads a row's values one after the other.
struct Row<'a> {
    values: std::slice::Iter<'a, Option<String>>,
}

impl<'a> Row<'a> {
    fn new(values: &'a [Option<String>]) -> Row<'a> {
        Row { values: values.iter() }
    }

    fn text(&mut self) -> Result<String, PgError> {
        self.values.next().cloned().flatten().ok_or_else(|| strange("a value is missing"))
    }

    fn number(&mut self) -> Result<u32, PgError> {
        let text = self.text()?;
        text.parse().map_err(|_| strange(&format!("{text:?} is no number")))
    }

    fn list(&mut self) -> Result<Vec<String>, PgError> {
        let text = self.text()?;
        serde_json::from_str(&text).map_err(|_| strange(&format!("{text:?} is no list")))
    }
}

fn strange(why: &str) -> PgError {
    PgError::new(SqlState::PROTOCOL_VIOLATION, format!("the server answered a catalog query strangely: {why}"))
}
