//! What is read.

use std::collections::BTreeMap;

use super::client::{Answer, How};
use super::compare::compare;
use super::tally::Tally;
use super::{alone, ask_all, files, layouts};
use crate::statements::Step;

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
                        let found = proxy.ask_step(how, step);
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
                    tally.add(layout, &at, 1, must_answer && !step.may_be_refused, verdicts);
                }
            }
        }
        tally.topic(&name);
    }
    tally.done("reads");
}
