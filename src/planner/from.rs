//! FROM lists: what comes into scope, and which side of a join its condition restricts.

use sqlparser::ast::{
    FunctionArg, FunctionArgumentList, FunctionArguments, Join, JoinConstraint, JoinOperator, ObjectName, TableAlias,
    TableFactor, TableSampleKind, TableWithJoins,
};

use super::condition::Reach;
use super::scope::{self, Column, Instance, Scope};
use super::tree::{Item, Kind, Leaf};
use super::{Outputs, Planner, refuse};
use crate::error::PgError;

/// The longest chain of joins that several shards may be asked; longer ones need one shard.
const MAX_JOINS: usize = 100;

/// A join's condition, read once the whole FROM list is known.
struct Pending<'q> {
    constraint: &'q JoinConstraint,
    left: Vec<usize>,
    right: Vec<usize>,
    kind: Kind,
    /// Its place in the tree.
    on: usize,
}

/// A FROM list as it is read.
#[derive(Default)]
pub(super) struct From<'q> {
    pub scope: Scope,
    /// What it joins, for the tree.
    pub items: Vec<Item>,
    joins: Vec<Pending<'q>>,
}

impl Planner<'_> {
    /// Reads a FROM list. Its conditions wait until all of it is known.
    pub(super) fn from<'q>(&mut self, list: &'q [TableWithJoins]) -> Result<From<'q>, PgError> {
        let mut from = From::default();
        for item in list {
            let item = self.joined(item, &mut from)?;
            from.items.push(item);
        }
        Ok(from)
    }

    fn joined<'q>(&mut self, item: &'q TableWithJoins, from: &mut From<'q>) -> Result<Item, PgError> {
        let first = from.scope.instances.len();
        let mut joined = self.factor(&item.relation, from)?;
        // The tree is as deep as the chain is long, and the stack is not.
        let long = item.joins.len() > MAX_JOINS;
        if long {
            self.spoil("a chain of so many joins");
        }
        for Join { relation, global, join_operator } in &item.joins {
            if *global {
                return Err(refuse::construct("GLOBAL JOIN"));
            }
            let (kind, constraint) = match join_operator {
                JoinOperator::Join(constraint)
                | JoinOperator::Inner(constraint)
                | JoinOperator::CrossJoin(constraint) => (Kind::Inner, constraint),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (Kind::Left, constraint),
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (Kind::Right, constraint),
                JoinOperator::FullOuter(constraint) => (Kind::Full, constraint),
                _ => return Err(refuse::construct("this kind of join")),
            };
            let middle = from.scope.instances.len();
            let other = self.factor(relation, from)?;
            let left = from.scope.instances.get(first..middle).unwrap_or(&[]).to_vec();
            let right = from.scope.instances.get(middle..).unwrap_or(&[]).to_vec();
            self.merge(constraint, &left, &right, kind, from);
            let on = self.tree.new_join();
            from.joins.push(Pending { constraint, left, right, kind, on });
            if !long {
                joined = Item::Join { kind, on, left: Box::new(joined), right: Box::new(other) };
            }
        }
        Ok(joined)
    }

    /// USING and NATURAL: the columns that are one from here on.
    fn merge(&mut self, constraint: &JoinConstraint, left: &[usize], right: &[usize], kind: Kind, from: &mut From<'_>) {
        let names = match constraint {
            JoinConstraint::Using(names) => names.iter().filter_map(single).collect(),
            JoinConstraint::Natural => {
                // Which columns it means depends on which there are.
                self.starred.extend(left.iter().chain(right));
                match self.common(left, right) {
                    Some(names) => names,
                    None => {
                        from.scope.opaque = true;
                        return;
                    }
                }
            }
            JoinConstraint::On(_) | JoinConstraint::None => return,
        };
        for name in names {
            let (left, right) = (self.owner(left, &name, &from.scope), self.owner(right, &name, &from.scope));
            // Of an outer join's two columns the merged one is that of the side that is always there.
            let source = match kind {
                Kind::Inner | Kind::Left => left,
                Kind::Right => right,
                Kind::Full => None,
            };
            if let (Some(left), Some(right)) = (left, right) {
                self.using.push((left, right, name.clone()));
            }
            from.scope.merged.retain(|(merged, _)| *merged != name);
            from.scope.merged.push((name, source));
        }
    }

    /// The columns that both sides have; `None` if not all columns are known.
    fn common(&self, left: &[usize], right: &[usize]) -> Option<Vec<String>> {
        let names = |side: &[usize]| {
            let mut names = Vec::new();
            for at in side {
                let instance = self.instances.get(*at).filter(|instance| instance.complete)?;
                names.extend(instance.columns.iter().map(|column| column.name.clone()));
            }
            Some(names)
        };
        let (left, right) = (names(left)?, names(right)?);
        let mut common: Vec<String> = left.into_iter().filter(|name| right.contains(name)).collect();
        common.dedup();
        Some(common)
    }

    /// The one table of a side that has a column, or that already stands for it.
    fn owner(&self, side: &[usize], name: &str, scope: &Scope) -> Option<usize> {
        if let Some((_, source)) = scope.merged.iter().find(|(merged, _)| merged == name)
            && let Some(source) = source
            && side.contains(source)
        {
            return Some(*source);
        }
        let having = |at: &&usize| {
            self.instances.get(**at).is_some_and(|one| one.columns.iter().any(|column| column.name == name))
        };
        let mut hits = side.iter().filter(having);
        match (hits.next(), hits.next()) {
            (Some(hit), None) => Some(*hit),
            _ => None,
        }
    }

    /// Reads the conditions of a FROM list; its scope is on the stack.
    pub(super) fn conditions(&mut self, from: From<'_>) -> Result<(), PgError> {
        for Pending { left, right, kind, .. } in &from.joins {
            let missing: [&[usize]; 2] = match kind {
                Kind::Inner => [&[], &[]],
                Kind::Left => [right, &[]],
                Kind::Right => [left, &[]],
                Kind::Full => [left, right],
            };
            self.nullable.extend(missing.into_iter().flatten());
        }
        let mut using = std::mem::take(&mut self.using);
        for Pending { constraint, left, right, kind, on } in &from.joins {
            let reach = match kind {
                Kind::Inner => Reach::All,
                Kind::Left => Reach::Only(right),
                Kind::Right => Reach::Only(left),
                Kind::Full => Reach::None,
            };
            let reading = self.tree.read_join(Some(*on));
            let result = match constraint {
                JoinConstraint::None => Ok(()),
                JoinConstraint::On(condition) => {
                    // Names in ON stand for this join's tables, or for an outer block's, never for the rest of the list.
                    let mut instances = left.clone();
                    instances.extend(right);
                    let merged = from.scope.merged.clone();
                    self.scopes.push(Scope { instances, merged, opaque: from.scope.opaque });
                    let block = self.scopes.len() - 2;
                    let hidden = self.scopes.remove(block);
                    let result = self.condition(condition, reach);
                    self.scopes.insert(block, hidden);
                    self.scopes.pop();
                    result
                }
                JoinConstraint::Using(_) | JoinConstraint::Natural => {
                    using.retain(|(one, other, name)| {
                        let here = left.contains(one) && right.contains(other);
                        if here {
                            self.merged_equality(*one, *other, name, reach);
                        }
                        !here
                    });
                    Ok(())
                }
            };
            self.tree.read_join(reading);
            result?;
        }
        self.using = using;
        Ok(())
    }

    fn merged_equality(&mut self, one: usize, other: usize, name: &str, reach: Reach<'_>) {
        self.link((one, name), (other, name), reach);
        let type_of = |at: usize| {
            let instance = self.instances.get(at)?;
            instance.columns.iter().find(|column| column.name == name)?.key_type
        };
        let (Some(left), Some(right)) = (type_of(one), type_of(other)) else { return };
        if !super::facts::comparable(left, right) {
            return;
        }
        let (left, right) = (self.facts.node(one, name), self.facts.node(other, name));
        self.tree.equal((left, right));
        let into = |at: usize| match reach {
            Reach::All => true,
            Reach::Only(side) => side.contains(&at),
            Reach::None => false,
        };
        if into(one) {
            self.facts.flow(right, left);
        }
        if into(other) {
            self.facts.flow(left, right);
        }
    }

    fn factor<'q>(&mut self, factor: &'q TableFactor, from: &mut From<'q>) -> Result<Item, PgError> {
        match factor {
            TableFactor::Table {
                name,
                alias,
                args,
                with_hints,
                version,
                with_ordinality: _,
                partitions,
                json_path,
                sample,
                index_hints,
            } => {
                if !with_hints.is_empty()
                    || version.is_some()
                    || !partitions.is_empty()
                    || json_path.is_some()
                    || !index_hints.is_empty()
                {
                    return Err(refuse::construct("this form of table reference"));
                }
                if let Some(args) = args {
                    if args.settings.is_some() {
                        return Err(refuse::construct("this form of table function"));
                    }
                    return self.table_function(name, &args.args, alias.as_ref(), from);
                }
                let at = self.table(name, alias.as_ref())?;
                if let Some(sample) = sample {
                    self.sampled(at, sample)?;
                }
                from.scope.instances.push(at);
                Ok(Item::Leaf(at))
            }
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                if sample.is_some() {
                    return Err(refuse::construct("TABLESAMPLE"));
                }
                let outputs = if *lateral {
                    self.scopes.push(from.scope.clone());
                    let outputs = self.query(subquery);
                    self.scopes.pop();
                    outputs?
                } else {
                    self.query(subquery)?
                };
                let at = self.derived(outputs, alias.as_ref());
                from.scope.instances.push(at);
                Ok(Item::Leaf(at))
            }
            TableFactor::Function { name, args, alias, .. } => self.table_function(name, args, alias.as_ref(), from),
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, .. } => {
                self.scopes.push(from.scope.clone());
                let volatile = self.tree.volatile;
                let result = self.exprs(array_exprs);
                self.scopes.pop();
                result?;
                if self.tree.volatile > volatile {
                    self.spoil("a volatile function in FROM");
                }
                Ok(self.opaque_instance(alias.as_ref(), "unnest", from))
            }
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let before = from.scope.instances.len();
                let item = self.joined(table_with_joins, from)?;
                if let Some(alias) = alias {
                    // The alias hides the tables inside: their conditions are read, their names are gone.
                    let inside = from.scope.instances.split_off(before);
                    // It may be asked for all columns, or name them anew by their places.
                    self.starred.extend(&inside);
                    let hidden =
                        Scope { instances: inside, merged: from.scope.merged.clone(), opaque: from.scope.opaque };
                    let joins = from
                        .joins
                        .iter()
                        .position(|join| join.left.iter().any(|at| hidden.instances.contains(at)))
                        .map_or(Vec::new(), |at| from.joins.split_off(at));
                    self.scopes.push(hidden.clone());
                    let result = self.conditions(From { scope: hidden, joins, items: Vec::new() });
                    self.scopes.pop();
                    result?;
                    from.scope.merged.clear();
                    from.scope.opaque = true;
                    self.opaque_instance(Some(alias), "", from);
                }
                Ok(item)
            }
            _ => Err(refuse::construct("this form of table reference")),
        }
    }

    /// TABLESAMPLE: each row of a sharded table is in the sample or not, whatever the others are, on its own shard. The copies of a reference
    /// table would each have another sample.
    fn sampled(&mut self, at: usize, sample: &TableSampleKind) -> Result<(), PgError> {
        let (TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) = sample;
        self.exprs(sample.quantity.iter().map(|quantity| &quantity.value))?;
        if sample.offset.is_some() || sample.bucket.is_some() {
            return Err(refuse::construct("this form of TABLESAMPLE"));
        }
        if !self.uses.iter().any(|used| used.instance == at && !used.reference) {
            self.spoil("TABLESAMPLE of a table that is not sharded");
        }
        Ok(())
    }

    fn table_function<'q>(
        &mut self,
        name: &ObjectName,
        args: &[FunctionArg],
        alias: Option<&TableAlias>,
        from: &mut From<'q>,
    ) -> Result<Item, PgError> {
        // Functions in FROM see the tables before them.
        self.scopes.push(from.scope.clone());
        let list = FunctionArgumentList { duplicate_treatment: None, args: args.to_vec(), clauses: Vec::new() };
        let volatile = self.tree.volatile;
        let result = self.call(name, &FunctionArguments::List(list));
        self.scopes.pop();
        result?;
        if self.tree.volatile > volatile {
            self.spoil("a volatile function in FROM");
        }
        let bare = scope::parts(name).and_then(|parts| parts.last().cloned()).unwrap_or_default();
        Ok(self.opaque_instance(alias, &bare, from))
    }

    fn opaque_instance(&mut self, alias: Option<&TableAlias>, name: &str, from: &mut From<'_>) -> Item {
        let name = alias.map_or(name.to_string(), |alias| scope::fold(&alias.name).into_owned());
        let at = self.instances.len();
        from.scope.instances.push(at);
        self.instances.push(Instance { name, schema: None, columns: Vec::new(), complete: false });
        self.tree.leaves.insert(at, Leaf { part: None, columns: Vec::new() });
        Item::Leaf(at)
    }

    /// A sub-query in FROM, or a CTE's use: its columns have the values of what it puts out.
    pub(super) fn derived(&mut self, outputs: Outputs, alias: Option<&TableAlias>) -> usize {
        let at = self.instances.len();
        let names = alias.map(alias_columns).unwrap_or_default();
        let name = alias.map_or(String::new(), |alias| scope::fold(&alias.name).into_owned());
        let mut outputs = outputs;
        outputs.rename(&names);
        let mut instance = Instance { name, schema: None, columns: Vec::new(), complete: outputs.complete };
        let mut columns = Vec::new();
        for output in outputs.columns {
            let Some(name) = output.name else {
                instance.complete = false;
                columns.push(None);
                continue;
            };
            // Of two columns of one name neither can be asked for.
            let first = !instance.columns.iter().any(|column| column.name == name);
            let own = (first && output.key_type.is_some()).then(|| self.facts.node(at, &name));
            if let (Some(node), Some(own)) = (output.node, own) {
                self.facts.flow(node, own);
            }
            let ordered = scope::is_ordered(output.key_type, false);
            columns.push(own);
            instance.columns.push(Column { name, key_type: output.key_type, ordered });
        }
        self.instances.push(instance);
        self.tree.leaves.insert(at, Leaf { part: outputs.part, columns });
        at
    }
}

fn single(name: &ObjectName) -> Option<String> {
    let mut parts = scope::parts(name)?;
    if parts.len() == 1 { parts.pop() } else { None }
}

/// The names of `AS alias (a, b)`.
pub(super) fn alias_columns(alias: &TableAlias) -> Vec<String> {
    alias.columns.iter().map(|column| scope::fold(&column.name).into_owned()).collect()
}
