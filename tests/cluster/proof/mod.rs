//! The proof of scatter and gather: the same statements through keyspaces of one, three and four shards, and of one plain PostgreSQL with
//! the same rows. Same or refused, never different.
//!
//! * [`layout`]: the tables, spread over databases on the fixture's servers, with a proxy before each set of shards.
//! * [`client`]: every way of asking, and all that comes back.
//! * [`compare`]: when two answers are the same.
//! * [`made`]: statements made up from a seed, and made smaller when one shows a difference ([`tree`]).
//!
//! The statements are in `statements/scatter/*.txt`, a topic each; how they are written is told in [`statements`](crate::statements). What
//! is read is asked in three ways ([`How`]). Files named `writes_*` are run in a transaction that is rolled back, and again without
//! one; after that the tables on all shards are compared with the plain server's, row by row, and each row must be where its key leads. Files
//! named `scripts_*` are sessions, with transactions of their own.
//!
//! `GOLDSEAM_SEED` and `GOLDSEAM_STATEMENTS` vary the made-up statements, `GOLDSEAM_TOPIC` limits the files by name, `GOLDSEAM_LAYOUT` the
//! layouts, `GOLDSEAM_VERBOSE` lists the refusals, and
//! `GOLDSEAM_TRACE` all that is asked.

pub mod client;
pub mod compare;
mod layout;
mod made;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use client::{Answer, Client, How};
use compare::{Verdict, compare};
use layout::{Layout, TABLES};
use made::Maker;

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
        let kind = ["writes_", "scripts_"].into_iter().find(|kind| name.starts_with(kind)).unwrap_or("");
        let chosen = kind == prefix && variable("GOLDSEAM_TOPIC").is_none_or(|topic| name.contains(&topic));
        let text = chosen.then(|| std::fs::read_to_string(&path).unwrap())?;
        Some((name, statements::is_answered(&text), statements::parse(&text)))
    };
    files.into_iter().filter_map(read).collect()
}

/// Counts verdicts and keeps what must not be.
#[derive(Default)]
struct Tally {
    same: usize,
    refused: usize,
    faults: Vec<String>,
    /// Of the layout at hand.
    by_layout: BTreeMap<&'static str, (usize, usize)>,
}

impl Tally {
    /// One statement's verdicts in all ways of asking.
    fn add(&mut self, layout: &'static Layout, at: &str, must_answer: bool, verdicts: Vec<(&str, Verdict)>) {
        let (same, refused) = self.by_layout.entry(layout.name).or_default();
        let mut answered = true;
        let mut messages = Vec::new();
        for (how, verdict) in verdicts {
            match verdict {
                Verdict::Same => {}
                Verdict::Refused(message) => {
                    answered = false;
                    if !messages.contains(&message) {
                        messages.push(message);
                    }
                }
                Verdict::Different(difference) => {
                    self.faults.push(format!("{}, {how}: {at}\n{difference}", layout.name))
                }
            }
        }
        *(if answered { same } else { refused }) += 1;
        *(if answered { &mut self.same } else { &mut self.refused }) += 1;
        if !answered && variable("GOLDSEAM_VERBOSE").is_some() {
            println!("refused by {}: {at}\n    {}", layout.name, messages.join("\n    "));
        }
        // Where text has an order of its own, some of it may be refused.
        if !answered && must_answer && !layout.icu {
            self.faults.push(format!("{}: {at}\nmust be answered, but: {}", layout.name, messages.join(" / ")));
        }
    }

    fn topic(&mut self, name: &str) {
        let counts: Vec<String> = std::mem::take(&mut self.by_layout)
            .iter()
            .map(|(layout, (same, refused))| format!("{layout}: {same} same, {refused} refused"))
            .collect();
        println!("{name}: {}", counts.join("; "));
    }

    fn done(self, what: &str) {
        println!("{what}: {} same, {} refused", self.same, self.refused);
        let most = if variable("GOLDSEAM_VERBOSE").is_some() { usize::MAX } else { 40 };
        let shown: Vec<String> = self.faults.iter().take(most).cloned().collect();
        assert!(self.faults.is_empty(), "{} faults\n\n{}", self.faults.len(), shown.join("\n\n"));
    }
}

fn ask_all(client: &mut Client, how: How, step: &Step) -> (Answer, Option<Answer>) {
    let all = step.rule.of.as_ref().map(|query| client.ask(how, query, &[]));
    (client.ask(how, &step.sql, &step.parameters), all)
}

/// Parameters cannot go by the simple protocol.
fn ways(step: &Step) -> impl Iterator<Item = How> {
    let simple = step.parameters.is_empty();
    How::ALL.into_iter().filter(move |how| simple || *how != How::Simple)
}

/// What an answer of the plain server depends on: the sorting, and the case, its step and the way of asking.
type Asked = (bool, usize, usize, usize);

#[test]
fn what_is_read_from_several_shards_is_what_one_server_answers() {
    let _alone = alone();
    let mut tally = Tally::default();
    for (name, must_answer, cases) in files("") {
        // The plain server answers once for all layouts that sort alike.
        let mut known: BTreeMap<Asked, (Answer, Option<Answer>)> = BTreeMap::new();
        for layout in layouts() {
            let (mut proxy, mut oracle) = (layout.proxy(), layout.oracle());
            for (case_at, case) in cases.iter().enumerate() {
                for (step_at, step) in case.steps.iter().enumerate() {
                    let mut verdicts = Vec::new();
                    for (how_at, how) in ways(step).enumerate() {
                        let found = proxy.ask(how, &step.sql, &step.parameters);
                        let (expected, all) = known
                            .entry((layout.icu, case_at, step_at, how_at))
                            .or_insert_with(|| ask_all(&mut oracle, how, step));
                        let verdict = compare(&step.sql, &step.rule, &found, expected, all.as_ref());
                        verdicts.push((["simple", "binary", "portions"][how as usize], verdict));
                        if found.status == 0 {
                            proxy = layout.proxy();
                        }
                    }
                    let at = format!("{name}: {}: {}", case.sentence, step.sql);
                    tally.add(layout, &at, must_answer && !step.may_be_refused, verdicts);
                }
            }
        }
        tally.topic(&name);
    }
    tally.done("reads");
}

#[test]
fn what_is_written_to_several_shards_is_where_it_belongs() {
    let _alone = alone();
    let mut tally = Tally::default();
    for (name, must_answer, cases) in files("writes_") {
        for layout in layouts() {
            for (n, case) in cases.iter().enumerate() {
                let ways = [How::Simple, How::Binary].map(|how| (how, format!("in a transaction, {how:?}")));
                let mut verdicts: Vec<(&str, Verdict)> = Vec::new();
                for (how, at) in &ways {
                    verdicts.push((at, session(layout, case, *how, true)));
                }
                let how = How::ALL[n % 3];
                let at = format!("without a transaction, {how:?}");
                let how = if case.steps.iter().all(|step| step.parameters.is_empty()) { how } else { How::Binary };
                verdicts.push((&at, session(layout, case, how, false)));
                let must_answer = must_answer && case.steps.iter().all(|step| !step.may_be_refused);
                tally.add(layout, &format!("{name}: {}", case.sentence), must_answer, verdicts);
            }
        }
        tally.topic(&name);
    }
    tally.done("writes");
}

#[test]
fn sessions_over_several_shards_are_what_one_server_makes_of_them() {
    let _alone = alone();
    let mut tally = Tally::default();
    for (name, must_answer, cases) in files("scripts_") {
        for layout in layouts() {
            for case in &cases {
                let verdicts = vec![
                    ("simple", session(layout, case, How::Simple, false)),
                    ("binary", session(layout, case, How::Binary, false)),
                ];
                let must_answer = must_answer && case.steps.iter().all(|step| !step.may_be_refused);
                tally.add(layout, &format!("{name}: {}", case.sentence), must_answer, verdicts);
            }
        }
        tally.topic(&name);
    }
    tally.done("sessions");
}

/// Runs a case on new sessions, compares each answer, then the tables, and brings these back. It ends where Goldseam refuses.
fn session(layout: &Layout, case: &Case, how: How, in_transaction: bool) -> Verdict {
    let (mut proxy, mut oracle) = (layout.proxy(), layout.oracle());
    let (mut verdict, mut steps) = (Verdict::Same, 0);
    if in_transaction {
        proxy.script("BEGIN;\n");
        oracle.script("BEGIN;\n");
    }
    for step in &case.steps {
        let how = if step.parameters.is_empty() { how } else { How::Binary };
        let found = proxy.ask(how, &step.sql, &step.parameters);
        if let Some((code, message)) = &found.error
            && code == "0A000"
        {
            verdict = Verdict::Refused(message.clone());
            break;
        }
        let (expected, all) = ask_all(&mut oracle, how, step);
        match compare(&step.sql, &step.rule, &found, &expected, all.as_ref()) {
            Verdict::Same => steps += 1,
            Verdict::Different(difference) => {
                steps += 1;
                verdict = Verdict::Different(format!("{}\n{difference}", step.sql));
                break;
            }
            refused => {
                verdict = refused;
                break;
            }
        }
    }
    for client in [&mut proxy, &mut oracle] {
        // Whatever the state is: the tables are compared as others see them.
        client.ask(How::Simple, "ROLLBACK", &[]);
    }
    drop((proxy, oracle));
    if steps == 0 {
        return verdict;
    }
    let text: String = case.steps.iter().map(|step| format!("{}\n", step.sql)).collect();
    if matches!(verdict, Verdict::Same) && !in_transaction {
        let named = TABLES.iter().map(|(table, _)| *table).filter(|table| text.contains(table));
        if let Some(difference) = named.clone().find_map(|table| layout.difference(table)) {
            verdict = Verdict::Different(format!("afterwards: {difference}"));
        }
    }
    let left = layout.prepared();
    if left > 0 && !text.contains("PREPARE TRANSACTION") {
        verdict = Verdict::Different(format!("{left} prepared transactions are left on the shards"));
    }
    if !in_transaction || !matches!(verdict, Verdict::Same) {
        layout.restore();
    }
    verdict
}

#[test]
fn made_up_statements_over_several_shards_are_answered_as_by_one_server_or_refused() {
    let _alone = alone();
    let number = |name: &str, default: u64| variable(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, statements) = (number("GOLDSEAM_SEED", 20_260_301), number("GOLDSEAM_STATEMENTS", 600));
    let layouts: Vec<&Layout> = layouts().collect();
    let mut sessions: Vec<(Client, Client)> = layouts.iter().map(|layout| (layout.proxy(), layout.oracle())).collect();
    let mut maker = Maker::new(seed);
    let (mut same, mut refused, mut failed, mut faults) = (0, 0, 0, Vec::new());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..statements {
        let made = maker.statement();
        // Each statement on one layout, in one way.
        let at = n as usize % layouts.len();
        let how = How::ALL[(n as usize / layouts.len()) % 3];
        let mut ask = |made: &made::Made| {
            let (proxy, oracle) = &mut sessions[at];
            let verdict = judge(proxy, oracle, made, how, &mut failed);
            if matches!(&verdict, Verdict::Different(_)) {
                sessions[at] = (layouts[at].proxy(), layouts[at].oracle());
            }
            verdict
        };
        match ask(&made) {
            Verdict::Same => same += 1,
            Verdict::Refused(message) => {
                refused += 1;
                *reasons.entry(message).or_default() += 1;
            }
            Verdict::Different(difference) => {
                let smaller = made.shrink(|smaller| matches!(ask(smaller), Verdict::Different(_)));
                let Verdict::Different(small) = ask(&smaller) else { panic!("it was different before") };
                faults.push(format!(
                    "layout {}, {how:?}, seed {seed}, statement {n}: {}\n{difference}\nsmaller: {}\n{small}",
                    layouts[at].name,
                    made.sql(),
                    smaller.sql()
                ));
            }
        }
    }
    println!("seed {seed}: {same} same ({failed} of them errors), {refused} refused");
    if variable("GOLDSEAM_VERBOSE").is_some() {
        let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, times)| (times, reason)).collect();
        reasons.sort();
        reasons.iter().rev().take(40).for_each(|(times, reason)| println!("{times:5} {reason}"));
    }
    assert!(faults.is_empty(), "{} differences\n\n{}", faults.len(), faults.join("\n\n"));
    assert!(same > 0);
}

fn judge(proxy: &mut Client, oracle: &mut Client, made: &made::Made, how: How, failed: &mut usize) -> Verdict {
    let sql = made.sql();
    let found = proxy.ask(how, &sql, &[]);
    let expected = oracle.ask(how, &sql, &[]);
    *failed += usize::from(expected.error.is_some());
    let all = made.rule().of.map(|query| oracle.ask(how, &query, &[]));
    compare(&sql, &made.rule(), &found, &expected, all.as_ref())
}
