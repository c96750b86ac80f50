//! Changes in the text of vschema files: everything that is not changed stays byte for byte.

use toml_edit::{Array, DocumentMut, Item, Table, Value, value};

use super::{Change, Place, PlaceKind, Setting, TableName};
use crate::error::PgError;
use crate::sqlstate::SqlState;

/// Applies changes to files, given as name and text, one after the other; the new texts. Whether the result is a vschema is for
/// [`load`](crate::vschema::load()) to say.
///
/// # Errors
/// A file that is no TOML (F0000), something that is there already (42710) or is not there (42704).
pub fn apply(sources: &[(String, String)], changes: &[Change]) -> Result<Vec<(String, String)>, PgError> {
    let mut documents = Vec::with_capacity(sources.len().max(1));
    for (name, text) in sources {
        let document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| broken(name, &error))?;
        documents.push((name.clone(), document));
    }
    if documents.is_empty() {
        return Err(PgError::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "there is no vschema file"));
    }
    for change in changes {
        one(&mut documents, change)?;
    }
    Ok(documents.into_iter().map(|(name, document)| (name, document.to_string())).collect())
}

fn broken(name: &str, error: &toml_edit::TomlError) -> PgError {
    PgError::new(SqlState::CONFIG_FILE_ERROR, format!("{name} cannot be changed")).with_detail(error.to_string())
}

type Documents = [(String, DocumentMut)];

fn one(documents: &mut Documents, change: &Change) -> Result<(), PgError> {
    match change {
        Change::Place { table, place } => {
            let at = find(documents, table).map(|(file, _)| file);
            let file = at.unwrap_or_else(|| file_for(documents, place.keyspace.as_deref()));
            let key = find(documents, table).map_or_else(|| table.key(), |(_, key)| key);
            let section = section(&mut documents[file].1, "table")?;
            if !section.contains_key(&key) {
                section.insert(&key, Item::Table(Table::new()));
            }
            let line = section.get_mut(&key).and_then(Item::as_table_like_mut).ok_or_else(|| odd(&key))?;
            write_place(line, place);
            Ok(())
        }
        Change::Forget { table, missing_ok } => match find(documents, table) {
            Some((file, key)) => {
                section(&mut documents[file].1, "table")?.remove(&key);
                Ok(())
            }
            None if *missing_ok => Ok(()),
            None => Err(no_table(table)),
        },
        Change::Rename { from, to } => {
            let (file, key) = find(documents, from).ok_or_else(|| no_table(from))?;
            if find(documents, to).is_some() {
                // The name was another table's, which is gone: DDL has seen to that.
                one(documents, &Change::Forget { table: to.clone(), missing_ok: true })?;
            }
            let section = section(&mut documents[file].1, "table")?;
            if let Some(item) = section.remove(&key) {
                section.insert(&to.key(), item);
            }
            Ok(())
        }
        Change::RenameColumn { table, from, to } => {
            let (file, key) = find(documents, table).ok_or_else(|| no_table(table))?;
            let line = section(&mut documents[file].1, "table")?.get_mut(&key).and_then(Item::as_table_like_mut);
            if let Some(item) = line.and_then(|line| line.get_mut("shard_key")) {
                match item {
                    Item::Value(Value::Array(columns)) => {
                        for column in columns.iter_mut().filter(|column| column.as_str() == Some(from)) {
                            *column = Value::from(to.as_str()).decorated(" ", "");
                        }
                    }
                    item if item.as_str() == Some(from) => *item = value(to.as_str()),
                    _ => {}
                }
            }
            Ok(())
        }
        Change::CreateVindex { name, kind, options, exists_ok } => {
            if let Some(file) = documents.iter().position(|(_, document)| has(document, "vindex", name)) {
                let known = documents[file].1.get("vindex").and_then(|section| section.get(name));
                let same = known.and_then(|vindex| vindex.get("type")).and_then(Item::as_str) == Some(kind);
                if *exists_ok && same && options.is_empty() {
                    return Ok(());
                }
                return Err(PgError::new(SqlState::DUPLICATE_OBJECT, format!("vindex \"{name}\" already exists")));
            }
            let mut line = Table::new();
            line.insert("type", value(kind.as_str()));
            for (key, setting) in options {
                line.insert(key, Item::Value(written(setting)?));
            }
            let file = documents.iter().position(|(_, document)| document.contains_key("vindex")).unwrap_or(0);
            section(&mut documents[file].1, "vindex")?.insert(name, Item::Table(line));
            Ok(())
        }
        Change::DropVindex { name } => {
            let file = documents
                .iter()
                .position(|(_, document)| has(document, "vindex", name))
                .ok_or_else(|| PgError::new(SqlState::UNDEFINED_OBJECT, format!("vindex \"{name}\" does not exist")))?;
            if let Some(table) = user(documents, name) {
                return Err(PgError::new(
                    SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
                    format!("vindex \"{name}\" cannot be dropped because table \"{table}\" uses it"),
                )
                .with_hint(format!(
                    "ALTER VSCHEMA DROP TABLE {table}, or ALTER VSCHEMA ON {table} DROP VINDEX {name}."
                )));
            }
            section(&mut documents[file].1, "vindex")?.remove(name);
            Ok(())
        }
    }
}

fn no_table(table: &TableName) -> PgError {
    PgError::new(SqlState::UNDEFINED_TABLE, format!("table \"{}\" is not in the vschema", table.key()))
}

fn odd(key: &str) -> PgError {
    PgError::new(SqlState::CONFIG_FILE_ERROR, format!("[table.{key}] is no table of values"))
}

/// The file and the key of a table's section: a table of public may be written with its schema or without.
fn find(documents: &Documents, table: &TableName) -> Option<(usize, String)> {
    let (short, long) = (table.key(), format!("{}.{}", table.schema, table.name));
    documents.iter().enumerate().find_map(|(file, (_, document))| {
        [&short, &long].into_iter().find(|key| has(document, "table", key)).map(|key| (file, key.clone()))
    })
}

fn has(document: &DocumentMut, section: &str, key: &str) -> bool {
    document.get(section).and_then(Item::as_table_like).is_some_and(|section| section.contains_key(key))
}

/// Where a new table is written: beside the tables of its keyspace, else beside the keyspace, else into the first file.
fn file_for(documents: &Documents, keyspace: Option<&str>) -> usize {
    let tables = |document: &DocumentMut| {
        let section = document.get("table").and_then(Item::as_table_like);
        section.is_some_and(|section| {
            section.iter().any(|(_, line)| line.get("keyspace").and_then(Item::as_str) == keyspace)
        })
    };
    let beside = documents.iter().rposition(|(_, document)| tables(document));
    let home =
        || documents.iter().position(|(_, document)| keyspace.is_some_and(|name| has(document, "keyspace", name)));
    beside.or_else(home).unwrap_or(0)
}

/// A table that uses a vindex.
fn user(documents: &Documents, vindex: &str) -> Option<String> {
    documents.iter().find_map(|(_, document)| {
        let section = document.get("table").and_then(Item::as_table_like)?;
        let uses = |line: &Item| line.get("vindex").and_then(Item::as_str) == Some(vindex);
        section.iter().find(|(_, line)| uses(line)).map(|(name, _)| name.to_owned())
    })
}

/// `[section]` of a file; made if it is not there, without a header of its own.
fn section<'d>(document: &'d mut DocumentMut, name: &str) -> Result<&'d mut dyn toml_edit::TableLike, PgError> {
    if !document.contains_key(name) {
        let mut table = Table::new();
        table.set_implicit(true);
        document.insert(name, Item::Table(table));
    }
    document.get_mut(name).and_then(Item::as_table_like_mut).ok_or_else(|| {
        PgError::new(SqlState::CONFIG_FILE_ERROR, format!("`{name}` of the vschema file is no table of tables"))
    })
}

fn write_place(line: &mut dyn toml_edit::TableLike, place: &Place) {
    match &place.keyspace {
        Some(keyspace) => put(line, "keyspace", value(keyspace.as_str())),
        None => drop(line.remove("keyspace")),
    }
    let (kind, key, vindex, shard) = match &place.kind {
        PlaceKind::Sharded { columns, vindex } => (None, Some(columns), Some(vindex), None),
        PlaceKind::Reference => (Some("reference"), None, None, None),
        PlaceKind::Unsharded { shard } => (Some("unsharded"), None, None, shard.as_deref()),
    };
    // `type = "sharded"` goes without saying.
    set(line, "type", kind.map(value));
    set(line, "shard_key", key.map(|columns| shard_key(columns)));
    set(line, "vindex", vindex.map(|vindex| value(vindex.as_str())));
    set(line, "shard", shard.map(value));
}

fn set(line: &mut dyn toml_edit::TableLike, key: &str, item: Option<Item>) {
    match item {
        Some(item) => put(line, key, item),
        None => drop(line.remove(key)),
    }
}

/// Sets a key; what is written behind the old value stays.
fn put(line: &mut dyn toml_edit::TableLike, key: &str, mut item: Item) {
    if let (Some(old), Some(new)) = (line.get(key).and_then(Item::as_value), item.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    line.insert(key, item);
}

fn shard_key(columns: &[String]) -> Item {
    match columns {
        [only] => value(only.as_str()),
        several => value(several.iter().map(String::as_str).collect::<Array>()),
    }
}

fn written(setting: &Setting) -> Result<Value, PgError> {
    Ok(match setting {
        Setting::Text(text) => Value::from(text.as_str()),
        Setting::Number(number) => Value::from(*number),
        Setting::Flag(flag) => Value::from(*flag),
        Setting::Toml(text) => text.parse().map_err(|error: toml_edit::TomlError| {
            PgError::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("an option's value is no TOML: {}", error.message()),
            )
        })?,
    })
}
