//! Layouts as data: what a file becomes, and what is refused in which words.

use super::*;
use crate::types::cases::check;

fn shards() -> Vec<String> {
    (0..4).map(|shard| format!("s{shard}")).collect()
}

/// A case: a file, perhaps a second one after `=== name`.
fn case(input: &str) -> String {
    let (first, second) =
        input.split_once("=== second.toml\n").map_or((input, None), |(first, rest)| (first, Some(rest)));
    let mut sources = vec![("commerce.toml".to_owned(), first.to_owned())];
    sources.extend(second.map(|text| ("second.toml".to_owned(), text.to_owned())));
    let vschema = match load(&sources, &shards()) {
        Ok(vschema) => vschema,
        Err(error) => return error.to_string(),
    };
    let mut lines: Vec<String> = vschema
        .tables
        .values()
        .map(|table| {
            let place = match &table.placement {
                TablePlacement::Sharded { columns, vindex } => {
                    format!("{} ({})", vschema.vindex(*vindex).name, columns.join(", "))
                }
                TablePlacement::Reference => "reference".to_owned(),
                TablePlacement::Unsharded { shard } => format!("unsharded on {}", vschema.shard_name(*shard)),
            };
            format!("{}.{} in {}: {place}", table.schema, table.name, vschema.keyspace(table.keyspace).name)
        })
        .collect();
    lines.sort();
    let undeclared = vschema.undeclared.map_or("nowhere", |keyspace| &vschema.keyspace(keyspace).name);
    lines.push(format!("home {}, undeclared tables: {undeclared}", vschema.shard_name(vschema.home())));
    lines.join("\n")
}

#[test]
fn layouts_are_read_or_refused_as_their_cases_say() {
    check("src/vschema/cases/layouts.txt", case);
}

#[test]
fn the_sample_is_valid_and_shows_as_what_it_says() {
    let sources = [("commerce.toml".to_owned(), include_str!("../../vschema/commerce.toml").to_owned())];
    let vschema = load(&sources, &shards()).unwrap();
    assert_eq!(vschema.tables.len(), 8);
    let shown = vschema.to_toml();
    let again = load(&[("shown".to_owned(), shown.clone())], &shards()).unwrap();
    assert_eq!((again.to_toml(), again.to_json()), (shown, vschema.to_json()));
    assert_eq!(
        again.table("public", "orders").map(|table| &table.placement),
        vschema.table("public", "orders").map(|table| &table.placement)
    );
}

#[test]
fn one_server_needs_no_layout() {
    let vschema = load(&[], &["only".to_owned()]).unwrap();
    assert!(vschema.single_shard());
    assert_eq!((vschema.home(), vschema.undeclared), (ShardId(0), Some(KeyspaceId(0))));
}

#[test]
fn the_schema_knows_every_kind_and_its_options() {
    let schema = json_schema().to_string();
    for word in [
        "consistent_hash",
        "directory",
        "buckets",
        "vnodes",
        "least_loaded",
        "shard_key",
        "shard_local",
        "ranges",
        "lists",
    ] {
        assert!(schema.contains(word), "{word}");
    }
}
