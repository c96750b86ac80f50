//! What came out, topic by topic: same, refused, different.

use std::collections::BTreeMap;

use super::compare::Verdict;
use super::layout::Layout;
use super::variable;

/// Faults shown unless all are asked for.
const SHOWN: usize = 40;

/// How many statements, counted once for each layout.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    statements: usize,
    same: usize,
    refused: usize,
    different: usize,
}

impl Count {
    fn add(&mut self, other: Count) {
        self.statements += other.statements;
        self.same += other.same;
        self.refused += other.refused;
        self.different += other.different;
    }
}

/// Counts verdicts and keeps what must not be.
#[derive(Default)]
pub struct Tally {
    topics: Vec<(String, Count)>,
    now: Count,
    faults: Vec<String>,
    reasons: BTreeMap<String, usize>,
}

impl Tally {
    /// The verdicts in all ways of asking on so many statements, of which the last is the one refused or answered differently.
    pub fn add(
        &mut self,
        layout: &'static Layout,
        at: &str,
        steps: usize,
        must_answer: bool,
        verdicts: Vec<(&str, Verdict)>,
    ) {
        let (mut answered, mut differs) = (true, false);
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
                    differs = true;
                    self.faults.push(format!("{}, {how}: {at}\n{difference}", layout.name));
                }
            }
        }
        self.now.statements += steps;
        self.now.same += steps - 1;
        match (differs, answered) {
            (true, _) => self.now.different += 1,
            (false, true) => self.now.same += 1,
            (false, false) => {
                self.now.refused += 1;
                *self.reasons.entry(messages[0].clone()).or_default() += 1;
            }
        }
        if !answered && variable("GOLDSEAM_VERBOSE").is_some() {
            println!("refused by {}: {at}\n    {}", layout.name, messages.join("\n    "));
        }
        // Where text has an order of its own, some of it may be refused.
        if !answered && must_answer && !layout.icu {
            self.faults.push(format!("{}: {at}\nmust be answered, but: {}", layout.name, messages.join(" / ")));
        }
    }

    /// A topic ends.
    pub fn topic(&mut self, name: &str) {
        self.topics.push((name.to_string(), std::mem::take(&mut self.now)));
    }

    /// Prints the table; fails if anything differs.
    pub fn done(self, what: &str) {
        let mut all = Count::default();
        let width = self.topics.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(what.len());
        println!("\n{what:width$} | asked |  same | refused | different");
        for (name, count) in &self.topics {
            all.add(*count);
            let Count { statements, same, refused, different } = count;
            println!("{name:width$} | {statements:5} | {same:5} | {refused:7} | {different:9}");
        }
        let Count { statements, same, refused, different } = all;
        let share = 100.0 * refused as f64 / statements.max(1) as f64;
        println!("{:width$} | {statements:5} | {same:5} | {refused:7} | {different:9}", "all");
        println!("{share:.1} % refused");
        let verbose = variable("GOLDSEAM_VERBOSE").is_some();
        if verbose {
            let mut reasons: Vec<_> = self.reasons.into_iter().map(|(reason, times)| (times, reason)).collect();
            reasons.sort();
            reasons.iter().rev().for_each(|(times, reason)| println!("{times:5} {reason}"));
        }
        let shown: Vec<String> = self.faults.iter().take(if verbose { usize::MAX } else { SHOWN }).cloned().collect();
        assert!(self.faults.is_empty(), "{} faults\n\n{}", self.faults.len(), shown.join("\n\n"));
    }
}
