//! From vschema files to a validated [`Vschema`]: names are resolved to numbers, vindexes are built, and whatever does not
//! fit together is refused with its file, line and a way out.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeValue, ValueDeserializer};

use crate::config::Document;
use crate::types::{KeyspaceId, ShardId, VindexId};
use crate::vindex::{self, Shards, SpecError, Step};
use crate::vschema::raw::{OneOrMany, RawNewTables, RawTable, RawTableType, RawVschema};
use crate::vschema::{Keyspace, LayoutError, NamedVindex, Table, TablePlacement, Vschema};

/// More columns than this are no shard key.
const MAX_KEY_COLUMNS: usize = 8;
/// More keyspaces or vindexes are a mistake, and their numbers have 16 bits.
const MAX_NAMES: usize = 10_000;

/// A file as text with lines and as values.
struct Source<'a> {
    document: Document<'a>,
    raw: RawVschema,
}

/// Reads, merges and validates the files of a vschema: each a name for messages and its text. `shard_names` are the server
/// configuration's shards, in its order.
pub fn load(sources: &[(String, String)], shard_names: &[String]) -> Result<Vschema, LayoutError> {
    let mut files = Vec::with_capacity(sources.len());
    let mut merged = toml::Table::new();
    for (name, text) in sources {
        let document = Document::parse(name, text)?;
        let raw = document.read()?;
        merge(&mut merged, document.read()?);
        files.push(Source { document, raw });
    }
    let mut loader = Loader { files: &files, shard_names, vschema: Vschema::default(), keyspaces: HashMap::new() };
    loader.vschema.version = 1;
    loader.vschema.shards = shard_names.to_vec();
    loader.vschema.source = merged;
    loader.keyspaces()?;
    loader.vindexes()?;
    loader.tables()?;
    let functions = files.iter().flat_map(|file| file.raw.functions.shard_local.iter().cloned());
    loader.vschema.local_functions = functions.collect();
    loader.vschema.undeclared = loader.undeclared();
    Ok(loader.vschema)
}

/// Sections come together; that no name is in two files is checked where the names are read.
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(value)) => merge(into, value),
            (Some(toml::Value::Array(into)), toml::Value::Array(value)) => into.extend(value),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

struct Loader<'a> {
    files: &'a [Source<'a>],
    shard_names: &'a [String],
    vschema: Vschema,
    keyspaces: HashMap<String, KeyspaceId>,
}

impl<'a> Loader<'a> {
    fn no_file(&self, message: &str) -> LayoutError {
        let file = self.files.first().map_or("vschema", |file| file.document.file());
        LayoutError { file: file.to_owned(), line: 1, key: String::new(), message: message.to_owned(), hint: None }
    }

    fn keyspaces(&mut self) -> Result<(), LayoutError> {
        for file in self.files {
            for name in file.document.keys(&["keyspace"]) {
                let Some(raw) = file.raw.keyspace.get(&name) else { continue };
                let error = |message: String| file.document.error(&["keyspace", &name], message);
                if self.keyspaces.contains_key(&name) {
                    let error = error(format!("keyspace \"{name}\" is in another file already"));
                    return Err(error.hint("Remove one of the two, or give it another name."));
                }
                if raw.shards.is_empty() {
                    return Err(error("the keyspace has no shards".to_owned()).hint("Write shards = [\"s0\", ...]."));
                }
                let mut shards = Vec::with_capacity(raw.shards.len());
                let mut seen = HashSet::new();
                for (index, shard) in raw.shards.iter().enumerate() {
                    let index = index.to_string();
                    let path = ["keyspace", &name, "shards", &index];
                    let Some(position) = self.shard_names.iter().position(|known| known == shard) else {
                        let error = file.document.error(&path, format!("goldseam.toml has no shard \"{shard}\""));
                        return Err(error.nearest(shard, self.shard_names.iter().map(String::as_str)));
                    };
                    if !seen.insert(position) {
                        let error = file.document.error(&path, format!("shard \"{shard}\" is in the keyspace twice"));
                        return Err(error.hint("Name each shard once."));
                    }
                    shards.push(ShardId(position as u16));
                }
                if self.vschema.keyspaces.len() >= MAX_NAMES {
                    return Err(error(format!("there are more than {MAX_NAMES} keyspaces")));
                }
                let id = KeyspaceId(self.vschema.keyspaces.len() as u16);
                if let Some(kind) = raw.new_tables {
                    let place = (id, kind == RawNewTables::Reference);
                    if self.vschema.new_tables.replace(place).is_some() {
                        let path = ["keyspace", &name, "new_tables"];
                        let error = file.document.error(&path, "another keyspace takes new tables already".to_owned());
                        return Err(error.hint("Leave new_tables in one of the two."));
                    }
                }
                self.keyspaces.insert(name.clone(), id);
                self.vschema.keyspaces.push(Keyspace { name, shards });
            }
        }
        if self.vschema.keyspaces.is_empty() {
            // One server behind a pooler needs no layout.
            if self.shard_names.len() != 1 {
                let error = self.no_file("there is no keyspace");
                return Err(error.hint("Add [keyspace.main] with shards = [\"...\"]."));
            }
            self.keyspaces.insert("main".to_owned(), KeyspaceId(0));
            self.vschema.keyspaces.push(Keyspace { name: "main".to_owned(), shards: vec![ShardId(0)] });
        }
        Ok(())
    }

    fn vindexes(&mut self) -> Result<(), LayoutError> {
        let stores: Vec<(String, ShardId)> =
            self.vschema.keyspaces.iter().map(|keyspace| (keyspace.name.clone(), keyspace.shards[0])).collect();
        for file in self.files {
            for name in file.document.keys(&["vindex"]) {
                let Some(raw) = file.raw.vindex.get(&name) else { continue };
                let document = &file.document;
                let error = |message: String| document.error(&["vindex", &name], message);
                if self.vschema.vindexes.iter().any(|other| other.name == name) {
                    let error = error(format!("vindex \"{name}\" is in another file already"));
                    return Err(error.hint("Remove one of the two, or give it another name."));
                }
                if self.vschema.vindexes.len() >= MAX_NAMES {
                    return Err(error(format!("there are more than {MAX_NAMES} vindexes")));
                }
                let Some(kind) = raw.0.get("type") else {
                    let known: Vec<_> = vindex::KINDS.iter().map(|kind| kind.name).collect();
                    let error = error("the key `type` is missing".to_owned());
                    return Err(error.hint(format!("Add type = \"...\", one of: {}.", known.join(", "))));
                };
                let Some(kind) = kind.as_str().and_then(vindex::kind) else {
                    let wrong = kind.as_str().unwrap_or_default();
                    let error = document.error(&["vindex", &name, "type"], format!("{kind} is no kind of vindex"));
                    return Err(error.nearest(wrong, vindex::KINDS.iter().map(|kind| kind.name)));
                };
                let id = self.keyspace_of(document, &name, raw.0.get("keyspace"))?;
                let keyspace = &self.vschema.keyspaces[usize::from(id.0)];
                let members: Vec<(String, ShardId)> = keyspace
                    .shards
                    .iter()
                    .map(|shard| (self.shard_names[usize::from(shard.0)].clone(), *shard))
                    .collect();
                let shards = Shards { keyspace: &keyspace.name, members: &members, stores: &stores };
                let Some(options) = document.value(&["vindex", &name]).and_then(options) else { continue };
                let vindex = (kind.build)(options, &shards).map_err(|error| located(document, &name, error))?;
                let directory = vindex.directory();
                self.vschema.vindexes.push(NamedVindex { name, keyspace: id, kind: kind.name, vindex, directory });
            }
        }
        Ok(())
    }

    /// A vindex leads to the shards of one keyspace: the one it names, else that of the tables which use it, else the only one
    /// that has anything to choose.
    fn keyspace_of(
        &self,
        document: &Document<'_>,
        vindex: &str,
        named: Option<&toml::Value>,
    ) -> Result<KeyspaceId, LayoutError> {
        if let Some(named) = named {
            let name = named.as_str().unwrap_or_default();
            let error = || document.error(&["vindex", vindex, "keyspace"], format!("there is no keyspace {named}"));
            let known = || self.vschema.keyspaces.iter().map(|keyspace| keyspace.name.as_str());
            return self.keyspaces.get(name).copied().ok_or_else(|| error().nearest(name, known()));
        }
        let mut used: Option<KeyspaceId> = None;
        for file in self.files {
            for (table, raw) in &file.raw.table {
                if raw.vindex.as_deref() != Some(vindex) {
                    continue;
                }
                // Whether the table names a keyspace that exists is for the tables' own check.
                let Some(keyspace) = self.table_keyspace(raw) else { continue };
                if self.vschema.keyspaces[usize::from(keyspace.0)].shards.len() == 1 {
                    continue;
                }
                if used.replace(keyspace).is_some_and(|before| before != keyspace) {
                    let message = format!("vindex \"{vindex}\" is used by tables of two keyspaces");
                    let error = file.document.error(&["table", table, "vindex"], message);
                    return Err(error.hint("A vindex leads to the shards of one keyspace: write one for each."));
                }
            }
        }
        if let Some(used) = used {
            return Ok(used);
        }
        let spread: Vec<_> = (0..self.vschema.keyspaces.len())
            .filter(|index| self.vschema.keyspaces.len() == 1 || self.vschema.keyspaces[*index].shards.len() > 1)
            .collect();
        match spread[..] {
            [only] => Ok(KeyspaceId(only as u16)),
            _ => {
                let error = document.error(&["vindex", vindex], "no table says which keyspace it belongs to");
                Err(error.hint("Add keyspace = \"...\"."))
            }
        }
    }

    fn table_keyspace(&self, raw: &RawTable) -> Option<KeyspaceId> {
        match &raw.keyspace {
            Some(name) => self.keyspaces.get(name).copied(),
            None if self.vschema.keyspaces.len() == 1 => Some(KeyspaceId(0)),
            None => None,
        }
    }

    fn tables(&mut self) -> Result<(), LayoutError> {
        // What each vindex's shards are is known from its keyspace; a table of another one must not use it.
        let mut homes: BTreeMap<VindexId, KeyspaceId> = BTreeMap::new();
        for file in self.files {
            for name in file.document.keys(&["vindex"]) {
                let named = file.raw.vindex.get(&name).and_then(|raw| raw.0.get("keyspace"));
                if let Some(id) = self.vindex_id(&name) {
                    homes.insert(id, self.keyspace_of(&file.document, &name, named)?);
                }
            }
        }
        for file in self.files {
            for name in file.document.keys(&["table"]) {
                let Some(raw) = file.raw.table.get(&name) else { continue };
                let table = self.table(&file.document, &name, raw, &homes)?;
                let key = (table.schema.clone(), table.name.clone());
                if self.vschema.tables.contains_key(&key) {
                    let message = format!("table {}.{} is declared already", key.0, key.1);
                    let error = file.document.error(&["table", &name], message);
                    return Err(error.hint("A table without a schema is in public: remove one of the two."));
                }
                self.vschema.tables.insert(key, Arc::new(table));
            }
        }
        Ok(())
    }

    fn vindex_id(&self, name: &str) -> Option<VindexId> {
        self.vschema.vindexes.iter().position(|vindex| vindex.name == name).map(|index| VindexId(index as u16))
    }

    fn table(
        &self,
        document: &Document<'_>,
        name: &str,
        raw: &RawTable,
        homes: &BTreeMap<VindexId, KeyspaceId>,
    ) -> Result<Table, LayoutError> {
        let whole = |message: String| document.error(&["table", name], message);
        let at = |key: &str, message: String| document.error(&["table", name, key], message);
        let (schema, bare) = name.split_once('.').unwrap_or(("public", name));
        if schema.is_empty() || bare.is_empty() || bare.contains('.') {
            let error = whole(format!("\"{name}\" is no table's name"));
            return Err(error.hint("Write orders for public.orders, or \"schema.table\"."));
        }
        let Some(keyspace) = self.table_keyspace(raw) else {
            let known = || self.vschema.keyspaces.iter().map(|keyspace| keyspace.name.as_str());
            return Err(match raw.keyspace.as_deref() {
                Some(wrong) => at("keyspace", format!("there is no keyspace \"{wrong}\"")).nearest(wrong, known()),
                None => {
                    let names: Vec<&str> = known().collect();
                    let error = whole("the key `keyspace` is missing".to_owned());
                    error.hint(format!("Add keyspace = \"...\", one of: {}.", names.join(", ")))
                }
            });
        };
        let members = &self.vschema.keyspaces[usize::from(keyspace.0)];
        let columns = match &raw.shard_key {
            None => None,
            Some(OneOrMany::One(column)) => Some(vec![column.clone()]),
            Some(OneOrMany::Many(columns)) => Some(columns.clone()),
        };
        if let Some(columns) = &columns {
            if columns.is_empty() || columns.len() > MAX_KEY_COLUMNS || columns.iter().any(String::is_empty) {
                let error = at("shard_key", "a shard key has 1 to 8 columns".to_owned());
                return Err(error.hint("Write shard_key = \"id\" or [\"a\", \"b\"]."));
            }
            if let Some(twice) = columns.iter().enumerate().find(|(at, column)| columns[..*at].contains(column)) {
                return Err(at("shard_key", format!("column \"{}\" is in the key twice", twice.1)));
            }
        }
        let vindex = match raw.vindex.as_deref() {
            None => None,
            Some(wanted) => Some(self.vindex_id(wanted).ok_or_else(|| {
                let known = self.vschema.vindexes.iter().map(|vindex| vindex.name.as_str());
                let error = at("vindex", format!("there is no vindex \"{wanted}\""));
                error.hint(format!("Add [vindex.{wanted}] with a type.")).nearest(wanted, known)
            })?),
        };
        if let Some(id) = vindex
            && self.vschema.vindex(id).vindex.lookup().is_some()
        {
            let error = at(
                "vindex",
                format!("vindex \"{}\" finds rows, and does not place them", self.vschema.vindex(id).name),
            );
            return Err(error.hint("Choose another kind for the shard key; a lookup names its table by itself."));
        }
        let kind = raw.table_type.or(columns.is_some().then_some(RawTableType::Sharded));
        let shard = match raw.shard.as_deref() {
            None => members.shards[0],
            Some(_) if kind != Some(RawTableType::Unsharded) => {
                let error = at("shard", "only an unsharded table has one shard".to_owned());
                return Err(error.hint("Remove the line, or write type = \"unsharded\"."));
            }
            Some(wanted) => {
                let named = |shard: &ShardId| self.shard_names[usize::from(shard.0)].as_str();
                members.shards.iter().copied().find(|shard| named(shard) == wanted).ok_or_else(|| {
                    let error = at("shard", format!("keyspace \"{}\" has no shard \"{wanted}\"", members.name));
                    error.nearest(wanted, members.shards.iter().map(named))
                })?
            }
        };
        if kind != Some(RawTableType::Sharded)
            && let Some(key) =
                raw.vindex.as_ref().map(|_| "vindex").or_else(|| raw.shard_key.as_ref().map(|_| "shard_key"))
        {
            let message = match kind {
                None => "a vindex needs a shard key".to_owned(),
                Some(_) => "only a sharded table has one".to_owned(),
            };
            return Err(at(key, message).hint("Sharded tables have shard_key and vindex, others neither."));
        }
        let placement = match (kind, columns, vindex) {
            (Some(RawTableType::Sharded), None, _) => {
                let error = whole("a sharded table needs a shard key".to_owned());
                return Err(error.hint("Add shard_key = \"...\" and vindex = \"...\"."));
            }
            (Some(RawTableType::Sharded), Some(_), None) => {
                let error = whole("a sharded table needs a vindex".to_owned());
                return Err(error.hint("Add vindex = \"...\" with the name of a [vindex...] table."));
            }
            // With one shard there is nothing to choose, and nothing to refuse.
            _ if members.shards.len() == 1 => TablePlacement::Unsharded { shard },
            (Some(RawTableType::Sharded), Some(columns), Some(vindex)) => {
                if homes.get(&vindex) != Some(&keyspace) {
                    let message = format!("the vindex leads to another keyspace than \"{}\"", members.name);
                    let error = at("vindex", message);
                    return Err(error.hint("Use a vindex of the table's keyspace."));
                }
                TablePlacement::Sharded { columns, vindex }
            }
            (Some(RawTableType::Reference), ..) => TablePlacement::Reference,
            (Some(RawTableType::Unsharded), ..) => TablePlacement::Unsharded { shard },
            (None, ..) => {
                let message =
                    format!("keyspace \"{}\" has several shards, and nothing says where the rows go", members.name);
                let hint = "Add shard_key and vindex, or type = \"reference\" or \"unsharded\".";
                return Err(whole(message).hint(hint));
            }
        };
        Ok(Table { schema: schema.to_owned(), name: bare.to_owned(), keyspace, placement })
    }

    /// See [`Vschema::undeclared`].
    fn undeclared(&self) -> Option<KeyspaceId> {
        let keyspaces = &self.vschema.keyspaces;
        let alone = |index: &usize| {
            let [shard] = keyspaces[*index].shards[..] else { return false };
            keyspaces.iter().enumerate().all(|(other, keyspace)| other == *index || !keyspace.shards.contains(&shard))
        };
        let mut candidates = (0..keyspaces.len()).filter(alone);
        match (candidates.next(), candidates.next()) {
            (Some(only), None) => Some(KeyspaceId(only as u16)),
            _ => None,
        }
    }
}

/// The kind's own options, with their places in the file.
fn options<'i>(value: &Spanned<DeValue<'i>>) -> Option<ValueDeserializer<'i>> {
    let mut options = value.get_ref().as_table()?.clone();
    options.remove("type");
    options.remove("keyspace");
    Some(ValueDeserializer::from(Spanned::new(value.span(), DeValue::Table(options))))
}

/// A vindex's complaint, with its line.
fn located(document: &Document<'_>, vindex: &str, error: SpecError) -> LayoutError {
    if error.span.is_some() {
        return document.from_message(error.span, &error.message);
    }
    let mut path = vec!["vindex".to_owned(), vindex.to_owned()];
    path.extend(error.path.into_iter().map(|step| match step {
        Step::Key(key) => key,
        Step::Index(index) => index.to_string(),
    }));
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    LayoutError { hint: error.hint, ..document.error(&path, error.message) }
}
