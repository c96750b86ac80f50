//! One client's session: what it said, where its statements go, and what it holds.
//!
//! # Life of a statement
//! 1. [`pump`](io) reads the client's bytes; a whole frame is given to [`simple`] or [`extended`].
//! 2. [`route`] finds the plan by the normalised text (a hit costs no parse) and, with the values of this execution, the shard.
//! 3. [`attach`] makes that shard's backend this session's: a connection from the pool, the client's settings on it, and the
//!    transaction's BEGIN if this is its first statement.
//! 4. The client's own bytes go to the backend; what has to be different (a prepared statement's name) is spliced.
//! 5. [`relay`] moves the answer back, [`effects`] remembers what it means for the session, and when the transaction is over
//!    the backend returns to the pool.
//!
//! A statement that leads to several shards goes another way from 3 on: see [`scatter`]; one that takes several steps, too: see [`work`]; and
//! COPY, see [`copy`]. Behind one that writes a table whose values lookups find, these follow: see [`lookups`].
//!
//! Deciding is pure ([`relay`], [`transaction`], [`settings`], the planner); only [`io`], [`attach`] and [`route`] wait.
//! A session knows no listener and no login: it starts with a client whose identity is settled.

pub mod activity;
mod alter;
mod ask;
mod attach;
mod begin;
mod command;
mod commit;
mod copy;
mod cursors;
mod draft;
mod effects;
mod extended;
mod fresh;
mod gate;
mod greet;
mod io;
mod last_agent;
mod layout;
mod local;
mod lookups;
pub mod meter;
mod once;
mod participants;
mod prove;
mod refuse;
mod route;
mod scatter;
mod sequence;
mod set_config;
mod simple;
mod sizes;
mod sql_execute;
mod sql_prepare;
mod sync;
mod temporary;
mod trouble;
mod work;

pub mod client;
pub mod in_doubt;
pub mod plan_cache;
pub mod registry;
pub mod relay;
pub mod settings;
pub mod shared;
pub mod statements;
pub mod transaction;
pub mod values;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::backend::{self, Login, Parameters};
use crate::config::PoolMode;
use crate::error::PgError;
use crate::plan::Pin;
use crate::pool::{Greeting, Lease};
use crate::protocol::{self, encode};
use crate::sqlstate::SqlState;
use crate::types::key::DecodeContext;

use client::Client;
use cursors::Cursor;
use effects::After;
use extended::{Batch, Portal};
use participants::Part;
use plan_cache::PlanContext;
use registry::{Registration, Status};
use relay::Relay;
use sequence::Sequence;
use settings::SessionSettings;
use shared::{Shared, State};
use statements::Statement;
use transaction::Transaction;
use trouble::{Over, Trouble};

pub use shared::Reloader;

/// A client that has logged in, and what is known of it.
pub struct Session {
    shared: Arc<Shared>,
    state: Arc<State>,
    client: Client,
    handle: Registration,
    /// The client's user.
    user: String,
    operator: bool,
    /// As whom its statements run on the servers.
    login: Arc<Login>,
    greeting: Arc<Greeting>,
    mode: PoolMode,
    /// What RESET goes back to.
    base: SessionSettings,
    settings: SessionSettings,
    transaction: Transaction<SessionSettings>,
    context: PlanContext,
    decode: DecodeContext,
    /// What the client has been told of its settings.
    reported: Parameters,
    held: Vec<Held>,
    /// A connection to the workbench, outside of the client's transaction, while a statement needs one.
    workbench: Option<work::Workbench>,
    /// How many statements are parts of one another at the moment ([`work`]).
    errands: u8,
    /// The held backend of the current transaction or batch.
    attached: Option<usize>,
    relay: Relay,
    /// What the statements that are running will mean when they are done.
    after: VecDeque<After>,
    /// An error came since the last ReadyForQuery.
    failed: bool,
    /// The backend waits for COPY data.
    copy_in: bool,
    /// A table has been written whose values lookups find, and these have not followed yet.
    noted: bool,
    /// A COPY from the client to several shards.
    copying: Option<Box<copy::Copying>>,
    /// Tables have changed in this transaction.
    ddl: bool,
    /// What it has changed of catalog and vschema, as it sees it.
    draft: Option<Box<draft::Draft>>,
    names: HashMap<String, Arc<Statement>>,
    unnamed: Option<Arc<Statement>>,
    portals: Vec<(String, Portal)>,
    /// A portal over several shards that has been bound and is not open yet.
    unopened: Option<Box<str>>,
    /// Where cursors and portals are that outlive their batch.
    cursors: Vec<Cursor>,
    /// Cursors over several shards.
    declared: Vec<cursors::declared::Declared>,
    /// What `goldseam.shard` goes back to at the end of the transaction, after a SET LOCAL.
    local_shard: Option<Option<crate::types::ShardId>>,
    /// Its temporary tables.
    temporary: temporary::Temporaries,
    batch: Batch,
    /// A query of several statements that are done one by one.
    sequence: Option<Box<Sequence>>,
    /// Texts that the backend has been asked to accept.
    proving: VecDeque<Arc<Statement>>,
    /// What the client's Parse and Close messages did to its names, in order, as long as their answers may not have come.
    journal: Vec<Change>,
    /// Spreads statements that may go anywhere.
    turn: usize,
    /// A participant of the block is gone, and the client has not been told.
    lost: Option<Box<PgError>>,
    /// The block is the session's own, for one statement over several shards: the client knows of none.
    implicit: bool,
    /// Numbers that it got from sequences.
    drawn: once::Drawn,
    /// The backend is being left for another: the end of its transaction is not the client's.
    leaving: bool,
    /// What pins the attached backend may be gone.
    recheck: bool,
    /// All that waits to be sent are answers of ours: they go out together with the backend's, which is on its way.
    own_only: bool,
    /// What its statements cost.
    meter: meter::Meter,
}

/// A backend that is this session's for now.
struct Held {
    lease: Lease,
    /// Why it stays beyond its transaction.
    pins: Vec<Pin>,
    /// The statement that its unnamed prepared statement is.
    unnamed: Option<u64>,
    /// This session has written here since it leased it: sequence values that the connection remembers may be its own.
    wrote: bool,
    /// Its part in the client's transaction block.
    part: Option<Part>,
}

/// What one Parse or Close did to the client's names.
enum Change {
    /// A name has been given.
    Given(String),
    /// A name has been taken back, if the Close was of one that was there.
    Taken(Option<(String, Arc<Statement>)>),
}

/// What a session starts with.
pub struct Start {
    /// The client.
    pub client: Client,
    /// Its registration.
    pub handle: Registration,
    /// Its user.
    pub user: String,
    /// May run what operators run.
    pub operator: bool,
    /// As whom its statements run on the servers.
    pub login: Arc<Login>,
    /// What the login sees on a server before it has run anything.
    pub greeting: Arc<Greeting>,
    /// What the client's startup message set.
    pub settings: backend::Settings,
}

impl Session {
    /// A session that has said nothing to its client yet.
    pub fn new(shared: Arc<Shared>, start: Start) -> Self {
        let state = shared.state.load_full();
        let base = SessionSettings { server: Arc::new(start.settings), shard: None };
        let context = PlanContext::new(
            state.vschema.clone(),
            state.topology.catalog.load_full(),
            base.search_path(&start.greeting.search_path, &start.user),
            None,
            shared.seed,
        );
        let reported = start.greeting.parameters.clone();
        Session {
            mode: state.config.pool.mode,
            state,
            client: start.client,
            handle: start.handle,
            user: start.user,
            operator: start.operator,
            login: start.login,
            greeting: start.greeting,
            settings: base.clone(),
            base,
            transaction: Transaction::default(),
            decode: settings::decode_context(&reported),
            context,
            reported,
            held: Vec::new(),
            workbench: None,
            errands: 0,
            attached: None,
            relay: Relay::default(),
            after: VecDeque::new(),
            failed: false,
            copy_in: false,
            copying: None,
            noted: false,
            ddl: false,
            draft: None,
            names: HashMap::new(),
            unnamed: None,
            portals: Vec::new(),
            unopened: None,
            cursors: Vec::new(),
            declared: Vec::new(),
            local_shard: None,
            temporary: temporary::Temporaries::default(),
            batch: Batch::default(),
            sequence: None,
            proving: VecDeque::new(),
            journal: Vec::new(),
            turn: 0,
            lost: None,
            implicit: false,
            drawn: once::Drawn::default(),
            leaving: false,
            recheck: false,
            own_only: false,
            meter: meter::Meter::default(),
            shared,
        }
    }

    /// Serves the client until it leaves, is told to, or breaks the protocol.
    pub async fn run(mut self) {
        let over = match self.greet().await {
            Ok(()) => self.serve().await,
            Err(over) => Err(over),
        };
        if let Err(Over::Fatal(error)) = over {
            tracing::info!(user = %self.user, client = self.handle.pid, error = %error, "session ended");
            // In the middle of a message an error would be read as data: the client sees the end of the stream instead.
            if !self.relay.is_mid_message() {
                encode::error_response(&mut self.client.outgoing, &error);
                let patience = std::time::Duration::from_secs(1);
                // The client may be gone, or not read: either way the session is over.
                let _ = tokio::time::timeout(patience, self.client.send()).await;
            }
        }
        self.leave().await;
    }

    async fn serve(&mut self) -> Result<(), Over> {
        loop {
            self.mind_copy().await?;
            self.act_on_frames().await?;
            let copying = self.copying.is_some();
            // A COPY that has begun may have its data already.
            if self.go_on().await? || (!copying && self.copying.is_some()) {
                continue;
            }
            self.settle().await?;
            if self.handle.is_stopped() && self.is_at_rest() {
                return Err(PgError::fatal(
                    SqlState::ADMIN_SHUTDOWN,
                    "terminating connection due to administrator command",
                )
                .into());
            }
            self.pump().await?;
        }
    }

    /// Between transactions, with nothing under way.
    fn is_at_rest(&self) -> bool {
        self.transaction.is_idle() && self.relay.is_idle() && !self.batch.open && self.sequence.is_none()
    }

    /// Acts on every whole frame that may be acted on now.
    async fn act_on_frames(&mut self) -> Result<(), Over> {
        if self.client.incoming.is_empty() {
            return Ok(());
        }
        if self.is_at_rest() {
            self.follow_state();
        }
        // Taken out, so that frames can be read in place while the session changes around them.
        let mut incoming = std::mem::take(&mut self.client.incoming);
        let mut at = 0;
        let outcome = loop {
            if !self.accepts_frames() {
                break Ok(());
            }
            match protocol::frame(&incoming[at..], self.state.config.limits.max_frame) {
                Ok(Some(frame)) => {
                    let bytes = &incoming[at..at + frame.len];
                    at += frame.len;
                    if let Err(over) = self.act(frame.tag, bytes).await {
                        break Err(over);
                    }
                }
                // Bytes may have come while a frame waited: for a connection, or for another shard's answers.
                Ok(None) if !self.client.incoming.is_empty() => {
                    incoming.unsplit(std::mem::take(&mut self.client.incoming));
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(Over::from(error)),
            }
        };
        bytes::Buf::advance(&mut incoming, at);
        incoming.unsplit(std::mem::take(&mut self.client.incoming));
        self.client.incoming = incoming;
        outcome
    }

    /// While an answer is due that decides where the next statement may go, frames wait.
    fn accepts_frames(&self) -> bool {
        let unsent = self.attached.map_or(0, |index| self.held[index].lease.outgoing.len());
        unsent < io::HIGH_WATER
            && (self.copy_in
                || self.copying.is_some()
                || (self.sequence.is_none()
                    && !self.relay.awaits_ready()
                    && self.client.outgoing.len() < io::HIGH_WATER))
    }

    async fn act(&mut self, tag: u8, frame: &[u8]) -> Result<(), Over> {
        if self.unopened.is_some() && !matches!(tag, b'D' | b'E') {
            let opened = self.open_pending().await;
            self.tell(opened, b'B', &[]).await?;
        }
        let copied = self.is_copying();
        let mut waited = if self.must_wait(tag) { self.wait_at_gate().await } else { Ok(()) };
        if waited.is_ok() && self.needs_draft(tag, frame) && !self.relay.is_skipping() {
            waited = Box::pin(self.renew_draft()).await;
        }
        let outcome = match tag {
            _ if waited.is_err() => waited,
            _ if self.copying.is_some() => Box::pin(self.copy_message(tag, frame)).await,
            _ if self.copy_in => self.copy_frame(tag, frame),
            b'X' => return Err(Over::Gone),
            b'S' if frame.len() > protocol::frame::HEADER => {
                self.relay.stop_skipping();
                Err(refuse::malformed().into())
            }
            b'S' => self.sync().await,
            // After an error everything up to Sync is ignored (protocol section "Extended Query").
            _ if self.relay.is_skipping() => Ok(()),
            b'Q' => self.simple(frame).await,
            b'P' => self.parse(frame).await,
            b'B' => self.bind(frame).await,
            b'D' => self.describe(frame).await,
            b'E' => self.execute(frame).await,
            b'C' => self.close(frame).await,
            b'H' if frame.len() > protocol::frame::HEADER => Err(refuse::malformed().into()),
            b'H' => self.flush().await,
            // What is left of a COPY that failed on the server.
            b'd' | b'c' | b'f' => Ok(()),
            b'F' => Err(PgError::unsupported("the function call protocol is not supported")
                .with_hint("Call the function with SELECT, as libpq's PQfn does not.")
                .into()),
            _ => {
                return Err(PgError::fatal(
                    SqlState::PROTOCOL_VIOLATION,
                    format!("invalid frontend message type {tag}"),
                )
                .into());
            }
        };
        match copied {
            Some(simple) => self.tell_copy(outcome, simple).await,
            None => self.tell(outcome, tag, frame).await,
        }
    }

    /// The transaction's and the batch's end: backends go back, news of the configuration come in.
    async fn settle(&mut self) -> Result<(), Over> {
        if !self.is_at_rest() {
            return Ok(());
        }
        self.part_with_backends().await;
        Ok(())
    }

    /// A transaction is over.
    async fn part_with_backends(&mut self) {
        self.settle_definitions().await;
        if self.attached.is_some() {
            self.recheck_pins().await;
            self.detach();
        }
        self.portals.clear();
    }

    /// Takes over what a reload or a change of tables has put in force since the last transaction.
    fn follow_state(&mut self) {
        let latest = self.shared.state.load();
        if !Arc::ptr_eq(&latest, &self.state) {
            self.state = latest.clone();
        }
        drop(latest);
        let catalog = self.state.topology.catalog.load();
        if !self.context.is_current(&self.state.vschema, &catalog) {
            drop(catalog);
            self.renew_context();
        }
    }

    /// The plan context follows the session's settings, the vschema and the catalog.
    fn renew_context(&mut self) {
        self.context = self.plan_context();
    }

    /// The session's end: what can be used again is cleaned and given back, the rest is closed.
    async fn leave(mut self) {
        self.client.close().await;
        self.meter_flush();
        self.handle.aim(None);
        self.handle.set_status(Status::Idle);
        let clean = self.is_at_rest() && !self.handle.is_cancelling() && !self.handle.activity.is_killed();
        for mut held in self.held.drain(..) {
            if clean && held.lease.is_clean() && held.lease.query("DISCARD ALL").await.is_ok() {
                held.lease.prepared.clear();
                held.lease.settings = backend::Settings::none();
                held.lease.release();
            }
        }
    }
}
