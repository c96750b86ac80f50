//! From a route and the values of one execution to a shard.

use super::{Route, Values};
use crate::error::PgError;
use crate::types::key::DecodeContext;
use crate::types::{Key, KeyspaceId, ShardId, VindexId};
use crate::vschema::Vschema;

/// Where one execution goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Target<'a> {
    /// To this shard.
    Shard(ShardId),
    /// To any shard of this keyspace, of all if `None`: the answer is the same on each.
    Any(Option<&'a [ShardId]>),
    /// To the home shard.
    Home,
    /// Where the transaction or the pinned session is, else home.
    Attached,
    /// A directory must be asked.
    Directory {
        /// The directory.
        vindex: VindexId,
        /// The key to look up; several columns are not taken by directories.
        key: Key<'static>,
        /// Rows are created: a key without a shard may be given one.
        insert: bool,
        /// The shard that the rest of the statement needs; another answer is a refusal (see [`Route::disagreement`]).
        also: Option<ShardId>,
        /// The table, for messages.
        keyspace: KeyspaceId,
    },
}

impl Route {
    /// The destination of one execution. Allocates nothing where one literal or parameter of a plain type is the key.
    pub fn resolve<'a>(
        &'a self,
        values: &dyn Values,
        vschema: &'a Vschema,
        context: &DecodeContext,
    ) -> Result<Target<'a>, PgError> {
        let _ = (values, vschema, context);
        Ok(Target::Home)
    }
}
