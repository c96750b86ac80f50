//! Views are expanded before a statement is planned: on each shard a view shows that shard's rows only, and a staged table is not what it reads.
//!
//! What a view stands for is its query as PostgreSQL prints it, with all names' schemas, in the place of its name. It is a template like others
//! ([`Once`]): the new text is planned like a client's. What the view's owner may read and the client may not is then refused by the shards; tables
//! with row-level security, where another role sees other rows, leave their views as they are, which is a refusal. So do views that differ from
//! shard to shard, and materialized ones, whose rows each shard made of its own.

use std::ops::Range;
use std::sync::Arc;

use super::bench::tokens::Spot;
use super::{Context, Planner, scope};
use crate::catalog::{Relation, RelationKind};
use crate::plan::once::Part;
use crate::plan::{Effects, Once, Plan, Route, Verdict};
use crate::sql::classify::name_of;
use crate::sql::{self, Token, TokenKind};
use crate::types::ShardId;

/// How deep views may be made of views.
const MOST_LEVELS: usize = 32;
/// How long a statement may become by its views.
const MOST_BYTES: usize = 1 << 20;

/// The plan of a statement that reads views over several shards: its text with their queries in it.
pub(super) fn expanded(context: &Context<'_>, text: &str, tokens: &[Token]) -> Option<Plan> {
    // Hardly any statement has a view's name in it, and then nothing is to be done.
    let views = &context.catalog.views;
    let mut names = tokens.iter().filter_map(|token| name_of(text, *token));
    if views.is_empty() || !names.any(|name| views.contains(name.as_ref())) {
        return None;
    }
    let planner = Planner::new(context, text, tokens);
    let found = planner.hidden_views()?;
    if found.is_empty() {
        return None;
    }
    let mut edits = planner.qualifiers(&found);
    let mut reasons = Vec::new();
    for (spot, view) in &found {
        edits.push((planner.span_of(spot), planner.in_place(spot, view, 0)?));
        reasons.push(format!("view {}: its query stands in its place", view.name));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let place = |at: usize| u32::try_from(at).ok();
    let (mut parts, mut at) = (Vec::new(), 0);
    for (range, words) in edits {
        if range.start > at {
            parts.push(Part::Tokens(place(at)?..place(range.start)?));
        }
        if !words.is_empty() {
            parts.push(Part::Words(words));
        }
        at = range.end;
    }
    if at < planner.tokens.len() {
        parts.push(Part::Tokens(place(at)?..place(planner.tokens.len())?));
    }
    let once = Some(Arc::new(Once { always: true, parts, ..Once::default() }));
    let verdict = Verdict::Route(Route { once, reasons, ..Route::default() });
    Some(Plan { verdict, effects: Effects { timed: true, ..Effects::default() }, literal: false })
}

impl Planner<'_> {
    /// The places in FROM lists that name views which no shard can show; `None` if FROM lists are not clear.
    fn hidden_views(&self) -> Option<Vec<(Spot, Arc<Relation>)>> {
        let spots = self.spots().ok()?;
        let ctes = self.cte_names();
        let mut found = Vec::new();
        for spot in spots {
            let parts = self.spot_name(&spot);
            if matches!(parts.as_slice(), [bare] if ctes.contains(bare)) {
                continue;
            }
            let Some(relation) = scope::relation_of(&self.context, &parts) else { continue };
            // DELETE FROM names what is changed, and not what is read.
            let target = spot.name.start.checked_sub(2).and_then(|at| self.tokens.get(at));
            let changed = target.is_some_and(|token| token.is(self.text, "delete"));
            if relation.kind == RelationKind::View && !changed && !is_whole(&self.context, relation) {
                found.push((spot, relation.clone()));
            }
        }
        Some(found)
    }

    /// What a view's name is exchanged for.
    fn in_place(&self, spot: &Spot, view: &Relation, level: usize) -> Option<String> {
        let query = query_of(&self.context, view, level)?;
        let alias = if spot.aliased { String::new() } else { format!(" AS \"{}\"", view.name.replace('"', "\"\"")) };
        let from = if spot.command { "SELECT * FROM " } else { "" };
        Some(format!("{from}({query}){alias}"))
    }

    /// The tokens that are exchanged.
    fn span_of(&self, spot: &Spot) -> Range<usize> {
        let before = spot.name.start.checked_sub(1).and_then(|at| self.tokens.get(at));
        let only = before.is_some_and(|token| token.is(self.text, "only"));
        spot.name.start - usize::from(spot.command || only)..spot.name.end
    }

    /// `public.view.column`: what stands in the view's place has no schema.
    fn qualifiers(&self, found: &[(Spot, Arc<Relation>)]) -> Vec<(Range<usize>, String)> {
        let name = |at: usize| self.tokens.get(at).and_then(|token| name_of(self.text, *token));
        let dot = |at: usize| self.tokens.get(at).is_some_and(|token| token.kind == TokenKind::Dot);
        let mut cut = Vec::new();
        for at in self.body.clone() {
            if (at > self.body.start && dot(at - 1)) || !dot(at + 1) || !dot(at + 3) {
                continue;
            }
            let (Some(schema), Some(table)) = (name(at), name(at + 2)) else { continue };
            let named = |(spot, view): &(Spot, Arc<Relation>)| {
                !spot.aliased && view.schema == schema && view.name == table && !spot.name.contains(&at)
            };
            if found.iter().any(named) {
                cut.push((at..at + 2, String::new()));
            }
        }
        cut
    }
}

/// Whether the one shard that answers for a view has all that the view reads.
pub(super) fn is_whole(context: &Context<'_>, view: &Relation) -> bool {
    let undeclared = context.vschema.undeclared.map(|keyspace| context.vschema.keyspace(keyspace));
    let declared =
        context.vschema.table(&view.schema, &view.name).map(|table| context.vschema.keyspace(table.keyspace));
    let shard = match (declared.or(undeclared).map(|keyspace| keyspace.shards.as_slice()), view.shards.as_slice()) {
        (Some([shard]), _) | (_, [shard]) => shard,
        _ => return false,
    };
    view.shards.contains(shard) && reads_only(context, view, *shard, 0)
}

/// Whether all tables that a view reads are on this shard.
fn reads_only(context: &Context<'_>, view: &Relation, shard: ShardId, level: usize) -> bool {
    let Some(text) = view.definition.as_deref().map(|text| text.trim().trim_end_matches(';')) else {
        // It is not the same everywhere, or it cannot be read: only a shard that alone has it may know better.
        return view.shards == [shard] && super::is_plain_shard(context, shard);
    };
    let Ok(tokens) = sql::lex(text, &context.limits) else { return false };
    let planner = Planner::new(context, text, &tokens);
    let (Ok(spots), ctes) = (planner.spots(), planner.cte_names()) else { return false };
    level < MOST_LEVELS
        && spots.iter().all(|spot| {
            let parts = planner.spot_name(spot);
            if matches!(parts.as_slice(), [bare] if ctes.contains(bare)) {
                return true;
            }
            match scope::relation_of(context, &parts) {
                Some(inner) if inner.kind == RelationKind::View => reads_only(context, inner, shard, level + 1),
                Some(_) => matches!(
                    scope::place(context, &parts),
                    Ok(scope::Place::Single { shard: other, .. }) if other == shard
                ),
                None => matches!(scope::place(context, &parts), Ok(scope::Place::System)),
            }
        })
}

/// A view's query, with the queries of the views that it reads.
fn query_of(context: &Context<'_>, view: &Relation, level: usize) -> Option<String> {
    let text = view.definition.as_deref()?.trim().trim_end_matches(';').trim_end();
    if level >= MOST_LEVELS {
        return None;
    }
    let tokens = sql::lex(text, &context.limits).ok()?;
    let planner = Planner::new(context, text, &tokens);
    for spot in planner.spots().ok()? {
        let relation = scope::relation_of(context, &planner.spot_name(&spot));
        if relation.is_some_and(|relation| relation.row_security) {
            return None;
        }
    }
    let mut edits = planner.qualifiers(&planner.hidden_views()?);
    for (spot, inner) in planner.hidden_views()? {
        edits.push((planner.span_of(&spot), planner.in_place(&spot, &inner, level + 1)?));
    }
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut copied) = (String::new(), 0);
    for (range, words) in edits {
        let (first, last) = (tokens.get(range.start)?.start as usize, tokens.get(range.end - 1)?.end as usize);
        out.push_str(text.get(copied..first)?);
        out.push_str(&words);
        copied = last;
    }
    out.push_str(text.get(copied..)?);
    (out.len() <= MOST_BYTES).then_some(out)
}
