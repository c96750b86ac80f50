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

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::Query;

use super::facts::{Node, comparable};
use super::gather::Covered;
use super::scope::Scope;
use super::tree::{Block, Distinct, Inside, Item, Kind, Operation, Pair, Part, Set, Window};
use super::{Planner, refuse, tree};
use crate::error::PgError;
use crate::plan::gather::{Gather, Hidden, Merge};
use crate::plan::{KeyColumn, KeySet, Requirement};
use crate::types::{KeyType, KeyspaceId, VindexId};
use crate::vschema::TablePlacement;

/// A statement's parts are looked at again for each use of a CTE; beyond this many it is refused.
const MAX_STEPS: usize = 10_000;

/// What a part is: the order matters, of several the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Same,
    Complete,
    Spread,
}

/// Columns whose values say where a row is.
#[derive(Debug, Clone)]
struct Place<T> {
    keyspace: KeyspaceId,
    vindex: VindexId,
    /// One for each column of the key.
    columns: Vec<T>,
    /// The key's types: equal values of types that are not comparable may be different keys.
    types: Vec<KeyType>,
    /// Never NULL.
    sure: bool,
    /// The use of a table that it comes from, for messages.
    used: usize,
}

impl<T> Place<T> {
    fn fits<U>(&self, other: &Place<U>) -> bool {
        self.keyspace == other.keyspace
            && self.vindex == other.vindex
            && self.columns.len() == other.columns.len()
            && self.types.iter().zip(&other.types).all(|(one, other)| comparable(*one, *other))
    }

    fn at<U>(&self, columns: Vec<U>, sure: bool) -> Place<U> {
        let Place { keyspace, vindex, used, .. } = *self;
        Place { keyspace, vindex, columns, types: self.types.clone(), sure, used }
    }
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

/// A proof that a statement is shard-local.
#[derive(Debug)]
pub(super) struct Proof {
    pub keyspace: KeyspaceId,
    /// The shards that these lead to, together, are all that is needed; none: all of the keyspace's.
    pub keys: Option<Vec<Requirement>>,
    pub rest: Rest,
    /// What the outermost block's FROM list brought into scope.
    pub scope: Scope,
}

/// Classes of equal columns.
#[derive(Debug, Default)]
struct Classes(HashMap<Node, Node>);

impl Classes {
    fn of<'p>(pairs: impl IntoIterator<Item = &'p Pair>) -> Classes {
        let mut classes = Classes::default();
        for (one, other) in pairs {
            let (one, other) = (classes.find(*one), classes.find(*other));
            classes.0.entry(one).or_insert(one);
            classes.0.insert(other, one);
        }
        classes
    }

    fn find(&self, mut node: Node) -> Node {
        while let Some(next) = self.0.get(&node)
            && *next != node
        {
            node = *next;
        }
        node
    }

    /// An equality is about it: it is not NULL.
    fn knows(&self, node: Node) -> bool {
        self.0.contains_key(&node)
    }

    fn equal(&self, one: &[Node], other: &[Node]) -> bool {
        one.len() == other.len() && one.iter().zip(other).all(|(one, other)| self.find(*one) == self.find(*other))
    }

    /// Whether every column of the place is among these.
    fn contain(&self, nodes: &[Node], place: &Place<Node>) -> bool {
        place.columns.iter().all(|column| nodes.iter().any(|node| self.find(*node) == self.find(*column)))
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
        let Some(keyspace) = keyspaces.next() else { return Err(refuse::construct("this statement over several shards")) };
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
        if self.writes && answer.rest.limit {
            return Err(refuse::locked_limit());
        }
        Ok(Proof { keyspace, keys: answer.keys, rest: answer.rest, scope: self.scope_of(part) })
    }

    /// How several shards answer a query, and what restricts them; none if it can only be one shard, or none is needed.
    pub(super) fn spread_read(
        &mut self,
        query: Option<&Query>,
        part: Option<usize>,
        found: &[Option<Result<Requirement, PgError>>],
    ) -> Option<Result<(Arc<Gather>, Option<Vec<Requirement>>), PgError>> {
        let known: Vec<Option<Requirement>> =
            found.iter().map(|one| one.as_ref().and_then(|one| one.as_ref().ok().cloned())).collect();
        let single = |requirement: &Requirement| {
            requirement.columns.iter().all(|column| matches!(&column.values, KeySet::Values(values) if values.len() == 1))
        };
        let mut sharded = found.iter().zip(&known).filter(|(found, _)| found.is_some()).map(|(_, known)| known.as_ref());
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
        // Every key is a column of its own, named or not.
        for used in &self.uses {
            for (_, called) in &used.columns {
                self.facts.node(used.instance, called);
            }
        }
        let mut literal = false;
        let proof = self.prove(part, &known, &mut literal);
        self.literal |= literal;
        Some(proof.and_then(|proof| {
            let gather = self.gather_of(&proof, query)?;
            Ok((gather, Some(proof.keys.and_then(one_of).into_iter().collect())))
        }))
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

/// Of two sets of keys the one that names fewer values: most likely it leads to fewer shards.
fn fewer(one: Option<Vec<Requirement>>, other: Option<Vec<Requirement>>) -> Option<Vec<Requirement>> {
    let weight = |keys: &Vec<Requirement>| {
        let values = |column: &KeyColumn| match &column.values {
            KeySet::Values(values) => values.len(),
            _ => 1_000,
        };
        keys.iter().flat_map(|key| &key.columns).map(values).sum::<usize>()
    };
    match (one, other) {
        (Some(one), Some(other)) => Some(if weight(&other) < weight(&one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// One requirement for all that any of these leads to.
fn one_of(keys: Vec<Requirement>) -> Option<Requirement> {
    let mut keys = keys.into_iter();
    let mut all = keys.next()?;
    for key in keys {
        if key.vindex != all.vindex || key.keyspace != all.keyspace || key.columns.len() != all.columns.len() {
            return None;
        }
        let single = all.columns.len() == 1;
        for (column, other) in all.columns.iter_mut().zip(key.columns) {
            // Of integers the wider type reads what the other reads, and as the same key.
            column.key_type = tree::wider(column.key_type, other.key_type);
            match (&mut column.values, other.values) {
                (known, other) if *known == other => {}
                (KeySet::Values(known), KeySet::Values(other)) => known.extend(other),
                (KeySet::Any(known), other) if single => known.push(other),
                (known, other) if single => {
                    let first = std::mem::replace(known, KeySet::EVERYTHING);
                    *known = KeySet::Any(vec![first, other]);
                }
                _ => return None,
            }
        }
    }
    Some(all)
}

/// The keys of two parts of which each puts rows out by itself.
fn both(one: Option<Vec<Requirement>>, other: Option<Vec<Requirement>>) -> Option<Vec<Requirement>> {
    let mut keys = one?;
    keys.extend(other?);
    Some(keys)
}

impl Judge<'_, '_> {
    fn part(&self, part: Option<usize>, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() > MAX_STEPS {
            return Err(refuse::construct("so many uses of queries in WITH, over several shards"));
        }
        match part.and_then(|part| self.planner.tree.parts.get(part)) {
            None => Err(refuse::construct("this part of a statement over several shards")),
            Some(Part::Write) => Err(refuse::spoiled("INSERT, UPDATE or DELETE inside WITH")),
            Some(Part::Values) => Ok(Answer::same()),
            Some(Part::Block(block)) => self.block(block, outer),
            Some(Part::Set(set)) => self.set(set, outer),
            Some(Part::Query(query)) => self.query(query, outer),
        }
    }

    /// A part inside another: nothing may be left to do but what it does itself.
    fn nested(&self, part: Option<usize>, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let answer = self.part(part, outer)?;
        if answer.extent != Extent::Spread {
            return Ok(answer);
        }
        self.order_lost.set(self.order_lost.get() || answer.rest.order);
        let rest = answer.rest;
        match (rest.limit, rest.groups, rest.distinct) {
            (true, ..) => Err(refuse::inner("LIMIT", "Which rows are the first is known only when all shards' rows are together.")),
            (_, true, _) => {
                Err(refuse::inner("an aggregate", "Rows of one group are on several shards, and each would give its own part."))
            }
            (.., true) => Err(refuse::inner("DISTINCT", "Equal rows are on several shards, and each would put one out.")),
            _ => Ok(answer),
        }
    }

    fn query(&self, query: &tree::Query, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let mut answer = self.part(query.body, outer)?;
        for inside in &query.inside {
            let extent = self.nested(inside.part, outer)?.extent;
            if extent == Extent::Spread {
                return Err(self.not_tied(inside.part));
            }
            if answer.extent == Extent::Same {
                answer.extent = extent;
            }
        }
        if query.recursive && answer.extent == Extent::Spread {
            return Err(refuse::recursion());
        }
        match answer.extent {
            Extent::Same if query.volatile => Err(refuse::inner(
                "a volatile function",
                "It would have one value for all rows of a shard, and another on the next shard.",
            )),
            Extent::Same if query.limited => {
                Err(refuse::inner("LIMIT over reference tables", "Each shard's copy may have its rows in another order."))
            }
            Extent::Spread => {
                if query.locked && query.limited {
                    return Err(refuse::locked_limit());
                }
                // What a body in parentheses leaves to do comes before what stands behind them.
                if answer.rest.any() && (query.limited || query.ordered) && !self.is_block(query.body) {
                    return Err(refuse::inner("ORDER BY or LIMIT", "The parentheses part it from the one outside."));
                }
                answer.rest.limit |= query.limited;
                answer.rest.order |= query.ordered;
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }

    fn is_block(&self, part: Option<usize>) -> bool {
        part.and_then(|part| self.planner.tree.parts.get(part)).is_some_and(|part| matches!(part, Part::Block(_)))
    }

    fn set(&self, set: &Set, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let typed =
            |place: &Place<usize>| place.columns.iter().all(|at| set.types.get(*at).is_some_and(Option::is_some));
        let mut all = self.nested(set.first, outer)?;
        for (operation, part) in &set.rest {
            let next = self.nested(*part, outer)?;
            let common = |sure: bool| -> Vec<Place<usize>> {
                let both = |place: &&Place<usize>| {
                    let same = |other: &Place<usize>| {
                        other.fits(*place) && other.columns == place.columns && (!sure || other.sure)
                    };
                    typed(place) && (!sure || place.sure) && next.places.iter().any(same)
                };
                let sure = |place: &Place<usize>| {
                    let sure = next.places.iter().any(|other| other.sure && other.columns == place.columns);
                    place.at(place.columns.clone(), place.sure && sure)
                };
                all.places.iter().filter(both).map(sure).collect()
            };
            all = match (all.extent, operation, next.extent) {
                (Extent::Spread, Operation::UnionAll, Extent::Spread) => {
                    Answer { places: common(false), keys: both(all.keys, next.keys), ..all }
                }
                (Extent::Spread, _, Extent::Spread) => {
                    let places = common(true);
                    if places.is_empty() {
                        return Err(refuse::set_operation(name_of(*operation)));
                    }
                    let keys = match operation {
                        Operation::Union => both(all.keys, next.keys),
                        Operation::Intersect => fewer(all.keys, next.keys),
                        _ => all.keys,
                    };
                    Answer { places, keys, ..all }
                }
                (Extent::Spread, Operation::Intersect | Operation::Except, _) => {
                    all.places.retain(|place| place.sure && typed(place));
                    if all.places.is_empty() {
                        return Err(refuse::set_operation(name_of(*operation)));
                    }
                    all
                }
                (_, Operation::Intersect, Extent::Spread) => {
                    let places: Vec<_> = next.places.into_iter().filter(|place| place.sure && typed(place)).collect();
                    if places.is_empty() {
                        return Err(refuse::set_operation(name_of(*operation)));
                    }
                    Answer { extent: Extent::Spread, places, keys: next.keys, rest: Rest::default() }
                }
                (one, _, other) if one == Extent::Spread || other == Extent::Spread => {
                    return Err(refuse::mixed_set(name_of(*operation)));
                }
                (one, _, other) => Answer { extent: one.max(other), ..Answer::same() },
            };
            all.rest = Rest::default();
        }
        Ok(all)
    }

    fn block(&self, block: &Block, outer: &[Place<Node>]) -> Result<Answer, PgError> {
        let mut seen = outer.to_vec();
        let mut known: Option<Known> = None;
        for item in &block.from {
            let next = self.item(item, &[&block.filter], &block.instances, &mut seen)?;
            known = Some(match known {
                None => next,
                Some(known) => self.inner(known, next, &[&block.filter])?,
            });
        }
        let mut known = known.unwrap_or_else(Known::same);
        let classes = Classes::of(known.always.iter().chain(&block.filter));
        for place in &mut known.places {
            place.sure |= place.columns.iter().all(|column| classes.knows(*column));
        }
        for inside in &block.inside {
            let extent = self.inside(inside, &known, &classes, &seen)?;
            if known.extent == Extent::Same {
                known.extent = extent;
            }
        }
        let mut answer = Answer {
            extent: known.extent,
            places: known.places.iter().filter_map(|place| put_out(place, block, &classes)).collect(),
            keys: known.keys,
            rest: Rest::default(),
        };
        if known.extent == Extent::Complete {
            answer.places.iter_mut().for_each(|place| place.sure = false);
            return Ok(answer);
        }
        if known.extent == Extent::Same {
            if !block.windows.is_empty() || matches!(block.distinct, Distinct::On(_)) {
                return Err(refuse::inner(
                    "a window function or DISTINCT ON over reference tables",
                    "Each shard's copy may have its rows in another order.",
                ));
            }
            return Ok(answer);
        }
        if block.erratic {
            return Err(refuse::erratic());
        }
        let whole = |nodes: &[Node]| known.places.iter().any(|place| place.sure && classes.contain(nodes, place));
        for window in &block.windows {
            if !partition(window, block).is_some_and(|nodes| whole(&nodes)) {
                return Err(refuse::window());
            }
        }
        if block.groups.is_some() || block.aggregates {
            self.literal.set(self.literal.get() || block.ordinals);
            // Of several groupings one may do without the key.
            answer.rest.groups = block.grouping_sets || !whole(block.groups.as_deref().unwrap_or(&[]));
            if answer.rest.groups {
                if !block.windows.is_empty() {
                    return Err(refuse::window());
                }
                answer.places.clear();
            }
        }
        match &block.distinct {
            Distinct::No => {}
            Distinct::All => {
                let outputs: Vec<Node> = block.outputs.0.iter().flatten().copied().collect();
                answer.rest.distinct = !whole(&outputs);
            }
            Distinct::On(nodes) => {
                self.literal.set(self.literal.get() || block.ordinals);
                answer.rest.distinct = !whole(nodes);
            }
        }
        Ok(answer)
    }

    /// A sub-query in an expression of a block.
    fn inside(
        &self,
        inside: &Inside,
        known: &Known,
        classes: &Classes,
        seen: &[Place<Node>],
    ) -> Result<Extent, PgError> {
        let answer = self.nested(inside.part, seen)?;
        if answer.extent != Extent::Spread {
            return Ok(answer.extent);
        }
        let Some(tested) = inside.tested.as_deref().filter(|_| known.extent != Extent::Same) else {
            return Err(self.not_tied(inside.part));
        };
        let meets = |place: &Place<usize>| {
            let columns: Option<Vec<Node>> =
                place.columns.iter().map(|at| tested.get(*at).copied().flatten()).collect();
            columns.is_some_and(|columns| {
                known.places.iter().any(|own| own.fits(place) && classes.equal(&own.columns, &columns))
            })
        };
        if answer.places.iter().any(meets) { Ok(known.extent) } else { Err(self.not_tied(inside.part)) }
    }

    fn item(
        &self,
        item: &Item,
        above: &[&[Pair]],
        within: &Range<usize>,
        seen: &mut Vec<Place<Node>>,
    ) -> Result<Known, PgError> {
        let (kind, on, left, right) = match item {
            Item::Leaf(at) => return self.leaf(*at, within, seen),
            Item::Join { kind, on, left, right } => (*kind, *on, left, right),
        };
        let on = self.planner.tree.joins.get(on).map_or(&[] as &[Pair], Vec::as_slice);
        let mut with = above.to_vec();
        with.push(on);
        // An outer join's condition has to be passed by rows of the side that may be missing, if they are to come through.
        let (for_left, for_right) = match kind {
            Kind::Inner => (with.as_slice(), with.as_slice()),
            Kind::Left => (above, with.as_slice()),
            Kind::Right => (with.as_slice(), above),
            Kind::Full => (above, above),
        };
        let one = self.item(left, for_left, within, seen)?;
        let other = self.item(right, for_right, within, seen)?;
        let mut known = match kind {
            Kind::Inner => {
                let mut known = self.inner(one, other, &with)?;
                known.always.extend(on);
                known
            }
            Kind::Left => self.outer(one, other, &with)?,
            Kind::Right => self.outer(other, one, &with)?,
            Kind::Full => self.full(one, other, on)?,
        };
        // By its equalities a part that was tied to the rows around it stays so.
        known.places.dedup_by(|one, other| one.fits(other) && one.columns == other.columns && one.sure == other.sure);
        Ok(known)
    }

    fn inner(&self, one: Known, other: Known, pairs: &[&[Pair]]) -> Result<Known, PgError> {
        if one.extent == Extent::Spread && other.extent == Extent::Spread {
            self.meet(&one, &other, pairs)?;
        }
        let mut known = one;
        if known.extent != Extent::Spread {
            known.first = other.first.or(known.first);
        }
        known.extent = known.extent.max(other.extent);
        known.places.extend(other.places);
        known.always.extend(other.always);
        known.keys = fewer(known.keys, other.keys);
        Ok(known)
    }

    fn outer(&self, preserved: Known, missing: Known, pairs: &[&[Pair]]) -> Result<Known, PgError> {
        match (preserved.extent, missing.extent) {
            (Extent::Spread, Extent::Spread) => self.meet(&preserved, &missing, pairs)?,
            (_, Extent::Spread) => return Err(refuse::preserved(&self.name(&missing))),
            _ => {}
        }
        let mut known = preserved;
        known.extent = known.extent.max(missing.extent);
        known.places.extend(missing.places.into_iter().map(|place| Place { sure: false, ..place }));
        Ok(known)
    }

    fn full(&self, one: Known, other: Known, on: &[Pair]) -> Result<Known, PgError> {
        match (one.extent, other.extent) {
            (Extent::Spread, Extent::Spread) => self.meet(&one, &other, &[on])?,
            (Extent::Spread, _) => return Err(refuse::preserved(&self.name(&one))),
            (_, Extent::Spread) => return Err(refuse::preserved(&self.name(&other))),
            _ => {}
        }
        Ok(Known {
            first: one.first.or(other.first),
            extent: one.extent.max(other.extent),
            places: one.places.into_iter().chain(other.places).map(|place| Place { sure: false, ..place }).collect(),
            always: Vec::new(),
            keys: both(one.keys, other.keys),
        })
    }

    /// Whether rows of two spread parts match on one shard only.
    fn meet(&self, one: &Known, other: &Known, pairs: &[&[Pair]]) -> Result<(), PgError> {
        let given = pairs.iter().copied().flatten();
        let classes = Classes::of(given.chain(&one.always).chain(&other.always));
        let joined = |place: &Place<Node>| {
            other.places.iter().any(|theirs| theirs.fits(place) && classes.equal(&place.columns, &theirs.columns))
        };
        if one.places.iter().any(joined) {
            return Ok(());
        }
        let hint = match self.equality(one, other) {
            Some(equality) => format!("Join them on their shard keys: {equality}."),
            None if one.places.is_empty() || other.places.is_empty() => {
                "Put the shard key out of the sub-query, and join on it.".to_string()
            }
            None => "Only tables of one keyspace and one vindex can be joined on their shard keys.".to_string(),
        };
        Err(refuse::not_joined(&self.name(one), &self.name(other), hint))
    }

    fn leaf(&self, at: usize, within: &Range<usize>, seen: &mut Vec<Place<Node>>) -> Result<Known, PgError> {
        let planner = self.planner;
        let mut known = match planner.tree.leaves.get(&at) {
            Some(leaf) => {
                // A function, or a recursive CTE inside itself, whose own query is judged as a whole.
                let Some(part) = leaf.part else { return Ok(Known::same()) };
                let answer = self.nested(Some(part), seen)?;
                let here = |place: &Place<usize>| {
                    let columns: Option<Vec<Node>> =
                        place.columns.iter().map(|at| leaf.columns.get(*at).copied().flatten()).collect();
                    columns.map(|columns| place.at(columns, place.sure))
                };
                let places: Vec<Place<Node>> = answer.places.iter().filter_map(here).collect();
                let outside = places.iter().find_map(|place| self.restricted(at, place));
                let keys = fewer(answer.keys, outside.map(|key| vec![key]));
                Known { first: Some(at), extent: answer.extent, places, always: Vec::new(), keys }
            }
            None => {
                let Some((number, used)) =
                    planner.uses.iter().enumerate().find(|(_, used)| used.instance == at && !used.reference)
                else {
                    return Ok(Known::same());
                };
                let TablePlacement::Sharded { vindex, .. } = used.table.placement else { return Ok(Known::same()) };
                // A column that no statement has named has no node, and so no equality either.
                let columns: Option<Vec<Node>> = used.columns.iter().map(|(_, called)| planner.key_node(at, called)).collect();
                let keyspace = used.table.keyspace;
                let sure = used.not_null;
                let types = used.columns.iter().map(|(_, called)| planner.key_type_of(at, called)).collect();
                let place = columns.zip(types).map(|(columns, types)| {
                    Place { keyspace, vindex, columns, types, sure, used: number }
                });
                let keys = self.requirements.get(number).cloned().flatten().map(|key| vec![key]);
                Known {
                    first: Some(at),
                    extent: Extent::Spread,
                    places: place.into_iter().collect(),
                    always: Vec::new(),
                    keys,
                }
            }
        };
        let tied = |place: &Place<Node>| {
            seen.iter().any(|outer| {
                outer.fits(place)
                    && outer.columns.iter().zip(&place.columns).all(|(outer, own)| {
                        !within.contains(&planner.facts.instance(*outer)) && planner.facts.reaches(*outer, *own, within)
                    })
            })
        };
        if known.extent == Extent::Spread && known.places.iter().any(tied) {
            known.extent = Extent::Complete;
            known.keys = None;
        }
        seen.extend(known.places.iter().cloned());
        Ok(known)
    }

    /// What the conditions around a sub-query in FROM or a CTE say of its place.
    fn restricted(&self, at: usize, place: &Place<Node>) -> Option<Requirement> {
        let planner = self.planner;
        let used = planner.uses.get(place.used)?;
        let single = place.columns.len() == 1;
        let ordered = single && planner.context.vschema.vindex(place.vindex).vindex.cover(None, None).is_some();
        let columns = place.columns.iter().zip(&used.columns).map(|(node, (name, _))| {
            let own = &planner.instances.get(at)?.columns;
            let key_type = own.iter().find(|own| planner.facts.node_of(at, &own.name) == Some(*node))?.key_type?;
            let mut values = planner.facts.solve(*node, single, ordered)?;
            planner.judge_types(&mut values, key_type);
            Some(KeyColumn { name: name.clone(), key_type, values })
        });
        let columns = columns.collect::<Option<_>>()?;
        let (keyspace, vindex) = (place.keyspace, place.vindex);
        Some(Requirement { table: used.table.name.clone(), keyspace, vindex, columns, insert: false })
    }

    /// A part's first table, for messages.
    fn name(&self, known: &Known) -> String {
        let first = known.first.and_then(|at| self.planner.instances.get(at)).filter(|one| !one.name.is_empty());
        first.map_or("a sub-query".to_string(), |one| format!("\"{}\"", one.name))
    }

    /// The equality that is missing.
    fn equality(&self, one: &Known, other: &Known) -> Option<String> {
        let (one, other) = one
            .places
            .iter()
            .find_map(|place| other.places.iter().find(|theirs| theirs.fits(place)).map(|theirs| (place, theirs)))?;
        let (one, other) = (self.planner.uses.get(one.used)?, self.planner.uses.get(other.used)?);
        let terms: Vec<String> = one
            .columns
            .iter()
            .zip(&other.columns)
            .map(|((_, left), (_, right))| format!("{}.{left} = {}.{right}", one.name, other.name))
            .collect();
        Some(terms.join(" AND "))
    }

    /// The refusal of a sub-query that would need rows of other shards.
    fn not_tied(&self, part: Option<usize>) -> PgError {
        let inside = |instance: usize| match part.and_then(|part| self.planner.tree.parts.get(part)) {
            Some(Part::Query(query)) => query.instances.contains(&instance),
            Some(Part::Block(block)) => block.instances.contains(&instance),
            _ => true,
        };
        let used = self.planner.uses.iter().find(|used| !used.reference && inside(used.instance));
        let (name, key) = used.map_or(("", ""), |used| {
            (used.name.as_str(), used.columns.first().map_or("", |(_, called)| called.as_str()))
        });
        refuse::not_tied(name, key)
    }
}

/// The positions at which a block puts a place out.
fn put_out(place: &Place<Node>, block: &Block, classes: &Classes) -> Option<Place<usize>> {
    let (outputs, complete) = &block.outputs;
    if !complete {
        return None;
    }
    let at = |column: &Node| {
        outputs.iter().position(|output| output.is_some_and(|output| classes.find(output) == classes.find(*column)))
    };
    Some(place.at(place.columns.iter().map(at).collect::<Option<_>>()?, place.sure))
}

/// The columns of PARTITION BY, its own or its named window's.
fn partition(window: &Window, block: &Block) -> Option<Vec<Node>> {
    let mut window = window;
    for _ in 0..=block.named.len() {
        match &window.base {
            None => return Some(window.partition.clone()),
            Some(name) => window = block.named.get(name)?,
        }
    }
    None
}

fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::UnionAll => "UNION ALL",
        Operation::Union => "UNION",
        Operation::Intersect => "INTERSECT",
        Operation::Except => "EXCEPT",
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
