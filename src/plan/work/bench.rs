//! A query that no shard can answer for its own rows: its inputs are fetched from the shards, and a server, the *workbench*, runs the rest of
//! the client's own statement over them.

use crate::plan::gather::Text;
use crate::plan::{Plan, Route, Steps, Verdict};
use crate::types::{KeyspaceId, Oid, ShardId};
use crate::vschema::Vschema;

/// What is fetched, and what is run over it.
#[derive(Debug, Clone)]
pub struct Bench {
    /// What the shards are asked for.
    pub inputs: Vec<Input>,
    /// The client's statement, with a [`Piece::Input`](crate::plan::gather::Piece::Input) where the rows of one stand.
    pub rest: Text,
    /// The rest reads reference tables of these keyspaces: a shard of each of them has to be the workbench.
    pub keyspaces: Vec<KeyspaceId>,
    /// The rest reads tables of this shard.
    pub fixed: Option<ShardId>,
}

/// Rows that the rest needs: all that the shards return for a text, put together.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// For people: the table, or what of the statement it is.
    pub label: String,
    /// Which shards have such rows, under the values of an execution. Its `gather` has the keyspace.
    pub route: Route,
    /// What each of them is sent.
    pub text: Text,
    /// The columns that come back, in their order.
    pub columns: Vec<InputColumn>,
    /// The columns, as positions, of a primary key on which the rest's GROUP BY relies: the staged rows need it too.
    pub key: Vec<u16>,
    /// The text has a WHERE clause, at its end.
    pub filtered: bool,
    /// Only rows with these keys of other inputs matter, if those have few of them. They are fetched first.
    pub keys: Vec<Keys>,
    /// The columns, as positions, in which the rest looks rows up one by one: an index pays if they are many.
    pub sought: Vec<u16>,
}

/// A column of an input whose values are the only ones that matter in a column of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The other input, whose rows come first.
    pub input: u16,
    /// The position of its column.
    pub column: u16,
    /// The column that has to have one of the values, as SQL.
    pub compared: String,
    /// The type of the values as an array has it.
    pub type_name: &'static str,
    /// Its number, which is the same on every server.
    pub type_oid: Oid,
}

/// A column of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputColumn {
    /// As the statement calls it: unquoted.
    pub name: String,
    /// Its type as SQL that every server reads the same way, with its modifier; `None`: what the shards' RowDescription says, which has no
    /// name for types of users.
    pub type_name: Option<String>,
    /// Its collation as quoted SQL, where it is not the type's own.
    pub collation: Option<String>,
}

impl Bench {
    /// The shards that have all the tables of the client's own statement, and so can say what it is like; none at all where its tables are on
    /// shards that differ.
    pub fn describers(&self, vschema: &Vschema) -> Vec<ShardId> {
        let mut spaces: Vec<KeyspaceId> = self.keyspaces.clone();
        let mut fixed: Vec<ShardId> = self.fixed.into_iter().collect();
        for input in &self.inputs {
            spaces.extend(&input.route.keyspaces);
            spaces.extend(input.route.gather.as_ref().map(|gather| gather.keyspace));
            spaces.extend(input.route.keyed.iter().map(|requirement| requirement.keyspace));
            fixed.extend(input.route.fixed);
        }
        let has_all = |shard: &ShardId| {
            fixed.iter().all(|one| one == shard)
                && spaces.iter().all(|space| vschema.keyspace(*space).shards.contains(shard))
        };
        match (fixed.first(), spaces.first()) {
            (Some(shard), _) => [*shard].into_iter().filter(has_all).collect(),
            (None, Some(space)) => vschema.keyspace(*space).shards.iter().copied().filter(has_all).collect(),
            (None, None) => vec![vschema.home()],
        }
    }
}

impl Input {
    /// In which round of questions each of them is fetched: one more than those whose keys it needs.
    pub fn rounds(inputs: &[Input]) -> Vec<usize> {
        let mut rounds = vec![0; inputs.len()];
        // Each pass settles those of one more round.
        for _ in 0..inputs.len() {
            let before = rounds.clone();
            for (at, input) in inputs.iter().enumerate() {
                let first = input.keys.iter().filter_map(|keys| before.get(usize::from(keys.input)));
                rounds[at] = first.map(|round| round + 1).max().unwrap_or(0);
            }
            if rounds == before {
                break;
            }
        }
        rounds
    }
}

impl Plan {
    /// It is over tables of which no shard has all.
    pub fn tables_are_apart(&self, vschema: &Vschema) -> bool {
        let Verdict::Route(Route { work: Some(work), .. }) = &self.verdict else { return false };
        match &work.steps {
            Steps::Bench(bench) => work.always && bench.describers(vschema).is_empty(),
            Steps::Write(write) => write.describers.as_ref().is_some_and(Vec::is_empty),
            _ => false,
        }
    }
}
