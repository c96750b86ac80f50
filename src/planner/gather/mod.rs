//! From a query block that is proven local to what the shards are sent, and how their answers become one.

use sqlparser::ast::Query;

use super::scope::Scope;
use super::{Planner, refuse};
use crate::error::PgError;
use crate::plan::Gather;
use crate::types::KeyspaceId;

/// What the shard key has to do with the top-level block's rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Covered {
    /// Each group of GROUP BY is on one shard.
    pub groups: bool,
    /// Rows that DISTINCT, DISTINCT ON or UNION call equal are on one shard.
    pub distinct: bool,
    /// The partitions of all window functions are on one shard.
    pub windows: bool,
}

impl Planner<'_> {
    /// How several shards answer a query whose top-level block is local to each of them up to its GROUP BY, DISTINCT, ORDER BY and LIMIT. `scope`
    /// is what the block's FROM list brought into scope (empty for a set operation). Nothing to do is a `Concat` without text.
    pub(super) fn gather(
        &mut self,
        query: &Query,
        scope: &Scope,
        keyspace: KeyspaceId,
        covered: Covered,
    ) -> Result<Gather, PgError> {
        let _ = (query, scope, keyspace, covered);
        Err(refuse::construct("this statement over several shards"))
    }
}
