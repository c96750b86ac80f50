//! Made-up statements.

use std::collections::BTreeMap;

use super::client::{Answer, Client, How};
use super::compare::{Verdict, compare};
use super::layout::Layout;
use super::made::{Made, Maker};
use super::{alone, layouts, variable};

#[test]
fn made_up_statements_over_several_shards_are_answered_as_by_one_server_or_refused() {
    let _alone = alone();
    let number = |name: &str, default: u64| variable(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, statements) = (number("GOLDSEAM_SEED", 20_260_301), number("GOLDSEAM_STATEMENTS", 600));
    let layouts: Vec<&Layout> = layouts().collect();
    let mut sessions: Vec<(Client, Client)> = layouts.iter().map(|layout| (layout.proxy(), layout.oracle())).collect();
    let mut maker = Maker::new(seed);
    let (mut same, mut refused, mut failed, mut eager, mut faults) = (0, 0, 0, 0, Vec::new());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..statements {
        let made = maker.statement();
        // Each statement on one layout, in one way.
        let at = n as usize % layouts.len();
        let how = How::ALL[(n as usize / layouts.len()) % 3];
        let mut ask = |made: &Made| {
            let (proxy, oracle) = &mut sessions[at];
            let verdict = judge(proxy, oracle, made, how, &mut failed, &mut eager);
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
                // What differs only now and then is a fault as much.
                let small = match ask(&smaller) {
                    Verdict::Different(small) => small,
                    other => format!("asked again: {other:?}"),
                };
                faults.push(format!(
                    "layout {}, {how:?}, seed {seed}, statement {n}: {}\n{difference}\nsmaller: {}\n{small}",
                    layouts[at].name,
                    made.sql(),
                    smaller.sql()
                ));
            }
        }
    }
    println!("seed {seed}: {same} same ({failed} of them errors), {refused} refused, {eager} overflows of one side");
    assert!(eager * 50 <= statements.max(100), "too many overflows of one side: {eager}");
    if variable("GOLDSEAM_VERBOSE").is_some() {
        let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, times)| (times, reason)).collect();
        reasons.sort();
        reasons.iter().rev().take(40).for_each(|(times, reason)| println!("{times:5} {reason}"));
    }
    assert!(faults.is_empty(), "{} differences\n\n{}", faults.len(), faults.join("\n\n"));
    assert!(same > 0);
}

#[test]
fn made_up_writes_leave_what_they_leave_on_one_server() {
    let _alone = alone();
    let number = |name: &str, default: u64| variable(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, statements) = (number("GOLDSEAM_SEED", 20_260_302), number("GOLDSEAM_WRITES", 120));
    let layouts: Vec<&Layout> = layouts().filter(|layout| !layout.icu).collect();
    let mut maker = Maker::new(seed);
    let (mut same, mut refused, mut failed, mut faults) = (0, 0, 0, Vec::new());
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..statements {
        let made = maker.write();
        let layout = layouts[n as usize % layouts.len()];
        let how = How::ALL[(n as usize / layouts.len()) % 3];
        match written(layout, &made, how, &mut failed) {
            Verdict::Same => same += 1,
            Verdict::Refused(message) => {
                refused += 1;
                *reasons.entry(message).or_default() += 1;
            }
            Verdict::Different(difference) => {
                let mut still = 0;
                let smaller =
                    made.shrink(|smaller| matches!(written(layout, smaller, how, &mut still), Verdict::Different(_)));
                faults.push(format!(
                    "layout {}, {how:?}, seed {seed}, write {n}: {}\n{difference}\nsmaller: {}",
                    layout.name,
                    made.sql(),
                    smaller.sql()
                ));
            }
        }
    }
    println!("seed {seed}: {same} writes the same ({failed} of them errors), {refused} refused");
    if variable("GOLDSEAM_VERBOSE").is_some() {
        reasons.iter().for_each(|(reason, times)| println!("{times:5} {reason}"));
    }
    assert!(faults.is_empty(), "{} differences\n\n{}", faults.len(), faults.join("\n\n"));
    assert!(same > 0);
}

/// Runs a statement on both sides, compares the answers and all tables, and brings the tables back.
fn written(layout: &Layout, made: &Made, how: How, failed: &mut usize) -> Verdict {
    let (mut proxy, mut oracle) = (layout.proxy(), layout.oracle());
    let sql = made.sql();
    let found = proxy.ask(how, &sql, &[]);
    let refused = found.error.as_ref().is_some_and(|(code, _)| code == "0A000");
    let mut verdict = match &found.error {
        Some((_, message)) if refused => Verdict::Refused(message.clone()),
        _ => {
            let expected = oracle.ask(how, &sql, &[]);
            *failed += usize::from(expected.error.is_some());
            compare(&sql, &made.rule(), &found, &expected, None)
        }
    };
    if let Some(difference) = layout.differences() {
        verdict = Verdict::Different(format!("afterwards: {difference}"));
    }
    if layout.prepared() > 0 {
        verdict = Verdict::Different("a prepared transaction is left".into());
    }
    if !refused {
        layout.restore();
    }
    verdict
}

/// Compares the answers to a statement that changes nothing. A number that is too large is an error only if it is computed, and that depends on the
/// order in which a server takes conditions and joins and on when it has rows enough, of which PostgreSQL promises nothing: `eager` counts those.
fn judge(
    proxy: &mut Client,
    oracle: &mut Client,
    made: &Made,
    how: How,
    failed: &mut usize,
    eager: &mut u64,
) -> Verdict {
    const OVERFLOW: &str = "22003";
    let sql = made.sql();
    let found = proxy.ask(how, &sql, &[]);
    let expected = oracle.ask(how, &sql, &[]);
    *failed += usize::from(expected.error.is_some());
    let overflows = |answer: &Answer| answer.error.as_ref().is_some_and(|(code, _)| code == OVERFLOW);
    if overflows(&found) && expected.error.is_none() || overflows(&expected) && found.error.is_none() {
        *eager += 1;
        return Verdict::Same;
    }
    let all = made.rule().of.map(|query| oracle.ask(how, &query, &[]));
    compare(&sql, &made.rule(), &found, &expected, all.as_ref())
}
