//! Inputs: what the shards are asked for in the place of each use of a table.

use std::ops::Range;
use std::sync::Arc;

use super::columns::{Words, described};
use super::{Edit, Front, Site, Whole, place, quote};
use crate::error::PgError;
use crate::plan::gather::{Hidden, Merge, Piece, Text, Window};
use crate::plan::work::bench::Input;
use crate::plan::{Gather, KeyColumn, KeySet, Origin, Requirement, Route};
use crate::planner::{Planner, refuse};
use crate::sql::TokenKind;
use crate::types::{KeyType, KeyspaceId};

/// So many values of a key are sent as a condition; of more the route alone decides.
const MOST_VALUES: usize = 100;

/// What an input has of a use.
pub(super) struct Kept {
    pub instance: usize,
    /// The positions of its columns in the table.
    pub columns: Vec<usize>,
    /// The uses by whose rows its shards choose.
    pub beside: Vec<usize>,
}

impl Planner<'_> {
    /// The inputs for these uses of tables, and what of the statement they replace.
    pub(super) fn inputs(
        &self,
        fetched: &[(&Site, Route)],
        wholes: &[(Whole, Route)],
    ) -> Result<(Vec<Input>, Vec<Edit>), PgError> {
        let words = self.words();
        let (mut inputs, mut edits) = (Vec::with_capacity(fetched.len()), Vec::new());
        let mut kept = Vec::with_capacity(fetched.len());
        for (site, route) in fetched {
            let (input, has) = self.input(site, route.clone(), &words)?;
            let number = u16::try_from(inputs.len()).map_err(|_| refuse::construct("so many tables"))?;
            let own = self.instances.get(site.instance).filter(|_| !site.aliased).map(|one| one.name.clone());
            let rows = Piece::Input { input: number, alias: own };
            edits.push(match site.front {
                Front::Nothing => (site.name.clone(), vec![rows]),
                Front::Only => (site.name.start - 1..site.name.end, vec![rows]),
                Front::Table => (site.name.start - 1..site.name.end, vec![Piece::Words("SELECT * FROM".into()), rows]),
            });
            if !site.sample.is_empty() {
                edits.push((site.sample.clone(), Vec::new()));
            }
            inputs.push(input);
            kept.push(has);
        }
        self.widen_groups(&kept, &mut inputs, &mut edits)?;
        for (whole, route) in wholes {
            let number = u16::try_from(inputs.len()).map_err(|_| refuse::construct("so many tables"))?;
            let range = whole.tokens.clone();
            let (pieces, instead) = whole.pieces(number)?;
            let text = Text { pieces };
            let (label, columns) = ("a sub-query".into(), whole.columns.clone());
            inputs.push(Input { label, route: route.clone(), text, columns, ..Input::default() });
            edits.push((range, instead));
        }
        self.lend_keys(fetched, &kept, wholes, &mut inputs);
        Ok((inputs, edits))
    }

    /// One use of a table as an input, and the positions of its columns.
    fn input(&self, site: &Site, route: Route, words: &Words<'_>) -> Result<(Input, Kept), PgError> {
        let uncertain = || refuse::construct("this table reference");
        let (relation, called) = self.relations.get(&site.instance).ok_or_else(uncertain)?;
        let instance = self.instances.get(site.instance).ok_or_else(uncertain)?;
        let kept = self.kept_columns(site, relation, called, words);
        let alias = quote(&instance.name);
        let list: Vec<String> =
            kept.iter().filter_map(|at| Some(format!("{alias}.{}", quote(called.get(*at)?)))).collect();
        let from = self.source_text(site).ok_or_else(uncertain)?;
        let mut pieces = vec![Piece::Words(format!("SELECT {} FROM {from}", list.join(", ")))];
        if !site.sample.is_empty() {
            pieces.push(Piece::Tokens(place(site.sample.start)?..place(site.sample.end)?));
        }
        let filters = self.filters_of(site.instance);
        for (at, filter) in filters.iter().enumerate() {
            pieces.push(Piece::Words(if at == 0 { "WHERE (".into() } else { ") AND (".into() }));
            pieces.push(Piece::Tokens(place(filter.start)?..place(filter.end)?));
        }
        if !filters.is_empty() {
            pieces.push(Piece::Words(")".into()));
        }
        let mut filtered = !filters.is_empty();
        if let Some(known) = self.key_filter(site, &route, &filters) {
            pieces.push(Piece::Words(if filtered { "AND".into() } else { "WHERE".into() }));
            pieces.extend(known);
            filtered = true;
        }
        let reduced = self.reduced(site);
        for condition in reduced.conditions {
            pieces.push(Piece::Words(if filtered { "AND".into() } else { "WHERE".into() }));
            pieces.extend(condition);
            filtered = true;
        }
        let columns = kept.iter().filter_map(|at| relation.columns.get(*at)).map(described).collect();
        let label = match &instance.name {
            name if *name == relation.name => name.clone(),
            name => format!("{} {name}", relation.name),
        };
        let sought = self.sought_columns(site.instance, &kept);
        let input = Input { label, route, text: Text { pieces }, columns, filtered, sought, ..Input::default() };
        Ok((input, Kept { instance: site.instance, columns: kept, beside: reduced.sources }))
    }

    /// A use of a table as an item of a FROM list, called as the statement calls it.
    pub(super) fn source_text(&self, site: &Site) -> Option<String> {
        let (relation, called) = self.relations.get(&site.instance)?;
        let instance = self.instances.get(site.instance)?;
        let only = if site.front == Front::Only { "ONLY " } else { "" };
        let mut from = format!("{only}{}.{}", quote(&relation.schema), quote(&relation.name));
        if site.aliased {
            from = format!("{from} AS {}", quote(&instance.name));
            if site.listed > 0 {
                let names: Vec<String> = called.iter().take(site.listed).map(|name| quote(name)).collect();
                from = format!("{from} ({})", names.join(", "));
            }
        }
        Some(from)
    }

    /// The values that the shard key of a use is known to have, as a condition on its rows: they may have come from another table's column, of which
    /// no condition tells here. Only values that mean the same beside this column as where they stand.
    fn key_filter(&self, site: &Site, route: &Route, filters: &[Range<usize>]) -> Option<Vec<Piece>> {
        let [Requirement { columns, .. }] = route.keyed.as_slice() else { return None };
        let [KeyColumn { name, key_type, values: KeySet::Values(values) }] = columns.as_slice() else { return None };
        if values.len() > MOST_VALUES {
            return None;
        }
        let used = self.uses.iter().find(|used| used.instance == site.instance)?;
        let (_, called) = used.columns.iter().find(|(own, _)| own == name)?;
        let instance = self.instances.get(site.instance)?;
        let number = matches!(key_type, KeyType::Int2 | KeyType::Int4 | KeyType::Int8);
        if !number && !matches!(key_type, KeyType::Text | KeyType::Uuid) {
            return None;
        }
        let mut told = true;
        let mut pieces = vec![Piece::Words(format!("{}.{} IN (", quote(&instance.name), quote(called)))];
        for (at, source) in values.iter().enumerate() {
            if source.negate || source.doubtful || source.cast.is_some() {
                return None;
            }
            let token = match source.origin {
                Origin::Literal(index) => {
                    let byte = *self.literals.get(usize::from(index))?;
                    let token = self.tokens.binary_search_by_key(&byte, |token| token.start).ok()?;
                    let kind = if number { TokenKind::Integer } else { TokenKind::String };
                    (self.tokens.get(token)?.kind == kind).then_some(token)?
                }
                Origin::Parameter(index) => {
                    let text = format!("${}", u32::from(index) + 1);
                    self.body.clone().find(|at| {
                        self.tokens
                            .get(*at)
                            .is_some_and(|token| token.kind == TokenKind::Parameter && token.text(self.text) == text)
                    })?
                }
                _ => return None,
            };
            told &= filters.iter().any(|filter| filter.contains(&token));
            if at > 0 {
                pieces.push(Piece::Words(",".into()));
            }
            pieces.push(Piece::Tokens(place(token).ok()?..place(token + 1).ok()?));
        }
        pieces.push(Piece::Words(")".into()));
        // A condition of its own says so already.
        (!told).then_some(pieces)
    }

    /// The shards that have such rows.
    pub(super) fn input_route(
        &self,
        instance: usize,
        keyspace: KeyspaceId,
        found: &[Option<Result<Requirement, PgError>>],
    ) -> Route {
        let used = self.uses.iter().position(|used| used.instance == instance);
        let keyed = match used.and_then(|at| found.get(at)) {
            Some(Some(Ok(requirement))) => vec![requirement.clone()],
            _ => Vec::new(),
        };
        Route { keyed, ..all_shards(keyspace) }
    }
}

/// The route to all shards of a keyspace.
pub(super) fn all_shards(keyspace: KeyspaceId) -> Route {
    let (hidden, window) = (Hidden::Last(0), Window::default());
    let gather = Gather { keyspace, text: None, hidden, merge: Merge::Concat, window };
    Route { gather: Some(Arc::new(gather)), ..Route::default() }
}

/// A text of ours.
pub(super) fn words(words: String) -> Text {
    Text { pieces: vec![Piece::Words(words)] }
}
