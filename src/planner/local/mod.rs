//! What is *shard-local*, what commutes with union, and why: when several shards' answers together are PostgreSQL's own.
//!
//! # The question
//!
//! Each sharded table is the disjoint union of its parts, one on each shard of its keyspace; a row is on the shard where its shard key
//! leads. A reference table is whole on every shard. A statement is shard-local if what it gives over all rows is the union, with
//! repetitions, of what each shard gives over its own rows. Then the answers may come one after the other, or be merged by order, by
//! group or by value (that is [`gather`](super::gather)'s); otherwise the statement is refused.
//!
//! Every part of a statement is judged by itself, from the tables up. It is of one of three kinds:
//!
//! * **the same**: it reads no sharded table, so each shard would give all of it. Literals, reference tables, functions.
//! * **complete**: it stands in a sub-query or LATERAL and reads, for each row of a block around it, only rows whose shard key that row
//!   has. They are all on the shard where that row is, so it gives there what it would give on one server, *whatever it does with them*:
//!   aggregates, LIMIT, DISTINCT, windows, NOT EXISTS.
//! * **spread**: it is the union of what the shards give.
//!
//! A spread part has *places*: columns whose value in a row says on which shard the row comes into being, because they are the shard
//! key, or equal to it. Two spread parts fit if they have a place of one vindex and keyspace. A place is *sure* if it is never NULL: the
//! column is NOT NULL, and no outer join has made the row up. (Rows with NULL may be on any shard: ON DELETE SET NULL leaves them there.)
//!
//! # Joins
//!
//! | | |
//! |---|---|
//! | spread, inner join, the same or complete | spread: (A₁ ∪ A₂) ⋈ B = (A₁ ⋈ B) ∪ (A₂ ⋈ B) |
//! | spread LEFT JOIN the same | spread; each row of the left side is on one shard, which sees all that it could match |
//! | the same LEFT JOIN spread | refused: a row that finds its match on one shard would come out unmatched on the others |
//! | FULL JOIN of spread with the same | refused, for the same reason |
//! | spread with spread, any kind | spread if rows can only match where a place of the one equals a place of the other: then they are on one shard, and a row without a match there has none anywhere |
//! | the same, or complete, with such | whatever join it is, it stays what it is |
//!
//! Of spread with complete only the spread part's places count afterwards: the complete part's say where the row around it is, while rows of
//! the spread part may be elsewhere, and must not matter there. `FROM a, LATERAL (SELECT b.k FROM b, c WHERE b.k = a.k)` is not tied to `a`
//! by `b.k`, because `c` is not.
//!
//! *Equal* means: by a chain of equalities of columns (of one key type, or of integers) that every row which comes through has to pass:
//! in ON of this join, in ON of inner joins inside it, in ON of inner joins and in the WHERE above it. `=` is false or NULL for NULL, so a
//! row made up by an outer join does not pass an equality about it: an equality in WHERE makes of the outer join below it an inner one, and
//! the chain holds there too. An equality in ON of an outer join says something of the side that may be missing only, and nothing of
//! what is beside the join. The places of the side that may be missing are no longer sure; they become so again by an equality above.
//!
//! # Sub-queries in expressions
//!
//! A row is tested on its own shard, and the shard must answer as one server would.
//!
//! * The same, or complete: it does. A use is complete if the row's place flows into its own by [`facts`](super::facts): by the
//!   equalities of WHERE and of inner joins, and into the side of an outer join that may be missing.
//! * `x IN (spread)`, `x = ANY (spread)` as a term that rows must pass, if x is a place of the row and what is put out is a place of the
//!   sub-query: an equal value can only be on the row's own shard. That NULLs of other shards would make NULL of false does not
//!   matter there. It does under NOT and in the select list: **`x NOT IN (spread)` is refused**, `NOT EXISTS` tied to the key is fine.
//! * Everything else is refused: `EXISTS (spread)` is true everywhere if it is true on one shard, a scalar sub-query is one value of
//!   all rows.
//! * A block over reference tables only with a sub-query over sharded ones would put its rows out on every shard: refused. A
//!   complete sub-query inside it, tied to a block further out, makes the block complete.
//!
//! # What a block does with its rows
//!
//! * The select list is about one row at a time. Values that differ with each call (`random()`) may stand there and in WHERE, not in
//!   ORDER BY, DISTINCT or GROUP BY, nor beside them.
//! * GROUP BY, DISTINCT, DISTINCT ON and PARTITION BY that contain a sure place: each group is whole on one shard, and what is done
//!   with it (aggregates of any kind, HAVING, `row_number()`) is right there. Expressions beside the place only make finer groups. With
//!   a place that is not sure the NULLs of all shards would be one group: not whole.
//! * Otherwise groups have parts on several shards. Outermost this is for the merge to put together; inside a sub-query it is refused.
//! * LIMIT, OFFSET and FETCH are about all rows: outermost for the merge, refused inside, also over reference tables, whose copies need
//!   not keep their rows in one order. ORDER BY without LIMIT inside says nothing of the rows, but people rely on it where nothing
//!   around gives another order: then it is refused.
//! * FOR UPDATE with LIMIT is refused, because shards would lock rows that are not in the answer.
//!
//! # Set operations
//!
//! UNION ALL of spread parts is spread. Of a spread one and one that is the same it is refused, because the latter's rows would come once
//! from each shard. UNION, INTERSECT [ALL] and EXCEPT [ALL] compare whole rows: if a sure place stands at the same position in both parts,
//! equal rows are on one shard, and the operation can be done there. Spread INTERSECT or EXCEPT the same likewise.
//!
//! # WITH
//!
//! A CTE is judged where it is used, as a sub-query in FROM. Recursion over sharded tables is refused: the next round may need a row of
//! another shard. So are INSERT, UPDATE and DELETE inside WITH.
//!
//! # What no shape makes right
//!
//! Constructs that are each server's own [spoil](Planner::spoil) a statement: system catalogs and columns (`ctid`, `tableoid`), unsharded tables,
//! sequences, temporary tables, session state, advisory locks, extensions' functions, and for now `now()` and its kin: the
//! shards' clocks and transactions are several.
//!
//! # Which shards
//!
//! Keys narrow the shards if they restrict all of the statement: of an inner join those of one side will do, the side with fewer values; of
//! an outer join only those of the side whose rows are kept; of FULL JOIN and UNION those of both parts together. A condition on what a
//! sub-query in FROM puts out counts as well, if that is a place. Without keys it is all shards, which is never wrong: a shard that has
//! nothing to give gives nothing.

mod block;
mod join;
mod keys;
mod part;
mod place;

use std::cell::Cell;
use std::sync::Arc;

use sqlparser::ast::Query;

use super::facts::Node;
use super::gather::Covered;
use super::scope::Scope;
use super::tree::{Pair, Part};
use super::{Planner, refuse};
use crate::error::PgError;
use crate::plan::gather::{Gather, Hidden, Merge};
use crate::plan::{KeySet, Requirement};
use crate::types::{KeyType, KeyspaceId, VindexId};
use place::Place;

/// A statement's parts are looked at again for each use of a CTE; beyond this many it is refused.
const MAX_STEPS: usize = 10_000;

/// What a part is: the order matters, of several the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Same,
    Complete,
    Spread,
}

/// A FROM list's part.
#[derive(Debug)]
struct Known {
    /// The first use in it, for messages.
    first: Option<usize>,
    extent: Extent,
    places: Vec<Place<Node>>,
    /// Equalities that all its rows have passed.
    always: Vec<Pair>,
    /// The shards that these lead to, together, have all its rows that matter. None: all shards.
    keys: Option<Vec<Requirement>>,
}

/// What a query puts out; places are positions among its columns.
#[derive(Debug)]
struct Answer {
    extent: Extent,
    places: Vec<Place<usize>>,
    keys: Option<Vec<Requirement>>,
    /// What is left for the merge.
    rest: Rest,
}

/// What is left to do with the rows of all shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// Groups have parts on several shards.
    pub groups: bool,
    /// Equal rows are on several shards.
    pub distinct: bool,
    /// ORDER BY.
    pub order: bool,
    /// LIMIT, OFFSET or FETCH.
    pub limit: bool,
}

impl Rest {
    fn any(self) -> bool {
        self != Rest::default()
    }
}

/// How several shards answer, and what restricts them if it is not every use of a sharded table; or why they do not.
pub(super) type Proven = Result<(Arc<Gather>, Option<Vec<Requirement>>), PgError>;

/// A proof that a statement is shard-local.
#[derive(Debug)]
pub(super) struct Proof {
    pub keyspace: KeyspaceId,
    /// The shards that these lead to, together, are all that is needed; none: all of the keyspace's.
    pub keys: Option<Vec<Requirement>>,
    pub rest: Rest,
    /// What the outermost block's FROM list brought into scope.
    pub scope: Scope,
    /// Which columns of what is put out say on which shard a row comes into being.
    places: Vec<Place<usize>>,
}

impl Proof {
    /// What restricts the whole: one requirement, or none.
    pub fn best(self) -> Vec<Requirement> {
        self.keys.and_then(keys::one_of).into_iter().collect()
    }

    /// Whether each row comes into being on the shard where a table's keys would lead that stand at these positions.
    pub fn leads(&self, vindex: VindexId, keys: &[usize]) -> bool {
        self.places.iter().any(|place| {
            place.sure && place.keyspace == self.keyspace && place.vindex == vindex && place.columns == keys
        })
    }
}

/// The analysis of one statement whose walk is over.
struct Judge<'p, 'c> {
    planner: &'p Planner<'c>,
    /// For each use of a table what restricts it.
    requirements: &'p [Option<Requirement>],
    steps: Cell<usize>,
    /// ORDER BY inside, of which nothing would be left.
    order_lost: Cell<bool>,
    literal: Cell<bool>,
}

impl Planner<'_> {
    /// Whether the shards' answers to the part together are the whole's, and what is left to do with them.
    fn prove(
        &self,
        part: Option<usize>,
        requirements: &[Option<Requirement>],
        literal: &mut bool,
    ) -> Result<Proof, PgError> {
        let mut keyspaces = self.uses.iter().filter(|used| !used.reference).map(|used| used.table.keyspace);
        let Some(keyspace) = keyspaces.next() else {
            return Err(refuse::construct("this statement over several shards"));
        };
        if keyspaces.any(|other| other != keyspace) {
            return Err(refuse::several_keyspaces());
        }
        if let Some((shard, what)) = &self.fixed {
            return Err(refuse::spoiled(&format!("{what} on shard {}", self.context.vschema.shard_name(*shard))));
        }
        if let Some(what) = &self.spoiled {
            return Err(refuse::spoiled(what));
        }
        let shards = &self.context.vschema.keyspace(keyspace).shards;
        for other in &self.keyspaces {
            let other = self.context.vschema.keyspace(*other);
            if !shards.iter().all(|shard| other.shards.contains(shard)) {
                return Err(refuse::far_reference(&other.name));
            }
        }
        if self.attached || self.need_home.is_some() || self.pin.is_some() || !self.tree.loose.is_empty() {
            return Err(refuse::spoiled("state of one connection"));
        }
        let judge = Judge {
            planner: self,
            requirements,
            steps: Cell::new(0),
            order_lost: Cell::new(false),
            literal: Cell::new(false),
        };
        let answer = judge.part(part, &[]);
        *literal = judge.literal.get();
        let answer = answer?;
        if answer.extent != Extent::Spread {
            return Err(judge.not_tied(None));
        }
        if judge.order_lost.get() && !answer.rest.order && !answer.rest.groups {
            return Err(refuse::inner_order());
        }
        Ok(Proof { keyspace, keys: answer.keys, rest: answer.rest, scope: self.scope_of(part), places: answer.places })
    }

    /// How several shards answer a query, and what restricts them; none if it can only be one shard, or none is needed.
    pub(super) fn spread_read(
        &mut self,
        query: Option<&Query>,
        part: Option<usize>,
        found: &[Option<Result<Requirement, PgError>>],
    ) -> Option<Proven> {
        let proof = self.proof(part, found)?;
        Some(proof.and_then(|proof| {
            let gather = self.gather_of(&proof, query)?;
            Ok((gather, Some(proof.best())))
        }))
    }

    /// Whether a part is shard-local; `None` if one value stands for every key, so that there is nothing to ask.
    pub(super) fn proof(
        &mut self,
        part: Option<usize>,
        found: &[Option<Result<Requirement, PgError>>],
    ) -> Option<Result<Proof, PgError>> {
        let known: Vec<Option<Requirement>> =
            found.iter().map(|one| one.as_ref().and_then(|one| one.as_ref().ok().cloned())).collect();
        let single = |requirement: &Requirement| {
            requirement
                .columns
                .iter()
                .all(|column| matches!(&column.values, KeySet::Values(values) if values.len() == 1))
        };
        let mut sharded =
            found.iter().zip(&known).filter(|(found, _)| found.is_some()).map(|(_, known)| known.as_ref());
        let first = sharded.next()?;
        let same = |one: &Requirement, other: &Requirement| {
            one.vindex == other.vindex
                && one.keyspace == other.keyspace
                && one.columns.len() == other.columns.len()
                && one.columns.iter().zip(&other.columns).all(|(one, other)| one.values == other.values)
        };
        // One value for all: it is one shard, whatever the statement does there.
        if let Some(first) = first
            && single(first)
            && sharded.all(|other| other.is_some_and(|other| same(first, other)))
        {
            return None;
        }
        self.name_keys();
        let mut literal = false;
        let proof = self.prove(part, &known, &mut literal);
        self.literal |= literal;
        Some(proof)
    }

    /// Whether the shards' rows of a part of the statement, one after the other, are all of its rows: the keyspace, and what restricts the part.
    /// `grouped`: all but what its aggregates make of them.
    pub(super) fn part_proof(
        &mut self,
        part: Option<usize>,
        grouped: bool,
        found: &[Option<Result<Requirement, PgError>>],
    ) -> Option<(KeyspaceId, Vec<Requirement>)> {
        let known: Vec<Option<Requirement>> =
            found.iter().map(|one| one.as_ref().and_then(|one| one.as_ref().ok().cloned())).collect();
        self.name_keys();
        let mut literal = false;
        let proof = self.prove(part, &known, &mut literal);
        self.literal |= literal;
        let left = Rest { groups: grouped, ..Rest::default() };
        let proof = proof.ok().filter(|proof| proof.rest == left)?;
        Some((proof.keyspace, proof.best()))
    }

    /// Every key is a column of its own, named or not.
    fn name_keys(&mut self) {
        for used in &self.uses {
            for (_, called) in &used.columns {
                self.facts.node(used.instance, called);
            }
        }
    }

    fn gather_of(&mut self, proof: &Proof, query: Option<&Query>) -> Result<Arc<Gather>, PgError> {
        let Some(query) = query.filter(|_| proof.rest != Rest::default()) else {
            return Ok(Arc::new(Gather {
                keyspace: proof.keyspace,
                text: None,
                hidden: Hidden::Last(0),
                merge: Merge::Concat,
                window: Default::default(),
            }));
        };
        let covered = Covered { groups: !proof.rest.groups, distinct: !proof.rest.distinct, windows: true };
        self.gather(query, &proof.scope, proof.keyspace, covered).map(Arc::new)
    }

    /// The node of a column in which equal values are equal keys.
    fn key_node(&self, at: usize, called: &str) -> Option<Node> {
        self.key_type_of(at, called).and_then(|_| self.facts.node_of(at, called))
    }

    fn key_type_of(&self, at: usize, called: &str) -> Option<KeyType> {
        self.instances.get(at)?.columns.iter().find(|column| column.name == called)?.key_type
    }

    /// What the FROM list of the outermost block brought into scope.
    fn scope_of(&self, part: Option<usize>) -> Scope {
        match part.and_then(|part| self.tree.parts.get(part)) {
            Some(Part::Query(query)) => self.scope_of(query.body),
            Some(Part::Block(block)) => block.scope.clone(),
            _ => Scope::default(),
        }
    }
}

impl Known {
    fn same() -> Known {
        Known { first: None, extent: Extent::Same, places: Vec::new(), always: Vec::new(), keys: None }
    }
}

impl Answer {
    fn same() -> Answer {
        Answer { extent: Extent::Same, places: Vec::new(), keys: None, rest: Rest::default() }
    }
}
