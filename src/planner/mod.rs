//! The planner: from one statement's text to a plan. Pure: no clock, no I/O, and the same answer for the same question.
//!
//! # What it promises
//!
//! A statement gets a route only if one shard can give the answer that a single PostgreSQL with all rows would give, or several can
//! together. Everything else is refused, with the construct by its name, the reason and a way out. Of two readings the planner takes the one that
//! refuses; a syntax node that no rule names is refused; a name that is not surely a certain column is no column. Routing too little
//! costs an error message, routing too much costs a wrong answer.
//!
//! # The rules
//!
//! 1. **Tables.** Each name in FROM, INTO, UPDATE, DELETE and USING is looked up as PostgreSQL would: CTE, temporary, system,
//!    search path ([`scope`]). A table is *sharded*, a *reference* (a copy on every shard), on a *single* shard, of the system, or
//!    unknown. A view over several shards is exchanged for its query before anything else ([`views`]). A table that no keyspace has is an error that names the lines to add.
//! 2. **Every use of a sharded table must be fixed**, for one shard to answer. One use is one instance; the same table twice must be fixed twice. It is fixed if
//!    each of its shard key columns is restricted to known values: literals, parameters, casts of these to a type whose conversion
//!    is known ([`source`]). `5.4::int`, `'x'::char(1)` and whatever is computed are not.
//! 3. **What restricts.** A term of the top-level AND of WHERE: `k = v`, `k IN (...)`, `k = ANY(array)`, `(k, x) IN (...)`,
//!    `k = 1 OR k = 2`, and of a larger OR what all its arms say of `k`; where the vindex knows PostgreSQL's order of the column, also
//!    `<`, `<=`, `>`, `>=` and BETWEEN. Not a term under OR with something else, under NOT, in HAVING, in the select list, in an
//!    expression (`k + 1 = 5`), or in a sub-query about the outer query's column; nor `k IS NULL`, because a key that has become NULL
//!    may be anywhere.
//! 4. **What carries.** Equality of two columns of one key type is a pair of edges along which values flow ([`facts`]). In the ON of an
//!    inner join and in WHERE it goes both ways; in the ON of an outer join only into the side that may be missing, because the other
//!    side's rows stay in any case; in a FULL JOIN not at all; from an outer block into a sub-query, never out of it. USING and
//!    NATURAL are equalities; the merged column is the column of the side that is always there. What a sub-query in FROM or a CTE puts
//!    out carries values outwards; a condition outside does not restrict what is inside, because LIMIT, windows and aggregates may
//!    stand between. `k IN (SELECT k2 ...)` carries from the sub-query.
//! 5. **All must meet, or the statement must be local.** Values become shards at run time ([`Route::resolve`](crate::plan::Route::resolve));
//!    all of them, and the shards of unsharded tables, must be one. If they are not, or nothing is fixed, several shards answer, provided
//!    that each can by its own rows, and that the answers can be put together: [`local`] proves the one, [`gather`] does the other.
//!    Whatever else is read gets a *bench* ([`bench`]): inputs that are fetched from the shards, and the statement itself over them.
//! 6. **Writes.** One shard is sent an INSERT if the key of each row is a literal or parameter and leads there. ON CONFLICT must be about a unique key
//!    that contains the shard key. Over several shards an INSERT is split by rows, an UPDATE or DELETE must be local ([`spread`]); all else (rows of
//!    a query, computed keys, rows of other shards, a new shard key, MERGE, writes in WITH) is done in steps ([`write`]). Reference tables of several
//!    shards are written to on all of them ([`reference`](mod@reference)). Triggers and rules may reach other shards, so tables that have them are
//!    not written to unless the vschema says that they stay on theirs.
//! 7. **Functions.** A user's function that is not immutable may read any table: refused, unless its text can only compute
//!    ([`Function::closed`](crate::catalog::Function::closed)) or the vschema declares it. Functions
//!    whose state is the connection's pin the session; advisory locks and their like are taken on the home shard, and not together
//!    with rows of other shards. A sequence that several shards have counts on the first of them.
//!    What has to be one value for all shards (the time, a sequence's numbers) is put into the text before it is sent ([`once`]).
//! 8. **No table at all** goes anywhere.
//! 9. **Definitions** go to every shard that has what they are about, in one transaction ([`utility`]). What the shards cannot keep each by itself (a
//!    unique key without the shard key, a foreign key to rows elsewhere) is not made.
//! 10. **`goldseam.shard`** is the operator's word: no analysis.
//!
//! A plan does not depend on a literal's value, because plans are shared by all texts that differ in literals only. The exceptions are names
//! of sequences, which the normaliser keeps in the key, and numbers that stand for columns (`ORDER BY 2`), whose plans say so
//! ([`Plan::literal`]).
//!
//! # Where the ideas live
//!
//! [`walk`] goes through query blocks, [`from`] through joins, [`condition`] reads what restricts, [`expr`] and [`calls`] walk all other
//! expressions, [`write`] INSERT, UPDATE and DELETE; [`facts`] solves who has which values. Meanwhile [`tree`] draws the statement's shape,
//! by which [`local`] judges what each shard can answer for its own rows; [`gather`] makes of a query what the shards are sent and how
//! their answers become one, [`spread`] of a write; [`route`] puts the plan together. [`utility`] judges by their tokens what has no syntax tree; [`refuse`] has the words.

mod bench;
mod calls;
mod condition;
mod copy;
mod expr;
mod facts;
mod from;
mod functions;
mod gather;
mod local;
mod lookup;
mod once;
mod outputs;
mod reference;
mod refuse;
mod route;
mod scope;
mod source;
mod spread;
mod tables;
#[cfg(test)]
mod tests;
mod tree;
mod triggers;
mod utility;
mod views;
mod walk;
mod write;

use std::collections::{HashMap, HashSet};

use sqlparser::ast::{SelectItem, Statement};

use crate::catalog::Catalog;
use crate::error::PgError;
use crate::plan::{Once, Pin, Plan, Route, Verdict, Work};
use crate::sql::normalize::literal_kind;
use crate::sql::{self, Limits, Token, TokenKind, parse};
use crate::types::{KeyspaceId, Oid, ShardId};
use crate::vschema::{Table, Vschema};
use facts::Facts;
use outputs::{Output, Outputs};
use scope::{Instance, Scope};
use tree::Tree;

/// All that a plan depends on besides the text.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The layout in force.
    pub vschema: &'a Vschema,
    /// The catalog in force.
    pub catalog: &'a Catalog,
    /// The effective search path: without `pg_catalog`, `"$user"` already replaced.
    pub search_path: &'a [String],
    /// `goldseam.shard`, or the hint: the operator's word stands in for any analysis.
    pub forced: Option<ShardId>,
    /// Bounds on the statement.
    pub limits: Limits,
    /// How many triggers, one set off by another, the statement is inside of.
    pub triggers: u8,
}

/// Plans one statement. Never panics.
pub fn plan(text: &str, context: &Context<'_>) -> Plan {
    let mut plan = plan_statement(text, context);
    plan.effects.noted = plan.effects.writes && lookup::is_noted(context, text);
    plan
}

fn plan_statement(text: &str, context: &Context<'_>) -> Plan {
    let tokens = match sql::lex(text, &context.limits) {
        Ok(mut tokens) => {
            while tokens.last().is_some_and(|token| token.kind == TokenKind::Semicolon) {
                tokens.pop();
            }
            tokens
        }
        Err(error) => return refused(error),
    };
    let command = sql::classify(text);
    let only = context.vschema.shards.len() == 1;
    // The comment of a CREATE TABLE that names a shard is the new table's place, not a detour for this statement.
    let placed = !only && utility::names_a_place(text, &tokens, &command);
    if let Some(shard) = context.forced.filter(|_| !placed).or(only.then_some(ShardId(0))) {
        let why = if only { "there is one shard" } else { "goldseam.shard names it" };
        let reasons = vec![format!("{}: {why}", context.vschema.shard_name(shard))];
        return Plan {
            verdict: Verdict::Route(Route { fixed: Some(shard), reasons, ..Route::default() }),
            effects: utility::quick_effects(text, &tokens, &command),
            literal: false,
        };
    }
    if let Some(name) = tokens.iter().find(|token| token.kind == TokenKind::UnicodeName) {
        let position = sql::lexer::position(text, name.start as usize);
        return refused(refuse::construct("names with Unicode escapes (U&\"...\")").at(position));
    }
    let measure = match parse::measure(text, &tokens, &context.limits) {
        Ok(measure) => measure,
        Err(error) => return refused(error),
    };
    parse::with_deep_stack(measure, || utility::plan_command(context, text, &tokens, &command)).unwrap_or_else(refused)
}

fn refused(error: PgError) -> Plan {
    Plan { verdict: Verdict::Refuse(Box::new(error)), effects: crate::plan::Effects::default(), literal: false }
}

/// Whether a shard has no part of any table that is spread: then whatever is read there is all there is.
fn is_plain_shard(context: &Context<'_>, shard: ShardId) -> bool {
    !context.vschema.keyspaces.iter().any(|keyspace| keyspace.shards.len() > 1 && keyspace.shards.contains(&shard))
}

/// Plans the query that these tokens of the text are.
/// `scatter`: it is the whole statement, so that several shards may be sent it.
fn plan_query<'c>(context: &Context<'c>, text: &'c str, tokens: &[Token], scatter: bool) -> Plan {
    let command = sql::Command::Query;
    let effects = || utility::quick_effects(text, tokens, &command);
    if let Some(plan) = views::expanded(context, text, tokens).filter(|_| scatter) {
        return plan;
    }
    let whole = parse::parse(text, tokens).or_else(|words| match parse::without_subscripts(text, tokens) {
        Some(fewer) => parse::parse(text, &fewer),
        None => Err(words),
    });
    let statement = match whole {
        Ok(statement @ (Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_))) => {
            statement
        }
        Ok(statement @ Statement::Merge(_)) => {
            let plan = utility::by_names(context, text, tokens, effects(), "MERGE");
            if !scatter {
                return plan;
            }
            let mut plan = write::plan_in_steps(context, text, tokens, &statement, plan);
            Planner::new(context, text, tokens).complete(&statement, &mut plan.verdict);
            return plan;
        }
        Ok(_) => return utility::by_names(context, text, tokens, effects(), "this statement"),
        Err(words) => {
            let mut plan = utility::by_names(context, text, tokens, effects(), "a construct of this statement");
            if let Verdict::Refuse(error) = &mut plan.verdict {
                let detail = error.detail.take().unwrap_or_default();
                error.detail = Some(format!("{detail} Goldseam's grammar says: {words}."));
            }
            return if scatter { bench::beyond_grammar(context, text, tokens, plan) } else { plan };
        }
    };
    let mut planner = Planner::new(context, text, tokens);
    let mut read = None;
    let walked = match &statement {
        Statement::Query(query) => {
            planner.found.once = planner.is_single_row(query);
            planner.query(query).map(|outputs| {
                planner.spread = None;
                read = Some((&**query, outputs.part));
            })
        }
        Statement::Insert(insert) => planner.insert(insert),
        Statement::Update(update) => planner.update(update),
        Statement::Delete(delete) => planner.delete(delete),
        _ => Err(refuse::construct("this statement")),
    };
    if !scatter {
        planner.spread = None;
    }
    let effects = planner.effects();
    let complete = walked.is_ok();
    let routed = if planner.needs_values() {
        // What else there is to say of it is said when the values are in their places.
        planner.deferred(&statement)
    } else {
        let routed = walked.and_then(|()| {
            planner.take_template(&statement);
            planner.route(read.filter(|_| scatter))
        });
        match &statement {
            Statement::Query(query) if scatter => planner.with_bench(query, routed, complete),
            _ => routed,
        }
    };
    let literal = planner.literal;
    let verdict = match routed {
        Ok(route) => Verdict::Route(route),
        Err(error) => Verdict::Refuse(Box::new(error)),
    };
    let plan = Plan { verdict, effects, literal };
    if !scatter {
        return plan;
    }
    let mut plan = write::plan_in_steps(context, text, tokens, &statement, plan);
    planner.complete(&statement, &mut plan.verdict);
    plan
}

/// A query in WITH.
#[derive(Debug, Clone)]
struct Cte {
    name: String,
    outputs: Outputs,
    /// It stands for itself inside its own query.
    recursive: bool,
}

/// One use of a table that is spread.
#[derive(Debug)]
struct Use {
    instance: usize,
    /// As the statement calls it.
    name: String,
    reference: bool,
    table: std::sync::Arc<Table>,
    /// The shard key: each column's own name, and as this use calls it.
    columns: Vec<(String, String)>,
    /// None of these columns can be NULL.
    not_null: bool,
    insert: bool,
}

impl Use {
    /// Its table, and what the statement calls it.
    fn shown(&self) -> String {
        if self.name == self.table.name { self.name.clone() } else { format!("{} {}", self.table.name, self.name) }
    }
}

/// The state of one statement's walk.
struct Planner<'c> {
    context: Context<'c>,
    /// The whole text, and its tokens: places in a plan are numbers of these.
    text: &'c str,
    tokens: Vec<Token>,
    /// The tokens of the query itself, which may be a part of the text.
    body: std::ops::Range<usize>,
    /// A literal's value was looked at.
    literal: bool,
    /// The first byte of each literal, as the normaliser counts them.
    literals: Vec<u32>,
    instances: Vec<Instance>,
    /// Those of them that are tables, and the names that their columns have there.
    relations: HashMap<usize, (std::sync::Arc<crate::catalog::Relation>, Vec<String>)>,
    /// From the outermost block to the innermost.
    scopes: Vec<Scope>,
    ctes: Vec<Cte>,
    facts: Facts,
    tree: Tree,
    uses: Vec<Use>,
    /// Equalities of USING and NATURAL that wait for their join's turn.
    using: Vec<(usize, usize, String)>,
    fixed: Option<(ShardId, String)>,
    keyspaces: Vec<KeyspaceId>,
    reasons: Vec<String>,
    /// A comparison with a shard key that does not count, for the refusal's words.
    near: Option<String>,
    /// A function that only the home shard may run.
    need_home: Option<String>,
    /// A function that should run at home if nothing else says where.
    home_unless_placed: bool,
    /// A system catalog, or what speaks of objects by their names or OIDs: only the home shard's counts.
    objects: bool,
    /// A function that may read any table.
    reader: Option<String>,
    attached: bool,
    writes: bool,
    floating: bool,
    timed: bool,
    pin: Option<Pin>,
    /// A column's default that tells the time.
    moment: Option<String>,
    /// A trigger that tells the time, in words.
    clock: Option<String>,
    /// What has to be done in steps, where the walk has found so; every other judgement of the route still holds.
    work: Option<Work>,
    /// How the write may go to several shards, if it is one.
    spread: Option<spread::Spread>,
    /// How many names in FROM lists were met, those of CTEs too.
    met: usize,
    /// How many clauses there are like FOR UPDATE.
    locks: usize,
    /// A sequence's shard is fixed.
    sequences: bool,
    /// A select list that nobody reads, by its place in memory.
    unread: Option<*const SelectItem>,
    /// GROUP BY clauses.
    groupings: Vec<bench::Grouping>,
    /// Where tables are named in FROM lists.
    sites: Vec<bench::Site>,
    /// Uses of which a star, or NATURAL, means all columns.
    starred: HashSet<usize>,
    /// Terms of conditions that are about one use of a table.
    filters: Vec<bench::Filter>,
    /// Equalities that rows of one use of a table have to pass with those of another.
    links: Vec<bench::Link>,
    /// Sub-queries that may be inputs as a whole.
    wholes: Vec<bench::Whole>,
    /// Blocks of aggregates of which shards can give parts.
    partials: Vec<bench::Partials>,
    /// Columns that are compared with what a block further out has.
    sought: HashSet<(usize, String)>,
    /// Uses whose rows an outer join may leave out.
    nullable: HashSet<usize>,
    /// What a workbench cannot do.
    unfit: Option<String>,
    /// Parts that are on different shards.
    torn: Option<PgError>,
    /// How often a recursive CTE's own name has been met.
    recursions: usize,
    /// The queries in WITH that are being read, the innermost last.
    reading: Vec<String>,
    /// The first construct that only one shard can be sent.
    spoiled: Option<String>,
    /// An INSERT of several key columns from a query: which values belong together is not known.
    selected_insert: bool,
    /// What has to be one value for the whole statement.
    found: once::Found,
    /// The statement as a template, once the walk is over.
    template: Option<Once>,
    /// Writes to reference tables.
    copied: Vec<reference::Copied>,
    /// A reference table whose rows are locked.
    locked_copy: Option<(KeyspaceId, String)>,
    /// How often each parameter stands in the text.
    parameter_uses: HashMap<u16, usize>,
    /// The types that comparisons with columns and casts give to parameters.
    parameter_types: HashMap<u16, Vec<Oid>>,
}

impl<'c> Planner<'c> {
    fn new(context: &Context<'c>, text: &'c str, query: &[Token]) -> Planner<'c> {
        // All literals of the text count, also those before an inner query.
        let tokens = sql::lex(text, &context.limits).unwrap_or_default();
        let first =
            query.first().and_then(|first| tokens.iter().position(|token| token.start == first.start)).unwrap_or(0);
        let mut parameter_uses = HashMap::new();
        for token in tokens.iter().filter(|token| token.kind == TokenKind::Parameter) {
            let number = token.text(text).strip_prefix('$').and_then(|digits| digits.parse::<u32>().ok());
            if let Some(number) = number.and_then(|number| u16::try_from(number.checked_sub(1)?).ok()) {
                *parameter_uses.entry(number).or_default() += 1;
            }
        }
        let literals = tokens
            .iter()
            .filter(|token| literal_kind(token.kind, token.text(text).as_bytes()).is_some())
            .map(|token| token.start)
            .collect();
        Planner {
            found: once::Found::new(text, &tokens),
            template: None,
            copied: Vec::new(),
            locked_copy: None,
            context: *context,
            text,
            body: first..first + query.len(),
            tokens,
            literal: false,
            literals,
            instances: Vec::new(),
            relations: HashMap::new(),
            scopes: Vec::new(),
            ctes: Vec::new(),
            facts: Facts::default(),
            tree: Tree::default(),
            uses: Vec::new(),
            using: Vec::new(),
            fixed: None,
            keyspaces: Vec::new(),
            reasons: Vec::new(),
            near: None,
            need_home: None,
            home_unless_placed: false,
            objects: false,
            reader: None,
            attached: false,
            writes: false,
            floating: true,
            timed: false,
            pin: None,
            moment: None,
            clock: None,
            work: None,
            spread: None,
            met: 0,
            locks: 0,
            sequences: false,
            unread: None,
            groupings: Vec::new(),
            sites: Vec::new(),
            starred: HashSet::new(),
            filters: Vec::new(),
            links: Vec::new(),
            wholes: Vec::new(),
            partials: Vec::new(),
            sought: HashSet::new(),
            nullable: HashSet::new(),
            unfit: None,
            torn: None,
            recursions: 0,
            reading: Vec::new(),
            spoiled: None,
            selected_insert: false,
            parameter_uses,
            parameter_types: HashMap::new(),
        }
    }

    /// A construct whose answer differs from shard to shard, or whose effect must not be repeated on each.
    fn spoil(&mut self, what: &str) {
        if self.spoiled.is_none() {
            self.spoiled = Some(what.to_string());
        }
    }

    /// A part of the statement is on one shard whatever the values.
    fn fix(&mut self, shard: ShardId, what: &str) -> Result<(), PgError> {
        let name = self.context.vschema.shard_name(shard);
        match &self.fixed {
            Some((other, first)) if *other != shard => {
                let error = PgError::unsupported(format!("{first} and {what} are on different shards"))
                    .with_detail(format!(
                        "{first} is on shard {}, {what} on shard {name}.",
                        self.context.vschema.shard_name(*other)
                    ))
                    .with_hint("Query them one after the other, or place them on the same shard.");
                // The walk goes on: inputs may be fetched from both.
                self.torn.get_or_insert(error);
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                self.reasons.push(format!("{what}: unsharded, on {name}"));
                self.fixed = Some((shard, what.to_string()));
                Ok(())
            }
        }
    }
}
