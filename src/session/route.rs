//! From a statement's text and values to a shard.

use std::cell::RefCell;
use std::sync::Arc;

use super::statements::Statement;
use super::values::TextValues;
use super::{Session, Trouble, settings};
use crate::error::PgError;
use crate::plan::{Pin, Plan, Route, Target, Values, Verdict};
use crate::sql::{self, Command, Normalized};
use crate::sqlstate::SqlState;
use crate::types::{ShardId, VindexId};

thread_local! {
    /// Reused from statement to statement, so that a plan-cache hit allocates nothing.
    static SCRATCH: RefCell<Normalized> = RefCell::new(Normalized::default());
}

/// Where a statement goes, with everything borrowed taken out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Destination {
    /// This shard.
    Shard(ShardId),
    /// Each of these shards; of an INSERT, the index of each row's shard.
    Shards { shards: Vec<ShardId>, rows: Vec<u16> },
    /// Nowhere as it is: the plan's [`Work`](crate::plan::Work) says what is done.
    Work,
    /// Any of these; of all, if none are named.
    Any(Option<Vec<ShardId>>),
    /// The home shard.
    Home,
    /// Where the session is, else home.
    Attached,
    /// A directory knows.
    Directory { vindex: VindexId, key: String, insert: bool, also: Option<ShardId> },
}

impl From<Target<'_>> for Destination {
    fn from(target: Target<'_>) -> Self {
        match target {
            Target::Shard(shard) => Destination::Shard(shard),
            Target::Shards { shards, rows } => Destination::Shards { shards, rows },
            Target::Work => Destination::Work,
            Target::Any(shards) => Destination::Any(shards.map(<[ShardId]>::to_vec)),
            Target::Home => Destination::Home,
            Target::Attached => Destination::Attached,
            Target::Directory { vindex, key, insert, also, .. } => {
                Destination::Directory { vindex, key: key.to_text(), insert, also }
            }
        }
    }
}

/// One statement of a simple query, or of a Parse.
pub(super) struct Normal {
    /// The hash of its text without literals.
    pub key: u128,
    /// A shard named in its own comment.
    pub hint: Option<ShardId>,
    /// Its literals.
    pub literals: Vec<sql::Literal>,
}

impl Session {
    /// The plan and the destination of a text that is one known statement of the ordinary kind; none if it has not been planned
    /// lately. No parse, and no allocation but for the way to a directory.
    pub(super) fn decide_known(&self, text: &str) -> Result<Option<(Arc<Plan>, Destination)>, PgError> {
        aside(text, || self.look_up(text))
    }

    fn look_up(&self, text: &str) -> Result<Option<(Arc<Plan>, Destination)>, PgError> {
        SCRATCH.with_borrow_mut(|normalized| {
            self.normalize(text, normalized)?;
            let hint = self.hint(text, normalized)?;
            let literals = || self.context.literals(text, &normalized.literals);
            let Some(plan) = self.shared.plans.get(self.context.key(normalized.key, hint), literals) else {
                return Ok(None);
            };
            self.shared.meters.totals.plan(true);
            let values = TextValues { text, literals: &normalized.literals };
            let destination = self.resolve(&plan, &values)?;
            Ok(Some((plan, destination)))
        })
    }

    /// Plans one statement and remembers the plan.
    pub(super) fn decide(&self, text: &str) -> Result<(Arc<Plan>, Destination), PgError> {
        if let Some(known) = self.decide_known(text)? {
            return Ok(known);
        }
        let normal = self.normal(text)?;
        let plan = self.plan(text, &normal);
        let values = TextValues { text, literals: &normal.literals };
        let destination = self.resolve(&plan, &values)?;
        Ok((plan, destination))
    }

    /// A statement's normal form.
    pub(super) fn normal(&self, text: &str) -> Result<Normal, PgError> {
        SCRATCH.with_borrow_mut(|normalized| {
            self.normalize(text, normalized)?;
            let hint = self.hint(text, normalized)?;
            Ok(Normal { key: normalized.key, hint, literals: normalized.literals.clone() })
        })
    }

    fn normalize(&self, text: &str, normalized: &mut Normalized) -> Result<(), PgError> {
        if normalized.seed() != self.shared.seed {
            *normalized = Normalized::new(self.shared.seed);
        }
        sql::normalize(text, &self.state.sql_limits(), normalized)
    }

    fn hint(&self, text: &str, normalized: &Normalized) -> Result<Option<ShardId>, PgError> {
        let Some(hint) = normalized.hint else { return Ok(None) };
        let Some(name) = hint.get(text, "shard") else { return Ok(None) };
        self.may_name_shards("a statement's comment")?;
        settings::named_shard(name, &self.state.vschema).map(Some)
    }

    /// Whether this client's word may stand in for the analysis.
    pub(super) fn may_name_shards(&self, how: &str) -> Result<(), PgError> {
        if self.operator || self.state.vschema.single_shard() {
            return Ok(());
        }
        Err(PgError::new(SqlState::INSUFFICIENT_PRIVILEGE, format!("permission denied to name a shard in {how}"))
            .with_detail("A statement that is sent to a shard by name may see a part of the rows only.")
            .with_hint("Give the user `operator = true` in the server's configuration."))
    }

    /// The plan of a statement, from the cache or made now.
    pub(super) fn plan(&self, text: &str, normal: &Normal) -> Arc<Plan> {
        self.plan_of(text, normal.key, normal.hint, &normal.literals)
    }

    /// The plan of a prepared statement, from the cache or made now.
    pub(super) fn plan_for(&self, statement: &Statement) -> Arc<Plan> {
        let plan = self.plan_of(&statement.text, statement.normalized, statement.hint, &statement.literals);
        if let Verdict::Refuse(_) = &plan.verdict {
            // A DECLARE over several shards is no statement for them, but its query is.
            if super::cursors::may_declare(&statement.text)
                && let Command::Declare { query, .. } = sql::classify(&statement.text)
                && let Some(inner) = statement.text.get(query)
                && let Ok(normal) = self.normal(inner)
            {
                return self.plan(inner, &normal);
            }
            // A query that tells sizes is for the home shard.
            if let Some(rewrite) = self.sized(&statement.text)
                && let Ok((plan, _)) = self.decide(&rewrite.probe)
            {
                return plan;
            }
            // The same with a temporary table's.
            if let Ok(Some(made)) = self.made_of_many(&statement.text)
                && let Ok(normal) = self.normal(&made.query)
            {
                return self.plan(&made.query, &normal);
            }
        }
        plan
    }

    /// The plan of a normalised statement, from the cache or made now.
    fn plan_of(&self, text: &str, normalized: u128, hint: Option<ShardId>, literals: &[sql::Literal]) -> Arc<Plan> {
        let key = self.context.key(normalized, hint);
        let literals = || self.context.literals(text, literals);
        if let Some(plan) = self.shared.plans.get(key, literals) {
            self.shared.meters.totals.plan(true);
            return plan;
        }
        self.shared.meters.totals.plan(false);
        let mut plan = aside(text, || self.context.plan(text, hint, self.state.sql_limits()));
        plan.effects.tally = Some(self.shared.meters.queries.tally(normalized, text, &plan));
        let plan = Arc::new(plan);
        tracing::debug!(statement = text, plan = ?plan.verdict, "planned");
        self.shared.plans.insert(key, literals, plan.clone());
        plan
    }

    /// The destination of a plan under these values.
    pub(super) fn resolve(&self, plan: &Plan, values: &dyn Values) -> Result<Destination, PgError> {
        match &plan.verdict {
            Verdict::Refuse(error) => Err((**error).clone()),
            Verdict::Route(route) => Ok(match self.resolve_route(route, values)? {
                // All temporary tables are on one connection.
                Destination::Attached if plan.effects.pin == Some(Pin::TemporaryTable) => {
                    self.temporary_shard().map_or(Destination::Home, Destination::Shard)
                }
                destination => destination,
            }),
        }
    }

    fn resolve_route(&self, route: &Route, values: &dyn Values) -> Result<Destination, PgError> {
        Ok(route.resolve(values, &self.state.vschema, &self.decode)?.into())
    }

    /// The shard of a destination, which a directory may have to be asked for.
    pub(super) async fn locate(&mut self, destination: Destination) -> Result<ShardId, Trouble> {
        Ok(match destination {
            Destination::Shard(shard) => shard,
            Destination::Shards { .. } | Destination::Work => {
                return Err(PgError::unsupported("a statement over several shards cannot be a part of another")
                    .with_detail("It cannot be run by EXECUTE, or be one of several statements of a query.")
                    .with_hint("Send the statement itself, alone.")
                    .into());
            }
            Destination::Any(shards) => self.any_shard(shards.as_deref()),
            Destination::Home => self.state.vschema.home(),
            Destination::Attached => self.here().unwrap_or_else(|| self.state.vschema.home()),
            Destination::Directory { vindex, key, also, .. }
                if self.state.vschema.vindex(vindex).vindex.lookup().is_some() =>
            {
                let found = Box::pin(self.find_by_lookup(vindex, &key)).await?;
                match (found, also) {
                    // No row has such a value: every shard says so.
                    (None, Some(shard)) => shard,
                    (None, None) => {
                        let among = self.state.vschema.vindex(vindex).vindex.lookup().map(|l| l.shards.clone());
                        self.any_shard(among.as_deref())
                    }
                    (Some(shard), _) => shard,
                }
            }
            Destination::Directory { vindex, key, insert, also } => {
                let directories = self.state.directories.clone();
                let known = match directories.cached(vindex, &key) {
                    Some(shard) => Some(shard),
                    None if insert => Some(directories.assign(vindex, &key).await?),
                    None => directories.lookup(vindex, &key).await?,
                };
                match (known, also) {
                    (Some(shard), Some(other)) if shard != other => {
                        let (shard, other) =
                            (self.state.vschema.shard_name(shard), self.state.vschema.shard_name(other));
                        return Err(PgError::unsupported("the statement's tables are on several shards")
                            .with_detail(format!("The directory leads to shard \"{shard}\", the rest to \"{other}\"."))
                            .with_hint("Split the statement.")
                            .into());
                    }
                    (Some(shard), _) | (None, Some(shard)) => shard,
                    // No row has a key that was never placed: every shard says so.
                    (None, None) => {
                        let shards = self.state.vschema.vindex(vindex).directory.as_ref().map(|d| d.shards.clone());
                        self.any_shard(shards.as_deref())
                    }
                }
            }
        })
    }

    /// Where the transaction is, or what the session holds.
    fn here(&self) -> Option<ShardId> {
        let first = || if self.held.is_empty() { None } else { Some(0) };
        let index = self.attached.or_else(|| self.participants().next()).or_else(first)?;
        Some(self.held[index].lease.shard)
    }

    /// One of several shards that would all give the same answer: where the session is, else in turn, and not one that is down.
    pub(super) fn any_shard(&mut self, among: Option<&[ShardId]>) -> ShardId {
        let count = among.map_or(self.state.topology.shards.len(), <[ShardId]>::len);
        let nth = |n: usize| among.map_or(ShardId(n as u16), |shards| shards[n]);
        if let Some(here) = self.here()
            && among.is_none_or(|shards| shards.contains(&here))
        {
            return here;
        }
        if count == 0 {
            return self.state.vschema.home();
        }
        self.turn = self.turn.wrapping_add(1);
        let first = (self.turn + self.handle.pid as usize) % count;
        (0..count)
            .map(|step| nth((first + step) % count))
            .find(|shard| self.state.topology.shard(*shard).is_some_and(|info| info.health.is_up()))
            .unwrap_or_else(|| nth(first))
    }

    /// The shard that all of several destinations agree on.
    pub(super) fn agree(&self, destinations: &[Destination]) -> Result<Destination, PgError> {
        let mut agreed: Option<&Destination> = None;
        for destination in destinations {
            agreed = Some(match (agreed, destination) {
                (None, any) => any,
                (Some(Destination::Any(None) | Destination::Attached), other) => other,
                (Some(one), Destination::Any(None) | Destination::Attached) => one,
                (Some(one), other) if one == other => one,
                (Some(Destination::Home), Destination::Shard(shard))
                | (Some(Destination::Shard(shard)), Destination::Home)
                    if *shard == self.state.vschema.home() =>
                {
                    destination
                }
                (Some(Destination::Any(Some(shards))), other @ Destination::Shard(shard))
                | (Some(other @ Destination::Shard(shard)), Destination::Any(Some(shards)))
                    if shards.contains(shard) =>
                {
                    other
                }
                _ => {
                    return Err(PgError::unsupported("the statements of one query lead to several shards")
                        .with_detail("Statements sent together are one transaction.")
                        .with_hint("Send each statement by itself."));
                }
            });
        }
        Ok(agreed.cloned().unwrap_or(Destination::Attached))
    }
}

/// A text from which on reading it takes milliseconds, so that the thread's other clients are handed to another thread meanwhile.
const LARGE_TEXT: usize = 64 << 10;

/// Works on a text; on a large one, aside from the runtime's own thread where there is more than one.
pub(super) fn aside<R>(text: &str, work: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let several = || Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if text.len() >= LARGE_TEXT && several() { tokio::task::block_in_place(work) } else { work() }
}

/// Whether the session itself acts on a command, so that it cannot simply be sent to wherever it leads.
pub(super) fn is_command(command: &Command<'_>) -> bool {
    match command {
        Command::Set { function, .. } => !function,
        Command::Show(name) => settings::is_own(name) || &**name == "vschema",
        Command::Explain { route, .. } => *route,
        Command::Begin { .. }
        | Command::Commit { .. }
        | Command::Rollback { .. }
        | Command::Savepoint(_)
        | Command::Release(_)
        | Command::RollbackTo(_)
        | Command::PrepareTransaction
        | Command::CommitPrepared
        | Command::RollbackPrepared
        | Command::SetTransaction { .. }
        | Command::SetConstraints
        | Command::Reset(_)
        | Command::ResetAll
        | Command::Discard(_)
        | Command::Prepare { .. }
        | Command::Execute { .. }
        | Command::Deallocate(_)
        | Command::Listen(_)
        | Command::Unlisten(_)
        | Command::Notify
        | Command::ClosePortal(_)
        | Command::AlterVschema => true,
        _ => false,
    }
}
