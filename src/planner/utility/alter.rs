//! ALTER TABLE: what a table's shards can do alike, what the vschema has to follow, and what would put rows where nobody looks for them.

use super::super::Context;
use super::homes::{self, Named};
use super::judge::{self, Site};
use super::reader::Reader;
use super::shape::Shape;
use crate::error::PgError;
use crate::plan::Route;
use crate::plan::work::definition::Definition;
use crate::sql::TokenKind;
use crate::sqlstate::SqlState;
use crate::types::KeyType;
use crate::vschema::TablePlacement;
use crate::vschema::alter::{Change, TableName};

/// What is gathered of the actions.
struct Actions<'a> {
    context: &'a Context<'a>,
    named: &'a Named,
    site: Site,
    key: Vec<String>,
    changes: Vec<Change>,
    /// Only empty tables may be altered so.
    empty: Option<PgError>,
}

/// ALTER TABLE; the reader is behind the word TABLE.
pub fn table(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    if reader.eat_all(&["all", "in"]) {
        return Ok(homes::on_all(context, "tables of a tablespace"));
    }
    let _ = reader.eat_exists();
    let _ = reader.eat("only");
    let Some((parts, tokens)) = reader.qualified() else { return Ok(homes::on_all(context, "a table")) };
    if reader.peek().is_some_and(|token| token.text(reader.text) == "*") {
        reader.at += 1;
    }
    let named = homes::relation(context, &parts);
    let route = homes::about(context, &named, tokens.clone());
    let Some(site) = Site::of(&named, context) else { return Ok(route) };
    let key = match &site.placement {
        TablePlacement::Sharded { columns, .. } => columns.clone(),
        _ => Vec::new(),
    };
    let mut actions = Actions { context, named: &named, site, key, changes: Vec::new(), empty: None };
    for action in reader.list(reader.at..reader.tokens.len()) {
        actions.action(reader.within(action))?;
    }
    let name = reader.tokens.get(tokens).unwrap_or(&[]);
    let written = match (name.first(), name.last()) {
        (Some(first), Some(last)) => reader.text.get(first.start as usize..last.end as usize).unwrap_or(""),
        _ => "",
    };
    let empty = actions.empty.map(|error| (written.to_owned(), Box::new(error)));
    let definition = Definition { changes: actions.changes, empty, ..homes::same(actions.site.shards) };
    Ok(homes::route(definition, homes::reason(context, &named)))
}

impl Actions<'_> {
    fn action(&mut self, mut reader: Reader<'_>) -> Result<(), PgError> {
        if reader.eat("add") {
            return self.add(reader);
        }
        if reader.eat("drop") {
            if reader.eat("constraint") {
                return Ok(());
            }
            let _ = reader.eat("column");
            let _ = reader.eat_exists();
            return match reader.name() {
                Some(column) if self.key.contains(&column) => Err(self.is_key(&column, "dropped")),
                Some(column) => self.check_lookups(Some(&column)),
                None => Ok(()),
            };
        }
        if reader.eat("alter") {
            return self.alter(reader);
        }
        if reader.eat("rename") {
            return self.rename(reader);
        }
        if reader.eat_all(&["set", "schema"]) {
            self.check_lookups(None)?;
            if let (Some(schema), Some(_)) = (reader.name(), &self.named.table) {
                self.moved(TableName::new(&schema, &self.named.name.name));
            }
            return Ok(());
        }
        if reader.eat_all(&["attach", "partition"]) || reader.eat("inherit") {
            return self.attach(reader);
        }
        Ok(())
    }

    /// A lookup knows its table and column by their names, and has the column's values.
    fn check_lookups(&self, column: Option<&str>) -> Result<(), PgError> {
        match lookup(self.context, &self.named.name, column) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn is_key(&self, column: &str, what: &str) -> PgError {
        PgError::unsupported(format!(
            "column \"{column}\" of table \"{}\" is its shard key and cannot be {what}",
            self.named.name.name
        ))
        .with_detail("Where each row lies follows from its value.")
        .with_hint("Make a new table with another shard key, and INSERT INTO it SELECT from this one.")
    }

    fn moved(&mut self, to: TableName) {
        self.changes.push(Change::Rename { from: self.named.name.clone(), to });
    }

    fn add(&mut self, mut reader: Reader<'_>) -> Result<(), PgError> {
        let column = reader.eat("column");
        let _ = reader.eat_exists();
        let mut shape = Shape::default();
        shape.element(reader);
        judge::shape(self.context, reader.text, &self.site, &shape)?;
        if (column || !Shape::is_constraint(&reader)) && self.site.shards.len() > 1 {
            self.fill(reader);
        }
        Ok(())
    }

    /// Rows that are there get a value on each shard by itself: that must be the one that PostgreSQL would give.
    fn fill(&mut self, reader: Reader<'_>) {
        let word = |words: &[&str]| {
            reader.tokens[reader.at..].iter().any(|token| words.iter().any(|word| token.is(reader.text, word)))
        };
        let serial =
            word(&["serial", "serial2", "serial4", "serial8", "bigserial", "smallserial", "identity", "nextval"]);
        let moment = word(&[
            "now",
            "current_timestamp",
            "current_date",
            "current_time",
            "localtimestamp",
            "localtime",
            "transaction_timestamp",
            "statement_timestamp",
        ]);
        let copies = matches!(self.site.placement, TablePlacement::Reference);
        let mut behind = reader;
        let default = behind.skip_to(&["default"]);
        let call = default && behind.tokens[behind.at..].iter().any(|token| token.kind == TokenKind::LeftParen);
        let why = match () {
            () if serial => "Each shard would number its own rows from 1.",
            () if moment => "Each shard would fill in an instant of its own.",
            () if copies && call => "Each copy of the table would get values of its own.",
            () => return,
        };
        self.empty = Some(
            PgError::unsupported(format!(
                "the rows of table \"{}\" cannot be given this column's default on several shards",
                self.named.name.name
            ))
            .with_detail(why)
            .with_hint("Add the column without the default, UPDATE the rows, and then ALTER COLUMN ... SET DEFAULT."),
        );
    }

    fn alter(&mut self, mut reader: Reader<'_>) -> Result<(), PgError> {
        let _ = reader.eat("column");
        let Some(column) = reader.name() else { return Ok(()) };
        let typed = reader.eat("type") || reader.eat_all(&["set", "data", "type"]);
        if typed {
            self.check_lookups(Some(&column))?;
        }
        if !typed || !self.key.contains(&column) {
            return Ok(());
        }
        let old = self.named.relation.as_ref().and_then(|relation| {
            let column = relation.columns.get(relation.column(&column)?)?;
            KeyType::from_column(column.type_oid, &column.type_name)
        });
        let using = reader.tokens[reader.at..].iter().any(|token| token.is(reader.text, "using"));
        let wide = |key: KeyType| matches!(key, KeyType::Int2 | KeyType::Int4 | KeyType::Int8);
        match (old, key_type(&mut reader)) {
            // A key is the same number, or the same text, in both.
            (Some(old), Some(new)) if !using && (old == new || (wide(old) && wide(new))) => Ok(()),
            _ => Err(self.is_key(&column, "given another type")),
        }
    }

    fn rename(&mut self, mut reader: Reader<'_>) -> Result<(), PgError> {
        if reader.eat("constraint") {
            return Ok(());
        }
        if reader.eat("to") {
            self.check_lookups(None)?;
            if let (Some(name), Some(_)) = (reader.name(), &self.named.table) {
                self.moved(TableName::new(&self.named.name.schema, &name));
            }
            return Ok(());
        }
        let _ = reader.eat("column");
        if let (Some(from), true, Some(to)) = (reader.name(), reader.eat("to"), reader.name()) {
            self.check_lookups(Some(&from))?;
            if self.key.contains(&from) {
                self.changes.push(Change::RenameColumn { table: self.named.name.clone(), from, to });
            }
        }
        Ok(())
    }

    /// A partition's rows must be where its parent's are.
    fn attach(&self, mut reader: Reader<'_>) -> Result<(), PgError> {
        let Some((parts, _)) = reader.qualified() else { return Ok(()) };
        let Some(part) = Site::of(&homes::relation(self.context, &parts), self.context) else { return Ok(()) };
        if part.placement == self.site.placement && part.shards == self.site.shards {
            return Ok(());
        }
        Err(PgError::unsupported(format!(
            "tables \"{}\" and \"{}\" do not lie alike",
            self.named.name.name, part.name.name
        ))
        .with_detail("A partition's rows have to be on the shards where its parent's are looked for.")
        .with_hint("Give both the same shard key, vindex and keyspace in the vschema."))
    }
}

/// Why a table, or a column of it, cannot be renamed, changed or dropped, if it has a lookup.
pub fn lookup(context: &Context<'_>, table: &TableName, column: Option<&str>) -> Option<PgError> {
    let mut lookups = context.vschema.lookups(&table.schema, &table.name);
    let (id, lookup) = lookups.find(|(_, lookup)| column.is_none_or(|column| lookup.column == column))?;
    let vindex = &context.vschema.vindex(id).name;
    let message =
        format!("column \"{}\" of table \"{}\" has the lookup vindex \"{vindex}\"", lookup.column, table.name);
    Some(
        PgError::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .with_detail("The lookup finds its rows by these names, and keeps the column's values.")
            .with_hint(format!("ALTER VSCHEMA ON {} DROP VINDEX {vindex} first.", table.key())),
    )
}

/// The key type that is written next.
fn key_type(reader: &mut Reader<'_>) -> Option<KeyType> {
    let word = reader.name()?;
    let name = match word.as_str() {
        "character" if reader.eat("varying") => "varchar".to_owned(),
        "pg_catalog" => return None,
        _ => word,
    };
    Some(match name.as_str() {
        "smallint" | "int2" => KeyType::Int2,
        "integer" | "int" | "int4" => KeyType::Int4,
        "bigint" | "int8" => KeyType::Int8,
        "text" => KeyType::Text,
        // A bound that is too short refuses rows; it moves none.
        "varchar" => KeyType::Text,
        "uuid" => KeyType::Uuid,
        "date" => KeyType::Date,
        "bytea" => KeyType::Bytea,
        _ => return None,
    })
}
