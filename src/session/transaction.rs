//! The client's transaction block, as a pure machine.
//!
//! A BEGIN names no shard, so it is not sent anywhere: the block is *virtual* until its first statement, and only then does a
//! backend join it. Other shards' backends join when a statement first leads to them: a *participant* is a backend with a server-side
//! transaction that is a part of the client's.
//!
//! # The prelude
//! What a client does to a block rather than to rows (SAVEPOINT, SET LOCAL, SET CONSTRAINTS) has to hold on all its participants. It is done
//! at once on the one that is at work and written down, numbered, in the [prelude](Transaction::pending); every participant remembers the number
//! of the last one that it has done, and does the others before its next statement. RELEASE and ROLLBACK TO take out of the prelude
//! what no longer has to be done, and have to be told only to those participants that have reached the savepoint
//! ([`Transaction::reaches`]): for the others it never was.
//!
//! Settings follow the block as in PostgreSQL: ROLLBACK brings back what was before BEGIN, ROLLBACK TO what was at the savepoint
//! (`src/backend/utils/misc/guc.c`, `AtEOXact_GUC`). `S` is whatever a session calls its settings.
//!
//! It knows no socket and no plan.

use crate::types::ShardId;

/// More statements than this to be repeated, and no other shard can join any more. A client that opens so many savepoints, or sets so
/// much, in one transaction has long made its own shard slow.
const MAX_PRELUDE: usize = 10_000;

/// One statement to be repeated on every participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The statement's text.
    pub text: String,
    /// Its name, if it is a SAVEPOINT.
    pub savepoint: Option<String>,
    /// It changes what BEGIN said (SET TRANSACTION): a chained block has it too.
    pub characteristic: bool,
    number: u64,
}

/// How the block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// No block: each statement is its own transaction.
    #[default]
    Idle,
    /// BEGIN came, but no backend has joined.
    Virtual {
        /// An error came: only ROLLBACK helps.
        failed: bool,
    },
    /// At least one backend has joined. While only one has, it knows the state itself; `failed` is its last word.
    Joined {
        /// ReadyForQuery said `E`, or an error of Goldseam's own came between.
        failed: bool,
    },
}

/// A client's transaction block.
#[derive(Debug)]
pub struct Transaction<S> {
    state: State,
    begin: String,
    prelude: Vec<Replay>,
    /// The number of the last statement that was written down.
    progress: u64,
    /// The prelude would have become too long: it does not bring a backend to the block's state any more.
    overflown: bool,
    /// The transaction has done nothing that ties it to its backend.
    floating: bool,
    /// SET TRANSACTION changed what BEGIN said.
    altered: bool,
    /// A participant is lost, and with it what it had written: no savepoint heals that.
    doomed: bool,
    /// Where statements have told the time.
    timed: Option<ShardId>,
    /// When it began, for statements over several shards.
    moment: Option<String>,
    /// Settings before BEGIN or before the implicit transaction, and at each savepoint.
    undo: Vec<(Option<String>, S)>,
}

impl<S: Clone> Default for Transaction<S> {
    fn default() -> Self {
        Transaction {
            state: State::Idle,
            begin: String::new(),
            prelude: Vec::new(),
            progress: 0,
            overflown: false,
            floating: true,
            altered: false,
            doomed: false,
            timed: None,
            moment: None,
            undo: Vec::new(),
        }
    }
}

impl<S: Clone> Transaction<S> {
    /// How the block stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// ReadyForQuery's status byte as the client must see it.
    pub fn status(&self) -> u8 {
        match self.state {
            State::Idle => b'I',
            State::Virtual { failed: false } | State::Joined { failed: false } => b'T',
            State::Virtual { failed: true } | State::Joined { failed: true } => b'E',
        }
    }

    /// No block is open.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Some backend has a part in the block.
    pub fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined { .. })
    }

    /// The block is open and has failed.
    pub fn is_failed(&self) -> bool {
        self.status() == b'E'
    }

    /// A participant was lost: nothing but the end of the block helps.
    pub fn is_doomed(&self) -> bool {
        self.doomed
    }

    /// BEGIN: `text` is what a backend will be sent.
    pub fn begin(&mut self, text: String, settings: &S) {
        *self = Transaction { state: State::Virtual { failed: false }, begin: text, ..Transaction::default() };
        self.remember(settings);
    }

    /// What a backend has done outside of a block is in one from now on, which others may join by this BEGIN.
    pub fn adopt(&mut self, begin: &str) {
        self.state = State::Joined { failed: false };
        self.begin = begin.to_owned();
        self.floating = false;
    }

    /// A statement begins: outside a block, it is a transaction of its own, and its settings may have to be brought back.
    pub fn remember(&mut self, settings: &S) {
        if self.undo.is_empty() {
            self.undo.push((None, settings.clone()));
        }
    }

    /// The settings before BEGIN, if a block is open.
    pub fn settings_at_begin(&self) -> Option<&S> {
        if self.is_idle() { None } else { self.undo.first().map(|(_, settings)| settings) }
    }

    /// A backend joins the block.
    pub fn join(&mut self) {
        if matches!(self.state, State::Virtual { .. }) {
            self.state = State::Joined { failed: false };
        }
    }

    /// SET TRANSACTION: another backend could not be brought to the same state by BEGIN alone.
    pub fn alter(&mut self) {
        self.altered = true;
    }

    /// COMMIT AND CHAIN, ROLLBACK AND CHAIN: a new block with the characteristics of the old one. No backend has joined it.
    pub fn chain(&mut self, old: Characteristics, settings: &S) {
        self.begin(old.begin, settings);
        self.floating = !old.altered;
        self.altered = old.altered;
        self.prelude = old.prelude;
        self.progress = old.progress;
    }

    /// What a chained block begins with.
    pub fn characteristics(&self) -> Characteristics {
        let lasting = self.prelude.iter().filter(|replay| replay.characteristic);
        Characteristics {
            begin: self.begin.clone(),
            altered: self.altered,
            prelude: lasting.cloned().collect(),
            progress: self.progress,
        }
    }

    /// The backend leaves a block that is still floating.
    pub fn leave(&mut self) {
        if self.is_joined() {
            self.state = State::Virtual { failed: false };
        }
    }

    /// An error of Goldseam's own, where no backend could be made to fail.
    pub fn fail(&mut self) {
        match &mut self.state {
            State::Virtual { failed } | State::Joined { failed } => *failed = true,
            State::Idle => {}
        }
    }

    /// A participant is lost: the block has failed, and nothing but its end helps.
    pub fn lose(&mut self) {
        if self.state != State::Idle {
            self.state = State::Virtual { failed: true };
            // What was written before a savepoint is as lost as the rest.
            self.undo.truncate(1);
            self.prelude.clear();
            self.floating = false;
            self.doomed = true;
        }
    }

    /// May the block still move to another shard?
    pub fn is_floating(&self) -> bool {
        self.floating
    }

    /// Something was done that ties the block to its backend.
    pub fn settle(&mut self) {
        self.floating = false;
    }

    /// What a joining backend is sent first.
    pub fn opening(&self) -> (&str, &[Replay]) {
        (&self.begin, &self.prelude)
    }

    /// How far a participant is that has done all of the prelude.
    pub fn progress(&self) -> u64 {
        self.progress
    }

    /// What a participant that has got this far has still to do.
    pub fn pending(&self, done: u64) -> &[Replay] {
        &self.prelude[self.prelude.partition_point(|replay| replay.number <= done)..]
    }

    /// Whether BEGIN is known and the prelude whole, so that another backend can join.
    pub fn can_be_joined(&self) -> bool {
        !self.overflown && !self.begin.is_empty()
    }

    /// Whether the block's own statements make it SERIALIZABLE; none if they say nothing of isolation.
    pub fn is_serializable(&self) -> Option<bool> {
        let texts = || std::iter::once(&self.begin).chain(self.prelude.iter().map(|replay| &replay.text));
        let say = |word: &str| texts().any(|text| text.to_ascii_lowercase().contains(word));
        // A word in another place makes it look stricter than it is, never laxer.
        if say("serializable") { Some(true) } else { say("isolation").then_some(false) }
    }

    /// A statement told the time on this shard.
    pub fn tell_time(&mut self, shard: ShardId) {
        if !self.is_idle() {
            self.timed.get_or_insert(shard);
        }
    }

    /// Where the block's statements have told the time.
    pub fn timed(&self) -> Option<ShardId> {
        self.timed
    }

    /// When the block began, as SQL's text of a timestamp with time zone; none if nobody has asked.
    pub fn moment(&self) -> Option<&str> {
        self.moment.as_deref()
    }

    /// Takes note of when the block began.
    pub fn set_moment(&mut self, moment: String) {
        if !self.is_idle() {
            self.moment = Some(moment);
        }
    }

    /// A statement that every participant has to do; the progress of whoever has just done it.
    pub fn replay(&mut self, text: String, savepoint: Option<&str>) -> u64 {
        if self.is_idle() {
            return self.progress;
        }
        if self.prelude.len() >= MAX_PRELUDE {
            self.overflown = true;
            return self.progress;
        }
        self.progress += 1;
        let savepoint = savepoint.map(str::to_owned);
        self.prelude.push(Replay { text, savepoint, characteristic: false, number: self.progress });
        self.progress
    }

    /// The last statement that was written down changes what BEGIN said.
    pub fn mark_characteristic(&mut self) {
        if let Some(last) = self.prelude.last_mut() {
            last.characteristic = true;
        }
    }

    /// SAVEPOINT succeeded.
    pub fn savepoint(&mut self, name: &str, settings: &S) {
        self.undo.push((Some(name.to_owned()), settings.clone()));
    }

    /// How many states of the settings there are to go back to: one for the block, and one for each savepoint.
    pub fn depth(&self) -> usize {
        self.undo.len()
    }

    /// Whether there is a savepoint of this name.
    pub fn has_savepoint(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether a participant that has got this far has the savepoint: if not, RELEASE and ROLLBACK TO do not concern it.
    pub fn reaches(&self, name: &str, done: u64) -> bool {
        self.find_replay(name).is_none_or(|at| self.prelude[at].number <= done)
    }

    /// RELEASE of a savepoint; false if there is none of this name.
    pub fn release(&mut self, name: &str) -> bool {
        let Some(at) = self.find(name) else { return false };
        self.undo.truncate(at);
        if let Some(at) = self.find_replay(name) {
            // The statements after it stay in force; only the names go.
            self.prelude.retain({
                let mut index = 0;
                move |replay| {
                    index += 1;
                    index <= at || replay.savepoint.is_none()
                }
            });
        }
        true
    }

    /// ROLLBACK TO a savepoint: the settings to return to; none if there is no savepoint of this name.
    pub fn rollback_to(&mut self, name: &str) -> Option<S> {
        let at = self.find(name)?;
        self.undo.truncate(at + 1);
        if let Some(at) = self.find_replay(name) {
            self.prelude.truncate(at + 1);
        }
        match &mut self.state {
            State::Virtual { failed } | State::Joined { failed } => *failed = false,
            State::Idle => {}
        }
        Some(self.undo[at].1.clone())
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.undo.iter().rposition(|(savepoint, _)| savepoint.as_deref() == Some(name))
    }

    fn find_replay(&self, name: &str) -> Option<usize> {
        self.prelude.iter().rposition(|replay| replay.savepoint.as_deref() == Some(name))
    }

    /// The block or the implicit transaction ended well.
    pub fn commit(&mut self) {
        *self = Transaction::default();
    }

    /// It ended badly: the settings to return to, if it knew any.
    pub fn rollback(&mut self) -> Option<S> {
        let first = self.undo.drain(..).next().map(|(_, settings)| settings);
        *self = Transaction::default();
        first
    }

    /// The backend's ReadyForQuery. `Some` if a transaction has ended, with the settings to return to if it was rolled back.
    pub fn ready(&mut self, status: u8, rolled_back: bool) -> Option<S> {
        match (status, self.state) {
            (b'I', _) if rolled_back => self.rollback(),
            (b'I', _) => {
                self.commit();
                None
            }
            // One participant's word that all is well is not the word of the one that is lost.
            (_, _) if self.doomed => None,
            (_, _) => {
                // A BEGIN inside a query of several statements opens the block on the backend itself.
                self.state = State::Joined { failed: status == b'E' };
                None
            }
        }
    }
}

/// What a block hands on to the one chained to it.
#[derive(Debug, Clone)]
pub struct Characteristics {
    begin: String,
    altered: bool,
    prelude: Vec<Replay>,
    progress: u64,
}

#[cfg(test)]
mod tests;
