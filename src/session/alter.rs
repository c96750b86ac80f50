//! ALTER VSCHEMA: operators change the layout as they change a database.
//!
//! It is no part of a transaction: it is written into the files and in force for all sessions before it is answered, and plans made before are
//! not found any more. A statement that is running goes on by the layout that it began with.

use super::command::quoted;
use super::local::Answer;
use super::{Session, Trouble, layout};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::types::KeyType;
use crate::vschema::alter::parse::{self, AddVindex, Statement, is_lookup};
use crate::vschema::alter::{Change, TableName};
use crate::vschema::{Lookup, TablePlacement};

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
        let gone = match &statement {
            Statement::RemoveVindex { vindex, .. } | Statement::DropVindex { name: vindex } => Some(vindex),
            _ => None,
        };
        let known = |(id, _): &(crate::types::VindexId, &Lookup)| gone == Some(&vschema.vindex(*id).name);
        let gone =
            vschema.all_lookups().find(known).map(|(id, lookup)| (vschema.vindex(id).name.clone(), lookup.clone()));
        match &statement {
            Statement::AddVindex(add) => self.add_vindex(add, &changes).await?,
            _ if gone.is_some() => {
                layout::change(&self.shared, &changes).await?;
                if let Some((name, lookup)) = gone {
                    self.drop_lookup(&name, &lookup).await?;
                }
            }
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
        let lookup = match &add.making {
            Some(making) if is_lookup(&making.kind) => Some(self.lookup_of(add, making.kind == "lookup_unique")?),
            _ => None,
        };
        let Some(lookup) = lookup else {
            layout::change(&self.shared, changes).await?;
            return Ok(());
        };
        let made = match self.make_lookup(&add.vindex, &lookup).await {
            Ok(()) => layout::change(&self.shared, changes).await.map(drop).map_err(Trouble::from),
            Err(trouble) => Err(trouble),
        };
        if made.is_err() {
            // What is left of it notes changes that nobody takes.
            if let Err(error) = self.drop_lookup(&add.vindex, &lookup).await {
                tracing::warn!(vindex = add.vindex, %error, "what was made of a lookup could not be taken away");
            }
        }
        made
    }

    /// The lookup that a statement asks for, if the table can have it.
    fn lookup_of(&self, add: &AddVindex, unique: bool) -> Result<Lookup, PgError> {
        let state = self.shared.state.load_full();
        let TableName { schema, name } = &add.table;
        let table = state.vschema.table(schema, name);
        let sharded = table.filter(|table| matches!(table.placement, TablePlacement::Sharded { .. }));
        let Some(table) = sharded else {
            return Err(PgError::unsupported(format!(
                "table \"{}\" is not sharded, and needs no lookup",
                add.table.key()
            )));
        };
        let [column] = add.columns.as_slice() else {
            return Err(PgError::unsupported("a lookup of several columns is not supported"));
        };
        let catalog = state.topology.catalog.load_full();
        let relation = catalog.relations.get(&(schema.clone(), name.clone()));
        let known = relation.and_then(|relation| relation.columns.get(relation.column(column)?));
        let Some(known) = known else {
            let message = format!("column \"{column}\" of relation \"{name}\" does not exist");
            return Err(PgError::new(SqlState::UNDEFINED_COLUMN, message));
        };
        let key_type = KeyType::from_column(known.type_oid, &known.type_name).filter(|_| !known.nondeterministic);
        if !key_type.is_some_and(Lookup::takes) {
            return Err(PgError::unsupported(format!("a lookup of a column of type {}", known.type_name))
                .with_hint("Integers, text and uuid can be looked up."));
        }
        let shards = state.vschema.keyspace(table.keyspace).shards.clone();
        let store = shards.first().copied().unwrap_or_else(|| state.vschema.home());
        Ok(Lookup { schema: schema.clone(), table: name.clone(), column: column.clone(), unique, store, shards })
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
