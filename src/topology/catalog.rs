//! What one shard's catalog says, and one picture of all.
//!
//! Shards should have the same tables, but nothing forces them to. Where they differ, the picture takes the more cautious word: a key on
//! any shard is a key, a sequence on any is a sequence. `goldseam check` compares the parts and names the differences.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::backend::{Backend, Rows};
use crate::catalog::{Catalog, Column, ColumnDefault, Function, Relation, RelationKind, Supply, Trigger};
use crate::error::PgError;
use crate::sqlstate::SqlState;
use crate::topology::queries;
use crate::types::ShardId;

/// What one shard said of itself. The relations' `shards` are empty here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ShardCatalog {
    /// Such as 150013.
    pub server_version: u32,
    /// 0: it cannot take part in a two-phase commit.
    pub max_prepared_transactions: u32,
    /// A standby: no writes here.
    pub in_recovery: bool,
    /// Every relation outside the system schemas, by schema and name.
    pub relations: BTreeMap<(String, String), Facts>,
    /// User functions by name.
    pub functions: BTreeMap<String, Function>,
    /// The names of all relations of `pg_catalog`.
    pub system_relations: BTreeSet<String>,
    /// The names of aggregates and window functions outside `pg_catalog`.
    pub aggregates: BTreeSet<String>,
    /// The names of functions that return sets.
    pub set_functions: BTreeSet<String>,
    /// The database's default collation compares bytes.
    pub bytewise: bool,
}

/// A relation as one shard has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What kind it is.
    pub kind: RelationKind,
    /// In the order of `attnum`.
    pub columns: Vec<ColumnFacts>,
    /// Positions in `columns`.
    pub unique_keys: Vec<Vec<usize>>,
    /// Positions in `columns`.
    pub primary_key: Vec<usize>,
    /// Triggers or rules of users exist.
    pub has_triggers: bool,
    /// The triggers; empty if there are rules too.
    pub triggers: Vec<Trigger>,
    /// Row-level security is on.
    pub row_security: bool,
    /// Foreign keys carry its changes on.
    pub cascades: bool,
    /// A view's query.
    pub definition: Option<String>,
}

/// A column as one shard has it: comparable, other than [`Column`].
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnFacts {
    /// Its name.
    pub name: String,
    /// Domains are followed to their base type.
    pub type_oid: u32,
    /// As `format_type` prints it.
    pub type_name: String,
    /// NULL is refused.
    pub not_null: bool,
    /// What an INSERT puts where it names no value.
    pub default: ColumnDefault,
    /// Its collation calls different bytes equal.
    pub nondeterministic: bool,
    /// Its collation compares bytes, or it has none.
    pub bytewise: bool,
    /// Its collation is its type's own.
    pub plain_collation: bool,
    /// How its default makes a value.
    pub supply: Supply,
    /// Its type is a domain.
    pub domain: bool,
    /// Its collation, where it is not the type's own.
    pub collation: Option<String>,
}

/// Whoever can be asked what a catalog says.
pub trait Source {
    /// Why it may not answer.
    type Error: From<PgError>;

    /// The rows of a query, as text.
    fn query(&mut self, sql: &str) -> impl Future<Output = Result<Rows, Self::Error>> + Send;

    /// The shard's name.
    fn shard_name(&self) -> String;
}

impl Source for Backend {
    type Error = PgError;

    fn query(&mut self, sql: &str) -> impl Future<Output = Result<Rows, PgError>> + Send {
        Backend::query(self, sql)
    }

    fn shard_name(&self) -> String {
        self.shard_name.to_string()
    }
}

impl ShardCatalog {
    /// Asks a server. All questions see one snapshot.
    pub async fn read<S: Source>(backend: &mut S) -> Result<ShardCatalog, S::Error> {
        backend.query("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await?;
        // So every name is printed with its schema, but for PostgreSQL's own.
        backend.query("SET LOCAL search_path TO pg_catalog").await?;
        // Compiling the question about columns takes 200 ms, answering it 7.
        backend.query("SET LOCAL jit TO off").await?;
        let server = backend.query(queries::SERVER).await?;
        let relations = backend.query(queries::RELATIONS).await?;
        let columns = backend.query(queries::COLUMNS).await?;
        let keys = backend.query(queries::UNIQUE_KEYS).await?;
        let triggers = backend.query(queries::TRIGGERS).await?;
        let functions = backend.query(queries::FUNCTIONS).await?;
        let system = backend.query(queries::SYSTEM_RELATIONS).await?;
        let aggregates = backend.query(queries::AGGREGATES).await?;
        let set_functions = backend.query(queries::SET_FUNCTIONS).await?;
        backend.query("COMMIT").await?;
        let shard = backend.shard_name();
        let answers =
            Answers { server, relations, columns, keys, triggers, functions, system, aggregates, set_functions };
        build(answers).ok_or_else(|| {
            PgError::new(
                SqlState::INTERNAL_ERROR,
                format!("the catalog of shard \"{shard}\" answers in an unknown form"),
            )
            .with_hint("Goldseam reads the catalogs of PostgreSQL 12 and later.")
            .into()
        })
    }

    /// This catalog with all that another's change from `old` to `new` has brought: both shards were told the same.
    pub fn changed_alike(&self, old: &ShardCatalog, new: &ShardCatalog) -> ShardCatalog {
        let mut own = self.clone();
        follow(&mut own.relations, &old.relations, &new.relations);
        follow(&mut own.functions, &old.functions, &new.functions);
        for (mine, old, new) in [
            (&mut own.aggregates, &old.aggregates, &new.aggregates),
            (&mut own.set_functions, &old.set_functions, &new.set_functions),
        ] {
            mine.retain(|name| new.contains(name) || !old.contains(name));
            mine.extend(new.difference(old).cloned());
        }
        own
    }
}

/// What has come, gone or changed from one map to another does so in a third.
fn follow<K: Ord + Clone, V: PartialEq + Clone>(own: &mut BTreeMap<K, V>, old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) {
    own.retain(|key, _| new.contains_key(key) || !old.contains_key(key));
    for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(*value)) {
        own.insert(key.clone(), value.clone());
    }
}

/// What the questions were answered.
struct Answers {
    server: Rows,
    relations: Rows,
    columns: Rows,
    keys: Rows,
    triggers: Rows,
    functions: Rows,
    system: Rows,
    aggregates: Rows,
    set_functions: Rows,
}

fn build(answers: Answers) -> Option<ShardCatalog> {
    let Answers { server, relations, columns, keys, triggers, functions, system, aggregates, set_functions } = answers;
    let mut server = Row(server.into_iter().next()?.into_iter());
    let mut catalog = ShardCatalog {
        server_version: server.number()?,
        max_prepared_transactions: server.number()?,
        in_recovery: server.flag()?,
        bytewise: server.flag()?,
        ..ShardCatalog::default()
    };
    // By oid until all facts are together; the attribute numbers beside the columns they number.
    let mut found: HashMap<u32, (String, String, Facts, Vec<i32>)> = HashMap::with_capacity(relations.len());
    for row in relations {
        let mut row = Row(row.into_iter());
        let (oid, schema, name, kind) = (row.number()?, row.text()?, row.text()?, row.text()?);
        let kind = match kind.as_str() {
            "v" => RelationKind::View,
            "m" => RelationKind::MaterializedView,
            "S" => RelationKind::Sequence,
            _ => RelationKind::Table,
        };
        let facts = Facts {
            kind,
            columns: Vec::new(),
            unique_keys: Vec::new(),
            primary_key: Vec::new(),
            has_triggers: row.flag()?,
            triggers: Vec::new(),
            row_security: row.flag()?,
            cascades: row.flag()?,
            definition: row.optional()?,
        };
        found.insert(oid, (schema, name, facts, Vec::new()));
    }
    for row in columns {
        let mut row = Row(row.into_iter());
        let (relation, number) = (row.number()?, row.number::<i32>()?);
        let column = ColumnFacts {
            name: row.text()?,
            type_oid: row.number()?,
            type_name: row.text()?,
            not_null: row.flag()?,
            default: match row.text()?.as_str() {
                "g" => ColumnDefault::Generated,
                "s" => ColumnDefault::Sequence,
                "e" => ColumnDefault::Expression,
                "m" => ColumnDefault::Moment,
                _ => ColumnDefault::None,
            },
            nondeterministic: row.flag()?,
            bytewise: row.flag()?,
            plain_collation: row.flag()?,
            supply: Supply {
                always: row.flag()?,
                expression: row.optional()?,
                sequence: row.optional()?.zip(row.optional()?),
            },
            domain: row.flag()?,
            collation: row.optional()?,
        };
        if let Some((_, _, facts, numbers)) = found.get_mut(&relation) {
            facts.columns.push(column);
            numbers.push(number);
        }
    }
    for row in keys {
        let mut row = Row(row.into_iter());
        let (relation, count, key, primary) = (row.number()?, row.number::<usize>()?, row.text()?, row.flag()?);
        if let Some((_, _, facts, numbers)) = found.get_mut(&relation) {
            let key = key.split_whitespace().take(count).filter_map(|number| number.parse::<i32>().ok());
            let positions = key.filter_map(|number| numbers.iter().position(|&found| found == number));
            let positions: Vec<usize> = positions.collect();
            if primary {
                facts.primary_key = positions.clone();
            }
            facts.unique_keys.push(positions);
        }
    }
    let mut ruled = BTreeSet::new();
    for row in triggers {
        let mut row = Row(row.into_iter());
        let (relation, function) = (row.number::<u32>()?, row.optional()?);
        let (source, system, shapes_rows, on_insert) = (row.optional()?, row.flag()?, row.flag()?, row.flag()?);
        match (found.get_mut(&relation), function) {
            (Some((_, _, facts, _)), Some(function)) => {
                facts.triggers.push(Trigger { function, source, system, shapes_rows, on_insert });
            }
            _ => drop(ruled.insert(relation)),
        }
    }
    for relation in ruled {
        if let Some((_, _, facts, _)) = found.get_mut(&relation) {
            facts.triggers.clear();
        }
    }
    catalog.relations = found.into_values().map(|(schema, name, facts, _)| ((schema, name), facts)).collect();
    for row in functions {
        let mut row = Row(row.into_iter());
        catalog.functions.insert(row.text()?, Function { immutable: row.flag()?, closed: row.flag()? });
    }
    for row in system {
        catalog.system_relations.insert(Row(row.into_iter()).text()?);
    }
    for row in aggregates {
        catalog.aggregates.insert(Row(row.into_iter()).text()?);
    }
    for row in set_functions {
        catalog.set_functions.insert(Row(row.into_iter()).text()?);
    }
    Some(catalog)
}

/// A row's values from left to right.
struct Row(std::vec::IntoIter<Option<String>>);

impl Row {
    fn text(&mut self) -> Option<String> {
        self.0.next()?
    }

    /// A value that may be NULL.
    fn optional(&mut self) -> Option<Option<String>> {
        self.0.next()
    }

    fn number<N: std::str::FromStr>(&mut self) -> Option<N> {
        self.text()?.parse().ok()
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.text()? == "t")
    }
}

/// One picture of what all shards said; those that never answered are taken to be like the others.
pub fn merge(version: u64, shards: &[Option<Arc<ShardCatalog>>]) -> Catalog {
    // Of a shard that has not been asked nothing is certain.
    let bytewise = !shards.is_empty() && shards.iter().all(|part| part.as_ref().is_some_and(|part| part.bytewise));
    let mut catalog = Catalog { version, bytewise, ..Catalog::default() };
    let mut relations: BTreeMap<&(String, String), Relation> = BTreeMap::new();
    for (index, part) in shards.iter().enumerate() {
        let Some(part) = part else { continue };
        for (name, facts) in &part.relations {
            relations
                .entry(name)
                .and_modify(|known| join(known, facts))
                .or_insert_with(|| relation(name, facts))
                .shards
                .push(ShardId(index as u16));
        }
        for (name, function) in &part.functions {
            let known = catalog.functions.entry(name.clone()).or_insert(*function);
            known.immutable &= function.immutable;
            known.closed &= function.closed;
        }
        catalog.system_relations.extend(part.system_relations.iter().cloned());
        catalog.aggregates.extend(part.aggregates.iter().cloned());
        catalog.set_functions.extend(part.set_functions.iter().cloned());
    }
    // A shard that has not been asked yet is taken to have what the others have: where it matters, its own answer decides.
    let unread = |index: &usize| shards[*index].is_none();
    let all_read = shards.iter().all(Option::is_some);
    for relation in relations.values_mut() {
        if !all_read {
            relation.columns.iter_mut().for_each(|column| column.bytewise = false);
        }
        relation.shards.extend((0..shards.len()).filter(unread).map(|index| ShardId(index as u16)));
        relation.shards.sort();
    }
    let views = relations.values().filter(|relation| relation.kind == RelationKind::View);
    catalog.views = views.map(|relation| relation.name.clone()).collect();
    catalog.relations = relations.into_iter().map(|(name, relation)| (name.clone(), Arc::new(relation))).collect();
    catalog
}

fn relation((schema, name): &(String, String), facts: &Facts) -> Relation {
    let column = |column: &ColumnFacts| Column {
        name: column.name.clone(),
        type_oid: column.type_oid,
        type_name: column.type_name.clone(),
        not_null: column.not_null,
        default: column.default,
        nondeterministic: column.nondeterministic,
        bytewise: column.bytewise,
        plain_collation: column.plain_collation,
        supply: column.supply.clone(),
        domain: column.domain,
        collation: column.collation.clone(),
    };
    Relation {
        schema: schema.clone(),
        name: name.clone(),
        kind: facts.kind,
        shards: Vec::new(),
        columns: facts.columns.iter().map(column).collect(),
        unique_keys: facts.unique_keys.clone(),
        primary_key: facts.primary_key.clone(),
        has_triggers: facts.has_triggers,
        triggers: facts.triggers.clone(),
        row_security: facts.row_security,
        cascades: facts.cascades,
        definition: facts.definition.clone(),
    }
}

/// Adds another shard's word on the same relation, columns matched by name.
fn join(known: &mut Relation, facts: &Facts) {
    // What one shard does not tell of its triggers stays untold.
    let untold = (known.has_triggers && known.triggers.is_empty()) || (facts.has_triggers && facts.triggers.is_empty());
    known
        .triggers
        .extend(facts.triggers.iter().filter(|trigger| !known.triggers.contains(trigger)).cloned().collect::<Vec<_>>());
    if untold {
        known.triggers.clear();
    }
    known.has_triggers |= facts.has_triggers;
    known.row_security |= facts.row_security;
    known.cascades |= facts.cascades;
    if known.definition != facts.definition {
        known.definition = None;
    }
    for column in &facts.columns {
        if let Some(index) = known.column(&column.name) {
            let known = &mut known.columns[index];
            known.not_null &= column.not_null;
            known.nondeterministic |= column.nondeterministic;
            known.bytewise &= column.bytewise;
            known.plain_collation &= column.plain_collation;
            if known.supply != column.supply {
                known.supply = Supply::default();
            }
            if caution(column.default) > caution(known.default) {
                known.default = column.default;
            }
        }
    }
    let names = facts.primary_key.iter().filter_map(|&index| facts.columns.get(index)).map(|column| &column.name);
    if !names.eq(known.primary_key.iter().filter_map(|&index| known.columns.get(index)).map(|column| &column.name)) {
        known.primary_key.clear();
    }
    for key in &facts.unique_keys {
        let mut positions: Vec<usize> =
            key.iter().filter_map(|&index| known.column(&facts.columns.get(index)?.name)).collect();
        positions.dedup();
        if !known.unique_keys.contains(&positions) {
            known.unique_keys.push(positions);
        }
    }
}

/// Which of two defaults rules more statements out.
fn caution(default: ColumnDefault) -> u8 {
    match default {
        ColumnDefault::None => 0,
        ColumnDefault::Expression => 1,
        ColumnDefault::Moment => 2,
        ColumnDefault::Generated => 3,
        ColumnDefault::Sequence => 4,
    }
}
