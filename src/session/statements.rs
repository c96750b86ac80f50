//! Prepared statements, virtual and shared.
//!
//! A client's `S_1` means nothing to a backend that another client used a moment ago. So each text with its parameter types is
//! one [`Statement`] of the whole process, with a name of Goldseam's own on the servers; a client's names lead to it, and a
//! backend that lacks it is sent a Parse first. Names of the protocol and of SQL's PREPARE are one space, as in PostgreSQL
//! (`src/backend/commands/prepare.c`).

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::BytesMut;
use lru::LruCache;
use parking_lot::Mutex;
use twox_hash::XxHash3_128;

use crate::protocol::request;
use crate::session::relay::{Expect, Relay};
use crate::session::route::is_command;
use crate::sql::{self, Literal, TokenKind};
use crate::types::Oid;

/// Uses of a text without a name before the servers are told to keep it: a text that never comes back is not worth it.
const PROMOTE_AFTER: u32 = 2;

/// One text with its parameter types.
#[derive(Debug)]
pub struct Statement {
    /// Unique in this process.
    pub id: u64,
    /// Its name on the servers.
    pub server_name: String,
    /// The client's text.
    pub text: String,
    /// Declared parameter types; 0 where the server infers.
    pub types: Vec<Oid>,
    /// The types as SQL, if it was prepared by SQL's PREPARE.
    pub sql_types: Option<Option<String>>,
    /// The hash of the text without its literals.
    pub normalized: u128,
    /// The shard named in the text's own comment.
    pub hint: Option<crate::types::ShardId>,
    /// The literals in the text.
    pub literals: Vec<Literal>,
    /// The session itself acts on it, or it is empty: no server sees it before it is executed.
    pub is_command: bool,
    /// FETCH or MOVE: what it returns is its cursor's, and a server that has prepared it for one must not be asked about it for another. (PostgreSQL
    /// 15 crashes when such a statement is described after its cursor is gone: `FetchStatementTargetList`.)
    pub of_cursor: bool,
    /// How many parameters a Bind must bring: as many as are declared, or as the text's highest `$n` says.
    pub parameters: usize,
    /// A server has accepted it.
    pub validated: AtomicBool,
    /// The types that a server gives its parameters, once one has been asked.
    pub inferred: OnceLock<Box<[Oid]>>,
    uses: AtomicU32,
}

impl Statement {
    /// One more client parsed it; whether servers should keep it although it has no name.
    pub fn used(&self) -> bool {
        self.uses.fetch_add(1, Ordering::Relaxed) + 1 >= PROMOTE_AFTER
    }

    /// Whether it has been used often enough to be kept by the servers.
    pub fn is_promoted(&self) -> bool {
        self.uses.load(Ordering::Relaxed) >= PROMOTE_AFTER
    }

    /// Writes what prepares it under `name`, and what will answer; `pass` if the client itself waits for ParseComplete.
    pub fn prepare(&self, name: &str, out: &mut BytesMut, relay: &mut Relay, pass: bool) {
        match &self.sql_types {
            None => {
                request::parse(out, name, &self.text, self.types.iter().copied());
                relay.expect(Expect::Parse { pass, statement: (!name.is_empty()).then_some(self.id) });
            }
            Some(_) => {
                own_statement(&self.sql_prepare(name), out, relay);
            }
        }
    }

    /// SQL's PREPARE of it.
    pub fn sql_prepare(&self, name: &str) -> String {
        let types = self.sql_types.as_ref().and_then(|types| types.as_deref());
        let types = types.map(|types| format!(" ({types})")).unwrap_or_default();
        format!("PREPARE \"{name}\"{types} AS {}", self.text)
    }
}

/// Writes a statement of ours in extended form without a Sync, so that what follows is skipped if it fails, and nothing of its
/// answer reaches the client but an error.
pub fn own_statement(text: &str, out: &mut BytesMut, relay: &mut Relay) {
    request::parse(out, "", text, std::iter::empty());
    request::bind(out, "", &[]);
    request::execute(out, "", 0);
    relay.expect(Expect::Parse { pass: false, statement: None });
    relay.expect(Expect::Bind { pass: false });
    relay.expect(Expect::Execute { pass: false });
}

/// All statements that were in use lately.
#[derive(Debug)]
pub struct Statements {
    next: AtomicU64,
    seed: u64,
    by_text: Mutex<LruCache<u128, Arc<Statement>>>,
}

impl Statements {
    /// A registry that remembers about `capacity` texts. A forgotten one that a session still holds stays valid.
    pub fn new(capacity: usize, seed: u64) -> Self {
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Statements { next: AtomicU64::new(1), seed, by_text: Mutex::new(LruCache::new(capacity)) }
    }

    /// The registry's key. `generation` keeps apart what was prepared before and after a change of tables, because a server refuses a
    /// prepared statement whose result type has changed (`plancache.c`, `RevalidateCachedQuery`).
    pub fn key(&self, text: &str, types: &[Oid], sql_types: Option<&str>, generation: u64) -> u128 {
        let mut tail = Vec::with_capacity(16 + types.len() * 4);
        tail.extend(generation.to_le_bytes());
        tail.extend(types.iter().flat_map(|oid| oid.to_le_bytes()));
        if let Some(types) = sql_types {
            tail.push(b'(');
            tail.extend(types.as_bytes());
        }
        let tail = XxHash3_128::oneshot_with_seed(self.seed, &tail);
        XxHash3_128::oneshot_with_seed(self.seed, text.as_bytes()) ^ tail.rotate_left(64)
    }

    /// A known statement.
    pub fn get(&self, key: u128) -> Option<Arc<Statement>> {
        self.by_text.lock().get(&key).cloned()
    }

    /// A new statement. `make` is given its number and its name on the servers.
    pub fn insert(&self, key: u128, make: impl FnOnce(u64, String) -> Statement) -> Arc<Statement> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let statement = Arc::new(make(id, format!("gs_{id}")));
        self.by_text.lock().put(key, statement.clone());
        statement
    }

    /// The servers hold a stale form of it: whoever parses the text next gets a new statement.
    pub fn forget(&self, statement: &Statement) {
        let mut by_text = self.by_text.lock();
        let key = by_text.iter().find(|(_, known)| known.id == statement.id).map(|(key, _)| *key);
        if let Some(key) = key {
            by_text.pop(&key);
        }
    }
}

impl Statement {
    /// A statement that nobody has used yet.
    #[allow(clippy::too_many_arguments)] // one constructor of plain data
    pub fn new(
        id: u64,
        server_name: String,
        text: String,
        types: Vec<Oid>,
        sql_types: Option<Option<String>>,
        normalized: u128,
        hint: Option<crate::types::ShardId>,
        literals: Vec<Literal>,
    ) -> Self {
        let command = sql::classify(&text);
        // `$1` in a PREPARE is the parameter of the statement that it makes.
        let in_text = if is_command(&command) { 0 } else { highest_parameter(&text) };
        let parameters = in_text.max(types.len());
        Statement {
            of_cursor: matches!(command, sql::Command::Fetch(_) | sql::Command::Move(_)),
            is_command: is_command(&command) || command == sql::Command::Empty,
            id,
            server_name,
            text,
            types,
            sql_types,
            normalized,
            hint,
            literals,
            parameters,
            validated: AtomicBool::new(false),
            inferred: OnceLock::new(),
            uses: AtomicU32::new(0),
        }
    }
}

fn highest_parameter(text: &str) -> usize {
    // The client's own limits have been checked already.
    let limits = sql::Limits { max_tokens: usize::MAX, max_nesting: usize::MAX, max_depth: usize::MAX };
    let tokens = sql::lex(text, &limits).unwrap_or_default();
    let parameters = tokens.iter().filter(|token| token.kind == TokenKind::Parameter);
    let numbers = parameters.filter_map(|token| text.get(token.start as usize + 1..token.end as usize)?.parse().ok());
    numbers.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(id: u64, name: String) -> Statement {
        Statement::new(id, name, "SELECT $1".into(), vec![23], None, 0, None, Vec::new())
    }

    #[test]
    fn equal_texts_with_other_types_are_other_statements() {
        let all = Statements::new(10, 3);
        let keys = [
            all.key("SELECT $1", &[], None, 0),
            all.key("SELECT $1", &[23], None, 0),
            all.key("SELECT $1", &[20], None, 0),
            all.key("SELECT $1", &[], Some("int"), 0),
            all.key("SELECT $1", &[], None, 1),
        ];
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
    }

    #[test]
    fn a_text_that_comes_back_is_promoted() {
        let all = Statements::new(10, 3);
        let statement = all.insert(1, plain);
        assert!(!statement.used());
        assert!(statement.used());
        assert!(statement.is_promoted());
    }

    #[test]
    fn a_stale_statement_is_forgotten() {
        let all = Statements::new(10, 3);
        let statement = all.insert(1, plain);
        all.forget(&statement);
        assert!(all.get(1).is_none());
        assert_ne!(all.insert(1, plain).id, statement.id);
    }
}
