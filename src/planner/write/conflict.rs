//! ON CONFLICT: which conflicts the shard of a row can see.

use sqlparser::ast::{ConflictTarget, OnConflictAction};

use super::assigned;
use crate::catalog::Relation;
use crate::error::PgError;
use crate::planner::{refuse, scope};
use crate::vschema::Table;

/// A conflict must be seen on the shard where the row goes: the unique key has to contain the shard key.
pub(super) fn check_conflict(
    table: &Table,
    relation: &Relation,
    target: Option<&ConflictTarget>,
    action: &OnConflictAction,
) -> Result<(), PgError> {
    let crate::vschema::TablePlacement::Sharded { columns: keys, .. } = &table.placement else { return Ok(()) };
    let covered = match target {
        Some(ConflictTarget::Columns(columns)) => {
            let columns: Vec<_> = columns.iter().map(scope::fold).collect();
            keys.iter().all(|key| columns.iter().any(|column| column == key))
        }
        // Any unique key may be meant.
        Some(ConflictTarget::OnConstraint(_)) | None => relation
            .unique_keys
            .iter()
            .all(|unique| keys.iter().all(|key| relation.column(key).is_some_and(|column| unique.contains(&column)))),
    };
    if !covered {
        return Err(PgError::unsupported(format!(
            "ON CONFLICT of table \"{}\" does not contain its shard key",
            table.name
        ))
        .with_detail(format!("A conflicting row with another {} may be on another shard.", keys.join(", ")))
        .with_hint(format!("Name a unique key that contains {}: ON CONFLICT (...).", keys.join(", "))));
    }
    if let OnConflictAction::DoUpdate(update) = action {
        for assignment in &update.assignments {
            for target in assigned(assignment).ok_or_else(|| refuse::construct("UPDATE of part of a column"))? {
                if keys.contains(&target) {
                    return Err(refuse::key_update(&target));
                }
            }
        }
    }
    Ok(())
}
