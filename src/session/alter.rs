//! ALTER VSCHEMA: operators change the layout as they change a database.
//!
//! It is no part of a transaction: it is written into the files and in force for all sessions before it is answered, and plans made before are
//! not found any more. A statement that is running goes on by the layout that it began with.

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
        let relation = catalog.relations.get(&(table.schema.clone(), table.name.clone()));
        let Some(relation) = relation.filter(|_| known) else { return Ok(()) };
        let name = format!("{}.{}", super::command::quoted(&table.schema), super::command::quoted(&table.name));
        for shard in &relation.shards {
            let mut lease = self.shared.pools.service(*shard).await?;
            let rows = lease.query(&format!("SELECT EXISTS (SELECT FROM {name})")).await?;
            lease.release();
            if rows.first().and_then(|row| row.first().cloned().flatten()).as_deref() == Some("t") {
                return Err(PgError::new(
                    SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!("table \"{}\" has rows, and they would not be where the vschema says", table.key()),
                )
                .with_detail(format!("There are rows on shard \"{}\".", state.vschema.shard_name(*shard)))
                .with_hint("Make a new table with that place, and INSERT INTO it SELECT from this one."));
            }
        }
        Ok(())
    }
}
