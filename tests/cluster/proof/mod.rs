//! The proof of scatter and gather: the same statements through keyspaces of one, three and four shards, and of one plain PostgreSQL with
//! the same rows. Same or refused, never different.
//!
//! * [`layout`]: the tables, spread over databases on the fixture's servers, with a proxy before each set of shards.
//! * [`client`]: every way of asking, and all that comes back.
//! * [`compare`]: when two answers are the same.
//! * [`made`]: statements made up from a seed, and made smaller when one shows a difference ([`tree`]).
//!
//! The statements are in `statements/scatter/*.txt`, a topic each; how they are written is told in [`statements`](crate::statements):
//!
//! * [`reads`]: what is read is asked in three ways ([`How`]).
//! * [`sessions`]: files named `writes_*` are run in a transaction that is rolled back, and again without one; after that all tables on all
//!   shards are compared with the plain server's, row by row, and each row must be where its key leads. Files named `scripts_*` are
//!   sessions with transactions of their own. Files named `definitions_*` make things whose names begin with `zz_`; afterwards these must be
//!   on every shard what they are on the plain server. Files named `refused_*` say what is refused and, as each case's sentence, why.
//! * [`random`]: made-up statements.
//!
//! [`tally`] prints what came out.
//!
//! `GOLDSEAM_SEED` and `GOLDSEAM_STATEMENTS` vary the made-up statements, `GOLDSEAM_TOPIC` limits the files by name, `GOLDSEAM_LAYOUT` the
//! layouts, `GOLDSEAM_VERBOSE` lists the refusals, and
//! `GOLDSEAM_TRACE` all that is asked.

pub mod client;
pub mod compare;
mod layout;
mod made;
mod random;
mod reads;
mod sessions;
mod tally;
mod tree;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Answer, Client, How};
use layout::Layout;

use crate::statements::{self, Case, Step};

/// Tests that write change the rows that others read.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn layouts() -> impl Iterator<Item = &'static Layout> {
    let only = variable("GOLDSEAM_LAYOUT");
    layout::all().iter().filter(move |layout| only.as_ref().is_none_or(|only| layout.name == only))
}

/// The files whose names begin like this: name, text, whether all must be answered.
fn files(prefix: &str) -> Vec<(String, bool, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/statements/scatter");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let kind = ["writes_", "scripts_", "definitions_", "refused_"]
            .into_iter()
            .find(|kind| name.starts_with(kind))
            .unwrap_or("");
        let chosen = kind == prefix && variable("GOLDSEAM_TOPIC").is_none_or(|topic| name.contains(&topic));
        let text = chosen.then(|| std::fs::read_to_string(&path).unwrap())?;
        Some((name, statements::is_answered(&text), statements::parse(&text)))
    };
    files.into_iter().filter_map(read).collect()
}

fn ask_all(client: &mut Client, how: How, step: &Step) -> (Answer, Option<Answer>) {
    let all = step.rule.of.as_ref().map(|query| client.ask(how, query, &[]));
    (client.ask_step(how, step), all)
}
