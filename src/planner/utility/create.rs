//! CREATE TABLE: where the new table's rows will be, and what then cannot be promised of them; CREATE INDEX; CREATE VIEW.

use std::ops::Range;

use sqlparser::ast::{Statement, visit_relations};

use super::super::{Context, plan_query, refuse, scope};
use super::comment;
use super::homes::{self, Home, Named};
use super::judge::{self, Site};
use super::reader::Reader;
use super::shape::{Shape, Unique, plain};
use crate::catalog::RelationKind;
use crate::error::PgError;
use crate::plan::gather::{Piece, Text};
use crate::plan::work::definition::{Definition, Fill, Manner, Part};
use crate::plan::{Fallback, Route, Verdict};
use crate::sql::parse;
use crate::sqlstate::SqlState;
use crate::types::{KeyspaceId, VindexId};
use crate::vschema::TablePlacement;
use crate::vschema::alter::{Change, Place, PlaceKind, TableName};

/// CREATE TABLE; the reader is behind the word TABLE.
pub fn table(context: &Context<'_>, mut reader: Reader<'_>) -> Result<Route, PgError> {
    let text = reader.text;
    let comment = comment::place(context, text, reader.tokens)?;
    let optional = reader.eat_exists();
    let Some((parts, _)) = reader.qualified() else {
        // A syntax error is PostgreSQL's to report.
        return Ok(homes::on_all(context, "a new table"));
    };
    let named = homes::relation(context, &parts);
    if let (Some(relation), true) = (&named.relation, optional || comment.is_none()) {
        let whole = named.table.as_ref().is_none_or(|table| homes::placed(context, table) == relation.shards);
        if optional || whole {
            // It is there already: PostgreSQL says so.
            return Ok(homes::about(context, &named, 0..0));
        }
    }
    let body = reader;
    let parents = parents(context, body);
    let placed = place(context, &named, comment, &parents)?;
    let site = site(context, &named.name, &placed)?;
    let mut shape = Shape::default();
    let mut inner = body;
    let partition = inner.eat_all(&["partition", "of"]) && inner.qualified().is_some();
    if inner.eat("of") {
        let _ = inner.qualified();
    }
    if let Some(list) = inner.parenthesized() {
        shape = Shape::read(&inner, list);
    }
    let query = query(inner);
    if let (TablePlacement::Sharded { columns, .. }, None, false) = (&site.placement, query.clone(), partition) {
        let inherits = body.tokens.iter().any(|token| ["like", "inherits"].iter().any(|word| token.is(text, word)));
        let written = |column: &String| shape.columns.iter().any(|(name, _)| name == column);
        if let Some(missing) = columns.iter().find(|column| !written(column)).filter(|_| !inherits) {
            return Err(PgError::new(
                SqlState::UNDEFINED_COLUMN,
                format!("table \"{}\" has no column \"{missing}\", which is its shard key", site.name.name),
            )
            .with_detail(format!("Its place is: {}.", shown(context, &site)))
            .with_hint("Correct the shard key in the comment or in the vschema, or add the column."));
        }
    }
    judge::shape(context, text, &site, &shape)?;
    let why = format!("table {}: {}", site.name.name, shown(context, &site));
    let changes = match placed {
        Placed::New(place) => vec![Change::Place { table: named.name.clone(), place }],
        Placed::Known(_) => Vec::new(),
    };
    if let Some(query) = query {
        return filled(context, body, query, &site, changes, why);
    }
    Ok(homes::route(Definition { changes, ..homes::same(site.shards) }, why))
}

/// Where a new table goes.
enum Placed {
    /// The vschema says so already.
    Known(Site),
    /// It will.
    New(Place),
}

fn place(context: &Context<'_>, named: &Named, comment: Option<Place>, parents: &[Named]) -> Result<Placed, PgError> {
    if let Some(place) = comment {
        return Ok(Placed::New(place));
    }
    if let Some(site) = named.table.as_ref().and_then(|_| Site::of(named, context)) {
        return Ok(Placed::Known(site));
    }
    // A partition, or a child of another kind, is a part of its parent's rows.
    if let Some(parent) = parents.first().and_then(|parent| Site::of(parent, context)) {
        return Ok(match place_of(context, &parent) {
            Some(place) => Placed::New(place),
            None => Placed::Known(Site { name: named.name.clone(), ..parent }),
        });
    }
    let vschema = context.vschema;
    if let Some((keyspace, reference)) = vschema.new_tables {
        let kind = if reference { PlaceKind::Reference } else { PlaceKind::Unsharded { shard: None } };
        return Ok(Placed::New(Place { keyspace: Some(vschema.keyspace(keyspace).name.clone()), kind }));
    }
    if let Some(keyspace) = vschema.undeclared
        && let Some(shard) = vschema.keyspace(keyspace).shards.first()
    {
        let (name, shards) = (named.name.clone(), vec![*shard]);
        let placement = TablePlacement::Unsharded { shard: *shard };
        return Ok(Placed::Known(Site { name, keyspace: Some(keyspace), placement, shards }));
    }
    let name = named.name.key();
    Err(PgError::unsupported(format!("CREATE TABLE \"{}\" in no keyspace", named.name.name))
        .with_detail("Nothing says how its rows would be spread over the shards.")
        .with_hint(format!(
            "Say it in the statement: /* goldseam: shard_key=column vindex=name */, /* goldseam: reference */ or /* goldseam: shard=name */. \
             Or in the vschema before: ALTER VSCHEMA ADD TABLE {name} TYPE reference, ALTER VSCHEMA ON {name} ADD VINDEX name (column), \
             or [table.{name}] in its file. new_tables = \"unsharded\" in a keyspace places all others there."
        )))
}

/// A place by names, as a file has it.
fn place_of(context: &Context<'_>, site: &Site) -> Option<Place> {
    let vschema = context.vschema;
    let keyspace = Some(vschema.keyspace(site.keyspace?).name.clone());
    let kind = match &site.placement {
        TablePlacement::Sharded { columns, vindex } => {
            PlaceKind::Sharded { columns: columns.clone(), vindex: vschema.vindex(*vindex).name.clone() }
        }
        TablePlacement::Reference => PlaceKind::Reference,
        TablePlacement::Unsharded { shard } => {
            PlaceKind::Unsharded { shard: Some(vschema.shard_name(*shard).to_owned()) }
        }
    };
    Some(Place { keyspace, kind })
}

fn site(context: &Context<'_>, name: &TableName, placed: &Placed) -> Result<Site, PgError> {
    let place = match placed {
        Placed::Known(site) => return Ok(site.clone()),
        Placed::New(place) => place,
    };
    let vschema = context.vschema;
    let keyspace = vschema.keyspaces.iter().position(|known| Some(&known.name) == place.keyspace.as_ref()).unwrap_or(0);
    let all = &vschema.keyspaces[keyspace].shards;
    let single = match &place.kind {
        PlaceKind::Unsharded { shard: Some(shard) } => vschema.shard(shard),
        PlaceKind::Unsharded { shard: None } => all.first().copied(),
        _ if all.len() == 1 => all.first().copied(),
        _ => None,
    };
    let placement = match (single, &place.kind) {
        (Some(shard), _) => TablePlacement::Unsharded { shard },
        (None, PlaceKind::Sharded { columns, vindex }) => {
            let id = vschema.vindexes.iter().position(|known| known.name == *vindex).ok_or_else(|| {
                PgError::new(SqlState::UNDEFINED_OBJECT, format!("vindex \"{vindex}\" does not exist"))
            })?;
            TablePlacement::Sharded { columns: columns.clone(), vindex: VindexId(id as u16) }
        }
        (None, _) => TablePlacement::Reference,
    };
    let shards = single.map_or_else(|| all.clone(), |shard| vec![shard]);
    Ok(Site { name: name.clone(), keyspace: Some(KeyspaceId(keyspace as u16)), placement, shards })
}

fn shown(context: &Context<'_>, site: &Site) -> String {
    match &site.placement {
        TablePlacement::Sharded { columns, vindex } => {
            format!("sharded by {} with {}", columns.join(", "), context.vschema.vindex(*vindex).name)
        }
        TablePlacement::Reference => "a copy on every shard".into(),
        TablePlacement::Unsharded { shard } => format!("unsharded, on {}", context.vschema.shard_name(*shard)),
    }
}

/// The tables of PARTITION OF and INHERITS.
fn parents(context: &Context<'_>, mut reader: Reader<'_>) -> Vec<Named> {
    if reader.eat_all(&["partition", "of"]) {
        return reader.qualified().map(|(parts, _)| homes::relation(context, &parts)).into_iter().collect();
    }
    if !reader.skip_to(&["inherits"]) {
        return Vec::new();
    }
    let list = reader.parenthesized().map(|range| reader.list(range)).unwrap_or_default();
    let names = list.into_iter().filter_map(|one| reader.within(one).qualified());
    names.map(|(parts, _)| homes::relation(context, &parts)).collect()
}

/// The query of CREATE TABLE AS.
fn query(mut reader: Reader<'_>) -> Option<Range<usize>> {
    if !reader.skip_to(&["as"]) {
        return None;
    }
    let from = reader.at;
    let last = reader.tokens.len();
    let word = |at: usize, word: &str| reader.tokens.get(at).is_some_and(|token| token.is(reader.text, word));
    // `WITH [NO] DATA`.
    let end = match last {
        n if n >= 3 && word(n - 1, "data") && word(n - 2, "no") && word(n - 3, "with") => n - 3,
        n if n >= 2 && word(n - 1, "data") && word(n - 2, "with") => n - 2,
        n => n,
    };
    Some(from..end)
}

/// CREATE TABLE AS: on the shard where the query can be answered, if that is where the table goes.
fn filled(
    context: &Context<'_>,
    reader: Reader<'_>,
    query: Range<usize>,
    site: &Site,
    changes: Vec<Change>,
    why: String,
) -> Result<Route, PgError> {
    let tokens = reader.tokens.get(query.clone()).unwrap_or(&[]);
    let no_data = reader.tokens.get(query.end + 1).is_some_and(|token| token.is(reader.text, "no"));
    if no_data {
        return Ok(homes::route(Definition { changes, ..homes::same(site.shards.clone()) }, why));
    }
    if let [shard] = site.shards[..]
        && let Verdict::Route(route) = plan_query(context, reader.text, tokens, false).verdict
        && route.work.is_none()
        && route.keyed.is_empty()
        && route.fixed.is_none_or(|fixed| fixed == shard)
        && route.keyspaces.iter().all(|keyspace| context.vschema.keyspace(*keyspace).shards.contains(&shard))
        && route.fallback != Fallback::Home
    {
        return Ok(homes::route(Definition { changes, ..homes::same(site.shards.clone()) }, why));
    }
    let there = |named: &Named| match &named.home {
        Home::Shards(home) => site.shards.iter().all(|shard| home.contains(shard)),
        _ => true,
    };
    if let Some(elsewhere) = read(context, &reader, query.clone()).iter().find(|named| !there(named)) {
        return Err(PgError::unsupported(format!(
            "CREATE TABLE \"{}\" AS reads table \"{}\", which is not on all of its shards",
            site.name.name, elsewhere.name.name
        ))
        .with_detail(format!("The new table's place: {}.", shown(context, site)))
        .with_hint("CREATE TABLE with its columns first, and then INSERT INTO it SELECT."));
    }
    // Two steps: the table, and then an INSERT of the query, which is planned as any other.
    let query = query.start as u32..query.end as u32;
    let pieces = vec![Piece::Tokens(0..query.end), Piece::Words("WITH NO DATA".into())];
    let parts = vec![Part { shards: site.shards.clone(), text: Some(Text { pieces }) }];
    let fill = Some(Fill { query, table: site.name.clone() });
    Ok(homes::route(Definition { parts, changes, fill, ..Definition::default() }, why))
}

/// CREATE [UNIQUE] INDEX; the reader is behind the word INDEX.
pub fn index(context: &Context<'_>, mut reader: Reader<'_>, unique: bool) -> Result<Route, PgError> {
    let concurrently = reader.eat("concurrently");
    let at = reader.peek().map_or(0, |token| token.start);
    if !reader.skip_to(&["on"]) {
        return Ok(homes::on_all(context, "an index"));
    }
    let _ = reader.eat("only");
    let Some((parts, tokens)) = reader.qualified() else { return Ok(homes::on_all(context, "an index")) };
    let named = homes::relation(context, &parts);
    if reader.eat("using") {
        let _ = reader.name();
    }
    if let (true, Some(list), Some(site)) = (unique, reader.parenthesized(), Site::of(&named, context)) {
        let columns = reader.list(list).into_iter().map(|one| plain(&reader.within(one))).collect();
        judge::unique(reader.text, &site, &Unique { what: "unique index", columns, at })?;
    }
    let route = homes::about(context, &named, tokens);
    Ok(if concurrently { homes::in_manner(route, Manner::OneByOne) } else { route })
}

/// CREATE VIEW; the reader is behind the word VIEW.
pub fn view(context: &Context<'_>, mut reader: Reader<'_>, materialized: bool) -> Result<Route, PgError> {
    let _ = reader.eat_exists();
    let Some((parts, _)) = reader.qualified() else { return Ok(homes::on_all(context, "a view")) };
    let view = homes::relation(context, &parts);
    if let Some(relation) = view.relation.as_ref().filter(|relation| relation.kind != RelationKind::View) {
        return Ok(homes::route(homes::same(relation.shards.clone()), homes::reason(context, &view)));
    }
    let Some(query) = query(reader) else { return Ok(homes::on_all(context, "a view")) };
    let read = read(context, &reader, query);
    let (mut shards, mut temporary, mut why) = (homes::everywhere(context), false, Vec::new());
    for named in &read {
        match &named.home {
            Home::Shards(home) => {
                why.push(homes::reason(context, named));
                shards.retain(|shard| home.contains(shard));
            }
            Home::Temporary => temporary = true,
            Home::Unknown | Home::System => {}
        }
    }
    let name = &view.name.name;
    if temporary {
        return Err(refuse::construct("a view of a temporary table"));
    }
    if shards.is_empty() {
        return Err(PgError::unsupported(format!("view \"{name}\" reads tables that are together on no shard"))
            .with_detail(why.join("; "))
            .with_hint("Place the unsharded tables on a shard of the keyspace, or make them reference tables."));
    }
    if materialized {
        let spread = |named: &&Named| {
            let sharded =
                matches!(named.table.as_deref().map(|table| &table.placement), Some(TablePlacement::Sharded { .. }));
            let view = named.relation.as_ref().is_some_and(|relation| relation.kind == RelationKind::View);
            matches!(&named.home, Home::Shards(home) if home.len() > 1) && (sharded || view)
        };
        if let Some(sharded) = read.iter().find(spread) {
            return Err(PgError::unsupported(format!(
                "materialized view \"{name}\" would keep the rows of \"{}\" of one shard only",
                sharded.name.name
            ))
            .with_detail("REFRESH runs on each server by itself.")
            .with_hint("CREATE TABLE AS keeps a result; INSERT ... SELECT brings it up to date."));
        }
        let shard = shards.first().copied().unwrap_or(context.vschema.home());
        let has = |keyspace: &&crate::vschema::Keyspace| keyspace.shards.contains(&shard);
        let keyspace = context.vschema.keyspaces.iter().find(has).map(|keyspace| keyspace.name.clone());
        let kind = PlaceKind::Unsharded { shard: Some(context.vschema.shard_name(shard).to_owned()) };
        let change = Change::Place { table: view.name.clone(), place: Place { keyspace, kind } };
        let changes = if view.table.is_none() { vec![change] } else { Vec::new() };
        return Ok(homes::route(Definition { changes, ..homes::same(vec![shard]) }, why.join("; ")));
    }
    Ok(homes::route(homes::same(shards), if why.is_empty() { "a view of no table".into() } else { why.join("; ") }))
}

/// The relations that a query reads: by its syntax tree, or else every one whose name stands in it.
fn read(context: &Context<'_>, reader: &Reader<'_>, query: Range<usize>) -> Vec<Named> {
    let tokens = reader.tokens.get(query.clone()).unwrap_or(&[]);
    let Ok(statement @ Statement::Query(_)) = parse::parse(reader.text, tokens) else {
        return homes::mentioned(context, reader, query);
    };
    let mut found: Vec<Named> = Vec::new();
    let _ = visit_relations(&statement, |name| {
        if let Some(parts) = scope::parts(name) {
            let named = homes::relation(context, &parts);
            if named.table.is_some() || named.relation.is_some() || named.home == Home::Temporary {
                found.push(named);
            }
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    found
}
