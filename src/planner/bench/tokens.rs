//! Queries beyond the grammar, or with a construct that the walk does not know: read by their tokens.
//!
//! Where FROM lists are and which of their items are names of tables can be told without a tree: each pair of parentheses is a query, if it begins
//! with SELECT, and its FROM is the word at its own depth. Inputs are whole then, all columns of all shards. Whatever could be meant in two ways is
//! a refusal: a CTE that is called like a table, a table's name in a place that is none of the known.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::columns::described;
use super::input::{all_shards, words};
use super::{Edit, WHY, quote};
use crate::error::PgError;
use crate::plan::gather::Piece;
use crate::plan::work::Bench;
use crate::plan::work::bench::Input;
use crate::plan::{Effects, Plan, Route, Steps, Verdict, Work};
use crate::planner::scope::{self, Place};
use crate::planner::{Context, Planner, functions, refuse};
use crate::sql::classify::name_of;
use crate::sql::{Token, TokenKind};
use crate::sqlstate::SqlState;
/// A place in a FROM list, as far as tokens tell.
#[derive(Debug)]
pub(in crate::planner) struct Spot {
    /// The tokens of the name.
    pub name: Range<usize>,
    /// An alias follows.
    pub aliased: bool,
    /// `TABLE name`, which is a query.
    pub command: bool,
}

/// What a pair of parentheses is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// A query: where in it the next token stands.
    Query(Stand),
    /// A FROM list's own parentheses.
    Join(Stand),
    /// Anything else.
    Other,
}

/// Where in a query a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    /// Not in FROM.
    Outside,
    /// The next is an item of FROM.
    Item,
    /// In FROM, behind an item.
    From,
}

/// A way over inputs for a query that has no tree; `plan` is what its names say.
pub(in crate::planner) fn beyond_grammar(context: &Context<'_>, text: &str, tokens: &[Token], plan: Plan) -> Plan {
    let Verdict::Refuse(error) = &plan.verdict else { return plan };
    let reads = tokens.first().is_some_and(|first| {
        first.kind == TokenKind::LeftParen
            || ["select", "with", "values", "table"].iter().any(|word| first.is(text, word))
    });
    // That a name may be another schema's table is no reason either.
    if !reads || !matches!(error.code, SqlState::FEATURE_NOT_SUPPORTED | SqlState::UNDEFINED_TABLE) {
        return plan;
    }
    let planner = Planner::new(context, text, tokens);
    let Ok(bench) = planner.bench_of_tokens() else { return plan };
    let writes = planner.has_effects();
    let route = if bench.inputs.is_empty() {
        let reasons = vec!["all its tables are there, by their names".into()];
        Route { fixed: bench.fixed, keyspaces: bench.keyspaces, reasons, ..Route::default() }
    } else {
        let work = Some(Arc::new(Work { always: true, steps: Steps::Bench(bench) }));
        Route { work, reasons: vec![WHY.into()], ..Route::default() }
    };
    Plan {
        verdict: Verdict::Route(route),
        effects: Effects { writes, timed: true, ..Effects::default() },
        literal: false,
    }
}

impl Planner<'_> {
    /// A bench of whole inputs.
    pub(super) fn bench_of_tokens(&self) -> Result<Bench, PgError> {
        self.reads_only()?;
        let spots = self.spots()?;
        let ctes = self.cte_names();
        let (mut inputs, mut edits, mut keyspaces): (Vec<Input>, Vec<Edit>, Vec<_>) = Default::default();
        let mut fixed = None;
        let mut places = Vec::new();
        for spot in &spots {
            let parts = self.spot_name(spot);
            let is_cte = matches!(parts.as_slice(), [bare] if ctes.contains(bare));
            let place = scope::place(&self.context, &parts)?;
            if is_cte && !matches!(place, Place::Unknown) {
                return Err(refuse::construct("a query in WITH that is called like a table, beside such a construct,"));
            }
            if let (Place::Single { shard, .. }, None) = (&place, fixed) {
                fixed = Some(*shard);
            }
            places.push((spot, is_cte, place));
        }
        for (spot, is_cte, place) in places {
            let (relation, route) = match &place {
                _ if is_cte => continue,
                Place::Sharded { table, relation } => (relation, all_shards(table.keyspace)),
                Place::Reference { table, .. } => {
                    if !keyspaces.contains(&table.keyspace) {
                        keyspaces.push(table.keyspace);
                    }
                    continue;
                }
                Place::Single { shard, .. } if Some(*shard) == fixed => continue,
                Place::Single { shard, relation: Some(relation) } => {
                    (relation, Route { fixed: Some(*shard), ..Route::default() })
                }
                _ => return Err(refuse::spoiled("a system catalog or a table that is not known")),
            };
            let number = u16::try_from(inputs.len()).map_err(|_| refuse::construct("so many tables"))?;
            let list: Vec<String> = relation.columns.iter().map(|column| quote(&column.name)).collect();
            let from = format!("{}.{}", quote(&relation.schema), quote(&relation.name));
            inputs.push(Input {
                label: relation.name.clone(),
                route,
                text: words(format!("SELECT {} FROM {from}", list.join(", "))),
                columns: relation.columns.iter().map(described).collect(),
                ..Input::default()
            });
            let alias = (!spot.aliased).then(|| relation.name.clone());
            let rows = Piece::Input { input: number, alias };
            edits.push(match spot.command {
                true => (spot.name.start - 1..spot.name.end, vec![Piece::Words("SELECT * FROM".into()), rows]),
                false => (spot.name.clone(), vec![rows]),
            });
        }
        if fixed.is_some_and(|shard| {
            keyspaces.iter().any(|keyspace| !self.context.vschema.keyspace(*keyspace).shards.contains(&shard))
        }) {
            return Err(refuse::several_keyspaces());
        }
        let named: Vec<Range<usize>> = spots.into_iter().map(|spot| spot.name).collect();
        self.no_other_mention(&named)?;
        Ok(Bench { inputs, rest: self.rest(edits)?, keyspaces, fixed })
    }

    /// No word writes, locks, or reads tables by itself.
    fn reads_only(&self) -> Result<(), PgError> {
        const WRITES: &[&str] = &["insert", "update", "delete", "merge", "into", "ctid", "tableoid", "xmin", "xmax"];
        for at in self.body.clone() {
            let Some(token) = self.tokens.get(at) else { continue };
            let qualified =
                at.checked_sub(1).and_then(|at| self.tokens.get(at)).is_some_and(|token| token.kind == TokenKind::Dot);
            let locks = token.is(self.text, "for")
                && self
                    .tokens
                    .get(at + 1)
                    .is_some_and(|next| ["share", "no", "key"].iter().any(|word| next.is(self.text, word)));
            if locks {
                return Err(refuse::spoiled("a lock beside a construct that the grammar does not have"));
            }
            if token.kind == TokenKind::Word && !qualified && WRITES.iter().any(|word| token.is(self.text, word)) {
                // `substring(x for 3)` is in the grammar, and not read here.
                return Err(refuse::construct("a construct of this statement, beside what may write,"));
            }
            if self.tokens.get(at + 1).is_some_and(|next| next.kind == TokenKind::LeftParen)
                && let Some(name) = name_of(self.text, *token)
            {
                let reads = match self.context.catalog.functions.get(name.as_ref()) {
                    Some(function) => !function.closed,
                    None => matches!(
                        functions::class(&name),
                        functions::Class::ReadsTables
                            | functions::Class::Sequence
                            | functions::Class::SessionLock
                            | functions::Class::SessionState
                            | functions::Class::SetConfig
                    ),
                };
                refuse::large_object(&name, self.context.vschema)?;
                if reads {
                    return Err(refuse::function(&name));
                }
            }
        }
        Ok(())
    }

    /// A function may do something.
    fn has_effects(&self) -> bool {
        let calls = |pair: &[Token]| {
            pair[1].kind == TokenKind::LeftParen
                && name_of(self.text, pair[0]).is_some_and(|name| {
                    matches!(functions::class(&name), functions::Class::Home | functions::Class::Foreign)
                })
        };
        self.tokens.windows(2).any(calls)
    }

    /// Every word that is a table's name stands where it is read, or where it cannot be a table.
    fn no_other_mention(&self, named: &[Range<usize>]) -> Result<(), PgError> {
        let catalog = &self.context.catalog.relations;
        let tables: HashSet<&str> =
            catalog.keys().chain(self.context.vschema.tables.keys()).map(|(_, name)| name.as_str()).collect();
        let kind = |at: usize| self.tokens.get(at).map(|token| token.kind);
        for at in self.body.clone() {
            let Some(name) = self.tokens.get(at).and_then(|token| name_of(self.text, *token)) else { continue };
            if !tables.contains(name.as_ref()) || named.iter().any(|range| range.contains(&at)) {
                continue;
            }
            let before = at.checked_sub(1);
            let qualified = before.is_some_and(|before| {
                kind(before) == Some(TokenKind::Dot)
                    || self.tokens.get(before).is_some_and(|token| token.is(self.text, "as"))
            });
            if !qualified && kind(at + 1) != Some(TokenKind::Dot) {
                return Err(refuse::construct("a construct of this statement, beside a name that is a table's,"));
            }
        }
        Ok(())
    }

    /// The names of tables in FROM lists.
    pub(in crate::planner) fn spots(&self) -> Result<Vec<Spot>, PgError> {
        let mut levels = vec![Level::Query(Stand::Outside)];
        let mut spots = Vec::new();
        let word = |at: usize, list: &[&str]| {
            self.tokens
                .get(at)
                .is_some_and(|token| token.kind == TokenKind::Word && list.iter().any(|word| token.is(self.text, word)))
        };
        let kind = |at: usize| self.tokens.get(at).map(|token| token.kind);
        let unclear = || refuse::construct("a construct of this statement");
        let mut at = self.body.start;
        while at < self.body.end {
            let level = levels.last_mut().ok_or_else(unclear)?;
            let qualified = at > self.body.start && kind(at - 1) == Some(TokenKind::Dot);
            match (kind(at).ok_or_else(unclear)?, *level) {
                (TokenKind::LeftParen | TokenKind::LeftBracket, outer) => {
                    let query = word(at + 1, &["select", "with", "values", "table"])
                        || (kind(at + 1) == Some(TokenKind::LeftParen) && word(at + 2, &["select", "with", "values"]));
                    let inner = match outer {
                        _ if query => Level::Query(Stand::Outside),
                        Level::Query(Stand::Item) | Level::Join(Stand::Item) => Level::Join(Stand::Item),
                        _ => Level::Other,
                    };
                    if let Level::Query(stand @ Stand::Item) | Level::Join(stand @ Stand::Item) = level {
                        *stand = Stand::From;
                    }
                    levels.push(inner);
                    at += 1;
                }
                (TokenKind::RightParen | TokenKind::RightBracket, _) => {
                    levels.pop();
                    at += 1;
                }
                (TokenKind::Word, Level::Query(Stand::Outside))
                    if !qualified && word(at, &["table"]) && self.begins(at) =>
                {
                    let start = at + 1;
                    at += 2;
                    while kind(at) == Some(TokenKind::Dot) {
                        at += 2;
                    }
                    spots.push(Spot { name: start..at, aliased: false, command: true });
                }
                (TokenKind::Word, Level::Query(stand)) if !qualified && word(at, &["from"]) => {
                    let distinct =
                        at > self.body.start && word(at - 1, &["distinct"]) && at >= 2 && word(at - 2, &["is", "not"]);
                    if !distinct {
                        if stand != Stand::Outside {
                            return Err(unclear());
                        }
                        *level = Level::Query(Stand::Item);
                    }
                    at += 1;
                }
                (TokenKind::Word, Level::Query(Stand::Item) | Level::Join(Stand::Item))
                    if word(at, &["only", "lateral"]) =>
                {
                    at += 1;
                }
                (TokenKind::Word, Level::Query(Stand::Item) | Level::Join(Stand::Item))
                    if word(at, &["rows"]) && word(at + 1, &["from"]) =>
                {
                    self.behind_item(levels.last_mut());
                    at += 2;
                }
                (TokenKind::Word | TokenKind::QuotedName, Level::Query(Stand::Item) | Level::Join(Stand::Item)) => {
                    let start = at;
                    at += 1;
                    while kind(at) == Some(TokenKind::Dot) {
                        at += 2;
                    }
                    self.behind_item(levels.last_mut());
                    if kind(at) == Some(TokenKind::LeftParen) {
                        continue;
                    }
                    if self.tokens.get(at).is_some_and(|token| token.text(self.text) == "*") {
                        return Err(unclear());
                    }
                    let aliased = match kind(at) {
                        Some(TokenKind::QuotedName) => true,
                        Some(TokenKind::Word) => !word(at, BEHIND) && !self.begins_clause(at),
                        _ => false,
                    };
                    spots.push(Spot { name: start..at, aliased, command: false });
                }
                (TokenKind::Word, Level::Query(Stand::From)) if !qualified && self.begins_clause(at) => {
                    *level = Level::Query(Stand::Outside);
                    at += 1;
                }
                (TokenKind::Word, Level::Query(stand) | Level::Join(stand))
                    if stand == Stand::From && !qualified && word(at, &["join"]) =>
                {
                    *level = if matches!(level, Level::Join(_)) {
                        Level::Join(Stand::Item)
                    } else {
                        Level::Query(Stand::Item)
                    };
                    at += 1;
                }
                (TokenKind::Comma, Level::Query(Stand::From)) => {
                    *level = Level::Query(Stand::Item);
                    at += 1;
                }
                (_, Level::Query(Stand::Item) | Level::Join(Stand::Item)) => return Err(unclear()),
                _ => at += 1,
            }
        }
        Ok(spots)
    }

    /// The parts of a table's name.
    pub(in crate::planner) fn spot_name(&self, spot: &Spot) -> Vec<String> {
        let parts = spot.name.clone().step_by(2).filter_map(|at| name_of(self.text, *self.tokens.get(at)?));
        parts.map(|name| name.into_owned()).collect()
    }

    /// Whether a query begins at a token.
    fn begins(&self, at: usize) -> bool {
        let before = at.checked_sub(1).filter(|before| *before >= self.body.start);
        before.and_then(|before| self.tokens.get(before)).is_none_or(|token| {
            matches!(token.kind, TokenKind::LeftParen | TokenKind::RightParen)
                || ["union", "all", "distinct", "except", "intersect"].iter().any(|word| token.is(self.text, word))
        })
    }

    fn behind_item(&self, level: Option<&mut Level>) {
        if let Some(Level::Query(stand) | Level::Join(stand)) = level {
            *stand = Stand::From;
        }
    }

    /// What WITH calls its queries: each name in front of `AS (`, perhaps with columns between.
    pub(in crate::planner) fn cte_names(&self) -> HashSet<String> {
        let mut names = HashSet::new();
        let kind = |at: usize| self.tokens.get(at).map(|token| token.kind);
        let is = |at: usize, word: &str| self.tokens.get(at).is_some_and(|token| token.is(self.text, word));
        for at in self.body.clone() {
            let Some(name) = self.tokens.get(at).and_then(|token| name_of(self.text, *token)) else { continue };
            let mut next = at + 1;
            if kind(next) == Some(TokenKind::LeftParen) {
                next = self.places().closing(next).unwrap_or(self.body.end);
            }
            if !is(next, "as") {
                continue;
            }
            next += 1;
            next += usize::from(is(next, "not"));
            next += usize::from(is(next, "materialized"));
            if kind(next) == Some(TokenKind::LeftParen) {
                names.insert(name.into_owned());
            }
        }
        names
    }
}

/// What may stand behind a table's name that is no alias, beside the words that begin a clause.
const BEHIND: &[&str] =
    &["join", "inner", "left", "right", "full", "cross", "natural", "on", "using", "tablesample", "returning"];
