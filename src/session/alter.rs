//! ALTER VSCHEMA: operators change the layout as they change a database.
//!
//! It is no part of a transaction: it is written into the files and in force for all sessions before it is answered, and plans made before are
//! not found any more. A statement that is running goes on by the layout that it began with.

use super::command::quoted;
use super::local::Answer;
use super::{Session, Trouble, layout};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::vschema::alter::parse::{self, AddVindex, Statement};
use crate::vschema::alter::{Change, TableName};

impl Session {
    /// Does it.
    pub(super) async fn alter_vschema(&mut self, text: &str) -> Result<Answer, Trouble> {
        if !self.operator {
            return Err(PgError::new(SqlState::INSUFFICIENT_PRIVILEGE, "permission denied to change the vschema")
                .with_hint("Give the user `operator = true` in the server's configuration.")
                .into());
        }
        if !self.transaction.is_idle() {
            let message = "ALTER VSCHEMA cannot run inside a transaction block";
            return Err(PgError::new(SqlState::ACTIVE_SQL_TRANSACTION, message).into());
        }
        let statement = parse::parse(text)?;
        if let Some(definitions) = self.sequences(&statement).await? {
            Box::pin(self.define(&definitions)).await?;
            return Ok(Answer::tag("ALTER VSCHEMA"));
        }
        let vschema = self.shared.state.load().vschema.clone();
        let changes = statement.changes(&vschema)?;
        for change in &changes {
            if let Change::Place { table, .. } = change {
                self.check_unmoved(table).await?;
            }
        }
        match &statement {
            Statement::AddVindex(add) => self.add_vindex(add, &changes).await?,
            _ => drop(layout::change(&self.shared, &changes).await?),
        }
        tracing::info!(user = %self.user, statement = text, "the vschema was changed");
        self.follow_state();
        Ok(Answer::tag("ALTER VSCHEMA"))
    }

    /// What has to be defined on the shards for a statement about sequences; none for all others.
    async fn sequences(&self, statement: &Statement) -> Result<Option<Vec<String>>, PgError> {
        Ok(Some(match statement {
            Statement::CreateSequence { sequence } => vec![format!("CREATE SEQUENCE {}", sql(sequence))],
            Statement::DropSequence { sequence } => vec![format!("DROP SEQUENCE {}", sql(sequence))],
            Statement::AddSequence { table, sequence, column } => {
                let (name, column) = (sql(table), quoted(column));
                let mut definitions = Vec::new();
                let sequence = sequence.clone().unwrap_or_else(|| {
                    TableName::new(&table.schema, &format!("{}_{}_seq", table.name, column.trim_matches('"')))
                });
                if !self.is_there(&sequence) {
                    let most = self.ask_each(table, &format!("SELECT max({column}) FROM {name}")).await?;
                    let most = most.iter().filter_map(|value| value.parse::<i64>().ok()).max().unwrap_or(0).max(0);
                    definitions.push(format!(
                        "CREATE SEQUENCE {} START {} OWNED BY {name}.{column}",
                        sql(&sequence),
                        most.saturating_add(1)
                    ));
                }
                let text = sql(&sequence).replace('\'', "''");
                definitions
                    .push(format!("ALTER TABLE {name} ALTER COLUMN {column} SET DEFAULT pg_catalog.nextval('{text}')"));
                definitions
            }
            Statement::RemoveSequence { table, column } => {
                let (name, column) = (sql(table), quoted(column));
                let text = |part: &str| part.replace('\'', "''");
                let ask = format!(
                    "SELECT pg_catalog.pg_get_serial_sequence('{}', '{}')",
                    text(&name),
                    text(column.trim_matches('"'))
                );
                let mut owned = self.ask_each(table, &ask).await?;
                owned.dedup();
                let mut definitions = vec![format!(
                    "ALTER TABLE {name} ALTER COLUMN {column} DROP IDENTITY IF EXISTS, ALTER COLUMN {column} DROP DEFAULT"
                )];
                definitions.extend(owned.first().map(|owned| format!("DROP SEQUENCE IF EXISTS {owned}")));
                definitions
            }
            _ => return Ok(None),
        }))
    }

    fn is_there(&self, name: &TableName) -> bool {
        let catalog = self.state.topology.catalog.load();
        catalog.relations.contains_key(&(name.schema.clone(), name.name.clone()))
    }

    /// The first value that each shard with this table answers, without NULLs.
    async fn ask_each(&self, table: &TableName, sql: &str) -> Result<Vec<String>, PgError> {
        let catalog = self.state.topology.catalog.load_full();
        let Some(relation) = catalog.relations.get(&(table.schema.clone(), table.name.clone())) else {
            let message = format!("relation \"{}\" does not exist", table.key());
            return Err(PgError::new(SqlState::UNDEFINED_TABLE, message));
        };
        let mut values = Vec::new();
        for shard in &relation.shards {
            let mut lease = self.shared.pools.service(*shard).await?;
            let rows = lease.query(sql).await?;
            lease.release();
            values.extend(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()));
        }
        Ok(values)
    }

    /// A vindex of a table. A kind that has a table of its own is made and filled here, before the change is in force.
    async fn add_vindex(&mut self, add: &AddVindex, changes: &[Change]) -> Result<(), Trouble> {
        let _ = add;
        layout::change(&self.shared, changes).await?;
        Ok(())
    }

    /// A table that has another place, and rows there, cannot simply be looked for elsewhere.
    async fn check_unmoved(&self, table: &TableName) -> Result<(), PgError> {
        let state = self.shared.state.load_full();
        let catalog = state.topology.catalog.load_full();
        let known = state.vschema.table(&table.schema, &table.name).is_some();
        if !known || !catalog.relations.contains_key(&(table.schema.clone(), table.name.clone())) {
            return Ok(());
        }
        let rows = self.ask_each(table, &format!("SELECT EXISTS (SELECT FROM {})", sql(table))).await?;
        if !rows.iter().any(|some| some == "t") {
            return Ok(());
        }
        Err(PgError::new(
            SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table \"{}\" has rows, and they would not be where the vschema says", table.key()),
        )
        .with_hint("Make a new table with that place, and INSERT INTO it SELECT from this one."))
    }
}

fn sql(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}
