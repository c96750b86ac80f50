//! The client's transaction block, as a pure machine.
//!
//! A BEGIN names no shard, so it is not sent anywhere: the block is *virtual* until its first statement, and only then does a
//! backend join it. What the client did before, or did on a backend that the transaction could still leave (SAVEPOINT, SET
//! LOCAL), stands in the [`prelude`](Transaction::prelude) and is done again where the transaction finally goes.
//!
//! Settings follow the block as in PostgreSQL: ROLLBACK brings back what was before BEGIN, ROLLBACK TO what was at the savepoint
//! (`src/backend/utils/misc/guc.c`, `AtEOXact_GUC`). `S` is whatever a session calls its settings.
//!
//! It knows no socket and no plan.

/// One statement to be repeated on the backend that joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The statement's text.
    pub text: String,
    /// Its name, if it is a SAVEPOINT.
    pub savepoint: Option<String>,
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
    /// A backend has joined, and it knows the state itself; `failed` is its last word.
    Joined {
        /// ReadyForQuery said `E`.
        failed: bool,
    },
}

/// A client's transaction block.
#[derive(Debug)]
pub struct Transaction<S> {
    state: State,
    begin: String,
    prelude: Vec<Replay>,
    /// The transaction has done nothing that ties it to its backend.
    floating: bool,
    /// SET TRANSACTION changed what BEGIN said.
    altered: bool,
    /// Settings before BEGIN or before the implicit transaction, and at each savepoint.
    undo: Vec<(Option<String>, S)>,
}

impl<S: Clone> Default for Transaction<S> {
    fn default() -> Self {
        Transaction {
            state: State::Idle,
            begin: String::new(),
            prelude: Vec::new(),
            floating: true,
            altered: false,
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

    /// The block is open and has failed.
    pub fn is_failed(&self) -> bool {
        self.status() == b'E'
    }

    /// BEGIN: `text` is what a backend will be sent.
    pub fn begin(&mut self, text: String, settings: &S) {
        *self = Transaction { state: State::Virtual { failed: false }, begin: text, ..Transaction::default() };
        self.remember(settings);
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

    /// COMMIT AND CHAIN, ROLLBACK AND CHAIN: a new block with the characteristics of the old one, `begin` and `altered`, on the same backend.
    pub fn chain(&mut self, begin: String, altered: bool, settings: &S) {
        self.begin(begin, settings);
        self.join();
        self.floating = !altered;
        self.altered = altered;
    }

    /// What a chained block begins with.
    pub fn characteristics(&self) -> (String, bool) {
        (self.begin.clone(), self.altered)
    }

    /// The backend leaves a block that is still floating.
    pub fn leave(&mut self) {
        if matches!(self.state, State::Joined { .. }) {
            self.state = State::Virtual { failed: false };
        }
    }

    /// An error of Goldseam's own, while no backend has joined.
    pub fn fail(&mut self) {
        match &mut self.state {
            State::Virtual { failed } | State::Joined { failed } => *failed = true,
            State::Idle => {}
        }
    }

    /// The backend is lost: the block has failed, and what it was on is gone.
    pub fn lose(&mut self) {
        if self.state != State::Idle {
            self.state = State::Virtual { failed: true };
            // Its savepoints died with it.
            self.prelude.clear();
            self.floating = false;
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

    /// A statement that has to be repeated if the block moves.
    pub fn replay(&mut self, text: &str, savepoint: Option<&str>) {
        if self.floating {
            self.prelude.push(Replay { text: text.to_owned(), savepoint: savepoint.map(str::to_owned) });
        }
    }

    /// SAVEPOINT succeeded.
    pub fn savepoint(&mut self, name: &str, settings: &S) {
        self.undo.push((Some(name.to_owned()), settings.clone()));
    }

    /// RELEASE of a savepoint; false if there is none of this name.
    pub fn release(&mut self, name: &str) -> bool {
        let Some(at) = self.find(name) else { return false };
        self.undo.truncate(at);
        if let Some(at) = self.prelude.iter().rposition(|replay| replay.savepoint.as_deref() == Some(name)) {
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
        if let Some(at) = self.prelude.iter().rposition(|replay| replay.savepoint.as_deref() == Some(name)) {
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
            (_, _) => {
                // A BEGIN inside a query of several statements opens the block on the backend itself.
                self.state = State::Joined { failed: status == b'E' };
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Transaction<u32> {
        let mut transaction = Transaction::default();
        transaction.begin("BEGIN".into(), &1);
        transaction
    }

    #[test]
    fn a_block_without_statements_needs_no_backend() {
        let mut transaction = open();
        assert_eq!(transaction.status(), b'T');
        transaction.commit();
        assert!(transaction.is_idle());
    }

    #[test]
    fn an_error_fails_the_block_until_it_is_rolled_back() {
        let mut transaction = open();
        transaction.fail();
        assert_eq!(transaction.status(), b'E');
        assert_eq!(transaction.rollback(), Some(1));
        assert_eq!(transaction.status(), b'I');
    }

    #[test]
    fn rollback_to_a_savepoint_heals_the_block_and_brings_back_its_settings() {
        let mut transaction = open();
        transaction.replay("SAVEPOINT a", Some("a"));
        transaction.savepoint("a", &2);
        transaction.replay("SET LOCAL x = 1", None);
        transaction.fail();
        assert_eq!(transaction.rollback_to("a"), Some(2));
        assert_eq!(transaction.status(), b'T');
        assert_eq!(transaction.opening().1.len(), 1, "what came after the savepoint is undone");
        assert_eq!(transaction.rollback_to("b"), None);
    }

    #[test]
    fn releasing_a_savepoint_keeps_what_was_done_after_it() {
        let mut transaction = open();
        transaction.replay("SAVEPOINT a", Some("a"));
        transaction.savepoint("a", &2);
        transaction.replay("SET LOCAL x = 1", None);
        assert!(transaction.release("a"));
        assert_eq!(transaction.opening().1, [Replay { text: "SET LOCAL x = 1".into(), savepoint: None }]);
        assert!(!transaction.release("a"));
    }

    #[test]
    fn the_same_savepoint_name_twice_means_the_newer_one() {
        let mut transaction = open();
        transaction.savepoint("a", &2);
        transaction.savepoint("a", &3);
        assert_eq!(transaction.rollback_to("a"), Some(3));
        assert!(transaction.release("a"));
        assert_eq!(transaction.rollback_to("a"), Some(2));
    }

    #[test]
    fn settings_of_a_failed_statement_outside_a_block_are_brought_back() {
        let mut transaction: Transaction<u32> = Transaction::default();
        transaction.remember(&7);
        assert_eq!(transaction.ready(b'I', true), Some(7));
        transaction.remember(&8);
        assert_eq!(transaction.ready(b'I', false), None);
    }

    #[test]
    fn a_lost_backend_leaves_a_failed_block() {
        let mut transaction = open();
        transaction.join();
        transaction.lose();
        assert_eq!(transaction.status(), b'E');
        assert_eq!(transaction.state(), State::Virtual { failed: true });
    }

    #[test]
    fn a_tied_block_repeats_nothing_elsewhere() {
        let mut transaction = open();
        transaction.settle();
        transaction.replay("SET LOCAL x = 1", None);
        assert!(transaction.opening().1.is_empty());
    }
}
