//! Whether all copies of the reference tables are equal.

use std::sync::Arc;

use super::facts::Facts;
use super::judge::Finding;
use super::{connect, connector, said};
use crate::backend::Login;
use crate::config::Config;
use crate::error::PgError;
use crate::topology::drift::{Fingerprint, fingerprint};
use crate::vschema::{Table, TablePlacement, Vschema};

/// Reads every copy, one table after the other. Shards that could not be asked have been reported already.
pub(super) async fn compare(config: &Config, vschema: &Vschema, facts: &[Option<Facts>]) -> Vec<Finding> {
    let mut tables: Vec<&Arc<Table>> =
        vschema.tables.values().filter(|table| matches!(table.placement, TablePlacement::Reference)).collect();
    tables.sort_by_key(|table| (&table.schema, &table.name));
    let mut findings = Vec::new();
    for table in tables {
        let mut copies: Vec<(&str, Result<Fingerprint, PgError>)> = Vec::new();
        for shard in &vschema.keyspace(table.keyspace).shards {
            let Some(facts) = facts.get(usize::from(shard.0)).and_then(Option::as_ref) else { continue };
            // A table that is missing has been reported already.
            let Some(known) = facts.tables.get(&(table.schema.clone(), table.name.clone())) else { continue };
            let mut columns: Vec<String> = known.columns.iter().map(|column| column.name.clone()).collect();
            // Columns may have come in another order on another shard.
            columns.sort();
            let connector = connector(config, usize::from(shard.0));
            let copy = async {
                let login = Login::service(&connector.server);
                fingerprint(&mut connect(&connector, &login).await?, &table.schema, &table.name, &columns).await
            };
            copies.push((vschema.shard_name(*shard), copy.await));
        }
        findings.extend(judge(&table.name, &copies));
    }
    findings
}

fn judge(table: &str, copies: &[(&str, Result<Fingerprint, PgError>)]) -> Option<Finding> {
    let subject = format!("table {table}");
    if let Some((shard, Err(error))) = copies.iter().find(|(_, copy)| copy.is_err()) {
        return Some(Finding::warning(subject, format!("its copy on shard {shard} cannot be read: {}", said(error))));
    }
    let (_, first) = copies.first()?;
    if copies.iter().all(|(_, copy)| copy.as_ref().ok() == first.as_ref().ok()) {
        return None;
    }
    let told = |(shard, copy): &(&str, Result<Fingerprint, PgError>)| {
        let print = copy.as_ref().ok();
        let (rows, hash) = print.map_or((0, ""), |print| (print.rows, print.hash.as_str()));
        format!("{shard} has {rows} rows (hash {hash})")
    };
    let told: Vec<String> = copies.iter().map(told).collect();
    let finding = Finding::error(subject, format!("its copies differ: {}", told.join(", ")));
    Some(
        finding.hint(
            "copy the table from the shard that is right to the others; SHOW DRIFT on the console compares again",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_that_differ_are_told_of() {
        let print = |rows, hash: &str| Ok(Fingerprint { rows, hash: hash.into() });
        assert_eq!(judge("t", &[("s0", print(1, "7")), ("s1", print(1, "7"))]), None);
        assert_eq!(judge("t", &[]), None);
        let finding = judge("t", &[("s0", print(1, "7")), ("s1", print(2, "9"))]).unwrap();
        assert_eq!(finding.message, "its copies differ: s0 has 1 rows (hash 7), s1 has 2 rows (hash 9)");
    }
}
