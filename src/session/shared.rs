//! What all sessions share: the configuration in force, and the machinery behind it.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

use crate::config::Config;
use crate::meter::Meters;
use crate::pool::{Directories, Pools, Sequences};
use crate::session::in_doubt::Gids;
use crate::session::plan_cache::PlanCache;
use crate::session::registry::Clients;
use crate::session::scatter::Columns;
use crate::session::statements::Statements;
use crate::session::work::Known;
use crate::sql;
use crate::topology::Topology;
use crate::vschema::Vschema;

/// Distinct prepared texts that the process remembers; a forgotten one is merely prepared anew.
const STATEMENTS: usize = 20_000;

/// One generation of configuration: replaced as a whole by a reload.
#[derive(Debug, Clone)]
pub struct State {
    /// The server's configuration.
    pub config: Arc<Config>,
    /// The logical layout.
    pub vschema: Arc<Vschema>,
    /// The shards' servers and catalogs.
    pub topology: Arc<Topology>,
    /// The directory vindexes' keys.
    pub directories: Arc<Directories>,
}

impl State {
    /// Bounds on one statement.
    pub fn sql_limits(&self) -> sql::Limits {
        sql::Limits {
            max_tokens: self.config.limits.max_statement_tokens,
            max_nesting: self.config.limits.max_nesting,
            ..sql::Limits::default()
        }
    }
}

/// Tells the server to read its files again; answers when it has, with what was wrong.
pub type Reloader = Box<dyn Fn() -> tokio::sync::oneshot::Receiver<Result<(), String>> + Send + Sync>;

/// How the process is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// At once.
    Now,
    /// When all transactions have ended, as after SIGTERM.
    AfterTransactions,
    /// When all clients have left by themselves.
    AfterClients,
}

/// One for the whole process.
pub struct Shared {
    /// The configuration in force.
    pub state: ArcSwap<State>,
    /// All server connections.
    pub pools: Arc<Pools>,
    /// Plans by normalised text.
    pub plans: PlanCache,
    /// How many columns the statements of plans over several shards have.
    pub columns: Columns,
    /// What the fetched inputs of plans with a workbench are like.
    pub benches: Known,
    /// For each query that may keep many rows on a server.
    pub workbenches: Arc<tokio::sync::Semaphore>,
    /// Prepared statements by text.
    pub statements: Statements,
    /// Who is connected.
    pub clients: Arc<Clients>,
    /// Numbers of sequences that wait to be given out.
    pub sequences: Sequences,
    /// The lookups that have been found to be whole on all shards.
    pub lookups: parking_lot::Mutex<std::collections::HashSet<String>>,
    /// Names of prepared transactions.
    pub gids: Gids,
    /// What statements cost.
    pub meters: Arc<Meters>,
    /// A secret of this process: nobody can prepare texts whose hashes meet.
    pub seed: u64,
    /// An operator's wish.
    pub shutdown: watch::Sender<Option<Shutdown>>,
    /// Held by whoever changes the vschema or reads it again.
    pub layout: tokio::sync::Mutex<()>,
    /// Set once the server listens.
    pub reloader: ArcSwapOption<Reloader>,
}

impl Shared {
    /// Nothing is opened yet.
    pub fn new(state: State, pools: Arc<Pools>) -> Result<Arc<Self>, getrandom::Error> {
        let (mut seed, mut instance) = ([0u8; 8], [0u8; 4]);
        getrandom::fill(&mut seed)?;
        getrandom::fill(&mut instance)?;
        let seed = u64::from_ne_bytes(seed);
        let meters = Arc::new(Meters::new(&state.config.shard_names(), state.config.plan_cache));
        Ok(Arc::new(Shared {
            plans: PlanCache::new(state.config.plan_cache),
            columns: Columns::new(state.config.plan_cache),
            benches: Known::new(state.config.plan_cache),
            workbenches: Arc::new(tokio::sync::Semaphore::new(state.config.workbench.concurrency)),
            state: ArcSwap::from_pointee(state),
            sequences: Sequences::new(pools.clone()),
            pools,
            statements: Statements::new(STATEMENTS, seed),
            clients: Arc::default(),
            lookups: Default::default(),
            gids: Gids::new(u32::from_ne_bytes(instance)),
            meters,
            seed,
            shutdown: watch::Sender::new(None),
            layout: tokio::sync::Mutex::default(),
            reloader: ArcSwapOption::empty(),
        }))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("clients", &self.clients.len()).finish_non_exhaustive()
    }
}
