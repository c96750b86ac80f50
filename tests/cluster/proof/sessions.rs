//! What is written, what is defined, and what sessions do.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::{Client, How};
use super::compare::{Verdict, compare};
use super::layout::{Layout, TABLES};
use super::tally::Tally;
use super::{alone, ask_all, files, layouts, variable};
use crate::statements::Case;

#[test]
fn what_is_written_to_several_shards_is_where_it_belongs() {
    let _alone = alone();
    let mut tally = Tally::default();
    for (name, must_answer, cases) in files("writes_") {
        for layout in layouts() {
            for (n, case) in cases.iter().enumerate() {
                let inside = [How::Simple, How::Binary][n % 2];
                let outside = [How::Binary, How::Simple, How::Portions][n % 3];
                let (one, other) = (format!("in a transaction, {inside:?}"), format!("alone, {outside:?}"));
                let verdicts = vec![
                    (one.as_str(), session(layout, case, inside, true)),
                    (other.as_str(), session(layout, case, outside, false)),
                ];
                add(&mut tally, layout, &name, case, must_answer, verdicts);
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
                add(&mut tally, layout, &name, case, must_answer, verdicts);
            }
        }
        tally.topic(&name);
    }
    tally.done("sessions");
}

#[test]
fn what_is_defined_is_the_same_on_every_shard() {
    let _alone = alone();
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let mut tally = Tally::default();
    for (name, must_answer, cases) in files("definitions_") {
        for layout in layouts() {
            for (n, case) in cases.iter().enumerate() {
                // Names of its own for each case: what one leaves behind does not trouble the next.
                let own = format!("zz{}_", NUMBER.fetch_add(1, Ordering::Relaxed));
                let mut case = case.clone();
                case.steps.iter_mut().for_each(|step| step.sql = step.sql.replace("zz_", &own));
                let how = [How::Simple, How::Binary][n % 2];
                let (mut verdict, steps) = session(layout, &case, how, false);
                if matches!(verdict, Verdict::Same)
                    && let Some(difference) = layout.definitions_differ(&own)
                {
                    verdict = Verdict::Different(format!("afterwards: {difference}"));
                }
                layout.drop_all(&own);
                add(
                    &mut tally,
                    layout,
                    &name,
                    &case,
                    must_answer,
                    vec![(["simple", "binary"][n % 2], (verdict, steps))],
                );
            }
        }
        tally.topic(&name);
    }
    tally.done("definitions");
}

#[test]
fn what_is_refused_is_refused_with_a_reason() {
    let _alone = alone();
    for (name, _, cases) in files("refused_") {
        for layout in layouts().filter(|layout| layout.name == "four") {
            for case in &cases {
                let mut proxy = layout.proxy();
                let answers: Vec<_> = case.steps.iter().map(|step| proxy.ask_step(How::Simple, step)).collect();
                let error = answers.last().and_then(|answer| answer.error.clone());
                let (code, message) = error.unwrap_or_default();
                assert_eq!(
                    code, "0A000",
                    "{name}: {}: {message}: it is answered, move it to the others",
                    case.sentence
                );
            }
            assert_eq!(layout.differences(), None);
        }
    }
}

fn add(
    tally: &mut Tally,
    layout: &'static Layout,
    name: &str,
    case: &Case,
    must_answer: bool,
    verdicts: Vec<(&str, Asked)>,
) {
    // The way that came the furthest.
    let steps = verdicts.iter().map(|(_, (_, steps))| *steps).max().unwrap_or(1).max(1);
    let verdicts = verdicts.into_iter().map(|(how, (verdict, _))| (how, verdict)).collect();
    let must_answer = must_answer && case.steps.iter().all(|step| !step.may_be_refused);
    let text = case.steps.iter().map(|step| format!("\n    {}", step.sql)).collect::<String>();
    tally.add(layout, &format!("{name}: {}{text}", case.sentence), steps, must_answer, verdicts);
}

/// The verdict on a case, and how many of its statements were asked.
type Asked = (Verdict, usize);

/// Two clients of a case, each with its sessions here and there.
struct Pair {
    proxy: Client,
    oracle: Client,
}

impl Pair {
    fn open(layout: &Layout) -> Pair {
        Pair { proxy: layout.proxy(), oracle: layout.oracle() }
    }
}

/// Runs a case on new sessions, compares each answer, then all tables, and brings these back. It ends where Goldseam refuses; what was
/// refused must have changed nothing.
fn session(layout: &Layout, case: &Case, how: How, in_transaction: bool) -> Asked {
    let (mut first, mut second) = (Pair::open(layout), None);
    let (mut verdict, mut steps, mut refused_at) = (Verdict::Same, 0, 0);
    if in_transaction {
        first.proxy.script("BEGIN;\n");
        first.oracle.script("BEGIN;\n");
    }
    for step in &case.steps {
        let how = if step.parameters.is_empty() { how } else { How::Binary };
        let at = if step.second { second.get_or_insert_with(|| Pair::open(layout)) } else { &mut first };
        let found = at.proxy.ask_step(how, step);
        if let Some((code, message)) = &found.error
            && code == "0A000"
        {
            verdict = Verdict::Refused(message.clone());
            refused_at = 1;
            break;
        }
        let (expected, all) = ask_all(&mut at.oracle, how, step);
        steps += 1;
        match compare(&step.sql, &step.rule, &found, &expected, all.as_ref()) {
            Verdict::Same => {}
            Verdict::Different(difference) => {
                verdict = Verdict::Different(format!("{}\n{difference}", step.sql));
                break;
            }
            refused => {
                verdict = refused;
                break;
            }
        }
    }
    let text: String = case.steps.iter().map(|step| format!("{}\n", step.sql)).collect();
    if in_transaction && matches!(verdict, Verdict::Same) {
        verdict = seen_from_within(&mut first, &text);
    }
    let pairs = [Some(first), second];
    for client in pairs.into_iter().flatten().flat_map(|pair| [pair.proxy, pair.oracle]) {
        let mut client = client;
        // Whatever the state is: the tables are compared as others see them.
        client.ask(How::Simple, "ROLLBACK", &[]);
    }
    if !matches!(verdict, Verdict::Different(_)) {
        // A statement that Goldseam only asks to be written otherwise was asked of the plain server too.
        let asked_of_both = matches!(&verdict, Verdict::Refused(_)) && steps == case.steps.len();
        if let Some(difference) = layout.differences()
            && !asked_of_both
        {
            let refused = matches!(verdict, Verdict::Refused(_));
            let what = if refused { "what was refused left something" } else { "afterwards" };
            verdict = Verdict::Different(format!("{what}: {difference}"));
        }
    }
    let left = layout.prepared();
    if left > 0 && !text.contains("PREPARE TRANSACTION") {
        verdict = Verdict::Different(format!("{left} prepared transactions are left on the shards"));
    }
    if steps > 0 && (!in_transaction || !matches!(verdict, Verdict::Same)) {
        layout.restore();
    }
    (verdict, steps + refused_at)
}

/// Compares the tables that a transaction speaks of, as it sees them itself.
fn seen_from_within(pair: &mut Pair, text: &str) -> Verdict {
    for (table, _) in TABLES.iter().filter(|(table, _)| text.contains(table)) {
        let sql = format!("SELECT * FROM {table}");
        let (found, expected) = (pair.proxy.ask(How::Simple, &sql, &[]), pair.oracle.ask(How::Simple, &sql, &[]));
        let verdict = compare(&sql, &Default::default(), &found, &expected, None);
        if let Verdict::Different(difference) = verdict {
            return Verdict::Different(format!("seen from within the transaction: {sql}\n{difference}"));
        }
    }
    if variable("GOLDSEAM_TRACE").is_some() {
        eprintln!("seen from within: the same");
    }
    Verdict::Same
}
