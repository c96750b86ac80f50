//! Lookups: a value of a column that is no shard key leads to the one shard whose row has it.

use super::{Context, Planner, Use};
use crate::error::PgError;
use crate::plan::{KeyColumn, KeySet, Requirement};
use crate::sql;
use crate::sql::classify::name_of;
use crate::vschema::Lookup;

/// Whether a statement that writes may write a table whose values lookups find: its name stands in the text.
pub(super) fn is_noted(context: &Context<'_>, text: &str) -> bool {
    let mut lookups = context.vschema.all_lookups().map(|(_, lookup)| lookup.table.as_str()).peekable();
    if lookups.peek().is_none() {
        return false;
    }
    let tables: Vec<&str> = lookups.collect();
    let tokens = sql::lex(text, &context.limits).unwrap_or_default();
    tokens.iter().filter_map(|token| name_of(text, *token)).any(|name| tables.contains(&name.as_ref()))
}

impl Planner<'_> {
    /// Of a statement with one use of a sharded table, whose shard key nothing restricts: a unique lookup may know the shard.
    pub(super) fn look_up(&mut self, found: &mut [Option<Result<Requirement, PgError>>]) {
        let mut sharded = self.uses.iter().enumerate().filter(|(_, used)| !used.reference);
        let (Some((at, used)), None) = (sharded.next(), sharded.next()) else { return };
        if used.insert || !matches!(found.get(at), Some(Some(Err(_)))) {
            return;
        }
        if let Some(requirement) = self.by_lookup(used) {
            found[at] = Some(Ok(requirement));
        }
    }

    fn by_lookup(&self, used: &Use) -> Option<Requirement> {
        let vschema = self.context.vschema;
        let (relation, called) = self.relations.get(&used.instance)?;
        vschema.lookups(&used.table.schema, &used.table.name).filter(|(_, lookup)| lookup.unique).find_map(
            |(vindex, lookup)| {
                let called = called.get(relation.column(&lookup.column)?)?;
                let instance = self.instances.get(used.instance)?;
                let key_type = instance.columns.iter().find(|column| column.name == *called)?.key_type?;
                let node = self.facts.node_of(used.instance, called)?;
                let mut values = self.facts.solve(node, true, false)?;
                self.judge_types(&mut values, key_type);
                let one = matches!(&values, KeySet::Values(values) if values.len() == 1);
                (one && Lookup::takes(key_type)).then(|| Requirement {
                    table: used.table.name.clone(),
                    keyspace: used.table.keyspace,
                    vindex,
                    columns: vec![KeyColumn { name: lookup.column.clone(), key_type, values }],
                    insert: false,
                })
            },
        )
    }
}
